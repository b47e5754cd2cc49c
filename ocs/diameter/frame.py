"""Octets from a stream to whole messages, bounded, however they were cut (RFC 6733 section 3).

Laws
1. At most one unfinished message is kept, and never more of it than the limit.
2. A length that cannot be ends the connection: where the next message begins is unknown for ever.
3. The version is not judged here: the codec answers it (5011).
"""

from typing import Final

from ocs.diameter.message import HEADER_OCTETS

_LENGTH_OCTETS: Final = 4  # version and Message Length


class FrameFault(ValueError):
    """The stream cannot be cut into messages any more; close it. `frames` were complete before the fault."""

    def __init__(self, reason: str, frames: list[bytes]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.frames = frames


class Framer:
    """Cuts one connection's octets into messages, header to last padding."""

    __slots__ = ("_broken", "_buffer", "_message_octets_max", "_wanted")

    def __init__(self, message_octets_max: int) -> None:
        self._message_octets_max = message_octets_max
        self._buffer = bytearray()
        self._wanted = 0  # octets that the buffer must hold before it is worth looking at again
        self._broken = ""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take what was read and return the messages that it completes, in order.

        Raises FrameFault for a Message Length below 20, not a multiple of 4, or above the limit, and for anything
        that comes after that.
        """
        if self._broken:
            raise FrameFault(self._broken, [])
        octets = chunk
        if self._buffer:
            self._buffer += chunk
            if len(self._buffer) < self._wanted:
                return []
            octets = bytes(self._buffer)
        frames: list[bytes] = []
        at, end, wanted = 0, len(octets), _LENGTH_OCTETS
        while end - at >= _LENGTH_OCTETS:
            length = octets[at + 1] << 16 | octets[at + 2] << 8 | octets[at + 3]
            if length < HEADER_OCTETS or length & 3 or length > self._message_octets_max:
                raise self._fault(length, frames)
            if end - at < length:
                wanted = length
                break
            frames.append(octets[at : at + length])
            at += length
        self._buffer = bytearray(octets[at:])
        self._wanted = wanted
        return frames

    def _fault(self, length: int, frames: list[bytes]) -> FrameFault:
        """Name what is wrong with the length, and let nothing pass from here on."""
        if length < HEADER_OCTETS:
            why = f"message length {length} is below the header's {HEADER_OCTETS}"
        elif length > self._message_octets_max:
            why = f"message length {length} is above the limit of {self._message_octets_max}"
        else:
            why = f"message length {length} is not a multiple of 4"
        self._broken = why
        self._buffer = bytearray()
        return FrameFault(why, frames)
