"""Backups as folders: whole or not there, proved file by file, linked where nothing has changed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocs.balance import backup as backups
from ocs.balance.aof import FOLDER, MANIFEST
from ocs.balance.backup import (
    NOTE,
    Backup,
    BackupFault,
    Draft,
    damaged,
    faults,
    listed,
    prune,
    read_backup,
    sweep,
)
from tests.real_valkey import RealValkey
from tests.unit.balance.backups import FACTS, archived, backed_up
from tests.unit.balance.books import network
from tests.unit.balance.test_past import rewritten


@pytest.fixture
def made(own_valkey: RealValkey, tmp_path: Path) -> Backup:
    """A backup of a store with sessions and an archive."""
    with network(own_valkey) as net:
        net.session("s;1")
        archived(net, tmp_path / "archive")
        net.session("s;2")
        return backed_up(own_valkey, tmp_path / "b", tmp_path / "archive")


def test_a_backup_names_every_file_of_it_with_its_octets(made: Backup) -> None:
    there = {str(each.relative_to(made.path)) for each in made.path.rglob("*") if each.is_file()}
    assert there - {NOTE} == set(made.files)
    assert {name.partition("/")[0] for name in made.files} == {"store", "archive"}
    assert all((made.path / name).stat().st_size == each.octets for name, each in made.files.items())
    assert faults(made) == []
    assert listed(made.path.parent) == [made]


@pytest.mark.parametrize("change", ["octet", "shorter", "longer", "gone"])
def test_a_file_that_is_not_what_was_written_is_named(made: Backup, change: str) -> None:
    for name in made.files:
        path = made.path / name
        octets = path.read_bytes()
        changed = {
            "octet": octets[:-1] + bytes([octets[-1] ^ 1]), "shorter": octets[:-1], "longer": octets + b"x", "gone": b"",
        }[change]  # fmt: skip
        path.write_bytes(changed)
        if change == "gone":
            path.unlink()
        assert [each.partition(":")[0] for each in faults(made)] == [name]
        path.write_bytes(octets)
    assert faults(made) == []


@pytest.mark.parametrize("at", [5, 80, 300, -3])
def test_a_damaged_note_is_no_backup(made: Backup, at: int) -> None:
    note = made.path / NOTE
    octets = bytearray(note.read_bytes())
    octets[at] ^= 4
    note.write_bytes(octets)
    with pytest.raises(BackupFault, match="damaged"):
        read_backup(made.path)
    assert listed(made.path.parent) == []
    assert len(damaged(made.path.parent)) == 1


def test_a_note_of_another_version_says_so(made: Backup) -> None:
    sealed = json.loads((made.path / NOTE).read_text())
    text = sealed["of"].replace('"version": 1', '"version": 2')
    (made.path / NOTE).write_text(json.dumps({"sha256": backups._sha256(text.encode()), "of": text}))
    with pytest.raises(BackupFault, match="version 2, this program reads 1"):
        read_backup(made.path)


def test_a_backup_that_fails_at_any_point_leaves_nothing(
    own_valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with network(own_valkey) as net:
        net.session("s;1")
    calls = 0
    for dies_at in range(1, 100):
        calls = 0

        def dying(handle: int) -> None:
            nonlocal calls
            calls += 1
            if calls == dies_at:  # noqa: B023 - called within this turn
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", dying)
            patched.setattr(os, "fdatasync", dying)
            try:
                backed_up(own_valkey, tmp_path / f"{dies_at}")
            except OSError:
                there = list((tmp_path / f"{dies_at}").iterdir())
                # it has its name when only the folder's own sync, the last, has failed
                assert there == [] or [faults(each) for each in listed(tmp_path / f"{dies_at}")] == [[]]
                continue
        break
    assert (dies_at > 5, calls) == (True, dies_at - 1)


_KILLED = """
import os, signal, sys
from pathlib import Path
from ocs.balance.backup import Draft
from tests.unit.balance.backups import FACTS
data, into, at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def progress(done, whole):
    if done * 4 >= whole * at:
        os.kill(os.getpid(), signal.SIGKILL)
with Draft(into, 1_700_000_000_000, progress) as draft:
    draft.open_store(data, lambda: 1_700_000_000_000)
    draft.finish(FACTS)
"""


@pytest.mark.parametrize("at", [1, 2, 4])
def test_kill_9_during_a_backup_leaves_nothing_that_looks_like_one(
    own_valkey: RealValkey, tmp_path: Path, at: int
) -> None:
    with own_valkey.client() as client:
        for number in range(40):
            client.set(number, b"x" * 1_000_000)
    arguments = [sys.executable, "-c", _KILLED, str(own_valkey.folder), str(tmp_path), str(at)]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -9
    assert (listed(tmp_path), damaged(tmp_path)) == ([], [])
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".making-")
    whole = backed_up(own_valkey, tmp_path)
    assert (faults(whole), listed(tmp_path), [each.name for each in tmp_path.iterdir()]) == (
        [],
        [whole],
        [whole.name],
    )


def test_who_is_still_at_work_is_not_swept(tmp_path: Path) -> None:
    for name in (f".making-{os.getpid()}-x", ".making-999999999-x", ".removing-x"):
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [f".making-{os.getpid()}-x"]


def test_the_next_backup_links_what_has_not_changed(own_valkey: RealValkey, tmp_path: Path) -> None:
    with network(own_valkey) as net:
        net.session("s;1")
        archived(net, tmp_path / "archive")
        first = backed_up(own_valkey, tmp_path / "b", tmp_path / "archive")
        net.session("s;2")
        second = backed_up(own_valkey, tmp_path / "b", tmp_path / "archive")
    copied = {name for name in second.files if (second.path / name).stat().st_nlink == 1}
    assert copied == {"store/appendonly.aof.1.incr.aof", "store/appendonly.aof.manifest"}
    assert prune(tmp_path / "b", 1) == [first.name]
    assert (faults(second), listed(tmp_path / "b")) == ([], [second])


def test_a_file_that_is_another_under_the_same_name_is_not_linked(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    spool = own_valkey.folder / "spool"
    spool.mkdir()
    for content in (b"one", b"two"):
        (spool / "worker-0-1.spool").unlink(missing_ok=True)
        (spool / "worker-0-1.spool").write_bytes(content)
        made = backed_up(own_valkey, tmp_path / "b")
        assert (made.path / "spool" / "worker-0-1.spool").read_bytes() == content


def test_as_many_are_kept_as_wanted(own_valkey: RealValkey, tmp_path: Path) -> None:
    names = [backed_up(own_valkey, tmp_path).name for _ in range(4)]
    assert prune(tmp_path, 0) == []
    assert prune(tmp_path, 3) == names[:1]
    assert prune(tmp_path, 3) == []
    assert [each.name for each in listed(tmp_path)] == names[1:]
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_rewrite_between_opening_and_copying_changes_nothing(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        net.session("s;1")
        with Draft(tmp_path / "b", time.time_ns() // 1_000_000) as draft:
            draft.open_store(own_valkey.folder, lambda: 0)
            opened = {each.name: each.read_bytes() for each in (own_valkey.folder / FOLDER).iterdir()}
            net.session("s;2")
            rewritten(own_valkey)
            made = draft.finish(FACTS)
    for name, octets in opened.items():  # a moment later: by then a mark that nobody waits for may have come
        assert octets.startswith((made.path / "store" / name).read_bytes())
        assert made.files[f"store/{name}"].octets > len(octets) - 1_000


def test_a_manifest_that_changes_while_its_files_are_opened_is_read_again(
    own_valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, rewrites = Path.read_text, [1]

    def late(self: Path, encoding: str | None = None) -> str:
        text = read(self, encoding)
        if self.name == MANIFEST and rewrites:
            rewrites.pop()
            rewritten(own_valkey)
        return text

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", late)
        with Draft(tmp_path / "b", 1) as draft:
            draft.open_store(own_valkey.folder, lambda: 0)
            made = draft.finish(FACTS)
    assert f"store/{read_base(own_valkey)}" in made.files


def read_base(server: RealValkey) -> str:
    return (server.folder / FOLDER / MANIFEST).read_text().split()[1]


def test_increments_that_are_begun_while_files_are_opened_are_in_the_backup(
    own_valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite has just begun: the files that were named are still there, and the newest writes are in another."""
    own_valkey.kill()
    live = own_valkey.folder / FOLDER
    (live / "appendonly.aof.2.incr.aof").write_bytes(b"")
    read, begins = Path.read_text, [1]

    def late(self: Path, encoding: str | None = None) -> str:
        text = read(self, encoding)
        if self.name == MANIFEST and begins:
            begins.pop()
            self.write_text(text + "file appendonly.aof.2.incr.aof seq 2 type i\n")
        return text

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", late)
        made = backed_up(own_valkey, tmp_path / "b")
    assert "store/appendonly.aof.2.incr.aof" in made.files


def test_a_store_that_never_stands_still_is_given_up(own_valkey: RealValkey, tmp_path: Path) -> None:
    (own_valkey.folder / FOLDER / MANIFEST).write_text("file gone seq 1 type b\n")
    with Draft(tmp_path / "b", 1) as draft, pytest.raises(BackupFault, match="rewritten faster"):
        draft.open_store(own_valkey.folder, lambda: 0)
    assert list((tmp_path / "b").iterdir()) == []


def test_too_little_room_is_told_before_anything_is_copied(
    own_valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: type("Free", (), {"free": 10}))
    with pytest.raises(BackupFault, match="octets are to be written and 10 are free"):
        backed_up(own_valkey, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []
