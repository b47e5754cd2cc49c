"""The clearing queue: payments that nobody can place, what they may be for, and what a human decides.

Laws
1. A payment waits in CLEARING until a human places it, pays it back, or leaves it there; each decision is kept with its reason and who took it.
2. A proposal is never a decision: it says an account and why it may be that one; the more reasons, the higher it stands.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Column, Connection, ForeignKey, Row, String, Table, func, or_, select

from ocs.care.customers.shapes import conflict, missing, wrong
from ocs.care.customers.tables import billing_accounts, customers, parties, services
from ocs.sql import KEY, MILLISECONDS, metadata
from postpaid_bridge.allocation import Wish
from postpaid_bridge.journal import Ledger
from postpaid_bridge.payments import numbers_in
from postpaid_bridge.sql.bookings import hold_accounts
from postpaid_bridge.sql.payments import book, leave_clearing, payments, read
from postpaid_bridge.sql.receivables import items, open_claims_of

__all__ = ["Proposal", "decisions", "leave", "place", "proposals", "waiting"]

PROPOSALS_MAX = 10

decisions = Table(
    "clearing_decision",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("payment", ForeignKey("payment.id"), nullable=False, index=True),
    Column("action", String(8), nullable=False),
    Column("billing_account", ForeignKey("billing_account.id")),
    Column("reason", String(200), nullable=False, default=""),
    Column("by", String(64), nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    CheckConstraint("action IN ('place', 'leave')", name="action"),
)
"""What humans decided; what was paid back is in the table of returns."""


class Proposal(NamedTuple):
    """An account that a payment may be for, the bills that its text names, and why."""

    billing_account: int
    number: str
    bills: tuple[str, ...]
    why: tuple[str, ...]


def waiting(look: Connection, *, left: bool = False, after: int = 0, most: int = 100) -> Sequence[Row[Any]]:
    """Return payments that wait for a human (``left``: those that were left, too), behind an id."""
    states = ["clearing", "left"] if left else ["clearing"]
    c = payments.c
    asked = select(payments).where(c.state.in_(states), c.id > after).order_by(c.id).limit(most)
    return look.execute(asked).all()


def proposals(look: Connection, payment: int) -> list[Proposal]:
    """Return the accounts that a payment may be for, the likeliest first."""
    of = read(look, payment)
    found = _Found()
    words = list(numbers_in(of.text))
    if words:
        found.by_numbers(look, words)
    if of.iban:
        found.by_iban(look, of.iban)
    if of.payer:
        found.by_name(look, of.payer)
    found.by_amount(look, of.amount_micros)
    a = billing_accounts.c
    rows = look.execute(select(a.id, a.number, a.currency, a.status).where(a.id.in_(sorted(found.why)))).all()
    listed = [
        Proposal(row.id, row.number, tuple(sorted(found.bills.get(row.id, ()))), tuple(found.why[row.id]))
        for row in rows
        if row.currency == of.currency
    ]
    return sorted(listed, key=lambda each: (-len(each.why), each.billing_account))[:PROPOSALS_MAX]


class _Found:
    """Accounts with the reasons why."""

    def __init__(self) -> None:
        self.why: dict[int, list[str]] = {}
        self.bills: dict[int, set[str]] = {}

    def _add(self, accounts: Iterable[int], why: str) -> None:
        for each in dict.fromkeys(accounts):
            self.why.setdefault(each, []).append(why)

    def by_numbers(self, look: Connection, words: Sequence[str]) -> None:
        """Look for bills, accounts, customers and services by numbers in the text."""
        billed = look.execute(
            select(items.c.billing_account, items.c.bill_number)
            .where(func.upper(items.c.bill_number).in_(words))
            .distinct()
        ).all()
        for row in billed:
            self.bills.setdefault(row.billing_account, set()).add(row.bill_number)
        self._add((each.billing_account for each in billed), "number of a bill in the text")
        a = billing_accounts.c
        numbered = select(a.id).join(customers, customers.c.id == a.customer)
        of = or_(a.number.in_(words), customers.c.number.in_(words))
        self._add(look.execute(numbered.where(of)).scalars(), "number of the customer in the text")
        phones = {each.lstrip("+") for each in words} | {
            "49" + each[1:] for each in words if each.startswith("0")
        }
        used = select(services.c.billing_account).where(
            services.c.number.in_(phones), services.c.billing_account.is_not(None)
        )
        self._add(look.execute(used).scalars(), "number of a service in the text")

    def by_iban(self, look: Connection, iban: str) -> None:
        """Look for who paid from this bank account before, or gave it to us."""
        paid = select(payments.c.billing_account).where(payments.c.iban == iban, payments.c.state == "placed")
        self._add(look.execute(paid.distinct()).scalars(), "paid from this bank account before")
        held = select(billing_accounts.c.id).where(billing_accounts.c.iban == iban)
        self._add(look.execute(held).scalars(), "gave us this bank account")

    def by_name(self, look: Connection, payer: str) -> None:
        """Look for payers of this name, whichever of its parts stands first."""
        p = parties.c
        whole = payer.casefold().replace(",", " ").split()
        first, last = (whole[0], whole[-1]) if whole else ("", "")
        name = or_(
            (func.lower(p.given_name) == first) & (func.lower(p.family_name) == last),
            (func.lower(p.given_name) == last) & (func.lower(p.family_name) == first),
            func.lower(p.organisation_name) == " ".join(payer.lower().split()),
        )
        named = select(billing_accounts.c.id).join(parties, p.id == billing_accounts.c.party).where(name)
        self._add(look.execute(named.limit(PROPOSALS_MAX)).scalars(), "the payer's name")

    def by_amount(self, look: Connection, amount_micros: int) -> None:
        """Say of those that were found which owe just this; without any, look for bills of just this amount."""
        if not self.why:
            alike = (
                select(items.c.billing_account)
                .where(items.c.amount_micros == amount_micros)
                .order_by(items.c.id.desc())
                .limit(PROPOSALS_MAX)
            )
            there = open_claims_of(look, sorted(set(look.execute(alike).scalars())))
        else:
            there = open_claims_of(look, sorted(self.why))
        for account, claims in there.items():
            by_bill: dict[str, int] = {}
            for each in claims:
                by_bill[each.debt] = by_bill.get(each.debt, 0) + each.open_micros
            if amount_micros in {*by_bill.values(), sum(by_bill.values())}:
                self._add([account], "owes just this")


def place(
    work: Connection, payment: int, account: int, wishes: Sequence[Wish], by: str, reason: str, at_ms: int
) -> Row[Any]:
    """Place a payment that waits on an account. Raises CustomerFault: missing, wrong (currency, bills of another), conflict (it does not wait)."""
    a = billing_accounts.c
    of_account = work.execute(select(a.id, a.currency).where(a.id == account)).first()
    if of_account is None:
        raise missing("account")
    hold_accounts(work, [account])
    before = _waits(work, payment)
    if before.currency != of_account.currency:
        raise wrong("account", f"it is in {of_account.currency}", f"place what is in {before.currency}")
    for each in wishes:
        named = items.c.id == each.claim if each.claim else items.c.bill_number == each.bill
        if set(work.execute(select(items.c.billing_account).where(named)).scalars()) != {account}:
            raise wrong("bills", "a bill or claim that the account has not", "name what is billed to it")
    _decided(work, payment, "place", by, reason, at_ms, account)
    after = leave_clearing(work, payment, "placed", account=account)
    book(work, after, f"payment:{payment}:placed", Ledger.CLEARING, wishes, at_ms)
    return after


def leave(work: Connection, payment: int, by: str, reason: str, at_ms: int) -> Row[Any]:
    """Leave a payment in CLEARING, with a reason. Raises CustomerFault."""
    if not reason.strip():
        raise wrong("reason", "none", "say why it is left")
    _waits(work, payment)
    _decided(work, payment, "leave", by, reason, at_ms)
    return leave_clearing(work, payment, "left", why=reason)


def _waits(work: Connection, payment: int) -> Row[Any]:
    found = read(work, payment, holding=True)
    if found.state not in {"clearing", "left"}:
        raise conflict(f"payment {payment}", f"it is {found.state}", "decide about what waits")
    return found


def _decided(
    work: Connection, payment: int, action: str, by: str, reason: str, at_ms: int, account: int | None = None
) -> None:
    row = {
        "payment": payment, "action": action, "billing_account": account, "reason": reason.strip()[:200], "by": by[:64], "at_ms": at_ms,
    }  # fmt: skip
    work.execute(decisions.insert().values(row))
