"""What the records say of actions, over all partitions: what is owed, and transfers, whose money leaves one account and reaches another.

Laws
1. What an account owes for emergency credit is what its last record of an action says.
2. Money that a giver has given was received once, or given back once, or is under way: its claim says so, and the sweeper finishes it.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from ocs import records
from ocs.balance.action_lists import claim_of
from ocs.balance.claims import CLAIMED, Step, read_claim
from ocs.balance.keys import Keys
from ocs.balance.parts import Parts, unpacked
from ocs.balance.profiles import read_place
from ocs.records import ActionKind


class Leg(NamedTuple):
    """One record of a transfer: where it is, whose, and what it moved."""

    partition: int
    account: str
    credited_micros: int
    taken_micros: int
    counterpart: str

    @property
    def step(self) -> str:
        """Return which step it is (action_steps.py)."""
        if self.credited_micros > 0:
            return "received"
        return "given" if self.taken_micros > 0 else "given back"


class ActionChain:
    """Follows what the records of one partition say of actions."""

    __slots__ = ("_partition", "legs", "owed")

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self.owed: dict[str, int] = {}
        self.legs: dict[tuple[str, str], list[Leg]] = {}

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
            )
            self.legs.setdefault((record.channel, record.id), []).append(leg)


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
            actions += left == keys.actions or unpacked(text)[0] == CLAIMED
            micros += unpacked(text)[4] if left == keys.claims and unpacked(text)[0] == CLAIMED else 0
    return UnderWay(actions, micros)


async def transfer_faults(
    parts: Parts, found: dict[tuple[str, str], list[Leg]]
) -> AsyncIterator[tuple[Leg, str, int]]:
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
        if {"received", "given back"} & by_step.keys():
            if "given" not in by_step and not await _marked(parts, legs[0], "given", channel, action_id):
                yield legs[0], f"transfer {channel}:{action_id} was received and never given", 0
            continue
        text = await claim_of(parts, channel, action_id)
        if text is not None and read_claim(text).step is Step.FIRST:
            yield legs[0], "", micros
        elif text is not None and not await _arrived(parts, legs[0], channel, action_id):
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
