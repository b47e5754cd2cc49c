"""Records of the stream become usage lines: the unit of work of a batch.

Laws
1. One unit of work takes the records of some partitions, in their order: lines, entries, payments, what is parked, alarms, the books' chain,
   and the places. A record at or before its partition's place is there already, and passed over.
2. A record is taken whole, or parked whole with its reason and octets. Behind a parked record of a book all that move this book wait.
3. The end is the same however records come in batches, and however often.
4. A line whose key another record has (a Session-Id used again, a charge that the store had undone) is not taken and not forgotten:
   it is kept for a human, and the book's difference is told.
5. Each book is chained: the balance after a record is the one before and what the record says that it did; else there is an alarm. What a book
   had before its first record that is taken is posted against clearing (``opening``).
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ocs import records
from ocs.balance.entries import Entry as StreamEntry
from ocs.balance.entries import order
from ocs.care.customers.tables import services
from ocs.limits import SQL_ROWS_AT_ONCE
from ocs.records import Account, Charge, Epoch, Moved, Record
from ocs.sql import insert_new, locked
from ocs.stream import START, Batch, Break
from postpaid_bridge import usage
from postpaid_bridge.journal import Entry
from postpaid_bridge.sql.usage import alarms, book_payments, books, lines, places, rejected
from postpaid_bridge.sql.usage_rows import chosen, line_row, parts, post_all, services_by
from postpaid_bridge.usage import Class, Held, Payment, ServiceOf, Source, Taken, Why

__all__ = ["Done", "Rules", "places_of", "replay", "take"]


class Rules(NamedTuple):
    """What intake goes by: the table of classes, what tells a record's service, our own channels, and the operator's days."""

    classes: Mapping[str, Class]
    service: ServiceOf
    channels: frozenset[str]
    day_of: Callable[[int], date]


@dataclass(slots=True)
class Done:
    """What a unit of work, or many, came to."""

    records: int = 0
    lines: int = 0
    payments: int = 0
    parked: int = 0
    doubles: int = 0
    prepaid: int = 0
    own: int = 0
    repeated: int = 0
    alarms: int = 0
    newest_ms: int = 0

    def add(self, other: "Done") -> None:
        """Add another's counts."""
        for name in self.__slots__:
            both = getattr(self, name), getattr(other, name)
            setattr(self, name, max(both) if name == "newest_ms" else sum(both))


@dataclass(slots=True)
class _Book:
    """The chain of one book, as it is kept."""

    floor_micros: int = 0
    sequence: int | None = None
    balance_micros: int = 0
    changed: bool = False


class _Found(NamedTuple):
    """A record with where it stood; ``row`` is that of what was parked (0: it comes from the stream)."""

    partition: int
    entry: StreamEntry
    record: Record | None
    fault: str = ""
    row: int = 0


@dataclass(slots=True)
class _Made:
    """What a unit of work writes at its end."""

    taken: dict[str, tuple[Taken, _Found]] = field(default_factory=dict)
    twice: list[tuple[Taken, _Found]] = field(default_factory=list)
    payments: list[tuple[Payment, Held]] = field(default_factory=list)
    openings: list[Entry] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)


def places_of(look: Connection) -> dict[int, str]:
    """Return how far each partition was taken in."""
    return {row.partition: row.last_id for row in look.execute(select(places.c.partition, places.c.last_id))}


def take(work: Connection, rules: Rules, batches: Sequence[Batch], now_ms: int) -> Done:
    """Take in what a reader has found, in the unit of work of the caller. Raises nothing that a record could cause."""
    done = Done()
    numbers = sorted({each.partition for each in batches})
    insert_new(
        work,
        places,
        [{"partition": number, "last_id": START, "at_ms": 0} for number in numbers],
        "partition",
    )
    c = places.c
    asked = select(c.partition, c.last_id).where(c.partition.in_(numbers)).order_by(c.partition)
    known: dict[int, str] = {row.partition: row.last_id for row in work.execute(locked(asked))}
    found: list[_Found] = []
    last = dict(known)
    for batch in batches:
        for entry in batch.entries:
            if order(entry.id) <= order(last[batch.partition]):
                done.repeated += 1
                continue
            last[batch.partition] = entry.id
            found.append(_read(batch.partition, entry))
    taking = _Taking(work, rules, found, now_ms, done)
    taking.made.alarms += [_hole(each.broken, now_ms) for each in batches if each.broken]
    taking.decide()
    where = {number: f"{number}/{known[number]}..{last[number]}" for number in numbers}
    taking.write(lambda each: where[each.partition])
    for number in numbers:
        if last[number] != known[number]:
            moved = update(places).where(places.c.partition == number)
            work.execute(moved.values(last_id=last[number], at_ms=now_ms))
    return done


def replay(
    work: Connection, rules: Rules, now_ms: int, after: int = 0, most: int = 1_000
) -> tuple[Done, int]:
    """Try again what is parked and may go now, behind a row's number; what came of it, and the last row looked at (0: there is no more).

    Records of unknown services are looked at once their book has a service.
    """
    c = rejected.c
    has_service = exists().where(services.c.book == c.book)
    rows = work.execute(
        locked(
            select(c.id, c.partition, c.place, c.raw)
            .where(c.state == "parked", c.replayable == 1, c.source == Source.STREAM, c.id > after)
            .where(or_(c.book == "", has_service))
            .order_by(c.id)
            .limit(most)
        )
    ).all()
    done = Done()
    if not rows:
        return done, 0
    found = [
        _read(row.partition, StreamEntry(row.place, b64decode(row.raw)))._replace(row=row.id) for row in rows
    ]
    taking = _Taking(work, rules, found, now_ms, done)
    taking.decide()
    settled = taking.made.settled  # rows that never come again: so no other entry has this key
    taking.write(lambda each: f"again/{each.partition}/{min(settled)}-{max(settled)}")
    return done, rows[-1].id


def _read(partition: int, entry: StreamEntry) -> _Found:
    try:
        return _Found(partition, entry, entry.record())
    except records.RecordError as fault:
        return _Found(partition, entry, None, str(fault))


def _hole(broken: Break, now_ms: int) -> dict[str, Any]:
    return {
        "key": f"hole:{broken.id}", "kind": broken.loss.value, "partition": broken.partition, "after_id": broken.after,
        "next_id": broken.next, "book": "", "difference_micros": 0, "made_ms": now_ms,
    }  # fmt: skip


class _Taking:
    """One unit of work: what it looks up, what it decides record by record, and what it writes then."""

    def __init__(
        self, work: Connection, rules: Rules, found: Sequence[_Found], now_ms: int, done: Done
    ) -> None:
        self._work = work
        self._rules = rules
        self._found = found
        self._now_ms = now_ms
        self._done = done
        self.made = _Made()
        names = {usage.account_of(each.record) for each in found if each.record} - {""}
        self._held = services_by(work, services.c.book, names)
        self._books = _books_of(work, names)
        self._waiting = _waiting_of(work, names, {each.row for each in found})
        back = {
            usage.reversed_by(each.record)
            for each in found
            if isinstance(each.record, Moved) and each.record.kind == records.ActionKind.REVERSAL
        }
        self._paid: set[str] = set(chosen(work, book_payments.c.reference, back))

    def decide(self) -> None:
        """Go through the records in their order."""
        for each in self._found:
            self._done.records += 1
            record = each.record
            if record is None:
                self._park(each, "", Why.UNREADABLE, each.fault)
            elif not isinstance(record, Epoch):
                self._done.newest_ms = max(self._done.newest_ms, record.now_ms)
                self._one(each, record)

    def _one(self, found: _Found, record: Record) -> None:
        book = usage.account_of(record)
        if isinstance(record, Account):
            self._floor(book, record.floor_micros)
        rules, kept = self._rules, self._books.get(book)
        held = self._held.get(book, ())
        below_zero = kept is not None and kept.floor_micros < 0
        if not held and not below_zero:
            self._done.prepaid += 1
            self._settle(found)
            return
        own = usage.is_own(record, rules.channels)
        made = (
            () if own else usage.lines_of(record, found.partition, found.entry.id, rules.service, self._paid)
        )
        paid = () if own else usage.payments_of(record, found.partition, found.entry.id, self._paid)
        moves = bool(made or paid or usage.movement_micros(record))
        if book in self._waiting:
            if moves:
                self._park(found, book, Why.BEHIND)
            else:
                self._settle(found)
            return
        whose = self._whose(record, book, held)
        if own and held and isinstance(whose, Why):
            # ours is in the journal whatever its day says; left out of the chain, it would be an opening balance later
            whose = held[0]
        if whose is Why.PREPAID or (isinstance(whose, Why) and not moves):
            self._done.prepaid += whose is Why.PREPAID
            self._settle(found)
            return
        taken = whose if isinstance(whose, Why) else usage.booked(whose, made, rules.classes)
        if isinstance(whose, Why) or isinstance(taken, Why):
            why = whose if isinstance(whose, Why) else taken
            assert isinstance(why, Why)
            self._park(found, book, why, ", ".join(sorted({each.usage_class for each in made})))
            return
        self._done.own += own
        self._accept(found, record, book, whose, taken, paid)

    def _accept(
        self,
        found: _Found,
        record: Record,
        book: str,
        held: Held,
        taken: tuple[Taken, ...],
        paid: tuple[Payment, ...],
    ) -> None:
        for each in taken:
            if each.line.key in self.made.taken:
                self.made.twice.append((each, found))
            else:
                self.made.taken[each.line.key] = each, found
        for payment in paid:
            self.made.payments.append((payment, held))
            self._paid.add(f"{payment.channel} {payment.id}")
        self._chain(found, record, book, held)
        self._settle(found)

    def _chain(self, found: _Found, record: Record, book: str, held: Held) -> None:
        """Compare the book behind a record with the one before (law 5)."""
        if isinstance(record, Epoch):
            return
        kept = self._books.setdefault(book, _Book())
        if kept.sequence is not None and record.sequence <= kept.sequence:
            return  # read late, or of a store that has gone back: the next one that is ahead tells
        after = record.credits_micros - record.posted_micros
        before = after - usage.movement_micros(record)
        if kept.sequence is None:
            day = self._rules.day_of(record.now_ms)
            opening = usage.opening_entry(held, book, before, day, self._now_ms)
            self.made.openings += [opening] if opening else []
        elif before != kept.balance_micros:
            self._differs(found, book, before - kept.balance_micros, "")
        kept.sequence, kept.balance_micros, kept.changed = record.sequence, after, True

    def _differs(self, found: _Found, book: str, difference_micros: int, of: str) -> None:
        self.made.alarms.append(
            {
                "key": usage.clean(f"book:{found.partition}/{found.entry.id}{of}", 200), "kind": "difference",
                "partition": found.partition, "after_id": found.entry.id, "next_id": "", "book": book, "difference_micros": difference_micros,
                "made_ms": self._now_ms,
            }
        )  # fmt: skip

    def _floor(self, book: str, floor_micros: int) -> None:
        kept = self._books.get(book)
        if kept is None and floor_micros < 0:
            kept = self._books[book] = _Book()
        if kept is not None and kept.floor_micros != floor_micros:
            kept.floor_micros, kept.changed = floor_micros, True

    def _whose(self, record: Record, book: str, held: Sequence[Held]) -> Held | Why:
        """Return whose a record is; what is no usage belongs to whoever pays for the book, if that is one billing account."""
        path = f"{book}/{member}" if (member := usage.clean(getattr(record, "member", ""))) else book
        at_ms = record.at_ms if isinstance(record, Charge) else record.now_ms
        return usage.service_for(
            held, path, self._rules.day_of(at_ms), usage=isinstance(record, Charge | records.Rows)
        )

    def _park(self, found: _Found, book: str, why: Why, detail: str = "") -> None:
        """Keep a record with its reason; what was parked before stays as it is, with the reason of now."""
        if book:
            self._waiting.add(book)
        values = {"why": why.value, "detail": usage.clean(detail, 400)}
        if found.row:
            self._work.execute(update(rejected).where(rejected.c.id == found.row).values(**values))
            return
        self.made.parked.append(
            values
            | {
                "key": f"stream:{found.partition}/{found.entry.id}", "source": Source.STREAM, "partition": found.partition,
                "place": found.entry.id, "book": book, "raw": b64encode(found.entry.octets).decode(), "replayable": 1,
                "made_ms": self._now_ms,
            }
        )  # fmt: skip

    def _settle(self, found: _Found) -> None:
        if found.row:
            self.made.settled.append(found.row)

    # -- what is written

    def write(self, where: Callable[[_Found], str]) -> None:
        """Write all of it; ``where`` says for a record which lines its entry is of."""
        work, made = self._work, self.made
        self._sort_out_doubles()
        grouped: dict[str, list[Taken]] = {}
        for each, found in made.taken.values():
            grouped.setdefault(where(found), []).append(each)
        entries: list[Entry] = list(made.openings)
        keys: dict[str, dict[tuple[int, date], Entry]] = {}
        for name, group in grouped.items():
            keys[name] = usage.entries_of(name, group, self._rules.day_of, self._now_ms, from_book=True)
            entries += keys[name].values()
        entries += [
            usage.payment_entry(payment, held, self._rules.day_of(payment.at_ms), self._now_ms)
            for payment, held in made.payments
        ]
        if made.taken:
            day_of = self._rules.day_of
            rows = [
                line_row(each, Source.STREAM, found.partition, _entry_key(keys[where(found)], each, day_of))
                for each, found in made.taken.values()
            ]
            work.execute(lines.insert(), rows)
        if entries:
            post_all(work, entries)
        if made.payments:
            insert_new(work, book_payments, [_payment_row(*each) for each in made.payments], "key")
        self._done.parked += len(insert_new(work, rejected, made.parked, "key"))
        self._done.alarms += len(insert_new(work, alarms, made.alarms, "key"))
        if made.settled:
            done = update(rejected).where(rejected.c.id.in_(made.settled))
            work.execute(done.values(state="taken", done_ms=self._now_ms))
        _keep_books(work, self._books)
        self._done.lines += len(made.taken)
        self._done.payments += len(made.payments)

    def _sort_out_doubles(self) -> None:
        """Set aside the lines whose key another record has (law 4)."""
        made = self.made
        there = chosen(self._work, lines.c.key, made.taken)
        doubles = made.twice + [made.taken.pop(key) for key in there]
        for each, found in doubles:
            line = each.line
            of = f":{line.key.partition(' ')[0]}"
            made.parked.append(
                {
                    "key": usage.clean(f"double:{found.partition}/{found.entry.id}{of}", 200), "source": Source.STREAM,
                    "partition": found.partition, "place": found.entry.id, "book": line.book, "why": Why.DOUBLE.value,
                    "detail": usage.clean(f"{line.amount_micros} micro-units under a key that is there: {line.key}", 400),
                    "raw": b64encode(found.entry.octets).decode(), "replayable": 0, "made_ms": self._now_ms,
                }
            )  # fmt: skip
            if line.amount_micros:
                self._differs(found, line.book, -line.amount_micros, of)
        self._done.doubles += len(doubles)


# -- looked up and kept


def _books_of(work: Connection, names: Collection[str]) -> dict[str, _Book]:
    c = books.c
    found: dict[str, _Book] = {}
    for part in parts(names):
        rows = work.execute(
            select(c.book, c.floor_micros, c.sequence, c.balance_micros).where(c.book.in_(part))
        )
        found.update((row.book, _Book(*row[1:])) for row in rows)
    return found


def _waiting_of(work: Connection, names: Collection[str], but: AbstractSet[int]) -> set[str]:
    """Return the books of which something is parked that may be taken later, but for these rows and what is behind the first of them."""
    c = rejected.c
    found: set[str] = set()
    open_ = (c.state == "parked", c.replayable == 1, c.source == Source.STREAM)
    first = min(but - {0}, default=None)
    for part in parts(names):
        asked = select(c.book).where(*open_, c.book.in_(part)).distinct()
        found.update(work.execute(asked if first is None else asked.where(c.id < first)).scalars())
    return found


def _keep_books(work: Connection, known: Mapping[str, _Book]) -> None:
    rows = [
        {"book": book, "floor_micros": it.floor_micros, "sequence": it.sequence, "balance_micros": it.balance_micros}
        for book, it in sorted(known.items())
        if it.changed
    ]  # fmt: skip
    make = postgresql.insert if work.dialect.name == "postgresql" else sqlite.insert
    statement = make(books)
    changed = {name: statement.excluded[name] for name in ("floor_micros", "sequence", "balance_micros")}
    statement = statement.on_conflict_do_update(index_elements=["book"], set_=changed)
    for start in range(0, len(rows), SQL_ROWS_AT_ONCE):
        work.execute(statement, rows[start : start + SQL_ROWS_AT_ONCE])


def _payment_row(payment: Payment, held: Held) -> dict[str, Any]:
    return {
        "key": payment.key, "reference": usage.clean(f"{payment.channel} {payment.id}", 400), "book": payment.book,
        "billing_account": held.billing_account, "channel": payment.channel, "voucher": payment.voucher,
        "amount_micros": payment.amount_micros, "at_ms": payment.at_ms,
    }  # fmt: skip


def _entry_key(known: Mapping[tuple[int, date], Entry], taken: Taken, day_of: Callable[[int], date]) -> str:
    entry = known.get((taken.held.billing_account, day_of(taken.line.at_ms)))
    return entry.key if entry else ""
