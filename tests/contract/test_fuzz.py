"""Captured messages, spoilt.

Any octets lead to a correct answer or a closed connection, never to a fault of our own, and never to a change of money
that the request does not justify.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ocs import limits
from ocs.balance.clients import client
from ocs.balance.embedded import Embedded
from ocs.balance.stored_book import Book, read_book
from ocs.charging.ask import EVENT
from ocs.diameter.base import BaseMessages
from tests.contract.mutations import (
    MUTATIONS,
    Frame,
    Mutation,
    Stream,
    identity,
    is_refund,
    justified_micros,
    mutated,
    read_avps,
    stream_of,
)
from tests.real_ocs import Conversation, Read, RealOcs, conversations, read_frame, stranger
from tests.serving import LOCAL

SUBSCRIBERS = 500
FIRST = 491_700_000_001
CREDIT_MICROS = 10_000_000
SAID = [each for each in conversations() if any(said.name.startswith("CCR") for said in each.messages)]
CHARGED = frozenset({2001, 4010, 4012, 5031})
POSTED = CHARGED | {
    5002
}  # an update that its session's end has overtaken posts what it reports (MONEY.md, ended sessions)
"""Result-Codes of answers to requests whose usage may have been posted (INTERFACE); all others move nothing."""
STRANGER = LOCAL._replace(origin_host="fuzz.example.net", host_ips=("127.0.0.1",))
PROBE = BaseMessages(STRANGER).dwr(0x5EED5EED, 0x5EED5EED)
"""A DWR whose answer shows that the connection still lives."""
SHAPE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FIRST_WORDS = frozenset(each.frames[0] for each in SAID)
HARMLESS = frozenset(
    (PROBE, *(said.frame for each in SAID for said in each.messages if said.name[:3] == "DWR"))
)
turns = count()


class Target(NamedTuple):
    """The server under test, and its books, read past it from the store."""

    server: RealOcs
    store: Any
    names: tuple[str, ...]

    def books(self) -> list[Book]:
        """The books as they stand."""
        return [read_book(text) for text in self.store.mget(self.names)]

    def books_at_rest(self) -> list[Book]:
        """The books once nothing moves any more: requests of a peer that has gone are charged all the same."""
        texts, looks = self.store.mget(self.names), 0
        while looks < 3:
            time.sleep(0.015)
            later = self.store.mget(self.names)
            texts, looks = later, looks + 1 if later == texts else 0
        return [read_book(text) for text in texts]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with RealOcs(folder, OCS_STORE__DURABILITY="everysec", OCS_LOG__LEVEL="error") as server:
        server.ocs(
            *("subscriber", "bulk", "--count", str(SUBSCRIBERS), "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "10.00"),
        )
        embedded = Embedded(server.folder, "everysec", None)
        assert embedded.alive()
        store = client(embedded.address)
        names = tuple(sorted(name.decode() for name in store.scan_iter("{*:book:*", count=1_000)))
        assert len(names) == SUBSCRIBERS
        yield Target(server, store, names)
        store.close()


# ---------------------------------------------------------------- one spoilt conversation


def own(said: Conversation, turn: int) -> list[bytes]:
    """A conversation about a subscriber and under Session-Ids that few other turns have, or none."""
    heard = [each for each in said.messages if turn % 4 == 0 or not each.name.startswith("DPR")]
    frames = said._replace(messages=tuple(heard)).about(str(FIRST + turn % SUBSCRIBERS)).frames
    sessions = {avp.payload for frame in frames for avp in read_avps(frame[20:]) or () if avp.code == 263}
    for session in sessions:
        renamed = session[:-12] + b"%08d" % turn + session[-4:]
        frames = [frame.replace(session, renamed) for frame in frames]
    return frames


def say(server: RealOcs, octets: bytes, expected: int | None) -> list[Read]:
    """Say everything at once; end our side when the expected answers are there, and read until the server ends its own.

    Where it cannot be told how many will come, our side ends at once.
    """
    answers: list[Read] = []
    with server.connect() as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # closed already; what it said is to be read
            connection.sendall(octets)
        while len(answers) != expected:
            if expected is None:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            if (frame := read_frame(connection)) is None:
                return answers
            answers.append(stranger(frame))
        connection.shutdown(socket.SHUT_WR)
        assert read_frame(connection) is None
    return answers


def asked_in(stream: Stream) -> Counter[tuple[int, bytes]]:
    """How often an answer is due, by command and identifiers."""
    return Counter((frame.command, frame.ids) for frame in stream.frames if frame.is_request)


def is_answered_whole(stream: Stream) -> bool:
    """Whether nothing that was said ends the connection, so that every request has to be answered."""
    first, *others = stream.frames or (Frame(bytes(20)),)
    ends = stream.broken or any(
        frame.octets[:2] == b"\x16\x03" or (frame.application == 0 and frame.octets not in HARMLESS)
        for frame in others
    )
    return first.octets in FIRST_WORDS and not ends


def assert_answers_are_right(stream: Stream, answers: list[Read]) -> None:
    """Each is an answer to something that was asked, not more often than it was asked, and well formed."""
    asked = asked_in(stream)
    for answer in answers:
        head = Frame(answer.frame)
        assert not head.is_request
        asked[head.command, head.ids] -= 1
        assert asked[head.command, head.ids] >= 0, "an answer that nobody asked for"
        result = answer.value(268)
        assert bool(answer.frame[4] & 0x20) == (3000 <= result < 4000)
        assert (answer.value(264), answer.value(296)) == (b"ocs.example.org", b"example.org")
        if 263 in answer.codes:
            assert answer.codes[0] == 263
        if head.command == 272 and result in CHARGED:
            assert all(answer.codes.count(code) == 1 for code in (263, 258, 415, 416))
            assert_no_leave_without_measure(answer)


def assert_no_leave_without_measure(answer: Read) -> None:
    """CLIENTS 19 and 21: a Result-Code in every service, and no grant without Validity-Time; what an event has debited is no grant."""
    for service in answer.all_of(456):
        codes = [avp.code for avp in service.value]
        assert codes.count(268) == 1
        assert answer.value(416) == EVENT or (431 in codes) == (448 in codes)


def assert_money_is_justified(
    stream: Stream, answers: list[Read], before: list[Book], after: list[Book]
) -> None:
    """No account gains anything; what is debited was reported, by a request that was charged, and once.

    A refund gives back what an event has debited, and no more.
    """
    assert [book.credits_micros for book in after] == [CREDIT_MICROS] * len(after)
    refunds = any(frame.is_request and frame.command == 272 and is_refund(frame) for frame in stream.frames)
    for was, now in zip(before, after, strict=True):
        assert 0 <= (0 if refunds else was.posted_micros) <= now.posted_micros
        assert now.pending_micros >= 0
    refused = Counter(
        Frame(answer.frame).ids
        for answer in answers
        if Frame(answer.frame).command == 272 and answer.value(268) not in POSTED
    )
    asked = asked_in(stream)
    justified: dict[bytes, int] = {}
    for frame in stream.frames:
        if frame.is_request and frame.command == 272 and refused[frame.ids] < asked[272, frame.ids]:
            name = identity(frame)
            justified[name] = max(justified.get(name, 0), justified_micros(frame))
    debited = sum(now.posted_micros - was.posted_micros for was, now in zip(before, after, strict=True))
    assert debited <= sum(justified.values())


def fuzz(target: Target, place: int, mutations: list[Mutation]) -> None:
    frames = own(SAID[place % len(SAID)], next(turns))
    for mutation in mutations:
        frames = mutated(frames, mutation)
    octets = b"".join(frames) + PROBE
    stream = stream_of(octets, limits.MESSAGE_OCTETS_MAX)
    before = target.books()
    whole = is_answered_whole(stream)
    answers = say(target.server, octets, asked_in(stream).total() if whole else None)
    assert_answers_are_right(stream, answers)
    assert not whole or len(answers) == asked_in(stream).total()
    after = target.books() if whole else target.books_at_rest()
    assert_money_is_justified(stream, answers, before, after)
    assert target.server.count("ocs_internal_faults_total") == 0


def assert_sound(target: Target) -> None:
    """After all of it: the books are right, the log is free of faults, and a stranger is served."""
    report = target.server.ocs("audit")
    assert (report["clean"], report["faults"]) == (True, [])
    assert target.server.count("ocs_store_events_total", "script_faults") == 0
    assert target.server.troubles() == []
    fuzz(target, 0, [])


def spoil(target: Target, examples: int) -> None:
    """Spoil so many conversations, the same ones in every run of as many."""

    @settings(SHAPE, max_examples=examples)
    @given(place=st.integers(0, len(SAID) - 1), mutations=st.lists(MUTATIONS, min_size=1, max_size=4))
    def one(place: int, mutations: list[Mutation]) -> None:
        fuzz(target, place, mutations)

    one()


def test_the_checks_hold_for_what_is_not_spoilt(target: Target) -> None:
    for place in range(len(SAID)):
        fuzz(target, place, [])


def test_any_octets_lead_to_a_correct_answer_or_a_closed_connection_and_to_no_unjustified_money(
    target: Target,
) -> None:
    spoil(target, 300)
    assert_sound(target)


@pytest.mark.long
def test_very_many_octets_do_too(target: Target) -> None:
    spoil(target, 30_000)
    assert_sound(target)
