"""Who uses up an allowance, or reaches a cap, is told apart from who does not: the account's other sessions hear of it once."""

from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.link import Done, LinkLost
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.outcomes import Note
from ocs.rating.sources import SourceKind
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.rows_scene import PER_MIB, PER_SECOND, TIERS, Scene, bucket, counter, units


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


async def _crossings(scene: Scene, *reports: int, wants: int = 1_000_000) -> tuple[list[bool], list[str]]:
    """What each report of a session says, and who was heard of."""
    heard: list[str] = []
    scene.charged.book.crossed = lambda profile, session_id: heard.append(f"{profile.account} {session_id}")
    told = [bool((await scene.ask(INITIAL, None, wants)).notes & Note.CROSSED)]
    for used in reports[:-1]:
        told.append(bool((await scene.ask(UPDATE, used, wants)).notes & Note.CROSSED))
        assert bool((await scene.last()).notes & Note.CROSSED) is told[-1]
    told.append(bool((await scene.ask(TERMINATION, reports[-1], None)).notes & Note.CROSSED))
    return told, heard


def test_an_allowance_that_ends_is_told_once(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_MIB, units(1, 1, 1))
        await scene.open(bucket(1, 1, 1_500_000))
        told, heard = await _crossings(scene, 1_000_000, 499_999, 1, 500_000, 100_000)
        assert told == [False, False, False, True, False, False]
        assert len(heard) == 1
        assert heard[0].endswith(" s")

    room.run(session())


@pytest.mark.parametrize("kind", [SourceKind.FREE, SourceKind.STOP])
def test_a_cap_that_is_reached_is_told_once(room: StoreRoom, kind: SourceKind) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(kind, 30_000_000))
        told, heard = await _crossings(scene, 20, 9, 1, 0, wants=20)
        assert told == [False, False, False, True, False]
        assert len(heard) == 1

    room.run(session())


def test_steps_of_a_period_and_plain_money_are_no_crossing(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, TIERS, counter(SourceKind.TIER))
        told, heard = await _crossings(scene, 50, 50, 50, wants=60)
        assert told == [False] * 4
        assert heard == []

    room.run(session())


def test_a_repetition_is_told_to_nobody(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.FREE, 30_000_000))
        heard: list[str] = []
        scene.charged.book.crossed = lambda _profile, session_id: heard.append(session_id)
        await scene.ask(INITIAL, None, 40)
        first = await scene.ask(UPDATE, 30, 40)
        scene.numbers["s"] -= 1
        again = await scene.ask(UPDATE, 30, 40)
        assert (first.notes & Note.CROSSED, again.notes) == (Note.CROSSED, Note.REPLAY)
        assert heard == ["s"]

    room.run(session())


def test_what_is_used_beyond_a_cap_is_no_second_crossing(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.STOP, 30_000_000))
        told, _ = await _crossings(scene, 30, 1, 1, wants=40)
        assert told == [False, True, False, False]
        assert (await scene.look()).book.posted_micros > 30_000_000

    room.run(session())


def test_a_reply_that_is_lost_is_told_when_the_same_call_finds_what_it_did(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.FREE, 30_000_000))
        heard: list[str] = []
        scene.charged.book.crossed = lambda _profile, session_id: heard.append(session_id)
        await scene.ask(INITIAL, None, 40)
        store: Any = scene.charged.book.parts.store
        call = store.call

        def lost(slot: int, command: bytes, done: Done, *rest: Any) -> None:
            store.call = call
            call(slot, command, lambda _reply: done(LinkLost("the link broke")), *rest)

        store.call = lost
        again = await scene.ask(UPDATE, 30, 40)
        assert again.notes == Note.REPLAY
        assert heard == ["s"]

    room.run(session())
