"""The supervisor: the first process. It listens, starts workers, keeper and door, keeps them alive, and ends them in order.

Laws
1. It charges nothing and serves no HTTP, so it has little to fail at; when it dies all the same, its children die with it.
2. A process that died is started again, after a pause that doubles while it keeps dying.
3. SIGTERM: stop accepting, drain the workers, end the keeper, then the door (health and metrics are there to the last), exit 0.
4. It prints nothing: what there is to tell goes to `on_ready`, to the log, and into the exit code.
5. A start that fails ends the whole server, with the reason of the process that could not start; so does a job or a watch
   of its own that ends. A process that cannot start later, in a rolling restart (roll.py), ends nothing but that.
6. Workers, keeper and door have one place more than there are of them: a successor starts beside the one that it will replace.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from ocs.limits import WORKER_READY_MS_MAX, WORKER_SILENT_MS_MAX, WORKER_STARTS_MS_MAX, WORKER_STARTS_MS_MIN
from ocs.server import counters
from ocs.server.acceptor import Acceptor, Door, listen
from ocs.server.channel import READY, Load, Start, StartFault, hear, pair
from ocs.server.child import widen
from ocs.server.counters import Counters
from ocs.server.families import OF_SUPERVISOR
from ocs.server.keeper import STOP_S, BuildKeeper, run_keeper
from ocs.server.log import Log
from ocs.server.roll import DOOR, KEEPER, WORKER, Renewal, Roll, run_judge
from ocs.server.worker import BuildWorker, run_worker

_GRACE_S: Final = 5.0  # beyond the time to drain, before SIGKILL
_WATCH_MS: Final = 20

Job = Callable[[Counters], Awaitable[None]]
"""What runs as long as the supervisor: it counts its own faults and never ends; one that does ends the server."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Where to listen, and what processes are told; port 0 picks a free one, `tls_port` None is no TLS."""

    host: str
    port: int
    tls_port: int | None
    http_host: str
    http_port: int
    workers: int
    counters_folder: Path
    handed: Any = None
    drain_s: float = 10.0


class Places(NamedTuple):
    """Where the server listens: (host, port) of each."""

    diameter: tuple[str, int]
    tls: tuple[str, int] | None
    http: tuple[str, int]


class Child:
    """One process that is kept alive; `trial` is there until it is known whether it can start in a rolling restart."""

    __slots__ = (
        "channel", "kind", "leaving", "name", "number", "pause_ms", "process", "ready", "silent_ms", "since_s", "target", "trial",
    )  # fmt: skip

    def __init__(self, kind: str, start: Start, target: Callable[[socket.socket], SpawnProcess]) -> None:
        self.kind = kind
        self.name = start.name
        self.number = start.number
        self.target = target
        self.process: SpawnProcess | None = None
        self.channel: socket.socket | None = None
        self.ready = False
        self.leaving = False
        self.trial: asyncio.Future[StartFault | None] | None = None
        self.since_s = 0.0
        # Since its last report, in turns of the watch: a time for which the supervisor itself stood still is no silence.
        self.silent_ms = 0
        self.pause_ms = WORKER_STARTS_MS_MIN

    def settle(self, fault: StartFault | None) -> None:
        """Note whether it could start, for whoever waits for that; the first word counts."""
        if self.trial is not None and not self.trial.done():
            self.trial.set_result(fault)

    @property
    def pid(self) -> int:
        """The pid of the process, 0 when there is none."""
        return (self.process.pid or 0) if self.process is not None and self.process.is_alive() else 0


class Supervisor:
    """Starts, watches and ends; one per server."""

    def __init__(
        self,
        config: ServeConfig,
        *,
        build_worker: BuildWorker,
        build_keeper: BuildKeeper,
        build_door: BuildKeeper,
        log: Log,
        on_ready: Callable[[Places], None],
        jobs: tuple[Job, ...] = (),
        renewal: Renewal | None = None,
    ) -> None:
        self._config = config
        self._build_worker = build_worker
        self._build_keeper = build_keeper
        self._build_door = build_door
        self._log = log
        self._on_ready = on_ready
        self._jobs = jobs
        self._renewal = renewal
        self._spawn = multiprocessing.get_context("spawn")
        self._stop: asyncio.Event | None = None
        self._stopping = False
        self._announced = False
        self._places: Places | None = None
        self._http: list[socket.socket] = []
        self._acceptor: Acceptor | None = None
        self.fault: StartFault | None = None
        """Why the server could not start, for the command to tell."""
        self._handed = config.handed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rolling: asyncio.Task[None] | None = None
        first = [self.child(WORKER, number, self._handed) for number in range(config.workers)]
        first += [self.child(kind, 0, self._handed) for kind in (KEEPER, DOOR)]
        self.children: dict[str, Child] = {each.name: each for each in first}

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the exit code: 0, or that of the start that failed."""

        async def main() -> int:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            loop.add_signal_handler(signal.SIGHUP, self.ask_roll)
            return await self.serve()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())

    def stop(self) -> None:
        """Ask for the end; safe to call more than once."""
        self._stopping = True
        if self._stop is not None:
            self._stop.set()

    def ask_roll(self) -> None:
        """Ask for a rolling restart, also from a signal's handler; what becomes of it is in the log."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_roll)

    def _begin_roll(self) -> None:
        asyncio.ensure_future(self.roll()).add_done_callback(self._rolled)

    def _rolled(self, asked: "asyncio.Future[None]") -> None:
        """Say in the log what kept a rolling restart that a signal has asked for from its end: nobody else hears it."""
        if not asked.cancelled() and (fault := asked.exception()) is not None:
            self._log.error("the rolling restart that was asked for is not done", why=str(fault))

    async def roll(self) -> None:
        """Replace every process by one that starts as things are on disk by now (roll.py); raises StartFault with why it has stopped."""
        if self._renewal is None or not self._announced or self._stopping:
            raise StartFault("the server does not serve, or not any more", 3)
        if self._rolling is not None and not self._rolling.done():
            raise StartFault("a rolling restart is under way already", 3)
        rolling = self._rolling = asyncio.ensure_future(Roll(self, self._renewal, self._log).run())
        await asyncio.wait((rolling,))
        if rolling.cancelled():
            raise StartFault("the server was asked to end while it was under way", 3)
        rolling.result()

    async def serve(self) -> int:
        """Listen, start everything, wait for `stop`, end everything; the exit code."""
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self._stopping:
            self._stop.set()
        widen()
        try:
            self._listen()
        except OSError as error:
            self.fault = StartFault(f"cannot listen: {error.strerror or error}", 2)
            return self.fault.exit_code
        self._config.counters_folder.mkdir(parents=True, exist_ok=True)
        counters.forget(self._config.counters_folder)
        counted = Counters(self._config.counters_folder, "supervisor", OF_SUPERVISOR)
        tasks = [asyncio.ensure_future(job(counted)) for job in self._jobs]
        try:
            for child in self.children.values():
                self._start(child)
            watch = asyncio.create_task(self._watch())
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait((stopped, watch, *tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in (watch, *tasks):
                if task.done():  # nobody would start again what dies: better an end that is seen
                    why = task.exception() or "one of its jobs ended"
                    self._log.error("the supervisor failed", why=repr(why))
                    self.fault = self.fault or StartFault(f"the supervisor failed: {why!r}")
            watch.cancel()
            stopped.cancel()
            self._stopping = True
            if self._rolling is not None:
                self._rolling.cancel()
            await self._end()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._kill(tuple(self.children.values()))
            for door in self._http:
                door.close()
        return self.fault.exit_code if self.fault is not None else 0

    # ------------------------------------------------------------------ beginning

    def _listen(self) -> None:
        config = self._config
        plain = listen(config.host, config.port)
        try:
            secured = listen(config.host, config.tls_port) if config.tls_port is not None else []
        except OSError:
            for door in plain:
                door.close()
            raise
        doors = tuple(Door(door, secured=False) for door in plain)
        doors += tuple(Door(door, secured=True) for door in secured)
        self._acceptor = Acceptor(doors, self._log, config.workers)
        try:
            self._http = listen(config.http_host, config.http_port)
        except OSError:
            self._acceptor.close()
            raise
        self._places = Places(_place(plain), _place(secured) if secured else None, _place(self._http))

    def child(self, kind: str, number: int, handed: Any) -> Child:
        """Make what keeps one process; nothing is started."""
        name = f"{kind}-{number}" if number or kind == WORKER else kind
        start = Start(name, number, self._config.counters_folder, handed)

        def target(channel: socket.socket) -> SpawnProcess:
            run, arguments = self._target(kind, start, channel)
            # daemon: whatever ends this process, the interpreter ends its children instead of waiting for them.
            return self._spawn.Process(target=run, args=arguments, name=name, daemon=True)

        return Child(kind, start, target)

    def _target(
        self, kind: str, start: Start, channel: socket.socket
    ) -> tuple[Callable[..., None], tuple[Any, ...]]:
        if kind == WORKER:
            return run_worker, (start, self._build_worker, channel, os.getpid())
        if kind == KEEPER:
            return run_keeper, (start, self._build_keeper, [], channel, os.getpid())
        if kind == DOOR:
            return run_keeper, (start, self._build_door, self._http, channel, os.getpid())
        assert self._renewal is not None
        return run_judge, (start, self._renewal.judge, channel, os.getpid())

    def _start(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = pair()
        try:
            process = child.target(theirs)
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child.ready = False
        child.since_s = loop.time()
        child.silent_ms = 0
        child.channel = ours
        child.process = process
        loop.add_reader(ours.fileno(), self._hear, child)
        self._log.info("process started", name=child.name, pid=process.pid)

    # ------------------------------------------------------------------ watching

    def _hear(self, child: Child) -> None:
        """Hear what a process reports; the end of its channel is its end."""
        assert child.channel is not None
        try:
            while (said := hear(child.channel)) is not None:
                self._note(child, said)
        except EOFError:
            self._silence(child)

    def _note(self, child: Child, said: bytes | Load | StartFault) -> None:
        if isinstance(said, Load):
            child.silent_ms = 0
            if self._acceptor is not None:
                self._acceptor.report(child.name, said)
        elif isinstance(said, StartFault):
            self._log.error("a process could not start", name=child.name, why=said.reason)
            child.settle(said)
            if not self._announced:
                self._fail(said)
        elif said == READY:
            child.ready = True
            child.settle(None)
            if child.kind == WORKER and self._acceptor is not None and child.channel is not None:
                self._acceptor.join(child.name, child.channel)
            if not self._announced and all(each.ready for each in self.children.values()):
                self._announced = True
                assert self._places is not None
                self._on_ready(self._places)

    def _silence(self, child: Child) -> None:
        """Let go of a channel whose other end is closed."""
        if child.channel is not None:
            asyncio.get_running_loop().remove_reader(child.channel.fileno())
            child.channel.close()
            child.channel = None
        if self._acceptor is not None:
            self._acceptor.leave(child.name)
        child.ready = False

    def _fail(self, fault: StartFault) -> None:
        self.fault = self.fault or fault
        self.stop()

    async def _watch(self) -> None:
        """Start again what has died, and end what does not become ready or reports no more."""
        while True:
            await asyncio.sleep(_WATCH_MS / 1_000)
            for child in tuple(self.children.values()):
                process = child.process
                if process is None or child.leaving:
                    continue
                if not process.is_alive():
                    self._died(child, process)
                elif not child.ready and self._age_s(child) * 1_000 > WORKER_READY_MS_MAX:
                    self._log.error("a process did not become ready", name=child.name, pid=process.pid)
                    process.kill()
                elif child.ready:
                    self._mind_silence(child, process)

    def _mind_silence(self, child: Child, process: SpawnProcess) -> None:
        """End a process that hangs: a worker's connections look alive, so that its peers would not go elsewhere."""
        child.silent_ms += _WATCH_MS
        if child.silent_ms > WORKER_SILENT_MS_MAX:
            self._log.error("a process reports no more", name=child.name, pid=process.pid)
            child.silent_ms = 0
            process.kill()

    def _age_s(self, child: Child) -> float:
        return asyncio.get_running_loop().time() - child.since_s

    def _died(self, child: Child, process: SpawnProcess) -> None:
        if child.channel is not None:
            self._hear(child)  # its last words
        self._silence(child)
        self._log.error("a process died", name=child.name, pid=process.pid, exit_code=process.exitcode)
        process.close()
        child.process = None
        self._zero(child)
        if child.trial is not None:
            child.settle(StartFault(f"{child.name} died while it started"))
            return
        if not self._announced:
            self._fail(StartFault(f"{child.name} died while it started", 1))
            return
        if self._age_s(child) * 1_000 > WORKER_STARTS_MS_MAX:
            child.pause_ms = WORKER_STARTS_MS_MIN
        self._start_later(child)

    def _zero(self, child: Child) -> None:
        """What it said of itself holds no more; a disk that is full must not keep its successor from starting."""
        try:
            counters.rest(self._config.counters_folder, child.name)
        except OSError as error:
            self._log.error("the gauges of a dead process stand", name=child.name, error=error.strerror)

    def _start_later(self, child: Child) -> None:
        asyncio.get_running_loop().call_later(child.pause_ms / 1_000, self._again, child)
        child.pause_ms = min(child.pause_ms * 2, WORKER_STARTS_MS_MAX)

    def _again(self, child: Child) -> None:
        if self._stopping or child.leaving or child.process is not None:
            return
        try:
            self._start(child)
        except OSError as error:  # no descriptor, no memory, no process: that passes
            self._log.error("a process could not be started again", name=child.name, error=error.strerror)
            self._start_later(child)

    # ------------------------------------------------------------------ what a rolling restart asks for

    def kept(self, kind: str) -> list[Child]:
        """Return the processes of a kind that are kept alive now, in the order of their places."""
        found = [child for child in self.children.values() if child.kind == kind and not child.leaving]
        return sorted(found, key=lambda child: child.number)

    def successor(self, kind: str, handed: Any) -> Child:
        """Make what keeps one more process of a kind, on the first place that is free."""
        taken = {child.number for child in self.children.values() if child.kind == kind}
        number = next(each for each in range(len(taken) + 1) if each not in taken)
        return self.child(kind, number, handed)

    async def bring_up(self, child: Child) -> None:
        """Start a process and wait until it is ready; one that does not come to that leaves nothing behind: raises StartFault."""
        child.trial = asyncio.get_running_loop().create_future()
        self.children[child.name] = child
        try:
            self._start(child)
            fault = await child.trial
        except OSError as error:
            fault = StartFault(f"{child.name} cannot be started: {error.strerror or error}")
        if fault is not None:
            child.leaving = True
            await self._kill((child,))
            self._zero(child)
            del self.children[child.name]
            raise fault
        child.trial = None

    async def retire(self, child: Child) -> None:
        """Let a process take leave: a worker gets no more connections, drains and ends; its place is free then."""
        child.leaving = True
        if self._acceptor is not None:
            self._acceptor.leave(child.name)
        await self._terminate(
            (child,), (STOP_S if child.kind in {KEEPER, DOOR} else self._config.drain_s) + _GRACE_S
        )
        self._zero(child)
        self.children.pop(child.name, None)

    # ------------------------------------------------------------------ the end

    async def _end(self) -> None:
        """Drain the workers, then end the keeper, then the door."""
        self._log.info("stopping")
        if self._acceptor is not None:
            self._acceptor.close()
        last = {KEEPER: STOP_S, DOOR: STOP_S}
        workers = tuple(child for child in self.children.values() if child.kind not in last)
        await self._terminate(workers, self._config.drain_s + _GRACE_S if self._announced else 0.0)
        for kind, wait_s in last.items():
            of_kind = tuple(child for child in self.children.values() if child.kind == kind)
            await self._terminate(of_kind, wait_s + _GRACE_S if self._announced else 0.0)

    async def _terminate(self, children: tuple[Child, ...], grace_s: float) -> None:
        for child in children:
            if child.process is not None and child.process.is_alive():
                child.process.terminate()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while any(child.pid for child in children) and loop.time() < end:  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.01)
        await self._kill(children)

    async def _kill(self, children: tuple[Child, ...]) -> None:
        for child in children:
            if child.process is None:
                continue
            process, child.process = child.process, None
            killed = process.is_alive()
            if killed:
                process.kill()
                process.join()
            self._silence(child)
            if killed:
                self._log.error("a process had to be killed", name=child.name, pid=process.pid)
            process.close()


def _place(doors: list[socket.socket]) -> tuple[str, int]:
    name = doors[0].getsockname()
    return str(name[0]), int(name[1])
