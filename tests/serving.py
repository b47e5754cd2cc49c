"""A real worker on real sockets, in a thread of the test, and plain clients that can say anything to it.

The book is a double that grants what is asked for, or holds its answers back; everything else is the server's own code.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any, Self

import structlog
import uvloop

from ocs.charging.answer import AnswerWriter
from ocs.charging.ask import Ask
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.diameter.base import BaseMessages, Local
from ocs.diameter.codec import Codec
from ocs.diameter.message import Message, header
from ocs.outcomes import Code, Note
from ocs.server.acceptor import Acceptor, Door, listen
from ocs.server.allow import AllowRow
from ocs.server.channel import Load, Start, StartFault, hear, pair
from ocs.server.counters import Counters
from ocs.server.keeper import KeeperParts
from ocs.server.secure import TlsFiles
from ocs.server.worker import Worker, WorkerConfig, WorkerParts
from ocs.units import Unit

LOCAL = Local("ocs.example.org", "example.org", (), 10415, "ocs", 1_700_000_000, 1, 30_000)
LOOPBACK = (AllowRow("*", "*", ip_network("127.0.0.0/8")), AllowRow("*", "*", ip_network("::1")))
REQUEST = 0xC0


class GrantingBook:
    """Grants 1,000 octets (`grant`) to every service; `hold` keeps the outcomes back until `release`."""

    def __init__(self) -> None:
        self.ready = True
        self.hold = False
        self.grant = 1_000
        self.asks: list[Ask] = []
        self.vias: list[str] = []
        self.held: list[Callable[[], None]] = []
        self.fault: Exception | None = None

    def charge(self, ask: Ask, done: Callable[[Outcome], None], via: str) -> None:
        """Answer in a later turn of the loop, as a store does."""
        if self.fault is not None:
            raise self.fault
        self.asks.append(ask)
        self.vias.append(via)
        services = tuple(
            ServiceOutcome(
                Code.SUCCESS, Unit.OCTETS, self.grant if each.wanted is not None else 0, 3_600, False
            )
            for each in ask.services
        )
        outcome = Outcome(Code.SUCCESS, Note(0), services)
        if self.hold:
            self.held.append(lambda: done(outcome))
        else:
            asyncio.get_running_loop().call_soon(done, outcome)

    def release(self) -> None:
        """Answer what was kept back."""
        self.hold = False
        held, self.held = self.held, []
        for answer in held:
            answer()


def answer_writer() -> AnswerWriter:
    return AnswerWriter(LOCAL.origin_host, LOCAL.origin_realm, failure_handling=None, session_failover=None)


class Served:
    """One worker behind one acceptor, in a thread; `shift_ms` moves its clock forward."""

    def __init__(self, **changes: Any) -> None:
        self.book = GrantingBook()
        self.counters = Counters()
        self.tls: TlsFiles | None = changes.pop("tls", None)
        self.config = WorkerConfig(
            **{"name": "worker-0", "local": LOCAL, "allow": LOOPBACK, "tls": self.tls, "drain_s": 5.0}
            | changes
        )
        self.plain_answers: Callable[[AnswerWriter], Any] = lambda writer: writer
        self.shift_ms = 0
        self.lines: list[dict[str, Any]] = []
        self.host = "127.0.0.1"
        self.port = 0
        self.worker: Worker | None = None
        self.channel = ""
        self._receive: Callable[[bytes], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        if self._fault is not None:
            raise self._fault
        return self

    def __exit__(self, *_exception: object) -> None:
        self.drain()
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as fault:  # noqa: BLE001 - told in the test's own thread
            self._fault = fault
        finally:
            self._ready.set()

    def _now_us(self) -> int:
        return time.monotonic_ns() // 1_000 + self.shift_ms * 1_000

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        ours, theirs = pair()
        log = structlog.wrap_logger(None, processors=[self._note])
        parts = WorkerParts(
            self.book,
            answer_writer(),
            log,
            now_us=self._now_us,
            listen=self._listen,
            plain_answers=self.plain_answers(answer_writer()),
        )
        self.worker = Worker(self.config, parts, self.counters, theirs)
        door = listen(self.host, 0)[0]
        self.port = door.getsockname()[1]
        acceptor = Acceptor((Door(door, self.tls is not None),), log)
        acceptor.join("worker-0", ours)

        def report() -> None:
            while (said := hear(ours)) is not None:
                if isinstance(said, Load):
                    acceptor.report("worker-0", said)

        self._loop.add_reader(ours.fileno(), report)
        self._ready.set()
        await self.worker.serve(self._stop)
        acceptor.close()
        self._loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()

    async def _listen(self, channel: str, receive: Callable[[bytes], None]) -> None:
        self.channel, self._receive = channel, receive

    def order(self, message: bytes) -> None:
        """Publish a message to the worker."""
        self.until(lambda: self._receive is not None)
        assert self._receive is not None
        receive = self._receive
        self.call(lambda: receive(message))

    def _note(self, _logger: Any, _method: str, event: Any) -> Any:
        self.lines.append(dict(event))
        raise structlog.DropEvent

    def call(self, function: Callable[[], None]) -> None:
        """Run something in the worker's loop, and wait for it."""
        over = threading.Event()

        def run() -> None:
            function()
            over.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(run)
        assert over.wait(20)

    def drain(self) -> None:
        """Do what SIGTERM does."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

    def count(self, family: str, *labels: str) -> int:
        """The value of one counter."""
        return int(self.counters.cells[self.counters.index(family, *labels)])

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that the worker will do in its own time; the test's time limit bounds it."""
        while not holds():
            time.sleep(0.002)

    def connect(self) -> Client:
        """Connect without saying anything."""
        return Client(socket.create_connection((self.host, self.port), timeout=20))

    @contextlib.contextmanager
    def peer(self, host: str = "pgw.example.net") -> Iterator[Client]:
        """A peer whose capabilities are exchanged."""
        with self.connect() as client:
            client.exchange(host)
            yield client


class Client:
    """The other end of a connection, which does as it is told."""

    codec = Codec()

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.host = "pgw.example.net"
        self._ids = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def frame(self) -> bytes | None:
        """The octets of the next message, or None when the connection has ended."""
        head = self._exactly(20)
        if head is None:
            return None
        rest = self._exactly(header(head).length - 20)
        assert rest is not None
        return head + rest

    def read(self) -> Message | None:
        """The next message, or None when the connection has ended."""
        frame = self.frame()
        return None if frame is None else self.codec.decode(frame)

    def refusal(self) -> tuple[int, int, bool]:
        """Hop-by-hop id, Result-Code and E-bit of the next message, which need not be a complete answer."""
        frame = self.frame()
        assert frame is not None, "the connection was closed"
        top, at = header(frame), 20
        while frame[at : at + 4] != (268).to_bytes(4, "big"):
            at += -(-int.from_bytes(frame[at + 5 : at + 8], "big") // 4) * 4
        return top.hop_by_hop, int.from_bytes(frame[at + 8 : at + 12], "big"), bool(top.flags & 0x20)

    def answered(self) -> Message:
        """The next message, which has to come."""
        message = self.read()
        assert message is not None, "the connection was closed"
        return message

    def _exactly(self, octets: int) -> bytes | None:
        got = b""
        while len(got) < octets:
            try:
                more = self.socket.recv(octets - len(got))
            except ConnectionResetError:
                return None
            if not more:
                return None
            got += more
        return got

    def exchange(self, host: str = "pgw.example.net", realm: str = "example.net") -> Message:
        """Send a CER; return the CEA."""
        self.host = host
        local = LOCAL._replace(origin_host=host, origin_realm=realm, host_ips=("127.0.0.1",))
        self.send(BaseMessages(local).cer(1, 1))
        return self.answered()

    def ccr(
        self,
        kind: int = 1,
        number: int = 0,
        *,
        session: str = "pgw;1;1",
        hop_by_hop: int | None = None,
        single: bool = False,
    ) -> bytes:
        """A CCR of packet data for one rating group, or for a single service at message level."""
        self._ids += 1
        avps: dict[str, Any] = {
            "Session-Id": session,
            "Origin-Host": self.host,
            "Origin-Realm": "example.net",
            "Destination-Realm": "example.org",
            "Auth-Application-Id": 4,
            "Service-Context-Id": "32251@3gpp.org",
            "CC-Request-Type": kind,
            "CC-Request-Number": number,
            "Subscription-Id": [{"Subscription-Id-Type": 0, "Subscription-Id-Data": "491700000001"}],
        }
        service: dict[str, Any] = {}
        if kind != 3:
            service["Requested-Service-Unit"] = {}
        if kind != 1:
            service["Used-Service-Unit"] = [{"CC-Total-Octets": 500}]
        if single:
            avps |= service
        else:
            avps["Multiple-Services-Credit-Control"] = [{**service, "Rating-Group": 10}]
        return self.codec.encode(
            Message(REQUEST, 272, 4, hop_by_hop if hop_by_hop is not None else self._ids, self._ids, avps)
        )

    def ask(self, kind: int = 1, number: int = 0, *, session: str = "pgw;1;1") -> Message:
        """Send a CCR and return what comes back."""
        self.send(self.ccr(kind, number, session=session))
        return self.answered()

    def is_closed(self) -> bool:
        """Whether the other end closes, once everything that it said is read."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65_536):
                pass
        return True


# ---------------------------------------------------------------- builders that a spawned process imports


async def _no_close() -> None:
    """Close nothing."""


async def build_worker(start: Start, _counters: Counters) -> tuple[WorkerConfig, WorkerParts]:
    """A worker with the granting book; `start.handed` may be a fault to raise."""
    if isinstance(start.handed, Exception):
        raise start.handed
    config = WorkerConfig(start.name, LOCAL, LOOPBACK, drain_s=5.0, number=start.number)
    log = structlog.wrap_logger(None, processors=[_drop])
    return config, WorkerParts(GrantingBook(), answer_writer(), log)


async def build_keeper(_start: Start, _counters: Counters) -> KeeperParts:
    """A keeper without jobs."""
    return KeeperParts(None, structlog.wrap_logger(None, processors=[_drop]), {})


async def build_door(start: Start, _counters: Counters) -> KeeperParts:
    """A door with health and metrics alone; `start.handed` is how many workers there are, or the fault that they end with."""
    from ocs.http.app import Health, application  # noqa: PLC0415 - a worker does not load it
    from ocs.server import counters, health  # noqa: PLC0415 - as above

    folder, count = start.folder, start.handed if isinstance(start.handed, int) else 1
    assert folder is not None
    workers = [f"worker-{number}" for number in range(count + 1)]

    def look() -> Health:
        judged = health.checks(folder, workers, time.time_ns() // 1_000_000, count)
        kept, _passed = health.keeper(folder, ["keeper", "keeper-1"], time.time_ns() // 1_000_000)
        return Health(health.is_ready(judged, workers), judged | {"keeper": kept}, {"workers": count})

    app = application(health=look, read_metrics=lambda: counters.metrics(counters.read(folder)), version="0")
    return KeeperParts(app, structlog.wrap_logger(None, processors=[_drop]), {})


async def judge(start: Start) -> None:
    """A judge that refuses a fault which it is handed as text."""
    if isinstance(start.handed, str):
        raise StartFault(start.handed, 2)


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
