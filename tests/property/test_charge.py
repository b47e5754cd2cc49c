"""The Lua library and the executable model agree, step by step, whatever is asked in whatever order."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.balance.model_books import Terms
from tests.charged_store import StoreRoom
from tests.property.pair import ADAPTING, POOLING, RESTRICTING, TERMS
from tests.property.scripts import (
    Opening,
    bought,
    openings,
    play,
    pool_openings,
    rated_openings,
    scripts,
    wallet_openings,
    wallet_scripts,
    where_the_server_chooses,
)


@settings(max_examples=130)
@given(openings, scripts(20, 40))
def test_the_store_does_what_the_model_says(room: StoreRoom, opening: Opening, script: list[Any]) -> None:
    room.run(play(room, opening, script))


@settings(max_examples=130)
@given(wallet_openings, wallet_scripts(10, 30))
def test_the_store_does_what_the_model_says_of_buckets_and_counters(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, script))


@settings(max_examples=70)
@given(openings, scripts(20, 40))
def test_the_store_does_what_the_model_says_where_grants_follow_the_speed_of_use(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, where_the_server_chooses(script), terms=ADAPTING))


@settings(max_examples=70)
@given(wallet_openings, wallet_scripts(10, 30))
def test_the_store_does_what_the_model_says_of_buckets_where_grants_follow_the_speed_of_use(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, where_the_server_chooses(script), terms=ADAPTING))


@settings(max_examples=130)
@given(pool_openings, scripts(20, 40), st.sampled_from((POOLING, RESTRICTING)))
def test_the_store_does_what_the_model_says_of_credit_pools(
    room: StoreRoom, opening: Opening, script: list[Any], terms: Terms
) -> None:
    room.run(play(room, opening, where_the_server_chooses(script), terms=terms))


@settings(max_examples=70)
@given(wallet_openings, wallet_scripts(10, 30))
def test_the_store_does_what_the_model_says_of_credit_pools_beside_buckets(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, script, terms=POOLING))


@settings(max_examples=100)
@given(
    st.one_of(rated_openings, wallet_openings),
    st.one_of(scripts(20, 40), wallet_scripts(10, 30)),
    st.sampled_from((TERMS, ADAPTING)),
)
def test_the_store_does_what_the_model_says_of_what_clients_rate_themselves(
    room: StoreRoom, opening: Opening, script: list[Any], terms: Terms
) -> None:
    room.run(play(room, opening, bought(script), terms=terms))


@pytest.mark.long
@settings(max_examples=5_000, derandomize=False)
@given(openings, scripts(30, 120))
def test_the_store_does_what_the_model_says_for_thousands_of_scripts(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, script))


@pytest.mark.long
@settings(max_examples=5_000, derandomize=False)
@given(wallet_openings, wallet_scripts(20, 80))
def test_the_store_does_what_the_model_says_of_buckets_and_counters_for_thousands_of_scripts(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, script))


@pytest.mark.long
@settings(max_examples=5_000, derandomize=False)
@given(wallet_openings, wallet_scripts(20, 80))
def test_the_store_does_what_the_model_says_where_grants_follow_the_speed_of_use_for_thousands_of_scripts(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    room.run(play(room, opening, where_the_server_chooses(script), terms=ADAPTING))
