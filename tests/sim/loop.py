"""Simulated time: an asyncio event loop that never waits, and programs inside it that can be killed at any instant.

Laws
1. No wall clock decides anything: time stands still while something is ready, and then jumps to the next timer.
2. Everything that a program has scheduled belongs to it (a context variable says whose it is); a program that is killed does not
   run one line more, not even a `finally`.
3. Work for threads (the spool's files) is done by the loop itself, at an instant of simulated time; a program that is killed
   meanwhile may have done it, or half of it.
4. What no program catches is kept in `defects`, and fails the seed.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

BEGINNING_MS = 1_780_000_000_000
"""The wall clock of the simulated world when a seed begins: a day in 2026."""

_START_S = 1_000.0
_OWNER: contextvars.ContextVar["Program"] = contextvars.ContextVar("owner")


class Stuck(Exception):
    """Nothing is ready and no timer runs: whatever is waited for will never come."""


class Program:
    """What lives and dies as one: a worker, the keeper, a network element."""

    def __init__(self, name: str, loop: "SimLoop") -> None:
        self.name = name
        self.loop = loop
        self.alive = True
        self.skew_ms = 0
        """By how much its wall clock is wrong."""
        self.context = contextvars.copy_context()
        self.context.run(_OWNER.set, self)
        self.at_death: list[Callable[[], None]] = []
        """What the rest of the world is told when it dies: its connections break."""
        self.errands: list[Errand] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a coroutine as this program."""
        return self.loop.create_task(work, context=self.context)

    def do(self, work: Callable[..., object], *arguments: Any) -> None:
        """Call something as this program, in the next turn."""
        self.loop.call_soon(work, *arguments, context=self.context)

    # -- its clocks (ocs/clock.py)

    def now_ms(self) -> int:
        return self.loop.wall_ms() + self.skew_ms

    def monotonic_ms(self) -> int:
        return int(self.loop.time() * 1_000)

    def monotonic_us(self) -> int:
        return int(self.loop.time() * 1_000_000)


class Errand:
    """Work that a program has given to a thread; ``words`` are what asyncio.to_thread was given: the function, then its arguments."""

    __slots__ = ("future", "words", "work")

    def __init__(self, work: Callable[[], Any], words: Any, future: "asyncio.Future[Any]") -> None:
        self.work = work
        self.words = words
        self.future = future


class _Leap:
    """In the place of a selector: there are no files to wait for, so that waiting is a leap in time."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is ready, and no timer runs")
        self._loop.leap(timeout)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class SimLoop(asyncio.BaseEventLoop):
    """The one loop of a seed; programs and the world between them share it."""

    _selector: Any
    _clock_resolution: float
    _ready: Any
    _scheduled: Any
    errand_s: ClassVar[float] = 0.002

    def __init__(self) -> None:
        super().__init__()
        self._now_s = _START_S
        self._selector = _Leap(self)
        self._clock_resolution = 1e-6
        self.defects: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.run_errand: Callable[[Program | None, Errand], Any] = lambda _owner, errand: errand.work()
        self.connect_out: Callable[[Any, Program], Coroutine[Any, Any, Any]] | None = None
        """Connects a program to the store."""
        self.set_exception_handler(self._note_defect)
        self.set_task_factory(self._task)

    # -- time

    def time(self) -> float:
        """Return simulated seconds; they never run backwards."""
        return self._now_s

    def leap(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds

    def wall_ms(self) -> int:
        """Return the true wall clock of the simulated world."""
        return BEGINNING_MS + int((self._now_s - _START_S) * 1_000)

    def elapsed_s(self) -> float:
        """Return seconds since the seed began."""
        return self._now_s - _START_S

    # -- what belongs to whom

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """As asyncio's; what a dead program schedules never runs."""
        if _is_dead(context):
            return _never(callback, args, self, context)
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """As asyncio's; what a dead program schedules never runs."""
        if _is_dead(context):
            return _never(callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def kill(self, program: Program) -> None:
        """End a program at once (kill -9); the world hears of it through its connections."""
        program.alive = False
        for handle in (*self._ready, *self._scheduled):
            if handle._context.get(_OWNER, None) is program:
                handle.cancel()
        for tell in program.at_death:
            tell()

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Do a thread's work at an instant of simulated time (law 3)."""
        errand = Errand(lambda: func(*args), getattr(func, "args", ()), self.create_future())
        owner = _OWNER.get(None)
        if owner is not None:
            owner.errands.append(errand)
        self.call_later(self.errand_s, self._run_errand, owner, errand)
        return errand.future

    def _run_errand(self, owner: Program | None, errand: Errand) -> None:
        if owner is not None:
            owner.errands.remove(errand)
        try:
            result = self.run_errand(owner, errand)
        except Exception as fault:  # noqa: BLE001 - it is whoever waits that hears of it
            if not errand.future.done():
                errand.future.set_exception(fault)
        else:
            if not errand.future.done():
                errand.future.set_result(result)

    # -- connections

    async def create_connection(self, protocol_factory: Any, *_place: Any, **_options: Any) -> Any:
        """Connect to the store: there is no other server that a program of ours calls."""
        assert self.connect_out is not None
        return await self.connect_out(protocol_factory(), _OWNER.get())

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **_options: Any) -> Any:
        """Make a connection of what a worker was handed (wire.py, Socket)."""
        await asyncio.sleep(0)
        protocol = protocol_factory()
        end = sock.wire.join(protocol, _OWNER.get(), sock.getpeername()[0])
        protocol.connection_made(end)
        return end, protocol

    # -- what asyncio wants of a loop

    _process_events: Any = staticmethod(lambda _events: None)  # there are no events of files

    def _write_to_self(self) -> None:
        """Nobody else could wake the loop."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """A worker's channel says nothing here: connections come from the simulated network."""

    def remove_reader(self, fd: Any) -> bool:
        """See add_reader."""
        return False

    def _task(self, loop: Any, coro: Any, context: Any = None) -> "asyncio.Task[Any]":
        made = asyncio.Task(coro, loop=loop, context=context)
        self.tasks.append(
            made
        )  # one that is dead is never collected while the seed runs: nothing of it may run
        return made

    def _note_defect(self, _loop: Any, told: dict[str, Any]) -> None:
        fault = told.get("exception")
        self.defects.append(f"{told.get('message')}: {fault!r}")

    def end(self) -> None:
        """Close for good; what still waits is dropped without a word."""
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._ready.clear()
        self._scheduled.clear()
        self.close()


def _is_dead(context: contextvars.Context | None) -> bool:
    owner = _OWNER.get(None) if context is None else context.get(_OWNER)
    return owner is not None and (not owner.alive or owner.loop.is_closed())


def _never(callback: Any, args: Any, loop: Any, context: Any) -> asyncio.Handle:
    handle = asyncio.Handle(callback, args, loop, context)
    handle.cancel()
    return handle
