"""Reservations of money by systems outside (ReserveBalance): held till posted (PATCH completed), void (PATCH cancelled, DELETE) or over."""

from ocs.balance.actions import ActionKind
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.desk import Prepay, perform
from ocs.http.prepay.errors import bad
from ocs.http.prepay.posting import found_or_done, named, payer_of, positive_micros, unplaced, whose_of
from ocs.http.prepay.quantities import UsageType
from ocs.http.prepay.shapes import ReserveBalanceCreate, TimePeriod
from ocs.http.prepay.times import at_ms
from ocs.limits import RESERVED_MS_MAX

_USUAL_MS = 3_600_000
"""How long a reservation lasts that names no end."""


async def reserve(
    prepay: Prepay, change: Change, asked: ReserveBalanceCreate, header: str | None
) -> ExactAnswer:
    """Hold money once by (channel, id)."""
    channel, name = named(change, asked, header)
    if asked.usage_type is not UsageType.MONETARY:
        raise bad("badUsageType", "usageType: money alone is reserved; write monetary")
    begun = unplaced(ActionKind.RESERVE, channel, name, asked)
    account = await found_or_done(
        prepay, begun, asked.amount, asked, payer_of(prepay, asked), whose_of(asked)
    )
    if isinstance(account, ExactAnswer):
        return account
    profile = account.profile
    micros = positive_micros(asked.amount, profile.currency)
    before = await prepay.actions.find(channel, name)  # a repetition may come when its end has passed
    until_ms = _end(asked.valid_for, await prepay.now_ms(profile.partition), may_be_past=before is not None)
    placed = begun._replace(
        partition=profile.partition,
        account=profile.path,
        amount=micros,
        until_ms=until_ms,
        lasts_ms=0 if until_ms else _USUAL_MS,
    )
    return await perform(prepay, change, placed, account)


def _end(period: TimePeriod | None, now_ms: int, *, may_be_past: bool) -> int:
    """Return when a reservation ends; 0: an hour after it was first asked."""
    if period is None or period.end_date_time is None:
        if period is not None and period.start_date_time is not None:
            raise bad("notServed", "validFor.startDateTime: a reservation begins now; leave it out")
        return 0
    until_ms = at_ms(period.end_date_time)
    if may_be_past:
        return until_ms
    if until_ms <= now_ms:
        raise bad("badTime", "validFor.endDateTime: it is past; write a time to come")
    if until_ms > now_ms + RESERVED_MS_MAX:
        days = RESERVED_MS_MAX // 86_400_000
        raise bad(
            "limit", f"validFor.endDateTime: a reservation lasts {days} days at most; write an earlier time"
        )
    return until_ms
