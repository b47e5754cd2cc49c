"""Discounts in their order, never below zero; commitments and what is missing to them."""

from datetime import date

import pytest

from postpaid_bridge.bill import Bill, drafted
from postpaid_bridge.charges import Charge, HeldPlan, UsageSum, charges_due
from postpaid_bridge.periods import Cycle, Period, cycle_of
from postpaid_bridge.plans import PlanBook
from postpaid_bridge.tax import Basis
from tests.bill_scene import CENT, EUR, MONTHLY, TAXES, book, called, granted, held, payer, rent, used

DECEMBER = Period(date(2026, 12, 1), date(2027, 1, 1))


def off(of: str, worth: str, *, item: str = "d", months: int = 0) -> str:
    end = f", months: {months}" if months else ""
    kind, _, number = worth.partition(" ")
    return f'{{item: {item}, {called(item)}, of: [{of}], {kind}: "{number}"{end}}}'


def plan(*rents: str, discounts: str = "", prices: str = "gross", more: str = "", key: str = "p") -> str:
    return f"plan: {key}\ntariff: t\nprices: {prices}\nrents: [{', '.join(rents)}]\ndiscounts: [{discounts}]\n{more}"


def billed(
    plans: PlanBook,
    *plans_held: HeldPlan,
    usage: tuple[UsageSum, ...] = (),
    more: tuple[Charge, ...] = (),
    already: tuple[Charge, ...] = (),
    period: Period = DECEMBER,
    cycle: Cycle = MONTHLY,
    account: str = "",
) -> Bill:
    made = charges_due(plans_held, plans.plans, cycle, period, {each.key: each for each in already})
    return drafted(payer(cycle, plan=account), period, plans_held, usage, [*made, *more], TAXES, plans)


def cents(bill: Bill, kind: str) -> list[int]:
    return [
        line.gross_cents if line.basis is Basis.GROSS else line.net_cents
        for line in bill.lines
        if line.kind == kind
    ]


MINE = held("2026-12-01", "2027-01-01")


@pytest.mark.parametrize(
    ("discounts", "found"),
    [
        (off("rent", "percent 10"), [-310]),
        (off("rent:base", "amount 5.00"), [-500]),
        (off("rent:base", "amount 50.00"), [-3100]),  # no more than there is
        (off("rent", "amount 50.00"), [-3100]),
        (off("usage", "percent 50"), []),
        (off("once", "percent 50"), []),
        # amounts before percentages: (31.00 - 1.00) x 10 %
        (
            f"{off('rent', 'percent 10', item='a')}, {off('rent', 'amount 1.00', item='b')}",
            [-300, -100],
        ),
        # single lines before whole plans: (31.00 x 90 %) - 1.00
        (
            f"{off('rent', 'amount 1.00', item='a')}, {off('rent:base', 'percent 10', item='b')}",
            [-100, -310],
        ),
        (f"{off('rent', 'percent 100', item='a')}, {off('rent', 'percent 100', item='b')}", [-3100]),
    ],
)
def test_discounts_off_a_rent_by_a_table(discounts: str, found: list[int]) -> None:
    bill = billed(book(plan(rent("31.00"), discounts=discounts)), MINE)
    assert cents(bill, "discount") == found
    assert bill.gross_cents == 3100 + sum(found)


def test_the_order_in_which_discounts_are_written_changes_no_sum() -> None:
    one, two = off("rent", "percent 10", item="a"), off("rent", "amount 1.00", item="b")
    there = billed(book(plan(rent("31.00"), discounts=f"{one}, {two}")), MINE)
    back = billed(book(plan(rent("31.00"), discounts=f"{two}, {one}")), MINE)
    assert there == back


@pytest.mark.parametrize(
    ("months", "since", "found"),
    [
        (1, "2026-12-01", -310),
        (1, "2026-11-30", -290),
        (1, "2026-11-16", -150),
        (1, "2026-11-01", 0),
        (120, "2020-01-01", -310),
    ],
)
def test_a_percentage_off_a_rent_ends_with_its_months_to_the_day(months: int, since: str, found: int) -> None:
    plans = book(plan(rent("31.00"), discounts=off("rent", "percent 10", months=months)))
    mine = held(since)
    before = tuple(
        charges_due([mine], plans.plans, MONTHLY, Period(date(2019, 12, 1), date(2026, 12, 1)), {})
        if since < "2026-12-01"
        else ()
    )
    bill = billed(plans, mine, already=before)
    assert sum(cents(bill, "discount")) == found


def test_an_amount_off_a_rent_has_its_days_part_and_comes_back_with_the_rent() -> None:
    plans = book(plan(rent("31.00", "advance"), discounts=off("rent:base", "amount 6.20")))
    begun = held("2026-12-11")
    bill = billed(plans, begun)
    assert cents(bill, "rent") == [2100, 3100]
    assert cents(bill, "discount") == [-420, -620]
    january = Period(date(2027, 1, 1), date(2027, 2, 1))
    ended = held("2026-12-11", "2027-01-11")
    last = billed(plans, ended, already=bill.charges, period=january)
    assert cents(last, "credit") == [-2100]
    assert cents(last, "discount") == [420]
    assert bill.gross_cents + last.gross_cents == 2100 + 1000 - 420 - 200


def test_a_percentage_comes_back_with_the_rent() -> None:
    plans = book(plan(rent("31.00", "advance"), discounts=off("rent", "percent 50")))
    bill = billed(plans, held("2027-01-01"))
    last = billed(
        plans,
        held("2027-01-01", "2027-01-11"),
        already=bill.charges,
        period=Period(date(2027, 1, 1), date(2027, 2, 1)),
    )
    assert (bill.gross_cents, last.gross_cents) == (1550, -1050)


def test_usage_of_one_class_is_discounted_alone() -> None:
    plans = book(plan(discounts=off("usage:voice", "percent 10")))
    bill = billed(plans, MINE, usage=(used(10 * EUR), used(20 * EUR, "data")))
    assert cents(bill, "discount") == [-100]
    assert [line.of_class for line in bill.lines if line.kind == "discount"] == ["voice"]


def test_an_amount_off_several_lines_is_shared_out_by_what_they_come_to() -> None:
    plans = book(plan(rent("31.00"), discounts=off("rent, usage", "amount 10.00")))
    bill = billed(plans, MINE, usage=(used(62 * EUR), used(7 * EUR, "data"), used(-1 * EUR, "sms")))
    assert sorted(cents(bill, "discount")) == [-620, -310, -70]
    assert {line.of_class for line in bill.lines if line.kind == "discount"} == {"rent", "voice", "data"}


def test_an_amount_off_several_lines_takes_no_more_than_they_come_to_together() -> None:
    plans = book(plan(rent("31.00"), discounts=off("rent, usage", "amount 10.00")))
    bill = billed(plans, MINE, usage=(used(-30 * EUR),))
    assert cents(bill, "discount") == [-100]
    assert bill.gross_cents == 0


def test_a_discount_is_off_the_line_as_it_stands_and_leaves_no_cent() -> None:
    plans = book(plan(discounts=off("usage", "percent 100")))
    bill = billed(plans, MINE, usage=(used(14_900), used(15_000, "data"), used(4_999, "sms")))
    assert (cents(bill, "usage"), cents(bill, "discount")) == ([2, 0, 1], [-2, -1])
    assert (bill.net_cents, bill.tax_cents, bill.gross_cents) == (0, 0, 0)


def test_an_option_discounts_the_usage_of_the_service_that_it_stands_beside() -> None:
    option = f"plan: o\ndiscounts: [{off('usage', 'percent 10')}]"
    plans = book(plan(rent("31.00")), option)
    beside = held("2026-12-01", number=2, plan="o")
    bill = billed(plans, MINE, beside, usage=(used(10 * EUR), used(30 * EUR, service=2)))
    assert cents(bill, "discount") == [-100]


def test_usage_is_of_the_plan_that_it_names_else_of_the_last_day_s() -> None:
    plans = book(
        plan(discounts=off("usage", "percent 10")), plan(discounts=off("usage", "percent 50"), key="q")
    )
    changed = (held("2026-11-01", "2026-12-15"), held("2026-12-15", number=2, plan="q"))
    assert cents(billed(plans, *changed, usage=(used(10 * EUR),)), "discount") == [-500]
    apart = (used(10 * EUR, plan="p"), used(10 * EUR, plan="q"))
    assert sorted(cents(billed(plans, *changed, usage=apart), "discount")) == [-500, -100]


FRAME = "discount_plan: frame\nprices: {0}\ndiscounts: [{1}]\n{2}"


def test_the_account_s_discount_goes_last_and_is_of_each_branch_class_and_tax() -> None:
    plans = book(
        plan(
            rent("31.00"),
            rent("10.70", item="tv", tax="reduced"),
            discounts=off("rent:base", "amount 1.00"),
        ),
        FRAME.format("gross", off("rent, usage", "percent 10", item="frame"), ""),
    )
    branch = held("2026-12-01", "2027-01-01", number=2, service=2, party=5)
    bill = billed(plans, MINE, branch, usage=(used(5 * EUR, service=2, party=5),), account="frame")
    found = [
        (line.party, line.of_class, line.tax_code, line.gross_cents)
        for line in bill.lines
        if line.item == "frame"
    ]
    assert sorted(found) == [
        (1, "rent", "reduced-7", -107),
        (1, "rent", "standard-19", -300),
        (5, "rent", "reduced-7", -107),
        (5, "rent", "standard-19", -300),
        (5, "voice", "standard-19", -50),
    ]


def test_an_amount_off_the_account_is_told_in_its_basis() -> None:
    plans = book(
        plan(rent("100.00", item="base"), prices="net"),
        FRAME.format("gross", off("rent", "amount 11.90"), ""),
    )
    bill = billed(plans, MINE, account="frame")
    assert cents(bill, "discount") == [-1000]
    assert (bill.net_cents, bill.tax_cents, bill.gross_cents) == (9000, 1710, 10710)


def test_adjustments_are_nobody_s_discount_base_and_fill_no_commitment() -> None:
    plans = book(
        plan(rent("31.00"), discounts=off("rent, usage, once", "percent 10"), more=least("31.00")),
    )
    bill = billed(plans, MINE, more=(granted("adj:1", -5 * EUR),))
    assert cents(bill, "discount") == [-310]
    assert cents(bill, "adjustment") == [-500]
    assert cents(bill, "commitment") == [310]


def least(amount: str, counts: str = "rent, usage") -> str:
    return f'commitment: {{{called("least")}, amount: "{amount}", per: month, counts: [{counts}]}}'


@pytest.mark.parametrize(
    ("amount", "since", "usage", "found"),
    [
        ("50.00", "2026-12-01", 0, [1900]),
        ("50.00", "2026-12-01", 18_990_000, [1]),
        ("50.00", "2026-12-01", 19 * EUR, []),
        ("50.00", "2026-12-01", 99 * EUR, []),
        ("62.00", "2026-12-11", 0, [2100]),  # 21 of 31 days of both
        ("62.00", "2026-12-11", 20 * EUR, [100]),
        ("50.00", "2026-12-01", -90 * EUR, [5000]),  # nothing counts below zero
    ],
)
def test_what_is_missing_to_a_commitment_is_charged_by_days(
    amount: str, since: str, usage: int, found: list[int]
) -> None:
    plans = book(plan(rent("31.00"), more=least(amount)))
    bill = billed(plans, held(since), usage=(used(usage),))
    assert cents(bill, "commitment") == found


def test_a_commitment_counts_what_is_left_after_all_discounts() -> None:
    plans = book(
        plan(rent("31.00"), discounts=off("rent", "amount 1.00"), more=least("31.00")),
        FRAME.format("gross", off("rent", "percent 10", item="frame"), ""),
    )
    bill = billed(plans, MINE, account="frame")
    assert cents(bill, "commitment") == [400]
    assert bill.gross_cents == 3100


def test_a_commitment_of_the_account_counts_all_services_and_their_true_ups() -> None:
    plans = book(
        plan(rent("31.00"), more=least("40.00")),
        plan(rent("10.00"), prices="net", key="q"),
        FRAME.format("net", "", least("100.00")),
    )
    other = held("2026-12-01", number=2, plan="q", service=2, party=5)
    bill = billed(plans, MINE, other, account="frame")
    # 31.00 and 9.00 gross are 26.05 and 7.56 net (half up); 10.00 is net already
    assert sorted(cents(bill, "commitment")) == [900, 10000 - 2605 - 756 - 1000]
    assert [line.party for line in bill.lines if line.charge == "commitment:a7:2026-12-01"] == [1]


def test_an_option_s_rent_fills_the_commitment_of_its_main_plan() -> None:
    plans = book(plan(rent("31.00"), more=least("40.00")), f"plan: o\nrents: [{rent('9.00', item='tv')}]")
    assert cents(billed(plans, MINE, held("2026-12-01", number=2, plan="o")), "commitment") == []
    other = held("2026-12-01", number=2, plan="o", service=2)
    assert cents(billed(plans, MINE, other), "commitment") == [900]


def test_months_count_in_weeks_as_well() -> None:
    weekly = cycle_of("weekly-1")
    week = Period(date(2026, 12, 7), date(2026, 12, 14))
    plans = book(plan(rent("31.00"), discounts=off("rent:base", "amount 3.10")))
    bill = billed(plans, held("2026-12-07"), period=week, cycle=weekly)
    assert (cents(bill, "rent"), cents(bill, "discount")) == ([700], [-70])
    assert bill.charges[0].amount_micros == -70 * CENT
