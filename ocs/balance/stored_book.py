"""An account's book as the store keeps it: eight doubles, which hold every integer of the store exactly (words.lua, B_...)."""

import struct
from typing import NamedTuple

from ocs.records import Status

_SHAPE = struct.Struct("<8d")


class Book(NamedTuple):
    """An account's book as it stands (words.lua, B_...), all money in micro-units."""

    credits_micros: int
    posted_micros: int
    pending_micros: int
    floor_micros: int
    sequence: int
    version: int
    status: Status
    sessions_open: int

    @property
    def balance_micros(self) -> int:
        """Return credits less what was posted."""
        return self.credits_micros - self.posted_micros

    @property
    def available_micros(self) -> int:
        """Return what a grant may hold at most (DESIGN law 2)."""
        return self.balance_micros - self.pending_micros - self.floor_micros


class BookUnreadable(ValueError):
    """The store holds something under a book's key that is no book."""


def read_book(text: bytes) -> Book:
    """Read a book; raises BookUnreadable."""
    try:
        came_in, posted, pending, floor, sequence, version, status, opened = map(int, _SHAPE.unpack(text))
        return Book(came_in, posted, pending, floor, sequence, version, Status(status), opened)
    except (struct.error, ValueError, OverflowError) as fault:
        raise BookUnreadable(f"no book: {fault}") from fault


def write_book(book: Book) -> bytes:
    """Write a book as the store keeps it."""
    return _SHAPE.pack(*book)
