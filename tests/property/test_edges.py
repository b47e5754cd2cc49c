"""Places that random scripts do not reach, and those where store and model once parted; each played on both."""

import pytest

from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, AskedService, Units
from ocs.limits import OUTCOMES_KEPT, SESSION_SERVICES_MAX, SESSIONS_PER_SUBSCRIBER_MAX
from ocs.outcomes import Code, Note
from tests.charged_store import StoreRoom
from tests.property.offers import OFFERS
from tests.property.pair import Pair
from tests.property.test_conservation import conserved

ASKS = AskedService("10", 10, None, None, Units(octets=500))
REPORTS = AskedService("10", 10, None, Units(octets=400), None)


async def opened(room: StoreRoom, credit_micros: int = 100_000) -> Pair:
    pair = await Pair.made(room)
    await pair.open(OFFERS[0], credit_micros=credit_micros)
    return pair


def test_a_subscriber_has_so_many_open_sessions_and_not_one_more(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        for each in range(SESSIONS_PER_SUBSCRIBER_MAX):
            await pair.charge(0, pair.ask(0, f"gw;{each}", INITIAL, 0, ()))
        outcome = await pair.charge(0, pair.ask(0, "gw;more", INITIAL, 0, ()))
        assert outcome.code == Code.SESSIONS_FULL
        await pair.agree()
        await pair.charge(0, pair.ask(0, "gw;0", TERMINATION, 1, ()))
        outcome = await pair.charge(0, pair.ask(0, "gw;more", INITIAL, 0, ()))
        assert outcome.code == Code.SUCCESS
        await pair.agree()

    room.run(play())


def test_a_session_has_so_many_services_and_not_one_more(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, ()))
        for number in range(SESSION_SERVICES_MAX):
            asks = AskedService(f"{number}", number, None, None, Units(octets=1))
            outcome = await pair.charge(0, pair.ask(0, "gw;1", UPDATE, number + 1, (asks,)))
            assert outcome.services[0].granted == 1
        more = ASKS._replace(key="999", rating_group=999)
        outcome = await pair.charge(0, pair.ask(0, "gw;1", UPDATE, 900, (more, ASKS._replace(key="0"))))
        assert [row.code for row in outcome.services] == [Code.UNRATED, Code.SUCCESS]
        await pair.agree()

    room.run(play())


def test_outcomes_are_remembered_so_long_and_then_only_that_they_were(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, ()))
        asks = [pair.ask(0, "gw;1", UPDATE, number, (ASKS,)) for number in range(1, OUTCOMES_KEPT + 2)]
        for ask in asks:
            await pair.charge(0, ask)
        await pair.agree()
        assert (await pair.charge(0, asks[0])).code == Code.SEEN
        assert (await pair.charge(0, asks[1])).notes == Note.REPLAY
        await pair.agree()

    room.run(play())


@pytest.mark.parametrize("number", [0, 1, 36, 37, 63, 64])
@pytest.mark.parametrize("jump", [1, 31, 32, 33, 63, 64, 65, 200])
def test_numbers_are_known_inside_the_window_after_any_jump(room: StoreRoom, number: int, jump: int) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, ()))
        for each in (number, number + jump, number + jump - 1, number, number + jump, number + jump - 64):
            if each >= 0:
                await pair.charge(0, pair.ask(0, "gw;1", UPDATE, each, (REPORTS,)))
                await pair.agree()

    room.run(play())


def test_a_service_that_cannot_be_rated_any_more_gives_its_hold_back(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, (ASKS,)))
        outcome = await pair.charge(0, pair.ask(0, "gw;1", UPDATE, 1, (ASKS,), None))
        assert outcome.services[0].code == Code.UNRATED
        await pair.agree()
        await conserved(pair.charged)

    room.run(play())


def test_a_late_lower_number_is_never_told_to_go_on_without_units(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, (ASKS,)))
        await pair.charge(0, pair.ask(0, "gw;1", UPDATE, 5, (REPORTS,)))
        outcome = await pair.charge(0, pair.ask(0, "gw;1", UPDATE, 4, (ASKS,)))
        assert (outcome.services[0].code, outcome.notes) == (Code.CREDIT_LIMIT, Note.STANDING)
        await pair.agree()

    room.run(play())


def test_a_service_keeps_the_kind_of_unit_that_it_was_granted_in(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, (ASKS,)))
        both = AskedService("10", 10, None, Units(seconds=50), Units(seconds=30))
        outcome = await pair.charge(0, pair.ask(0, "gw;1", UPDATE, 1, (both,), "voice"))
        assert (outcome.services[0].code, outcome.notes) == (Code.UNRATED, Note.QUARANTINE)
        await pair.agree()
        await conserved(pair.charged)

    room.run(play())


def test_a_service_named_twice_in_one_request_holds_once(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await opened(room)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, (ASKS, ASKS)))
        await pair.agree()
        await conserved(pair.charged)

    room.run(play())


def test_a_session_opened_elsewhere_is_not_charged_by_somebody_elses_identities(room: StoreRoom) -> None:
    async def play() -> None:
        pair = await Pair.made(room)
        for offer in (OFFERS[0], OFFERS[0], OFFERS[1]):
            await pair.open(offer)
        await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, ()))
        refused = await pair.charge(2, pair.ask(2, "gw;1", INITIAL, 0, (ASKS,)))
        assert refused.code == Code.CREDIT_LIMIT
        await pair.amend(2)
        outcome = await pair.charge(2, pair.ask(2, "gw;1", UPDATE, 1, ()))
        assert outcome.code == Code.UNKNOWN_SESSION
        await pair.agree()

    room.run(play())
