"""Answers whose numbers are exact: what is written is read again as it was, by us and by others."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.http.exact import read_json
from ocs.http.exact_answer import write_json

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | NUMBERS
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(DOCUMENTS)
def test_what_is_written_is_read_again_as_it_was(document: object) -> None:
    text = write_json(document)
    assert read_json(text.encode()) == document
    json.loads(text)  # and it is JSON to others too


@pytest.mark.parametrize(
    ("amount", "text"),
    [("10.00", "10.00"), ("1E+2", "100"), ("0.000001", "0.000001"), ("1E-6", "0.000001"), ("-0.10", "-0.10")],
)
def test_a_decimal_keeps_its_digits_and_has_no_exponent(amount: str, text: str) -> None:
    assert write_json({"amount": Decimal(amount)}) == f'{{"amount":{text}}}'


@pytest.mark.parametrize("stranger", [1.5, b"octets", {1, 2}, object()])
def test_what_has_no_exact_form_is_never_written(stranger: object) -> None:
    with pytest.raises(TypeError):
        write_json({"amount": stranger})
