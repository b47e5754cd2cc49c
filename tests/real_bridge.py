"""A real bridge: commands, and `serve` as a process of its own beside a charging server."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.house.source import ROOT
from tests.real_valkey import _die_with_parent

READY = re.compile(r"ready http=127\.0\.0\.1:(\d+)\n")


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    remarks: str

    @property
    def json(self) -> Any:
        """Its JSON."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(("OCS_", "BRIDGE_"))}
    return own | more


class RealBridge:
    """`python -m postpaid_bridge` on a database, beside the charging server of a data folder."""

    def __init__(self, data_dir: Path, database: str, *options: str, **variables: str) -> None:
        self.options = ("--data-dir", str(data_dir), "--database", database, *options)
        self.environment = environment(**variables)
        self.log = data_dir.parent / "bridge.log"
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, *words: str) -> Said:
        """Run one command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "postpaid_bridge", *words, *self.options],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def __enter__(self) -> Self:
        """Serve inside the block."""
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "postpaid_bridge", "serve", "--http-port", "0", *self.options],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=partial(_die_with_parent, signal.SIGTERM),  # noqa: PLW1509 - one call of the C library
            )
        assert self.process.stdout is not None
        ready = READY.fullmatch(self.process.stdout.readline())
        if ready is None:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(self.log.read_text(encoding="utf-8"))
        self.port = int(ready[1])
        return self

    def __exit__(self, *_: object) -> None:
        """End it in order."""
        assert self.process is not None
        self.process.terminate()
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def url(self, path: str) -> str:
        """Where something is on it."""
        return f"http://127.0.0.1:{self.port}{path}"

    def troubles(self) -> list[str]:
        """Lines of the log above a warning, or that are no line of a log at all."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["level"] not in {"debug", "info", "warning"}:
                    found.append(line)
            except (ValueError, KeyError, TypeError):
                found.append(line)
        return found
