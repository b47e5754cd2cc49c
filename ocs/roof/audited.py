"""Commands that change something, on the audit log of the data folder: the same lines as of the API (ocs/http/audit_log.py).

Laws
1. The intent is on disk before anything is changed, the outcome when the command ends; where the intent cannot be written, nothing is
   changed. Who is the command line, and the system's user; the outcome's status is the command's exit code (ends.py), not HTTP's.
2. A command appends beside the server, to the same file: a line is one write (ocs/http/audit_files.py).
3. Without a data folder, so on another machine than the server, there is no line, and the command says so.
"""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from ocs.balance.accounts import Account
from ocs.balance.described import facts_of
from ocs.balance.link import StoreFault
from ocs.clock import Clock
from ocs.http.audit_files import INTENT, OUTCOME, Attempt, Facts, Files, Line, octets_of
from ocs.roof import say
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place

CLIENT: Final = "command line"
CHANNEL: Final = "cli"
"""The channel under which a command's ids are unique."""
_NOBODY: Final = 0xFFFFFFFF
"""What Linux says where nobody has logged in."""
_INTERRUPTED: Final = 130
_LOGIN: Final = Path("/proc/self/loginuid")

T = TypeVar("T")


class _Caller(NamedTuple):
    """Who attempts the change."""

    id: str = CLIENT
    channel: str = CHANNEL


def user() -> str:
    """Name the system's user, and beside it who logged in, where that is another (sudo): the kernel keeps it, no variable tells it."""
    own = os.getuid()
    told = f"user {_named(own)}"
    with suppress(OSError, ValueError):
        login = int(_LOGIN.read_text())
        if login not in {own, _NOBODY}:
            told += f", logged in as {_named(login)}"
    return told


def _named(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Deed(Attempt):
    """One attempted change of a command."""

    def __init__(self, action: str, folder: Path | None, clock: Clock) -> None:
        super().__init__(action, user(), clock, _Caller())
        self._files = Files(folder) if folder is not None else None

    def begins(
        self,
        action: str = "",
        *,
        resource: str = "",
        account: str | tuple[str, ...] = "",
        before: Facts | None = None,
    ) -> None:
        """Say durably that the change is about to be made; Ended where that cannot be said: it must not be made then."""
        self._note(action, resource, account, before)
        if why := self._written(self._line(INTENT)):
            raise Ended(
                Exit.STORE_UNAVAILABLE,
                f"the audit log cannot be written ({why}); nothing was changed. Run it as the server's user",
            )
        self._lines += 1

    def begins_of(self, account: Account, *, resource: str = "", **facts: object) -> None:
        """Say so of a subscriber, with how it is before."""
        profile = account.profile
        before = facts_of(account) | facts
        self.begins(resource=resource or profile.path.replace("/", "-"), account=profile.path, before=before)

    def ends(self, status: int) -> None:
        """Say durably what came of it; where that cannot be said, the change stands all the same."""
        if why := self._written(self._line(OUTCOME) | {"status": status}):
            say.remark(f"the audit log cannot be written ({why}); it does not say how this ended")

    def _written(self, content: Facts) -> str:
        """Write a line; returns why it is not on disk."""
        if self._files is None:
            return ""
        _refused, why = self._files.append([Line(self._day, octets_of(content))])
        return why


def run_change(place: Place, action: str, work: Callable[[Keepers, Deed], Awaitable[T]]) -> T:
    """Run one command that changes something (build.py, ``run``); ``work`` says when it begins."""

    async def audited(keepers: Keepers) -> T:
        deed = Deed(action, _folder(keepers), keepers.clock)
        status = int(Exit.FOUND_WRONG)
        try:
            done = await work(keepers, deed)
            status = int(Exit.DONE)
        except Ended as ended:
            status = int(ended.code)
            raise
        except StoreFault:
            status = int(Exit.STORE_UNAVAILABLE)
            raise
        except (asyncio.CancelledError, KeyboardInterrupt):
            status = _INTERRUPTED
            raise
        finally:
            deed.ends(status)
        return done

    return run(place, audited)


def _folder(keepers: Keepers) -> Path | None:
    """Return where the audit log is, if it is on this machine (law 3)."""
    data = keepers.settings.server.data_dir
    if data.is_dir():
        return keepers.settings.audit_folder
    say.remark(f"this is on no audit log: {data} is not here; name the server's data folder with --data-dir")
    return None
