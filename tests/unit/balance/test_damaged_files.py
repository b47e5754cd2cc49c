"""Octets of a damaged file lead to a clear error or are set aside: what the fuzzer found (tests/fuzz/rows.py)."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest

from ocs.balance import spool
from ocs.balance.archive_files import ArchiveFault, history, recover
from ocs.balance.entries import Entry
from ocs.records import VERSION, Kind, Moved, RecordError, Topup

TOPUP: list[Any] = [VERSION, Kind.TOPUP, "a", 4, 1, "shop", "1", 5, 0, 15, 5, 0]
MOVED: list[Any] = [
    VERSION, Kind.MOVED, "a", 4, 1, 2, "shop", "1", "", "", "goodwill", 5, 0, 0, 0, 0, 15, 5, 0, 0, 7, 1, 0, 9, 100, 0, 0
]  # fmt: skip
LINE: list[Any] = ["", 1, 14, 5, 0, 5, 10_000, 10_000, 1_000_000, 10_000, "1", 10_000, 0]
CHARGE: list[Any] = [
    VERSION, Kind.CHARGE, "a", 2, 1, 1, "s;1", 2, 1, 14, 0, "flat@1", 10, 5, 5, 1, "", "", 0, 0, 0, 1, *LINE
]  # fmt: skip
ENDED: list[Any] = [
    1_700_000_000_000, 3, "s;1", 2, "data", "32251@3gpp.org", [["e164", "491700000001"]], [["10", 10, None, [7, -1, -1], None, None]],
    7, True, "h", "r",
]  # fmt: skip


def changed(fields: list[Any], at: int, value: Any) -> list[Any]:
    at %= len(fields)
    return [*fields[:at], value, *fields[at + 1 :]]


def test_what_is_not_damaged_is_read() -> None:
    assert isinstance(Entry("1-1", msgpack.packb(TOPUP)).record(), Topup)
    assert Entry("1-1", msgpack.packb(CHARGE)).record().account == "a"
    moved = Entry("1-1", msgpack.packb(MOVED)).record()
    assert isinstance(moved, Moved)
    assert (moved.reason, moved.credited_micros, [row.amount for row in moved.rows]) == ("goodwill", 5, [100])


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x93\x01",
        msgpack.packb(7),
        msgpack.packb(None),
        msgpack.packb({"a": 1}),
        msgpack.packb([VERSION, [1]]),
        b"\x82\x90\x01\x81\x90\x01\x02",  # a map as the key of a map
        b"\xff" * 9,
        msgpack.packb(changed(TOPUP, 2, 7)),
        msgpack.packb(changed(MOVED, 5, 99)),
        msgpack.packb(changed(MOVED, 12, "5")),
        msgpack.packb(MOVED[:-1]),
        msgpack.packb(changed(MOVED, -1, "0")),
        msgpack.packb(changed(TOPUP, 4, "now")),
        msgpack.packb(changed(TOPUP, 7, 0.5)),
        msgpack.packb(changed(TOPUP, 7, None)),
        msgpack.packb(changed(CHARGE, 21, "one")),
        msgpack.packb(changed(CHARGE, 21, 0.5)),
        msgpack.packb(changed(CHARGE, 25, None)),
        msgpack.packb([*CHARGE, 1, 0, 3, 7, 0, 5, "5"]),
    ],
)
def test_octets_that_are_no_record_are_told_as_such(octets: bytes) -> None:
    with pytest.raises(RecordError):
        Entry("1-1", octets).record()


# ---------------------------------------------------------------- the archive


def archived(folder: Path, *entries: Any, notes: bytes | None = None) -> Path:
    path = folder / "2026-01-01" / "p000.rec.gz"
    path.parent.mkdir()
    path.write_bytes(b"".join(gzip.compress(msgpack.packb(each)) for each in entries))
    if notes is not None:
        (folder / "place.json").write_bytes(notes)
    return path


@pytest.mark.parametrize(
    "entry",
    [("x", b"r"), ("1", b"r"), (7, b"r"), ("1-1", "r"), "ab", ("1-1",), {"1-1": b"r", "1-2": b"r"}, 7],
)
def test_what_is_no_entry_of_an_archive_is_set_aside_with_all_behind_it(tmp_path: Path, entry: Any) -> None:
    path = archived(tmp_path, ("1-1", b"r"), entry)
    assert recover(tmp_path)[0].last_id == "1-1"
    assert [each.id for each in history(tmp_path, 0)] == ["1-1"]
    assert len(list(path.parent.glob("*.cut"))) == 1


@pytest.mark.parametrize(
    "notes",
    [b"", b"{", b"\xff", b"[]", b"7", b'{"x": []}', b'{"0": 7}', b'{"0": ["x", "f", 0, ""]}', b'{"0": ["1-1", 7, 0, ""]}',
     b'{"0": ["1-1", "f", "0", ""]}', b'{"0": ["1-1", "f", -1, ""]}', b"[" * 100_000],
)  # fmt: skip
def test_notes_of_an_archive_that_cannot_be_read_are_told_with_their_file(
    tmp_path: Path, notes: bytes
) -> None:
    archived(tmp_path, ("1-1", b"r"), notes=notes)
    with pytest.raises(ArchiveFault, match=r"place\.json: what is noted cannot be read"):
        recover(tmp_path)


@pytest.mark.parametrize("at", [2, 12, -8, -1])
def test_an_archive_that_is_damaged_where_it_was_noted_says_which_file_to_restore(
    tmp_path: Path, at: int
) -> None:
    path = archived(tmp_path, ("1-1", b"r" * 40))
    recover(tmp_path)
    octets = bytearray(path.read_bytes())
    octets[at] ^= 0xFF
    path.write_bytes(octets)
    with pytest.raises(ArchiveFault, match=r"p000\.rec\.gz: damaged"):
        list(history(tmp_path, 0))


# ---------------------------------------------------------------- the spool


def spooled(folder: Path, fields: Any) -> spool.Read:
    packed = msgpack.packb(fields)
    path = folder / "worker-0-00000001.spool"
    path.write_bytes(struct.pack("<II", len(packed), zlib.crc32(packed)) + packed)
    return spool.read(path)


def test_a_termination_that_was_spooled_is_read(tmp_path: Path) -> None:
    assert [each.ask.session_id for each in spooled(tmp_path, ENDED).entries] == ["s;1"]


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, "now"), (1, 4), (1, 1), (2, 7), (3, None), (4, 7), (6, [["e164"]]), (6, [["e164", 7]]), (6, 7), (7, [[]]), (8, "x"), (9, 1),
     (7, [["10", "10", None, None, None, None]]),
     (7, [["10", 10, None, [7, "x", 0], None, None]]), (7, [["10", 10, None, [2**63, 0, 0], None, None]]),
     (7, [["10", 10, None, [-7, 0, 0], None, None]]), (11, b"r")],
)  # fmt: skip
def test_a_whole_row_that_cannot_be_charged_keeps_its_file_and_hinders_no_other(
    tmp_path: Path, at: int, value: Any
) -> None:
    assert spooled(tmp_path, changed(ENDED, at, value)) == spool.Read([], 1)


def test_a_row_that_is_no_row_of_fields_is_counted_as_unread(tmp_path: Path) -> None:
    rows: list[Any] = [7, None, {}, []]
    assert [spooled(tmp_path, row) for row in rows] == [spool.Read([], 1)] * 4
