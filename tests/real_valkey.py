"""Real Valkey servers for tests: only a real server judges tests of money. Loopback only, ended by their own pid."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ocs.balance.embedded import DIRECTIVES, find_binary

_lent: set[int] = set()
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


def _die_with_parent(number: int = signal.SIGKILL) -> None:
    """A run of the tests that is itself killed leaves no server behind (PR_SET_PDEATHSIG, Linux only)."""
    if _prctl is not None:
        _prctl(1, number)


def free_port(distance: int = 0) -> int:
    """Return a free port, lent once per run, whose neighbour at `distance` (a cluster's bus) is free too."""
    for _ in range(1000):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port in _lent or port + distance > 65_535:
                continue
            try:
                second.bind(("127.0.0.1", port + distance if distance else 0))
            except OSError:
                continue
            _lent.add(port)
            return port
    raise RuntimeError("no free port")


class RealValkey:
    """One server in a folder of its own: settings of the embedded store, appendfsync no unless told otherwise."""

    def __init__(
        self,
        *arguments: str,
        settings: dict[str, str] | None = None,
        port: int = 0,
        sentinel: bool = False,
        folder: str | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-", dir=folder))
        self.port = port or free_port()
        self._arguments = arguments
        self._settings = ({} if sentinel else DIRECTIVES | {"appendfsync": "no", "unixsocket": "s"}) | (
            settings or {}
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.folder / 's'}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **options: Any) -> Any:
        """A plain client that never sends twice."""
        return redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), retry_on_error=[], **options)

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start from the main thread (a server dies with the thread that started it), and do not wait."""
        lines = self._settings | {"port": str(self.port), "bind": "127.0.0.1"}
        (self.folder / "conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_binary()), "./conf", *self._arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of the C library, resolved before
            )

    def await_ready(self) -> None:
        """Wait until it answers PING."""
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            try:
                with self.client(password=self._settings.get("requirepass")) as client:
                    client.ping()
            except redis.RedisError:
                time.sleep(0.01)
            else:
                return
        raise RuntimeError("the server does not answer")

    def empty(self) -> None:
        """Forget every key and every function."""
        with self.client() as client:
            client.flushall()
            client.function_flush()

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it from running; its connections stay open and silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove its folder."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
