from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.periods import CALENDAR_DAY, CALENDAR_MONTH, HOUR_MS, PeriodKind, Recurrence, period

BERLIN = ZoneInfo("Europe/Berlin")
DAYS_30 = PeriodKind(Recurrence.DAYS, 30)


def ms(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()) * 1000


def told(kind: PeriodKind, at: str, anchor: str = "2026-01-01", zone: ZoneInfo = BERLIN) -> tuple[str, str]:
    start_ms, end_ms = period(kind, ms(at, zone), ms(anchor, zone), zone)
    return tuple(
        f"{datetime.fromtimestamp(each // 1000, zone):%Y-%m-%d %H:%M}" for each in (start_ms, end_ms)
    )  # type: ignore[return-value]


def test_a_month_is_the_walls_own() -> None:
    assert told(CALENDAR_MONTH, "2026-02-01T00:00") == ("2026-02-01 00:00", "2026-03-01 00:00")
    assert told(CALENDAR_MONTH, "2026-01-31T23:59:59") == ("2026-01-01 00:00", "2026-02-01 00:00")
    start_ms, end_ms = period(CALENDAR_MONTH, ms("2026-03-15"), 0, BERLIN)
    assert end_ms - start_ms == (31 * 24 - 1) * HOUR_MS


@pytest.mark.parametrize(
    ("day", "at", "start", "end"),
    [
        (31, "2026-01-30", "2025-12-31 00:00", "2026-01-31 00:00"),
        (31, "2026-02-10", "2026-01-31 00:00", "2026-02-28 00:00"),
        (31, "2026-02-28", "2026-02-28 00:00", "2026-03-31 00:00"),
        (29, "2028-02-29", "2028-02-29 00:00", "2028-03-29 00:00"),
        (15, "2026-12-20", "2026-12-15 00:00", "2027-01-15 00:00"),
    ],
)
def test_a_month_begins_on_its_day_and_a_short_one_on_its_last(
    day: int, at: str, start: str, end: str
) -> None:
    assert told(PeriodKind(Recurrence.MONTH, day), at) == (start, end)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_has_the_hours_that_its_clock_shows(day: str, hours: int) -> None:
    start_ms, end_ms = period(CALENDAR_DAY, ms(f"{day}T12:00"), 0, BERLIN)
    assert (start_ms, end_ms - start_ms) == (ms(day), hours * HOUR_MS)
    assert period(CALENDAR_DAY, end_ms - 1, 0, BERLIN) == (start_ms, end_ms)
    assert period(CALENDAR_DAY, end_ms, 0, BERLIN)[0] == end_ms


def test_days_from_an_instant_end_at_the_same_time_of_the_wall_clock() -> None:
    anchor = "2026-03-10T14:05"
    assert told(DAYS_30, "2026-03-10T14:05", anchor) == ("2026-03-10 14:05", "2026-04-09 14:05")
    assert told(DAYS_30, "2026-04-09T14:05", anchor) == ("2026-04-09 14:05", "2026-05-09 14:05")
    assert told(DAYS_30, "2026-03-10T14:04", anchor) == ("2026-02-08 14:05", "2026-03-10 14:05")
    weekend = PeriodKind(Recurrence.DAYS, 2)
    start_ms, end_ms = period(weekend, ms("2026-03-28T18:00"), ms("2026-03-28T18:00"), BERLIN)
    assert end_ms - start_ms == 47 * HOUR_MS


def test_days_from_an_instant_in_the_hour_that_comes_twice_begin_at_that_instant() -> None:
    anchor_ms = ms("2026-10-25T02:30", fold=1) + 250
    start_ms, end_ms = period(PeriodKind(Recurrence.DAYS, 1), anchor_ms, anchor_ms, BERLIN)
    assert (start_ms, end_ms) == (anchor_ms, ms("2026-10-26T02:30") + 250)


def test_hours_are_hours_whatever_the_clock_does() -> None:
    anchor_ms = ms("2026-03-28T12:00")
    kind = PeriodKind(Recurrence.HOURS, 24)
    assert period(kind, anchor_ms, anchor_ms, BERLIN) == (anchor_ms, ms("2026-03-29T13:00"))
    assert period(kind, ms("2026-03-29T13:00"), anchor_ms, BERLIN)[0] == ms("2026-03-29T13:00")


def test_until_an_instant_is_one_period() -> None:
    kind = PeriodKind(Recurrence.UNTIL, 2_000)
    assert period(kind, 1_999, 1_000, BERLIN) == (1_000, 2_000)
    for at_ms in (999, 2_000):
        with pytest.raises(ValueError, match=f"{at_ms} lies outside the one period from 1000 to 2000"):
            period(kind, at_ms, 1_000, BERLIN)


def test_a_date_that_was_left_out_has_no_period() -> None:
    apia = ZoneInfo("Pacific/Apia")  # crossed the date line: after the 29th of December 2011 came the 31st
    assert told(CALENDAR_DAY, "2011-12-29T12:00", zone=apia)[1] == "2011-12-31 00:00"
    assert told(CALENDAR_DAY, "2011-12-31T00:00", zone=apia)[0] == "2011-12-31 00:00"


def test_a_day_whose_midnight_is_skipped_begins_with_its_first_hour() -> None:
    brazil = ZoneInfo("America/Sao_Paulo")
    assert told(CALENDAR_DAY, "2018-11-04T12:00", zone=brazil)[0] == "2018-11-04 01:00"


def test_what_the_clock_shows_again_after_midnight_belongs_to_what_began_then() -> None:
    goose_bay = ZoneInfo("America/Goose_Bay")  # put back at 00:01, to 23:01 of the day before
    again_ms = ms("2009-10-31T23:30", goose_bay, fold=1)
    for kind in (CALENDAR_DAY, CALENDAR_MONTH):
        start_ms, end_ms = period(kind, again_ms, 0, goose_bay)
        assert start_ms == ms("2009-11-01T00:00", goose_bay)
        assert start_ms < again_ms < end_ms
