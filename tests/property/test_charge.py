"""The Lua library and the executable model agree, step by step, whatever is asked in whatever order."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocs.balance.model_books import Terms
from ocs.charging.ask import NOT_GIVEN
from tests.charged_store import StoreRoom
from tests.property.fixed_scripts import ENDS_AND_ASKS_WHILE_BARRED, JOINS_AT_ANOTHER_PRICE
from tests.property.offers import OFFERS
from tests.property.pair import ADAPTING, POOLING, RESTRICTING, TERMS
from tests.property.scripts import (
    Opened,
    Opening,
    Release,
    Request,
    Wait,
    Wish,
    bar_scripts,
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


@settings(max_examples=100)
@given(wallet_openings, bar_scripts(10, 30), st.sampled_from((TERMS, ADAPTING)))
def test_the_store_does_what_the_model_says_of_whom_a_creditor_bars(
    room: StoreRoom, opening: Opening, script: list[Any], terms: Terms
) -> None:
    room.run(play(room, opening, script, terms=terms))


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
@example(*JOINS_AT_ANOTHER_PRICE, POOLING)
@example(*ENDS_AND_ASKS_WHILE_BARRED, POOLING)
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


def _asks(family: str, what: str, *, stays: bool) -> Request:
    return Request(
        0, 0, 0, "next", (family, what), (Wish(0, "none", NOT_GIVEN, 0),), "msisdn", own=True, stays=stays
    )


@pytest.mark.parametrize("terms", [TERMS, ADAPTING])
@pytest.mark.parametrize("begins_s", [0, 21, 35])
def test_a_call_that_stays_on_a_version_is_paid_as_its_rate_there_is_where_the_next_has_none(
    room: StoreRoom, terms: Terms, begins_s: int
) -> None:
    """The third version prices no calls, and the request that moves the session to it is about data: the call keeps what pays it."""
    offer = next(place for place, each in enumerate(OFFERS) if each.key == "buckets@1")
    opening = [Opened(offer, 0, 20, (0,) * 6, 0)] * 4
    call, data = _asks("voice", "15551234", stays=True), _asks("data", "", stays=False)
    later = [Release(offer, 0, takes_along=True), Release(offer, 1_000, takes_along=True)]
    room.run(play(room, opening, [Wait(1_000 * begins_s), *later, call, Wait(31_000), data], terms=terms))


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
