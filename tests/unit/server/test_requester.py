"""RARs and ASRs of a real worker on real connections: which connection, which answer, how many a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import structlog

from ocs.diameter.base import BaseMessages
from ocs.diameter.message import Message, header
from ocs.diameter.server_initiated import ABORT_SESSION, RE_AUTH, Order
from ocs.limits import OWED_MS
from ocs.server import requester
from ocs.server.connection import Connection
from ocs.server.counters import Counters
from ocs.server.log import SparingLog
from ocs.server.requester import Requester
from ocs.server.tally import Tally
from ocs.sessions.orders import channel, worker_name, write_orders
from tests.serving import LOCAL, Client, Served

PGW, DRA = "pgw.example.net", "dra.example.net"
WORKER = worker_name(LOCAL.origin_host, 0)


def order(connection: int = 1, *, command: int = RE_AUTH, session: str = "pgw;1;1", hop: str = PGW) -> Order:
    return Order(command, session, PGW, "example.net", hop, connection)


def events(served: Served, name: str = "RAR") -> dict[str, int]:
    """What has been counted, without what has not."""
    counted = {
        event: served.count("ocs_server_requests_total", name, event)
        for event in ("sent", "success", "unknown_session", "undelivered", "refused", "unreadable", "silent", "lost", "unreachable", "shed", "withheld")
    }  # fmt: skip
    return {event: count for event, count in counted.items() if count}


def answer(client: Client, request: Message, avps: dict[str, Any], flags: int = 0x40) -> None:
    """Answer a request as a network element does."""
    said = {
        "Session-Id": request.avps["Session-Id"],
        "Origin-Host": client.host,
        "Origin-Realm": "example.net",
    }
    message = Message(flags, request.command, 4, request.hop_by_hop, request.end_to_end, said | avps)
    client.send(client.codec.encode(message))


def test_a_request_goes_out_on_the_connection_of_the_sessions_last_request_and_is_answered() -> None:
    with Served() as served, served.peer() as first, served.peer() as second:
        first.ask(session="pgw;1;1")
        second.ask(session="pgw;1;2")
        assert served.book.vias == [f"{WORKER}.1", f"{WORKER}.2"]
        assert served.channel == channel(WORKER)

        served.order(write_orders([order(2), order(1, command=ABORT_SESSION)]))

        request, abort = second.answered(), first.answered()
        assert (request.command, request.avps["Session-Id"]) == (RE_AUTH, "pgw;1;1")
        assert (request.avps["Destination-Host"], request.avps["Re-Auth-Request-Type"]) == (PGW, 0)
        assert (abort.command, abort.flags) == (ABORT_SESSION, 0xC0)
        answer(second, request, {"Result-Code": 2001})
        answer(first, abort, {"Result-Code": 2001})
        served.until(lambda: events(served) == {"sent": 1, "success": 1})
        served.until(lambda: events(served, "ASR") == {"sent": 1, "success": 1})
        assert served.count("ocs_answers_stray_total") == 0


def test_through_a_relay_the_request_names_the_client_behind_it() -> None:
    with Served() as served, served.connect() as relay:
        relay.exchange(DRA)
        relay.host = PGW  # who asks is the client
        relay.ask()
        assert served.book.vias == [f"{WORKER}.1 {DRA}"]

        served.order(write_orders([order(hop=DRA)]))

        request = relay.answered()
        assert (request.avps["Destination-Host"], request.avps["Destination-Realm"]) == (PGW, "example.net")
        assert request.avps["Origin-Host"] == LOCAL.origin_host


def test_where_the_connection_has_gone_another_one_to_the_same_peer_is_taken() -> None:
    with Served() as served, served.peer() as second:
        with served.peer():
            served.until(lambda: served.count("ocs_connections_total") == 2)
        served.until(lambda: served.count("ocs_connections_closed_total", "peer") == 1)

        served.order(write_orders([order(2), order(99)]))

        assert second.answered().command == RE_AUTH
        served.until(lambda: events(served) == {"sent": 1})  # the same session twice waits once


def test_a_number_of_another_peers_connection_is_no_way_to_this_one() -> None:
    with Served() as served, served.peer("other.example.net") as other:
        served.order(write_orders([order(1)]))

        assert events(served) == {"unreachable": 1}
        other.host = PGW
        assert other.ask().command == 272  # nothing was sent before this answer


@pytest.mark.parametrize(
    ("avps", "flags", "event"),
    [
        ({"Result-Code": 2002}, 0x40, "success"),
        ({"Result-Code": 5002}, 0x40, "unknown_session"),
        ({"Result-Code": 5005}, 0x40, "refused"),
        ({"Result-Code": 3002}, 0x60, "undelivered"),
        ({}, 0x40, "unreadable"),
    ],
    ids=["2002", "5002", "5005", "3002", "no code"],
)
def test_any_answer_settles_the_request_and_the_connection_goes_on(
    avps: dict[str, Any], flags: int, event: str
) -> None:
    with Served() as served, served.peer() as client:
        served.order(write_orders([order()]))
        answer(client, client.answered(), avps, flags)

        served.until(lambda: events(served) == {"sent": 1, event: 1})
        assert client.ask().avps["Result-Code"] == 2001
        assert served.count("ocs_answers_stray_total") == 0


def test_an_answer_that_nobody_waits_for_is_dropped_and_counted() -> None:
    with Served() as served, served.peer() as client:
        served.order(write_orders([order()]))
        request = client.answered()
        answer(client, request, {"Result-Code": 2001})
        answer(client, request, {"Result-Code": 2001})
        request.hop_by_hop ^= 1
        answer(client, request, {"Result-Code": 2001})

        served.until(lambda: served.count("ocs_answers_stray_total") == 2)
        assert events(served) == {"sent": 1, "success": 1}


def test_a_client_that_never_answers_is_charged_and_watched_as_ever() -> None:
    with Served() as served, served.peer() as client:
        served.order(write_orders([order()]))
        request = client.answered()
        assert client.ask().avps["Result-Code"] == 2001
        local = LOCAL._replace(origin_host=PGW, host_ips=("127.0.0.1",))
        client.send(BaseMessages(local).dwr(77, 77))
        frame = client.frame()
        assert frame is not None
        assert header(frame).command == 280
        assert events(served) == {"sent": 1}

        served.shift_ms = OWED_MS + 1_000

        served.until(lambda: events(served) == {"sent": 1, "silent": 1})
        answer(client, request, {"Result-Code": 2001})
        served.until(lambda: served.count("ocs_answers_stray_total") == 1)


def test_what_is_owed_is_lost_with_its_connection() -> None:
    with Served() as served:
        with served.peer() as client:
            served.order(write_orders([order()]))
            client.answered()
        served.until(lambda: events(served) == {"sent": 1, "lost": 1})

        served.order(write_orders([order()]))

        assert events(served) == {"sent": 1, "lost": 1, "unreachable": 1}


class Way:
    """A connection that takes every request and writes down for which session."""

    hop = PGW

    def __init__(self) -> None:
        self.sessions: list[str] = []
        self.open = True
        self._codec = Client.codec

    def takes(self, _origin_host: str, _command: int) -> bool:
        return True

    def begin(self, write: Callable[[int], bytes]) -> int:
        if not self.open:
            return -1
        self.sessions.append(self._codec.decode(write(len(self.sessions))).avps["Session-Id"])
        return len(self.sessions)


class Timed:
    """A requester of so many a second, with one connection and a clock that the test moves."""

    def __init__(self, per_s: int) -> None:
        self.now_us, self.way, self.counters = 0, Way(), Counters()
        log = SparingLog(structlog.wrap_logger(None, processors=[_drop]), lambda: 0)
        tally = Tally(self.counters)
        self.requester = Requester(LOCAL, 0, tally, log, lambda: self.now_us, lambda: 1, per_s)
        self.requester.enter(cast("Connection", self.way))

    def order(self, *orders: Order) -> None:
        self.requester.take(write_orders(orders))

    def after(self, ms: int) -> None:
        self.now_us += ms * 1_000
        self.requester.tick()

    def count(self, event: str, name: str = "RAR") -> int:
        return int(self.counters.cells[self.counters.index("ocs_server_requests_total", name, event)])


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


def _many(count: int, first: int = 0) -> list[Order]:
    return [order(session=f"s;{number}") for number in range(first, first + count)]


def test_no_more_than_the_rate_goes_out_whatever_comes() -> None:
    timed = Timed(per_s=100)
    timed.order(*_many(100))
    timed.order(*_many(100, 100))
    assert len(timed.way.sessions) == 10  # a tenth of a second's worth at once

    for _ in range(10):
        timed.after(100)

    assert timed.way.sessions == [f"s;{number}" for number in range(110)]
    timed.after(60_000)  # what was not used of the rate is not saved up
    assert len(timed.way.sessions) == 120


def test_an_abort_goes_first_and_twice_the_same_waits_once() -> None:
    timed = Timed(per_s=1)
    timed.order(*_many(3), *_many(3))
    timed.order(order(session="s;2", command=ABORT_SESSION))
    assert (timed.way.sessions, timed.requester.waiting) == (["s;0"], 3)

    for _ in range(5):
        timed.after(1_000)

    assert timed.way.sessions == ["s;0", "s;2", "s;1", "s;2"]
    assert (timed.count("sent"), timed.count("sent", "ASR")) == (3, 1)


def test_what_floods_the_queue_is_shed_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requester, "ORDERS_WAITING_MAX", 10)
    timed = Timed(per_s=1)

    timed.order(*_many(100))

    assert (timed.count("sent"), timed.count("shed"), timed.requester.waiting) == (1, 90, 9)
    timed.order(order(session="s;5"))  # waits already
    assert (timed.count("shed"), timed.requester.waiting) == (90, 9)
    timed.order(order(session="s;new"), order(session="s;newer"), order(session="s;5"))
    assert (timed.count("shed"), timed.requester.waiting) == (91, 10)
    timed.order(order(session="s;abort", command=ABORT_SESSION))  # has a room of its own
    timed.after(1_000)
    assert timed.way.sessions == ["s;0", "s;abort"]


def test_orders_that_go_nowhere_take_little_of_the_rate_and_are_not_looked_at_all_at_once() -> None:
    timed = Timed(per_s=100)
    timed.way.open = False

    timed.order(*_many(100))

    assert (timed.count("unreachable"), timed.requester.waiting) == (91, 9)
    timed.way.open = True
    timed.after(100)
    assert timed.way.sessions == [f"s;{number}" for number in range(91, 100)]


def test_a_peer_owes_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requester, "OWED_PER_CONNECTION_MAX", 2)
    with Served() as served, served.peer() as client:
        served.order(write_orders([order(session=f"s;{number}") for number in range(5)]))
        first = client.answered()
        assert events(served) == {"sent": 2, "shed": 3}

        answer(client, first, {"Result-Code": 2001})
        served.until(lambda: events(served).get("success") == 1)
        served.order(write_orders([order(session="s;5")]))

        assert client.answered().avps["Session-Id"] == "s;1"
        assert client.answered().avps["Session-Id"] == "s;5"


def test_a_message_that_is_no_order_is_counted_and_nothing_of_it_is_done() -> None:
    with Served() as served, served.peer() as client:
        for message in (b"", b"\xc1", write_orders([order()])[:-1], write_orders([order()]) + b"\0"):
            served.order(message)

        assert served.count("ocs_order_messages_unread_total") == 4
        assert client.ask().command == 272
        assert events(served) == {}


def test_a_worker_that_drains_begins_nothing_and_hears_what_it_began() -> None:
    with Served() as served, served.peer() as client:
        served.order(write_orders([order()]))
        request = client.answered()
        served.drain()
        leave = client.frame()
        assert leave is not None
        assert header(leave).command == 282  # the DPR of the drain
        served.order(write_orders([order(session="s;9")]))
        assert events(served) == {"sent": 1, "shed": 1}
        answer(client, request, {"Result-Code": 2001})
        served.until(lambda: events(served) == {"sent": 1, "shed": 1, "success": 1})


def test_what_waits_when_the_drain_begins_is_shed() -> None:
    timed = Timed(per_s=1)
    timed.order(*_many(3))

    timed.requester.stop()
    timed.after(10_000)

    assert (timed.way.sessions, timed.count("shed"), timed.requester.waiting) == (["s;0"], 2, 0)
