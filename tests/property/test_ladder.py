"""The ladder in Python, its twin in Lua and the model's fractions price alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.balance.functions import function
from ocs.balance.model_prices import Price
from ocs.balance.parts import packed, unpacked
from ocs.money import EXACT_MAX, mul_div_ceil, mul_div_floor, mul_div_half_up
from ocs.rating.ladder import CapMode, advance, affordable, total
from tests.charged_store import StoreRoom
from tests.property.ladders import ladder_of
from tests.property.twin import START, LuaLadder, budgets, check_walk, twin, walks, wishes


@pytest.fixture(scope="module")
def in_lua(room: StoreRoom) -> LuaLadder:
    return twin(room)


@settings(max_examples=250)
@given(walks(), wishes, budgets)
def test_python_lua_and_fractions_price_alike(
    in_lua: LuaLadder, walk: tuple[Price, int, int], wanted: int, budget: int
) -> None:
    check_walk(in_lua, walk, wanted, budget)


@pytest.mark.long
@settings(max_examples=50_000, derandomize=False)
@given(walks(), wishes, budgets)
def test_python_lua_and_fractions_price_alike_fifty_thousand_times(
    in_lua: LuaLadder, walk: tuple[Price, int, int], wanted: int, budget: int
) -> None:
    check_walk(in_lua, walk, wanted, budget)


@st.composite
def divisions(draw: st.DrawFn) -> tuple[int, int, int]:
    """Numbers for a * b / c with b * c and the result below 2^53, often hard at that edge."""
    c = draw(st.one_of(st.integers(1, 20), st.integers(1, 2**40)))
    b = draw(st.one_of(st.integers(0, min(20, EXACT_MAX // c)), st.integers(0, EXACT_MAX // c)))
    most = min(EXACT_MAX, (EXACT_MAX - 1) * c // b if b else EXACT_MAX)
    a = draw(st.one_of(st.integers(0, most), st.integers(max(0, most - 20), most)))
    return a, b, c


@settings(max_examples=150)
@given(divisions())
def test_arithmetic_rounds_alike_in_python_and_lua(room: StoreRoom, division: tuple[int, int, int]) -> None:
    told = unpacked(room.run(room.store.execute(0, "FCALL_RO", function("arithmetic"), 0, packed(*division))))
    assert told == (mul_div_floor(*division), mul_div_ceil(*division), mul_div_half_up(*division))


@settings(max_examples=120)
@given(walks(), st.lists(st.integers(0, 2**50), max_size=6))
def test_splitting_usage_into_interims_never_changes_the_total(
    walk: tuple[Price, int, int], cuts: list[int]
) -> None:
    price, _, end = walk
    on = ladder_of(price)
    here = START
    posted = 0
    for cut in [*sorted(cut % (end + 1) for cut in cuts), end]:
        here = advance(on, here, cut - here.position)
        amount = total(on, here) - posted
        assert amount >= 0
        posted += amount
    assert (here, posted) == (advance(on, START, end), price.rounded(end))


@settings(max_examples=120)
@given(walks(), st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 10**9))
def test_a_grant_is_the_most_that_is_affordable_and_grows_with_money_and_wish(
    walk: tuple[Price, int, int], wanted: int, more_wanted: int, budget: int
) -> None:
    price, first, _ = walk
    on = ladder_of(price)
    here = advance(on, START, first)
    posted = total(on, here)
    units = affordable(on, here, wanted, posted, budget)
    assert 0 <= units <= min(wanted, on.limit - first)
    assert total(on, advance(on, here, units)) - posted <= budget
    if units < min(wanted, on.limit - first):
        most = budget if on.cap_mode != CapMode.STOP else min(budget, max(0, on.cap_micros - posted))
        assert total(on, advance(on, here, units + 1)) - posted > most
    assert affordable(on, here, wanted, posted, budget + 1) >= units
    assert affordable(on, here, max(wanted, more_wanted), posted, budget) >= units
    assert affordable(on, here, wanted, posted, -1) == affordable(on, here, wanted, posted, 0)
