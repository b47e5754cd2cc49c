"""The bill: lines, taxes and parts in whole cents, and what it posts (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from postpaid_bridge.charges import Charge, HeldPlan, UsageSum
from postpaid_bridge.journal import Entry
from postpaid_bridge.periods import Period
from postpaid_bridge.plans import PlanBook
from postpaid_bridge.tax import Basis, Taxes

CENT_MICROS = 10_000


@dataclass(frozen=True, slots=True)
class Payer:
    """The billing account that pays: ids of account and paying party, cycle and tax status, the key of its discount plan ("": none)."""

    billing_account: int
    party: int
    number: str
    currency: str = "EUR"
    language: str = "de"
    tax_status: str = "domestic"
    discount_plan: str = ""
    since: date = date.min
    until: date | None = None


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line, in cents. ``charge`` is the key of its charge, "" for usage; ``amount_micros`` is what UNBILLED held of it, in ``basis``;
    ``tax_code`` one of the bill's taxes. net + tax = gross.
    """

    kind: str
    charge: str
    service: int
    party: int
    book: str
    text: str
    since: date
    until: date
    count: int
    units: int
    amount_micros: int
    of_class: str
    basis: Basis
    tax_code: str
    net_cents: int
    tax_cents: int
    gross_cents: int


@dataclass(frozen=True, slots=True)
class BillTax:
    """A tax code's totals in cents: ``code`` such as standard-19, ``tax_class`` standard, ``category`` of EN 16931 (S, AE, E, Z), the
    rate in micro-per cent, the legal text in the bill's language ("" where none is due).
    """

    code: str
    tax_class: str
    category: str
    percent_micros: int
    text: str
    net_cents: int
    tax_cents: int
    gross_cents: int


@dataclass(frozen=True, slots=True)
class BillPart:
    """What one party (a branch, or the payer itself) has of the bill; the parts add up to the bill, for each tax code too."""

    party: int
    taxes: tuple[BillTax, ...]
    net_cents: int
    tax_cents: int
    gross_cents: int


@dataclass(frozen=True, slots=True)
class Bill:
    """A draft: it has no number. ``charges`` are all that are on it, those that were made for it (discounts, commitment) too."""

    payer: Payer
    kind: str
    period: Period
    parts: tuple[BillPart, ...]
    lines: tuple[BillLine, ...]
    taxes: tuple[BillTax, ...]
    charges: tuple[Charge, ...]
    net_cents: int
    tax_cents: int
    gross_cents: int


def drafted(
    payer: Payer,
    period: Period,
    held: Sequence[HeldPlan],
    usage: Sequence[UsageSum],
    charges: Sequence[Charge],
    taxes: Taxes,
    plans: PlanBook,
    *,
    kind: str = "regular",
) -> Bill:
    """Return the bill of a period: discounts, commitment, rounding, taxes and parts are done here. ``kind``: regular, on_demand, final."""
    raise NotImplementedError


def entries_of(bill: Bill, *, key: str, day: date, at_ms: int) -> list[Entry]:
    """Return what billing posts: an entry for each charge under its key, and the bill's own under ``key``."""
    raise NotImplementedError


def content(bill: Bill) -> bytes:
    """Return the bill as canonical JSON: sorted keys, whole numbers, dates as text; equal bills give equal bytes."""
    raise NotImplementedError
