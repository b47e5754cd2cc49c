"""A plan as the library reads it, and an outcome as it writes it (charge.lua, session.lua)."""

from struct import Struct
from typing import Any

import msgpack

from ocs.charging.ask import Ask
from ocs.charging.outcome import ServiceOutcome
from ocs.charging.plan import Plan, Profile
from ocs.limits import SKEW_MS_MAX

PLAN_FIXED = 27
"""Values of a plan before its ladders (plan.lua)."""
PLAN_LAYOUT = 6
"""First value of a plan; below 128, because the library reads a plan from behind it (words.lua, read_array)."""

_pack = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape").pack
_HEAD = Struct("<BI6xBBB")
"""Kind and number of the request (and its digest, 48 bits, which Python has no letter for); the command's code, notes, and the number of services."""
_ROW = Struct("<BBqIB")
"""Of one service: code, unit, granted units, their life in seconds, final."""


def pack_plan(
    ask: Ask,
    profile: Profile,
    path: str,
    now_ms: int,
    at_ms: int,
    offset_ms: int,
    tariff: str,
    made: Plan,
    renewed: bytes,
    following: str = "",
    via: str = "",
    rules: bytes = b"",
    told: bytes = b"",
) -> bytes:
    """Pack a request's plan as the library reads it (plan.lua, P_NOW and the rest); of an event without what only a session has.

    ``path`` is the profile's (Profile.path), ``now_ms`` the store's time, ``offset_ms`` how far it is ahead of the clock, ``at_ms`` what prices. ``tariff`` is the key of the
    version that it was made on, ``following`` of the one that the session goes on with, ``via`` the way that the request came, ``rules`` the
    worker's rules and ``told`` what config says of quota, both packed. It has 16 values and more, so its header has three octets.
    """
    ladders, services, pieces, before, facts, _, sources, first_ms, grace_ms, _, _, _, _ = made
    return _pack(  # type: ignore[no-any-return]
        [
            PLAN_LAYOUT, now_ms, offset_ms, SKEW_MS_MAX, ask.kind, ask.number, ask.digest, path, profile.version, tariff,
            at_ms, via, ask.session_id, rules, len(ladders), len(ask.services),
            before, facts, profile.account, profile.member, PLAN_FIXED + len(ladders) + len(services) + len(pieces) + 1,
            first_ms, grace_ms, renewed, following,
            told, ask.correlation, *ladders, *services, *pieces, *sources,
        ]
    )  # fmt: skip


def read_outcome(text: bytes) -> tuple[Any, tuple[ServiceOutcome, ...]]:
    """Read what a session remembers of a request: the command's code (a plain number), and a row for each service."""
    code = text[CODE_AT]
    if len(text) == _ONE_OCTETS:  # one service, as nearly always
        return code, (_made(_ROW.unpack_from(text, _HEAD.size)),)
    return code, tuple(map(_made, _ROW.iter_unpack(memoryview(text)[_HEAD.size :])))


def without_pools(services: tuple[ServiceOutcome, ...]) -> tuple[tuple[ServiceOutcome, ...], list[int]]:
    """Part the pools that grants went into from an outcome's services (pools.lua, POOL): the services, and the pool of each (0: none)."""
    plain = tuple(each._replace(final=bool(each.final & 1)) for each in services)
    return plain, [int(each.final) >> 1 for each in services]


def split_told(text: bytes) -> tuple[bytes, int | None]:
    """Part an outcome from what the library tells behind it, where the plan asks for it: what the account has available (None: nothing)."""
    end = _HEAD.size + _ROW.size * text[_HEAD.size - 1]
    return text[:end], int(_AVAILABLE.unpack_from(text, end)[0]) if len(text) > end else None


_AVAILABLE = Struct("<d")
_made = ServiceOutcome._make
CODE_AT, NOTES_AT = _HEAD.size - 3, _HEAD.size - 2
"""Where an outcome has its code and its notes, one octet each."""
_ONE_OCTETS = _HEAD.size + _ROW.size
