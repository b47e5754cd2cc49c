"""The tables of a run and of an account in it: every state with every event."""

from datetime import date

import pytest

from postpaid_bridge.periods import Period, cycle_of
from postpaid_bridge.run import (
    ACCOUNTS,
    RUNS,
    AccountEvent,
    AccountState,
    Due,
    OutlierRules,
    RunEvent,
    RunFault,
    RunState,
    Settings,
    account_after,
    after,
    checked,
    due_of,
    number_text,
    outlier,
    start_ms,
)
from tests.bridge_scene import BERLIN

PAIRS = [(state, event) for state in RunState for event in RunEvent]
FIRST = {RunState.PLANNED, RunState.PREVIEWED}
BEFORE_NUMBERS = FIRST | {
    RunState.APPROVED_TO_EXECUTE, RunState.EXECUTING, RunState.EXECUTED, RunState.APPROVED_TO_NUMBER, RunState.ABANDONED,
}  # fmt: skip


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_leads_where_the_table_says_or_is_refused_with_what_it_can(
    state: RunState, event: RunEvent
) -> None:
    if event in RUNS[state]:
        assert after(state, event) is RUNS[state][event]
    else:
        with pytest.raises(RunFault, match=f"a run that is {state} cannot {event}; it can: "):
            after(state, event)


def test_every_state_has_a_row_and_every_state_is_reached() -> None:
    assert set(RUNS) == set(RunState)
    reached = {RunState.PLANNED} | {to for events in RUNS.values() for to in events.values()}
    assert reached == set(RunState)
    assert set(ACCOUNTS) == set(AccountState)


def test_nothing_is_executed_or_numbered_without_its_approval() -> None:
    into = {
        to: {state for state, events in RUNS.items() if to in events.values() and state is not to}
        for to in RunState
    }
    assert into[RunState.EXECUTING] == {
        RunState.APPROVED_TO_EXECUTE, RunState.EXECUTED, RunState.NUMBERED, RunState.PUBLISHED,
    }  # fmt: skip
    assert into[RunState.APPROVED_TO_NUMBER] == {RunState.EXECUTED}
    assert into[RunState.NUMBERING] == {RunState.APPROVED_TO_NUMBER}
    assert into[RunState.PUBLISHED] == {RunState.NUMBERED}


@pytest.mark.parametrize("state", RunState)
def test_a_run_is_abandoned_before_it_is_numbered_only(state: RunState) -> None:
    assert (RunEvent.ABANDON in RUNS[state]) == (state in BEFORE_NUMBERS)


def test_a_run_that_was_resumed_behind_its_first_numbers_is_not_abandoned() -> None:
    with pytest.raises(RunFault, match="7 bills of this run have numbers"):
        after(RunState.EXECUTING, RunEvent.ABANDON, numbers=7)
    assert after(RunState.EXECUTING, RunEvent.ABANDON) is RunState.ABANDONED


@pytest.mark.parametrize(
    "event", [RunEvent.EXECUTE, RunEvent.NUMBER, RunEvent.PUBLISH, RunEvent.APPROVE_NUMBER]
)
def test_what_a_published_run_has_done_may_be_asked_again_and_changes_nothing(event: RunEvent) -> None:
    assert after(RunState.PUBLISHED, event) is RunState.PUBLISHED


@pytest.mark.parametrize(("state", "event"), [(s, e) for s in AccountState for e in AccountEvent])
def test_an_accounts_row_goes_as_its_table_says(state: AccountState, event: AccountEvent) -> None:
    if event in ACCOUNTS[state]:
        assert account_after(state, event) is ACCOUNTS[state][event]
    else:
        with pytest.raises(RunFault, match=f"an account that is {state} cannot {event}"):
            account_after(state, event)


@pytest.mark.parametrize("state", [AccountState.CLOSED, AccountState.LEFT_OUT])
def test_a_row_that_has_ended_stays_so(state: AccountState) -> None:
    assert set(ACCOUNTS[state].values()) == {state}


# ---------------------------------------------------------------- what is due

MONTHLY = cycle_of("monthly-1")


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("since", "until", "billed", "on", "early", "first", "following", "kind", "more"),
    [
        ("2026-10-01", None, None, "2026-11-03", "", "2026-10-01", "2026-11-01", "regular", 0),
        ("2026-10-12", None, None, "2026-11-03", "", "2026-10-12", "2026-11-01", "regular", 0),
        ("2026-08-01", None, None, "2026-11-03", "", "2026-08-01", "2026-09-01", "regular", 2),
        ("2026-01-01", None, "2026-10-01", "2026-11-03", "", "2026-10-01", "2026-11-01", "regular", 0),
        ("2026-01-01", None, "2026-10-20", "2026-11-03", "", "2026-10-20", "2026-11-01", "regular", 0),
        ("2026-01-01", "2026-10-15", "2026-10-01", "2026-11-03", "", "2026-10-01", "2026-10-15", "final", 0),
        ("2026-01-01", None, "2026-10-01", "2026-10-20", "early", "2026-10-01", "2026-10-20", "on_demand", 0),
        ("2026-01-01", None, "2026-10-01", "2026-11-20", "early", "2026-10-01", "2026-11-01", "regular", 1),
        ("2026-01-01", "2026-11-10", "2026-11-01", "2026-11-12", "early", "2026-11-01", "2026-11-10", "final", 0),
    ],
)  # fmt: skip
def test_the_oldest_period_that_is_due_is_billed(
    since: str, until: str | None, billed: str | None, on: str, early: str, first: str, following: str,
    kind: str, more: int,
) -> None:  # fmt: skip
    found = due_of(
        MONTHLY, day(since), day(until) if until else None, day(billed) if billed else None, day(on), early=bool(early)
    )  # fmt: skip
    assert found == Due(Period(day(first), day(following)), kind, more)


@pytest.mark.parametrize(
    ("since", "until", "billed", "on", "early"),
    [
        ("2026-10-01", None, None, "2026-11-02", ""),  # the cut-off is on the 3rd
        ("2026-01-01", None, "2026-11-01", "2026-11-30", ""),
        ("2026-01-01", None, "2026-11-01", "2026-11-01", "early"),
        ("2026-01-01", "2026-11-01", "2026-11-01", "2026-12-30", ""),
        ("2026-01-01", "2026-11-01", "2026-11-01", "2026-12-30", "early"),
    ],
)
def test_nothing_is_due_before_its_day_or_twice(
    since: str, until: str | None, billed: str | None, on: str, early: str
) -> None:
    until_day, billed_day = (day(each) if each else None for each in (until, billed))
    assert due_of(MONTHLY, day(since), until_day, billed_day, day(on), early=bool(early)) is None


def test_a_day_begins_in_the_operators_zone() -> None:
    assert start_ms(date(2026, 7, 1), BERLIN) == 1_782_856_800_000
    assert start_ms(date(2026, 10, 26), BERLIN) - start_ms(date(2026, 10, 25), BERLIN) == 25 * 3_600_000


@pytest.mark.parametrize(
    ("series", "number"), [("", "2026-000123"), ("R", "R-2026-000123"), ("DE2", "DE2-2026-000123")]
)
def test_a_number_says_series_and_year(series: str, number: str) -> None:
    assert number_text(series, 2026, 123) == number
    assert number_text(series, 2026, 1_234_567).endswith("-1234567")


@pytest.mark.parametrize("settings", [Settings("r"), Settings("R-1"), Settings("ABCDEFGHI"), Settings("Ä")])
def test_a_series_that_is_none_is_refused(settings: Settings) -> None:
    with pytest.raises(RunFault, match="a series has up to 8"):
        checked(settings)


@pytest.mark.parametrize("days", [-1, 367])
def test_a_bound_for_late_usage_that_is_none_is_refused(days: int) -> None:
    with pytest.raises(RunFault, match="late by 0 to 366"):
        checked(Settings(late_days=days))


@pytest.mark.parametrize(
    ("gross", "last", "why"),
    [
        (50_000, None, ""), (50_001, None, "large"), (-1, None, "negative"), (10_000, 5_000, ""), (10_001, 5_000, "more"),
        (0, 5_000, ""), (10_000, 20_000, ""), (1, 20_001, ""), (-1, 19_999, "negative, less"), (90_000, 10_000, "large, more"),
    ],
)  # fmt: skip
def test_outliers_are_large_negative_or_far_from_the_last_bill(
    gross: int, last: int | None, why: str
) -> None:
    assert outlier(gross, last, OutlierRules()) == why
