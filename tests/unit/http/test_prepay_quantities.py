"""Quantities of TMF654, exact both ways, and refused where they would have to be rounded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.http.exact import read_json
from ocs.http.exact_answer import write_json
from ocs.http.prepay import quantities
from ocs.http.prepay.errors import Told
from ocs.http.prepay.quantities import WORDS, UsageType, count_of, decimal_of, micros_of
from ocs.http.prepay.shapes import Quantity
from ocs.units import UNITS_MAX


def sent(content: object) -> Quantity:
    """What a client reads of an answer, and sends back as it is."""
    return Quantity.model_validate(read_json(write_json(content).encode()))


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_money_that_is_shown_can_be_sent_back_to_the_micro_unit(micros: int) -> None:
    again = sent(quantities.money(micros, "EUR"))
    assert micros_of(again.amount, again.units, "EUR") == micros


@given(
    st.sampled_from([(1, UsageType.DATA), (2, UsageType.VOICE), (3, UsageType.SMS), (3, UsageType.OTHER)]),
    st.integers(0, UNITS_MAX),
)
def test_what_a_bucket_counts_can_be_sent_back_whole(kind: tuple[int, UsageType], count: int) -> None:
    again = sent(quantities.units(count, kind[0], "EUR"))
    assert count_of(again.amount, again.units, kind[1]) == count


@given(st.sampled_from(list(WORDS)), st.data(), st.integers(1, 1_000))
def test_every_unit_that_is_known_is_a_whole_number_of_the_stores(
    usage: UsageType, data: st.DataObject, count: int
) -> None:
    word = data.draw(st.sampled_from(list(WORDS[usage])))
    assert count_of(Decimal(count), word, usage) == count * WORDS[usage][word]


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (10_000_000, "10.00"),
        (641_667, "0.641667"),
        (500_000, "0.50"),
        (-1, "-0.000001"),
        (0, "0.00"),
        (123_450_000, "123.45"),
    ],
)
def test_money_has_two_to_six_places(micros: int, text: str) -> None:
    assert format(decimal_of(micros), "f") == text


@pytest.mark.parametrize(
    ("amount", "unit", "code"),
    [
        ("0.0000001", "EUR", "tooPrecise"),
        (
            "1.0000000000000000000000000000000000001",
            "EUR",
            "tooPrecise",
        ),  # more digits than decimal's default context
        ("10", "USD", "currency"),
        ("10", "eur", "currency"),
        ("10", "", "currency"),
    ],
)
def test_money_that_is_none_of_the_account_is_refused_and_never_rounded(
    amount: str, unit: str, code: str
) -> None:
    with pytest.raises(Told) as told:
        micros_of(Decimal(amount), unit, "EUR")
    assert (told.value.status_code, told.value.code) == (400, code)


@pytest.mark.parametrize(
    ("amount", "unit", "usage", "code"),
    [
        ("1.5", "octets", UsageType.DATA, "tooPrecise"),
        ("0.0000000001", "GB", UsageType.DATA, "tooPrecise"),
        ("1", "minutes", UsageType.DATA, "units"),
        ("1", "GB", UsageType.VOICE, "units"),
        ("1", "gb", UsageType.DATA, "units"),
        ("2000000", "GB", UsageType.DATA, "limit"),
    ],
)
def test_an_allowance_in_no_unit_of_it_is_refused(
    amount: str, unit: str, usage: UsageType, code: str
) -> None:
    with pytest.raises(Told) as told:
        count_of(Decimal(amount), unit, usage)
    assert (told.value.status_code, told.value.code) == (400, code)


def test_a_gigabyte_and_a_half_is_that_many_octets() -> None:
    assert count_of(Decimal("1.5"), "GB", UsageType.DATA) == 1_500_000_000
    assert count_of(Decimal("1.5"), "hours", UsageType.VOICE) == 5_400
