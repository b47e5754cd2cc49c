"""An account's book as the store keeps it (words.lua, B_... and R_...): doubles, which hold every integer of the store exactly.

A member of a shared account has a book of its own, of the same shape: what it spent and holds, and its rows.
"""

import struct
from typing import NamedTuple

from ocs.rating.sources import COUNTER_IDS
from ocs.records import Status

UNUSED, ENDLESS = -1, 0
"""Of ``until_ms``: not used yet, and without end."""

_FIXED = struct.Struct("<9dB")
_MS = 6


class Row(NamedTuple):
    """A bucket or a counter: units (or micro-units, ``unit`` 4) from ``start_ms`` up to ``until_ms``, in milliseconds since 1970."""

    id: int
    unit: int
    start_ms: int
    until_ms: int
    amount: int
    used: int
    pending: int

    @property
    def is_counter(self) -> bool:
        """Tell whether it only counts."""
        return self.id >= COUNTER_IDS

    @property
    def free(self) -> int:
        """Return what a grant may hold of a bucket."""
        return max(0, self.amount - self.used - self.pending)


class Book(NamedTuple):
    """An account's book as it stands (words.lua, B_...), all money in micro-units; ``until_ms`` is where its life ends, ``sessions_open`` those of credit-control."""

    credits_micros: int
    posted_micros: int
    pending_micros: int
    floor_micros: int
    sequence: int
    version: int
    status: Status
    sessions_open: int
    until_ms: int = ENDLESS
    rows: tuple[Row, ...] = ()

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
        *fixed, count = _FIXED.unpack_from(text)
        came_in, posted, pending, floor, sequence, version, status, opened, until = map(int, fixed)
        if len(text) != _FIXED.size + count * ROW_OCTETS:
            raise ValueError(f"{len(text)} octets for {count} rows")  # noqa: TRY301 - as if unpacking had
        rows = tuple(_row(text, _FIXED.size + place * ROW_OCTETS) for place in range(count))
        return Book(came_in, posted, pending, floor, sequence, version, Status(status), opened, until, rows)
    except (struct.error, ValueError, OverflowError) as fault:
        raise BookUnreadable(f"no book: {fault}") from fault


def _row(text: bytes, at: int) -> Row:
    identity, unit = int.from_bytes(text[at : at + 4], "little"), text[at + 4]
    start_ms, until_ms = (int.from_bytes(text[at + far : at + far + _MS], "little") for far in (5, 11))
    amount, used, pending = map(int, _AMOUNTS.unpack_from(text, at + 17))
    return Row(identity, unit, start_ms, until_ms, amount, used, pending)


_AMOUNTS = struct.Struct("<3d")
ROW_OCTETS = 17 + _AMOUNTS.size


def write_book(book: Book) -> bytes:
    """Write a book as the store keeps it."""
    *fixed, rows = book
    text = _FIXED.pack(*fixed, len(rows))
    for row in book.rows:
        times = row.start_ms.to_bytes(_MS, "little") + row.until_ms.to_bytes(_MS, "little")
        text += row.id.to_bytes(4, "little") + bytes((row.unit,)) + times
        text += _AMOUNTS.pack(row.amount, row.used, row.pending)
    return text
