"""Time windows: which window of a tariff an instant belongs to, exact across daylight-saving changes; pure.

Laws
1. An instant belongs to the window of its wall-clock time in the calendar's zone. A span is half-open, [from, to): the
   instant of an edge belongs to what comes after it. An hour that the clock skips is in no window, one that it repeats
   is in its window twice.
2. A date is of one kind: its weekday, or `holiday`. On a public holiday the spans of its weekday do not hold. A span that
   passes midnight belongs to the date on which it begins.
3. At every moment of every kind of date exactly one window holds; what no span covers is the default's. Two spans of
   different windows never overlap, and there is no gap without a default: all faults are told at once.
4. An instant is milliseconds since 1970 (UTC), from 0 to AT_MS_MAX.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ocs.limits import CALENDAR_DAYS_KEPT_MAX
from ocs.rating.periods import zone_of

DAY_S = 86_400
DAY_MS = DAY_S * 1000
AT_MS_MAX = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1000
"""First instant that is not priced: beyond it neither zones nor holidays are known."""
EDGE_DAYS_MAX = 400
"""How far ahead an edge is looked for: a year, so that windows that only holidays part are found too."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"
KINDS = (*WEEKDAYS, HOLIDAY)
_HOLIDAY = len(WEEKDAYS)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


class WindowFault(ValueError):
    """Windows that cannot be used; ``problems`` holds every fault: where it is (keys below the calendar), and what."""

    def __init__(self, problems: list[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


class Span(NamedTuple):
    """A daily stretch of a window as written: kinds of date ("mon" … "sun", "holiday"), and "HH:MM" or "HH:MM:SS"."""

    days: Collection[str]
    start: str
    end: str


class _Part(NamedTuple):
    """Seconds of a date's wall clock that belong to a window; beyond DAY_S they are the next date's."""

    start_s: int
    end_s: int
    window: int


class _Day(NamedTuple):
    """The windows of one day of 86,400 s since 1970, by their first instants; the first is the day's own."""

    starts_ms: tuple[int, ...]
    windows: tuple[int, ...]


class Calendar:
    """Answers which window holds at an instant, and when the next one begins; ``names`` are the windows by index."""

    __slots__ = ("_days", "_default", "_edges", "_holidays", "_parts", "_zone", "names")

    def __init__(
        self,
        names: Sequence[str],
        zone: ZoneInfo,
        parts: Sequence[Sequence[_Part]],
        holidays: Container[date],
        default: int,
    ) -> None:
        self.names = tuple(names)
        self._zone = zone
        self._parts = parts
        self._holidays = holidays
        self._default = default
        self._days: dict[int, _Day] = {}
        self._edges: dict[int, int | None] = {}

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone whose wall clock decides."""
        return self._zone

    def window_at(self, at_ms: int) -> int:
        """Return the index of the window that holds at an instant."""
        day = self._days.get(at_ms // DAY_MS) or self._day(at_ms // DAY_MS)
        return day.windows[bisect_right(day.starts_ms, at_ms) - 1]

    def next_edge_ms(self, at_ms: int) -> int | None:
        """Return the first instant after this one at which another window begins; None when there is none within a year."""
        number = at_ms // DAY_MS
        day = self._days.get(number) or self._day(number)
        place = bisect_right(day.starts_ms, at_ms)
        return day.starts_ms[place] if place < len(day.starts_ms) else self._edge_after(number)

    def split(self, start_ms: int, end_ms: int) -> list[tuple[int, int, int]]:
        """Cut [start, end) at every edge: (window, start_ms, end_ms) in order; nothing for an empty stretch."""
        if start_ms > end_ms:
            raise ValueError(f"a stretch from {start_ms} to {end_ms} ends before it begins")
        pieces = []
        while start_ms < end_ms:
            edge_ms = self.next_edge_ms(start_ms)
            until_ms = end_ms if edge_ms is None else min(edge_ms, end_ms)
            pieces.append((self.window_at(start_ms), start_ms, until_ms))
            start_ms = until_ms
        return pieces

    def _edge_after(self, number: int) -> int | None:
        """Return the first edge on a day after the one of this number; found once and kept."""
        if number in self._edges:
            return self._edges[number]
        found = None
        window = self._day(number).windows[-1]
        for following in range(number + 1, min(number + 1 + EDGE_DAYS_MAX, AT_MS_MAX // DAY_MS)):
            if len(self.names) == 1:
                break
            day = self._day(following)
            if day.windows[0] != window or len(day.windows) > 1:
                found = day.starts_ms[0 if day.windows[0] != window else 1]
                break
        if len(self._edges) >= CALENDAR_DAYS_KEPT_MAX:
            self._edges.clear()
        self._edges[number] = found
        return found

    def _day(self, number: int) -> _Day:
        """Return the windows of a day since 1970; computed once and kept."""
        known = self._days.get(number)
        if known is not None:
            return known
        if not 0 <= number < AT_MS_MAX // DAY_MS:
            raise ValueError(f"day {number} since 1970 lies outside the years 1970 to 2099")
        starts: list[int] = []
        windows: list[int] = []
        for start_s, window in self._starts(number * DAY_S, (number + 1) * DAY_S):
            if not windows or windows[-1] != window:
                starts.append(start_s * 1000)
                windows.append(window)
        if len(self._days) >= CALENDAR_DAYS_KEPT_MAX:
            self._days.clear()
        made = self._days[number] = _Day(tuple(starts), tuple(windows))
        return made

    def _starts(self, start_s: int, end_s: int) -> Iterator[tuple[int, int]]:
        """Give (instant, window) for all windows of [start, end), stretch by stretch of one distance from UTC."""
        for stretch_s, until_s, offset_s in self._stretches(start_s, end_s):
            at_s = stretch_s
            while at_s < until_s:
                number, second = divmod(at_s + offset_s, DAY_S)
                window, change_s = self._wall(number, second)
                yield at_s, window
                at_s += change_s - second

    def _stretches(self, start_s: int, end_s: int) -> list[tuple[int, int, int]]:
        """Cut [start, end) where the wall clock is put forward or back: (start, end, distance from UTC) in seconds.

        The zone tells distances, not their changes: an hour with two of them is halved until the change is found.
        """
        found: list[tuple[int, int, int]] = []
        at_s, offset_s = start_s, self._offset_s(start_s)
        for probe_s in range(start_s + 3600, end_s + 1, 3600):
            if self._offset_s(probe_s) == offset_s:
                continue
            low, high = probe_s - 3600, probe_s
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._offset_s(middle) == offset_s else (low, middle)
            if high >= end_s:
                break
            found.append((at_s, high, offset_s))
            at_s, offset_s = high, self._offset_s(high)
        return [*found, (at_s, end_s, offset_s)]

    def _offset_s(self, at_s: int) -> int:
        offset = datetime.fromtimestamp(at_s, self._zone).utcoffset()
        assert offset is not None
        return offset.days * DAY_S + offset.seconds

    def _wall(self, number: int, second: int) -> tuple[int, int]:
        """Return the window at a second of a date's wall clock, and the second at which that may change."""
        parts = self._parts
        today = parts[self._kind(number)]
        before = parts[self._kind(number - 1)]
        change_s = DAY_S
        for start_s, end_s, window in (*today, *[_shifted(each) for each in before if each.end_s > DAY_S]):
            if start_s <= second < end_s:
                return window, min(end_s, DAY_S)
            if second < start_s < change_s:
                change_s = start_s
        return self._default, change_s

    def _kind(self, number: int) -> int:
        """Return the kind of the date that lies so many days after 1970-01-01, a Thursday."""
        if date(1970, 1, 1) + timedelta(number) in self._holidays:
            return _HOLIDAY
        return (number + 3) % 7


def _shifted(part: _Part) -> _Part:
    """Return what a part that passes midnight covers of the next date."""
    return _Part(max(part.start_s - DAY_S, 0), part.end_s - DAY_S, part.window)


def calendar(
    windows: Mapping[str, Sequence[Span]],
    *,
    zone: str,
    default: str | None = None,
    country: str | None = None,
    subdivision: str | None = None,
) -> Calendar:
    """Build a Calendar; ``default`` names the window of what no span covers (it may be one of ``windows``, or new).

    Raises WindowFault with every fault: unknown zone, country, subdivision or day, a time that is none, windows that
    overlap, moments without a window.
    """
    problems: list[tuple[tuple[str | int, ...], str]] = []
    names = [*windows, *([default] if default is not None and default not in windows else [])]
    found_zone = _zone(zone, problems)
    holidays = _holidays(country, subdivision, problems)
    parts: list[list[_Part]] = [[] for _ in KINDS]
    for index, (name, spans) in enumerate(windows.items()):
        for number, span in enumerate(spans):
            where: tuple[str | int, ...] = ("windows", name, number)
            try:
                start_s, end_s = _seconds(span)
            except ValueError as fault:
                problems.append((where, f"{name}: {fault}"))
                continue
            for day in dict.fromkeys(span.days):
                if day not in KINDS:
                    known = ", ".join(KINDS)
                    problems.append((where, f"{name}: {day!r} is no day; days are {known}"))
                elif day == HOLIDAY and country is None:
                    problems.append((where, f"{name}: holidays of which country? name it beside the windows"))
                else:
                    parts[KINDS.index(day)].append(_Part(start_s, end_s, index))
    if not names:
        problems.append((("windows",), "no window; name one, or a default"))
    if not problems:
        problems += _misfits(names, parts, holidays=country is not None, gaps=default is None)
    if problems:
        raise WindowFault(problems)
    assert found_zone is not None
    return Calendar(names, found_zone, parts, holidays, names.index(default) if default is not None else 0)


def _zone(zone: str, problems: list[tuple[tuple[str | int, ...], str]]) -> ZoneInfo | None:
    try:
        return zone_of(zone)
    except ValueError as fault:
        problems.append((("zone",), str(fault)))
        return None


def _holidays(
    country: str | None, subdivision: str | None, problems: list[tuple[tuple[str | int, ...], str]]
) -> Container[date]:
    """Return the public holidays of a country (ISO 3166-1) and subdivision, none without a country."""
    if country is None:
        if subdivision is not None:
            problems.append((("holidays",), f"subdivision {subdivision!r} of which country?"))
        return frozenset[date]()
    # loaded here, not above: it brings every country's rules, and most tariffs ask for none
    from holidays import country_holidays, list_supported_countries  # noqa: PLC0415

    known = list_supported_countries()
    if country not in known:
        problems.append(
            (("holidays",), f"{country!r} is no country whose holidays are known; write DE or FR")
        )
        return frozenset[date]()
    if subdivision is not None and subdivision not in known[country]:
        right = ", ".join(known[country]) or "none"
        problems.append((("holidays",), f"{subdivision!r} is no part of {country}; its parts are {right}"))
        return frozenset[date]()
    return country_holidays(country, subdiv=subdivision)


def _seconds(span: Span) -> tuple[int, int]:
    """Return the first second of a span and the one after its last, counted from its date's midnight."""
    if not span.days:
        raise ValueError(f"no days; write some of {', '.join(KINDS)}")
    start_s, end_s = _second(span.start), DAY_S if span.end == "24:00" else _second(span.end)
    if start_s == end_s:
        raise ValueError(f"from {span.start} to {span.end} is empty; a whole day is 00:00 to 24:00")
    return start_s, end_s if start_s < end_s else end_s + DAY_S


def _second(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no time of day; write 00:00 to 23:59, seconds if needed, 24:00 as an end"
        )
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _misfits(
    names: Sequence[str], parts: Sequence[Sequence[_Part]], *, holidays: bool, gaps: bool
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return where windows overlap, or leave gaps, on any date that can follow any other; each told once."""
    found: dict[tuple[str, str], list[str]] = {}
    told: list[tuple[tuple[str | int, ...], str]] = []
    kinds = range(len(KINDS) if holidays else _HOLIDAY)
    for today in kinds:
        before = [(today - 1) % 7] if today != _HOLIDAY else list(range(_HOLIDAY))
        before += [_HOLIDAY] if holidays else []
        found.clear()
        for yesterday in before:
            spilled = [_shifted(each) for each in parts[yesterday] if each.end_s > DAY_S]
            for clash in _clashes(names, sorted([*parts[today], *spilled]), gaps=gaps):
                found.setdefault(clash, []).append(KINDS[yesterday])
        for (text, name), after in found.items():
            rare = f" when {' or '.join(after)} comes before" if len(after) < len(before) else ""
            told.append((("windows", name) if name else ("windows",), f"{KINDS[today]} {text}{rare}"))
    return told


def _clashes(names: Sequence[str], parts: Sequence[_Part], *, gaps: bool) -> Iterator[tuple[str, str]]:
    """Give what is wrong on one date whose parts are sorted: (what, the window to look at)."""
    covered_s, holder = 0, -1
    for start_s, end_s, window in parts:
        if start_s > covered_s and gaps:
            yield f"{_clock(covered_s)} to {_clock(start_s)} is in no window; cover it or name a default", ""
        if start_s < covered_s and window != holder:
            until_s = min(covered_s, end_s, DAY_S)
            yield (
                f"{_clock(start_s)} to {_clock(until_s)} is in {names[holder]} and in {names[window]}; leave one",
                names[window],
            )
        if end_s > covered_s:
            covered_s, holder = min(end_s, DAY_S), window
    if covered_s < DAY_S and gaps:
        yield f"{_clock(covered_s)} to 24:00 is in no window; cover it or name a default", ""


def _clock(second: int) -> str:
    hours, rest = divmod(second, 3600)
    return f"{hours:02d}:{rest // 60:02d}" + (f":{rest % 60:02d}" if rest % 60 else "")
