"""Random prices: as the model writes them, with the evaluator's ladder; the limit is the ladder's own."""

from fractions import Fraction

from hypothesis import assume
from hypothesis import strategies as st

from ocs.balance.model_prices import Price, PricedStep
from ocs.rating.ladder import COST_MICROS_MAX, CapMode, Ladder, LadderError, Rounding, ladder, step
from ocs.units import UNITS_MAX, Unit

CAPS = {"": CapMode.NONE, "free": CapMode.FREE, "stop": CapMode.STOP}
ROUNDING = {"half-up": Rounding.HALF_UP, "up": Rounding.UP, "down": Rounding.DOWN}
blocks = st.one_of(
    st.integers(1, 10), st.sampled_from((60, 1_000, 2**20, 2**40 - 1, 2**40)), st.integers(1, 2**40)
)
pers = st.one_of(
    st.integers(1, 13), st.sampled_from((60, 3_600, 10_000, 2**20, 2**30, 2**40)), st.integers(1, 2**16)
)
prices_micros = st.one_of(
    st.integers(0, 20), st.sampled_from((10_000, 123_456, 10**6, 2**40)), st.integers(0, 2**34)
)
starts = st.one_of(st.integers(1, 200), st.integers(1, 2**21), st.integers(1, UNITS_MAX - 1))
quanta = st.one_of(st.just(1), st.sampled_from((2, 3, 7, 10, 100_000, 10**6, 10**12)), st.integers(1, 99))
bounds = st.one_of(st.integers(1, 1_000), st.integers(1, 10**9), st.just(COST_MICROS_MAX // 2))
fees = st.one_of(
    st.just(0), st.integers(0, 10), st.just(150_000), st.sampled_from((COST_MICROS_MAX - 1, COST_MICROS_MAX))
)


def ladder_of(price: Price, scale: int = 1) -> Ladder:
    """The evaluator's ladder of a price; ``scale`` is a denominator that it shares with others."""
    steps = [step(*each) for each in price.steps]
    return ladder(
        steps,
        fee_micros=price.fee_micros,
        quantum_micros=price.quantum_micros,
        rounding=ROUNDING[price.rounding],
        scale=scale,
        minimum_micros=price.minimum_micros,
        cap_micros=price.cap_micros,
        cap_mode=CAPS[price.cap],
    )


def price_of(
    unit: Unit,
    *steps: tuple[int, int, int, int],
    fee: int = 0,
    quantum: int = 1,
    rounding: str = "half-up",
    minimum: int = 0,
    cap: tuple[int, str] = (0, ""),
) -> Price:
    """A price of steps (start, block, price, per), its cap as (micro-units, "free" or "stop")."""
    ends = [each[0] for each in steps[1:]] + [UNITS_MAX]
    whole = tuple(
        PricedStep(start, end, block, price, per)
        for (start, block, price, per), end in zip(steps, ends, strict=True)
    )
    bare = Price(unit, whole, fee, quantum, rounding, UNITS_MAX, minimum, *cap)
    return bare._replace(limit=ladder_of(bare).limit)


@st.composite
def random_prices(draw: st.DrawFn) -> Price:
    """A price that a tariff may have: up to five steps, each with its own block and price."""
    edges = sorted(draw(st.sets(starts, max_size=4)))
    steps = [(start, draw(blocks), draw(prices_micros), draw(pers)) for start in (0, *edges)]
    fee, quantum, rounding = draw(fees), draw(quanta), draw(st.sampled_from(sorted(ROUNDING)))
    minimum = draw(st.one_of(st.just(0), bounds))
    mode = draw(st.sampled_from(("", "", "free", "stop")))
    cap = (minimum + draw(bounds), mode) if mode else (0, "")
    try:
        return price_of(
            Unit.OCTETS, *steps, fee=fee, quantum=quantum, rounding=rounding, minimum=minimum, cap=cap
        )
    except LadderError:
        assume(False)
        raise


@st.composite
def positions(draw: st.DrawFn, limit: int) -> int:
    """A place on an axis: near its start, near a block's end, anywhere, or near its limit."""
    near = st.one_of(st.integers(0, 300), st.integers(0, 2**22), st.integers(0, limit))
    return min(limit, draw(st.one_of(near, near.map(lambda units: max(0, limit - units)))))


def exact_of(ladder_scale: int, whole_micros: int, frac: int) -> Fraction:
    """The exact cost that a walk tells."""
    return whole_micros + Fraction(frac, ladder_scale)
