"""Where an account stands at a day: what is overdue, in default, contested, what interest has run, which holds stop us (pure).

Laws
1. The standing is a function of what is handed in: claims, objections, holds, history, policy, law, rates, day. No clock, no order.
2. What counts to a step is principal that is overdue and not contested. Fees and interest are claimed, and never lead to a step.
3. Default begins by a calendar date of the contract, 30 days after due and receipt (consumers: if the bill says so), or with the receipt of a
   reminder, whichever is first (BGB section 286).
4. Interest is simple, by days of the year that they lie in, on principal alone (BGB sections 288, 289); a payment's day bears none of what it
   paid. Days without a base rate bear none, and are told.
5. A payment makes nothing worse: less overdue, less in default, no more interest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from postpaid_bridge.dunning.policy import Law, Policy, Rates, half_of
from postpaid_bridge.tax import CENT_MICROS

__all__ = [
    "CLOSING", "Accrued", "Done", "Facts", "Hold", "InDefault", "Objection", "Owed", "Standing", "accrued", "calculate", "default_since",
]  # fmt: skip

PRINCIPAL = "principal"
CONSUMER = "consumer"
CLOSING = frozenset({"lift", "end"})
"""Actions that end a case."""
WRITTEN = frozenset({"reminder", "warning", "bar_outgoing", "bar_all", "termination"})


class Owed(NamedTuple):
    """A claim of which something is open. ``paid`` are the days and micro-units of what was paid of it (below 0: taken back)."""

    id: int
    bill: str
    debt: str
    kind: str
    book: str
    creditor: str
    open_micros: int
    issued: date
    due: date
    paid: tuple[tuple[date, int], ...] = ()


class Objection(NamedTuple):
    """What is contested of a bill in time, in form and with reasons, to the end of ``until`` (None: until it is ended); amount None: all of
    it (TKG section 61(4) sentences 3 to 5).
    """

    bill: str
    amount_micros: int | None
    until: date | None = None


class Hold(NamedTuple):
    """What stops dunning from a day on: dispute (all is contested), promise (to pay), manual; to the end of ``until`` (None: until it is ended)."""

    id: int
    kind: str
    reason: str
    since: date
    until: date | None

    def stops(self, day: date) -> bool:
        """Tell whether it holds on a day."""
        return self.since <= day and (self.until is None or day <= self.until)


class Done(NamedTuple):
    """A step that was taken; ``until`` is the last day to pay that its letter gave."""

    case: int
    level: int
    action: str
    day: date
    until: date | None
    letter: str
    channel: str = ""


class Facts(NamedTuple):
    """All that is known of an account. ``barred`` is what dunning has barred now; ``charged`` the interest charged by claim, ``flat`` the bills
    whose flat sum was charged. ``history`` is in its order.
    """

    account: int
    kind: str
    claims: Sequence[Owed]
    objections: Sequence[Objection] = ()
    holds: Sequence[Hold] = ()
    history: Sequence[Done] = ()
    barred: str = ""
    charged: Mapping[int, int] = {}
    flat: frozenset[str] = frozenset()


class InDefault(NamedTuple):
    """A claim that is overdue: what counts of it, since when it is in default (None: not yet), and by which paragraph."""

    claim: Owed
    counted_micros: int
    since: date | None
    interest_since: date | None
    by: str


class Accrued(NamedTuple):
    """Interest of a claim that is to be charged, whole cents, and the stretches of days without a base rate."""

    claim: Owed
    micros: int
    without_rate: tuple[tuple[date, date], ...]


class Standing(NamedTuple):
    """Where an account stands at a day. ``case`` is the one that runs (0: none), ``level`` its last; ``occasions`` how often it was not paid."""

    day: date
    case: int
    cases: int
    level: int
    steps: tuple[Done, ...]
    overdue: tuple[InDefault, ...]
    oldest_due: date | None
    overdue_micros: int
    default_micros: int
    contested_micros: int
    open_micros: int
    bills_in_default: tuple[str, ...]
    books: tuple[str, ...]
    occasions: int
    holds: tuple[Hold, ...]
    barred: str

    @property
    def last(self) -> Done | None:
        """Return the last step of the case that runs."""
        return self.steps[-1] if self.steps else None


def calculate(facts: Facts, policy: Policy, law: Law | None, day: date) -> Standing:
    """Return where an account stands at the end of a day."""
    cases, steps = _case(facts.history, day)
    holds = tuple(each for each in facts.holds if each.stops(day))
    principal = sorted(
        (each for each in facts.claims if each.kind == PRINCIPAL), key=lambda each: (each.due, each.id)
    )
    objections = list(facts.objections)
    if any(each.kind == "dispute" for each in holds):
        objections += [Objection(each.bill, None) for each in principal]
    contested = _contested(principal, objections)
    overdue = []
    for each in principal:
        if each.due >= day:
            continue
        since, interest_since, by = default_since(each, facts, policy, law, day)
        counted = each.open_micros - contested.get(each.id, 0)
        if counted > 0:
            overdue.append(InDefault(each, counted, since, interest_since, by))
    default = [each for each in overdue if each.since is not None]
    bills = tuple(dict.fromkeys(each.claim.bill for each in default))
    missed = len({each.claim.bill for each in overdue})
    unheard = sum(each.until is not None and each.until < day for each in steps)
    return Standing(
        day, cases if steps else 0, cases, steps[-1].level if steps else 0, steps, tuple(overdue),
        min((each.claim.due for each in overdue), default=None),
        sum(each.counted_micros for each in overdue), sum(each.counted_micros for each in default), sum(contested.values()),
        sum(each.open_micros for each in facts.claims), bills,
        tuple(sorted({each.claim.book for each in default if each.claim.book})), missed + unheard if missed else 0, holds, facts.barred,
    )  # fmt: skip


def _case(history: Sequence[Done], day: date) -> tuple[int, tuple[Done, ...]]:
    """Return how many cases there were, and the steps of the one that runs."""
    known = [each for each in history if each.day <= day]
    cases = max((each.case for each in known), default=0)
    steps = tuple(each for each in known if each.case == cases)
    return cases, () if any(each.action in CLOSING for each in steps) else steps


def _contested(principal: Sequence[Owed], objections: Iterable[Objection]) -> dict[int, int]:
    """Spread what is contested of each bill over its claims; never more than is open."""
    wanted: dict[str, int | None] = {}
    for bill, micros, _ in objections:
        before = wanted.get(bill, 0)
        wanted[bill] = None if micros is None or before is None else before + micros
    found: dict[int, int] = {}
    for each in principal:
        if each.bill not in wanted:
            continue
        left = wanted[each.bill]
        part = each.open_micros if left is None else min(left, each.open_micros)
        if left is not None:
            wanted[each.bill] = left - part
        if part:
            found[each.id] = part
    return found


def default_since(
    claim: Owed, facts: Facts, policy: Policy, law: Law | None, day: date
) -> tuple[date | None, date | None, str]:
    """Return since when a claim is in default by a day, from which day it bears interest, and by which paragraph; None: it is not (law 3)."""
    found: list[tuple[date, date, str]] = []
    receipt = timedelta(policy.receipt_days)
    if policy.by_date:
        first = claim.due + timedelta(1)
        found.append((first, first, "BGB §286(2) no. 1"))
    if policy.thirty_days and law is not None:
        first = max(claim.due, claim.issued + receipt) + timedelta(law.default_days + 1)
        found.append((first, first, "BGB §286(3)"))
    for each in facts.history:
        if each.letter in WRITTEN and each.day > claim.due:
            first = each.day + receipt
            found.append((first, first + timedelta(1), "BGB §286(1)"))  # BGB section 187(1)
    first, interest, by = min(found, default=(date.max, date.max, ""))
    return (first, interest, by) if first <= day else (None, None, "")


# ---------------------------------------------------------------- interest


def accrued(
    facts: Facts, standing: Standing, policy: Policy, law: Law | None, rates: Rates
) -> tuple[Accrued, ...]:
    """Return the interest that claims in default bear up to before the standing's day and that is not charged yet."""
    if not policy.interest or law is None:
        return ()
    points = law.points_consumer_micros if facts.kind == CONSUMER else law.points_business_micros
    found = []
    for each in standing.overdue:
        if each.interest_since is None:
            continue
        total, without = _interest(each, points, rates, standing.day)
        due = total // CENT_MICROS * CENT_MICROS - facts.charged.get(each.claim.id, 0)
        if due > 0 or without:
            found.append(Accrued(each.claim, max(0, due), without))
    return tuple(found)


def _interest(
    each: InDefault, points_micros: int, rates: Rates, until: date
) -> tuple[int, tuple[tuple[date, date], ...]]:
    """Return the interest of a claim in micro-units, rounded down, and the stretches without a rate."""
    assert each.interest_since is not None
    total = Fraction(0)
    without: list[tuple[date, date]] = []
    for first, following in _stretches(each, until):
        base = rates.at(first)
        if base is None:
            if without and without[-1][1] == first:
                first = without.pop()[0]  # noqa: PLW2901 - the stretch goes on
            without.append((first, following))
            continue
        amount = each.counted_micros + sum(micros for day, micros in each.claim.paid if day > first)
        days, year = (following - first).days, 366 if _is_leap(first.year) else 365
        total += Fraction(max(0, amount) * max(0, base + points_micros) * days, 100_000_000 * year)
    return int(total), tuple(without)


def _stretches(each: InDefault, until: date) -> Iterator[tuple[date, date]]:
    """Cut the days that bear interest where rate, year or amount change."""
    first = each.interest_since
    assert first is not None
    edges = {day for day, _ in each.claim.paid if first < day < until}
    half = half_of(first)
    while half < until:
        half = date(half.year + (half.month > 1), 1 if half.month > 1 else 7, 1)
        edges.add(half)
    cuts = sorted({first, *(day for day in edges if first < day < until), until}) if first < until else []
    yield from pairwise(cuts)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
