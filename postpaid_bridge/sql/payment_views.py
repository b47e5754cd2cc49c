"""How payments are shown: what they paid, what went back, what is left."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from ocs.care.customers.tables import billing_accounts
from postpaid_bridge.sql.payments import payments, returns
from postpaid_bridge.sql.receivables import ItemKind, allocations, items

__all__ = ["Paid", "View", "listed", "views"]


class Paid(NamedTuple):
    """What a payment paid of one claim (net of what was taken back)."""

    claim: int
    kind: str
    bill: str
    book: str
    creditor: str
    amount_micros: int


class View(NamedTuple):
    """A payment with its account's number ("": nobody's), what it paid, what of it went back, and what is left on neither."""

    row: Row[Any]
    account: str
    paid: tuple[Paid, ...]
    returned: tuple[Row[Any], ...]
    left_micros: int


def listed(account: int | None = None, state: str = "") -> Select[Any]:
    """Select payments, the newest first."""
    asked = select(payments).order_by(payments.c.id.desc())
    if account is not None:
        asked = asked.where(payments.c.billing_account == account)
    return asked.where(payments.c.state == state) if state else asked


def views(look: Connection, rows: Sequence[Row[Any]]) -> list[View]:
    """Return payments as they are shown, in the order of the rows."""
    ids = [each.id for each in rows]
    numbers = dict(
        look.execute(
            select(billing_accounts.c.id, billing_accounts.c.number).where(
                billing_accounts.c.id.in_({each.billing_account for each in rows if each.billing_account})
            )
        ).all()
    )
    paid = _paid(look, ids)
    back: dict[int, list[Row[Any]]] = {}
    for each in look.execute(select(returns).where(returns.c.payment.in_(ids)).order_by(returns.c.id)):
        back.setdefault(each.payment, []).append(each)
    found = []
    for row in rows:
        used = paid.get(row.id, [])
        left = row.amount_micros - sum(each.amount_micros for each in used)
        on_claims = tuple(each for each in used if each.kind not in _OUT)
        of = (numbers.get(row.billing_account, ""), on_claims, tuple(back.get(row.id, ())))
        found.append(View(row, *of, 0 if row.state == "gone" else int(left)))
    return found


_OUT = {ItemKind.REFUND, ItemKind.RETURNED}
"""What a credit was used up by, and is no claim that it paid."""


def _paid(look: Connection, ids: Iterable[int]) -> dict[int, list[Paid]]:
    credit = items.alias("credit")
    net = func.sum(allocations.c.amount_micros)
    c = items.c
    of = (c.id, c.kind, c.bill_number, c.book, c.creditor)
    asked = (
        select(credit.c.payment, *of, net.label("net"))
        .join(allocations, allocations.c.claim == c.id)
        .join(credit, credit.c.id == allocations.c.credit)
        .where(credit.c.payment.in_(ids), credit.c.kind == "payment")
        .group_by(credit.c.payment, *of)
        .having(net != 0)
        .order_by(credit.c.payment, c.id)
    )
    found: dict[int, list[Paid]] = {}
    for row in look.execute(asked):
        found.setdefault(row.payment, []).append(
            Paid(row.id, row.kind, row.bill_number, row.book, row.creditor, int(row.net))
        )
    return found
