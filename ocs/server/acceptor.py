"""The acceptor: takes connections from the listening sockets and hands each to the least loaded worker.

Laws
1. Peers are few and live long, so the kernel's own spreading may load one worker only: here load decides.
2. Load is a worker's share of all connections plus its share of all requests of the last report; a relay that carries
   most of the traffic on one connection weighs as much as it is.
3. While no worker takes sockets, connections wait in the kernel's queue; they are not refused. One that was accepted before
   that was known is kept, and handed over first.
"""

import asyncio
import errno
import socket
from typing import Final, NamedTuple

from ocs.limits import LISTEN_BACKLOG
from ocs.server.channel import Load, hand
from ocs.server.log import Log

_ACCEPTED_PER_TURN: Final = 64
_PAUSE_S: Final = 0.1
_SPENT: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Door(NamedTuple):
    """One listening socket; `secured` when its peers speak TLS."""

    socket: socket.socket
    secured: bool


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host, on one port; 0 picks a free one. "::" takes IPv4 too. Raises OSError."""
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    doors: list[socket.socket] = []
    try:
        for family, kind, protocol, _name, address in sorted(places, key=lambda place: place[0]):
            door = socket.socket(family, kind, protocol)
            doors.append(door)
            door.setblocking(False)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
            chosen = doors[0].getsockname()[1] if len(doors) > 1 else port
            door.bind((address[0], chosen, *address[2:]))
            door.listen(LISTEN_BACKLOG)
    except OSError:
        for door in doors:
            door.close()
        raise
    return doors


class _Seat:
    """One worker as the acceptor sees it."""

    __slots__ = ("channel", "connections", "handed", "rate", "requests", "taken")

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.handed = 0  # sockets, ever
        # of its last report:
        self.taken = 0
        self.connections = 0
        self.requests = 0
        self.rate = 0  # requests since the report before

    @property
    def held(self) -> int:
        """Connections that it has, with those that are on their way to it."""
        return self.connections + self.handed - self.taken


class Acceptor:
    """Accepts and hands out; lives in the supervisor's loop.

    It begins when the first `workers` have come: peers dial again at once after a restart and stay for long, so that the
    worker that is up first would get them all.
    """

    def __init__(self, doors: tuple[Door, ...], log: Log, workers: int = 1) -> None:
        self._awaited = workers
        self._doors = doors
        self._log = log
        self._seats: dict[str, _Seat] = {}
        self._kept: tuple[socket.socket, bool] | None = None  # accepted, and nobody took it yet; secured
        self._again: asyncio.TimerHandle | None = None
        self._open = False
        self._closed = False

    def join(self, name: str, channel: socket.socket) -> None:
        """Begin to hand sockets to a worker."""
        self._seats[name] = _Seat(channel)
        if len(self._seats) >= self._awaited:
            self._awaited = 1
            self._listen()

    def leave(self, name: str) -> None:
        """Stop handing sockets to a worker."""
        self._seats.pop(name, None)
        if not self._seats:
            self._pause()

    def report(self, name: str, load: Load) -> None:
        """Take note of a worker's load; it is told once a second."""
        seat = self._seats.get(name)
        if seat is not None:
            seat.connections, seat.taken = load.connections, load.taken
            seat.rate, seat.requests = max(load.requests - seat.requests, 0), load.requests

    def close(self) -> None:
        """Stop listening for good."""
        self._pause()
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        if self._kept is not None:
            self._kept[0].close()
            self._kept = None
        for door in self._doors:
            door.socket.close()

    def least_loaded(self) -> list[str]:
        """Names of the workers, the least loaded first."""
        seats = self._seats
        connections = sum(seat.held for seat in seats.values()) or 1
        requests = sum(seat.rate for seat in seats.values()) or 1

        def weight(name: str) -> float:
            seat = seats[name]
            return seat.held / connections + seat.rate / requests

        return sorted(seats, key=weight)

    def _listen(self) -> None:
        if self._open or self._closed or not self._seats:
            return
        if self._kept is not None:
            kept, self._kept = self._kept, None
            if not self._hand(kept[0], secured=kept[1]):
                return
        self._open = True
        loop = asyncio.get_running_loop()
        for door in self._doors:
            loop.add_reader(door.socket.fileno(), self._accept, door)

    def _pause(self) -> None:
        if self._open:
            self._open = False
            loop = asyncio.get_running_loop()
            for door in self._doors:
                loop.remove_reader(door.socket.fileno())

    def _rest(self, why: str) -> None:
        """Accept nothing for a moment: trying again at once would only burn the processor."""
        self._log.warning("accepting pauses", why=why)
        self._pause()
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(_PAUSE_S, self._listen)

    def _accept(self, door: Door) -> None:
        if not self._open:
            return
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                accepted, _address = door.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SPENT:
                    raise
                self._rest(error.strerror or str(error))
                return
            if not self._hand(accepted, secured=door.secured):
                return

    def _hand(self, accepted: socket.socket, *, secured: bool) -> bool:
        """Hand a socket to the least loaded worker that takes it; when none does, keep it and rest."""
        for name in self.least_loaded():
            if hand(self._seats[name].channel, accepted, secured=secured):
                self._seats[name].handed += 1
                accepted.close()
                return True
        self._kept = accepted, secured
        self._rest("no worker takes a connection now")
        return False
