"""One enum in two languages: what Python counts and what the Lua library counts are the same."""

from enum import IntEnum, IntFlag

import pytest

from ocs import limits, records
from ocs.balance.functions import constants, source
from ocs.charging.ask import EVENT, INITIAL, TERMINATION, UPDATE
from ocs.money import EXACT_MAX
from ocs.outcomes import RESULT_CODES, Code, Note
from ocs.rating.ladder import Rounding
from ocs.records import VERSION, Kind, SessionState, Status

LUA = constants(source())
"""Every name that the library gives a whole number at its outermost level."""


@pytest.mark.parametrize("words", [Code, Note, SessionState, Rounding])
def test_the_words_of_both_languages_have_the_same_numbers(words: type[IntEnum | IntFlag]) -> None:
    told = {each.name: each.value for each in words if each.name is not None}
    assert {name: LUA.get(name) for name in told} == told


def test_statuses_are_the_same_where_lua_has_another_word_for_one() -> None:
    assert (LUA["ACTIVE"], LUA["BAR"], LUA["TERMINATED"]) == tuple(Status)


def test_records_are_of_the_same_kinds_and_version() -> None:
    assert {each.name: LUA[f"K_{each.name}"] for each in Kind} == {each.name: each.value for each in Kind}
    assert LUA["RECORD_VERSION"] == VERSION
    assert records.EVENT == EVENT


def test_limits_that_the_library_keeps_itself_are_those_of_the_house() -> None:
    assert (LUA["EXACT_MAX"], LUA["BOOK_MAX"]) == (EXACT_MAX, limits.BOOK_MICROS_MAX)
    assert (LUA["OUTCOMES_KEPT"], LUA["WINDOW"]) == (limits.OUTCOMES_KEPT, limits.NUMBERS_WINDOW)
    assert (LUA["INITIAL"], LUA["UPDATE"], LUA["TERMINATION"]) == (INITIAL, UPDATE, TERMINATION)


def test_a_refusal_by_law_comes_before_one_of_money_and_success_comes_last() -> None:
    assert min(Code.CREDIT_LIMIT, Code.BARRED, Code.UNRATED, Code.SUCCESS) is Code.BARRED
    assert min(Code.CREDIT_LIMIT, Code.UNRATED) is Code.UNRATED
    assert max(Code) is Code.SUCCESS
    assert list(Code) == sorted(Code), "the order in the file is the precedence"


def test_every_outcome_has_a_result_code_and_only_success_is_a_success() -> None:
    assert set(RESULT_CODES) == set(Code)
    assert [code for code, result in RESULT_CODES.items() if result == 2001] == [Code.SUCCESS]
