"""Recurring and automatic top-ups: a topupBalance that says recurringPeriod or isAutoTopup is a standing order (ocs/balance/topup_orders.py).

Laws
1. An order is a resource of its own: ``created`` as long as it stands, ``failed`` where it was suspended, and ``created`` again once it is resumed. Its executions are top-ups of their own.
2. An id is an order's or a top-up's, never both.
"""

from typing import Any, Final

from ocs.balance.accounts import Account
from ocs.balance.topup_orders import ID_CHARS_MAX, Kept, Order, OrderState
from ocs.clock import instant
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.order_desk import CROWDED, OrderDesk
from ocs.http.prepay import quantities
from ocs.http.prepay.buckets import bucket_ref, href, number_ref
from ocs.http.prepay.desk import Prepay
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.places import BucketId
from ocs.http.prepay.posting import payer_of, positive_micros
from ocs.http.prepay.quantities import UsageType
from ocs.http.prepay.resources import content_of, said_of
from ocs.http.prepay.shapes import ActionStatus, TopupBalanceCreate, Update
from ocs.http.prepay.times import at_ms
from ocs.outcomes import Code

_STATES: Final = {
    OrderState.ACTIVE: ActionStatus.CREATED,
    OrderState.SUSPENDED: ActionStatus.FAILED,
    OrderState.CANCELLED: ActionStatus.CANCELLED,
    OrderState.COMPLETED: ActionStatus.COMPLETED,
}


def is_order(asked: TopupBalanceCreate) -> bool:
    """Tell whether a body asks for more than one top-up."""
    return (
        bool(asked.is_auto_topup) or asked.recurring_period is not None or asked.number_of_periods is not None
    )


async def order(
    prepay: Prepay,
    change: Change,
    asked: TopupBalanceCreate,
    channel: str,
    name: str,
) -> ExactAnswer:
    """Keep an order once by (channel, id): 201 with it as it stands."""
    desk = prepay.orders
    if desk is None or channel not in desk.channels:
        raise bad(
            "notServed",
            "isAutoTopup, recurringPeriod, numberOfPeriods: the channel has no such orders here; leave them out, or write isAutoTopup false",
        )
    _refuse(asked, name)
    account = await payer_of(prepay, asked)
    profile = account.profile
    assert asked.amount is not None
    micros = positive_micros(asked.amount, profile.currency)
    wanted = Order(
        channel,
        name,
        profile.partition,
        profile.path,
        micros,
        str(asked.recurring_period or ""),
        asked.number_of_periods or 0,
        0 if asked.recurring_period else desk.below_micros,
        content_of(asked, asked.usage_type),
        asked.payment_method.id if asked.payment_method is not None else "",
        await _start_ms(prepay, asked, profile.partition),
    )
    await change.begins(
        "topup.order",
        resource=wanted.name,
        account=profile.path,
        before={"amount": wanted.amount_micros, "period": wanted.period, "below": wanted.below_micros},
    )
    made = await _created(prepay, desk, wanted, account)
    change.made(after={"state": str(made.state), "done": made.done})
    resource = shown_order(made, account)
    return ExactAnswer(resource, 201, {"Location": resource["href"]})


async def _created(prepay: Prepay, desk: OrderDesk, wanted: Order, account: Account) -> Order:
    if await desk.orders.find(wanted.channel, wanted.id) is None:
        if await prepay.actions.find(wanted.channel, wanted.id) is not None:
            raise _taken()
        if account.ended:
            raise Told(409, "unknownSubscriber", "the account has ended; nothing was done")
        if await desk.crowded(account):
            raise Told(409, "limit", CROWDED)
    made = await desk.orders.create(wanted)
    if made.code != Code.SUCCESS:
        raise _taken()
    return made.order


def _taken() -> Told:
    return Told(
        409,
        "conflict",
        "the id was used with other content; nothing was done. Use another id, or repeat what was sent first",
    )


def _refuse(asked: TopupBalanceCreate, name: str) -> None:
    """Refuse what makes no order."""
    if asked.is_auto_topup and asked.recurring_period is not None:
        raise bad("badOrder", "isAutoTopup, recurringPeriod: it is one of them; leave the other out")
    if asked.number_of_periods is not None and asked.recurring_period is None:
        raise bad("badOrder", "numberOfPeriods: of which period? write recurringPeriod too")
    if asked.voucher is not None:
        raise bad("badOrder", "voucher: it is redeemed once; leave it out of an order")
    if asked.balance_topup is not None:
        raise bad("notServed", "balanceTopup: a top-up stands alone; leave it out")
    if asked.usage_type is not UsageType.MONETARY:
        raise bad("badUsageType", "usageType: a top-up is money; write monetary")
    if asked.amount is None:
        raise bad("missing", 'amount: how much is it? write {"amount": 10.00, "units": "EUR"}')
    if len(name) > ID_CHARS_MAX:
        raise bad("badId", f"id: that of an order has at most {ID_CHARS_MAX} characters")
    valid = asked.valid_for
    if valid is not None and (valid.end_date_time is not None or asked.recurring_period is None):
        raise bad(
            "notServed",
            "validFor: startDateTime of a recurring one says when it begins; leave the rest out, numberOfPeriods says how often",
        )


async def _start_ms(prepay: Prepay, asked: TopupBalanceCreate, partition: int) -> int:
    """Return when a recurring order begins, 0: at once."""
    if asked.valid_for is None or asked.valid_for.start_date_time is None:
        return 0
    start_ms = at_ms(asked.valid_for.start_date_time)
    now_ms = await prepay.now_ms(partition)
    return start_ms if start_ms > now_ms else 0


def shown_order(made: Order, account: Account | None) -> dict[str, Any]:
    """Describe an order."""
    said = said_of(made.content)
    bucket = BucketId(made.path.partition("/")[0], "")
    currency = account.profile.currency if account is not None else ""
    found: dict[str, Any] = {
        "id": made.id,
        "href": href("topupBalance", made.id),
        "@type": "TopupBalance",
        **said,
        "isAutoTopup": not made.period,
        "status": _STATES[made.state],
        "usageType": UsageType.MONETARY,
        "requestedDate": instant(made.created_ms, "auto"),
        "amount": quantities.money(made.amount_micros, currency),
        "bucket": bucket_ref(bucket),
        "channel": {"id": made.channel, "@referredType": "Channel"},
        "partyAccount": {"id": bucket.account, "@referredType": "PrepayAccount"},
    }
    if account is not None:
        found["logicalResource"] = [number_ref(account)]
    if made.why:
        found["description"] = made.why
    return found


async def order_of(prepay: Prepay, channel: str, name: str) -> Kept | None:
    """Return a channel's order, where there is one of this id."""
    return await prepay.orders.orders.find(channel, name) if prepay.orders is not None else None


async def show(prepay: Prepay, kept: Kept) -> dict[str, Any]:
    """Describe an order with whom it is for."""
    found = kept.order
    return shown_order(found, await prepay.places.by_path(found.path))


async def end(prepay: Prepay, change: Change, kept: Kept) -> dict[str, Any]:
    """End an order, again too; describe it."""
    desk, found = prepay.orders, kept.order
    assert desk is not None
    before = {"state": str(found.state), "done": found.done}
    await change.begins("topup.order.cancel", resource=found.name, account=found.path, before=before)
    ended = await desk.orders.end(found.channel, found.id)
    if ended is None:
        raise Told(404, "notFound", "there is none of this id")
    change.made(after={"state": str(ended.state), "done": ended.done})
    return shown_order(ended, await prepay.places.by_path(ended.path))


async def resume(prepay: Prepay, change: Change, kept: Kept) -> dict[str, Any]:
    """Let a suspended order go on; describe it."""
    desk, found = prepay.orders, kept.order
    assert desk is not None
    account = await prepay.places.by_path(found.path)
    if account is None:
        raise Told(409, "unknownSubscriber", "the account has ended; nothing was done")
    if why := await desk.hinders(found, account):
        raise Told(409, "limit" if why == CROWDED else "conflict", f"status: {why}; nothing was done")
    before = {"state": str(found.state), "done": found.done}
    await change.begins("topup.order.resume", resource=found.name, account=found.path, before=before)
    done = await desk.orders.resume(found.channel, found.id)
    if done is None:
        raise Told(404, "notFound", "there is none of this id")
    change.made(after={"state": str(done.order.state), "done": done.order.done})
    if done.code != Code.SUCCESS:
        raise Told(409, "conflict", f"status: it is {_STATES[done.order.state]} already")
    return shown_order(done.order, account)


async def change_order(prepay: Prepay, change: Change, kept: Kept, wanted: Update) -> ExactAnswer:
    """Bring an order to the state that is wanted, where there is a way: it can be cancelled, and one that was suspended resumed (``created``)."""
    state = _STATES[kept.order.state]
    if wanted.status is ActionStatus.CREATED and kept.order.state is OrderState.SUSPENDED:
        return ExactAnswer(await resume(prepay, change, kept))
    if wanted.status is ActionStatus.CANCELLED and state is not ActionStatus.COMPLETED:
        return ExactAnswer(await end(prepay, change, kept))
    if wanted.status is not state:
        raise Told(409, "conflict", f"status: it is {state} and does not become {wanted.status}")
    return ExactAnswer(await show(prepay, kept))
