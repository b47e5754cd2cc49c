"""A whole server with the granting book, as processes: run as `python -m tests.served_processes FOLDER WORKERS`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import psutil
import structlog

from ocs.limits import WORKER_SILENT_MS_MAX
from ocs.server import supervisor as supervising
from ocs.server.child import begin
from ocs.server.roll import Renewal
from ocs.server.supervisor import Places, ServeConfig, Supervisor
from tests.house.source import ROOT
from tests.serving import build_door, build_keeper, build_worker, judge

SILENT_MS = "TEST_SILENT_MS"
STARTED = "started"
"""Of the folder: the name and pid of each process that was started, a line each."""


def main(folder: Path, workers: int, fault: Exception | None = None) -> int:
    """Serve until SIGTERM; the places go to standard output as one line of JSON."""

    def read() -> Any:
        """What a rolling restart hands out: a text that the judge refuses, a fault that workers end with, or the count."""
        if (folder / "refused").exists():
            return (folder / "refused").read_text()
        return RuntimeError("made up") if (folder / "faulty").exists() else workers

    def announce(places: Places) -> None:
        print(json.dumps([places.diameter, places.http]), flush=True)  # noqa: T201 - what the test reads

    setattr(supervising, "WORKER_SILENT_MS_MAX", int(os.environ.get(SILENT_MS, WORKER_SILENT_MS_MAX)))  # noqa: B010 - a constant
    begin(os.getppid())  # a run of the tests that is itself killed leaves nothing behind

    def note(_logger: Any, _method: str, event: Any) -> Any:
        if event["event"] == "process started":
            with (folder / STARTED).open("a") as file:
                file.write(f"{event['name']} {event['pid']}\n")
        return event

    processors = [note, *structlog.get_config()["processors"]]
    structlog.configure(processors, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    config = ServeConfig(
        host="127.0.0.1",
        port=0,
        tls_port=None,
        http_host="127.0.0.1",
        http_port=0,
        workers=workers,
        counters_folder=folder,
        handed=workers if fault is None else fault,
        drain_s=5.0,
    )
    supervisor = Supervisor(
        config,
        build_worker=build_worker,
        build_keeper=build_keeper,
        build_door=build_door,
        log=structlog.get_logger(),
        on_ready=announce,
        renewal=Renewal(read, judge),
    )
    code = supervisor.run()
    if supervisor.fault is not None:
        print(supervisor.fault.reason, file=sys.stderr)  # noqa: T201 - as above
    return code


class Processes:
    """The server's processes, for a test."""

    def __init__(self, folder: Path, workers: int = 1, silent_ms: int = WORKER_SILENT_MS_MAX) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.served_processes", str(folder), str(workers)],
            cwd=ROOT,
            env=os.environ | {SILENT_MS: str(silent_ms)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = self.http_port = 0
        self.said = ""

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.communicate()[1])
        (_host, self.port), (_http_host, self.http_port) = json.loads(line)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self.said = self._process.communicate()[1]
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        """The supervisor's pid."""
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """The pid of each process by its name, as they were started last."""
        rows = (line.split() for line in (self._folder / STARTED).read_text().splitlines())
        return {name: int(pid) for name, pid in rows}

    def terminate(self) -> int:
        """End it with SIGTERM; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        self.said = self._process.communicate()[1]
        return self._process.returncode

    def roll(self) -> None:
        """Ask for a rolling restart with SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    def close_log(self) -> None:
        """Stop reading what it writes to its standard error."""
        assert self._process.stderr is not None
        self._process.stderr.close()

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill the supervisor alone."""
        self._process.kill()
        self._process.communicate()

    def children(self) -> list[psutil.Process]:
        """The processes of the server other than the supervisor: workers, keeper and door."""
        family: list[Any] = psutil.Process(self.pid).children()
        return [child for child in family if "resource_tracker" not in " ".join(child.cmdline())]


if __name__ == "__main__":
    raised = RuntimeError(sys.argv[3]) if len(sys.argv) > 3 else None
    sys.exit(main(Path(os.fspath(sys.argv[1])), int(sys.argv[2]), raised))
