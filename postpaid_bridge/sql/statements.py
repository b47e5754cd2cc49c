"""Bank statements in SQL: what of them was booked, and what not and why.

Laws
1. A statement is known by its account, id and sequence: the same again goes on where it was left, another content under them is refused.
2. An entry of the bank, with all its transactions, is one unit of work: booked whole, or kept with its reason and nothing booked.
3. A transaction is booked once, by its key (statement.py), whatever statement it comes in. One that the bank gave no reference, and that was in
   another statement already, is kept for a human (``doubtful``): nobody can tell whether it is the same.
4. Money in: a payment (what nobody can place waits in clearing). Money out with a return's reason, or that undoes an entry: a charge-back of the
   payment that it names. Other money out is ours, and passed over.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    update,
)

from ocs.care.customers.shapes import CustomerFault, conflict, missing
from ocs.sql import KEY, MICROS, MILLISECONDS, insert_new, locked, metadata
from postpaid_bridge.payments import Received, Return
from postpaid_bridge.sql.payments import payments, receive
from postpaid_bridge.sql.returns import charge_back, returned_micros
from postpaid_bridge.statement import BankEntry, Statement, Transaction, digest_of

__all__ = [
    "accept",
    "begin",
    "counted",
    "finish",
    "rejected",
    "statement_entries",
    "statements",
    "take_entry",
    "taken_numbers",
]

PROVIDER = "bank"

statements = Table(
    "statement",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("iban", String(34), nullable=False),
    Column("name", String(35), nullable=False),
    Column("sequence", String(35), nullable=False, default=""),
    Column("content", String(64), nullable=False),
    Column("file", String(200), nullable=False, default=""),
    Column("currency", String(3), nullable=False),
    Column("opening_micros", MICROS, nullable=False),
    Column("closing_micros", MICROS, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("done_ms", MILLISECONDS),
    UniqueConstraint("iban", "name", "sequence"),
)

statement_entries = Table(
    "statement_entry",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("statement", ForeignKey("statement.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("key", String(128), nullable=False, index=True),
    Column("state", String(12), nullable=False),
    Column("why", String(300), nullable=False, default=""),
    Column("amount_micros", MICROS, nullable=False),
    Column("day", Date, nullable=False),
    Column("payment", ForeignKey("payment.id")),
    Column("returned", ForeignKey("payment_return.id")),
    Column("raw", Text, nullable=False, default=""),
    Column("at_ms", MILLISECONDS, nullable=False),
    UniqueConstraint("statement", "number", "place"),
    CheckConstraint(
        "state IN ('payment', 'charge_back', 'ours', 'repeated', 'rejected', 'doubtful', 'accepted')",
        name="state",
    ),
)
"""``number`` is the entry's place in its statement, ``place`` the transaction's in it (0: the entry as a whole). ``raw`` is the transaction
as it was read, where it was not booked: it can be accepted later."""


class Begun(NamedTuple):
    """A statement that is being taken in: its row, and whether it is done already."""

    id: int
    is_done: bool


def begin(work: Connection, of: Statement, file: str, at_ms: int) -> Begun:
    """Begin a statement, or go on with it. Raises CustomerFault for another content under its id (law 1)."""
    row = {
        "iban": of.iban, "name": of.id, "sequence": of.sequence, "content": digest_of(of), "file": file[:200], "currency": of.currency,
        "opening_micros": of.opening_micros, "closing_micros": of.closing_micros, "entries": len(of.entries), "made_ms": at_ms,
    }  # fmt: skip
    insert_new(work, statements, [row], "id")
    c = statements.c
    asked = select(statements).where(c.iban == of.iban, c.name == of.id, c.sequence == of.sequence)
    there = work.execute(asked).one()
    if there.content != row["content"]:
        raise conflict(
            f"statement {of.id}",
            "another content was taken in under its id and number",
            "ask the bank which one holds",
        )
    return Begun(there.id, there.done_ms is not None)


def taken_numbers(look: Connection, statement: int) -> set[int]:
    """Return the numbers of the entries that were taken in."""
    c = statement_entries.c
    return set(look.execute(select(c.number).where(c.statement == statement).distinct()).scalars())


def take_entry(work: Connection, statement: int, of: Statement, entry: BankEntry, at_ms: int) -> None:
    """Take in one entry with all its transactions, once (law 2). A fault of one of them undoes what was booked of the entry, not the caller's."""
    row = work.execute(locked(select(statements.c.id).where(statements.c.id == statement))).scalar_one()
    there = work.execute(
        select(statement_entries.c.id).where(
            statement_entries.c.statement == row, statement_entries.c.number == entry.number
        )
    ).first()
    if there is not None:
        return
    taking = _Taking(work, statement, of, entry, at_ms)
    if entry.fault:
        taking.kept(0, None, entry.fault)
        return
    try:
        with work.begin_nested():
            for place, each in enumerate(entry.transactions, 1):
                taking.take(place, each)
    except CustomerFault as fault:
        for place, each in enumerate(entry.transactions, 1):
            taking.kept(place, each, str(fault))


class _Taking:
    """One entry of the bank."""

    def __init__(self, work: Connection, statement: int, of: Statement, entry: BankEntry, at_ms: int) -> None:
        self._work = work
        self._statement = statement
        self._of = of
        self._entry = entry
        self._at_ms = at_ms

    def take(self, place: int, told: Transaction) -> None:
        """Book one transaction, or pass it over. Raises CustomerFault for what cannot be booked."""
        if before := self._before(told.key):
            if told.is_sure:
                self._note(place, told, "repeated", f"it is in statement {before}")
            else:
                self._note(
                    place,
                    told,
                    "doubtful",
                    f"one just like it, without a reference, is in statement {before}",
                )
            return
        self.book(place, told)

    def book(self, place: int, told: Transaction) -> None:
        """Book it (law 4)."""
        if told.amount_micros > 0:
            text, method = told.text, "transfer"
            if self._entry.is_reversal:
                text, method = (
                    "",
                    "reversal",
                )  # money of ours came back: no number in its text makes it somebody's
            asked = Received(
                PROVIDER, told.key, told.amount_micros, self._of.currency, self._entry.day, None, method, told.name, told.iban, text,
            )  # fmt: skip
            payment, _ = receive(self._work, asked, self._at_ms, self._of.currency)
            self._note(place, told, "payment", payment.why, payment=payment.id)
        elif told.returned or self._entry.is_reversal:
            of = self._returned(told)
            reason = " ".join(each for each in (told.returned, told.reason) if each) or "reversed by the bank"
            back = Return(
                PROVIDER, told.key, of, self._entry.day, told.original_micros, told.charges_micros, reason=reason, by=PROVIDER,
            )  # fmt: skip
            row, _ = charge_back(self._work, back, self._at_ms)
            self._note(place, told, "charge_back", reason, payment=of, returned=row.id)
        else:
            self._note(place, told, "ours", "money out, and no return")

    def kept(self, place: int, told: Transaction | None, why: str) -> None:
        """Keep what was not booked, with its reason."""
        self._note(place, told, "rejected", why)

    def _returned(self, told: Transaction) -> int:
        """Return the payment that a transaction takes back: by the payer's reference, else by bank account and amount, the latest."""
        c = payments.c
        alike = (c.amount_micros == told.original_micros, c.currency == self._of.currency)
        ways: list[tuple[Any, ...]] = []
        if told.end_to_end:
            ways.append((c.own_id == told.end_to_end,))
        if told.iban:
            ways.append((c.iban == told.iban, *alike))
        if told.text:
            ways.append((c.text == told.text, *alike))
        for way in ways:
            found = self._work.execute(select(c.id).where(*way).order_by(c.day.desc(), c.id.desc())).scalars()
            for each in found.all():
                if not returned_micros(self._work, each, "charge_back"):
                    return int(each)
        raise missing("return", "no payment that it takes back", "book it by hand: payments charge-back")

    def _before(self, key: str) -> str:
        c = statement_entries.c
        asked = (
            select(statements.c.name)
            .join(statements, statements.c.id == c.statement)
            .where(c.key == key, c.state.not_in(["rejected", "doubtful"]))
        )
        return self._work.execute(asked).scalars().first() or ""

    def _note(self, place: int, told: Transaction | None, state: str, why: str, **of: int) -> None:
        entry = self._entry
        row = {
            "statement": self._statement, "number": entry.number, "place": place, "state": state, "why": why[:300],
            "key": told.key if told else f"{self._of.iban}:{self._of.id}:{entry.number}"[:128],
            "amount_micros": told.amount_micros if told else entry.amount_micros, "day": entry.day, "at_ms": self._at_ms,
            "raw": json.dumps([entry.is_reversal, told]) if told and state in {"rejected", "doubtful"} else "", **of,
        }  # fmt: skip
        self._work.execute(statement_entries.insert().values(row))


def finish(work: Connection, statement: int, at_ms: int) -> None:
    """Say that all of a statement was taken in."""
    c = statements.c
    work.execute(update(statements).where(c.id == statement, c.done_ms.is_(None)).values(done_ms=at_ms))


def counted(look: Connection, statement: int) -> dict[str, int]:
    """Return how many transactions of a statement came to which state."""
    c = statement_entries.c
    asked = select(c.state, func.count()).where(c.statement == statement).group_by(c.state).order_by(c.state)
    return {state: int(count) for state, count in look.execute(asked)}


def rejected(look: Connection, after: int = 0, most: int = 100) -> Sequence[Row[Any]]:
    """Return transactions that were not booked and wait for a human, behind an id."""
    c = statement_entries.c
    asked = select(statement_entries).where(c.state.in_(["rejected", "doubtful"]), c.id > after)
    return look.execute(asked.order_by(c.id).limit(most)).all()


def accept(work: Connection, row: int, at_ms: int) -> None:
    """Book a transaction that was kept, at a human's word: what was doubtful as one of its own, what was rejected as if it came now.

    Raises CustomerFault: missing, conflict (it does not wait), and what the booking itself does.
    """
    c = statement_entries.c
    kept = work.execute(locked(select(statement_entries).where(c.id == row))).first()
    if kept is None:
        raise missing(f"entry {row}")
    if kept.state not in {"rejected", "doubtful"} or not kept.raw:
        raise conflict(
            f"entry {row}", "it is not one that can be accepted", "book it by hand where it has to be"
        )
    is_reversal, told = json.loads(kept.raw)
    transaction = Transaction(*told)
    if kept.state == "doubtful":
        transaction = transaction._replace(key=f"{transaction.key}:{row}"[-128:])
    of = work.execute(select(statements).where(statements.c.id == kept.statement)).one()
    entry = BankEntry(kept.number, kept.amount_micros, kept.day, is_reversal, ())
    whole = Statement(of.iban, of.name, of.sequence, of.currency, 0, 0, ())
    work.execute(update(statement_entries).where(c.id == row).values(state="accepted", raw=""))
    _Taking(work, kept.statement, whole, entry, at_ms).book(-row, transaction)
