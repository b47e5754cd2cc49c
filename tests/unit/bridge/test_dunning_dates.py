"""Known answers for interest and days of dunning: leap years, half years without a rate, part payments, holidays."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from postpaid_bridge.dunning.calculate import Done, Facts, accrued, calculate
from postpaid_bridge.dunning.policy import Policy, Rates
from tests.bridge_accounts import EURO
from tests.dunning_scene import DUE, LAW, RATES, decided, owed, policy_of

LEAP = Rates({date(2023, 7, 1): 3_120_000, date(2024, 1, 1): 3_620_000, date(2024, 7, 1): 3_370_000})
"""Base rates of BGB section 247 as published: 3.12, 3.62 and 3.37 %."""


def by_date(kind: str = "consumer") -> Policy:
    """A policy whose contracts have a calendar date: default from the day after it."""
    policy = policy_of(kind)
    return policy.__class__(**{f: getattr(policy, f) for f in policy.__slots__} | {"by_date": True})


def interest(facts: Facts, day: date, rates: Rates = RATES) -> tuple[int, list[tuple[date, date]]]:
    """Cents of interest, and days without a rate."""
    policy, law = by_date(facts.kind), LAW.at(day)
    found = accrued(facts, calculate(facts, policy, law, day), policy, law, rates)
    return sum(each.micros for each in found) // 10_000, [gap for each in found for gap in each.without_rate]


@pytest.mark.parametrize(
    ("kind", "first", "last", "cents"),
    [
        # 1,000.00 at 1.27 + 5 = 6.27 % for 30 of 365 days: 5.1534…
        ("consumer", date(2026, 1, 31), date(2026, 3, 3), 515),
        # 1.27 + 9 = 10.27 %: 8.4410…
        ("business", date(2026, 1, 31), date(2026, 3, 3), 844),
        # one day: 0.1717…
        ("consumer", date(2026, 1, 31), date(2026, 2, 2), 17),
        ("consumer", date(2026, 1, 31), date(2026, 2, 1), 0),
    ],
)  # fmt: skip
def test_interest_is_simple_and_by_days(kind: str, first: date, last: date, cents: int) -> None:
    facts = Facts(1, kind, [owed(1000, due=first)])
    assert interest(facts, last) == (cents, [])


def test_days_of_a_leap_year_are_a_366th() -> None:
    # 20 days of December 2023 at 8.12 %, 60 of January and February 2024 at 8.62 %: 4.4493… + 14.1311…
    facts = Facts(1, "consumer", [owed(1000, due=date(2023, 12, 11))])
    assert interest(facts, date(2024, 3, 1), LEAP) == (1858, [])


def test_a_half_year_without_a_rate_bears_nothing_and_is_told_and_never_extrapolated() -> None:
    facts = Facts(1, "consumer", [owed(1000, due=date(2026, 6, 20))])
    gap = (date(2026, 7, 1), date(2026, 7, 21))
    # the ten days of June alone: 1.7178…
    assert interest(facts, date(2026, 7, 21)) == (171, [gap])
    later = Facts(1, "consumer", [owed(1000, due=date(2026, 7, 1))])
    assert interest(later, date(2027, 2, 1)) == (0, [(date(2026, 7, 2), date(2027, 2, 1))])
    step = decided(later, date(2026, 7, 9), by_date()).step
    assert step is not None
    assert [each.text for each in step.reasons if each.paragraph == "BGB §247"] == [
        "no interest for 2026-07-02 to 2026-07-08: no base rate is entered for these days"
    ]


def test_a_part_payment_bears_no_interest_from_its_day_on_and_charged_interest_is_not_charged_again() -> None:
    # 1,000.00 for 10 days, 400.00 for 20: 1.7178… + 1.3742…
    claim = owed(400, due=date(2026, 1, 31), paid=((date(2026, 2, 11), 600 * EURO),))
    facts = Facts(1, "consumer", [claim])
    assert interest(facts, date(2026, 3, 3)) == (309, [])
    assert interest(facts._replace(charged={1: 3_000_000}), date(2026, 3, 3)) == (9, [])
    assert interest(facts._replace(charged={1: 9_000_000}), date(2026, 3, 3)) == (0, [])


def test_interest_and_fees_bear_no_interest() -> None:
    claims = [
        owed(1000, due=date(2026, 1, 31)),
        owed(500, number=2, due=date(2026, 1, 31), kind="interest"),
        owed(300, number=3, due=date(2026, 1, 31), kind="fee"),
    ]
    assert interest(Facts(1, "consumer", claims), date(2026, 3, 3)) == (515, [])


@pytest.mark.parametrize(
    ("policy", "history", "since"),
    [
        # 30 days after due and receipt: both are over on 2 March + 30
        ("thirty", (), date(2026, 4, 2)),
        # a reminder's receipt, three days after it went out
        ("thirty", (Done(1, 1, "remind", DUE + timedelta(7), None, "reminder"),), date(2026, 3, 12)),
        # a letter of before the due day causes nothing
        ("thirty", (Done(1, 1, "remind", DUE, None, "reminder"),), date(2026, 4, 2)),
        ("date", (), date(2026, 3, 3)),
    ],
)
def test_default_begins_by_date_by_reminder_or_thirty_days_after_due_and_receipt(
    policy: str, history: tuple[Done, ...], since: date
) -> None:
    rules = by_date() if policy == "date" else policy_of("consumer")
    facts = Facts(1, "consumer", [owed(120)], history=history)
    for day, expected in ((since - timedelta(1), None), (since, since)):
        if day <= DUE:
            continue
        (found,) = calculate(facts, rules, LAW.at(day), day).overdue
        assert found.since == expected


def test_a_late_receipt_moves_the_thirty_days() -> None:
    """Issued on the due day: received three days later."""
    claim = owed(120)._replace(issued=DUE)
    day = DUE + timedelta(34)
    (found,) = calculate(Facts(1, "consumer", [claim]), policy_of("consumer"), LAW.at(day), day).overdue
    assert (found.since, found.by) == (day, "BGB §286(3)")


@pytest.mark.parametrize(
    ("due", "day"),
    [
        # 27 March 2026 + 7 is Good Friday; Saturday, Sunday and Easter Monday follow
        (date(2026, 3, 27), date(2026, 4, 7)),
        # a Saturday
        (date(2026, 3, 7), date(2026, 3, 16)),
        # 8 March, International Women's Day, is a holiday of Berlin alone, and a Sunday in 2026; in 2027 a Monday
        (date(2027, 3, 1), date(2027, 3, 9)),
        # leap day: 22 February + 7
        (date(2028, 2, 22), date(2028, 2, 29)),
        (date(2026, 12, 18), date(2026, 12, 28)),
    ],
)
def test_steps_are_taken_on_business_days(due: date, day: date) -> None:
    facts = Facts(1, "consumer", [owed(50, due=due)])
    for waits in (due + timedelta(1), day - timedelta(1)):
        found = decided(facts, waits)
        assert (found.step, found.next_day) == (None, day)
    assert decided(facts, day).step is not None
