"""The spool: terminations that arrive while the store is away are kept on disk, answered, and charged when it is back.

A client seldom repeats a termination (CLIENTS 15), and nobody else knows what the session used last; every other request that finds
no store is answered 3004, so that the client turns to another server (DESIGN section 6).

Laws
1. What is answered is on disk: an entry is written and fsynced before its client hears 2001. Entries that come together share one fsync.
2. An entry is charged under the identity of its request, so that charging it twice (a crash between the charge and the end of its file,
   a client that repeats) counts once; it is priced at the instant at which it was received.
3. A file ends when all of its entries were decided. What the store refuses by then (the session is long gone) is set aside beside it,
   for a human, and counted; it is never dropped in silence. That human compares with the records: a crash between a charge and the end
   of its file, and a restart minutes later, leaves there what was charged.
4. A torn end of a file was never acknowledged; what stands before it is charged. What is whole and cannot be read (another release wrote
   it) keeps its file, as <file>.unread, and is counted. No file, whatever is in it, keeps another from being charged.
5. It is bounded (limits.SPOOL_ENTRIES_MAX): beyond, terminations are answered 3004 like everything else.

Files: <folder>/<worker>-<n>.spool (a worker's name is one process's: spool_owner.py), each a row of entries: length and CRC-32 of what follows (8 octets), and a MessagePack array of the
instant of reception (milliseconds since 1970) and the Ask's fields. Refused entries: <folder>/<worker>.refused, the same rows; one
whose end was torn by a full disk or a crash stays as it is under <worker>-<n>.refused, and another begins.
"""

import asyncio
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any, Final, NamedTuple, Protocol

import msgpack

from ocs.balance.charging import Answered
from ocs.charging.ask import NOT_GIVEN, TERMINATION, Ask, AskedService, Units
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.clock import Clock
from ocs.limits import SPOOL_ENTRIES_MAX, SPOOL_LOOK_PAUSES, SPOOL_PAUSE_MS, SPOOL_UNDER_WAY_MAX
from ocs.names import SubscriberId
from ocs.outcomes import Code, Note
from ocs.units import UNITS_MAX, Unit

_HEAD: Final = struct.Struct("<II")
_ENTRY_OCTETS_MAX: Final = 1 << 20
_FILE_OCTETS_MAX: Final = 8 << 20
"""A file that is longer is closed although the store is still away: it is read as a whole when its turn comes."""
_UNDECIDED: Final = frozenset((Code.EPOCH, Code.SKEW, Code.STALE))
"""Outcomes that decide nothing: the store is away, a clock is wrong, a tariff is not known here yet."""


COUNTED: Final = ("spooled", "spool_charged", "spool_refused", "spool_unread", "spool_faults")
"""What a spool counts, for metrics."""


class Charges(Protocol):
    """What the spool stands before (book.py)."""

    @property
    def ready(self) -> bool:
        """Tell whether every part of the store can be reached."""

    def charge(self, ask: Ask, done: Answered, via: str = "", at_ms: int = 0) -> None:
        """Charge one request, priced at an instant of the past where one is given; ``done`` gets its Outcome exactly once."""


class Entry(NamedTuple):
    """A termination as it was received."""

    at_ms: int
    ask: Ask


class _Waiting(NamedTuple):
    """An entry whose client waits until it is on disk, and what it is answered where that fails."""

    entry: Entry
    done: Answered
    otherwise: Outcome


class Spool:
    """Stands before the book of one worker; what it does not keep goes straight through."""

    def __init__(
        self,
        book: Charges,
        folder: Path,
        worker: str,
        clock: Clock,
        tell: Callable[[str], None] = lambda _why: None,
    ) -> None:
        """``tell`` is told why something of the spool could not be done."""
        self._book = book
        self._folder = folder
        self._worker = worker
        self._clock = clock
        self._tell = tell
        self._why = ""
        self._decided: dict[Path, set[int]] = {}
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = [_number(path) for path in _files(folder) if _worker(path) == worker]
        self._number = 1 + max(own, default=0)
        self._octets = 0
        self.entries = 0
        """Entries on disk that are not decided."""
        self.counts = dict.fromkeys(COUNTED, 0)

    @property
    def ready(self) -> bool:
        """Tell whether every part of the store can be reached."""
        return self._book.ready

    def charge(self, ask: Ask, done: Answered, via: str = "") -> None:
        """Charge one request; a termination that finds no store is kept, and told to be done once it is on disk."""
        if ask.kind != TERMINATION:
            self._book.charge(ask, done, via)
            return
        at_ms = self._clock.now_ms()
        self._book.charge(ask, lambda outcome: self._ended(Entry(at_ms, ask), done, outcome), via)

    def _ended(self, entry: Entry, done: Answered, outcome: Outcome) -> None:
        if outcome.code not in _UNDECIDED or self.entries + len(self._waiting) >= SPOOL_ENTRIES_MAX:
            done(outcome)
            return
        self._waiting.append(_Waiting(entry, done, outcome))
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())

    # ------------------------------------------------------------------ to disk

    async def _write(self) -> None:
        """Write what waits, all of it with one fsync, until nothing waits."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                octets = b"".join([_row(each.entry) for each in batch])
                try:
                    await asyncio.to_thread(_append, self._path(self._number), self._octets, octets)
                except OSError as fault:
                    self._failed(f"terminations cannot be kept: {fault}")
                    for each in batch:
                        _say(each.done, each.otherwise)
                    continue
                self._octets += len(octets)
                self.entries += len(batch)
                self.counts["spooled"] += len(batch)
                for each in batch:
                    _say(each.done, _kept(each.entry.ask))
        finally:
            self._writing = None

    def _failed(self, why: str) -> None:
        self.counts["spool_faults"] += 1
        if why != self._why:  # what is tried again and again is told once
            self._why = why
            self._tell(why)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._worker}-{number:08}.spool"

    # ------------------------------------------------------------------ back to the book

    async def keep_up(self, others: Callable[[str], bool] = lambda _worker: False) -> None:
        """Charge what is on disk, again and again until cancelled; ``others`` tells which other workers' files are ours by now."""
        closed = await self._found([], others, own=True)
        pauses = 0
        while True:
            pauses += 1
            if pauses % SPOOL_LOOK_PAUSES == 0:
                closed += await self._found(closed, others, own=False)
            for path in tuple(closed) if self.ready else ():
                try:
                    if await self._settle(path):
                        closed.remove(path)
                except Exception as fault:  # noqa: BLE001 - law 4: whatever it is, the next file has its turn, and this one again
                    self._failed(f"{path.name} cannot be charged: {fault!r}")
            await asyncio.sleep(SPOOL_PAUSE_MS / 1000)
            if self._octets and self._writing is None and (self.ready or self._octets > _FILE_OCTETS_MAX):
                closed.append(self._path(self._number))
                self._number, self._octets = self._number + 1, 0

    async def _found(self, closed: list[Path], others: Callable[[str], bool], *, own: bool) -> list[Path]:
        """Return files that are ours to charge and are not known yet; ``own`` says whether those of our name are (a predecessor's)."""
        known = {*closed, self._path(self._number)}
        found = [
            path
            for path in await asyncio.to_thread(_files, self._folder)
            if path not in known and (own if _worker(path) == self._worker else others(_worker(path)))
        ]
        for path in found:
            try:
                self.entries += len((await asyncio.to_thread(read, path)).entries)
            except OSError as fault:
                self._failed(f"{path.name} cannot be read: {fault}")
        return found

    async def _settle(self, path: Path) -> bool:
        """Charge what of a file is not decided; True when all of it is."""
        found = await asyncio.to_thread(read, path)
        decided = self._decided.setdefault(path, set())
        left = [(place, entry) for place, entry in enumerate(found.entries) if place not in decided]
        refused: dict[int, Entry] = {}
        before = len(decided)
        aside = 0
        try:
            for start in range(0, len(left), SPOOL_UNDER_WAY_MAX):
                batch = left[start : start + SPOOL_UNDER_WAY_MAX]
                codes = await asyncio.gather(*[self._again(entry) for _, entry in batch])
                for (place, entry), code in zip(batch, codes, strict=True):
                    if code in _UNDECIDED:
                        continue
                    if code != Code.SUCCESS and _tells(entry.ask):
                        refused[place] = entry
                    else:
                        decided.add(place)
            if (
                refused
            ):  # decided once they are on disk: where that fails they are charged, and refused, again
                octets = b"".join([_row(each) for each in refused.values()])
                await asyncio.to_thread(_set_by, self._folder, self._worker, octets)
                decided.update(refused)
                aside = len(refused)
            whole = len(decided) == len(found.entries)
            if whole:
                await asyncio.to_thread(_set_aside if found.unread else _remove, path)
                self.counts["spool_unread"] += found.unread
        finally:
            now_decided = len(decided) - before
            # what could not be fsynced was never counted, and may be there all the same
            self.entries = max(0, self.entries - now_decided)
            self.counts["spool_charged"] += now_decided - aside
            self.counts["spool_refused"] += aside
        if whole:
            del self._decided[path]
        return whole

    async def _again(self, entry: Entry) -> Code:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not future.done():  # cancelled: the worker ends, and its successor charges the entry again
                future.set_result(outcome)

        self._book.charge(entry.ask, settle, at_ms=entry.at_ms)
        return Code((await future).code)


def _say(done: Answered, outcome: Outcome) -> None:
    """Tell one client's receiver; a defect in it keeps no other from being told."""
    try:
        done(outcome)
    except Exception as error:  # noqa: BLE001 - told, and the next one's turn
        told = {"message": "a request met a defect of its receiver", "exception": error}
        asyncio.get_running_loop().call_exception_handler(told)


def _kept(ask: Ask) -> Outcome:
    """Return what a client is told whose termination is kept: done, as it would be."""
    rows = tuple(ServiceOutcome(Code.SUCCESS, Unit.OCTETS, 0, 0, final=False) for _ in ask.services)
    return Outcome(Code.SUCCESS, Note(0), rows)


def _tells(ask: Ask) -> bool:
    """Tell whether a termination reports any use."""
    return any(each.used is not None and max(each.used) > 0 for each in ask.services)


# ---------------------------------------------------------------- rows and files


def _row(entry: Entry) -> bytes:
    ask = entry.ask
    fields = [
        entry.at_ms, ask.kind, ask.session_id, ask.number, ask.family, ask.context, [tuple(each) for each in ask.ids],
        [tuple(each) for each in ask.services], ask.digest, ask.multiple, ask.origin_host, ask.origin_realm,
        ask.currency, ask.correlation,
    ]  # fmt: skip
    packed: bytes = msgpack.packb(fields, unicode_errors="surrogateescape")
    return _HEAD.pack(len(packed), zlib.crc32(packed)) + packed


class Read(NamedTuple):
    """What a file says: its entries up to its end or to what is torn, and how many whole rows are none that this release can read."""

    entries: list[Entry]
    unread: int


def read(path: Path) -> Read:
    """Read a file; raises OSError."""
    found, unread = [], 0
    for packed in _rows(path.read_bytes()):
        try:
            fields = msgpack.unpackb(packed, unicode_errors="surrogateescape", strict_map_key=False)
            found.append(_entry(fields))
        except (ValueError, TypeError):
            unread += 1
    return Read(found, unread)


def _rows(octets: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD.size <= len(octets):
        length, checksum = _HEAD.unpack_from(octets, at)
        packed = octets[at + _HEAD.size : at + _HEAD.size + length]
        # zeroes are what a file is full of whose end was not written when the power went
        if not 0 < length <= _ENTRY_OCTETS_MAX or len(packed) < length or zlib.crc32(packed) != checksum:
            return
        yield packed
        at += _HEAD.size + length


_TYPES: Final = (int, int, str, int, (str, NoneType), str, list, list, int, bool, str, str)
_LATER_TYPES: Final = ((int, NoneType), str)
_SERVICE_TYPES: Final = (str, (int, NoneType), (int, NoneType))


def _entry(fields: Any) -> Entry:
    """Make an entry of a row; raises ValueError and TypeError for one that no release wrote."""
    if not isinstance(fields, list):
        raise TypeError("no row of fields")
    later = fields[len(_TYPES) :] or (None, "")  # rows of older releases have neither
    _hold(fields[: len(_TYPES)], _TYPES)
    _hold(later, _LATER_TYPES)
    at_ms, kind, session_id, number, family, context, ids, services, digest, multiple, host, realm = fields[
        : len(_TYPES)
    ]
    if kind != TERMINATION:
        raise ValueError("no termination")
    asked = tuple(_service(*each) for each in services)
    who = tuple(SubscriberId(*each) for each in ids)
    for each in who:
        _hold(each, (str, str))
    ask = Ask(kind, session_id, number, family, context, who, asked, digest, multiple, host, realm)
    currency, correlation = later
    return Entry(at_ms, ask._replace(currency=currency, correlation=correlation))


def _service(key: Any, group: Any, identifier: Any, used: Any, wanted: Any, after: Any) -> AskedService:
    _hold((key, group, identifier), _SERVICE_TYPES)
    return AskedService(key, group, identifier, _units(used), _units(wanted), _units(after))


def _units(counts: Any) -> Units | None:
    if counts is None:
        return None
    units = Units(*counts)
    _hold(units, (int,) * len(units))
    if not all(NOT_GIVEN <= each <= UNITS_MAX for each in units):
        raise ValueError("no units")
    return units


def _hold(fields: Any, types: tuple[Any, ...]) -> None:
    """Hold a row of fields to their types: what is of others would break whoever charges it, again and again."""
    if len(fields) != len(types) or not all(map(isinstance, fields, types)):
        raise TypeError("fields of other types")


def _append(path: Path, from_octet: int | None, octets: bytes) -> None:
    """Append, and return when it is on disk; what a failed write has left behind ``from_octet`` is cut off first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        if from_octet is not None:
            file.truncate(from_octet)
        left = memoryview(octets)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    if is_new:
        _sync(path.parent)


def _set_by(folder: Path, worker: str, octets: bytes) -> None:
    """Append to what is set aside for a human; behind a torn row nobody would read it, so such a file is set by as it is."""
    path = folder / f"{worker}.refused"
    if path.exists():
        whole = path.read_bytes()
        if sum(_HEAD.size + len(packed) for packed in _rows(whole)) != len(whole):
            number = 1 + len(_refused(folder, worker))
            path.rename(folder / f"{worker}-{number:08}.refused")
    _append(path, None, octets)


def _refused(folder: Path, worker: str) -> list[Path]:
    """Return the files set by before, numbered as they came."""
    return list(folder.glob(f"{worker}-*.refused"))


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    _sync(path.parent)


def _set_aside(path: Path) -> None:
    path.rename(path.with_suffix(".unread"))
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Let a folder say on disk which files it has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def _worker(path: Path) -> str:
    return path.stem.rpartition("-")[0]


def _number(path: Path) -> int:
    text = path.stem.rpartition("-")[2]
    return int(text) if text.isdigit() else 0
