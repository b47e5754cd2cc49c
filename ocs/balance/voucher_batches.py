"""Batches of vouchers: made, activated, suspended, cancelled, extended; and how many of a batch are in which state. VOUCHERS.md.

Laws
1. A batch's own row says what it is to be. Each partition that has vouchers of it has a copy, which decides redemptions there: a change is
   acknowledged when every copy has it, so that after a cancellation nothing is redeemed. What died half-way is finished by ``tend``.
2. A row is changed against what was read of it; copies take a later version over an earlier one, whoever comes last.
3. Each partition's copy counts its vouchers by state, in the call that changes a state: the sum is exact.
4. A batch that was never active, and is cancelled, leaves no voucher: nobody was ever to have one.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ocs.api_limits import (
    VOUCHER_BATCHES_MAX,
    VOUCHER_CHUNK,
    VOUCHER_DESCRIPTION_CHARS_MAX,
    VOUCHER_DIGITS_MAX,
    VOUCHER_DIGITS_MIN,
    VOUCHER_LIFE_MS_MAX,
    VOUCHER_MAKING_MS_MAX,
    VOUCHERS_PER_BATCH_MAX,
    VOUCHERS_PER_CALL_MAX,
)
from ocs.balance.functions import function
from ocs.balance.keys import VOUCHER_BATCHES, VOUCHER_LAST, VOUCHER_SECRET, home, slot_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, unpacked
from ocs.balance.voucher_codes import NAME_OCTETS, Secret, SecretFault, name_of
from ocs.clock import Clock
from ocs.limits import TOPUP_MICROS_MAX
from ocs.money import format_amount
from ocs.outcomes import Code

_TRIES: Final = 8


class BatchState(IntEnum):
    """What a batch is; that its time is over is another matter. The numbers are those of functions/vouchers.lua."""

    MAKING = 1
    CREATED = 2
    ACTIVE = 3
    SUSPENDED = 4
    CANCELLED = 5


class VoucherState(IntEnum):
    """What one voucher is, whatever its batch is. The numbers are those of functions/vouchers.lua."""

    FREE = 1
    CLAIMED = 2
    USED = 3
    BLOCKED = 4


_NEXT: Final = {
    BatchState.MAKING: {BatchState.CREATED, BatchState.CANCELLED},
    BatchState.CREATED: {BatchState.ACTIVE, BatchState.CANCELLED},
    BatchState.ACTIVE: {BatchState.SUSPENDED, BatchState.CANCELLED},
    BatchState.SUSPENDED: {BatchState.ACTIVE, BatchState.CANCELLED},
    BatchState.CANCELLED: frozenset(),
}


class BatchRefused(ValueError):
    """What is asked of a batch cannot be; the text says why, and what would be right."""


class NoBatch(BatchRefused):
    """There is no such batch, or no such voucher in it."""


class NewBatch(NamedTuple):
    """A batch that is to be made; valid in [from_ms, until_ms), each voucher worth ``amount_micros``."""

    amount_micros: int
    currency: str
    size: int
    from_ms: int
    until_ms: int
    description: str
    made_by: str
    digits: int


class Batch(NamedTuple):
    """A batch as its row has it; ``spread`` is the version that every copy is known to have, ``removed`` that its vouchers have gone."""

    id: int
    state: BatchState
    version: int
    spread: int
    amount_micros: int
    currency: str
    size: int
    from_ms: int
    until_ms: int
    description: str
    made_by: str
    made_ms: int
    digits: int
    chunk: int
    was_active: bool
    removed: bool


class Counts(NamedTuple):
    """How many vouchers of a batch are in which state."""

    free: int = 0
    claimed: int = 0
    used: int = 0
    blocked: int = 0


def serial_of(batch: int, number: int) -> str:
    """Return the serial number of a voucher: its batch and its running number from 1."""
    return f"{batch:06d}-{number:07d}"


def read_serial(text: str) -> tuple[int, int]:
    """Read a serial number; raises NoBatch for what is none."""
    batch, _, number = text.partition("-")
    if not (batch.isdecimal() and number.isdecimal() and text.isascii() and len(text) <= 20):
        raise NoBatch("not a serial number; it is printed as 000007-0000042")
    return int(batch), int(number)


class Batches:
    """The batches of a store. All methods raise StoreFault: ask again."""

    __slots__ = ("_clock", "_is_judged", "_parts", "secret")

    def __init__(self, parts: Parts, clock: Clock, secret: Secret) -> None:
        self._parts = parts
        self._clock = clock
        self._is_judged = False
        self.secret = secret

    async def now_ms(self) -> int:
        """Return the time that calls carry."""
        return self._clock.now_ms() + (await self._parts.epoch(0)).offset_ms

    async def all(self) -> list[Batch]:
        """Return all batches, the first made first."""
        flat = await self._call(VOUCHER_BATCHES, "HGETALL")
        return sorted((read_batch(text) for text in flat[1::2]), key=lambda each: each.id)

    async def find(self, batch_id: int) -> Batch:
        """Return one batch; raises NoBatch."""
        return read_batch(await self.row(batch_id))

    async def row(self, batch_id: int) -> bytes:
        """Return a batch's row as it is written; raises NoBatch."""
        text: bytes | None = await self._call(VOUCHER_BATCHES, "HGET", batch_id)
        if text is None:
            raise NoBatch(f"no batch {batch_id}")
        return text

    async def counts(self, batch_id: int) -> Counts:
        """Return how many of its vouchers are in which state (law 3)."""
        texts = await asyncio.gather(
            *(
                self._parts.store.execute(keys.slot, "GET", keys.vouchers(batch_id))
                for keys in self._parts.keys
            )
        )
        found = [unpacked(text)[7:11] for text in texts if text is not None]
        return Counts(*map(sum, zip(*found, strict=True))) if found else Counts()

    async def begin(self, new: NewBatch) -> Batch:
        """Note a batch that is about to be made. Raises BatchRefused, SecretFault, OSError."""
        now_ms = await self.now_ms()
        _judge(new, now_ms)
        if await self._call(VOUCHER_BATCHES, "HLEN") >= VOUCHER_BATCHES_MAX:
            raise BatchRefused(f"there are {VOUCHER_BATCHES_MAX} batches already")
        if await self._call(VOUCHER_SECRET, "GET") is None:
            self.secret.make()
        await self.judge_secret(first=True)
        batch_id = int(await self._call(VOUCHER_LAST, "INCR"))
        batch = Batch(
            batch_id, BatchState.MAKING, 0, 0, new.amount_micros, new.currency, new.size, new.from_ms, new.until_ms, new.description,
            new.made_by, now_ms, new.digits, VOUCHER_CHUNK, was_active=False, removed=False,
        )  # fmt: skip
        if not await self._swap(batch_id, b"", batch):
            raise StoreFault("another batch was made under this number; try again")
        return batch

    async def judge_secret(self, *, first: bool = False) -> bool:
        """Refuse a secret that is not the one under which the store's vouchers were made; False: none was. Raises SecretFault."""
        if self._is_judged:
            return True
        known = await self._call(VOUCHER_SECRET, "GET")
        if known is None and not first:
            return False
        mark = self.secret.mark()
        if known is None:
            known = await self._call(VOUCHER_SECRET, "SET", mark, "NX", "GET") or mark.encode()
        if known != mark.encode():
            raise SecretFault(
                "the secret of the vouchers is not the one that they were made under; restore it (VOUCHERS.md)"
            )
        self._is_judged = True
        return True

    async def change(self, batch_id: int, state: BatchState) -> Batch:
        """Bring a batch into a state, everywhere; again is no error. Raises NoBatch, BatchRefused."""
        now_ms = await self.now_ms()

        def changed(batch: Batch) -> Batch:
            if batch.state == state:
                return batch
            if state not in _NEXT[batch.state]:
                raise BatchRefused(
                    f"batch {batch.id} is {batch.state.name.lower()}, and cannot become {state.name.lower()}"
                )
            if state == BatchState.ACTIVE and now_ms >= batch.until_ms:
                raise BatchRefused(f"batch {batch.id} has expired; extend it first")
            active = batch.was_active or state == BatchState.ACTIVE
            return batch._replace(state=state, version=batch.version + 1, was_active=active)

        return await self._spread(await self._amended(batch_id, changed))

    async def extend(self, batch_id: int, until_ms: int) -> Batch:
        """Let a batch be valid for longer. Raises NoBatch, BatchRefused."""
        now_ms = await self.now_ms()

        def changed(batch: Batch) -> Batch:
            if batch.state in {BatchState.MAKING, BatchState.CANCELLED}:
                raise BatchRefused(f"batch {batch.id} is {batch.state.name.lower()}")
            if until_ms == batch.until_ms:
                return batch
            if not batch.until_ms < until_ms <= now_ms + VOUCHER_LIFE_MS_MAX:
                raise BatchRefused("a batch can be valid for longer, not for less, and at most 20 years")
            return batch._replace(until_ms=until_ms, version=batch.version + 1)

        return await self._spread(await self._amended(batch_id, changed))

    async def tend(self) -> int:
        """Finish what died half-way, and cancel what was begun and never made; how many batches had something."""
        tended, now_ms = 0, await self.now_ms()
        for batch in await self.all():
            if batch.state == BatchState.MAKING and now_ms - batch.made_ms > VOUCHER_MAKING_MS_MAX:
                await self.change(batch.id, BatchState.CANCELLED)
                tended += 1
            elif batch.spread < batch.version or _is_to_go(batch):
                await self._spread(batch)
                tended += 1
        return tended

    async def _amended(self, batch_id: int, changed: Any) -> Batch:
        """Change a row against what was read of it."""
        for _ in range(_TRIES):
            row = await self.row(batch_id)
            before = read_batch(row)
            after: Batch = changed(before)
            if after == before or await self._swap(batch_id, row, after):
                return after
        raise StoreFault("the batch changes faster than it can be read; try again")

    async def _spread(self, batch: Batch) -> Batch:
        """Bring a batch's row to all its copies, note that it is done, and remove what is to go (laws 1 and 4)."""
        await self._together(
            self._parts.call(
                keys.partition, "voucher_batch", (keys.part, keys.vouchers(batch.id)),
                batch.version, int(batch.state), batch.until_ms, batch.amount_micros, batch.currency, batch.from_ms,
            )
            for keys in self._parts.keys
        )  # fmt: skip
        if _is_to_go(batch):
            for chunk in range((batch.size + batch.chunk - 1) // batch.chunk):
                await self._remove(batch, chunk)

        def noted(row: Batch) -> Batch:
            if row.version != batch.version:
                return row
            return row._replace(spread=batch.version, removed=row.removed or _is_to_go(row))

        return await self._amended(batch.id, noted)

    async def _remove(self, batch: Batch, chunk: int) -> None:
        keys = self._parts.keys[home(f"serials:{batch.id}:{chunk}", len(self._parts.keys))]
        text = await self._parts.store.execute(keys.slot, "GET", keys.serials(batch.id, chunk))
        if text is None:
            return
        names = [name_of(text[at : at + NAME_OCTETS]) for at in range(0, len(text), NAME_OCTETS)]
        numbered = {chunk * batch.chunk + place + 1: name for place, name in enumerate(names)}
        await self._together(
            self._parts.call(
                partition, "voucher_remove",
                (at.part, at.vouchers(batch.id), *(at.voucher(numbered[number]) for number in numbers)), batch.id, numbers,
            )
            for partition, numbers in grouped(numbered, len(self._parts.keys))
            for at in (self._parts.keys[partition],)
        )  # fmt: skip
        await self._parts.store.execute(keys.slot, "DEL", keys.serials(batch.id, chunk))

    async def _together(self, calls: Iterable[Any]) -> None:
        for reply in await asyncio.gather(*calls):
            refuse_if_away(reply)

    async def _swap(self, batch_id: int, known: bytes, after: Batch) -> bool:
        row = json.dumps(after, ensure_ascii=False).encode()
        reply = await self._parts.store.execute(
            slot_of(VOUCHER_BATCHES), "FCALL", function("voucher_head"), 1, VOUCHER_BATCHES, batch_id, known, row
        )  # fmt: skip
        # a lost answer: what we wrote stands there
        return bool(reply) or await self._call(VOUCHER_BATCHES, "HGET", batch_id) == row

    async def _call(self, key: str, command: str, *words: str | int) -> Any:
        return await self._parts.store.execute(slot_of(key), command, key, *words)


def grouped(names: dict[int, str], partitions: int) -> list[tuple[int, list[int]]]:
    """Return numbers by the partition of their voucher, as many together as one call takes."""
    by_partition: dict[int, list[int]] = {}
    for number, name in names.items():
        by_partition.setdefault(home(name, partitions), []).append(number)
    return [
        (partition, numbers[at : at + VOUCHERS_PER_CALL_MAX])
        for partition, numbers in by_partition.items()
        for at in range(0, len(numbers), VOUCHERS_PER_CALL_MAX)
    ]


def refuse_if_away(reply: Sequence[Any]) -> None:
    """Raise StoreFault where the store has refused for now."""
    if reply[0] in {Code.SKEW, Code.EPOCH}:
        raise StoreFault(f"the store refused for now: {Code(reply[0]).name}; try again")


def _is_to_go(batch: Batch) -> bool:
    return batch.state == BatchState.CANCELLED and not batch.was_active and not batch.removed


def _judge(new: NewBatch, now_ms: int) -> None:
    if not 0 < new.amount_micros <= TOPUP_MICROS_MAX:
        raise BatchRefused(f"a voucher is worth above 0 and at most {format_amount(TOPUP_MICROS_MAX)}")
    if not 1 <= new.size <= VOUCHERS_PER_BATCH_MAX:
        raise BatchRefused(f"a batch has 1 to {VOUCHERS_PER_BATCH_MAX} vouchers")
    if not VOUCHER_DIGITS_MIN <= new.digits <= VOUCHER_DIGITS_MAX:
        raise BatchRefused(f"a code has {VOUCHER_DIGITS_MIN} to {VOUCHER_DIGITS_MAX} digits")
    if len(new.currency) != 3 or not (new.currency.isascii() and new.currency.isupper()):
        raise BatchRefused("a currency is three capital letters, such as EUR")
    if new.from_ms < 0:
        raise BatchRefused("a batch is valid from 1970 on at the earliest; leave it out for at once")
    if not max(now_ms, new.from_ms) < new.until_ms <= now_ms + VOUCHER_LIFE_MS_MAX:
        raise BatchRefused(
            "a batch is valid until an instant to come, after its first, and at most 20 years ahead"
        )
    if len(new.description) > VOUCHER_DESCRIPTION_CHARS_MAX or not new.description.isprintable():
        raise BatchRefused(f"a description is at most {VOUCHER_DESCRIPTION_CHARS_MAX} visible characters")


def read_batch(text: bytes) -> Batch:
    """Read a batch's row."""
    batch_id, state, *rest = json.loads(text)
    return Batch(batch_id, BatchState(state), *rest)
