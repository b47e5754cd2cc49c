"""What the charging server took in by itself is allotted once, and the book is not told twice."""

from sqlalchemy import Engine, select

from ocs.sql import reading, writing
from postpaid_bridge.journal import Entry, Ledger, posting
from postpaid_bridge.sql import journal
from postpaid_bridge.sql.payments import payments
from postpaid_bridge.sql.taken_in import allot
from postpaid_bridge.sql.usage import book_payments
from tests.bridge_accounts import AT_MS, DAY, EURO, account, bill, broken_laws, standing


def took(engine: Engine, of: int, key: str, micros: int) -> None:
    with writing(engine) as work:
        made = posting(Ledger.CASH, Ledger.RECEIVABLE, micros, "b1")
        journal.post(work, [Entry(key, "book-payment", of, DAY, AT_MS, made, from_book=True)])
        row = {"key": key, "reference": key, "book": "b1", "billing_account": of, "channel": "shop", "amount_micros": micros, "at_ms": AT_MS}  # fmt: skip
        work.execute(book_payments.insert().values(row))


def effects(engine: Engine) -> list[tuple[str, int]]:
    with reading(engine) as look:
        rows = look.execute(select(journal.outbox.c.book, journal.outbox.c.amount_micros))
        return [(row.book, row.amount_micros) for row in rows]


def test_a_top_up_of_a_postpaid_account_pays_its_bills_once(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1, [("b1", "", 70 * EURO), ("b2", "", 30 * EURO)])
    took(database, of, "topup:1", 50 * EURO)
    took(database, of, "topup:2", -20 * EURO)
    assert (allot(database, AT_MS), allot(database, AT_MS)) == (2, 0)
    owed = standing(database, of)
    assert sum(owed.values()) == 70 * EURO
    assert (owed[f"{number} principal b1"], owed[f"{number} principal b2"]) == (35 * EURO, 15 * EURO)
    assert effects(database) == [("b1", -15 * EURO), ("b2", 15 * EURO)], (
        "what paid for the other book moves there"
    )
    with reading(database) as look:
        assert look.execute(select(payments.c.provider, payments.c.own_id)).all() == [("charging", "topup:1")]


def test_what_a_book_had_before_is_a_credit_or_a_claim(database: Engine) -> None:
    of = account(database)
    for book, micros in (("b1", 5 * EURO), ("b2", -2 * EURO)):
        with writing(database) as work:
            made = posting(Ledger.CLEARING, Ledger.RECEIVABLE, micros, book)
            journal.post(work, [Entry(f"opening:{book}", "opening", of, DAY, AT_MS, made, from_book=True)])
    assert (allot(database, AT_MS), allot(database, AT_MS)) == (2, 0)
    assert standing(database, of) == {"credit": 3 * EURO}
    with reading(database) as look:
        wrong = [each for each in broken_laws(look) if not each.startswith("book ")]
        assert wrong == [], "books had it from the start"
