"""Plans that change hands within a period: who owes which days, and what usage is summed up apart."""

from dataclasses import replace
from datetime import date

import pytest

from postpaid_bridge.charges import Charge, HeldPlan
from postpaid_bridge.periods import Period
from postpaid_bridge.pieces import Made, Piece, basis_of, charges_of, edges_of, held_for_bill, span_of
from postpaid_bridge.run import RunFault
from postpaid_bridge.tax import Basis
from tests.bill_scene import TAXES, book, payer, rent

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
PLANS = book(
    f"plan: p\ntariff: t\nrents: [{rent('30.00')}]\nfees: [{{item: begin, names: {{de: b, en: b}}, amount: '10.00', at: start}}, "
    "{item: over, names: {de: o, en: o}, amount: '5.00', at: end}]",
    f"plan: a\ntariff: t\nrents: [{rent('30.00', 'advance')}]",
    "plan: n\ntariff: t\nprices: net",
    "plan: option",
)


def piece(
    since: int, until: int | None, *, plan: str = "p", party: int = 1, begun: date = date(2026, 1, 1), number: int = 1
) -> Piece:  # fmt: skip
    end = date(2026, 11, until) if until else None
    return Piece(HeldPlan(number, 1, plan, date(2026, 11, since), end, "b1", party), begun, None)


def due(pieces: list[Piece], made: list[Made], account: int = 7, period: Period = NOVEMBER) -> list[Charge]:
    return charges_of(replace(payer(), billing_account=account), pieces, PLANS, period, made, None)


def told(charges: list[Charge]) -> list[tuple[str, int, int, int]]:
    return [
        (each.kind.value, each.party, each.since.day, each.amount_micros // 1_000_000) for each in charges
    ]


def test_a_service_that_moves_between_branches_owes_each_branch_its_days_and_no_fee() -> None:
    pieces = [piece(1, 11, party=1), piece(11, None, party=2)]
    made = due(pieces, [])
    assert told(made) == [("rent", 1, 1, 10), ("rent", 2, 11, 20)]
    again = due(pieces, [Made(7, each) for each in made])
    assert again == []


def test_what_another_payer_was_charged_is_neither_paid_nor_given_back_here() -> None:
    first = due([piece(1, None, plan="a")], [])
    assert told(first)[:1] == [("rent", 1, 1, 30)]
    paid = [Made(7, each) for each in first]
    other = due([piece(11, None, plan="a")], paid, account=8)
    assert [each for each in told(other) if each[2] == 11] == [("rent", 1, 11, 20)]
    assert all(each[0] == "rent" for each in told(other))
    back = due([piece(1, 11, plan="a")], paid)
    assert {each[0] for each in told(back)} == {"credit"}
    assert sum(each.amount_micros for each in back) == -(20 + 30) * 1_000_000


def test_keys_are_not_taken_twice_though_the_payer_is_another() -> None:
    first = due([piece(1, None, plan="a")], [])
    other = due([piece(1, None, plan="a")], [Made(7, each) for each in first], account=8)
    assert {each.key for each in first}.isdisjoint(each.key for each in other)


def test_a_fee_stands_at_the_plans_own_edges_only() -> None:
    began = piece(3, None, begun=date(2026, 11, 3))
    assert ("once", 1, 3, 10) in told(due([began], []))
    assert [each for each in told(due([piece(3, None)], [])) if each[0] == "once"] == []
    ended = Piece(piece(1, 21).held, date(2026, 1, 1), date(2026, 11, 21))
    assert ("once", 1, 20, 5) in told(due([ended], []))
    assert [each for each in told(due([piece(1, 21)], [])) if each[0] == "once"] == []


def test_a_bill_looks_at_each_plan_once_and_counts_its_months_from_its_own_first_day() -> None:
    pieces = [piece(1, 11, party=1), piece(11, None, party=2)]
    (found,) = held_for_bill(pieces, NOVEMBER, date(2026, 8, 1), [])
    assert (found.since, found.until, found.party) == (date(2026, 1, 1), None, 2)
    gone = Piece(
        replace(piece(1, None).held, since=date(2026, 1, 1), until=date(2026, 2, 1)), date(2026, 1, 1), None
    )
    assert held_for_bill([gone], NOVEMBER, date(2026, 8, 1), []) == []


def test_usage_is_cut_at_the_period_at_changes_of_plan_and_at_a_new_rate_of_tax() -> None:
    changed = [piece(1, 11), piece(11, None, plan="n", begun=date(2026, 11, 11), number=2)]
    edges = edges_of(payer(), NOVEMBER, date(2026, 8, 3), changed, TAXES, PLANS)
    assert edges[0] == [date(2026, 8, 3), date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)]
    assert edges[1] == [*edges[0][:3], date(2026, 11, 11), date(2026, 12, 1)]
    assert span_of(edges[1], date(2026, 11, 11)) == Period(date(2026, 11, 11), date(2026, 12, 1))
    assert basis_of(1, span_of(edges[1], date(2026, 11, 10)), changed, PLANS) is Basis.GROSS
    assert basis_of(1, span_of(edges[1], date(2026, 11, 11)), changed, PLANS) is Basis.NET
    december = Period(date(2020, 12, 15), date(2021, 1, 15))
    assert date(2021, 1, 1) in edges_of(payer(), december, date(2020, 12, 1), [], TAXES, PLANS)[0]


def test_usage_of_a_service_that_never_had_a_plan_with_a_tariff_is_refused() -> None:
    with pytest.raises(RunFault, match="service 1 has usage and no plan with a tariff"):
        basis_of(1, NOVEMBER, [piece(1, None, plan="option")], PLANS)
