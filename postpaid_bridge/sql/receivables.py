"""What billing accounts owe and what they have to their credit, item by item: bills, fees, interest, payments.

Laws
1. An item is what somebody owes (above 0) or has to his credit (below 0) of one book. An allocation lets a credit pay a claim. Neither is ever
   changed or removed; what was wrong is allocated the other way round.
2. What is open of an item is its amount less its allocations. Whether a bill is paid follows from that, and stands nowhere else.
3. For every billing account and book, what is open adds up to RECEIVABLE of the journal: both move in one unit of work (bookings.py).
   Where a credit of one book pays a claim of another, the entry moves it (journal.py, law 4: each book sees what is its own).
4. No account has both a claim that is open and a credit that is: every unit of work on its items ends with ``settle``.
5. Units of work on an account's items hold its row of ``billing_account`` first, several in the order of their ids.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Table,
    func,
    select,
)

from ocs.limits import SQL_ROWS_AT_ONCE
from ocs.sql import KEY, MICROS, MILLISECONDS, metadata
from postpaid_bridge.allocation import Claim, ClaimKind

__all__ = [
    "Item", "ItemKind", "OpenClaim", "OpenCredit", "Settlement", "allocations", "credited_accounts", "items", "open_claims", "open_claims_of",
    "open_credits", "settlements",
]  # fmt: skip


class ItemKind(StrEnum):
    """What an item is of."""

    PRINCIPAL = "principal"  # of a bill
    FEE = "fee"  # reminder fees, flat sums, the bank's price of a returned debit
    INTEREST = "interest"
    CREDIT = "credit"  # what a bill or a credit note gives back
    PAYMENT = "payment"
    RETURNED = "returned"  # money of a payment that the bank took back
    REFUND = "refund"  # money of a credit that was paid out
    WRITE_OFF = "write_off"


class Settlement(StrEnum):
    """How a bill stands."""

    OPEN = "open"
    PART_PAID = "part_paid"
    PAID = "paid"
    OVER_PAID = "over_paid"


items = Table(
    "receivable",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("debt", String(64), nullable=False),
    Column("bill", KEY, index=True),
    Column("bill_number", String(32), nullable=False, default="", index=True),
    Column("book", String(128), nullable=False, default=""),
    Column("creditor", String(64), nullable=False, default=""),
    Column("amount_micros", MICROS, nullable=False),
    Column("since", Date, nullable=False),
    Column("due", Date, nullable=False),
    Column("secured", Boolean, nullable=False, default=False),
    Column("burden", Integer, nullable=False, default=0),
    Column("payment", KEY, index=True),
    Column("text", String(200), nullable=False, default=""),
    CheckConstraint("amount_micros <> 0", name="amount"),
    CheckConstraint(
        "kind IN ('principal', 'fee', 'interest', 'credit', 'payment', 'returned', 'refund', 'write_off')",
        name="kind",
    ),
)
"""``debt`` holds together a bill's principal, fees and interest; ``creditor`` is the third party whose claim it is ("": our own);
``payment`` a row of the table of payments. ``bill_number`` of a payment: the one bill that its payer named."""

allocations = Table(
    "allocation",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("event", String(200), nullable=False),
    Column("credit", ForeignKey("receivable.id"), nullable=False, index=True),
    Column("claim", ForeignKey("receivable.id"), nullable=False, index=True),
    Column("amount_micros", MICROS, nullable=False),
    Column("day", Date, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    CheckConstraint("amount_micros <> 0", name="amount"),
    Index("ix_allocation_event", "event"),
)
"""``amount_micros`` of ``credit`` pays ``claim``; below 0: it was taken back. ``event`` is what did it; ``day`` the payment's own."""


class Item(NamedTuple):
    """An item to be made; ``amount_micros`` above 0 is a claim, below 0 a credit."""

    key: str
    kind: ItemKind
    amount_micros: int
    book: str = ""
    debt: str = ""
    bill: int | None = None
    bill_number: str = ""
    creditor: str = ""
    due: date | None = None
    secured: bool = False
    burden: int = 0
    payment: int | None = None
    text: str = ""


class OpenClaim(NamedTuple):
    """A claim of which something is open. ``kind`` is that of allocation.py: what the bank took back is principal."""

    id: int
    billing_account: int
    kind: ClaimKind
    debt: str
    bill: int | None
    number: str
    book: str
    creditor: str
    amount_micros: int
    open_micros: int
    since: date
    due: date
    secured: bool
    burden: int
    text: str

    @property
    def claim(self) -> Claim:
        """As allocation.py has it."""
        return Claim(
            self.id, self.debt, self.kind, self.open_micros, self.since, self.due, self.number, self.secured, self.burden,
        )  # fmt: skip


class OpenCredit(NamedTuple):
    """A credit of which something is open, above 0."""

    id: int
    billing_account: int
    kind: ItemKind
    book: str
    payment: int | None
    number: str
    open_micros: int


# ---------------------------------------------------------------- read


def _open(day: date | None) -> Select[Any]:
    """Select items with what was open of them at the end of a day (None: by all that is known)."""
    paid = []
    for side in (allocations.c.claim, allocations.c.credit):
        of = select(func.coalesce(func.sum(allocations.c.amount_micros), 0)).where(side == items.c.id)
        paid.append((of if day is None else of.where(allocations.c.day <= day)).scalar_subquery())
    left = (items.c.amount_micros - paid[0] + paid[1]).label("left")
    inner = select(items, left)
    if day is not None:
        inner = inner.where(items.c.since <= day)
    found = inner.subquery()
    return select(found).where(found.c.left != 0).order_by(found.c.id)


def _read(look: Connection, accounts: Sequence[int], day: date | None, sign: int) -> list[Any]:
    asked = _open(day)
    inner = asked.selected_columns
    rows: list[Any] = []
    for start in range(0, len(accounts), SQL_ROWS_AT_ONCE):
        some = accounts[start : start + SQL_ROWS_AT_ONCE]
        side = inner.left > 0 if sign > 0 else inner.left < 0
        rows += look.execute(asked.where(inner.billing_account.in_(some), side)).all()
    return rows


def open_claims_of(
    look: Connection, accounts: Sequence[int], day: date | None = None
) -> dict[int, list[OpenClaim]]:
    """Return what is open of the claims of billing accounts, in the order of their ids; an account without any is left out.

    With ``day``: as it was at the end of that day by the days of payments, whenever they became known.
    """
    found: dict[int, list[OpenClaim]] = {}
    for row in _read(look, accounts, day, 1):
        kind = ClaimKind(row.kind) if row.kind in set(ClaimKind) else ClaimKind.PRINCIPAL
        found.setdefault(row.billing_account, []).append(
            OpenClaim(
                row.id, row.billing_account, kind, row.debt, row.bill, row.bill_number, row.book, row.creditor, row.amount_micros,
                int(row.left), row.since, row.due, row.secured, row.burden, row.text,
            )
        )  # fmt: skip
    return found


def open_claims(look: Connection, billing_account: int, day: date | None = None) -> list[OpenClaim]:
    """Return what is open of one billing account: per bill, kind, book and creditor."""
    return open_claims_of(look, [billing_account], day).get(billing_account, [])


def open_credits(look: Connection, billing_account: int, day: date | None = None) -> list[OpenCredit]:
    """Return what a billing account has to its credit, the oldest first."""
    return [
        OpenCredit(
            row.id, row.billing_account, ItemKind(row.kind), row.book, row.payment, row.bill_number, -int(row.left)
        )
        for row in _read(look, [billing_account], day, -1)
    ]  # fmt: skip


def credited_accounts(look: Connection, accounts: Sequence[int]) -> set[int]:
    """Return which of some billing accounts have something to their credit."""
    return {row.billing_account for row in _read(look, accounts, None, -1)}


def settlements(look: Connection, bills: Iterable[int]) -> dict[int, Settlement]:
    """Return how bills stand, by their principal claims (law 2); a bill without an item is paid: it was of nothing."""
    wanted = list(bills)
    found = dict.fromkeys(wanted, Settlement.PAID)
    paid = (
        select(func.coalesce(func.sum(allocations.c.amount_micros), 0))
        .where(allocations.c.claim == items.c.id)
        .scalar_subquery()
    )
    used = (
        select(func.coalesce(func.sum(allocations.c.amount_micros), 0))
        .where(allocations.c.credit == items.c.id)
        .scalar_subquery()
    )
    sums: dict[int, list[int]] = {}
    numbers: dict[str, int] = {}
    for start in range(0, len(wanted), SQL_ROWS_AT_ONCE):
        some = wanted[start : start + SQL_ROWS_AT_ONCE]
        of = (items.c.bill.in_(some), items.c.kind == ItemKind.PRINCIPAL)
        for row in look.execute(
            select(items.c.bill, items.c.bill_number, items.c.amount_micros, paid.label("paid")).where(*of)
        ):
            both = sums.setdefault(row.bill, [0, 0])
            both[0] += row.amount_micros
            both[1] += int(row.paid)
            numbers[row.bill_number] = row.bill
    for bill, (owed, settled) in sums.items():
        if settled < owed:
            found[bill] = Settlement.PART_PAID if settled else Settlement.OPEN
    names = [each for each in numbers if each]
    for start in range(0, len(names), SQL_ROWS_AT_ONCE):
        named = items.c.bill_number.in_(names[start : start + SQL_ROWS_AT_ONCE])
        over = select(items.c.bill_number, (items.c.amount_micros + used).label("left"))
        for rest in look.execute(over.where(named, items.c.kind == ItemKind.PAYMENT)):
            bill = numbers[rest.bill_number]
            if rest.left < 0 and found[bill] is Settlement.PAID:
                found[bill] = Settlement.OVER_PAID
    return found
