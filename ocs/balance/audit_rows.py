"""What the records and the sessions say of the rows of books, and of members' own books; held against the books by the audit.

Laws
1. A row holds what the parts of the open sessions hold on it.
2. A row has used what the records took of it, each from where the one before left it; a counter begins with nothing.
3. A bucket is of as much as the records say that it came with, rolled over, or was adjusted to; the bonus of a top-up that was reversed is
   of no more than was used or held of it then, and has ended.
4. A member's own book has posted what its records posted, and holds what its open sessions hold.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ocs import records
from ocs.balance.stored_book import Book
from ocs.balance.stored_session import OpenSession
from ocs.rating.sources import COUNTER_IDS
from ocs.records import BONUS, ActionKind

RowKey = tuple[str, int, int]
"""Whose book (an account, or behind a stroke its member), and the row's id and start."""


class OwnTail(NamedTuple):
    """Where a member's own book stands after its last record."""

    posted_micros: int
    pending_micros: int


class RowChain:
    """Follows what records say of rows and of members' own books."""

    __slots__ = ("_amounts", "_bonuses", "_used", "own")

    def __init__(self) -> None:
        self._bonuses: dict[tuple[str, str], set[RowKey]] = {}
        self._used: dict[RowKey, int] = {}
        self._amounts: dict[RowKey, int] = {}
        self.own: dict[str, OwnTail] = {}

    def add(self, record: Any, *, from_birth: bool) -> Iterator[str]:
        """Take the next record of an account; what does not follow from the ones before, where all of them are known."""
        path = _path(record)
        if isinstance(record, records.Rows):
            if record.cause.startswith(BONUS):
                name = record.cause.removeprefix(BONUS)
                self._bonuses[record.account, name] = {(path, row.id, row.start_ms) for row in record.rows}
            for row in record.rows:
                key = (path if row.own else record.account, row.id, row.start_ms)
                if row.id >= COUNTER_IDS:  # what a member spent on the product itself
                    self._used[key] = row.used
                else:
                    self._used.setdefault(key, row.used)
                    self._amounts[key] = row.amount
            yield from self._own(record, path, record.price_micros)
        elif isinstance(record, records.Charge):
            for taken in record.parts:
                key = (path if taken.own else record.account, taken.id, taken.start_ms)
                before = self._used.get(key, 0)
                begun_again = (
                    taken.id >= COUNTER_IDS and taken.taken == taken.used_after
                )  # after it was swept
                if from_birth and before + taken.taken != taken.used_after and not begun_again:
                    yield f"{_told(key)} had used {before}, took {taken.taken}, and the record says {taken.used_after}"
                self._used[key] = taken.used_after
            yield from self._own(record, path, sum(line.amount_micros for line in record.lines))
        elif isinstance(record, records.Moved):
            for row in record.rows:
                key = (path if row.own else record.account, row.id, row.start_ms)
                if from_birth and self._used.get(key, 0) != row.used:
                    yield f"{_told(key)} had used {self._used.get(key, 0)}, and the record says {row.used}"
                self._amounts[key] = row.amount
            if record.kind == ActionKind.REVERSAL:
                yield from self._reversed(record)
        elif isinstance(record, records.Expire):
            yield from self._own(record, path, 0)

    def _reversed(self, record: records.Moved) -> Iterator[str]:
        """Hold a reversal to the bonus of its top-up, if it had one."""
        name = f"{record.channel}:{record.id}"
        ended = {
            (record.account, row.id, row.start_ms)
            for row in record.rows
            if row.amount <= row.used + row.pending and row.until_ms <= max(record.now_ms, row.start_ms + 1)
        }
        for key in self._bonuses.pop((record.account, name), set()) - ended:
            yield f"top-up {name} was reversed and its bonus stays: {_told(key)}"

    def _own(self, record: Any, path: str, posted_micros: int) -> Iterator[str]:
        if not record.member:
            return
        after = OwnTail(record.own_posted_micros, record.own_pending_micros)
        before = self.own.get(path, OwnTail(0, 0))
        if before.posted_micros + posted_micros != after.posted_micros:
            yield f"member {path} had posted {before.posted_micros}, posts {posted_micros}, and the record says {after.posted_micros}"
        self.own[path] = after

    def book_faults(self, path: str, book: Book) -> Iterator[str]:
        """Tell where the rows of a book have not used what the records took of them."""
        for row in book.rows:
            used = self._used.get((path, row.id, row.start_ms), 0)
            if used != row.used:
                yield f"{_told((path, row.id, row.start_ms))} has used {row.used}, the records took {used}"
            amount = self._amounts.get((path, row.id, row.start_ms), 0)
            if not row.is_counter and amount != row.amount:
                yield f"{_told((path, row.id, row.start_ms))} is of {row.amount}, the records say {amount}"


def held_faults(path: str, book: Book, sessions: Iterable[OpenSession]) -> Iterator[str]:
    """Tell where the rows of a book do not hold what the open sessions hold on them; ``sessions`` are those that may."""
    held: dict[tuple[int, int], int] = {}
    for session in sessions:
        for part in session.parts:
            if part.held and (session.account if part.own else session.account.partition("/")[0]) == path:
                key = (part.id, part.start_ms)
                held[key] = held.get(key, 0) + part.held
    for row in book.rows:
        expected = held.pop((row.id, row.start_ms), 0)
        if expected != row.pending:
            yield f"{_told((path, row.id, row.start_ms))} holds {row.pending}, its open sessions hold {expected}"
    for (row_id, start_ms), units in held.items():
        yield f"{_told((path, row_id, start_ms))} is not there, its open sessions hold {units}"


def _path(record: Any) -> str:
    member = getattr(record, "member", "")
    return f"{record.account}/{member}" if member else record.account


def _told(key: RowKey) -> str:
    path, row_id, start_ms = key
    return f"row {row_id} from {start_ms} of {path}"
