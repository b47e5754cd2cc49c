"""Lines of usage files become usage lines: the unit of work of some lines of a file.

Laws
1. Lines, their entries and how far the file was taken in are one unit of work. A line is known by its source and its own id: the same
   again is counted and passed over, another content under it is rejected.
2. What a file brings is not in the charging server's book: where the service has one, it is posted there by the outbox (journal.py, law 4).
3. A refund takes back no more than is left of the line that it names, which has to be of the same service.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, or_, select, update

from ocs.care.customers.tables import services
from ocs.sql import insert_new, locked
from postpaid_bridge import usage
from postpaid_bridge.sql.intake import Rules
from postpaid_bridge.sql.usage import files, lines, rejected
from postpaid_bridge.sql.usage_rows import line_row, parts, post_all, services_by
from postpaid_bridge.usage import Held, Source, Taken, Why
from postpaid_bridge.usage_files import FileLine, LineFault, read_line

__all__ = ["Counts", "File", "RawLine", "replay_lines", "take_lines"]

_RAW_CHARS_MAX = 17_000


class File(NamedTuple):
    """A file that is being taken in; ``mark`` begins its SHA-256: it stands for the file in keys, whatever the number of its row."""

    id: int
    sha256: str
    form: str
    source: str

    @property
    def mark(self) -> str:
        """Return what stands for the file in keys."""
        return self.sha256[:32]


class RawLine(NamedTuple):
    """A line as it stands in its file; ``row`` is that of what was rejected before (0: it comes from the file)."""

    number: int
    text: str
    row: int = 0


@dataclass(slots=True)
class Counts:
    """What became of lines."""

    taken: int = 0
    repeated: int = 0
    rejected: int = 0


class _Chosen(NamedTuple):
    raw: RawLine
    told: FileLine
    taken: Taken


def take_lines(work: Connection, rules: Rules, file: File, listed: Sequence[RawLine], now_ms: int) -> Counts:
    """Take in some lines of a file, in the unit of work of the caller, who notes how far it has come. Raises nothing that a line could cause."""
    taking = _Lines(work, rules, file, now_ms)
    chosen = taking.read(listed)
    taking.keep([each for each in chosen if not each.told.reference])
    taking.keep(taking.bounded([each for each in chosen if each.told.reference]))
    taking.settle(listed)
    return taking.counts


def replay_lines(
    work: Connection, rules: Rules, now_ms: int, after: int = 0, most: int = 500
) -> tuple[Counts, int]:
    """Try rejected lines again, behind a row's number; what came of it, and the last row looked at (0: there is no more)."""
    c, counts = rejected.c, Counts()
    asked = (
        select(c.id, c.place, c.raw, c.file, files.c.sha256, files.c.form, files.c.source)
        .join(files, files.c.id == c.file)
        .where(c.state == "parked", c.replayable == 1, c.source == Source.FILE, c.id > after)
        .order_by(c.id)
        .limit(most)
    )
    rows = work.execute(locked(asked)).all()
    of: dict[File, list[RawLine]] = {}
    for row in rows:
        of.setdefault(File(row.file, row.sha256, row.form, row.source), []).append(
            RawLine(int(row.place), row.raw, row.id)
        )
    for file, listed in of.items():
        done = take_lines(work, rules, file, listed, now_ms)
        left = files.c.rejected - (len(listed) - done.rejected)
        change = update(files).where(files.c.id == file.id)
        work.execute(
            change.values(
                taken=files.c.taken + done.taken, repeated=files.c.repeated + done.repeated, rejected=left
            )
        )
        counts.taken += done.taken
        counts.repeated += done.repeated
        counts.rejected += done.rejected
    return counts, rows[-1].id if rows else 0


class _Lines:
    """One unit of work on lines of a file."""

    def __init__(self, work: Connection, rules: Rules, file: File, now_ms: int) -> None:
        self._work = work
        self._rules = rules
        self._file = file
        self._now_ms = now_ms
        self._refused: dict[RawLine, tuple[Why, str]] = {}
        self._corrects: dict[str, int] = {}
        self.counts = Counts()

    def read(self, listed: Sequence[RawLine]) -> list[_Chosen]:
        """Read lines, and find whose they are."""
        told: list[tuple[RawLine, FileLine]] = []
        for raw in listed:
            try:
                found = read_line(
                    self._file.form,
                    self._file.source,
                    raw.number,
                    raw.text,
                    self._rules.classes,
                    self._now_ms,
                )
            except LineFault as fault:
                self._refuse(raw, fault.why, str(fault))
            else:
                told.append((raw, found))
        held = services_by(self._work, services.c.number, {each.number for _, each in told})
        return [each for raw, found in told if (each := self._whose(raw, found, held.get(found.number, [])))]

    def _whose(self, raw: RawLine, told: FileLine, held: Sequence[Held]) -> _Chosen | None:
        own = [each._replace(subscriber="") for each in held]
        whose = usage.service_for(own, "", self._rules.day_of(told.line.at_ms))
        if isinstance(whose, Why):
            self._refuse(raw, whose, f"{told.number} on its day")
            return None
        if whose.currency != told.currency:
            self._refuse(raw, Why.CURRENCY, f"{told.currency} for a billing account in {whose.currency}")
            return None
        return _Chosen(raw, told, Taken(told.line, whose, self._rules.classes[told.line.usage_class]))

    def bounded(self, chosen: Sequence[_Chosen]) -> list[_Chosen]:
        """Return the refunds that take back no more than is left of their lines (law 3)."""
        names = {each: f"file.{self._file.source}.{each.told.reference}" for each in chosen}
        found: dict[str, Any] = {}
        for part in parts(set(names.values())):
            for row in self._work.execute(locked(select(lines).where(lines.c.key.in_(part)))):
                found[row.key] = row
        there = self._there({each.told.line.key for each in chosen})
        left = self._left([row.id for row in found.values()])
        bounded = []
        for each, name in names.items():
            line, first = each.told.line, found.get(name)
            if line.key in there:  # judged by its content
                bounded.append(each)
            elif first is None or first.service != each.taken.held.id or first.amount_micros < 0:
                self._refuse(
                    each.raw, Why.REFERENCE, f"{each.told.reference} is no line of this source and service"
                )
            elif left[first.id] + line.amount_micros < 0:
                self._refuse(
                    each.raw,
                    Why.REFERENCE,
                    f"more than is left of {each.told.reference}: {left[first.id]} micro-units",
                )
            else:
                left[first.id] += line.amount_micros
                self._corrects[line.key] = first.id
                bounded.append(each)
        return bounded

    def _left(self, ids: Sequence[int]) -> dict[int, int]:
        """Return what lines and their corrections come to."""
        of = func.coalesce(lines.c.corrects, lines.c.id)
        left: dict[int, int] = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            asked = select(of, func.sum(lines.c.amount_micros)).where(
                or_(lines.c.id.in_(part), lines.c.corrects.in_(part))
            )
            left.update((row[0], int(row[1])) for row in self._work.execute(asked.group_by(of)))
        return left

    def keep(self, chosen: Sequence[_Chosen]) -> None:
        """Write lines whose key is new, with their entries."""
        new: dict[str, _Chosen] = {}
        there = self._there({each.told.line.key for each in chosen})
        for each in chosen:
            key = each.told.line.key
            known = there.get(key) or (_content(new[key]) if key in new else None)
            if known is None:
                new[key] = each
            elif known == _content(each):
                self.counts.repeated += 1
            else:
                self._refuse(each.raw, Why.DOUBLE, f"{key}: is there with other content")
        if not new:
            return
        numbers = [each.raw.number for each in new.values()]
        again = "again/" if any(each.raw.row for each in new.values()) else ""
        where = f"file/{again}{self._file.mark}/{min(numbers)}-{max(numbers)}"
        where += "r" if self._corrects else ""
        taken = [each.taken for each in new.values()]
        entries = usage.entries_of(where, taken, self._rules.day_of, self._now_ms, from_book=False)
        rows = []
        for one in taken:
            entry = entries.get((one.held.billing_account, self._rules.day_of(one.line.at_ms)))
            row = line_row(one, Source.FILE, 0, entry.key if entry else "")
            row["place"] = f"{self._file.mark}/{one.line.place}"
            row["corrects"] = self._corrects.get(one.line.key)
            rows.append(row)
        self._work.execute(lines.insert(), rows)
        post_all(self._work, list(entries.values()))
        self.counts.taken += len(new)

    def _there(self, keys: set[str]) -> dict[str, tuple[Any, ...]]:
        c = lines.c
        found: dict[str, tuple[Any, ...]] = {}
        of = (
            c.service,
            c.at_ms,
            c.usage_class,
            c.unit,
            c.units,
            c.amount_micros,
            c.counterpart,
            c.zone,
            c.text,
        )
        for part in parts(keys):
            for row in self._work.execute(select(c.key, *of).where(c.key.in_(part))):
                found[row[0]] = tuple(row[1:])
        return found

    def _refuse(self, raw: RawLine, why: Why, detail: str) -> None:
        self._refused[raw] = why, usage.clean(detail, 400)

    def settle(self, listed: Sequence[RawLine]) -> None:
        """Keep what was refused; what was rejected before and went well now is taken."""
        self.counts.rejected = len(self._refused)
        rows = []
        for raw, (why, detail) in self._refused.items():
            if raw.row:
                change = update(rejected).where(rejected.c.id == raw.row)
                self._work.execute(change.values(why=why.value, detail=detail))
                continue
            text = usage.clean(raw.text, _RAW_CHARS_MAX)
            rows.append(
                {
                    "key": f"file:{self._file.mark}/{raw.number}", "source": Source.FILE, "place": str(raw.number), "file": self._file.id,
                    "why": why.value, "detail": detail, "raw": text, "replayable": int(text == raw.text), "made_ms": self._now_ms,
                }
            )  # fmt: skip
        insert_new(self._work, rejected, rows, "key")
        done = [each.row for each in listed if each.row and each not in self._refused]
        if done:
            change = update(rejected).where(rejected.c.id.in_(done))
            self._work.execute(change.values(state="taken", done_ms=self._now_ms))


def _content(chosen: _Chosen) -> tuple[Any, ...]:
    line, held, _ = chosen.taken
    return (
        held.id, line.at_ms, line.usage_class, line.unit, line.units, line.amount_micros, line.counterpart, line.zone, line.text,
    )  # fmt: skip
