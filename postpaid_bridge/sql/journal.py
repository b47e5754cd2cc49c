"""The journal in SQL, and the outbox to the charging server.

Laws
1. An entry, its postings and its row of the outbox are kept in the unit of work of what they are of, or not at all.
2. A key that is there already is not posted again; ``post`` tells which were new.
3. Balances are sums of postings. There is no second place where they stand.
4. The outbox is emptied in order of its ids for each book; a row is done when the charging server has said so (DESIGN law 7: the same id again).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    select,
)

from ocs.sql import KEY, MICROS, MILLISECONDS, insert_new, metadata
from postpaid_bridge.journal import Entry, Ledger, book_effects, check

__all__ = ["entries", "ledger_balances", "outbox", "post", "postings", "standing"]

entries = Table(
    "entry",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("billing_account", ForeignKey("billing_account.id"), index=True),
    Column("day", Date, nullable=False, index=True),
    Column("at_ms", MILLISECONDS, nullable=False),
    Column("text", String(200), nullable=False, default=""),
)

postings = Table(
    "posting",
    metadata,
    Column("entry", ForeignKey("entry.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("billing_account", KEY),
    Column("debit", String(16), nullable=False),
    Column("credit", String(16), nullable=False),
    Column("amount_micros", MICROS, nullable=False),
    Column("book", String(128), nullable=False, default=""),
    Column("of_class", String(32), nullable=False, default=""),
    Column("tax_code", String(32), nullable=False, default=""),
    CheckConstraint("amount_micros > 0", name="amount"),
    Index("ix_posting_billing_account", "billing_account", "debit", "credit"),
    Index("ix_posting_book", "book"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("book", String(128), nullable=False),
    Column("key", String(64), nullable=False, unique=True),
    Column("amount_micros", MICROS, nullable=False, default=0),
    Column("content", Text, nullable=False, default=""),
    Column("entry", ForeignKey("entry.id")),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("due_ms", MILLISECONDS, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("fault", String(200), nullable=False, default=""),
    Column("lease_ms", MILLISECONDS, nullable=False, default=0),
    Column("begun_ms", MILLISECONDS),
    Column("refused_ms", MILLISECONDS),
    Column("done_ms", MILLISECONDS),
    Index("ix_outbox_waiting", "done_ms", "refused_ms", "book", "id"),
)
"""``kind`` "post": ``amount_micros`` to the book (negative: taken from it); other kinds have their ``content`` (JSON), such as bars. Rows are
emptied by sql/outbox.py, which says what the other columns mean."""


def post(work: Connection, made: Sequence[Entry]) -> set[str]:
    """Post entries in the unit of work that they belong to; returns the keys that were new. Raises JournalFault before anything is written."""
    checked = {check(each).key: each for each in made}
    rows = [
        {
            "key": each.key, "kind": each.kind, "billing_account": each.billing_account, "day": each.day, "at_ms": each.at_ms,
            "text": each.text,
        }
        for each in checked.values()
    ]  # fmt: skip
    new: set[str] = insert_new(work, entries, rows, "key")
    if not new:
        return new
    ids = _ids(work, new)
    lines: list[dict[str, Any]] = []
    effects: list[dict[str, Any]] = []
    for key in sorted(new):
        each, entry = checked[key], ids[key]
        lines += [
            {
                "entry": entry, "number": number, "billing_account": each.billing_account, "debit": it.debit, "credit": it.credit,
                "amount_micros": it.amount_micros, "book": it.book, "of_class": it.of_class, "tax_code": it.tax_code,
            }
            for number, it in enumerate(each.postings, 1)
        ]  # fmt: skip
        effects += [
            {
                "kind": "post", "book": book, "key": f"j{entry}-{number}", "amount_micros": micros, "entry": entry,
                "made_ms": each.at_ms, "due_ms": each.at_ms,
            }
            for number, (book, micros) in enumerate(sorted(book_effects(each).items()), 1)
        ]  # fmt: skip
    work.execute(postings.insert(), lines)
    if effects:
        work.execute(outbox.insert(), effects)
    return new


def _ids(work: Connection, keys: Iterable[str]) -> dict[str, int]:
    wanted = sorted(keys)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), 500):
        rows = work.execute(
            select(entries.c.key, entries.c.id).where(entries.c.key.in_(wanted[start : start + 500]))
        )
        found.update((key, number) for key, number in rows)
    return found


def ledger_balances(look: Connection) -> dict[Ledger, int]:
    """Return each ledger account's debits less its credits, over everything: they add up to 0."""
    found: dict[Ledger, int] = {}
    for side, sign in ((postings.c.debit, 1), (postings.c.credit, -1)):
        for account, micros in look.execute(select(side, func.sum(postings.c.amount_micros)).group_by(side)):
            found[Ledger(account)] = found.get(Ledger(account), 0) + sign * int(micros)
    return found


def standing(look: Connection, billing_account: int, ledger: Ledger) -> int:
    """Return what a billing account has on a ledger account: debits less credits."""
    of = postings.c.billing_account == billing_account
    total = 0
    for side, sign in ((postings.c.debit, 1), (postings.c.credit, -1)):
        found = look.execute(select(func.sum(postings.c.amount_micros)).where(of, side == ledger)).scalar()
        total += sign * int(found or 0)
    return total
