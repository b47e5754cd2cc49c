"""Charges: what the calendar makes due for the plans that are held (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from postpaid_bridge.periods import Cycle, Period
from postpaid_bridge.plans import Plan


class Basis(StrEnum):
    """Whether an amount has the tax in it."""

    GROSS = "gross"
    NET = "net"


class ChargeKind(StrEnum):
    """What a charge is."""

    RENT = "rent"
    ONCE = "once"
    ADJUSTMENT = "adjustment"
    CREDIT = "credit"
    DISCOUNT = "discount"
    COMMITMENT = "commitment"


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """A plan (its key) that a service has from ``since`` to before ``until`` (None: without end): a row of service_plan, ``id`` is its."""

    id: int
    service: int
    plan: str
    since: date
    until: date | None
    book: str
    party: int


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount for the days [since, until) that is made once: ``key`` tells which. Credits and discounts are below zero.

    ``tax_code`` is the tax class, ``held`` the HeldPlan's id (0: none), ``item`` the rent, fee or discount of ``plan`` that it is of,
    ``corrects`` the key of the rent that a credit gives back (else "").
    """

    key: str
    kind: ChargeKind
    service: int
    party: int
    book: str
    text: str
    since: date
    until: date
    amount_micros: int
    of_class: str
    tax_code: str
    basis: Basis
    held: int = 0
    plan: str = ""
    item: str = ""
    corrects: str = ""


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Usage of one class summed up over [since, until) (None: the bill's period). ``text`` is the line's; ``plan`` "": the service's
    plan of the last day.
    """

    service: int
    party: int
    book: str
    usage_class: str
    count: int
    units: int
    amount_micros: int
    tax_code: str
    basis: Basis
    text: str = ""
    plan: str = ""
    since: date | None = None
    until: date | None = None


def charges_due(
    held: Sequence[HeldPlan],
    plans: Mapping[str, Plan],
    cycle: Cycle,
    period: Period,
    already: Mapping[str, Charge],
    *,
    language: str = "de",
    not_before: date | None = None,
) -> list[Charge]:
    """Return the rents, one-off fees and credits that a bill of ``period`` has to make, in order of their keys.

    ``already`` holds all charges that were ever made for these held plans, by key (their days tell what is paid for: keys alone do
    not, so it is a mapping and not a set). ``not_before`` is the day from which this bridge bills the account.
    """
    raise NotImplementedError
