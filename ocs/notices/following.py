"""From the stream to the queues: reads what is new, derives notices, puts them where they are wanted, and acknowledges.

Laws
1. Notices are safe in the queues before marks are written, and marks before the place is acknowledged: dying in between derives the same
   again, under the same ids (derive.py).
2. Who may want a record is read after the record was: a subscription that was there before it is told.
3. A break in the ids is a notice of its own (alarm.records), a line in the log and a count.
4. A record that cannot be read stops its partition, and is told (records.py, law 3); the others go on.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ocs import records
from ocs.api_limits import ALLOWANCES_KEPT_MAX
from ocs.balance.keys import slot_of
from ocs.balance.parts import Parts
from ocs.balance.profiles import read_profile
from ocs.balance.stored_book import BookUnreadable, read_book
from ocs.notices.derive import Allowance, Known, RowName, Rules, derive, opened_in, rows_of
from ocs.notices.notice import Fact, Notice
from ocs.notices.queue import Queue
from ocs.notices.subscriptions import SLOT_TAG, Subscription, Subscriptions
from ocs.stream import Batch, Break, Reader

GROUP: Final = "notices"
"""The reader's group on the streams."""
_MARKS: Final = f"{SLOT_TAG}:marks:"
"""Hashes by partition: path -> mark (derive.py)."""


@dataclass(slots=True)
class Followed:
    """Totals since the start, for metrics; ``lag_ms`` is how old the newest record was that was read last, 0 with nothing left."""

    records: int = 0
    notices: int = 0
    refused: int = 0
    """Notices for whose subscription too many wait."""
    lag_ms: int = 0


class Targets:
    """Who is to be told: the subscriptions of the store, read again when they change, and the rules of the settings."""

    __slots__ = ("_ending", "_known", "_revision", "_rules", "_subscriptions")

    def __init__(self, subscriptions: Subscriptions, rules: Iterable[Subscription]) -> None:
        self._subscriptions = subscriptions
        self._rules = tuple(rules)
        self._known: list[Subscription] = []
        self._ending: frozenset[str] = frozenset()
        self._revision = -1

    async def read(self) -> list[Subscription]:
        """Return them as they are now. Raises StoreFault."""
        revision = await self._subscriptions.revision()
        if revision != self._revision:
            self._known = await self._subscriptions.all()
            self._revision = revision
        return [*self._rules, *(each for each in self._known if not each.ended)]

    async def tidy(self, queue: Queue) -> None:
        """Forget what waits for subscriptions that were taken back, and then them. Raises StoreFault.

        Of those that the call before has met: what was under way for them then, a batch or a delivery, is over by now, and puts nothing
        behind that nobody would ever forget.
        """
        ended = [each for each in self._known if each.ended]
        for each in ended:
            if each.id in self._ending:
                await queue.purge(each.id)
                await self._subscriptions.forget(each)
        self._ending = frozenset(each.id for each in ended)


class Follower:
    """Takes what a reader finds to the queues."""

    def __init__(
        self,
        parts: Parts,
        reader: Reader,
        targets: Targets,
        queue: Queue,
        rules: Rules,
        now_ms: Callable[[], int],
        log: Any,
    ) -> None:
        self._parts = parts
        self._reader = reader
        self._targets = targets
        self._queue = queue
        self._rules = rules
        self._now_ms = now_ms
        self._log = log
        self._allowances: OrderedDict[RowName, Allowance] = OrderedDict()
        self._stopped: set[int] = set()
        self.woken: Callable[[str], None] = lambda _subscription: None
        """Called with each subscription that has something new in its queue."""
        self.done = Followed()

    async def once(self) -> bool:
        """Take one look at the stream to the queues; False where there was nothing. Raises StoreFault, ArchiveFault."""
        batches = [each for each in await self._reader.poll() if each.partition not in self._stopped]
        if not batches:
            self.done.lag_ms = 0
            return False
        targets = await self._targets.read()
        places: dict[int, str] = {}
        for batch in batches:
            place = await self._take(batch, targets)
            if place:
                places[batch.partition] = place
        await self._reader.acknowledge(places)
        return True

    async def _take(self, batch: Batch, targets: Sequence[Subscription]) -> str:
        """Derive the notices of a batch and put them into the queues; the id up to which that is done, "" where it is none."""
        found = self._read(batch)
        known = await self._known(batch.partition, [record for _id, record in found])
        notices: list[Notice] = [_alarm(batch.broken, self._now_ms())] if batch.broken else []
        marks: dict[str, str] = {}
        for entry_id, record in found:
            derived = derive(
                batch.partition, entry_id, record, self._rules, known._replace(marks={**known.marks, **marks})
            )
            notices += derived.notices
            marks |= derived.marks
        await self._put(notices, targets)
        await self._mark(batch.partition, marks)
        self._tell(batch)
        self.done.records += len(found)
        self.done.notices += len(notices)
        if found:
            self.done.lag_ms = max(0, self._now_ms() - found[-1][1].now_ms)
            return found[-1][0]
        return "" if batch.entries else batch.last_id

    def _read(self, batch: Batch) -> list[tuple[str, records.Record]]:
        """Read the records of a batch up to the first that cannot be read (law 4)."""
        found = []
        for entry in batch.entries:
            try:
                record = entry.record()
            except records.RecordError as fault:
                self._stopped.add(batch.partition)
                self._log.error(
                    "a record cannot be read: its partition is followed no further",
                    partition=batch.partition, record=entry.id, why=str(fault),
                )  # fmt: skip
                break
            found.append((entry.id, record))
        return found

    @property
    def stopped(self) -> int:
        """Return how many partitions are followed no further."""
        return len(self._stopped)

    def _tell(self, batch: Batch) -> None:
        if batch.broken is not None:
            self._log.error("records of the stream are missing", **batch.broken._asdict())

    async def _put(self, notices: Sequence[Notice], targets: Sequence[Subscription]) -> None:
        """Put notices into the queues of those who want them."""
        for target in targets if notices else ():
            wanted = [each for each in notices if target.takes(each)]
            if wanted:
                self.done.refused += await self._queue.add(target.id, wanted, self._now_ms())
                self.woken(target.id)

    async def put(self, notices: Sequence[Notice]) -> None:
        """Put notices that are of no record (expiry.py) into the queues of those who want them. Raises StoreFault."""
        await self._put(notices, await self._targets.read())
        self.done.notices += len(notices)

    # -- what records do not say themselves

    async def _known(self, partition: int, found: Sequence[records.Record]) -> Known:
        rows: set[RowName] = set()
        for record in found:
            for name, allowance in opened_in(record):
                self._keep(name, allowance)
            rows |= {(path, part.id, part.start_ms) for path, part in rows_of(record)}
        missing = {name[0] for name in rows if name not in self._allowances}
        if missing:
            await self._look_up(partition, sorted(missing))
        allowances = {name: self._allowances[name] for name in rows if name in self._allowances}
        return Known(allowances, await self._marks(partition, found))

    def _keep(self, name: RowName, allowance: Allowance) -> None:
        product = allowance.product or getattr(self._allowances.get(name), "product", "")
        self._allowances[name] = allowance._replace(product=product)
        self._allowances.move_to_end(name)
        if len(self._allowances) > ALLOWANCES_KEPT_MAX:
            self._allowances.popitem(last=False)

    async def _look_up(self, partition: int, paths: Sequence[str]) -> None:
        """Read the rows that subscribers have now, and whose they are."""
        keys = self._parts.keys[partition]
        names = [key for path in paths for key in (keys.book(path), keys.profile(path))]
        texts = await self._parts.store.execute(keys.slot, "MGET", *names)
        for path, book, profile in zip(paths, texts[::2], texts[1::2], strict=True):
            if book is None or profile is None:
                continue
            with suppress(BookUnreadable, ValueError, TypeError):  # the audit tells of them
                held = read_profile(profile, path, partition, 0).products
                product = {each.number: each.product_key for each in held}
                for row in read_book(book).rows:
                    if not row.is_counter:
                        told = Allowance(row.amount, row.unit, row.until_ms, product.get(row.id // 32, ""))
                        self._keep((path, row.id, row.start_ms), told)

    async def _marks(self, partition: int, found: Sequence[records.Record]) -> dict[str, str]:
        paths = sorted(
            {
                f"{each.account}/{each.member}" if each.member else each.account
                for each in found
                if isinstance(each, records.Account)
            }
        )
        if not paths:
            return {}
        told = await self._parts.store.execute(slot_of(SLOT_TAG), "HMGET", f"{_MARKS}{partition}", *paths)
        return {path: text.decode() for path, text in zip(paths, told, strict=True) if text is not None}

    async def _mark(self, partition: int, marks: Mapping[str, str]) -> None:
        key, slot, call = f"{_MARKS}{partition}", slot_of(SLOT_TAG), self._parts.store.execute
        if written := [word for path, mark in marks.items() if mark for word in (path, mark)]:
            await call(slot, "HSET", key, *written)
        if gone := [path for path, mark in marks.items() if not mark]:
            await call(slot, "HDEL", key, *gone)


def _alarm(broken: Break, now_ms: int) -> Notice:
    """Make the notice of records that are missing."""
    facts: dict[str, Fact] = {
        "partition": broken.partition,
        "after": broken.after,
        "next": broken.next,
        "loss": str(broken.loss),
    }
    return Notice(f"alarm.records.{broken.id}", "alarm.records", now_ms, "", facts)
