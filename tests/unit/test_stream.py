"""The stream's reader: in order, at least once, from the archive where the stream has gone on, and no hole in silence."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocs import stream
from ocs.balance import archive as archiving
from ocs.balance.archive import Archiver
from ocs.balance.archive_files import ArchiveFault
from ocs.limits import GROUP_SILENT_MS
from ocs.stream import NEWEST, START, Batch, Loss, Reader
from tests.cluster import Cluster
from tests.faults.judgement import numbers, populate, room
from tests.faults.ledger import Ledger
from tests.real_valkey import RealValkey
from tests.unit.balance.books import Network, network


class Steps:
    """A clock that goes on by a minute with each look, so that nothing is put off."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        self.ms += 60_000
        return self.ms


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


def reader(net: Network, folder: Path, group: str = "bridge", begin: str = START) -> Reader:
    made = Reader(net.charged.parts, folder, group, Steps())
    net.run(made.open(begin))
    return made


def read(net: Network, at: Reader, looks: int = 12) -> list[Batch]:
    """What so many looks find in the account's partition."""
    found: list[Batch] = []
    for _ in range(looks):
        found += [each for each in net.run(at.poll()) if each.partition == net.partition]
    return found


def ids(batches: list[Batch]) -> list[str]:
    return [entry.id for each in batches for entry in each.entries]


def acknowledge(net: Network, at: Reader, place: str) -> None:
    net.run(at.acknowledge({net.partition: place}))


def archived(net: Network, folder: Path, clock: Steps | None = None) -> Archiver:
    archiver = Archiver(net.charged.parts, folder, clock or Steps())
    net.run(archiver.open())
    net.run(archiver.once(everything=True))
    return archiver


def stream_of(net: Network) -> str:
    return net.charged.parts.keys[net.partition].stream


def test_records_come_in_order_and_each_once(net: Network, tmp_path: Path) -> None:
    net.session()
    at = reader(net, tmp_path)
    first = ids(read(net, at))
    net.session("s;2")
    assert first == [f"1-{number}" for number in range(1, len(first) + 1)]
    assert ids(read(net, at)) == [f"1-{number}" for number in range(len(first) + 1, len(first) + 4)]


def test_what_was_not_acknowledged_comes_again_and_nothing_else(net: Network, tmp_path: Path) -> None:
    net.session()
    one = reader(net, tmp_path)
    seen = ids(read(net, one))
    acknowledge(net, one, seen[2])
    assert ids(read(net, reader(net, tmp_path))) == seen[3:]
    assert ids(read(net, reader(net, tmp_path, "other"))) == seen, "groups know nothing of each other"


def test_a_consumer_that_keeps_its_own_places_goes_on_from_them(net: Network, tmp_path: Path) -> None:
    net.session()
    at = Reader(net.charged.parts, tmp_path, "bridge", Steps())
    net.run(at.open(START, {net.partition: "1-4"}))
    assert ids(read(net, at))[0] == "1-5"


def test_a_new_group_begins_behind_what_is_there(net: Network, tmp_path: Path) -> None:
    net.session()
    at = reader(net, tmp_path, begin=NEWEST)
    assert read(net, at) == []
    net.session("s;2")
    assert len(ids(read(net, at))) == 3


def test_records_wait_on_the_stream_for_a_group_and_go_when_it_has_them(net: Network, tmp_path: Path) -> None:
    at = reader(net, tmp_path / "a")
    net.session()
    seen = ids(read(net, at))
    archiver = archived(net, tmp_path / "a")
    assert net.execute("XLEN", stream_of(net)) == len(seen)
    acknowledge(net, at, seen[-1])

    net.run(archiver.once())

    assert net.execute("XLEN", stream_of(net)) == 0
    assert archiver.done.groups_cut == 0
    archiver.close()


def test_a_group_that_was_cut_goes_on_from_the_archive_without_gap_or_double(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    at = reader(net, folder)
    net.session("s;0")
    seen = ids(read(net, at))
    acknowledge(net, at, seen[-1])
    monkeypatch.setattr(archiving, "STREAM_ENTRIES_MAX", 3)
    for number in range(1, 8):  # a member of the archive each
        net.session(f"s;{number}")
        archived(net, folder).close()
    net.session("s;9")  # on the stream alone
    assert net.execute("XLEN", stream_of(net)) == 3

    again = reader(net, folder)
    batches = read(net, again, 40)

    assert ids(batches) == [f"1-{len(seen) + number}" for number in range(1, 7 * 3 + 3 + 1)]
    assert [each.broken for each in batches] == [None] * len(batches)
    assert [each.archived for each in batches] == [True] * 7 + [False]
    assert (again.done.resumed, again.done.breaks) == (1, 0)


def test_a_reader_that_was_cut_while_it_ran_goes_on_also_where_the_stream_is_empty(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    at = reader(net, folder)
    net.session("s;0")
    seen = ids(read(net, at))
    monkeypatch.setattr(archiving, "STREAM_ENTRIES_MAX", 1)
    net.session("s;1")
    archived(net, folder).close()
    assert net.execute("XLEN", stream_of(net)) == 0

    assert ids(read(net, at)) == [f"1-{len(seen) + number}" for number in (1, 2, 3)]


def test_a_group_that_is_silent_is_cut_once_after_its_time(net: Network, tmp_path: Path) -> None:
    reader(net, tmp_path / "a", "gone")
    net.session()
    clock = Steps()
    archiver = archived(net, tmp_path / "a", clock)
    assert net.execute("XLEN", stream_of(net)) > 0
    clock.ms += GROUP_SILENT_MS

    net.run(archiver.once())
    net.session("s;2")
    net.run(archiver.once(everything=True))

    assert net.execute("XLEN", stream_of(net)) == 0
    assert archiver.done.groups_cut == 1
    archiver.close()


def test_records_that_are_nowhere_are_told_as_a_break_and_reading_goes_on(
    net: Network, tmp_path: Path
) -> None:
    at = reader(net, tmp_path)
    net.session("s;0")
    seen = ids(read(net, at))
    net.session("s;1")
    net.execute("XTRIM", stream_of(net), "MINID", f"1-{len(seen) + 3}")

    found = read(net, at)

    assert ids(found) == [f"1-{len(seen) + 3}"]
    assert found[0].broken is not None
    assert found[0].broken[1:] == (seen[-1], f"1-{len(seen) + 3}", Loss.MISSING)
    assert at.done.breaks == 1


def test_a_hole_in_the_middle_of_the_stream_is_told_between_the_records(net: Network, tmp_path: Path) -> None:
    net.session()
    net.execute("XDEL", stream_of(net), "1-4")
    found = read(net, reader(net, tmp_path))
    assert ids(found[:1]) == ["1-1", "1-2", "1-3"]
    assert found[0].broken is None
    assert found[1].broken is not None
    assert (found[1].broken.after, found[1].broken.next) == ("1-3", "1-5")


def test_a_new_epoch_without_a_loss_is_no_break(net: Network, tmp_path: Path) -> None:
    net.session()
    at = reader(net, tmp_path)
    seen = ids(read(net, at))
    _fail_over(net)

    found = read(net, at)

    assert ids(found) == ["2-1"]
    assert found[0].broken is None
    assert found[0].entries[0].record().last_id == seen[-1]  # type: ignore[union-attr]


def test_a_store_that_has_lost_what_was_read_is_told(net: Network, tmp_path: Path) -> None:
    net.session()
    at = reader(net, tmp_path)
    seen = ids(read(net, at))
    net.execute("DEL", stream_of(net))
    net.execute("XADD", stream_of(net), "1-2", "r", b"\x90")
    net.execute("XGROUP", "CREATE", stream_of(net), "bridge", "0")
    _fail_over(net)  # the new process goes on from 1-2

    found = read(net, at)

    assert found[0].broken is not None
    assert (found[0].broken.after, found[0].broken.loss) == (seen[-1], Loss.UNDONE)
    assert ids(found) == ["2-1"]


def test_a_place_beyond_the_end_of_the_stream_is_told_before_there_is_a_record(
    net: Network, tmp_path: Path
) -> None:
    net.session()
    end = net.execute("XLEN", stream_of(net))
    at = Reader(net.charged.parts, tmp_path, "bridge", Steps())
    net.run(at.open(START, {net.partition: f"1-{end + 5}"}))

    found = read(net, at)
    net.session("s;2")

    assert [each.broken and each.broken.loss for each in found] == [Loss.UNDONE]
    assert ids(read(net, at))[0] == f"1-{end + 1}"


def test_a_damaged_archive_is_a_fault_and_not_a_gap(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    at = reader(net, folder)
    monkeypatch.setattr(archiving, "STREAM_ENTRIES_MAX", 1)
    net.session()
    archived(net, folder).close()
    for file in folder.glob("*/*.rec.gz"):
        file.write_bytes(file.read_bytes()[:10] + b"\0" * (file.stat().st_size - 10))
    with pytest.raises(ArchiveFault, match="restore"):
        read(net, at)


def test_quiet_partitions_are_looked_at_ever_more_seldom(net: Network, tmp_path: Path) -> None:
    clock = Steps()
    at = Reader(net.charged.parts, tmp_path, "bridge", clock)
    net.run(at.open(NEWEST))
    net.execute("CONFIG", "RESETSTAT")
    looked = 0
    while looked < 100_000:  # milliseconds, a tenth of a second each
        clock.ms = 2_000_000 + looked - 60_000
        net.run(at.poll())
        looked += 100
    told = net.execute("INFO", "commandstats").decode().split()
    calls = int(
        next(row for row in told if row.startswith("cmdstat_xrange:")).split("calls=")[1].split(",")[0]
    )
    assert calls <= 2 * 60, "two partitions, every two seconds"


def test_a_group_leaves_and_nothing_is_kept_for_it(net: Network, tmp_path: Path) -> None:
    reader(net, tmp_path)
    assert list(net.run(stream.groups(net.charged.parts))) == ["bridge"]
    assert net.run(stream.leave(net.charged.parts, "bridge"))
    assert net.run(stream.groups(net.charged.parts)) == {}
    assert not net.run(stream.leave(net.charged.parts, "bridge"))


def _fail_over(net: Network) -> None:
    """Let the partition's epoch be of another process, as after a restart."""
    keys = net.charged.parts.keys[net.partition]
    net.execute("SET", keys.run, "of a process that is no more")
    net.charged.parts.forget(net.partition)
    net.run(net.charged.parts.epoch(net.partition))


def test_on_a_cluster_the_streams_of_all_masters_are_read_and_acknowledged(
    cluster: Cluster, tmp_path: Path
) -> None:
    async def play() -> None:
        async with room(cluster.url, partitions=8) as at:
            made = Reader(at.parts, tmp_path, "bridge", Steps())
            await made.open(START)
            await populate(at, Ledger(), numbers(12))
            found: dict[int, list[str]] = {}
            for _ in range(12):
                for batch in await made.poll():
                    assert batch.broken is None
                    found.setdefault(batch.partition, []).extend(each.id for each in batch.entries)
            await made.acknowledge({partition: seen[-1] for partition, seen in found.items()})
            assert len(found) > 3
            for partition, seen in found.items():
                assert seen == [f"1-{number}" for number in range(1, len(seen) + 1)], partition
            again = Reader(at.parts, tmp_path, "bridge", Steps())
            await again.open(START)
            assert await again.poll() == []

    asyncio.run(play())
