"""What the archive has on disk: files by day, and how far each partition has come.

Layout: <folder>/<YYYY-MM-DD>/p017.rec.gz, each a sequence of gzip members of MessagePack pairs (id, record octets);
<folder>/store, archiver: the names of store and folder; <folder>/place.json: for each partition the last id on disk, its file
and that file's length, and the run id of the store's process in whose epoch that was; <folder>/p017.behind: a mark of law 7.

Law: what is noted is on disk, whoever wrote it. A file, its folder and the archive's folder are fsynced before its place is noted.
"""

import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgpack

from ocs.balance.entries import Entry, order
from ocs.records import Epoch

START = "0-0"


class ArchiveFault(RuntimeError):
    """The archive's folder cannot be used as it is; the message says what is wrong and what would be right."""


class Place(NamedTuple):
    """How far a partition has come: the last id on disk, the file it is in, how long that file is then, and whose epoch it is.

    ``run_id`` is that of the Epoch record before ``last_id``; "" where the archive begins behind it.
    """

    last_id: str
    file: str
    octets: int
    run_id: str = ""


NOWHERE = Place(START, "", 0)


def epoch_of(entry: Entry) -> Epoch | None:
    """Return an entry's record when it begins an epoch, and can be read."""
    try:
        record = entry.record()
    except (ValueError, TypeError):
        return None
    return record if isinstance(record, Epoch) else None


def run_id_of(batch: list[Entry], before: str) -> str:
    """Return whose epoch the last of these records lies in: an epoch's first record says it."""
    for entry in reversed(batch):
        if order(entry.id)[1] == 1 and (begun := epoch_of(entry)):
            return begun.run_id
    return before


def recover(folder: Path) -> dict[int, Place]:
    """Read how far each partition has come, and take in what was written but not noted before the archiver died.

    Whole members whose records follow are taken over; what remains is set aside in a file ending in .cut, never removed.
    Without place.json everything is read again from the files. Raises ArchiveFault when a file is shorter than noted.
    """
    places = read_places(folder)
    synced: set[Path] = set()
    for path in sorted(folder.glob("*/*.rec.gz")):
        partition = int(path.name[1 : path.name.index(".")])
        name = str(path.relative_to(folder))
        known = places.get(partition, NOWHERE)
        if name < known.file:
            continue
        start = known.octets if name == known.file else 0
        if path.stat().st_size < start:
            raise ArchiveFault(
                f"{path}: {path.stat().st_size} octets where {start} were noted; restore the file"
            )
        last_id, run_id, end = _whole_members(path, start, known)
        if end < path.stat().st_size:
            _set_aside(path, end)
        if end > start:
            with path.open("rb") as taken:  # its writer may have died before the fsync, or of it
                os.fsync(taken.fileno())
            synced |= {path.parent, folder}
            places[partition] = Place(last_id, name, end, run_id)
    for each in synced:
        sync_folder(each)
    write_places(folder, places)
    return places


def append(path: Path, member: bytes, noted_octets: int) -> int:
    """Put a member at the end of a file, on disk; its length then. A file on which that fails is as long again as was noted.

    A page whose write failed counts as clean from then on: a later fsync would succeed and say nothing. So what may not
    be on disk does not stay in the file, where the next archiver would take it over.
    """
    with path.open("ab") as out:
        try:
            out.write(member)
            out.flush()
            os.fsync(out.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(path, noted_octets)
            raise
        return out.tell()


def _whole_members(path: Path, start: int, known: Place) -> tuple[str, str, int]:
    """Return last id, run id and end of the whole members behind ``start`` whose records follow the place that is known."""
    last_id, run_id = known.last_id, known.run_id
    with path.open("rb") as file:
        end = start
        while True:
            file.seek(end)
            found, length = one_member(file)
            if not found or order(found[0].id) <= order(last_id):
                return last_id, run_id, end
            last_id, run_id = found[-1].id, run_id_of(found, run_id)
            end += length


def one_member(file: BinaryIO) -> tuple[list[Entry], int]:
    """Read one gzip member where the file stands: its records and its length; none when it is not whole."""
    unzip = zlib.decompressobj(wbits=31)
    content, length = [], 0
    try:
        while not unzip.eof and (chunk := file.read(65_536)):
            content.append(unzip.decompress(chunk))
            length += len(chunk)
        if not unzip.eof:
            return [], 0
        unpacker = msgpack.Unpacker(io.BytesIO(b"".join(content)), raw=False, use_list=False)
        return [_entry(each) for each in unpacker], length - len(unzip.unused_data)
    except (zlib.error, ValueError, TypeError, msgpack.UnpackException):
        return [], 0


def _entry(pair: Any) -> Entry:
    """Make an entry of an unpacked pair; raises ValueError and TypeError for what is none."""
    if type(pair) is not tuple or tuple(map(type, pair)) != (str, bytes):
        raise TypeError("no pair of an id and a record")
    entry = Entry(*pair)
    order(entry.id)
    return entry


def _set_aside(path: Path, end: int) -> None:
    octets = path.read_bytes()
    aside = next(name for n in count() if not (name := path.with_name(f"{path.name}.{n}.cut")).exists())
    write_durably(aside, octets[end:])
    if end:
        os.truncate(path, end)
    else:
        path.unlink()


def read_places(folder: Path) -> dict[int, Place]:
    """Read how far each partition has come; an empty folder has come nowhere."""
    path = folder / "place.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
        places = {int(partition): Place(*place) for partition, place in content.items()}
        for place in places.values():
            _judge(place)
    except (ValueError, TypeError, AttributeError, RecursionError) as fault:
        right = "move it away, and all of it is read again from the files"
        raise ArchiveFault(f"{path}: what is noted cannot be read ({fault}); {right}") from fault
    return places


def _judge(place: Place) -> None:
    """Raise ValueError for what is no place."""
    if tuple(map(type, place)) != (str, str, int, str) or place.octets < 0:
        raise ValueError(f"{place} is no place")
    order(place.last_id)


def write_places(folder: Path, places: dict[int, Place]) -> None:
    """Note how far each partition has come, by one atomic rename."""
    write_durably(folder / "place.json", json.dumps(places).encode())


def write_durably(path: Path, octets: bytes) -> None:
    """Write a file so that it is there whole or not at all, whenever the machine dies."""
    draft = path.with_name(f"{path.name}.new")
    with draft.open("wb") as out:
        out.write(octets)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Fsync a folder: the names in it are on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def history(folder: Path, partition: int, since: str = "") -> Iterator[Entry]:
    """Read a partition's records from the archive, oldest first, up to what is noted; reads only.

    ``since`` is a day ("2026-12-01"): what was archived before it, and is older therefore, is left out.
    """
    place = read_places(folder).get(partition)
    if place is None:
        return
    for path in sorted(folder.glob(f"*/p{partition:03d}.rec.gz")):
        name = str(path.relative_to(folder))
        if name > place.file:
            return
        if name < since:
            continue
        with path.open("rb") as raw:
            octets = raw.read(place.octets if name == place.file else -1)
        yield from _read_again(path, octets)


class Mark(NamedTuple):
    """Where to go on reading a partition's files: a file's name, and octets of it that were read."""

    file: str
    octets: int


def next_batch(
    folder: Path, partition: int, after: str, mark: Mark | None = None
) -> tuple[list[Entry], Mark | None]:
    """Read the next of a partition's records behind an id, one batch of the archiver's, and where to go on; none behind what is noted.

    Without a mark the files are looked through for the id. Memory holds one batch. Raises ArchiveFault where a file is damaged.
    """
    place = read_places(folder).get(partition)
    if place is None or order(place.last_id) <= order(after):
        return [], mark
    names = [
        name
        for path in sorted(folder.glob(f"*/p{partition:03d}.rec.gz"))
        if (name := str(path.relative_to(folder))) <= place.file
    ]
    if not names:
        raise ArchiveFault(f"{folder}: has no file of partition {partition} up to {place.file}; restore it")
    mark = mark or Mark(_first_file(folder, names, after), 0)
    while True:
        path = folder / mark.file
        end = place.octets if mark.file == place.file else path.stat().st_size
        if mark.octets >= end:
            later = [name for name in names if name > mark.file]
            if not later:
                raise ArchiveFault(f"{path}: ends before {place.last_id}, which was noted; restore the file")
            mark = Mark(later[0], 0)
            continue
        with path.open("rb") as file:
            file.seek(mark.octets)
            found, length = one_member(file)
        if not found:
            raise ArchiveFault(f"{path}: damaged at octet {mark.octets}; restore the file")
        mark = Mark(mark.file, mark.octets + length)
        if fresh := [each for each in found if order(each.id) > order(after)]:
            return fresh, mark


def _first_file(folder: Path, names: list[str], after: str) -> str:
    """Return the newest file that begins at an id or before it; the first file where all begin behind it."""
    for name in reversed(names):
        with (folder / name).open("rb") as file:
            found, _ = one_member(file)
        if found and order(found[0].id) <= order(after):
            return name
    return names[0]


def _read_again(path: Path, octets: bytes) -> Iterator[Entry]:
    """Read the entries of a file, or of as much of it as is noted; raises ArchiveFault where they are damaged."""
    try:
        with gzip.open(io.BytesIO(octets)) as packed:
            unpacker = msgpack.Unpacker(packed, raw=False, use_list=False, max_buffer_size=2**31 - 1)
            for pair in unpacker:
                yield _entry(pair)
    except (OSError, EOFError, zlib.error, ValueError, TypeError, msgpack.UnpackException) as fault:
        raise ArchiveFault(f"{path}: damaged, a record cannot be read ({fault}); restore the file") from fault
