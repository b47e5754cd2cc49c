"""Session caps as steps: where one ladder alone decides, "free after" is a free step behind the block that reaches the cap.

So the store needs nothing new for it. A cap over several windows, and one that disconnects, stay amounts on the chain
(ladder.py, law 7).
"""

from fractions import Fraction

from ocs.rating.ladder import CapMode, Ladder, LadderError, Step, ladder, step
from ocs.units import UNITS_MAX


def levelled(on: Ladder) -> Ladder:
    """Return a ladder that prices alike and needs no cap; the same one when that cannot be written as steps exactly.

    The cap has to be a multiple of the quantum: then rounding up to it and cutting at it come to the same. The block that
    passes the cap costs what is missing; blocks behind it cost nothing. The scale stays, so that ladders still share it.
    """
    if on.cap_mode != CapMode.FREE or on.cap_micros % on.quantum_micros or on.fee_micros > on.cap_micros:
        return on
    try:
        steps = _cut(on)
        made = ladder(steps, fee_micros=on.fee_micros, quantum_micros=on.quantum_micros, scale=on.scale)
    except LadderError:
        return on
    if made.scale != on.scale:
        return on
    return on._replace(steps=made.steps, limit=made.limit, cap_micros=0, cap_mode=CapMode.NONE)


def _cut(on: Ladder) -> list[Step]:
    """Return the steps up to the cap, the block that reaches it, and nothing to pay behind it."""
    steps: list[Step] = []
    left, covered = Fraction(on.cap_micros - on.fee_micros), 0
    for each in on.steps:
        if covered >= each.end:
            steps.append(each)  # no block begins in it
            continue
        if not left:  # the connect fee is the cap
            return [*steps, step(each.start, UNITS_MAX, 1, 0, 1)]
        cost = Fraction(each.block * each.price_micros, each.per_units)
        blocks = -(-(each.end - covered) // each.block)
        if blocks * cost < left:
            steps.append(each)
            left -= blocks * cost
            covered += blocks * each.block
            continue
        whole = left // cost
        rest = left - whole * cost
        ends = [covered + whole * each.block]
        prices = [(each.price_micros, each.per_units)]
        if rest:
            ends.append(ends[0] + each.block)
            part = rest / each.block
            prices.append((part.numerator, part.denominator))
        starts = [each.start, *ends[:-1]]
        steps += [
            step(start, end, each.block, *price)
            for (start, end), price in zip(zip(starts, ends, strict=True), prices, strict=True)
            if start < end
        ]
        return [*steps, step(ends[-1], UNITS_MAX, 1, 0, 1)]
    return steps
