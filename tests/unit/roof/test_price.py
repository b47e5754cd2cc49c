import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.rating.ladder import ORIGIN, Ladder, Rounding, advance, ladder, step, total
from ocs.roof.price import explain
from ocs.units import UNITS_MAX

STEPPED = ladder(
    [step(0, 100, 30, 70_000, 30), step(100, 110, 1, 5, 3), step(110, UNITS_MAX, 1000, 1, 7)],
    fee_micros=250_000,
)
CENTS = ladder([step(0, UNITS_MAX, 7, 12_345, 7)], quantum_micros=10_000, rounding=Rounding.UP)


def rows(on: Ladder, units: int) -> list[tuple[int | None, int, int]]:
    return [
        (line.step.start if line.step else None, line.blocks, line.amount_micros)
        for line in explain(on, units)
    ]


def test_nothing_used_costs_nothing_and_needs_no_line() -> None:
    assert rows(STEPPED, 0) == []


def test_the_connect_fee_is_a_line_of_its_own() -> None:
    assert rows(STEPPED, 1) == [(None, 1, 250_000), (0, 1, 70_000)]


def test_a_block_belongs_to_the_step_in_which_it_begins() -> None:
    # the fourth block of 30 begins at 90 and ends at 120, beyond the whole second step
    assert rows(STEPPED, 120) == [(None, 1, 250_000), (0, 4, 280_000)]
    assert rows(STEPPED, 121) == [(None, 1, 250_000), (0, 4, 280_000), (110, 1, 143)]


@pytest.mark.parametrize("on", [STEPPED, CENTS])
@given(units=st.integers(0, 10**7))
def test_the_lines_add_up_to_the_price(on: Ladder, units: int) -> None:
    assert sum(line.amount_micros for line in explain(on, units)) == total(on, advance(on, ORIGIN, units))
