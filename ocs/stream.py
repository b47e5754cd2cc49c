"""The event stream for consumers outside charging: named groups, every partition in order, at least once, with ids.

Laws
1. Ids are <epoch>-<sequence>, in order in a partition. A consumer stores the id with what it made of the record, and acknowledges
   after its own commit; what was not acknowledged comes again, so that a repetition must be harmless.
2. A group's place lies on each stream (a consumer group whose last delivered id is what was acknowledged). The archiver keeps what
   a group has not acknowledged, within bounds (archive.py, law 5); who was cut goes on from the archive, without a gap or a double.
3. Ids that do not follow are a break, told with the batch behind it, once for each reading: records that are nowhere (MISSING), or records
   that were read and that the store of a new epoch does not know (UNDONE). Whoever reads takes it as an alarm. A new epoch without a
   loss is the record that it is.
4. Looks are pipelined, all of one turn in one write; a partition that had records comes first and soon, one that had none pauses
   for longer and longer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ocs import records
from ocs.balance.archive_files import START, Mark, next_batch, read_places
from ocs.balance.entries import Entry, entries, follows, order
from ocs.balance.keys import Keys
from ocs.balance.link import StoreError
from ocs.balance.parts import Parts
from ocs.clock import Clock
from ocs.limits import (
    STREAM_CHECK_MS,
    STREAM_PAUSE_MS_MAX,
    STREAM_PAUSE_MS_MIN,
    STREAM_POLL_MAX,
    STREAM_READ_MAX,
)

__all__ = [
    "NEWEST",
    "START",
    "Batch",
    "Break",
    "Entry",
    "Loss",
    "Reader",
    "Totals",
    "groups",
    "leave",
    "register",
]

NEWEST = "$"
"""As the place where a new group begins: behind all that is on the stream."""


class Loss(StrEnum):
    """What a break in the ids means."""

    MISSING = "missing"
    UNDONE = "undone"


class Break(NamedTuple):
    """Ids of a partition that do not follow: the last one that was read, and the next one that there is ("" where there is none yet)."""

    partition: int
    after: str
    next: str
    loss: Loss

    @property
    def id(self) -> str:
        """Return the same name whenever the break is met again."""
        return f"{self.partition}.{self.after}.{self.next or 'end'}"


class Batch(NamedTuple):
    """Records of one partition that follow one another; ``broken`` is a break right before the first, ``archived`` where they are from."""

    partition: int
    entries: tuple[Entry, ...]
    broken: Break | None = None
    archived: bool = False

    @property
    def last_id(self) -> str:
        """Return what is to be acknowledged when all of it is done; of a break without records, the place to go on from."""
        if self.entries:
            return self.entries[-1].id
        assert self.broken is not None
        return self.broken.next


@dataclass(slots=True)
class Totals:
    """Totals of a reader since its start, for metrics."""

    records: int = 0
    resumed: int = 0
    """Times that a partition was read from the archive, since the stream had gone on."""
    breaks: int = 0
    faults: int = 0
    """Looks at a partition that store or archive did not allow; each is made again."""


class _Look:
    """How far one partition was read, where its archive goes on, and when it is looked at next."""

    __slots__ = ("checked_ms", "due_ms", "mark", "pause_ms", "place", "recent", "resumes", "turn")

    def __init__(self, place: str) -> None:
        self.place = place
        self.due_ms = 0
        self.pause_ms = STREAM_PAUSE_MS_MIN
        self.recent = 0
        self.checked_ms = 0
        self.resumes = False
        self.turn = 0
        self.mark: Mark | None = None


class Reader:
    """Reads all partitions for one group; one at a time for each group (its owner holds a lease)."""

    def __init__(self, parts: Parts, archive: Path, group: str, clock: Clock) -> None:
        self._parts = parts
        self._archive = archive
        self._group = group
        self._now_ms = clock.monotonic_ms
        self._looks: dict[int, _Look] = {}
        self._turn = 0
        self.done = Totals()

    async def open(self, begin: str = NEWEST, places: Mapping[int, str] | None = None) -> None:
        """Take up the group where it has acknowledged, registering it at ``begin`` (NEWEST or START) where it is new.

        ``places`` are those that the consumer has stored itself, by partition: they count, and may be ahead of what was acknowledged.
        Raises StoreFault.
        """
        found = await register(self._parts, self._group, begin)
        self._looks = {
            partition: _Look((places or {}).get(partition, place)) for partition, place in found.items()
        }

    async def poll(self) -> list[Batch]:
        """Return what is new in the partitions whose turn it is, busy ones first; [] where there is nothing (``pause_s``).

        Each record is returned once by this object; open again to get what was not acknowledged. Raises StoreFault, ArchiveFault,
        after which the same call goes on.
        """
        now_ms = self._now_ms()
        due = [number for number, look in self._looks.items() if look.due_ms <= now_ms]
        quiet = [number for number in due if not self._looks[number].recent]
        busy = sorted(
            (number for number in due if self._looks[number].recent),
            key=lambda number: self._looks[number].turn,
        )
        batches: list[Batch] = []
        at_once = STREAM_POLL_MAX // STREAM_READ_MAX
        for start in range(0, len(busy), at_once):
            if sum(len(each.entries) for each in batches) >= STREAM_POLL_MAX:
                break
            await self._read_some(busy[start : start + at_once], STREAM_READ_MAX, batches)
        if quiet:  # most have nothing: all of them in one write, each with its share of what may be held
            share = max(1, min(STREAM_READ_MAX, STREAM_POLL_MAX // len(quiet)))
            await self._read_some(quiet, share, batches)
        self._turn += 1
        return batches

    @property
    def pause_s(self) -> float:
        """Return how long nothing is to be looked at."""
        soonest_ms = min((look.due_ms for look in self._looks.values()), default=0)
        return max(0, soonest_ms - self._now_ms()) / 1000

    async def acknowledge(self, places: Mapping[int, str]) -> None:
        """Note that all up to these ids, by partition, is done and committed. Raises StoreFault; ask again, or be told again."""
        keys = self._parts.keys
        await asyncio.gather(
            *(
                self._parts.store.execute(
                    keys[number].slot, "XGROUP", "SETID", keys[number].stream, self._group, place
                )
                for number, place in places.items()
            )
        )

    # -- one look

    async def _read_some(self, numbers: list[int], count: int, batches: list[Batch]) -> None:
        """Look at some partitions at once; what they have comes behind ``batches``."""
        found = await asyncio.gather(
            *(self._read(number, count) for number in numbers), return_exceptions=True
        )
        faults = [each for each in found if isinstance(each, BaseException)]
        for each in found:
            if isinstance(each, Batch):
                batches.append(each)
                self.done.records += len(each.entries)
                look = self._looks[each.partition]
                look.place = each.last_id  # only now: nothing is passed over where another partition failed
        self.done.faults += len(faults)
        for fault in faults:
            if not batches or not isinstance(fault, Exception):
                raise fault

    async def _read(self, number: int, count: int) -> Batch | None:
        look, keys = self._looks[number], self._parts.keys[number]
        if look.resumes:
            batch = await self._from_archive(number, look)
        else:
            after = await self._parts.store.execute(
                keys.slot, "XRANGE", keys.stream, f"({look.place}", "+", "COUNT", count
            )
            batch = await self._judged(number, look, entries(after))
        self._plan(look, len(batch.entries) if batch else 0, again=look.resumes or batch is not None)
        return batch

    def _plan(self, look: _Look, found: int, *, again: bool) -> None:
        """Say when a partition is looked at next: soon where it had records, at once where it is being read from the archive."""
        look.recent, look.turn = found, self._turn
        if again:
            look.pause_ms = STREAM_PAUSE_MS_MIN
            look.due_ms = 0
        else:
            look.due_ms = self._now_ms() + look.pause_ms
            look.pause_ms = min(look.pause_ms * 2, STREAM_PAUSE_MS_MAX)

    async def _judged(self, number: int, look: _Look, found: list[Entry]) -> Batch | None:
        """Make a batch of what the stream has behind a place, or go to the archive where it does not follow."""
        if not found:
            return await self._compared(number, look)
        if follows(look.place, found[0]):
            return Batch(number, _following(found))
        if await self._has_archived(number, look.place):
            look.resumes, look.mark = True, None
            self.done.resumed += 1
            return None
        return Batch(number, _following(found), self._broken(number, look.place, found[0]))

    async def _compared(self, number: int, look: _Look) -> Batch | None:
        """Compare the place with the stream's last id, now and then: all behind it may have gone to the archive, or never have been."""
        now_ms = self._now_ms()
        if look.checked_ms and now_ms - look.checked_ms < STREAM_CHECK_MS:
            return None
        keys = self._parts.keys[number]
        told = await self._parts.store.execute(keys.slot, "XINFO", "STREAM", keys.stream)
        last_id = dict(zip(told[::2], told[1::2], strict=True))[b"last-generated-id"].decode()
        if order(last_id) > order(look.place):
            if await self._has_archived(number, look.place):
                look.resumes, look.mark = True, None
                self.done.resumed += 1
            return None  # or it was written between the two looks
        look.checked_ms = now_ms
        if order(last_id) < order(look.place):
            self.done.breaks += 1
            return Batch(number, (), Break(number, look.place, last_id, Loss.UNDONE))
        return None

    async def _has_archived(self, number: int, place: str) -> bool:
        if not self._archive.is_dir():
            return False
        noted = (await asyncio.to_thread(read_places, self._archive)).get(number)
        return noted is not None and order(noted.last_id) > order(place)

    async def _from_archive(self, number: int, look: _Look) -> Batch | None:
        """Take the next batch of the archive; behind its end, go back to the stream."""
        found, look.mark = await asyncio.to_thread(next_batch, self._archive, number, look.place, look.mark)
        if not found:
            look.resumes, look.mark = False, None
            return None
        batch = _following(found)
        if len(batch) < len(found):  # the rest comes with the break before it
            look.mark = None
        whole = look.place == START or follows(look.place, found[0])
        broken = None if whole else self._broken(number, look.place, found[0])
        return Batch(number, batch, broken, archived=True)

    def _broken(self, number: int, place: str, entry: Entry) -> Break | None:
        if place == START:  # the records before were never for this reader
            return None
        self.done.breaks += 1
        return Break(number, place, entry.id, _loss(place, entry))


def _following(found: list[Entry]) -> tuple[Entry, ...]:
    """Return the first of these entries up to where one does not follow."""
    for place, (before, entry) in enumerate(pairwise(found), 1):
        if not follows(before.id, entry):
            return tuple(found[:place])
    return tuple(found)


def _loss(place: str, entry: Entry) -> Loss:
    """Tell what a break means: the store of the new epoch goes on from before the place, or records are missing."""
    try:
        record = entry.record()
    except records.RecordError:
        return Loss.MISSING
    undone = isinstance(record, records.Epoch) and order(record.last_id) < order(place)
    return Loss.UNDONE if undone else Loss.MISSING


async def _groups(parts: Parts, keys: Keys) -> dict[str, str]:
    """Return the groups of a stream, with what each has acknowledged."""
    try:
        told: list[Any] = await parts.store.execute(keys.slot, "XINFO", "GROUPS", keys.stream)
    except StoreError as fault:
        if "no such key" in fault.text:
            return {}
        raise
    rows = [dict(zip(each[::2], each[1::2], strict=True)) for each in told]
    return {row[b"name"].decode(): row[b"last-delivered-id"].decode() for row in rows}


async def register(parts: Parts, group: str, begin: str = NEWEST) -> dict[int, str]:
    """Register a group at ``begin`` where it is not yet; what it has acknowledged, by partition. Raises StoreFault."""

    async def one(keys: Keys) -> str:
        try:
            await parts.store.execute(keys.slot, "XGROUP", "CREATE", keys.stream, group, begin, "MKSTREAM")
        except StoreError as fault:
            if fault.code != "BUSYGROUP":
                raise
        return (await _groups(parts, keys))[group]

    found = await asyncio.gather(*(one(keys) for keys in parts.keys))
    return {keys.partition: place for keys, place in zip(parts.keys, found, strict=True)}


async def groups(parts: Parts) -> dict[str, dict[int, str]]:
    """Return all groups by name, with the id that each has acknowledged in each partition. Raises StoreFault."""
    found: dict[str, dict[int, str]] = {}
    for keys, told in zip(
        parts.keys, await asyncio.gather(*(_groups(parts, keys) for keys in parts.keys)), strict=True
    ):
        for name, place in told.items():
            found.setdefault(name, {})[keys.partition] = place
    return found


async def leave(parts: Parts, group: str) -> bool:
    """Let a group be no more: nothing is kept for it; whether there was one. Raises StoreFault."""
    known = (await groups(parts)).get(group, {})
    await asyncio.gather(
        *(
            parts.store.execute(
                parts.keys[number].slot, "XGROUP", "DESTROY", parts.keys[number].stream, group
            )
            for number in known
        )
    )
    return bool(known)
