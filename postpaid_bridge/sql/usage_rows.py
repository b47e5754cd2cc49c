"""Rows of usage lines, and what intake of stream and files looks up."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, select

from ocs.care.customers.tables import billing_accounts, services
from ocs.limits import SQL_ROWS_AT_ONCE
from postpaid_bridge.journal import Entry
from postpaid_bridge.sql import journal
from postpaid_bridge.usage import Held, Taken

__all__ = ["chosen", "line_row", "parts", "post_all", "services_by"]


def parts(names: Collection[str]) -> Iterator[list[str]]:
    """Return names in order, as many at once as a statement takes."""
    listed = sorted(names)
    for start in range(0, len(listed), SQL_ROWS_AT_ONCE):
        yield listed[start : start + SQL_ROWS_AT_ONCE]


def chosen(look: Connection, column: Column[str], values: Collection[str]) -> list[str]:
    """Return which of these values a column has."""
    found: list[str] = []
    for part in parts(values):
        found += look.execute(select(column).where(column.in_(part))).scalars()
    return found


def services_by(look: Connection, column: Column[str], names: Collection[str]) -> dict[str, list[Held]]:
    """Return the services of books or numbers (``column``), in the order of their ids."""
    c = services.c
    of = (c.id, c.billing_account, c.party, c.mode, c.number, c.book, c.subscriber, c.since, c.until)
    found: dict[str, list[Held]] = {}
    for part in parts(names):
        rows = look.execute(
            select(column, *of, billing_accounts.c.currency)
            .join(billing_accounts, billing_accounts.c.id == c.billing_account)
            .where(column.in_(part))
            .order_by(c.id)
        )
        for row in rows:
            found.setdefault(row[0], []).append(Held(*row[1:]))
    return found


def line_row(taken: Taken, source: str, partition: int, entry: str) -> dict[str, Any]:
    """Return a line as it is kept, with the key of the entry that has its amount."""
    line, held, of = taken
    row = line._asdict()
    row.update(
        source=source, partition=partition, service=held.id, billing_account=held.billing_account, party=held.party, book=held.book,
        subscriber_number=held.number, revenue_class=of.revenue, tax_code=of.tax_code, ledger=of.ledger.value, entry=entry,
    )  # fmt: skip
    return row


def post_all(work: Connection, entries: Sequence[Entry]) -> None:
    """Post entries that have to be new: one that is there already would take its lines' money with it. Raises RuntimeError."""
    new = journal.post(work, entries)
    if len(new) != len(entries):
        there = sorted({each.key for each in entries} - new)
        raise RuntimeError(f"entries of new usage that are there already: {there[:3]}")
