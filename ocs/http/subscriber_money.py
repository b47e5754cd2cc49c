"""What a subscriber's money does at a channel's word under /subscribers/v1: emergency credit, and orders for top-ups."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, HTTPException, Path
from pydantic import BaseModel, Field

from ocs.balance.accounts import Account
from ocs.balance.actions import Actions
from ocs.balance.lending import LendingTerms, Lent, lend
from ocs.balance.topup_orders import Order
from ocs.http.access import Access, Caller
from ocs.http.audit_log import Change
from ocs.http.order_desk import TAKEN, OrderDesk, described_order
from ocs.http.subscriber_desk import ENDED, Desk
from ocs.http.subscribers import BASE, FAULTS, NAME, STRICT, purchase_id
from ocs.money import format_amount
from ocs.outcomes import Code


class EmergencyCredit(BaseModel):
    """Emergency credit that is asked for; ``id`` (or the header Idempotency-Key) counts once for each channel, for 30 days."""

    model_config = STRICT | {"json_schema_extra": {"examples": [{"id": "help-0001"}]}}

    id: str | None = Field(None, min_length=1, max_length=64)


class LentCredit(BaseModel):
    """What was lent; amounts are decimal text. ``owed`` is what the next top-ups repay, ``balance`` and ``available`` what there was after it."""

    id: str
    amount: str
    fee: str
    owed: str
    currency: str
    balance: str
    available: str


class OrderChange(BaseModel):
    """The state that an order is to have: a suspended one goes on."""

    model_config = STRICT | {"json_schema_extra": {"examples": [{"state": "active"}]}}

    state: Literal["active"]


class TopupOrder(BaseModel):
    """A recurring or an automatic top-up; ``id`` is its channel and the channel's own id, ``next`` when a recurring one is due, or is tried again.

    ``skipped`` counts periods that were passed over while it was suspended.
    """

    id: str
    kind: Literal["recurring", "automatic"]
    amount: str
    currency: str
    period: str | None
    periods: int | None
    below: str | None
    state: Literal["active", "suspended", "cancelled", "completed"]
    why: str | None
    done: int
    skipped: int
    next: str | None
    created: str


_ORDER = Annotated[str, Path(max_length=97, description="Its id, as it is listed.")]


def router(
    desk: Desk, actions: Actions, terms: LendingTerms, access: Access, orders: OrderDesk | None = None
) -> APIRouter:
    """Build the routes; those of orders where there are some."""
    routes = APIRouter(prefix=BASE, responses=FAULTS)
    lends = access.change("topup:write")

    @routes.post(
        "/subscribers/{subscriber}/emergency-credit",
        tags=["subscribers"],
        status_code=201,
        response_model=LentCredit,
    )
    async def borrow(
        subscriber: NAME,
        wanted: EmergencyCredit,
        idempotency_key: Annotated[str | None, Header(max_length=64)] = None,
        change: Change = lends,
    ) -> dict[str, Any]:
        """Lend a subscriber what the operator has set, once by its id; the next top-up repays it with the fee."""
        once, channel = purchase_id(wanted.id, idempotency_key), change.caller.channel
        account = await desk.find(subscriber)
        if orders is not None and not await orders.takes(channel, once):
            raise HTTPException(409, f"id: {TAKEN}")
        before = {
            "balance": format_amount(account.book.balance_micros),
            "owed": format_amount(account.owed_micros),
        }
        await change.begins(
            "subscriber.lend", resource=f"{channel}:{once}", account=account.profile.path, before=before
        )
        told = _lent(await lend(actions, terms, account, channel, once), terms)
        change.made(after={"balance": told["balance"], "owed": told["owed"]})
        return told | {"currency": account.profile.currency}

    if orders is not None:
        _orders(routes, desk, orders, access)
    return routes


def _orders(routes: APIRouter, desk: Desk, orders: OrderDesk, access: Access) -> None:
    reads, ends, path = access.route("subscribers:read"), access.change("topup:write"), "top-up-orders"

    @routes.get(f"/subscribers/{{subscriber}}/{path}", tags=["subscribers"], response_model=list[TopupOrder])
    async def listing(subscriber: NAME, caller: Caller = reads) -> list[dict[str, Any]]:
        """List a subscriber's recurring and automatic top-ups, those of the caller's channel, or of all (channel:any); the newest first."""
        account = await desk.find(subscriber)
        found = await orders.of(account, caller)
        return [described_order(each.order, account.profile.currency) for each in found]

    one = f"/subscribers/{{subscriber}}/{path}/{{order}}"

    @routes.patch(one, tags=["subscribers"], response_model=TopupOrder)
    async def resume(
        subscriber: NAME, order: _ORDER, _wanted: OrderChange, change: Change = ends
    ) -> dict[str, Any]:
        """Resume one that was suspended; again too. What was due meanwhile is passed over, what may have been paid is asked about first."""
        account, found = await _found(desk, orders, subscriber, order, change.caller)
        if why := await orders.hinders(found, account):
            raise HTTPException(409, f"{why}; nothing was changed")
        await change.begins(
            "topup.order.resume", resource=found.name, account=found.path, before=_state_of(found)
        )
        done = await orders.orders.resume(found.channel, found.id)
        told = done.order if done is not None else found
        change.made(after=_state_of(told))
        if done is None or done.code != Code.SUCCESS:
            raise HTTPException(409, f"state: it is {told.state}, and does not go on")
        return described_order(told, account.profile.currency)

    @routes.delete(one, tags=["subscribers"], response_model=TopupOrder)
    async def end(subscriber: NAME, order: _ORDER, change: Change = ends) -> dict[str, Any]:
        """End one; again too. What who pays was asked for already may still come."""
        account, found = await _found(desk, orders, subscriber, order, change.caller)
        await change.begins(
            "topup.order.cancel", resource=found.name, account=found.path, before=_state_of(found)
        )
        ended = await orders.orders.end(found.channel, found.id) or found
        change.made(after=_state_of(ended))
        return described_order(ended, account.profile.currency)


async def _found(
    desk: Desk, orders: OrderDesk, subscriber: str, name: str, caller: Caller
) -> tuple[Account, Order]:
    """Return a subscriber and one of its orders that a caller may see; 404."""
    account = await desk.find(subscriber)
    for each in await orders.of(account, caller):
        if each.order.name == name:
            return account, each.order
    raise HTTPException(404, "the subscriber has no such order")


def _state_of(order: Order) -> dict[str, object]:
    return {"state": str(order.state), "done": order.done}


_REFUSED: Final = {
    Code.UNRATED: (409, "emergency credit is not offered here"),
    Code.LIMIT: (422, "a member has no money of its own; ask for who pays"),
    Code.EXISTS: (409, "emergency credit is owed already; the next top-up repays it, then ask again"),
    Code.BARRED: (409, "the account is barred, or its balance's life is over; nothing was lent"),
    Code.CONFLICT: (409, "id: it was used for something else; nothing was lent"),
    Code.UNKNOWN_SUBSCRIBER: (409, ENDED),
}


def _lent(done: Lent, terms: LendingTerms) -> dict[str, str]:
    """Describe what was lent; raises what was refused."""
    if done.code == Code.CREDIT_LIMIT:
        below = format_amount(terms.below_micros)
        raise HTTPException(409, f"it is lent where less than {below} is available; nothing was lent")
    if done.code != Code.SUCCESS or done.action is None:
        raise HTTPException(*_REFUSED.get(done.code, (409, f"refused: {done.code.name}; nothing was lent")))
    action = done.action
    return {
        "id": action.asked.id,
        "amount": format_amount(action.asked.amount),
        "fee": format_amount(action.asked.fee_micros),
        "owed": format_amount(action.owed_micros),
        "balance": format_amount(action.balance),
        "available": format_amount(action.available),
    }
