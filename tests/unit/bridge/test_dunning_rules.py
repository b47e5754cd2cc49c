"""The German rule pack: LAW.md's worked examples, what a policy may not say, and what is never done."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from ocs.rating.document import DocumentFault
from postpaid_bridge.dunning.calculate import Done, Facts, Hold, Objection
from postpaid_bridge.dunning.policy import read_law, read_policies, read_rates
from tests.bridge_accounts import EURO
from tests.dunning_scene import DUE, LAWS, PAGES, RULES, decided, owed, policy_of

REMINDED = Done(1, 1, "remind", DUE + timedelta(7), DUE + timedelta(17), "reminder", "email")
WARNED = Done(1, 2, "warn", DUE + timedelta(21), DUE + timedelta(35), "warning", "post")
BARRED = Done(1, 3, "bar_outgoing", DUE + timedelta(38), None, "bar_outgoing", "post")
BAR_DAY = DUE + timedelta(38)


def of(*euros: float, kind: str = "consumer", **more: Any) -> Facts:
    claims = [owed(each, number=place) for place, each in enumerate(euros, 1)]
    facts = Facts(1, kind, claims, history=(REMINDED, WARNED))
    return facts._replace(**more)


def paragraphs(facts: Facts, day: date = BAR_DAY) -> set[str]:
    return {each.paragraph for each in decided(facts, day).why}


def test_100_00_in_default_is_enough_and_99_99_is_not() -> None:
    enough, less = decided(of(100.00), BAR_DAY), decided(of(99.99), BAR_DAY)
    assert enough.step is not None
    assert (enough.step.action, enough.step.scope) == ("bar_outgoing", "outgoing")
    assert less.step is None
    assert "below 100.00" in less.why[0].text


def test_120_less_25_contested_is_not_enough() -> None:
    facts = of(120, objections=(Objection("2026-000001", 25 * EURO),))
    assert decided(facts, BAR_DAY).step is None
    assert (
        decided(facts._replace(objections=(Objection("2026-000001", 20 * EURO),)), BAR_DAY).step is not None
    )


def test_the_law_forbids_what_a_policy_would_allow_below_the_threshold() -> None:
    policy = policy_of("consumer")
    levels = tuple(each.__class__(**{f: getattr(each, f) for f in each.__slots__} | {"minimum_micros": 0}) for each in policy.levels)  # fmt: skip
    soft = policy.__class__(**{f: getattr(policy, f) for f in policy.__slots__} | {"levels": levels})
    found = decided(of(99.99), BAR_DAY, soft)
    assert found.step is None
    assert found.why[0].paragraph == "TKG §61(4) s.1, 3-5"
    assert decided(of(100), BAR_DAY, soft).step is not None


def test_incoming_is_not_barred_before_the_seventh_day_after_outgoing() -> None:
    facts = of(150, history=(REMINDED, WARNED, BARRED), barred="outgoing")
    for days in range(7):
        found = decided(facts, BARRED.day + timedelta(days))
        assert found.step is None
        assert found.next_day == BARRED.day + timedelta(7)
    step = decided(facts, BARRED.day + timedelta(7)).step
    assert step is not None
    assert (step.action, step.scope) == ("bar_all", "all")
    assert {"TKG §61(6) s.4", "TKG §164(1)"} <= {each.paragraph for each in step.reasons}


def test_a_bar_waits_two_weeks_from_the_receipt_of_a_written_warning() -> None:
    late = WARNED._replace(day=BAR_DAY - timedelta(16), until=BAR_DAY - timedelta(2))
    found = decided(of(150, history=(REMINDED, late)), BAR_DAY)
    assert (found.step, found.next_day) == (None, BAR_DAY + timedelta(1))
    assert found.why[0].paragraph == "TKG §61(4) s.2"
    for wrong in (WARNED._replace(channel="email"), WARNED._replace(letter="reminder")):
        assert paragraphs(of(150, history=(REMINDED, wrong))) >= {"TKG §61(4) s.2"}
        assert decided(of(150, history=(REMINDED, wrong)), BAR_DAY).step is None


def test_one_bill_that_no_letter_was_unheard_of_is_not_repeatedly_unpaid() -> None:
    waits = [each._replace(until=None) for each in (REMINDED, WARNED)]
    found = decided(of(150, history=waits), BAR_DAY)
    assert (found.step, found.why[0].paragraph) == (None, "TKG §61(4) s.1")
    assert decided(of(75, 75, history=waits), BAR_DAY).step is not None


def test_businesses_are_barred_by_their_contract_in_the_same_order() -> None:
    warned = WARNED._replace(channel="email", day=DUE + timedelta(17), until=DUE + timedelta(30))
    facts = of(150, kind="business", history=(REMINDED._replace(until=DUE + timedelta(14)), warned))
    found = decided(facts, DUE + timedelta(31)).step
    assert found is not None
    assert found.action == "bar_outgoing"
    assert found.reasons[1].paragraph == "contract"
    every = facts._replace(history=(*facts.history, BARRED._replace(level=3)), barred="")
    assert decided(every, BARRED.day + timedelta(9)).why[0].paragraph == "TKG §61(6) s.4"


@pytest.mark.parametrize("kind", ["consumer", "small_business", "non_profit"])
def test_the_kinds_that_the_law_protects_are_protected(kind: str) -> None:
    assert decided(of(99.99, kind=kind), BAR_DAY).step is None
    assert decided(of(100, kind=kind), BAR_DAY).step is not None


def test_nobody_is_barred_on_a_day_before_the_law_s_first_version() -> None:
    early = date(2021, 3, 1)
    history = [
        each._replace(day=each.day.replace(year=2021), until=each.until and each.until.replace(year=2021))
        for each in (REMINDED, WARNED)
    ]
    found = decided(Facts(1, "consumer", [owed(150, due=early)], history=history), early + timedelta(40))
    assert (found.step, found.why[0].paragraph) == (None, "TKG §61")


def test_the_reminder_that_causes_default_is_free_and_the_next_costs_its_typical_price() -> None:
    fresh = decided(Facts(1, "consumer", [owed(120)]), DUE + timedelta(7)).step
    assert fresh is not None
    assert (fresh.action, fresh.fee_micros) == ("remind", 0)
    second = decided(of(120, history=(REMINDED,)), DUE + timedelta(21)).step
    assert second is not None
    assert (second.action, second.fee_micros) == ("warn", 2_500_000)


def test_a_fee_is_not_taken_where_no_claim_is_in_default_yet() -> None:
    """The first bill was paid; what is overdue now was reminded of by nobody."""
    policy = policy_of("consumer")
    policy = policy.__class__(**{f: getattr(policy, f) for f in policy.__slots__} | {"thirty_days": False})
    fresh = owed(120, number=2, due=DUE + timedelta(60))
    found = decided(Facts(1, "consumer", [fresh], history=(REMINDED,)), DUE + timedelta(81), policy).step
    assert found is not None
    assert (found.action, found.fee_micros) == ("warn", 0)
    assert "BGB §309 no. 5" in {each.paragraph for each in found.reasons}


def test_a_flat_sum_is_for_businesses_once_a_bill_and_covers_the_letter() -> None:
    facts = of(150, kind="business", history=(REMINDED._replace(until=DUE + timedelta(14)),))
    step = decided(facts, DUE + timedelta(17)).step
    assert step is not None
    assert [each.micros for each in step.flat_sums] == [40 * EURO]
    again = decided(facts._replace(flat=frozenset({"2026-000001"})), DUE + timedelta(17)).step
    assert again is not None
    assert again.flat_sums == ()
    consumer = decided(of(150, history=(REMINDED,)), DUE + timedelta(21)).step
    assert consumer is not None
    assert consumer.flat_sums == ()


@pytest.mark.parametrize(
    ("was", "becomes", "line", "paragraph"),
    [
        ('minimum: "100.00", letter: bar_outgoing', 'minimum: "99.99", letter: bar_outgoing', 28, "TKG §61(4) s.1"),
        ("wait_days: 17", "wait_days: 16", 28, "TKG §61(4) s.2"),
        ("letter: warning, channel: post", "letter: warning, channel: sms", 28, "TKG §61(4) s.2"),
        ("wait_days: 7, minimum", "wait_days: 6, minimum", 29, "TKG §61(6) s.4"),
        ('fee: "2.50"', 'fee: "5.95"', 27, "BGB §309 no. 5"),
        ('after_due_days: 7, minimum: "5.00"', 'after_due_days: 7, minimum: "5.00", fee: "1.00"', 26, "BGB §309 no. 5"),
        ("flat_sum: false", "flat_sum: true", 21, "BGB §288(5)"),
    ],
)  # fmt: skip
def test_a_policy_that_the_law_forbids_is_refused_with_line_and_paragraph(
    was: str, becomes: str, line: int, paragraph: str
) -> None:
    page = PAGES["consumer.yaml"]
    assert page.count(was) == 1
    with pytest.raises(DocumentFault) as fault:
        read_policies({"consumer.yaml": page.replace(was, becomes)}, LAWS, RULES)
    assert [
        each
        for each in fault.value.problems
        if each.startswith(f"consumer.yaml:{line}: ") and paragraph in each
    ]


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("law: de", "law: fr", "no law 'fr'; there are de"),
        ("action: warn", "action: collect", "put the milder first"),
        ("after_due_days: 38", "after_due_days: 8", "write 21 or more"),
        ("country: DE", "country: XX", "no such calendar"),
        ("grace_days: 3", "grace_days: 8", "write 7 or less"),
        ("kinds: [consumer, small_business, non_profit]", "kinds: [martian]", "kinds"),
    ],
)
def test_what_is_wrong_in_a_policy_is_told_with_what_would_be_right(
    was: str, becomes: str, told: str
) -> None:
    with pytest.raises(DocumentFault) as fault:
        read_policies({"consumer.yaml": PAGES["consumer.yaml"].replace(was, becomes, 1)}, LAWS, RULES)
    assert [each for each in fault.value.problems if told in each]


def test_two_policies_for_the_same_customers_are_refused_and_a_class_goes_first() -> None:
    page = PAGES["consumer.yaml"]
    other = page.replace("policy: consumer", "policy: other")
    with pytest.raises(DocumentFault, match="all classes of consumer already"):
        read_policies({"a.yaml": page, "b.yaml": other}, LAWS, RULES)
    both = read_policies(
        {"a.yaml": page, "b.yaml": other.replace("credit_classes: []", "credit_classes: [low]")}, LAWS, RULES
    )
    keys = [found.key for each in ("low", "standard") if (found := both.of("consumer", each)) is not None]
    assert keys == ["other", "consumer"]
    assert both.of("business", "standard") is None


def test_base_rates_are_of_half_years_and_laws_in_their_order() -> None:
    with pytest.raises(DocumentFault, match=r"rates.yaml:2: 2026-03-01: base rates change on 1 January"):
        read_rates('base_rates:\n  - {since: 2026-03-01, percent: "1.27"}\n', "rates.yaml")
    rates = read_rates('base_rates: [{since: 2020-07-01, percent: "-0.88"}]', "rates.yaml")
    assert [rates.at(date(2020, 12, 31)), rates.at(date(2021, 1, 1)), rates.at(date(2020, 6, 30))] == [-880_000, None, None]  # fmt: skip
    older = page_of_law("2022-01-01", "2021-01-01")
    with pytest.raises(DocumentFault, match="put the older first"):
        read_law(older, "law.yaml")


def page_of_law(*days: str) -> str:
    return "law: de\nversions:\n" + "".join(
        f'  - {{since: {day}, bar_least: "1", warning_days: 1, incoming_days: 1, default_days: 1, points_consumer: "5", '
        'points_business: "9", flat_sum: "40", reminder_fee_most: "2.50"}\n'
        for day in days
    )


def test_a_hold_stops_a_bar_and_a_dispute_of_everything_lifts_one() -> None:
    promise = Hold(1, "promise", "pays on Friday", DUE, BAR_DAY + timedelta(3))
    found = decided(of(150, holds=(promise,)), BAR_DAY)
    assert (found.step, found.next_day) == (None, BAR_DAY + timedelta(4))
    dispute = Hold(2, "dispute", "never had it", DUE, None)
    lifted = decided(of(150, history=(REMINDED, WARNED, BARRED), barred="outgoing", holds=(dispute,)), BAR_DAY + timedelta(1))  # fmt: skip
    assert lifted.step is not None
    assert lifted.step.action == "lift"


def test_a_bar_is_lifted_on_any_day_when_less_than_100_is_in_default() -> None:
    sunday = date(2026, 4, 19)
    facts = of(99.99, history=(REMINDED, WARNED, BARRED), barred="outgoing")
    found = decided(facts, sunday)
    assert found.step is not None
    assert (found.step.action, found.step.letter, found.step.reasons[0].paragraph) == (
        "lift",
        "unbar",
        "TKG §61(7)",
    )
