"""Money of payments that goes back: what the bank takes (charge-backs), and what we pay out (refunds).

Laws
1. A charge-back undoes what the payment paid: its claims are open again, with the days that they had. What another credit had is not touched.
   Of money that was paid out before, nothing can be undone: it is owed as it is (``returned``).
2. A refund pays out what is on no claim, and no more; so nobody owes more after it.
3. Each is done once by its provider's id, like a payment; together they never exceed it.
4. The bank's price is our expense (Dr FEES / Cr CASH) and, where it is passed on, a fee of the payer.
"""

from typing import Any

from sqlalchemy import Connection, Row, func, select

from ocs.care.customers.shapes import conflict, wrong
from ocs.money import format_amount
from ocs.sql import insert_new
from postpaid_bridge.journal import Entry, Ledger, posting
from postpaid_bridge.payments import Return, checked_return, digest, repeated, wishes_of
from postpaid_bridge.sql import journal
from postpaid_bridge.sql.bookings import Booking, hold_accounts
from postpaid_bridge.sql.payments import leave_clearing, read, returns
from postpaid_bridge.sql.receivables import Item, ItemKind, items, open_credits

__all__ = ["charge_back", "refund", "returned_micros"]


def charge_back(work: Connection, asked: Return, at_ms: int) -> tuple[Row[Any], bool]:
    """Book a payment, or a part of it, that the bank took back; the row, and whether it is new. Raises CustomerFault."""
    asked = checked_return(asked)
    there = _before(work, asked)
    if there is not None:
        return there, False
    of = _held(work, asked.payment)
    left = of.amount_micros - returned_micros(work, of.id, "charge_back")
    found, amount = _keep(work, "charge_back", asked, of, left, "has gone back to the bank already", at_ms)
    if found is None:
        return _there(work, asked), False
    key = f"charge-back:{found.id}"
    if of.billing_account is None:
        lost = (
            Ledger.BAD_DEBT if of.state == "gone" else Ledger.CLEARING
        )  # paid back by us, and taken by the bank
        made = [
            *posting(lost, Ledger.CASH, amount),
            *posting(Ledger.FEES, Ledger.CASH, asked.fee_micros),
        ]
        journal.post(work, [Entry(key, "charge-back", None, asked.day, at_ms, made)])
        leave_clearing(work, of.id, "gone", why="the bank took it back")
        return found, True
    credit = work.execute(select(items).where(items.c.key == f"payment:{of.id}")).one()
    booking = Booking(work, of.billing_account, key, asked.day, at_ms)
    booking.release(credit.id)
    back = Item(key, ItemKind.RETURNED, amount, credit.book, payment=of.id, text=asked.reason)
    booking.pair_own(credit.id, booking.item(back, Ledger.CASH))
    if asked.fee_micros:
        booking.post(posting(Ledger.FEES, Ledger.CASH, asked.fee_micros))
        if asked.is_passed_on:
            fee = Item(
                f"{key}:fee", ItemKind.FEE, asked.fee_micros, credit.book, bill_number=credit.bill_number, payment=of.id,
                text=asked.reason, debt=_debt_of(work, credit.bill_number),
            )  # fmt: skip
            booking.item(fee, Ledger.FEES)
    booking.settle({credit.id: wishes_of(of.wishes)})
    booking.close("charge-back", asked.reason)
    return found, True


def refund(work: Connection, asked: Return, at_ms: int) -> tuple[Row[Any], bool]:
    """Book that something of a payment is paid out; the row, and whether it is new. Raises CustomerFault."""
    asked = checked_return(asked)
    there = _before(work, asked)
    if there is not None:
        return there, False
    of = _held(work, asked.payment)
    if of.billing_account is None:
        left = of.amount_micros - returned_micros(work, of.id)
        found, amount = _keep(work, "refund", asked, of, left, "has been paid back already", at_ms)
        if found is None:
            return _there(work, asked), False
        made = posting(Ledger.CLEARING, Ledger.CASH, amount)
        journal.post(work, [Entry(f"refund:{found.id}", "refund", None, asked.day, at_ms, made)])
        leave_clearing(work, of.id, "gone", why="paid back")
        return found, True
    there_is = [each for each in open_credits(work, of.billing_account) if each.payment == of.id]
    left = sum(each.open_micros for each in there_is)
    found, amount = _keep(work, "refund", asked, of, left, "has paid claims, or went back already", at_ms)
    if found is None:
        return _there(work, asked), False
    key = f"refund:{found.id}"
    booking = Booking(work, of.billing_account, key, asked.day, at_ms)
    out = Item(key, ItemKind.REFUND, amount, there_is[0].book, payment=of.id, text=asked.reason)
    booking.pair_own(there_is[0].id, booking.item(out, Ledger.CASH))
    booking.close("refund", asked.reason)
    return found, True


def returned_micros(look: Connection, payment: int, *kinds: str) -> int:
    """Return how much of a payment went back (by kind)."""
    c = returns.c
    asked = select(func.sum(c.amount_micros)).where(c.payment == payment)
    return int(look.execute(asked.where(c.kind.in_(kinds)) if kinds else asked).scalar() or 0)


def _held(work: Connection, payment: int) -> Row[Any]:
    """Return a payment, holding its account or, where it has none, itself. It may be placed while we wait: then its account is held too."""
    of = read(work, payment)
    if of.billing_account is None:
        of = read(work, payment, holding=True)
    if of.billing_account is not None:
        hold_accounts(work, [of.billing_account])
    return of


def _keep(
    work: Connection, kind: str, asked: Return, of: Row[Any], left_micros: int, why: str, at_ms: int
) -> tuple[Row[Any] | None, int]:
    """Keep the row; None where another was faster. Raises CustomerFault for more than is left (laws 2, 3)."""
    amount = left_micros if asked.amount_micros is None else asked.amount_micros
    if (there := _before(work, asked)) is not None:
        return None, there.amount_micros
    if amount > left_micros or not amount:
        raise conflict(
            f"payment {of.id}",
            f"{format_amount(left_micros)} of it is left; the rest {why}",
            "take no more than that",
        )
    if of.billing_account is None and amount != of.amount_micros:
        raise wrong("amount", "a part of what waits in clearing", "take all of it, or place it first")
    row = {
        "kind": kind, "provider": asked.provider, "own_id": asked.own_id, "content": digest(asked), "payment": of.id,
        "amount_micros": amount, "fee_micros": asked.fee_micros, "reason": asked.reason, "by": asked.by, "day": asked.day, "at_ms": at_ms,
    }  # fmt: skip
    if not insert_new(work, returns, [row], "id"):
        return None, amount
    return _there(work, asked), amount


def _before(work: Connection, asked: Return) -> Row[Any] | None:
    c = returns.c
    there = work.execute(
        select(returns).where(c.provider == asked.provider, c.own_id == asked.own_id)
    ).first()
    if there is not None:
        repeated(there.content, asked)
    return there


def _there(work: Connection, asked: Return) -> Row[Any]:
    there = _before(work, asked)
    if there is None:
        raise RuntimeError("money that went back and cannot be read")
    return there


def _debt_of(work: Connection, bill_number: str) -> str:
    if not bill_number:
        return ""
    asked = select(items.c.debt).where(items.c.bill_number == bill_number, items.c.kind == ItemKind.PRINCIPAL)
    return work.execute(asked).scalars().first() or ""
