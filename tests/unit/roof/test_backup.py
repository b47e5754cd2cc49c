"""What the commands of backups judge before they write: room, instants, folders of the dead."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ocs.balance.aof import FOLDER
from ocs.balance.backup import BackupFault
from ocs.roof.backup import create, empty_target, end_dead, read_instant, room_for, told
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.settings import Settings


def test_too_little_room_ends_the_command_and_says_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=999))
    room_for(tmp_path / "not" / "there", 999)
    with pytest.raises(Ended, match="about 1,000 octets are needed and 999 are free") as ended:
        room_for(tmp_path / "not" / "there", 1_000)
    assert ended.value.code == Exit.USAGE


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_an_instant_without_a_zone_is_this_machines_own_time(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert read_instant("2026-12-01T14:02:00Z") == 1_796_133_720
        assert read_instant("2026-12-01T15:02:00+01:00") == 1_796_133_720
        assert read_instant("2026-12-01T14:02:00") == 1_796_133_720 - (0 if zone == "UTC" else 3_600)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_the_dead_have_left_is_removed_and_what_the_living_do_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (str(os.getpid()), str(gone.pid), "letters"):
        (tmp_path / f".x.restoring-{pid}").mkdir()
    end_dead(tmp_path, ".x.restoring-")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        f".x.restoring-{name}" for name in (str(os.getpid()), "letters")
    )


@pytest.mark.parametrize(
    ("fault", "code"),
    [(BackupFault("damaged"), Exit.FOUND_WRONG), (PermissionError(13, "Permission denied", "b"), Exit.USAGE)],
)
def test_a_fault_of_a_backup_ends_the_command_with_its_reason(fault: Exception, code: Exit) -> None:
    with pytest.raises(Ended) as ended, told():
        raise fault
    assert ended.value.code == code
    assert str(ended.value) in {"damaged", "b: Permission denied"}


def test_a_folder_where_a_disk_is_mounted_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """What is restored is renamed to its name, and a mount cannot be: it would end so when all is done."""
    target = tmp_path / "volume"
    target.mkdir()
    settings = Settings.model_validate({"server": {"data_dir": str(target)}})
    assert empty_target(settings) == target.resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda _self: True)
        with pytest.raises(Ended, match="a disk is mounted here") as ended:
            empty_target(settings)
    assert ended.value.code == Exit.USAGE


def test_a_link_to_the_data_folder_leads_to_where_it_really_lies(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    settings = Settings.model_validate({"server": {"data_dir": str(tmp_path / "link")}})
    assert empty_target(settings) == (tmp_path / "disk").resolve()


def test_a_store_that_is_started_for_a_backup_is_not_of_the_lowest_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts meanwhile takes it over, and keeps it."""
    done: list[str] = []

    def started(*_: object) -> None:
        done.append("store")
        raise BackupFault("made up")

    monkeypatch.setattr("ocs.roof.backup.keep_private", lambda: None)
    monkeypatch.setattr(os, "setpriority", lambda *_: done.append("priority"))
    monkeypatch.setattr("ocs.roof.backup.run_with", started)
    (tmp_path / FOLDER).mkdir()
    with pytest.raises(Ended, match="made up"):
        create(Place(data_dir=tmp_path), tmp_path / "b", None, as_json=False)
    assert done == ["store"]
