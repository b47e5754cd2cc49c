"""A session as the store keeps it, read for people and for the audit (session.lua, S_... and V_...)."""

from typing import Any, NamedTuple

from ocs.balance.entries import unpack
from ocs.records import SessionState
from ocs.units import Unit


class SessionService(NamedTuple):
    """One service of a session: units used, micro-units posted, and what is granted and held now."""

    key: str
    unit: Unit
    used_units: int
    posted_micros: int
    granted_units: int
    hold_micros: int


class OpenSession(NamedTuple):
    """A session as the store keeps it; times in milliseconds since 1970 (UTC).

    ``indexed_ms`` is where the due index has it: never later than ``due_ms``, when it really ends.
    """

    session_id: str
    partition: int
    state: SessionState
    account: str
    tariff: str
    opened_ms: int
    due_ms: int
    indexed_ms: int
    origin_host: str
    origin_realm: str
    services: tuple[SessionService, ...]


FIXED, WIDTH, LAYOUT = 16, 12, 2
"""Fields of a session, fields of each of its services behind them, and the version of that order (session.lua)."""


class SessionUnreadable(ValueError):
    """The store holds something under a session's key that is no session."""


def _service(row: tuple[Any, ...]) -> SessionService:
    key, unit, position, _covered, _whole, _frac, posted, grant, hold, _number, _granted, _final = row
    return SessionService(key, Unit(unit), position, posted, grant, hold)


def read_session(text: bytes, session_id: str, partition: int) -> OpenSession:
    """Read a packed session (session.lua, S_... and V_...); raises SessionUnreadable."""
    try:
        flat = unpack(text)
        (
            layout,
            state,
            account,
            tariff,
            opened,
            due,
            _last,
            _top,
            _high,
            _low,
            _where,
            route,
            count,
            indexed,
        ) = flat[:14]
        host, _, realm = route.partition(" ")
        rows = tuple(_service(flat[start : start + WIDTH]) for start in range(FIXED, len(flat), WIDTH))
        if len(rows) != count or layout != LAYOUT:
            raise ValueError(f"{len(rows)} services where {count} are told, layout {layout}")  # noqa: TRY301 - as if unpacking had
        ended = SessionState(state)
    except (ValueError, TypeError, IndexError, AttributeError) as fault:
        raise SessionUnreadable(f"no session under {session_id} in partition {partition}: {fault}") from fault
    return OpenSession(session_id, partition, ended, account, tariff, opened, due, indexed, host, realm, rows)
