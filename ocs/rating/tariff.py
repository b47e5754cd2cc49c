"""Tariffs: prices as text in YAML, read into rates and ladders, with every error found at once.

Laws
1. Reading is pure: text in, Tariff or TariffError out. Files are opened by the roof.
2. All ladders of a tariff share one scale, so that a session's exact cost can pass from one to the next; those of one rate
   share all that ladder.py's law 6 asks for.
3. `rates` are looked at in the file's order, then `services`: the short form is a rate for all that is left of a service.
4. A service whose use counts on something in the account (a cap per day, tiers of a period, a spend cap) is never offered as a
   single ladder: its price needs the account's counters. The ladder of tiers has its steps as written; the store shifts it.
5. A session keeps for each service the mark of the version, rate and ladder that it is on ("2:calls/0"; "2:" where the service has
   but one rate with one ladder); ``marked`` finds them again. No two have one mark.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import lcm
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ocs.rating.conditions import conditions
from ocs.rating.counters import MEMBER, Counter, counter, counter_id
from ocs.rating.document import Document, DocumentFault, Path, document
from ocs.rating.ladder import CapMode, Ladder, LadderError, Rounding, Step, ladder, step
from ocs.rating.life import ENDLESS, Life, life
from ocs.rating.numbering import EMERGENCY, Numbering
from ocs.rating.periods import CALENDAR_DAY, zone_of
from ocs.rating.rates import (
    ANYTHING,
    ANYTHING_SENT,
    INCOMING,
    NO_RATES,
    Choice,
    Conditions,
    Facts,
    Rate,
    alone,
    unreachable,
)
from ocs.rating.sources import SourceKind
from ocs.rating.spending import CAP_KINDS, PERIODS, SpendCap, spend_caps
from ocs.rating.tariff_text import (
    SERVICE_UNITS,
    RateText,
    RoundedText,
    ServiceName,
    StepText,
    TariffText,
    count,
    micros,
)
from ocs.rating.windows import Calendar, Span, WindowFault, calendar
from ocs.units import UNITS_MAX, Unit

UNIT_NAMES = {"octets": Unit.OCTETS, "seconds": Unit.SECONDS, "events": Unit.EVENTS, "money": Unit.MONEY}
ROUNDING_NAMES = {"half-up": Rounding.HALF_UP, "up": Rounding.UP, "down": Rounding.DOWN}
CAP_NAMES = {"free": CapMode.FREE, "disconnect": CapMode.STOP}
COUNTERS_MAX = 100
"""Caps and tiers of one tariff: a book has room for so many in use at once, and for what has ended lately (words.lua, ROWS_MAX)."""
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

    ``effective_ms`` is the instant from which new sessions get it; 0 is always. ``services`` are those that a single ladder prices,
    whatever the facts, but what is free without a rate (rates.py, law 4); all services are in ``choice``. ``gross`` tells whether
    prices hold the tax already; ``zone`` is that of its days and months.
    """

    name: str
    version: int
    currency: str
    services: dict[str, ServiceTariff] = field(default_factory=dict)
    choice: Choice = NO_RATES
    gross: bool = True
    numbering: Numbering | None = None
    calendar: Calendar | None = None
    zone: ZoneInfo = field(default_factory=lambda: zone_of("UTC"))
    spend_caps: tuple[SpendCap, ...] = ()
    life: Life = ENDLESS
    effective_ms: int = 0
    takes_along: bool = False
    """Whether sessions that run when it begins to count go on with it (`running_sessions: switch`; versions.py, law 3)."""
    plain_mark: str = field(default="", init=False, repr=False, compare=False)
    """The mark of a service that has but one rate with one ladder."""
    _chosen: dict[Facts, Rate | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _marked: dict[str, tuple[Rate, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _marks: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _plain: dict[str, Rate] = field(default_factory=dict, init=False, repr=False, compare=False)
    _looked_at: dict[str, frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note every mark (law 5), and what the rates and spend caps of each service look at."""
        object.__setattr__(self, "plain_mark", f"{self.version}:")
        for rate in (*self.choice.rates, *self.choice.emergency, *self.choice.incoming):
            marks = tuple(f"{self.version}:{rate.mark(index)}" for index in range(len(rate.ladders)))
            self._marks[rate.name] = marks
            if rate.plain:
                self._plain[rate.service] = rate
            else:
                self._marked.update({mark: (rate, index) for index, mark in enumerate(marks)})
        for rate in self.choice.rates:
            self._looked_at[rate.service] = (
                self._looked_at.get(rate.service, frozenset()) | rate.conditions.named
            )
        # free in every tariff, also without a price (rates.py, law 4)
        for rate in (*self.choice.emergency, *self.choice.incoming):
            self._looked_at.setdefault(rate.service, frozenset())
        for cap in self.spend_caps:
            self._looked_at[cap.service] = (
                self._looked_at.get(cap.service, frozenset()) | cap.conditions.named
            )

    def mark(self, rate: Rate, index: int) -> str:
        """Return what a session keeps of the rate and the ladder that a grant was made on (law 5)."""
        return self._marks[rate.name][index]

    def marked(self, mark: str, service: str) -> tuple[Rate, int] | None:
        """Return the rate and ladder of a mark; None for one of another version or tariff."""
        if mark != self.plain_mark:
            return self._marked.get(mark)
        plain = self._plain.get(service)
        return None if plain is None else (plain, 0)

    def looked_at(self, service: str) -> frozenset[str] | None:
        """Return the names of the facts that rates and spend caps of a service look at; None for a service that is not priced."""
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
    counters: tuple[Counter, ...]


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
        self.zone = self._zone()

    def tariff(self) -> Tariff:
        drafts = [*self._rates(), *self._services()]
        self._refuse_unreachable(drafts)
        caps = self._spend_caps(drafts)
        lasts = life(self.text.life, self.fault)
        rates: list[Rate] = []
        scale = self._scale(drafts)
        if not self.problems:
            rates = [rate for draft in drafts if (rate := self._rate(draft, scale)) is not None]
        if self.problems:
            raise TariffError(self.problems)
        capped = {cap.service for cap in caps}
        only = {service: None if service in capped else alone(rates, service) for service in SERVICE_UNITS}
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
            self.zone or zone_of("UTC"),
            caps,
            lasts,
            text.effective or 0,
            text.running_sessions == "switch",
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

    def _zone(self) -> ZoneInfo | None:
        """Return the zone whose days and months are counted; None when the tariff tells none."""
        if self.calendar is not None:
            if self.text.zone is not None:
                self.fault(("zone",), "the calendar has a zone already, which holds for all; strike this one")
            return self.calendar.zone
        try:
            return zone_of(self.text.zone) if self.text.zone is not None else None
        except ValueError as fault:
            self.fault(("zone",), str(fault))
            return None

    def _refuse_without_zone(self, path: Path) -> None:
        if self.text.zone is None and self.text.calendar is None:  # a wrong one was told
            self.fault(path, "days and months of which time zone? write one: zone: Europe/Berlin")

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
            unit = self._unit(text.service, text.unit, path)
            holds = conditions(text, text.service, self.numbering, self.text.numbering, (path, self.fault))
            prices = list(self._prices(text, unit, path))
            yield _Draft(text.name, text.service, path, unit, holds, text, prices, self._counters(text, path))

    def _services(self) -> Iterator[_Draft]:
        for service, text in self.text.services.items():
            path: Path = ("services", service)
            unit = self._unit(service, text.unit, path)
            steps = self._steps(text.steps, unit, (*path, "steps"))
            price = _Price((), path, micros(text.connect_fee), steps)
            holds = ANYTHING if service == "data" else ANYTHING_SENT
            yield _Draft(service, service, path, unit, holds, text, [price], ())

    def _counters(self, text: RateText, path: Path) -> tuple[Counter, ...]:
        """Return what the use of a rate counts on; tiers first."""
        if text.period is None and text.cap_per_day is None:
            return ()
        if self.zone is None:
            self._refuse_without_zone((*path, "period" if text.cap_per_day is None else "cap_per_day"))
            return ()
        found = []
        if text.period is not None:
            found.append(counter(SourceKind.TIER, f"tier/{text.name}", PERIODS[text.period], self.zone))
        if (cap := text.cap_per_day) is not None:
            if not micros(cap.amount):
                self.fault((*path, "cap_per_day"), "a cap of nothing; it has to be above zero")
            found.append(
                counter(
                    CAP_KINDS[cap.then],
                    f"day/{text.name}",
                    CALENDAR_DAY,
                    self.zone,
                    micros(cap.amount),
                    each_member=cap.each_member,
                )
            )
        return tuple(found)

    def _spend_caps(self, drafts: list[_Draft]) -> tuple[SpendCap, ...]:
        """Return the tariff's spend caps, and hold law 1 of counters.py over all its counters."""
        if self.text.spend_caps and self.zone is None:
            self._refuse_without_zone(("spend_caps",))
        caps = spend_caps(self.text, self.numbering, self.zone, self.fault)
        priced = {draft.service for draft in drafts}
        for cap, place in caps:
            if cap.service not in priced:
                self.fault(("spend_caps", place, "service"), f"nothing here prices {cap.service}; strike it")
        numbers = {counter_id(MEMBER): MEMBER}
        counted = [(each, draft.path) for draft in drafts for each in draft.counters]
        counted += [(cap.counter, ("spend_caps", place)) for cap, place in caps]
        if len(counted) > COUNTERS_MAX:
            self.fault(
                ("rates",),
                f"{len(counted)} caps and tiers; at most {COUNTERS_MAX}, since an account keeps a counter for each",
            )
        for each, path in counted:
            other = numbers.setdefault(each.id, each.name)
            if other != each.name:
                self.fault(path, f"{each.name} and {other} have one number in the store; rename either")
        return tuple(cap for cap, _ in caps)

    def _unit(self, service: ServiceName, name: str | None, path: Path) -> Unit:
        allowed = SERVICE_UNITS[service]
        unit = allowed[0] if name is None else UNIT_NAMES[name]
        if unit not in allowed and unit is not Unit.MONEY:  # anything may be bought
            wanted = " or ".join(each.name.lower() for each in allowed)
            self.fault((*path, "unit"), f"{service} is measured in {wanted}, not in {name}")
        return unit

    def _prices(self, text: RateText, unit: Unit, path: Path) -> Iterator[_Price]:
        """Give the prices of a rate: one for all windows, or one for each."""
        fee_micros = micros(text.connect_fee)
        if text.windows is None:
            unpriced = _AS_SAID if unit is Unit.MONEY else _FREE
            steps = unpriced if text.steps is None else self._steps(text.steps, unit, (*path, "steps"))
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
                step(each.start, end, count(each.block, unit), micros(each.price), count(each.per, unit))
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
            priority=text.priority if isinstance(text, RateText) else 5,
            counters=draft.counters,
        )

    def _ladder(self, draft: _Draft, price: _Price, scale: int) -> Ladder:
        text = draft.text
        cap = text.cap_per_session if isinstance(text, RateText) else None
        return ladder(
            price.steps,
            fee_micros=price.fee_micros,
            quantum_micros=micros(text.round_to),
            rounding=ROUNDING_NAMES[text.rounding],
            scale=scale,
            minimum_micros=micros(text.minimum) if isinstance(text, RateText) else 0,
            cap_micros=micros(cap.amount) if cap is not None else 0,
            cap_mode=CAP_NAMES[cap.then] if cap is not None else CapMode.NONE,
        )


_FREE = [step(0, UNITS_MAX, 1, 0, 1)]
_AS_SAID = [step(0, UNITS_MAX, 1, 1, 1)]
"""The price of money: each micro-unit costs itself."""


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
        priority=0 if what == EMERGENCY else 5,
    )
