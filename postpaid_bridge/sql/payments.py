"""Payments in SQL: what came in, from whom, whose it is.

Laws
1. A payment, its item, its allocations and its entry are one unit of work; the same again gives what is there, other content is a conflict.
2. Dr CASH / Cr RECEIVABLE of the account and its books; what nobody can place: Cr CLEARING, until a human decides (clearing.py).
3. What is more than the claims stays to the account's credit: on its book if it has one alone, so that its room comes back, else on none.
   The next bill uses it.
4. Payments of one IBAN, amount, day and text under two ids are both booked, and the later one says so (``twin``).
5. The account's row is held before anything is written: whoever inserts first and holds later waits in a circle (PostgreSQL's key locks).
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    update,
)

from ocs.care.customers.shapes import missing, wrong
from ocs.care.customers.tables import billing_accounts, customers, services
from ocs.sql import KEY, MICROS, MILLISECONDS, insert_new, locked, metadata
from postpaid_bridge.allocation import Wish
from postpaid_bridge.journal import Entry, Ledger, posting
from postpaid_bridge.payments import Received, checked, digest, numbers_in, repeated, wishes_text
from postpaid_bridge.sql import journal
from postpaid_bridge.sql.bookings import Booking, hold_accounts
from postpaid_bridge.sql.receivables import Item, ItemKind, items, open_claims

__all__ = ["book", "credit_book", "day_before", "found_by_text", "payments", "read", "receive", "returns"]

payments = Table(
    "payment",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("own_id", String(128), nullable=False),
    Column("content", String(64), nullable=False),
    Column("state", String(12), nullable=False),
    Column("why", String(200), nullable=False, default=""),
    Column("billing_account", ForeignKey("billing_account.id"), index=True),
    Column("amount_micros", MICROS, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("day", Date, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    Column("method", String(16), nullable=False),
    Column("payer", String(140), nullable=False, default=""),
    Column("iban", String(34), nullable=False, default=""),
    Column("text", String(400), nullable=False, default=""),
    Column("wishes", Text, nullable=False, default="[]"),
    Column("twin", ForeignKey("payment.id")),
    UniqueConstraint("provider", "own_id"),
    CheckConstraint("amount_micros > 0", name="amount"),
    CheckConstraint("state IN ('placed', 'clearing', 'left', 'gone')", name="state"),
    CheckConstraint("(state = 'placed') = (billing_account IS NOT NULL)", name="placed"),
    Index("ix_payment_iban", "iban", "day"),
    Index("ix_payment_state", "state"),
)
"""``state`` clearing: it waits for a human, ``why`` says for what; left: he left it there; gone: it was paid back, or the bank took it.
``wishes`` is what the payer named (payments.py); ``content`` the SHA-256 of what was asked."""

returns = Table(
    "payment_return",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("kind", String(12), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("own_id", String(128), nullable=False),
    Column("content", String(64), nullable=False),
    Column("payment", ForeignKey("payment.id"), nullable=False, index=True),
    Column("amount_micros", MICROS, nullable=False),
    Column("fee_micros", MICROS, nullable=False, default=0),
    Column("reason", String(200), nullable=False, default=""),
    Column("by", String(64), nullable=False, default=""),
    Column("day", Date, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    UniqueConstraint("provider", "own_id"),
    CheckConstraint("kind IN ('charge_back', 'refund')", name="kind"),
    CheckConstraint("amount_micros > 0", name="amount"),
)
"""Money of payments that went back (returns.py)."""


def receive(work: Connection, asked: Received, at_ms: int, clears: str = "EUR") -> tuple[Row[Any], bool]:
    """Book a payment once; its row, and whether it is new. Without an account it is looked for by what the payer named and by his text;
    what is nobody's is taken in the currency that CLEARING is kept in (``clears``).

    Raises CustomerFault: wrong for what no payment can be, missing for an account that is not there, conflict for other content under its id.
    """
    asked = checked(asked)
    before = _before(work, asked)
    if before is not None:
        return before, False
    account, wishes, why = _whose(work, asked)
    if account is not None:
        hold_accounts(work, [account])
        why = _closed(work, account)
    placed = account is not None and not why
    if not placed and asked.currency != clears:
        raise wrong("currency", f"it is nobody's, and not in {clears}", "name an account in its currency")
    row = asked._asdict() | {
        "content": digest(asked), "wishes": wishes_text(asked.wishes), "at_ms": at_ms, "state": "placed" if placed else "clearing",
        "billing_account": account if placed else None, "why": why, "twin": _twin(work, asked),
    }  # fmt: skip
    if not insert_new(work, payments, [row], "id"):
        there = _before(work, asked)
        if there is None:
            raise RuntimeError("a payment that is there and cannot be read")
        return there, False
    found = work.execute(
        select(payments).where(payments.c.provider == asked.provider, payments.c.own_id == asked.own_id)
    ).one()
    if placed:
        book(work, found, f"payment:{found.id}", Ledger.CASH, wishes, at_ms)
    else:
        made = posting(Ledger.CASH, Ledger.CLEARING, found.amount_micros)
        journal.post(work, [Entry(f"payment:{found.id}", "payment", None, found.day, at_ms, made)])
    return found, True


def book(
    work: Connection, payment: Row[Any], key: str, counter: Ledger | None, wishes: Sequence[Wish], at_ms: int
) -> None:
    """Put a payment to its account's credit, against a ledger account (None: an entry has it already), and let it pay what is open."""
    account = payment.billing_account
    named = {each.bill for each in wishes}
    booking = Booking(work, account, key, payment.day, at_ms)
    credit = booking.item(
        Item(
            f"payment:{payment.id}",
            ItemKind.PAYMENT,
            -payment.amount_micros,
            credit_book(work, account),
            payment=payment.id,
            bill_number=named.pop() if len(named) == 1 else "",
        ),
        counter,
    )
    booking.settle({credit: wishes} if wishes else None)
    booking.close("payment", payment.own_id)


def credit_book(look: Connection, billing_account: int) -> str:
    """Return the book on which an account's credit stands (law 3)."""
    c = services.c
    asked = select(c.book).where(
        c.billing_account == billing_account, c.book != "", c.mode != "prepaid", c.until.is_(None)
    )
    found = set(look.execute(asked).scalars())
    return found.pop() if len(found) == 1 else ""


def read(look: Connection, payment: int, *, holding: bool = False) -> Row[Any]:
    """Return a payment. Raises CustomerFault (missing)."""
    asked = select(payments).where(payments.c.id == payment)
    found = look.execute(locked(asked) if holding else asked).first()
    if found is None:
        raise missing(f"payment {payment}")
    return found


def day_before(look: Connection, table: Table, provider: str, own_id: str) -> date | None:
    """Return the day of what came under an id before (payments, returns): who names no day means that one when he asks again."""
    asked = select(table.c.day).where(table.c.provider == provider, table.c.own_id == own_id)
    found: date | None = look.execute(asked).scalar()
    return found


def _before(work: Connection, asked: Received) -> Row[Any] | None:
    c = payments.c
    there = work.execute(
        select(payments).where(c.provider == asked.provider, c.own_id == asked.own_id)
    ).first()
    if there is not None:
        repeated(there.content, asked)
    return there


def _twin(work: Connection, asked: Received) -> int | None:
    if not asked.iban:
        return None
    c = payments.c
    same = (
        c.iban == asked.iban,
        c.amount_micros == asked.amount_micros,
        c.day == asked.day,
        c.text == asked.text,
    )
    return work.execute(select(func.min(payments.c.id)).where(*same)).scalar()


def _whose(work: Connection, asked: Received) -> tuple[int | None, tuple[Wish, ...], str]:
    """Return the account, what is named of it, and why it is nobody's. Raises CustomerFault (law 2)."""
    if asked.billing_account is None:
        named = {each.bill for each in asked.wishes if each.bill}
        account, bills, why = found_by_text(work, asked, named)
        return account, asked.wishes or tuple(Wish(each) for each in bills), why
    currency = work.execute(
        select(billing_accounts.c.currency).where(billing_accounts.c.id == asked.billing_account)
    ).scalar()
    if currency is None:
        raise missing("account")
    if currency != asked.currency:
        raise wrong(
            "currency", f"the account is in {currency}", "pay an account in its own currency; nothing is changed here"
        )  # fmt: skip
    for each in asked.wishes:
        named_item = items.c.id == each.claim if each.claim else items.c.bill_number == each.bill
        of = set(work.execute(select(items.c.billing_account).where(named_item)).scalars())
        if of != {asked.billing_account}:
            raise wrong(
                "bills", "a bill or claim that the account has not", "name what is billed to the account"
            )
    return asked.billing_account, asked.wishes, ""


def found_by_text(
    work: Connection, asked: Received, named: set[str] | None = None
) -> tuple[int | None, list[str], str]:
    """Return the one account that a payment's bills, or numbers in its text, are of; the bills; and why there is none.

    Raises CustomerFault for one in another currency.
    """
    words = sorted(named or numbers_in(asked.text))
    if not words:
        return None, [], "no number in its text"
    a = billing_accounts.c
    billed = work.execute(
        select(items.c.billing_account, items.c.bill_number, a.currency)
        .join(billing_accounts, a.id == items.c.billing_account)
        .where(func.upper(items.c.bill_number).in_(words))
        .distinct()
    ).all()
    numbered = work.execute(
        select(a.id, a.currency)
        .join(customers, customers.c.id == a.customer)
        .where(a.number.in_(words) | customers.c.number.in_(words), a.status != "closed")
    ).all()
    found = billed or numbered
    accounts = {each[0] for each in found}
    if len(accounts) != 1:
        return None, [], "numbers of several accounts" if accounts else "no number that is known here"
    if found[0].currency != asked.currency:
        raise wrong("currency", f"the account that it names is in {found[0].currency}", "it is not booked")
    return accounts.pop(), sorted(each.bill_number for each in billed), ""


def _closed(work: Connection, account: int) -> str:
    """Say why an account takes no money: it is closed, and owes nothing."""
    status = work.execute(
        select(billing_accounts.c.status).where(billing_accounts.c.id == account)
    ).scalar_one()
    if status == "closed" and not open_claims(work, account):
        return "the account is closed and owes nothing"
    return ""


def leave_clearing(
    work: Connection, payment: int, state: str, *, account: int | None = None, why: str = ""
) -> Row[Any]:
    """Let a payment that waited be placed, left or gone; the row as it is then."""
    change = update(payments).where(payments.c.id == payment)
    work.execute(change.values(state=state, billing_account=account, why=why[:200]))
    return read(work, payment)
