"""Charges in SQL: what was charged once and for all, and what was granted and waits for a bill.

Laws
1. A charge has its key once. Those that a run makes (rents, fees, refunds, discounts, commitments) are rows of a bill from their first moment,
   and go with the bill when its run is abandoned; what a human granted (adjustments, credits) waits without a bill, and waits again then.
2. What a bill with a number has is not changed any more.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from ocs.sql import KEY, MICROS, MILLISECONDS, insert_new, metadata
from postpaid_bridge.charges import Charge, ChargeKind
from postpaid_bridge.pieces import Made
from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.tax import Basis

__all__ = ["charges", "drop", "grant", "granted", "made_for", "of_bills", "put"]

charges = Table(
    "charge",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False),
    Column("service", KEY, nullable=False),
    Column("party", KEY, nullable=False),
    Column("book", String(128), nullable=False, default=""),
    Column("text", String(200), nullable=False),
    Column("since", Date, nullable=False),
    Column("until", Date, nullable=False),
    Column("amount_micros", MICROS, nullable=False),
    Column("of_class", String(32), nullable=False),
    Column("tax_code", String(32), nullable=False),
    Column("basis", String(8), nullable=False),
    Column("held", KEY, nullable=False, default=0),
    Column("plan", String(64), nullable=False, default=""),
    Column("item", String(64), nullable=False, default=""),
    Column("corrects", String(200), nullable=False, default=""),
    Column("granted", KEY, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("by", String(64), nullable=False, default=""),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("bill", KEY),
    CheckConstraint("basis IN ('gross', 'net')", name="basis"),
    CheckConstraint("since < until", name="days"),
    Index("ix_charge_held", "held"),
    Index("ix_charge_bill", "bill"),
    Index("ix_charge_open", "billing_account", "granted", "bill"),
)
"""``held`` is the row of service_plan that it is of (0: none), ``granted`` 1 where a human granted it, with ``reason`` and ``by``;
``bill`` the row of the table of bills, empty while it waits."""

_FIELDS = (
    "key", "kind", "service", "party", "book", "text", "since", "until", "amount_micros", "of_class", "tax_code", "basis", "held", "plan",
    "item", "corrects",
)  # fmt: skip
_OF_PLANS = (ChargeKind.RENT, ChargeKind.CREDIT, ChargeKind.ONCE)


def grant(
    work: Connection, charge: Charge, billing_account: int, *, reason: str, by: str, now_ms: int
) -> bool:
    """Let an adjustment or credit wait for the account's next bill; False where its key is there already. Whether it may be, is the caller's."""
    row = {
        **_row(charge, billing_account, None, now_ms),
        "granted": 1,
        "reason": reason,
        "by": by,
    }
    return bool(insert_new(work, charges, [row], "key"))


def put(work: Connection, made: Iterable[tuple[Charge, int, int]], now_ms: int) -> None:
    """Keep charges that a run has made: each with its billing account and its bill. A key that is there already is an IntegrityError."""
    rows = [_row(charge, account, bill, now_ms) for charge, account, bill in made]
    if rows:
        work.execute(charges.insert(), rows)


def take(work: Connection, keys: Sequence[tuple[str, int]]) -> None:
    """Let bills have what was granted: (key, bill)."""
    for key, bill in keys:
        work.execute(update(charges).where(charges.c.key == key).values(bill=bill))


def _row(charge: Charge, account: int, bill: int | None, now_ms: int) -> dict[str, Any]:
    return {
        "key": charge.key, "kind": charge.kind.value, "billing_account": account, "service": charge.service, "party": charge.party,
        "book": charge.book, "text": charge.text, "since": charge.since, "until": charge.until, "amount_micros": charge.amount_micros,
        "of_class": charge.of_class, "tax_code": charge.tax_code, "basis": charge.basis.value, "held": charge.held, "plan": charge.plan,
        "item": charge.item, "corrects": charge.corrects, "granted": 0, "reason": "", "by": "", "made_ms": now_ms, "bill": bill,
    }  # fmt: skip


_CHOSEN = [charges.c[name] for name in _FIELDS]


def _charge(row: Sequence[Any]) -> Charge:
    key, kind, service, party, book, text, since, until, micros, of_class, tax_code, basis, *rest = row
    return Charge(
        key, ChargeKind(kind), service, party, book, text, since, until, micros, of_class, tax_code, Basis(basis), *rest,
    )  # fmt: skip


def made_for(look: Connection, held: Sequence[int], first: date) -> dict[int, list[Made]]:
    """Return the rents, fees and refunds that were ever made for held plans (their ids) and reach beyond a day, by held plan."""
    found: dict[int, list[Made]] = {each: [] for each in held}
    c = charges.c
    for part in id_parts(held):
        asked = select(*_CHOSEN, c.billing_account).where(
            c.held.in_(part), c.kind.in_(_OF_PLANS), c.until > first
        )
        for *row, account in look.execute(asked.order_by(c.id)):
            charge = _charge(row)
            found[charge.held].append(Made(account, charge))
    return found


def granted(look: Connection, accounts: Sequence[int], before: date) -> dict[int, list[Charge]]:
    """Return what was granted and waits for a bill, of days before one, by billing account."""
    found: dict[int, list[Charge]] = {}
    c = charges.c
    for part in id_parts(accounts):
        asked = select(*_CHOSEN, c.billing_account).where(
            c.billing_account.in_(part), c.granted == 1, c.bill.is_(None), c.since < before
        )
        for *row, account in look.execute(asked.order_by(c.key)):
            found.setdefault(account, []).append(_charge(row))
    return found


def of_bills(look: Connection, bills: Sequence[int]) -> dict[int, list[Charge]]:
    """Return all charges of bills, by bill."""
    found: dict[int, list[Charge]] = {each: [] for each in bills}
    for part in id_parts(bills):
        for *row, bill in look.execute(select(*_CHOSEN, charges.c.bill).where(charges.c.bill.in_(part))):
            found[bill].append(_charge(row))
    return found


def drop(work: Connection, bills: Sequence[int]) -> None:
    """Let charges of drafts be free again (law 1)."""
    for part in id_parts(bills):
        work.execute(delete(charges).where(charges.c.bill.in_(part), charges.c.granted == 0))
        work.execute(update(charges).where(charges.c.bill.in_(part)).values(bill=None))
