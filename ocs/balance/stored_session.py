"""A session as the store keeps it, read for people and for the audit (session.lua, S_... and V_...)."""

from typing import NamedTuple

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


class SessionUnreadable(ValueError):
    """The store holds something under a session's key that is no session."""


def read_session(text: bytes, session_id: str, partition: int) -> OpenSession:
    """Read a packed session (session.lua, S_... and V_...); raises SessionUnreadable."""
    try:
        state, account, tariff, opened, due, *rest = unpack(text)
        _last, _top, _high, _low, _where, route, services, indexed, *_outcomes = rest
        host, _, realm = route.partition(" ")
        rows = tuple(SessionService(row[0], Unit(row[1]), row[2], row[6], row[7], row[8]) for row in services)
        ended = SessionState(state)
    except (ValueError, TypeError, IndexError, AttributeError) as fault:
        raise SessionUnreadable(f"no session under {session_id} in partition {partition}: {fault}") from fault
    return OpenSession(session_id, partition, ended, account, tariff, opened, due, indexed, host, realm, rows)
