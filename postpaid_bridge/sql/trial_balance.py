"""The trial balance and the export of the journal: sums and rows of postings, read in one look.

Laws
1. Debits and credits of the whole are equal (journal.py, law 1): a trial balance that is not even is a fault of ours.
2. A day is the entry's booking day; "to a day" has that day in it.
"""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from postpaid_bridge.journal import Ledger
from postpaid_bridge.sql.journal import entries, postings

__all__ = ["COLUMNS", "TrialRow", "exported", "trial_balance"]

COLUMNS = (
    "entry", "key", "kind", "day", "billing_account", "number", "debit", "credit", "amount_micros", "book", "class", "tax_code", "text",
)  # fmt: skip
_ROWS = 1_000


class TrialRow(NamedTuple):
    """One account of the general ledger, by class and tax code: its debits and credits, in micro-units."""

    ledger: Ledger
    of_class: str
    tax_code: str
    debit_micros: int
    credit_micros: int

    @property
    def balance_micros(self) -> int:
        """Return debits less credits."""
        return self.debit_micros - self.credit_micros


def trial_balance(look: Connection, until: date | None = None) -> list[TrialRow]:
    """Return all accounts with what was posted up to a day (None: everything), in the order of the ledger."""
    c = postings.c
    found: dict[tuple[str, str, str], list[int]] = {}
    for place, side in enumerate((c.debit, c.credit)):
        asked = select(side, c.of_class, c.tax_code, func.sum(c.amount_micros))
        if until is not None:
            asked = asked.join(entries, entries.c.id == c.entry).where(entries.c.day <= until)
        for ledger, of_class, tax_code, micros in look.execute(asked.group_by(side, c.of_class, c.tax_code)):
            found.setdefault((ledger, of_class, tax_code), [0, 0])[place] = int(micros)
    rank = {each.value: place for place, each in enumerate(Ledger)}
    return [
        TrialRow(Ledger(ledger), of_class, tax_code, *sums)
        for (ledger, of_class, tax_code), sums in sorted(
            found.items(), key=lambda each: (rank[each[0][0]], each[0])
        )
    ]


def exported(look: Connection, first: date, until: date) -> Iterator[tuple[object, ...]]:
    """Give every posting of entries booked from a day to another, both included, in their order; memory stays flat."""
    c, e = postings.c, entries.c
    asked = (
        select(
            e.id, e.key, e.kind, e.day, c.billing_account, c.number, c.debit, c.credit, c.amount_micros, c.book, c.of_class, c.tax_code,
            e.text,
        )
        .join(entries, e.id == c.entry)
        .where(e.day >= first, e.day <= until)
        .order_by(e.day, e.id, c.number)
        .execution_options(yield_per=_ROWS)
    )  # fmt: skip
    for row in look.execute(asked):
        yield tuple(row)
