"""One event on the items of a billing account: a bill, a fee, a payment, a charge-back. Its items, its allocations and its entry at once.

Laws: those of receivables.py; here are 3 (RECEIVABLE and items move together), 4 (credits pay claims at once) and 5 (the account is held).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select, update

from ocs.care.customers.tables import billing_accounts
from ocs.limits import SQL_ROWS_AT_ONCE
from ocs.sql import insert_new, locked
from postpaid_bridge.allocation import Wish, allocate
from postpaid_bridge.journal import Entry, Ledger, Posting, posting
from postpaid_bridge.sql import journal
from postpaid_bridge.sql.receivables import (
    Item,
    ItemKind,
    OpenClaim,
    OpenCredit,
    allocations,
    credited_accounts,
    items,
    open_claims,
    open_credits,
)

__all__ = ["Billed", "Booking", "charge", "claim_bills", "claims_of_bill", "fall_due", "hold_accounts"]


def hold_accounts(work: Connection, accounts: Iterable[int]) -> None:
    """Hold billing accounts until the unit of work ends (law 5)."""
    ids = sorted(set(accounts))
    for start in range(0, len(ids), SQL_ROWS_AT_ONCE):
        some = billing_accounts.c.id.in_(ids[start : start + SQL_ROWS_AT_ONCE])
        work.execute(locked(select(billing_accounts.c.id).where(some).order_by(billing_accounts.c.id))).all()


class Booking:
    """One event on the items of one billing account, which it holds: items, allocations, and the entry that moves RECEIVABLE with them."""

    def __init__(
        self, work: Connection, billing_account: int, key: str, day: date, at_ms: int, *, held: bool = False
    ) -> None:
        if not held:
            hold_accounts(work, [billing_account])
        self._work = work
        self._account = billing_account
        self._key = key
        self._day = day
        self._at_ms = at_ms
        self._moved: dict[Ledger, dict[str, int]] = {}
        self._between: dict[str, int] = {}
        self._postings: list[Posting] = []

    def item(self, item: Item, counter: Ledger | None) -> int:
        """Make an item against a ledger account (None: an entry has it already); its id. Raises RuntimeError for a key that is there."""
        row = row_of(item, self._account, self._day)
        made = self._work.execute(items.insert().values(row).returning(items.c.id)).scalar_one()
        if counter is not None:
            of = self._moved.setdefault(counter, {})
            of[item.book] = of.get(item.book, 0) + item.amount_micros
        return int(made)

    def post(self, postings: Iterable[Posting]) -> None:
        """Post what is of no item, in the same entry."""
        self._postings += postings

    def pair(self, credit: OpenCredit, claim: OpenClaim, amount_micros: int) -> None:
        """Let a credit pay a claim."""
        self._allocate(credit.id, credit.book, claim.id, claim.book, amount_micros)

    def pair_own(self, credit: int, claim: int) -> int:
        """Let a credit pay one claim as far as both are open; how much."""
        mine = [each for each in open_credits(self._work, self._account) if each.id == credit]
        claims = [each for each in open_claims(self._work, self._account) if each.id == claim]
        if not mine or not claims:
            return 0
        amount = min(mine[0].open_micros, claims[0].open_micros)
        self.pair(mine[0], claims[0], amount)
        return amount

    def release(self, credit: int) -> None:
        """Take back what a credit paid, but for money that has left the house (refunds, and what the bank took)."""
        other = items.alias()
        net = func.sum(allocations.c.amount_micros).label("net")
        asked = (
            select(allocations.c.claim, items.c.book, other.c.book.label("of"), net)
            .join(items, items.c.id == allocations.c.claim)
            .join(other, other.c.id == allocations.c.credit)
            .where(allocations.c.credit == credit, items.c.kind.not_in([ItemKind.REFUND, ItemKind.RETURNED]))
            .group_by(allocations.c.claim, items.c.book, other.c.book)
            .order_by(allocations.c.claim)
        )
        for row in self._work.execute(asked).all():
            if row.net:
                self._allocate(credit, row.of, row.claim, row.book, -int(row.net))

    def settle(self, wishes: Mapping[int, Sequence[Wish]] | None = None) -> None:
        """Let open credits pay open claims, the oldest credit first; ``wishes`` of payers by credit (law 4)."""
        there = open_credits(self._work, self._account)
        if not there:
            return
        claims = {each.id: each for each in open_claims(self._work, self._account)}
        named = wishes or {}
        for credit in sorted(there, key=lambda each: (each.id not in named, each.id)):
            done = allocate(
                credit.open_micros,
                [each.claim for each in claims.values()],
                self._day,
                named.get(credit.id, ()),
            )
            for share in done.shares:
                claim = claims[share.claim]
                self.pair(credit, claim, share.amount_micros)
                left = claim.open_micros - share.amount_micros
                claims[share.claim] = claim._replace(open_micros=left)
            claims = {key: each for key, each in claims.items() if each.open_micros}

    def close(self, kind: str, text: str = "") -> None:
        """Post the entry of all of it, under the booking's key; nothing where no ledger account moves. Raises RuntimeError for a key that is there."""
        main = next(iter(self._moved), Ledger.CLEARING)
        mine = self._moved.setdefault(main, {})
        for book, micros in self._between.items():
            mine[book] = mine.get(book, 0) + micros
        made = list(self._postings)
        for counter, of in self._moved.items():
            for book, micros in sorted(of.items()):
                made += posting(Ledger.RECEIVABLE, counter, micros, book)
        if not made:
            return
        entry = Entry(self._key, kind, self._account, self._day, self._at_ms, made, text[:200])
        if not journal.post(self._work, [entry]):
            raise RuntimeError(f"{self._key} is posted already: an event is booked once")

    def _allocate(self, credit: int, of_credit: str, claim: int, of_claim: str, amount_micros: int) -> None:
        row = {
            "event": self._key, "credit": credit, "claim": claim, "amount_micros": amount_micros, "day": self._day, "at_ms": self._at_ms,
        }  # fmt: skip
        self._work.execute(allocations.insert().values(row))
        if of_credit != of_claim:
            self._between[of_credit] = self._between.get(of_credit, 0) + amount_micros
            self._between[of_claim] = self._between.get(of_claim, 0) - amount_micros


def row_of(item: Item, billing_account: int, day: date) -> dict[str, Any]:
    row = item._asdict() | {"billing_account": billing_account, "since": day, "kind": item.kind.value}
    row["debt"] = item.debt or item.key[:64]
    row["due"] = item.due or day
    row["text"] = item.text[:200]
    return row


class Billed(NamedTuple):
    """A bill that gets its number: ``entry`` is what it posts (bill.py ``entries_of``, the entry of the bill), ``day`` its own day,
    ``creditors`` the third party of a class of revenue, where it is not ours.
    """

    bill: int
    number: str
    entry: Entry
    day: date
    due: date
    creditors: Mapping[str, str] = {}

    @property
    def account(self) -> int:
        """Whose bill it is. ValueError for nobody's."""
        if self.entry.billing_account is None:
            raise ValueError(f"bill {self.number} is nobody's")
        return self.entry.billing_account


def claims_of_bill(billed: Billed) -> list[Item]:
    """Return the items of a bill: one for each book and creditor. What a book gains is its credit."""
    sums: dict[tuple[str, str], int] = {}
    for each in billed.entry.postings:
        change = (each.debit is Ledger.RECEIVABLE) - (each.credit is Ledger.RECEIVABLE)
        of = (each.book, billed.creditors.get(each.of_class, ""))
        sums[of] = sums.get(of, 0) + change * each.amount_micros
    return [
        Item(
            f"bill:{billed.bill}:{n}", ItemKind.PRINCIPAL if micros > 0 else ItemKind.CREDIT, micros, book, f"bill:{billed.bill}",
            billed.bill, billed.number, creditor, billed.due,
        )
        for n, ((book, creditor), micros) in enumerate(sorted(sums.items()), 1)
        if micros
    ]  # fmt: skip


def claim_bills(work: Connection, made: Sequence[Billed], at_ms: int) -> None:
    """Let bills be owed, in the unit of work that posts their entries and gives them their numbers; what an account has to its credit pays
    them at once. The entries are the caller's to post. Raises RuntimeError for a bill that is owed already.
    """
    accounts = {each.account for each in made}
    hold_accounts(work, accounts)
    rows: list[dict[str, Any]] = []
    credited: set[int] = set()
    last: dict[int, Billed] = {}
    for each in made:
        last[each.account] = each
        for item in claims_of_bill(each):
            rows.append(row_of(item, each.account, each.day))
            if item.amount_micros < 0:
                credited.add(each.account)
    if len(insert_new(work, items, rows, "key")) != len(rows):
        raise RuntimeError("a bill that is owed already")
    for account in sorted(credited | credited_accounts(work, sorted(accounts))):
        bill = last[account]
        booking = Booking(work, account, f"settle:bill:{bill.number}", bill.day, at_ms, held=True)
        booking.settle()
        booking.close("settle", bill.number)


def fall_due(work: Connection, of: Select[Any], due: date) -> None:
    """Say until which day bills (a select of their ids) are to be paid, when they are published: until then it is the day that was foreseen."""
    work.execute(
        update(items).where(items.c.bill.in_(of), items.c.kind == ItemKind.PRINCIPAL).values(due=due)
    )


_COUNTERS = {ItemKind.FEE: Ledger.FEES, ItemKind.INTEREST: Ledger.INTEREST}


def charge(work: Connection, billing_account: int, item: Item, day: date, at_ms: int) -> bool:
    """Let a fee or interest be owed, once by its key, with its entry; whether it is new. Give it the ``debt`` and ``bill`` of its principal.

    What the account has to its credit pays it at once.
    """
    hold_accounts(work, [billing_account])
    if work.execute(select(items.c.id).where(items.c.key == item.key)).first():
        return False
    booking = Booking(work, billing_account, item.key, day, at_ms, held=True)
    booking.item(item, _COUNTERS[item.kind])
    booking.settle()
    booking.close(item.kind.value, item.text)
    return True
