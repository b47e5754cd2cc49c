"""The files of the audit log, and an attempt as their lines: what the API and the command line have in common (audit_log.py has the laws).

Laws
1. A line is one write at the end of its day's file (O_APPEND), and where its writer waits for that on disk (fsync) before it goes on.
   Several processes append to one file; none holds it open, and none waits for another.
2. A line that a full disk has cut is ended by whoever writes next. A write that the disk took in part counts as refused.
3. A file belongs to whom its folder belongs to, whoever makes it: what root does at the machine does not lock the server out.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ocs.api_limits import AUDIT_FIELDS_MAX, AUDIT_TEXT_CHARS_MAX
from ocs.clock import instant

if TYPE_CHECKING:
    from asyncio import Future

INTENT, OUTCOME = "intent", "outcome"
SUFFIX: Final = ".jsonl"
_MS_A_DAY: Final = 86_400_000

Facts = Mapping[str, object]


class Line(NamedTuple):
    """A line that waits for the disk."""

    day: str
    octets: bytes
    done: "Future[None] | None" = None
    is_synced: bool = True
    """Whether it has to be on disk, and not only written."""


def octets_of(content: Facts) -> bytes:
    """Write a line's content as the line."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


class Files:
    """The files of a folder. Few calls of the system for each batch of lines: each may wait for the interpreter's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: dict[str, int] = {}
        """Where each day's file ended with a whole line of ours."""
        self.unsynced: set[str] = set()
        """Days with lines that are written, and perhaps not on disk."""

    def append(self, lines: list[Line]) -> tuple[set[str], str]:
        """Append lines to the files of their days; returns the days whose lines are not all on disk, and why."""
        refused: set[str] = set()
        why = ""
        for day in dict.fromkeys(line.day for line in lines):
            end, its = self._ends.pop(day, -1), [line for line in lines if line.day == day]
            try:
                is_synced = any(line.is_synced for line in its)
                octets = b"".join(line.octets for line in its)
                self._ends[day] = self._append(day, octets, end, is_synced=is_synced)
            except OSError as fault:
                refused.add(day)
                why = fault.strerror or str(fault)
        self._ends = {
            day: self._ends[day] for day in sorted(self._ends)[-2:]
        }  # around midnight there are two
        return refused, why

    def _append(self, day: str, octets: bytes, end: int, *, is_synced: bool) -> int:
        """Append to a file that ended at ``end`` when we wrote last, and return where it ends now."""
        file = self._opened(self._folder / f"{day}{SUFFIX}")
        try:
            size = os.fstat(file).st_size
            if size not in {0, end} and os.pread(file, 1, size - 1) != b"\n":
                octets = b"\n" + octets  # a line before was cut off, by a full disk or the end of a machine
            if os.write(file, octets) != len(octets):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.unsynced.add(day)
            if is_synced:
                os.fsync(file)
                self.unsynced.discard(day)
        finally:
            os.close(file)
        return size + len(octets)

    def _opened(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _given(self._folder, self._folder.parent)
            made = os.open(path, flags | os.O_CREAT, 0o600)
        try:
            _given(made, self._folder)
            _sync_folder(self._folder)  # its name
        except OSError:
            os.close(made)
            raise
        return made


def _given(made: int | Path, like: Path) -> None:
    """Give what root has made to whom the folder that it is in belongs to (law 3)."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def days_of(folder: Path) -> list[str]:
    """Return the days that have a file, the oldest first."""
    return sorted(each.name.removesuffix(SUFFIX) for each in folder.glob(f"*{SUFFIX}"))


def prune(folder: Path, days: int, now_ms: int) -> list[str]:
    """Remove the files of days that began more than so many days ago (0: none); which. Today's never is. Raises OSError."""
    if not days:
        return []
    first = instant(now_ms - days * _MS_A_DAY)[:10]
    gone = [each for each in days_of(folder) if _is_day(each) and each < first]
    for each in gone:
        with suppress(FileNotFoundError):
            (folder / f"{each}{SUFFIX}").unlink()
    return gone


def _is_day(text: str) -> bool:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat() == text
    except ValueError:
        return False


class Times(Protocol):
    """A clock (ocs/clock.py)."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""


class Attempt:
    """What is known of one attempted change, and its lines."""

    def __init__(self, action: str, address: str, clock: Times, caller: Any = None) -> None:
        self.id = secrets.token_hex(8)
        self.caller: Any = (
            caller  # an id and a channel, once they are known; a Caller wherever a route sees it
        )
        self._clock = clock
        self._at_ms = clock.now_ms()
        self._lines = 0
        self._facts: dict[str, object] = {
            "action": action, "resource": "", "accounts": [], "address": address, "before": {}, "after": {},
        }  # fmt: skip

    def made(
        self, *, resource: str = "", account: str | Iterable[str] = "", after: Facts | None = None
    ) -> None:
        """Note what is true since the change."""
        self._note("", resource, account)
        if after is not None:
            self._facts["after"] = bounded(after)

    def _note(
        self, action: str, resource: str, account: str | Iterable[str], before: Facts | None = None
    ) -> None:
        if action:
            self._facts["action"] = action
        if resource:
            self._facts["resource"] = _cut(resource)
        if account:
            self._facts["accounts"] = [account] if isinstance(account, str) else list(account)
        if before is not None:
            self._facts["before"] = bounded(before)

    @property
    def _day(self) -> str:
        return instant(self._at_ms)[:10]

    def _line(self, kind: str) -> dict[str, object]:
        """Build a line; ``n`` counts the lines of the change before it."""
        who = {"client": "", "channel": ""}
        if self.caller is not None:
            who = {"client": self.caller.id, "channel": self.caller.channel}
        times = {"at": instant(self._at_ms, "milliseconds")}
        if kind == OUTCOME:
            times["ended"] = instant(self._clock.now_ms(), "milliseconds")
        return {"line": kind, "id": self.id, "n": self._lines, **times, **who, **self._facts}


def _cut(text: str) -> str:
    return text if len(text) <= AUDIT_TEXT_CHARS_MAX else text[: AUDIT_TEXT_CHARS_MAX - 1] + "…"


def bounded(facts: Facts) -> dict[str, object]:
    """Keep facts that one line can hold: texts, numbers, truth; all else as text, cut where it is long."""
    kept: dict[str, object] = {}
    for name, value in list(facts.items())[:AUDIT_FIELDS_MAX]:
        if value is None or isinstance(value, bool | int):
            kept[name] = value
        elif isinstance(value, Decimal):
            kept[name] = format(value, "f")
        elif isinstance(value, list | tuple | set | frozenset):
            kept[name] = [_cut(str(each)) for each in list(value)[:AUDIT_FIELDS_MAX]]
        else:
            kept[name] = _cut(str(value))
    return kept
