"""Dunning's laws on random accounts, day by day: levels never skip, holds and payments stop it, nobody is barred below the threshold."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid_bridge.dunning.calculate import CLOSING, Done, Facts, Hold, Objection, accrued, calculate
from postpaid_bridge.dunning.decide import Decision, decide
from tests.bridge_accounts import EURO
from tests.dunning_scene import DUE, LAW, RATES, decided, owed, policy_of

KINDS = ("consumer", "business", "small_business", "non_profit")
DAYS = 110
CENT = 10_000
amounts = st.one_of(st.sampled_from((499, 500, 9_999, 10_000, 10_001, 250)), st.integers(1, 40_000))
claims = st.lists(st.tuples(amounts, st.integers(0, 45)), min_size=1, max_size=4)
payments = st.lists(st.tuples(st.integers(0, DAYS), amounts), max_size=4)
holds = st.lists(
    st.tuples(
        st.sampled_from(("dispute", "promise", "manual")), st.integers(0, DAYS), st.one_of(st.none(), st.integers(0, 40))
    ),
    max_size=2,
)  # fmt: skip
objections = st.lists(st.tuples(st.integers(1, 4), st.one_of(st.none(), amounts)), max_size=2)


class Life:
    """An account over days: what it owes and pays, and what dunning does of it; the job's own way of taking steps, without a database."""

    def __init__(
        self, kind: str, bills: list[tuple[int, int]], objected: list[tuple[int, int | None]]
    ) -> None:
        claims = [
            owed(cents / 100, number=number, due=DUE + timedelta(days))
            for number, (cents, days) in enumerate(bills, 1)
        ]
        contested = [Objection(f"2026-{bill:06d}", cents and cents * CENT) for bill, cents in objected]
        self.facts = Facts(1, kind, claims, contested)
        self.scopes: list[str] = []

    def pay(self, cents: int, day: date) -> None:
        """Pay the oldest first."""
        left, found = cents * CENT, []
        for each in self.facts.claims:
            part = min(left, each.open_micros)
            left -= part
            if each.open_micros - part:
                found.append(
                    each._replace(
                        open_micros=each.open_micros - part,
                        paid=(*each.paid, (day, part)) if part else each.paid,
                    )
                )
        self.facts = self.facts._replace(claims=found)

    def day(self, day: date) -> Decision:
        found = decided(self.facts, day)
        step = found.step
        if step is not None:
            done = Done(step.case, step.level, step.action, day, step.until, step.letter, step.channel)
            barred = "" if step.action == "lift" else step.scope or self.facts.barred
            charged = dict(self.facts.charged)
            for each in step.interest:
                charged[each.claim.id] = charged.get(each.claim.id, 0) + each.micros
            flat = self.facts.flat | {each.bill for each in step.flat_sums}
            self.facts = self.facts._replace(
                history=(*self.facts.history, done), barred=barred, charged=charged, flat=flat
            )
        self.scopes.append(self.facts.barred)
        return found


def lived(kind: str, bills: Any, paid: Any, held: Any, objected: Any) -> list[tuple[Facts, Decision]]:
    """What was known and decided on each day."""
    life, found = Life(kind, bills, objected), []
    life.facts = life.facts._replace(
        holds=tuple(
            Hold(n, kind_of, "why", DUE + timedelta(first), None if days is None else DUE + timedelta(first + days))
            for n, (kind_of, first, days) in enumerate(held, 1)
        )
    )  # fmt: skip
    for number in range(DAYS):
        day = DUE + timedelta(number)
        for on, cents in paid:
            if on == number:
                life.pay(cents, day)
        before = life.facts
        found.append((before, life.day(day)))
    return found


@settings(max_examples=150)
@given(st.sampled_from(KINDS), claims, payments, holds, objections)
def test_levels_never_skip_and_keep_their_waiting_times(
    kind: str, bills: Any, paid: Any, held: Any, objected: Any
) -> None:
    policy = policy_of(kind)
    steps = [each.step for _, each in lived(kind, bills, paid, held, objected) if each.step is not None]
    days = [
        each.standing.day for _, each in lived(kind, bills, paid, held, objected) if each.step is not None
    ]
    last: dict[int, int] = {}
    for step in steps:
        if step.action in CLOSING:
            continue
        assert step.level == last.get(step.case, 0) + 1
        last[step.case] = step.level
    for (one, first), (other, second) in pairwise(zip(steps, days, strict=True)):
        if other.level and one.level:
            assert (second - first).days >= policy.level(other.level).wait_days
            assert policy.business_days.holds(second)


@settings(max_examples=150)
@given(st.sampled_from(KINDS), claims, payments, holds, objections)
def test_no_step_is_taken_during_a_hold_but_what_is_in_favour_of_the_customer(
    kind: str, bills: Any, paid: Any, held: Any, objected: Any
) -> None:
    for facts, found in lived(kind, bills, paid, held, objected):
        if found.step is not None and any(each.stops(found.standing.day) for each in facts.holds):
            assert found.step.action in CLOSING
            assert (found.step.fee_micros, found.step.interest, found.step.flat_sums) == (0, (), ())


@settings(max_examples=150)
@given(st.sampled_from(KINDS), claims, payments, holds, objections)
def test_nobody_whom_the_law_protects_is_barred_below_100_or_unwarned_and_whoever_has_paid_is_not_barred(
    kind: str, bills: Any, paid: Any, held: Any, objected: Any
) -> None:
    warned: dict[int, date] = {}
    for facts, found in lived(kind, bills, paid, held, objected):
        step, day = found.step, found.standing.day
        contested = sum(
            sum(each.open_micros for each in facts.claims if each.bill == bill)
            if micros is None
            else min(micros, sum(each.open_micros for each in facts.claims if each.bill == bill))
            for bill, micros in {each.bill: each.amount_micros for each in facts.objections}.items()
        )
        if step is not None and step.action == "warn":
            warned[step.case] = day
        if step is not None and step.scope:
            assert facts.claims
            assert not any(each.stops(day) for each in facts.holds)
            if kind != "business":
                due = sum(each.open_micros for each in facts.claims if each.due < day)
                assert due >= 100 * EURO
                assert found.standing.default_micros >= 100 * EURO
                assert (day - warned[step.case]).days >= 14
            assert (
                found.standing.open_micros - contested >= found.standing.default_micros
                or len(facts.objections) > 1
            )
        after = found.step is not None and found.step.action == "lift"
        if facts.barred and not after:
            assert facts.claims, "who has paid all is barred still"


@settings(max_examples=200)
@given(st.sampled_from(KINDS), claims, st.integers(1, DAYS), amounts, objections)
def test_a_payment_never_makes_the_standing_worse(
    kind: str, bills: Any, days: int, cents: int, objected: Any
) -> None:
    day, policy = DUE + timedelta(days), policy_of(kind)
    life = Life(kind, bills, objected)
    history = (
        Done(1, 1, "remind", DUE + timedelta(50), DUE + timedelta(60), "reminder", "email"),
        Done(1, 2, "warn", DUE + timedelta(70), DUE + timedelta(84), "warning", "post"),
    )
    life.facts = life.facts._replace(history=history)
    before = calculate(life.facts, policy, LAW.at(day), day)
    interest = sum(each.micros for each in accrued(life.facts, before, policy, LAW.at(day), RATES))
    step = decided(life.facts, day).step
    life.pay(cents, day)
    after = calculate(life.facts, policy, LAW.at(day), day)
    assert after.overdue_micros <= before.overdue_micros
    assert after.default_micros <= before.default_micros
    assert after.open_micros <= before.open_micros
    assert set(after.bills_in_default) <= set(before.bills_in_default)
    assert after.occasions <= before.occasions
    assert sum(each.micros for each in accrued(life.facts, after, policy, LAW.at(day), RATES)) <= interest
    now = decided(life.facts, day).step
    if now is not None and now.action not in CLOSING:
        assert step is not None
        assert now.level <= step.level


@settings(max_examples=100)
@given(st.sampled_from(KINDS), claims, st.integers(1, DAYS), objections, st.randoms(use_true_random=False))
def test_a_decision_is_a_function_of_its_inputs(
    kind: str, bills: Any, days: int, objected: Any, chance: Any
) -> None:
    facts, day = Life(kind, bills, objected).facts, DUE + timedelta(days)
    shuffled = list(facts.claims)
    chance.shuffle(shuffled)
    one = decide(facts, policy_of(kind), LAW, RATES, day)
    assert one == decide(facts, policy_of(kind), LAW, RATES, day)
    other = decide(facts._replace(claims=shuffled), policy_of(kind), LAW, RATES, day)
    assert one == other


@settings(max_examples=150)
@given(st.sampled_from(KINDS), claims, payments, holds, objections)
def test_the_day_on_which_to_look_again_misses_no_step(
    kind: str, bills: Any, paid: Any, held: Any, objected: Any
) -> None:
    """Between the day of a decision and the day that it names nothing is due, as long as nothing happens."""
    days = lived(kind, bills, (), held, objected)
    for (_, found), (_, following) in pairwise(days):
        if found.step is None and following.step is not None:
            begins = {each.since for each in days[0][0].holds}  # adding one wakes its account
            wake, day = found.next_day, following.standing.day
            assert day in begins or (wake is not None and wake <= day)
