"""Top-ups: money comes in, from a channel or a voucher; taken back whole within what is left (PATCH cancelled, DELETE)."""

from ocs.balance.actions import ActionKind
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import Prepay, perform, shown, take
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.orders import is_order, order
from ocs.http.prepay.posting import found_or_done, named, payer_of, positive_micros, unplaced, whose_of
from ocs.http.prepay.quantities import UsageType
from ocs.http.prepay.shapes import TopupBalanceCreate
from ocs.http.voucher_texts import redemption_begun, redemption_made


async def top_up(
    prepay: Prepay, change: Change, asked: TopupBalanceCreate, header: str | None
) -> ExactAnswer:
    """Add money once by (channel, id)."""
    channel, name = named(change, asked, header)
    if is_order(asked):
        return await order(prepay, change, asked, channel, name)
    _refuse_misfits(asked)
    if asked.usage_type is not UsageType.MONETARY:
        raise bad(
            "badUsageType",
            "usageType: a top-up is money; write monetary (an operator gives allowances: POST bucket)",
        )
    if asked.voucher is not None:
        # without an id the voucher itself is the identity
        return await _redeem(prepay, change, asked, channel, name if asked.id or header else "")
    begun = unplaced(ActionKind.TOPUP, channel, name, asked)
    if asked.amount is None:
        raise bad("missing", 'amount: how much is it? write {"amount": 10.00, "units": "EUR"}')
    account = await found_or_done(
        prepay, begun, asked.amount, asked, payer_of(prepay, asked), whose_of(asked)
    )
    if isinstance(account, ExactAnswer):
        return account
    profile = account.profile
    micros = positive_micros(asked.amount, profile.currency)
    placed = begun._replace(partition=profile.partition, account=profile.path, amount=micros)
    return await perform(prepay, change, placed, account)


async def _redeem(
    prepay: Prepay, change: Change, asked: TopupBalanceCreate, channel: str, name: str
) -> ExactAnswer:
    """Redeem a voucher under (channel, id). What it is worth, the voucher says; an ``amount`` beside it is not looked at. Its code is kept nowhere."""
    if prepay.vouchers is None:
        raise bad("notServed", "voucher: this server redeems none; leave it out")
    account = await payer_of(prepay, asked)
    if name:
        await take(prepay, channel, name)
    await change.begins("voucher.redeem", **redemption_begun(account, channel, name))
    done = await prepay.vouchers.redeem(account, asked.voucher or "", channel, name)
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


def _refuse_misfits(asked: TopupBalanceCreate) -> None:
    """Refuse what would be passed over in silence otherwise."""
    if asked.valid_for is not None:
        raise bad("notServed", "validFor: the tariff says how long a balance lasts; leave it out")
    if asked.balance_topup is not None:
        raise bad("notServed", "balanceTopup: a top-up stands alone; leave it out")
