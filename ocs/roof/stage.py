"""The demo's stage: a real server, a packet gateway and the command line, each in processes of their own, on loopback."""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place

READY_S_MAX = 60
ANSWER_S_MAX = 20
STOP_S_MAX = 30


class Ran(NamedTuple):
    """A command that has ended: its exit code, its JSON answer when it gave one, and its remarks."""

    code: int
    answer: Any
    remarks: str


class Actor:
    """A child process that says lines on its standard output and may be told lines on its standard input."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as remarks:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=remarks,
                text=True,
                process_group=0,  # Ctrl-C is ours: we end them in order
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def hear(self, wait_s: float) -> str:
        """Return the next line; Ended when there is none in time or the process has ended, with the tail of its log."""
        with suppress(queue.Empty):
            line = self._lines.get(timeout=wait_s)
            if line:
                return line
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
        raise Ended(Exit.FOUND_WRONG, f"a process of the demo fell silent; it last said:\n{tail}")

    def tell(self, command: dict[str, Any]) -> Any:
        """Tell one command and return the answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return json.loads(self.hear(ANSWER_S_MAX))

    def leave(self) -> None:
        """End its input, and wait until it ends by itself."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ANSWER_S_MAX)

    def stop(self) -> int:
        """End it with SIGTERM, in the end with SIGKILL; returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Stage:
    """Everything that the demo plays with; leave the block and all of it has ended."""

    def __init__(self, place: Place, folder: Path) -> None:
        self._folder = folder
        self._options = ["--data-dir", str(folder)]
        if place.store is not None:
            self._options += ["--store", place.store]
        if place.config is not None:
            self._options += ["--config", str(place.config)]
        self._server: Actor | None = None
        self._gateway: Actor | None = None
        self.ready = ""
        """The server's own line: where it listens."""

    def __enter__(self) -> Self:
        free = [
            "--diameter-host",
            "127.0.0.1",
            "--diameter-port",
            "0",
            "--http-host",
            "127.0.0.1",
            "--http-port",
            "0",
        ]
        self._server = Actor(["ocs", "serve", *free, *self._options], self._folder / "demo-server.log")
        try:
            self.ready = self._server.hear(READY_S_MAX)
            named = dict(part.split("=", 1) for part in self.ready.split() if "=" in part)
            host, _, port = named["diameter"].rpartition(":")
            arguments = ["ocs.roof.gateway", host.strip("[]"), port]
            self._gateway = Actor(arguments, self._folder / "demo-gateway.log")
            self._gateway.hear(READY_S_MAX)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_fault: object) -> None:
        self._end()

    def _end(self) -> int:
        gateway, server = self._gateway, self._server
        self._gateway = self._server = None
        if gateway is not None:
            gateway.stop()
        return server.stop() if server is not None else 0

    def close(self) -> int:
        """End the gateway, then the server as an operator does; returns the server's exit code."""
        if self._gateway is not None:
            self._gateway.leave()
        return self._end()

    def gateway(self, **command: Any) -> Any:
        """Let the gateway do something; returns what it read in the answer."""
        assert self._gateway is not None
        return self._gateway.tell(command)

    def ocs(self, *arguments: str) -> Ran:
        """Run an `ocs` command with --json, as a user would."""
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "ocs", *arguments, "--json", *self._options],
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_S_MAX,
        )
        answer = None
        with suppress(ValueError):
            answer = json.loads(done.stdout)
        return Ran(done.returncode, answer, done.stderr.strip())


@contextmanager
def folder_of(place: Place) -> Iterator[Path]:
    """Give the folder of the demo: the one that was asked for, or one that is removed at the end."""
    if place.data_dir is not None:
        place.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield place.data_dir
        return
    folder = Path(tempfile.mkdtemp(prefix=f"ocs-demo-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
