"""Dunning policies, the law's amounts and base rates, read from config/dunning; pure (text in, shapes or DocumentFault out).

Laws
1. One policy is for each kind and credit class of customers: one that names the class goes before one for all; two alike are a fault.
2. What the law would forbid for certain is refused when a policy is read, with file, line and paragraph (rules_de.py has the words).
3. A base rate holds for its half year and no longer. A day without one has no rate: nothing is extrapolated (BGB section 247).
4. Levels are in their order; none is skipped, so the first is the mildest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import holidays
from pydantic import Field

from ocs.rating.document import Document, DocumentFault, Path, document
from ocs.rating.product_text import KeyName
from ocs.rating.tariff_text import Percent, Price, Section, micros

__all__ = [
    "LETTERS", "Action", "BusinessDays", "Law", "LawBook", "Level", "Policies", "Policy", "Rates", "read_law", "read_policies", "read_rates",
]  # fmt: skip

Kind = Literal["consumer", "business", "small_business", "non_profit"]
KINDS: tuple[Kind, ...] = ("consumer", "business", "small_business", "non_profit")
LETTERS = ("reminder", "warning", "bar_outgoing", "bar_all", "termination")
DAYS_MAX = 3_650


class Action(StrEnum):
    """What a level does, the mildest first."""

    REMIND = "remind"
    WARN = "warn"
    BAR_OUTGOING = "bar_outgoing"
    BAR_ALL = "bar_all"
    TERMINATE = "terminate"
    COLLECT = "collect"


RANK = {each: place for place, each in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class Level:
    """One step of a policy, ``number`` from 1; days and amounts as config/dunning/policies/consumer.yaml explains them."""

    number: int
    name: str
    action: Action
    after_due_days: int
    wait_days: int
    minimum_micros: int
    fee_micros: int
    letter: str
    channel: str
    pay_within_days: int


@dataclass(frozen=True, slots=True)
class BusinessDays:
    """Which days steps may be taken on: not on Saturdays, Sundays and public holidays (BGB section 193)."""

    country: str
    subdivision: str

    def holds(self, day: date) -> bool:
        """Tell whether a day is a business day."""
        return day.weekday() < _SATURDAY and day not in _holidays(self.country, self.subdivision, day.year)

    def on_or_after(self, day: date) -> date:
        """Return the first business day from a day on."""
        while not self.holds(day):
            day += timedelta(1)
        return day


_SATURDAY = 5


@lru_cache(256)
def _holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=subdivision or None, years=year))


@dataclass(frozen=True, slots=True)
class Policy:
    """How customers are dunned; as config/dunning/policies/consumer.yaml explains it."""

    key: str
    law: str
    kinds: tuple[str, ...]
    credit_classes: tuple[str, ...]
    business_days: BusinessDays
    grace_days: int
    least_micros: int
    receipt_days: int
    by_date: bool
    thirty_days: bool
    interest: bool
    flat_sum: bool
    bills_in_default: int
    levels: tuple[Level, ...]

    def after(self, number: int) -> Level | None:
        """Return the level behind a number (0: the first); None behind the last."""
        return self.levels[number] if number < len(self.levels) else None

    def level(self, number: int) -> Level:
        """Return a level by its number."""
        return self.levels[number - 1]


class Policies(NamedTuple):
    """All policies of an operator."""

    all: tuple[Policy, ...]

    def of(self, kind: str, credit_class: str) -> Policy | None:
        """Return the policy for customers of a kind and class (law 1); None: they are not dunned."""
        general = None
        for each in self.all:
            if kind in each.kinds:
                if credit_class in each.credit_classes:
                    return each
                if not each.credit_classes:
                    general = each
        return general


@dataclass(frozen=True, slots=True)
class Law:
    """The law's amounts and terms, from a day on (config/dunning/law-de.yaml)."""

    since: date
    bar_least_micros: int
    warning_days: int
    incoming_days: int
    default_days: int
    points_consumer_micros: int
    points_business_micros: int
    flat_sum_micros: int
    reminder_fee_most_micros: int


class LawBook(NamedTuple):
    """The versions of a law, the oldest first."""

    key: str
    versions: tuple[Law, ...]

    def at(self, day: date) -> Law | None:
        """Return what holds on a day; None before the first."""
        return next((each for each in reversed(self.versions) if each.since <= day), None)


class Rates(NamedTuple):
    """Base rates in millionths of a percent, by the first day of their half year."""

    by_half: Mapping[date, int]

    def at(self, day: date) -> int | None:
        """Return the base rate of a day; None where it is not known (law 3)."""
        return self.by_half.get(half_of(day))


def half_of(day: date) -> date:
    """Return the first day of the half year of a day."""
    return date(day.year, 1 if day.month < _JULY else _JULY, 1)


_JULY = 7

# ---------------------------------------------------------------- as written

_Days = Annotated[int, Field(ge=0, le=DAYS_MAX)]


class _CalendarText(Section):
    country: str = Field(pattern=r"^[A-Z]{2}$")
    subdivision: str = ""


class _DefaultText(Section):
    by_date: bool
    thirty_days: bool


class _LevelText(Section):
    name: Annotated[str, Field(min_length=1, max_length=40)]
    action: Literal["remind", "warn", "bar_outgoing", "bar_all", "terminate", "collect"]
    after_due_days: _Days
    wait_days: _Days = 0
    minimum: Price
    fee: Price = "0.00"
    letter: Literal["", "reminder", "warning", "bar_outgoing", "bar_all", "termination"] = ""
    channel: Literal["email", "post", "sms", "download"] = "email"
    pay_within_days: _Days = 0


class _PolicyText(Section):
    policy: KeyName
    law: KeyName
    kinds: list[Kind] = Field(min_length=1)
    credit_classes: list[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,16}$")]] = Field(default_factory=list)
    calendar: _CalendarText
    grace_days: _Days
    least: Price
    receipt_days: _Days
    default: _DefaultText
    interest: Literal["statutory", "none"]
    flat_sum: bool
    bills_in_default: Annotated[int, Field(ge=1, le=12)] = 1
    levels: list[_LevelText] = Field(min_length=1, max_length=12)


class _LawVersionText(Section):
    since: date
    bar_least: Price
    warning_days: _Days
    incoming_days: _Days
    default_days: _Days
    points_consumer: Percent
    points_business: Percent
    flat_sum: Price
    reminder_fee_most: Price


class _LawText(Section):
    law: KeyName
    versions: list[_LawVersionText] = Field(min_length=1)


class _RateText(Section):
    since: date
    percent: Annotated[str, Field(pattern=r"^-?[0-9]{1,2}(\.[0-9]{1,6})?$")]


class _RatesText(Section):
    base_rates: list[_RateText]


# ---------------------------------------------------------------- reading

Refused = Callable[[Policy, LawBook], Sequence[tuple[Path, str]]]
"""What a rule pack refuses of a policy for certain: places in its file, and why, with the paragraph."""


def read_policies(
    pages: Mapping[str, str], laws: Mapping[str, LawBook], refused: Mapping[str, Refused]
) -> Policies:
    """Read policies: their YAML by the names of their files; ``refused`` are the rule packs by law.

    DocumentFault tells all faults of all files, each with file and line.
    """
    problems: list[str] = []
    found: dict[str, tuple[Policy, Document]] = {}
    for source, text in sorted(pages.items()):
        try:
            page = document(text, source)
            policy = _policy(page, page.shaped(_PolicyText), problems)
        except DocumentFault as fault:
            problems += fault.problems
            continue
        if policy.key in found:
            problems.append(
                page.at(("policy",), f"{policy.key} is another file's already; give it a key of its own")
            )
        if policy.law not in laws or policy.law not in refused:
            known = ", ".join(sorted(set(laws) & set(refused))) or "none"
            problems.append(page.at(("law",), f"no law {policy.law!r}; there are {known}"))
        else:
            problems += [page.at(*each) for each in refused[policy.law](policy, laws[policy.law])]
        problems += [
            page.at(("kinds",), why) for other, _ in found.values() if (why := _alike(policy, other))
        ]
        found[policy.key] = (policy, page)
    if problems:
        raise DocumentFault(problems)
    return Policies(tuple(policy for policy, _ in found.values()))


def _policy(page: Document, text: _PolicyText, problems: list[str]) -> Policy:
    levels = [
        Level(
            number, each.name, Action(each.action), each.after_due_days, each.wait_days, micros(each.minimum), micros(each.fee),
            each.letter, each.channel, each.pay_within_days,
        )
        for number, each in enumerate(text.levels, 1)
    ]  # fmt: skip
    days = BusinessDays(text.calendar.country, text.calendar.subdivision)
    try:
        _holidays(days.country, days.subdivision, 2026)
    except NotImplementedError as fault:
        problems.append(page.at(("calendar",), f"no such calendar of holidays: {fault}"))
    for before, level in pairwise(levels):
        at: Path = ("levels", level.number - 1)
        if RANK[level.action] < RANK[before.action]:
            problems.append(
                page.at((*at, "action"), f"{level.action} comes behind {before.action}; put the milder first")
            )
        if level.after_due_days < before.after_due_days:
            problems.append(
                page.at((*at, "after_due_days"), f"earlier than the level before; write {before.after_due_days} or more")
            )  # fmt: skip
    if text.grace_days > levels[0].after_due_days:
        problems.append(
            page.at(
                ("grace_days",), f"the first level comes before it ends; write {levels[0].after_due_days} or less"
            )
        )  # fmt: skip
    return Policy(
        text.policy, text.law, tuple(text.kinds), tuple(text.credit_classes), days, text.grace_days, micros(text.least),
        text.receipt_days, text.default.by_date, text.default.thirty_days, text.interest == "statutory", text.flat_sum,
        text.bills_in_default, tuple(levels),
    )  # fmt: skip


def _alike(one: Policy, other: Policy) -> str:
    """Say why two policies cannot be told apart; "" where they can."""
    kinds = sorted(set(one.kinds) & set(other.kinds))
    if not kinds:
        return ""
    if not one.credit_classes and not other.credit_classes:
        return f"policy {other.key} is for all classes of {kinds[0]} already; name classes in one of both"
    both = sorted(set(one.credit_classes) & set(other.credit_classes))
    return f"policy {other.key} is for class {both[0]} of {kinds[0]} already; leave one" if both else ""


def read_law(text: str, source: str) -> LawBook:
    """Read a law's versions; DocumentFault tells all faults."""
    page = document(text, source)
    found = page.shaped(_LawText)
    versions = [
        Law(
            each.since, micros(each.bar_least), each.warning_days, each.incoming_days, each.default_days,
            micros(each.points_consumer), micros(each.points_business), micros(each.flat_sum), micros(each.reminder_fee_most),
        )
        for each in found.versions
    ]  # fmt: skip
    problems = [
        page.at(("versions", place, "since"), "not after the version before; put the older first")
        for place in range(1, len(versions))
        if versions[place].since <= versions[place - 1].since
    ]
    if problems:
        raise DocumentFault(problems)
    return LawBook(found.law, tuple(versions))


def read_rates(text: str, source: str) -> Rates:
    """Read base rates; DocumentFault tells all faults (law 3)."""
    page = document(text, source)
    found: dict[date, int] = {}
    problems: list[str] = []
    for place, each in enumerate(page.shaped(_RatesText).base_rates):
        at: Path = ("base_rates", place, "since")
        if each.since != half_of(each.since):
            problems.append(
                page.at(at, f"{each.since}: base rates change on 1 January and 1 July only (BGB section 247)")
            )
        elif each.since in found:
            problems.append(page.at(at, f"{each.since} has a rate already; leave one"))
        found[each.since] = _signed(each.percent)
    if problems:
        raise DocumentFault(problems)
    return Rates(found)


def _signed(percent: str) -> int:
    """Read a percentage in millionths; the base rate has been below zero."""
    found = micros(percent.removeprefix("-"))
    return -found if percent.startswith("-") else found
