"""A session as the store keeps it, read for people and for the audit (session.lua, S_... and V_...)."""

import re
import struct
from typing import Any, Final, NamedTuple

from ocs.records import SessionState
from ocs.units import Unit


class SessionService(NamedTuple):
    """One service of a session: units used, micro-units posted, what is granted and held now, and the mark of its rate.

    The mark is that of tariff.py, law 5.
    """

    key: str
    unit: Unit
    used_units: int
    posted_micros: int
    granted_units: int
    hold_micros: int
    rate: str


class Part(NamedTuple):
    """What a service's grant was made on (ocs/rating/sources.py): the service's place, counted from 1, and the source; units of a
    block already paid that are not used yet; and what is held, in units of the row or micro-units.
    """

    service: int
    kind: int
    own: int
    id: int
    start_ms: int
    until_ms: int
    block: int
    take: int
    cap_micros: int
    open_units: int
    held: int


class OpenSession(NamedTuple):
    """A session as the store keeps it; times in milliseconds since 1970 (UTC).

    ``account`` is the account, and behind a stroke its member, if any. ``indexed_ms`` is where the due index has it: never later than ``due_ms``, when it really ends.
    Whose last request it was: ``origin_host`` and ``origin_realm`` as it said; ``via`` the worker and the connection on which it came
    ("<worker>.<number>", "" where that was not told), ``hop`` the Diameter identity at its other end: the same, or a relay's.
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
    via: str
    hop: str
    services: tuple[SessionService, ...]
    parts: tuple[Part, ...]


LAYOUT = 5
SESSION_FORMAT: Final = "<BBI2BssI6I6I6I4I4I4I6ssI6BB"
SERVICE_FORMAT: Final = "sBdddI5dddI4I6Bs"
PART_FORMAT: Final = "BBBI4I6I6I6I6ddd"
"""The fields in the store's order, as the library has them (session.lua): B an octet, In an integer of n octets, d a double,
s text up to a zero. Parts stand behind the services."""

_FIELD: Final = re.compile(r"[Bds]|I\d")
_FIXED: Final = _FIELD.findall(SESSION_FORMAT)
_SERVICE: Final = _FIELD.findall(SERVICE_FORMAT)
_PART: Final = _FIELD.findall(PART_FORMAT)
_DOUBLE: Final = struct.Struct("<d")


class SessionUnreadable(ValueError):
    """The store holds something under a session's key that is no session."""


def fields(text: bytes) -> list[Any]:
    """Return all fields of a session: its own, those of its services, those of its parts; raises ValueError, IndexError or struct.error.

    The outcomes stand behind them, and have no field here but their empty place.
    """
    found: list[Any] = []
    at = 0
    for field in _FIXED + _SERVICE * text[1] + _PART * int.from_bytes(text[2:4], "little"):
        if field == "s":
            end = text.index(0, at)
            found.append(text[at:end].decode())
            at = end + 1
        elif field == "d":
            found.append(int(_DOUBLE.unpack_from(text, at)[0]))
            at += _DOUBLE.size
        else:
            octets = int(field[1:] or 1)
            if at + octets > len(text):
                raise ValueError("it ends too early")
            found.append(int.from_bytes(text[at : at + octets], "little"))
            at += octets
    return found


def services(flat: list[Any]) -> list[list[Any]]:
    """Return the services among a session's fields."""
    width, first = len(_SERVICE), len(_FIXED)
    return [flat[start : start + width] for start in range(first, first + flat[1] * width, width)]


def parts(flat: list[Any]) -> list[Part]:
    """Return the parts among a session's fields."""
    width = len(_PART)
    first = len(_FIXED) + flat[1] * len(_SERVICE)
    return [Part._make(flat[start : start + width]) for start in range(first, len(flat), width)]


def _service(row: list[Any]) -> SessionService:
    key, unit, position, _covered, _whole, _frac, posted, grant, hold, _number, _granted, _final, rate = row
    return SessionService(key, Unit(unit), position, posted, grant, hold, rate)


def read_session(text: bytes, session_id: str, partition: int) -> OpenSession:
    """Read a session of the store; raises SessionUnreadable."""
    try:
        if text[0] != LAYOUT:
            raise ValueError(f"layout {text[0]}, where {LAYOUT} is known")  # noqa: TRY301 - as if unpacking had
        flat = fields(text)
        _layout, _count, _parts, state, account, tariff, opened, due, _last, _top, _high, _low, _where = flat[
            :13
        ]
        route, _facts, indexed = flat[13:16]
        host, realm, via, hop = (*route.split(" "), "", "")[:4]
        rows, held = tuple(map(_service, services(flat))), tuple(parts(flat))
        ended = SessionState(state)
    except (ValueError, TypeError, IndexError, OverflowError, struct.error) as fault:
        raise SessionUnreadable(f"no session under {session_id} in partition {partition}: {fault}") from fault
    return OpenSession(
        session_id,
        partition,
        ended,
        account,
        tariff,
        opened,
        due,
        indexed,
        host,
        realm,
        via,
        hop or host,
        rows,
        held,
    )
