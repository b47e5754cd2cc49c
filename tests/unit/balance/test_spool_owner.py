"""Who may charge what a worker has kept: the worker while it lives, then one other, and nobody twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from ocs.balance import spool as spooling
from ocs.balance.spool import Spool
from ocs.balance.spool_owner import SpoolOwner
from tests.house.source import ROOT
from tests.unit.balance.test_spool import Book, Clock, ended, files, told, until

HOLDS = """
import sys
from pathlib import Path
from ocs.balance.spool_owner import SpoolOwner
print(SpoolOwner(Path(sys.argv[1]), "worker-7").name, flush=True)
sys.stdin.read()
"""


def test_two_processes_in_one_place_have_names_of_their_own(tmp_path: Path) -> None:
    first, second = SpoolOwner(tmp_path, "worker-0"), SpoolOwner(tmp_path, "worker-0")
    assert first.name != second.name
    assert first.name.startswith("worker-0.")
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_owns_is_nobody_elses_and_what_a_killed_one_left_is_one_others(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        first, second = SpoolOwner(tmp_path, "worker-0"), SpoolOwner(tmp_path, "worker-1")
        assert not first.takes(name)
        process.kill()
        process.wait()
    assert first.takes(name)
    assert first.takes(name)
    assert not second.takes(name)
    (tmp_path / f"{name}-00000001.spool").touch()
    first.close()  # it has not come to it
    assert second.takes(name)
    second.close()


def test_names_without_files_whose_process_has_gone_are_tidied_away(tmp_path: Path) -> None:
    living = SpoolOwner(tmp_path, "worker-0")
    for gone in ("worker-1.dead", "worker-2.kept"):
        (tmp_path / f"{gone}.lock").touch()
    (tmp_path / "worker-2.kept-00000001.spool").touch()
    mine = SpoolOwner(tmp_path, "worker-3")
    mine.tidy()
    assert {path.name for path in tmp_path.glob("*.lock")} == {
        f"{living.name}.lock",
        f"{mine.name}.lock",
        "worker-2.kept.lock",
    }
    assert not mine.takes(living.name)


def test_files_of_a_worker_that_goes_later_are_charged_by_one_that_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "SPOOL_LOOK_PAUSES", 1)
    monkeypatch.setattr(spooling, "SPOOL_PAUSE_MS", 10)

    async def run() -> None:
        going, staying = SpoolOwner(tmp_path, "worker-0"), SpoolOwner(tmp_path, "worker-1")
        book = Book()
        book.ready = True
        spool = Spool(book, tmp_path, staying.name, Clock())
        work = asyncio.create_task(spool.keep_up(staying.takes))
        await told(Spool(Book(), tmp_path, going.name, Clock()), ended("kept"))
        for _ in range(10):
            await asyncio.sleep(0.02)
        assert book.charged == []  # its worker lives
        going.close()
        await until(lambda: files(tmp_path) == [])
        assert [name for name, _ in book.charged] == ["kept"]
        work.cancel()

    asyncio.run(run())
