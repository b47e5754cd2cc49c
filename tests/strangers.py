"""Programs of others, as Debian packages them: whether they are here, and a process of theirs with its log kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol, Self

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

SHOWN_CHARACTERS_MAX = 20_000
"""How much of a log is shown, from its end."""


class Logged(Protocol):
    """A process that keeps a log."""

    name: str
    log: Path

    @property
    def has_ended(self) -> bool:
        """Tell whether it has ended, however."""


shown: list[Logged] = []
"""Processes that run now, or ended with the test that failed: their logs are shown with it (conftest.py)."""


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
                preexec_fn=partial(_die_with_parent, signal.SIGTERM),  # noqa: PLW1509 - so that it ends its children
            )
        shown.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        self.stop()
        if kind is None and self in shown:  # else until the report of the test that fails is made
            shown.remove(self)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for who does not listen."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def finished(self) -> int:
        """Wait for its own end; its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def await_line(self, text: str) -> None:
        """Wait until its log has said something."""
        self.await_that(lambda: text in self.said(), f"{self.name} says {text!r}")

    def await_that(self, holds: Callable[[], object], what: str) -> None:
        """Wait for something that it has to do; it may not die meanwhile."""

        def step() -> object:
            assert not self.has_ended, f"{self.name} ended"
            return holds()

        await_that(step, what)


def await_that(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, and fail by its name where it does not come."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up:
            pytest.fail(f"did not come: {what}")
        time.sleep(0.02)
