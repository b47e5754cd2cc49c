import pytest

from ocs.rating.ladder import CapMode, Ladder, Rounding, ladder, step
from ocs.rating.price import LineKind, Used, explain
from ocs.units import UNITS_MAX

STEPPED = ladder(
    [step(0, 100, 30, 70_000, 30), step(100, 110, 1, 5, 3), step(110, UNITS_MAX, 1000, 1, 7)],
    fee_micros=250_000,
)
DAY = ladder([step(0, UNITS_MAX, 60, 1_000_000, 60)])
NIGHT = ladder([step(0, UNITS_MAX, 60, 500_000, 60)])


def rows(*pieces: tuple[Ladder, int]) -> list[tuple[LineKind, int | None, int, int, int]]:
    used = [Used(on, "", units) for on, units in pieces]
    return [
        (each.kind, each.step.start if each.step else None, each.units, each.blocks, each.amount_micros)
        for each in explain(used).lines
    ]


def test_nothing_used_costs_nothing_and_needs_no_line() -> None:
    assert (rows((STEPPED, 0)), rows(), explain([]).cost_micros) == ([], [], 0)


def test_the_connect_fee_is_a_line_of_its_own() -> None:
    assert rows((STEPPED, 1)) == [(LineKind.FEE, None, 0, 0, 250_000), (LineKind.BLOCKS, 0, 1, 1, 70_000)]


def test_a_block_belongs_to_the_step_in_which_it_begins_and_the_rounding_is_told() -> None:
    # the fourth block of 30 begins at 90 and ends at 120, beyond the whole second step
    assert rows((STEPPED, 120))[1:] == [(LineKind.BLOCKS, 0, 120, 4, 280_000)]
    assert rows((STEPPED, 121))[1:] == [
        (LineKind.BLOCKS, 0, 120, 4, 280_000),
        (LineKind.BLOCKS, 110, 1, 1, 142),
        (LineKind.ROUNDING, None, 0, 0, 1),
    ]


def test_a_block_paid_in_one_window_covers_what_of_it_lies_in_the_next() -> None:
    assert rows((DAY, 30), (NIGHT, 15)) == [
        (LineKind.BLOCKS, 0, 30, 1, 1_000_000),
        (LineKind.PAID, None, 15, 0, 0),
    ]
    assert rows((DAY, 30), (NIGHT, 90)) == [
        (LineKind.BLOCKS, 0, 30, 1, 1_000_000),
        (LineKind.PAID, None, 30, 0, 0),
        (LineKind.BLOCKS, 0, 60, 1, 500_000),
    ]


def test_minimum_and_free_after_cap_are_lines_of_their_own() -> None:
    on = NIGHT._replace(minimum_micros=800_000, cap_micros=1_700_000, cap_mode=CapMode.FREE)
    assert rows((on, 1))[1:] == [(LineKind.MINIMUM, None, 0, 0, 300_000)]
    assert rows((on, 200))[1:] == [(LineKind.CAP, None, 0, 0, -300_000)]
    assert (explain([Used(on, "", 1)]).cost_micros, explain([Used(on, "", 200)]).cost_micros) == (
        800_000,
        1_700_000,
    )


def test_a_cap_that_disconnects_ends_the_usage_in_whichever_window_it_is_reached() -> None:
    day, night = (on._replace(cap_micros=1_700_000, cap_mode=CapMode.STOP) for on in (DAY, NIGHT))
    told = explain([Used(day, "day", 60), Used(night, "night", 3_600), Used(day, "day", 60)])
    assert (told.units, told.cost_micros) == (120, 1_500_000)
    assert [each.window for each in told.lines] == ["day", "night"]


def test_a_call_that_was_disconnected_does_not_go_on_in_a_cheaper_window() -> None:
    day, night = (on._replace(cap_micros=1_700_000, cap_mode=CapMode.STOP) for on in (DAY, NIGHT))
    told = explain([Used(day, "day", 120), Used(night, "night", 60)])
    assert (told.units, told.cost_micros) == (60, 1_000_000)


def test_the_subtotals_lead_from_nothing_to_the_cost() -> None:
    on = STEPPED._replace(quantum_micros=10_000, rounding=Rounding.UP)
    told = explain([Used(on, "", 5_000)])
    sums = [sum(line.amount_micros for line in told.lines[: place + 1]) for place in range(len(told.lines))]
    assert [line.subtotal_micros for line in told.lines] == sums
    assert sums[-1] == told.cost_micros


def test_a_usage_beyond_the_ladder_is_refused() -> None:
    with pytest.raises(OverflowError):
        explain([Used(DAY, "", DAY.limit + 1)])
