"""Lines of usage files, as USAGE_FILES.md has them: read and checked (pure).

Laws
1. A line is taken as it is written, or refused with a reason; nothing is mended, guessed or cut.
2. Amounts are decimal text, instants have their offset from UTC. Less than nothing is a refund, which names the line that it takes back.
"""

import csv
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ocs.money import AmountError, parse_amount
from ocs.names import e164
from ocs.units import UNITS_MAX, Unit
from postpaid_bridge.usage import LINE_MICROS_MAX, Class, Line, Why

__all__ = [
    "COLUMNS",
    "CSV",
    "JSON",
    "FileFault",
    "FileLine",
    "Head",
    "LineFault",
    "read_end",
    "read_head",
    "read_line",
]

VERSION = 1
CSV, JSON = "csv", "json"
COLUMNS = (
    "id", "number", "class", "at", "units", "unit", "amount", "currency", "counterpart", "zone", "text", "reference",
)  # fmt: skip
"""Columns of CSV, in this order; names of JSON, of which the last four may be missing."""
NEEDED = frozenset(COLUMNS[:8])
LINE_OCTETS_MAX = 16_384
AGE_DAYS_MAX = 400
"""Usage that is older is no usage, but a wrong date."""
AHEAD_MS_MAX = 86_400_000
_DAY_MS = 86_400_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_ID = re.compile(r"[\x21-\x7e]{1,64}")
_UNITS = {"octets": Unit.OCTETS, "seconds": Unit.SECONDS, "events": Unit.EVENTS}
_WIDTHS = {"counterpart": 32, "zone": 64, "text": 200, "reference": 64}


class FileFault(ValueError):
    """A file that is not taken at all; the message says why."""


class LineFault(ValueError):
    """A line that is not taken: why, and what is wrong with it."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class Head(NamedTuple):
    """What a file says of itself: form, whose it is, and how many of its first lines are no usage."""

    form: str
    source: str
    lines: int


class FileLine(NamedTuple):
    """A line of a file before it is known whose it is."""

    line: Line
    number: str
    currency: str
    reference: str


def read_head(first: str, second: str) -> Head:
    """Read the first lines of a file; raises FileFault."""
    if first.startswith("{"):
        told = _json(first, "line 1")
        if set(told) != {"usage", "source"}:
            raise FileFault('line 1: write {"usage": 1, "source": "NAME"}')
        return Head(JSON, _source(told["usage"], told["source"]), 1)
    fields = _csv(first)
    if len(fields) != 3 or fields[0] != "usage":
        raise FileFault("line 1: no usage file: write usage,1,SOURCE (CSV) or an object (JSON lines)")
    if tuple(_csv(second)) != COLUMNS:
        raise FileFault(f"line 2: the columns are {','.join(COLUMNS)}")
    return Head(CSV, _source(fields[1], fields[2]), 2)


def _source(version: Any, source: Any) -> str:
    if str(version) != str(VERSION):
        raise FileFault(f"line 1: version {version!r}; this reader knows {VERSION}")
    if not isinstance(source, str) or not _NAME.fullmatch(source):
        raise FileFault("line 1: a source has 1 to 32 letters, digits, dots, hyphens and underscores")
    return source


def read_end(form: str, text: str) -> int:
    """Return how many usage lines a file's last line says that there are; raises FileFault where it is none: the file is cut off."""
    count: Any = None
    if form == JSON and text.startswith("{"):
        told = _json(text, "the last line")
        count = told["end"] if set(told) == {"end"} else None
    elif (
        form == CSV
        and len(fields := _csv(text)) == 2
        and fields[0] == "end"
        and re.fullmatch("[0-9]{1,9}", fields[1])
    ):
        count = int(fields[1])
    if type(count) is not int or count < 0:
        raise FileFault("the last line does not say how many there are (end,COUNT): the file is cut off")
    return count


def read_line(
    form: str, source: str, number: int, text: str, classes: Mapping[str, Class], now_ms: int
) -> FileLine:
    """Read a usage line, at its number in the file; raises LineFault."""
    if any(not (each.isprintable() or each == "\t") for each in text):
        raise LineFault(Why.BROKEN, "has characters that are no text (the file has to be UTF-8)")
    told = _fields(form, text)
    if not _ID.fullmatch(told["id"]):
        raise LineFault(Why.BROKEN, "id: 1 to 64 printable ASCII characters without blanks")
    known = e164(told["number"])
    if known is None:
        raise LineFault(Why.BROKEN, f"number: {told['number'][:32]!r} is no E.164 number")
    if told["class"] not in classes:
        raise LineFault(Why.CLASS, f"class: {told['class'][:32]!r} is none of {', '.join(sorted(classes))}")
    if told["unit"] not in _UNITS:
        raise LineFault(Why.BROKEN, f"unit: {told['unit'][:32]!r} is none of {', '.join(_UNITS)}")
    if not re.fullmatch("[0-9]{1,16}", told["units"]) or int(told["units"]) > UNITS_MAX:
        raise LineFault(Why.BROKEN, f"units: {told['units'][:32]!r} is no whole number up to {UNITS_MAX}")
    for name, width in _WIDTHS.items():
        if len(told[name]) > width:
            raise LineFault(Why.BROKEN, f"{name}: more than {width} characters")
    if not re.fullmatch("[A-Z]{3}", told["currency"]):
        raise LineFault(Why.CURRENCY, f"currency: {told['currency'][:32]!r} is no code of ISO 4217")
    at_ms, units, unit = _instant(told["at"], now_ms), int(told["units"]), _UNITS[told["unit"]]
    amount_micros = _amount(told["amount"], told["reference"])
    seconds = units if unit is Unit.SECONDS and amount_micros >= 0 else 0
    line = Line(
        f"file.{source}.{told['id']}", str(number), told["id"], 0, "", "", "", at_ms, at_ms + seconds * 1000, told["class"], unit,
        -units if amount_micros < 0 else units, 0, amount_micros, amount_micros, zone=told["zone"], counterpart=told["counterpart"],
        text=told["text"],
    )  # fmt: skip
    return FileLine(line, known.value, told["currency"], told["reference"])


def _fields(form: str, text: str) -> dict[str, str]:
    try:
        if form == CSV:
            fields = _csv(text)
            if len(fields) != len(COLUMNS):
                raise LineFault(Why.BROKEN, f"{len(fields)} columns where {len(COLUMNS)} are wanted")
            return dict(zip(COLUMNS, fields, strict=True))
        told = _json(text, "the line")
    except FileFault as fault:
        raise LineFault(Why.BROKEN, str(fault)) from None
    wrong = sorted(set(told) - set(COLUMNS)) or sorted(NEEDED - set(told))
    if wrong:
        raise LineFault(Why.BROKEN, f"{wrong[0][:32]!r} is missing, or not of the schema")
    if type(told["units"]) is int:
        told["units"] = str(told["units"])
    if any(not isinstance(value, str) for value in told.values()):
        raise LineFault(Why.BROKEN, "a value that is no text (amounts are text: no number of JSON is exact)")
    return dict.fromkeys(COLUMNS, "") | told


def _instant(text: str, now_ms: int) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise LineFault(Why.DATE, f"at: {text[:40]!r} is no instant of ISO 8601") from None
    if at.tzinfo is None:
        raise LineFault(Why.DATE, f"at: {text[:40]!r} does not say its offset from UTC")
    at_ms = round(at.timestamp() * 1000)
    if not now_ms - AGE_DAYS_MAX * _DAY_MS <= at_ms <= now_ms + AHEAD_MS_MAX:
        raise LineFault(
            Why.DATE, f"at: {text[:40]!r} is more than {AGE_DAYS_MAX} days ago, or is yet to come"
        )
    return at_ms


def _amount(text: str, reference: str) -> int:
    try:
        amount_micros = parse_amount(text)
    except AmountError as fault:
        raise LineFault(Why.AMOUNT, f"amount: {fault}") from None
    if abs(amount_micros) > LINE_MICROS_MAX:
        raise LineFault(Why.AMOUNT, f"amount: {text[:32]!r} is for a human to look at")
    if amount_micros < 0 and not reference:
        raise LineFault(
            Why.REFERENCE, "amount: less than nothing is a refund, and names the line that it takes back"
        )
    if amount_micros >= 0 and reference:
        raise LineFault(Why.REFERENCE, "reference: a line that takes nothing back has none")
    return amount_micros


def _csv(text: str) -> list[str]:
    try:
        found = list(csv.reader([text], strict=True))
    except csv.Error as fault:
        raise FileFault(f"no line of CSV: {fault}") from None
    return found[0] if found else []


def _json(text: str, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name stands there twice")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise FileFault(f"{where}: no object of JSON: {fault}") from None
    if not isinstance(found, dict):
        raise FileFault(f"{where}: no object of JSON")
    return found
