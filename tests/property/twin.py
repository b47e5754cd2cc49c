"""The ladder's twin in the store, and what it has to agree with: the evaluator in Python and the model's fractions."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from ocs.balance.functions import function
from ocs.balance.model_prices import Price
from ocs.balance.parts import packed, unpacked
from ocs.rating.ladder import Ladder, Walk, advance, affordable, total
from tests.charged_store import StoreRoom
from tests.property.ladders import exact_of, ladder_of, positions, random_prices

LuaLadder = Callable[[Ladder, Walk, int, int, int, int], tuple[tuple[int, ...], int, int, int]]
START = Walk(0, 0, 0, 0)


def twin(room: StoreRoom, name: str = "") -> LuaLadder:
    """Evaluate one ladder in the store: the walk after units, its total, what is affordable and its cost.

    ``name`` is another function than the library's own.
    """
    called = name or function("ladder")

    def evaluate(
        on: Ladder, walk: Walk, units: int, wanted: int, posted: int, budget: int, shift: int = 0
    ) -> Any:
        body = packed(on, *walk, units, wanted, posted, budget, shift)
        return unpacked(room.run(room.store.execute(0, "FCALL_RO", called, 0, body)))

    return evaluate


@st.composite
def walks(draw: st.DrawFn) -> tuple[Price, int, int]:
    """A price, a place on it, and a place further on."""
    price = draw(random_prices())
    first, second = sorted((draw(positions(price.limit)), draw(positions(price.limit))))
    return price, first, second


wishes = st.one_of(st.integers(0, 5_000), st.integers(0, 2**30), st.integers(0, 2**50))
budgets = st.one_of(
    st.integers(-10, 100), st.integers(0, 10**7), st.integers(-(2**52), 2**52), st.just(2**52)
)


def check_walk(in_lua: LuaLadder, walk: tuple[Price, int, int], wanted: int, budget: int) -> None:
    """Price a walk three times, and let an AssertionError tell where they part."""
    price, first, second = walk
    on = ladder_of(price)
    here = advance(on, START, first)
    there = advance(on, here, second - first)
    posted = total(on, here)
    told = in_lua(on, here, second - first, wanted, posted, budget)
    units = affordable(on, here, wanted, posted, budget)
    cost = total(on, advance(on, here, units))
    assert told == (there, total(on, there), units, cost)
    assert (exact_of(on.scale, there.whole_micros, there.frac), total(on, there)) == (
        price.exact(second),
        price.rounded(second),
    )
    assert units == price.affordable(first, wanted, posted, budget)
