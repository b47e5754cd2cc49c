"""What is due next for an account, and why (pure).

Laws
1. One step at a time; levels never skip, and each waits for the one before, for its letter's term and for a business day.
2. Holds stop everything but what is in favour of the customer: lifting a bar and ending a case come first, on any day.
3. What the rule pack forbids is not done, whatever the policy says.
4. The decision is a function of its inputs. It says what comes next, when, and why not today.
5. A case ends when a bar is lifted, or nothing overdue is left that is worth a letter; the next one begins with the first level.
"""

from datetime import date, timedelta
from typing import NamedTuple

from ocs.money import format_amount
from postpaid_bridge.dunning import rules_de as rules
from postpaid_bridge.dunning.calculate import (
    PRINCIPAL,
    Accrued,
    Facts,
    InDefault,
    Standing,
    accrued,
    calculate,
)
from postpaid_bridge.dunning.policy import Action, Law, LawBook, Level, Policy, Rates
from postpaid_bridge.dunning.rules_de import Reason

__all__ = ["Decision", "FlatSum", "Step", "decide"]

LIFT, END = "lift", "end"
SCOPES = {Action.BAR_OUTGOING: "outgoing", Action.BAR_ALL: "all"}


class FlatSum(NamedTuple):
    """The flat sum of a bill, and the claim whose debt and book it goes with."""

    bill: str
    claim: InDefault
    micros: int


class Step(NamedTuple):
    """What is due today. ``level`` 0: lift or end. ``scope`` what is barred from now on ("": nothing), of the services of ``books``."""

    case: int
    level: int
    action: str
    until: date | None
    letter: str
    channel: str
    fee_micros: int
    flat_sums: tuple[FlatSum, ...]
    interest: tuple[Accrued, ...]
    scope: str
    books: tuple[str, ...]
    bar_on: date | None
    reasons: tuple[Reason, ...]


class Decision(NamedTuple):
    """The standing, the step that is due (None: none), and what comes next: its level (0: none), the day on which to look again (None: only if
    something happens), and why.
    """

    standing: Standing
    step: Step | None
    next_level: int
    next_day: date | None
    why: tuple[Reason, ...]


def decide(facts: Facts, policy: Policy, laws: LawBook, rates: Rates, day: date) -> Decision:
    """Decide for an account at a day."""
    found = _decided(facts, policy, laws, rates, day)
    if found.step is not None:
        return found
    ends = [
        each.until + timedelta(1) for each in facts.objections if each.until is not None and each.until >= day
    ]
    wakes = [*ends, *([found.next_day] if found.next_day is not None else [])]
    return found._replace(next_day=min(wakes, default=None))


def _decided(facts: Facts, policy: Policy, laws: LawBook, rates: Rates, day: date) -> Decision:
    law = laws.at(day)
    standing = calculate(facts, policy, law, day)
    kind = facts.kind
    gone = rules.reason_gone(kind, standing, policy, law)
    if gone is not None:
        return Decision(standing, _closing(standing, LIFT, gone, "unbar"), 0, day, (gone,))
    if standing.overdue_micros < policy.least_micros or standing.oldest_due is None:
        if standing.case:
            paid = Reason("policy", "nothing is overdue any more that is dunned")
            return Decision(standing, _closing(standing, END, paid, ""), 0, day, (paid,))
        return _quiet(facts, standing, "nothing is overdue that is dunned")
    level = policy.after(standing.level)
    if level is None:
        return Decision(standing, None, 0, None, (Reason("policy", "the last level is done"),))
    if standing.holds:
        return _held(standing, level)
    if standing.overdue_micros < level.minimum_micros:
        least, there = format_amount(level.minimum_micros), format_amount(standing.overdue_micros)
        found = _quiet(facts, standing, f"{there} overdue, below {least} of level {level.number}")
        return found._replace(next_level=level.number)
    earliest, why = _earliest(standing, level, policy)
    reasons: tuple[Reason, ...] = ()
    if level.action in SCOPES:
        # judged for the first day that the policy allows: what time alone will allow is told so
        verdict = rules.bar(kind, standing, level, policy, law)
        if verdict.forbidden is not None:
            looked = (
                max(earliest, verdict.earliest)
                if verdict.earliest
                else _forbidden_until(standing, facts, day, earliest)
            )
            return Decision(standing, None, level.number, looked, (verdict.forbidden, why))
        reasons = _bills_missing(standing, policy)
        if reasons:
            return Decision(standing, None, level.number, _next_default(standing, facts, day), reasons)
        reasons = verdict.reasons
    if day < earliest or not policy.business_days.holds(day):
        first = policy.business_days.on_or_after(max(day, earliest))
        return Decision(standing, None, level.number, first, (why,))
    step = _step(facts, standing, level, policy, law, rates, (why, *reasons))
    return Decision(standing, step, level.number, day, step.reasons)


def _closing(standing: Standing, action: str, why: Reason, letter: str) -> Step:
    return Step(
        standing.case or standing.cases, 0, action, None, letter, "email", 0, (), (), "", (), None, (why,)
    )


def _quiet(facts: Facts, standing: Standing, text: str) -> Decision:
    """Nothing to do: look again when the next claim is overdue, or a hold ends under which everything is contested."""
    waits = [
        each.due + timedelta(1)
        for each in facts.claims
        if each.kind == PRINCIPAL and each.due >= standing.day
    ]
    ends = [each.until + timedelta(1) for each in standing.holds if each.until is not None]
    return Decision(standing, None, 0, min([*waits, *ends], default=None), (Reason("policy", text),))


def _held(standing: Standing, level: Level) -> Decision:
    ends = [each.until for each in standing.holds]
    last = max((each for each in ends if each is not None), default=None)
    open_ended = any(each is None for each in ends)
    why = tuple(
        Reason("hold", f"{each.kind} until {each.until or 'it is ended'}: {each.reason}") for each in standing.holds
    )  # fmt: skip
    following = None if open_ended or last is None else last + timedelta(1)
    return Decision(standing, None, level.number, following, why)


def _earliest(standing: Standing, level: Level, policy: Policy) -> tuple[date, Reason]:
    """Return the first day that the policy allows a level on, and what tells it."""
    assert standing.oldest_due is not None
    due = standing.oldest_due
    found = [
        (due + timedelta(level.after_due_days), f"{level.after_due_days} days after {due}, when it was due"),
        (due + timedelta(policy.grace_days + 1), f"grace of {policy.grace_days} days after {due}"),
    ]
    last = standing.last
    if last is not None:
        found.append(
            (
                last.day + timedelta(level.wait_days),
                f"{level.wait_days} days after level {last.level} of {last.day}",
            )
        )
        if last.until is not None:
            found.append((last.until + timedelta(1), f"the letter gave time until {last.until}"))
    earliest, text = max(found, key=lambda each: each[0])
    return policy.business_days.on_or_after(earliest), Reason("policy", text)


def _bills_missing(standing: Standing, policy: Policy) -> tuple[Reason, ...]:
    there = len(standing.bills_in_default)
    if there >= policy.bills_in_default:
        return ()
    return (Reason("policy", f"{there} bills in default, {policy.bills_in_default} at least"),)


def _forbidden_until(standing: Standing, facts: Facts, day: date, earliest: date) -> date | None:
    """Look again when more may be in default, a letter's term ends, or the policy's own day has come."""
    ends = [
        each.until + timedelta(1) for each in standing.steps if each.until is not None and each.until >= day
    ]
    found = [each for each in (_next_default(standing, facts, day), earliest, *ends) if each and each > day]
    return min(found, default=None)


def _next_default(standing: Standing, facts: Facts, day: date) -> date | None:
    """Return a day on which more may be in default or overdue than today; days are looked at one by one while something can still ripen."""
    ripening = [each for each in standing.overdue if each.since is None]
    coming = [each.due + timedelta(1) for each in facts.claims if each.kind == PRINCIPAL and each.due >= day]
    return day + timedelta(1) if ripening else min(coming, default=None)


def _step(
    facts: Facts, standing: Standing, level: Level, policy: Policy, law: Law | None, rates: Rates, why: tuple[Reason, ...]
) -> Step:  # fmt: skip
    day = standing.day
    interest = accrued(facts, standing, policy, law, rates)
    fee_micros, of_fee = rules.fee(facts.kind, standing, level, law)
    flat_micros = rules.flat_sum(facts.kind, policy, law)
    flat_sums: dict[str, FlatSum] = {}
    if flat_micros:
        for each in standing.overdue:
            bill = each.claim.bill
            if each.since is not None and bill not in facts.flat and bill not in flat_sums:
                flat_sums[bill] = FlatSum(bill, each, flat_micros)
    if flat_sums or (facts.flat and flat_micros):  # BGB section 288(5) sentence 3
        fee_micros, of_fee = (
            0,
            Reason("BGB §288(5)", "the flat sum covers the letter") if level.fee_micros else None,
        )
    reasons = [
        *why,
        Reason(
            "policy", f"level {level.number}, {level.name}: {format_amount(standing.overdue_micros)} overdue"
        ),
    ]
    reasons += [of_fee] if of_fee is not None else []
    reasons += [
        Reason("BGB §288(5)", f"{format_amount(each.micros)} flat sum for bill {each.bill}")
        for each in flat_sums.values()
    ]
    reasons += _of_interest(interest)
    until = day + timedelta(level.pay_within_days) if level.pay_within_days else None
    return Step(
        standing.case or standing.cases + 1, level.number, level.action.value, until, level.letter, level.channel, fee_micros,
        tuple(flat_sums.values()), tuple(each for each in interest if each.micros), SCOPES.get(level.action, ""), standing.books,
        _bar_on(level, policy, day), tuple(reasons),
    )  # fmt: skip


def _of_interest(interest: tuple[Accrued, ...]) -> list[Reason]:
    found = []
    charged = sum(each.micros for each in interest)
    if charged:
        found.append(Reason("BGB §288", f"{format_amount(charged)} interest, simple, by days (§289)"))
    gaps = sorted({stretch for each in interest for stretch in each.without_rate})
    if gaps:
        first, last = gaps[0][0], max(following for _, following in gaps) - timedelta(1)
        found.append(
            Reason("BGB §247", f"no interest for {first} to {last}: no base rate is entered for these days")
        )
    return found


def _bar_on(level: Level, policy: Policy, day: date) -> date | None:
    """Return the first day of the bar that is made, or that a warning threatens."""
    if level.action in SCOPES:
        return day
    if level.action is not Action.WARN:
        return None
    wait = 0
    for each in policy.levels[level.number :]:
        wait += each.wait_days
        if each.action in SCOPES:
            return policy.business_days.on_or_after(day + timedelta(wait))
    return None
