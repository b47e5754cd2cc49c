"""What the bills of a chunk of accounts are made of, read for all of them at once; and the drafts.

Laws
1. A chunk is read by a fixed number of statements, whatever its size; everything that is counted is counted by the pure rules.
2. One account's fault is its own: the others of the chunk have their drafts.
3. Read without claims (a preview) or with them (execution), the same is drafted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from ocs.care.customers import reading
from ocs.care.customers.shapes import BillingAccount
from ocs.care.customers.shapes import HeldPlan as CareHeld
from ocs.care.customers.tables import billing_accounts, service_plans
from postpaid_bridge.bill import Bill, drafted
from postpaid_bridge.charges import Charge, HeldPlan, Payer, UsageSum
from postpaid_bridge.periods import CycleKind, Period, cycle_of
from postpaid_bridge.pieces import Made, Piece, basis_of, charges_of, edges_of, held_for_bill, span_of
from postpaid_bridge.plans import PlanBook
from postpaid_bridge.run import oldest_ms, start_ms
from postpaid_bridge.sql import charges, usage_claims
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.sql.runs import Row, Run
from postpaid_bridge.sql.usage_claims import Sum
from postpaid_bridge.tax import Taxes

__all__ = ["Drafted", "Terms", "asked_of", "draft"]

LOOK_BACK_DAYS = 400
"""Charges and plans older than this before a period are settled: nothing is charged or given back for days before."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What bills are made by: plans, taxes, kinds of cycles, and the zone whose days count."""

    book: PlanBook
    taxes: Taxes
    kinds: Mapping[str, CycleKind]
    zone: ZoneInfo


class Drafted(NamedTuple):
    """A bill, with the days that it is to be paid within and those of its charges that a human had granted (their keys)."""

    bill: Bill
    due_days: int
    granted: frozenset[str]


@dataclass(slots=True)
class _Material:
    """What one bill is made of."""

    row: Row
    account: BillingAccount
    payer: Payer
    period: Period
    first: date
    pieces: list[Piece]
    made: list[Made]
    since: date
    edges: dict[int, list[date]]
    granted: list[Charge] = field(default_factory=list)
    sums: list[tuple[Sum, date]] = field(default_factory=list)


def asked_of(rows: Iterable[Row], run: Run, terms: Terms) -> list[usage_claims.Asked]:
    """Return which usage lines the bills of rows may have."""
    return [
        usage_claims.Asked(
            each.id,
            each.billing_account,
            oldest_ms(Period(each.first, each.next), run.settings.late_days, terms.zone),
            start_ms(each.next, terms.zone),
        )
        for each in rows
    ]


def draft(
    look: Connection, run: Run, rows: Sequence[Row], terms: Terms, *, claimed: bool
) -> dict[int, Drafted | Exception]:
    """Return each row's draft, or what was wrong with it (law 2); with ``claimed`` its usage is what its bill has."""
    found: dict[int, Drafted | Exception] = {}
    materials = _materials(look, run, rows, terms, found)
    _add_usage(look, run, materials, terms, claimed=claimed)
    for each in materials:
        if each.row.id in found:
            continue
        try:
            found[each.row.id] = _draft(each, terms)
        except Exception as fault:  # noqa: BLE001 - one account's fault is its own (law 2)
            found[each.row.id] = fault
    return found


def _materials(
    look: Connection, run: Run, rows: Sequence[Row], terms: Terms, faults: dict[int, Drafted | Exception]
) -> list[_Material]:
    accounts = _accounts(look, [each.billing_account for each in rows])
    begun = _begun(look, accounts)
    edge = min(each.first for each in rows) - timedelta(days=LOOK_BACK_DAYS)
    pieces = _pieces(look, list(accounts), Period(edge, max(each.next for each in rows)))
    made = charges.made_for(look, [each.held.id for mine in pieces.values() for each in mine], edge)
    granted = charges.granted(look, list(accounts), max(each.next for each in rows))
    found = []
    for row in rows:
        try:
            found.append(
                _material(run, row, accounts[row.billing_account], pieces[row.billing_account], made, terms)
            )
        except Exception as fault:  # noqa: BLE001 - one account's fault is its own (law 2)
            faults[row.id] = fault
    for each in found:
        each.granted += [one for one in granted.get(each.account.id, ()) if one.since < each.period.next]
        each.since = max(
            begun.get(each.account.id) or each.account.billed_until or each.account.since, each.since
        )
    return found


def _material(
    run: Run,
    row: Row,
    account: BillingAccount,
    pieces: Sequence[Piece],
    made: Mapping[int, Sequence[Made]],
    terms: Terms,
) -> _Material:
    payer, period = _payer(account, terms), Period(row.first, row.next)
    edge = period.first - timedelta(days=LOOK_BACK_DAYS)
    first = period.first - timedelta(days=run.settings.late_days)
    mine = [each for each in pieces if each.held.since < period.next and _reaches(each.held, edge)]
    ids = {each.held.id for each in mine}
    return _Material(
        row, account, payer, period, first, mine,
        [one for each in sorted(ids) for one in made[each] if one.charge.until > edge],
        edge,
        edges_of(payer, period, first, mine, terms.taxes, terms.book),
    )  # fmt: skip


def _reaches(held: HeldPlan, edge: date) -> bool:
    return held.until is None or held.until > edge


def _accounts(look: Connection, ids: Sequence[int]) -> dict[int, BillingAccount]:
    found: dict[int, BillingAccount] = {}
    for part in id_parts(ids):
        asked = select(billing_accounts).where(billing_accounts.c.id.in_(part))
        found |= {row.id: BillingAccount(*row) for row in look.execute(asked)}
    return found


def _begun(look: Connection, ids: Iterable[int]) -> dict[int, date]:
    """Return the first day of the first bill that has a number, by account."""
    found: dict[int, date] = {}
    for part in id_parts(ids):
        c = bills.c
        asked = select(c.billing_account, func.min(c.period_first)).where(
            c.billing_account.in_(part), c.state != "draft"
        )
        found |= {row[0]: row[1] for row in look.execute(asked.group_by(c.billing_account))}
    return found


def _pieces(look: Connection, accounts: Sequence[int], days: Period) -> dict[int, list[Piece]]:
    held: Mapping[int, list[CareHeld]] = reading.held_plans_of(look, accounts, days)
    ids = {each.id for mine in held.values() for each in mine if each.until is not None}
    ends: dict[int, date | None] = {}
    for part in id_parts(ids):
        c = service_plans.c
        ends |= {row.id: row.until for row in look.execute(select(c.id, c.until).where(c.id.in_(part)))}
    return {
        account: [
            Piece(
                HeldPlan(each.id, each.service, each.plan, each.since, each.until, each.book, each.party),
                each.begun,
                ends.get(each.id),
            )
            for each in mine
            if each.mode != "prepaid"
        ]
        for account, mine in held.items()
    }


def _payer(account: BillingAccount, terms: Terms) -> Payer:
    return Payer(
        account.id, account.party, account.number, cycle_of(account.cycle, terms.kinds), account.currency, account.language,
        account.tax_status, account.discount_plan, account.since, account.until,
    )  # fmt: skip


def _add_usage(
    look: Connection,
    run: Run,
    materials: Sequence[_Material],
    terms: Terms,
    *,
    claimed: bool,
) -> None:
    """Read what was used, cut where any bill of the chunk is cut; ``_summed`` puts together what one bill does not cut."""
    cuts: set[date] = set()
    for each in materials:
        for days in each.edges.values():
            cuts.update(days)
    ordered = sorted(cuts)
    begins = [ordered[0] - timedelta(days=1), *ordered] if ordered else []
    asked = asked_of((each.row for each in materials), run, terms)
    by_account = {each.account.id: each for each in materials}
    starts = [start_ms(each, terms.zone) for each in ordered]
    for one in usage_claims.sums(look, asked, starts, claimed=claimed):
        by_account[one.billing_account].sums.append((one, begins[one.place]))


def _draft(of: _Material, terms: Terms) -> Drafted:
    made = charges_of(of.payer, of.pieces, terms.book, of.period, of.made, of.since)
    all_of_it = [*made, *of.granted]
    bill = drafted(
        of.payer,
        of.period,
        held_for_bill(of.pieces, of.period, of.first, all_of_it),
        _summed(of, terms),
        all_of_it,
        terms.taxes,
        terms.book,
        kind=of.row.kind,
    )
    return Drafted(bill, of.account.due_days, frozenset(each.key for each in of.granted))


def _summed(of: _Material, terms: Terms) -> list[UsageSum]:
    """Return usage by service, kind and stretch of days; what came before the first edge (let go by hand) stands in the first stretch."""
    if not of.sums:
        return []
    found: dict[tuple[int, int, str, str, str, Period], list[int]] = {}
    for each, begin in of.sums:
        mine = of.edges.get(each.service, of.edges[0])
        span = span_of(mine, max(begin, mine[0]))
        key = (each.service, each.party, each.book, each.usage_class, each.tax_code, span)
        total = found.setdefault(key, [0, 0, 0])
        total[0] += each.lines
        total[1] += each.units
        total[2] += each.amount_micros
    return [
        UsageSum(
            service, party, book, usage_class, count, units, micros, tax_code,
            basis_of(service, span, of.pieces, terms.book), since=span.first, until=span.next,
        )
        for (service, party, book, usage_class, tax_code, span), (count, units, micros) in sorted(found.items())
    ]  # fmt: skip
