"""A tap on the wire: a plain TCP proxy that keeps every Diameter message that passed, and lays them down as a capture file.

No packet is sniffed: the file's TCP/IP headers are made up around the octets that the proxy itself has moved.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path
from typing import NamedTuple, Self

from tests.real_ocs import Read, stranger

DIAMETER_PORT = 3868
FIRST_CLIENT_PORT = 40_000
RAW_IP = 101
"""LINKTYPE_RAW of the pcap format: each packet begins with its IP header."""


class Said(NamedTuple):
    """One whole message; connections are counted from 0."""

    connection: int
    from_server: bool
    frame: bytes

    @property
    def command(self) -> int:
        return int.from_bytes(self.frame[5:8], "big")

    @property
    def is_request(self) -> bool:
        return bool(self.frame[4] & 0x80)

    def read(self) -> Read:
        """The message as a stranger's codec reads it."""
        return stranger(self.frame)


class Tap:
    """Stands before 127.0.0.1:`upstream` on a loopback port of its own; each connection has two threads."""

    def __init__(self, upstream: int) -> None:
        self.said: list[Said] = []
        self.swallows = False
        """What the server says is noted and goes no further."""
        self._upstream = upstream
        self._connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_exception: object) -> None:
        _end(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def connect(self) -> socket.socket:
        """A bare connection through the tap."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def cut(self) -> None:
        """Close every connection on both sides."""
        for end in list(self._open):
            _end(end)

    def of(self, command: int, *, from_server: bool, request: bool) -> list[Read]:
        """Requests or answers of one command that one side has said so far."""
        return [
            each.read()
            for each in list(self.said)
            if (each.command, each.from_server, each.is_request) == (command, from_server, request)
        ]

    def _begin(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number, self._connections = self._connections, self._connections + 1
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), timeout=20)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open += [client, server]
            self._begin(self._pass, client, server, number, False)
            self._begin(self._pass, server, client, number, True)

    def _pass(self, source: socket.socket, sink: socket.socket, number: int, from_server: bool) -> None:  # noqa: FBT001
        """Move octets; what is moved is noted first, so that a request stands before its answer."""
        pending = b""
        while chunk := _received(source):
            pending += chunk
            while len(pending) >= 4 and len(pending) >= (length := int.from_bytes(pending[1:4], "big")) > 0:
                self.said.append(Said(number, from_server, pending[:length]))
                pending = pending[length:]
            if from_server and self.swallows:
                continue
            try:
                sink.sendall(chunk)
            except OSError:
                break
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65_536)
    except OSError:
        return b""


def _end(end: socket.socket) -> None:
    """Wake whoever waits on it, then close."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def write_pcap(path: Path, said: list[Said]) -> None:
    """A capture file with one packet for each message, in order, a microsecond apart; the server's port is 3868."""
    packets = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, RAW_IP)]
    sent: dict[tuple[int, bool], int] = {}
    for at, (number, from_server, frame) in enumerate(said):
        ports = [FIRST_CLIENT_PORT + number, DIAMETER_PORT]
        near, far = sent.get((number, from_server), 1), sent.get((number, not from_server), 1)
        sent[number, from_server] = near + len(frame)
        source, target = reversed(ports) if from_server else ports
        tcp = struct.pack(">HHIIBBHHH", source, target, near, far, 5 << 4, 0x18, 65_535, 0, 0)
        loopback = socket.inet_aton("127.0.0.1")
        ip = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 40 + len(frame), at & 0xFFFF, 0, 64, 6, 0, loopback, loopback
        )
        packet = ip + tcp + frame
        packets.append(
            struct.pack("<IIII", 1_700_000_000 + at // 1_000_000, at % 1_000_000, len(packet), len(packet))
            + packet
        )
    path.write_bytes(b"".join(packets))
