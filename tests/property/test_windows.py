"""Windows say what the wall clock says, minute by minute, in zones with every kind of change; pieces sum to the whole."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.rating.windows import DAY_MS, WEEKDAYS, Calendar, Span, calendar

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "UTC",
)
NIGHT = ("22:00", "06:30")
FIRST_MS = int(datetime(2005, 1, 1, tzinfo=UTC).timestamp()) * 1000
"""Brazil changed at midnight then, and Lord Howe moves by half an hour to this day."""
YEARS_MS = 20 * 365 * DAY_MS
CALENDARS = {
    zone: calendar(
        {
            "night": [Span(WEEKDAYS[:5], *NIGHT)],
            "lunch": [Span(WEEKDAYS[:5], "11:30", "13:15:30"), Span(("sun",), "00:30", "02:45")],
        },
        zone=zone,
        default="day",
    )
    for zone in ZONES
}


def by_the_wall(zone: str, at_ms: int) -> str:
    """The window of an instant, told from its wall-clock time alone."""
    wall = datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone))
    time, weekday = wall.time(), wall.weekday()
    yesterday = date.weekday(wall.date() - timedelta(1))
    hours = time.hour * 3600 + time.minute * 60 + time.second
    if (weekday < 5 and hours >= 22 * 3600) or (yesterday < 5 and hours < 6 * 3600 + 1800):
        return "night"
    if weekday < 5 and 11 * 3600 + 1800 <= hours < 13 * 3600 + 15 * 60 + 30:
        return "lunch"
    return "lunch" if weekday == 6 and 1800 <= hours < 2 * 3600 + 45 * 60 else "day"


zones = st.sampled_from(ZONES)
instants = st.integers(FIRST_MS, FIRST_MS + YEARS_MS)


@settings(max_examples=400)
@given(zones, instants)
def test_an_instant_is_in_the_window_of_its_wall_clock(zone: str, at_ms: int) -> None:
    on = CALENDARS[zone]
    assert on.names[on.window_at(at_ms)] == by_the_wall(zone, at_ms)


def changes() -> list[tuple[str, int]]:
    """Every (zone, instant) around which the clock is changed in some years, in steps of a quarter of an hour."""
    found = []
    for zone in ZONES:
        for day in range(FIRST_MS // DAY_MS, FIRST_MS // DAY_MS + 800):
            at = [
                datetime.fromtimestamp(each * DAY_MS // 1000, ZoneInfo(zone)).utcoffset()
                for each in (day, day + 1)
            ]
            if at[0] != at[1]:
                found += [(zone, day * DAY_MS + quarter * 900_000) for quarter in range(100)]
    return found


def test_around_every_change_of_the_clock_the_wall_clock_decides() -> None:
    around = changes()
    assert {zone for zone, _ in around} >= {"Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"}
    wrong = [
        (zone, at_ms)
        for zone, at_ms in around
        if CALENDARS[zone].names[CALENDARS[zone].window_at(at_ms)] != by_the_wall(zone, at_ms)
    ]
    assert wrong == []


@settings(max_examples=150)
@given(zones, instants, st.integers(0, 20 * DAY_MS))
def test_the_pieces_of_a_stretch_sum_to_the_whole_and_change_at_every_edge(
    zone: str, start_ms: int, length_ms: int
) -> None:
    on: Calendar = CALENDARS[zone]
    pieces = on.split(start_ms, start_ms + length_ms)
    assert sum(end - start for _, start, end in pieces) == length_ms
    for (window, _, end), (following, start, _) in pairwise(pieces):
        assert end == start
        assert window != following
        assert on.next_edge_ms(end - 1) == end
    for window, start, end in pieces:
        assert {on.window_at(at) for at in (start, (start + end) // 2, end - 1)} == {window}
