"""The shape of a tariff's YAML: every key that may stand in it, before anything is computed.

Laws
1. A price is quoted decimal text, never a YAML number: a float would already have lost the cent.
2. A key that is not known is a fault, and so is a value of another type: nothing is guessed.
"""

from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, model_validator

from ocs.money import AmountError, parse_amount
from ocs.rating.numbering import Name
from ocs.rating.rates import ACCESSES
from ocs.rating.windows import AT_MS_MAX
from ocs.units import UNITS_MAX, Unit

ServiceName = Literal["data", "voice", "sms", "mms"]
UnitName = Literal["octets", "seconds", "events"]
RateUnitName = Literal[UnitName, "money"]
PeriodName = Literal["month", "day"]
PartyName = Literal["national", "international", "short", "unknown"]

SERVICE_UNITS: dict[str, tuple[Unit, ...]] = {
    "data": (Unit.OCTETS, Unit.SECONDS),
    "voice": (Unit.SECONDS,),
    "sms": (Unit.EVENTS,),
    "mms": (Unit.EVENTS, Unit.OCTETS),
}
"""Units of each service; the first is the one of a rate that names none."""
QUANTITY_MAX = 2**40
DAYS_MAX = 3_660
"""Ten years: whoever writes more days meant another number."""
WORDS = {
    "second": (Unit.SECONDS, 1),
    "minute": (Unit.SECONDS, 60),
    "hour": (Unit.SECONDS, 3_600),
    "octet": (Unit.OCTETS, 1),
    "kB": (Unit.OCTETS, 1_000),
    "MB": (Unit.OCTETS, 1_000_000),
    "GB": (Unit.OCTETS, 1_000_000_000),
    "KiB": (Unit.OCTETS, 2**10),
    "MiB": (Unit.OCTETS, 2**20),
    "GiB": (Unit.OCTETS, 2**30),
    "event": (Unit.EVENTS, 1),
}
"""Quantities that may be written as a word: `per: minute`, `block: MiB`."""


class Quantity(NamedTuple):
    """So many units; ``unit`` is what the word meant, None for a bare number."""

    units: int
    unit: Unit | None


def _quantity(value: object) -> Quantity:
    if isinstance(value, str) and value in WORDS:
        unit, units = WORDS[value]
        return Quantity(units, unit)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= QUANTITY_MAX:
        return Quantity(value, None)
    raise ValueError(
        f"{value!r} is no quantity; write a whole number greater than or equal to 1 and at most {QUANTITY_MAX}, "
        f"or {', '.join(WORDS)}"
    )


def count(quantity: Quantity, unit: Unit) -> int:
    """Return a quantity in a service's unit; ValueError for a word of another unit."""
    if quantity.unit is not None and quantity.unit != unit:
        raise ValueError(f"a quantity of {quantity.unit.name.lower()} in a price per {unit.name.lower()}")
    return quantity.units


def micros(text: str) -> int:
    """Read a price in micro-units; ValueError when it is no amount or negative."""
    try:
        found = parse_amount(text)
    except AmountError as fault:
        raise ValueError(str(fault)) from fault
    if found < 0:
        raise ValueError(f"{text} is negative; a price is zero or more")
    return found


def instant_ms(value: object) -> int:
    """Read an instant in milliseconds since 1970; one without its distance from UTC would be another one elsewhere."""
    wanted = "write it with its distance from UTC, such as 2026-12-01T00:00:00+01:00"
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as fault:
        raise ValueError(f"{value!r} is no instant; {wanted}") from fault
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValueError(f"{str(value)!r} is no instant; {wanted}")
    at_ms = int(found.timestamp() * 1000)
    if not 0 <= at_ms < AT_MS_MAX:
        raise ValueError(f"{str(value)!r} lies outside the years 1970 to 2099")
    return at_ms


def _price(text: str) -> str:
    micros(text)
    return text


def _percent(text: str) -> str:
    if micros(text) > micros("100"):
        raise ValueError(f"{text} per cent is above 100")
    return text


Price = Annotated[str, AfterValidator(_price)]
Percent = Annotated[str, AfterValidator(_percent)]
Count = Annotated[Quantity, PlainValidator(_quantity)]
Number = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Days = Annotated[int, Field(ge=1, le=DAYS_MAX)]
InstantMs = Annotated[int, PlainValidator(instant_ms)]


class Section(BaseModel):
    """What every part keeps: no unknown key, no other type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StepText(Section):
    """A price of the blocks that begin at or after ``from``, up to the next step's."""

    start: int = Field(default=0, alias="from", ge=0, lt=UNITS_MAX)
    block: Count
    price: Price
    per: Count


Steps = Annotated[list[StepText], Field(min_length=1, max_length=64)]


class RoundedText(Section):
    """How a session's cost is rounded, once."""

    round_to: Price = "0.000001"
    rounding: Literal["half-up", "up", "down"] = "half-up"


class ServiceText(RoundedText):
    """The short form: one price of a service for everything that no rate before it takes."""

    unit: UnitName
    connect_fee: Price = "0.00"
    steps: Steps


class WindowPriceText(Section):
    """The price of a rate in one window."""

    connect_fee: Price | None = None
    steps: Steps | None = None
    free: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if (self.steps is None) == (self.free is None):
            raise ValueError("write either steps or free: true")
        return self


class CapText(Section):
    """The most that a session costs, and what happens when it is reached."""

    amount: Price
    then: Literal["free", "disconnect"]


class DayCapText(CapText):
    """The most that a day costs: all members of an account together, or each of them."""

    each_member: bool = False


class ConditionsText(Section):
    """What a rate, a spend cap or a product's use applies to; what is left out is taken as it comes."""

    zones: list[str] | None = Field(default=None, min_length=1)
    roaming: list[str] | None = Field(default=None, min_length=1)
    rating_groups: list[Number] | None = Field(default=None, min_length=1)
    service_identifiers: list[Number] | None = Field(default=None, min_length=1)
    access: list[Literal[ACCESSES]] | None = Field(default=None, min_length=1)  # type: ignore[valid-type]
    apns: list[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,100}$")]] | None = Field(
        default=None, min_length=1
    )
    called_parties: list[PartyName] | None = Field(default=None, min_length=1)
    directions: list[Literal["outgoing", "incoming"]] | None = Field(default=None, min_length=1)


class RateText(RoundedText, ConditionsText):
    """One rate: what it applies to, and its price."""

    name: Name
    service: ServiceName
    unit: RateUnitName | None = None
    description: str = ""
    priority: int = Field(default=5, ge=1, le=9)
    axis: Literal["session", "period"] = "session"
    period: PeriodName | None = None
    connect_fee: Price = "0.00"
    minimum: Price = "0.00"
    cap_per_session: CapText | None = None
    cap_per_day: DayCapText | None = None
    tax_class: Name = "standard"
    free: Literal[True] | None = None
    steps: Steps | None = None
    windows: dict[str, WindowPriceText] | None = None

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if self.unit == "money":
            return self._no_price()
        if [self.free, self.steps, self.windows].count(None) != 2:
            raise ValueError("write one of steps, windows or free: true")
        if self.free and (micros(self.connect_fee) or micros(self.minimum)):
            raise ValueError("what is free has no connect fee and no minimum; strike free, or them")
        if self.free and (self.cap_per_day or self.axis == "period"):
            raise ValueError("what is free has no cap and no tiers; strike free, or them")
        if self.axis == "period" and self.period is None:
            raise ValueError("tiers by the usage of which period? write period: month or period: day")
        if self.axis == "session" and self.period is not None:
            raise ValueError("a period belongs to axis: period; write that too, or strike it")
        return self

    def _no_price(self) -> Self:
        """Hold that what its client rates costs what the client says: no price, nothing that changes it, and caps only refuse."""
        if written := sorted(self.model_fields_set & _OF_A_PRICE):
            raise ValueError(f"unit: money costs what the client says; strike {', '.join(written)}")
        if any(cap is not None and cap.then == "free" for cap in (self.cap_per_session, self.cap_per_day)):
            raise ValueError(
                "unit: money costs what the client says, also beyond a cap; write then: disconnect"
            )
        return self


_OF_A_PRICE = {"free", "steps", "windows", "connect_fee", "minimum", "axis", "period", "round_to", "rounding"}
"""What a rate may say of its price; one in money says none of it."""


class SpendCapText(ConditionsText):
    """The most that is spent on part of a service in a period."""

    name: Name
    service: ServiceName
    amount: Price
    per: PeriodName
    then: Literal["free", "disconnect"]
    before_tax: bool = False
    each_member: bool = False
    notices: list[Annotated[int, Field(ge=1, le=1_000)]] = Field(default=[80, 100], max_length=8)


class TopUpDaysText(Section):
    """How many days a top-up of an amount or more makes a balance last."""

    start: Price = Field(alias="from")
    days: Days


class LifeText(Section):
    """How long a prepaid balance lasts."""

    first_use_days: int = Field(default=0, ge=0, le=DAYS_MAX)
    grace_days: int = Field(default=0, ge=0, le=DAYS_MAX)
    quarantine_days: int = Field(default=0, ge=0, le=DAYS_MAX)
    topups: list[TopUpDaysText] = Field(min_length=1, max_length=16)


class SpanText(Section):
    """A daily stretch of a window."""

    days: list[str]
    start: str = Field(alias="from")
    end: str = Field(alias="to")


class HolidaysText(Section):
    """Whose public holidays are days of their own: ISO 3166-1 and the library's subdivisions."""

    country: str
    subdivision: str | None = None


class CalendarText(Section):
    """Windows of a tariff, in one time zone."""

    zone: str
    holidays: HolidaysText | None = None
    default: Name | None = None
    windows: dict[Name, Annotated[list[SpanText], Field(min_length=1)]] = Field(default_factory=dict)


class TariffText(Section):
    """One version of a tariff; without ``effective`` it counts from always."""

    tariff: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,47}$")
    version: int = Field(ge=1, le=999_999)
    effective: InstantMs | None = None
    running_sessions: Literal["keep", "switch"] = "keep"
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    description: str = ""
    prices: Literal["gross", "net"] = "gross"
    numbering: Name | None = None
    calendar: CalendarText | None = None
    zone: str | None = None
    tax_percent: Percent | None = None
    life: LifeText | None = None
    spend_caps: list[SpendCapText] = Field(default_factory=list, max_length=12)
    rates: list[RateText] = Field(default_factory=list, max_length=512)
    services: dict[ServiceName, ServiceText] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.rates and not self.services:
            raise ValueError("prices nothing; write rates or services")
        return self
