"""The audit: conservation proved on live data from independent evidence, read-only.

What must hold (DESIGN law 4)
1. An account's pending is the sum of the holds of its open sessions, and its count of open sessions is theirs
   that are not of accounting.
2. The due index names exactly the open sessions, each with its own time; the index by account names them too, each with its account.
3. Every movement carries the account's next sequence number and the book after it: the records (archive, then stream)
   chain without a gap, each explained by what it says was posted, held, void or topped up, and end in the book.
4. The holds that the records add up to are the pending of the book, without looking at a session.
5. Every bucket and counter holds what the parts of the open sessions hold on it, and has used what the records took of it, one
   after the other; a member's own book has posted and holds what its records and sessions say.
6. Actions that are not confirmed are counted, with the money that is in transit.
7. What an account owes for emergency credit is what its records say; what a transfer's giver has given was received, given back, or is in transit;
   what a claim says is done, its account knows of (30 days).
8. Vouchers and the records of their top-ups agree (voucher_audit.py).

Books and sessions of a partition are read in one instant by the function ``snapshot``; the records up to that instant follow.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ocs import records
from ocs.balance.archive import START, history
from ocs.balance.audit_actions import ActionChain, Legs, Transfers, lost_actions, transfer_faults, under_way
from ocs.balance.audit_rows import OwnTail, RowChain, held_faults
from ocs.balance.entries import Entry, entries, follows, order
from ocs.balance.functions import function
from ocs.balance.keys import Keys
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.profiles import payer
from ocs.balance.stored_book import Book, BookUnreadable, read_book
from ocs.balance.stored_session import OpenSession, SessionUnreadable, read_session
from ocs.balance.voucher_audit import Holder, Vouched, VoucherAudit, VoucherReport
from ocs.records import ActionKind, SessionState

_TRIES = 8
_AT_ONCE = 2_000


class Fault(NamedTuple):
    """One thing that does not hold: where, and what was found against what should be."""

    partition: int
    subject: str
    what: str


@dataclass(slots=True)
class Report:
    """What an audit has seen; clean when there is no fault."""

    accounts: int = 0
    sessions: int = 0
    records: int = 0
    records_archived: int = 0
    balance_micros: int = 0
    pending_micros: int = 0
    in_transit: int = 0
    in_transit_micros: int = 0
    unchained: int = 0
    vouchers: VoucherReport = field(default_factory=VoucherReport)
    faults: list[Fault] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Tell whether everything held."""
        return not self.faults


class Tail(NamedTuple):
    """Where the chain of an account stands after its last record: sequence and money, and what it was set to be."""

    sequence: int
    credits_micros: int
    posted_micros: int
    pending_micros: int
    floor_micros: int = 0
    version: int = 0
    status: int = 0


class _Instant(NamedTuple):
    """One instant of a partition."""

    books: dict[str, Book]
    sessions: dict[str, OpenSession]
    due: dict[str, int]
    by_account: set[str]
    last_id: str
    unreadable: list[Fault]
    owed: dict[str, int]


class Chain:
    """Follows the records of one partition, account by account, and keeps every break as a fault."""

    __slots__ = (
        "_from_birth",
        "_holds",
        "_partition",
        "actions",
        "faults",
        "last_id",
        "lives",
        "rows",
        "tails",
        "vouched",
    )

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._holds: dict[str, dict[str, dict[str, int]]] = {}
        self._from_birth: set[str] = set()
        self.tails: dict[str, Tail] = {}
        self.rows = RowChain()
        self.actions = ActionChain(partition)
        self.lives: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.vouched: list[Vouched] = []
        self.last_id = ""

    def add(self, entry: Entry) -> None:
        """Take the next record of the partition; one that cannot be read is a fault like any other."""
        try:
            record = entry.record()
        except (ValueError, TypeError) as fault:
            self._fault("stream", f"record {entry.id} cannot be read: {fault}")
            self.last_id = entry.id
            return
        if self.last_id and not follows(self.last_id, entry):
            self._fault("stream", f"record {entry.id} does not follow {self.last_id}: records are missing")
        self.last_id = entry.id
        if isinstance(record, records.Epoch):
            return
        account = record.account
        if isinstance(record, records.Topup) and record.voucher:
            holder = Holder(record.channel, record.id, account, record.amount_micros)
            self.vouched.append(Vouched(record.voucher, holder))
        tail = self.tails.get(account)
        after = Tail(record.sequence, record.credits_micros, record.posted_micros, record.pending_micros)
        after = after._replace(**_settings(tail, record))
        if tail is None and record.sequence == 1:
            self._from_birth.add(account)
            tail = Tail(0, 0, 0, 0)
        if tail is not None:
            expected = self._expected(tail, record)
            if account not in self._from_birth:  # older holds are not on record: only the rest can be proved
                expected = expected._replace(pending_micros=after.pending_micros)
            if after != expected:
                self._fault(account, f"record {entry.id} leads to {after}, its own figures to {expected}")
        else:
            self._hold(record)
        self.actions.add(record)
        if not isinstance(record, records.Expire | records.Rows):
            self.lives[account] = record.until_ms
        for what in self.rows.add(record, from_birth=account in self._from_birth):
            self._fault(account, f"record {entry.id}: {what}")
        self.tails[account] = after

    def _expected(self, tail: Tail, record: Any) -> Tail:
        """Return where a record leads by what it says it did."""
        sequence, came_in, posted = tail.sequence + 1, tail.credits_micros, tail.posted_micros
        if isinstance(record, records.Topup):
            came_in += record.amount_micros
        elif isinstance(record, records.Charge):
            posted += sum(line.amount_micros for line in record.lines)
        elif isinstance(record, records.Rows):
            posted += record.price_micros
        elif isinstance(record, records.Moved):
            came_in += record.credited_micros
            posted += record.taken_micros
        before, after = self._hold(record)
        pending = tail.pending_micros - before + after
        return Tail(sequence, came_in, posted, pending)._replace(**_settings(tail, record))

    def _hold(self, record: Any) -> tuple[int, int]:
        """Take over what a record says of its session's holds; the session's sum before and after. A one-time event has no session."""
        if not isinstance(record, records.Charge | records.Expire | records.Moved):
            return 0, 0
        if isinstance(record, records.Charge) and record.is_event:
            return 0, 0
        if isinstance(record, records.Moved) and record.kind != ActionKind.RESERVE:
            return 0, 0
        sessions = self._holds.setdefault(record.account, {})
        held = sessions.setdefault(record.session_id, {})
        before = sum(held.values())
        if isinstance(record, records.Charge) and record.state == SessionState.OPEN:
            held.update({line.key: line.hold_micros for line in record.lines})
        elif isinstance(record, records.Moved) and record.held_micros:
            held[""] = record.held_micros
        else:
            sessions.pop(record.session_id, None)
            return before, 0
        return before, sum(held.values())

    def held_micros(self, account: str) -> int | None:
        """Return the holds of an account that the records add up to; None when its first records are not here."""
        if account not in self._from_birth:
            return None
        return sum(sum(held.values()) for held in self._holds.get(account, {}).values())

    def knows(self, account: str) -> bool:
        """Tell whether an account's records are here from the first on."""
        return account in self._from_birth

    def _fault(self, subject: str, what: str) -> None:
        self.faults.append(Fault(self._partition, subject, what))


def _settings(tail: Tail | None, record: Any) -> dict[str, int]:
    """What an account is set to be after a record: only records of the account itself change it."""
    if isinstance(record, records.Account):
        status = record.status if tail is None or not record.member else tail.status
        return {"floor_micros": record.floor_micros, "version": record.version, "status": status}
    if tail is None:
        return {}
    if isinstance(record, records.Rows):
        return {"floor_micros": tail.floor_micros, "version": record.version, "status": tail.status}
    return {"floor_micros": tail.floor_micros, "version": tail.version, "status": tail.status}


async def audit(
    parts: Parts, archive: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Prove conservation over all partitions; reads only. Raises StoreFault when the store cannot be read."""
    report = Report()
    found = await _scan(parts)
    vouchers = VoucherAudit(parts)
    await vouchers.look()
    transfers = Transfers()
    for keys in parts.keys:
        instant = await _instant(parts, keys, found.get(keys.partition, set()))
        chain = await _chain(parts, keys, archive, instant.last_id, report)
        await _missing(parts, keys, instant, chain)
        _judge(report, keys.partition, instant, chain)
        vouchers.judge(keys.partition, chain.vouched, chain.knows)
        await _judge_transfers(report, parts, transfers.add(keys.partition, chain.actions.legs))
        left = await under_way(parts, keys)
        report.in_transit += left.actions
        report.in_transit_micros += left.micros
        if progress is not None:
            progress(keys.partition + 1, len(parts.keys))
    await _judge_transfers(report, parts, transfers.left())
    report.faults += [Fault(*each) async for each in lost_actions(parts)]
    report.vouchers = await vouchers.finish()
    report.faults += [Fault(*each) for each in report.vouchers.faults]
    return report


async def _judge_transfers(report: Report, parts: Parts, legs: Legs) -> None:
    async for leg, what, micros in transfer_faults(parts, legs):
        report.in_transit_micros += micros
        if what:
            report.faults.append(Fault(leg.partition, leg.account, what))


class _Moved(Exception):
    """Records went from the stream to the archive while they were read."""


async def _chain(parts: Parts, keys: Keys, archive: Path | None, last_id: str, report: Report) -> Chain:
    """Follow a partition's records up to an id: from the archive, then from the stream.

    An archiver at work may move records from one to the other between two reads; then both are read again, and what is
    still missing at the last try is a fault.
    """
    for attempt in range(_TRIES):
        try:
            return await _read_chain(parts, keys, archive, last_id, report, patient=attempt < _TRIES - 1)
        except _Moved:
            continue
    raise AssertionError("the last try does not give up")


async def _read_chain(
    parts: Parts, keys: Keys, archive: Path | None, last_id: str, report: Report, *, patient: bool
) -> Chain:
    chain = Chain(keys.partition)
    archived = live = 0
    if archive is not None:
        for entry in history(archive, keys.partition):
            if order(entry.id) > order(last_id):
                break
            chain.add(entry)
            archived += 1
    async for entry in _stream(parts, keys, chain.last_id, last_id):
        if patient and chain.last_id and not follows(chain.last_id, entry):
            raise _Moved
        chain.add(entry)
        live += 1
    if patient and archive is not None and last_id not in {chain.last_id, START}:
        raise _Moved
    report.records += live
    report.records_archived += archived
    return chain


async def _missing(parts: Parts, keys: Keys, instant: _Instant, chain: Chain) -> None:
    """Every account that the records know has a book: one opened since the walk is read now, one that is gone is a fault."""
    for account in chain.tails.keys() - instant.books.keys():
        text = await parts.store.execute(keys.slot, "GET", keys.book(account))
        if text is None:
            chain.faults.append(
                Fault(keys.partition, account, f"has no book; the records lead to {chain.tails[account]}")
            )


async def _scan(parts: Parts) -> dict[int, set[str]]:
    """Find every book and session key by walking the whole keyspace: evidence that owes nothing to an index."""
    by_prefix = {keys.prefix: keys.partition for keys in parts.keys}
    found: dict[int, set[str]] = {}
    async for name in _names(parts):
        prefix, _, rest = name.partition("}:")
        partition = by_prefix.get(f"{prefix}}}:")
        if partition is not None and rest.startswith(("book:", "session:")):
            found.setdefault(partition, set()).add(name)
    return found


async def _names(parts: Parts) -> AsyncIterator[str]:
    for master in parts.store.masters():
        cursor = b"0"
        while True:
            cursor, names = await parts.store.execute_at(
                master, "SCAN", cursor, "MATCH", "{*", "COUNT", 1_000
            )
            for name in names:
                yield name.decode(errors="surrogateescape")
            if cursor == b"0":
                break


async def _instant(parts: Parts, keys: Keys, names: set[str]) -> _Instant:
    """Read a partition's books, sessions and due index in one instant; sessions opened since the walk are read too."""
    for _ in range(_TRIES):
        listed = sorted(names)
        due_reply, last_id, values, rows = await parts.store.execute(
            keys.slot, "FCALL_RO", function("snapshot"), 3 + len(listed), keys.due, keys.stream, keys.open, *listed
        )  # fmt: skip
        due = {due_reply[i].decode(): int(due_reply[i + 1]) for i in range(0, len(due_reply), 2)}
        sessions: dict[str, OpenSession] = {}
        unreadable: list[Fault] = []
        books: dict[str, Book] = {}
        owed: dict[str, int] = {}
        for name, value in zip(listed, values, strict=True):
            if value is None:
                continue
            if name.startswith(keys.book("")):
                account = name.removeprefix(keys.book(""))
                try:
                    books[account] = read_book(value)
                except BookUnreadable as fault:
                    unreadable.append(Fault(keys.partition, account, str(fault)))
            elif name.startswith(keys.owed("")):
                owed[name.removeprefix(keys.owed(""))] = int(value)
            else:
                session_id = name.removeprefix(keys.session(""))
                try:
                    sessions[session_id] = read_session(value, session_id, keys.partition)
                except SessionUnreadable as fault:
                    unreadable.append(Fault(keys.partition, "session", str(fault)))
        needed = {keys.session(each) for each in due}
        for each in sessions.values():
            needed |= {keys.book(each.account), keys.book(payer(each.account))}
        needed |= {keys.owed(account) for account in books if account == payer(account)}
        if needed <= names:
            by_account = {row.decode() for row in rows}
            return _Instant(books, sessions, due, by_account, last_id.decode(), unreadable, owed)
        names = names | needed
    raise StoreFault(
        f"partition {keys.partition} changes faster than it can be read; run the audit at a quieter time"
    )


async def _stream(parts: Parts, keys: Keys, after: str, last_id: str) -> AsyncIterator[Entry]:
    start = f"({after}" if after else "-"
    while True:
        reply = await parts.store.execute(keys.slot, "XRANGE", keys.stream, start, last_id, "COUNT", _AT_ONCE)
        for entry in entries(reply):
            yield entry
            start = f"({entry.id}"
        if len(reply) < _AT_ONCE:
            return


def _judge(report: Report, partition: int, instant: _Instant, chain: Chain) -> None:
    """Hold books, sessions, due index and records against each other."""
    faults = chain.faults + instant.unreadable
    opened = {name: each for name, each in instant.sessions.items() if each.state == SessionState.OPEN}
    report.accounts += sum(account == payer(account) for account in instant.books)
    report.sessions += len(opened)
    for name in instant.due.keys() - opened.keys():
        faults.append(Fault(partition, "due index", f"names a session that is not open: {name}"))
    for row in instant.by_account ^ {f"{each.account} {name}" for name, each in opened.items()}:
        how = "names a session that is not open" if row in instant.by_account else "lacks an open session"
        faults.append(Fault(partition, "open index", f"{how}: {row}"))
    by_account: dict[str, list[OpenSession]] = {}
    for name, session in opened.items():
        for path in {session.account, payer(session.account)}:
            by_account.setdefault(path, []).append(session)
        if instant.due.get(name) != session.indexed_ms or session.indexed_ms > session.due_ms:
            faults.append(
                Fault(
                    partition,
                    "due index",
                    f"says {instant.due.get(name)} for {name}, the session {session.due_ms}",
                )
            )
        if session.account not in instant.books:
            faults.append(Fault(partition, session.account, f"has an open session and no book: {name}"))
    for account, book in instant.books.items():
        held = by_account.get(account, [])
        found = [*_book_faults(book, held), *held_faults(account, book, held)]
        if chain.knows(payer(account)):
            found += chain.rows.book_faults(account, book)
        if account == payer(account):
            report.balance_micros += book.balance_micros
            report.pending_micros += book.pending_micros
            found += _chain_faults(report, account, book, chain)
            owed = chain.actions.owed.get(account, 0 if chain.knows(account) else None)
            if owed is not None and owed != instant.owed.get(account, 0):
                found.append(f"owes {instant.owed.get(account, 0)}, the records say {owed}")
        elif chain.knows(payer(account)):
            tail = chain.rows.own.get(account, OwnTail(0, 0))
            if tail != (book.posted_micros, book.pending_micros) or book.credits_micros:
                found.append(f"the records lead to {tail}, the member's own book stands at {book}")
        faults.extend(Fault(partition, account, what) for what in found)
    report.faults += faults


def _book_faults(book: Book, sessions: list[OpenSession]) -> list[str]:
    found = []
    held = sum(service.hold_micros for each in sessions for service in each.services)
    if book.pending_micros != held:
        found.append(f"pending is {book.pending_micros}, its open sessions hold {held}")
    asking = sum(not each.session_id.startswith(records.ACCOUNTING) for each in sessions)
    if book.sessions_open != asking:
        found.append(f"counts {book.sessions_open} open sessions, there are {asking}")
    if book.floor_micros > 0:
        found.append(f"has a floor above zero: {book.floor_micros}")
    return found


def _chain_faults(report: Report, account: str, book: Book, chain: Chain) -> list[str]:
    tail = chain.tails.get(account)
    if tail is None:
        report.unchained += 1  # its records are in an archive that we were not given
        return []
    found = []
    state = Tail(book.sequence, book.credits_micros, book.posted_micros, book.pending_micros)
    if tail.version:  # its own record is here: what it was set to be can be told
        state = state._replace(floor_micros=book.floor_micros, version=book.version, status=int(book.status))
    ends_ms = chain.lives.get(account, book.until_ms)
    if ends_ms != book.until_ms:
        found.append(f"lasts until {book.until_ms}, the records say {ends_ms}")
    if tail != state:
        found.append(f"the records lead to {tail}, the book stands at {state}")
    held = chain.held_micros(account)
    if held is not None and held != book.pending_micros:
        found.append(f"pending is {book.pending_micros}, the records hold {held}")
    return found


def rebuild(folder: Path, partition: int) -> Chain:
    """Rebuild where every account of a partition stands from the archive alone."""
    chain = Chain(partition)
    for entry in history(folder, partition):
        chain.add(entry)
    return chain
