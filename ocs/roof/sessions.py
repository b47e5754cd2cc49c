"""Open sessions at the command line: list them, and end one at an operator's word."""

from typing import Any

from ocs.balance.stored_session import OpenSession
from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.arguments import read_msisdn
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.roof.subscriber import found
from ocs.sessions.search import find_session, open_sessions, sessions_of
from ocs.sessions.sweep import Sweeper


def listing(place: Place, msisdn: str | None, *, as_json: bool) -> None:
    """List open sessions: of one number and of who shares its account, or of all."""
    identity = read_msisdn(msisdn) if msisdn is not None else None

    async def work(keepers: Keepers) -> list[OpenSession]:
        if identity is None:
            return [each async for each in open_sessions(keepers.parts)]
        profile = (await found(keepers, identity)).profile
        return await sessions_of(keepers.parts, profile.partition, profile.path)

    sessions = sorted(run(place, work), key=lambda each: (each.opened_ms, each.session_id))
    if as_json:
        say.as_json([_described(each) for each in sessions])
    elif sessions:
        columns = (
            ("session", False), ("account", False), ("tariff", False), ("opened", False), ("due", False),
            ("service", False), ("rate", False), ("used", True), ("posted", True), ("granted", True), ("reserved", True),
        )  # fmt: skip
        say.table(columns, [row for each in sessions for row in _rows(each)])
    else:
        say.line("no open session")


def _described(session: OpenSession) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "account": session.account,
        "tariff": session.tariff,
        "opened": say.instant(session.opened_ms),
        "due": say.instant(session.due_ms),
        "origin_host": session.origin_host,
        "origin_realm": session.origin_realm,
        "reserved": format_amount(sum(each.hold_micros for each in session.services)),
        "services": [
            {
                "service": each.key,
                "rate": each.rate,
                "unit": each.unit.name.lower(),
                "used": each.used_units,
                "posted": format_amount(each.posted_micros),
                "granted": each.granted_units,
                "reserved": format_amount(each.hold_micros),
            }
            for each in session.services
        ],
    }


def _rows(session: OpenSession) -> list[tuple[str, ...]]:
    """Give one row a service; the session's own columns stand in the first."""
    head: tuple[str, ...] = (
        session.session_id, session.account, session.tariff, say.instant(session.opened_ms), say.instant(session.due_ms)
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for each in session.services:
        figures = (
            each.key or "-", each.rate or "-", say.units(each.used_units, each.unit), format_amount(each.posted_micros),
            say.units(each.granted_units, each.unit), format_amount(each.hold_micros),
        )  # fmt: skip
        rows.append(head + figures)
        head = ("",) * len(head)
    return rows or [head + ("",) * 6]


def end(place: Place, session_id: str, *, as_json: bool) -> None:
    """End a session: its holds are released at once, its client learns it with its next request."""

    async def work(keepers: Keepers) -> tuple[OpenSession, int | None]:
        session = await find_session(keepers.parts, session_id)
        if session is None:
            raise Ended(Exit.NOT_FOUND, f"no session {session_id[:300]!r}")
        tombstone_ms = keepers.settings.charging.tombstone_s * 1000
        sweeper = Sweeper(keepers.parts, keepers.accounts, keepers.clock, tombstone_ms)
        return session, await sweeper.expire(session.partition, session_id, forced=True)

    session, released_micros = run(place, work)
    if released_micros is None:
        raise Ended(Exit.NOT_FOUND, "the session had ended already; it holds nothing")
    content = {
        "session_id": session.session_id,
        "account": session.account,
        "released": format_amount(released_micros),
    }
    say.as_json(content) if as_json else say.facts(content)
