"""The archive: every record is on disk once before it leaves the stream, whatever dies in between."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocs.balance.archive import Archiver, history
from ocs.balance.archive_files import ArchiveFault, read_places
from ocs.balance.audit import audit, rebuild
from ocs.clock import SystemClock
from tests.charged_store import StillClock
from tests.real_valkey import RealValkey
from tests.unit.balance.books import Network, network


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


def _archiver(net: Network, folder: Path) -> Archiver:
    archiver = Archiver(net.charged.parts, folder, SystemClock())
    net.run(archiver.open())
    return archiver


def _ids(folder: Path, partition: int) -> list[str]:
    return [entry.id for entry in history(folder, partition)]


def test_what_is_archived_is_trimmed_and_every_balance_is_rebuilt(net: Network, tmp_path: Path) -> None:
    net.session()
    archiver = _archiver(net, tmp_path)

    written = net.run(archiver.once(everything=True))

    assert written > 4
    assert net.execute("XLEN", net.charged.parts.keys[net.partition].stream) == 0
    tail = rebuild(tmp_path, net.partition).tails[net.account.profile.account]
    book = net.book()
    assert tail[:4] == (book.sequence, book.credits_micros, book.posted_micros, book.pending_micros)
    assert net.run(audit(net.charged.parts, tmp_path)).faults == []
    archiver.close()


def test_records_come_in_order_over_many_batches_and_none_is_missing(net: Network, tmp_path: Path) -> None:
    archiver = _archiver(net, tmp_path)
    for number in range(5):
        net.session(f"s;{number}")
        net.run(archiver.once(everything=True))

    ids = _ids(tmp_path, net.partition)

    assert ids == [f"1-{number}" for number in range(1, len(ids) + 1)]
    assert archiver.done.holes == 0
    archiver.close()


def test_few_and_young_records_wait(net: Network, tmp_path: Path) -> None:
    net.session()
    archiver = _archiver(net, tmp_path)
    stream = net.charged.parts.keys[net.partition].stream
    net.execute("CONFIG", "RESETSTAT")

    assert net.run(archiver.once()) == 0

    assert archiver.done.lag[net.partition] == net.execute("XLEN", stream) > 4
    read = [
        line for line in net.execute("INFO", "commandstats").decode().split() if "cmdstat_xrange:" in line
    ]
    assert read == [], "what waits is counted, not read again and again"
    archiver.close()


def test_what_died_before_its_note_is_written_again_once(net: Network, tmp_path: Path) -> None:
    net.session("s;0")
    archiver = _archiver(net, tmp_path)
    net.run(archiver.once(everything=True))
    archiver.close()
    file = tmp_path / read_places(tmp_path)[net.partition].file
    with file.open("ab") as out:
        out.write(b"\x1f\x8b half a batch that nobody noted")
    net.session("s;1")

    again = _archiver(net, tmp_path)
    net.run(again.once(everything=True))

    assert _ids(tmp_path, net.partition) == [f"1-{number}" for number in range(1, 10)]
    assert rebuild(tmp_path, net.partition).faults == []
    assert [path.read_bytes() for path in tmp_path.glob("*/*.cut")] == [
        b"\x1f\x8b half a batch that nobody noted"
    ]
    again.close()


def test_a_batch_that_was_written_but_not_noted_is_taken_over(net: Network, tmp_path: Path) -> None:
    archiver = _archiver(net, tmp_path)
    net.session("s;0")
    net.run(archiver.once(everything=True))
    before = (tmp_path / "place.json").read_bytes()
    net.session("s;1")
    net.run(archiver.once(everything=True))  # trimmed from the stream, too
    archiver.close()
    (tmp_path / "place.json").write_bytes(before)

    again = _archiver(net, tmp_path)

    assert _ids(tmp_path, net.partition) == [f"1-{number}" for number in range(1, 10)]
    assert net.run(audit(net.charged.parts, tmp_path)).faults == []
    again.close()


def test_an_archive_without_its_notes_is_read_again_from_its_files(net: Network, tmp_path: Path) -> None:
    archiver = _archiver(net, tmp_path)
    for number in range(3):
        net.session(f"s;{number}")
        net.run(archiver.once(everything=True))
    archiver.close()
    (tmp_path / "place.json").unlink()

    again = _archiver(net, tmp_path)

    assert _ids(tmp_path, net.partition) == [f"1-{number}" for number in range(1, 13)]
    again.close()


def test_a_clock_that_steps_back_over_midnight_loses_no_record(net: Network, tmp_path: Path) -> None:
    clock = StillClock()
    archiver = Archiver(net.charged.parts, tmp_path, clock)
    net.run(archiver.open())
    net.session("s;0")
    net.run(archiver.once(everything=True))
    clock.wall_ms -= 86_400_000
    net.session("s;1")
    net.run(archiver.once(everything=True))
    archiver.close()

    _archiver(net, tmp_path).close()

    assert _ids(tmp_path, net.partition) == [f"1-{number}" for number in range(1, 10)]
    assert list(tmp_path.glob("*/*.cut")) == []


def test_another_stores_archive_is_refused(net: Network, tmp_path: Path) -> None:
    archiver = _archiver(net, tmp_path)
    archiver.close()
    net.execute("FLUSHALL")

    with pytest.raises(ArchiveFault, match="another store"):
        _archiver(net, tmp_path)


def test_of_two_servers_on_one_store_one_archives(net: Network, tmp_path: Path) -> None:
    net.session()
    first, second = _archiver(net, tmp_path / "one"), _archiver(net, tmp_path / "two")

    assert net.run(first.once(everything=True)) > 0
    net.session("s;2")
    assert net.run(second.once(everything=True)) == 0
    assert net.run(first.once(everything=True)) > 0
    first.close()
    second.close()


def test_a_file_that_is_shorter_than_noted_is_refused(net: Network, tmp_path: Path) -> None:
    net.session()
    archiver = _archiver(net, tmp_path)
    net.run(archiver.once(everything=True))
    archiver.close()
    file = tmp_path / read_places(tmp_path)[net.partition].file
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(ArchiveFault, match="restore the file"):
        _archiver(net, tmp_path)


def test_a_second_archiver_is_refused(net: Network, tmp_path: Path) -> None:
    archiver = _archiver(net, tmp_path)

    with pytest.raises(ArchiveFault, match="another archiver"):
        _archiver(net, tmp_path)
    archiver.close()


def test_a_hole_in_the_stream_is_counted(net: Network, tmp_path: Path) -> None:
    net.session()
    stream = net.charged.parts.keys[net.partition].stream
    net.execute("XDEL", stream, "1-3")
    archiver = _archiver(net, tmp_path)

    net.run(archiver.once(everything=True))

    assert archiver.done.holes == 1
    archiver.close()


def test_a_group_that_lags_keeps_its_records_on_the_stream(net: Network, tmp_path: Path) -> None:
    net.session()
    stream = net.charged.parts.keys[net.partition].stream
    net.execute("XGROUP", "CREATE", stream, "bridge", "0")
    net.execute("XREADGROUP", "GROUP", "bridge", "one", "COUNT", 2, "STREAMS", stream, ">")
    archiver = _archiver(net, tmp_path)

    net.run(archiver.once(everything=True))

    first = net.execute("XRANGE", stream, "-", "+")[0][0]
    assert first == b"1-1"  # delivered, but not acknowledged
    net.execute("XACK", stream, "bridge", "1-1", "1-2")
    net.session("s;2")
    net.run(archiver.once(everything=True))
    assert net.execute("XRANGE", stream, "-", "+")[0][0] == b"1-3"
    archiver.close()


# -- a disk that fails


def _is_archived(descriptor: int) -> bool:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith(".rec.gz")


def test_a_batch_that_was_never_synced_is_neither_noted_nor_trimmed(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel takes the pages for written: no later fsync would say otherwise."""
    net.session("s;0")
    archiver = _archiver(net, tmp_path)
    net.run(archiver.once(everything=True))
    noted = read_places(tmp_path)
    net.session("s;1")
    waiting = net.execute("XLEN", net.charged.parts.keys[net.partition].stream)
    sync = os.fsync

    def broken(descriptor: int) -> None:
        if _is_archived(descriptor):
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        net.run(archiver.once(everything=True))
    archiver.close()
    monkeypatch.undo()

    again = _archiver(net, tmp_path)
    net.run(again.once())

    assert read_places(tmp_path) == noted
    assert net.execute("XLEN", net.charged.parts.keys[net.partition].stream) == waiting
    net.run(again.once(everything=True))
    assert _ids(tmp_path, net.partition) == [f"1-{number}" for number in range(1, 10)]
    again.close()


def test_what_is_taken_over_is_synced_before_it_is_noted(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer may have been killed before its fsync: file, day and archive are synced, then the place is written."""
    net.session("s;0")
    archiver = _archiver(net, tmp_path)
    net.run(archiver.once(everything=True))
    archiver.close()
    name = read_places(tmp_path)[net.partition].file
    (tmp_path / "place.json").unlink()
    synced: list[str] = []
    sync = os.fsync

    def told(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", told)

    _archiver(net, tmp_path).close()

    before = synced[: synced.index("place.json.new")]
    assert {name, str(Path(name).parent), "."} <= set(before)


@pytest.mark.parametrize("failing", ["", "day"])
def test_a_file_whose_folder_could_not_be_synced_is_synced_by_the_next_try(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A file that is there already is not new, but its name may not be on disk yet."""
    net.session("s;0")
    archiver = _archiver(net, tmp_path)
    sync = os.fsync
    synced: list[Path] = []
    fails = True

    def broken(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        is_day = path.is_dir() and path != tmp_path
        if fails and path.is_dir() and is_day is bool(failing):
            raise OSError(5, "Input/output error")
        synced.append(path)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        net.run(archiver.once(everything=True))
    archiver.close()
    fails = False
    synced.clear()

    again = _archiver(net, tmp_path)
    net.run(again.once(everything=True))

    assert {tmp_path, (tmp_path / read_places(tmp_path)[net.partition].file).parent} <= set(synced)
    again.close()


def test_a_record_that_cannot_be_read_is_archived_all_the_same(net: Network, tmp_path: Path) -> None:
    net.session()
    archiver = _archiver(net, tmp_path)
    net.run(archiver.once(everything=True))
    stream = net.charged.parts.keys[net.partition].stream
    net.execute("XADD", stream, "2-1", "r", b"\xc1")  # where a new epoch would say what was before it

    assert net.run(archiver.once(everything=True)) == 1

    assert _ids(tmp_path, net.partition)[-1] == "2-1"
    assert (archiver.done.holes, net.execute("XLEN", stream)) == (1, 0)
    archiver.close()
