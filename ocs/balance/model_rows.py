"""Rows and parts, said a second time, for the model: what a book has beside its money, and what a service keeps of it.

Laws
1. A row's pending is no field: it is made anew from the parts of the open sessions (model_books.py).
2. A part keeps a whole source, so that what was granted is posted where it was granted, whatever later plans name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from ocs.rating.sources import COUNTER_IDS, Source, SourceKind

PARTS_MAX = 12
"""Parts of a service; what would be longer loses its oldest leftovers."""
MONEY_UNIT = 4
"""The unit of rows of money, behind those of Unit."""

RowKey = tuple[int, int]
"""What a row is known by in its book: id and start."""


@dataclass(slots=True)
class Row:
    """A bucket, or a counter (which has no amount)."""

    id: int
    unit: int
    start_ms: int
    until_ms: int
    amount: int = 0
    used: int = 0

    @property
    def key(self) -> RowKey:
        """Return what it is known by."""
        return self.id, self.start_ms

    @property
    def is_counter(self) -> bool:
        """Tell whether it counts what was used or spent."""
        return self.id >= COUNTER_IDS

    def lives(self, at_ms: int) -> bool:
        """Tell whether an instant lies in its time."""
        return self.start_ms <= at_ms < self.until_ms


@dataclass(slots=True)
class Part:
    """What a service keeps of a source: units of a block that is paid and not used up yet, and what is held now.

    A leftover is of a source that the last grant was not made on any more: it gives what is open and nothing else.
    """

    source: Source
    open: int = 0
    held: int = 0
    leftover: bool = False

    @property
    def key(self) -> RowKey:
        """Return what its row is known by."""
        return self.source.id, self.source.start_ms

    def is_of(self, other: "Part") -> bool:
        """Tell whether both are of the same row of the same book."""
        return (self.key, self.source.own) == (other.key, other.source.own)


class Drawn(NamedTuple):
    """What is taken of a row, and how many units that is good for, which may be more than were asked for."""

    taken: int
    covers: int


NOTHING_DRAWN = Drawn(0, 0)


def draw(units: int, source: Source, free: int) -> Drawn:
    """Draw units on what a row has free: whole blocks while they are to be had, then what the rest of the row is good for."""
    blocks = min(ceil(Fraction(units, source.block)), floor(Fraction(free, source.take)))
    taken, covers = blocks * source.take, blocks * source.block
    rest = free - taken
    extra = floor(Fraction(rest * source.block, source.take))
    if covers < units and extra > 0:
        return Drawn(taken + rest, covers + extra)
    return Drawn(taken, covers)


def before_blocker(sources: Iterable[Source]) -> list[Source]:
    """Return sources up to the first blocker, and it with them: what stands behind it is none."""
    named = list(sources)
    kinds = [*(source.kind for source in named), SourceKind.BLOCK]
    return named[: kinds.index(SourceKind.BLOCK) + 1]


def renewed(parts: Iterable[Part], sources: Iterable[Source]) -> tuple[list[Part], list[Part]]:
    """Return the leftovers that stay first, and the parts of a new grant's sources, which take over what is open of theirs.

    What stands behind a blocker is no source; it counts among them where there is little room for leftovers.
    """
    old = [part for part in parts if part.source.kind == SourceKind.UNITS and part.open > 0]
    named = list(sources)
    fresh = [Part(source) for source in before_blocker(named)]
    leftovers = []
    for each in old:
        heirs = [part for part in fresh if part.source.kind == SourceKind.UNITS and part.is_of(each)]
        if heirs:
            heirs[0].open = each.open
        else:
            leftovers.append(replace(each, held=0, leftover=True))
    return leftovers[max(0, len(leftovers) + len(named) - PARTS_MAX) :], fresh
