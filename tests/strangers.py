"""Programs of others, as Debian packages them: whether they are here, and a process of theirs with its log kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import pytest

from tests.real_valkey import _die_with_parent

COMMANDS: Final = {
    "freediameter": "freeDiameterd",
    "kamailio-ims-modules": "kamailio",
    "sip-tester": "sipp",
    "tshark": "tshark",
}
"""Package -> the command that it brings (.ci/run installs these)."""

PATIENCE_S = 30.0
"""How long a stranger may take for a step; nothing is judged by it."""

running: dict[str, Path] = {}
"""Logs of the strangers that run now, by name: shown with every test that fails (conftest.py)."""


def needs(*packages: str) -> list[pytest.MarkDecorator]:
    """The marks of a test that cannot do without these packages."""
    missing = [package for package in packages if shutil.which(COMMANDS[package]) is None]
    return [
        pytest.mark.needs_system,
        pytest.mark.skipif(bool(missing), reason=f"not installed (Debian's packages): {', '.join(missing)}"),
    ]


class Stranger:
    """One process, from `with` to its end by its own pid; what it says goes to a log in `folder`."""

    def __init__(self, name: str, words: list[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._words = words
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._folder,
                env=os.environ | {"HOME": str(self._folder), "LC_ALL": "C"},  # nobody's own preferences
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of the C library, resolved before
            )
        running[self.name] = self.log
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
        running.pop(self.name, None)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for who does not listen."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def finished(self) -> int:
        """Wait for its own end; its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def await_line(self, text: str, times: int = 1) -> None:
        """Wait until its log has said something so often."""
        await_that(lambda: self.said().count(text) >= times, f"{self.name} says {text!r}")

    def await_that(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that it has to do; it may not die meanwhile."""

        def step() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} ended with {self._process.returncode}"
            return holds()

        await_that(step, what)


def await_that(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, and fail by its name where it does not come."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up:
            pytest.fail(f"did not come: {what}")
        time.sleep(0.02)
