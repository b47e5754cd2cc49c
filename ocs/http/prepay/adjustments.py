"""Adjustments: an operator gives to, or takes from, an account's money or one of its buckets (AdjustBalance)."""

from ocs.balance.actions import ActionKind
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import Prepay, perform
from ocs.http.prepay.errors import bad
from ocs.http.prepay.places import Target
from ocs.http.prepay.posting import found_or_done, named, target_of, unplaced, whose_of, within
from ocs.http.prepay.quantities import MONEY_ROW, UsageType, count_of, micros_of
from ocs.http.prepay.shapes import AdjustBalanceCreate, AdjustType, Quantity


async def adjust(
    prepay: Prepay, change: Change, asked: AdjustBalanceCreate, header: str | None
) -> ExactAnswer:
    """Adjust once by (channel, id)."""
    channel, name = named(change, asked, header)
    if asked.adjust_type is AdjustType.RECURRING:
        raise bad("notServed", "adjustType: what recurs is a product; write oneTime, or leave it out")
    if asked.valid_for is not None:
        raise bad("notServed", "validFor: a bucket lasts as long as it does; leave it out")
    begun = unplaced(ActionKind.ADJUST, channel, name, asked)
    target = await found_or_done(
        prepay, begun, asked.amount, asked, target_of(prepay, asked), whose_of(asked)
    )
    if isinstance(target, ExactAnswer):
        return target
    profile = target.account.profile
    amount = _amount(asked.amount, asked.usage_type, target)
    placed = begun._replace(
        partition=profile.partition, account=profile.path, amount=amount, bucket=target.row
    )
    return await perform(prepay, change, placed, target.account)


def _amount(quantity: Quantity, usage: UsageType, target: Target) -> int:
    """Read what is given (above zero) or taken (below), in the bucket's own unit."""
    if not quantity.amount:
        raise bad("notPositive", "amount.amount: an adjustment of nothing; write more, or less, than zero")
    if not target.row:
        if usage is not UsageType.MONETARY:
            raise bad("badUsageType", "usageType: the bucket is money; write monetary, or another bucket.id")
        micros = micros_of(quantity.amount, quantity.units, target.account.profile.currency)
        within(micros)
        return micros
    row = target.stored_row
    if row is None:
        raise bad("unknownBucket", "bucket.id: there is no such bucket")
    if (row.unit == MONEY_ROW) != (usage is UsageType.MONETARY):
        raise bad("badUsageType", "usageType: the bucket is of another; look at it: GET bucket")
    if row.unit == MONEY_ROW:
        micros = micros_of(quantity.amount, quantity.units, target.account.profile.currency)
        within(micros)
        return micros
    return count_of(quantity.amount, quantity.units, usage)
