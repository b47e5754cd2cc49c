"""`ocs audit-log`: the audit log of the HTTP API and of commands, read from the data folder; no store is asked."""

import re
from datetime import UTC, datetime
from typing import Any

from ocs.api_limits import AUDIT_PER_PAGE_MAX
from ocs.clock import SystemClock
from ocs.http.audit_files import days_of
from ocs.http.audit_reading import Wanted, read_page
from ocs.roof import say
from ocs.roof.build import read_settings
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place


def show(place: Place, day: str, client: str, channel: str, account: str, *, as_json: bool) -> None:
    """Show a day's attempted changes, all of them, in the order in which they began."""
    folder = read_settings(place).audit_folder
    asked = day or datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).date().isoformat()
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", asked):
        raise Ended(Exit.USAGE, f"--day: not a day: {day[:40]!r}; write a day such as 2026-11-28")
    wanted, changes, after, unreadable = Wanted(client, channel, account), [], 0, 0
    while True:
        page = read_page(folder, asked, wanted, AUDIT_PER_PAGE_MAX, after)
        changes += page.changes
        unreadable += page.unreadable
        if page.next is None:
            break
        after = page.next
    if as_json:
        say.as_json({"day": asked, "changes": changes, "unreadable": unreadable})
        return
    if changes:
        names = (
            "at",
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
        say.table([(name, name == "status") for name in names], [_row(each) for each in changes])
    else:
        days = days_of(folder)
        told = f"; there are {days[0]} to {days[-1]}" if days else ""
        say.line(f"no change was attempted on {asked}{told}")
    if unreadable:
        say.remark(f"{unreadable} lines cannot be read")


def _row(change: dict[str, Any]) -> tuple[str, ...]:
    facts = [
        " ".join(f"{name}={value}" for name, value in change[side].items()) for side in ("before", "after")
    ]
    status = "?" if change["status"] is None else str(change["status"])
    return (
        change["at"], change["client"] or "-", change["channel"] or "-", change["address"], change["action"],
        change["resource"], " ".join(change["accounts"]), *facts, status,
    )  # fmt: skip
