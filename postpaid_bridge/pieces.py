"""What an account's bill is made of where who pays or who uses changed: plans in pieces, and the days that usage is summed up over (pure).

Laws
1. A plan that changed hands comes in pieces with one id. Each piece owes its own days: what another payer, or another party, was charged is
   neither paid for nor to be given back by this one. Keys stay the plan's, so that no charge is made twice.
2. A fee is due where the plan itself begins or ends, not where it changes hands.
3. Usage is summed up apart where a rate of tax, the service's main plan, or the period changes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import NamedTuple

from postpaid_bridge.charges import Charge, ChargeKind, HeldPlan, Payer, charges_due
from postpaid_bridge.periods import Period
from postpaid_bridge.plans import PlanBook
from postpaid_bridge.run import RunFault
from postpaid_bridge.tax import Basis, Taxes

__all__ = ["Made", "Piece", "basis_of", "charges_of", "edges_of", "held_for_bill", "span_of"]


class Piece(NamedTuple):
    """A plan while one account paid for it and one party held it; ``begun`` and ``ended`` are the plan's own edges."""

    held: HeldPlan
    begun: date
    ended: date | None


class Made(NamedTuple):
    """A charge that was made before, and the billing account that it was made for."""

    billing_account: int
    charge: Charge


def charges_of(
    payer: Payer,
    pieces: Sequence[Piece],
    book: PlanBook,
    period: Period,
    made: Sequence[Made],
    not_before: date | None,
) -> list[Charge]:
    """Return the rents, fees and credits of a bill of ``period`` (laws 1 and 2); ``made`` are all charges of these plans, whoever paid them.

    Raises ChargeFault as charges_due does.
    """
    found: list[Charge] = []
    for each in _rounds(pieces):
        already = {one.charge.key: _seen(payer, one, each, pieces) for one in made}
        already |= {charge.key: replace(charge, held=0) for charge in found}
        due = charges_due(
            [piece.held for piece in each],
            book.plans,
            payer.cycle,
            period,
            already,
            language=payer.language,
            not_before=not_before,
        )
        by_id = {piece.held.id: piece for piece in each}
        found += [charge for charge in due if not _at_hands(charge, by_id[charge.held], book)]
    return found


def _rounds(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return the pieces so that none has a plan twice: the first pieces of all plans, the second ones …"""
    rounds: list[list[Piece]] = []
    counts: dict[int, int] = defaultdict(int)
    for each in sorted(pieces, key=lambda one: (one.held.since, one.held.id)):
        place = counts[each.held.id]
        counts[each.held.id] += 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(each)
    return rounds


def _seen(payer: Payer, made: Made, now: Sequence[Piece], pieces: Sequence[Piece]) -> Charge:
    """Return a charge as these pieces see it: another's has its key alone."""
    charge = made.charge
    if made.billing_account != payer.billing_account:
        return replace(charge, held=0)
    if now is pieces or len(now) == len(pieces):
        return charge
    mine = sorted((each for each in pieces if each.held.id == charge.held), key=lambda each: each.held.since)
    own = [each for each in mine if each.held.party == charge.party] or mine
    before = [each for each in own if each.held.since <= charge.since]
    of = before[-1] if before else own[0] if own else None
    return charge if of in now else replace(charge, held=0)


def _at_hands(charge: Charge, piece: Piece, book: PlanBook) -> bool:
    """Whether a fee stands where the plan changes hands only (law 2)."""
    if charge.kind is not ChargeKind.ONCE:
        return False
    fee = next(each for each in book.plans[charge.plan].fees if each.item == charge.item)
    held = piece.held
    return held.since != piece.begun if fee.at_start else held.until != piece.ended


def held_for_bill(
    pieces: Sequence[Piece], period: Period, first: date, charges: Iterable[Charge]
) -> list[HeldPlan]:
    """Return each plan once, as discounts and commitments look at it: those held since ``first``, and those that charges are of."""
    charged = {each.held for each in charges}
    found: dict[int, HeldPlan] = {}
    for piece in sorted(pieces, key=lambda one: (one.held.since, one.held.id)):
        held = piece.held
        if held.until is not None and held.until <= first and held.id not in charged:
            continue
        there = found.get(held.id)
        if there is None:
            since = piece.begun if held.since <= period.first else held.since
            found[held.id] = replace(held, since=since)
        else:
            found[held.id] = replace(there, until=held.until, party=held.party)
    return list(found.values())


# ---------------------------------------------------------------- days of usage


def edges_of(
    payer: Payer, period: Period, first: date, pieces: Sequence[Piece], taxes: Taxes, book: PlanBook
) -> dict[int, list[date]]:
    """Return, by service (0: any other), the days at which usage from ``first`` to the period's end is cut (law 3), both ends with them."""
    before = payer.cycle.period_of(period.first - timedelta(days=1)).first
    common = {max(first, before), period.first}
    for each in taxes.classes.values():
        common |= {day for day, _ in each.rates if first < day < period.next}
    common |= {first, period.next}
    found = {0: sorted(common)}
    changes: dict[int, set[date]] = defaultdict(set)
    for piece in pieces:
        plan = book.plans.get(piece.held.plan)
        if plan is not None and plan.tariff and first < piece.begun < period.next:
            changes[piece.held.service].add(piece.begun)
    for service, days in changes.items():
        found[service] = sorted(common | days)
    return found


def span_of(edges: Sequence[date], day: date) -> Period:
    """Return the stretch between two edges in which a day lies."""
    following = next(place for place, each in enumerate(edges) if each > day)
    return Period(edges[following - 1], edges[following])


def basis_of(service: int, span: Period, pieces: Sequence[Piece], book: PlanBook) -> Basis:
    """Return the basis of a service's usage: that of its main plan on the span's last day, else of the one nearest before it.

    Raises RunFault where it has never had a main plan that is known.
    """
    mains = sorted(
        (each.held.since, each.held.plan)
        for each in pieces
        if each.held.service == service and each.held.plan in book.plans and book.plans[each.held.plan].tariff
    )
    if not mains:
        raise RunFault(
            f"service {service} has usage and no plan with a tariff: give it one that config/plans knows"
        )
    before = [plan for since, plan in mains if since <= span.last]
    return book.plans[before[-1] if before else mains[0][1]].prices
