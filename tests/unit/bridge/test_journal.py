"""The journal: balanced whatever is posted, once by its key, and the book's other side in the outbox."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from ocs.care.customers.tables import billing_accounts, customers, parties
from ocs.sql import engine_of, reading, writing
from postpaid_bridge.journal import Entry, JournalFault, Ledger, Posting, balances, book_effects, posting
from postpaid_bridge.sql.journal import ledger_balances, outbox, post, standing
from tests.databases import database_url

DAY = date(2026, 11, 30)
ledgers = st.sampled_from(list(Ledger))
amounts = st.integers(1, 10**12)


@st.composite
def made_entries(draw: st.DrawFn) -> list[Entry]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        of = []
        for _ in range(draw(st.integers(1, 4))):
            debit = draw(ledgers)
            credit = draw(st.sampled_from([each for each in Ledger if each is not debit]))
            of.append(Posting(debit, credit, draw(amounts), draw(st.sampled_from(["", "b1", "b2"]))))
        found.append(Entry(f"t:{number}", "test", 1, DAY, 1_000 + number, of))
    return found


@given(made_entries())
def test_every_entry_is_balanced_and_its_effect_on_books_is_what_unbilled_and_receivable_lose(
    made: list[Entry],
) -> None:
    for entry in made:
        assert sum(balances(entry.postings).values()) == 0
        held = balances(
            each for each in entry.postings if each.book
        )  # what is of no book is none of the charging server's business
        in_book = held.get(Ledger.UNBILLED, 0) + held.get(Ledger.RECEIVABLE, 0)
        assert sum(book_effects(entry).values()) == -in_book
        assert book_effects(entry._replace(from_book=True)) == {}


def test_a_bill_a_payment_and_a_write_off_move_the_book_as_they_should() -> None:
    def of(*postings: Posting) -> dict[str, int]:
        return book_effects(Entry("k", "test", 1, DAY, 1, postings))

    assert of(*posting(Ledger.UNBILLED, Ledger.REVENUE, 500, "b1")) == {"b1": -500}  # a rent
    assert of(*posting(Ledger.RECEIVABLE, Ledger.UNBILLED, 500, "b1")) == {}  # it is billed
    assert of(*posting(Ledger.RECEIVABLE, Ledger.TAX, 95, "b1")) == {"b1": -95}
    assert of(*posting(Ledger.CASH, Ledger.RECEIVABLE, 595, "b1")) == {"b1": 595}
    assert of(*posting(Ledger.BAD_DEBT, Ledger.RECEIVABLE, 1, "b1")) == {"b1": 1}
    assert of(*posting(Ledger.CASH, Ledger.CLEARING, 7)) == {}


def test_a_signed_amount_is_turned_round_and_nothing_is_no_posting() -> None:
    assert posting(Ledger.UNBILLED, Ledger.REVENUE, -3) == (Posting(Ledger.REVENUE, Ledger.UNBILLED, 3),)
    assert posting(Ledger.UNBILLED, Ledger.REVENUE, 0) == ()


@pytest.mark.parametrize("amount", [0, -1, 10**15 + 1, 1.0, True])
def test_an_amount_that_is_none_is_refused_before_anything_is_written(
    database: Engine, amount: object
) -> None:
    wrong = Entry("k", "test", 1, DAY, 1, [Posting(Ledger.CASH, Ledger.RECEIVABLE, amount)])  # type: ignore[arg-type]
    with pytest.raises(JournalFault, match="whole number of micro-units"), writing(database) as work:
        post(work, [wrong])
    for entry in (wrong._replace(postings=[]), wrong._replace(key=""), wrong._replace(key="x" * 201)):
        with pytest.raises(JournalFault), writing(database) as work:
            post(work, [entry])


def account(database: Engine) -> int:
    with writing(database) as work:
        party = work.execute(parties.insert().values(kind="person", since_ms=1)).inserted_primary_key
        assert party is not None
        customer = work.execute(
            customers.insert().values(number="1", party=party[0], kind="consumer", since_ms=1)
        ).inserted_primary_key
        assert customer is not None
        made = work.execute(
            billing_accounts.insert().values(number="1", customer=customer[0], party=party[0], since=DAY)
        ).inserted_primary_key
        assert made is not None
        return int(made[0])


def test_what_is_posted_twice_counts_once_and_its_effect_waits_for_the_book_once(database: Engine) -> None:
    number = account(database)
    rent = Entry(
        "rent:1", "rent", number, DAY, 5, posting(Ledger.UNBILLED, Ledger.REVENUE, 9_990_000, "b1", "rent")
    )
    paid = Entry("pay:1", "payment", number, DAY, 6, posting(Ledger.CASH, Ledger.RECEIVABLE, 4, "b1"))
    with writing(database) as work:
        assert post(work, [rent]) == {"rent:1"}
    with writing(database) as work:
        assert post(work, [rent, paid, paid]) == {"pay:1"}
        assert post(work, [rent]) == set()
    with reading(database) as look:
        assert standing(look, number, Ledger.UNBILLED) == 9_990_000
        assert standing(look, number, Ledger.RECEIVABLE) == -4
        waiting = look.execute(select(outbox.c.book, outbox.c.amount_micros).order_by(outbox.c.id)).all()
        assert [tuple(each) for each in waiting] == [("b1", -9_990_000), ("b1", 4)]


@contextmanager
def _ledger() -> Iterator[Engine]:
    """A database for one example."""
    with tempfile.TemporaryDirectory() as folder, database_url("sqlite", Path(folder)) as url:
        engine = engine_of(url)
        yield engine
        engine.dispose()


@settings(max_examples=25, deadline=None)
@given(st.lists(made_entries(), min_size=1, max_size=4))
def test_the_ledger_is_balanced_at_every_commit(batches: list[list[Entry]]) -> None:
    expected: Counter[Ledger] = Counter()
    known: set[str] = set()
    with _ledger() as database:
        number = account(database)
        for place, batch in enumerate(batches):
            entries = [
                each._replace(key=f"{place // 2}:{each.key}", billing_account=number) for each in batch
            ]
            with writing(database) as work:
                new = post(work, entries)
            assert new == {each.key for each in entries} - known
            known |= new
            for each in entries:
                if each.key in new:
                    expected.update(balances(each.postings))
            with reading(database) as look:
                found = ledger_balances(look)
            assert sum(found.values()) == 0
            assert {ledger: found.get(ledger, 0) for ledger in Ledger} == {
                ledger: expected[ledger] for ledger in Ledger
            }
