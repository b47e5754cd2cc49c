"""The archive: every record of every partition in compressed files by day, so that the stream can be trimmed.

Laws
1. A record leaves the stream only after it is on disk: written, flushed and fsynced, with its place noted.
2. Files grow by whole gzip members, one a batch. What stands behind the noted length when an archiver starts is taken
   over when it is whole and follows, else set aside; nothing is ever removed. Every record is there exactly once.
3. One archiver at a time: the folder carries a lock, the store a lease.
4. A hole in the ids is an alarm, kept in ``holes`` and shown by /metrics and ``ocs audit``; it never stops the archive.
5. A consumer group that lags keeps its records on the stream until the stream passes its limit, or the group has been silent
   for GROUP_SILENT_MS; then it is cut (it goes on from the archive, ocs/stream.py), and counted, once until it has caught up.
6. A folder holds the archive of one store, by the store's own random name; another store is refused.
7. A stream that does not go on from where its archive is (a store restored from old files, a replica that missed records)
   is neither archived nor trimmed, and stays so until a human removes its mark: its ids say nothing about its records.

Files and places: archive_files.py.
"""

import asyncio
import fcntl
import gzip
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack

from ocs.balance.archive_files import (
    NOWHERE,
    START,
    ArchiveFault,
    Place,
    append,
    epoch_of,
    history,
    recover,
    run_id_of,
    sync_folder,
    write_durably,
    write_places,
)
from ocs.balance.entries import Entry, entries, follows, order
from ocs.balance.keys import Keys, slot_of
from ocs.balance.link import LinkDown
from ocs.balance.parts import Parts
from ocs.clock import Clock
from ocs.limits import (
    ARCHIVE_BATCH,
    ARCHIVE_LEASE_MS,
    ARCHIVE_WAIT_MS_MAX,
    GROUP_SILENT_MS,
    STREAM_ENTRIES_MAX,
)
from ocs.records import Epoch

__all__ = ["START", "Archived", "Archiver", "history"]

STORE_KEY = "ocs:store"
"""Holds the random name that a store was given by its first archiver."""

LEASE_KEY = "ocs:archiver"

_AT_ONCE = 16


@dataclass(slots=True)
class Archived:
    """Totals of an archiver since its start, for metrics."""

    records: int = 0
    octets: int = 0
    trimmed: int = 0
    holes: int = 0
    groups_cut: int = 0
    behind: dict[int, str] = field(default_factory=dict)
    """Partitions of law 7, each with what a human has to know."""
    lag: dict[int, int] = field(default_factory=dict)


class Archiver:
    """Moves records from the streams to disk; start it once, in the keeper process."""

    __slots__ = (
        "_clock",
        "_cut",
        "_folder",
        "_held",
        "_leased",
        "_lock",
        "_name",
        "_parts",
        "_places",
        "_started",
        "_untrimmed",
        "_verified",
        "_waiting_since_ms",
        "done",
    )

    def __init__(self, parts: Parts, folder: Path, clock: Clock) -> None:
        self._parts = parts
        self._folder = folder
        self._clock = clock
        self._name = ""
        self._lock: int | None = None
        self._leased = False
        self._places: dict[int, Place] = {}
        self._untrimmed: set[int] = set()
        self._verified: dict[int, tuple[str, int]] = {}
        self._started: set[int] = set()
        self._held: dict[tuple[int, bytes], tuple[str, int]] = {}
        self._cut: set[tuple[int, bytes]] = set()
        self._waiting_since_ms: dict[int, int] = {}
        self.done = Archived()

    async def open(self) -> None:
        """Take the folder; raises ArchiveFault when another archiver has it, or when it belongs to another store."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as fault:
                raise ArchiveFault(f"{self._folder}: another archiver is at work here") from fault
            await self._identify()
            self._places = await asyncio.to_thread(recover, self._folder)
            self._untrimmed = set(self._places)  # who died after the note and before the cut left it to us
            self._read_marks()
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    async def _identify(self) -> None:
        """Compare the store's own name with the one that this folder was begun with (law 6)."""
        slot = slot_of(STORE_KEY)
        told = await self._parts.store.execute(slot, "SET", STORE_KEY, secrets.token_hex(8), "NX", "GET")
        told = told or await self._parts.store.execute(slot, "GET", STORE_KEY)
        name = self._folder / "archiver"
        if not name.exists():
            write_durably(name, secrets.token_hex(8).encode())
        self._name = name.read_text()
        noted = self._folder / "store"
        if not noted.exists():
            write_durably(noted, told)
        elif noted.read_bytes() != told:
            raise ArchiveFault(
                f"{self._folder}: holds the archive of another store; give this one an archive folder of its own"
            )

    def close(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def groups(self) -> list[tuple[Keys, ...]]:
        """The partitions in groups that are asked, written and trimmed together; a pass goes over all of them."""
        keys = self._parts.keys
        return [keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE)]

    async def once(self, *, everything: bool = False) -> int:
        """Go over all partitions once and write the batches that are ripe (or everything); returns records written."""
        written = 0
        for group in self.groups:
            written += await self.archive(group, everything=everything)
        if everything and written:
            return written + await self.once(everything=True)
        return written

    async def archive(self, group: tuple[Keys, ...], *, everything: bool = False) -> int:
        """Write the batches of one group that are ripe (or everything); returns records written."""
        if not await self._holds_lease():
            self.done.lag.clear()  # they are another's now
            self.done.behind.clear()
            self._leased = False
            return 0
        if not self._leased:
            self._read_marks()
            self._verified.clear()
            self._leased = True
        lives = dict(zip(group, await asyncio.gather(*map(self._life, group)), strict=True))
        found = await asyncio.gather(*(self._waiting(keys, life) for keys, life in lives.items()))
        keen = [
            keys
            for keys, waiting in zip(group, found, strict=True)
            if self._is_ripe(keys, waiting, everything=everything)
        ]
        batches = await asyncio.gather(*(self._fetch(keys, lives[keys]) for keys in keen))
        ripe = {keys.partition: batch for keys, batch in zip(keen, batches, strict=True) if batch}
        if ripe:
            await asyncio.to_thread(self._write, ripe)
        for keys, life in lives.items():
            if keys.partition in ripe or keys.partition in self._untrimmed - self.done.behind.keys():
                if await self._trim(keys, life):
                    self._untrimmed.discard(keys.partition)
                else:  # a group is behind: looked at again at the next pass
                    self._untrimmed.add(keys.partition)
        return sum(map(len, ripe.values()))

    async def _holds_lease(self) -> bool:
        """Take or renew the store's lease: of two servers on one store, one archives (law 3)."""
        store, slot = self._parts.store, slot_of(LEASE_KEY)
        holder = await store.execute(slot, "SET", LEASE_KEY, self._name, "NX", "GET", "PX", ARCHIVE_LEASE_MS)
        if holder is None:
            return True
        if holder.decode() != self._name:
            return False
        await store.execute(slot, "PEXPIRE", LEASE_KEY, ARCHIVE_LEASE_MS)
        return True

    def _place(self, keys: Keys) -> Place:
        return self._places.get(keys.partition, NOWHERE)

    async def _life(self, keys: Keys) -> str:
        """Return the run id of the process that serves a partition; all calls of one pass are made for it, or not at all."""
        store = self._parts.store
        if not store.incarnation(keys.slot):
            await store.execute(keys.slot, "PING")
        if not (life := store.incarnation(keys.slot)):
            raise LinkDown("the link came and went")
        return life

    async def _waiting(self, keys: Keys, life: str) -> int:
        """Return how many records of a partition are not archived; after a new epoch, those of that epoch (one at least)."""
        partition, place = keys.partition, self._place(keys)
        if partition in self.done.behind:
            if self._mark(partition).exists():
                return 0
            del self.done.behind[partition]  # a human has looked
            self._verified.pop(partition, None)
        if not (newest := await self._newest(keys, life)):
            return 0
        (epoch, number), (last_epoch, last) = newest, order(place.last_id)
        if self._verified.get(partition) != (life, epoch):
            why = await self._breach(keys, place, life) if partition in self._places else ""
            if why:
                await asyncio.to_thread(self._fall_behind, partition, why)
                return 0
            self._verified[partition] = life, epoch
        return number - last if epoch == last_epoch else max(1, number)

    async def _newest(self, keys: Keys, life: str) -> tuple[int, int] | None:
        """Return the id of a partition's last record, None where its stream is empty."""
        newest = await self._parts.store.execute(
            keys.slot, "XREVRANGE", keys.stream, "+", "-", "COUNT", 1, incarnation=life
        )
        return order(newest[0][0].decode()) if newest else None

    async def _breach(self, keys: Keys, place: Place, life: str) -> str:
        """Tell why a stream does not go on from its place (law 7), "" when it does; asked once a life and epoch."""
        last_epoch, last = order(place.last_id)
        call = self._parts.store.execute
        # before the newest id: an epoch may begin at any moment, and where none has begun by then, this was the newest one's
        now_served_by = (await call(keys.slot, "GET", keys.run, incarnation=life) or b"").decode()
        if not (newest := await self._newest(keys, life)):
            return ""  # another has archived and trimmed it
        if newest < (last_epoch, last):
            return f"the stream ends at {newest[0]}-{newest[1]}, the archive at {place.last_id}"
        first = f"{last_epoch}-1"
        begun = _begun(await call(keys.slot, "XRANGE", keys.stream, first, first, incarnation=life))
        run_id = begun.run_id if begun else ""
        if not begun and newest[0] == last_epoch:  # its record was trimmed
            run_id = now_served_by
        if run_id and place.run_id and run_id != place.run_id:
            return f"epoch {last_epoch} is of store process {run_id}, in the archive of {place.run_id}"
        later = await call(
            keys.slot, "XRANGE", keys.stream, f"{last_epoch + 1}-0", "+", "COUNT", 1, incarnation=life
        )
        begun = _begun(later)
        if begun and order(begun.last_id) < (last_epoch, last):
            return f"epoch {begun.epoch} goes on from {begun.last_id}, the archive ends at {place.last_id}"
        return ""

    def _mark(self, partition: int) -> Path:
        return self._folder / f"p{partition:03d}.behind"

    def _read_marks(self) -> None:
        for mark in self._folder.glob("p*.behind"):
            self.done.behind[int(mark.stem[1:])] = mark.read_text(encoding="utf-8")

    def _fall_behind(self, partition: int, why: str) -> None:
        """Mark a partition before anything else is done with it (law 7)."""
        mark = self._mark(partition)
        told = (
            f"{why}; its records stay on the stream. Restore the store that the archive knows and remove {mark}, "
            "or give the store as it is an archive folder of its own"
        )
        write_durably(mark, told.encode())
        self.done.behind[partition] = told

    async def _fetch(self, keys: Keys, life: str) -> list[Entry]:
        after = await self._parts.store.execute(
            keys.slot,
            "XRANGE",
            keys.stream,
            f"({self._place(keys).last_id}",
            "+",
            "COUNT",
            ARCHIVE_BATCH,
            incarnation=life,
        )
        return entries(after)

    def _is_ripe(self, keys: Keys, waiting: int, *, everything: bool) -> bool:
        """Few and young records wait, so that a quiet partition does not cost an fsync each second."""
        partition = keys.partition
        self.done.lag[partition] = waiting
        if not waiting:
            self._waiting_since_ms.pop(partition, None)
            return False
        now_ms = self._clock.monotonic_ms()
        if partition not in self._waiting_since_ms:
            # the first wait is as long as the partition's place says: the disk gets them one after the other from then on
            early_ms = ARCHIVE_WAIT_MS_MAX * partition // len(self._parts.keys)
            first = partition not in self._started
            self._started.add(partition)
            self._waiting_since_ms[partition] = now_ms - (early_ms if first else 0)
        old = now_ms - self._waiting_since_ms[partition] >= ARCHIVE_WAIT_MS_MAX
        if everything or old or waiting >= ARCHIVE_BATCH:
            del self._waiting_since_ms[partition]
            return True
        return False

    def _write(self, ripe: dict[int, list[Entry]]) -> None:
        """Append one gzip member a partition, fsync, then note the places (law 1)."""
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).strftime("%Y-%m-%d")
        places = dict(self._places)
        fresh: set[Path] = set()
        for partition, batch in ripe.items():
            known = self._places.get(partition, NOWHERE)
            day = max(
                today, known.file[: len(today)]
            )  # files stay in the order of their records, whatever the clock
            path = self._folder / day / f"p{partition:03d}.rec.gz"
            path.parent.mkdir(exist_ok=True, mode=0o700)
            before = known.last_id
            for entry in batch:
                if before != START and not follows(before, entry):
                    self.done.holes += 1
                before = entry.id
            member = gzip.compress(
                b"".join(msgpack.packb((each.id, each.octets)) for each in batch), compresslevel=1
            )
            name = f"{day}/{path.name}"
            octets = append(path, member, known.octets if name == known.file else 0)
            if name != known.file:
                fresh |= {path.parent, self._folder}
            places[partition] = Place(before, name, octets, run_id_of(batch, known.run_id))
            self.done.records += len(batch)
            self.done.octets += len(member)
        for folder in fresh:
            sync_folder(folder)
        write_places(self._folder, places)
        self._places = places

    async def _trim(self, keys: Keys, life: str) -> bool:
        """Cut the stream behind the archive and behind every consumer group (law 5); False where a group keeps some of it."""
        archived = keep_from = _after(self._places[keys.partition].last_id)
        store = self._parts.store
        for group in await store.execute(keys.slot, "XINFO", "GROUPS", keys.stream):
            told = dict(zip(group[::2], group[1::2], strict=True))
            behind = _after(told[b"last-delivered-id"].decode())
            if told[b"pending"]:
                oldest = await store.execute(keys.slot, "XPENDING", keys.stream, told[b"name"], "-", "+", 1)
                behind = oldest[0][0].decode() if oldest else behind
            named = (keys.partition, told[b"name"])
            if order(behind) >= order(archived):
                self._held.pop(named, None)
                self._cut.discard(named)
            elif await self._is_cut(keys, named, behind):
                self.done.groups_cut += named not in self._cut
                self._cut.add(named)
            else:
                keep_from = min(keep_from, behind, key=order)
        self.done.trimmed += await store.execute(
            keys.slot, "XTRIM", keys.stream, "MINID", keep_from, incarnation=life
        )
        return keep_from == archived

    async def _is_cut(self, keys: Keys, group: tuple[int, bytes], behind: str) -> bool:
        """Tell whether a group that lags has been silent for too long, or keeps more than a stream may hold."""
        now_ms = self._clock.monotonic_ms()
        was, since_ms = self._held.get(group, ("", now_ms))
        if was != behind:
            since_ms = now_ms
        self._held[group] = behind, since_ms
        if now_ms - since_ms >= GROUP_SILENT_MS:
            return True
        return int(await self._parts.store.execute(keys.slot, "XLEN", keys.stream)) > STREAM_ENTRIES_MAX


def _begun(reply: list[Any]) -> Epoch | None:
    """Return the Epoch record that an XRANGE of one begins with."""
    return epoch_of(entries(reply)[0]) if reply else None


def _after(entry_id: str) -> str:
    epoch, sequence = order(entry_id)
    return f"{epoch}-{sequence + 1}"
