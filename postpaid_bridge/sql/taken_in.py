"""Money that the charging server took in by itself (top-ups of postpaid accounts, what books had before): allotted as any payment.

Laws
1. Intake has posted it already, book and all (usage.py ``payment_entry``, ``opening_entry``): here it gets its item, once, and pays what is open.
2. What a book had before the first record is a credit, or a claim where it was below zero: of none of our bills, due at once.
"""

from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from ocs.care.customers.tables import billing_accounts
from ocs.sql import insert_new, reading, writing
from postpaid_bridge.journal import Ledger
from postpaid_bridge.payments import Received, digest
from postpaid_bridge.sql.bookings import Booking, hold_accounts
from postpaid_bridge.sql.journal import entries, postings
from postpaid_bridge.sql.payments import payments
from postpaid_bridge.sql.receivables import Item, ItemKind, items
from postpaid_bridge.sql.usage import book_payments

__all__ = ["allot"]

PROVIDER = "charging"


def allot(engine: Engine, now_ms: int, most: int = 500) -> int:
    """Give items to what intake has posted, each in a unit of work of its own; how many."""
    with reading(engine) as look:
        paid = look.execute(_payments().limit(most)).all()
        opened = look.execute(_openings().limit(most)).all()
    for row in paid:
        with writing(engine) as work:
            _allot_payment(work, row, now_ms)
    for row in opened:
        with writing(engine) as work:
            _allot_opening(work, row, now_ms)
    return len(paid) + len(opened)


def _payments() -> Any:
    c = book_payments.c
    return (
        select(book_payments, entries.c.day, billing_accounts.c.currency)
        .join(entries, entries.c.key == c.key)
        .join(billing_accounts, billing_accounts.c.id == c.billing_account)
        .where(c.allotted_ms.is_(None))
        .order_by(c.id)
    )


def _openings() -> Any:
    there = select(items.c.id).where(items.c.key == entries.c.key).exists()
    p = postings.c
    return (
        select(entries.c.key, entries.c.day, entries.c.billing_account, p.book, p.amount_micros, p.debit)
        .join(postings, p.entry == entries.c.id)
        .where(entries.c.kind == "opening", ~there)
        .order_by(entries.c.id)
    )


def _allot_payment(work: Connection, row: Row[Any], now_ms: int) -> None:
    """Make a payment of what a book was paid; what was taken back (below zero) is a claim."""
    hold_accounts(work, [row.billing_account])
    c = book_payments.c
    mine = update(book_payments).where(c.id == row.id, c.allotted_ms.is_(None)).values(allotted_ms=now_ms)
    if not work.execute(mine).rowcount:
        return
    key, payment = row.key, None
    if row.amount_micros > 0:
        asked = Received(
            PROVIDER, row.key[:128], row.amount_micros, row.currency, row.day, row.billing_account, "top-up"
        )
        made = asked._asdict() | {
            "content": digest(asked), "wishes": "[]", "at_ms": row.at_ms, "state": "placed", "text": row.channel,
        }  # fmt: skip
        insert_new(work, payments, [made], "id")
        of = (payments.c.provider == PROVIDER, payments.c.own_id == asked.own_id)
        payment = work.execute(select(payments.c.id).where(*of)).scalar_one()
        key = f"payment:{payment}"
    kind = ItemKind.PAYMENT if payment is not None else ItemKind.RETURNED
    booking = Booking(work, row.billing_account, f"allot:{row.id}", row.day, now_ms, held=True)
    booking.item(Item(key, kind, -row.amount_micros, row.book, payment=payment, text=row.channel), None)
    booking.settle()
    booking.close("allot", row.key)


def _allot_opening(work: Connection, row: Row[Any], now_ms: int) -> None:
    hold_accounts(work, [row.billing_account])
    if work.execute(select(items.c.id).where(items.c.key == row.key)).first():
        return
    micros = row.amount_micros if row.debit == Ledger.RECEIVABLE else -row.amount_micros
    kind = ItemKind.PRINCIPAL if micros > 0 else ItemKind.CREDIT
    booking = Booking(work, row.billing_account, f"allot:{row.key}", row.day, now_ms, held=True)
    booking.item(Item(row.key, kind, micros, row.book, text="balance before the first record"), None)
    booking.settle()
    booking.close("allot", row.key)
