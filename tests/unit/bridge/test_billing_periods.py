"""Cycles: their periods by hand-made tables, and what is refused."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from ocs.rating.document import DocumentFault
from postpaid_bridge.periods import (
    KINDS,
    Period,
    PeriodFault,
    add_months,
    cycle_of,
    read_cycles,
    spread_cycle,
)

ROOT = Path(__file__).parents[3]


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("key", "of", "first", "following"),
    [
        ("monthly-1", "2024-02-29", "2024-02-01", "2024-03-01"),
        ("monthly-1", "2026-12-31", "2026-12-01", "2027-01-01"),
        ("monthly-28", "2026-02-27", "2026-01-28", "2026-02-28"),
        ("monthly-28", "2026-02-28", "2026-02-28", "2026-03-28"),
        ("monthly-15", "2026-01-14", "2025-12-15", "2026-01-15"),
        ("bimonthly-1", "2026-12-31", "2026-11-01", "2027-01-01"),
        ("bimonthly-15", "2026-01-14", "2025-11-15", "2026-01-15"),
        ("quarterly-1", "2026-03-31", "2026-01-01", "2026-04-01"),
        ("yearly-10", "2026-01-09", "2025-01-10", "2026-01-10"),
        ("weekly-1", "2026-11-29", "2026-11-23", "2026-11-30"),  # Monday to Sunday
        ("weekly-7", "2026-11-29", "2026-11-29", "2026-12-06"),
        (
            "weekly-3",
            "1999-12-31",
            "1999-12-29",
            "2000-01-05",
        ),  # before the Monday that days are counted from
    ],
)
def test_a_day_lies_in_the_period_that_the_calendar_gives(
    key: str, of: str, first: str, following: str
) -> None:
    assert cycle_of(key).period_of(day(of)) == Period(day(first), day(following))


@pytest.mark.parametrize("key", ["monthly-28", "bimonthly-5", "quarterly-17", "yearly-28", "weekly-4"])
def test_periods_tile_the_days(key: str) -> None:
    cycle = cycle_of(key)
    found = cycle.periods_between(day("2023-11-20"), day("2028-03-05"))
    assert found[0].holds(day("2023-11-20"))
    assert found[-1].holds(day("2028-03-04"))
    assert [each.next for each in found[:-1]] == [each.first for each in found[1:]]
    for each in found:
        assert cycle.period_of(each.first) == cycle.period_of(each.last) == each


def test_a_run_bills_what_is_cut_off_and_begins_where_the_last_bill_ended() -> None:
    cycle = cycle_of("monthly-1")
    assert cycle.cut_off(cycle.period_of(day("2026-11-05"))) == day("2026-12-03")
    assert cycle.due(day("2026-10-20"), day("2026-12-02")) == [Period(day("2026-10-20"), day("2026-11-01"))]
    assert cycle.due(day("2026-10-20"), day("2026-12-03")) == [
        Period(day("2026-10-20"), day("2026-11-01")),
        Period(day("2026-11-01"), day("2026-12-01")),
    ]
    assert cycle.due(day("2026-12-01"), day("2026-12-03")) == []


def test_a_bill_on_demand_is_cut_at_the_edges_of_the_cycle() -> None:
    cycle = cycle_of("monthly-15")
    assert cycle.on_demand(day("2026-11-20"), day("2026-11-21")) == [
        Period(day("2026-11-20"), day("2026-11-21"))
    ]
    assert cycle.on_demand(day("2026-11-10"), day("2026-11-20")) == [
        Period(day("2026-11-10"), day("2026-11-15")),
        Period(day("2026-11-15"), day("2026-11-20")),
    ]


@pytest.mark.parametrize(("until", "days"), [("2026-11-20", 0), ("2026-11-18", -2)])
def test_a_period_of_no_day_is_refused(until: str, days: int) -> None:
    told = f"a period from 2026-11-20 to before {until} has {days} days; it has at least one"
    with pytest.raises(PeriodFault, match=told):
        Period(day("2026-11-20"), day(until))
    with pytest.raises(PeriodFault, match=told):
        cycle_of("monthly-1").on_demand(day("2026-11-20"), day(until))


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("monthly-29", "monthly-29: day 29 of monthly; it is 1 to 28"),
        ("weekly-8", "weekly-8: day 8 of weekly; it is 1 to 7"),
        ("monthly-0", "'monthly-0' is no cycle; write a kind and a day, such as monthly-1"),
        ("monthly", "is no cycle"),
        ("daily-1", "kinds are bimonthly, monthly, quarterly, weekly, yearly"),
    ],
)
def test_a_cycle_that_is_none_is_refused(key: str, told: str) -> None:
    with pytest.raises(PeriodFault, match=told):
        cycle_of(key)


def test_endless_periods_are_refused() -> None:
    with pytest.raises(PeriodFault, match="more than 1000 periods of weekly-1"):
        cycle_of("weekly-1").periods_between(day("1990-01-01"), day("2026-01-01"))


def test_the_cycles_of_the_sample_are_those_of_the_code() -> None:
    assert read_cycles((ROOT / "config/cycles.yaml").read_text(), "config/cycles.yaml") == dict(KINDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "cycles:\n  never: {days: 0}\n",
            "c.yaml:2: cycles.never.days: Input should be greater than or equal to 1",
        ),
        ("cycles:\n  back: {months: -1}\n", "c.yaml:2: cycles.back.months: Input should be greater"),
        ("cycles:\n  any: {}\n", "c.yaml:2: cycles.any: Value error, write one of months"),
        ("cycles:\n  a: {days: 7, months: 1}\n", "c.yaml:2: cycles.a: Value error, write one of months"),
        ("cycles:\n  a: {days: 7}\n  a: {days: 8}\n", "c.yaml:3: the key 'a' stands twice"),
        ("", "c.yaml:1: no cycles; write cycles:"),
    ],
)
def test_cycles_of_nothing_are_refused_with_file_and_line(text: str, told: str) -> None:
    with pytest.raises(DocumentFault) as fault:
        read_cycles(text, "c.yaml")
    assert str(fault.value).startswith(told)


def test_other_cycles_are_data() -> None:
    kinds = read_cycles("cycles:\n  fortnightly: {days: 14}\n  fiscal: {months: 12, from_month: 4}\n", "c")
    assert cycle_of("fortnightly-8", kinds).period_of(day("2001-01-07")).next == day("2001-01-08")
    assert cycle_of("fiscal-6", kinds).period_of(day("2026-04-05")) == Period(
        day("2025-04-06"), day("2026-04-06")
    )


def test_accounts_are_spread_over_the_days_in_turn() -> None:
    days = [spread_cycle(KINDS["monthly"], number).day for number in range(56)]
    assert sorted(days) == sorted([*range(1, 29)] * 2)
    assert {spread_cycle(KINDS["weekly"], number).day for number in range(7)} == set(range(1, 8))


def test_months_are_added_without_leaving_the_month() -> None:
    assert add_months(day("2024-01-31"), 1) == day("2024-02-29")
    assert add_months(day("2026-11-30"), 3) == day("2027-02-28")
    assert add_months(day("2026-12-15"), 12) - timedelta(days=365) == day("2026-12-15")
