"""The audit log: every attempted change over HTTP, accepted or refused, with who, what, when, from where, and what came of it.

Laws
1. Before a change is made, a line says that it is about to be: the intent. After it, and before its answer leaves, another says what
   came of it: the outcome, which repeats who and what. What was refused before anything was tried has an outcome alone.
2. A line is on disk (fsync) before its writer goes on. So a full disk refuses a change before it is made (503), and a change that was
   made has its intent, whatever dies in between. An intent alone tells: it may have been made; look at the thing, by its id.
3. An outcome that cannot be written holds no answer back, since the change stands; it waits in memory for the disk.
4. Lines that come while others are being written share the next write and the next fsync, done in a thread.
5. One file a day (UTC), `<folder>/2026-11-28.jsonl`, mode 0600, one JSON object a line; both lines of a change are in the file of the day
   on which it began. No file is held open: it may be moved away at any time. Several processes may append.
6. Accounts, ids, amounts and states; never a number, a name or a secret. What is left out is an empty text.

A route adopts it in two lines:

    async def post(wanted: Wanted, change: Change = access.change("topup:write")):
        await change.begins("topup.create", resource=wanted.id, account=account, before={"balance": "1.00"})
        …                                          # change.caller is who asks
        change.made(after={"balance": "11.00"})    # the status of the answer is noted by itself

A route that only says `access.route("topup:write")` is logged too, by its path's template and its outcome.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastapi import HTTPException, Request

from ocs.api_limits import AUDIT_FIELDS_MAX, AUDIT_LATE_LINES_MAX, AUDIT_TEXT_CHARS_MAX
from ocs.clock import Clock

if TYPE_CHECKING:
    from ocs.http.access import Caller

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that ask for no change (RFC 9110 section 9.2.1)."""
INTENT, OUTCOME = "intent", "outcome"
SUFFIX: Final = ".jsonl"
_AGAIN_S: Final = 5
"""Pause after which lines that found a full disk are tried again."""
_CLIENT_CLOSED: Final = 499
"""Status of a change whose request ended without any answer."""

Facts = Mapping[str, object]


class AuditFault(Exception):
    """A line could not be written."""


class _Line(NamedTuple):
    """A line that waits for the disk."""

    day: str
    octets: bytes
    done: "asyncio.Future[None] | None"


class AuditLog:
    """Writes lines, durably and together; ``tell`` hears why they cannot be, once until they can again."""

    def __init__(self, folder: Path, tell: Callable[[str], None] = lambda _why: None) -> None:
        self.folder = folder
        self._files = _Files(folder)
        self._tell = tell
        self._waiting: list[_Line] = []
        self._late: list[_Line] = []
        self._writing: asyncio.Task[None] | None = None
        self._told = ""
        self._again: asyncio.TimerHandle | None = None

    async def keep(self, day: str, content: Facts) -> None:
        """Write a line and wait until it is on disk; AuditFault where it cannot be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Line(day, _octets(content), done))
        self._write()
        await done

    async def keep_late(self, day: str, content: Facts) -> None:
        """Write a line and wait for it; where it cannot be written now, it is kept for later (law 3)."""
        try:
            await self.keep(day, content)
        except AuditFault:
            self._late.append(_Line(day, _octets(content), None))
            del self._late[:-AUDIT_LATE_LINES_MAX]
            self._try_again()

    async def close(self) -> None:
        """Write what waits, if the disk takes it now."""
        if self._again is not None:
            self._again.cancel()
        self._told = ""
        self._write()
        if self._writing is not None:
            await self._writing

    def _write(self) -> None:
        if self._writing is None and (self._waiting or self._late):
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        """Write until nothing waits (law 4)."""
        try:
            while self._waiting or (self._late and not self._told):
                await asyncio.sleep(0)  # what this turn of the loop still brings comes along
                lines, self._waiting, self._late = [*self._late, *self._waiting], [], []
                refused, why = await asyncio.to_thread(self._files.append, lines)
                self._settle(lines, refused, why)
        finally:
            self._writing = None

    def _settle(self, lines: list[_Line], refused: set[str], why: str) -> None:
        if why and why != self._told:
            self._tell(why)
        self._told = why
        for line in lines:
            if line.done is None:
                if line.day in refused:
                    self._late.append(line)
            elif not line.done.done():
                if line.day in refused:
                    line.done.set_exception(AuditFault(why))
                else:
                    line.done.set_result(None)
        if self._late:
            self._try_again()

    def _try_again(self) -> None:
        def again() -> None:
            self._again, self._told = None, ""
            self._write()

        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, again)


def _octets(content: Facts) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


class _Files:
    """The files of a folder, written in a thread. Few calls of the system for each batch: each may wait for the interpreter's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: set[str] = set()
        """Days whose last line is whole, as far as this process knows."""

    def append(self, lines: list[_Line]) -> tuple[set[str], str]:
        """Append lines to the files of their days; returns the days whose lines are not all on disk, and why."""
        refused: set[str] = set()
        why = ""
        for day in dict.fromkeys(line.day for line in lines):
            try:
                self._append(day, b"".join(line.octets for line in lines if line.day == day))
            except OSError as fault:
                self._whole.discard(day)
                refused.add(day)
                why = fault.strerror or str(fault)
            else:
                self._whole = {*sorted(self._whole)[-1:], day}  # around midnight there are two
        return refused, why

    def _append(self, day: str, octets: bytes) -> None:
        file = self._opened(self._folder / f"{day}{SUFFIX}")
        try:
            if day not in self._whole and not _ends_whole(file):
                octets = b"\n" + octets  # a line before was cut off, by a full disk or the end of a machine
            while octets:
                octets = octets[os.write(file, octets) :]
            os.fsync(file)
        finally:
            os.close(file)

    def _opened(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = os.open(path, flags | os.O_CREAT, 0o600)
        try:
            _sync_folder(self._folder)  # its name
        except OSError:
            os.close(made)
            raise
        return made


def _sync_folder(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _ends_whole(file: int) -> bool:
    end = os.fstat(file).st_size
    return not end or os.pread(file, 1, end - 1) == b"\n"


class Change:
    """One attempted change: who asks, what, and what came of it. Built when its caller is judged; ended by Audited."""

    def __init__(
        self, action: str, address: str, log: AuditLog | None, clock: Clock, caller: "Caller | None" = None
    ) -> None:
        self.id = secrets.token_hex(8)
        self.caller: Any = caller  # a Caller, wherever a route sees it
        self._log, self._clock = log, clock
        self._at_ms = clock.now_ms()
        self._lines = 0
        self._facts: dict[str, object] = {
            "action": action, "resource": "", "accounts": [], "address": address, "before": {}, "after": {},
        }  # fmt: skip

    @classmethod
    def of(cls, request: Request, log: AuditLog | None, clock: Clock) -> "Change":
        """Build the change that a request attempts: its method and the template of its path, never what stands in it."""
        address = request.client.host if request.client is not None else "-"
        return cls(f"{request.method} {template_of(request)}", address, log, clock)

    async def begins(
        self,
        action: str = "",
        *,
        resource: str = "",
        account: str | tuple[str, ...] = "",
        before: Facts | None = None,
    ) -> None:
        """Say durably that the change is about to be made; where that cannot be said it must not be: HTTPException (503).

        ``account`` is the account, or all accounts, that it moves; ``before`` what is true until then: amounts and states.
        """
        self._note(action, resource, account)
        if before is not None:
            self._facts["before"] = _bounded(before)
        if self._log is None:
            return
        try:
            await self._log.keep(self._day, self._line(INTENT))
        except AuditFault:
            raise HTTPException(
                503, "the audit log cannot be written; nothing was changed", {"Retry-After": str(_AGAIN_S)}
            ) from None
        self._lines += 1

    def made(
        self, *, resource: str = "", account: str | tuple[str, ...] = "", after: Facts | None = None
    ) -> None:
        """Note what is true since the change."""
        self._note("", resource, account)
        if after is not None:
            self._facts["after"] = _bounded(after)

    def forget(self) -> None:
        """Leave no line."""
        self._log = None

    async def ends(self, status: int) -> None:
        """Say durably what came of it; called once, with the status of the answer that is about to leave."""
        if self._log is not None:
            log, self._log = self._log, None
            await log.keep_late(self._day, self._line(OUTCOME) | {"status": status})

    def _note(self, action: str, resource: str, account: str | tuple[str, ...]) -> None:
        if action:
            self._facts["action"] = action
        if resource:
            self._facts["resource"] = _cut(resource)
        if account:
            self._facts["accounts"] = [account] if isinstance(account, str) else list(account)

    @property
    def _day(self) -> str:
        return _instant(self._at_ms)[:10]

    def _line(self, kind: str) -> dict[str, object]:
        """Build a line; ``n`` counts the lines of the change before it."""
        who = {"client": "", "channel": ""}
        if self.caller is not None:
            who = {"client": self.caller.id, "channel": self.caller.channel}
        times = {"at": _instant(self._at_ms)}
        if kind == OUTCOME:
            times["ended"] = _instant(self._clock.now_ms())
        return {"line": kind, "id": self.id, "n": self._lines, **times, **who, **self._facts}


class Audited:
    """An ASGI application around another one: what it attempts to change is said to have ended before its answer leaves."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def ends(status: int) -> None:
            change = state.get("change")
            if change is not None:
                await change.ends(status)

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                await ends(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception:
            await ends(500)  # what answers it stands around us
            raise
        await ends(_CLIENT_CLOSED)


def template_of(request: Request) -> str:
    """Return the path of a request's route as it is written, such as /charging/v1/sessions/{session_id}."""
    return str(getattr(request.scope.get("route"), "path", "") or "-")


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str) -> str:
    return text if len(text) <= AUDIT_TEXT_CHARS_MAX else text[: AUDIT_TEXT_CHARS_MAX - 1] + "…"


def _bounded(facts: Facts) -> dict[str, object]:
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
