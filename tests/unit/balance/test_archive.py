"""The archive: every record is on disk once before it leaves the stream, whatever dies in between."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocs.balance.archive import ArchiveFault, Archiver, history, read_places
from ocs.balance.audit import audit, rebuild
from ocs.balance.entries import Entry, entries
from ocs.balance.link import Displaced
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


# -- a store that is another than the one that was archived


@pytest.fixture
def server() -> Iterator[RealValkey]:
    """A server of the test's own: it is killed and restored."""
    with RealValkey() as started:
        yield started


def _archived(net: Network, folder: Path) -> Archiver:
    archiver = _archiver(net, folder)
    net.run(archiver.once(everything=True))
    archiver.close()
    return archiver


def _restart(net: Network, server: RealValkey) -> None:
    server.start()

    async def back() -> None:
        while not net.charged.store.ready:  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(0.01)

    net.run(back())
    net.charged.clock.keep_up()


def _back_up(net: Network, server: RealValkey) -> None:
    server.kill()
    shutil.copytree(server.folder / "appendonlydir", server.folder / "backup")
    _restart(net, server)


def _restore(net: Network, server: RealValkey) -> None:
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    shutil.copytree(server.folder / "backup", server.folder / "appendonlydir")
    _restart(net, server)


def _stream(net: Network) -> list[str]:
    stream = net.charged.parts.keys[net.partition].stream
    return [entry.id for entry in entries(net.execute("XRANGE", stream, "-", "+"))]


def _sessions(net: Network, name: str, count: int) -> None:
    for number in range(count):
        net.session(f"{name};{number}")


def test_a_restored_store_that_has_passed_its_archive_loses_no_record(
    server: RealValkey, tmp_path: Path
) -> None:
    """Same epoch, higher ids, another life: what is below the archive's place was never archived."""
    with network(server) as net:
        net.session("old;0")
        _archived(net, tmp_path)
        _back_up(net, server)
        _sessions(net, "lost", 4)
        _archived(net, tmp_path)
        _restore(net, server)
        _sessions(net, "new", 8)
        before = _stream(net)
        assert before[0] == "2-1"
        assert before[-1] > read_places(tmp_path)[net.partition].last_id

        archiver = _archived(net, tmp_path)

        assert _stream(net) == before
        assert "epoch 2 is of store process" in archiver.done.behind[net.partition]


def test_a_restored_store_that_was_restarted_before_the_archiver_came_loses_no_record(
    server: RealValkey, tmp_path: Path
) -> None:
    with network(server) as net:
        net.session("old;0")
        _archived(net, tmp_path)
        _back_up(net, server)
        _sessions(net, "lost", 4)
        _archived(net, tmp_path)
        _restore(net, server)
        _sessions(net, "new", 8)
        server.kill()
        _restart(net, server)
        net.session("newer;0")
        before = _stream(net)

        archiver = _archived(net, tmp_path)

        assert _stream(net) == before
        assert "epoch 2 is of store process" in archiver.done.behind[net.partition]


def test_an_epoch_that_goes_on_from_below_the_archive_loses_no_record(
    server: RealValkey, tmp_path: Path
) -> None:
    """The backup is of the archive's own epoch: what was archived after it is missing in the store."""
    with network(server) as net:
        net.session("old;0")
        _archived(net, tmp_path)
        net.session("old;1")
        ends = _stream(net)[-1]
        shutil.copytree(server.folder / "appendonlydir", server.folder / "backup")
        net.session("lost;0")
        _archived(net, tmp_path)
        _restore(net, server)
        net.session("new;0")
        before = _stream(net)

        archiver = _archived(net, tmp_path)

        assert _stream(net) == before
        assert f"epoch 2 goes on from {ends}" in archiver.done.behind[net.partition]


def test_a_restart_of_the_store_puts_nothing_behind(server: RealValkey, tmp_path: Path) -> None:
    with network(server) as net:
        for number in range(3):
            net.session(f"s;{number}")
            archiver = _archived(net, tmp_path)
            assert archiver.done.behind == {}
            assert _stream(net) == []
            server.kill()
            _restart(net, server)
        assert rebuild(tmp_path, net.partition).faults == []


def test_a_partition_that_is_behind_stays_so_until_a_human_removes_its_mark(
    server: RealValkey, tmp_path: Path
) -> None:
    with network(server) as net:
        net.session("old;0")
        _archived(net, tmp_path)
        _back_up(net, server)
        _sessions(net, "lost", 4)
        _archived(net, tmp_path)
        newest = server.folder / "newest"
        shutil.copytree(server.folder / "appendonlydir", newest)
        _restore(net, server)
        net.session("new;0")
        archiver = _archived(net, tmp_path)
        mark = tmp_path / f"p{net.partition:03d}.behind"
        assert str(mark) in archiver.done.behind[net.partition]
        _sessions(net, "new", 8)  # its ids pass those of the archive
        before = _stream(net)
        assert net.partition in _archived(net, tmp_path).done.behind
        mark.unlink()
        assert net.partition in _archived(net, tmp_path).done.behind, "the store is still another"

        mark.unlink()
        shutil.rmtree(server.folder / "backup")
        newest.rename(server.folder / "backup")
        assert _stream(net) == before
        _restore(net, server)
        net.session("again;0")
        archiver = _archived(net, tmp_path)

        assert archiver.done.behind == {}
        assert archiver.done.holes == 0
        assert _stream(net) == []


def test_a_store_that_is_restored_while_a_batch_is_written_is_not_trimmed(
    server: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched is of the life before; the ids of the new life say nothing."""
    with network(server) as net:
        net.session("old;0")
        kept = _stream(net)
        shutil.copytree(server.folder / "appendonlydir", server.folder / "backup")
        net.session("lost;0")
        archiver = _archiver(net, tmp_path)
        write = Archiver._write

        def slowly(self: Archiver, ripe: dict[int, list[Entry]]) -> None:
            write(self, ripe)
            server.kill()
            shutil.rmtree(server.folder / "appendonlydir")
            shutil.copytree(server.folder / "backup", server.folder / "appendonlydir")
            server.start()
            while not net.charged.store.ready:
                time.sleep(0.01)

        monkeypatch.setattr(Archiver, "_write", slowly)
        with pytest.raises(Displaced):
            net.run(archiver.once(everything=True))
        archiver.close()
        assert _stream(net) == kept
