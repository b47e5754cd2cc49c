"""The judgement after a fault: what the ledger knows against books, records and the audit; returns what does not hold."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ocs import records
from ocs.balance.accounts import Accounts, NewSubscriber
from ocs.balance.addresses import parse
from ocs.balance.archive import history
from ocs.balance.audit import audit
from ocs.balance.entries import Entry, entries, order
from ocs.balance.functions import library
from ocs.balance.link import Demands
from ocs.balance.parts import Parts
from ocs.balance.store import Store
from ocs.clock import Clock, SystemClock
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from tests.faults.ledger import Ledger

PARTITIONS = 8
RICH_MICROS = 9_000 * 1_000_000


class Room(NamedTuple):
    """A store as an operator sees it, beside the server."""

    store: Store
    parts: Parts
    accounts: Accounts
    clock: Clock


@asynccontextmanager
async def room(
    url: str, *, lua: bytes = b"", partitions: int = PARTITIONS, demands: Demands | None = None
) -> AsyncIterator[Room]:
    """Open a store by its address; the function library may be another than the house's."""
    clock = SystemClock()
    store = Store(parse(url, {}), library=lua or library(), demands=demands, clock=clock, title="judge")
    await store.open(wait_ms=20_000)
    try:
        parts = Parts(store, clock, partitions, 1_000)
        yield Room(store, parts, Accounts(parts, clock), clock)
    finally:
        await store.close()


def numbers(count: int) -> list[str]:
    """So many made-up telephone numbers."""
    return [f"4917000000{index:02d}" for index in range(count)]


async def populate(
    at: Room, ledger: Ledger, msisdns: Iterable[str], credit_micros: int = RICH_MICROS
) -> None:
    """Create accounts with credit, acknowledged into the ledger."""
    for msisdn in msisdns:
        code, account = await at.accounts.create(NewSubscriber(msisdn, "", "flat-data", "prepaid", "EUR", 0))
        assert code is Code.SUCCESS
        done = await at.accounts.topup(account, credit_micros, "till", f"first {msisdn}")
        assert done.code is Code.SUCCESS
        ledger.opened(msisdn, credit_micros)


async def judge(at: Room, ledger: Ledger, archive: Path | None = None) -> list[str]:
    """Everything that does not hold; an empty list when nothing acknowledged is lost and nothing counts twice."""
    found = [str(fault) for fault in (await audit(at.parts, archive)).faults]
    found += ledger.wrong
    for msisdn, credits_micros in ledger.credits_micros.items():
        account = await at.accounts.find(SubscriberId(E164, msisdn))
        if account is None:
            found.append(f"{msisdn}: no account")
            continue
        book = account.book
        pairs = {
            "credits": (book.credits_micros, credits_micros),
            "posted": (book.posted_micros, ledger.posted_micros(msisdn)),
            "pending": (book.pending_micros, ledger.held_micros(msisdn)),
            "open sessions": (book.sessions_open, ledger.open_sessions(msisdn)),
        }
        found += [
            f"{msisdn}: {name} {stored}, the network knows {known}"
            for name, (stored, known) in pairs.items()
            if stored != known
        ]
        if book.balance_micros < 0:
            found.append(f"{msisdn}: below its floor without an overrun: {book.balance_micros}")
    return found + await _compare_records(at, ledger, archive)


async def _compare_records(at: Room, ledger: Ledger, archive: Path | None) -> list[str]:
    """Every acknowledged request has exactly one record, with exactly its units; every top-up one."""
    charged: Counter[tuple[str, int, int]] = Counter()
    units: dict[tuple[str, int, int], dict[int, int]] = {}
    came_in: Counter[str] = Counter()
    for keys in at.parts.keys:
        for entry in await all_entries(at, keys.partition, archive):
            record = entry.record()
            if isinstance(record, records.Charge):
                key = (record.session_id, record.kind, record.number)
                charged[key] += 1
                units[key] = {int(line.key): line.posted_units for line in record.lines}
            elif isinstance(record, records.Topup):
                came_in[record.id] += 1
    found = [f"{key}: acknowledged and lost" for key in ledger.acknowledged.keys() - charged.keys()]
    found += [f"{key}: on record, never sent" for key in charged.keys() - ledger.acknowledged.keys()]
    found += [f"{key}: charged {times} times" for key, times in charged.items() if times > 1]
    found += [
        f"{key}: {units[key]} on record, {used} reported"
        for key, used in ledger.acknowledged.items()
        if key in units and units[key] != used
    ]
    found += [f"top-up {name}: added {times} times" for name, times in came_in.items() if times > 1]
    found += [f"top-up {name}: acknowledged and lost" for name in ledger.topups if name not in came_in]
    return found


async def all_entries(at: Room, partition: int, archive: Path | None) -> list[Entry]:
    """A partition's records from its beginning: the archive, then what is on the stream and not archived yet."""
    keys = at.parts.keys[partition]
    live = entries(await at.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+"))
    old = list(history(archive, partition)) if archive is not None else []
    last = order(old[-1].id) if old else (0, 0)
    return old + [entry for entry in live if order(entry.id) > last]
