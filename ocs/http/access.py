"""Who calls, and whether they may (RFC 6750): every route but health, metrics and documentation asks for a scope."""

from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple

from fastapi import Depends, HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ocs.http.keys import SCOPES, ApiKeys

_bearer = HTTPBearer(auto_error=False, description="A key that `ocs keys create` has made.")
_Shown = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]

OPEN = "open"
"""The caller's name where the API runs without keys (`http.auth = "off"`, on loopback alone)."""


class Caller(NamedTuple):
    """Who calls: the id of a key, for the audit log; the key itself is nowhere kept."""

    id: str
    channel: str = ""
    scopes: frozenset[str] = frozenset()


Asked = Callable[..., Awaitable[Caller]]


class Access:
    """Gives routes the dependency that lets callers in; without ``keys`` everybody is."""

    __slots__ = ("_keys",)

    def __init__(self, keys: ApiKeys | None) -> None:
        self._keys = keys

    def needs(self, scope: str) -> Asked:
        """Return what a route depends on that is for callers with a scope: 401 without a valid key, 403 without the scope."""
        keys = self._keys

        async def caller(shown: _Shown) -> Caller:
            if keys is None:
                return Caller(OPEN, OPEN, frozenset(SCOPES))
            if shown is None:
                # RFC 6750 section 3.1: who shows nothing is told no error code
                raise HTTPException(
                    401, "show a key: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
                )
            key = await keys.of(shown.credentials)
            if key is None:
                told = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
                raise HTTPException(401, "the key is unknown, or revoked", told)
            if scope not in key.scopes:
                told = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
                raise HTTPException(403, f"the key lacks the scope {scope}", told)
            return Caller(key.id, key.id, key.scopes)

        return caller

    def route(self, scope: str) -> Caller:
        """Return the same as a parameter's default."""
        return Depends(self.needs(scope))  # type: ignore[no-any-return]
