"""The outbox in SQL: what waits for the charging server, who is at it, and what became of it (the table: journal.py).

Laws
1. A row is open until it is done (``done_ms``) or refused (``refused_ms``, ``fault`` says why: a human's). Only the first open row of a book
   can be taken, and its followers with it: rows of a book go out in the order of their ids. A refused row holds nobody up.
2. Who takes rows has them until ``lease_ms``. Another takes them then, whatever became of the first: what they become is known by its id.
3. ``begun_ms`` is kept before the charging server is asked for the first time, so that it is known from when on that may have been.
4. A row that failed waits until ``due_ms``, with its ``tries`` and ``fault``; so do those behind it.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from ocs.sql import locked
from postpaid_bridge.sql.journal import entries, outbox

__all__ = [
    "Became", "Row", "Standing", "again", "became", "give_back", "is_open", "listed", "standing_of", "take", "waiting_of",
]  # fmt: skip

T = TypeVar("T")
_FOLLOWERS_MAX = 50
_IDS_AT_ONCE = 500


class Row(NamedTuple):
    """A row that was taken."""

    id: int
    kind: str
    book: str
    key: str
    amount_micros: int
    content: str
    begun_ms: int
    tries: int
    text: str


class Became(NamedTuple):
    """What became of a row: done, refused for good (``fault``), or to be tried again from ``due_ms`` on (``fault``)."""

    id: int
    done: bool = False
    fault: str = ""
    due_ms: int = 0


class Standing(NamedTuple):
    """What stands in the outbox: rows that wait, when the oldest was made (0: none), those that have failed and are tried again, refused ones."""

    waiting: int
    oldest_ms: int
    failing: int
    refused: int


def is_open() -> ColumnElement[bool]:
    """Return the condition of a row that is neither done nor refused."""
    return and_(outbox.c.done_ms.is_(None), outbox.c.refused_ms.is_(None))


def take(work: Connection, now_ms: int, lease_ms: int, books_max: int) -> dict[str, list[Row]]:
    """Take the rows of some books, by book, until ``lease_ms``: books whose first open row is due, and nobody has."""
    c = outbox.c
    first = select(func.min(c.id).label("id")).where(is_open()).group_by(c.book).subquery()
    free = (c.due_ms <= now_ms, c.lease_ms <= now_ms)
    asked = select(c.id).join(first, c.id == first.c.id).where(*free).order_by(c.id).limit(books_max)
    ids = list(work.execute(asked).scalars())
    books: set[str] = set()
    for part in _parts(ids):
        # another may have been quicker: what it has locked is passed over, what it has taken is not free any more
        got = locked(select(c.book).where(c.id.in_(part), is_open(), *free), skip=True)
        books.update(work.execute(got).scalars())
    return _leased(work, sorted(books), now_ms, lease_ms)


def _leased(work: Connection, books: Sequence[str], now_ms: int, lease_ms: int) -> dict[str, list[Row]]:
    c = outbox.c
    taken: dict[str, list[Row]] = {}
    for part in _parts(books):
        rows = work.execute(
            select(
                c.id, c.kind, c.book, c.key, c.amount_micros, c.content, func.coalesce(c.begun_ms, now_ms), c.tries,
                func.coalesce(entries.c.text, ""),
            )
            .outerjoin(entries, entries.c.id == c.entry)
            .where(c.book.in_(part), is_open())
            .order_by(c.id)
        )  # fmt: skip
        for found in rows:
            row = Row(*found)
            of_book = taken.setdefault(row.book, [])
            if len(of_book) < _FOLLOWERS_MAX:
                of_book.append(row)
    for ids in _parts([row.id for rows in taken.values() for row in rows]):
        begun = func.coalesce(c.begun_ms, now_ms)
        work.execute(update(outbox).where(c.id.in_(ids)).values(lease_ms=lease_ms, begun_ms=begun))
    return taken


def became(work: Connection, results: Sequence[Became], now_ms: int) -> None:
    """Keep what became of rows; one that is done by then stays done."""
    c = outbox.c
    for ids in _parts([each.id for each in results if each.done]):
        done = update(outbox).where(c.id.in_(ids), c.done_ms.is_(None))
        work.execute(done.values(done_ms=now_ms, refused_ms=None, fault="", lease_ms=0))
    for each in results:
        if each.done:
            continue
        fault = each.fault[:200]
        values = (
            {"due_ms": each.due_ms, "tries": c.tries + 1, "fault": fault, "lease_ms": 0}
            if each.due_ms
            else {"refused_ms": now_ms, "fault": fault, "lease_ms": 0}
        )
        work.execute(update(outbox).where(c.id == each.id, is_open()).values(**values))


def give_back(work: Connection, ids: Sequence[int]) -> None:
    """Let go of rows that were taken and not come to."""
    for part in _parts(ids):
        work.execute(update(outbox).where(outbox.c.id.in_(part), is_open()).values(lease_ms=0))


def again(work: Connection, ids: Collection[int], now_ms: int) -> int:
    """Let refused rows be tried again, at a human's word (no ids: all of them); how many."""
    c = outbox.c
    asked = update(outbox).where(c.refused_ms.is_not(None), c.done_ms.is_(None))
    if ids:
        asked = asked.where(c.id.in_(ids))
    return work.execute(asked.values(refused_ms=None, begun_ms=None, due_ms=now_ms, tries=0)).rowcount


def standing_of(look: Connection) -> Standing:
    """Return what stands in the outbox, for metrics and commands."""
    c = outbox.c
    row = look.execute(
        select(func.count(), func.min(c.made_ms), func.count().filter(c.fault != "")).where(is_open())
    ).one()
    refused = look.execute(
        select(func.count()).select_from(outbox).where(c.done_ms.is_(None), c.refused_ms.is_not(None))
    ).scalar_one()
    return Standing(int(row[0]), int(row[1] or 0), int(row[2]), int(refused))


def listed(look: Connection, most: int) -> Iterator[dict[str, object]]:
    """Return the rows that are not done, refused ones first, then in their order."""
    c = outbox.c
    asked = (
        select(
            c.id, c.kind, c.book, c.key, c.amount_micros, c.made_ms, c.due_ms, c.tries, c.refused_ms, c.fault
        )
        .where(c.done_ms.is_(None))
        .order_by(c.refused_ms.is_(None), c.id)
        .limit(most)
    )
    for row in look.execute(asked):
        yield dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row's names


def waiting_of(look: Connection, books: Sequence[str]) -> dict[str, list[tuple[str, int, bool]]]:
    """Return what is not done of these books (some hundred at most): key, amount and whether it was refused."""
    c = outbox.c
    found: dict[str, list[tuple[str, int, bool]]] = {}
    asked = select(c.book, c.key, c.amount_micros, c.refused_ms).where(
        c.book.in_(books), c.done_ms.is_(None), c.kind == "post"
    )
    for book, key, micros, refused_ms in look.execute(asked.order_by(c.id)):
        found.setdefault(book, []).append((key, int(micros), refused_ms is not None))
    return found


def _parts(found: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), _IDS_AT_ONCE):
        yield found[start : start + _IDS_AT_ONCE]
