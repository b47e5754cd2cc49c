"""What all POSTs of actions have in common: whose and which it is, on whose money, how much; and what was asked before."""

from collections.abc import Awaitable
from typing import TypeVar

from ocs.balance.accounts import Account
from ocs.balance.actions import ActionKind, Asked
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import Prepay, channel_of, done_before, named_by, own_id
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.places import Named, Target
from ocs.http.prepay.quantities import micros_of
from ocs.http.prepay.resources import content_of
from ocs.http.prepay.shapes import (
    ActionCreate,
    AdjustBalanceCreate,
    Quantity,
    ReserveBalanceCreate,
    TopupBalanceCreate,
)
from ocs.limits import TOPUP_MICROS_MAX
from ocs.money import format_amount

Found = TypeVar("Found")
Placed = TopupBalanceCreate | AdjustBalanceCreate | ReserveBalanceCreate
"""Bodies that name one balance."""


def named(change: Change, asked: ActionCreate, header: str | None) -> tuple[str, str]:
    """Return the channel and the id of what is asked for. 400, 403."""
    channel = channel_of(change.caller, asked.channel.id if asked.channel else None)
    return channel, own_id(asked.id, header)


def unplaced(kind: ActionKind, channel: str, name: str, asked: ActionCreate) -> Asked:
    """Return what is asked for, still without its place and its amount. 400 where the body says too much."""
    content = content_of(asked, asked.usage_type)
    return Asked(kind, channel, name, -1, "", 0, content=content, reason=asked.reason or "")


def whose_of(asked: Placed) -> Named:
    """Return what a body names its balance by."""
    return named_by(asked.bucket, asked.logical_resource, asked.party_account)


async def target_of(prepay: Prepay, asked: Placed) -> Target:
    """Return the balance that a body names. 400 where there is none."""
    return await prepay.places.target(whose_of(asked))


async def payer_of(prepay: Prepay, asked: Placed) -> Account:
    """Return the account whose money a body names. 400 where there is none, and for a bucket that is no money."""
    target = await target_of(prepay, asked)
    if target.row:
        raise bad("badBucket", "bucket.id: it is about an account's money; write the account's name")
    return target.account


async def found_or_done(
    prepay: Prepay,
    begun: Asked,
    quantity: Quantity,
    asked: ActionCreate,
    finding: Awaitable[Found],
    whose: Named,
    receiver: Named | None = None,
) -> Found | ExactAnswer:
    """Return whom an action is about; where that is nobody, the answer to what was asked before in the same words for them (desk.py, law 2). 400."""
    try:
        return await finding
    except Told:
        known = await done_before(prepay, begun, quantity, asked.usage_type, whose, receiver)
        if known is None:
            raise
        return known


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
