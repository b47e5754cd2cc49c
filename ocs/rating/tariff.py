"""Tariffs: prices as text in YAML, read into rates and ladders, with every error found at once.

Laws
1. Reading is pure: text in, Tariff or TariffError out. Files are opened by the roof.
2. All ladders of a tariff share one scale, so that a session's exact cost can pass from one to the next; those of one rate
   share all that ladder.py's law 6 asks for.
3. `rates` are looked at in the file's order, then `services`: the short form is a rate for all that is left of a service.
4. What cannot be charged yet is refused when it is read, never ignored: caps per day and tiers of a period wait for the account's counters.
5. A session keeps the mark of the rate and ladder that it is on (``Rate.mark``); ``marked`` finds them again. No two have one mark.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import lcm
from typing import NamedTuple

from ocs.rating.document import Document, DocumentFault, Path, document
from ocs.rating.ladder import Axis, CapMode, Ladder, LadderError, Rounding, Step, ladder, step
from ocs.rating.numbering import EMERGENCY, Numbering
from ocs.rating.rates import (
    ANYTHING,
    ANYTHING_SENT,
    AT_HOME,
    INCOMING,
    NO_RATES,
    OUTGOING,
    Choice,
    Conditions,
    Facts,
    Rate,
    alone,
    unreachable,
)
from ocs.rating.tariff_text import Quantity, RateText, RoundedText, ServiceName, StepText, TariffText, micros
from ocs.rating.windows import Calendar, Span, WindowFault, calendar
from ocs.units import UNITS_MAX, Unit

UNIT_NAMES = {"octets": Unit.OCTETS, "seconds": Unit.SECONDS, "events": Unit.EVENTS}
ROUNDING_NAMES = {"half-up": Rounding.HALF_UP, "up": Rounding.UP, "down": Rounding.DOWN}
CAP_NAMES = {"free": CapMode.FREE, "disconnect": CapMode.STOP}
AXIS_NAMES = {"session": Axis.SESSION, "period": Axis.PERIOD}
SERVICE_UNITS = {
    "data": (Unit.OCTETS, Unit.SECONDS),
    "voice": (Unit.SECONDS,),
    "sms": (Unit.EVENTS,),
    "mms": (Unit.EVENTS, Unit.OCTETS),
}
"""Units of each service; the first is the one of a rate that names none."""
CHOICES_KEPT_MAX = 4_096
"""Facts of which a tariff remembers the rate. Beyond: all are forgotten and judged again."""


class TariffError(DocumentFault):
    """A tariff that cannot be used; ``problems`` holds one line per fault: file:line: what, and what would be right."""


@dataclass(frozen=True, slots=True)
class ServiceTariff:
    """How one service is measured and priced, where one ladder is all there is to it."""

    unit: Unit
    ladder: Ladder


@dataclass(frozen=True, slots=True)
class Tariff:
    """One immutable version of a tariff; ``key`` ("flat-data@1") names it in sessions and records.

    ``effective_ms`` is the instant from which new sessions get it; 0 is always. ``services`` are those that a single ladder prices, whatever the facts, but what is free without a rate (rates.py, law 4);
    all services are in ``choice``. ``gross`` tells whether prices hold the tax already.
    """

    name: str
    version: int
    currency: str
    services: dict[str, ServiceTariff] = field(default_factory=dict)
    choice: Choice = NO_RATES
    gross: bool = True
    numbering: Numbering | None = None
    calendar: Calendar | None = None
    effective_ms: int = 0
    _chosen: dict[Facts, Rate | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _marked: dict[str, tuple[Rate, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _plain: dict[str, Rate] = field(default_factory=dict, init=False, repr=False, compare=False)
    _looked_at: dict[str, frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note every mark (law 5), and what the rates of each service look at."""
        for rate in (*self.choice.rates, *self.choice.emergency, *self.choice.incoming):
            if rate.plain:
                self._plain[rate.service] = rate
            else:
                self._marked.update({rate.mark(index): (rate, index) for index in range(len(rate.ladders))})
        for rate in self.choice.rates:
            named = zip(Facts._fields[1:], rate.conditions, strict=True)
            found = frozenset(name for name, values in named if values is not None)
            self._looked_at[rate.service] = self._looked_at.get(rate.service, frozenset()) | found

    def marked(self, mark: str, service: str) -> tuple[Rate, int] | None:
        """Return the rate and ladder of a mark; the empty one is the service's plain rate. None: a mark of another tariff."""
        if mark:
            return self._marked.get(mark)
        plain = self._plain.get(service)
        return None if plain is None else (plain, 0)

    def looked_at(self, service: str) -> frozenset[str] | None:
        """Return the names of the facts that rates of a service look at; None for a service that is not priced."""
        return self._looked_at.get(service)

    @property
    def key(self) -> str:
        """Return the name under which sessions and records keep this version."""
        return f"{self.name}@{self.version}"

    def rate(self, facts: Facts) -> Rate | None:
        """Return the first rate that applies; None when nothing prices this. The same facts are judged once."""
        chosen = self._chosen
        if facts in chosen:
            return chosen[facts]
        if len(chosen) >= CHOICES_KEPT_MAX:
            chosen.clear()
        found = chosen[facts] = self.choice.rate(facts)
        return found


class _Price(NamedTuple):
    """One price of a rate before it becomes a ladder: its windows, where it stands, and its steps."""

    windows: tuple[str, ...]
    path: Path
    fee_micros: int
    steps: list[Step]


class _Draft(NamedTuple):
    """A rate before the tariff's scale is known; ``text`` rounds, ``steps`` of each price are its own."""

    name: str
    service: ServiceName
    path: Path
    unit: Unit
    conditions: Conditions
    text: RoundedText
    prices: list[_Price]


def read_tariff(text: str, source: str, plans: Mapping[str, Numbering] | None = None) -> Tariff:
    """Read one tariff from YAML text; ``source`` is the file's name for messages, ``plans`` the numbering plans by name.

    Raises TariffError with all faults found, each with file and line.
    """
    try:
        page = document(text, source)
        shaped = page.shaped(TariffText)
    except DocumentFault as fault:
        raise TariffError(fault.problems) from fault
    return _Reading(page, shaped, plans or {}).tariff()


class _Reading:
    """One tariff being read: collects faults, and ends with a Tariff or with all of them."""

    def __init__(self, page: Document, text: TariffText, plans: Mapping[str, Numbering]) -> None:
        self.page = page
        self.text = text
        self.problems: list[str] = []
        self.numbering = self._numbering(plans)
        self.calendar = self._calendar()

    def tariff(self) -> Tariff:
        drafts = [*self._rates(), *self._services()]
        self._refuse_unreachable(drafts)
        rates: list[Rate] = []
        scale = self._scale(drafts)
        if not self.problems:
            rates = [rate for draft in drafts if (rate := self._rate(draft, scale)) is not None]
        if self.problems:
            raise TariffError(self.problems)
        only = {service: alone(rates, service) for service in SERVICE_UNITS}
        rates = [replace(each, plain=each is only[each.service]) for each in rates]
        services = {
            service: ServiceTariff(each.unit, each.ladders[0])
            for service, each in only.items()
            if each is not None
        }
        text = self.text
        sent = [service for service in SERVICE_UNITS if service != "data"]
        return Tariff(
            text.tariff,
            text.version,
            text.currency,
            services,
            Choice(
                tuple(rates),
                tuple(_free_rate(EMERGENCY, service, scale) for service in sent),
                tuple(_free_rate(INCOMING, service, scale) for service in sent),
            ),
            text.prices == "gross",
            self.numbering,
            self.calendar,
            text.effective or 0,
        )

    def fault(self, path: Path, message: str) -> None:
        self.problems.append(self.page.at(path, message))

    # ------------------------------------------------------------ what the rates refer to

    def _numbering(self, plans: Mapping[str, Numbering]) -> Numbering | None:
        name = self.text.numbering
        if name is not None and name not in plans:
            known = ", ".join(sorted(plans)) or "none"
            self.fault(("numbering",), f"no numbering plan {name!r}; there are {known}")
        return plans.get(name) if name is not None else None

    def _calendar(self) -> Calendar | None:
        text = self.text.calendar
        if text is None:
            return None
        windows = {
            name: [Span(each.days, each.start, each.end) for each in spans]
            for name, spans in text.windows.items()
        }
        country, subdivision = (
            (text.holidays.country, text.holidays.subdivision) if text.holidays else (None, None)
        )
        try:
            return calendar(
                windows, zone=text.zone, default=text.default, country=country, subdivision=subdivision
            )
        except WindowFault as fault:
            for path, message in fault.problems:
                self.fault(("calendar", *path), message)
        return None

    def _conditions(self, text: RateText, path: Path) -> Conditions:
        plan = self.numbering
        for key, named, known in (
            ("zones", text.zones, plan.zones if plan else frozenset()),
            ("roaming", text.roaming, (plan.roaming_zones if plan else frozenset()) | {AT_HOME}),
        ):
            for zone in named or ():
                if self.text.numbering is None:
                    self.fault((*path, key), "zones of which numbering plan? name it: numbering: …")
                elif plan is not None and zone not in known:
                    right = ", ".join(sorted(known))
                    free = "; emergency calls are free in every tariff" if zone == EMERGENCY else ""
                    self.fault((*path, key), f"{zone!r} is no zone of {plan.name}; zones are {right}{free}")
        if text.directions is not None and text.service == "data":
            self.fault((*path, "directions"), "data has no direction; strike it")
        sent_only = None if text.service == "data" else (OUTGOING,)
        return Conditions(
            *(
                None if values is None else frozenset(values)
                for values in (
                    text.zones, text.roaming, text.rating_groups, text.service_identifiers,
                    text.access, text.apns, text.called_parties, text.directions or sent_only,
                )
            )
        )  # fmt: skip

    # ------------------------------------------------------------ rates as drafts

    def _rates(self) -> Iterator[_Draft]:
        names: set[str] = set(self.text.services)
        for place, text in enumerate(self.text.rates):
            path: Path = ("rates", place)
            if text.name in names:
                self.fault(
                    (*path, "name"), f"{text.name} is another rate's name already; choose one of its own"
                )
            names.add(text.name)
            if text.cap_per_day is not None:
                self.fault(
                    (*path, "cap_per_day"),
                    "caps per day cannot be charged yet: the store keeps no counters of days; use cap_per_session",
                )
            if text.axis == "period":
                self.fault(
                    (*path, "axis"),
                    "tiers by the usage of a period cannot be charged yet: the store keeps no counters of periods; "
                    "use axis: session",
                )
            unit = self._unit(text.service, text.unit, path)
            conditions = self._conditions(text, path)
            prices = list(self._prices(text, unit, path))
            yield _Draft(text.name, text.service, path, unit, conditions, text, prices)

    def _services(self) -> Iterator[_Draft]:
        for service, text in self.text.services.items():
            path: Path = ("services", service)
            unit = self._unit(service, text.unit, path)
            steps = self._steps(text.steps, unit, (*path, "steps"))
            price = _Price((), path, micros(text.connect_fee), steps)
            conditions = ANYTHING if service == "data" else ANYTHING_SENT
            yield _Draft(service, service, path, unit, conditions, text, [price])

    def _unit(self, service: ServiceName, name: str | None, path: Path) -> Unit:
        allowed = SERVICE_UNITS[service]
        unit = allowed[0] if name is None else UNIT_NAMES[name]
        if unit not in allowed:
            wanted = " or ".join(each.name.lower() for each in allowed)
            self.fault((*path, "unit"), f"{service} is measured in {wanted}, not in {name}")
        return unit

    def _prices(self, text: RateText, unit: Unit, path: Path) -> Iterator[_Price]:
        """Give the prices of a rate: one for all windows, or one for each."""
        fee_micros = micros(text.connect_fee)
        if text.windows is None:
            steps = _FREE if text.steps is None else self._steps(text.steps, unit, (*path, "steps"))
            yield _Price((), path, fee_micros, steps)
            return
        known = self.calendar.names if self.calendar is not None else ()
        if self.text.calendar is None:
            self.fault((*path, "windows"), "windows of which calendar? write one: calendar: …")
        elif self.calendar is not None:
            for name in sorted(text.windows.keys() - set(known)):
                self.fault((*path, "windows", name), f"{name!r} is no window; windows are {', '.join(known)}")
            for name in known:
                if name not in text.windows:
                    self.fault((*path, "windows"), f"no price in window {name}; every window needs one")
        for name, price in text.windows.items():
            where: Path = (*path, "windows", name)
            steps = _FREE if price.steps is None else self._steps(price.steps, unit, (*where, "steps"))
            own = fee_micros if price.connect_fee is None else micros(price.connect_fee)
            yield _Price((name,), where, own, steps)

    def _steps(self, texts: list[StepText], unit: Unit, path: Path) -> list[Step]:
        """Return the steps; faults are noted, and then the list is empty."""
        ends = [following.start for following in texts[1:]] + [UNITS_MAX]
        try:
            return [
                step(each.start, end, _count(each.block, unit), micros(each.price), _count(each.per, unit))
                for each, end in zip(texts, ends, strict=True)
            ]
        except (LadderError, ValueError) as fault:
            self.fault(path, str(fault))
            return []

    def _refuse_unreachable(self, drafts: list[_Draft]) -> None:
        """Law 1 of rates.py: a rate for which earlier ones leave nothing would never be charged."""
        for place in unreachable([(each.service, each.conditions) for each in drafts]):
            draft = drafts[place]
            self.fault(
                draft.path,
                f"{draft.name} is never reached: rates before it take every {draft.service} it applies to; "
                "move it up or remove it",
            )

    # ------------------------------------------------------------ ladders

    def _scale(self, drafts: list[_Draft]) -> int:
        """Return the common denominator of all prices (law 2)."""
        scale = 1
        for draft in drafts:
            for price in draft.prices:
                scale = lcm(scale, *(each.per_units for each in price.steps))
        return scale

    def _rate(self, draft: _Draft, scale: int) -> Rate | None:
        try:
            chain = [self._ladder(draft, price, scale) for price in draft.prices]
        except LadderError as fault:
            self.fault(draft.path, str(fault))
            return None
        limit = min(each.limit for each in chain)
        ladders = list(dict.fromkeys(each._replace(limit=limit) for each in chain))
        priced = {
            name: ladders.index(on._replace(limit=limit))
            for price, on in zip(draft.prices, chain, strict=True)
            for name in price.windows
        }
        names = [
            ", ".join(name for name, index in priced.items() if index == place)
            for place in range(len(ladders))
        ]
        windows = self.calendar.names if self.calendar is not None and priced else ("",)
        text = draft.text
        return Rate(
            draft.name,
            draft.service,
            draft.conditions,
            draft.unit,
            tuple(ladders),
            tuple(names),
            tuple(priced.get(name, 0) for name in windows),
            self.calendar if priced else None,
            text.tax_class if isinstance(text, RateText) else "standard",
            isinstance(text, RateText) and text.free is True,
        )

    def _ladder(self, draft: _Draft, price: _Price, scale: int) -> Ladder:
        text = draft.text
        cap = text.cap_per_session if isinstance(text, RateText) else None
        return ladder(
            price.steps,
            fee_micros=price.fee_micros,
            quantum_micros=micros(text.round_to),
            rounding=ROUNDING_NAMES[text.rounding],
            axis=AXIS_NAMES[text.axis] if isinstance(text, RateText) else Axis.SESSION,
            scale=scale,
            minimum_micros=micros(text.minimum) if isinstance(text, RateText) else 0,
            cap_micros=micros(cap.amount) if cap is not None else 0,
            cap_mode=CAP_NAMES[cap.then] if cap is not None else CapMode.NONE,
        )


_FREE = [step(0, UNITS_MAX, 1, 0, 1)]


def _free_rate(what: str, service: str, scale: int) -> Rate:
    """Return the rate of what is free in every tariff; its name has a space, which no rate of a file has."""
    unit = SERVICE_UNITS[service][0]
    return Rate(
        f"{what} {service}",
        service,
        ANYTHING,
        unit,
        (ladder(_FREE, scale=scale),),
        ("",),
        (0,),
        None,
        "standard",
        free=True,
        emergency=what == EMERGENCY,
    )


def _count(quantity: Quantity, unit: Unit) -> int:
    """Return a quantity in a service's unit; ValueError for a word of another unit."""
    if quantity.unit is not None and quantity.unit != unit:
        raise ValueError(f"a quantity of {quantity.unit.name.lower()} in a price per {unit.name.lower()}")
    return quantity.units
