"""Periods tile the time, in zones with every kind of change; each begins where the wall clock says."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.rating.periods import CALENDAR_DAY, HOUR_MS, PeriodKind, Recurrence, period

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Goose_Bay",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "UTC",
)
FIRST_MS = int(datetime(2005, 1, 1, tzinfo=UTC).timestamp()) * 1000
"""Brazil and Goose Bay changed at midnight then, Samoa left out a day, and Lord Howe moves by half an hour to this day."""
YEARS_MS = 20 * 365 * 24 * HOUR_MS
zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.integers(FIRST_MS, FIRST_MS + YEARS_MS)
kinds = st.one_of(
    st.integers(1, 31).map(lambda day: PeriodKind(Recurrence.MONTH, day)),
    st.just(CALENDAR_DAY),
    st.integers(1, 40).map(lambda days: PeriodKind(Recurrence.DAYS, days)),
    st.integers(1, 100).map(lambda hours: PeriodKind(Recurrence.HOURS, hours)),
)


@settings(max_examples=600)
@given(kinds, zones, instants, instants)
def test_periods_tile_the_time(kind: PeriodKind, zone: ZoneInfo, at_ms: int, anchor_ms: int) -> None:
    start_ms, end_ms = period(kind, at_ms, anchor_ms, zone)
    assert start_ms <= at_ms < end_ms
    for inside_ms in (start_ms, (start_ms + end_ms) // 2, end_ms - 1):
        assert period(kind, inside_ms, anchor_ms, zone) == (start_ms, end_ms)
    assert period(kind, end_ms, anchor_ms, zone)[0] == end_ms
    assert period(kind, start_ms - 1, anchor_ms, zone)[1] == start_ms


@settings(max_examples=300)
@given(st.integers(1, 28), zones, instants)
def test_a_month_begins_on_its_day_of_the_wall_clock(day: int, zone: ZoneInfo, at_ms: int) -> None:
    start_ms, _ = period(PeriodKind(Recurrence.MONTH, day), at_ms, 0, zone)
    wall = datetime.fromtimestamp(start_ms // 1000, zone)
    before = datetime.fromtimestamp(start_ms // 1000 - 1, zone)
    assert wall.day == day
    assert (before.date() < wall.date()) or before.utcoffset() != wall.utcoffset()


@settings(max_examples=300)
@given(st.integers(1, 40), zones, instants, instants)
def test_rolling_days_begin_at_the_anchor_and_last_so_many_days_of_the_wall_clock(
    days: int, zone: ZoneInfo, at_ms: int, anchor_ms: int
) -> None:
    kind = PeriodKind(Recurrence.DAYS, days)
    assert period(kind, anchor_ms, anchor_ms, zone)[0] == anchor_ms
    start_ms, end_ms = period(kind, at_ms, anchor_ms, zone)
    assert (
        abs(end_ms - start_ms - days * 24 * HOUR_MS) <= 24 * HOUR_MS
    )  # Samoa's left-out day; an hour elsewhere
