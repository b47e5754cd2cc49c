"""Accounting records that nobody can be billed for: kept on disk for a human, answered, and counted.

The service was delivered, and the client is to be rid of its record: an error that never ends would make it send the record again and again,
to every server, and then drop it or fill its own disk (RFC 6733 section 9.4). So a record whose subscriber nobody knows is set aside and
answered 2001, which says that it is kept; it is no 5030, which a client of accounting does not have to know.

Laws
1. What is answered 2001 is in the store or on disk: a line is written and fsynced before. Lines that come together share one fsync.
2. What cannot be kept is answered DIAMETER_OUT_OF_SPACE (4002, RFC 6733 section 7.1.4): the client keeps it and tries again.
3. A line holds the whole message, so that nothing is lost that the record told. The same record may stand there twice, and never says less.

Files: <folder>/<worker>.jsonl, one JSON object a line: when it was received, why nobody is billed, who sent it, the record's
identity (session_id, type, number), and the message in hexadecimal digits.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from ocs.balance.accounting import UNBILLED
from ocs.balance.charging import Answered
from ocs.charging.accounting import AccountingRecord
from ocs.charging.outcome import Outcome
from ocs.clock import Clock
from ocs.diameter.faults import ResultCode
from ocs.limits import UNBILLED_OCTETS_MAX
from ocs.outcomes import RESULT_CODES, Code
from ocs.records import ACCOUNTING

Recorded = Callable[[int, Outcome], None]
"""Gets the Result-Code that a record is answered with, and its Outcome."""

WHY: Final = {
    Code.UNKNOWN_SUBSCRIBER: "unknown_subscriber",
    Code.UNKNOWN_SESSION: "nobody_named",
    Code.LIMIT: "too_old",
    Code.UNRATED: "unknown_service",
}
"""Why nobody is billed, as files and metrics name it."""
_TYPES: Final = {1: "start", 2: "interim", 3: "stop", 4: "event"}


class Accounts(Protocol):
    """What this stands before (book.py)."""

    def account(self, record: AccountingRecord, done: Answered) -> None:
        """Post one accounting record; ``done`` gets its Outcome exactly once."""


class _Waiting(NamedTuple):
    line: bytes
    outcome: Outcome
    done: Recorded


class Unbilled:
    """Stands before the book of one worker."""

    def __init__(
        self,
        book: Accounts,
        folder: Path,
        worker: str,
        clock: Clock,
        tell: Callable[[str], None] = lambda _why: None,
        octets_max: int = UNBILLED_OCTETS_MAX,
    ) -> None:
        """``tell`` is told why something could not be kept; a file takes ``octets_max``."""
        self._book, self._clock, self._tell = book, clock, tell
        self._path = folder / f"{worker}.jsonl"
        self._octets_max = octets_max
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self.counts = dict.fromkeys((*WHY.values(), "not_kept"), 0)
        """Records set aside, by why, and those that could not be, for metrics."""

    def account(self, record: AccountingRecord, frame: bytes, done: Recorded) -> None:
        """Post one record, which came as ``frame``; ``done`` is told exactly once, now or later."""
        self._book.account(record, lambda outcome: self._posted(record, frame, done, outcome))

    def _posted(self, record: AccountingRecord, frame: bytes, done: Recorded, outcome: Outcome) -> None:
        if outcome.code not in UNBILLED:
            done(RESULT_CODES[outcome.code], outcome)
            return
        self._waiting.append(_Waiting(self._line(record, frame, outcome.code), outcome, done))
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())

    def _line(self, record: AccountingRecord, frame: bytes, code: Code) -> bytes:
        received = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        ask = record.ask
        told = {
            "received": received, "why": WHY[code], "origin_host": ask.origin_host, "session_id": ask.session_id.removeprefix(ACCOUNTING),
            "type": _TYPES[ask.kind], "number": ask.number, "message": frame.hex(),
        }  # fmt: skip
        return json.dumps(told).encode() + b"\n"

    async def _write(self) -> None:
        """Write what waits, all of it with one fsync, until nothing waits."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                octets = b"".join([each.line for each in batch])
                try:
                    await asyncio.to_thread(_append, self._path, octets, self._octets_max)
                except OSError as fault:
                    self._tell(f"accounting records cannot be set aside: {fault}")
                    self.counts["not_kept"] += len(batch)
                    result = int(ResultCode.OUT_OF_SPACE)
                else:
                    result = int(ResultCode.SUCCESS)
                    for each in batch:
                        self.counts[WHY[each.outcome.code]] += 1
                for each in batch:
                    _say(each, result)
        finally:
            self._writing = None


def _say(waiting: _Waiting, result: int) -> None:
    """Tell one client's receiver; a defect in it keeps no other from being told."""
    try:
        waiting.done(result, waiting.outcome)
    except Exception as error:  # noqa: BLE001 - told, and the next one's turn
        told = {"message": "a record met a defect of its receiver", "exception": error}
        asyncio.get_running_loop().call_exception_handler(told)


def _append(path: Path, octets: bytes, octets_max: int) -> None:
    """Append, and return when it is on disk; raises OSError, and then a line that was begun is none (it has no end)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # while a worker is replaced, two processes have its place
        before = file.seek(0, os.SEEK_END)
        if before + len(octets) > octets_max:
            raise OSError(f"{path.name} has its full size; move it away")
        left = memoryview(octets)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    if is_new:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
