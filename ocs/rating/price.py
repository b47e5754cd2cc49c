"""The price of a usage from nothing, line by line: the ladders advanced piece by piece, totalled once; pure.

Laws
1. Nothing is computed here that the ladder does not compute: the lines are differences of one walk and of its total.
2. The amounts of the lines add up to the cost exactly. A line holds whole micro-units; what the exact cost has beyond
   them, and what rounding, minimum and cap make of it, are lines of their own.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from ocs.rating.ladder import COST_MICROS_MAX, ORIGIN, CapMode, Ladder, Step, Walk, advance, affordable, total
from ocs.rating.rates import Rate


class LineKind(StrEnum):
    """What a line of a price is about."""

    FEE = "connect fee"
    BLOCKS = "blocks"
    PAID = "in a block paid before"
    ROUNDING = "rounding"
    MINIMUM = "minimum"
    CAP = "cap"


class Line(NamedTuple):
    """Part of a price: units used in one step of one window, or what belongs to the whole (then ``step`` is None).

    A block belongs to the window in which it begins: units of the next window that still lie in it are a line that costs
    nothing.
    """

    kind: LineKind
    window: str
    step: Step | None
    units: int
    blocks: int
    amount_micros: int
    subtotal_micros: int


class Used(NamedTuple):
    """Units used on one ladder, and the window's name."""

    ladder: Ladder
    window: str
    units: int


class Priced(NamedTuple):
    """What a usage costs; ``units`` are fewer than asked where a cap disconnects."""

    cost_micros: int
    units: int
    walk: Walk
    lines: tuple[Line, ...]


def price(rate: Rate, units: int, start_ms: int, *, connected: bool = False) -> Priced:
    """Price units that begin at an instant, of a session that begins with them.

    ``connected`` is the continuation of a call whose connect fee was paid before. Raises OverflowError beyond the ladder's
    limit, ValueError beyond the calendar's years.
    """
    return explain(
        [
            Used(
                rate.ladders[index]._replace(fee_micros=0) if connected else rate.ladders[index],
                rate.windows[index],
                used,
            )
            for index, used in rate.pieces(units, start_ms=start_ms)
        ]
    )


def explain(pieces: Sequence[Used]) -> Priced:
    """Price consecutive pieces of one chain, whose ladders share what law 6 of ladder.py asks for."""
    walk, lines = ORIGIN, list[Line]()
    for on, window, units in pieces:
        posted = total(on, walk)
        wanted = units
        if on.cap_mode == CapMode.STOP:
            wanted = affordable(on, walk, units, posted, COST_MICROS_MAX)
        walk = _used(on, window, walk, wanted, lines)
        if wanted < units:
            break
    if not pieces:
        return Priced(0, 0, walk, ())
    on = pieces[-1].ladder
    _finish(on, walk, lines)
    return Priced(total(on, walk), walk.position, walk, tuple(lines))


def _used(on: Ladder, window: str, walk: Walk, units: int, lines: list[Line]) -> Walk:
    """Use units on one ladder and add its lines: the fee, what is paid already, then step by step."""
    target = walk.position + units
    if target > on.limit:
        raise OverflowError(f"position {target} lies outside 0 .. {on.limit}")
    if walk.covered == 0 and target > 0 and on.fee_micros:
        lines.append(Line(LineKind.FEE, window, None, 0, 0, on.fee_micros, on.fee_micros))
    if target > walk.position and walk.covered > walk.position:
        paid = min(target, walk.covered) - walk.position
        walk = advance(on, walk, paid)
        lines.append(Line(LineKind.PAID, window, None, paid, 0, 0, walk.whole_micros))
    for each in on.steps:
        if walk.position >= target:
            break
        if walk.covered >= each.end:
            continue
        bought = advance(on, walk, min(target, each.end) - walk.position)
        after = advance(on, bought, min(target, bought.covered) - bought.position)
        before_micros = lines[-1].subtotal_micros if lines else 0
        blocks = (after.covered - walk.covered) // each.block
        lines.append(
            Line(
                LineKind.BLOCKS,
                window,
                each,
                after.position - walk.position,
                blocks,
                after.whole_micros - before_micros,
                after.whole_micros,
            )
        )
        walk = after
    assert walk.position == target
    return walk


def _finish(on: Ladder, walk: Walk, lines: list[Line]) -> None:
    """Add what belongs to the whole: rounding, then the minimum, then the cap."""
    plain = on._replace(minimum_micros=0, cap_micros=0, cap_mode=CapMode.NONE)
    least = on._replace(cap_micros=0, cap_mode=CapMode.NONE)
    stages = ((LineKind.ROUNDING, plain), (LineKind.MINIMUM, least), (LineKind.CAP, on))
    reached = walk.whole_micros
    for kind, stage in stages:
        cost = total(stage, walk)
        if cost != reached:
            lines.append(Line(kind, "", None, 0, 0, cost - reached, cost))
        reached = cost
