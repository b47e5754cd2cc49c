"""Periods: the stretch of time that a counter counts in, and that a product's allowance lasts; exact in a time zone, pure.

Laws
1. A period is half-open, [start, end). Periods of one kind and anchor tile the time: no gap, no overlap, none is empty.
2. Months and days begin at midnight of the zone's wall clock, where a day may have 23 or 25 hours; days that are counted from an
   instant end at the same time of the wall clock. Hours are 3,600 seconds each.
3. A wall-clock time that the clock skips is taken as if it had not been put forward, one that it repeats is its first.
4. An instant is milliseconds since 1970 (UTC).
"""

from datetime import date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000
MONTH_DAYS_MAX = 31
_KEPT_MAX = 1_024
"""Months and days, each of a zone, of which the ends are remembered. Beyond: the one looked at longest ago is forgotten."""


class Recurrence(IntEnum):
    """How one period follows another."""

    MONTH = 1
    """Calendar months."""
    DAY = 2
    """Calendar days."""
    DAYS = 3
    """So many days from an instant, and again."""
    HOURS = 4
    """So many hours from an instant, and again."""
    UNTIL = 5
    """One period, that ends at an instant."""


class PeriodKind(NamedTuple):
    """A recurrence and its number: MONTH the day of month on which each begins (31: the last of a shorter one), DAYS and HOURS
    how many, UNTIL the instant; DAY has none.
    """

    recurrence: int
    number: int = 0


CALENDAR_MONTH = PeriodKind(Recurrence.MONTH, 1)
CALENDAR_DAY = PeriodKind(Recurrence.DAY)


def period(kind: PeriodKind, at_ms: int, anchor_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return (start_ms, end_ms) of the period that holds at an instant.

    ``anchor_ms`` is where DAYS, HOURS and UNTIL are counted from; months and days of the calendar do not look at it. Raises
    ValueError for an instant that no period of the kind UNTIL holds.
    """
    recurrence, number = kind
    if recurrence == Recurrence.MONTH:
        return _month_at(at_ms, number, zone)
    if recurrence == Recurrence.DAY:
        return _day_at(at_ms, zone)
    if recurrence == Recurrence.DAYS:
        return _days_at(at_ms, anchor_ms, number, zone)
    if recurrence == Recurrence.HOURS:
        start_ms = at_ms - (at_ms - anchor_ms) % (number * HOUR_MS)
        return start_ms, start_ms + number * HOUR_MS
    if not anchor_ms <= at_ms < number:
        raise ValueError(f"{at_ms} lies outside the one period from {anchor_ms} to {number}")
    return anchor_ms, number


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name; ValueError for one that is none."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as fault:
        # an unknown name, one that is a folder ("Europe"), or one that climbs out of the tables
        raise ValueError(f"{name!r} is no time zone; write one such as Europe/Berlin or UTC") from fault


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return the instant at which a date begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def _month_at(at_ms: int, day: int, zone: ZoneInfo) -> tuple[int, int]:
    wall = datetime.fromtimestamp(at_ms // 1000, zone)
    number = 12 * wall.year + wall.month - 1
    found = _month(number, day, zone)
    while at_ms < found[0]:  # before this month's day of beginning
        number -= 1
        found = _month(number, day, zone)
    while at_ms >= found[1]:  # a clock put back over midnight shows yesterday's date again
        number += 1
        found = _month(number, day, zone)
    return found


@lru_cache(_KEPT_MAX)
def _month(number: int, day: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return the period that begins in a month, counted from the year 0."""
    return midnight_ms(_in_month(number, day), zone), midnight_ms(_in_month(number + 1, day), zone)


def _in_month(number: int, day: int) -> date:
    """Return a day of a month, or its last one when it has no such day."""
    first = date(number // 12, number % 12 + 1, 1)
    following = date((number + 1) // 12, (number + 1) % 12 + 1, 1)
    return first.replace(day=min(day, (following - first).days))


def _day_at(at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    number = datetime.fromtimestamp(at_ms // 1000, zone).toordinal()
    found = _day(number, zone)
    while at_ms >= found[1]:  # as in a month
        number += 1
        found = _day(number, zone)
    assert found[0] <= at_ms
    return found


@lru_cache(_KEPT_MAX)
def _day(number: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return a date by its proleptic ordinal."""
    return midnight_ms(date.fromordinal(number), zone), midnight_ms(date.fromordinal(number + 1), zone)


def _days_at(at_ms: int, anchor_ms: int, days: int, zone: ZoneInfo) -> tuple[int, int]:
    anchor_s, rest_ms = divmod(anchor_ms, 1000)
    wall = datetime.fromtimestamp(anchor_s, zone).replace(tzinfo=None, fold=0)

    def start_of(place: int) -> int:
        """Return where the period of this place begins; the first at the anchor itself, also where its hour is repeated."""
        if not place:
            return anchor_ms
        moved = (wall + timedelta(place * days)).replace(tzinfo=zone)
        return int(moved.timestamp()) * 1000 + rest_ms

    place = (at_ms - anchor_ms) // (days * 24 * HOUR_MS)
    while at_ms < start_of(place):
        place -= 1
    while at_ms >= start_of(place + 1):
        place += 1
    return start_of(place), start_of(place + 1)
