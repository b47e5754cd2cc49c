"""A plan as the library reads it, and an outcome as it writes it (charge.lua, session.lua)."""

from struct import Struct
from typing import Any

import msgpack

from ocs.charging.ask import Ask
from ocs.charging.outcome import ServiceOutcome
from ocs.charging.plan import Plan, Profile

PLAN_FIXED = 26
"""Values of a plan before its ladders (plan.lua)."""
PLAN_LAYOUT = 5
"""First value of a plan; below 128, because the library reads a plan from behind it (words.lua, read_array)."""

_pack = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape").pack
_HEAD = Struct("<BI6xBBB")
"""Kind and number of the request (and its digest, 48 bits, which Python has no letter for); the command's code, notes, and the number of services."""
_ROW = Struct("<BBqIB")
"""Of one service: code, unit, granted units, their life in seconds, final."""


def pack_plan(values: list[Any]) -> bytes:
    """Pack a plan; it has 16 values and more, so its header has three octets."""
    return _pack(values)  # type: ignore[no-any-return]


def pack_event_plan(
    ask: Ask,
    profile: Profile,
    offset_ms: int,
    skew_ms: int,
    now_ms: int,
    tariff: str,
    made: Plan,
    renewed: bytes,
    at_ms: int = 0,
) -> bytes:
    """Pack the plan of a one-time event or an accounting record, which have none of a session's rules; ``at_ms`` prices it (0: now)."""
    ladders, services, pieces, before, facts, _, sources, first_ms, grace_ms, _, _ = made
    return pack_plan(
        [
            PLAN_LAYOUT, now_ms, offset_ms, skew_ms, ask.kind, ask.number, ask.digest, profile.path, profile.version, tariff,
            at_ms or now_ms, f"{ask.origin_host} {ask.origin_realm}", ask.session_id, "", len(ladders), len(ask.services), before, facts, profile.account, profile.member,
            PLAN_FIXED + len(ladders) + len(services) + len(pieces) + 1, first_ms, grace_ms, renewed, "", "", *ladders, *services,
            *pieces, *sources,
        ]
    )  # fmt: skip


def read_outcome(text: bytes) -> tuple[Any, tuple[ServiceOutcome, ...]]:
    """Read what a session remembers of a request: the command's code (a plain number), and a row for each service."""
    code = text[CODE_AT]
    if len(text) == _ONE_OCTETS:  # one service, as nearly always
        return code, (_made(_ROW.unpack_from(text, _HEAD.size)),)
    return code, tuple(map(_made, _ROW.iter_unpack(memoryview(text)[_HEAD.size :])))


def split_told(text: bytes) -> tuple[bytes, int | None]:
    """Part an outcome from what the library tells behind it, where the plan asks for it: what the account has available (None: nothing)."""
    end = _HEAD.size + _ROW.size * text[_HEAD.size - 1]
    return text[:end], int(_AVAILABLE.unpack_from(text, end)[0]) if len(text) > end else None


_AVAILABLE = Struct("<d")
_made = ServiceOutcome._make
CODE_AT, NOTES_AT = _HEAD.size - 3, _HEAD.size - 2
"""Where an outcome has its code and its notes, one octet each."""
_ONE_OCTETS = _HEAD.size + _ROW.size
