from __future__ import annotations

import asyncio
import secrets
from typing import Any

import structlog

from ocs.charging.ask import ask
from ocs.diameter.base import BaseMessages
from ocs.diameter.codec import Codec
from ocs.server.admission import Admission
from ocs.server.allow import AllowList
from ocs.server.connection import Connection, Roll
from ocs.server.counters import Counters
from ocs.server.desk import Bounds, Desk
from ocs.server.log import SparingLog
from ocs.server.profiles import Profiles, Writers
from ocs.server.requester import Requester
from ocs.server.tally import Tally
from tests.serving import LOCAL, LOOPBACK, Client, GrantingBook, answer_writer


class Wire(asyncio.Transport):
    """A transport that remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40_000), "sockname": ("127.0.0.1", 3_868)})
        self.written: list[bytes] = []
        self.done: list[str] = []
        self.unread = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def get_write_buffer_size(self) -> int:
        return self.unread

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


async def opened(bounds: Bounds | None = None) -> tuple[Connection, Wire, Client, GrantingBook]:
    """A connection whose capabilities are exchanged, and what holds its other end."""
    book, counters = GrantingBook(), Counters()
    log = structlog.wrap_logger(None, processors=[_drop])
    tally, sparing = Tally(counters), SparingLog(log, lambda: 0)
    desk = Desk(
        local=LOCAL,
        codec=Codec(),
        ask=ask,
        book=book,
        writers=Writers(answer_writer(), answer_writer()),
        profiles=Profiles(),
        admission=Admission(10_000, 10_000),
        tally=tally,
        requester=Requester(LOCAL, 0, tally, sparing, lambda: 1_000_000, lambda: 1),
        allow=AllowList(LOOPBACK, counters, log, lambda: 0),
        log=sparing,
        now_us=lambda: 1_000_000,
        jitter_ms=lambda: secrets.randbelow(1),
        is_emergency=lambda _information: False,
        say_state=lambda _host, _state: None,
        bounds=bounds or Bounds(),
    )
    connection, wire = Connection(desk, Roll(), asyncio.get_running_loop()), Wire()
    connection.connection_made(wire)
    client = Client.__new__(Client)
    client.host, client._ids = "pgw.example.net", 0
    local = LOCAL._replace(origin_host=client.host, host_ips=("127.0.0.1",))
    connection.data_received(BaseMessages(local).cer(1, 1))
    await turns()
    wire.written.clear()
    return connection, wire, client, book


async def turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def test_answers_of_one_turn_leave_in_one_write() -> None:
    async def run() -> None:
        connection, wire, client, book = await opened()
        book.hold = True
        connection.data_received(b"".join(client.ccr(session=f"s;{number}") for number in range(50)))
        await turns()
        assert wire.written == []
        book.release()
        assert wire.written == []
        await turns()
        (octets,) = wire.written
        assert octets.count(b"ocs.example.org") == 50

    asyncio.run(run())


def test_a_peer_that_does_not_read_is_not_read_from_until_it_does() -> None:
    async def run() -> None:
        connection, wire, _client, _book = await opened()
        connection.pause_writing()
        assert wire.done == ["pause"]
        connection.resume_writing()
        assert wire.done == ["pause", "resume"]

    asyncio.run(run())


def test_a_peer_that_leaves_too_much_unread_is_cut() -> None:
    async def run() -> None:
        connection, wire, client, _book = await opened(Bounds(unsent_octets_max=1_000))
        wire.unread = 1_001
        connection.data_received(client.ccr())
        await turns()
        assert wire.done == ["abort"]

    asyncio.run(run())


def test_no_more_than_a_turns_share_is_read_from_one_peer() -> None:
    async def run() -> None:
        connection, wire, client, _book = await opened()
        connection.data_received(b"".join(client.ccr() for _ in range(400)))
        assert wire.done == ["pause"]
        await turns()
        assert wire.done == ["pause", "resume"]

    asyncio.run(run())


def test_a_peer_that_does_not_read_stays_unread_after_its_turns_share() -> None:
    async def run() -> None:
        connection, wire, client, _book = await opened()
        connection.data_received(b"".join(client.ccr() for _ in range(400)))
        connection.pause_writing()
        await turns()
        assert "resume" not in wire.done
        connection.resume_writing()
        assert wire.done[-1] == "resume"

    asyncio.run(run())


def test_no_request_of_ours_begins_where_it_would_not_be_read() -> None:
    async def run() -> None:
        written: list[int] = []

        def write(hop_by_hop: int) -> bytes:
            written.append(hop_by_hop)
            return b"request"

        connection, wire, _, _ = await opened()
        begun = connection.begin(write)
        await turns()
        assert (written, wire.written) == ([begun], [b"request"])
        assert connection.begin(write) == begun + 1  # the next identifier of this connection
        for way in ("unread", "taking leave", "gone"):
            connection, wire, _, _ = await opened()
            if way == "unread":
                connection.pause_writing()
            elif way == "taking leave":
                connection.disconnect(0)
            else:
                connection.connection_lost(None)
            written.clear()
            assert (connection.begin(write), written) == (-1, []), way

    asyncio.run(run())
