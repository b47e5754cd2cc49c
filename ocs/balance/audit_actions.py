"""What the records say of actions, over all partitions: what is owed, and transfers, whose money leaves one account and reaches another.

Laws
1. What an account owes for emergency credit is what its last record of an action says.
2. Money that a giver has given was received once, or given back once, or is under way: its claim says so, and the sweeper finishes it.
3. What a claim says is done has left its mark beside the account, as long as marks are kept: the two are in partitions of their own, and
   one of them may have been set back (a failover to a replica that had missed something).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, NamedTuple

from ocs import records
from ocs.balance.action_lists import claim_of
from ocs.balance.asked import Action, ActionState, Asked
from ocs.balance.claims import Step, read_claim
from ocs.balance.keys import Keys
from ocs.balance.parts import Parts, unpacked
from ocs.balance.profiles import payer, read_place
from ocs.limits import TOPUP_KEPT_MS
from ocs.records import ActionKind

_CERTAIN_MS: Final = TOPUP_KEPT_MS - 3_600_000
"""Age up to which marks and claims are surely there."""
_AT_ONCE: Final = 1_000
_STEPS: Final = {
    ActionKind.ADJUST: "done", ActionKind.EMERGENCY: "done", ActionKind.TRANSFER: "given", ActionKind.RESERVE: "held",
    ActionKind.REFUND: "closed",
}  # fmt: skip
"""The step that leaves a kind's first mark (action_steps.py); a top-up's has a key of its own."""
_DONE: Final = {ActionState.COMPLETED, ActionState.CANCELLED, ActionState.HELD}


class Leg(NamedTuple):
    """One record of a transfer: where it is, whose, and what it moved."""

    partition: int
    account: str
    credited_micros: int
    taken_micros: int
    counterpart: str
    at_ms: int = 0

    @property
    def step(self) -> str:
        """Return which step it is (action_steps.py)."""
        if self.credited_micros > 0:
            return "received"
        return "given" if self.taken_micros > 0 else "given back"


Legs = dict[tuple[str, str], list[Leg]]
"""Legs by the channel and id of their transfer."""


class ActionChain:
    """Follows what the records of one partition say of actions."""

    __slots__ = ("_partition", "legs", "owed")

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self.owed: dict[str, int] = {}
        self.legs: Legs = {}

    def add(self, record: Any) -> None:
        """Take the next record."""
        if not isinstance(record, records.Moved):
            return
        self.owed[record.account] = record.owed_micros
        if record.kind == ActionKind.TRANSFER:
            leg = Leg(
                self._partition,
                record.account,
                record.credited_micros,
                record.taken_micros,
                record.counterpart,
                record.now_ms,
            )
            self.legs.setdefault((record.channel, record.id), []).append(leg)


class Transfers:
    """Transfers of which not both sides have been read yet: partitions are read in order, so each waits for the later of its two, and no longer."""

    def __init__(self) -> None:
        self._waiting: dict[int, Legs] = {}

    def add(self, partition: int, legs: Legs) -> Legs:
        """Take the legs of a partition; all legs of those transfers whose both sides have been read with it."""
        for name, those in legs.items():
            for leg in those:
                self._waiting.setdefault(_later_side(leg), {}).setdefault(name, []).append(leg)
        return self._waiting.pop(partition, {})

    def left(self) -> Legs:
        """Return what names no partition that was read."""
        return {name: those for legs in self._waiting.values() for name, those in legs.items()}


def _later_side(leg: Leg) -> int:
    try:
        return max(leg.partition, read_place(leg.counterpart.encode())[0])
    except ValueError:
        return leg.partition


class UnderWay(NamedTuple):
    """Actions that are not confirmed, and the money of them that is promised and in no book yet, or in none any more."""

    actions: int
    micros: int


async def under_way(parts: Parts, keys: Keys) -> UnderWay:
    """Count what is under way of the claims of one partition; what transfers have given and nobody received is counted by ``transfer_faults``."""
    actions = micros = 0
    for left in (keys.claims, keys.actions):
        for name in await parts.store.execute(keys.slot, "ZRANGE", left, 0, -1):
            channel, _, action_id = name.decode().partition(":")
            text = await parts.store.execute(keys.slot, "GET", keys.claim(channel, action_id))
            if text is None:
                continue
            try:
                claim = read_claim(text)
            except (ValueError, TypeError, LookupError):
                continue  # it is told by ``lost_actions``
            begins = claim.step is Step.FIRST
            actions += left == keys.actions or begins
            topup = begins and claim.action.asked.kind is ActionKind.TOPUP
            micros += claim.action.asked.amount if topup else 0
    return UnderWay(actions, micros)


async def transfer_faults(parts: Parts, found: Legs) -> AsyncIterator[tuple[Leg, str, int]]:
    """Tell what does not hold of transfers, each with a leg of it; or, with "", what of one is under way, in micro-units.

    Partitions were read one after the other: a leg that is missing may have come since, or be older than the records that are here. Its mark
    tells, as long as it is kept.
    """
    for (channel, action_id), legs in found.items():
        by_step: dict[str, list[Leg]] = {}
        for leg in legs:
            by_step.setdefault(leg.step, []).append(leg)
        twice = [step for step, those in by_step.items() if len(those) > 1]
        if twice or {"received", "given back"} <= by_step.keys():
            yield (
                legs[0],
                f"transfer {channel}:{action_id} was {' and '.join(twice or by_step)} more than once",
                0,
            )
            continue
        micros = sum(leg.taken_micros - leg.credited_micros for leg in legs if leg.step != "received")
        if "given back" in by_step and "given" in by_step and micros:
            yield legs[0], f"transfer {channel}:{action_id} did not give back what was given: {micros}", 0
        if {"given", "received"} <= by_step.keys():
            gave, got = by_step["given"][0].taken_micros, by_step["received"][0].credited_micros
            if got > gave:
                what = f"transfer {channel}:{action_id} received more than was given: {got} of {gave}"
                yield legs[0], what, 0
        if {"received", "given back"} & by_step.keys():
            if "given" not in by_step and not await _marked(parts, legs[0], "given", channel, action_id):
                yield legs[0], f"transfer {channel}:{action_id} was received and never given", 0
            continue
        text = await claim_of(parts, channel, action_id)
        if text is not None and read_claim(text).step is Step.FIRST:
            yield legs[0], "", micros
        elif (text is not None or await _is_young(parts, legs[0])) and not await _arrived(
            parts, legs[0], channel, action_id
        ):
            yield legs[0], f"transfer {channel}:{action_id} was given, and neither received nor given back", 0


async def _arrived(parts: Parts, given: Leg, channel: str, action_id: str) -> bool:
    for step in ("received", "given back"):
        if await _marked(parts, given, step, channel, action_id):
            return True
    return False


async def _marked(parts: Parts, leg: Leg, step: str, channel: str, action_id: str) -> bool:
    """Tell whether a step was done, by its mark."""
    partition = leg.partition
    if step != leg.step and "received" in {step, leg.step}:  # on the other side
        partition = read_place(leg.counterpart.encode())[0]
    keys = parts.keys[partition]
    text = await parts.store.execute(keys.slot, "GET", keys.moved(step, channel, action_id))
    return text is not None and unpacked(text)[0] != 0


async def _is_young(parts: Parts, leg: Leg) -> bool:
    """Tell whether a step is so young that its claim has to be there, and the marks of all that came of it."""
    return 0 <= await _now_ms(parts, parts.keys[leg.partition]) - leg.at_ms < _CERTAIN_MS


async def _now_ms(parts: Parts, keys: Keys) -> int:
    part = await parts.store.execute(keys.slot, "GET", keys.part)
    seconds, micros = await parts.store.execute(keys.slot, "TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000 + int((part or b"0 0").split(b" ")[1])


async def lost_actions(parts: Parts) -> AsyncIterator[tuple[int, str, str]]:
    """Tell of every claim what does not hold (law 3): partition, account, and what. Walks over the whole keyspace; reads only."""
    by_prefix = {keys.prefix: keys for keys in parts.keys}
    for master in parts.store.masters():
        cursor = b"0"
        while True:
            cursor, names = await parts.store.execute_at(
                master, "SCAN", cursor, "MATCH", "{*}:claim:*", "COUNT", _AT_ONCE
            )
            by_keys: dict[Keys, list[str]] = {}
            for name in sorted(names):  # a walk comes in any order; what is asked does not
                text = name.decode(errors="surrogateescape")
                prefix, _, rest = text.partition("claim:")
                if rest and prefix in by_prefix:
                    by_keys.setdefault(by_prefix[prefix], []).append(text)
            for keys, those in by_keys.items():
                for fault in await _lost_of(parts, keys, those):
                    yield fault
            if cursor == b"0":
                break


async def _lost_of(parts: Parts, keys: Keys, names: list[str]) -> list[tuple[int, str, str]]:
    """Hold claims of one partition against the marks of their accounts."""
    found: list[tuple[int, str, str]] = []
    young: list[Action] = []
    now_ms = await _now_ms(parts, keys)
    for name, text in zip(names, await parts.store.execute(keys.slot, "MGET", *names), strict=True):
        if text is None:
            continue
        try:
            action = read_claim(text).action
            _ = parts.keys[action.asked.partition], parts.keys[action.asked.receiver_partition]
        except (ValueError, TypeError, LookupError) as fault:
            found.append((keys.partition, name.removeprefix(keys.prefix), f"cannot be read: {fault}"))
            continue
        if action.state in _DONE and 0 <= now_ms - action.created_ms < _CERTAIN_MS:
            young.append(action)
    for action, known in zip(
        young,
        await asyncio.gather(*(_known(parts, _marks(parts, each.asked)) for each in young)),
        strict=True,
    ):
        asked = action.asked
        if not known:
            what = (
                f"was told that {asked.kind.name} {asked.channel}:{asked.id} is done, and knows nothing of it"
            )
            found.append((asked.partition, payer(asked.account), what))
    return found


def _marks(parts: Parts, asked: Asked) -> list[tuple[Keys, str]]:
    """Return the marks that an action which is done has left."""
    keys = parts.keys[asked.partition]
    if asked.kind is ActionKind.TOPUP:
        return [(keys, keys.credit(asked.channel, asked.id))]
    marks = [(keys, keys.moved(_STEPS[asked.kind], asked.channel, asked.id))]
    if asked.kind is ActionKind.TRANSFER:
        there = parts.keys[asked.receiver_partition]
        marks.append((there, there.moved("received", asked.channel, asked.id)))
    return marks


async def _known(parts: Parts, marks: Iterable[tuple[Keys, str]]) -> bool:
    return all([await parts.store.execute(keys.slot, "EXISTS", name) for keys, name in marks])
