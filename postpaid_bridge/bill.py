"""The bill: lines, taxes and parts in whole cents, and what it posts (pure).

Laws
1. The same input, in whatever order, gives the same bill, and the same bill the same bytes.
2. A line is rounded once, to the cent, half up; a tax code once (tax.py). Net + tax = gross for each line, code, part and the bill.
3. Lines belong to the party that uses the service; a part has its lines, and the parts add up to the bill.
4. After ``entries_of`` is posted, UNBILLED of what is on the bill is 0 to the micro-unit, RECEIVABLE has gained the gross in cents, TAX the
   tax, and ROUNDING has what the cents left.
5. A draft has no number, no day of its own and no due date: those are the run's.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import groupby
from typing import Any

from postpaid_bridge.charges import Charge, ChargeKind, HeldPlan, Payer, UsageSum
from postpaid_bridge.discounts import Reductions, rows_of
from postpaid_bridge.journal import Entry, Ledger, Posting, posting
from postpaid_bridge.periods import Cycle, Period
from postpaid_bridge.plans import DiscountPlan, PlanBook
from postpaid_bridge.tax import CENT_MICROS, DOMESTIC, Basis, Rate, Taxes, half_up, net_of, taxed

__all__ = [
    "Bill",
    "BillFault",
    "BillLine",
    "BillPart",
    "BillTax",
    "Payer",
    "content",
    "drafted",
    "entries_of",
]

LAYOUT = "bill/1"
"""The layout of ``content``: another one has another name."""


class BillFault(ValueError):
    """What cannot be billed; the message says what it is and what would be right."""


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line, in cents. ``charge`` is the key of its charge, "" for usage; ``amount_micros`` is what UNBILLED held of it, in ``basis``;
    ``tax_code`` one of the bill's taxes; ``item`` the rent, fee, discount or usage class; ``relieved_micros`` the tax in a gross price that
    this payer does not owe. net + tax = gross.
    """

    kind: str
    charge: str
    service: int
    party: int
    book: str
    text: str
    since: date
    until: date
    count: int
    units: int
    amount_micros: int
    of_class: str
    basis: Basis
    tax_code: str
    net_cents: int
    tax_cents: int
    gross_cents: int
    item: str = ""
    relieved_micros: int = 0


@dataclass(frozen=True, slots=True)
class BillTax:
    """A tax code's totals in cents: ``code`` such as standard-19, ``tax_class`` standard, ``category`` of EN 16931 (S, AE, E, Z), the
    rate in micro-per cent, the legal text in the bill's language ("" where none is due).
    """

    code: str
    tax_class: str
    category: str
    percent_micros: int
    text: str
    net_cents: int
    tax_cents: int
    gross_cents: int


@dataclass(frozen=True, slots=True)
class BillPart:
    """What one party (a branch, or the payer itself) has of the bill; the parts add up to the bill, for each tax code too."""

    party: int
    taxes: tuple[BillTax, ...]
    net_cents: int
    tax_cents: int
    gross_cents: int


@dataclass(frozen=True, slots=True)
class Bill:
    """A draft: it has no number. ``charges`` are all that are on it, those that were made for it (discounts, commitment) too."""

    payer: Payer
    kind: str
    period: Period
    parts: tuple[BillPart, ...]
    lines: tuple[BillLine, ...]
    taxes: tuple[BillTax, ...]
    charges: tuple[Charge, ...]
    net_cents: int
    tax_cents: int
    gross_cents: int


def drafted(
    payer: Payer,
    period: Period,
    held: Sequence[HeldPlan],
    usage: Sequence[UsageSum],
    charges: Sequence[Charge],
    taxes: Taxes,
    plans: PlanBook,
    *,
    kind: str = "regular",
) -> Bill:
    """Return the bill of a period: discounts, commitment, rounding, taxes and parts are done here. ``kind``: regular, on_demand, final.

    ``held`` are all plans held in the period and those that charges are of, ``charges`` what charges_due gave and adjustments and credits
    with their reason. Raises BillFault for what contradicts itself, TaxFault for a class, a status or a day without a rate.
    """
    own_plan = _checked(payer, period, held, usage, charges, taxes, plans)
    reductions = Reductions(payer, period, held, rows_of(period, held, usage, charges, plans), plans, taxes)
    on_it = [*charges, *reductions.take(own_plan)]
    on_it += reductions.commitments(own_plan)
    drafts = [_of_charge(each) for each in on_it] + [_of_usage(each, period) for each in usage]
    lines, rates = _taxed_lines(payer, drafts, taxes)
    language = payer.language
    parts = tuple(
        _part(party, list(mine), rates, language)
        for party, mine in groupby(lines, key=lambda line: line.party)
    )
    totals = _taxes_of(lines, rates, language)
    return Bill(
        payer,
        kind,
        period,
        parts,
        tuple(lines),
        totals,
        tuple(sorted(on_it, key=lambda each: each.key)),
        sum(each.net_cents for each in lines),
        sum(each.tax_cents for each in lines),
        sum(each.gross_cents for each in lines),
    )


def _checked(
    payer: Payer,
    period: Period,
    held: Sequence[HeldPlan],
    usage: Sequence[UsageSum],
    charges: Sequence[Charge],
    taxes: Taxes,
    plans: PlanBook,
) -> DiscountPlan | None:
    """Return the account's discount plan; BillFault for what contradicts itself."""
    for each in held:
        plan = plans.plans.get(each.plan)
        if plan is None:
            raise BillFault(
                f"held plan {each.id}: no plan {each.plan!r}; there are {', '.join(sorted(plans.plans)) or 'none'}"
            )
        if plan.currency != payer.currency:
            raise BillFault(
                f"held plan {each.id}: {each.plan} is in {plan.currency}, and the account in {payer.currency}"
            )
    keys = set[str]()
    for charge in charges:
        if charge.kind in {ChargeKind.DISCOUNT, ChargeKind.COMMITMENT}:
            raise BillFault(f"{charge.key}: a {charge.kind} is made with the bill; it is not handed in")
        if charge.key in keys:
            raise BillFault(f"{charge.key} stands twice; a charge is made once")
        keys.add(charge.key)
        if charge.until <= charge.since:
            raise BillFault(
                f"{charge.key}: from {charge.since} to before {charge.until} is no day; a charge has one at least"
            )
    for one in usage:
        span = Period(one.since or period.first, one.until or period.next)
        if len(pieces := taxes.split(one.tax_code, span)) > 1:
            raise BillFault(
                f"{one.usage_class} of service {one.service}: the rate of {one.tax_code} changes on {pieces[1].first}; sum up apart what "
                "was used before that day"
            )
    own = plans.discount_plans.get(payer.discount_plan)
    if payer.discount_plan and own is None:
        there = ", ".join(sorted(plans.discount_plans)) or "none"
        raise BillFault(
            f"account {payer.number}: no discount plan {payer.discount_plan!r}; there are {there}"
        )
    if own and own.currency != payer.currency:
        raise BillFault(
            f"account {payer.number}: {own.key} is in {own.currency}, and the account in {payer.currency}"
        )
    return own


# ---------------------------------------------------------------- lines


@dataclass(slots=True)
class _Draft:
    """A line before its tax."""

    rank: int
    kind: str
    charge: str
    service: int
    party: int
    book: str
    text: str
    span: Period
    count: int
    units: int
    amount_micros: int
    of_class: str
    tax_class: str
    basis: Basis
    item: str

    def place(self, payer: int) -> tuple[object, ...]:
        """Its place on the bill: the payer's own part first, then branches; by service, kind and days."""
        return (
            self.party != payer, self.party, self.service, self.rank, self.span, self.item, self.charge, self.tax_class, self.basis,
            self.book, self.of_class, self.text, self.amount_micros, self.count, self.units,
        )  # fmt: skip


_RANKS = ("rent", "once", "usage", "adjustment", "credit", "discount", "commitment")


def _of_charge(charge: Charge) -> _Draft:
    return _Draft(
        _RANKS.index(charge.kind), charge.kind.value, charge.key, charge.service, charge.party, charge.book, charge.text,
        Period(charge.since, charge.until), 1, 0, charge.amount_micros, charge.of_class, charge.tax_code, charge.basis, charge.item,
    )  # fmt: skip


def _of_usage(usage: UsageSum, period: Period) -> _Draft:
    return _Draft(
        _RANKS.index("usage"), "usage", "", usage.service, usage.party, usage.book, usage.text or usage.usage_class,
        Period(usage.since or period.first, usage.until or period.next), usage.count, usage.units, usage.amount_micros,
        usage.usage_class, usage.tax_code, usage.basis, usage.usage_class,
    )  # fmt: skip


def _taxed_lines(
    payer: Payer, drafts: Iterable[_Draft], taxes: Taxes
) -> tuple[list[BillLine], dict[str, Rate]]:
    """Return the lines in their order with their cents, and the rates that they have, by code."""
    ordered = sorted(drafts, key=lambda each: each.place(payer.party))
    rates = [taxes.due(each.tax_class, each.span.last, payer.tax_status) for each in ordered]
    relieved = [_relieved(each, taxes, payer.tax_status) for each in ordered]
    found: dict[int, BillLine] = {}
    by_code = {rate.code: rate for rate in rates}
    for code, rate in by_code.items():
        places = [n for n, each in enumerate(rates) if each.code == code]
        cents = [
            (half_up(ordered[n].amount_micros - relieved[n], CENT_MICROS), ordered[n].basis) for n in places
        ]
        for n, (net, tax, gross) in zip(places, taxed(cents, rate.percent_micros), strict=True):
            each = ordered[n]
            found[n] = BillLine(
                each.kind, each.charge, each.service, each.party, each.book, each.text, each.span.first, each.span.next, each.count,
                each.units, each.amount_micros, each.of_class, each.basis, code, net, tax, gross, each.item, relieved[n],
            )  # fmt: skip
    return [found[n] for n in range(len(ordered))], by_code


def _relieved(draft: _Draft, taxes: Taxes, status: str) -> int:
    """Return the tax in a gross amount that a payer of a status does not owe."""
    if status == DOMESTIC or draft.basis is Basis.NET:
        return 0
    percent_micros = taxes.rate(draft.tax_class, draft.span.last).percent_micros
    return draft.amount_micros - net_of(draft.amount_micros, percent_micros)


def _taxes_of(lines: Sequence[BillLine], rates: dict[str, Rate], language: str) -> tuple[BillTax, ...]:
    """Return the totals of each tax code, the highest rate first."""
    found = []
    for rate in sorted(rates.values(), key=lambda each: (-each.percent_micros, each.code)):
        mine = [line for line in lines if line.tax_code == rate.code]
        if mine:
            found.append(
                BillTax(
                    rate.code,
                    rate.tax_class,
                    rate.category,
                    rate.percent_micros,
                    rate.text(language),
                    sum(each.net_cents for each in mine),
                    sum(each.tax_cents for each in mine),
                    sum(each.gross_cents for each in mine),
                )
            )
    return tuple(found)


def _part(party: int, lines: Sequence[BillLine], rates: dict[str, Rate], language: str) -> BillPart:
    return BillPart(
        party,
        _taxes_of(lines, rates, language),
        sum(each.net_cents for each in lines),
        sum(each.tax_cents for each in lines),
        sum(each.gross_cents for each in lines),
    )


# ---------------------------------------------------------------- what it posts


def entries_of(bill: Bill, *, key: str, day: date, at_ms: int) -> list[Entry]:
    """Return what billing posts (law 4): an entry for each charge under its own key, and the bill's under ``key``; none where nothing moves.

    An adjustment or credit that was posted when it was granted has the same key, and so is not posted again.
    """
    found = []
    for charge in bill.charges:
        made = posting(
            Ledger.UNBILLED,
            Ledger.REVENUE,
            charge.amount_micros,
            charge.book,
            charge.of_class,
            charge.tax_code,
        )
        if made:
            found.append(
                Entry(
                    charge.key, charge.kind.value, bill.payer.billing_account, day, at_ms, made, charge.text
                )
            )
    if postings := _billed(bill):
        found.append(Entry(key, "bill", bill.payer.billing_account, day, at_ms, postings, bill.payer.number))
    return found


def _billed(bill: Bill) -> list[Posting]:
    """Return the bill's own postings, summed up by book, class, tax code and basis."""
    sums: dict[tuple[str, str, str, Basis], list[int]] = {}
    for line in bill.lines:
        mine = sums.setdefault((line.book, line.of_class, line.tax_code, line.basis), [0, 0, 0, 0])
        owed_micros = line.amount_micros - line.relieved_micros
        cents = line.gross_cents if line.basis is Basis.GROSS else line.net_cents
        mine[0] += owed_micros
        mine[1] += line.relieved_micros
        mine[2] += cents * CENT_MICROS - owed_micros
        mine[3] += line.tax_cents * CENT_MICROS
    found: list[Posting] = []
    for (book, of_class, code, basis), (owed, relieved, rounding, tax) in sums.items():
        taxed_from = Ledger.REVENUE if basis is Basis.GROSS else Ledger.RECEIVABLE
        found += posting(Ledger.RECEIVABLE, Ledger.UNBILLED, owed, book, of_class, code)
        found += posting(Ledger.REVENUE, Ledger.UNBILLED, relieved, book, of_class, code)
        found += posting(Ledger.RECEIVABLE, Ledger.ROUNDING, rounding, book, of_class, code)
        found += posting(taxed_from, Ledger.TAX, tax, book, of_class, code)
    return found


# ---------------------------------------------------------------- bytes


def content(bill: Bill) -> bytes:
    """Return the bill as canonical JSON: sorted keys, whole numbers, dates as text; equal bills give equal bytes."""
    page = {
        "layout": LAYOUT,
        "kind": bill.kind,
        "payer": _plain(bill.payer),
        "period": _plain(bill.period),
        "lines": [_plain(each) for each in bill.lines],
        "parts": [{**_plain(each), "taxes": [_plain(tax) for tax in each.taxes]} for each in bill.parts],
        "taxes": [_plain(each) for each in bill.taxes],
        "net_cents": bill.net_cents,
        "tax_cents": bill.tax_cents,
        "gross_cents": bill.gross_cents,
    }
    return json.dumps(page, default=_word, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _plain(found: Payer | Period | BillLine | BillTax | BillPart) -> dict[str, Any]:
    return {name: getattr(found, name) for name in _FIELDS[type(found)]}


_FIELDS = {
    shape: tuple(each.name for each in fields(shape))
    for shape in (Payer, Period, BillLine, BillTax, BillPart)
}


def _word(found: Any) -> str:
    """Return a day as text, a cycle as its key."""
    if isinstance(found, date):
        return found.isoformat()
    if isinstance(found, Cycle):
        return found.key
    raise TypeError(f"{found!r} has no place on a bill")
