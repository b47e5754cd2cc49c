"""Lets automatic orders be looked at as soon as money went: follows the streams with a group of its own.

Laws
1. A record tells alone that an account's money has moved; what is available is read then. Records may come twice, or late.
2. What is told here is a matter of time alone: an order that nobody told of is looked at all the same (executing.py, LOOK_MS). So a record that
   cannot be read, or is missing, is passed over here; others tell of it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from ocs import records
from ocs.balance.accounts import Account
from ocs.balance.topup_orders import Orders
from ocs.stream import Batch, Reader
from ocs.topups.executing import Executor

GROUP: Final = "topups"
"""The reader's group on the streams."""
_TRIES: Final = 4


class Watcher:
    """Takes what a reader finds to the orders."""

    def __init__(
        self,
        reader: Reader,
        orders: Orders,
        read: Callable[[int, str], Awaitable[Account | None]],
        executor: Executor,
    ) -> None:
        self._reader, self._orders, self._read, self._executor = reader, orders, read, executor

    async def once(self) -> bool:
        """Take one look; False where there was nothing. Raises StoreFault, ArchiveFault."""
        batches = await self._reader.poll()
        for batch in batches:
            moved = sorted(_accounts(batch))
            for account in await self._orders.watched(batch.partition, moved):
                await self._look(batch.partition, account)
        await self._reader.acknowledge({each.partition: each.last_id for each in batches})
        return bool(batches)

    async def _look(self, partition: int, account: str) -> None:
        """Let an account's automatic orders be looked at now, where less is available than they say."""
        found = await self._read(partition, account)
        if found is None:
            return
        now_ms = await self._orders.now_ms(partition)
        for kept in await self._orders.of_account(partition, account):
            standing = kept
            for _ in range(_TRIES):
                order = standing.order
                wants = self._executor.wants(order, found.book.available_micros, now_ms)
                if order.period or not wants or order.look_ms <= now_ms:
                    break
                if await self._orders.replace(standing, order._replace(look_ms=now_ms)) is not None:
                    break
                again = await self._orders.at(partition, order.name)
                if again is None:
                    break
                standing = again


def _accounts(batch: Batch) -> set[str]:
    found = set()
    for each in batch.entries:
        try:
            found.add(each.record().account)
        except records.RecordError:
            continue
    return found - {""}
