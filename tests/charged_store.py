"""A Book on a real store for tests: one event loop, one link, a clock that stands still until it is moved."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ocs import records
from ocs.balance.accounts import Account as StoredAccount
from ocs.balance.accounts import Accounts, NewSubscriber
from ocs.balance.addresses import parse
from ocs.balance.book import Book, Rules
from ocs.balance.functions import function, library
from ocs.balance.parts import Parts, unpacked
from ocs.balance.profiles import payer
from ocs.balance.store import Store
from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import Ask
from ocs.charging.outcome import Outcome
from ocs.outcomes import Code
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs
from tests.real_valkey import RealValkey


class StillClock:
    """Wall-clock time that moves only when the test says so; the monotonic one is the machine's."""

    def __init__(self) -> None:
        self.wall_ms = time.time_ns() // 1_000_000

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def keep_up(self) -> None:
        """Follow the machine once it is a second ahead: the store refuses a clock that is two seconds off."""
        machine_ms = time.time_ns() // 1_000_000
        if machine_ms - self.wall_ms > 1_000:
            self.wall_ms = machine_ms


class Seen(NamedTuple):
    """What one partition holds: packed values by key, the due index, and the records since the last look."""

    values: Mapping[str, Any]
    due_ms: Mapping[str, int]
    records: tuple[records.Record, ...]
    ids: tuple[str, ...]


class ChargedStore:
    """Accounts and a Book on an emptied store; all its methods are coroutines of its own loop."""

    def __init__(self, store: Store, tariffs: Mapping[str, Tariff], rules: Rules, partitions: int) -> None:
        self.store = store
        self.clock = StillClock()
        self.parts = Parts(store, self.clock, partitions, 1_000)
        self.accounts = Accounts(self.parts, self.clock)
        self.book = Book(self.parts, Tariffs(tariffs), rules, self.clock)
        self.offset_ms = 0
        self.via = ""
        self._last_ids = ["-"] * partitions

    @property
    def now_ms(self) -> int:
        """The time that the next call will carry."""
        return self.clock.wall_ms + self.offset_ms

    async def charge(self, ask: Ask) -> Outcome:
        """Charge one request through the Book."""
        return await self._done(lambda done: self.book.charge(ask, done, self.via))

    async def account(self, record: AccountingRecord) -> Outcome:
        """Post one accounting record through the Book."""
        return await self._done(lambda done: self.book.account(record, done))

    async def _done(self, send: Callable[[Callable[[Outcome], None]], None]) -> Outcome:
        """Return what became of it; a machine that stood still between its clock and the store's (SKEW, which moves nothing) is asked again."""
        outcome = await self._sent(send)
        return outcome if outcome.code != Code.SKEW else await self._sent(send)

    async def _sent(self, send: Callable[[Callable[[Outcome], None]], None]) -> Outcome:
        self.clock.keep_up()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        send(future.set_result)
        return await future

    async def subscriber(
        self,
        msisdn: str,
        imsi: str,
        tariff: str,
        floor_micros: int = 0,
        credit_micros: int = 0,
        until_ms: int = 0,
    ) -> StoredAccount:
        """Create a subscriber; ``until_ms`` is the end of the account's life (0: none, -1: not used yet)."""
        self.clock.keep_up()
        new = NewSubscriber(msisdn, imsi, tariff, "prepaid", "EUR", floor_micros, until_ms)
        code, account = await self.accounts.create(new, credit_micros)
        assert code is Code.SUCCESS
        return account

    async def move_time(self, by_ms: int) -> None:
        """Move the calendar of every partition."""
        self.offset_ms += by_ms
        for partition, keys in enumerate(self.parts.keys):
            await self.parts.epoch(partition)
            name = function("calendar")
            await self.store.execute(keys.slot, "FCALL", name, 1, keys.part, str(self.offset_ms))
            self.parts.forget(partition)

    async def expire(
        self, partition: int, path: str, session_id: str, tombstone_ms: int, *, forced: bool
    ) -> Code:
        """Call `expire` as the sweeper does."""
        self.clock.keep_up()
        keys = self.parts.keys[partition]
        names = [keys.part, keys.book(payer(path)), keys.session(session_id), keys.due, keys.stream]
        names.append(keys.open)
        names += [keys.book(path)] if path != payer(path) else []
        reply = await self.parts.call(partition, "expire", names, path, session_id, tombstone_ms, int(forced))
        return Code(reply[0])

    async def look(self, partition: int, names: list[str]) -> Seen:
        """Read keys, due index and the records written since the last look."""
        keys = self.parts.keys[partition]
        after = self._last_ids[partition]
        values, due, rows = await asyncio.gather(
            self.store.execute(keys.slot, "MGET", *names),
            self.store.execute(keys.slot, "ZRANGE", keys.due, 0, -1, "WITHSCORES"),
            self.store.execute(keys.slot, "XRANGE", keys.stream, after if after == "-" else f"({after}", "+"),
        )
        if rows:
            self._last_ids[partition] = rows[-1][0].decode()
        return Seen(
            {name: None if text is None else text for name, text in zip(names, values, strict=True)},
            {name.decode(): int(score) for name, score in zip(due[::2], due[1::2], strict=True)},
            tuple(records.read(unpacked(row[1][1])) for row in rows),
            tuple(row[0].decode() for row in rows),
        )


class StoreRoom:
    """A connected store and its loop, opened once for many tests."""

    def __init__(self, server: RealValkey) -> None:
        self.loop = asyncio.new_event_loop()
        self.server = server
        self.store = self.run(self._open())

    async def _open(self) -> Store:
        store = Store(parse(self.server.url, {}), library=library(), title="test")
        await store.open()
        return store

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine to its end."""
        return self.loop.run_until_complete(work)

    async def charged(self, tariffs: Mapping[str, Tariff], rules: Rules, partitions: int = 2) -> ChargedStore:
        """Empty the store and open a Book on it."""
        await self.store.execute(0, "FLUSHALL", "SYNC")
        return ChargedStore(self.store, tariffs, rules, partitions)

    async def load(self, text: bytes) -> None:
        """Load one more function library beside ours."""
        await self.store.execute(0, "FUNCTION", "LOAD", "REPLACE", text)

    async def _close(self) -> None:
        await self.store.close()

    def close(self) -> None:
        """End link and loop."""
        self.run(self._close())
        self.loop.close()


@contextmanager
def store_room(server: RealValkey) -> Iterator[StoreRoom]:
    """A StoreRoom that ends."""
    room = StoreRoom(server)
    try:
        yield room
    finally:
        room.close()
