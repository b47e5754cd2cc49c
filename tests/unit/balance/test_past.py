"""What of a rewritten append-only file is kept: links to what a real server begins, let go when it is old."""

import time
from pathlib import Path

import pytest

from ocs.balance.aof import FOLDER
from ocs.balance.past import HISTORY, Generations, Past, generations
from tests.real_valkey import RealValkey
from tests.unit.balance.backups import later

NEVER = 10**12


def rewritten(server: RealValkey) -> None:
    """Have the server rewrite its file, and wait until it has."""
    with server.client() as client:
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.01)


def kept(server: RealValkey) -> Generations:
    return generations(server.folder / HISTORY)


def named(found: Generations) -> list[tuple[int, int]]:
    """Number of each base, and of its first increments."""
    return [(each.base.number, each.first) for each in found.listed]


def test_generations_that_the_server_has_removed_are_kept(own_valkey: RealValkey) -> None:
    past = Past(own_valkey.folder, 1, NEVER)
    for value in range(3):
        past.look(int(time.time()))
        with own_valkey.client() as client:
            client.set("a", value)
        rewritten(own_valkey)
    past.look(int(time.time()))
    found = kept(own_valkey)
    assert named(found) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert [each.number for each in found.run(found.listed[0])] == [1, 2, 3, 4]
    assert found.since_s() == found.listed[0].born_s
    assert len(list((own_valkey.folder / FOLDER).glob("*.aof"))) == 1


def test_a_generation_that_was_missed_is_a_gap(own_valkey: RealValkey) -> None:
    past = Past(own_valkey.folder, 1, NEVER)
    past.look(int(time.time()))
    rewritten(own_valkey)
    rewritten(own_valkey)
    past.look(int(time.time()))
    found = kept(own_valkey)
    assert named(found) == [(1, 1), (3, 3)]
    assert [each.number for each in found.run(found.listed[0])] == [1]
    assert found.since_s() == found.listed[1].born_s


def test_what_is_older_than_the_hours_goes_and_no_more(own_valkey: RealValkey) -> None:
    now_s = int(time.time())
    past = Past(own_valkey.folder, 2, NEVER)
    for _ in range(2):
        past.look(now_s)
        rewritten(own_valkey)
    past.look(now_s + 2 * 3_600 - 60)
    assert named(kept(own_valkey)) == [(1, 1), (2, 2), (3, 3)]
    past.look(now_s + 2 * 3_600 + 60)
    assert named(kept(own_valkey)) == [(3, 3)]
    assert sorted(each.name for each in (own_valkey.folder / HISTORY).iterdir()) == [
        "appendonly.aof.3.base.rdb",
        "appendonly.aof.3.base.rdb.manifest",
        "appendonly.aof.3.incr.aof",
    ]


def test_a_base_that_is_too_old_stays_while_instants_before_the_next_are_wanted(
    own_valkey: RealValkey,
) -> None:
    past = Past(own_valkey.folder, 2, NEVER)
    past.look(int(time.time()))
    later()
    rewritten(own_valkey)
    past.look(int(time.time()))
    first, second = (each.born_s for each in kept(own_valkey).listed)
    for now_s, numbers in ((first + 1, [1, 2]), (second, [1, 2]), (second + 1, [2])):
        past.look(now_s + 2 * 3_600)
        past._pruned_s = 0  # it looks once a minute
        assert [number for number, _ in named(kept(own_valkey))] == numbers


def test_what_takes_more_than_its_octets_goes_from_the_oldest(own_valkey: RealValkey) -> None:
    past = Past(own_valkey.folder, 1_000, 150_000)
    for _ in range(3):
        past.look(int(time.time()))
        with own_valkey.client() as client:
            client.set("a", b"x" * 100_000)
        rewritten(own_valkey)
    past.look(int(time.time()))
    # alone in the history: increments of 100,000 octets each; the newest generation is the server's too
    assert [number for number, _ in named(kept(own_valkey))] == [3, 4]


def test_where_no_hours_are_set_nothing_is_kept(own_valkey: RealValkey) -> None:
    Past(own_valkey.folder, 0, NEVER).look(int(time.time()))
    assert not (own_valkey.folder / HISTORY).exists()


def test_a_store_that_changes_its_manifest_meanwhile_is_looked_at_again(
    own_valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past(own_valkey.folder, 1, NEVER)
    text, link = Path.read_text, Path.hardlink_to
    rewrites = [1]

    def late(self: Path, target: Path) -> None:
        if rewrites:
            rewrites.pop()
            rewritten(own_valkey)
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", late)
    past.look(int(time.time()))
    past.look(int(time.time()))
    assert (own_valkey.folder / FOLDER / "appendonly.aof.manifest").read_text() == text(
        own_valkey.folder / HISTORY / "appendonly.aof.2.base.rdb.manifest"
    )
    assert named(kept(own_valkey)) == [(2, 2)]


def test_a_folder_without_a_store_has_no_history(tmp_path: Path) -> None:
    Past(tmp_path, 1, NEVER).look(1)
    assert list(tmp_path.iterdir()) == []
    assert generations(tmp_path) == Generations([], {})
