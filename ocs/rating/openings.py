"""Openings: what the store is to do when a product's period begins: the price, the rows, and what rolls over; pure.

Laws
1. What is bought has for its number the version of the account for which it was bought (a purchase makes the next one): no number
   of an account or its members comes twice. Allowance i of instance n is the row n * 32 + 2 * i, what rolled over into its period is
   the row beside it. A row is known by that and the instant at which it begins.
2. A period's opening follows from the product, the instance's first instant and the period alone: opened twice it is the same,
   so the store does it once under (instance, begin of the period).
3. Only a first period is ever broken: later ones are the kind's own (periods.py), also when they are paid for late.
4. What rolls over is the rest of the period just before; what rolled over into that one is lost.
"""

from typing import NamedTuple

from ocs.money import mul_div_half_up
from ocs.rating.periods import period
from ocs.rating.products import UNIT_OF_ROW, Bonus, Product

NUMBER_MAX = 2**26 - 1
"""The greatest number of an instance, which an account reaches with its changes; its rows' numbers stay below those of counters."""


class Held(NamedTuple):
    """An instance of a product as an account's profile keeps it.

    ``until_ms`` is the end of the last period that was opened; 0: none was. ``renews`` is False once it was cancelled: it ends there.
    What was bought once ends there too, before its time where somebody set it so.
    """

    number: int
    product_key: str
    start_ms: int
    until_ms: int
    renews: bool = True


class OpenedRow(NamedTuple):
    """A bucket to be made: units (or micro-units, ``unit`` 4) from ``start_ms`` up to ``until_ms``."""

    id: int
    unit: int
    start_ms: int
    until_ms: int
    amount: int


class Rolled(NamedTuple):
    """Whose rest goes where: at most ``most`` of what is free of one row becomes another row's amount."""

    from_id: int
    from_start_ms: int
    to_id: int
    to_start_ms: int
    to_until_ms: int
    unit: int
    most: int


class Opening(NamedTuple):
    """What begins with a period: its rows, its price, and what rolls over into it."""

    rows: tuple[OpenedRow, ...]
    price_micros: int
    period: tuple[int, int]
    rolled: tuple[Rolled, ...] = ()


def bucket_id(number: int, place: int, *, rolled: bool = False) -> int:
    """Return the row of an instance's allowance (law 1)."""
    assert 0 < number <= NUMBER_MAX
    return number * 32 + 2 * place + rolled


def period_of(product: Product, start_ms: int, at_ms: int) -> tuple[int, int]:
    """Return the period of an instance that began at ``start_ms``, at an instant.

    Raises ValueError before its beginning, and after the one period of what is bought once.
    """
    if at_ms < start_ms:
        raise ValueError(f"{product.key} begins at {start_ms}, after {at_ms}")
    looked_at_ms = at_ms if product.recurring else start_ms
    begun_ms, until_ms = period(product.kind, looked_at_ms, start_ms, product.zone)
    if at_ms >= until_ms:
        raise ValueError(f"{product.key} ended at {until_ms}, before {at_ms}")
    return max(begun_ms, start_ms), until_ms


def opening(product: Product, held: Held, at_ms: int) -> Opening:
    """Return what begins with the period that holds at an instant, the first or a later one; ValueError as in period_of."""
    begun_ms, until_ms = period_of(product, held.start_ms, at_ms)
    left_s, whole_s = _share(product, held.start_ms, begun_ms, until_ms)
    rows = tuple(
        OpenedRow(
            bucket_id(held.number, place),
            UNIT_OF_ROW[each.unit],
            begun_ms,
            until_ms,
            each.amount * left_s // whole_s,
        )
        for place, each in enumerate(product.allowances)
    )
    price_micros = mul_div_half_up(product.price_micros, left_s, whole_s)
    return Opening(rows, price_micros, (begun_ms, until_ms), _rolled(product, held, begun_ms, until_ms))


def bonus_opening(bonus: Bonus, held: Held, topup_micros: int) -> Opening:
    """Return what a top-up brings, from the instance's first instant on."""
    made = opening(bonus.product, held, held.start_ms)
    worth_micros = bonus.worth_micros(topup_micros)
    return made._replace(rows=tuple(row._replace(amount=worth_micros) for row in made.rows))


def given_opening(product: Product, held: Held, amount: int, until_ms: int) -> Opening:
    """Return what begins where an operator gives a product: so much of its one allowance, until an instant (0: as long as it lasts).

    Raises ValueError for more than the allowance's amount, and for an end that is past or lies behind the product's own.
    """
    made = opening(product, held, held.start_ms)
    (allowance,), (begun_ms, longest_ms) = product.allowances, made.period
    if not 0 < amount <= allowance.amount:
        raise ValueError(f"{product.key} gives at most {allowance.amount} at once")
    if until_ms and not begun_ms < until_ms <= longest_ms:
        raise ValueError(f"{product.key} ends after now, and at {longest_ms} at the latest")
    until_ms = until_ms or longest_ms
    rows = tuple(row._replace(amount=amount, until_ms=until_ms) for row in made.rows)
    return made._replace(rows=rows, period=(begun_ms, until_ms))


def _share(product: Product, start_ms: int, begun_ms: int, until_ms: int) -> tuple[int, int]:
    """Return how much of a period is left of how much, in seconds; all of it where it is whole or not prorated."""
    if not product.prorated or begun_ms != start_ms:
        return 1, 1
    whole_from_ms, _ = period(product.kind, start_ms, start_ms, product.zone)
    return (until_ms - start_ms) // 1000, (until_ms - whole_from_ms) // 1000


def _rolled(product: Product, held: Held, begun_ms: int, until_ms: int) -> tuple[Rolled, ...]:
    if begun_ms == held.start_ms:
        return ()
    from_ms, _ = period_of(product, held.start_ms, begun_ms - 1)
    return tuple(
        Rolled(
            bucket_id(held.number, place),
            from_ms,
            bucket_id(held.number, place, rolled=True),
            begun_ms,
            until_ms,
            UNIT_OF_ROW[each.unit],
            each.rollover_most,
        )
        for place, each in enumerate(product.allowances)
        if each.rollover_most
    )
