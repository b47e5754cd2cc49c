"""A numbering plan: the home country's way of dialling, its zones, and the tables of prefixes and networks; pure.

Laws
1. A plan names its zones; tables and tariffs use no others.
2. `emergency` is a zone of its own that no table holds: its calls are free and never refused.
3. Reading takes the texts of all files: the roof opens them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ocs.rating.document import Document, DocumentFault, document
from ocs.rating.numbers import Home, Party, called
from ocs.rating.zones import NetworkTable, PrefixTable, read_networks, read_prefixes

EMERGENCY = "emergency"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
_Digits = Annotated[str, Field(pattern=r"^[0-9]{1,8}$")]
_MaybeDigits = Annotated[str, Field(pattern=r"^[0-9]{0,8}$")]


class Destination(NamedTuple):
    """A called number and where it lies; ``zone`` is None when the plan does not know it."""

    party: Party
    digits: str
    zone: str | None


@dataclass(frozen=True, slots=True)
class Numbering:
    """One numbering plan, as tariffs refer to it by name; calls to the zones of ``help_lines`` pass a creditor's bar."""

    name: str
    home: Home
    zones: frozenset[str]
    roaming_zones: frozenset[str]
    short_codes: Mapping[str, str]
    prefixes: PrefixTable
    networks: NetworkTable
    help_lines: frozenset[str] = frozenset()

    def destination(self, text: str) -> Destination:
        """Tell where a called number lies, however the network writes it."""
        party, digits = called(text, self.home)
        if party == Party.EMERGENCY:
            return Destination(party, digits, EMERGENCY)
        if party == Party.SHORT:
            return Destination(party, digits, self.short_codes[digits])
        return Destination(party, digits, self.prefixes.zone_of(digits) if digits else None)

    def roaming_zone(self, mcc_mnc: str) -> str | None:
        """Tell the roaming zone of a visited network, 5 or 6 digits."""
        return self.networks.zone_of(mcc_mnc)


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    numbering: Name
    description: str = ""
    country_code: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")]
    trunk_prefix: _MaybeDigits = ""
    international_prefix: _MaybeDigits = "00"
    bare_numbers: Literal["national", "international"] = "international"
    zones: list[Name] = Field(min_length=1, max_length=4_096)
    prefixes: str
    short_codes: dict[_Digits, Name] = Field(default_factory=dict)
    emergency: list[_Digits] = Field(default_factory=lambda: ["112"])
    help_lines: list[Name] = Field(default_factory=list)
    roaming_zones: list[Name] = Field(default_factory=list)
    networks: str | None = None


def read_numbering(text: str, source: str, tables: Mapping[str, str]) -> Numbering:
    """Read a plan from YAML; ``tables`` holds the text of each CSV file by its name (and path for messages as given).

    Raises DocumentFault with all faults of the plan and of its tables, each with file and line.
    """
    page = document(text, source)
    plan = page.shaped(_Plan)
    problems = _faults(page, plan)
    prefixes, networks = PrefixTable({}), NetworkTable({})
    try:
        prefixes = read_prefixes(_table(page, tables, "prefixes", plan.prefixes), plan.prefixes, plan.zones)
    except DocumentFault as fault:
        problems += fault.problems
    if plan.networks is not None:
        try:
            text = _table(page, tables, "networks", plan.networks)
            networks = read_networks(text, plan.networks, plan.roaming_zones)
        except DocumentFault as fault:
            problems += fault.problems
    if problems:
        raise DocumentFault(problems)
    home = Home(
        plan.country_code,
        plan.trunk_prefix,
        plan.international_prefix,
        plan.bare_numbers == "national",
        frozenset(plan.short_codes),
        frozenset(plan.emergency),
    )
    zones, roaming_zones = frozenset(plan.zones), frozenset(plan.roaming_zones)
    return Numbering(
        plan.numbering, home, zones, roaming_zones, plan.short_codes, prefixes, networks, frozenset(plan.help_lines)
    )  # fmt: skip


def tables_of(content: Mapping[str, object]) -> list[str]:
    """Return the names of the tables that a plan's content names."""
    return [name for key in ("prefixes", "networks") if isinstance(name := content.get(key), str)]


def _table(page: Document, tables: Mapping[str, str], key: str, name: str) -> str:
    if name not in tables:
        known = ", ".join(sorted(tables)) or "none"
        raise DocumentFault([page.at((key,), f"no file {name!r} beside the plan; there are {known}")])
    return tables[name]


def _faults(page: Document, plan: _Plan) -> list[str]:
    """Return what is wrong with a plan besides its tables."""
    found = []
    for key, zones in (("zones", plan.zones), ("roaming_zones", plan.roaming_zones)):
        found += [
            page.at((key, place), f"zone {zone} stands twice; leave one")
            for place, zone in enumerate(zones)
            if zone in zones[:place]
        ]
    if EMERGENCY in plan.zones:
        found.append(page.at(("zones",), f"{EMERGENCY} is the zone of emergency calls already; strike it"))
    for code, zone in plan.short_codes.items():
        if code in plan.emergency:
            found.append(
                page.at(("short_codes", code), f"{code} is an emergency number, which is free; leave one")
            )
        if zone not in plan.zones:
            known = ", ".join(sorted(plan.zones))
            found.append(
                page.at(("short_codes", code), f"{zone!r} is no zone of this plan; zones are {known}")
            )
    for place, zone in enumerate(plan.help_lines):
        if zone not in plan.zones:
            known = ", ".join(sorted(plan.zones))
            found.append(
                page.at(("help_lines", place), f"{zone!r} is no zone of this plan; zones are {known}")
            )
    if plan.trunk_prefix and plan.trunk_prefix == plan.international_prefix:
        found.append(
            page.at(("trunk_prefix",), "the trunk prefix and the international prefix are one; change either")
        )
    if plan.networks is None and plan.roaming_zones:
        found.append(page.at(("roaming_zones",), "zones without networks; name the file of networks"))
    return found
