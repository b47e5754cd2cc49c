"""A real `ocs serve`, a process on its embedded store, and a stranger's reading of what it says (python-diameter)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from diameter.message import Message

from ocs.server import counters
from tests.house.source import ROOT
from tests.real_valkey import _die_with_parent
from tests.strangers import shown

CAPTURES = ROOT / "tests" / "vectors" / "captures"
CAPTURED_MSISDN, CAPTURED_IMSI = b"491700000001", b"001010000000001"
"""Whom every capture is about."""

READY = re.compile(r"ready diameter=127\.0\.0\.1:(\d+) http=127\.0\.0\.1:(\d+)\n")
_IDLE_S = 20


class Connectable(Protocol):
    """A server, or what stands before one."""

    def connect(self) -> socket.socket:
        """A bare connection."""


class RealOcs:
    """`ocs serve` in a folder of its own; `settings` are variables such as OCS_CHARGING__VALIDITY_S, `options` words."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.name = "ocs serve"
        self.folder = folder / "ocs-data"
        self.log = folder / "serve.log"
        self.port = self.http_port = 0
        self._options = options
        self._environment = {
            name: text for name, text in os.environ.items() if not name.startswith("OCS_")
        } | settings
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ocs", "serve", "--data-dir", str(self.folder)),
                    *("--diameter-port", "0", "--http-port", "0", *self._options),
                ],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=partial(_die_with_parent, signal.SIGTERM),  # noqa: PLW1509 - one call of the C library
            )
        assert self._process.stdout is not None
        ready = READY.fullmatch(self._process.stdout.readline())
        if ready is None:
            self._process.kill()
            self._process.communicate()
            raise AssertionError(self.log.read_text(encoding="utf-8"))
        self.port, self.http_port = int(ready[1]), int(ready[2])
        shown.append(self)
        return self

    def stop(self) -> None:
        """Ask it to end, and do not wait."""
        assert self._process is not None
        self._process.terminate()

    def restart(self) -> None:
        """End it and start it again with the same settings, on the same folder; its log goes on."""
        self.__exit__(None, None, None)
        self.__enter__()

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        assert self._process is not None
        self.stop()
        self._process.communicate()
        assert self._process.returncode == 0
        if kind is None and self in shown:  # else until the report of the test that fails is made
            shown.remove(self)

    def ocs(self, *words: str) -> Any:
        """One command on the server's store, which has to succeed; its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "ocs", *words, "--data-dir", str(self.folder), "--json"],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def balance(self, msisdn: str) -> tuple[str, str]:
        """Balance and what of it is reserved."""
        said = self.ocs("balance", msisdn)
        return said["balance"], said["reserved"]

    def count(self, family: str, *labels: str) -> int:
        """A counter's value over all processes."""
        assert self._process is not None
        folder = self.folder / "run" / str(self._process.pid)
        return sum(reading.value(family, *labels) for reading in counters.read(folder))

    def troubles(self) -> list[str]:
        """Lines of the log above a warning, or that are no line of a log at all (a traceback)."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["level"] not in {"debug", "info", "warning"}:
                    found.append(line)
            except (ValueError, KeyError, TypeError):
                found.append(line)
        return found

    @property
    def pid(self) -> int:
        """The supervisor's pid."""
        assert self._process is not None
        return self._process.pid

    def connect(self) -> socket.socket:
        """A bare connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=_IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def read_frame(connection: socket.socket) -> bytes | None:
    """The octets of the next message, or None at the end of the connection."""
    frame = b""
    needed = 20
    while len(frame) < needed:
        try:
            more = connection.recv(needed - len(frame))
        except ConnectionResetError:
            more = b""
        if not more:
            assert not frame, "the connection ended inside a message"
            return None
        frame += more
        if len(frame) == 20:
            needed = int.from_bytes(frame[1:4], "big")
    return frame


class Read(NamedTuple):
    """A message as python-diameter reads it: typed, and as the plain AVPs in the order in which they came."""

    frame: bytes
    typed: Any
    plain: Any

    @property
    def codes(self) -> list[int]:
        """Codes of the top-level AVPs in order."""
        return [avp.code for avp in self.plain.avps]

    def all_of(self, code: int) -> list[Any]:
        """The top-level AVPs of a code."""
        return [avp for avp in self.plain.avps if avp.code == code]

    def value(self, code: int) -> Any:
        """The value of the only top-level AVP of a code."""
        (avp,) = self.all_of(code)
        return avp.value


def stranger(frame: bytes) -> Read:
    """Read a message with a codec that is not ours."""
    return Read(frame, Message.from_bytes(frame), Message.from_bytes(frame, plain_msg=True))


class Captured(NamedTuple):
    """One message of a capture; `name` is such as "CCR-I peer->server"."""

    name: str
    frame: bytes


class Conversation(NamedTuple):
    """What one connection said, from its CER on."""

    name: str
    messages: tuple[Captured, ...]

    def about(self, msisdn: str) -> Conversation:
        """The same conversation about another subscriber, whose names have as many digits."""
        other_imsi = imsi_of(msisdn).encode()
        assert (len(msisdn), len(other_imsi)) == (len(CAPTURED_MSISDN), len(CAPTURED_IMSI))
        return self._replace(
            messages=tuple(
                each._replace(
                    frame=each.frame.replace(CAPTURED_MSISDN, msisdn.encode()).replace(
                        CAPTURED_IMSI, other_imsi
                    )
                )
                for each in self.messages
            )
        )

    @property
    def frames(self) -> list[bytes]:
        return [each.frame for each in self.messages]


def imsi_of(msisdn: str) -> str:
    """The IMSI that `ocs subscriber bulk` gives to a number (INTERFACE)."""
    return f"26201{msisdn[-10:]}"


def conversations() -> list[Conversation]:
    """Every connection of every capture, named by its file, and by its place where a file has several."""
    found: list[Conversation] = []
    for path in sorted(CAPTURES.glob("*.hex")):
        lines = path.read_text(encoding="utf-8").splitlines()
        said = [
            Captured(comment.removeprefix("# "), bytes.fromhex(octets))
            for comment, octets in zip(lines[::2], lines[1::2], strict=True)
        ]
        starts = [at for at, each in enumerate(said) if each.name.startswith("CER")]
        for place, (start, end) in enumerate(zip(starts, [*starts[1:], len(said)], strict=True)):
            name = path.stem if len(starts) == 1 else f"{path.stem}_{place + 1}"
            found.append(Conversation(name, tuple(said[start:end])))
    return found
