"""A bill run: one durable object that goes from plan to published bills, and an account's row in it (pure).

Laws
1. What a state allows is in the tables below and nowhere else. An event that a state has no row for is refused; what was done already may be
   asked for again, and changes nothing (the row leads to the state itself).
2. Money moves only between `approve_execute` and `published`; numbers are given only behind `approve_number`.
3. A run that has given a number is never abandoned: what was numbered is corrected by a credit, not undone.
4. An account's row ends: closed (its bill has a number, or there was nothing to bill), or left out. What is parked waits for a human, and
   the rest of the run does not wait for it; behind `resume` it is planned again, and its bill gets the next number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from postpaid_bridge.periods import Cycle, Period

__all__ = [
    "ACCOUNTS", "RUNS", "AccountEvent", "AccountState", "Due", "NoRun", "OutlierRules", "RunEvent", "RunFault", "RunState", "Settings", "account_after",
    "after", "due_of", "number_text", "oldest_ms", "outlier", "start_ms",
]  # fmt: skip


class RunFault(ValueError):
    """What a run refuses; the message says what would be right."""


class NoRun(RunFault):
    """There is no such run, or no such account in it."""


class RunState(StrEnum):
    """Where a run is."""

    PLANNED = "planned"
    PREVIEWED = "previewed"
    APPROVED_TO_EXECUTE = "approved_to_execute"
    EXECUTING = "executing"
    EXECUTED = "executed"
    APPROVED_TO_NUMBER = "approved_to_number"
    NUMBERING = "numbering"
    NUMBERED = "numbered"
    PUBLISHED = "published"
    ABANDONED = "abandoned"


class RunEvent(StrEnum):
    """What happens to a run. Those of humans and jobs: preview to abandon; ``executed`` and ``numbered`` are told by the rows."""

    PREVIEW = "preview"
    APPROVE_EXECUTE = "approve_execute"
    EXECUTE = "execute"
    EXECUTED = "executed"
    APPROVE_NUMBER = "approve_number"
    NUMBER = "number"
    NUMBERED = "numbered"
    PUBLISH = "publish"
    RESUME = "resume"
    ABANDON = "abandon"


_S, _E = RunState, RunEvent
RUNS: Mapping[RunState, Mapping[RunEvent, RunState]] = {
    _S.PLANNED: {_E.PREVIEW: _S.PREVIEWED, _E.ABANDON: _S.ABANDONED},
    _S.PREVIEWED: {
        _E.PREVIEW: _S.PREVIEWED,
        _E.APPROVE_EXECUTE: _S.APPROVED_TO_EXECUTE,
        _E.ABANDON: _S.ABANDONED,
    },
    _S.APPROVED_TO_EXECUTE: {
        _E.APPROVE_EXECUTE: _S.APPROVED_TO_EXECUTE,
        _E.EXECUTE: _S.EXECUTING,
        _E.ABANDON: _S.ABANDONED,
    },
    _S.EXECUTING: {
        _E.APPROVE_EXECUTE: _S.EXECUTING,
        _E.EXECUTE: _S.EXECUTING,
        _E.RESUME: _S.EXECUTING,
        _E.EXECUTED: _S.EXECUTED,
        _E.ABANDON: _S.ABANDONED,
    },
    _S.EXECUTED: {
        _E.APPROVE_EXECUTE: _S.EXECUTED,
        _E.EXECUTE: _S.EXECUTED,
        _E.EXECUTED: _S.EXECUTED,
        _E.RESUME: _S.EXECUTING,
        _E.APPROVE_NUMBER: _S.APPROVED_TO_NUMBER,
        _E.ABANDON: _S.ABANDONED,
    },
    _S.APPROVED_TO_NUMBER: {
        _E.EXECUTE: _S.APPROVED_TO_NUMBER,
        _E.APPROVE_NUMBER: _S.APPROVED_TO_NUMBER,
        _E.NUMBER: _S.NUMBERING,
        _E.ABANDON: _S.ABANDONED,
    },
    _S.NUMBERING: {
        _E.EXECUTE: _S.NUMBERING,
        _E.APPROVE_NUMBER: _S.NUMBERING,
        _E.NUMBER: _S.NUMBERING,
        _E.NUMBERED: _S.NUMBERED,
    },
    _S.NUMBERED: {
        _E.EXECUTE: _S.NUMBERED,
        _E.APPROVE_NUMBER: _S.NUMBERED,
        _E.NUMBER: _S.NUMBERED,
        _E.NUMBERED: _S.NUMBERED,
        _E.RESUME: _S.EXECUTING,
        _E.PUBLISH: _S.PUBLISHED,
    },
    _S.PUBLISHED: {
        _E.EXECUTE: _S.PUBLISHED,
        _E.APPROVE_NUMBER: _S.PUBLISHED,
        _E.NUMBER: _S.PUBLISHED,
        _E.NUMBERED: _S.PUBLISHED,
        _E.PUBLISH: _S.PUBLISHED,
        _E.RESUME: _S.EXECUTING,
    },
    _S.ABANDONED: {_E.ABANDON: _S.ABANDONED},
}
"""From each state, where each event leads (law 1)."""


class AccountState(StrEnum):
    """Where an account's row in a run is."""

    PLANNED = "planned"
    DONE = "done"
    PARKED = "parked"
    CLOSED = "closed"
    LEFT_OUT = "left_out"


class AccountEvent(StrEnum):
    """What happens to an account in a run."""

    BILL = "bill"
    PARK = "park"
    AGAIN = "again"
    NUMBER = "number"
    LEAVE_OUT = "leave_out"


_A, _B = AccountState, AccountEvent
ACCOUNTS: Mapping[AccountState, Mapping[AccountEvent, AccountState]] = {
    _A.PLANNED: {_B.BILL: _A.DONE, _B.PARK: _A.PARKED, _B.LEAVE_OUT: _A.LEFT_OUT, _B.AGAIN: _A.PLANNED},
    _A.DONE: {_B.BILL: _A.DONE, _B.NUMBER: _A.CLOSED, _B.LEAVE_OUT: _A.LEFT_OUT},
    _A.PARKED: {_B.AGAIN: _A.PLANNED, _B.PARK: _A.PARKED, _B.LEAVE_OUT: _A.LEFT_OUT},
    _A.CLOSED: {_B.BILL: _A.CLOSED, _B.NUMBER: _A.CLOSED},
    _A.LEFT_OUT: {_B.LEAVE_OUT: _A.LEFT_OUT},
}


def after(state: RunState, event: RunEvent, *, numbers: int = 0) -> RunState:
    """Return where an event leads; ``numbers`` that the run has given (law 3). Raises RunFault."""
    found = RUNS[state].get(event)
    if found is None:
        allowed = ", ".join(sorted(RUNS[state]))
        raise RunFault(f"a run that is {state} cannot {event}; it can: {allowed}")
    if event is RunEvent.ABANDON and numbers and state is not RunState.ABANDONED:
        raise RunFault(
            f"{numbers} bills of this run have numbers; it cannot be abandoned: leave out what is parked, and correct bills by a credit"
        )
    return found


def account_after(state: AccountState, event: AccountEvent) -> AccountState:
    """Return where an event leads an account's row. Raises RunFault."""
    found = ACCOUNTS[state].get(event)
    if found is None:
        raise RunFault(
            f"an account that is {state} cannot {event}; it can: {', '.join(sorted(ACCOUNTS[state]))}"
        )
    return found


def sources(event: AccountEvent, into: AccountState) -> Iterator[AccountState]:
    """Give the states from which an event leads into another state: what the keepers' statements may touch."""
    return (each for each, events in ACCOUNTS.items() if each is not into and events.get(event) is into)


# ---------------------------------------------------------------- what is due


class Settings(NamedTuple):
    """What a run goes by; it is kept with the run, so that it ends as it began.

    ``series`` stands before its numbers ("": none), ``zero_bills`` whether an account with nothing to post gets a bill, ``late_days`` how far
    before its period usage may lie that comes late.
    """

    series: str = ""
    zero_bills: bool = True
    late_days: int = 90


SERIES_CHARS_MAX = 8
LATE_DAYS_MAX = 366


def checked(settings: Settings) -> Settings:
    """Return settings that a run may have. Raises RunFault."""
    series = settings.series
    plain = series.isascii() and series.isalnum() and series == series.upper()
    if series and (not plain or len(series) > SERIES_CHARS_MAX):
        raise RunFault(f"{series[:20]!r}: a series has up to {SERIES_CHARS_MAX} capital letters and digits")
    if not 0 <= settings.late_days <= LATE_DAYS_MAX:
        raise RunFault(f"{settings.late_days} days: usage may be late by 0 to {LATE_DAYS_MAX} days")
    return settings


@dataclass(frozen=True, slots=True)
class Due:
    """What a run bills of an account: the period, the kind of bill, and how many more periods are due behind it."""

    period: Period
    kind: str
    more: int


def due_of(
    cycle: Cycle, since: date, until: date | None, billed_until: date | None, day: date, *, early: bool
) -> Due | None:
    """Return the oldest period that is due on a day of an account held in [since, until), billed up to ``billed_until``; None: nothing is.

    ``early``: on demand or final, that is without waiting for the cycle's end: all days before ``day``.
    """
    first = billed_until or since
    if until is not None and until <= first:
        return None
    if early:
        end = min(day, until or day)
        periods = cycle.on_demand(first, end) if first < end else []
    else:
        periods = cycle.due(first, day)
    cut = [part for each in periods if (part := each.common(first, until)) is not None]
    if not cut:
        return None
    kind = "final" if cut[0].next == until else "on_demand" if early else "regular"
    if kind == "on_demand" and cycle.period_of(cut[0].first).next == cut[0].next:
        kind = "regular"
    return Due(cut[0], kind, len(cut) - 1)


def start_ms(day: date, zone: ZoneInfo) -> int:
    """Return the instant at which a day begins in a zone, in milliseconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def oldest_ms(period: Period, late_days: int, zone: ZoneInfo) -> int:
    """Return the instant before which late usage is not billed any more with a period."""
    return start_ms(period.first - timedelta(days=late_days), zone)


# ---------------------------------------------------------------- numbers and looks


def number_text(series: str, year: int, sequence: int) -> str:
    """Return a bill's number: series, year, and six digits or more ("R-2026-000123")."""
    return f"{series}-{year}-{sequence:06}" if series else f"{year}-{sequence:06}"


class OutlierRules(NamedTuple):
    """What a human shall look at before a run goes on: bills above a size, and those that changed by more than a share and an amount."""

    most_cents: int = 50_000
    change_percent: int = 100
    change_cents: int = 5_000


def outlier(gross_cents: int, last_cents: int | None, rules: OutlierRules) -> str:
    """Return why a bill is an outlier, "" where it is none; ``last_cents`` is the bill of the last period (None: there was none)."""
    found = []
    if gross_cents > rules.most_cents:
        found.append("large")
    if gross_cents < 0:
        found.append("negative")
    if last_cents is not None:
        change = abs(gross_cents - last_cents)
        if change > rules.change_cents and change * 100 > abs(last_cents) * rules.change_percent:
            found.append("more" if gross_cents > last_cents else "less")
    return ", ".join(found)
