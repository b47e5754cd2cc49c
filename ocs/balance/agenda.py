"""The agenda of every partition: subscribers for whom something is due are tended, a few at a time.

A whole network's renewals fall due at one midnight: what is left of a round waits for the next, and the requests of those who wait
open what is due to them on their own (renewals.py). One that the store cannot read must not keep the others from their turn.
"""

import asyncio

from ocs.balance.holdings import Holdings
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.limits import AGENDA_AT_ONCE, RENEWAL_RETRY_MS

_PARTITIONS_AT_ONCE = 32


class Agenda:
    """Goes over all partitions; safe to run in several processes, and to kill anywhere."""

    __slots__ = ("_holdings", "_parts", "faults", "tended")

    def __init__(self, parts: Parts, holdings: Holdings) -> None:
        self._parts = parts
        self._holdings = holdings
        self.tended = 0
        """Subscribers that were looked at since the start."""
        self.faults = 0
        """Looks that the store, or what it keeps, did not allow; each is tried again later."""

    async def once(self) -> None:
        """Go over all partitions once."""
        partitions = range(len(self._parts.keys))
        for start in range(0, len(partitions), _PARTITIONS_AT_ONCE):
            await asyncio.gather(*map(self._partition, partitions[start : start + _PARTITIONS_AT_ONCE]))

    async def _partition(self, partition: int) -> None:
        keys = self._parts.keys[partition]
        try:
            now_ms = await self._holdings.now_ms(partition)
            found: list[bytes] = await self._parts.store.execute(
                keys.slot, "ZRANGEBYSCORE", keys.agenda, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, AGENDA_AT_ONCE
            )  # fmt: skip
            for name, score in zip(found[::2], found[1::2], strict=True):
                await self._one(partition, name.decode(), int(score), now_ms)
        except StoreFault:
            self.faults += 1

    async def _one(self, partition: int, name: str, score_ms: int, now_ms: int) -> None:
        try:
            await self._holdings.tend(partition, name, score_ms)
            self.tended += 1
        except (StoreFault, ValueError, TypeError):
            self.faults += 1
            await self._holdings.put_off(partition, name, now_ms + RENEWAL_RETRY_MS)
