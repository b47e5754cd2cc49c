"""The ladder: the one evaluator of prices, the same data and the same arithmetic in Python and in Lua.

Laws
1. A ladder prices a cumulative axis. Position 0 is the start of the axis (a session, or a period); a step holds for the
   blocks that begin in [start, end). Blocks are bought whole; a block belongs to the step in which it begins, and the
   next step's first block begins where that block ends.
2. The state of a chain is a Walk. ``advance`` is associative: two interims cost what their sum costs, whatever the cuts.
3. The exact cost is whole + frac / scale micro-units; it is rounded once, by ``total``, on the cumulative axis.
4. The connect fee is due with the first unit of the axis: nothing used, nothing due.
5. Positions stop at ``limit``, up to which every intermediate number of the Lua twin stays below 2**53.
6. Where windows change, the walk passes from one ladder to the next as it is: the ladders of one rate share scale, limit,
   quantum, rounding, minimum and cap, so the chain's end may be totalled on any of them.
7. Minimum and cap belong to the whole chain and are looked at once, by ``total``: with R the rounded cost and p the
   position, total = R if nothing is used (p = 0), else max(R, minimum), and then with CapMode.FREE min of that and the cap.
   CapMode.STOP leaves the total alone (what was used is owed, also beyond the grant) and bounds ``affordable`` instead: no
   unit is granted that would take the total above max(cap, posted).
8. On the axis of a period the steps are chosen by what was used in the period, by whomever: a walk's blocks stay its own, and its
   covered units lie ``shift`` = (used in the period) - (covered) further on. The last step has no end.

The twin is ocs/balance/functions/ladder.lua; tests/property holds the two equal on random ladders.
"""

from enum import IntEnum
from itertools import pairwise
from math import gcd, lcm
from typing import NamedTuple

from ocs.money import EXACT_MAX, mul_div_floor
from ocs.units import UNITS_MAX

SCALE_MAX = 2**40
COST_MICROS_MAX = 2**51


class Axis(IntEnum):
    """What a ladder's positions count: usage since the session's start, or since the period's."""

    SESSION = 1
    PERIOD = 2


class Rounding(IntEnum):
    """How the exact cost becomes a multiple of the ladder's quantum."""

    HALF_UP = 1
    UP = 2
    DOWN = 3


class CapMode(IntEnum):
    """What happens when a session's cost reaches its cap: nothing, the rest is free, or nothing more is granted."""

    NONE = 0
    FREE = 1
    STOP = 2


class Step(NamedTuple):
    """Price of the blocks that begin in [start, end): ``price_micros`` per ``per_units``, in lowest terms."""

    start: int
    end: int
    block: int
    price_micros: int
    per_units: int


class Ladder(NamedTuple):
    """Ordered steps without a gap from 0 to UNITS_MAX, with what is common to them."""

    axis: int
    limit: int
    scale: int
    quantum_micros: int
    rounding: int
    fee_micros: int
    steps: tuple[Step, ...]
    minimum_micros: int = 0
    cap_micros: int = 0
    cap_mode: int = CapMode.NONE


class Walk(NamedTuple):
    """How far a chain has come: units used, end of the last block bought, and their exact cost."""

    position: int
    covered: int
    whole_micros: int
    frac: int


ORIGIN = Walk(0, 0, 0, 0)


class LadderError(ValueError):
    """Steps that cannot be priced exactly; the message says which and why."""


def step(start: int, end: int, block: int, price_micros: int, per_units: int) -> Step:
    """Build a step with its price in lowest terms.

    Raises LadderError on empty ranges, blocks or prices outside what is exact.
    """
    if not 0 <= start < end <= UNITS_MAX:
        raise LadderError(f"a step from {start} to {end} is empty or beyond {UNITS_MAX}")
    if not 0 < block <= 2**40:
        raise LadderError(f"a block of {block} units; it has to be between 1 and {2**40}")
    if price_micros < 0 or per_units <= 0:
        raise LadderError(
            f"a price of {price_micros} micro-units per {per_units} units; it cannot be negative, nor per nothing"
        )
    common = gcd(price_micros, per_units)
    price, per = price_micros // common, per_units // common
    if price * per > EXACT_MAX or per > SCALE_MAX:
        raise LadderError(
            f"a price of {price_micros} micro-units per {per_units} units cannot be computed exactly"
        )
    return Step(start, end, block, price, per)


def ladder(
    steps: list[Step],
    *,
    fee_micros: int = 0,
    quantum_micros: int = 1,
    rounding: Rounding = Rounding.HALF_UP,
    axis: Axis = Axis.SESSION,
    scale: int = 1,
    minimum_micros: int = 0,
    cap_micros: int = 0,
    cap_mode: CapMode = CapMode.NONE,
) -> Ladder:
    """Build a ladder; ``scale`` is a common denominator that other ladders of the tariff need (they share one).

    Raises LadderError when the steps leave a gap, overlap, or have no common denominator below SCALE_MAX.
    """
    if not steps or steps[0].start != 0 or steps[-1].end != UNITS_MAX:
        raise LadderError(f"steps have to lead from 0 to the end of the axis ({UNITS_MAX})")
    for before, after in pairwise(steps):
        if before.end != after.start:
            raise LadderError(
                f"a step ends at {before.end} and the next begins at {after.start}; they have to meet"
            )
    if not 0 <= fee_micros <= COST_MICROS_MAX or not 0 < quantum_micros <= 10**12:
        raise LadderError(
            f"a connect fee of {fee_micros} or a quantum of {quantum_micros} micro-units is out of range"
        )
    if not 0 <= minimum_micros <= COST_MICROS_MAX or not 0 <= cap_micros <= COST_MICROS_MAX:
        raise LadderError(
            f"a minimum of {minimum_micros} or a cap of {cap_micros} micro-units is out of range"
        )
    if cap_mode and cap_micros < max(minimum_micros, 1):
        raise LadderError(
            f"a cap of {cap_micros} micro-units; it has to be above zero and not below the minimum"
        )
    common = lcm(scale, *(each.per_units for each in steps))
    if common > SCALE_MAX:
        raise LadderError(
            f"the prices' common denominator {common} is beyond {SCALE_MAX}; use rounder quantities"
        )
    dearest = max(steps, key=lambda each: each.price_micros * (common // each.per_units))
    limit = UNITS_MAX
    if dearest.price_micros:
        limit = min(limit, COST_MICROS_MAX * dearest.per_units // dearest.price_micros)
    limit -= max(each.block for each in steps)
    if limit <= 0:
        raise LadderError("a single block costs more than the store can hold")
    return Ladder(
        axis,
        limit,
        common,
        quantum_micros,
        rounding,
        fee_micros,
        tuple(steps),
        minimum_micros,
        cap_micros,
        cap_mode,
    )


def advance(on: Ladder, walk: Walk, units: int, shift: int = 0) -> Walk:
    """Use ``units`` more: buy the blocks that they begin. Positions beyond the ladder's limit are an OverflowError.

    ``shift`` is where the walk's end lies on the axis of a period (law 8).
    """
    position = walk.position + units
    if units < 0 or position > on.limit:
        raise OverflowError(f"position {position} lies outside 0 .. {on.limit}")
    covered, whole, frac = walk.covered, walk.whole_micros, walk.frac
    if position > 0 and covered == 0:
        whole += on.fee_micros
    last = on.steps[-1]
    for each in on.steps:
        if covered >= position:
            break
        finish = position if each is last else min(position, each.end - shift)
        if covered >= finish:
            continue
        _, _, block, price, per = each
        bought = -((covered - finish) // block) * block
        whole += mul_div_floor(bought, price, per)
        frac += bought % per * price % per * (on.scale // per)
        if frac >= on.scale:
            frac -= on.scale
            whole += 1
        covered += bought
    return Walk(position, covered, whole, frac)


def total(on: Ladder, walk: Walk) -> int:
    """Return the cost in micro-units of all that the walk has used: rounded, at least the minimum, at most a free-after cap.

    The only place where a price is rounded.
    """
    cost = _rounded(on, walk)
    if walk.position > 0 and cost < on.minimum_micros:
        cost = on.minimum_micros
    return on.cap_micros if on.cap_mode == CapMode.FREE and cost > on.cap_micros else cost


def _rounded(on: Ladder, walk: Walk) -> int:
    """Return the exact cost as a multiple of the quantum."""
    quantum = on.quantum_micros
    over = walk.whole_micros % quantum
    down = walk.whole_micros - over
    if on.rounding == Rounding.UP:
        return down + (quantum if over or walk.frac else 0)
    if on.rounding == Rounding.DOWN:
        return down
    # over + frac / scale >= quantum / 2, in integers: frac decides where the quantum is odd (one micro-unit above all)
    half = 2 * over + (1 if 2 * walk.frac >= on.scale else 0) >= quantum
    return down + (quantum if half else 0)


def affordable(on: Ladder, walk: Walk, wanted: int, posted: int, budget: int, shift: int = 0) -> int:
    """Return the most units in 0 .. wanted whose cost beyond ``posted`` micro-units stays within ``budget``.

    What costs nothing more (a block paid already, a free step) is affordable whatever the budget. The cost is constant
    inside a block, so the search ends at the end of the last affordable block. A cap that disconnects is a second bound
    (law 7).
    """
    most = min(wanted, on.limit - walk.position)
    if most <= 0:
        return 0
    ceiling = posted + max(budget, 0)
    if on.cap_mode == CapMode.STOP:
        ceiling = min(ceiling, max(on.cap_micros, posted))
    if total(on, advance(on, walk, most, shift)) <= ceiling:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if total(on, advance(on, walk, middle, shift)) <= ceiling:
            low = middle
        else:
            high = middle
    return low
