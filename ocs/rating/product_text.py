"""The shape of a product's YAML, and of a bonus's: every key that may stand in them, before anything is computed.

Laws
1. Money is quoted decimal text, as in tariffs. Other amounts are whole numbers, or words such as "10 GB" and "100 minutes".
2. A key that is not known is a fault, and so is a value of another type: nothing is guessed.
"""

import re
from datetime import date
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, PlainValidator, model_validator

from ocs.rating.numbering import Name
from ocs.rating.periods import MONTH_DAYS_MAX, Recurrence
from ocs.rating.tariff_text import (
    DAYS_MAX,
    WORDS,
    ConditionsText,
    Count,
    Days,
    Percent,
    Price,
    Quantity,
    Section,
    ServiceName,
    micros,
)
from ocs.units import UNITS_MAX

ALLOWANCES_MAX = 16
"""Allowances of one product: their rows' numbers leave room for no more (openings.py)."""
HOURS_MAX = 24 * DAYS_MAX
_WORDED = re.compile(r"([1-9][0-9]{0,15}) ([A-Za-z]+)")
_COUNTED = {
    "days": (Recurrence.DAYS, DAYS_MAX),
    "hours": (Recurrence.HOURS, HOURS_MAX),
    "calendar_month_from": (Recurrence.MONTH, MONTH_DAYS_MAX),
}

KeyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,47}$")]
AllowanceUnit = Literal["octets", "seconds", "events", "units", "money"]


class PeriodText(NamedTuple):
    """A period as written; ``until`` is the last day of the kind UNTIL."""

    recurrence: Recurrence
    number: int = 0
    until: date | None = None


def _period(value: object) -> PeriodText:
    if value == "calendar-month":
        return PeriodText(Recurrence.MONTH, 1)
    if value == "day":
        return PeriodText(Recurrence.DAY)
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if key == "until" and type(inner) is date:
            return PeriodText(Recurrence.UNTIL, 0, inner)
        recurrence, most = _COUNTED.get(key, (Recurrence.DAY, 0))
        if type(inner) is int and 1 <= inner <= most:
            return PeriodText(recurrence, inner)
    raise ValueError(
        f"{value!r} is no period; write calendar-month, {{calendar_month_from: 15}} (1 to {MONTH_DAYS_MAX}), day, {{days: 30}} "
        f"(1 to {DAYS_MAX}), {{hours: 24}} (1 to {HOURS_MAX}) or {{until: 2030-12-31}}"
    )


def _amount(value: object) -> str | Quantity:
    """Take an amount as it stands: a number or worded quantity, or text that has to be money (``money_of``)."""
    if type(value) is int and 1 <= value <= UNITS_MAX:
        return Quantity(value, None)
    if isinstance(value, str):
        worded = _WORDED.fullmatch(value)
        if worded is None:
            return value
        number, word = int(worded.group(1)), worded.group(2)
        found = WORDS.get(word) or WORDS.get(word.removesuffix("s"))
        if found is not None and number * found[1] <= UNITS_MAX:
            return Quantity(number * found[1], found[0])
    raise ValueError(
        f'{value!r} is no amount; write a whole number from 1 to {UNITS_MAX}, one with {", ".join(WORDS)} such as "10 GB", or money '
        'as quoted text such as "5.00"'
    )


def _rollover(value: object) -> "RolloverText | None":
    if value is False or value is True:
        return RolloverText(None) if value else None
    if isinstance(value, dict) and value.keys() == {"most"}:
        return RolloverText(_amount(value["most"]))
    raise ValueError(f"{value!r} is no roll-over; write true, false or {{most: …}} with an amount")


Amount = Annotated[str | Quantity, PlainValidator(_amount)]


class RolloverText(NamedTuple):
    """What is left goes over into the next period: ``most`` of it at most, all where that is None."""

    most: str | Quantity | None


class UseText(ConditionsText):
    """A service that an allowance is good for: each begun ``block`` of it takes ``take`` of the allowance."""

    service: ServiceName
    block: Count | None = None
    take: Count | None = None


class AllowanceText(Section):
    """So much of something in each period of a product."""

    name: Name
    unit: AllowanceUnit
    amount: Amount
    description: str = ""
    priority: int = Field(default=5, ge=1, le=9)
    blocker: bool = False
    rollover: Annotated[RolloverText | None, PlainValidator(_rollover)] = None
    uses: list[UseText] = Field(min_length=1, max_length=64)


class ProductText(Section):
    """One version of a product."""

    product: KeyName
    version: int = Field(ge=1, le=999_999)
    description: str = ""
    price: Price
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    tax_class: Name = "standard"
    charge: Literal["once", "recurring"]
    period: Annotated[PeriodText, PlainValidator(_period)]
    zone: str | None = None
    numbering: Name | None = None
    proration: bool = False
    grace_days: int = Field(default=0, ge=0, le=DAYS_MAX)
    shared: bool = False
    lifts: list[Name] = Field(default_factory=list, max_length=12)
    given: bool = False
    allowances: list[AllowanceText] = Field(default_factory=list, max_length=ALLOWANCES_MAX)


class BonusText(Section):
    """Money of restricted use that a top-up brings."""

    bonus: KeyName
    version: int = Field(ge=1, le=999_999)
    description: str = ""
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    start: Price = Field(alias="from")
    percent: Percent | None = None
    amount: Price | None = None
    days: Days
    zone: str | None = None
    numbering: Name | None = None
    priority: int = Field(default=5, ge=1, le=9)
    uses: list[UseText] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one_worth(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("write one of percent and amount")
        if not micros(self.percent or self.amount or "0"):
            raise ValueError("a bonus of nothing; percent or amount has to be above zero")
        return self
