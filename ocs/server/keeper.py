"""The keeper and the door: the processes of everything that must not run on a Diameter worker's loop: background jobs, and HTTP.

Laws
1. The roof builds the HTTP application and the jobs; what is here keeps them running.
2. A job that fails is told, counted and started again after a pause; it never takes another job or HTTP along.
3. The listening socket is the supervisor's: it outlives a door that died.
4. HTTP has a process of its own: what comes in there delays no sweep, archive or event, nor they an answer.
"""

import asyncio
import gc
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, NamedTuple

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ocs.api_limits import HTTP_CONNECTIONS_MAX, HTTP_IDLE_S
from ocs.limits import JOB_PAUSE_MS, JOB_PAUSE_MS_MAX
from ocs.server import child
from ocs.server.channel import READY, Load, Start, say
from ocs.server.counters import Counters
from ocs.server.log import Log
from ocs.server.worker import report_process

_ALIVE: Final = Load(0, 0, 0, 0)
"""Said each second: a process whose loop hangs is ended and started again, as a worker is."""


Job = Callable[[], Awaitable[None]]
"""A background job: runs until it is cancelled; one that returns is done for good."""


async def _nothing() -> None:
    """Close nothing."""


class KeeperParts(NamedTuple):
    """What the roof builds for keeper or door, inside its process and its event loop: jobs by name, and an ASGI application (None: no HTTP)."""

    app: Any
    log: Log
    jobs: Mapping[str, Job]
    close: Callable[[], Awaitable[None]] = _nothing
    tls: ssl.SSLContext | None = None
    proxies: tuple[str, ...] = ()
    """Whose word on where a request comes from is believed: addresses and networks."""
    nice: int = 0
    """How far behind others this process stands where all want a processor (nice(2), 0 to 19)."""


STOP_S: Final = 5.0
"""How long an end waits for HTTP requests under way."""

BuildKeeper = Callable[[Start, Counters], Awaitable[KeeperParts]]


class Http(H11Protocol):
    """HTTP that bounds the wait for every request's head; uvicorn bounds only the silence after an answer."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait no more when the head is whole; octets one by one win no time."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        if self._waiting is not None:
            self._waiting.cancel()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HTTP_IDLE_S, self.transport.close)


def _is_ours(line: logging.LogRecord) -> bool:
    """Drop uvicorn's words on what strangers send: whoever sends garbage must not fill the disk."""
    return line.levelno != logging.WARNING


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals to us, and whose TLS handshakes have an end as heads and bodies have."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve the sockets."""
        await super().startup(sockets=[])
        config, loop = self.config, asyncio.get_running_loop()

        def protocol() -> Http:
            return Http(config=config, server_state=self.server_state, app_state=self.lifespan.state)

        bound_s = HTTP_IDLE_S if config.ssl is not None else None
        for door in sockets or ():
            self.servers.append(
                await loop.create_server(
                    protocol,
                    sock=door,
                    ssl=config.ssl,
                    backlog=config.backlog,
                    ssl_handshake_timeout=bound_s,
                )
            )

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none: the process has its own handler."""
        yield


@asynccontextmanager
async def running(jobs: Mapping[str, Job], log: Log, counters: Counters) -> AsyncIterator[None]:
    """Keep jobs running inside the block; each is cancelled and awaited at its end."""
    faults = counters.index("ocs_job_faults_total")

    async def keep(name: str, job: Job) -> None:
        pause_ms = JOB_PAUSE_MS
        loop = asyncio.get_running_loop()
        while True:
            since_s = loop.time()
            try:
                await job()
            except Exception:
                counters.cells[faults] += 1
                log.exception("a background job failed", job=name)
                if (loop.time() - since_s) * 1_000 > JOB_PAUSE_MS_MAX:
                    pause_ms = JOB_PAUSE_MS  # it had come to work
                await asyncio.sleep(pause_ms / 1_000)
                pause_ms = min(pause_ms * 2, JOB_PAUSE_MS_MAX)
            else:
                return

    tasks = [asyncio.create_task(keep(name, job), name=name) for name, job in jobs.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def http(parts: KeeperParts, doors: list[socket.socket]) -> AsyncIterator["asyncio.Future[None]"]:
    """Serve HTTP inside the block, where there is any; gives what is done when it has ended by itself."""
    if parts.app is None:
        yield asyncio.get_running_loop().create_future()
        return
    settings = uvicorn.Config(
        parts.app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        http=Http,
        limit_concurrency=HTTP_CONNECTIONS_MAX,
        timeout_keep_alive=HTTP_IDLE_S,
        timeout_graceful_shutdown=int(STOP_S),
        proxy_headers=bool(parts.proxies),
        forwarded_allow_ips=list(parts.proxies),
        ssl_context_factory=(lambda _config, _default: tls) if (tls := parts.tls) is not None else None,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_ours)
    server = _Server(settings)
    serving = asyncio.create_task(server.serve(sockets=doors))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.005)
    try:
        yield serving
    finally:
        server.should_exit = True
        await serving


async def keep(
    parts: KeeperParts,
    counters: Counters,
    doors: list[socket.socket],
    channel: socket.socket,
    stop: asyncio.Event,
) -> None:
    """Serve HTTP and run the jobs until `stop` is set or the supervisor has gone."""
    ready = counters.index("ocs_process_ready")
    counters.cells[counters.index("ocs_process_starts_total")] += 1
    loop = asyncio.get_running_loop()
    loop.add_reader(channel.fileno(), stop.set)  # nothing is ever said to us: it is the end
    async with running(parts.jobs, parts.log, counters), http(parts, doors) as serving:
        stopping = asyncio.create_task(stop.wait())
        report_process(counters)
        counters.cells[ready] = 1
        say(channel, READY)
        while not stop.is_set() and not serving.done():
            report_process(counters)
            say(channel, _ALIVE)
            await asyncio.wait((serving, stopping), timeout=1, return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(channel.fileno())
        stopping.cancel()
    counters.cells[ready] = 0


def run_keeper(
    start: Start,
    build: BuildKeeper,
    doors: list[socket.socket],
    channel: socket.socket,
    parent_pid: int,
) -> None:
    """Be the keeper or the door: the target of its process. `build` is importable, and runs in this process's event loop."""
    child.begin(parent_pid)

    async def serve(stop: asyncio.Event) -> None:
        counters = Counters(start.folder, start.name)
        with child.told(channel, start.name):
            start.check()
            parts = await build(start, counters)
        os.nice(parts.nice)
        gc.collect()
        gc.freeze()  # the application is there for good: no collection looks at all of it again
        try:
            await keep(parts, counters, doors, channel, stop)
        finally:
            with suppress(Exception):
                await parts.close()

    child.run(serve)
