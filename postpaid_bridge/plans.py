"""Plans of postpaid services and discount plans of accounts, read from config/plans; pure (text in, plans or DocumentFault out).

Laws
1. A plan is known by its key. What was sold is never changed: another price is another plan.
2. ``prices`` says for all amounts of a plan whether the tax is in them; the tariff that rates its usage has to say the same.
3. No price is negative: what lowers a bill is a discount, a credit or an adjustment, each with its own rules.
4. What names what is not there (a tax class, an item) is a fault when the plan is read, not when the bill is made.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from ocs.rating.document import Document, DocumentFault, Path, document
from ocs.rating.numbering import Name
from ocs.rating.product_text import KeyName
from ocs.rating.tariff_text import Percent, Price, Section, micros
from postpaid_bridge.periods import KINDS, CycleKind
from postpaid_bridge.tax import Basis

AMOUNT_MICROS_MAX = 10**12
"""A million of the currency: beyond it somebody has mistaken the unit."""
MONTHS_MAX = 120
UNITS: Mapping[str, CycleKind] = {
    "week": KINDS["weekly"],
    "month": KINDS["monthly"],
    "quarter": KINDS["quarterly"],
    "year": KINDS["yearly"],
}
"""What an amount may be per."""
LANGUAGES = ("de", "en")


class Names(NamedTuple):
    """What something is called on bills."""

    de: str
    en: str

    def of(self, language: str) -> str:
        """Return the name in a language; German where there is none."""
        return self.en if language == "en" else self.de


@dataclass(frozen=True, slots=True)
class Rent:
    """So much ``per`` week, month, quarter or year, by days; ``in_advance`` for the coming period, else for the one that ends."""

    item: str
    names: Names
    amount_micros: int
    per: str
    in_advance: bool
    tax_class: str


@dataclass(frozen=True, slots=True)
class Fee:
    """Once, when the plan begins (or ends); ``at_change`` False: not where the service changes from (or to) another plan."""

    item: str
    names: Names
    amount_micros: int
    at_start: bool
    at_change: bool
    tax_class: str


@dataclass(frozen=True, slots=True)
class Discount:
    """A percentage, or an amount ``per`` week to year by days, off what ``targets`` name, for ``months`` (None: always).

    A target is a kind (rent, usage, once) or a kind with an item or usage class ("rent:base", "usage:voice"). An amount off one rent
    goes by that rent's days, and comes back with them; any other amount goes by the days of the bill's period.
    """

    item: str
    names: Names
    targets: tuple[str, ...]
    percent_micros: int
    amount_micros: int
    per: str
    months: int | None

    @property
    def of_lines(self) -> bool:
        """Whether it is off single lines (each target has an item), and so goes before what is off a whole plan."""
        return all(":" in each for each in self.targets)

    @property
    def by_rent(self) -> bool:
        """Whether it goes by the days of the one rent that it is off."""
        return len(self.targets) == 1 and self.targets[0].startswith("rent:")

    def reaches(self, kind: str, item: str) -> bool:
        """Whether a kind and item are among its targets."""
        return kind in self.targets or f"{kind}:{item}" in self.targets


@dataclass(frozen=True, slots=True)
class Commitment:
    """The least that ``counts`` (rent, usage, once) come to ``per`` week to year, by days; what is missing is charged."""

    names: Names
    amount_micros: int
    per: str
    counts: tuple[str, ...]
    tax_class: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a service costs beside its usage, which is rated by ``tariff`` ("": an option, that comes beside a plan); ``products``
    of the charging server are given with it.
    """

    key: str
    names: Names
    kind: str
    prices: Basis
    currency: str
    tariff: str = ""
    products: tuple[str, ...] = ()
    rents: tuple[Rent, ...] = ()
    fees: tuple[Fee, ...] = ()
    discounts: tuple[Discount, ...] = ()
    commitment: Commitment | None = None


@dataclass(frozen=True, slots=True)
class DiscountPlan:
    """What a billing account has beside its services' plans: discounts over all of them, and a commitment."""

    key: str
    names: Names
    prices: Basis
    currency: str
    discounts: tuple[Discount, ...] = ()
    commitment: Commitment | None = None


@dataclass(frozen=True, slots=True)
class PlanBook:
    """All plans and discount plans by key."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    discount_plans: Mapping[str, DiscountPlan] = field(default_factory=dict)


# ---------------------------------------------------------------- as written

Per = Literal["week", "month", "quarter", "year"]
Counted = Literal["rent", "usage", "once"]
Label = Annotated[str, Field(min_length=1, max_length=80)]
TaxName = Annotated[str, Field(max_length=20)]


class _NamesText(Section):
    de: Label
    en: Label


class _RentText(Section):
    item: Name
    names: _NamesText
    amount: Price
    per: Per = "month"
    due: Literal["advance", "arrear"]
    tax_class: TaxName = "standard"


class _FeeText(Section):
    item: Name
    names: _NamesText
    amount: Price
    at: Literal["start", "end"]
    at_change: bool = False
    tax_class: TaxName = "standard"


class _DiscountText(Section):
    item: Name
    names: _NamesText
    of: list[Annotated[str, Field(pattern=r"^(rent|usage|once)(:[a-z0-9][a-z0-9_.-]{0,31})?$")]] = Field(
        min_length=1
    )
    percent: Percent | None = None
    amount: Price | None = None
    per: Per = "month"
    months: Annotated[int, Field(ge=1, le=MONTHS_MAX)] | None = None

    @model_validator(mode="after")
    def _one_worth(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("write one of percent and amount")
        if not micros(self.percent or self.amount or "0"):
            raise ValueError("a discount of nothing; percent or amount has to be above zero")
        return self


class _CommitmentText(Section):
    names: _NamesText
    amount: Price
    per: Per = "month"
    counts: list[Counted] = Field(min_length=1)
    tax_class: TaxName = "standard"


class _PlanText(Section):
    plan: KeyName
    names: _NamesText
    kind: Literal["mobile", "fixed"]
    prices: Literal["gross", "net"]
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    tariff: Name | Literal[""] = ""
    products: list[str] = Field(default_factory=list, max_length=16)
    rents: list[_RentText] = Field(default_factory=list, max_length=16)
    fees: list[_FeeText] = Field(default_factory=list, max_length=16)
    discounts: list[_DiscountText] = Field(default_factory=list, max_length=16)
    commitment: _CommitmentText | None = None


class _DiscountPlanText(Section):
    discount_plan: KeyName
    names: _NamesText
    prices: Literal["gross", "net"]
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    discounts: list[_DiscountText] = Field(default_factory=list, max_length=16)
    commitment: _CommitmentText | None = None


# ---------------------------------------------------------------- reading


def read_plans(
    pages: Mapping[str, str], tax_classes: Collection[str], tariffs: Mapping[str, Basis] | None = None
) -> PlanBook:
    """Read plans and discount plans: their YAML by the names of their files.

    ``tax_classes`` are those of the tax table, ``tariffs`` the basis of each tariff by name (None: not looked at). DocumentFault
    tells all faults of all files, each with file and line.
    """
    problems: list[str] = []
    plans: dict[str, Plan] = {}
    discount_plans: dict[str, DiscountPlan] = {}
    for source, text in sorted(pages.items()):
        try:
            found = _Reading(document(text, source), tax_classes, tariffs).read()
        except DocumentFault as fault:
            problems += fault.problems
            continue
        taken: Collection[str] = plans if isinstance(found, Plan) else discount_plans
        if found.key in taken:
            problems.append(
                f"{source}:1: {found.key} is another file's plan already; give it a key of its own"
            )
        elif isinstance(found, Plan):
            plans[found.key] = found
        else:
            discount_plans[found.key] = found
    if problems:
        raise DocumentFault(problems)
    return PlanBook(plans, discount_plans)


class _Reading:
    """One document being read: collects faults, and ends with what it holds or with all of them."""

    def __init__(
        self, page: Document, tax_classes: Collection[str], tariffs: Mapping[str, Basis] | None
    ) -> None:
        self.page = page
        self.tax_classes = tax_classes
        self.tariffs = tariffs
        self.problems: list[str] = []

    def fault(self, path: Path, message: str) -> None:
        self.problems.append(self.page.at(path, message))

    def read(self) -> Plan | DiscountPlan:
        if not isinstance(self.page.content, dict):
            raise DocumentFault(
                [self.page.at((), "neither a plan nor a discount_plan; write one of these keys first")]
            )
        found = self._discount_plan() if "discount_plan" in self.page.content else self._plan()
        if self.problems:
            raise DocumentFault(self.problems)
        return found

    def _plan(self) -> Plan:
        text = self.page.shaped(_PlanText)
        self._tariff(text)
        rents = [
            Rent(
                each.item, _names(each.names), self._money(each.amount, ("rents", n, "amount")), each.per,
                each.due == "advance", self._tax(each.tax_class, ("rents", n)),
            )
            for n, each in enumerate(text.rents)
        ]  # fmt: skip
        fees = [
            Fee(
                each.item, _names(each.names), self._money(each.amount, ("fees", n, "amount")), each.at == "start",
                each.at_change, self._tax(each.tax_class, ("fees", n)),
            )
            for n, each in enumerate(text.fees)
        ]  # fmt: skip
        self._once("rents", [each.item for each in rents])
        self._once("fees", [each.item for each in fees])
        known = {f"rent:{each.item}" for each in rents} | {f"once:{each.item}" for each in fees}
        return Plan(
            text.plan,
            _names(text.names),
            text.kind,
            Basis(text.prices),
            text.currency,
            text.tariff,
            tuple(text.products),
            tuple(rents),
            tuple(fees),
            self._discounts(text.discounts, known),
            self._commitment(text.commitment),
        )

    def _discount_plan(self) -> DiscountPlan:
        text = self.page.shaped(_DiscountPlanText)
        return DiscountPlan(
            text.discount_plan,
            _names(text.names),
            Basis(text.prices),
            text.currency,
            self._discounts(text.discounts, None),
            self._commitment(text.commitment),
        )

    def _tariff(self, text: _PlanText) -> None:
        if self.tariffs is None or not text.tariff:
            return
        basis = self.tariffs.get(text.tariff)
        if basis is None:
            self.fault(
                ("tariff",),
                f"no tariff {text.tariff!r}; there are {', '.join(sorted(self.tariffs)) or 'none'}",
            )
        elif basis != text.prices:
            self.fault(
                ("prices",),
                f"{text.prices}, and the prices of tariff {text.tariff} are {basis}; both say the same",
            )

    def _discounts(self, texts: list[_DiscountText], known: Collection[str] | None) -> tuple[Discount, ...]:
        self._once("discounts", [each.item for each in texts])
        found = []
        for n, each in enumerate(texts):
            for place, target in enumerate(each.of):
                if known is not None and target.startswith(("rent:", "once:")) and target not in known:
                    there = ", ".join(sorted(known)) or "none"
                    self.fault(
                        ("discounts", n, "of", place),
                        f"{target!r} is no item of this plan; there are {there}",
                    )
            if each.amount and any(one.startswith("rent:") for one in each.of) and len(each.of) > 1:
                self.fault(
                    ("discounts", n, "of"),
                    "an amount off a rent goes by that rent's days: write one discount for each rent, or rent for all that are on a bill",
                )
            found.append(
                Discount(
                    each.item,
                    _names(each.names),
                    tuple(each.of),
                    micros(each.percent or "0"),
                    self._money(each.amount or "0", ("discounts", n, "amount")),
                    each.per,
                    each.months,
                )
            )
        return tuple(found)

    def _commitment(self, text: _CommitmentText | None) -> Commitment | None:
        if text is None:
            return None
        return Commitment(
            _names(text.names),
            self._money(text.amount, ("commitment", "amount")),
            text.per,
            tuple(text.counts),
            self._tax(text.tax_class, ("commitment",)),
        )

    def _tax(self, name: str, path: Path) -> str:
        if name not in self.tax_classes:
            self.fault(
                (*path, "tax_class"),
                f"{name!r} is no tax class; there are {', '.join(sorted(self.tax_classes))}",
            )
        return name

    def _money(self, text: str, path: Path) -> int:
        found = micros(text)
        if found > AMOUNT_MICROS_MAX:
            self.fault(path, f"{text} is above a million; amounts are in whole units of the currency")
        return found

    def _once(self, section: str, items: list[str]) -> None:
        for place, item in enumerate(items):
            if item in items[:place]:
                self.fault((section, place, "item"), f"{item} is another item's name already")


def _names(text: _NamesText) -> Names:
    return Names(text.de, text.en)
