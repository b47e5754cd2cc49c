"""Billing periods and cycles: stretches of days, half-open, that tile the calendar (pure).

Laws
1. A period is [first, next first) in days of the operator's time zone; it has at least one day.
2. The periods of a cycle tile the days: no gap, no overlap. A cycle of months begins on day 1 to 28, so that every month has it.
3. A cycle's key is its kind and its day ("monthly-15", "weekly-3"); which kinds there are is data (``read_cycles``).
4. Part periods (the first, the last, on demand) are cut out of a cycle's period, and are never longer than it.
"""

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from ocs.rating.document import DocumentFault, document
from ocs.rating.tariff_text import Section

ANCHOR_DAY_MAX = 28
CUT_OFF_DAYS_MAX = 31
PERIODS_MAX = 1_000
_EPOCH = date(2001, 1, 1)
"""A Monday: where cycles of days are counted from."""
_KEY = re.compile(r"([a-z][a-z0-9-]{0,27})-([1-9][0-9]{0,2})")


class PeriodFault(ValueError):
    """Days or a cycle that cannot be billed; the message says what would be right."""


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """The days from ``first`` to before ``next``; PeriodFault where that is none or less."""

    first: date
    next: date

    def __post_init__(self) -> None:
        if self.next <= self.first:
            raise PeriodFault(
                f"a period from {self.first} to before {self.next} has {(self.next - self.first).days} days; it has at least one"
            )

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.next - self.first).days

    @property
    def last(self) -> date:
        """Return its last day: the one that tells the tax rate."""
        return self.next - timedelta(days=1)

    def holds(self, day: date) -> bool:
        """Whether a day lies in it."""
        return self.first <= day < self.next

    def common(self, since: date, until: date | None) -> "Period | None":
        """Return what [since, until) has of it, None where that is nothing; ``until`` None: without end."""
        first = max(self.first, since)
        following = self.next if until is None else min(self.next, until)
        return Period(first, following) if first < following else None


@dataclass(frozen=True, slots=True)
class CycleKind:
    """How long a kind's periods are: so many months (counted from ``from_month``, 1 to 12) or so many days, and how many days after
    a period's end the run may begin.
    """

    name: str
    months: int = 0
    days: int = 0
    from_month: int = 1
    cut_off_days: int = 2


@dataclass(frozen=True, slots=True)
class Cycle:
    """A kind with its day: the day of the month (1 to 28), or the first day's place among ``days`` (weeks: 1 is Monday)."""

    kind: CycleKind
    day: int

    @property
    def key(self) -> str:
        """Its key, as billing accounts name it."""
        return f"{self.kind.name}-{self.day}"

    def period_of(self, day: date) -> Period:
        """Return the period in which a day lies."""
        if self.kind.days:
            place = (day - _EPOCH).days - (self.day - 1)
            first = day - timedelta(days=place % self.kind.days)
            return Period(first, first + timedelta(days=self.kind.days))
        months = day.year * 12 + day.month - 1 - (day.day < self.day)
        begun = months - (months - (self.kind.from_month - 1)) % self.kind.months
        return Period(self._begin(begun), self._begin(begun + self.kind.months))

    def periods_between(self, first: date, following: date) -> list[Period]:
        """Return the whole periods that have a day in [first, following), in order; none where that is empty.

        PeriodFault above PERIODS_MAX of them.
        """
        found: list[Period] = []
        while first < following:
            if len(found) == PERIODS_MAX:
                raise PeriodFault(
                    f"more than {PERIODS_MAX} periods of {self.key}; bill them in several steps"
                )
            found.append(self.period_of(first))
            first = found[-1].next
        return found

    def cut_off(self, period: Period) -> date:
        """Return the day from which a run may bill the period: usage that has come in by then is on it."""
        return period.next + timedelta(days=self.kind.cut_off_days)

    def due(self, unbilled_since: date, day: date) -> list[Period]:
        """Return the periods that a run on ``day`` bills, the first one without what was billed already (law 4)."""
        return [
            Period(max(each.first, unbilled_since), each.next)
            for each in self.periods_between(unbilled_since, day)
            if self.cut_off(each) <= day
        ]

    def on_demand(self, unbilled_since: date, until: date) -> list[Period]:
        """Return what a bill on demand, or the final one, is of: [unbilled_since, until), cut at the cycle's own edges.

        PeriodFault where that is no day.
        """
        whole = Period(unbilled_since, until)
        cut = (whole.common(each.first, each.next) for each in self.periods_between(whole.first, whole.next))
        return [each for each in cut if each is not None]

    def _begin(self, months: int) -> date:
        return date(months // 12, months % 12 + 1, self.day)


def add_months(day: date, months: int) -> date:
    """Return the day so many months later: the last one of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


KINDS: Mapping[str, CycleKind] = {
    kind.name: kind
    for kind in (
        CycleKind("weekly", days=7, cut_off_days=1),
        CycleKind("monthly", months=1),
        CycleKind("bimonthly", months=2),
        CycleKind("quarterly", months=3),
        CycleKind("yearly", months=12),
    )
}
"""What there is where config/cycles.yaml is not read."""


def cycle_of(key: str, kinds: Mapping[str, CycleKind] = KINDS) -> Cycle:
    """Return the cycle of a key such as "monthly-15"; PeriodFault where there is none."""
    found = _KEY.fullmatch(key)
    kind = kinds.get(found.group(1)) if found else None
    if found is None or kind is None:
        raise PeriodFault(
            f"{key[:40]!r} is no cycle; write a kind and a day, such as monthly-1; kinds are {', '.join(sorted(kinds))}"
        )
    day, most = int(found.group(2)), kind.days or ANCHOR_DAY_MAX
    if day > most:
        raise PeriodFault(f"{key}: day {day} of {kind.name}; it is 1 to {most}")
    return Cycle(kind, day)


def spread_cycle(kind: CycleKind, number: int) -> Cycle:
    """Return the cycle of the account with a number (0 or more): days in turn, so that no day has much more to bill than another."""
    return Cycle(kind, number % (kind.days or ANCHOR_DAY_MAX) + 1)


class _KindText(Section):
    months: Annotated[int, Field(ge=1, le=12)] | None = None
    days: Annotated[int, Field(ge=1, le=366)] | None = None
    from_month: int = Field(default=1, ge=1, le=12)
    cut_off_days: int = Field(default=2, ge=0, le=CUT_OFF_DAYS_MAX)

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.months is None) == (self.days is None):
            raise ValueError("write one of months (1 to 12) and days (1 to 366)")
        return self


class _CyclesText(Section):
    cycles: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,27}$")], _KindText] = Field(min_length=1)


def read_cycles(text: str, source: str) -> dict[str, CycleKind]:
    """Read the kinds of cycles from YAML; ``source`` is the file's name. DocumentFault tells every fault with file and line."""
    page = document(text, source)
    if not isinstance(page.content, dict):
        raise DocumentFault([page.at((), "no cycles; write cycles: {monthly: {months: 1}}")])
    return {
        name: CycleKind(name, each.months or 0, each.days or 0, each.from_month, each.cut_off_days)
        for name, each in page.shaped(_CyclesText).cycles.items()
    }
