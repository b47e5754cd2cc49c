"""A batch of vouchers is made: codes are drawn, told once, and kept as keyed hashes. VOUCHERS.md.

Laws
1. A batch is whole or void: it becomes one by ``finish``, after all its vouchers are kept and whoever makes it has them. Before that
   nothing can be activated; what dies is cancelled (at once by ``give_up``, else by voucher_batches.tend) and made anew.
2. The names of a chunk's vouchers are written down before they are made, so that none is left behind that nobody can remove.
3. No more than a chunk is in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from ocs.balance.keys import home
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.voucher_batches import (
    Batch,
    Batches,
    BatchRefused,
    BatchState,
    NewBatch,
    grouped,
    refuse_if_away,
    serial_of,
)
from ocs.balance.voucher_codes import draw, name_of
from ocs.outcomes import Code

_DRAWS_MAX = 100
_CROWDED = "too many codes of so few digits are taken; make longer ones"


class Made:
    """One voucher as it is exported, this once; its code is in no text of it."""

    __slots__ = ("code", "serial")

    def __init__(self, serial: str, code: str) -> None:
        self.serial = serial
        self.code = code


class Making:
    """One batch that is being made. All methods raise StoreFault: then the batch is to be given up."""

    __slots__ = ("_batches", "_parts", "_row", "batch", "draw")

    def __init__(self, batches: Batches, parts: Parts, batch: Batch, row: bytes) -> None:
        self._batches = batches
        self._parts = parts
        self._row = row
        self.batch = batch
        self.draw: Callable[[int], str] = draw

    async def chunks(self) -> AsyncIterator[list[Made]]:
        """Make all vouchers, a chunk at a time, in the order of their numbers. Raises BatchRefused where the batch was cancelled meanwhile."""
        for chunk in range((self.batch.size + self.batch.chunk - 1) // self.batch.chunk):
            if await self._batches.row(self.batch.id) != self._row:
                raise BatchRefused(f"batch {self.batch.id} was cancelled while it was made")
            yield await self._make(chunk)

    async def finish(self) -> Batch:
        """Let the batch be one: all is made, and kept by who has asked for it."""
        return await self._batches.change(self.batch.id, BatchState.CREATED)

    async def give_up(self) -> None:
        """Let the batch be void; where the store does not hear of it, ``tend`` does it later."""
        with suppress(StoreFault, BatchRefused):
            await asyncio.shield(self._batches.change(self.batch.id, BatchState.CANCELLED))

    async def _make(self, chunk: int) -> list[Made]:
        batch = self.batch
        first = chunk * batch.chunk + 1
        numbers = range(first, min(first + batch.chunk, batch.size + 1))
        codes: dict[int, str] = {}
        names: dict[int, bytes] = {}
        wanted = list(numbers)
        for _ in range(_DRAWS_MAX):
            self._draw(wanted, codes, names)
            await self._note(chunk, [names[number] for number in numbers])
            wanted = await self._keep({number: name_of(names[number]) for number in wanted})
            if not wanted:
                return [Made(serial_of(batch.id, number), codes[number]) for number in numbers]
        raise BatchRefused(_CROWDED)

    def _draw(self, wanted: list[int], codes: dict[int, str], names: dict[int, bytes]) -> None:
        """Draw a code for each wanted number, none like another of the chunk."""
        for number in wanted:
            names.pop(number, None)
        taken = set(names.values())
        for number in wanted:
            for _ in range(_DRAWS_MAX):
                codes[number] = self.draw(self.batch.digits)
                names[number] = self._batches.secret.octets(codes[number])
                if names[number] not in taken:
                    break
            else:
                raise BatchRefused(_CROWDED)
            taken.add(names[number])

    async def _note(self, chunk: int, names: list[bytes]) -> None:
        keys = self._parts.keys[home(f"serials:{self.batch.id}:{chunk}", len(self._parts.keys))]
        await self._parts.store.execute(keys.slot, "SET", keys.serials(self.batch.id, chunk), b"".join(names))

    async def _keep(self, names: dict[int, str]) -> list[int]:
        """Let the store have vouchers by their names; the numbers of those whose code another voucher has."""
        batch, calls = self.batch, []
        for partition, numbers in grouped(names, len(self._parts.keys)):
            keys = self._parts.keys[partition]
            calls.append(
                self._parts.call(
                    partition, "voucher_add",
                    (keys.part, keys.vouchers(batch.id), *(keys.voucher(names[number]) for number in numbers)),
                    batch.id, batch.amount_micros, batch.currency, batch.from_ms, batch.until_ms, numbers,
                )
            )  # fmt: skip
        taken: list[int] = []
        for reply in await asyncio.gather(*calls):
            refuse_if_away(reply)
            if reply[0] != Code.SUCCESS:
                raise BatchRefused(f"batch {batch.id} was cancelled while it was made")
            taken += reply[1]
        return taken


async def begin(batches: Batches, parts: Parts, new: NewBatch) -> Making:
    """Begin a batch. Raises BatchRefused, SecretFault, OSError, StoreFault."""
    batch = await batches.begin(new)
    return Making(batches, parts, batch, await batches.row(batch.id))
