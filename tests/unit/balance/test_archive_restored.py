"""A store that is another than the one that was archived: restored from old files, or restarted; law 7 of the archive."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.archive import LEASE_KEY, Archiver
from ocs.balance.archive_files import read_places
from ocs.balance.audit import rebuild
from ocs.balance.entries import Entry, entries
from ocs.balance.link import Displaced
from ocs.balance.parts import Part
from ocs.balance.store import Store
from ocs.clock import SystemClock
from tests.real_valkey import RealValkey
from tests.unit.balance.books import Network, network


def _archiver(net: Network, folder: Path) -> Archiver:
    archiver = Archiver(net.charged.parts, folder, SystemClock())
    net.run(archiver.open())
    return archiver


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


def test_an_epoch_that_begins_while_the_archiver_looks_puts_nothing_behind(
    server: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first record of the archive's epoch is trimmed, and a worker begins the next one between two looks at the partition."""
    with network(server) as net:
        net.session("s;0")
        _archived(net, tmp_path)
        net.session("s;1")
        server.kill()
        _restart(net, server)
        archiver = _archiver(net, tmp_path)
        parts = net.charged.parts
        stream = parts.keys[net.partition].stream
        execute = type(parts.store).execute
        begun: list[Part] = []

        async def meanwhile(store: Store, slot: int, *asked: str | int | bytes, incarnation: str = "") -> Any:
            told = await execute(store, slot, *asked, incarnation=incarnation)
            if asked[:2] == ("XREVRANGE", stream) and not begun:
                begun.append(await parts.epoch(net.partition))
            return told

        monkeypatch.setattr(type(parts.store), "execute", meanwhile)
        net.run(archiver.once(everything=True))
        archiver.close()

        assert [part.epoch for part in begun] == [2]
        assert archiver.done.behind == {}
        assert _stream(net) == []
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


def test_who_lost_the_lease_shows_no_figures_of_what_another_archives(
    server: RealValkey, tmp_path: Path
) -> None:
    with network(server) as net:
        _archived(net, tmp_path / "first")
        (tmp_path / "first" / "p001.behind").write_text("made up")
        first, second = _archiver(net, tmp_path / "first"), _archiver(net, tmp_path / "second")
        net.session("s;0")
        net.run(first.once())
        assert (first.done.lag[net.partition] > 0, first.done.behind) == (True, {1: "made up"})

        net.execute("DEL", LEASE_KEY)
        net.run(second.once())
        net.run(first.once())
        assert (first.done.lag, first.done.behind) == ({}, {})

        net.execute("DEL", LEASE_KEY)
        net.run(first.once())
        assert (first.done.lag[net.partition] > 0, first.done.behind) == (True, {1: "made up"})
        first.close()
        second.close()
