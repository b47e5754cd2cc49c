"""What the charging server's balance of a book has to be by the journal, and why it may be another (pure).

Laws
1. Compared is one place of the stream. The journal is looked at first, with the place up to which usage was taken in; then the book is read,
   with its sequence. What the records between the two say is what the journal does not know yet, up to the book's sequence and no further.
2. balance = opening - (unbilled + receivable) - what of the outbox is not in the book yet + what came since. A row of the outbox is in the
   book when its record is among those between the two, or when it was done before the look.
3. A book of which no record was taken in yet has an opening balance that nobody has posted. Of such a one the journal is held against the outbox alone.
4. A difference counts when a second look finds the same. What moves meanwhile is traffic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["Compared", "Difference", "Found", "Known", "Reason", "Since", "compared", "likely"]


class Reason(StrEnum):
    """Why a balance is likely to be another."""

    NO_ACCOUNT = "no account"
    LOST_ROW = "lost outbox row"
    STRANGE_ACTION = "posting without a row"
    UNKNOWN_ACTION = "done row that was never posted"
    PARKED = "parked usage"
    MISSING_USAGE = "missing usage"
    UNKNOWN = "unknown"


class Known(NamedTuple):
    """What the bridge knows of a book at one look: unbilled and receivable together, rows of the outbox that are not done (key, amount), the sum of
    all its rows, and the sequence of its last record that was taken in (None: none was).
    """

    held_micros: int = 0
    waiting: tuple[tuple[str, int], ...] = ()
    rows_micros: int = 0
    sequence: int | None = None


@dataclass(slots=True)
class Since:
    """What the records of a book say that came since the look: what others moved, and our own by the row's key."""

    records: int = 0
    others_micros: int = 0
    ours: dict[str, int] = field(default_factory=dict)

    def add(self, movement_micros: int, key: str = "") -> None:
        """Take in one record; ``key`` where it is of our outbox."""
        self.records += 1
        if key:
            self.ours[key] = self.ours.get(key, 0) + movement_micros
        else:
            self.others_micros += movement_micros


NOTHING: Mapping[str, int] = MappingProxyType({})


class Compared(NamedTuple):
    """A book's balance and what it has to be."""

    balance_micros: int
    expected_micros: int

    @property
    def difference_micros(self) -> int:
        """The balance less what it has to be."""
        return self.balance_micros - self.expected_micros


def compared(
    balance_micros: int,
    known: Known,
    since: Since,
    newer: Mapping[str, int],
    applied: Mapping[str, int] = NOTHING,
) -> Compared:
    """Compare a book (laws 1 to 3); ``newer`` are rows that were made since the look, ``applied`` what of waiting rows is known to be posted."""
    if known.sequence is None:
        return Compared(balance_micros, balance_micros - known.held_micros - known.rows_micros)
    expected = since.others_micros - known.held_micros
    for key, micros in known.waiting:
        expected -= micros - applied.get(key, since.ours.get(key, 0))
    expected += sum(micros for key, micros in since.ours.items() if newer.get(key))
    return Compared(balance_micros, expected)


class Difference(NamedTuple):
    """A book that is not what it has to be; ``detail`` names what it is likely to come from."""

    book: str
    balance_micros: int
    expected_micros: int
    reason: Reason
    detail: str = ""

    @property
    def difference_micros(self) -> int:
        """The balance less what it has to be."""
        return self.balance_micros - self.expected_micros


class Found(NamedTuple):
    """One thing that would explain a difference of so many micro-units."""

    reason: Reason
    difference_micros: int
    detail: str


def likely(difference_micros: int, found: Sequence[Found]) -> tuple[Reason, str]:
    """Return the reason that explains a difference best: one alone, all of them together, else the first there is."""
    for each in found:
        if each.difference_micros == difference_micros:
            return each.reason, each.detail
    details = "; ".join(each.detail for each in found)
    if found and sum(each.difference_micros for each in found) == difference_micros:
        return found[0].reason, details
    if found:
        return found[0].reason, f"{details}; that does not explain all of it"
    return Reason.UNKNOWN, ""
