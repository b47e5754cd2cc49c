"""A record on its way through a connection: bounds, faults of our own, and what is answered."""

import asyncio
from collections.abc import Callable

import pytest

from ocs.charging.accounting import AccountingRecord, read
from ocs.charging.accounting_answer import AccountingAnswers
from ocs.charging.outcome import Outcome
from ocs.diameter.codec import Codec
from ocs.outcomes import Code, Note
from ocs.server.accounting import AccountingDesk
from ocs.server.connection import Connection
from tests.accounting_records import START, STOP, message
from tests.unit.server.test_connection import Wire, opened, turns

CODEC = Codec(accounting=True)
ANSWERS = AccountingAnswers("ocs.example.org", "example.org", 1, interim_s=0, realtime=None)


class Posts:
    """A book that keeps what it is told, or fails."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.waiting: list[Callable[[int, Outcome], None]] = []

    def account(self, _record: AccountingRecord, _frame: bytes, done: Callable[[int, Outcome], None]) -> None:
        if self.fails:
            raise RuntimeError("a defect")
        self.waiting.append(done)


async def served(*, fails: bool = False) -> tuple[Connection, Wire, Posts]:
    """An open connection of a server that takes accounting records."""
    connection, wire, _client, _book = await opened()
    posts = Posts(fails=fails)
    desk = connection._desk
    desk.admission.draining = False
    connection._desk = desk._replace(accounting=AccountingDesk(read, posts, ANSWERS), codec=CODEC)
    connection._decode = CODEC.decode
    return connection, wire, posts


def results(wire: Wire) -> list[int]:
    return [CODEC.decode(octets).avps["Result-Code"] for octets in wire.written]


def test_a_record_is_answered_when_it_is_known_what_became_of_it() -> None:
    async def run() -> None:
        connection, wire, posts = await served()
        connection.data_received(CODEC.encode(message(START, 0)))
        await turns()
        assert wire.written == []
        posts.waiting.pop()(2001, Outcome(Code.SUCCESS, Note(0), ()))
        await turns()
        assert results(wire) == [2001]
        assert connection._desk.admission.inflight == 0

    asyncio.run(run())


def test_a_fault_of_our_own_is_answered_and_holds_no_place() -> None:
    async def run() -> None:
        connection, wire, _posts = await served(fails=True)
        connection.data_received(CODEC.encode(message(START, 0)))
        await turns()
        assert results(wire) == [5012]
        assert connection._desk.admission.inflight == 0

    asyncio.run(run())


def test_a_record_whose_answer_cannot_be_written_is_told_so_and_the_connection_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_given: object) -> bytes:
        raise RuntimeError("made up")

    async def run() -> None:
        connection, wire, posts = await served()
        connection.data_received(CODEC.encode(message(START, 0)))
        await turns()
        with monkeypatch.context() as patched:
            patched.setattr(AccountingAnswers, "answer", failing)
            posts.waiting.pop()(2001, Outcome(Code.SUCCESS, Note(0), ()))
        await turns()
        assert results(wire) == [5012]
        assert connection._desk.admission.inflight == 0
        connection.data_received(CODEC.encode(message(STOP, 1)))
        await turns()
        posts.waiting.pop()(2001, Outcome(Code.SUCCESS, Note(0), ()))
        await turns()
        assert results(wire) == [5012, 2001]

    asyncio.run(run())


def test_while_the_worker_drains_no_session_begins_and_those_that_run_go_on() -> None:
    async def run() -> None:
        connection, wire, posts = await served()
        connection._desk.admission.draining = True
        connection.data_received(CODEC.encode(message(START, 0)))
        connection.data_received(CODEC.encode(message(STOP, 1)))
        await turns()
        assert results(wire) == [3004]
        assert len(posts.waiting) == 1

    asyncio.run(run())
