"""Billing accounts that owe something, for tests of payments and dunning: customers without usage, bills without a run, and the laws of both."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select

from ocs.care.customers.tables import billing_accounts, customers, parties
from ocs.sql import reading, writing
from postpaid_bridge.journal import Entry, Ledger, Posting, posting
from postpaid_bridge.sql import journal
from postpaid_bridge.sql.bookings import Billed, claim_bills
from postpaid_bridge.sql.receivables import items, open_claims, open_credits

EURO = 1_000_000
DAY = date(2026, 11, 30)
AT_MS = 1_796_000_000_000
THIRD = "other network"
CREDITORS = {"premium": THIRD}


def account(engine: Engine, number: str = "1000001", **more: Any) -> int:
    """A customer with a billing account; its id."""
    with writing(engine) as work:
        party = work.execute(
            parties.insert()
            .values(kind="person", given_name="Erika", family_name=f"Muster{number}", since_ms=0)
            .returning(parties.c.id)
        ).scalar_one()
        customer = work.execute(
            customers.insert()
            .values(number=f"c{number}", party=party, kind="consumer", since_ms=0)
            .returning(customers.c.id)
        ).scalar_one()
        row = {"number": number, "customer": customer, "party": party, "since": date(2026, 1, 1)} | more
        return int(
            work.execute(billing_accounts.insert().values(row).returning(billing_accounts.c.id)).scalar_one()
        )


def bill(
    engine: Engine,
    of: int,
    bill_id: int,
    parts: Sequence[tuple[str, str, int]] = (("b1", "", 100 * EURO),),
    *,
    day: date = DAY - timedelta(days=30),
    due: date | None = None,
) -> str:
    """A bill of parts (book, class, micro-units) that has its number; the number."""
    number = f"2026-{bill_id:06d}"
    postings: list[Posting] = []
    for book, of_class, micros in parts:
        postings += posting(Ledger.RECEIVABLE, Ledger.UNBILLED, micros, book, of_class)
    entry = Entry(f"bill:{bill_id}", "bill", of, day, AT_MS, postings, number)
    with writing(engine) as work:
        journal.post(work, [entry])
        billed = Billed(bill_id, number, entry, day, due or day + timedelta(days=14), CREDITORS)
        claim_bills(work, [billed], AT_MS)
    return number


def standing(engine: Engine, of: int) -> dict[str, int]:
    """What is open of an account: claims by bill and kind, and "credit"."""
    found: dict[str, int] = {}
    with reading(engine) as look:
        for each in open_claims(look, of):
            name = (
                f"{each.number or each.debt} {each.kind} {each.book}{each.creditor and ' ' + each.creditor}"
            )
            found[name] = found.get(name, 0) + each.open_micros
        for credit in open_credits(look, of):
            found["credit"] = found.get("credit", 0) + credit.open_micros
    return found


def broken_laws(look: Connection) -> list[str]:
    """What of the laws of receivables.py and the journal does not hold."""
    wrong = []
    if any(sums := [sum(journal.ledger_balances(look).values())]):
        wrong.append(f"the journal does not add up: {sums}")
    owed: dict[tuple[int, str], int] = {}
    for row in look.execute(select(journal.postings)):
        change = (row.debit == Ledger.RECEIVABLE) - (row.credit == Ledger.RECEIVABLE)
        if change and row.billing_account is not None:
            of = (row.billing_account, row.book)
            owed[of] = owed.get(of, 0) + change * row.amount_micros
    for account_id in set(look.execute(select(items.c.billing_account)).scalars()):
        claims, there = open_claims(look, account_id), open_credits(look, account_id)
        if claims and there:
            wrong.append(f"account {account_id} has claims and credits: {claims} {there}")
        for each in claims:
            owed[account_id, each.book] = owed.get((account_id, each.book), 0) - each.open_micros
            if not 0 < each.open_micros <= each.amount_micros:
                wrong.append(f"paid more than there is: {each}")
        for one in there:
            owed[account_id, one.book] = owed.get((account_id, one.book), 0) + one.open_micros
    wrong += [f"RECEIVABLE and items differ: {of} {micros}" for of, micros in owed.items() if micros]
    effects: dict[str, int] = {}
    for row in look.execute(select(journal.outbox).where(journal.outbox.c.kind == "post")):
        effects[row.book] = effects.get(row.book, 0) + row.amount_micros
    inside: dict[str, int] = {}
    for row in look.execute(select(journal.postings).where(journal.postings.c.book != "")):
        change = (row.debit in {Ledger.RECEIVABLE, Ledger.UNBILLED}) - (
            row.credit in {Ledger.RECEIVABLE, Ledger.UNBILLED}
        )
        inside[row.book] = inside.get(row.book, 0) - change * row.amount_micros
    wrong += [
        f"book {book}: {effects.get(book, 0)} went out, and {inside.get(book, 0)} should have"
        for book in sorted({*effects, *inside})
        if effects.get(book, 0) != inside.get(book, 0)
    ]
    return wrong
