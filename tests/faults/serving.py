"""`ocs serve` as a real server in a folder of its own, to be killed in parts and as a whole, by pid."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tests.faults.judgement import PARTITIONS
from tests.house.source import ROOT
from tests.real_valkey import _die_with_parent, free_port


class Server:
    """One `ocs serve`; its Diameter port stays the same over restarts."""

    def __init__(
        self, folder: Path, *, store: str | None = None, workers: int = 2, root: Path = ROOT, **settings: str
    ) -> None:
        self.folder = folder
        self._root = root
        self.port = free_port()
        self._store = store
        self._workers = workers
        self._settings = settings
        self._parent: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    @property
    def data_dir(self) -> Path:
        return self.folder / "ocs-data"

    @property
    def archive(self) -> Path:
        return self.data_dir / "archive"

    @property
    def store_url(self) -> str:
        """The store's address for those who look beside the server."""
        return self._store or f"unix://{self.data_dir / 'store.sock'}"

    @property
    def _environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OCS_")}
        return (
            clean | {"PYTHONPATH": str(self._root), "OCS_STORE__PARTITIONS": str(PARTITIONS)} | self._settings
        )

    def _command(self, *arguments: str) -> list[str]:
        where = ("--data-dir", str(self.data_dir), *(("--store", self._store) if self._store else ()))
        return [sys.executable, "-m", "ocs", *arguments, *where]

    # -- life

    async def start(self) -> None:
        """Start, and wait for its line that says ready. Popen stays in this thread: a child dies with its thread."""
        self.folder.mkdir(exist_ok=True)
        log = self.folder / "log"
        self._log_from = log.stat().st_size if log.exists() else 0
        said = self.folder / "said"
        said.unlink(missing_ok=True)
        command = self._command(
            "serve", "--diameter-port", str(self.port), "--http-port", "0", "--workers", str(self._workers)
        )
        with said.open("wb") as out, log.open("ab") as errors:
            self._parent = subprocess.Popen(  # noqa: ASYNC220 - starting does not wait
                command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=errors, preexec_fn=_die_with_parent,  # noqa: PLW1509 - resolved before the fork
            )  # fmt: skip
        while "ready diameter=" not in said.read_text():
            assert self._parent.poll() is None, f"serve ended: {log.read_text()[self._log_from :]}"
            await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._parent is not None
        self._parent.send_signal(signal.SIGTERM)
        while self._parent.poll() is None:  # noqa: ASYNC110 - a process gives no event
            await asyncio.sleep(0.02)
        return int(self._parent.returncode)

    async def kill(self, *, with_store: bool = False) -> None:
        """Kill -9 of everything that serves: parent, workers, keeper; the embedded store too when asked."""
        assert self._parent is not None
        store = self.store_pid
        doomed = [each.pid for each in psutil.Process(self._parent.pid).children(recursive=True)]
        doomed = [pid for pid in doomed if pid != store] + ([store] if with_store and store else [])
        self._parent.kill()
        for pid in doomed:
            _kill(pid)
        self._parent.wait()
        while any(_lives(pid) for pid in doomed):  # noqa: ASYNC110 - processes give no event
            await asyncio.sleep(0.01)

    def end(self) -> None:
        """Leave nothing behind, whatever has happened."""
        store = self.store_pid
        if self._parent is not None and self._parent.poll() is None:
            children = psutil.Process(self._parent.pid).children(recursive=True)
            self._parent.kill()
            self._parent.wait()
            for child in children:
                _kill(child.pid)
        if store:
            _kill(store)

    # -- parts

    @property
    def workers(self) -> dict[str, int]:
        """The workers' pids by name, as the log told them last."""
        found = {line["name"]: line["pid"] for line in self.told("process started")}
        return {name: pid for name, pid in found.items() if name.startswith("worker")}

    def told(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this start with one event."""
        text = (self.folder / "log").read_text()[self._log_from :]
        rows = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
        return [row for row in rows if row.get("event") == event]

    @property
    def store_pid(self) -> int:
        """The embedded store's pid, or 0."""
        if self._store:
            return 0
        try:
            notes = json.loads((self.data_dir / "store.lock").read_text() or "{}")
        except (OSError, ValueError):
            return 0
        pid = int(notes.get("pid", 0))
        return pid if pid and _lives(pid) else 0

    def kill_worker(self, name: str) -> None:
        _kill(self.workers[name])

    def kill_store(self) -> None:
        """Kill the store; one that was killed a moment ago has to live again first."""
        for _ in range(1_000):
            if self.store_pid:
                break
            time.sleep(0.02)
        pid = self.store_pid
        assert pid, "no store lives"
        _kill(pid)

    # -- the command line

    async def ocs(self, *arguments: str) -> tuple[int, str]:
        """Run one command on this server's store: exit code and what it printed."""
        process = await self.begin(*arguments)
        out, errors = await process.communicate()
        return process.returncode or 0, (out + errors).decode()

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start one command on this server's store."""
        return await asyncio.create_subprocess_exec(
            *self._command(*arguments),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
