"""Zones: where a number lies, by its longest prefix, and where a subscriber roams, by the network visited; pure.

Laws
1. The longest prefix decides. A prefix that no number can reach, because longer ones take all that follows it, is a fault:
   whoever wrote it expected another price.
2. A table is CSV with a header; further columns are for people. All faults are told at once, with file and line.
3. A number or network that the table does not know has no zone; that is never a cheap one.
"""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterator

from ocs.rating.document import DocumentFault

PREFIX_DIGITS_MAX = 15
"""ITU-T E.164: no number is longer, so no longer prefix can be reached."""
FAULTS_TOLD_MAX = 100
"""Faults of one table that are told; a table in a wrong form has one in every line."""


class PrefixTable:
    """Zones of E.164 numbers by longest prefix."""

    __slots__ = ("_lengths", "_zones")

    def __init__(self, zones: dict[str, str]) -> None:
        self._zones = zones
        self._lengths = tuple(sorted({len(prefix) for prefix in zones}, reverse=True))

    def __len__(self) -> int:
        """Return the number of prefixes."""
        return len(self._zones)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefixTable) and self._zones == other._zones

    def __hash__(self) -> int:
        return hash((len(self._zones), self._lengths))

    def zone_of(self, digits: str) -> str | None:
        """Return the zone of a number given as E.164 digits without plus."""
        get = self._zones.get
        for length in self._lengths:
            zone = get(digits[:length])
            if zone is not None:
                return zone
        return None


class NetworkTable:
    """Roaming zones of visited networks: by MCC and MNC, else by MCC (TS 23.003 clause 2.2)."""

    __slots__ = ("_zones",)

    def __init__(self, zones: dict[str, str]) -> None:
        self._zones = zones

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkTable) and self._zones == other._zones

    def __hash__(self) -> int:
        return hash(len(self._zones))

    def zone_of(self, mcc_mnc: str) -> str | None:
        """Return the zone of a network given as 5 or 6 digits; MNC 01 and 010 are two networks."""
        return self._zones.get(mcc_mnc) or self._zones.get(mcc_mnc[:3])


def read_prefixes(text: str, source: str, zones: Collection[str]) -> PrefixTable:
    """Read `prefix,zone,…`; raises DocumentFault with every fault: not digits, another zone, unknown, unreachable."""
    lines: dict[str, int] = {}
    problems: list[str] = []
    found = _read(text, source, "prefix", zones, _prefix_fault, (lines, problems))
    problems += [
        f"{source}:{lines[prefix]}: {prefix} is never reached: longer prefixes take every number behind it; remove it"
        for prefix in _unreachable(found)
    ]
    if problems:
        raise DocumentFault(problems[:FAULTS_TOLD_MAX])
    return PrefixTable(found)


def read_networks(text: str, source: str, zones: Collection[str]) -> NetworkTable:
    """Read `network,zone,…` with networks as MCC or MCC and MNC; raises DocumentFault with every fault."""
    problems: list[str] = []
    found = _read(text, source, "network", zones, _network_fault, ({}, problems))
    if problems:
        raise DocumentFault(problems[:FAULTS_TOLD_MAX])
    return NetworkTable(found)


def _read(
    text: str,
    source: str,
    column: str,
    zones: Collection[str],
    fault_of: Callable[[str], str | None],
    notes: tuple[dict[str, int], list[str]],
) -> dict[str, str]:
    """Read the first two columns of a table; ``notes`` takes the line of each key, and the faults."""
    lines, problems = notes
    names = {zone: zone for zone in zones}  # one text for each zone, however many prefixes it has
    found: dict[str, str] = {}
    for line, row in _rows(text, source, column, problems):
        if len(row) < 2:
            problems.append(f"{source}:{line}: {row[0]!r} has no zone; write {column},zone")
            continue
        key, zone = row[0].strip(), names.get(row[1].strip())
        fault = fault_of(key)
        if fault is not None:
            problems.append(f"{source}:{line}: {fault}")
        elif zone is None:
            known = ", ".join(sorted(names)) or "none"
            problems.append(f"{source}:{line}: {row[1].strip()!r} is no zone of this plan; zones are {known}")
        elif found.setdefault(key, zone) != zone:
            problems.append(
                f"{source}:{line}: {key} is in {found[key]} already (line {lines[key]}); it has one zone"
            )
        lines.setdefault(key, line)
    return found


def _rows(text: str, source: str, column: str, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Give (line, cells) below the header; empty lines and those that begin with # are passed over."""
    reader = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
    headed = False
    try:
        for row in reader:
            if not row or row[0].lstrip().startswith("#"):
                continue
            if headed:
                yield reader.line_num, row
            elif [cell.strip() for cell in row[:2]] != [column, "zone"]:
                problems.append(f"{source}:{reader.line_num}: no header; the first line is {column},zone")
                return
            headed = True
    except csv.Error as fault:
        problems.append(f"{source}:{reader.line_num}: not CSV: {fault}")
    if not headed and not problems:
        problems.append(f"{source}:1: empty; the first line is {column},zone")


def _prefix_fault(key: str) -> str | None:
    if not (key.isascii() and key.isdigit()):
        return f"{key!r} is no prefix; write digits with the country code, without plus"
    if key[0] == "0":
        return f"{key} begins with 0 and is never reached: no country code does; write it as 49…, not 0049… or 0…"
    if len(key) > PREFIX_DIGITS_MAX:
        return f"{key} is never reached: a number has at most {PREFIX_DIGITS_MAX} digits"
    return None


def _network_fault(key: str) -> str | None:
    if key.isascii() and key.isdigit() and len(key) in {3, 5, 6}:
        return None
    return f"{key!r} is no network; write an MCC of 3 digits, or MCC and MNC of 5 or 6"


def _unreachable(zones: dict[str, str]) -> list[str]:
    """Return the prefixes all of whose ten continuations are taken by longer ones, from long to short."""
    taken: Counter[str] = Counter()
    by_length: dict[int, set[str]] = {}
    for prefix in zones:
        by_length.setdefault(len(prefix), set()).add(prefix)
    found = []
    for length in range(max(by_length, default=0), 0, -1):
        level = by_length.get(length, set())
        full = {prefix for prefix, count in taken.items() if count == 10}
        found += sorted(full & level)
        taken = Counter(prefix[:-1] for prefix in full | level)
    return found
