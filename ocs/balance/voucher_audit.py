"""The audit of vouchers: each that was used has its top-up on record, and each top-up of a voucher its voucher. Read-only.

What must hold
1. A used voucher has one record, of its account, under its channel and id, of its batch's amount; a claimed one has none yet, or this one.
2. A record that names a voucher is the only one that does, and the voucher is used, or claimed, by it.
3. Each partition's copy counts its vouchers by state, and is what the batch's row says where that is said to be everywhere; a batch has as
   many vouchers as its row says.
4. No claim is so old that nothing would finish it.

Vouchers are found by walking the whole keyspace. They are read before the records are, so that the record of a used one is there; a
voucher that was used in between is read again.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ocs.api_limits import VOUCHER_CLAIM_MS_MAX
from ocs.balance.keys import VOUCHER_BATCHES, Keys, home, slot_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, unpacked
from ocs.balance.voucher_batches import Batch, BatchState, VoucherState, read_batch, read_serial, serial_of
from ocs.balance.voucher_codes import NAME_OCTETS, name_of

_TRIES: Final = 8
_AT_ONCE: Final = 1_000


class Holder(NamedTuple):
    """Who has a voucher, or of whom a record says so: a top-up of an account, and its amount."""

    channel: str
    id: str
    account: str
    amount_micros: int


class Vouched(NamedTuple):
    """A record of a top-up that names a voucher."""

    serial: str
    holder: Holder


class Held(NamedTuple):
    """A voucher that was used, or is claimed."""

    serial: str
    state: VoucherState
    holder: Holder


@dataclass(slots=True)
class VoucherReport:
    """What the vouchers' part of an audit has seen; ``faults`` are (partition, subject, what)."""

    vouchers: int = 0
    used: int = 0
    used_micros: int = 0
    claimed: int = 0
    unproved: int = 0
    faults: list[tuple[int, str, str]] = field(default_factory=list)


class VoucherAudit:
    """Vouchers as they stood before the records were read, to be held against them partition by partition."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._batches: dict[int, Batch] = {}
        self._held: dict[int, list[Held]] = defaultdict(list)
        self._seen: set[str] = set()
        self._suspects: list[tuple[int, Vouched]] = []
        self.report = VoucherReport()

    async def look(self) -> None:
        """Read all batches and vouchers (laws 3 and 4). Raises StoreFault."""
        flat = await self._parts.store.execute(slot_of(VOUCHER_BATCHES), "HGETALL", VOUCHER_BATCHES)
        self._batches = {each.id: each for each in map(read_batch, flat[1::2])}
        if not self._batches:
            return
        found, made = await self._scan(), Counter[int]()
        for keys in self._parts.keys:
            made += await self._look_in(keys, sorted(found.get(keys.partition, ())))
        for batch in self._batches.values():
            if batch.state == BatchState.MAKING or _has_gone(batch) or made[batch.id] == batch.size:
                continue
            if await self._row(batch.id) == batch:  # else it was cancelled, and is being removed
                what = f"has {made[batch.id]} vouchers, its row says {batch.size}"
                self._fault(0, f"batch {batch.id}", what)

    async def _scan(self) -> dict[int, set[str]]:
        by_tag = {keys.prefix: keys.partition for keys in self._parts.keys}
        found: dict[int, set[str]] = defaultdict(set)
        for master in self._parts.store.masters():
            cursor = b"0"
            while True:
                cursor, names = await self._parts.store.execute_at(
                    master, "SCAN", cursor, "MATCH", "{*}:voucher:*", "COUNT", _AT_ONCE
                )
                for name in names:
                    tag, _, rest = name.decode().partition("voucher:")
                    if tag in by_tag:
                        found[by_tag[tag]].add(rest)
                if cursor == b"0":
                    break
        return found

    async def _look_in(self, keys: Keys, names: Sequence[str]) -> Counter[int]:
        """Read a partition's copies and vouchers at an instant at which nothing moved; how many there are of each batch."""
        ids = sorted(self._batches)
        copies_of = [keys.vouchers(each) for each in ids]
        for _ in range(_TRIES):
            before = await self._values(keys, copies_of)
            values = await self._values(keys, [keys.voucher(name) for name in names])
            if await self._values(keys, copies_of) == before:
                break
        else:
            raise StoreFault(
                f"the vouchers of partition {keys.partition} change faster than they can be read"
            )
        counted: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        now_ms = await self._now_ms(keys)
        for text in values:
            if text is not None:
                self._take(keys.partition, unpacked(text), counted, now_ms)
        for batch_id, text in zip(ids, before, strict=True):
            self._judge_copy(keys.partition, self._batches[batch_id], text, counted[batch_id])
        for batch_id in counted.keys() - self._batches.keys():
            if batch_id < ids[-1]:  # else it is being made since we looked
                self._fault(keys.partition, f"batch {batch_id}", "has vouchers and no row")
        return Counter({each: sum(states) for each, states in counted.items()})

    async def _values(self, keys: Keys, names: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for at in range(0, len(names), _AT_ONCE):
            found += await self._parts.store.execute(keys.slot, "MGET", *names[at : at + _AT_ONCE])
        return found

    async def _now_ms(self, keys: Keys) -> int:
        part = await self._parts.store.execute(keys.slot, "GET", keys.part)
        seconds, micros = await self._parts.store.execute(keys.slot, "TIME")
        return int(seconds) * 1_000 + int(micros) // 1_000 + int((part or b"0 0").split(b" ")[1])

    def _take(
        self, partition: int, voucher: Sequence[Any], counted: dict[int, list[int]], now_ms: int
    ) -> None:
        state, batch_id, number = voucher[:3]
        counted[batch_id][state - 1] += 1
        self.report.vouchers += 1
        if state not in {VoucherState.CLAIMED, VoucherState.USED} or batch_id not in self._batches:
            return
        channel, topup_id, at, account, at_ms = voucher[4:]
        serial, amount_micros = serial_of(batch_id, number), self._batches[batch_id].amount_micros
        self._held[at].append(
            Held(serial, VoucherState(state), Holder(channel, topup_id, account, amount_micros))
        )
        if state == VoucherState.USED:
            self.report.used += 1
            self.report.used_micros += amount_micros
            return
        self.report.claimed += 1
        if now_ms - at_ms > VOUCHER_CLAIM_MS_MAX:
            self._fault(partition, f"voucher {serial}", f"is claimed by {channel}:{topup_id} for too long")

    def _judge_copy(self, partition: int, batch: Batch, text: bytes | None, counted: list[int]) -> None:
        if text is None:
            if any(counted):
                self._fault(partition, f"batch {batch.id}", f"has {counted} vouchers here and no copy")
            return
        version, state, amount_micros, currency, _, until_ms, _, *counts = unpacked(text)
        if batch.state != BatchState.MAKING and list(counts) != counted:
            self._fault(
                partition, f"batch {batch.id}", f"counts {list(counts)} vouchers, there are {counted}"
            )
        is_there = (version, state, amount_micros, currency, until_ms)
        should_be = (batch.version, batch.state, batch.amount_micros, batch.currency, batch.until_ms)
        if version <= batch.version == batch.spread and is_there != should_be:
            self._fault(partition, f"batch {batch.id}", f"is {is_there} here, its row says {should_be}")

    def judge(self, partition: int, records: Iterable[Vouched], knows: Callable[[str], bool]) -> None:
        """Hold a partition's records against the vouchers of its accounts (laws 1 and 2); ``knows``: all records of an account are here."""
        by_serial: dict[str, Holder] = {}
        for record in records:
            if record.serial in self._seen:
                self._fault(partition, f"voucher {record.serial}", "has come in more than once")
            self._seen.add(record.serial)
            by_serial[record.serial] = record.holder
        held = {each.serial: each for each in self._held.pop(partition, [])}
        for each in held.values():
            if each.serial in by_serial or each.state is VoucherState.CLAIMED:
                continue
            if knows(each.holder.account):
                self._fault(
                    partition, f"voucher {each.serial}", f"is used, and no top-up is on record: {each.holder}"
                )
            else:
                self.report.unproved += 1
        for serial, holder in by_serial.items():
            standing = held.get(serial)
            if standing is None or standing.holder != holder:
                self._suspects.append((partition, Vouched(serial, holder)))

    async def finish(self) -> VoucherReport:
        """Read vouchers again that were not, or not yet, what a record says; the whole report. Raises StoreFault."""
        for partition, (serial, holder) in self._suspects:
            now = await self._holder(serial)
            if now != holder:
                self._fault(partition, f"voucher {serial}", f"came in for {holder}, and is had by {now}")
        for left in self._held.values():  # of partitions that nobody has judged
            self.report.unproved += len(left)
        return self.report

    async def _row(self, batch_id: int) -> Batch | None:
        row = await self._parts.store.execute(slot_of(VOUCHER_BATCHES), "HGET", VOUCHER_BATCHES, batch_id)
        return read_batch(row) if row is not None else None

    async def _holder(self, serial: str) -> Holder | None:
        """Return who has a voucher now."""
        batch_id, number = read_serial(serial)
        batch = self._batches.get(batch_id)
        if batch is None:
            row = await self._parts.store.execute(slot_of(VOUCHER_BATCHES), "HGET", VOUCHER_BATCHES, batch_id)
            if row is None:
                return None
            batch = read_batch(row)
        chunk, place = divmod(number - 1, batch.chunk)
        keys = self._parts.keys[home(f"serials:{batch_id}:{chunk}", len(self._parts.keys))]
        at = place * NAME_OCTETS
        octets = await self._parts.store.execute(
            keys.slot, "GETRANGE", keys.serials(batch_id, chunk), at, at + NAME_OCTETS - 1
        )
        name = name_of(octets)
        keys = self._parts.keys[home(name, len(self._parts.keys))]
        text = await self._parts.store.execute(keys.slot, "GET", keys.voucher(name))
        voucher: Sequence[Any] = unpacked(text) if text is not None else ()
        if len(voucher) < 9 or tuple(voucher[1:3]) != (batch_id, number):
            return None
        return Holder(voucher[4], voucher[5], voucher[7], batch.amount_micros)

    def _fault(self, partition: int, subject: str, what: str) -> None:
        self.report.faults.append((partition, subject, what))


def _has_gone(batch: Batch) -> bool:
    """Tell whether a batch's vouchers have gone, or are about to."""
    return batch.state == BatchState.CANCELLED and not batch.was_active
