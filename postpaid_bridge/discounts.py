"""Discounts, and what is missing to a commitment (pure).

Laws
1. Order: single lines, then whole plans, then the account's discount plan; in each, amounts before percentages: a percentage is off what
   is really asked for, and the order in which discounts were written or sold changes no bill.
2. A discount is off lines as they stand on the bill, and is itself in whole cents. It takes no more than is left, and never turns a sign:
   what is charged stays zero or more. What is given back gives its discount back: a refunded rent is reduced as the rent was.
3. Adjustments and credits with a reason are nobody's discount base, and fill no commitment.
4. A commitment counts what is on the bill after all discounts, nothing below zero, in its own basis; a part of a period has its days'
   part. What is missing is charged, and is not discounted.
5. A discount is of the class, tax class, basis, days and branch of what it is off: so each part and each tax code has its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from postpaid_bridge.charges import Charge, ChargeKind, HeldPlan, Payer, UsageSum, share_micros
from postpaid_bridge.periods import Period, add_months
from postpaid_bridge.plans import Commitment, Discount, DiscountPlan, PlanBook
from postpaid_bridge.tax import CENT_MICROS, WHOLE_MICROS, Basis, Taxes, half_up, in_basis


@dataclass(slots=True)
class Row:
    """A line that discounts reduce: ``kind`` rent (its refunds too), usage or once, ``item`` or usage class, the cents that are left of it.

    ``held`` is the held plan that it is of (0: none).
    """

    kind: str
    item: str
    service: int
    party: int
    book: str
    span: Period
    of_class: str
    tax_code: str
    basis: Basis
    held: int
    left_cents: int

    @property
    def sorting(self) -> tuple[object, ...]:
        """Its place among rows."""
        return (
            self.party, self.service, self.kind, self.item, self.span.first, self.span.next, self.tax_code, self.basis, self.book,
            self.held, self.left_cents,
        )  # fmt: skip


def rows_of(
    period: Period,
    held: Sequence[HeldPlan],
    usage: Sequence[UsageSum],
    charges: Sequence[Charge],
    book: PlanBook,
) -> list[Row]:
    """Return what discounts and commitments look at, in one order whatever the order of what is given (law 3)."""
    found = [
        _row_of(each)
        for each in charges
        if each.kind in _KINDS and (each.kind is not ChargeKind.CREDIT or each.corrects)
    ]
    of_service: dict[int, list[HeldPlan]] = {}
    for one in held:
        of_service.setdefault(one.service, []).append(one)
    found += [_row_of_usage(each, period, of_service.get(each.service, ()), book) for each in usage]
    return sorted(found, key=lambda row: row.sorting)


_KINDS = {ChargeKind.RENT: "rent", ChargeKind.CREDIT: "rent", ChargeKind.ONCE: "once"}


def _row_of(made: Charge) -> Row:
    return Row(
        _KINDS.get(made.kind, made.kind.value), made.item, made.service, made.party, made.book, Period(made.since, made.until),
        made.of_class, made.tax_code, made.basis, made.held, half_up(made.amount_micros, CENT_MICROS),
    )  # fmt: skip


def _row_of_usage(usage: UsageSum, period: Period, held: Sequence[HeldPlan], book: PlanBook) -> Row:
    span = Period(usage.since or period.first, usage.until or period.next)
    return Row(
        "usage", usage.usage_class, usage.service, usage.party, usage.book, span, usage.usage_class, usage.tax_code,
        usage.basis, _held_of(usage, span, held, book), half_up(usage.amount_micros, CENT_MICROS),
    )  # fmt: skip


def _held_of(usage: UsageSum, span: Period, held: Sequence[HeldPlan], book: PlanBook) -> int:
    """Return the held plan that usage is of: the one that it names, else the main plan of its last day; 0 for none."""
    mine = [each for each in held if _common(each, span)]
    if usage.plan:
        mine = [each for each in mine if each.plan == usage.plan]
    else:
        mine = [each for each in mine if book.plans[each.plan].tariff]
    return max(mine, key=lambda each: (each.since, each.id)).id if mine else 0


def _common(held: HeldPlan, span: Period) -> Period | None:
    return span.common(held.since, held.until)


class Reductions:
    """All discounts of one bill: ``rows`` are changed, ``made`` are the discounts' charges."""

    def __init__(
        self,
        payer: Payer,
        period: Period,
        held: Sequence[HeldPlan],
        rows: Sequence[Row],
        book: PlanBook,
        taxes: Taxes,
    ) -> None:
        self.payer = payer
        self.period = period
        self.held = sorted(held, key=lambda each: (each.since, each.id))
        self.rows = rows
        self.book = book
        self.taxes = taxes
        self.of_held: dict[int, list[Row]] = {}
        self.of_service: dict[int, list[Row]] = {}
        for row in rows:
            self.of_held.setdefault(row.held, []).append(row)
            self.of_service.setdefault(row.service, []).append(row)
        self.options = {each.id for each in held if not book.plans[each.plan].tariff}
        self.made: list[Charge] = []

    def take(self, plan: DiscountPlan | None) -> list[Charge]:
        """Take every discount off in order (law 1), the account's ``plan`` last; return their charges."""
        for of_lines in (True, False):
            for amounts in (True, False):
                for each in self.held:
                    own = self.book.plans[each.plan]
                    for discount in own.discounts:
                        if discount.of_lines == of_lines and bool(discount.amount_micros) == amounts:
                            self._take(discount, own.prices, each)
        for amounts in (True, False):
            for discount in plan.discounts if plan else ():
                if plan and bool(discount.amount_micros) == amounts:
                    self._take(discount, plan.prices, None)
        return self.made

    def _take(self, discount: Discount, basis: Basis, held: HeldPlan | None) -> None:
        start, end = (held.since, held.until) if held else (self.payer.since, self.payer.until)
        ends = None if discount.months is None else add_months(start, discount.months)
        among = self._rows_of(held) if held else self.rows
        rows = [row for row in among if discount.reaches(row.kind, row.item)]
        if discount.percent_micros or discount.by_rent:
            taken = [(row, self._of_row(discount, basis, row, row.span.common(start, ends))) for row in rows]
        else:
            days = self.period.common(start, min(ends or date.max, end or date.max))
            taken = self._of_sum(discount, basis, rows, days)
        self._charge(discount, held, taken)

    def _rows_of(self, held: HeldPlan) -> list[Row]:
        """Return the rows that a plan's discounts reach: its own, and for an option all usage of the service that it stands beside."""
        if held.id not in self.options:
            return self.of_held.get(held.id, [])
        return [
            row
            for row in self.of_service.get(held.service, [])
            if row.held == held.id or (row.kind == "usage" and _common(held, row.span) is not None)
        ]

    def _of_row(self, discount: Discount, basis: Basis, row: Row, days: Period | None) -> int:
        """Return what comes off one row for the days of it that have the discount."""
        if days is None:
            return 0
        if discount.percent_micros:
            held, whole = (days.days, row.span.days) if row.kind == "rent" else (1, 1)
            return half_up(row.left_cents * discount.percent_micros * held, WHOLE_MICROS * whole)
        most = in_basis(self._share(discount, days), basis, row.basis, self._percent(row))
        return min(most, row.left_cents) if row.left_cents >= 0 else max(-most, row.left_cents)

    def _of_sum(
        self, discount: Discount, basis: Basis, rows: Sequence[Row], days: Period | None
    ) -> list[tuple[Row, int]]:
        """Return what an amount takes off several rows: at most what they come to, shared out by what is left of each."""
        if days is None:
            return []
        worth = [self._worth(row, basis) for row in rows]
        above = [(row, cents) for row, cents in zip(rows, worth, strict=True) if cents > 0]
        total = sum(cents for _, cents in above)
        most = self._share(discount, days)
        taken = min(most, max(0, sum(worth)))
        found, reached = [], 0
        for row, cents in above:
            before = half_up(taken * reached, total)
            reached += cents
            part = half_up(taken * reached, total) - before
            found.append((row, min(row.left_cents, in_basis(part, basis, row.basis, self._percent(row)))))
        return found

    def _worth(self, row: Row, basis: Basis) -> int:
        """Return what is left of a row, in a basis, in cents."""
        if row.basis is basis:
            return row.left_cents
        return in_basis(row.left_cents, row.basis, basis, self._percent(row))

    def _share(self, of: Discount | Commitment, days: Period) -> int:
        """Return what an amount comes to over some days, in cents."""
        share = share_micros(of.amount_micros, of.per, self.payer.cycle, days.first, days.next)
        return half_up(share, CENT_MICROS)

    def _percent(self, row: Row) -> int:
        return self.taxes.rate(row.tax_code, row.span.last).percent_micros

    def _charge(self, discount: Discount, held: HeldPlan | None, taken: Sequence[tuple[Row, int]]) -> None:
        sums: dict[tuple[int, int, str, Period, str, str, Basis], int] = {}
        for row, cents in taken:
            row.left_cents -= cents
            key = (row.service, row.party, row.book, row.span, row.of_class, row.tax_code, row.basis)
            sums[key] = sums.get(key, 0) + cents
        owner = held.id if held else f"a{self.payer.billing_account}"
        number = 0
        for (service, party, book, span, of_class, tax_code, basis), cents in sums.items():
            if not cents:
                continue
            number += 1
            self.made.append(
                Charge(
                    f"discount:{owner}:{discount.item}:{self.period.first}:{number}",
                    ChargeKind.DISCOUNT,
                    service,
                    party,
                    book,
                    discount.names.of(self.payer.language),
                    span.first,
                    span.next,
                    -cents * CENT_MICROS,
                    of_class,
                    tax_code,
                    basis,
                    held.id if held else 0,
                    held.plan if held else self.payer.discount_plan,
                    discount.item,
                )
            )

    def commitments(self, plan: DiscountPlan | None) -> Iterator[Charge]:
        """Give what is missing to each held plan's commitment, and to the account's (law 4)."""
        charged: list[Row] = []
        for each in self.held:
            own = self.book.plans[each.plan]
            days = _common(each, self.period)
            if own.commitment and days:
                mine = [row for row in self.of_service.get(each.service, []) if self._counts(row, each)]
                missing = self._missing(own.commitment, own.prices, mine, days)
                if missing:
                    made = self._true_up(own.commitment, own.prices, missing, days, each)
                    charged.append(_row_of(made))
                    yield made
        days = self.period.common(self.payer.since, self.payer.until)
        if plan and plan.commitment and days:
            missing = self._missing(plan.commitment, plan.prices, [*self.rows, *charged], days)
            if missing:
                yield self._true_up(plan.commitment, plan.prices, missing, days, None)

    def _counts(self, row: Row, held: HeldPlan) -> bool:
        """Whether a row counts for a plan's commitment: its own, and those of options beside a main plan."""
        return row.held == held.id or (held.id not in self.options and row.held in self.options)

    def _missing(self, commitment: Commitment, basis: Basis, rows: Sequence[Row], days: Period) -> int:
        counted = sum(
            self._worth(row, basis)
            for row in rows
            if row.kind in commitment.counts or row.kind == "commitment"
        )
        least = self._share(commitment, days)
        return max(0, least - max(0, counted))

    def _true_up(
        self, commitment: Commitment, basis: Basis, missing_cents: int, days: Period, held: HeldPlan | None
    ) -> Charge:
        owner = held.id if held else f"a{self.payer.billing_account}"
        return Charge(
            f"commitment:{owner}:{self.period.first}",
            ChargeKind.COMMITMENT,
            held.service if held else 0,
            held.party if held else self.payer.party,
            held.book if held else "",
            commitment.names.of(self.payer.language),
            days.first,
            days.next,
            missing_cents * CENT_MICROS,
            "commitment",
            commitment.tax_class,
            basis,
            held.id if held else 0,
            held.plan if held else self.payer.discount_plan,
            "commitment",
        )
