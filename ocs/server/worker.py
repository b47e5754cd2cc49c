"""A worker: one process that charges, with its own connections, its own links to the store, and its own book.

Laws
1. The roof builds what a worker works with (`build`); the worker only arranges it.
2. Connections come as sockets over the channel; nothing listens here.
3. Drain: peers are told (DPR), nothing new begins, what is under way is answered, then the process ends with 0.
"""

import asyncio
import gc
import resource
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from ocs import limits
from ocs.charging.ask import ask as read_ask
from ocs.charging.information import is_emergency
from ocs.diameter.base import REBOOTING, Identity, Local
from ocs.diameter.codec import Codec
from ocs.server import child
from ocs.server.accounting import AccountingDesk
from ocs.server.admission import Admission
from ocs.server.allow import AllowList, AllowRow
from ocs.server.channel import READY, Handed, Load, NotTaken, Start, StartFault, say, take
from ocs.server.connection import Connection, Roll
from ocs.server.counters import Counters
from ocs.server.desk import Answers, Book, Bounds, Desk
from ocs.server.families import ACTIONS, PEER_STATES, SET_ASIDE, STORE_EVENTS
from ocs.server.log import Log, SparingLog
from ocs.server.profiles import ClientProfile, Profiles, Writers
from ocs.server.requester import Requester
from ocs.server.secure import TlsFiles, context
from ocs.server.tally import Tally
from ocs.sessions.orders import channel

_TICK_S: Final = 0.1
_REPORT_TICKS: Final = 10
_REPORT_MS: Final = 2_000
"""Whoever was heard within it is alive: a report's distance, with room for one that comes late."""
_HANDED_PER_TURN: Final = 64
_CROWDED: Final = "too many connections before their capabilities exchange"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker serves, as the roof makes it of settings inside the worker's process."""

    name: str  # "worker-0": of its counters and its log lines
    local: Local  # without host_ips: the address that each peer has found us at
    allow: tuple[AllowRow, ...]
    tls: TlsFiles | None = None
    inflight_per_peer_max: int = 2_000
    inflight_max: int = limits.INFLIGHT_PER_WORKER_MAX
    connections_max: int = limits.CONNECTIONS_PER_WORKER_MAX
    strangers_max: int = limits.STRANGERS_PER_WORKER_MAX
    bounds: Bounds = field(default_factory=Bounds)
    drain_s: float = 10.0
    number: int = 0  # among the server's workers
    reauthorise_per_s: int = limits.REAUTHORISE_PER_S
    profiles: tuple[ClientProfile, ...] = ()


async def _nothing() -> None:
    """Close nothing."""


def _no_counts() -> Mapping[str, int]:
    return {}


def _say_nothing(_origin_host: str, _state: int) -> None:
    """Write down nothing of a client's state."""


async def _hear_nothing(_channel: str, _receive: Callable[[bytes], None]) -> None:
    """Hear of no orders."""


def micros() -> int:
    """The machine's steady clock in microseconds."""
    return time.monotonic_ns() // 1_000


def unix_s() -> int:
    """The machine's wall clock in seconds since 1970."""
    return int(time.time())


def jitter_ms() -> int:
    """Jitter of a watchdog (RFC 3539 section 3.4.1, [1]): 2 s on either side."""
    return secrets.randbelow(4_001) - 2_000


def _tell_no_load(_load: Callable[[], int]) -> None:
    """Have no use for it."""


class WorkerParts(NamedTuple):
    """What the roof builds for a worker, inside its process and its event loop.

    `events` gives the book's running counts of one-time events by Requested-Action and Result-Code, `store_events` those by
    counters.STORE_EVENTS; `store_retried` the store's; `spooled` is how many terminations wait on disk for the store. `listen` hears
    a channel until it is cancelled; `is_emergency` tells an emergency call by its Service-Information. `plain_answers` writes
    answers without AVPs of 3GPP, for clients whose profile says so. `say_state` writes down what clients say of their state. `accounting`
    is there where that is served, `set_aside` its counts by counters.SET_ASIDE, `gaps` how many numbers were found missing and came after all.
    """

    book: Book
    answers: Answers
    log: Log
    close: Callable[[], Awaitable[None]] = _nothing
    events: Callable[[], Mapping[tuple[int, int], int]] = dict
    store_events: Callable[[], Mapping[str, int]] = _no_counts
    store_retried: Callable[[], int] = int
    spooled: Callable[[], int] = int
    now_us: Callable[[], int] = micros
    listen: Callable[[str, Callable[[bytes], None]], Awaitable[None]] = _hear_nothing
    is_emergency: Callable[[Mapping[str, Any]], bool] = is_emergency
    plain_answers: Answers | None = None
    say_state: Callable[[str, int], None] = _say_nothing
    accounting: AccountingDesk | None = None
    set_aside: Callable[[], Mapping[str, int]] = _no_counts
    gaps: Callable[[], tuple[int, int]] = lambda: (0, 0)
    hear_load: Callable[[Callable[[], int]], None] = _tell_no_load
    now_s: Callable[[], int] = unix_s
    jitter_ms: Callable[[], int] = jitter_ms


BuildWorker = Callable[[Start, Counters], Awaitable[tuple[WorkerConfig, WorkerParts]]]


class Worker:
    """Takes sockets from the channel and serves them until it is told to drain."""

    def __init__(
        self, config: WorkerConfig, parts: WorkerParts, counters: Counters, channel: socket.socket
    ) -> None:
        self._config = config
        self._parts = parts
        self._counters = counters
        self._channel = channel
        self._now_us = parts.now_us
        self._roll = Roll()
        self._arriving: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = context(config.tls) if config.tls is not None else None
        self._admission = Admission(config.inflight_per_peer_max, config.inflight_max)
        self._codec = Codec(accounting=parts.accounting is not None)
        parts.hear_load(self._admission.load)
        self._tally = Tally(counters)
        self._ready_cell = counters.index("ocs_process_ready")
        self._counted: dict[int, int] = {}
        self._taken = 0
        self._orphaned = asyncio.Event()
        self._connections_max = child.connections_max(config.connections_max)
        self._log = SparingLog(parts.log, lambda: self._now_us() // 1_000)
        self._requester = Requester(
            config.local,
            config.number,
            self._tally,
            self._log,
            self._now_us,
            parts.now_s,
            config.reauthorise_per_s,
        )
        self._desk = Desk(
            local=config.local,
            codec=self._codec,
            ask=read_ask,
            book=parts.book,
            writers=Writers(parts.answers, parts.plain_answers or parts.answers),
            profiles=Profiles(config.profiles),
            admission=self._admission,
            tally=self._tally,
            requester=self._requester,
            allow=AllowList(config.allow, counters, parts.log, lambda: self._now_us() // 1_000),
            log=self._log,
            now_us=parts.now_us,
            jitter_ms=parts.jitter_ms,
            is_emergency=parts.is_emergency,
            say_state=parts.say_state,
            bounds=config.bounds,
            accounting=parts.accounting,
        )

    @property
    def load(self) -> Load:
        """What the acceptor needs to know."""
        connections = len(self._roll) + len(self._arriving)
        return Load(connections, self._admission.inflight, self._tally.requests, self._taken)

    @property
    def admission(self) -> Admission:
        """Who is here, and what is under way."""
        return self._admission

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or the supervisor has gone, then drain."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._accept)
        ticking = asyncio.create_task(self._tick())
        listening = asyncio.ensure_future(
            self._parts.listen(channel(self._requester.worker), self._requester.take)
        )
        try:
            self._counters.cells[self._counters.index("ocs_process_starts_total")] += 1
            self._counters.cells[self._ready_cell] = 1
            self._report()
            say(self._channel, READY)
            waits = [asyncio.create_task(event.wait()) for event in (stop, self._orphaned)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await self._drain()
        finally:
            ticking.cancel()
            listening.cancel()
            loop.remove_reader(self._channel.fileno())
            self._counters.cells[self._ready_cell] = 0

    # ------------------------------------------------------------------ connections

    def _accept(self) -> None:
        """Take the sockets that were handed over."""
        for _ in range(_HANDED_PER_TURN):
            try:
                handed = take(self._channel)
            except NotTaken as why:
                self._taken += 1
                self._turn_away(None, "full", str(why))
                continue
            except (EOFError, OSError):
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                self._orphaned.set()
                return
            if handed is None:
                return
            self._taken += 1
            if not self._is_near(handed.socket):
                continue
            if len(self._roll) + len(self._arriving) >= self._connections_max:
                self._turn_away(handed.socket, "full", "this worker has as many connections as it may have")
            elif self._admission.draining:
                self._turn_away(handed.socket, "drain", "this worker drains")
            elif handed.secured and self._tls is None:
                self._turn_away(handed.socket, "no_tls", "no TLS is set up")
            else:
                self._adopt(handed)

    def _is_near(self, accepted: socket.socket) -> bool:
        """Tell whether the allow list has a row for this address; else the connection is closed before it costs anything."""
        try:
            address = str(accepted.getpeername()[0])
        except (OSError, IndexError):  # it has gone already, or is not TCP, in a test
            self._tally.turned_away("gone")
            accepted.close()
            return False
        if self._desk.allow.near(address):
            return True
        who = Identity("", "", address)
        self._desk.allow.refused("address", "no row of the allow list has this address", who)
        self._tally.turned_away("address")
        accepted.close()
        return False

    def _adopt(self, handed: Handed) -> None:
        """Begin a connection; where there are too many strangers, the oldest makes room for it."""
        strangers = self._roll.strangers
        while len(strangers) >= self._config.strangers_max:
            oldest = next(iter(strangers))
            arrival = strangers.pop(oldest)
            if oldest in self._roll:
                oldest.cut("full", _CROWDED)
            else:
                arrival.cancel()
        connection = Connection(self._desk, self._roll, asyncio.get_running_loop())
        arrival = asyncio.create_task(self._arrive(connection, handed.socket, secured=handed.secured))
        strangers[connection] = arrival
        self._arriving.add(arrival)
        arrival.add_done_callback(lambda done: self._arrived(done, connection, handed.socket))

    def _arrived(self, arrival: asyncio.Task[None], connection: Connection, accepted: socket.socket) -> None:
        self._arriving.discard(arrival)
        if connection in self._roll:
            if arrival.cancelled():
                connection.cut("full", _CROWDED)
            return
        self._roll.strangers.pop(connection, None)
        if arrival.cancelled() and not self._admission.draining:
            self._turn_away(accepted, "full", _CROWDED)

    def _turn_away(self, accepted: socket.socket | None, reason: str, why: str) -> None:
        self._tally.turned_away(reason)
        self._log.warning("connection turned away", reason=reason, why=why)
        if accepted is not None:
            accepted.close()

    async def _arrive(self, connection: Connection, accepted: socket.socket, *, secured: bool) -> None:
        """Make a connection of a socket; a task per connection, never per request."""
        loop = asyncio.get_running_loop()
        accepted.setblocking(False)
        with suppress(OSError):  # not TCP, in a test
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = ""
        try:
            address = str(accepted.getpeername()[0])
            await loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls if secured else None,
                ssl_handshake_timeout=limits.TLS_HANDSHAKE_MS / 1_000 if secured else None,
            )
        except (OSError, ssl.SSLError, IndexError) as error:
            accepted.close()
            self._tally.turned_away("tls_handshake" if secured else "gone")
            if secured:
                why = f"TLS: {getattr(error, 'reason', None) or type(error).__name__}"
                self._desk.allow.refused("tls", why, Identity("", "", address))

    # ------------------------------------------------------------------ time

    async def _tick(self) -> None:
        """Let time pass for all connections, and report."""
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            now_us = self._now_us()
            for connection in tuple(self._roll):
                connection.tick(now_us)
            self._requester.tick()
            ticks += 1
            if ticks % _REPORT_TICKS == 0:
                self._report()

    def _report(self) -> None:
        """Write the gauges, and tell the supervisor our load."""
        since_ms = self._now_us() // 1_000 - _REPORT_MS
        for connection in self._roll:
            connection.say_state(since_ms)
        cells, at = self._counters.cells, self._counters.index
        states = dict.fromkeys(PEER_STATES, 0)
        for connection in self._roll:
            states[connection.state] += 1
        for state, count in states.items():
            cells[at("ocs_peers", state)] = count
        cells[at("ocs_requests_in_flight")] = self._admission.inflight
        cells[at("ocs_server_requests_waiting")] = self._requester.waiting
        cells[at("ocs_process_store_ready")] = int(self._parts.book.ready)
        cells[at("ocs_spool_entries")] = self._parts.spooled()
        self._advance(at("ocs_ignored_avps_total"), self._codec.ignored_in_service_information)
        self._advance(at("ocs_store_retried_total"), self._parts.store_retried())
        for (action, code), count in self._parts.events().items():
            self._advance(at("ocs_events_total", ACTIONS[action], str(code)), count)
        events = self._parts.store_events()
        for event in STORE_EVENTS:
            self._advance(at("ocs_store_events_total", event), events.get(event, 0))
        for event, count in zip(("opened", "closed"), self._parts.gaps(), strict=True):
            self._advance(at("ocs_accounting_gaps_total", event), count)
        set_aside = self._parts.set_aside()
        for why in SET_ASIDE:
            self._advance(at("ocs_accounting_set_aside_total", why), set_aside.get(why, 0))
        report_process(self._counters)
        say(self._channel, self.load)

    def _advance(self, cell: int, counted: int) -> None:
        """Add what somebody else has counted since the last report, so that a restart does not begin at zero."""
        self._counters.cells[cell] += counted - self._counted.get(cell, 0)
        self._counted[cell] = counted

    # ------------------------------------------------------------------ the end

    async def _drain(self) -> None:
        """Take leave of every peer, and end when nothing is owed or the time is up."""
        self._counters.cells[self._ready_cell] = 2
        self._admission.draining = True
        self._requester.stop()
        self._parts.log.info("draining", connections=len(self._roll), inflight=self._admission.inflight)
        for arrival in tuple(self._arriving):
            arrival.cancel()
        for connection in tuple(self._roll):
            connection.disconnect(REBOOTING)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._config.drain_s
        while (self._roll or self._admission.inflight) and loop.time() < end:  # noqa: ASYNC110 - two counts
            await asyncio.sleep(_TICK_S / 5)
        for connection in tuple(self._roll):
            connection.cut("drain", "had not gone when the time to drain was up")
        await asyncio.sleep(0)
        self._parts.log.info("drained", left=len(self._roll), inflight=self._admission.inflight)


def report_process(counters: Counters) -> None:
    """Write what a process says of itself: heartbeat, CPU time, memory."""
    cells, at = counters.cells, counters.index
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cells[at("ocs_process_heartbeat_ms")] = time.time_ns() // 1_000_000
    cells[at("ocs_process_cpu_micros")] = int((usage.ru_utime + usage.ru_stime) * 1_000_000)
    with suppress(OSError, IndexError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        cells[at("ocs_process_resident_octets")] = pages * resource.getpagesize()


def run_worker(start: Start, build: BuildWorker, channel: socket.socket, parent_pid: int) -> None:
    """Be a worker: the target of its process. `build` is importable, and runs in this process's event loop."""
    child.begin(parent_pid)

    async def serve(stop: asyncio.Event) -> None:
        counters = Counters(start.folder, start.name)
        with child.told(channel, start.name):
            start.check()
            config, parts = await build(start, counters)
        try:
            worker = Worker(config, parts, counters, channel)
        except (OSError, ssl.SSLError) as error:
            say(channel, StartFault(f"TLS files: {error}", 2))
            raise SystemExit(2) from None
        # What is there now stays for the process's life; what requests make has no cycles and dies by its count. Seldom is
        # often enough for the collector: by default it walked every request under way again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        try:
            await worker.serve(stop)
        finally:
            await parts.close()

    child.run(serve)
