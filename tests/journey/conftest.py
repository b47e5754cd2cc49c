"""The command line as its user has it: real processes on real stores, in folders that end with the test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ocs.balance.embedded import Embedded

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """The environment without settings of whoever runs the tests; other tests run beside, so that HTTP stands behind nobody."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("OCS_")}
    return ours | {"OCS_HTTP__NICE": "0"}


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    remarks: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """`ocs` with the options that name the test's store."""

    def __init__(self, *options: str, **variables: str) -> None:
        self.options = options
        self.variables = variables

    def arguments(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "ocs", *words, *self.options]

    def __call__(self, *words: str, **variables: str) -> Said:
        done = subprocess.run(
            self.arguments(*words),
            cwd=ROOT,
            env=environment() | self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str) -> Any:
        """Run a command that has to succeed and return its JSON."""
        said = self(*words, "--json")
        assert said.code == 0, said
        return said.json


def end_store(folder: Path) -> None:
    """End whatever store still lives in a folder."""
    if (folder / "store.alive").exists():
        last = Embedded(folder, "always", None)
        if last.alive() and last.pid:
            os.kill(last.pid, signal.SIGKILL)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder of this test alone."""
    place = tmp_path / "ocs-data"
    yield place
    end_store(place)


@pytest.fixture(scope="session")
def _standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("standing")
    with Embedded.start_or_adopt(place):
        yield place


@pytest.fixture
def ocs(_standing: Path) -> Command:
    """The command on a store that lives as long as the run: commands adopt it, as they do a server's."""
    return Command("--data-dir", str(_standing))


_numbers = count(491_700_000_000)


@pytest.fixture
def number() -> Callable[[], str]:
    """Gives numbers that no other test has."""
    return lambda: str(next(_numbers))
