"""A bill run done: in chunks, here (inline) or by workers (batch.py); ended anywhere and begun again, the bills are the same.

Laws
1. Everything that is known of a run stands in SQL. What is here can be killed at any instruction; whoever comes next goes on.
2. ``stop`` ends behind the chunk that is being done.
3. Where the database is away, the job waits and tries the same again, up to its patience; that is no account's fault.
"""

import secrets
import threading
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from ocs.clock import Clock
from ocs.sql import reading, writing
from postpaid_bridge.run import AccountState, OutlierRules, RunEvent, RunState
from postpaid_bridge.sql import numbering, planning, runs
from postpaid_bridge.sql.drafting import Terms
from postpaid_bridge.sql.execution import ChunkDone, Pauses, execute_chunk, preview_chunk
from postpaid_bridge.sql.runs import Run

__all__ = ["Conductor", "Pace", "Progress", "Workers", "approve"]

AWAY = (OperationalError, InterfaceError, InternalError)
"""The database is away, or has ended a deadlock: the same again is right."""
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Pace(NamedTuple):
    """How a run goes: accounts in a chunk, chunks that workers may have at once, pauses, and how long the database may be away."""

    chunk: int = 100
    chunks_out: int = 8
    poll_s: float = 0.2
    wait_s: float = 0.5
    wait_s_max: float = 15.0
    patience_s: float = 600.0
    pauses: Pauses = Pauses()
    outliers: OutlierRules = OutlierRules()


class Progress(NamedTuple):
    """Where a step of a run is: accounts done of all, parked, accounts a second since it began, and seconds left (None: not known yet)."""

    step: str
    done: int
    total: int
    parked: int
    per_s: float
    left_s: float | None


class Workers(Protocol):
    """Those who do chunks elsewhere."""

    def send(self, run: int, ids: list[int], owner: str) -> None:
        """Ask for a chunk to be done; what is lost on the way is asked for again when its lease is over."""
        ...


class Conductor:
    """Leads runs through their steps."""

    def __init__(
        self,
        engine: Engine,
        terms: Terms,
        clock: Clock,
        pace: Pace | None = None,
        *,
        workers: Workers | None = None,
        tell: Callable[[Progress], None] | None = None,
    ) -> None:
        self._engine = engine
        self._terms = terms
        self._clock = clock
        self._pace = pace or Pace()
        self._workers = workers
        self._tell = tell
        self._stopped = threading.Event()
        self._name = secrets.token_hex(6)
        self._chunks = 0

    def stop(self) -> None:
        """Let the step that is going on end behind its chunk (law 2)."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether it was stopped."""
        return self._stopped.is_set()

    # ------------------------------------------------------------ steps

    def preview(self, run: int, by: str) -> Run:
        """Draft every bill without keeping one, and keep what they come to in the run's own rows. Raises RunFault."""
        with reading(self._engine) as look:
            runs.allowed(look, run, RunEvent.PREVIEW)
            total = runs.counts(look, run).get(AccountState.PLANNED, 0)
        pace = self._pace
        meter = _Meter("preview", 0, total, self._clock, self._tell)
        after: str | None = ""
        while after is not None and not self.stopped:
            after = self._patiently(
                partial(preview_chunk, self._engine, run, after, pace.chunk, self._terms, pace.outliers)
            )
            meter.more(0 if after is None else pace.chunk)
        if self.stopped:
            return self._look(run)
        return self._step(run, RunEvent.PREVIEW, by)

    def execute(self, run: int, by: str) -> Run:
        """Bill all planned accounts; ends when none is planned any more: done, or parked. Raises RunFault."""
        found = self._step(run, RunEvent.EXECUTE, by)
        if found.state is not RunState.EXECUTING:
            return found
        with reading(self._engine) as look:
            counts = runs.counts(look, run)
        planned = counts.get(AccountState.PLANNED, 0)
        done = counts.get(AccountState.DONE, 0)
        meter = _Meter("execute", done, done + planned, self._clock, self._tell)
        while not self.stopped:
            taken = self._patiently(lambda: self._take(run))
            if taken and self._workers is None:
                made = self._patiently(partial(self._chunk, run, taken))
                meter.more(made.done + made.parked, made.parked)
            elif taken and self._workers is not None:
                self._workers.send(run, taken, self._owner)
            elif self._patiently(lambda: self._ended(run, by)):
                break
            else:
                self._wait(run)
            if self._workers is not None:
                self._count(run, meter)
        return self._look(run)

    def number(self, run: int, by: str) -> Run:
        """Give all drafts their numbers, in order of account numbers. Raises RunFault."""
        found = self._step(run, RunEvent.NUMBER, by)
        if found.state is not RunState.NUMBERING:
            return found
        with reading(self._engine) as look:
            total = runs.counts(look, run).get(AccountState.DONE, 0)
        meter = _Meter("number", 0, total, self._clock, self._tell)
        while not self.stopped:
            closed = self._patiently(
                lambda: numbering.number_chunk(
                    self._engine, run, self._pace.chunk, self._terms, self._clock.now_ms()
                )
            )
            meter.more(closed)
            if not closed:
                return self._step(run, RunEvent.NUMBERED, by)
        return self._look(run)

    def publish(self, run: int, day: date, by: str) -> Run:
        """Let customers see the bills, to be paid from ``day`` on within their days. Raises RunFault."""

        def once() -> Run:
            with writing(self._engine) as work:
                return numbering.publish(work, run, day, by, self._clock.now_ms())

        return self._patiently(once)

    def resume(self, run: int, by: str) -> Run:
        """Go on where a run was ended; what was parked is tried again. Raises RunFault."""
        if self._look(run).state is RunState.NUMBERING:
            return self.number(run, by)

        def again() -> Run:
            with writing(self._engine) as work:
                runs.resume(work, run, by, self._clock.now_ms())
                found = runs.run_of(work, run)
                planning.mend(work, found, self._terms.kinds)
                return found

        found = self._patiently(again)
        return self.execute(run, by) if found.state is RunState.EXECUTING else found

    # ------------------------------------------------------------ inside

    @property
    def _owner(self) -> str:
        return f"{self._name}-{self._chunks}"

    def _take(self, run: int) -> list[int]:
        """Return the rows of the next chunk under a lease of ours; none where there are none, or workers have enough."""
        pace, now_ms = self._pace, self._clock.now_ms()
        if self._workers is not None:
            with reading(self._engine) as look:
                if runs.leased(look, run, now_ms) >= pace.chunk * pace.chunks_out:
                    return []
        self._chunks += 1
        with writing(self._engine) as work:
            return runs.take(work, run, self._owner, pace.chunk, now_ms)

    def _chunk(self, run: int, ids: list[int]) -> ChunkDone:
        return execute_chunk(self._engine, run, ids, self._terms, self._pace.pauses, self._clock.now_ms())

    def _ended(self, run: int, by: str) -> bool:
        """Say that the run is executed, where no row is planned any more, or another has said or ended something."""
        now_ms = self._clock.now_ms()
        with writing(self._engine) as work:
            found = runs.held(work, run)
            if found.state is not RunState.EXECUTING:
                return True
            if runs.waiting_ms(work, run) is not None:
                return False
            runs.step(work, run, RunEvent.EXECUTED, by, now_ms)
            return True

    def _wait(self, run: int) -> None:
        with reading(self._engine) as look:
            free_ms = runs.waiting_ms(look, run)
        left_s = 0.0 if free_ms is None else (free_ms - self._clock.now_ms()) / 1000
        self._stopped.wait(min(max(left_s, 0.01), self._pace.poll_s))

    def _count(self, run: int, meter: "_Meter") -> None:
        with reading(self._engine) as look:
            counts = runs.counts(look, run)
        meter.at(counts.get(AccountState.DONE, 0), counts.get(AccountState.PARKED, 0))

    def _look(self, run: int) -> Run:
        with reading(self._engine) as look:
            return runs.run_of(look, run)

    def _step(self, run: int, event: RunEvent, by: str) -> Run:
        def once() -> Run:
            with writing(self._engine) as work:
                return runs.step(work, run, event, by, self._clock.now_ms())

        return self._patiently(once)

    def _patiently(self, act: Callable[[], _T]) -> _T:
        """Do something; while the database is away, wait and do it again (law 3)."""
        begun_ms, wait_s = self._clock.monotonic_ms(), self._pace.wait_s
        while True:
            try:
                return act()
            except AWAY as fault:
                gone_s = (self._clock.monotonic_ms() - begun_ms) / 1000
                if gone_s >= self._pace.patience_s or self.stopped:
                    raise
                log.warning("the database is away", fault=str(fault.orig)[:200], wait_s=wait_s)
                self._stopped.wait(wait_s)
                wait_s = min(wait_s * 2, self._pace.wait_s_max)


class _Meter:
    """Counts what a step has done, and tells."""

    def __init__(
        self, step: str, done: int, total: int, clock: Clock, tell: Callable[[Progress], None] | None
    ) -> None:
        self._step = step
        self._begun = done
        self._done = done
        self._total = total
        self._parked = 0
        self._clock = clock
        self._begun_ms = clock.monotonic_ms()
        self._tell = tell
        self.more(0)

    def more(self, count: int, parked: int = 0) -> None:
        """Count accounts."""
        self._parked += parked
        self._done = min(self._done + count, self._total)
        self._say()

    def at(self, done: int, parked: int) -> None:
        """Set where it is, as the rows say."""
        self._done, self._parked = min(done + parked, self._total), parked
        self._say()

    def _say(self) -> None:
        if self._tell is None:
            return
        gone_s = (self._clock.monotonic_ms() - self._begun_ms) / 1000
        per_s = (self._done - self._begun) / gone_s if gone_s > 0 else 0.0
        left_s = (self._total - self._done) / per_s if per_s > 0 else None
        self._tell(Progress(self._step, self._done, self._total, self._parked, per_s, left_s))


def approve(engine: Engine, run: int, event: RunEvent, day: date, by: str, now_ms: int) -> Run:
    """Approve that a run is executed, or numbered: then its bills are of ``day``. Raises RunFault."""
    values = {"bill_day": day, "bill_ms": now_ms} if event is RunEvent.APPROVE_NUMBER else {}
    with writing(engine) as work:
        return runs.step(work, run, event, by, now_ms, **values)
