"""The German rule pack: what dunning may not do, whatever a policy says (TKG sections 61 and 71, BGB sections 286 to 289 and 309); pure.

Laws
1. What a policy makes certain is refused when it is read (``refused``); the rest is refused when it would be done (``bar``, ``fee``).
2. Sections 61(4) and 61(6) protect consumers, and by section 71(3) small firms and non-profit bodies. Businesses are barred by their contract,
   in the same order.
3. A bar stands only as long as its reason does: what would not be barred any more is lifted (``reason_gone``, section 61(7)).
4. Every answer names its paragraph. These are facts with their source, not legal advice.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from ocs.money import format_amount
from ocs.rating.document import Path
from postpaid_bridge.dunning.calculate import Standing
from postpaid_bridge.dunning.policy import Action, Law, LawBook, Level, Policy

__all__ = ["Reason", "Verdict", "bar", "fee", "flat_sum", "reason_gone", "refused"]

PROTECTED = frozenset({"consumer", "small_business", "non_profit"})
CONSUMER = "consumer"
BARS = (Action.BAR_OUTGOING, Action.BAR_ALL)
IN_WRITING = frozenset({"post"})
OCCASIONS_LEAST = 2
"""Repeated non-payment: a bill that was not paid when due, and another one, or the same after a letter's term."""


class Reason(NamedTuple):
    """Why something is done, or is not: the paragraph, and a sentence."""

    paragraph: str
    text: str


class Verdict(NamedTuple):
    """Whether a step is allowed: the reasons it stands on; or what forbids it, and from which day on time alone allows it (None: never)."""

    reasons: tuple[Reason, ...] = ()
    forbidden: Reason | None = None
    earliest: date | None = None


# ---------------------------------------------------------------- when a policy is read


def refused(policy: Policy, book: LawBook) -> Sequence[tuple[Path, str]]:
    """Return what a policy may not say: places in its file, and what would be right."""
    found: list[tuple[Path, str]] = []
    if CONSUMER in policy.kinds and policy.flat_sum:
        found.append(
            (("flat_sum",), "consumers owe no flat sum; write false, or a policy without consumers (BGB §288(5))")
        )  # fmt: skip
    for law in book.versions:
        found += _fees(policy, law)
        if PROTECTED & set(policy.kinds):
            found += _bars(policy, law)
    found += _order(policy)
    return list(dict.fromkeys(found))


def _fees(policy: Policy, law: Law) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    most = format_amount(law.reminder_fee_most_micros)
    for level in policy.levels:
        at: Path = ("levels", level.number - 1, "fee")
        if level.fee_micros > law.reminder_fee_most_micros and CONSUMER in policy.kinds:
            found.append((at, f"above the typical cost of a reminder; write {most} or less (BGB §309 no. 5)"))
        if level.fee_micros and level.number == 1 and not policy.by_date:
            found.append((at, 'the reminder that causes default is free; write "0.00" (BGB §309 no. 5)'))
    return found


def _bars(policy: Policy, law: Law) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    least = format_amount(law.bar_least_micros)
    for level in policy.levels:
        if level.action not in BARS:
            continue
        at: Path = ("levels", level.number - 1)
        if level.minimum_micros < law.bar_least_micros:
            found.append(((*at, "minimum"), f"nobody is barred below {least}; write it (TKG §61(4) s.1)"))
        warned = [each for each in policy.levels[: level.number - 1] if _warns(each)]
        if not warned:
            found.append(
                (
                    (*at, "action"),
                    "no written warning before; put a level with action warn, letter warning and channel post (TKG §61(4) s.2)",
                )
            )
        elif (days := _between(policy, warned[-1], level)) < law.warning_days + policy.receipt_days:
            wanted = law.warning_days + policy.receipt_days
            found.append(
                (
                    (*at, "wait_days"),
                    f"{days} days after the warning; {wanted} at least, {law.warning_days} from its receipt (TKG §61(4) s.2)",
                )
            )
        if level.action is Action.BAR_ALL:
            before = [
                each for each in policy.levels[: level.number - 1] if each.action is Action.BAR_OUTGOING
            ]
            if before and (days := _between(policy, before[-1], level)) < law.incoming_days:
                found.append(
                    (
                        (*at, "wait_days"),
                        f"{days} days after outgoing; {law.incoming_days} at least (TKG §61(6) s.4)",
                    )
                )
    return found


def _order(policy: Policy) -> list[tuple[Path, str]]:
    actions = [each.action for each in policy.levels]
    if Action.BAR_ALL in actions and Action.BAR_OUTGOING not in actions[: actions.index(Action.BAR_ALL)]:
        at: Path = ("levels", actions.index(Action.BAR_ALL), "action")
        return [(at, "outgoing is barred first; put bar_outgoing before (TKG §61(6))")]
    return []


def _warns(level: Level) -> bool:
    return level.action is Action.WARN and level.letter == "warning" and level.channel in IN_WRITING


def _between(policy: Policy, before: Level, level: Level) -> int:
    """Return how many days lie at least between two levels."""
    return sum(each.wait_days for each in policy.levels[before.number : level.number])


# ---------------------------------------------------------------- when a step would be taken


def bar(kind: str, standing: Standing, level: Level, policy: Policy, law: Law | None) -> Verdict:
    """Judge a bar at the standing's day."""
    if law is None:
        return Verdict(forbidden=Reason("TKG §61", "no law is known for this day; enter its version"))
    if kind in PROTECTED:
        missing = _default_missing(standing, law)
        if missing is not None:
            return Verdict(forbidden=missing)
        warned = _warned(standing)
        if warned is None:
            return Verdict(forbidden=Reason("TKG §61(4) s.2", "it was not warned of in writing in this case"))
        earliest = warned + timedelta(policy.receipt_days + law.warning_days)
        if standing.day < earliest:
            return Verdict(
                forbidden=Reason("TKG §61(4) s.2", f"warned on {warned}: two weeks from receipt end on {earliest}"),
                earliest=earliest,
            )  # fmt: skip
    if level.action is Action.BAR_ALL:
        forbidden = _incoming(standing, law)
        if forbidden is not None:
            return forbidden
    if not standing.books:
        return Verdict(forbidden=Reason("TKG §61(6)", "no service is affected"))
    return Verdict(_reasons(kind, standing, level))


def _default_missing(standing: Standing, law: Law) -> Reason | None:
    """Say what of section 61(4) sentence 1 is missing; None: nothing."""
    if standing.default_micros < law.bar_least_micros:
        least, there = format_amount(law.bar_least_micros), format_amount(standing.default_micros)
        return Reason(
            "TKG §61(4) s.1, 3-5", f"{there} in default without what is contested; {least} at least"
        )
    if standing.occasions < OCCASIONS_LEAST:
        return Reason("TKG §61(4) s.1", "not repeatedly unpaid: one bill, and no letter's term has ended")
    return None


def _warned(standing: Standing) -> date | None:
    days = [
        each.day
        for each in standing.steps
        if each.action == Action.WARN and each.letter == "warning" and each.channel in IN_WRITING
    ]
    return days[-1] if days else None


def _incoming(standing: Standing, law: Law) -> Verdict | None:
    outgoing = [each.day for each in standing.steps if each.action == Action.BAR_OUTGOING]
    if not outgoing or not standing.barred:
        return Verdict(forbidden=Reason("TKG §61(6) s.4", "outgoing service is not barred yet"))
    earliest = outgoing[-1] + timedelta(law.incoming_days)
    if standing.day < earliest:
        return Verdict(
            forbidden=Reason("TKG §61(6) s.4", f"outgoing was barred on {outgoing[-1]}: incoming from {earliest} on"),
            earliest=earliest,
        )  # fmt: skip
    return None


def _reasons(kind: str, standing: Standing, level: Level) -> tuple[Reason, ...]:
    amount = format_amount(standing.default_micros)
    found = []
    if kind in PROTECTED:
        found += [
            Reason(
                "TKG §61(4) s.1", f"{amount} in default after part payments, not paid on {standing.occasions} occasions"
            ),
            Reason("TKG §61(4) s.3-5", f"{format_amount(standing.contested_micros)} contested is not counted"),
            Reason("TKG §61(4) s.2", f"warned in writing on {_warned(standing)}, with the way to the courts"),
        ]  # fmt: skip
    else:
        found.append(Reason("contract", f"{amount} in default; TKG §61(4) does not protect this kind"))
    found.append(Reason("TKG §61(6)", "only the services whose bills are in default"))
    if level.action is Action.BAR_OUTGOING:
        found.append(Reason("TKG §61(6) s.4", "outgoing first; incoming passes"))
    else:
        found.append(Reason("TKG §61(6) s.4", "incoming a week after outgoing at the earliest"))
    found.append(Reason("TKG §164(1)", "emergency calls pass"))
    return tuple(found)


def reason_gone(kind: str, standing: Standing, policy: Policy, law: Law | None) -> Reason | None:
    """Say why a bar that stands has to be lifted; None: its reason is there still (TKG section 61(7))."""
    if not standing.barred:
        return None
    if not standing.default_micros:
        return Reason("TKG §61(7)", "nothing is in default any more")
    if kind in PROTECTED and law is not None and standing.default_micros < law.bar_least_micros:
        least, there = format_amount(law.bar_least_micros), format_amount(standing.default_micros)
        return Reason("TKG §61(7)", f"{there} in default, below {least}")
    if standing.overdue_micros < policy.least_micros:
        return Reason("TKG §61(7)", "what is overdue is below what is dunned")
    return None


def fee(kind: str, standing: Standing, level: Level, law: Law | None) -> tuple[int, Reason | None]:
    """Return the fee of a level's letter, and why it is not the policy's."""
    micros = level.fee_micros
    if not micros:
        return 0, None
    if not any(each.since is not None for each in standing.overdue):
        return 0, Reason("BGB §309 no. 5", "no fee: this letter causes default")
    if kind == CONSUMER and (law is None or micros > law.reminder_fee_most_micros):
        most = law.reminder_fee_most_micros if law is not None else 0
        return most, Reason("BGB §309 no. 5", "no more than the typical cost")
    return micros, Reason("BGB §286, §280", "the cost of a letter after default began")


def flat_sum(kind: str, policy: Policy, law: Law | None) -> int:
    """Return the flat sum for each bill in default; 0 where a consumer is party (BGB section 288(5))."""
    return 0 if kind == CONSUMER or not policy.flat_sum or law is None else law.flat_sum_micros
