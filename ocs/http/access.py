"""Who calls, and whether they may (RFC 6750): every route but health, metrics, documentation and /oauth/token asks for a scope.

Laws
1. A key (keys.py) and a token (tokens.py) open the same; which of both was shown, a route does not see.
2. Credentials are judged before the body is read, once a request.
3. Who shows wrong credentials too often is refused unlooked-at, by address; credentials that were right lately pass all the same, so
   that one client behind a common address does not lock out the others.
4. Whoever asks to change something is on the audit log with what came of it (audit_log.py), also who is refused. Only what was refused
   for its rate (429) leaves no line: it was not looked at, and would fill the disk.
"""

import hashlib
from collections import OrderedDict
from typing import Annotated, Any, Final, NamedTuple, cast

from fastapi import Depends, HTTPException, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, OAuth2

from ocs.api_limits import (
    API_ADDRESSES_MAX,
    API_CREDENTIAL_CHARS_MAX,
    API_FAILURES_A_MINUTE,
    API_FAILURES_BURST,
    API_KEYS_MAX,
    API_KNOWN_MAX,
)
from ocs.clock import Clock, SystemClock
from ocs.http.audit_log import SAFE, AuditLog, Change
from ocs.http.keys import SCOPES, ApiKey, ApiKeys
from ocs.http.rates import Limit, Rates, block_of
from ocs.http.tokens import Tokens

TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address
_bearer = HTTPBearer(
    auto_error=False, description="A key that `ocs keys create` has made, or a token of /oauth/token."
)
_oauth = OAuth2(
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl=TOKEN_PATH, scopes=SCOPES)),
    description="client_id is the id of a key `ocs_<id>_<secret>`, client_secret its secret.",
    auto_error=False,
)
_Shown = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
_OAuth = Annotated[str | None, Security(_oauth)]

ANY: Final = "channel:any"
"""The scope of who acts for, and sees, every channel."""
OPEN = "open"
"""The caller's name where the API runs without keys (`http.auth = "off"`, on loopback alone)."""
_FAILURES = Limit(API_FAILURES_A_MINUTE, 60_000, API_FAILURES_BURST)


class Caller(NamedTuple):
    """Who calls: the id of a key, for the audit log, its channel, and what it may; the key itself is nowhere kept."""

    id: str
    channel: str = ""
    scopes: frozenset[str] = frozenset()

    def allows(self, scope: str) -> bool:
        """Whether the caller may do what a scope is for."""
        return scope in self.scopes

    @property
    def sees_all(self) -> bool:
        """Whether the caller acts for, and sees, every channel."""
        return ANY in self.scopes


EVERYBODY = Caller(OPEN, OPEN, frozenset(SCOPES))
"""The caller where the API runs without keys."""


class Doorkeeper:
    """Counts how often clients call and strangers fail; remembers for a while whose credentials were right."""

    __slots__ = ("_clients", "_failures", "_known", "clock", "limit")

    def __init__(self, clock: Clock | None = None, rate: int = 0, burst: int = 0) -> None:
        self.clock = clock or SystemClock()
        self.limit = Limit(rate, 1000, burst)
        self._clients = Rates(API_KEYS_MAX)
        self._failures = Rates(API_ADDRESSES_MAX)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def refuse_stranger(self, address: str, shown: str) -> None:
        """Raise 429 for an address that has shown too much that was wrong, unless this was right before (law 3)."""
        waits_ms = self._failures.wait_ms(block_of(address), _FAILURES, self.clock.monotonic_ms())
        if waits_ms and _mark(shown) not in self._known:
            raise too_many(waits_ms, "too many wrong credentials came from this address")

    def failed(self, address: str, shown: str) -> None:
        """Note that wrong credentials came from an address."""
        self._known.pop(_mark(shown), None)
        self._failures.take(block_of(address), _FAILURES, self.clock.monotonic_ms())

    def trust(self, shown: str) -> None:
        """Remember credentials that are right: those that were shown, or a token that was just made."""
        mark = _mark(shown)
        self._known[mark] = None
        self._known.move_to_end(mark)
        if len(self._known) > API_KNOWN_MAX:
            self._known.popitem(last=False)

    def limit_of(self, key: ApiKey) -> Limit:
        """Return how often a key may call: as it was made with, else as the settings say."""
        burst = key.burst or 2 * key.rate or self.limit.burst
        return Limit(key.rate or self.limit.times, 1000, burst)

    def passed(self, key: ApiKey, shown: str) -> None:
        """Note that credentials were right; raises 429 where their client calls more often than it may."""
        self.trust(shown)
        limit = self.limit_of(key)
        if limit.times and (waits_ms := self._clients.take(key.id, limit, self.clock.monotonic_ms())):
            raise too_many(waits_ms, f"the client may call {limit.times} times a second")


def too_many(waits_ms: int, why: str) -> HTTPException:
    """Build the refusal of who has to wait (RFC 6585 section 4); Retry-After is whole seconds."""
    return HTTPException(429, f"{why}; ask again later", {"Retry-After": str(-(-waits_ms // 1000))})


def _mark(shown: str) -> bytes:
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest()


def address_of(request: Request) -> str:
    """Return where a request comes from; behind proxies that settings name, what they say."""
    return request.client.host if request.client is not None else "-"


class Access:
    """Gives routes the dependency that lets callers in; without ``keys`` everybody is."""

    __slots__ = ("_keys", "_tokens", "audit", "door")

    def __init__(
        self,
        keys: ApiKeys | None,
        *,
        tokens: Tokens | None = None,
        door: Doorkeeper | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self.door = door or Doorkeeper()
        self.audit = audit

    def needs(self, scope: str) -> "Asks":
        """Return what a route depends on that is for callers with a scope: 401 without a valid key, 403 without the scope."""
        return Asks(self, scope)

    def route(self, scope: str) -> Caller:
        """Return the same as a parameter's default; a change is on the audit log by its route and its outcome."""
        return Depends(Asks(self, scope))  # type: ignore[no-any-return]

    def change(self, scope: str) -> Change:
        """Return, as a parameter's default, the change that a caller with a scope attempts: its route tells what it is (audit_log.py)."""
        return Depends(AsksChange(self, scope))  # type: ignore[no-any-return]

    async def caller_of(self, request: Request) -> Caller:
        """Return who calls; raises HTTPException (401, 429), StoreFault."""
        if self._keys is None:
            return EVERYBODY
        told = request.headers.getlist("authorization")
        scheme, _, shown = told[0].partition(" ") if len(told) == 1 else ("", "", "")
        shown, address = shown.strip(), address_of(request)
        if scheme.lower() != "bearer" or not shown:
            self.door.refuse_stranger(address, "")
            self.door.failed(address, "")
            # RFC 6750 section 3.1: who shows nothing is told no error code
            raise HTTPException(401, "show a key: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})
        self.door.refuse_stranger(address, shown)
        held = await self._held(self._keys, shown)
        if held is None:
            self.door.failed(address, shown)
            why = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise HTTPException(401, "the key or token is unknown, expired, or revoked", why)
        self.door.passed(held[0], shown)
        return Caller(held[0].id, held[0].channel, held[1])

    async def _held(self, keys: ApiKeys, shown: str) -> tuple[ApiKey, frozenset[str]] | None:
        """Return the key that was shown, or stands behind a token, and what it is for; None where that is none."""
        now_ms = self.door.clock.now_ms()
        if len(shown) > API_CREDENTIAL_CHARS_MAX:
            return None
        if self._tokens is not None and shown.startswith("ocst_"):
            return await self._tokens.of(shown, now_ms)
        key = await keys.of(shown, now_ms)
        return (key, key.granted) if key is not None else None


class Asks:
    """A dependency of a route: lets its caller in, or raises 401, 403 or 429."""

    __slots__ = ("_access", "scope")
    begins_itself = False
    """Whether the route says itself what it is about to change."""

    def __init__(self, access: Access, scope: str) -> None:
        self._access = access
        self.scope = scope

    async def let_in(self, request: Request) -> Caller:
        """Return the caller, judged once a request. Raises HTTPException, StoreFault."""
        state: Any = request.state
        asked: set[str] = getattr(state, "asked", None) or set()
        if not asked and request.method not in SAFE:
            state.change = Change.of(request, self._access.audit, self._access.door.clock)
        change: Change | None = getattr(state, "change", None)
        try:
            caller = state.caller if asked else await self._access.caller_of(request)
        except HTTPException as fault:
            if change is not None and fault.status_code == 429:
                change.forget()
            raise
        if self.scope in asked:
            return cast("Caller", caller)
        state.caller = caller
        if change is not None:
            change.caller = caller
        if not caller.allows(self.scope):
            told = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.scope}"'}
            raise HTTPException(403, f"the key lacks the scope {self.scope}", told)
        state.asked = asked | {self.scope}
        if change is not None and not self.begins_itself:
            await change.begins()
        return cast("Caller", caller)

    async def __call__(self, request: Request, _shown: _Shown, _oauth: _OAuth) -> Caller:
        """Return the caller, to a route."""
        return await self.let_in(request)


class AsksChange(Asks):
    """The same for a route that says itself what it is about to change."""

    __slots__ = ()
    begins_itself = True

    async def __call__(self, request: Request, _shown: _Shown, _oauth: _OAuth) -> Change:  # type: ignore[override]
        """Return the change, to a route."""
        await self.let_in(request)
        change: Change = request.state.change
        return change
