"""Where the charging server has the books that the bridge knows: the partition of each, found once and kept.

Law: it is a memory, not the truth. A book that is not where it was is looked for again.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import Column, Connection, Integer, String, Table, select, update

from ocs.sql import insert_new, metadata

__all__ = ["book_places", "known", "remember"]

book_places = Table(
    "book_place",
    metadata,
    Column("book", String(128), primary_key=True),
    Column("partition", Integer, nullable=False),
)


def known(look: Connection, books: Collection[str]) -> dict[str, int]:
    """Return the partition of each of these books (some hundred at most) that has been found."""
    c = book_places.c
    return {
        row.book: row.partition for row in look.execute(select(c.book, c.partition).where(c.book.in_(books)))
    }


def remember(work: Connection, found: Mapping[str, int]) -> None:
    """Keep where books were found."""
    rows = [{"book": book, "partition": partition} for book, partition in sorted(found.items())]
    new = insert_new(work, book_places, rows, "book")
    for book, partition in sorted(found.items()):
        if book not in new:
            work.execute(update(book_places).where(book_places.c.book == book).values(partition=partition))
