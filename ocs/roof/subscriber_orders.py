"""Recurring and automatic top-ups of a subscriber at the command line: listed, resumed, ended."""

from typing import Any

from ocs.balance.accounts import Account
from ocs.balance.topup_orders import Order
from ocs.http.order_desk import OrderDesk, described_order
from ocs.outcomes import Code
from ocs.roof import say
from ocs.roof.arguments import read_msisdn
from ocs.roof.audited import Deed, run_change
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import known_holdings
from ocs.roof.place import Place
from ocs.roof.subscriber import found
from ocs.roof.topup_orders import orders_of

_COLUMNS = (
    ("order", False), ("kind", False), ("amount", True), ("period", False), ("done", True), ("state", False), ("next", False), ("why", False),
)  # fmt: skip


def listing(place: Place, msisdn: str, *, as_json: bool) -> None:
    """List a subscriber's orders of all channels, the newest first."""
    identity = read_msisdn(msisdn)

    async def work(keepers: Keepers) -> list[dict[str, Any]]:
        account = await found(keepers, identity)
        orders = orders_of(keepers, await known_holdings(keepers)).orders
        kept = await orders.of_account(account.profile.partition, account.profile.path)
        return [described_order(each.order, account.profile.currency) for each in kept]

    listed = run(place, work)
    if as_json:
        say.as_json(listed)
        return
    rows = [
        [
            str(each[name] or "-")
            for name in ("id", "kind", "amount", "period", "done", "state", "next", "why")
        ]
        for each in listed
    ]
    say.table(_COLUMNS, rows)


def resume(place: Place, msisdn: str, name: str, *, as_json: bool) -> None:
    """Let a suspended order go on; again too."""

    async def work(desk: OrderDesk, account: Account, order: Order) -> Order:
        if why := await desk.hinders(order, account):
            raise Ended(Exit.CONFLICT, f"{why}; nothing was changed")
        done = await desk.orders.resume(order.channel, order.id)
        if done is None or done.code != Code.SUCCESS:
            state = done.order.state if done is not None else order.state
            raise Ended(
                Exit.CONFLICT, f"the order {name} is {state}, and does not go on; nothing was changed"
            )
        return done.order

    _change(place, msisdn, name, "topup.order.resume", work, as_json=as_json)


def end(place: Place, msisdn: str, name: str, *, as_json: bool) -> None:
    """End an order; again too."""

    async def work(desk: OrderDesk, _account: Account, order: Order) -> Order:
        return await desk.orders.end(order.channel, order.id) or order

    _change(place, msisdn, name, "topup.order.cancel", work, as_json=as_json)


def _change(place: Place, msisdn: str, name: str, action: str, act: Any, *, as_json: bool) -> None:
    """Change one order of a subscriber, and show it."""
    identity = read_msisdn(msisdn)

    async def work(keepers: Keepers, deed: Deed) -> dict[str, Any]:
        account = await found(keepers, identity)
        desk = orders_of(keepers, await known_holdings(keepers))
        kept = await desk.orders.of_account(account.profile.partition, account.profile.path)
        order = next((each.order for each in kept if each.order.name == name), None)
        if order is None:
            raise Ended(
                Exit.NOT_FOUND, f"the subscriber has no order {name}; look with: ocs subscriber orders"
            )
        deed.begins_of(account, resource=name, state=str(order.state), done=order.done)
        after: Order = await act(desk, account, order)
        deed.made(after={"state": str(after.state), "done": after.done})
        return described_order(after, account.profile.currency)

    content = run_change(place, action, work)
    say.as_json(content) if as_json else say.facts(content)
