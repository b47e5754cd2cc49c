"""Top-ups: money comes in, from a channel or a voucher; taken back whole within what is left (PATCH cancelled, DELETE)."""

from ocs.balance.actions import ActionKind, Asked
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import Prepay, channel_of, done_before, named_by, own_id, perform, shown
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.orders import is_order, order, order_of
from ocs.http.prepay.quantities import UsageType, micros_of
from ocs.http.prepay.resources import content_of
from ocs.http.prepay.shapes import Quantity, TopupBalanceCreate
from ocs.http.voucher_texts import redemption_begun, redemption_made
from ocs.limits import TOPUP_MICROS_MAX
from ocs.money import format_amount


async def top_up(
    prepay: Prepay, change: Change, asked: TopupBalanceCreate, header: str | None
) -> ExactAnswer:
    """Add money once by (channel, id)."""
    channel, name = (
        channel_of(change.caller, asked.channel.id if asked.channel else None),
        own_id(asked.id, header),
    )
    if is_order(asked):
        return await order(prepay, change, asked, channel, name, positive_micros)
    _refuse_misfits(asked)
    if asked.usage_type is not UsageType.MONETARY:
        raise bad(
            "badUsageType",
            "usageType: a top-up is money; write monetary (an operator gives allowances: POST bucket)",
        )
    if asked.voucher is not None:
        # without an id the voucher itself is the identity
        return await _redeem(prepay, change, asked, channel, name if asked.id or header else "")
    content = content_of(asked, asked.usage_type)
    if asked.amount is None:
        raise bad("missing", 'amount: how much is it? write {"amount": 10.00, "units": "EUR"}')
    begun = Asked(ActionKind.TOPUP, channel, name, -1, "", 0, content=content, reason=asked.reason or "")
    whose = named_by(asked.bucket, asked.logical_resource, asked.party_account)
    try:
        target = await prepay.places.target(whose)
        if target.row:
            raise bad("badBucket", "bucket.id: a top-up goes to an account's money; write the account's name")
    except Told:
        known = await done_before(prepay, begun, asked.amount, asked.usage_type, whose)
        if known is not None:
            return known
        raise
    if await _is_taken(prepay, channel, name):
        raise Told(409, "conflict", "the id is an order's; nothing was done. Use another id")
    profile = target.account.profile
    micros = positive_micros(asked.amount, profile.currency)
    placed = begun._replace(partition=profile.partition, account=profile.path, amount=micros)
    return await perform(prepay, change, placed, target.account)


async def _is_taken(prepay: Prepay, channel: str, name: str) -> bool:
    """Tell whether an id is an order's; only channels that may have orders are asked about."""
    may = prepay.orders is not None and channel in prepay.orders.channels
    return may and await order_of(prepay, channel, name) is not None


async def _redeem(
    prepay: Prepay, change: Change, asked: TopupBalanceCreate, channel: str, name: str
) -> ExactAnswer:
    """Redeem a voucher under (channel, id). What it is worth, the voucher says; an ``amount`` beside it is not looked at. Its code is kept nowhere."""
    if prepay.vouchers is None:
        raise bad("notServed", "voucher: this server redeems none; leave it out")
    target = await prepay.places.target(named_by(asked.bucket, asked.logical_resource, asked.party_account))
    if target.row:
        raise bad("badBucket", "bucket.id: a top-up goes to an account's money; write the account's name")
    await change.begins("voucher.redeem", **redemption_begun(target.account, channel, name))
    done = await prepay.vouchers.redeem(target.account, asked.voucher or "", channel, name)
    change.made(**redemption_made(done, channel))
    why = done.why.name.lower()
    if why != "none":
        status = 400 if why in {"unknown", "unreadable"} else 409
        raise Told(
            status,
            f"voucher{why.title().replace('_', '')}",
            f"voucher: not redeemed, {why.replace('_', ' ')}",
        )
    # without an id it may be another channel's that redeemed it, or one that is older than actions are kept: there is nothing to show
    action = await prepay.actions.find(channel, done.id) if done.channel == channel else None
    if action is None:
        raise Told(409, "voucherUsed", "voucher: it was redeemed for this account before; nothing was added")
    resource = await shown(prepay, action) | {"voucher": done.serial}
    return ExactAnswer(resource, 201, {"Location": resource["href"]})


def positive_micros(quantity: Quantity, currency: str, where: str = "amount") -> int:
    """Read money that has to be above zero and within what one action may move. 400 otherwise."""
    micros = micros_of(quantity.amount, quantity.units, currency, where)
    if micros <= 0:
        raise bad("notPositive", f"{where}.amount: it has to be above zero; write such as 10.00")
    within(micros, where)
    return micros


def within(micros: int, where: str = "amount") -> None:
    """Refuse what is beyond one action's limit, of either sign."""
    if abs(micros) > TOPUP_MICROS_MAX:
        raise bad(
            "limit",
            f"{where}.amount: beyond the limit of one action; write at most {format_amount(TOPUP_MICROS_MAX)}",
        )


def _refuse_misfits(asked: TopupBalanceCreate) -> None:
    """Refuse what would be passed over in silence otherwise."""
    if asked.valid_for is not None:
        raise bad("notServed", "validFor: the tariff says how long a balance lasts; leave it out")
    if asked.balance_topup is not None:
        raise bad("notServed", "balanceTopup: a top-up stands alone; leave it out")
