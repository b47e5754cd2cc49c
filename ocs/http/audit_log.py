"""The audit log: every attempted change over HTTP, accepted or refused, with who, what, when, from where, and what came of it.

Laws
1. Before a change is made, a line says that it is about to be: the intent. After it, and before its answer leaves, another says what
   came of it: the outcome, which repeats who and what. What was refused before anything was tried has an outcome alone.
2. An intent is on disk (fsync) before its writer goes on. So a full disk refuses a change before it is made (503), and a change that was
   made has its intent, whatever dies in between. An intent alone tells: it may have been made; look at the thing, by its id.
3. An outcome is written before its answer leaves: it outlives our process. It outlives the machine once the next intent's fsync, or the one
   that comes SYNC_S later, has taken it along: no second fsync for each change, on the disk that the store writes to as well. One that cannot
   be written holds no answer back, since the change stands; it waits in memory for the disk. Of an answer that is written while the change
   is made (``ends_with_body``) the outcome is written before its end leaves.
4. Lines that come while others are being written share the next write and the next fsync, done in a thread.
5. One file a day (UTC), `<folder>/2026-11-28.jsonl`, mode 0600, one JSON object a line; both lines of a change are in the file of the day
   on which it began. No file is held open: it may be moved away at any time. Several processes may append (audit_files.py).
6. Accounts, ids, amounts and states; never a number, a name or a secret. What is left out is an empty text.

A route adopts it in two lines:

    async def post(wanted: Wanted, change: Change = access.change("topup:write")):
        await change.begins("topup.create", resource=wanted.id, account=account, before={"balance": "1.00"})
        …                                          # change.caller is who asks
        change.made(after={"balance": "11.00"})    # the status of the answer is noted by itself

A route that only says `access.route("topup:write")` is logged too (none does: tests/contract/test_every_change_is_audited.py), by its path's template and its outcome.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import HTTPException, Request

from ocs.api_limits import AUDIT_LATE_LINES_MAX
from ocs.clock import Clock
from ocs.http.audit_files import INTENT, OUTCOME, Attempt, Facts, Files, Line, octets_of

if TYPE_CHECKING:
    from ocs.http.access import Caller

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that ask for no change (RFC 9110 section 9.2.1)."""
SYNC_S: Final = 1.0
"""How long an outcome is in the system's memory alone, at most."""
_AGAIN_S: Final = 5
"""Pause after which lines that found a full disk are tried again."""
_CLIENT_CLOSED: Final = 499
"""Status of a change whose request ended without any answer."""


class AuditFault(Exception):
    """A line could not be written."""


class AuditLog:
    """Writes lines, durably and together; ``tell`` hears why they cannot be, once until they can again."""

    def __init__(self, folder: Path, tell: Callable[[str], None] = lambda _why: None) -> None:
        self.folder = folder
        self._files = Files(folder)
        self._tell = tell
        self._waiting: list[Line] = []
        self._late: list[Line] = []
        self._writing: asyncio.Task[None] | None = None
        self._told = ""
        self._again: asyncio.TimerHandle | None = None
        self._syncing: asyncio.TimerHandle | None = None

    async def keep(self, day: str, content: Facts) -> None:
        """Write a line and wait until it is on disk; AuditFault where it cannot be."""
        await self._keep(day, octets_of(content), is_synced=True)

    async def keep_late(self, day: str, content: Facts) -> None:
        """Write a line and wait for that, not for the disk; where it cannot be written now, it is kept for later (law 3)."""
        octets = octets_of(content)
        try:
            await self._keep(day, octets, is_synced=False)
        except AuditFault:
            self._late.append(Line(day, octets))
            del self._late[:-AUDIT_LATE_LINES_MAX]
            self._try_again()

    async def _keep(self, day: str, octets: bytes, *, is_synced: bool) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Line(day, octets, done, is_synced))
        self._write()
        await done

    async def close(self) -> None:
        """Write what waits, if the disk takes it now."""
        if self._again is not None:
            self._again.cancel()
        self._told = ""
        self._sync()
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
        if self._files.unsynced and self._syncing is None:
            self._syncing = asyncio.get_running_loop().call_later(SYNC_S, self._sync)

    def _sync(self) -> None:
        """Put on disk what is only written: an empty line for each file."""
        if self._syncing is not None:
            self._syncing.cancel()
            self._syncing = None
        self._waiting += [Line(day, b"") for day in self._files.unsynced]
        self._write()

    def _settle(self, lines: list[Line], refused: set[str], why: str) -> None:
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


class Change(Attempt):
    """One attempted change: who asks, what, and what came of it. Built when its caller is judged; ended by Audited."""

    def __init__(
        self, action: str, address: str, log: AuditLog | None, clock: Clock, caller: "Caller | None" = None
    ) -> None:
        super().__init__(action, address, clock, caller)
        self._log = log
        self.ends_with_body = False
        """Whether what comes of it is known only when all of its answer is written."""

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
        self._note(action, resource, account, before)
        if self._log is None:
            return
        try:
            await self._log.keep(self._day, self._line(INTENT))
        except AuditFault:
            raise HTTPException(
                503, "the audit log cannot be written; nothing was changed", {"Retry-After": str(_AGAIN_S)}
            ) from None
        self._lines += 1

    def forget(self) -> None:
        """Leave no line."""
        self._log = None

    async def ends(self, status: int) -> None:
        """Say durably what came of it; called once, with the status of the answer that is about to leave."""
        if self._log is not None:
            log, self._log = self._log, None
            await log.keep_late(self._day, self._line(OUTCOME) | {"status": status})


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
        status = _CLIENT_CLOSED

        async def ends(status: int) -> None:
            change = state.get("change")
            if change is not None:
                await change.ends(status)

        async def sent(message: Any) -> None:
            nonlocal status
            change: Change | None = state.get("change")
            if message["type"] == "http.response.start":
                status = message["status"]
                is_over = change is None or not change.ends_with_body
            else:
                is_over = not message.get("more_body", False)
            if is_over:
                await ends(status)
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
