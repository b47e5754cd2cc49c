"""Tariffs: prices as text in YAML, read into ladders, with every error found at once.

Laws
1. A price is quoted decimal text, never a YAML number: a float would already have lost the cent.
2. Reading is pure: text in, Tariff or TariffError out. Files are opened by the roof.
3. All ladders of a tariff share one scale, so that a session's exact cost can pass from one to the next.
"""

from dataclasses import dataclass, field
from math import lcm
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ocs.money import AmountError, parse_amount
from ocs.rating.ladder import Ladder, LadderError, Rounding, Step, ladder, step
from ocs.units import UNITS_MAX, Unit

ServiceName = Literal["data", "voice", "sms", "mms"]

UNIT_NAMES = {"octets": Unit.OCTETS, "seconds": Unit.SECONDS, "events": Unit.EVENTS}
ROUNDING_NAMES = {"half-up": Rounding.HALF_UP, "up": Rounding.UP, "down": Rounding.DOWN}
SERVICE_UNITS = {
    "data": (Unit.OCTETS, Unit.SECONDS),
    "voice": (Unit.SECONDS,),
    "sms": (Unit.EVENTS,),
    "mms": (Unit.EVENTS, Unit.OCTETS),
}


class TariffError(ValueError):
    """A tariff that cannot be used; ``problems`` holds one line per fault: file:line: what, and what would be right."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ServiceTariff:
    """How one service is measured and priced."""

    unit: Unit
    ladder: Ladder


@dataclass(frozen=True, slots=True)
class Tariff:
    """One immutable version of a tariff; ``key`` ("flat-data@1") names it in sessions and records."""

    name: str
    version: int
    currency: str
    services: dict[str, ServiceTariff] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the name under which sessions and records keep this version."""
        return f"{self.name}@{self.version}"


class _StepText(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    start: int = Field(default=0, alias="from", ge=0, lt=UNITS_MAX)
    block: int = Field(ge=1, le=2**40)
    price: str
    per: int = Field(ge=1, le=2**40)

    @field_validator("price")
    @classmethod
    def _price(cls, text: str) -> str:
        _micros(text)
        return text


class _ServiceText(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    unit: Literal["octets", "seconds", "events"]
    connect_fee: str = "0.00"
    round_to: str = "0.000001"
    rounding: Literal["half-up", "up", "down"] = "half-up"
    steps: list[_StepText] = Field(min_length=1, max_length=64)

    @field_validator("connect_fee", "round_to")
    @classmethod
    def _amounts(cls, text: str) -> str:
        _micros(text)
        return text


class _TariffText(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tariff: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,47}$")
    version: int = Field(ge=1, le=999_999)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    description: str = ""
    services: dict[ServiceName, _ServiceText] = Field(min_length=1)


def _micros(text: str) -> int:
    try:
        micros = parse_amount(text)
    except AmountError as fault:
        raise ValueError(str(fault)) from fault
    if micros < 0:
        raise ValueError(f"{text} is negative; a price is zero or more")
    return micros


def read_tariff(text: str, source: str) -> Tariff:
    """Read one tariff from YAML text; ``source`` is the file's name for messages.

    Raises TariffError with all faults found, each with file and line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise TariffError([f"{source}:{line}: not YAML: {getattr(fault, 'problem', fault)}"]) from fault
    try:
        parsed = _TariffText.model_validate(content)
    except ValidationError as fault:
        raise TariffError([_problem(source, root, error) for error in fault.errors()]) from fault
    return _build(parsed, source, root)


def _build(parsed: _TariffText, source: str, root: Any) -> Tariff:
    problems: list[str] = []
    scale = 1
    stepped: dict[ServiceName, list[Step]] = {}
    for name, service in parsed.services.items():
        allowed = SERVICE_UNITS[name]
        if UNIT_NAMES[service.unit] not in allowed:
            wanted = " or ".join(each.name.lower() for each in allowed)
            problems.append(
                _at(
                    source,
                    root,
                    ("services", name, "unit"),
                    f"{name} is measured in {wanted}, not in {service.unit}",
                )
            )
        try:
            stepped[name] = _steps(service)
            scale = lcm(scale, *(each.per_units for each in stepped[name]))
        except LadderError as fault:
            problems.append(_at(source, root, ("services", name, "steps"), str(fault)))
    services: dict[str, ServiceTariff] = {}
    for key, steps in stepped.items():
        service = parsed.services[key]
        try:
            built = ladder(
                steps,
                fee_micros=_micros(service.connect_fee),
                quantum_micros=_micros(service.round_to),
                rounding=ROUNDING_NAMES[service.rounding],
                scale=scale,
            )
        except LadderError as fault:
            problems.append(_at(source, root, ("services", key), str(fault)))
            continue
        services[key] = ServiceTariff(UNIT_NAMES[service.unit], built)
    if problems:
        raise TariffError(problems)
    return Tariff(parsed.tariff, parsed.version, parsed.currency, services)


def _steps(service: _ServiceText) -> list[Step]:
    ends = [following.start for following in service.steps[1:]] + [UNITS_MAX]
    return [
        step(each.start, end, each.block, _micros(each.price), each.per)
        for each, end in zip(service.steps, ends, strict=True)
    ]


def _problem(source: str, root: Any, error: Any) -> str:
    path = tuple(error["loc"])
    return _at(source, root, path, f"{'.'.join(map(str, path)) or 'tariff'}: {error['msg']}")


def _at(source: str, root: Any, path: tuple[Any, ...], message: str) -> str:
    """Put file and line before a message: the line of the deepest node that exists on the path."""
    node = root
    line = node.start_mark.line + 1 if node is not None else 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = [(node.value[part], node.value[part])]
        else:
            break
        if not found:
            break
        line = found[0][0].start_mark.line + 1
        node = found[0][1]
    return f"{source}:{line}: {message}"
