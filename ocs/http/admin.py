"""/admin/v1: keys and the audit log, for those who run the server.

Laws
1. Nobody gives what he does not have: a key's scopes are some of its maker's, it is valid no longer, and, without `channel:any`, it is
   of the maker's own channel and calls no more often.
2. Without `channel:any` a caller sees and revokes keys of its own channel alone, and reads that channel's lines alone; what is another's
   is not there (404).
3. A key is shown once, in the answer that made it.
"""

import asyncio
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ocs.api_limits import API_BURST_MAX, API_KEY_NAME_CHARS_MAX, API_RATE_MAX, AUDIT_PER_PAGE_MAX
from ocs.http.access import ANY, Access, Caller, Doorkeeper
from ocs.http.asked import Instant, at_ms
from ocs.http.audit_log import AuditLog, Change
from ocs.http.audit_reading import AuditPage, Wanted, read_page
from ocs.http.events import left_of
from ocs.http.keys import ROLES, SCOPES, ApiKey, ApiKeys, KeyOver, KeysFull
from ocs.http.problems import faults_of
from ocs.notices.subscriptions import Subscriptions

BASE: Final = "/admin/v1"
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FAULTS = faults_of(401, 403, 404, 409, 415, 422, 429, 503)


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


class NewKey(BaseModel):
    """A key that is to be made: a role, scopes, or both; ``rate`` is requests a second, ``burst`` requests at once."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"name": "till 7", "role": "channel", "channel": "tills", "rate": 20}],
            "anyOf": [
                {"required": ["role"], "properties": {"role": {"enum": list(ROLES)}}},
                {"required": ["scopes"], "properties": {"scopes": {"minItems": 1}}},
            ],
        },
    )

    name: Annotated[str, Field(max_length=API_KEY_NAME_CHARS_MAX, pattern=r"^[\w .,:;()/&@#+=-]*$")] = ""
    role: Annotated[str, Field(json_schema_extra={"enum": ["", *ROLES]})] = ""
    scopes: Annotated[
        list[str],
        Field(max_length=len(SCOPES), json_schema_extra={"items": {"type": "string", "enum": list(SCOPES)}}),
    ] = []
    channel: Annotated[
        str,
        Field(
            pattern="^([a-z0-9-]{1,32})?$", description="Left out: the key's id, or the caller's own channel."
        ),
    ] = ""
    rate: Annotated[int, Field(strict=True, ge=0, le=API_RATE_MAX)] = 0
    burst: Annotated[int, Field(strict=True, ge=0, le=API_BURST_MAX)] = 0
    valid_until: Instant | None = None


class Key(BaseModel):
    """A key as it is known; without what makes it one."""

    id: str
    name: str
    role: str
    channel: str
    scopes: list[str]
    rate: int | None
    burst: int | None
    made: str
    valid_until: str | None
    revoked: str | None


class MadeKey(Key):
    """A key that was made; ``key`` is shown this once."""

    key: str


class Left(BaseModel):
    """Subscriptions to events that one key of a channel has made; they are stopped where that key was revoked."""

    made_by: str
    state: Literal["active", "stopped"]
    subscriptions: int


class RevokedKey(Key):
    """A key that was revoked, and the subscriptions to events that its channel still has."""

    subscriptions: list[Left]


class Keys(BaseModel):
    """All keys that the caller may see, the oldest first."""

    keys: list[Key]


class Attempt(BaseModel):
    """One attempted change; ``status`` is the answer's, null while it is not known. ``before`` and ``after`` as its route tells them."""

    id: str
    at: str
    ended: str | None
    client: str
    channel: str
    address: str
    action: str
    resource: str
    accounts: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    status: int | None


class Attempts(BaseModel):
    """A page of the audit log; ``next`` is ``after`` of the next page, null behind the last."""

    changes: list[Attempt]
    next: int | None
    unreadable: int


_KEY_ID = Annotated[str, Path(pattern="^[a-z0-9]{12}$", description="A key's id.")]
_DAY_ASKED = Annotated[str, Query(description="A day (UTC), such as 2026-11-28; left out: today.")]


class _Offer(NamedTuple):
    """What a key gets that its maker did not have to name."""

    channel: str
    rate: int
    burst: int


async def _offered(keys: ApiKeys, caller: Caller, wanted: NewKey, door: Doorkeeper) -> _Offer:
    """Return what a caller may give a key; raises 403 where law 1 forbids it."""
    scopes = frozenset(wanted.scopes) | ROLES.get(wanted.role, frozenset())
    if lacking := scopes & SCOPES.keys() - caller.scopes:
        raise HTTPException(403, f"the caller lacks {', '.join(sorted(lacking))} itself")
    own = await keys.get(caller.id)
    if own is not None and own.until_ms and not 0 < _until_ms(wanted) <= own.until_ms:
        raise HTTPException(403, "the key would be valid longer than the caller's")
    if own is None or caller.sees_all:
        return _Offer(wanted.channel, wanted.rate, wanted.burst)
    if wanted.channel not in {"", own.channel}:
        raise HTTPException(403, f"the caller lacks {ANY}; its own channel is {own.channel}")
    most = door.limit_of(own)
    if most.times and (wanted.rate > most.times or wanted.burst > most.burst):
        raise HTTPException(403, "the key would call more often than the caller may")
    # a rate that is left out is the maker's, not the settings': that may be more
    burst = wanted.burst or (min(2 * wanted.rate, most.burst) if wanted.rate else own.burst)
    return _Offer(own.channel, wanted.rate or own.rate, burst)


def _until_ms(wanted: NewKey) -> int:
    return at_ms(wanted.valid_until) if wanted.valid_until is not None else 0


def _is_seen(caller: Caller, key: ApiKey | None) -> bool:
    return key is not None and (caller.sees_all or key.channel == caller.channel)


def router(keys: ApiKeys, access: Access, audit: AuditLog, subscriptions: Subscriptions) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["admin"], responses=_FAULTS)
    _keys_routes(routes, keys, access)
    _end_of_keys(routes, keys, access, subscriptions)
    reads = access.route("audit:read")

    @routes.get("/audit", response_model=Attempts)
    async def changes(
        day: _DAY_ASKED = "",
        client: Annotated[str, Query(max_length=32, description="Only this key's.")] = "",
        channel: Annotated[str, Query(max_length=32, description="Only this channel's.")] = "",
        account: Annotated[str, Query(max_length=64, description="Only those that move this account.")] = "",
        limit: Annotated[int, Query(ge=1, le=AUDIT_PER_PAGE_MAX)] = 100,
        after: Annotated[int, Query(ge=0, le=1 << 53, description="`next` of the page before.")] = 0,
        caller: Caller = reads,
    ) -> dict[str, Any]:
        """Read the audit log: a day's attempted changes in the order in which they began."""
        asked = day or datetime.fromtimestamp(access.door.clock.now_ms() / 1000, UTC).date().isoformat()
        if not _is_day(asked):
            raise HTTPException(422, "day: write a day such as 2026-11-28")
        if not caller.sees_all:
            if channel not in {"", caller.channel}:
                raise HTTPException(403, f"the caller lacks {ANY}; its own channel is {caller.channel}")
            channel = caller.channel
        wanted = Wanted(client, channel, account)
        page: AuditPage = await asyncio.to_thread(read_page, audit.folder, asked, wanted, limit, after)
        return page._asdict()

    return routes


def _keys_routes(routes: APIRouter, keys: ApiKeys, access: Access) -> None:
    writes = access.change("keys:write")

    @routes.post("/keys", status_code=201, response_model=MadeKey)
    async def make(wanted: NewKey, change: Change = writes) -> dict[str, Any]:
        """Make a key; it is shown this once."""
        caller: Caller = change.caller
        offer = await _offered(keys, caller, wanted, access.door)
        await change.begins("key.create", before={"role": wanted.role, "scopes": wanted.scopes})
        try:
            key, shown = await keys.create(
                wanted.name,
                frozenset(wanted.scopes),
                access.door.clock.now_ms(),
                role=wanted.role,
                channel=offer.channel,
                rate=offer.rate,
                burst=offer.burst,
                until_ms=_until_ms(wanted),
            )
        except (KeysFull, KeyOver) as fault:
            raise HTTPException(409, str(fault)) from None
        except ValueError as fault:
            raise HTTPException(422, str(fault)) from None
        change.made(resource=key.id, after=key.facts())
        return key.described() | {"key": shown}

    @routes.get("/keys", response_model=Keys)
    async def listing(caller: Caller = access.route("keys:write")) -> dict[str, Any]:  # noqa: B008
        """List keys, revoked ones too, without what makes them keys."""
        return {"keys": [each.described() for each in await keys.all() if _is_seen(caller, each)]}


def _end_of_keys(routes: APIRouter, keys: ApiKeys, access: Access, subscriptions: Subscriptions) -> None:
    writes = access.change("keys:write")

    @routes.delete("/keys/{key_id}", response_model=RevokedKey)
    async def revoke(key_id: _KEY_ID, change: Change = writes) -> dict[str, Any]:
        """Revoke a key: it and its tokens open nothing from the next call on, and what it has subscribed to is delivered no more."""
        key = await keys.get(key_id)
        if key is None or not _is_seen(change.caller, key):
            raise HTTPException(404, "no key has this id")
        await change.begins("key.revoke", resource=key.id, before={"revoked": bool(key.revoked_ms)})
        revoked = await keys.revoke(key_id, access.door.clock.now_ms())
        if revoked is None:
            raise HTTPException(404, "no key has this id")
        change.made(after={"revoked": True})
        left = await left_of(revoked.channel, keys, subscriptions, sees_all=change.caller.sees_all)
        return revoked.described() | {"subscriptions": left}
