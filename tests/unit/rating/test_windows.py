from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.windows import AT_MS_MAX, DAY_MS, KINDS, Calendar, Span, WindowFault, calendar

WORK = ("mon", "tue", "wed", "thu", "fri")
HOUR_MS = 3_600_000
PEAK = {"peak": [Span(WORK, "08:00", "18:00")]}


def ms(text: str, zone: str = "Europe/Berlin") -> int:
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).timestamp()) * 1000


def berlin(**windows: list[Span]) -> Calendar:
    return calendar(windows, zone="Europe/Berlin", default="off", country="DE", subdivision="BE")


def name_at(on: Calendar, text: str) -> str:
    return on.names[on.window_at(ms(text))]


def faults(windows: dict[str, list[Span]], default: str | None = None, **more: str) -> list[str]:
    with pytest.raises(WindowFault) as told:
        calendar(windows, zone=more.pop("zone", "UTC"), default=default, **more)
    return [text for _, text in told.value.problems]


def test_a_window_begins_with_its_first_instant_and_ends_before_its_last() -> None:
    on = berlin(**PEAK)
    told = [name_at(on, f"2026-02-05T{time}") for time in ("07:59:59", "08:00", "17:59:59", "18:00")]
    assert told == ["off", "peak", "peak", "off"]
    assert on.names[on.window_at(ms("2026-02-05T18:00") - 1)] == "peak"


def test_a_weekend_has_no_working_hours() -> None:
    assert [name_at(berlin(**PEAK), f"2026-02-0{day}T12:00") for day in (6, 7, 8, 9)] == [
        "peak",
        "off",
        "off",
        "peak",
    ]


def test_a_span_that_passes_midnight_belongs_to_the_date_on_which_it_begins() -> None:
    on = berlin(night=[Span(("fri",), "22:00", "06:00")])
    times = (
        "2026-02-06T05:59",
        "2026-02-06T22:00",
        "2026-02-07T05:59",
        "2026-02-07T06:00",
        "2026-02-07T22:00",
    )
    assert [name_at(on, each) for each in times] == ["off", "night", "night", "off", "off"]


def test_a_public_holiday_is_no_weekday_and_differs_by_subdivision() -> None:
    spans = {"peak": [Span(WORK, "00:00", "24:00")], "feast": [Span(("holiday",), "00:00", "24:00")]}
    assert (
        name_at(berlin(**spans), "2027-03-08T12:00") == "feast"
    )  # a Monday: International Women's Day, Berlin only
    bavaria = calendar(spans, zone="Europe/Berlin", default="off", country="DE", subdivision="BY")
    assert name_at(bavaria, "2027-03-08T12:00") == "peak"


def test_the_edges_of_a_day_are_found_one_after_the_other() -> None:
    on = berlin(**PEAK)
    first = on.next_edge_ms(ms("2026-02-05T00:00"))
    assert first == ms("2026-02-05T08:00")
    assert on.next_edge_ms(first) == ms("2026-02-05T18:00")
    assert on.next_edge_ms(ms("2026-02-06T18:00")) == ms("2026-02-09T08:00")


def test_one_window_has_no_edge() -> None:
    assert calendar({}, zone="UTC", default="always").next_edge_ms(0) is None


def test_an_edge_that_only_a_holiday_makes_is_found_months_ahead() -> None:
    on = calendar({"feast": [Span(("holiday",), "00:00", "24:00")]}, zone="UTC", default="off", country="FR")
    assert on.next_edge_ms(ms("2026-01-02T00:00Z")) == ms("2026-04-06T00:00Z")


def test_a_stretch_is_cut_at_every_edge_and_its_pieces_meet() -> None:
    on = berlin(**PEAK)
    start, end = ms("2026-02-05T17:30"), ms("2026-02-06T08:15")
    edges = [start, ms("2026-02-05T18:00"), ms("2026-02-06T08:00"), end]
    windows = [on.names.index(name) for name in ("peak", "off", "peak")]
    assert on.split(start, end) == [
        (window, *edges[place : place + 2]) for place, window in enumerate(windows)
    ]
    assert on.split(start, start) == []
    with pytest.raises(ValueError, match="before it begins"):
        on.split(end, start)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_of_23_or_25_hours_has_the_right_length_in_its_window(day: str, hours: int) -> None:
    kind = KINDS[date.fromisoformat(day).weekday()]
    on = berlin(day=[Span((kind,), "00:00", "24:00")])
    # whatever the kind of the date before and after, the window "day" holds from midnight to midnight
    start, end = ms(f"{day}T00:00"), ms((date.fromisoformat(day) + timedelta(1)).isoformat())
    pieces = on.split(start - HOUR_MS, end + HOUR_MS)
    held = sum(until - begin for window, begin, until in pieces if on.names[window] == "day")
    assert held == hours * HOUR_MS == end - start


def test_an_hour_that_the_clock_skips_is_in_no_window_and_one_that_it_repeats_is_twice() -> None:
    on = berlin(small=[Span(KINDS, "02:00", "03:00")])
    for day, hours in (("2026-03-29", 0), ("2026-10-25", 2), ("2026-06-01", 1)):
        pieces = on.split(ms(f"{day}T00:00"), ms(f"{day}T12:00"))
        held = sum(until - begin for window, begin, until in pieces if on.names[window] == "small")
        assert held == hours * HOUR_MS


def test_an_edge_inside_the_repeated_hour_comes_twice() -> None:
    on = berlin(late=[Span(KINDS, "02:30", "24:00")])
    start = ms("2026-10-25T00:00Z")  # 02:00 summer time; 02:00 comes again at 01:00Z
    pieces = on.split(start, start + 2 * HOUR_MS)
    assert [(on.names[window], until - begin) for window, begin, until in pieces] == [
        ("off", HOUR_MS // 2), ("late", HOUR_MS // 2), ("off", HOUR_MS // 2), ("late", HOUR_MS // 2),
    ]  # fmt: skip


def test_a_zone_that_skips_a_whole_date_goes_on_with_the_next() -> None:
    on = calendar({"fri": [Span(("fri",), "00:00", "24:00")]}, zone="Pacific/Apia", default="off")
    start = ms("2011-12-28T00:00", "Pacific/Apia")
    # 2011-12-30, a Friday, never was in Samoa
    assert on.next_edge_ms(start) == ms("2012-01-06T00:00", "Pacific/Apia")


def test_what_is_forgotten_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocs.rating.windows.CALENDAR_DAYS_KEPT_MAX", 2)
    on = berlin(**PEAK)
    days = [ms("2026-02-05T12:00") + day * DAY_MS for day in range(7)]
    first = [(on.window_at(at), on.next_edge_ms(at)) for at in days]
    assert [(on.window_at(at), on.next_edge_ms(at)) for at in days] == first


@pytest.mark.parametrize("at_ms", [-1, AT_MS_MAX, 10**18])
def test_an_instant_beyond_the_calendar_is_refused(at_ms: int) -> None:
    with pytest.raises(ValueError, match="1970 to 2099"):
        berlin(**PEAK).window_at(at_ms)


def test_the_last_instant_has_a_window_and_no_edge_behind_it() -> None:
    on = calendar(PEAK, zone="UTC", default="off")
    last = int(datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1000
    assert (on.names[on.window_at(last)], on.next_edge_ms(last)) == ("off", None)


@pytest.mark.parametrize(
    ("windows", "what"),
    [
        ({"a": [Span(KINDS[:7], "00:00", "12:00")]}, "mon 12:00 to 24:00 is in no window"),
        ({"a": [Span(KINDS[:6], "00:00", "24:00")]}, "sun 00:00 to 24:00 is in no window"),
        ({"a": [Span(KINDS[:7], "06:00:30", "06:00:00")]}, "mon 06:00 to 06:00:30 is in no window"),
        (
            {"a": [Span(KINDS[:7], "00:00", "24:00")], "b": [Span(("wed",), "10:00", "11:00")]},
            "wed 10:00 to 11:00 is in a and in b",
        ),
        (
            {"a": [Span(KINDS[:7], "00:00", "24:00")], "b": [Span(("sat",), "23:00", "01:00")]},
            "sun 00:00 to 01:00 is in b and in a",
        ),
        ({"a": [Span(("monday",), "00:00", "24:00")]}, "'monday' is no day"),
        ({"a": [Span(("mon",), "8:00", "24:00")]}, "'8:00' is no time of day"),
        ({"a": [Span(("mon",), "08:00", "24:01")]}, "'24:01' is no time of day"),
        ({"a": [Span(("mon",), "08:00", "08:00")]}, "is empty"),
        ({"a": [Span((), "08:00", "09:00")]}, "no days"),
        ({"a": [Span(("holiday",), "00:00", "24:00")]}, "holidays of which country"),
        ({}, "no window"),
    ],
)
def test_windows_that_do_not_cover_every_moment_once_are_refused(
    windows: dict[str, list[Span]], what: str
) -> None:
    assert any(what in fault for fault in faults(windows)), faults(windows)


def test_a_gap_that_only_a_holiday_opens_says_so() -> None:
    spans = [Span(KINDS[:7], "22:00", "06:00"), Span(KINDS, "06:00", "22:00")]
    told = faults({"a": spans}, country="DE")
    assert "mon 00:00 to 06:00 is in no window; cover it or name a default when holiday comes before" in told
    assert "holiday 22:00 to 24:00 is in no window; cover it or name a default" in told


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"zone": "Europe/Atlantis"}, "no time zone"),
        ({"zone": "Europe"}, "no time zone"),
        ({"zone": "../etc"}, "no time zone"),
        ({"country": "XX"}, "no country"),
        ({"country": "DE", "subdivision": "XX"}, "no part of DE"),
        ({"subdivision": "BE"}, "of which country"),
    ],
)
def test_an_unknown_zone_or_country_is_refused(more: dict[str, str], what: str) -> None:
    (told,) = faults({}, default="always", **more)
    assert what in told


def test_all_faults_of_windows_are_told_at_once() -> None:
    windows = {"a": [Span(("monday",), "00:00", "24:00"), Span(("mon",), "x", "y")]}
    assert len(faults(windows, zone="Nowhere", country="XX")) == 4
