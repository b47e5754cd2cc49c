"""Products and bonuses read from YAML, with every fault found at once; pure (text in, Product or Bonus or ProductFault out)."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import starmap
from typing import TypeVar
from zoneinfo import ZoneInfo

from ocs.money import EXACT_MAX
from ocs.rating.conditions import conditions
from ocs.rating.document import Document, DocumentFault, Path, document
from ocs.rating.ladder import COST_MICROS_MAX
from ocs.rating.life import DAY_MS
from ocs.rating.numbering import Numbering
from ocs.rating.periods import PeriodKind, Recurrence, midnight_ms, zone_of
from ocs.rating.product_text import (
    AllowanceText,
    BonusText,
    PeriodText,
    ProductText,
    RolloverText,
    UseText,
)
from ocs.rating.products import Allowance, Bonus, Product, Use, crowd
from ocs.rating.rates import unreachable
from ocs.rating.sources import SOURCES_MAX
from ocs.rating.tariff_text import SERVICE_UNITS, Quantity, micros
from ocs.units import Unit

UNIT_NAMES = {"octets": Unit.OCTETS, "seconds": Unit.SECONDS, "events": Unit.EVENTS}
_Text = TypeVar("_Text", ProductText, BonusText)


class ProductFault(DocumentFault):
    """A product or bonus that cannot be used; ``problems`` holds one line per fault: file:line: what, and what would be right."""


def read_offer(text: str, source: str, plans: Mapping[str, Numbering] | None = None) -> Product | Bonus:
    """Read a product, or a bonus where the document has that key; raises ProductFault as both do."""
    try:
        is_bonus = "bonus" in (document(text, source).content or ())
    except (DocumentFault, TypeError):
        is_bonus = False  # what is wrong is told by the reading below
    return read_bonus(text, source, plans) if is_bonus else read_product(text, source, plans)


def read_product(text: str, source: str, plans: Mapping[str, Numbering] | None = None) -> Product:
    """Read one product; ``source`` is the file's name for messages, ``plans`` the numbering plans by name.

    Raises ProductFault with all faults found, each with file and line.
    """
    page, shaped = _shaped(text, source, ProductText)
    return _Reading(page, shaped.numbering, plans or {}).product(shaped)


def read_bonus(text: str, source: str, plans: Mapping[str, Numbering] | None = None) -> Bonus:
    """Read one bonus, as read_product reads a product."""
    page, shaped = _shaped(text, source, BonusText)
    return _Reading(page, shaped.numbering, plans or {}).bonus(shaped)


def _shaped(text: str, source: str, shape: type[_Text]) -> tuple[Document, _Text]:
    try:
        page = document(text, source)
        return page, page.shaped(shape)
    except DocumentFault as fault:
        raise ProductFault(fault.problems) from fault


class _Reading:
    """One document being read: collects faults, and ends with what it holds or with all of them."""

    def __init__(self, page: Document, named: str | None, plans: Mapping[str, Numbering]) -> None:
        self.page = page
        self.problems: list[str] = []
        self.named = named
        self.plan = None if named is None else plans.get(named)
        if named is not None and self.plan is None:
            known = ", ".join(sorted(plans)) or "none"
            self.fault(("numbering",), f"no numbering plan {named!r}; there are {known}")

    def fault(self, path: Path, message: str) -> None:
        self.problems.append(self.page.at(path, message))

    def product(self, text: ProductText) -> Product:
        hours = text.period.recurrence == Recurrence.HOURS
        zone = self._zone(text.zone, None if hours else ("period",))
        self._refuse_misfits(text)
        allowances = tuple(starmap(self._allowance, enumerate(text.allowances)))
        names = [each.name for each in text.allowances]
        for place, name in enumerate(names):
            if name in names[:place]:
                self.fault(("allowances", place, "name"), f"{name} is another allowance's name already")
        if not self.problems:
            self._refuse_crowds(allowances)
        kind = self._kind(text.period, zone)
        if self.problems:
            raise ProductFault(self.problems)
        return Product(
            text.product,
            text.version,
            text.description,
            self._money(text.price, ("price",)),
            text.currency,
            text.tax_class,
            text.charge == "recurring",
            kind,
            zone,
            text.proration,
            text.grace_days * DAY_MS,
            text.shared,
            frozenset(text.lifts),
            allowances,
            text.given,
        )

    def bonus(self, text: BonusText) -> Bonus:
        zone = self._zone(text.zone, ("days",))
        uses = self._uses(text.uses, "money", 0, ())
        amount_micros = self._money(text.amount or "0", ("amount",))
        if self.problems:
            raise ProductFault(self.problems)
        allowance = Allowance("bonus", "money", 0, text.priority, False, 0, uses)
        made = Product(
            text.bonus,
            text.version,
            text.description,
            0,
            text.currency,
            "standard",
            recurring=False,
            kind=PeriodKind(Recurrence.DAYS, text.days),
            zone=zone,
            allowances=(allowance,),
        )
        return Bonus(made, micros(text.start), micros(text.percent or "0"), amount_micros)

    # ------------------------------------------------------------ periods

    def _zone(self, name: str | None, path: Path | None) -> ZoneInfo:
        """Return the zone of a product's days and months, which stand at a path; hours (None) need no zone."""
        if name is None and path is not None:
            self.fault(path, "days and months of which time zone? write one: zone: Europe/Berlin")
        try:
            return zone_of(name or "UTC")
        except ValueError as fault:
            self.fault(("zone",), str(fault))
            return zone_of("UTC")

    def _kind(self, text: PeriodText, zone: ZoneInfo) -> PeriodKind:
        if text.until is None:
            return PeriodKind(text.recurrence, text.number)
        try:
            return PeriodKind(text.recurrence, midnight_ms(text.until + timedelta(1), zone))
        except (OverflowError, ValueError):
            self.fault(("period", "until"), f"{text.until} lies beyond what calendars know")
            return PeriodKind(text.recurrence)

    def _refuse_misfits(self, text: ProductText) -> None:
        """Refuse keys that say nothing for such a product."""
        self._money(text.price, ("price",))
        recurring, recurrence = text.charge == "recurring", text.period.recurrence
        if recurring and recurrence == Recurrence.UNTIL:
            self.fault(
                ("period",), "what ends at a date does not recur; write charge: once, or another period"
            )
        if text.proration and recurrence != Recurrence.MONTH:
            self.fault(("proration",), "only calendar months can be broken at their beginning; strike it")
        if text.grace_days and not recurring:
            self.fault(("grace_days",), "a grace belongs to charge: recurring; strike it")
        for place, each in enumerate(text.allowances):
            if each.rollover is not None and not recurring:
                path = ("allowances", place, "rollover")
                self.fault(
                    path, "what is bought once has no next period; strike it, or write charge: recurring"
                )
        if text.given and (
            recurring or micros(text.price) or text.lifts or text.shared or len(text.allowances) != 1
        ):
            self.fault(
                ("given",),
                'what is given has charge: once, price: "0.00", one allowance, and neither lifts nor shared',
            )
        if not (text.allowances or text.lifts or micros(text.price)):
            self.fault((), "gives nothing and costs nothing; write allowances, lifts or a price")

    # ------------------------------------------------------------ allowances

    def _allowance(self, place: int, text: AllowanceText) -> Allowance:
        path: Path = ("allowances", place)
        amount = self._amount(text.amount, text.unit, (*path, "amount"))
        uses = self._uses(text.uses, text.unit, amount, path)
        most = self._rollover(text.rollover, text.unit, amount, (*path, "rollover"))
        return Allowance(text.name, text.unit, amount, text.priority, text.blocker, most, uses)

    def _rollover(self, text: RolloverText | None, unit: str, amount: int, path: Path) -> int:
        if text is None:
            return 0
        return amount if text.most is None else min(amount, self._amount(text.most, unit, (*path, "most")))

    def _amount(self, text: str | Quantity, unit: str, path: Path) -> int:
        """Return an amount in an allowance's unit; a fault is noted, and then it is 1."""
        if unit == "money":
            if isinstance(text, Quantity):
                self.fault(path, 'an amount of money is quoted text, such as "5.00"')
                return 1
            return self._money(text, path) or self._nothing(path)
        if isinstance(text, str):
            self.fault(
                path, f'{text!r} is no amount of {unit}; write a whole number, or words such as "10 GB"'
            )
            return 1
        if text.unit is not None and text.unit != UNIT_NAMES.get(unit):
            self.fault(path, f"an amount of {text.unit.name.lower()} in an allowance of {unit}")
        return text.units

    def _nothing(self, path: Path) -> int:
        self.fault(path, "an amount of nothing; it has to be above zero")
        return 1

    def _money(self, text: str, path: Path) -> int:
        try:
            found = micros(text)
        except ValueError as fault:
            self.fault(path, str(fault))
            return 1
        if found > COST_MICROS_MAX:
            self.fault(path, f"{text} is more than the store can hold")
        return found

    def _uses(self, texts: list[UseText], unit: str, amount: int, path: Path) -> tuple[Use, ...]:
        found = []
        for place, text in enumerate(texts):
            where: Path = (*path, "uses", place)
            holds = conditions(text, text.service, self.plan, self.named, (where, self.fault))
            if unit == "money":
                if text.block is not None or text.take is not None:
                    self.fault(where, "money pays the price and has no block; strike block and take")
                found.append(Use(text.service, holds))
                continue
            measured = self._measured(text, unit, where)
            block, take = self._taken(text, unit, measured, where)
            if take > amount:
                self.fault(where, f"a block takes {take}, more than the whole allowance of {amount}")
            if block * take > EXACT_MAX:
                self.fault(
                    where, f"a block of {block} that takes {take} cannot be computed exactly; use less"
                )
            found.append(Use(text.service, holds, measured, block, take))
        for place in unreachable([(each.service, each.conditions) for each in found]):
            self.fault((*path, "uses", place), "this use is never reached: those before it take everything")
        return tuple(found)

    def _measured(self, text: UseText, unit: str, path: Path) -> Unit:
        """Return the unit that a use's service is measured in."""
        allowed = SERVICE_UNITS[text.service]
        own = UNIT_NAMES.get(unit)
        worded = text.block.unit if text.block is not None else None
        measured = own or worded or allowed[0]
        if measured not in allowed:
            wanted = " or ".join(each.name.lower() for each in allowed)
            self.fault(path, f"{text.service} is measured in {wanted}, not in {measured.name.lower()}")
        elif worded is not None and worded != measured:
            self.fault((*path, "block"), f"a block of {worded.name.lower()} in an allowance of {unit}")
        return measured

    def _taken(self, text: UseText, unit: str, measured: Unit, path: Path) -> tuple[int, int]:
        """Return block and take; take is the block's size where it is left out, but for units, which have no size of their own."""
        if text.block is None:
            self.fault(path, f"{measured.name.lower()} are counted in blocks of which size? write block: …")
            return 1, 1
        block = text.block.units
        if text.take is None:
            if unit == "units":
                self.fault(path, "how many units does a block take? write take: 1")
            return block, 1 if unit == "units" else block
        if text.take.unit is not None and text.take.unit != UNIT_NAMES.get(unit):
            self.fault((*path, "take"), f"a take of {text.take.unit.name.lower()} in an allowance of {unit}")
        return block, text.take.units

    def _refuse_crowds(self, allowances: tuple[Allowance, ...]) -> None:
        """Law 4 of products.py, for one product alone; what an account holds beside it is looked at when it is bought."""
        for place in range(len(allowances)):
            for service in SERVICE_UNITS:
                before, found = (crowd(allowances[:end], service) for end in (place, place + 1))
                if before <= SOURCES_MAX < found:
                    self.fault(
                        ("allowances", place),
                        f"with this one {service} can have {found} sources at once, and no service has more than {SOURCES_MAX} "
                        "(roll-over and a blocker count as one each); leave some out",
                    )
