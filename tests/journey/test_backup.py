"""The night of the operator: backups of a serving store, restores into new folders, and everything that is refused."""

import hashlib
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from ocs.balance.archive_files import read_places
from ocs.balance.clients import client
from ocs.balance.embedded import Embedded
from tests.journey.conftest import ROOT, Command, Said, end_store, environment
from tests.journey.test_serve import MIB, WHO, Served, create, until

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy


def instant() -> str:
    """An instant after all that was said until now, and before all that comes."""
    at_s = int(time.time()) + 1
    while time.time() < at_s + 0.05:
        time.sleep(0.02)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


def restored(folder: Path, backup: Any, *words: str) -> Command:
    """The command on a folder that a backup was restored into."""
    ocs = Command("--data-dir", str(folder))
    said = ocs.json("backup", "restore", str(backup["path"]), *words)
    assert said["audit"] == "clean"
    return ocs


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A backup with one account, and the folder of its store, which has stopped."""
    place = tmp_path_factory.mktemp("kept")
    ocs = Command("--data-dir", str(place / "data"))
    ocs.json("subscriber", "create", "491700000001", "--tariff", "flat-data", "--credit", "1.00")
    made = ocs.json("backup", "create", "--folder", str(place / "b"))
    return made | {"data": str(place / "data")}


@pytest.mark.slow
def test_a_wrong_bulk_change_is_undone_and_the_server_charges_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Served(data) as served:
        create(served)
        gateway = served.gateway()
        session_id = gateway.tell({"do": "open", "wanted_octets": 4 * MIB, **WHO})["session_id"]
        served.ocs.json("topup", WHO["msisdn"], "10.00", "--id", "right")
        to = instant()
        served.ocs.json(
            "subscriber",
            "bulk",
            "--count",
            "3",
            "--first",
            "491700000100",
            "--tariff",
            "flat-data",
            "--credit",
            "9.00",
        )
        served.ocs.json("topup", WHO["msisdn"], "20.00", "--id", "wrong")
        gateway.tell({"do": "update", "session_id": session_id, "used_octets": 3 * MIB})
        made = served.ocs.json("backup", "create", "--folder", str(tmp_path / "b"))
        assert (made["accounts"], made["sessions"]) == (4, 1)
        assert served.end() == 0
    data.rename(tmp_path / "data.before")

    told = Command("--data-dir", str(data))("backup", "restore", made["path"], "--to", to)
    assert (told.code, told.remarks) == (0, "")
    rows = [line.split() for line in told.out.splitlines()]
    assert ["top-up", "4", "4", "47.00", "EUR"] in rows
    assert ["account", "3", "3", "0.00", "EUR"] in rows
    assert any(row[1:4] == ["cli", "wrong", WHO["msisdn"]] and row[-1] == "20.00" for row in rows)
    assert ["audit", "clean"] in rows

    with Served(data) as served:
        ocs = served.ocs
        balance = ocs.json("balance", WHO["msisdn"])
        assert (balance["balance"], balance["reserved"]) == ("11.00", "0.04")
        assert ocs("balance", "491700000100").code == 4
        assert ocs.json("topup", WHO["msisdn"], "20.00", "--id", "wrong")["balance"] == "31.00"
        assert ocs.json("topup", WHO["msisdn"], "20.00", "--id", "wrong")["replayed"] is True
        assert ocs.json("topup", WHO["msisdn"], "10.00", "--id", "right")["replayed"] is True
        fresh = served.gateway()
        other = fresh.tell({"do": "open", "wanted_octets": MIB, **WHO})
        assert (
            fresh.tell({"do": "end", "session_id": other["session_id"], "used_octets": MIB})["result_code"]
            == 2001
        )
        assert ocs.json("balance", WHO["msisdn"])["balance"] == "30.99"
        assert ocs.json("audit")["clean"] is True
        assert served.end() == 0
    assert list((data / "archive").glob("*.behind")) == []
    assert (data / "origin-state-id").read_text() == (
        tmp_path / "data.before" / "origin-state-id"
    ).read_text()


def test_a_disk_that_died_is_replaced_by_its_backup(tmp_path: Path, backup: Any) -> None:
    to, since = (datetime.fromisoformat(backup[name]) for name in ("restores_to", "restores_from"))
    assert to >= since - timedelta(seconds=1), (
        "whole seconds, inwards: one that took less than a second has none"
    )
    ocs = restored(tmp_path / "new", backup)
    assert ocs.json("balance", "491700000001")["balance"] == "1.00"
    assert json.loads((tmp_path / "new" / "restored.json").read_text())["backup"] == backup["name"]
    assert not (tmp_path / "new" / "undone").exists()


@pytest.mark.slow
def test_an_archive_with_a_folder_of_its_own_is_restored_into_that_folder(tmp_path: Path) -> None:
    variables = {"OCS_ARCHIVE__DIR": str(tmp_path / "archive"), "OCS_ARCHIVE__EVERY_S": "1"}
    with Served(tmp_path / "data", detached=False, **variables) as served:
        served.ocs.variables |= variables
        create(served)
        # its file of places is there before a record is
        until(lambda: bool(read_places(tmp_path / "archive")))
        made = served.ocs.json("backup", "create", "--folder", str(tmp_path / "b"))
        assert served.end() == 0
    for name in ("data", "archive"):
        (tmp_path / name).rename(tmp_path / f"{name}.before")
    ocs = Command("--data-dir", str(tmp_path / "data"), **variables)
    assert ocs.json("backup", "restore", made["path"])["audit"] == "clean"
    assert (tmp_path / "archive" / "place.json").exists()
    assert not (tmp_path / "data" / "archive").exists()
    said = ocs.json("audit")
    assert (said["clean"], said["unchained"], said["records_archived"] > 0) == (True, 0, True)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    # and with the archive that has outlived the store, which has come further meanwhile
    other = Command("--data-dir", str(tmp_path / "other"))
    done = other.json("backup", "restore", made["path"], "--archive", str(tmp_path / "archive.before"))
    assert done["audit"] == "clean"
    # and where its folder is named and lies in the data folder
    named = tmp_path / "named" / "old" / "archive"
    inner = Command("--data-dir", str(tmp_path / "named"), OCS_ARCHIVE__DIR=str(named))
    assert inner.json("backup", "restore", made["path"])["audit"] == "clean"
    assert (named / "place.json").exists()


def test_backups_are_listed_proved_and_pruned(tmp_path: Path) -> None:
    ocs = Command(
        "--data-dir", str(tmp_path / "data"), OCS_BACKUP__DIR=str(tmp_path / "b"), OCS_BACKUP__KEEP="2"
    )
    assert ocs("backup", "create").code == 4
    assert ocs("backup", "verify", "newest").code == 4
    assert ocs.json("backup", "list") == {"folder": str(tmp_path / "b"), "backups": [], "damaged": []}
    ocs.json("subscriber", "create", "491700000001", "--tariff", "flat-data")
    ocs.json("subscriber", "create", "491700000002", "--tariff", "flat-data", "--member-of", "491700000001")
    names = [ocs.json("backup", "create")["name"] for _ in range(3)]
    assert [each["name"] for each in ocs.json("backup", "list")["backups"]] == names[1:]
    for words in (("newest",), (names[1],), (names[2], "--load")):
        said = ocs.json("backup", "verify", *words)
        assert (said["whole"], said["accounts"]) == (True, 1)
    assert sorted(each.name for each in (tmp_path / "b").iterdir()) == names[1:]
    path = tmp_path / "b" / names[1] / "backup.json"
    path.write_text(path.read_text()[:-9])
    said = ocs("backup", "list")
    assert (said.code, names[1] in said.remarks) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_broken_off_leaves_nothing_and_the_store_lives_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Embedded.start_or_adopt(tmp_path / "data") as living, client(living.address) as plain:
        for each in range(150):
            plain.set(f"large {each}", b"x" * 1_000_000)
        ocs = Command("--data-dir", str(tmp_path / "data"))
        words = ocs.arguments("backup", "create", "--folder", str(tmp_path / "b"))
        process = subprocess.Popen(words, env=environment(), cwd=ROOT)
        # it has begun to copy increments, which takes a while: then it is asked to end
        while not list((tmp_path / "b").glob(".making-*/store/*.incr.aof")):
            assert process.poll() is None, "it was too fast to be broken off"
        process.send_signal(number)
        assert process.wait() != 0
        assert list((tmp_path / "b").iterdir()) == []
        assert plain.get("large 149") is not None


@pytest.mark.parametrize("what", [("restore",), ("verify", "--load")], ids=["restore", "verify"])
def test_a_restore_that_was_killed_leaves_no_target_and_the_next_one_ends_its_store(
    tmp_path: Path, backup: Any, what: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    ocs = Command("--data-dir", str(data))
    words = (what[0], backup["path"], *what[1:])
    left: list[Path] = []
    for attempt in range(10):  # one that was too fast to be killed is put aside
        process = subprocess.Popen(ocs.arguments("backup", *words), env=environment(), cwd=ROOT)
        while not left and process.poll() is None:
            places = (tmp_path.glob(".data.restoring-*"), Path(backup["path"]).parent.glob(".trying-*/data"))
            left = [each for place in places for each in place if (each / "store.sock").exists()]
        process.kill()
        process.wait()
        if left and left[0].exists():
            break
        left = []
        if data.exists():
            data.rename(tmp_path / f"whole {attempt}")
    assert not data.exists()
    orphan = Embedded(left[0], "always", None)
    pid = orphan.pid
    assert orphan.alive()
    try:
        ocs.json("backup", *words)
        assert not left[0].exists()
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    finally:
        end_store(left[0])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# -- what is refused


def refused(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said
    assert all(word in said.remarks for word in words), said.remarks


def test_a_target_that_is_not_empty_is_left_as_it_is(tmp_path: Path, backup: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letter").write_text("mine")
    ocs = Command("--data-dir", str(tmp_path / "data"))
    refused(ocs("backup", "restore", backup["path"]), 2, "is not empty", "move it aside")
    assert [each.name for each in tmp_path.rglob("*")] == ["data", "letter"]
    other = Command("--data-dir", str(tmp_path / "new"), OCS_ARCHIVE__DIR=str(tmp_path / "data"))
    refused(other("backup", "restore", backup["path"]), 2, "data: is not empty")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["data", "letter"]


def test_a_living_store_is_never_restored_over(tmp_path: Path, backup: Any) -> None:
    with Embedded.start_or_adopt(tmp_path / "data") as living:
        said = Command("--data-dir", str(tmp_path / "data"))("backup", "restore", backup["path"])
        refused(said, 2, "a living store is here", "stop its server")
        assert living.alive()
    end_store(tmp_path / "data")


def test_an_instant_that_is_not_covered_is_told_the_range(tmp_path: Path, backup: Any) -> None:
    ocs = Command("--data-dir", str(tmp_path / "data"))
    for to in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00+02:00"):
        said = ocs("backup", "restore", backup["path"], "--to", to)
        refused(
            said, 2, "is not covered", f"restores from {backup['restores_from']} to {backup['restores_to']}"
        )
    refused(ocs("backup", "restore", backup["path"], "--to", "yesterday"), 2, "is no instant")
    refused(ocs("backup", "restore", backup["path"], "--to", "2026-01-01T00:00:00.5Z"), 2, "whole seconds")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_backup_is_refused_before_anything_is_written(tmp_path: Path, backup: Any) -> None:
    ocs = Command("--data-dir", str(tmp_path / "data"))
    for name in ("store/appendonly.aof.1.incr.aof", "store/appendonly.aof.1.base.rdb", "config/ocs.toml"):
        path = Path(backup["path"]) / name
        octets = path.read_bytes()
        path.write_bytes(octets[:20] + bytes([octets[20] ^ 1]) + octets[21:])
        try:
            refused(ocs("backup", "restore", backup["path"]), 1, "is damaged", name)
            refused(ocs("backup", "verify", backup["path"]), 1, "is damaged", name)
        finally:
            path.write_bytes(octets)
    assert list(tmp_path.iterdir()) == []
    assert ocs.json("backup", "verify", backup["path"])["whole"] is True


def test_a_backup_of_another_layout_or_partitioning_is_refused(tmp_path: Path, backup: Any) -> None:
    ocs = Command("--data-dir", str(tmp_path / "data"))
    refused(
        ocs("backup", "restore", backup["path"], OCS_STORE__PARTITIONS="8"), 2, "set store.partitions = 256"
    )
    note = Path(backup["path"]) / "backup.json"
    before = note.read_text()
    text = json.loads(before)["of"].replace('"layout": ', '"layout": 9')
    note.write_text(json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "of": text}))
    try:
        refused(
            ocs("backup", "restore", backup["path"]),
            2,
            "holds key layout 9",
            "restore it with the one that made it",
        )
    finally:
        note.write_text(before)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_another_store_is_refused(tmp_path: Path, backup: Any) -> None:
    (tmp_path / "archive").mkdir()
    said = Command("--data-dir", str(tmp_path / "data"))(
        "backup", "restore", backup["path"], "--archive", str(tmp_path / "archive")
    )
    refused(said, 2, "is not the archive of this backup's store")


def test_a_store_of_its_own_is_backed_up_with_its_own_means(tmp_path: Path, backup: Any) -> None:
    for url in ("redis://127.0.0.1:1", "sentinel://127.0.0.1:1/m", "cluster://127.0.0.1:1"):
        ocs = Command("--data-dir", str(tmp_path / "data"), "--store", url)
        refused(ocs("backup", "create"), 2, "copies the embedded store", "ocs/BACKUP.md")
        refused(ocs("backup", "restore", backup["path"]), 2, "copies the embedded store", "ocs/BACKUP.md")


def test_what_is_no_backup_is_not_found(tmp_path: Path) -> None:
    ocs = Command("--data-dir", str(tmp_path / "data"))
    refused(ocs("backup", "restore", "20200101T000000.000Z"), 4, "is no backup")
    refused(ocs("backup", "restore", str(tmp_path)), 1, "is no backup")
