"""Rents, fees and credits: what is due by hand-made tables, once by its key, and given back where it was paid for too much."""

from datetime import date

import pytest

from postpaid_bridge.charges import Charge, ChargeFault, ChargeKind, HeldPlan, charges_due, share_micros
from postpaid_bridge.periods import Cycle, Period, cycle_of
from postpaid_bridge.plans import PlanBook
from tests.bill_scene import CENT, MONTHLY, book, called, held, rent


def plan(*rents: str, fees: str = "", key: str = "p") -> str:
    return f"plan: {key}\ntariff: t\nrents: [{', '.join(rents)}]\nfees: [{fees}]"


class Account:
    """An account over its bills: what was charged is remembered by key."""

    def __init__(self, plans: PlanBook, cycle: Cycle = MONTHLY) -> None:
        self.plans = plans
        self.cycle = cycle
        self.made: dict[str, Charge] = {}

    def bill(self, first: str, following: str, *plans: HeldPlan, not_before: str = "") -> dict[str, int]:
        """Return what a bill charges, in cents by key."""
        period = Period(date.fromisoformat(first), date.fromisoformat(following))
        since = date.fromisoformat(not_before) if not_before else None
        found = charges_due(plans, self.plans.plans, self.cycle, period, self.made, not_before=since)
        assert not {each.key for each in found} & set(self.made)
        self.made |= {each.key: each for each in found}
        return {each.key: each.amount_micros // CENT for each in found}


@pytest.mark.parametrize(
    ("amount", "first", "following", "since", "until", "cents"),
    [
        ("31.00", "2026-12-01", "2027-01-01", "2026-01-01", None, 3100),
        ("31.00", "2026-12-01", "2027-01-01", "2026-12-10", None, 2200),  # 22 of 31 days
        ("31.00", "2026-12-01", "2027-01-01", "2026-01-01", "2026-12-10", 900),
        ("31.00", "2026-12-01", "2027-01-01", "2026-12-05", "2026-12-12", 700),  # begins and ends in it
        ("31.00", "2026-12-01", "2027-01-01", "2026-12-31", None, 100),
        ("29.00", "2024-02-01", "2024-03-01", "2024-02-15", None, 1500),  # leap: 15 of 29 days
        ("29.00", "2024-02-01", "2024-03-01", "2024-01-01", "2024-02-29", 2800),
        ("28.00", "2023-02-01", "2023-03-01", "2023-02-15", None, 1400),
        ("28.00", "2023-02-01", "2023-03-01", "2023-01-01", "2023-02-28", 2700),
        ("30.00", "2026-11-01", "2026-12-01", "2026-11-16", None, 1500),
        ("14.99", "2026-11-01", "2026-12-01", "2026-11-10", None, 1049),  # 14.99 less 4.497, which is 4.50
        ("10.00", "2026-11-01", "2026-12-01", "2026-11-01", "2026-11-11", 333),
        ("10.00", "2026-11-01", "2026-12-01", "2026-11-11", "2026-11-21", 334),
        ("10.00", "2026-11-01", "2026-12-01", "2026-11-21", None, 333),
    ],
)
def test_a_rent_in_arrear_is_shared_out_by_days(
    amount: str, first: str, following: str, since: str, until: str | None, cents: int
) -> None:
    account = Account(book(plan(rent(amount))))
    due = account.bill(first, following, held(since, until), not_before=first)
    assert due == {f"rent:1:base:{max(since, first)}": cents}


def test_a_rent_of_parts_of_a_cent_is_shared_out_to_the_micro_unit() -> None:
    whole = share_micros(125_500, "month", MONTHLY, date(2026, 11, 1), date(2026, 12, 1))
    tenth = share_micros(125_500, "month", MONTHLY, date(2026, 11, 1), date(2026, 11, 2))
    assert (whole, tenth) == (125_500, 4_183)


@pytest.mark.parametrize(
    ("per", "cycle", "first", "following", "cents"),
    [
        ("month", "bimonthly-1", "2026-11-01", "2027-01-01", 62_00),
        ("month", "quarterly-15", "2026-01-15", "2026-04-15", 93_00),
        ("month", "yearly-1", "2024-01-01", "2025-01-01", 372_00),
        ("year", "monthly-1", "2026-12-01", "2027-01-01", 2_63),  # 31 of 365 days, running: 31.00 less 28.37
        ("year", "yearly-7", "2024-01-07", "2025-01-07", 31_00),
        ("month", "weekly-1", "2026-12-07", "2026-12-14", 7_00),
        ("month", "weekly-1", "2026-11-30", "2026-12-07", 7_03),  # 1 of 30 and 6 of 31 days
        ("week", "weekly-3", "2026-12-02", "2026-12-09", 31_00),
        ("quarter", "monthly-1", "2026-01-01", "2026-02-01", 10_68),  # 31 of 90 days
    ],
)
def test_a_rent_has_whole_months_in_whole_periods_and_days_in_others(
    per: str, cycle: str, first: str, following: str, cents: int
) -> None:
    found = share_micros(
        31_000_000, per, cycle_of(cycle), date.fromisoformat(first), date.fromisoformat(following)
    )
    assert found == cents * CENT


def test_a_rent_in_advance_is_charged_for_what_runs_and_what_comes() -> None:
    account = Account(book(plan(rent("30.00", "advance"))))
    mine = held("2026-11-16")
    assert account.bill("2026-11-01", "2026-12-01", mine) == {
        "rent:1:base:2026-11-16": 1500,
        "rent:1:base:2026-12-01": 3000,
    }
    assert account.bill("2026-12-01", "2027-01-01", mine) == {"rent:1:base:2027-01-01": 3000}


def test_a_charge_is_made_once() -> None:
    account = Account(book(plan(rent("30.00", "advance"), rent("5.00", item="tv"))))
    mine = held("2026-11-16")
    assert len(account.bill("2026-11-01", "2026-12-01", mine)) == 3
    assert account.bill("2026-11-01", "2026-12-01", mine) == {}


def test_the_rest_of_a_rent_in_advance_is_given_back_when_its_plan_ends() -> None:
    account = Account(book(plan(rent("31.00", "advance"))))
    assert account.bill("2026-11-01", "2026-12-01", held("2026-11-01")) == {
        "rent:1:base:2026-11-01": 3100,
        "rent:1:base:2026-12-01": 3100,
    }
    ended = held("2026-11-01", "2026-12-10")
    assert account.bill("2026-12-01", "2027-01-01", ended) == {
        "credit:rent:1:base:2026-12-01:2026-12-10": -2200
    }
    assert account.bill("2027-01-01", "2027-02-01", ended) == {}
    credit = account.made["credit:rent:1:base:2026-12-01:2026-12-10"]
    assert (credit.since, credit.until) == (date(2026, 12, 10), date(2027, 1, 1))
    assert (credit.kind, credit.corrects, credit.text) == (
        ChargeKind.CREDIT,
        "rent:1:base:2026-12-01",
        "Erstattung base",
    )


def test_a_change_of_plan_credits_the_old_one_and_charges_the_new_one_by_days() -> None:
    plans = book(plan(rent("31.00", "advance")), plan(rent("62.00", "advance"), key="q"))
    account = Account(plans)
    account.bill("2026-11-01", "2026-12-01", held("2026-01-01"), not_before="2026-12-01")
    changed = (held("2026-01-01", "2026-12-15"), held("2026-12-15", number=2, plan="q"))
    assert account.bill("2026-12-01", "2027-01-01", *changed, not_before="2026-12-01") == {
        "credit:rent:1:base:2026-12-01:2026-12-15": -1700,
        "rent:2:base:2026-12-15": 3400,
        "rent:2:base:2027-01-01": 6200,
    }


@pytest.mark.parametrize("due", ["advance", "arrear"])
def test_a_change_of_plan_on_the_first_day_of_a_period_shares_out_nothing(due: str) -> None:
    account = Account(book(plan(rent("31.00", due)), plan(rent("62.00", due), key="q")))
    changed = (held("2026-11-01", "2026-12-01"), held("2026-12-01", number=2, plan="q"))
    account.bill("2026-11-01", "2026-12-01", *changed)
    account.bill("2026-12-01", "2027-01-01", *changed)
    assert {key: each.amount_micros // CENT for key, each in account.made.items() if each.until <= date(2027, 1, 1)} == {
        "rent:1:base:2026-11-01": 3100,
        "rent:2:base:2026-12-01": 6200,
    }  # fmt: skip


def test_a_change_told_after_the_bill_credits_the_whole_of_the_coming_period() -> None:
    account = Account(book(plan(rent("31.00", "advance")), plan(rent("62.00", "advance"), key="q")))
    account.bill("2026-11-01", "2026-12-01", held("2026-11-01"))
    changed = (held("2026-11-01", "2026-12-01"), held("2026-12-01", number=2, plan="q"))
    assert account.bill("2026-12-01", "2027-01-01", *changed) == {
        "credit:rent:1:base:2026-12-01:2026-12-01": -3100,
        "rent:2:base:2026-12-01": 6200,
        "rent:2:base:2027-01-01": 6200,
    }


def test_an_end_that_is_taken_back_is_charged_again_under_a_key_of_its_own() -> None:
    account = Account(book(plan(rent("31.00", "advance"))))
    account.bill("2026-11-01", "2026-12-01", held("2026-12-01"))
    assert account.bill("2026-12-01", "2027-01-01", held("2026-12-01", "2026-12-10")) == {
        "credit:rent:1:base:2026-12-01:2026-12-10": -2200
    }
    again = account.bill("2026-12-01", "2027-01-01", held("2026-12-01"))
    assert again == {"rent:1:base:2026-12-10": 2200, "rent:1:base:2027-01-01": 3100}
    once_more = account.bill("2026-12-01", "2027-01-01", held("2026-12-01", "2026-12-10"))
    assert once_more == {
        "credit:rent:1:base:2026-12-10:2026-12-10": -2200,
        "credit:rent:1:base:2027-01-01:2027-01-01": -3100,
    }
    third = account.bill("2026-12-01", "2027-01-01", held("2026-12-01"))
    assert third == {"rent:1:base:2026-12-10:2": 2200, "rent:1:base:2027-01-01:2": 3100}


def test_what_is_given_back_is_what_was_charged_though_the_price_is_another_now() -> None:
    account = Account(book(plan(rent("31.00", "advance"))))
    account.bill("2026-11-01", "2026-12-01", held("2026-12-01"))
    account.plans = book(plan(rent("99.00", "advance")))
    due = account.bill("2026-12-01", "2027-01-01", held("2026-12-01", "2026-12-10"))
    assert due == {"credit:rent:1:base:2026-12-01:2026-12-10": -2200}


def test_a_plan_that_never_began_is_given_back_whole() -> None:
    account = Account(
        book(plan(rent("31.00", "advance"), fees=f'{{item: f, {called("f")}, amount: "9.00", at: end}}'))
    )
    account.bill("2026-11-01", "2026-12-01", held("2026-12-01"))
    assert account.bill("2026-12-01", "2027-01-01", held("2026-12-01", "2026-12-01")) == {
        "credit:rent:1:base:2026-12-01:2026-12-01": -3100
    }


def test_bills_on_demand_and_at_the_end_charge_each_day_once() -> None:
    account = Account(book(plan(rent("31.00"), rent("62.00", "advance", item="tv"))))
    mine = held("2026-12-01")
    assert account.bill("2026-12-01", "2026-12-15", mine) == {
        "rent:1:base:2026-12-01": 1400,
        "rent:1:tv:2026-12-01": 6200,
    }
    ended = held("2026-12-01", "2026-12-20")
    assert account.bill("2026-12-15", "2026-12-20", ended) == {
        "rent:1:base:2026-12-15": 500,
        "credit:rent:1:tv:2026-12-01:2026-12-20": -2400,
    }


def test_a_plan_that_was_entered_late_is_charged_from_its_first_day() -> None:
    account = Account(book(plan(rent("31.00"))))
    assert account.bill("2026-12-01", "2027-01-01", held("2026-10-22")) == {
        "rent:1:base:2026-10-22": 1000,
        "rent:1:base:2026-11-01": 3100,
        "rent:1:base:2026-12-01": 3100,
    }


def test_nothing_is_charged_for_days_before_the_account_is_billed_here() -> None:
    account = Account(book(plan(rent("31.00"))))
    due = account.bill("2026-12-01", "2027-01-01", held("2019-05-05"), not_before="2026-12-11")
    assert due == {"rent:1:base:2026-12-11": 2100}


def fee(at: str, change: str = "false") -> str:
    return f'{{item: f, {called("f")}, amount: "9.99", at: {at}, at_change: {change}}}'


@pytest.mark.parametrize(
    ("at", "since", "until", "day"),
    [
        ("start", "2026-12-01", None, "2026-12-01"),
        ("start", "2026-12-31", None, "2026-12-31"),
        ("start", "2027-01-01", None, None),  # another bill's
        ("end", "2026-11-01", None, None),
        ("end", "2026-11-01", "2026-12-02", "2026-12-01"),
        ("end", "2026-11-01", "2027-01-01", "2026-12-31"),
        ("end", "2026-11-01", "2027-01-02", None),
    ],
)
def test_a_fee_is_due_on_its_day_and_once(at: str, since: str, until: str | None, day: str | None) -> None:
    account = Account(book(plan(fees=fee(at))))
    due = account.bill("2026-12-01", "2027-01-01", held(since, until))
    assert due == ({"once:1:f": 999} if day else {})
    assert account.bill("2026-12-01", "2027-01-01", held(since, until)) == {}
    assert [each.since.isoformat() for each in account.made.values()] == ([day] if day else [])


@pytest.mark.parametrize(("change", "cents"), [("false", {}), ("true", {"once:2:f": 999})])
def test_a_change_of_plan_is_no_start_unless_the_fee_says_so(change: str, cents: dict[str, int]) -> None:
    account = Account(book(plan(), plan(fees=fee("start", change), key="q")))
    changed = (held("2026-11-01", "2026-12-15"), held("2026-12-15", number=2, plan="q"))
    assert account.bill("2026-12-01", "2027-01-01", *changed) == cents
    other = (held("2026-11-01", "2026-12-15"), held("2026-12-15", number=3, plan="q", service=2))
    assert account.bill("2026-12-01", "2027-01-01", *other) == {"once:3:f": 999}


def test_a_plan_that_is_not_known_is_refused() -> None:
    with pytest.raises(ChargeFault, match="held plan 1: no plan 'x'; there are p"):
        Account(book(plan())).bill("2026-12-01", "2027-01-01", held("2026-11-01", plan="x"))


def test_charges_name_what_they_are_of_in_the_language_of_the_bill() -> None:
    plans = book(plan("{item: base, names: {de: Grundpreis, en: Rental}, amount: '1.00', due: advance}"))
    period = Period(date(2026, 11, 1), date(2026, 12, 1))
    for language, word, back in (
        ("de", "Grundpreis", "Erstattung Grundpreis"),
        ("en", "Rental", "Refund Rental"),
    ):
        made = charges_due([held("2026-12-01")], plans.plans, MONTHLY, period, {}, language=language)
        assert [each.text for each in made] == [word]
        given = charges_due(
            [held("2026-12-01", "2026-12-01")], plans.plans, MONTHLY, period, {each.key: each for each in made},
            language=language,
        )  # fmt: skip
        assert [each.text for each in given] == [back]
