"""The audit log read back, page by page: both lines of a change as one.

Laws
1. A page is a stretch of one day's file. Changes stand in the order in which they began; `next` is where the following page begins.
2. A change whose outcome is not in sight yet has no status: it is under way, or whoever made it died. Outcomes are looked for behind the
   page's end too, so far that a request which is not minutes old is found.
3. A line that cannot be read is counted and left out; it takes no other along.
"""

import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from ocs.api_limits import AUDIT_SCANNED_OCTETS_MAX
from ocs.http.audit_files import OUTCOME, SUFFIX

_WHAT: Final = (
    "id",
    "at",
    "ended",
    "client",
    "channel",
    "address",
    "action",
    "resource",
    "accounts",
    "before",
    "after",
    "status",
)


class Wanted(NamedTuple):
    """Which changes; an empty text is any."""

    client: str = ""
    channel: str = ""
    account: str = ""

    def fits(self, change: dict[str, Any]) -> bool:
        """Whether a change is wanted."""
        return (
            self.client in {"", change["client"]}
            and self.channel in {"", change["channel"]}
            and (not self.account or any(self._is_of(str(each)) for each in change["accounts"]))
        )

    def _is_of(self, account: str) -> bool:
        """Whether an account is the one that is wanted, or a member of it."""
        return account == self.account or account.startswith(f"{self.account}/")


class AuditPage(NamedTuple):
    """Some changes, where the next page begins (None behind the last), and how many lines could not be read."""

    changes: list[dict[str, Any]]
    next: int | None
    unreadable: int


class _Stretch(NamedTuple):
    """What stands in a stretch of a file: changes that begin there, each with its place, later lines of others, the end."""

    begun: dict[str, tuple[int, dict[str, Any]]]
    later: dict[str, dict[str, Any]]
    end: int
    is_last: bool
    unreadable: int


def read_page(folder: Path, day: str, wanted: Wanted, limit: int, after: int = 0) -> AuditPage:
    """Read a page of a day's file from an offset in octets; a day without a file has no changes. Raises OSError."""
    stretch = _read(folder / f"{day}{SUFFIX}", after)
    picked: list[dict[str, Any]] = []
    following = None if stretch.is_last else stretch.end
    for place, change in stretch.begun.values():
        if not wanted.fits(change):
            continue
        if len(picked) == limit:
            following = place
            break
        picked.append(change)
    if not stretch.is_last and any(each["status"] is None for each in picked):
        later = _read(folder / f"{day}{SUFFIX}", stretch.end).later
        for change in picked:
            _add(change, later.get(change["id"], {}))
    return AuditPage(picked, following, stretch.unreadable)


def _read(path: Path, start: int) -> _Stretch:
    try:
        with path.open("rb") as file:
            file.seek(min(start, file.seek(0, os.SEEK_END)))
            octets = file.read(AUDIT_SCANNED_OCTETS_MAX)
            is_last = len(octets) < AUDIT_SCANNED_OCTETS_MAX
    except FileNotFoundError:
        octets, is_last = b"", True
    whole = octets.rfind(b"\n") + 1
    begun: dict[str, tuple[int, dict[str, Any]]] = {}
    later: dict[str, dict[str, Any]] = {}
    place, unreadable = start, 0
    for line in octets[:whole].split(b"\n")[:-1]:
        read = _line(line)
        if read is None:
            unreadable += bool(line)
        elif read["id"] in begun:
            _add(begun[read["id"]][1], read)
        elif read["n"]:
            later.setdefault(read["id"], {}).update(read)  # it began before this stretch
        else:
            begun[read["id"]] = (place, _add(dict.fromkeys(_WHAT), read))
        place += len(line) + 1
    return _Stretch(begun, later, start + whole, is_last, unreadable)


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(read, dict) and isinstance(read.get("id"), str) and isinstance(read.get("n"), int)
    texts = known and all(isinstance(read.get(name), str) for name in ("client", "channel", "action"))
    if not texts or not isinstance(read.get("accounts"), list):
        return None
    if read.get("line") != OUTCOME:
        read.pop("status", None)
    found: dict[str, Any] = read
    return found


def _add(change: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    """Add what a line says to a change."""
    change.update({name: line[name] for name in _WHAT if name in line})
    return change
