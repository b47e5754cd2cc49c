"""Sources: what a service may be paid from, and what is counted when it is; in the order in which they are used. Pure data.

A source names a row of the account's book, or of the book that a member of a shared account has of its own: a bucket (an
allowance of units, or money of restricted use) or a counter (what was used or spent in a period). ocs/balance/MONEY.md tells
what the store does with each kind.
"""

from enum import IntEnum
from typing import NamedTuple


class SourceKind(IntEnum):
    """What a source is."""

    UNITS = 1
    """A bucket: each begun block of ``block`` units used takes ``take`` of it."""
    MONEY = 2
    """A bucket of money of restricted use: it pays the price before the account does."""
    STOP = 3
    """A counter of money: no grant takes what is spent in the period above ``cap``."""
    FREE = 4
    """A counter of money: what would be spent above ``cap`` in the period is free."""
    TIER = 5
    """A counter of units, by which the steps of the price are chosen (``axis: period``)."""
    BLOCK = 6
    """Nothing that stands behind it is used: no later bucket, no money."""


class Source(NamedTuple):
    """One source of a service.

    ``own`` is 1 where the row is in the member's own book. A row is known by ``id`` and ``start_ms``; ids from COUNTER_IDS on are
    counters, the others buckets. ``until_ms`` ends the row (milliseconds since 1970); ``block`` and ``take`` are units of UNITS,
    ``cap_micros`` is of STOP and FREE.
    """

    kind: int
    own: int = 0
    id: int = 0
    start_ms: int = 0
    until_ms: int = 0
    block: int = 0
    take: int = 0
    cap_micros: int = 0


COUNTER_IDS = 2**31
SOURCES_MAX = 8
"""Sources of one service."""
