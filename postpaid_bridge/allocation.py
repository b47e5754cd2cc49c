"""Which claims a payment pays (pure): by the payer's word, else as the law says.

Laws
1. What the payer names is paid first (BGB section 366(1)); what is left of the payment goes on as if nothing had been named.
2. Without a word debts are paid in this order (BGB section 366(2)): due, less secured, more burdensome, older; equal ones pro rata.
3. Inside a debt: costs, then interest, then principal (BGB section 367(1)); the principal claims of one bill pro rata (TKG section 62(3)).
4. Shares and the rest add up to the payment, no share is above its claim, and none is 0. The order in which claims are handed in says nothing.
5. Pro rata loses nothing: in whole cents where everything is in whole cents, else in micro-units; what is left over goes to the greatest
   remainders, then to the lower ids.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from postpaid_bridge.tax import CENT_MICROS

__all__ = ["Allocated", "Claim", "ClaimKind", "Share", "Wish", "allocate", "pro_rata"]


class ClaimKind(StrEnum):
    """What a claim is for; the order is that of BGB section 367(1)."""

    FEE = "fee"
    INTEREST = "interest"
    PRINCIPAL = "principal"


_RANKS = {kind: rank for rank, kind in enumerate(ClaimKind)}


class Claim(NamedTuple):
    """What is open of something. ``debt`` holds together what belongs together: a bill's principal claims, its fees and its interest;
    ``bill`` is its number ("": none). ``burden``: the more, the more burdensome.
    """

    id: int
    debt: str
    kind: ClaimKind
    open_micros: int
    since: date
    due: date
    bill: str = ""
    secured: bool = False
    burden: int = 0


class Wish(NamedTuple):
    """What the payer named: a bill by its number, or a claim by its id, and how much of the payment is for it (None: what is open)."""

    bill: str = ""
    claim: int = 0
    amount_micros: int | None = None


class Share(NamedTuple):
    """What a claim gets of a payment, above 0."""

    claim: int
    amount_micros: int


class Allocated(NamedTuple):
    """The shares by claim, in the order of claims' ids, and what no claim gets."""

    shares: tuple[Share, ...]
    rest_micros: int


def allocate(
    amount_micros: int, claims: Iterable[Claim], day: date, wishes: Sequence[Wish] = ()
) -> Allocated:
    """Return which claims a payment of a day pays. ValueError for an amount or an open claim below 0."""
    listed = sorted(claims)
    if amount_micros < 0 or any(each.open_micros < 0 for each in listed):
        raise ValueError("what is paid and what is open is 0 or more")
    paying = _Paying(amount_micros, listed)
    for wish in sorted(wishes, key=lambda each: each.amount_micros is None):  # sums first, in their order
        if wish.amount_micros is not None:
            paying.by_law(_named(listed, [wish]), day, wish.amount_micros)
    if whole := [each for each in wishes if each.amount_micros is None]:
        paying.by_law(_named(listed, whole), day)
    paying.by_law(listed, day)
    return paying.done()


def pro_rata(amount_micros: int, weights: Sequence[int]) -> list[int]:
    """Return the shares of an amount by weights (all above 0); they add up to it, and are at most the weights where the amount is at most
    their sum (law 5). The places say who is first among equals.
    """
    total = sum(weights)
    unit = CENT_MICROS if all(each % CENT_MICROS == 0 for each in (amount_micros, *weights)) else 1
    parts = [divmod(amount_micros // unit * each, total) for each in weights]
    shares = [whole for whole, _ in parts]
    first = sorted(range(len(parts)), key=lambda n: (-parts[n][1], n))
    for n in first[: amount_micros // unit - sum(shares)]:
        shares[n] += 1
    return [each * unit for each in shares]


def _named(claims: Iterable[Claim], wishes: Sequence[Wish]) -> list[Claim]:
    bills = {each.bill for each in wishes if each.bill}
    ids = {each.claim for each in wishes if each.claim}
    return [each for each in claims if each.id in ids or (each.bill and each.bill in bills)]


class _Paying:
    """A payment as it runs down."""

    def __init__(self, amount_micros: int, claims: Iterable[Claim]) -> None:
        self._left = amount_micros
        self._open = {each.id: each.open_micros for each in claims}
        self._paid: dict[int, int] = {}

    def by_law(self, claims: Sequence[Claim], day: date, most_micros: int | None = None) -> None:
        """Pay some claims in the order of law 2, out of what is left."""
        keep = 0 if most_micros is None else max(self._left - most_micros, 0)
        self._left -= keep
        for _, equal in groupby(_debts(claims, day), key=lambda each: each[0]):
            debts = [of for _, of in equal]
            weights = [sum(self._open[each.id] for each in of) for of in debts]
            both = [(of, weight) for of, weight in zip(debts, weights, strict=True) if weight]
            if both:
                total = sum(weight for _, weight in both)
                shares = pro_rata(min(self._left, total), [weight for _, weight in both])
                for (of, _), share in zip(both, shares, strict=True):
                    self._pay_debt(of, share)
        self._left += keep

    def _pay_debt(self, claims: Sequence[Claim], amount_micros: int) -> None:
        """Pay one debt (law 3)."""
        for kind in ClaimKind:
            mine = [each for each in claims if each.kind is kind and self._open[each.id]]
            if mine and amount_micros:
                weights = [self._open[each.id] for each in mine]
                paid = min(amount_micros, sum(weights))
                amount_micros -= paid
                for each, share in zip(mine, pro_rata(paid, weights), strict=True):
                    self._open[each.id] -= share
                    self._left -= share
                    self._paid[each.id] = self._paid.get(each.id, 0) + share

    def done(self) -> Allocated:
        """Return what came of it."""
        shares = tuple(Share(each, micros) for each, micros in sorted(self._paid.items()) if micros)
        return Allocated(shares, self._left)


_Place = tuple[bool, bool, int, date]


def _debts(claims: Iterable[Claim], day: date) -> list[tuple[_Place, list[Claim]]]:
    """Return debts in the order of law 2; equal ones have equal places. A debt is what its principal is, if that is here."""
    by_debt: dict[str, list[Claim]] = {}
    for each in claims:
        by_debt.setdefault(each.debt, []).append(each)
    found = []
    for of in by_debt.values():
        main = max(_RANKS[each.kind] for each in of)
        lead = [each for each in of if _RANKS[each.kind] == main]
        place = (
            min(each.due for each in lead) > day,
            any(each.secured for each in lead),
            -max(each.burden for each in lead),
            min(each.since for each in lead),
        )
        found.append((place, sorted(of)))
    return sorted(found, key=lambda each: (each[0], each[1][0].id))
