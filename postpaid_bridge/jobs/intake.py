"""Intake of the stream: reads, takes in, acknowledges; ended anywhere and begun again, the end is the same.

Laws
1. The places are those of the database. What is acknowledged lets the stream forget, no more: it comes after the commit, and losing it costs a
   second reading.
2. Nothing is read ahead of the database: while it is away, or the stream, intake waits, tries again, and says so. The stream keeps what is not
   acknowledged, and then the archive does.
3. A hole is an alarm that stays (sql/usage.py, ``alarms``), and a metric; intake goes on behind it.
4. What was parked for want of a service is tried again every ``again_s``, before what is new.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError

from ocs.balance.archive_files import ArchiveFault
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.clock import Clock
from ocs.sql import reading, writing
from ocs.stream import START, Batch, Reader
from postpaid_bridge.sql import intake
from postpaid_bridge.sql.intake import Done, Rules

__all__ = ["Intake", "Progress", "Settings", "Totals", "cut"]

_AWAY = (OperationalError, InterfaceError, InternalError, IntegrityError)
"""The database is away, or another unit of work came between: the same again is right. Other faults are ours, and end intake."""

log = structlog.get_logger(__name__)


class Settings(NamedTuple):
    """How intake goes: the consumer group, records of one unit of work, how long to wait after a fault, and for services."""

    group: str = "postpaid-bridge"
    records_at_once: int = 4_000
    wait_s: float = 0.5
    wait_s_max: float = 15.0
    again_s: float = 30.0


class Progress(NamedTuple):
    """Where a catch-up is: totals, records a second since intake began, and how old the newest record was when it was taken in."""

    records: int
    lines: int
    records_per_s: float
    lag_ms: int


@dataclass(slots=True)
class Totals:
    """Totals since intake began, for metrics."""

    done: Done = field(default_factory=Done)
    commits: int = 0
    waits: int = 0
    """Times that the database or the stream was away."""
    fault: str = ""
    """What is away now; "" where nothing is."""
    lag_ms: int = 0
    caught_up: bool = False


class Intake:
    """Takes in the stream of all partitions; one for each group (its owner holds a lease)."""

    def __init__(
        self, engine: Engine, parts: Parts, archive: Path, rules: Rules, settings: Settings, clock: Clock
    ) -> None:
        self._engine = engine
        self._keys = parts.keys
        self._rules = rules
        self._settings = settings
        self._clock = clock
        self._reader = Reader(parts, archive, settings.group, clock)
        self._stopped = asyncio.Event()
        self._again_ms = 0
        self._begun_ms = clock.monotonic_ms()
        self._unacknowledged: dict[int, str] = {}
        self.totals = Totals()

    def stop(self) -> None:
        """Let ``run`` end behind the unit of work that it is at."""
        self._stopped.set()

    async def run(
        self, tell: Callable[[Progress], None] | None = None, *, until_done: bool = False
    ) -> Totals:
        """Take in until it is stopped, or (``until_done``) until there is nothing more; ``tell`` hears of each unit of work."""
        if not await self._patiently(self._open):
            return self.totals
        while not self._stopped.is_set():
            if not await self._patiently(self._try_again):
                break
            batches = await self._found()
            if batches:
                for work in cut(batches, self._settings.records_at_once):
                    await self._patiently(lambda found=work: self._take(found))  # type: ignore[misc]
                    if tell:
                        tell(self.progress)
                continue
            self.totals.caught_up = True
            self.totals.lag_ms = 0
            await self._acknowledge()
            pause_s = self._reader.pause_s
            if until_done and pause_s > 0:
                break
            await self._sleep(pause_s)
        return self.totals

    @property
    def progress(self) -> Progress:
        """Return where it is."""
        done = self.totals.done
        seconds = max(1, self._clock.monotonic_ms() - self._begun_ms) / 1000
        return Progress(done.records, done.lines, done.records / seconds, self.totals.lag_ms)

    # -- steps

    async def _open(self) -> None:
        """Take up where the database is; what it does not know begins at the start, whatever was acknowledged for another database."""
        nowhere = dict.fromkeys((each.partition for each in self._keys), START)
        await self._reader.open(START, nowhere | await asyncio.to_thread(self._places))

    def _places(self) -> dict[int, str]:
        with reading(self._engine) as look:
            return intake.places_of(look)

    async def _found(self) -> list[Batch]:
        """Return what is new, as much as one unit of work takes: several looks where they found little."""
        batches: list[Batch] = []
        most = self._settings.records_at_once
        while not self._stopped.is_set():
            found: list[Batch] = []

            async def look() -> None:
                found.extend(await self._reader.poll())  # noqa: B023 - done before the next one

            if batches:  # what was read is not to wait for a stream that is away
                try:
                    await look()
                except (StoreFault, ArchiveFault):
                    return batches
            elif not await self._patiently(look):
                return []
            batches += found
            if not found or sum(len(each.entries) for each in batches) >= most:
                return batches
        return batches

    async def _take(self, batches: list[Batch]) -> None:
        done = await asyncio.to_thread(self._work, batches)
        self._count(done)
        self.totals.lag_ms = max(0, self._clock.now_ms() - done.newest_ms) if done.newest_ms else 0
        for each in batches:
            if each.broken:
                log.error("usage.hole", **each.broken._asdict())
            if each.entries:
                self._unacknowledged[each.partition] = each.last_id
        await self._acknowledge()

    def _work(self, batches: list[Batch]) -> Done:
        with writing(self._engine) as work:
            return intake.take(work, self._rules, batches, self._clock.now_ms())

    async def _acknowledge(self) -> None:
        """Tell the stream how far it may forget; a stream that is away is told with the next ones (law 1)."""
        if not self._unacknowledged:
            return
        try:
            await self._reader.acknowledge(self._unacknowledged)
        except StoreFault as fault:
            log.warning("usage.not_acknowledged", fault=str(fault))
        else:
            self._unacknowledged = {}

    async def _try_again(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if self._again_ms and now_ms < self._again_ms:
            return
        after = 0
        while not self._stopped.is_set():
            done, after = await asyncio.to_thread(self._replay, after)
            self._count(done)
            if not after:
                break
        self._again_ms = now_ms + int(self._settings.again_s * 1000)

    def _replay(self, after: int) -> tuple[Done, int]:
        with writing(self._engine) as work:
            return intake.replay(work, self._rules, self._clock.now_ms(), after)

    def _count(self, done: Done) -> None:
        self.totals.done.add(done)
        self.totals.commits += 1
        if done.parked or done.doubles or done.alarms:
            log.warning(
                "usage.kept_for_a_human", parked=done.parked, doubles=done.doubles, alarms=done.alarms
            )

    # -- patience

    async def _patiently(self, step: Callable[[], "asyncio.Future[None] | object"]) -> bool:
        """Do a step until it is done, waiting longer after each fault of the database or the stream; False where it was stopped before."""
        wait_s = self._settings.wait_s
        while not self._stopped.is_set():
            try:
                await step()  # type: ignore[misc]
            except (*_AWAY, StoreFault, ArchiveFault) as fault:
                self.totals.waits += 1
                self.totals.fault = _told(fault)
                log.warning("usage.waiting", fault=self.totals.fault, seconds=wait_s)
                await self._sleep(wait_s)
                wait_s = min(wait_s * 2, self._settings.wait_s_max)
            else:
                self.totals.fault = ""
                return True
        return False

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return


def cut(batches: list[Batch], most: int) -> Iterator[list[Batch]]:
    """Deal batches out to units of work of so many records at most, in their order; a break comes with what is behind it."""
    work: list[Batch] = []
    room = most
    for batch in batches:
        rest = batch
        while len(rest.entries) > room:
            if room:
                work.append(rest._replace(entries=rest.entries[:room]))
                rest = rest._replace(entries=rest.entries[room:], broken=None)
            yield work
            work, room = [], most
        work.append(rest)
        room -= len(rest.entries)
    if work:
        yield work


def _told(fault: Exception) -> str:
    """Say what is away, without the statement and its values."""
    return str(fault.orig if isinstance(fault, DBAPIError) else fault).strip()[:200]
