"""Transfers of money between subscribers (TransferBalance): done at once, never taken back; the server decides what they cost."""

from ocs.balance.accounts import Account
from ocs.balance.actions import ActionKind
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay import quantities
from ocs.http.prepay.desk import Prepay, perform
from ocs.http.prepay.errors import bad
from ocs.http.prepay.places import Named
from ocs.http.prepay.posting import found_or_done, named, positive_micros, unplaced
from ocs.http.prepay.quantities import UsageType, micros_of
from ocs.http.prepay.shapes import CostOwner, TransferBalanceCreate

_RECEIVER = ("receiverBucket.id", "receiverLogicalResource.id", "receiver")


async def transfer(
    prepay: Prepay, change: Change, asked: TransferBalanceCreate, header: str | None
) -> ExactAnswer:
    """Move money once by (channel, id)."""
    channel, name = named(change, asked, header)
    if {asked.usage_type, asked.receiver_bucket_usage_type} - {UsageType.MONETARY, None}:
        raise bad(
            "badUsageType", "usageType, receiverBucketUsageType: money alone is transferred; write monetary"
        )
    if asked.valid_for is not None:
        raise bad("notServed", "validFor: the tariff says how long a balance lasts; leave it out")
    begun = unplaced(ActionKind.TRANSFER, channel, name, asked)
    by, to = _named(asked)
    ends = await found_or_done(prepay, begun, asked.amount, asked, _ends(prepay, by, to), by, to)
    if isinstance(ends, ExactAnswer):
        return ends
    giver, receiver = ends
    currency = giver.profile.currency
    if receiver.profile.currency != currency:
        raise bad(
            "currency",
            f"receiverLogicalResource: the receiver is in another currency than {currency}; nothing is exchanged",
        )
    micros = positive_micros(asked.amount, currency)
    fee_micros = prepay.terms.fee_micros(micros, currency)
    if asked.transfer_cost is not None:
        said = micros_of(asked.transfer_cost.value, asked.transfer_cost.unit, currency, "transferCost")
        if said != fee_micros:
            right = f"{quantities.decimal_of(fee_micros):f} {currency}"
            raise bad("badCost", f"transferCost: it costs {right}; write that, or leave it out")
    placed = begun._replace(
        partition=giver.profile.partition,
        account=giver.profile.path,
        amount=micros,
        receiver_partition=receiver.profile.partition,
        receiver=receiver.profile.path,
        fee_micros=fee_micros,
        fee_by_receiver=asked.cost_owner is CostOwner.RECEIVER,
    )
    return await perform(prepay, change, placed, giver)


def _named(asked: TransferBalanceCreate) -> tuple[Named, Named]:
    """Return what giver and receiver are named by."""
    return (
        Named(asked.bucket.id if asked.bucket else None, asked.logical_resource[0].id),
        Named(
            asked.receiver_bucket.id if asked.receiver_bucket else None, asked.receiver_logical_resource.id
        ),
    )


async def _ends(prepay: Prepay, by: Named, to: Named) -> tuple[Account, Account]:
    """Return giver and receiver. 400 where one of them is not there, a bucket is no money, or both are one."""
    giver = await prepay.places.target(by)
    receiver = await prepay.places.target(to, _RECEIVER)
    if giver.row or receiver.row:
        raise bad(
            "badBucket", "bucket.id, receiverBucket.id: money alone is transferred; write the accounts' names"
        )
    if giver.account.profile.account == receiver.account.profile.account:
        raise bad(
            "sameAccount",
            "receiverLogicalResource: giver and receiver share one balance; name another receiver",
        )
    return giver.account, receiver.account
