"""What stands on disk and on the stream: octets of a damaged file lead to a clear error or are set aside, never to an unhandled error.

The first octet says what the others are: a record of the stream, a file of the spool, a file of the archive, or the archive's notes.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgpack

from ocs import records
from ocs.balance import spool
from ocs.balance.archive_files import ArchiveFault, history, recover
from ocs.balance.entries import Entry
from ocs.charging.ask import TERMINATION, Ask, AskedService, Units
from ocs.names import SubscriberId
from tests.fuzz.wire import Loop, ModelBook

RECORD, SPOOL, ARCHIVE, NOTES = range(4)
_HEAD = struct.Struct("<II")
Blind = Callable[[bytes, int], bytes]
DAY = "2026-01-01"


def read(octets: bytes) -> None:
    """Read one input as what its first octet says."""
    if octets:
        _READERS[octets[0] % len(_READERS)](octets[1:])


def _record(octets: bytes) -> None:
    with suppress(records.RecordError):
        made = Entry("1-1", octets).record()
        assert isinstance(made, tuple)
        assert type(made.now_ms) is int
        assert isinstance(made.account, str)


def _spool(octets: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "worker-0-00000001.spool"
        path.write_bytes(octets)
        found = spool.read(path)
    loop = Loop()
    book = ModelBook(loop)
    for entry in found.entries:
        assert spool._row(entry)
        assert entry.at_ms >= 0
        book.charge(entry.ask, lambda _outcome: None, "via")
    loop.settle()


def _archive(octets: bytes) -> None:
    with TemporaryDirectory() as text:
        folder = Path(text)
        (folder / DAY).mkdir()
        (folder / DAY / "p000.rec.gz").write_bytes(octets)
        with suppress(ArchiveFault):
            recover(folder)
            for entry in history(folder, 0):
                with suppress(records.RecordError):
                    entry.record()


def _notes(octets: bytes) -> None:
    with TemporaryDirectory() as text:
        folder = Path(text)
        (folder / DAY).mkdir()
        (folder / DAY / "p000.rec.gz").write_bytes(gzip.compress(msgpack.packb(("1-1", b"\x90")), mtime=0))
        (folder / "place.json").write_bytes(octets)
        with suppress(ArchiveFault):
            recover(folder)
            list(history(folder, 0))


_READERS = (_record, _spool, _archive, _notes)


# ---------------------------------------------------------------- what it begins with


def _records() -> Iterator[list[Any]]:
    """A record of each kind as the library writes it."""
    line = ["", 1, 14, 5, 0, 5, 10_000, 10_000, 1_000_000, 10_000, "1", 10_000, 0]
    charge = ["a", 2, 1, 1, "s;1", 2, 1, 14, 0, "flat@1", 10, 5, 5, 1, "", "", 0, 0, 0]
    part = [1, 0, 3, 7, 0, 5, 5]
    yield [records.VERSION, records.Kind.CHARGE, *charge, 1, *line, *part]
    yield [records.VERSION, records.Kind.CHARGE, *charge, 2, *line, *line]
    yield [records.VERSION, records.Kind.EXPIRE, "a", 3, 1, "s;1", 5, 0, "", 0, 0, 10, 5, 0]
    yield [records.VERSION, records.Kind.TOPUP, "a", 4, 1, "shop", "1", 5, 0, 15, 5, 0]
    moved = ["a", 6, 1, 2, "shop", "1", "", "3 b", "goodwill", 5, 0, 0, 0, 0, 20, 5, 0]
    yield [records.VERSION, records.Kind.MOVED, *moved]
    yield [records.VERSION, records.Kind.MOVED, *moved, *[0, 7, 1, 0, 9, 100, 0, 0]]
    yield [records.VERSION, records.Kind.ACCOUNT, "a", 1, 1, 1, 1, 0, "profile", "", 0, 0, 0, 0]
    yield [records.VERSION, records.Kind.EPOCH, "", 0, 1, 2, "1-7", "0123456789abcdef"]
    rows = ["a", 5, 1, "bought", 5, "", 2, "", 0, 0, 15, 10, 0]
    yield [
        records.VERSION,
        records.Kind.ROWS,
        *rows,
        1,
        *[0, 7, 1, 0, 9, 100, 0, 0],
        *[0, 6, 1, 0, 1, 100, 100, 0],
    ]


def _spooled() -> bytes:
    service = AskedService("10", 10, None, Units(7), None)
    ask = Ask(
        TERMINATION,
        "s;1",
        2,
        "data",
        "32251@3gpp.org",
        (SubscriberId("e164", "491700000001"),),
        (service,),
        7,
        True,
        "h",
        "r",
    )
    return spool._row(spool.Entry(1_700_000_000_000, ask))


def seeds() -> tuple[bytes, ...]:
    """One good input of each kind, and of records one of each of theirs."""
    packed = [msgpack.packb(each, use_bin_type=False) for each in _records()]
    found = [bytes((RECORD,)) + each for each in packed]
    found.append(bytes((SPOOL,)) + _spooled() * 2)
    members = [_member([(f"1-{place + 1}", each)]) for place, each in enumerate(packed[:3])]
    found.append(bytes((ARCHIVE,)) + b"".join(members))
    found.append(bytes((NOTES,)) + b'{"0": ["1-1", "%s/p000.rec.gz", 30, "r"]}' % DAY.encode())
    return tuple(found)


def _member(entries: list[Any]) -> bytes:
    return gzip.compress(b"".join(msgpack.packb(each) for each in entries), mtime=0)


# ---------------------------------------------------------------- how it goes on

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, -(2**63), 2**53, 1.5, float("nan"), "", "x", b"\xff", [], {}, [[]], {"a": []}, "1-1", "0-0", "-",
    msgpack.Timestamp(0, 0), msgpack.ExtType(5, b"x"),
)  # fmt: skip


def mutate(octets: bytes, octets_max: int, seed: int, blind: Blind) -> bytes:
    """Change one value of what is packed and pack it again with its length and checksum right; else change octets blindly."""
    chance = Random(seed)
    if not octets or chance.random() < 0.25:
        return blind(octets, octets_max)
    kind, rest = octets[0] % len(_READERS), octets[1:]
    try:
        changed = (_change_packed, _change_spool, _change_archive, _change_blindly)[kind](rest, chance, blind)
    except (
        ValueError,
        TypeError,
        LookupError,
        struct.error,
        zlib.error,
        EOFError,
        OSError,
        RecursionError,
        OverflowError,
    ):
        return blind(octets, octets_max)
    found = bytes((kind,)) + changed
    return found if len(found) <= octets_max else octets


def _changed(value: Any, chance: Random) -> Any:
    """Change one value somewhere inside another."""
    if isinstance(value, list) and value and chance.random() < 0.9:
        at, what = chance.randrange(len(value)), chance.random()
        if what < 0.1:
            return value[:at] + value[at + 1 :]
        if what < 0.2:
            return [*value[:at], chance.choice(ODD), *value[at:]]
        return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    if isinstance(value, int) and chance.random() < 0.5:
        return value + chance.choice((-1, 1, 255, 2**31))
    return chance.choice(ODD)


def _unpacked(octets: bytes) -> Any:
    return msgpack.unpackb(octets, unicode_errors="surrogateescape", strict_map_key=False)


def _packed(value: Any) -> bytes:
    made: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return made


def _change_packed(octets: bytes, chance: Random, _blind: Blind) -> bytes:
    return _packed(_changed(_unpacked(octets), chance))


def _change_spool(octets: bytes, chance: Random, blind: Blind) -> bytes:
    rows, at = [], 0
    while at + _HEAD.size <= len(octets):
        length, _ = _HEAD.unpack_from(octets, at)
        rows.append(octets[at + _HEAD.size : at + _HEAD.size + length])
        at += _HEAD.size + length
    place = chance.randrange(len(rows))
    blindly = chance.random() < 0.2
    rows[place] = (
        blind(rows[place], len(rows[place]) + 8) if blindly else _change_packed(rows[place], chance, blind)
    )
    return b"".join(_HEAD.pack(len(each), zlib.crc32(each)) + each for each in rows)


def _change_archive(octets: bytes, chance: Random, blind: Blind) -> bytes:
    unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape")
    unpacker.feed(gzip.decompress(octets))
    entries = list(unpacker)
    place = chance.randrange(len(entries))
    if chance.random() < 0.5:
        entries[place] = _changed(entries[place], chance)
    else:
        entries[place][1] = _change_packed(entries[place][1], chance, blind)
    cut = chance.randrange(len(entries) + 1)
    return b"".join(_member(each) for each in (entries[:cut], entries[cut:]) if each or chance.random() < 0.2)


def _change_blindly(octets: bytes, _chance: Random, blind: Blind) -> bytes:
    return blind(octets, len(octets) + 16)
