"""Calls and messages charged on a real store: what is free everywhere, what a call stays, and grants that are not prolonged."""

from collections.abc import Iterator
from typing import Any

import pytest

from ocs.charging.ask import UPDATE
from ocs.outcomes import Code, Note
from ocs.rating.tariff import read_tariff
from ocs.units import Unit
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.vectors.rating.element import EMERGENCY, EU, HOME, NEAR, NOON, RECEIVED, Element, sample

DATA_ONLY = read_tariff(
    'tariff: data-only\nversion: 1\ncurrency: EUR\nservices: {data: {unit: octets, steps: [{block: 1, price: "1.00", per: MB}]}}\n',
    "data-only.yaml",
)
CALLS = read_tariff(
    'tariff: calls\nversion: 1\ncurrency: EUR\nservices: {voice: {unit: seconds, steps: [{block: 1, price: "1.00", per: second}]}}\n',
    "calls.yaml",
)
POLICE = {"IMS-Information": {"Called-Party-Address": "tel:911"}}


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.mark.parametrize("told", [EMERGENCY, POLICE, RECEIVED], ids=["112", "911", "received"])
def test_help_and_what_is_received_is_free_where_the_tariff_prices_no_calls(
    room: StoreRoom, told: dict[str, Any]
) -> None:
    async def session() -> None:
        element = await Element.made(room, DATA_ONLY, "voice", credit="0.00")
        assert (await element.initial(told)).granted == 3_600
        element.forget()
        assert (await element.update(60)).granted == 3_600
        assert (await element.end(60)).code == Code.SUCCESS
        assert await element.money() == (0, 0)

    room.run(session())


def test_a_message_received_is_free_where_the_tariff_prices_no_messages(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, DATA_ONLY, "sms", credit="0.00")
        assert (await element.initial(RECEIVED, 1, unit=Unit.EVENTS)).granted == 1
        await element.end(1, unit=Unit.EVENTS)
        assert await element.money() == (0, 0)

    room.run(session())


@pytest.mark.parametrize("told", [NEAR, None], ids=["called", "nothing told"])
def test_other_calls_are_refused_there(room: StoreRoom, told: dict[str, Any] | None) -> None:
    async def session() -> None:
        element = await Element.made(room, DATA_ONLY, "voice")
        assert (await element.initial(told)).code == Code.UNRATED

    room.run(session())


@pytest.mark.parametrize("worker", ["the same worker", "another worker"])
@pytest.mark.parametrize("nonsense", [EMERGENCY, RECEIVED], ids=["emergency", "received"])
def test_a_call_of_which_nothing_is_known_becomes_no_free_one(
    room: StoreRoom, nonsense: dict[str, Any], worker: str
) -> None:
    async def session() -> None:
        element = await Element.made(room, CALLS, "voice")
        await element.initial(None)
        for number in (1, 2):
            if worker != "the same worker":
                element.forget()
            await element.update(10, told=nonsense)
            assert await element.posted() == 10_000_000 * number
        if worker != "the same worker":
            element.forget()
        await element.end(5, told=nonsense)
        assert await element.money() == (25_000_000, 0)

    room.run(session())


@pytest.mark.parametrize("worker", ["the same worker", "another worker"])
@pytest.mark.parametrize("other", ["window", "rate"])
def test_a_late_lower_number_prolongs_no_grant_of_another_window_or_rate(
    room: StoreRoom, other: str, worker: str
) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "voice" if other == "window" else "data")
        await element.at("2026-02-05T17:30" if other == "window" else NOON)
        told = NEAR if other == "window" else HOME
        await element.initial(told)
        element.number = 4
        assert (await element.update(0, 60, told=told)).granted == 60
        held = await element.money()
        element.number = 2
        same = await element.send(UPDATE, wanted=60, told=told)
        assert (same.services[0].code, same.services[0].granted, same.notes) == (
            Code.SUCCESS,
            60,
            Note.STANDING,
        )
        if worker != "the same worker":
            element.forget()
        await element.at("2026-02-05T18:00" if other == "window" else NOON)

        late = await element.send(UPDATE, wanted=60, told=NEAR if other == "window" else EU)

        assert (late.services[0].code, late.services[0].granted, late.notes) == (
            Code.CREDIT_LIMIT,
            0,
            Note.STANDING,
        )
        assert await element.money() == held  # it stands as it was

    room.run(session())
