"""Usage lines in SQL: what was taken in, what was not and why, and how far.

Laws
1. Lines, their entries in the journal and the place in the stream (or file) are one unit of work: all of it is kept, or nothing.
2. A line has its key once. ``entry`` is the key of the entry that its amount is in ("" where that adds up to 0 with others, or is 0).
3. A line is on one bill at most: ``bill`` is empty until a run claims it, and again when that run is undone before it is numbered.
4. What came after its period's bill goes to the next one, while it is not older than the bound that the run names; what is older is held
   (``held`` = "late"), counted, and billed only when a human lets it go ("free").
5. What is rejected keeps its own octets, so that it can be tried again. Records of a book with one that waits (``parked``) wait behind it.
"""

from collections.abc import Sequence

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    func,
    select,
    update,
)

from ocs.sql import KEY, MICROS, MILLISECONDS, metadata
from postpaid_bridge.usage import Summed

__all__ = [
    "alarms", "book_payments", "books", "claim_for_bill", "drop", "files", "held_late", "let_go", "lines", "open_alarms",
    "parked_by_reason", "places", "rejected", "unbill", "usage_sums",
]  # fmt: skip

lines = Table(
    "usage_line",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(600), nullable=False, unique=True),
    Column("source", String(8), nullable=False),
    Column("partition", Integer, nullable=False, default=0),
    Column("place", String(80), nullable=False),
    Column("session", String(400), nullable=False, default=""),
    Column("number", KEY, nullable=False, default=0),
    Column("service_key", String(120), nullable=False, default=""),
    Column("service", ForeignKey("service.id"), nullable=False),
    Column("billing_account", KEY, nullable=False),
    Column("party", KEY, nullable=False),
    Column("book", String(128), nullable=False, default=""),
    Column("member", String(128), nullable=False, default=""),
    Column("subscriber_number", String(20), nullable=False, default=""),
    Column("started_ms", MILLISECONDS, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    Column("usage_class", String(32), nullable=False),
    Column("counterpart", String(32), nullable=False, default=""),
    Column("zone", String(64), nullable=False, default=""),
    Column("roaming", String(64), nullable=False, default=""),
    Column("direction", String(16), nullable=False, default=""),
    Column("unit", SmallInteger, nullable=False),
    Column("units", MICROS, nullable=False),
    Column("allowance_units", MICROS, nullable=False, default=0),
    Column("amount_micros", MICROS, nullable=False),
    Column("priced_micros", MICROS, nullable=False, default=0),
    Column("rate", String(120), nullable=False, default=""),
    Column("tariff", String(120), nullable=False, default=""),
    Column("revenue_class", String(32), nullable=False, default=""),
    Column("tax_code", String(32), nullable=False, default=""),
    Column("ledger", String(16), nullable=False),
    Column("text", String(200), nullable=False, default=""),
    Column("entry", String(200), nullable=False, default=""),
    Column("corrects", ForeignKey("usage_line.id")),
    Column("held", String(8), nullable=False, default=""),
    Column("bill", KEY),
    CheckConstraint("source IN ('stream', 'file', 'rerate')", name="source"),
    Index("ix_usage_line_run", "billing_account", "bill", "at_ms"),
)
"""``place`` is the stream's id in ``partition``, or file and line; ``number`` the request's. ``bill`` is a row of the table of bills."""

rejected = Table(
    "usage_rejected",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("source", String(8), nullable=False),
    Column("partition", Integer, nullable=False, default=0),
    Column("place", String(80), nullable=False),
    Column("file", ForeignKey("usage_file.id")),
    Column("book", String(128), nullable=False, default=""),
    Column("why", String(32), nullable=False),
    Column("detail", String(400), nullable=False, default=""),
    Column("raw", Text, nullable=False),
    Column("replayable", Integer, nullable=False, default=1),
    Column("state", String(8), nullable=False, default="parked"),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("done_ms", MILLISECONDS),
    CheckConstraint("state IN ('parked', 'taken', 'dropped')", name="state"),
    Index("ix_usage_rejected_book", "state", "book"),
)
"""``raw`` is the record's octets in Base64, or the line of the file; ``state`` taken: a later try went well, dropped: a human said so."""

places = Table(
    "intake_place",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("last_id", String(40), nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
)
"""How far each partition's stream was taken in: the truth, whatever was acknowledged."""

books = Table(
    "usage_book",
    metadata,
    Column("book", String(128), primary_key=True),
    Column("floor_micros", MICROS, nullable=False, default=0),
    Column("sequence", KEY),
    Column("balance_micros", MICROS, nullable=False, default=0),
)
"""Books below whose zero somebody may go, or of which records were taken: the last record's sequence (empty: none yet) and the balance after it."""

alarms = Table(
    "intake_alarm",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("after_id", String(40), nullable=False, default=""),
    Column("next_id", String(40), nullable=False, default=""),
    Column("book", String(128), nullable=False, default=""),
    Column("difference_micros", MICROS, nullable=False, default=0),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("seen_ms", MILLISECONDS),
    CheckConstraint("kind IN ('missing', 'undone', 'difference')", name="kind"),
)
"""What must not be passed over in silence: records that are nowhere, records that the store has undone, and books whose balance is not what
their records say that they did (``difference_micros``: the book's balance less what was taken in)."""

book_payments = Table(
    "book_payment",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("reference", String(400), nullable=False, index=True),
    Column("book", String(128), nullable=False),
    Column("billing_account", KEY, nullable=False, index=True),
    Column("channel", String(128), nullable=False),
    Column("voucher", String(64), nullable=False, default=""),
    Column("amount_micros", MICROS, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    Column("allotted_ms", MILLISECONDS),
)
"""Money that the charging server took in by itself, to be allotted as any payment; ``key`` is that of its entry."""

files = Table(
    "usage_file",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("source", String(32), nullable=False, default=""),
    Column("form", String(8), nullable=False, default=""),
    Column("octets", MICROS, nullable=False),
    Column("state", String(8), nullable=False),
    Column("detail", String(400), nullable=False, default=""),
    Column("lines", Integer, nullable=False, default=0),
    Column("line", Integer, nullable=False, default=0),
    Column("offset", MICROS, nullable=False, default=0),
    Column("taken", Integer, nullable=False, default=0),
    Column("repeated", Integer, nullable=False, default=0),
    Column("rejected", Integer, nullable=False, default=0),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("done_ms", MILLISECONDS),
    CheckConstraint("state IN ('reading', 'done', 'refused')", name="state"),
)
"""``line`` and ``offset`` say how far a file was taken in: in the unit of work of its lines."""


def usage_sums(
    look: Connection,
    billing_account: int,
    before_ms: int,
    *,
    since_ms: int | None = None,
    bill: int | None = None,
) -> list[Summed]:
    """Return what a billing account used before an instant (and from ``since_ms`` on), by service, class and tax class, in their order.

    Without ``bill``: what no bill has and is not held; with it: what that bill has claimed.
    """
    c = lines.c
    of = [c.billing_account == billing_account, c.at_ms < before_ms]
    of += [c.bill.is_(None), c.held != "late"] if bill is None else [c.bill == bill]
    if since_ms is not None:
        of.append(c.at_ms >= since_ms)
    by = (c.service, c.party, c.book, c.usage_class, c.tax_code)
    found = look.execute(
        select(*by, func.count(), func.sum(c.units), func.sum(c.amount_micros))
        .where(*of)
        .group_by(*by)
        .order_by(*by)
    )
    return [Summed(*row[:5], *map(int, row[5:])) for row in found]


def claim_for_bill(
    work: Connection, bill: int, billing_account: int, before_ms: int, oldest_ms: int
) -> tuple[int, int]:
    """Let a bill have all lines of a billing account before an instant that no bill has; (lines claimed, lines held as too late).

    Lines before ``oldest_ms`` are held (law 4). Done again for the same bill, it claims what came since.
    """
    c = lines.c
    free = (c.billing_account == billing_account, c.bill.is_(None))
    late = work.execute(update(lines).where(*free, c.at_ms < oldest_ms, c.held == "").values(held="late"))
    done = work.execute(update(lines).where(*free, c.at_ms < before_ms, c.held != "late").values(bill=bill))
    return done.rowcount, late.rowcount


def unbill(work: Connection, bill: int, billing_account: int) -> int:
    """Give back the lines of a bill whose run is undone before it was numbered; how many."""
    of = (lines.c.billing_account == billing_account, lines.c.bill == bill)
    return work.execute(update(lines).where(*of).values(bill=None)).rowcount


def let_go(work: Connection, ids: Sequence[int]) -> int:
    """Let lines that came too late go to the next bill all the same, at a human's word; how many were held."""
    of = (lines.c.id.in_(ids), lines.c.held == "late", lines.c.bill.is_(None))
    return work.execute(update(lines).where(*of).values(held="free")).rowcount


def drop(work: Connection, number: int, now_ms: int) -> bool:
    """Let a rejected record or line go for good, at a human's word; False where it is not parked. What waited behind it goes on."""
    of = (rejected.c.id == number, rejected.c.state == "parked")
    return work.execute(update(rejected).where(*of).values(state="dropped", done_ms=now_ms)).rowcount == 1


def parked_by_reason(look: Connection) -> dict[tuple[str, str], int]:
    """Return how much is parked, by source and reason: for metrics."""
    c = rejected.c
    found = look.execute(
        select(c.source, c.why, func.count()).where(c.state == "parked").group_by(c.source, c.why)
    )
    return {(row[0], row[1]): int(row[2]) for row in found}


def open_alarms(look: Connection) -> dict[str, int]:
    """Return how many alarms nobody has seen yet, by kind: for metrics."""
    c = alarms.c
    found = look.execute(select(c.kind, func.count()).where(c.seen_ms.is_(None)).group_by(c.kind))
    return {row[0]: int(row[1]) for row in found}


def held_late(look: Connection) -> tuple[int, int]:
    """Return how many lines are held as too late, and their amount: for metrics."""
    row = look.execute(
        select(func.count(), func.coalesce(func.sum(lines.c.amount_micros), 0)).where(lines.c.held == "late")
    ).one()
    return int(row[0]), int(row[1])
