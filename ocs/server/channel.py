"""What the supervisor and one of its processes say to each other, over a pair of unix sockets that keep messages whole.

Laws
1. The supervisor hands over accepted sockets; the process reports ready, its load, and why it could not start.
2. Neither end ever waits for the other: what cannot be written now is not written, and the sender knows.
3. The end of the channel is the end of the other process.
4. The two may be of two releases, while a server is upgraded under load (roll.py): `Start` grows only at its end, with defaults,
   and what is said keeps its octets; a release that breaks either raises HANDOVER, and is refused with a sentence.
"""

import socket
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple

HANDOVER: Final = 2
"""Version of what a supervisor and its processes tell each other."""

READY: Final = b"R"
PLAIN: Final = b"P"
SECURED: Final = b"T"
_LOAD: Final = b"L"
_FAULT: Final = b"F"
_LOAD_SHAPE = Struct("<IIQQ")
_FAULT_SHAPE = Struct("<B")
_OCTETS_MAX: Final = 4_096


class Load(NamedTuple):
    """What a worker carries: connections, requests under way, and since its start requests answered and sockets taken over."""

    connections: int
    inflight: int
    requests: int
    taken: int


class StartFault(Exception):
    """A process could not start; `exit_code` is what the command ends with (INTERFACE: 5 store unavailable)."""

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type["StartFault"], tuple[str, int]]:
        return StartFault, (self.reason, self.exit_code)


class Start(NamedTuple):
    """What a process is told when it starts; plain and picklable. ``handed`` is the roof's own.

    A worker's ``number`` is its place among the server's; a place is taken by one process at a time. ``folder`` is where it counts.
    """

    name: str  # "worker-0": of its counters and its log lines
    number: int
    folder: Path | None
    handed: Any = None
    handover: int = HANDOVER

    def check(self) -> None:
        """Refuse a supervisor whose words we do not know; raises StartFault."""
        if self.handover != HANDOVER:
            raise StartFault(
                f"the running server hands over as version {self.handover} and this release knows {HANDOVER}: it cannot be upgraded "
                "by a rolling restart; stop it, then start it",
                2,
            )


class NotTaken(Exception):
    """A socket was handed over and did not come: this process has no descriptor left for it, and the kernel has closed it."""


class Handed(NamedTuple):
    """A socket that was accepted elsewhere, and whether its peer speaks TLS."""

    socket: socket.socket
    secured: bool


Said = bytes | Load | StartFault


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the supervisor's end and the process's end."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def hand(channel: socket.socket, accepted: socket.socket, *, secured: bool) -> bool:
    """Hand an accepted socket over; False when the process does not take it now. The caller closes its own copy."""
    try:
        socket.send_fds(channel, [SECURED if secured else PLAIN], [accepted.fileno()])
    except OSError:
        return False
    return True


def take(channel: socket.socket) -> Handed | None:
    """Take the next socket that was handed over; None when there is none now.

    Raises EOFError when the supervisor has gone, NotTaken when there was no descriptor left for the socket.
    """
    try:
        kind, descriptors, _flags, _address = socket.recv_fds(channel, 1, 1)
    except (BlockingIOError, InterruptedError):
        return None
    if not kind:
        raise EOFError("the supervisor has gone")
    if not descriptors:  # MSG_CTRUNC
        raise NotTaken("no descriptor left")
    return Handed(socket.socket(fileno=descriptors[0]), kind == SECURED)


def say(channel: socket.socket, said: Said) -> bool:
    """Report to the supervisor; False when it was not written."""
    if isinstance(said, Load):
        octets = _LOAD + _LOAD_SHAPE.pack(*said)
    elif isinstance(said, StartFault):
        octets = _FAULT + _FAULT_SHAPE.pack(said.exit_code) + said.reason.encode()[: _OCTETS_MAX - 8]
    else:
        octets = said
    try:
        channel.send(octets)
    except OSError:
        return False
    return True


def hear(channel: socket.socket) -> Said | None:
    """Hear the next report of a process; None when there is none now. Raises EOFError when the process has gone."""
    try:
        octets = channel.recv(_OCTETS_MAX)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError as error:
        raise EOFError("the process has gone") from error
    if not octets:
        raise EOFError("the process has gone")
    if octets[:1] == _LOAD:
        return Load(*_LOAD_SHAPE.unpack(octets[1:]))
    if octets[:1] == _FAULT:
        return StartFault(octets[2:].decode(errors="replace"), octets[1])
    return octets
