"""How payments are shown: what they paid, what went back, what is left."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from ocs.care.customers.tables import billing_accounts
from postpaid_bridge.sql.payments import payments, returns
from postpaid_bridge.sql.receivables import allocations, items

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
    """A payment with its account's number ("": nobody's), what it paid, and what of it went back."""

    row: Row[Any]
    account: str
    paid: tuple[Paid, ...]
    returned: tuple[Row[Any], ...]

    @property
    def left_micros(self) -> int:
        """What of it is on no claim and has not gone back."""
        if self.row.state == "gone":
            return 0
        return int(self.row.amount_micros) - sum(each.amount_micros for each in self.paid)


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
    return [
        View(
            row,
            numbers.get(row.billing_account, ""),
            tuple(paid.get(row.id, ())),
            tuple(back.get(row.id, ())),
        )
        for row in rows
    ]


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
