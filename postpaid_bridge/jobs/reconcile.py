"""Compares every book's balance in the charging server with the journal (reconcile.py): daily, and by command; it reads, and changes nothing.

Laws
1. It goes by partitions, and in them by some hundred books: memory does not grow with their number.
2. A book that differs is looked at again; it is told when the difference is the same (reconcile.py, law 4).
3. Differences beyond DIFFERENCES_MAX are counted and not kept.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from ocs.balance.actions import Actions
from ocs.balance.archive_files import next_batch, read_places
from ocs.balance.asked import ActionState, Page
from ocs.balance.entries import Entry, entries, follows, order
from ocs.balance.parts import Parts
from ocs.balance.stored_book import Book, read_book
from ocs.records import ActionKind, Epoch, Moved, RecordError
from ocs.sql import reading
from ocs.stream import START
from postpaid_bridge.jobs.book_places import BookPlaces
from postpaid_bridge.outbox import CHANNEL, parts_of, row_key
from postpaid_bridge.reconcile import Compared, Difference, Found, Known, Reason, Since, compared, likely
from postpaid_bridge.sql import reconcile as sql
from postpaid_bridge.usage import account_of, movement_micros

__all__ = ["DIFFERENCES_MAX", "Progress", "Reconciliation", "Report"]

DIFFERENCES_MAX: Final = 1_000
_LOOKS: Final = 4
_PAUSE_S: Final = 0.5
_READ: Final = 2_000
_ACTIONS_LOOKED: Final = 500


class Progress(NamedTuple):
    """How far it is: partitions done of all, and books compared."""

    partitions: int
    of: int
    books: int


@dataclass(slots=True)
class Report:
    """What was found; sound where there is no difference."""

    books: int = 0
    begun: int = 0
    balance_micros: int = 0
    differing: int = 0
    looked_again: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Tell whether every book is what it has to be."""
        return not self.differing

    def add(self, found: Difference) -> None:
        """Count a difference, and keep it while there are not too many."""
        self.differing += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(found)


class _Look(NamedTuple):
    """Some books of a partition at one look."""

    compared: dict[str, Compared]
    known: dict[str, Known]
    gone: list[str]
    never_taken: dict[str, int]
    """Records of a book that were passed over: neither taken in by its sequence nor behind the place."""


class Reconciliation:
    """One comparison of everything; make a new one for the next."""

    def __init__(
        self, engine: Engine, parts: Parts, actions: Actions, archive: Path, books_at_once: int = 500
    ) -> None:
        self._engine = engine
        self._parts = parts
        self._actions = actions
        self._archive = archive
        self._at_once = books_at_once
        self._places = BookPlaces(engine, parts)
        self.report = Report()

    async def run(self, tell: Callable[[Progress], None] = lambda _: None) -> Report:
        """Compare all books; ``tell`` hears of each partition. Raises StoreFault, ArchiveFault, and what the database raises."""
        await self._place_all()
        count = len(self._parts.keys)
        for partition in range(count):
            async for names in self._names(partition):
                await self._compare(partition, names)
            tell(Progress(partition + 1, count, self.report.books))
        return self.report

    # -- which books

    async def _place_all(self) -> None:
        after = ""
        while some := await asyncio.to_thread(self._without_place, after):
            after = some[-1]
            found = await self._places.find(some)
            missing = [each for each in some if each not in found]
            for name, known in (await asyncio.to_thread(self._known, missing)).items():
                if known.held_micros or known.waiting:
                    text = "the charging server has no such account"
                    self.report.add(Difference(name, 0, -known.held_micros, Reason.NO_ACCOUNT, text))

    def _without_place(self, after: str) -> list[str]:
        with reading(self._engine) as look:
            return sql.without_place(look, after, self._at_once)

    def _known(self, names: Sequence[str]) -> dict[str, Known]:
        with reading(self._engine) as look:
            return sql.known_of(look, names)

    async def _names(self, partition: int) -> AsyncIterator[list[str]]:
        after = ""

        def some() -> list[str]:
            with reading(self._engine) as look:
                return sql.of_partition(look, partition, after, self._at_once)

        while names := await asyncio.to_thread(some):
            after = names[-1]
            yield names

    # -- comparing

    async def _compare(self, partition: int, names: list[str]) -> None:
        look = await self._look(partition, names)
        report = self.report
        report.books += len(look.compared)
        report.begun += sum(look.known[name].sequence is not None for name in look.compared)
        report.balance_micros += sum(each.balance_micros for each in look.compared.values())
        for name in look.gone:
            known = look.known[name]
            text = "the account is not where it was, or no more"
            report.add(Difference(name, 0, -known.held_micros, Reason.NO_ACCOUNT, text))
        suspects = {name: each for name, each in look.compared.items() if each.difference_micros}
        for _ in range(_LOOKS):
            if not suspects:
                return
            report.looked_again += len(suspects)
            await asyncio.sleep(_PAUSE_S)
            again = await self._look(partition, list(suspects), thoroughly=True)
            same = {
                name: each
                for name, each in again.compared.items()
                if each.difference_micros == suspects[name].difference_micros
            }
            for name, each in same.items():
                if each.difference_micros:
                    await self._tell(partition, name, each, again.never_taken.get(name, 0))
            suspects = {
                name: each
                for name, each in again.compared.items()
                if name not in same and each.difference_micros
            }
        for name, each in suspects.items():  # it moves at every look, and is wrong at every look
            await self._tell(partition, name, each, 0)

    async def _look(self, partition: int, names: list[str], *, thoroughly: bool = False) -> _Look:
        """Look at journal and place, then at books, then at the records between (reconcile.py, law 1)."""
        with reading(self._engine) as look:  # one look, used by one thread after the other
            known = await asyncio.to_thread(sql.known_of, look, names)
            place = await asyncio.to_thread(sql.place_of, look, partition)
            books = await self._books(partition, list(known))
            since = await self._since(partition, place, books)
            ours = {key for each in since.values() for key in each.ours}
            there = await asyncio.to_thread(_rows_of, look, ours)
        newer = await asyncio.to_thread(self._newer, ours - there.keys())
        found: dict[str, Compared] = {}
        never: dict[str, int] = {}
        for name, book in books.items():
            of = known[name]
            applied = await self._applied(of) if thoroughly else {}
            never[name] = book.sequence - (of.sequence or book.sequence) - since[name].records
            found[name] = compared(book.balance_micros, of, since[name], newer, applied)
        return _Look(found, known, [name for name in known if name not in books], never)

    def _newer(self, keys: set[str]) -> dict[str, int]:
        with reading(self._engine) as look:
            return _rows_of(look, keys)

    async def _books(self, partition: int, names: list[str]) -> dict[str, Book]:
        keys = self._parts.keys[partition]
        if not names:
            return {}
        texts = await self._parts.store.execute(keys.slot, "MGET", *map(keys.book, names))
        return {name: read_book(text) for name, text in zip(names, texts, strict=True) if text is not None}

    async def _since(self, partition: int, place: str, books: dict[str, Book]) -> dict[str, Since]:
        """Sum up what the records behind a place say of books, each up to its sequence."""
        found = {name: Since() for name in books}
        async for entry in self._behind(partition, place):
            try:
                record = entry.record()
            except RecordError:
                continue  # intake parks it, and it is named when its book differs
            book = books.get(account_of(record))
            if book is None or isinstance(record, Epoch) or record.sequence > book.sequence:
                continue
            ours = (
                isinstance(record, Moved) and record.channel == CHANNEL and record.kind == ActionKind.ADJUST
            )
            key = row_key(record.id) if ours and isinstance(record, Moved) else ""
            found[account_of(record)].add(movement_micros(record), key)
        return found

    async def _behind(self, partition: int, place: str) -> AsyncIterator[Entry]:
        """Give a partition's records behind a place: from the archive as long as the stream does not go back so far, then from the stream."""
        keys, mark = self._parts.keys[partition], None
        first = await self._read(partition, place, 1)
        if first and not follows(place, first[0]) and await self._archived(partition, place):
            while True:
                batch, mark = await asyncio.to_thread(next_batch, self._archive, partition, place, mark)
                if not batch:
                    break
                for entry in batch:
                    yield entry
                place = batch[-1].id
        while batch := await self._read(keys.partition, place, _READ):
            for entry in batch:
                yield entry
            place = batch[-1].id
            if len(batch) < _READ:
                return

    async def _read(self, partition: int, place: str, count: int) -> list[Entry]:
        keys = self._parts.keys[partition]
        start = f"({place}" if place != START else "-"
        reply = await self._parts.store.execute(keys.slot, "XRANGE", keys.stream, start, "+", "COUNT", count)
        return entries(reply)

    async def _archived(self, partition: int, place: str) -> bool:
        if not self._archive.is_dir():
            return False
        noted = (await asyncio.to_thread(read_places, self._archive)).get(partition)
        return noted is not None and order(noted.last_id) > order(place)

    async def _applied(self, known: Known) -> dict[str, int]:
        """Return what of waiting rows is in the book all the same: posted, and not said to be done yet."""
        found: dict[str, int] = {}
        for key, micros in known.waiting:
            actions = [await self._actions.find(CHANNEL, name) for name, _ in parts_of(key, micros)]
            found[key] = sum(
                each.asked.amount
                for each in actions
                if each is not None and each.state is ActionState.COMPLETED
            )
        return found

    # -- why

    async def _tell(self, partition: int, name: str, found: Compared, never: int) -> None:
        reasons = await asyncio.to_thread(self._explained, name)
        reasons += await self._explained_by_store(partition, name)
        if never > 0:
            rest = found.difference_micros - sum(each.difference_micros for each in reasons)
            reasons.append(
                Found(Reason.MISSING_USAGE, rest, f"{never} records of the stream were never taken in")
            )
        reason, detail = likely(found.difference_micros, reasons)
        self.report.add(Difference(name, found.balance_micros, found.expected_micros, reason, detail))

    def _explained(self, name: str) -> list[Found]:
        with reading(self._engine) as look:
            return list(sql.explanations(look, name))

    async def _explained_by_store(self, partition: int, name: str) -> list[Found]:
        """Look for actions of ours in the book that no row has, of the last 30 days."""
        listed = await self._actions.of_account(partition, name, Page(limit=_ACTIONS_LOOKED))
        ours = [
            each
            for each in listed.actions
            if each.asked.channel == CHANNEL and each.state is ActionState.COMPLETED
        ]
        there = await asyncio.to_thread(self._newer, {row_key(each.asked.id) for each in ours})
        found = [
            Found(
                Reason.STRANGE_ACTION, each.asked.amount, f"action {each.asked.id} of our channel has no row"
            )
            for each in ours
            if row_key(each.asked.id) not in there
        ]
        sums: dict[str, int] = {}
        for each in ours:
            sums[row_key(each.asked.id)] = sums.get(row_key(each.asked.id), 0) + each.asked.amount
        found += [
            Found(Reason.STRANGE_ACTION, micros - there[key], f"{key} is posted as {micros}, its row says {there[key]}")
            for key, micros in sums.items()
            if key in there and micros != there[key]
        ]  # fmt: skip
        if listed.total <= _ACTIONS_LOOKED:
            found += await asyncio.to_thread(self._never_posted, name, set(sums))
        return found

    def _never_posted(self, name: str, posted: set[str]) -> list[Found]:
        with reading(self._engine) as look:
            return list(sql.done_without(look, name, posted))


def _rows_of(look: Connection, keys: Iterable[str]) -> dict[str, int]:
    return sql.rows_of(look, sorted(keys)) if keys else {}
