"""A backup becomes a data folder again: as it was at its end, or as it was when the clock struck an instant.

Laws
1. Nothing is restored into a folder that holds anything. What is made stands beside it, and gets its name when it is whole.
2. The store is that of the instant: what it had written before that second, no transaction in part. The archive is cut to the last id of
   each of its streams, so that both go on as one history; what they hold beyond is undone.py's.
3. No id that was ever given is given again: every partition's epoch is put beyond all that are known of, and far enough beyond those that
   are not (limits.EPOCH_LEAP). The store's next process raises it, as after any restart, and its record names the last id before it.
"""

import asyncio
import gzip
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgpack

from ocs.balance.aof import FOLDER, MANIFEST, AofFile, commands_from, cut_before, whole, write_manifest
from ocs.balance.archive import STORE_KEY
from ocs.balance.archive_files import (
    NOWHERE,
    START,
    Place,
    one_member,
    read_places,
    sync_folder,
    write_durably,
    write_places,
)
from ocs.balance.backup import (
    AUDIT,
    CONFIG,
    ORIGIN_STATE,
    SPOOL,
    STORE,
    UNBILLED,
    VOUCHERS,
    Backup,
    BackupFault,
)
from ocs.balance.entries import Entry, order
from ocs.balance.keys import Keys, slot_of
from ocs.balance.parts import Parts
from ocs.balance.past import Generation, generations
from ocs.balance.profiles import read_profile
from ocs.balance.undone import Undone
from ocs.limits import EPOCH_LEAP

CONFIG_KEPT: Final = "config-of-backup"


class Cut(NamedTuple):
    """Where an instant lies: the base it is reached from, the increments up to it, and where the last of them ends."""

    generation: Generation
    increments: list[AofFile]
    end: int


def may_reach(backup: Backup, to_s: int | None) -> bool:
    """Tell at once whether an instant lies between the first base that a backup holds and its end."""
    if to_s is None:
        return True
    born = [each.born_s for each in generations(backup.path / STORE).listed]
    return min(born, default=to_s) < to_s <= backup.ends_ms // 1_000


def find_cut(backup: Backup, to_s: int | None) -> Cut:
    """Find an instant, or the backup's end; raises BackupFault where it is not covered, AofFault."""
    folder = backup.path / STORE
    there = generations(folder)
    if to_s is None:
        run = there.run(there.listed[-1])
        return Cut(there.listed[-1], run, whole(folder / run[-1].name))
    for generation in reversed(there.listed) if may_reach(backup, to_s) else ():
        if generation.born_s >= to_s:
            continue
        run = there.run(generation)
        for place, each in enumerate(run):
            if (end := cut_before(folder / each.name, to_s)) is not None:
                return Cut(generation, run[: place + 1], end)
        if run and run[-1].number == there.last:
            return Cut(generation, run, whole(folder / run[-1].name))
    raise BackupFault(f"{backup.name}: does not reach that instant")


def needed_octets(backup: Backup, cut: Cut) -> int:
    """Return about how much a restore writes: store, archive, spool, and as much as the archive for what is set aside at most."""
    names = {f"{STORE}/{each.name}" for each in (cut.generation.base, *cut.increments)}
    rest = sum(each.octets for name, each in backup.files.items() if not name.startswith(f"{STORE}/"))
    return rest + sum(backup.files[name].octets for name in names)


def lay(backup: Backup, cut: Cut, folder: Path) -> None:
    """Write the store's files up to the cut, what was kept beside it, Origin-State-Id and the configuration of then into a new folder."""
    live = folder / FOLDER
    live.mkdir(mode=0o700, parents=True)
    for each in (cut.generation.base, *cut.increments):
        shutil.copyfile(backup.path / STORE / each.name, live / each.name)
    with (live / cut.increments[-1].name).open("r+b") as last:
        last.truncate(cut.end)
    write_durably(live / MANIFEST, write_manifest([cut.generation.base, *cut.increments]).encode())
    for name in (SPOOL, UNBILLED, CONFIG, VOUCHERS, AUDIT):
        if (backup.path / name).is_dir():
            shutil.copytree(backup.path / name, folder / (CONFIG_KEPT if name == CONFIG else name))
    if (backup.path / ORIGIN_STATE).exists():
        shutil.copyfile(backup.path / ORIGIN_STATE, folder / ORIGIN_STATE)
    sync_folder(live)
    sync_folder(folder)


class Ends(NamedTuple):
    """Where a partition of the restored store stands: the last id of its stream, its epoch, calendar offset and process."""

    last_id: str
    epoch: int
    offset: str
    run_id: str


async def read_ends(parts: Parts, keys: Keys) -> Ends:
    """Ask a restored store, before anybody else does; raises StoreFault."""
    call = parts.store.execute
    part, run_id = await call(keys.slot, "MGET", keys.part, keys.run)
    epoch, _, offset = (part or b"0 0").decode().partition(" ")
    if not await call(keys.slot, "EXISTS", keys.stream):
        return Ends(START, int(epoch), offset, "")
    told = await call(keys.slot, "XINFO", "STREAM", keys.stream)
    last_id = dict(zip(told[::2], told[1::2], strict=True))[b"last-generated-id"].decode()
    return Ends(last_id, int(epoch), offset, (run_id or b"").decode())


async def settle(
    parts: Parts, source: Path, archive: Path, tail: Iterator[tuple[int, Entry]], undone: Undone
) -> None:
    """Cut the archive to the restored store, set aside what lies beyond, and put the epochs beyond it (laws 2 and 3).

    ``source`` is the archive as it is, ``archive`` where it is to be; ``tail`` what the store's own files hold beyond the cut.
    """
    ends = {keys.partition: await read_ends(parts, keys) for keys in parts.keys}
    named = await parts.store.execute(slot_of(STORE_KEY), "GET", STORE_KEY) is not None
    reached = {partition: each.last_id for partition, each in ends.items()}
    for later in await asyncio.to_thread(_cut_archive, source, archive, ends, named=named):
        for entry in later:
            reached[later.partition] = entry.id
            await undone.add(later.partition, entry)
    for partition, entry in tail:
        if order(entry.id) > order(reached[partition]):  # archived or not, each once
            reached[partition] = entry.id
            await undone.add(partition, entry)
    for keys in parts.keys:
        each = ends[keys.partition]
        if each.epoch:
            epoch = max(each.epoch, undone.epochs.get(keys.partition, 0)) + EPOCH_LEAP
            await parts.store.execute(keys.slot, "SET", keys.part, f"{epoch} {each.offset}")


def _cut_archive(source: Path, archive: Path, ends: dict[int, Ends], *, named: bool) -> list["_Later"]:
    """Copy an archive up to where the streams end; what lies behind, by partition. ``named``: the store has its archive's name."""
    if not source.is_dir():
        return []
    archive.mkdir(mode=0o700, parents=True)
    for name in ("archiver", "store") if named else ("archiver",):
        if (source / name).exists():
            shutil.copyfile(source / name, archive / name)
    marks = {int(mark.stem[1:]): mark for mark in source.glob("p*.behind")}
    places: dict[int, Place] = {}
    found = []
    for partition, place in read_places(source).items():
        later = _Later(source, archive, partition, place)
        found.append(later)
        if partition in marks:
            shutil.copyfile(marks[partition], archive / marks[partition].name)
        # ids of a partition that is behind are of another life: they say nothing about ours
        beyond = partition not in marks and order(place.last_id) > order(ends[partition].last_id)
        kept = later.cut(ends[partition]) if beyond else later.whole()
        if kept.last_id != START:
            places[partition] = kept
    write_places(archive, places)
    return found


class _Later:
    """The files of one partition of an archive, copied up to an id; iterated, the records behind it."""

    def __init__(self, source: Path, target: Path, partition: int, place: Place) -> None:
        self.partition = partition
        self._source, self._target, self._place = source, target, place
        names = [str(each.relative_to(source)) for each in source.glob(f"*/p{partition:03d}.rec.gz")]
        self._names = sorted(name for name in names if name <= place.file)
        self._beyond: list[tuple[str, int]] = []
        self._split: list[Entry] = []

    def whole(self) -> Place:
        """Copy all that is noted."""
        for name in self._names:
            self._copy(name, self._end(name))
        return self._place

    def cut(self, ends: Ends) -> Place:
        """Copy what is not behind an id, and tell the place of then: the archive is one with the stream there."""
        for at, name in reversed(list(enumerate(self._names))):
            first, _length = self._member(name, 0)
            if not first or order(first[0].id) > order(ends.last_id):
                self._beyond.insert(0, (name, 0))
                continue
            for before in self._names[:at]:
                self._copy(before, self._end(before))
            return self._cut_file(name, ends)
        return NOWHERE

    def _cut_file(self, name: str, ends: Ends) -> Place:
        """Copy the members of a file before an id, and of the one in which it lies what is not behind it."""
        at, end, last_id = 0, self._end(name), START
        found, length = self._member(name, at)
        while found and order(found[-1].id) <= order(ends.last_id):
            last_id, at = found[-1].id, at + length
            found, length = self._member(name, at) if at < end else ([], 0)
        target = self._copy(name, at)
        kept = [each for each in found if order(each.id) <= order(ends.last_id)]
        if kept:
            pairs = b"".join(msgpack.packb((each.id, each.octets)) for each in kept)
            with target.open("ab") as out:
                out.write(gzip.compress(pairs, compresslevel=1))
            last_id = kept[-1].id
        self._split = found[len(kept) :]
        if found and at + length < end:
            self._beyond.insert(0, (name, at + length))
        return Place(last_id, name, target.stat().st_size, ends.run_id)

    def __iter__(self) -> Iterator[Entry]:
        yield from self._split
        for name, start in self._beyond:
            at, end = start, self._end(name)
            while at < end:
                found, length = self._member(name, at)
                if not found:
                    raise BackupFault(f"{name}: the archive cannot be read from octet {at} on")
                yield from found
                at += length

    def _end(self, name: str) -> int:
        return self._place.octets if name == self._place.file else (self._source / name).stat().st_size

    def _member(self, name: str, at: int) -> tuple[list[Entry], int]:
        with (self._source / name).open("rb") as file:
            file.seek(at)
            return one_member(file)

    def _copy(self, name: str, octets: int) -> Path:
        target = self._target / name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        with (self._source / name).open("rb") as file, target.open("wb") as out:
            _copy_octets(file, out, octets)
        return target


def _copy_octets(file: BinaryIO, out: BinaryIO, octets: int) -> None:
    while octets and (chunk := file.read(min(octets, 1 << 20))):
        out.write(chunk)
        octets -= len(chunk)


def tail_of(backup: Backup, cut: Cut, keys: tuple[Keys, ...]) -> Iterator[tuple[int, Entry]]:
    """Read the records that the backup's own files of the store hold beyond the cut, in their order, by partition. Raises AofFault."""
    by_stream = {each.stream.encode(): each.partition for each in keys}
    there = generations(backup.path / STORE)
    last = cut.increments[-1].number
    for number in sorted(each for each in there.increments if each >= last):
        path = backup.path / STORE / there.increments[number].name
        for words in commands_from(path, cut.end if number == last else 0):
            if (
                len(words) == 5
                and words[0].upper() == b"XADD"
                and (partition := by_stream.get(words[1])) is not None
            ):
                yield partition, Entry(words[2].decode(), words[4])


async def number_of(parts: Parts, partition: int, path: str) -> str:
    """Return the number of a subscriber of the store; "" where it has none."""
    keys = parts.keys[partition]
    text = await parts.store.execute(keys.slot, "GET", keys.profile(path))
    return read_profile(text, path, partition, 0).msisdn if text is not None else ""


async def names_of(parts: Parts) -> AsyncIterator[str]:
    """Give the name of every key of the store that carries a partition's tag, by walking it. Raises StoreFault."""
    for master in parts.store.masters():
        cursor = b"0"
        while True:
            cursor, names = await parts.store.execute_at(
                master, "SCAN", cursor, "MATCH", "{*", "COUNT", 1_000
            )
            for name in names:
                yield name.decode(errors="surrogateescape")
            if cursor == b"0":
                break
