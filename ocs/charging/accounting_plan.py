"""From an accounting record to a Plan: what its usage costs; pure.

Laws
1. Usage is planned as an Initial that asks for what it has used, at the record's own time: the same rates, sources and ladders as online.
2. What a record tells of its network, access and access point holds for the records after it, as a request online tells it for the next
   grant: its own usage came before. A session's first record has only its own word.
3. Octets and events belong to the window in which their container ended, each second to the window in which it began.
4. Of a call the length so far is known, and what is new of it is posted; it never becomes shorter, whatever comes late.
5. A session began when its START says. Where that tells no time, or one to come, nobody knows: its receipt may lie long after, behind an outage.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ocs.charging.accounting import AccountingRecord, Call
from ocs.charging.ask import EVENT, INITIAL, NOT_GIVEN, UPDATE, AskedService, Units
from ocs.charging.information import kept, merged, told
from ocs.charging.plan import ANY, WIDTH, Known, LadderText, Plan, QuotaRules, Wallet, plan
from ocs.rating.tariff import Tariff
from ocs.units import Unit

_Planned = Callable[[tuple[AskedService, ...], int], Plan]

_EARLIER, _CLOSES, _PIECES = 12, 14, 11
"""Places in a service of a plan (plan.lua, A_EARLIER, A_CLOSES, A_PIECES, counted from 0)."""


class Lasted(NamedTuple):
    """How long a session's call has lasted, as the store keeps it (accounting.lua): when it began and the instant reached, in Unix
    seconds (0: not known), and the seconds posted.
    """

    anchor_s: int = 0
    reached_s: int = 0
    length_s: int = 0

    def after(self, call: Call, *, starts: bool, now_s: int) -> "Lasted":
        """Return it after a record; no instant lies in the future."""
        instant_s = min(call.instant_s, now_s)
        anchor_s = instant_s if starts and instant_s else self.anchor_s
        if call.length_s != NOT_GIVEN:
            return Lasted(anchor_s, self.reached_s, max(self.length_s, call.length_s))
        reached_s = max(self.reached_s, instant_s)
        return Lasted(anchor_s, reached_s, max(self.length_s, reached_s - anchor_s if anchor_s else 0))

    def tells(self, call: Call) -> bool:
        """Tell whether the length of a call is known after its record."""
        return bool(self.anchor_s) or call.length_s != NOT_GIVEN


class Rated(NamedTuple):
    """What a session of accounting is rated by, as the store told it last: Known, and how long its call has lasted."""

    known: Known
    lasted: Lasted


class Made(NamedTuple):
    """The plan of a record, the facts of its session from then on, what it makes of a call, and the instant that prices it."""

    plan: Plan
    facts: str
    lasted: Lasted
    at_ms: int


def accounting_plan(
    record: AccountingRecord,
    tariff: Tariff | None,
    rules: QuotaRules,
    ladder_text: LadderText,
    at_ms: int,
    now_ms: int,
    rated: Rated | None,
    wallet: Wallet | None,
) -> Made:
    """Make the plan of a record that is priced at an instant; ``rated`` is None where its session is not known here."""
    ask = record.ask
    lasted = rated.lasted if rated is not None else Lasted()
    if record.call is not None:
        now_s = now_ms // 1000
        after = lasted.after(record.call, starts=ask.kind == INITIAL, now_s=now_s)
        used = Units(seconds=after.length_s - lasted.length_s)
        ask = ask._replace(services=tuple(each._replace(used=used) for each in ask.services))
        until_s = after.reached_s if record.call.length_s == NOT_GIVEN else min(record.call.instant_s, now_s)
        at_ms, lasted = until_s * 1000 or at_ms, after
    elif ask.kind == INITIAL:
        # law 5
        lasted = lasted._replace(anchor_s=record.at_s if record.at_s * 1000 <= now_ms else 0)
    known = rated.known if rated is not None else None
    # a call of which nothing is known is what the first record says that tells
    untold = known is not None and not known.facts and ask.family != "data"
    if known is not None and not untold:
        ask = ask._replace(information=None)  # law 2
    ask = ask._replace(kind=UPDATE if ask.kind != EVENT else INITIAL)
    fresh = known._replace(marks={}, mixed=False) if known is not None and not untold else None

    def planned(services: tuple[AskedService, ...], instant_ms: int) -> Plan:
        return plan(ask._replace(services=services), tariff, rules, ladder_text, instant_ms, fresh, wallet)

    made = planned(ask.services, at_ms)
    if tariff is not None and ask.family is not None:
        if any(each.at_s for each in record.slices) and _has_windows(made, tariff, ask.family):
            made = _sliced(record, made, planned, at_ms, now_ms)
        if known is not None:
            _follow(made, known.marks, tariff, ask.family)
    if untold:
        made = made._replace(before="")
        return Made(made, made.facts, lasted, at_ms)
    return Made(made, _facts_after(record, made, tariff, known), lasted, at_ms)


def _has_windows(made: Plan, tariff: Tariff, family: str) -> bool:
    """Tell whether any of a plan's services has prices that change with time."""
    rates = [tariff.marked(mark, family) for mark in made.marks()]
    return any(found is not None and len(found[0].ladders) > 1 for found in rates)


def _sliced(record: AccountingRecord, made: Plan, planned: _Planned, at_ms: int, now_ms: int) -> Plan:
    """Give each container's units to the ladder of its own window (law 3)."""
    ladders = list(made.ladders)
    pieces: dict[str, list[int]] = {}
    asked = {each.key: each for each in record.ask.services}
    units_of = dict(zip(made.services[::WIDTH], made.units(), strict=True))
    for each in record.slices:
        # octets came before the instant that ends their container; seconds are counted back from it
        last_ms = 0 if units_of[each.key] == Unit.SECONDS else 1
        instant_ms = min(each.at_s * 1000, now_ms) - last_ms if each.at_s else at_ms
        of_it = asked[each.key]._replace(used=each.used, after=each.used._replace(seconds=NOT_GIVEN))
        part = planned((of_it,), instant_ms)
        for place, units in zip(part.pieces[::2], part.pieces[1::2], strict=True):
            text = part.ladders[place - 1]
            if text not in ladders:
                ladders.append(text)
            pieces.setdefault(each.key, []).extend((ladders.index(text) + 1, units))
    services = list(made.services)
    for place in range(0, len(services), WIDTH):
        services[place + _PIECES] = len(pieces.get(services[place], ())) // 2
    flat = [value for key in services[::WIDTH] for value in pieces.get(key, ())]
    return made._replace(ladders=ladders, services=services, pieces=flat)


def _follow(made: Plan, marks: Mapping[str, str], tariff: Tariff, family: str) -> None:
    """Let each service go on from the rate that the session has it on; one that rounds otherwise closes its chain (plan.py, law 2)."""
    for place in range(0, len(made.services), WIDTH):
        mark = marks.get(made.services[place], "")
        now = made.services[place + _EARLIER]
        if not mark or mark == now:
            continue
        earlier, following = tariff.marked(mark, family), tariff.marked(now, family)
        made.services[place + _EARLIER] = mark
        if earlier is not None and following is not None:
            made.services[place + _CLOSES] = int(not following[0].follows(earlier[0]))


def _facts_after(record: AccountingRecord, made: Plan, tariff: Tariff | None, known: Known | None) -> str:
    """Return the facts of the session after the record (law 2); ANY where they stay."""
    family = record.ask.family
    if known is None or family != "data" or tariff is None or not made.looked_at:
        return made.facts if known is None else ANY
    before = kept(known.facts)
    return merged(family, before, told(family, record.ask.information, tariff.numbering, made.looked_at)).text
