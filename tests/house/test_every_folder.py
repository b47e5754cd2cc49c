"""A green run of continuous integration means that every folder of tests was really judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT

MARKS = "[pytest]\nmarkers =\n    needs_system: x\naddopts = -p no:valkey --import-mode=importlib\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text(MARKS)
    for folder in ("unit", "faults"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_a.py").write_text("def test_a(): pass\n")
    return tmp_path


def run(checkout: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_run_of_every_folder_passes(checkout: Path) -> None:
    assert run(checkout, "--every-folder")[0] == 0


def test_a_folder_that_ran_none_fails_the_run(checkout: Path) -> None:
    (checkout / "tests/faults/test_a.py").write_text("import pytest\n@pytest.mark.skip\ndef test_a(): pass\n")
    code, said = run(checkout, "--every-folder", "-n", "1")
    assert (code, "tests/faults: ran no test" in said) == (1, True)


def test_a_missing_system_part_fails_the_run(checkout: Path) -> None:
    text = "import pytest\n@pytest.mark.needs_system\ndef test_b(): pytest.skip('no redis-server')\n"
    (checkout / "tests/unit/test_b.py").write_text(text)
    code, said = run(checkout, "--every-folder")
    assert (code, "test_b: skipped for want of a system package" in said) == (1, True)
    assert run(checkout)[0] == 0
