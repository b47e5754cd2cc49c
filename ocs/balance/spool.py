"""The spool: terminations that arrive while the store is away are kept on disk, answered, and charged when it is back.

A client seldom repeats a termination (CLIENTS 15), and nobody else knows what the session used last; every other request that finds
no store is answered 3004, so that the client turns to another server (DESIGN section 6).

Laws
1. What is answered is on disk: an entry is written and fsynced before its client hears 2001. Entries that come together share one fsync.
2. An entry is charged under the identity of its request, so that charging it twice (a crash between the charge and the end of its file,
   a client that repeats) counts once; it is priced at the instant at which it was received.
3. A file ends when all of its entries were decided. What the store refuses by then (the session is long gone) is set aside beside it,
   for a human, and counted; it is never dropped in silence.
4. A torn or foreign end of a file was never acknowledged; what stands before it is charged.
5. It is bounded (limits.SPOOL_ENTRIES_MAX): beyond, terminations are answered 3004 like everything else.

Files: <folder>/<worker>-<n>.spool, each a row of entries: length and CRC-32 of what follows (8 octets), and a MessagePack array of the
instant of reception (milliseconds since 1970) and the Ask's fields. Refused entries: <folder>/<worker>.refused, the same rows.
"""

import asyncio
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgpack

from ocs.balance.charging import Answered
from ocs.charging.ask import TERMINATION, Ask, AskedService, Units
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.clock import Clock
from ocs.limits import SPOOL_ENTRIES_MAX, SPOOL_PAUSE_MS, SPOOL_UNDER_WAY_MAX
from ocs.names import SubscriberId
from ocs.outcomes import Code, Note
from ocs.units import Unit

_HEAD: Final = struct.Struct("<II")
_ENTRY_OCTETS_MAX: Final = 1 << 20


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


@dataclass(slots=True)
class _Closed:
    """A file that is no longer written to, and its entries that are not decided."""

    path: Path
    left: list[Entry]


class Spool:
    """Stands before the book of one worker; what it does not keep goes straight through."""

    def __init__(self, book: Charges, folder: Path, worker: str, clock: Clock) -> None:
        self._book = book
        self._folder = folder
        self._worker = worker
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = [_number(path) for path in _files(folder) if _worker(path) == worker]
        self._number = 1 + max(own, default=0)
        self._octets = 0
        self.entries = 0
        """Entries on disk that are not decided."""
        self.counts = dict.fromkeys(("spooled", "spool_charged", "spool_refused", "spool_faults"), 0)

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
        if outcome.code != Code.EPOCH or self.entries + len(self._waiting) >= SPOOL_ENTRIES_MAX:
            done(outcome)
            return
        self._waiting.append(_Waiting(entry, done, outcome))
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())

    # ------------------------------------------------------------------ to disk

    async def _write(self) -> None:
        """Write what waits, all of it with one fsync, until nothing waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            octets = b"".join([_row(each.entry) for each in batch])
            try:
                await asyncio.to_thread(_append, self._path(self._number), self._octets, octets)
            except OSError:
                self.counts["spool_faults"] += 1
                for each in batch:
                    each.done(each.otherwise)
                continue
            self._octets += len(octets)
            self.entries += len(batch)
            self.counts["spooled"] += len(batch)
            for each in batch:
                each.done(_kept(each.entry.ask))
        self._writing = None

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._worker}-{number:08}.spool"

    # ------------------------------------------------------------------ back to the book

    async def keep_up(self, others: Callable[[str], bool] = lambda _worker: False) -> None:
        """Charge what is on disk, again and again until cancelled; ``others`` tells which other workers' files are ours by now."""
        closed = [
            _Closed(path, await asyncio.to_thread(read, path))
            for path in await asyncio.to_thread(_files, self._folder)
            if path != self._path(self._number) and (_worker(path) == self._worker or others(_worker(path)))
        ]
        self.entries += sum(len(each.left) for each in closed)
        while True:
            for each in closed if self.ready else ():
                try:
                    await self._settle(each)
                except OSError:
                    self.counts["spool_faults"] += (
                        1  # a full disk, for one: nothing is lost, and it is tried again
                    )
            closed = [each for each in closed if each.left]
            await asyncio.sleep(SPOOL_PAUSE_MS / 1000)
            if self._octets and self._writing is None:
                path = self._path(self._number)
                self._number, self._octets = self._number + 1, 0
                closed.append(_Closed(path, await asyncio.to_thread(read, path)))

    async def _settle(self, file: "_Closed") -> None:
        """Charge what is left of a file; what finds no store, or a tariff that is not known here yet, is left for later."""
        left: list[Entry] = []
        refused: list[Entry] = []
        for start in range(0, len(file.left), SPOOL_UNDER_WAY_MAX):
            batch = file.left[start : start + SPOOL_UNDER_WAY_MAX]
            codes = await asyncio.gather(*[self._again(each) for each in batch])
            for entry, code in zip(batch, codes, strict=True):
                if code == Code.EPOCH:
                    left.append(entry)
                elif code != Code.SUCCESS and _tells(entry.ask):
                    refused.append(entry)
        if refused:
            octets = b"".join([_row(each) for each in refused])
            await asyncio.to_thread(_append, self._folder / f"{self._worker}.refused", None, octets)
        decided = len(file.left) - len(left)
        file.left = left
        if not left:
            await asyncio.to_thread(_remove, file.path)
        self.entries -= decided
        self.counts["spool_charged"] += decided - len(refused)
        self.counts["spool_refused"] += len(refused)

    async def _again(self, entry: Entry) -> Code:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._book.charge(entry.ask, future.set_result, at_ms=entry.at_ms)
        return Code((await future).code)


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
    ]  # fmt: skip
    packed: bytes = msgpack.packb(fields, unicode_errors="surrogateescape")
    return _HEAD.pack(len(packed), zlib.crc32(packed)) + packed


def read(path: Path) -> list[Entry]:
    """Read the entries of a file, up to its end or to what is torn (law 4)."""
    return list(_entries(path.read_bytes()))


def _entries(octets: bytes) -> Iterator[Entry]:
    at = 0
    while at + _HEAD.size <= len(octets):
        length, checksum = _HEAD.unpack_from(octets, at)
        packed = octets[at + _HEAD.size : at + _HEAD.size + length]
        if length > _ENTRY_OCTETS_MAX or len(packed) < length or zlib.crc32(packed) != checksum:
            return
        yield _entry(msgpack.unpackb(packed, unicode_errors="surrogateescape", strict_map_key=False))
        at += _HEAD.size + length


def _entry(fields: list[Any]) -> Entry:
    at_ms, kind, session_id, number, family, context, ids, services, digest, multiple, host, realm = fields
    asked = tuple(
        AskedService(key, group, identifier, _units(used), _units(wanted), _units(after))
        for key, group, identifier, used, wanted, after in services
    )
    who = tuple(SubscriberId(*each) for each in ids)
    return Entry(
        at_ms, Ask(kind, session_id, number, family, context, who, asked, digest, multiple, host, realm)
    )


def _units(counts: list[int] | None) -> Units | None:
    return None if counts is None else Units(*counts)


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


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
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
