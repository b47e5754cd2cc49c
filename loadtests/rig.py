"""The processes of a benchmark: `ocs serve` as an operator starts it, the generator, and what both cost while load runs.

Laws
1. The server is a real one, started by its command on free loopback ports; it is ended by its own process id.
2. Worker, store and generator are measured apart; supervisor, keeper and door are shown beside them.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from loadtests.gauges import StoreGauge, StoreReading, cpu_us, machine_busy_us, resident_octets
from ocs.balance.embedded import SOCKET

READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
SAMPLE_SECONDS = 1.0
FIRST_MSISDN = 491_700_000_000


class RigFault(Exception):
    """Something of the benchmark did not do what it is there for; the text says what."""


class Sample(NamedTuple):
    """One look at everything: processor time and memory by name of the process, and the store's own word."""

    at: float
    cpu_us: dict[str, int]
    resident_octets: dict[str, int]
    store: StoreReading
    machine_busy_us: int


class Measured(NamedTuple):
    """What the generator reported, and the samples from the first to the last moment of its window."""

    result: dict[str, Any]
    samples: list[Sample]


def run_command(*arguments: str, timeout: float = 600.0) -> tuple[int, str]:
    """Run a command of ours to its end: exit code and standard output; what it says on standard error is shown."""
    with _child_of([sys.executable, "-m", *arguments]) as child:
        output, _ = child.communicate(timeout=timeout)
        return child.returncode, output


class Server:
    """One `ocs serve` on a data folder."""

    def __init__(self, folder: Path, durability: str, workers: int, **settings: str) -> None:
        self._folder = folder
        self._log = folder.parent / f"{folder.name}.log"
        environment = {**os.environ, "OCS_STORE__DURABILITY": durability, "OCS_LOG__LEVEL": "info"} | settings
        command = [
            sys.executable, "-m", "ocs", "serve", "--data-dir", str(folder), "--diameter-port", "0",
            "--http-port", "0", "--workers", str(workers),
        ]  # fmt: skip
        with self._log.open("w") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
                process_group=0,
            )  # fmt: skip
        try:
            self.address, self.http_address = self._await_ready()
            self.pids = self._read_pids(workers)
            self._gauge = StoreGauge(f"unix://{folder / SOCKET}")
            self.store_version = self._gauge.version
        except BaseException:
            self.stop(must_drain=False)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._gauge.close()
        self.stop(must_drain=kind is None)

    def _await_ready(self) -> tuple[str, str]:
        stdout = self._child.stdout
        if stdout is None:
            raise RigFault("the server has no standard output")
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until and self._child.poll() is None:
            if select.select([stdout], [], [], 0.2)[0]:
                line = stdout.readline()
                if line.startswith("ready "):
                    words = dict(word.split("=", 1) for word in line.split()[1:])
                    return words["diameter"], words["http"]
        raise RigFault(f"the server did not start:\n{self._log_tail()}")

    def _read_pids(self, workers: int) -> dict[str, int]:
        """Read from the server's log which process is which."""
        pids = {"supervisor": self._child.pid}
        for line in self._log.read_text().splitlines():
            if line.startswith("{"):
                told = json.loads(line)
                if told.get("event") == "process started" and "pid" in told:
                    pids[told["name"]] = told["pid"]
        if len([name for name in pids if name.startswith("worker")]) != workers:
            raise RigFault(f"{workers} workers were asked for, the log names {sorted(pids)}")
        return pids

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text().splitlines()[-20:])

    def sample(self) -> Sample:
        """Look at every process now."""
        store = self._gauge.read()
        pids = {**self.pids, "store": self._gauge.pid}
        try:
            cpu = {name: cpu_us(pid) for name, pid in pids.items()}
            resident = {name: resident_octets(pid) for name, pid in pids.items()}
        except OSError as fault:
            raise RigFault(f"a process of the server has gone:\n{self._log_tail()}") from fault
        return Sample(time.monotonic(), cpu, resident, store, machine_busy_us())

    def stop(self, *, must_drain: bool) -> None:
        """End the server with SIGTERM; one that does not drain and exit 0 is a fault."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            code = self._child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            code = -9
        if self._child.stdout is not None:
            self._child.stdout.close()
        if must_drain and code != 0:
            raise RigFault(f"the server ended with {code} on SIGTERM:\n{self._log_tail()}")


def generate(
    address: str, server: Server | None, *options: str, module: str = "loadtests.generator"
) -> Measured:
    """Run the generator (or the channels) to its end, looking at the server through its measured window."""
    command = [sys.executable, "-m", module, "--address", address, *options]
    samples: list[Sample] = []
    result: dict[str, Any] = {}
    with _child_of(command) as child:
        stdout = child.stdout
        if stdout is None:
            raise RigFault("the generator has no standard output")
        measuring = False
        while True:
            # a line that our buffer holds is seen at the next line or at the end of the stream: no event is lost, and the
            # two that are timed are never written together
            if not select.select([stdout], [], [], SAMPLE_SECONDS)[0]:
                if measuring and server is not None:
                    samples.append(server.sample())
                continue
            line = stdout.readline()
            if not line:
                break
            told = json.loads(line)
            if told["event"] in {"measuring", "measured"} and server is not None:
                samples.append(server.sample())
            measuring = told["event"] == "measuring"
            if told["event"] in {"result", "failed"}:
                result = told
    if result.get("event") != "result":
        raise RigFault(f"{module} failed: {result.get('why', 'it ended without a word')}")
    return Measured(result, samples)


@contextmanager
def _child_of(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a child whose lines are read; it is ended with us."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()  # it may have started a store, which it has to end itself
        try:
            child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


@contextmanager
def stranger(port: int, connections: int) -> Iterator[str]:
    """Run python-diameter's node that answers a fixed CCA; gives its address."""
    command = [
        sys.executable, "-m", "loadtests.yardsticks", "node", "--port", str(port), "--connections", str(connections)
    ]  # fmt: skip
    with _child_of(command) as child:
        line = child.stdout.readline() if child.stdout is not None else ""
        if not line.startswith("ready "):
            raise RigFault("python-diameter's node did not start")
        yield f"127.0.0.1:{port}"


def subscribe(folder: Path, count: int, tariff: str) -> None:
    """Create the subscribers of a run on a tariff, by the command."""
    code, _ = run_command(
        "ocs", "subscriber", "bulk", "--count", str(count), "--first", str(FIRST_MSISDN), "--tariff", tariff,
        "--credit", "1000.00", "--data-dir", str(folder),
    )  # fmt: skip
    if code != 0:
        raise RigFault(f"`ocs subscriber bulk` ended with {code}")


def audit(folder: Path) -> dict[str, Any]:
    """Audit the folder's living store; the report, clean or not."""
    code, output = run_command("ocs", "audit", "--json", "--data-dir", str(folder))
    try:
        report: dict[str, Any] = json.loads(output)
    except json.JSONDecodeError as fault:
        raise RigFault(f"`ocs audit` ended with {code} and no report") from fault
    report["clean"] = report["clean"] and code == 0
    return report


def free_port() -> int:
    """Return a loopback port that is free now, for a server that cannot pick one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
