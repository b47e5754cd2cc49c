"""Documents and their deliveries in SQL: what was made of which facts, where it lies, and who has it.

Laws
1. A document is one row: ``waiting`` with its facts frozen, then ``made`` with its file and the file's SHA-256, or ``parked`` with the reason.
   Facts are never changed, so that whoever makes it (again) makes the same bytes.
2. A delivery has its key once: document, channel, and how often a human asked for it anew.
3. A mail is ``sending`` before it is handed over, under a lease: whoever finds a lapsed one cannot know whether the server has it, and hands
   it over again with the same Message-ID. What is ``sent`` is never sent again.
4. Nothing fails in silence: ``failed`` and ``parked`` stay, with why, until a human asks for them again.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    func,
    or_,
    select,
    update,
)

from ocs.sql import KEY, MILLISECONDS, insert_new, locked, metadata
from postpaid_bridge.sql.bills import bills

__all__ = [
    "Due", "New", "Outcome", "again", "counts", "deliveries", "documents", "due", "enqueue", "made", "noted", "parked", "resend", "waiting",
]  # fmt: skip

documents = Table(
    "document",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(80), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("language", String(2), nullable=False),
    Column("number", String(40), nullable=False),
    Column("bill", ForeignKey("bill.id"), unique=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False, index=True),
    Column("channel", String(16), nullable=False, default=""),
    Column("state", String(8), nullable=False, index=True),
    Column("facts", LargeBinary),
    Column("path", String(120), nullable=False, default=""),
    Column("sha256", String(64), nullable=False, default=""),
    Column("octets", Integer, nullable=False, default=0),
    Column("reason", String(400), nullable=False, default=""),
    Column("queued_ms", MILLISECONDS, nullable=False),
    Column("made_ms", MILLISECONDS),
    CheckConstraint("channel IN ('', 'email', 'post')", name="channel"),
    CheckConstraint("state IN ('waiting', 'made', 'parked')", name="state"),
    CheckConstraint("(bill IS NOT NULL) = (kind = 'bill')", name="bill"),
)
"""``kind`` bill (credit notes too), or a letter's (documents/letter.py); ``channel`` how it has to go ("": as the account wants it); ``facts`` packed JSON, empty where they could not be gathered."""

deliveries = Table(
    "delivery",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(120), nullable=False, unique=True),
    Column("document", ForeignKey("document.id"), nullable=False, index=True),
    Column("channel", String(16), nullable=False),
    Column("address", String(254), nullable=False, default=""),
    Column("state", String(8), nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("next_ms", MILLISECONDS, nullable=False),
    Column("why", String(400), nullable=False, default=""),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("sent_ms", MILLISECONDS),
    CheckConstraint("channel IN ('email', 'download', 'post')", name="channel"),
    CheckConstraint("state IN ('waiting', 'sending', 'sent', 'failed', 'left')", name="state"),
    Index("ix_delivery_due", "state", "next_ms"),
)
"""``left``: nothing is sent, it is there to be fetched (download) or printed (post). ``next_ms``: when it is tried, or its lease lapses."""

_REASON_CHARS = 400


class New(NamedTuple):
    """A document to be made: its key, kind, language, number, bill (None: a letter), account and facts; ``reason``: why it cannot be."""

    key: str
    kind: str
    language: str
    number: str
    bill: int | None
    billing_account: int
    facts: bytes | None
    reason: str = ""
    channel: str = ""


class Due(NamedTuple):
    """A delivery that was claimed: its document's kind, number, language, file and packed facts, and the bill's total (None: a letter)."""

    id: int
    key: str
    address: str
    tries: int
    made_ms: int
    kind: str
    number: str
    language: str
    path: str
    sha256: str
    facts: bytes
    gross_cents: int | None
    currency: str | None


class Outcome(NamedTuple):
    """How a try ended: sent, waiting (until ``next_ms``) or failed, and why."""

    id: int
    state: str
    next_ms: int
    why: str = ""


def enqueue(work: Connection, new: Sequence[New], now_ms: int) -> int:
    """Let documents wait to be made, each once by its key; how many are new."""
    rows = [
        {
            "key": each.key, "kind": each.kind, "language": each.language, "number": each.number, "bill": each.bill,
            "billing_account": each.billing_account, "channel": each.channel, "state": "waiting" if each.facts is not None else "parked",
            "facts": None if each.facts is None else zlib.compress(each.facts, 6), "path": "", "sha256": "", "octets": 0,
            "reason": each.reason[:_REASON_CHARS], "queued_ms": now_ms, "made_ms": None,
        }
        for each in new
    ]  # fmt: skip
    return len(insert_new(work, documents, rows, "key"))


def unpacked(facts: bytes) -> bytes:
    """Return facts as they were handed to ``enqueue``."""
    return zlib.decompress(facts)


def waiting(look: Connection, after: int, count: int) -> Sequence[Row[Any]]:
    """Return the next documents that wait to be made, behind an id."""
    asked = select(documents).where(documents.c.state == "waiting", documents.c.id > after)
    return look.execute(asked.order_by(documents.c.id).limit(count)).all()


def made(
    work: Connection, key: int, path: str, sha256: str, octets: int, delivery: Mapping[str, Any], now_ms: int
) -> bool:
    """Note that a document is made, and how it is delivered (channel, address, state, why); False where somebody else had."""
    held = update(documents).where(documents.c.id == key, documents.c.state == "waiting")
    done = work.execute(
        held.values(state="made", path=path, sha256=sha256, octets=octets, reason="", made_ms=now_ms)
    )
    if not done.rowcount:
        return False
    row = _delivery(f"document:{key}:{delivery['channel']}:1", key, delivery, now_ms)
    insert_new(work, deliveries, [row], "key")
    return True


def _delivery(key: str, document: int, said: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    return {
        "key": key,
        "document": document,
        "tries": 0,
        "next_ms": now_ms,
        "made_ms": now_ms,
        "sent_ms": None,
        **said,
    }


def parked(work: Connection, key: int, reason: str) -> None:
    """Park a document that cannot be made, with its reason."""
    work.execute(
        update(documents)
        .where(documents.c.id == key, documents.c.state == "waiting")
        .values(state="parked", reason=reason[:_REASON_CHARS])
    )


def again(work: Connection, key: int) -> bool:
    """Let a parked document be made again: from its facts, or, where it has none, as if it was never queued. False where it is not parked."""
    row = work.execute(locked(select(documents).where(documents.c.id == key))).one_or_none()
    if row is None or row.state != "parked":
        return False
    if row.facts is None:
        work.execute(documents.delete().where(documents.c.id == key))
    else:
        work.execute(update(documents).where(documents.c.id == key).values(state="waiting", reason=""))
    return True


# ---------------------------------------------------------------- deliveries


def due(work: Connection, now_ms: int, lease_ms: int, count: int) -> list[Due]:
    """Claim the next mails that are due, or whose lease has lapsed; they are ``sending`` from now on (law 3)."""
    c = deliveries.c
    asked = (
        select(c.id)
        .where(c.channel == "email", c.state.in_(("waiting", "sending")), c.next_ms <= now_ms)
        .order_by(c.next_ms, c.id)
        .limit(count)
    )
    ids = list(work.execute(locked(asked, skip=True)).scalars())
    if not ids:
        return []
    claimed = {"state": "sending", "next_ms": now_ms + lease_ms, "tries": c.tries + 1}
    work.execute(update(deliveries).where(c.id.in_(ids)).values(claimed))
    d = documents.c
    columns = (
        c.id,
        c.key,
        c.address,
        c.tries,
        c.made_ms,
        d.kind,
        d.number,
        d.language,
        d.path,
        d.sha256,
        d.facts,
    )
    of_bill = (bills.c.gross_cents, bills.c.currency)
    joined = (
        select(*columns, *of_bill).join(documents, d.id == c.document).outerjoin(bills, bills.c.id == d.bill)
    )
    return [Due(*tuple[Any, ...](row)) for row in work.execute(joined.where(c.id.in_(ids)).order_by(c.id))]


def noted(work: Connection, outcome: Outcome, now_ms: int) -> bool:
    """Note how a try ended; False where the delivery is not being sent any more."""
    c = deliveries.c
    values = {"state": outcome.state, "next_ms": outcome.next_ms, "why": outcome.why[:_REASON_CHARS]}
    if outcome.state == "sent":
        values["sent_ms"] = now_ms
    done = work.execute(update(deliveries).where(c.id == outcome.id, c.state == "sending").values(values))
    return bool(done.rowcount)


def resend(work: Connection, document: int, address: str, now_ms: int) -> int | None:
    """Let a made document be mailed anew, as a delivery of its own; its id. None: it is not made, or one still waits to be sent."""
    row = work.execute(locked(select(documents.c.state).where(documents.c.id == document))).one_or_none()
    if row is None or row.state != "made":
        return None
    c = deliveries.c
    own = list(work.execute(select(c.state).where(c.document == document, c.channel == "email")).scalars())
    if {"waiting", "sending"} & set(own):
        return None
    said = {"channel": "email", "address": address, "state": "waiting", "why": ""}
    new = _delivery(f"document:{document}:email:{len(own) + 1}", document, said, now_ms)
    return int(work.execute(deliveries.insert().values(new)).inserted_primary_key[0])  # type: ignore[index]


def counts(look: Connection) -> dict[tuple[str, str], int]:
    """Return how many documents and deliveries are in each state, by (table, state): for metrics."""
    found: dict[tuple[str, str], int] = {}
    for table in (documents, deliveries):
        for state, count in look.execute(select(table.c.state, func.count()).group_by(table.c.state)):
            found[table.name, state] = int(count)
    return found


def listed(look: Connection, states: Sequence[str], after: int, count: int) -> Sequence[Row[Any]]:
    """Return deliveries in some states with their documents, and documents that are parked if "parked" is one; behind a document's id."""
    c, d = deliveries.c, documents.c
    columns: list[Any] = [
        d.id.label("document"), d.kind, d.number, d.state.label("document_state"), d.reason, c.id, c.channel, c.state, c.tries, c.why,
        c.next_ms, c.sent_ms,
    ]  # fmt: skip
    wanted: ColumnElement[bool] = c.state.in_([each for each in states if each != "parked"])
    if "parked" in states:
        wanted = or_(wanted, d.state == "parked")
    asked = select(*columns).select_from(documents.outerjoin(deliveries, c.document == d.id))
    return look.execute(asked.where(wanted, d.id > after).order_by(d.id, c.id).limit(count)).all()
