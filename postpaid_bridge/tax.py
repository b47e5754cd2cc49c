"""Value added tax: rates by class and day, and the tax of a bill's lines in whole cents (pure).

Laws
1. The rate is that of the last day of what is supplied (UStG section 13(1) no. 1 a, section 27(1)): a rent's or a fee's days are one supply
   (its last day tells), but each use is a supply of its own. So usage that is summed up over a change of its rate is refused; ``split``
   tells where to sum up apart. A rate that the table does not have is never guessed.
2. Rounding is half up, away from zero, so that what is taken back is what was given: once per line, once per tax code.
3. A code's tax is one rounding of (net lines x rate) + (gross lines x rate / (1 + rate)). Gross lines keep what they cost, to the cent;
   net + tax = gross for each line, each code, each part and the bill.
4. Who owes no tax (reverse charge, exempt) pays gross prices without the tax that is in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ocs.money import format_amount
from ocs.rating.document import Document, DocumentFault, document
from ocs.rating.numbering import Name
from ocs.rating.tariff_text import Percent, Section, micros
from postpaid_bridge.periods import Period

WHOLE_MICROS = 100_000_000
"""100 per cent in micro-per cent."""
CENT_MICROS = 10_000


class Basis(StrEnum):
    """Whether an amount has the tax in it."""

    GROSS = "gross"
    NET = "net"


class TaxFault(ValueError):
    """A tax that cannot be told; the message says what would be right."""


class Rate(NamedTuple):
    """What is due: ``code`` (standard-19, reverse-charge) known on the bill and in the journal, ``category`` of EN 16931 (S, AE, E, Z, O),
    ``texts`` what the bill has to say about it, by language (none where there is tax).
    """

    code: str
    tax_class: str
    category: str
    percent_micros: int
    texts: tuple[tuple[str, str], ...] = ()

    def text(self, language: str) -> str:
        """Return what the bill has to say, in a language; "" for nothing."""
        return dict(self.texts).get(language, "")


class TaxClass(NamedTuple):
    """A class: its rates with the day that each begins on, in order."""

    name: str
    rates: tuple[tuple[date, Rate], ...]


@dataclass(frozen=True, slots=True)
class Taxes:
    """The table: classes by name, and what is due instead from those who owe no tax (by tax_status)."""

    country: str
    classes: dict[str, TaxClass]
    statuses: dict[str, Rate]

    def rate(self, tax_class: str, day: date) -> Rate:
        """Return the rate of a class on a day; TaxFault where there is no such class, or no rate yet."""
        found = self.classes.get(tax_class)
        if found is None:
            raise TaxFault(f"{tax_class[:40]!r} is no tax class; there are {', '.join(sorted(self.classes))}")
        of_day = [rate for since, rate in found.rates if since <= day]
        if not of_day:
            raise TaxFault(
                f"{tax_class} has no rate on {day}; its first is from {found.rates[0][0]}: enter the older one"
            )
        return of_day[-1]

    def due(self, tax_class: str, day: date, status: str) -> Rate:
        """Return what a payer of a tax_status owes; TaxFault as ``rate``, and where there is no such status."""
        own = self.rate(tax_class, day)
        if status == DOMESTIC or not own.percent_micros:
            return own
        if status not in self.statuses:
            raise TaxFault(
                f"{status[:40]!r} is no tax status; there are {', '.join([DOMESTIC, *sorted(self.statuses)])}"
            )
        return self.statuses[status]

    def split(self, tax_class: str, period: Period) -> list[Period]:
        """Return the period in pieces of one rate each: where usage has to be summed up apart (law 1)."""
        self.rate(tax_class, period.first)
        inside = [day for day, _ in self.classes[tax_class].rates if period.first < day < period.next]
        edges = [period.first, *inside, period.next]
        return [Period(*each) for each in pairwise(edges)]


DOMESTIC = "domestic"


def half_up(number: int, divisor: int) -> int:
    """Return number / divisor rounded half up, away from zero; divisor > 0."""
    found = (2 * abs(number) + divisor) // (2 * divisor)
    return found if number >= 0 else -found


def net_of(gross: int, percent_micros: int) -> int:
    """Return a gross amount without the tax in it, half up, in its own unit."""
    return half_up(gross * WHOLE_MICROS, WHOLE_MICROS + percent_micros)


def in_basis(amount: int, has: Basis, wanted: Basis, percent_micros: int) -> int:
    """Return an amount in another basis, half up, in its own unit."""
    if has is wanted:
        return amount
    if wanted is Basis.NET:
        return net_of(amount, percent_micros)
    return half_up(amount * (WHOLE_MICROS + percent_micros), WHOLE_MICROS)


class Cents(NamedTuple):
    """Net, tax and gross of a line in cents; net + tax = gross."""

    net: int
    tax: int
    gross: int


def taxed(lines: Sequence[tuple[int, Basis]], percent_micros: int) -> list[Cents]:
    """Return the cents of the lines of one tax code, given each line's cents in its basis (law 3).

    A code's tax is spread over its lines by running sums; the cent that a common rounding of net and gross lines may leave goes to
    the greatest gross line.
    """
    over = WHOLE_MICROS + percent_micros
    sums = {Basis.NET: 0, Basis.GROSS: 0}
    divisors = {Basis.NET: WHOLE_MICROS, Basis.GROSS: over}
    found = []
    for cents, basis in lines:
        before = half_up(sums[basis] * percent_micros, divisors[basis])
        sums[basis] += cents
        tax = half_up(sums[basis] * percent_micros, divisors[basis]) - before
        found.append(Cents(cents, tax, cents + tax) if basis is Basis.NET else Cents(cents - tax, tax, cents))
    exact = sums[Basis.NET] * percent_micros * over + sums[Basis.GROSS] * percent_micros * WHOLE_MICROS
    left = half_up(exact, WHOLE_MICROS * over) - sum(each.tax for each in found)
    if left:
        place = max(
            (n for n, (_, basis) in enumerate(lines) if basis is Basis.GROSS), key=lambda n: abs(lines[n][0])
        )
        net, tax, gross = found[place]
        found[place] = Cents(net - left, tax + left, gross)
    return found


# ---------------------------------------------------------------- reading

Texts = dict[Literal["de", "en"], Annotated[str, Field(min_length=1, max_length=300)]]


class _RateText(Section):
    start: date = Field(alias="from")
    percent: Percent


class _ClassText(Section):
    category: Literal["S", "Z", "E", "O"] = "S"
    rates: list[_RateText] = Field(min_length=1)
    text: Texts = Field(default_factory=dict)


class _StatusText(Section):
    category: Literal["AE", "E", "O", "K", "G"]
    text: Texts


class _TaxesText(Section):
    country: str = Field(pattern=r"^[A-Z]{2}$")
    classes: dict[Annotated[Name, Field(max_length=20)], _ClassText] = Field(min_length=1)
    statuses: dict[Literal["reverse_charge", "exempt"], _StatusText]


def read_taxes(text: str, source: str) -> Taxes:
    """Read the table from YAML; ``source`` is the file's name. DocumentFault tells every fault with file and line."""
    page = document(text, source)
    if not isinstance(page.content, dict):
        raise DocumentFault([page.at((), "no tax table; write country, classes and statuses")])
    shaped = page.shaped(_TaxesText)
    if problems := _faults(page, shaped):
        raise DocumentFault(problems)
    return Taxes(
        shaped.country,
        {name: _class_of(name, each) for name, each in shaped.classes.items()},
        {
            name: Rate(name.replace("_", "-"), "", each.category, 0, tuple(sorted(each.text.items())))
            for name, each in shaped.statuses.items()
        },
    )


def _class_of(name: str, text: _ClassText) -> TaxClass:
    texts = tuple(sorted(text.text.items()))
    rates = []
    for each in text.rates:
        percent_micros = micros(each.percent)
        said = format_amount(percent_micros).rstrip("0").rstrip(".") if percent_micros else "0"
        rates.append((each.start, Rate(f"{name}-{said}", name, text.category, percent_micros, texts)))
    return TaxClass(name, tuple(rates))


def _faults(page: Document, text: _TaxesText) -> list[str]:
    problems = []
    for name, each in text.classes.items():
        for place, (one, following) in enumerate(pairwise(each.rates), 1):
            if following.start <= one.start:
                problems.append(
                    page.at(
                        ("classes", name, "rates", place, "from"),
                        f"{following.start} is not after {one.start}; write the rates in order of their days",
                    )
                )
        for place, rate in enumerate(each.rates):
            if (each.category == "S") != bool(micros(rate.percent)):
                problems.append(
                    page.at(
                        ("classes", name, "rates", place, "percent"),
                        f"{rate.percent} per cent in category {each.category}; S has tax, Z, E and O have 0",
                    )
                )
        if each.category == "E" and set(each.text) != {"de", "en"}:
            problems.append(
                page.at(
                    ("classes", name), "exempt without a text; write text: {de: …, en: …} with the reason"
                )
            )
    for status, said in text.statuses.items():
        if set(said.text) != {"de", "en"}:
            problems.append(page.at(("statuses", status, "text"), "write the text in de and en"))
    return problems
