"""Bills in SQL: drafts, and what has a number; and the sequences that numbers come from.

Laws
1. A bill is what came of an account's row in a run, and has that row's id. A draft has no number, no day and no due date.
2. A number is taken in the unit of work that posts the bill's entries and keeps its document's hash: unique, in sequence by series and year,
   without a gap. Who takes one holds the sequence's row until the end.
3. What has a number is never changed; publishing adds when, and until which day it is to be paid.
4. ``content`` is the whole bill (bill.content); lines and taxes are kept beside it for those who look for them.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    delete,
    select,
    update,
)

from ocs.sql import KEY, MICROS, MILLISECONDS, insert_new, locked, metadata
from postpaid_bridge.bill import Bill, content
from postpaid_bridge.sql import charges
from postpaid_bridge.sql.parts import id_parts

__all__ = ["Draft", "bill_lines", "bill_numbers", "bill_taxes", "bills", "drop", "keep", "next_sequence"]

bills = Table(
    "bill",
    metadata,
    Column("id", KEY, ForeignKey("run_account.id"), primary_key=True, autoincrement=False),
    Column("run", ForeignKey("bill_run.id"), nullable=False, index=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("period_first", Date, nullable=False),
    Column("period_next", Date, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("net_cents", MICROS, nullable=False),
    Column("tax_cents", MICROS, nullable=False),
    Column("gross_cents", MICROS, nullable=False),
    Column("due_days", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("drafted_ms", MILLISECONDS, nullable=False),
    Column("series", String(8)),
    Column("year", Integer),
    Column("sequence", KEY),
    Column("number", String(32), unique=True),
    Column("day", Date),
    Column("document_sha256", String(64)),
    Column("numbered_ms", MILLISECONDS),
    Column("due_day", Date),
    Column("published_ms", MILLISECONDS),
    UniqueConstraint("series", "year", "sequence"),
    CheckConstraint("state IN ('draft', 'nothing', 'numbered', 'published')", name="state"),
    CheckConstraint("(number IS NULL) = (state IN ('draft', 'nothing'))", name="number"),
    CheckConstraint("(published_ms IS NULL) = (state <> 'published')", name="published"),
    Index("ix_bill_account", "billing_account", "period_next"),
    Index("ix_bill_state", "run", "state"),
)
"""``state`` nothing: there was nothing to post, and the run's settings want no bill for that. ``due_day`` is empty where nothing is to be
paid (a credit balance). Published bills are visible to the customer; documents and delivery go by this table."""

bill_lines = Table(
    "bill_line",
    metadata,
    Column("bill", ForeignKey("bill.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("charge", String(200), nullable=False),
    Column("service", KEY, nullable=False),
    Column("party", KEY, nullable=False),
    Column("book", String(128), nullable=False),
    Column("text", String(200), nullable=False),
    Column("since", Date, nullable=False),
    Column("until", Date, nullable=False),
    Column("count", MICROS, nullable=False),
    Column("units", MICROS, nullable=False),
    Column("amount_micros", MICROS, nullable=False),
    Column("relieved_micros", MICROS, nullable=False),
    Column("of_class", String(32), nullable=False),
    Column("item", String(64), nullable=False),
    Column("basis", String(8), nullable=False),
    Column("tax_code", String(32), nullable=False),
    Column("net_cents", MICROS, nullable=False),
    Column("tax_cents", MICROS, nullable=False),
    Column("gross_cents", MICROS, nullable=False),
)

bill_taxes = Table(
    "bill_tax",
    metadata,
    Column("bill", ForeignKey("bill.id"), primary_key=True),
    Column("party", KEY, primary_key=True, autoincrement=False),
    Column("code", String(32), primary_key=True),
    Column("tax_class", String(32), nullable=False),
    Column("category", String(2), nullable=False),
    Column("percent_micros", MICROS, nullable=False),
    Column("net_cents", MICROS, nullable=False),
    Column("tax_cents", MICROS, nullable=False),
    Column("gross_cents", MICROS, nullable=False),
)
"""Taxes of each part (party), by code; a bill's own are their sums."""

bill_numbers = Table(
    "bill_number",
    metadata,
    Column("series", String(8), primary_key=True),
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("next", KEY, nullable=False),
)
"""The next number of each series and year."""

_LINE = (
    "kind", "charge", "service", "party", "book", "text", "since", "until", "count", "units", "amount_micros", "relieved_micros",
    "of_class", "item", "tax_code", "net_cents", "tax_cents", "gross_cents",
)  # fmt: skip
_TAX = ("code", "tax_class", "category", "percent_micros", "net_cents", "tax_cents", "gross_cents")


class Draft(NamedTuple):
    """A bill as it is to be kept: the row of its run, how many days it is to be paid within, and whether it is one at all."""

    row: int
    run: int
    bill: Bill
    due_days: int
    state: str


def keep(work: Connection, drafts: Iterable[Draft], now_ms: int) -> None:
    """Keep drafts with their lines and taxes."""
    heads: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    taxes: list[dict[str, Any]] = []
    for each in drafts:
        bill = each.bill
        octets = content(bill)
        heads.append(
            {
                "id": each.row, "run": each.run, "billing_account": bill.payer.billing_account, "kind": bill.kind, "state": each.state,
                "period_first": bill.period.first, "period_next": bill.period.next, "currency": bill.payer.currency,
                "net_cents": bill.net_cents, "tax_cents": bill.tax_cents, "gross_cents": bill.gross_cents, "due_days": each.due_days,
                "content": octets, "content_sha256": sha256(octets).hexdigest(), "drafted_ms": now_ms,
            }
        )  # fmt: skip
        for number, line in enumerate(bill.lines, 1):
            row = {name: getattr(line, name) for name in _LINE}
            lines.append({"bill": each.row, "number": number, "basis": line.basis.value, **row})
        for part in bill.parts:
            taxes += [
                {"bill": each.row, "party": part.party, **{name: getattr(tax, name) for name in _TAX}}
                for tax in part.taxes
            ]
    for table, rows in ((bills, heads), (bill_lines, lines), (bill_taxes, taxes)):
        if rows:
            work.execute(table.insert(), rows)


def next_sequence(work: Connection, series: str, year: int) -> int:
    """Return the next number of a series and year, holding its row until the unit of work ends (law 2)."""
    insert_new(work, bill_numbers, [{"series": series, "year": year, "next": 1}], "series")
    c = bill_numbers.c
    asked = select(c.next).where(c.series == series, c.year == year)
    return int(work.execute(locked(asked)).scalar_one())


def took(work: Connection, series: str, year: int, following: int) -> None:
    """Say which number is the next one now."""
    c = bill_numbers.c
    work.execute(update(bill_numbers).where(c.series == series, c.year == year).values(next=following))


def drop(work: Connection, drafts: Sequence[int]) -> None:
    """Undo drafts: their charges are free again, and nothing of them is left. What has a number stays, whatever is asked."""
    for part in id_parts(drafts):
        asked = select(bills.c.id).where(bills.c.id.in_(part), bills.c.number.is_(None))
        ids = list(work.execute(locked(asked)).scalars())
        charges.drop(work, ids)
        for table, column in (
            (bill_lines, bill_lines.c.bill),
            (bill_taxes, bill_taxes.c.bill),
            (bills, bills.c.id),
        ):
            work.execute(delete(table).where(column.in_(ids)))
