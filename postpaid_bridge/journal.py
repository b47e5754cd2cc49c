"""The journal: double entry under everything that the bridge does with money (pure).

Laws
1. A posting is one amount above zero from a credit to a debit account: each is balanced by itself, and so are entries and the whole.
2. An entry is known by its key, which says what it was made of ("usage:17/3-12", "bill:2026-000123"): the same key is posted once.
3. Nothing is changed or removed; what was wrong is posted the other way round.
4. What the charging server's book holds of a charging account is the other side of UNBILLED and RECEIVABLE:
   balance = -(unbilled + receivable). Usage comes from there and is in it; everything else that moves these two is posted to the book under
   the entry's id (``book_effects``), through the outbox.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Ledger(StrEnum):
    """Accounts of the general ledger."""

    UNBILLED = "unbilled"  # asset: used or due, and on no bill yet
    RECEIVABLE = "receivable"  # asset: billed and not paid
    CASH = "cash"  # asset: at the bank, or with the payment provider
    CLEARING = "clearing"  # liability: money that came in and is nobody's yet
    REVENUE = "revenue"  # income, by class
    TAX = "tax"  # liability: value added tax, by code
    FEES = "fees"  # income: reminder fees, flat sums
    INTEREST = "interest"  # income: default interest
    BAD_DEBT = "bad_debt"  # expense: written off
    ROUNDING = "rounding"  # income or expense: micro-units that a bill's cents leave


IN_BOOK = frozenset({Ledger.UNBILLED, Ledger.RECEIVABLE})
"""Accounts whose other side is the charging server's book (law 4)."""


class Posting(NamedTuple):
    """``amount_micros`` above 0 from ``credit`` to ``debit``. ``book`` is the charging account that it is of ("": none), ``of_class`` the class of
    revenue, ``tax_code`` the tax class it was or will be taxed by.
    """

    debit: Ledger
    credit: Ledger
    amount_micros: int
    book: str = ""
    of_class: str = ""
    tax_code: str = ""


class Entry(NamedTuple):
    """What one event did, under its key; ``day`` is its booking day, ``from_book`` that the book has it already (usage). ``billing_account``
    is None where it is nobody's yet (clearing).
    """

    key: str
    kind: str
    billing_account: int | None
    day: date
    at_ms: int
    postings: Sequence[Posting]
    text: str = ""
    from_book: bool = False


class JournalFault(ValueError):
    """An entry that cannot be posted; the message says what is wrong with it."""


def check(entry: Entry) -> Entry:
    """Return an entry that may be posted; raises JournalFault."""
    if not entry.key or len(entry.key) > KEY_CHARS_MAX:
        raise JournalFault(f"{entry.key[:40]!r}: a key has 1 to {KEY_CHARS_MAX} characters")
    if not entry.postings:
        raise JournalFault(f"{entry.key}: an entry without a posting")
    for each in entry.postings:
        if type(each.amount_micros) is not int or not 0 < each.amount_micros <= AMOUNT_MICROS_MAX:
            raise JournalFault(
                f"{entry.key}: {each.amount_micros!r} from {each.credit} to {each.debit}: an amount is a whole number of "
                f"micro-units from 1 to {AMOUNT_MICROS_MAX}"
            )
        if each.debit is each.credit and each.debit not in IN_BOOK:
            raise JournalFault(f"{entry.key}: {each.debit} to itself")
    return entry


def posting(
    debit: Ledger, credit: Ledger, amount_micros: int, book: str = "", of_class: str = "", tax_code: str = ""
) -> tuple[Posting, ...]:
    """Return the posting of a signed amount: turned round where it is negative, none where it is 0."""
    if not amount_micros:
        return ()
    if amount_micros < 0:
        debit, credit, amount_micros = credit, debit, -amount_micros
    return (Posting(debit, credit, amount_micros, book, of_class, tax_code),)


def book_effects(entry: Entry) -> dict[str, int]:
    """Return what the books of the charging server have to be credited (negative: debited) for an entry, by charging account; no zeros."""
    effects: dict[str, int] = {}
    if entry.from_book:
        return effects
    for each in entry.postings:
        change = (each.debit in IN_BOOK) - (each.credit in IN_BOOK)
        if each.book and change:
            effects[each.book] = effects.get(each.book, 0) - change * each.amount_micros
    return {book: micros for book, micros in effects.items() if micros}


def balances(postings: Iterable[Posting]) -> dict[Ledger, int]:
    """Return each account's debits less its credits; they add up to 0 (law 1)."""
    found: dict[Ledger, int] = {}
    for each in postings:
        found[each.debit] = found.get(each.debit, 0) + each.amount_micros
        found[each.credit] = found.get(each.credit, 0) - each.amount_micros
    return found


KEY_CHARS_MAX = 200
AMOUNT_MICROS_MAX = 10**15
"""A thousand million of the currency in one posting: beyond it somebody has mistaken the unit."""
