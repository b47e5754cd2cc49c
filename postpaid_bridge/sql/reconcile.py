"""What the bridge knows of books, for the comparison with the charging server: looks at journal, outbox and intake, and nothing else.

Law: all that is known of some books is of one look (``reading``), with the place up to which their partition was taken in.
"""

from base64 import b64decode
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, func, select, union

from ocs.balance.entries import Entry
from ocs.care.customers.tables import services
from ocs.records import RecordError
from ocs.stream import START
from postpaid_bridge.journal import IN_BOOK
from postpaid_bridge.outbox import CERTAIN_MS, CHANNEL
from postpaid_bridge.reconcile import Found, Known, Reason
from postpaid_bridge.sql.journal import entries, outbox, postings
from postpaid_bridge.sql.places import book_places
from postpaid_bridge.sql.usage import alarms, books, lines, places, rejected
from postpaid_bridge.usage import Source, is_own, movement_micros

__all__ = [
    "FROM_BOOK",
    "done_without",
    "explanations",
    "known_of",
    "of_partition",
    "place_of",
    "rows_of",
    "without_place",
]

FROM_BOOK = ("usage", "book-payment", "opening")
"""Kinds of entries whose effect the book has had before the journal: they have no row of the outbox."""
_CHANGE = case((postings.c.debit.in_(IN_BOOK), postings.c.amount_micros), else_=0) - case(
    (postings.c.credit.in_(IN_BOOK), postings.c.amount_micros), else_=0
)


def _ours() -> Any:
    """Return the select of all books that are the bridge's business: sold otherwise than prepaid, or posted to."""
    sold = select(services.c.book).where(services.c.book != "", services.c.mode != "prepaid")
    return union(sold, select(postings.c.book).where(postings.c.book != "")).subquery()


def without_place(look: Connection, after: str, most: int) -> list[str]:
    """Return books behind one whose place is not known yet, in their order."""
    ours = _ours()
    asked = (
        select(ours.c.book)
        .outerjoin(book_places, book_places.c.book == ours.c.book)
        .where(book_places.c.book.is_(None), ours.c.book > after)
        .order_by(ours.c.book)
        .limit(most)
    )
    return list(look.execute(asked).scalars())


def of_partition(look: Connection, partition: int, after: str, most: int) -> list[str]:
    """Return books of a partition behind one, in their order."""
    c = book_places.c
    asked = select(c.book).where(c.partition == partition, c.book > after).order_by(c.book).limit(most)
    return list(look.execute(asked).scalars())


def place_of(look: Connection, partition: int) -> str:
    """Return how far a partition was taken in."""
    found = look.execute(select(places.c.last_id).where(places.c.partition == partition)).scalar()
    return str(found) if found else START


def known_of(look: Connection, names: Sequence[str]) -> dict[str, Known]:
    """Return what is known of some hundred books; those that only prepaid services have, and no posting, are left out."""
    held = {
        row[0]: int(row[1])
        for row in look.execute(
            select(postings.c.book, func.sum(_CHANGE))
            .where(postings.c.book.in_(names))
            .group_by(postings.c.book)
        )
    }
    sold = set(
        look.execute(
            select(services.c.book).where(services.c.book.in_(names), services.c.mode != "prepaid").distinct()
        ).scalars()
    )
    c, rows, waiting = outbox.c, dict[str, int](), dict[str, list[tuple[str, int]]]()
    for book, micros in look.execute(
        select(c.book, func.sum(c.amount_micros)).where(c.book.in_(names), c.kind == "post").group_by(c.book)
    ):
        rows[book] = int(micros)
    for book, key, micros in look.execute(
        select(c.book, c.key, c.amount_micros).where(c.book.in_(names), c.kind == "post", c.done_ms.is_(None))
    ):
        waiting.setdefault(book, []).append((key, int(micros)))
    taken: dict[str, int] = {
        row.book: row.sequence
        for row in look.execute(select(books.c.book, books.c.sequence).where(books.c.book.in_(names)))
    }
    return {
        name: Known(held.get(name, 0), tuple(waiting.get(name, ())), rows.get(name, 0), taken.get(name))
        for name in names
        if name in held or name in sold
    }


def rows_of(look: Connection, keys: Collection[str]) -> dict[str, int]:
    """Return the amounts of the rows of the outbox that there are under these keys."""
    c = outbox.c
    return {
        row.key: int(row.amount_micros)
        for row in look.execute(select(c.key, c.amount_micros).where(c.key.in_(keys)))
    }


# -- why


def explanations(look: Connection, book: str) -> Iterator[Found]:
    """Look for what may have made a book another than it has to be, as far as the database tells it."""
    yield from _lost_rows(look, book)
    yield from _usage(look, book)
    yield from _parked(look, book)
    yield from _alarms(look, book)


def _lost_rows(look: Connection, book: str) -> Iterator[Found]:
    """Entries that move the book and whose row of the outbox is not there, or has another amount."""
    change = func.sum(_CHANGE)
    row = and_(outbox.c.entry == entries.c.id, outbox.c.book == book)
    asked = (
        select(entries.c.key, change, func.coalesce(func.max(outbox.c.amount_micros), 0))
        .join(postings, postings.c.entry == entries.c.id)
        .outerjoin(outbox, row)
        .where(postings.c.book == book, entries.c.kind.not_in(FROM_BOOK))
        .group_by(entries.c.id, entries.c.key)
        .having(-change != func.coalesce(func.max(outbox.c.amount_micros), 0))
        .order_by(entries.c.id)
        .limit(5)
    )
    for key, micros, has in look.execute(asked):
        yield Found(Reason.LOST_ROW, int(micros) + int(has), f"entry {key} has no row of {-int(micros)}")


def done_without(look: Connection, book: str, posted: Collection[str]) -> Iterator[Found]:
    """Rows of the last 30 days that are said to be done and of which the charging server knows nothing (``posted``: the keys that it knows)."""
    c = outbox.c
    newest = look.execute(select(func.max(c.done_ms)).where(c.book == book)).scalar() or 0
    asked = select(c.key, c.amount_micros).where(
        c.book == book, c.kind == "post", c.done_ms > newest - CERTAIN_MS
    )
    for key, micros in look.execute(asked.order_by(c.id)):
        if key not in posted:
            yield Found(Reason.UNKNOWN_ACTION, -int(micros), f"row {key} is done and was never posted")


def _parked(look: Connection, book: str) -> Iterator[Found]:
    """Usage that waits for a human, or for a service."""
    c = rejected.c
    of = (c.book == book, c.state == "parked", c.source == Source.STREAM)
    total, count, whys = 0, 0, set[str]()
    for row in look.execute(select(c.place, c.raw, c.why).where(*of)):
        count += 1
        whys.add(str(row.why))
        try:
            record = Entry(row.place, b64decode(row.raw)).record()
        except RecordError:
            continue
        if not is_own(record, (CHANNEL,)):  # the journal has ours already
            total += movement_micros(record)
    if count:
        yield Found(Reason.PARKED, total, f"{count} records are parked ({', '.join(sorted(whys))})")


def _usage(look: Connection, book: str) -> Iterator[Found]:
    """Entries of usage that do not come to what their lines come to."""
    payers = select(services.c.billing_account).where(services.c.book == book)
    c = lines.c
    of_lines = {
        row[0]: int(row[1])
        for row in look.execute(
            select(c.entry, func.sum(c.amount_micros))
            .where(c.billing_account.in_(payers), c.book == book, c.source == Source.STREAM)
            .group_by(c.entry)
        )
    }
    posted = {
        row[0]: int(row[1])
        for row in look.execute(
            select(entries.c.key, func.sum(_CHANGE))
            .join(postings, postings.c.entry == entries.c.id)
            .where(postings.c.book == book, entries.c.kind == "usage")
            .group_by(entries.c.key)
        )
    }
    of_lines.pop("", None)
    for key in sorted(of_lines.keys() | posted.keys()):
        difference = posted.get(key, 0) - of_lines.get(key, 0)
        if difference and (key in of_lines or not key.startswith("usage:file")):
            yield Found(Reason.MISSING_USAGE, difference, f"entry {key} and its lines differ")


def _alarms(look: Connection, book: str) -> Iterator[Found]:
    """Alarms of intake about the book."""
    c = alarms.c
    row = look.execute(
        select(func.count(), func.coalesce(func.sum(c.difference_micros), 0), func.min(c.after_id)).where(
            c.book == book, c.kind == "difference"
        )
    ).one()
    if row[0]:
        yield Found(
            Reason.MISSING_USAGE, int(row[1]), f"{row[0]} alarms of intake, the first at record {row[2]}"
        )
