"""The bill: cents, taxes, parts, what it posts, its bytes; and what is no bill."""

import json
from dataclasses import replace
from datetime import date

import pytest

from postpaid_bridge.bill import Bill, BillFault, content, drafted, entries_of
from postpaid_bridge.charges import Charge, ChargeKind, HeldPlan, Payer, UsageSum, charges_due
from postpaid_bridge.journal import Ledger, Posting, balances, book_effects, check
from postpaid_bridge.periods import Period, cycle_of
from postpaid_bridge.plans import PlanBook
from postpaid_bridge.tax import Basis, TaxFault
from tests.bill_scene import (
    CENT,
    EUR,
    MONTHLY,
    TAXES,
    book,
    granted,
    held,
    payer,
    plans_of_config,
    rent,
    used,
)

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
GROSS_PLAN = f"plan: p\ntariff: t\nrents: [{rent('14.99')}, {rent('2.50', item='tv', tax='reduced')}]"
NET_PLAN = f"plan: q\ntariff: t\nprices: net\nrents: [{rent('10.00')}]"


def billed(
    plans: PlanBook,
    *plans_held: HeldPlan,
    usage: tuple[UsageSum, ...] = (),
    more: tuple[Charge, ...] = (),
    by: Payer | None = None,
    period: Period = NOVEMBER,
) -> Bill:
    made = charges_due(plans_held, plans.plans, MONTHLY, period, {}, not_before=period.first)
    return drafted(by or payer(), period, plans_held, usage, [*made, *more], TAXES, plans)


def posted(bill: Bill) -> dict[Ledger, int]:
    entries = [check(each) for each in entries_of(bill, key="bill:1", day=date(2026, 12, 3), at_ms=5)]
    return balances(each for entry in entries for each in entry.postings)


def branch() -> HeldPlan:
    return held("2026-01-01", number=2, plan="q", service=2, party=5)


def test_a_bill_has_several_rates_gross_and_net_plans_and_a_part_per_branch() -> None:
    bill = billed(
        book(GROSS_PLAN, NET_PLAN), held("2026-01-01"), branch(),
        usage=(used(3_330_000), used(5_554_999, "data", service=2, party=5, basis=Basis.NET)),
    )  # fmt: skip
    lines = [(each.party, each.kind, each.net_cents, each.tax_cents, each.gross_cents) for each in bill.lines]
    assert lines == [
        (1, "rent", 1260, 239, 1499),
        (1, "rent", 234, 16, 250),
        (1, "usage", 279, 54, 333),
        (5, "rent", 1000, 190, 1190),
        (5, "usage", 555, 105, 660),
    ]
    # 18.32 / 1.19 holds 2.9250 and 15.55 brings 2.9545: together 5.8795
    taxes = [(each.code, each.net_cents, each.tax_cents, each.gross_cents) for each in bill.taxes]
    assert taxes == [("standard-19", 3094, 588, 3682), ("reduced-7", 234, 16, 250)]
    assert (bill.net_cents + bill.tax_cents, bill.gross_cents) == (3932, 3932)
    assert [(each.party, each.gross_cents) for each in bill.parts] == [(1, 2082), (5, 1850)]
    assert [each.code for each in bill.parts[0].taxes] == ["standard-19", "reduced-7"]


def test_what_a_bill_posts_leaves_nothing_unbilled_and_the_receivable_in_cents() -> None:
    bill = billed(
        book(GROSS_PLAN, NET_PLAN), held("2026-01-01"), branch(),
        usage=(used(3_333_333), used(5_554_999, "data", service=2, party=5, basis=Basis.NET)),
        more=(granted("adj:1", -1_234_567),),
    )  # fmt: skip
    found = posted(bill)
    assert found[Ledger.UNBILLED] == -(3_333_333 + 5_554_999)  # what usage had brought
    assert found[Ledger.RECEIVABLE] == bill.gross_cents * CENT
    assert found[Ledger.TAX] == -bill.tax_cents * CENT
    assert found[Ledger.ROUNDING] == 3_333_333 - 3_330_000 + 5_554_999 - 5_550_000 - 1_234_567 + 1_230_000
    assert sum(found.values()) == 0


def test_the_book_of_the_charging_server_gets_rents_tax_of_net_prices_and_rounding() -> None:
    bill = billed(
        book(GROSS_PLAN, NET_PLAN), held("2026-01-01"), branch(),
        usage=(used(3_333_333), used(5_554_999, "data", service=2, party=5, basis=Basis.NET)),
    )  # fmt: skip
    effects: dict[str, int] = {}
    for entry in entries_of(bill, key="bill:1", day=date(2026, 12, 3), at_ms=5):
        for of, micros in book_effects(entry).items():
            effects[of] = effects.get(of, 0) + micros
    receivable = {1: 0, 2: 0}
    for line in bill.lines:
        receivable[line.service] += line.gross_cents * CENT
    assert effects == {"b1": 3_333_333 - receivable[1], "b2": 5_554_999 - receivable[2]}


def test_charges_are_posted_under_their_own_keys_and_the_bill_under_its_own() -> None:
    bill = billed(book(GROSS_PLAN), held("2026-01-01"), more=(granted("adj:1", 0),))
    entries = entries_of(bill, key="bill:2026-000001", day=date(2026, 12, 3), at_ms=5)
    assert [(each.key, each.kind) for each in entries] == [
        ("rent:1:base:2026-11-01", "rent"),
        ("rent:1:tv:2026-11-01", "rent"),
        ("bill:2026-000001", "bill"),
    ]
    assert entries[0].postings == (
        Posting(Ledger.UNBILLED, Ledger.REVENUE, 14_990_000, "b1", "rent", "standard"),
    )
    assert {each.billing_account for each in entries} == {7}


@pytest.mark.parametrize(("status", "code"), [("reverse_charge", "reverse-charge"), ("exempt", "exempt")])
def test_who_owes_no_tax_pays_net_prices_as_they_are_and_gross_ones_without_the_tax(
    status: str, code: str
) -> None:
    bill = billed(
        book(GROSS_PLAN, NET_PLAN),
        held("2026-01-01"),
        branch(),
        usage=(used(1_190_000),),
        by=payer(status=status),
    )
    assert [(each.item, each.net_cents, each.tax_cents, each.tax_code) for each in bill.lines] == [
        ("base", 1260, 0, code),
        ("tv", 234, 0, code),
        ("voice", 100, 0, code),
        ("base", 1000, 0, code),
    ]
    (tax,) = bill.taxes
    assert (tax.tax_cents, tax.net_cents, tax.gross_cents) == (0, 2594, 2594)
    assert "UStG" in tax.text
    found = posted(bill)
    assert found[Ledger.UNBILLED] == -1_190_000
    assert found[Ledger.RECEIVABLE] == 2594 * CENT
    assert Ledger.TAX not in found


def test_the_rate_is_that_of_the_last_day_of_what_is_supplied() -> None:
    june, july = Period(date(2020, 6, 1), date(2020, 7, 1)), Period(date(2020, 7, 1), date(2020, 8, 1))
    plans = book(f"plan: p\ntariff: t\nrents: [{rent('11.90', 'advance')}]")
    made = charges_due([held("2020-06-01")], plans.plans, MONTHLY, june, {})
    bill = drafted(payer(), june, [held("2020-06-01")], [], made, TAXES, plans)
    assert [(each.since, each.tax_code) for each in bill.lines] == [
        (june.first, "standard-19"),
        (july.first, "standard-16"),
    ]
    assert [each.code for each in bill.taxes] == ["standard-19", "standard-16"]


def test_a_rent_over_a_change_of_the_rate_is_one_supply_that_ends_on_its_last_day() -> None:
    period, cycle = Period(date(2020, 6, 15), date(2020, 7, 15)), cycle_of("monthly-15")
    plans, mine = book(f"plan: p\ntariff: t\nrents: [{rent('11.60')}]"), [held("2020-06-15")]
    made = charges_due(mine, plans.plans, cycle, period, {})
    (line,) = drafted(payer(cycle), period, mine, [], made, TAXES, plans).lines
    assert (line.tax_code, line.net_cents, line.tax_cents) == ("standard-16", 1000, 160)


def test_the_payer_s_own_part_comes_first_and_branches_after_it_in_order() -> None:
    mine = [held("2026-11-01", number=n, service=n, party=party) for n, party in enumerate((9, 2, 5, 3), 1)]
    bill = billed(book(GROSS_PLAN), *mine, by=replace(payer(), party=5))
    assert [each.party for each in bill.parts] == [5, 2, 3, 9]


def test_usage_that_is_summed_up_over_a_change_of_its_rate_is_refused_and_apart_it_is_billed() -> None:
    period = Period(date(2020, 6, 15), date(2020, 7, 15))
    plans, mine = book(GROSS_PLAN), held("2020-07-15")
    with pytest.raises(
        BillFault, match="voice of service 1: the rate of standard changes on 2020-07-01; sum up apart"
    ):
        drafted(payer(), period, [mine], [used(1_190_000)], [], TAXES, plans)
    pieces = TAXES.split("standard", period)
    apart = [replace(used(1_190_000), since=each.first, until=each.next) for each in pieces]
    bill = drafted(payer(), period, [mine], apart, [], TAXES, plans)
    assert [(each.tax_code, each.tax_cents) for each in bill.lines] == [
        ("standard-19", 19),
        ("standard-16", 16),
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": ChargeKind.DISCOUNT}, "adj:1: a discount is made with the bill; it is not handed in"),
        ({"kind": ChargeKind.COMMITMENT}, "adj:1: a commitment is made with the bill"),
        ({"until": date(2026, 11, 10)}, "adj:1: from 2026-11-10 to before 2026-11-10 is no day"),
    ],
)
def test_a_charge_that_contradicts_itself_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(BillFault, match=told):
        billed(book(GROSS_PLAN), more=(replace(granted("adj:1", 5), **change),))  # type: ignore[arg-type]


def test_a_charge_stands_once_on_a_bill() -> None:
    with pytest.raises(BillFault, match="adj:1 stands twice; a charge is made once"):
        billed(book(GROSS_PLAN), more=(granted("adj:1", 5), granted("adj:1", 5)))


@pytest.mark.parametrize(
    ("by", "mine", "told"),
    [
        (
            replace(payer(), currency="CHF"),
            held("2026-01-01"),
            "held plan 1: p is in EUR, and the account in CHF",
        ),
        (payer(plan="frame"), held("2026-01-01"), "account A-7: no discount plan 'frame'; there are none"),
        (payer(), held("2026-01-01", plan="x"), "held plan 1: no plan 'x'; there are p"),
    ],
)
def test_an_account_that_does_not_fit_its_plans_is_refused(by: Payer, mine: HeldPlan, told: str) -> None:
    plans = book(GROSS_PLAN)
    with pytest.raises(BillFault, match=told):
        drafted(by, NOVEMBER, [mine], [], [], TAXES, plans)


def test_a_discount_plan_of_another_currency_is_refused() -> None:
    frame = replace(plans_of_config().discount_plans["frame-contract"], currency="CHF")
    plans = replace(book(), discount_plans={"frame": frame})
    with pytest.raises(BillFault, match="account A-7: frame-contract is in CHF, and the account in EUR"):
        drafted(payer(plan="frame"), NOVEMBER, [], [], [], TAXES, plans)


def test_an_unknown_tax_class_is_refused() -> None:
    with pytest.raises(TaxFault, match="'luxury' is no tax class"):
        billed(book(GROSS_PLAN), usage=(used(1, tax="luxury"),))
    with pytest.raises(TaxFault, match="'luxury' is no tax class"):
        billed(book(GROSS_PLAN), more=(replace(granted("adj:1", 1), tax_code="luxury"),))


def test_a_bill_of_nothing_posts_nothing() -> None:
    bill = billed(book(GROSS_PLAN))
    assert (bill.lines, bill.parts, bill.taxes, bill.gross_cents) == ((), (), (), 0)
    assert entries_of(bill, key="bill:1", day=date(2026, 12, 3), at_ms=5) == []


def test_a_bill_may_be_in_the_payer_s_favour() -> None:
    bill = billed(book(GROSS_PLAN), more=(granted("adj:1", -11_900_000),))
    assert (bill.net_cents, bill.tax_cents, bill.gross_cents) == (-1000, -190, -1190)
    assert posted(bill) == {
        Ledger.UNBILLED: 0,
        Ledger.REVENUE: 10 * EUR,
        Ledger.RECEIVABLE: -1190 * CENT,
        Ledger.TAX: 190 * CENT,
    }


def test_the_bytes_are_canonical_and_tell_the_whole_bill() -> None:
    bill = billed(book(GROSS_PLAN, NET_PLAN), held("2026-01-01"), branch(), usage=(used(3_333_333),))
    raw = content(bill)
    page = json.loads(raw)
    assert raw == json.dumps(page, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert (page["layout"], page["gross_cents"]) == ("bill/1", bill.gross_cents)
    assert page["period"] == {"first": "2026-11-01", "next": "2026-12-01"}
    assert page["payer"]["cycle"] == "monthly-1"
    assert [each["amount_micros"] for each in page["lines"]] == [each.amount_micros for each in bill.lines]
    assert sum(each["gross_cents"] for each in page["parts"]) == bill.gross_cents
    assert (
        content(billed(book(GROSS_PLAN, NET_PLAN), branch(), held("2026-01-01"), usage=(used(3_333_333),)))
        == raw
    )
    assert content(replace(bill, gross_cents=1)) != raw


def test_the_sample_operator_s_plans_make_a_bill() -> None:
    plans = plans_of_config()
    bill = billed(
        plans,
        held("2026-11-10", plan="mobile-m"),
        held("2026-11-01", plan="business-flex", number=2, service=2, party=2),
        held("2026-11-01", plan="fixed-line", number=3, service=3, party=3),
        usage=(used(123_456), used(3_123_456, service=2, party=2, basis=Basis.NET)),
        by=payer(plan="frame-contract"),
    )
    # mobile-m: 10.49 - 3.50, 14.99 - 5.00, 29.99, 0.12; less 5 % of rents and usage
    assert bill.parts[0].gross_cents == 1049 - 350 - 35 + 1499 - 500 - 50 + 2999 + 12 - 1
    # business-flex: (8.40 + 3.12 - 0.31) less 5 % is 10.65; 12.00 at least
    assert bill.parts[1].net_cents == 1200
    assert [each.code for each in bill.taxes] == ["standard-19", "reduced-7"]
