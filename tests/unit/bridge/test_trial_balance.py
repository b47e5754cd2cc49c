"""The trial balance: by ledger, class and tax code, to a day, even whatever was posted; and the export of a period."""

from datetime import date

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from ocs.sql import reading, writing
from postpaid_bridge.journal import Entry, Ledger, Posting
from postpaid_bridge.sql.journal import entries, ledger_balances, outbox, post, postings
from postpaid_bridge.sql.trial_balance import TrialRow, exported, trial_balance

FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)
RENT = Posting(Ledger.UNBILLED, Ledger.REVENUE, 700, "b1", "rent", "standard")
TAX = Posting(Ledger.REVENUE, Ledger.TAX, 112, "", "rent", "standard-19")
ledgers = st.sampled_from(list(Ledger))


def entry(key: str, day: date, *of: Posting) -> Entry:
    return Entry(key, "test", None, day, 1, of, text="=1+1")


def test_rows_are_by_class_and_tax_code_to_a_day(database: Engine) -> None:
    with writing(database) as work:
        post(work, [entry("a", FIRST, RENT), entry("b", SECOND, TAX, RENT)])
    with reading(database) as look:
        assert trial_balance(look, FIRST) == [
            TrialRow(Ledger.UNBILLED, "rent", "standard", 700, 0),
            TrialRow(Ledger.REVENUE, "rent", "standard", 0, 700),
        ]
        assert trial_balance(look) == [
            TrialRow(Ledger.UNBILLED, "rent", "standard", 1400, 0),
            TrialRow(Ledger.REVENUE, "rent", "standard", 0, 1400),
            TrialRow(Ledger.REVENUE, "rent", "standard-19", 112, 0),
            TrialRow(Ledger.TAX, "rent", "standard-19", 0, 112),
        ]
        assert [row[1] for row in exported(look, FIRST, FIRST)] == ["a"]
        rows = list(exported(look, FIRST, SECOND))
        assert [(row[1], row[5], row[8]) for row in rows] == [("a", 1, 700), ("b", 1, 112), ("b", 2, 700)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=st.lists(
        st.tuples(ledgers, ledgers, st.integers(1, 10**12), st.sampled_from([FIRST, SECOND])), max_size=12
    )
)
def test_whatever_is_posted_it_is_even_and_agrees_with_the_balances(
    database: Engine, made: list[tuple[Ledger, Ledger, int, date]]
) -> None:
    with writing(database) as work:
        for table in (outbox, postings, entries):
            work.execute(delete(table))
        post(
            work,
            [
                entry(f"e{number}", day, Posting(debit, credit, micros))
                for number, (debit, credit, micros, day) in enumerate(made)
                if debit is not credit
            ],
        )
    with reading(database) as look:
        rows, balances = trial_balance(look), ledger_balances(look)
    assert sum(each.balance_micros for each in rows) == 0
    found: dict[Ledger, int] = {}
    for each in rows:
        found[each.ledger] = found.get(each.ledger, 0) + each.balance_micros
    assert found == balances
