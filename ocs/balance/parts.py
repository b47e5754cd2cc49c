"""Partitions as a caller sees them: the epoch of each, and a function call that survives what may happen to it.

Laws
1. No charge before the partition's epoch is known for the very process that serves it now (DESIGN section 5).
2. A call is made for the process whose epoch it carries; another process does not execute it (Displaced).
3. A call whose outcome is unknown (link lost) is resolved by making the same call again: every function is idempotent
   by its own key. After the deadline the caller gets the fault.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from ocs.balance.entries import unpack as unpacked
from ocs.balance.functions import function
from ocs.balance.keys import Keys, layout
from ocs.balance.link import Displaced, LinkLost, StoreError, StoreFault, StoreUnreadable, pack
from ocs.balance.store import Store
from ocs.clock import Clock
from ocs.limits import SKEW_MS_MAX
from ocs.outcomes import Code

__all__ = ["Part", "Parts", "ScriptFault", "awaited", "packed", "script_fault", "unpacked"]


class Part(NamedTuple):
    """A partition's epoch and calendar offset, as the store wrote them (``text``), and whose word it is."""

    incarnation: str
    text: str
    epoch: int
    offset_ms: int


class ScriptFault(StoreFault):
    """A function ended in an error of its own: nothing was written (law 1 of the library)."""


_pack = msgpack.Packer(
    use_bin_type=False, unicode_errors="surrogateescape"
).pack  # one for all: a new one costs 1 µs


def packed(*values: Any) -> bytes:
    """Pack arguments as the Lua library reads them."""
    return _pack(values)  # type: ignore[no-any-return]


class Parts:
    """The partitions of one store, with what this process knows of their epochs."""

    __slots__ = ("_clock", "_deadline_ms", "_epoch_name", "_known", "keys", "store")

    def __init__(self, store: Store, clock: Clock, partitions: int, deadline_ms: int) -> None:
        self.store = store
        self.keys: tuple[Keys, ...] = layout(partitions)
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._known: list[Part | None] = [None] * partitions
        self._epoch_name = function("epoch")

    def known(self, partition: int) -> Part | None:
        """Return the partition's epoch when it was told by the process that serves it now."""
        part = self._known[partition]
        if part is None or part.incarnation != self.store.incarnation(self.keys[partition].slot):
            return None
        return part

    def forget(self, partition: int) -> None:
        """Forget an epoch that the store has refused."""
        self._known[partition] = None

    def learn(self, partition: int, done: Callable[[Part | StoreFault], None]) -> None:
        """Ask the store for the partition's epoch; a store that is another process than before raises it."""
        keys = self.keys[partition]
        incarnation = self.store.incarnation(keys.slot)

        def told(reply: Any) -> None:
            if isinstance(reply, StoreFault):
                done(reply)
                return
            try:
                text = reply.decode()
                epoch, offset = text.split(" ")
                part = Part(incarnation, text, int(epoch), int(offset))
            except ValueError:
                done(StoreUnreadable(f"partition {partition} has no epoch that can be read"))
                return
            self._known[partition] = part
            done(part)

        if not incarnation:  # no link: the store answers when there is one, or with its fault at the deadline
            self.store.call(keys.slot, pack("PING"), lambda reply: self._again(partition, reply, done))
            return
        command = pack("FCALL", self._epoch_name, 3, keys.part, keys.run, keys.stream, incarnation)
        self.store.call(keys.slot, command, told, incarnation)

    def _again(self, partition: int, reply: Any, done: Callable[[Part | StoreFault], None]) -> None:
        if isinstance(reply, StoreFault):
            done(reply)
        elif self.store.incarnation(self.keys[partition].slot):
            self.learn(partition, done)
        else:
            done(LinkLost("the link came and went"))

    async def epoch(self, partition: int) -> Part:
        """Return the partition's epoch; raises the StoreFault."""
        part = self.known(partition)
        if part is not None:
            return part
        return await awaited(lambda done: self.learn(partition, done))  # type: ignore[no-any-return]

    async def call(self, partition: int, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run one function with the guard's arguments (now, offset, skew) before its own; raises the StoreFault.

        Epochs that changed are asked again, and unknown outcomes replayed, until the deadline.
        """
        give_up_ms = self._clock.monotonic_ms() + self._deadline_ms
        while True:
            try:
                part = await self.epoch(partition)
                now_ms = self._clock.now_ms() + part.offset_ms
                body = packed(now_ms, part.offset_ms, SKEW_MS_MAX, *arguments)
                slot = self.keys[partition].slot
                reply = await self.store.execute(
                    slot,
                    "FCALL",
                    function(name),
                    len(keys),
                    *keys,
                    part.text,
                    body,
                    incarnation=part.incarnation,
                )
            except (LinkLost, Displaced):
                if self._clock.monotonic_ms() >= give_up_ms:
                    raise
                continue
            except StoreError as fault:
                raise script_fault(fault) from fault
            if reply[0] != Code.EPOCH or self._clock.monotonic_ms() >= give_up_ms:
                return reply
            self.forget(partition)

    async def bare(
        self, partition: int, name: str, keys: Sequence[str], *arguments: Any, texts: Sequence[bytes] = ()
    ) -> Any:
        """Run a function that needs no epoch, with its arguments packed, and texts behind them; raises the StoreFault.

        An unknown outcome is not tried again here: the caller's own next try is.
        """
        slot = self.keys[partition].slot
        try:
            return await self.store.execute(
                slot, "FCALL", function(name), len(keys), *keys, packed(*arguments), *texts
            )
        except StoreError as fault:
            raise script_fault(fault) from fault


def script_fault(fault: StoreError) -> StoreFault:
    """Tell an error of the function itself from one of the store."""
    return ScriptFault(fault.text) if "script" in fault.text or "user_function" in fault.text else fault


async def awaited(start: Callable[[Callable[[Any], None]], None]) -> Any:
    """Run a callback interface as a coroutine; a StoreFault handed to it is raised."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    start(settle)
    value = await future
    if isinstance(value, StoreFault):
        raise value
    return value
