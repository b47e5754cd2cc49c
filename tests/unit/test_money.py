import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.money import (
    EXACT_MAX,
    AmountError,
    format_amount,
    mul_div_ceil,
    mul_div_floor,
    mul_div_half_up,
    parse_amount,
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("10.00", 10_000_000),
        ("-50.00", -50_000_000),
        ("0.641667", 641_667),
        ("0.000001", 1),
        ("-0.000001", -1),
        ("007.5", 7_500_000),
        ("9999999999.999999", 9_999_999_999_999_999),
    ],
)
def test_an_amount_is_read_exactly(text: str, micros: int) -> None:
    assert parse_amount(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".5",
        "5.",
        "1e3",
        "+1",
        "1,000",
        "1 000",
        " 1",
        "1\n",
        "0.0000001",
        "10000000000",
        "--1",
        "١",
        "NaN",
    ],
)
def test_what_is_no_amount_is_refused_with_what_was_read(text: str) -> None:
    with pytest.raises(AmountError, match="not an amount"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.00"), (10_000_000, "10.00"), (641_667, "0.641667"), (-500_000, "-0.50"), (100_001, "0.100001")],
)
def test_an_amount_is_written_with_two_to_six_decimals(micros: int, text: str) -> None:
    assert format_amount(micros) == text


@given(st.integers(-(10**16) + 1, 10**16 - 1))
def test_what_is_written_is_read_again_as_the_same(micros: int) -> None:
    assert parse_amount(format_amount(micros)) == micros


@pytest.mark.parametrize(
    ("a", "b", "c", "floor", "ceil", "half_up"),
    [
        (1, 1, 2, 0, 1, 1),
        (1, 1, 3, 0, 1, 0),
        (2, 1, 3, 0, 1, 1),
        (6, 2, 3, 4, 4, 4),
        (0, 5, 7, 0, 0, 0),
        (85, 100_000, 60, 141_666, 141_667, 141_667),
    ],
)
def test_a_division_rounds_as_its_name_says(
    a: int, b: int, c: int, floor: int, ceil: int, half_up: int
) -> None:
    assert (mul_div_floor(a, b, c), mul_div_ceil(a, b, c), mul_div_half_up(a, b, c)) == (floor, ceil, half_up)


@pytest.mark.parametrize("divide", [mul_div_floor, mul_div_ceil, mul_div_half_up])
@pytest.mark.parametrize(
    ("a", "b", "c"), [(EXACT_MAX, 2, 1), (1, 2**30, 2**30), (1, -1, 1), (-1, 1, 1), (1, 1, 0)]
)
def test_what_a_double_does_not_hold_exactly_is_refused(divide: object, a: int, b: int, c: int) -> None:
    assert callable(divide)
    with pytest.raises((OverflowError, ZeroDivisionError)):
        divide(a, b, c)
