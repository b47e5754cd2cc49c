"""Charges: what the calendar makes due for the plans that are held, and what is given back (pure).

Laws
1. A rent is a measure of days: rent([a, c)) = rent([a, b)) + rent([b, c)), whatever the pieces. Inside a month (week, quarter, year) it is
   the running share of days, rounded half up to the cent where the price is in whole cents, else to the micro-unit; so the pieces of any
   partition add up to the whole, and what is given back is what was charged.
2. Due is the rent of days that are held and not paid for; given back is the rent of days that are paid for and not held any more. Both
   follow from the days of all charges that were ever made for the held plan, not from what the bill before may have thought.
3. In arrear the days until the period's end are due; in advance those until the end of the cycle's period that follows.
4. Each charge has a key, made of what it is of and of its first day: whoever makes it again makes the same one. What is charged once more
   after it was given back has the next number in its key.
5. A month of a rent begins on the day of the billing cycle, so that a whole period has whole months.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from functools import lru_cache

from postpaid_bridge.periods import Cycle, Period
from postpaid_bridge.plans import UNITS, Fee, Plan, Rent
from postpaid_bridge.tax import CENT_MICROS, Basis, half_up


class ChargeKind(StrEnum):
    """What a charge is."""

    RENT = "rent"
    ONCE = "once"
    ADJUSTMENT = "adjustment"
    CREDIT = "credit"
    DISCOUNT = "discount"
    COMMITMENT = "commitment"


class ChargeFault(ValueError):
    """What cannot be charged; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Payer:
    """The billing account that pays: ids of account and paying party, its number, cycle, tax_status, the key of its discount plan ("": none)."""

    billing_account: int
    party: int
    number: str
    cycle: Cycle
    currency: str = "EUR"
    language: str = "de"
    tax_status: str = "domestic"
    discount_plan: str = ""
    since: date = date.min
    until: date | None = None


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """A plan (its key) that a service has from ``since`` to before ``until`` (None: without end): a row of service_plan, ``id`` is its."""

    id: int
    service: int
    plan: str
    since: date
    until: date | None
    book: str
    party: int


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount for the days [since, until) that is made once: ``key`` tells which. Credits and discounts are below zero.

    ``tax_code`` is the tax class, ``held`` the HeldPlan's id (0: none), ``item`` the rent, fee or discount of ``plan`` that it is of,
    ``corrects`` the key of the rent that a credit gives back (else "").
    """

    key: str
    kind: ChargeKind
    service: int
    party: int
    book: str
    text: str
    since: date
    until: date
    amount_micros: int
    of_class: str
    tax_code: str
    basis: Basis
    held: int = 0
    plan: str = ""
    item: str = ""
    corrects: str = ""


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Usage of one class summed up over [since, until) (None: the bill's period). ``text`` is the line's; ``plan`` the plan that was held
    ("": the main plan of the last day).
    """

    service: int
    party: int
    book: str
    usage_class: str
    count: int
    units: int
    amount_micros: int
    tax_code: str
    basis: Basis
    text: str = ""
    plan: str = ""
    since: date | None = None
    until: date | None = None


def share_micros(amount_micros: int, per: str, cycle: Cycle, since: date, until: date) -> int:
    """Return what an amount ``per`` week, month, quarter or year comes to over [since, until), in micro-units (law 1)."""
    unit = _unit(per, cycle)
    grain = 1 if amount_micros % CENT_MICROS else CENT_MICROS
    total = 0
    for whole in unit.periods_between(since, until):
        last = min(until, whole.next)
        total += _running(amount_micros, grain, whole, last) - _running(
            amount_micros, grain, whole, max(since, whole.first)
        )
    return total


def _running(amount_micros: int, grain: int, whole: Period, day: date) -> int:
    return half_up(amount_micros * (day - whole.first).days, whole.days * grain) * grain


@lru_cache(maxsize=1_024)
def _unit(per: str, cycle: Cycle) -> Cycle:
    """Return the weeks, months … that an amount is counted in: from the cycle's own day where both are of one sort (law 5)."""
    kind = UNITS[per]
    if kind.days:
        return Cycle(kind, cycle.day if cycle.kind.days == kind.days else 1)
    if not cycle.kind.months:
        return Cycle(kind, 1)
    return Cycle(replace(kind, from_month=cycle.kind.from_month), cycle.day)


def charges_due(
    held: Sequence[HeldPlan],
    plans: Mapping[str, Plan],
    cycle: Cycle,
    period: Period,
    already: Mapping[str, Charge],
    *,
    language: str = "de",
    not_before: date | None = None,
) -> list[Charge]:
    """Return the rents, one-off fees and credits that a bill of ``period`` has to make, in order of held plan, item and day.

    ``already`` holds all charges that were ever made for these held plans, by key (their days tell what is paid for, which keys alone
    do not). ``not_before`` is the day from which this bridge bills the account: nothing is due for days before it. Held plans that
    have ended are given too, so that what was paid for them in advance is given back. Raises ChargeFault for a plan that is not known.
    """
    made: dict[tuple[int, str], list[Charge]] = {}
    for charge in already.values():
        made.setdefault((charge.held, charge.item), []).append(charge)
    beside: dict[int, list[HeldPlan]] = {}
    for each in held:
        beside.setdefault(each.service, []).append(each)
    found: list[Charge] = []
    for each in sorted(held, key=lambda one: (one.since, one.id)):
        plan = plans.get(each.plan)
        if plan is None:
            raise ChargeFault(
                f"held plan {each.id}: no plan {each.plan!r}; there are {', '.join(sorted(plans)) or 'none'}"
            )
        desk = _Desk(each, plan, cycle, language, already)
        for rent in plan.rents:
            found += desk.rent(rent, made.get((each.id, rent.item), ()), period, not_before)
        for fee in plan.fees:
            found += desk.fee(fee, beside[each.service], period, not_before)
    return found


class _Desk:
    """What one held plan owes."""

    def __init__(
        self, held: HeldPlan, plan: Plan, cycle: Cycle, language: str, already: Mapping[str, Charge]
    ) -> None:
        self.held = held
        self.plan = plan
        self.cycle = cycle
        self.language = language
        self.already = already

    def rent(
        self, rent: Rent, made: Sequence[Charge], period: Period, not_before: date | None
    ) -> Iterator[Charge]:
        """Give the charges of days that are held and unpaid, and the credits of days that are paid for and not held (law 2)."""
        horizon = period.next
        if rent.in_advance and self.held.since <= period.next:
            horizon = self.cycle.period_of(period.next).next
        since = max(self.held.since, not_before or self.held.since)
        until = min(horizon, self.held.until or horizon)
        paid = list(_paid(made))
        for first, following in _without([(since, until)], [span for _, span in paid]):
            for each in self.cycle.periods_between(first, following):
                part = each.common(first, following)
                if part is not None:
                    yield self._rent(rent, part)
        end = self.held.until or date.max
        for charge, span in paid:
            for first, following in _without([span], [(self.held.since, end)]):
                yield self._credit(rent, charge, Period(first, following))

    def fee(
        self, fee: Fee, held: Sequence[HeldPlan], period: Period, not_before: date | None
    ) -> Iterator[Charge]:
        """Give a one-off fee whose day has come and that was not charged yet."""
        end = self.held.until
        edge = self.held.since if fee.at_start else end
        if end is not None and end <= self.held.since:
            return  # it never began
        if edge is None or (edge >= period.next if fee.at_start else edge > period.next):
            return
        day = edge if fee.at_start else Period(self.held.since, edge).last
        key = f"once:{self.held.id}:{fee.item}"
        if key in self.already or (not_before is not None and day < not_before):
            return
        if not fee.at_change and any(self._follows(each, at_start=fee.at_start) for each in held):
            return
        span = Period(day, date.fromordinal(day.toordinal() + 1))
        name = fee.names.of(self.language)
        yield self._charge(
            key, ChargeKind.ONCE, name, span, fee.amount_micros, "fee", fee.tax_class, fee.item
        )

    def _follows(self, other: HeldPlan, *, at_start: bool) -> bool:
        """Whether another plan of the service ended where this one begins (or begins where this one ends)."""
        if other.id == self.held.id:
            return False
        return other.until == self.held.since if at_start else other.since == self.held.until

    def _rent(self, rent: Rent, span: Period) -> Charge:
        key = self._free(f"rent:{self.held.id}:{rent.item}:{span.first}")
        amount_micros = share_micros(rent.amount_micros, rent.per, self.cycle, span.first, span.next)
        name = rent.names.of(self.language)
        return self._charge(
            key, ChargeKind.RENT, name, span, amount_micros, "rent", rent.tax_class, rent.item
        )

    def _credit(self, rent: Rent, charge: Charge, span: Period) -> Charge:
        """Return the credit of some days of a rent: of what was charged, whatever the plan costs today."""
        key = self._free(f"credit:{charge.key}:{span.first}")
        given = self._given_back(rent, charge, span)
        word = "Refund" if self.language == "en" else "Erstattung"
        return self._charge(
            key,
            ChargeKind.CREDIT,
            f"{word} {rent.names.of(self.language)}",
            span,
            -given,
            charge.of_class,
            charge.tax_code,
            rent.item,
            charge.key,
        )

    def _given_back(self, rent: Rent, charge: Charge, span: Period) -> int:
        whole = share_micros(rent.amount_micros, rent.per, self.cycle, charge.since, charge.until)
        if whole == charge.amount_micros:
            return share_micros(rent.amount_micros, rent.per, self.cycle, span.first, span.next)
        # The price or the cycle's day is not what it was: by days of the charge itself.
        of = Period(charge.since, charge.until)
        grain = 1 if charge.amount_micros % CENT_MICROS else CENT_MICROS
        return _running(charge.amount_micros, grain, of, span.next) - _running(
            charge.amount_micros, grain, of, span.first
        )

    def _free(self, key: str) -> str:
        """Return the key, with the next number where it was made before (law 4)."""
        number, found = 1, key
        while found in self.already:
            number += 1
            found = f"{key}:{number}"
        return found

    def _charge(
        self,
        key: str,
        kind: ChargeKind,
        text: str,
        span: Period,
        amount_micros: int,
        of_class: str,
        tax_class: str,
        item: str,
        corrects: str = "",
    ) -> Charge:
        held = self.held
        return Charge(
            key, kind, held.service, held.party, held.book, text, span.first, span.next, amount_micros, of_class, tax_class,
            self.plan.prices, held.id, held.plan, item, corrects,
        )  # fmt: skip


Span = tuple[date, date]


def _paid(made: Sequence[Charge]) -> Iterator[tuple[Charge, Span]]:
    """Give the days of each rent that were not given back yet."""
    back: dict[str, list[Span]] = {}
    for each in made:
        if each.kind is ChargeKind.CREDIT and each.corrects:
            back.setdefault(each.corrects, []).append((each.since, each.until))
    for each in sorted(made, key=lambda one: (one.since, one.key)):
        if each.kind is ChargeKind.RENT:
            for span in _without([(each.since, each.until)], back.get(each.key, ())):
                yield each, span


def _without(spans: Sequence[Span], less: Sequence[Span]) -> list[Span]:
    """Return the days of ``spans`` (in order, apart) that are not in ``less``."""
    found = []
    for first, following in spans:
        inside = [
            (max(first, a), min(following, b))
            for a, b in sorted(less)
            if a < following and b > first and a < b
        ]
        reached = first
        for a, b in inside:
            if reached < a:
                found.append((reached, a))
            reached = max(reached, b)
        if reached < following:
            found.append((reached, following))
    return found
