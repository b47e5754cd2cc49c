import pytest

from ocs.money import EXACT_MAX
from ocs.rating.ladder import (
    COST_MICROS_MAX,
    CapMode,
    Ladder,
    LadderError,
    Rounding,
    Step,
    Walk,
    advance,
    affordable,
    ladder,
    step,
    total,
)
from ocs.units import UNITS_MAX

START = Walk(0, 0, 0, 0)


def flat(
    block: int,
    price_micros: int,
    per: int,
    *,
    fee: int = 0,
    quantum: int = 1,
    rounding: Rounding = Rounding.HALF_UP,
) -> Ladder:
    only = step(0, UNITS_MAX, block, price_micros, per)
    return ladder([only], fee_micros=fee, quantum_micros=quantum, rounding=rounding)


def cost(on: Ladder, units: int) -> int:
    return total(on, advance(on, START, units))


def test_a_step_keeps_its_price_in_lowest_terms() -> None:
    assert step(0, UNITS_MAX, 60, 100_000, 60) == Step(0, UNITS_MAX, 60, 5_000, 3)


@pytest.mark.parametrize(
    ("start", "end", "block", "price", "per"),
    [
        (0, 0, 1, 1, 1),
        (5, 4, 1, 1, 1),
        (-1, 5, 1, 1, 1),
        (0, UNITS_MAX + 1, 1, 1, 1),
        (0, 5, 0, 1, 1),
        (0, 5, 2**40 + 1, 1, 1),
        (0, 5, 1, -1, 1),
        (0, 5, 1, 1, 0),
        (0, 5, 1, EXACT_MAX, 2),
        (0, 5, 1, 1, 2**40 + 1),
    ],
)
def test_a_step_that_cannot_be_priced_exactly_is_refused(
    start: int, end: int, block: int, price: int, per: int
) -> None:
    with pytest.raises(LadderError):
        step(start, end, block, price, per)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Step(1, UNITS_MAX, 1, 1, 1)],
        [Step(0, 10, 1, 1, 1)],
        [Step(0, 10, 1, 1, 1), Step(11, UNITS_MAX, 1, 1, 1)],
        [Step(0, 10, 1, 1, 1), Step(9, UNITS_MAX, 1, 1, 1)],
        [Step(0, 10, 1, 1, 2**39 + 1), Step(10, UNITS_MAX, 1, 1, 2**39 - 1)],
        [Step(0, UNITS_MAX, 2**40, EXACT_MAX, 1)],
    ],
)
def test_steps_that_are_no_ladder_are_refused(steps: list[Step]) -> None:
    with pytest.raises(LadderError):
        ladder(steps)


@pytest.mark.parametrize(("fee", "quantum"), [(-1, 1), (COST_MICROS_MAX + 1, 1), (0, 0), (0, 10**12 + 1)])
def test_a_fee_or_a_quantum_out_of_range_is_refused(fee: int, quantum: int) -> None:
    with pytest.raises(LadderError, match="out of range"):
        flat(1, 1, 1, fee=fee, quantum=quantum)


@pytest.mark.parametrize(("units", "micros"), [(0, 0), (1, 100_000), (60, 100_000), (61, 200_000)])
def test_blocks_are_bought_whole(units: int, micros: int) -> None:
    assert cost(flat(60, 100_000, 60), units) == micros


def test_the_fee_is_due_with_the_first_unit_and_once() -> None:
    on = flat(1, 10, 1, fee=500)
    assert (cost(on, 0), cost(on, 1), cost(on, 2)) == (0, 510, 520)
    here = advance(on, advance(on, START, 0), 1)
    assert total(on, advance(on, here, 1)) == 520


def test_a_block_belongs_to_the_step_in_which_it_begins() -> None:
    on = ladder([step(0, 100, 60, 1, 1), step(100, UNITS_MAX, 10, 2, 1)])
    # blocks begin at 0 and 60, the second ends at 120: the next step begins there, not at 100
    assert [cost(on, units) for units in (60, 61, 120, 121, 131)] == [60, 120, 120, 140, 160]


@pytest.mark.parametrize(
    ("rounding", "quantum", "costs"),
    [
        (Rounding.HALF_UP, 1, [0, 1, 1, 1]),
        (Rounding.UP, 1, [1, 1, 1, 2]),
        (Rounding.DOWN, 1, [0, 0, 1, 1]),
        (Rounding.UP, 10, [10, 10, 10, 10]),
    ],
)
def test_the_cost_is_rounded_as_the_ladder_says(rounding: Rounding, quantum: int, costs: list[int]) -> None:
    on = flat(1, 1, 3, quantum=quantum, rounding=rounding)
    assert [cost(on, units) for units in (1, 2, 3, 4)] == costs


def test_half_of_an_odd_quantum_is_found_in_the_fraction() -> None:
    on = flat(1, 1, 2, quantum=7)
    assert [cost(on, units) for units in (6, 7, 13, 14, 20, 21)] == [0, 7, 7, 7, 7, 14]


def test_interims_cost_what_their_sum_costs() -> None:
    on = flat(60, 10_000_000, 60)
    assert total(on, advance(on, advance(on, START, 35), 20)) == cost(on, 55) == 10_000_000


def test_a_position_beyond_the_limit_is_refused() -> None:
    on = flat(1, COST_MICROS_MAX // 1000, 1)
    assert advance(on, START, on.limit).position == on.limit
    with pytest.raises(OverflowError):
        advance(on, START, on.limit + 1)
    with pytest.raises(OverflowError):
        advance(on, START, -1)


@pytest.mark.parametrize(
    ("wanted", "budget", "units"),
    [
        (80, 50, 50),
        (80, 49, 40),
        (80, 9, 0),
        (80, -5, 0),
        (30, 50, 30),
        (0, 50, 0),
        (80, 80, 80),
        (85, 80, 80),
    ],
)
def test_a_grant_ends_with_the_last_affordable_block(wanted: int, budget: int, units: int) -> None:
    assert affordable(flat(10, 1, 1), START, wanted, 0, budget) == units


def test_what_is_paid_already_is_affordable_with_nothing_left() -> None:
    on = flat(100, 1, 1)
    here = advance(on, START, 130)
    assert affordable(on, here, 1_000, total(on, here), 0) == 70
    assert affordable(on, here, 1_000, total(on, here), -500) == 70


@pytest.mark.parametrize(("units", "micros"), [(0, 0), (1, 500), (40, 500), (60, 600), (90, 900), (100, 900)])
def test_a_session_costs_its_minimum_from_the_first_unit_and_its_cap_at_most(units: int, micros: int) -> None:
    on = flat(1, 10, 1)._replace(minimum_micros=500, cap_micros=900, cap_mode=CapMode.FREE)
    assert cost(on, units) == micros


def test_behind_a_free_after_cap_everything_is_affordable() -> None:
    on = flat(10, 1, 1)._replace(cap_micros=35, cap_mode=CapMode.FREE)
    assert [affordable(on, START, 500, 0, budget) for budget in (0, 34, 35)] == [0, 30, 500]


@pytest.mark.parametrize(
    ("budget", "posted", "units"), [(1_000, 0, 30), (20, 0, 20), (1_000, 10, 30), (0, 0, 0)]
)
def test_a_cap_that_disconnects_bounds_the_grant_and_never_the_total(
    budget: int, posted: int, units: int
) -> None:
    on = flat(10, 1, 1)._replace(cap_micros=35, cap_mode=CapMode.STOP)
    assert affordable(on, START, 500, posted, budget) == units
    assert cost(on, 50) == 50


def test_beyond_a_cap_that_disconnects_only_what_is_paid_already_is_granted() -> None:
    on = flat(10, 1, 1)._replace(cap_micros=35, cap_mode=CapMode.STOP)
    here = advance(on, START, 52)
    assert affordable(on, here, 500, total(on, here), 1_000) == 8


@pytest.mark.parametrize(
    ("minimum", "cap", "mode", "what"),
    [
        (-1, 0, CapMode.NONE, "out of range"),
        (0, COST_MICROS_MAX + 1, CapMode.FREE, "out of range"),
        (0, 0, CapMode.STOP, "above zero"),
        (10, 9, CapMode.FREE, "not below the minimum"),
    ],
)
def test_a_minimum_or_cap_that_cannot_hold_is_refused(
    minimum: int, cap: int, mode: CapMode, what: str
) -> None:
    with pytest.raises(LadderError, match=what):
        ladder([step(0, UNITS_MAX, 1, 1, 1)], minimum_micros=minimum, cap_micros=cap, cap_mode=mode)
