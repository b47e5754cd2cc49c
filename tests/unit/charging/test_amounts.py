"""Amounts of money as Diameter writes them: Value-Digits * 10^Exponent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.charging.amounts import micros_of, unit_value
from ocs.units import UNITS_MAX


@pytest.mark.parametrize(
    ("digits", "exponent", "micros"),
    [
        (5, -2, 50_000),
        (499, -2, 4_990_000),
        (3, 0, 3_000_000),
        (3, 2, 300_000_000),
        (1, -6, 1),
        (1_234_000, -8, 12_340),
        (0, 0, 0),
        (0, 24, 0),
        (7 * 10**18, -24, 7),
        (UNITS_MAX, -6, UNITS_MAX),
        (1, 8, 10**14),
    ],
)
def test_an_amount_is_whole_micro_units(digits: int, exponent: int, micros: int) -> None:
    assert micros_of({"Value-Digits": digits, "Exponent": exponent}) == micros


def test_without_an_exponent_digits_are_whole() -> None:
    assert micros_of({"Value-Digits": 12}) == 12_000_000


@pytest.mark.parametrize(
    ("digits", "exponent"),
    [
        (-1, 0),
        (-5, -2),
        (1, -7),
        (15, -7),
        (10**18 + 1, -24),
        (UNITS_MAX + 1, -6),
        (2**53, 0),
        (2**63 - 1, 0),
        (1, 10),
        (0, 25),
        (0, -25),
        (1, 2**31 - 1),
        (1, -(2**31)),
    ],
)
def test_what_is_negative_finer_greater_or_absurd_is_no_amount(digits: int, exponent: int) -> None:
    assert micros_of({"Value-Digits": digits, "Exponent": exponent}) is None


@given(st.integers(0, UNITS_MAX))
def test_what_is_written_is_read_again(micros: int) -> None:
    value = unit_value(micros)
    assert micros_of(value) == micros
    assert value["Exponent"] == 0 or value["Value-Digits"] % 10, "no zero that says nothing"
