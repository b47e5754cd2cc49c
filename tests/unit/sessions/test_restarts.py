"""Clients that restart without their sessions: what ends these, and what must not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ocs import records
from ocs.balance.audit import audit
from ocs.balance.entries import entries
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.outcomes import Code
from ocs.records import ACCOUNTING, RESTARTED, SILENT
from ocs.sessions import restarts as room
from ocs.sessions.restarts import DOUBT_MS, ClientState, ClientStates, Ended, Restarts, heard
from ocs.sessions.search import find_session
from ocs.sessions.sweep import Sweeper
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, RULES, Network, network

GRACE_MS = 90_000
GATEWAY = "gw.example.org"


class Dial:
    """The clock of those who hear of states: a minute after all that has been charged, and moved by the test."""

    def __init__(self, net: Network) -> None:
        self.ms = net.charged.clock.wall_ms + 60_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


class World:
    """A network, and a worker and a keeper that look at what its client says of its state."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.clock = Dial(net)
        charged = net.charged
        self.states = ClientStates(charged.parts, self.clock)
        self.sweeper = Sweeper(charged.parts, charged.accounts, charged.clock, RULES.tombstone_ms)
        self.restarts = Restarts(
            charged.parts, self.sweeper, self.clock, grace_ms=GRACE_MS, supervision_ms=RULES.supervision_ms
        )

    def say(self, state: int, host: str = GATEWAY, after_ms: int = 1_000) -> None:
        """The client says its state, a while after the last time."""
        self.clock.ms += after_ms
        self.net.run(self.states.write(host, state))

    def look(self, after_ms: int = GRACE_MS) -> list[Ended]:
        """The keeper looks, after a while."""
        self.clock.ms += after_ms
        told: list[Ended] = []
        self.net.run(self.restarts.once(told.append))
        return told

    def open_sessions(self) -> int:
        return int(self.net.book().sessions_open)


@pytest.fixture
def world(valkey: RealValkey) -> Iterator[World]:
    with network(valkey) as net:
        yield World(net)


def test_a_client_that_comes_back_without_its_sessions_sets_their_holds_free_when_the_grace_is_over(
    world: World,
) -> None:
    world.net.ask(INITIAL, 0, wants=2 * MIB)
    world.net.ask(INITIAL, 0, wants=MIB, session="s;2")
    world.say(100)
    assert world.look() == []  # the first word says nothing
    world.say(101)
    assert world.look(GRACE_MS - 1) == []
    assert world.open_sessions() == 2
    assert world.look(1) == [Ended(GATEWAY, 2)]
    book = world.net.book()
    assert (book.pending_micros, book.posted_micros, book.sessions_open) == (0, 0, 0)
    assert world.look() == []
    assert world.net.run(audit(world.net.charged.parts)).faults == []


def test_the_record_says_why_it_ended(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    world.say(100)
    world.say(101)
    world.look()
    keys = world.net.charged.parts.keys[world.net.partition]
    rows = [entry.record() for entry in entries(world.net.execute("XRANGE", keys.stream, "-", "+"))]
    (expired,) = [each for each in rows if isinstance(each, records.Expire)]
    assert (expired.session_id, expired.held_micros, expired.forced) == ("s;1", 10_000, RESTARTED)
    assert RESTARTED != SILENT


def test_what_is_used_and_reported_late_is_posted_once(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=2 * MIB)
    world.say(100)
    world.say(101)
    world.look()
    assert world.net.ask(UPDATE, 1, used=MIB, wants=MIB).code == Code.UNKNOWN_SESSION
    assert world.net.ask(TERMINATION, 2, used=MIB).code == Code.SUCCESS
    assert world.net.ask(TERMINATION, 2, used=MIB).code == Code.SUCCESS
    book = world.net.book()
    assert (book.posted_micros, book.pending_micros) == (20_000, 0)
    assert world.net.run(audit(world.net.charged.parts)).faults == []


def test_sessions_that_were_opened_or_heard_of_since_go_on(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB, session="lost")
    world.net.ask(INITIAL, 0, wants=MIB, session="kept")
    world.say(100)
    world.say(101)
    world.net.run(world.net.charged.move_time(120_000))  # the store's calendar: later than the rise
    world.net.ask(UPDATE, 1, used=MIB, wants=MIB, session="kept")
    world.net.ask(INITIAL, 0, wants=MIB, session="new")
    ended = _lost(world, risen_ms=world.net.charged.now_ms - 60_000)
    assert ended == {"lost": True, "kept": False, "new": False}


def _lost(world: World, risen_ms: int) -> dict[str, bool]:
    """Which sessions count as lost by a rise at an instant of the calendar."""

    async def judged() -> dict[str, bool]:
        found = {}
        for name in ("lost", "kept", "new"):
            session = await find_session(world.net.charged.parts, name)
            assert session is not None
            offset = world.net.charged.offset_ms
            found[name] = await world.restarts._lost(session, risen_ms - offset)
        return found

    return dict(world.net.run(judged()))


def test_sessions_of_accounting_go_on(world: World) -> None:
    """They hold nothing, their supervision is another, and their client keeps its records over a restart."""
    world.net.ask(INITIAL, 0, wants=MIB)
    session = world.net.run(find_session(world.net.charged.parts, "s;1"))
    later_ms = session.opened_ms + 1
    assert world.net.run(world.restarts._lost(session, later_ms)) is True
    recorded = session._replace(session_id=f"{ACCOUNTING}s;1", due_ms=session.opened_ms + 60_000)
    assert world.net.run(world.restarts._lost(recorded, later_ms)) is False


def test_a_request_that_comes_while_sessions_are_ended_is_not_overtaken(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    session = world.net.run(find_session(world.net.charged.parts, "s;1"))
    world.net.charged.clock.wall_ms += 5
    world.net.ask(UPDATE, 1, used=MIB, wants=MIB)
    ends = world.sweeper.expire(world.net.partition, "s;1", forced=RESTARTED, due_ms=session.due_ms)
    assert world.net.run(ends) is None
    assert world.open_sessions() == 1
    session = world.net.run(find_session(world.net.charged.parts, "s;1"))
    ends = world.sweeper.expire(world.net.partition, "s;1", forced=RESTARTED, due_ms=session.due_ms)
    assert world.net.run(ends) == 10_000


def test_the_sessions_of_other_clients_go_on(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    world.say(100, "other.example.org")
    world.say(101, "other.example.org")
    assert world.look() == [Ended("other.example.org", 0)]
    assert world.open_sessions() == 1


def test_names_compare_without_case(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    world.say(100, "GW.example.org")
    world.say(101, "gw.Example.ORG")
    assert world.look() == [Ended(GATEWAY, 1)]


@pytest.mark.parametrize(
    "said",
    [
        (100, 101, 100),  # two nodes, and the older one speaks again
        (101, 100, 101, 100),
        (100, 99),  # a clock that was set back
        (100, 99, 98, 99),
        (100, 100, 100),
        (0, 0),
    ],
)
def test_ids_that_flap_or_fall_or_stay_end_nothing(world: World, said: tuple[int, ...]) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    for state in said:
        world.say(state, after_ms=6_000)
    assert all(ended.sessions < 0 for ended in world.look())
    assert world.open_sessions() == 1


def test_a_name_that_two_share_is_not_believed_for_a_day(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    for state in (100, 101, 100, 102):
        world.say(state, after_ms=6_000)
    assert world.look() == [Ended(GATEWAY, -1)]
    world.say(103, after_ms=DOUBT_MS // 2)
    assert world.look() == [Ended(GATEWAY, -1)]
    assert world.open_sessions() == 1
    world.say(104, after_ms=DOUBT_MS)
    assert world.look() == [Ended(GATEWAY, 1)]


def test_a_client_that_starts_twice_has_its_grace_from_the_second_start(world: World) -> None:
    world.net.ask(INITIAL, 0, wants=MIB)
    for state in (100, 101, 102):
        world.say(state, after_ms=GRACE_MS // 2)
    assert world.look(GRACE_MS // 2) == []
    assert world.look(GRACE_MS // 2) == [Ended(GATEWAY, 1)]


KNOWN = ClientState(100, 1_000_000_000)


@pytest.mark.parametrize(
    ("known", "state", "after_ms", "expected"),
    [
        (None, 7, 0, ClientState(7, 1_000_000_000)),
        (KNOWN, 100, 1, KNOWN),
        (KNOWN, 100, 3_600_000, KNOWN._replace(heard_ms=1_003_600_000)),
        (KNOWN, 101, 5, ClientState(101, 1_000_000_005, 1_000_000_005)),
        (KNOWN, 99, 5, KNOWN._replace(doubted_ms=1_000_000_005)),
        (KNOWN, 99, DOUBT_MS + 1, ClientState(99, 1_000_000_001 + DOUBT_MS)),  # nobody says 100 any more
    ],
)
def test_what_is_known_of_a_client_once_it_has_said_an_id(
    known: ClientState | None, state: int, after_ms: int, expected: ClientState
) -> None:
    assert heard(known, state, 1_000_000_000 + after_ms) == expected


def test_workers_that_hear_a_client_at_once_lose_no_word_of_it(world: World) -> None:
    others = [ClientStates(world.net.charged.parts, world.clock) for _ in range(8)]

    async def all_at_once() -> None:
        await asyncio.gather(*(each.write(GATEWAY, state) for state, each in enumerate(others, start=1)))

    world.net.run(all_at_once())
    text = world.net.run(world.restarts._known(GATEWAY))
    assert text.state == 8


def test_what_is_said_again_and_again_is_written_now_and_then_and_a_flood_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "STATES_WAITING_MAX", 3)
    for _ in range(5):
        world.states.say(GATEWAY, 100)
    assert world.states._waiting == {(GATEWAY, 100): None}
    for state in range(10):
        world.states.say(GATEWAY, state)
    assert len(world.states._waiting) == 3


def test_a_worker_writes_down_what_it_was_told(world: World) -> None:
    async def kept_up() -> Any:
        keeping = asyncio.create_task(world.states.keep_up())
        world.states.say("GW.example.org", 100)
        while (known := await world.restarts._known(GATEWAY)) is None:  # noqa: ASYNC110 - as in until
            await asyncio.sleep(0.01)
        keeping.cancel()
        return known

    assert world.net.run(kept_up()).state == 100
