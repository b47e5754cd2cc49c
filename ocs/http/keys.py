"""API keys: who may call the HTTP API, and for what. The store has their hashes alone; a key is shown once, when it is made.

Laws
1. A key is 256 bits of chance: one SHA-256 keeps it, and guessing it is hopeless without any stretching.
2. Comparisons take the same time wherever two texts differ, also for a key that does not exist.
3. A key that was revoked stays listed, so that a line of the audit log names its caller for ever.
"""

import hashlib
import hmac
import json
import re
import secrets
from typing import Any, Final, NamedTuple

from ocs.balance.described import instant
from ocs.balance.keys import slot_of
from ocs.balance.store import Store
from ocs.limits import API_KEY_NAME_CHARS_MAX, API_KEYS_MAX

SCOPES: Final = {
    "sessions:read": "see open sessions",
    "sessions:write": "end sessions, and let their clients ask anew",
    "balance:read": "see balances, allowances and what moved them",
    "subscribers:read": "see subscribers and their services",
    "subscribers:write": "create, change, bar and terminate subscribers",
}
"""What a key may be for."""

_KEYS: Final = "{keys}:api"
"""Hash of all keys: id -> [name, SHA-256 of the secret, scopes, made at, revoked at (0: not)]."""
_FORM: Final = re.compile(r"ocs_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH: Final = "0" * 64


class KeysFull(ValueError):
    """There are as many keys as there may be."""


class ApiKey(NamedTuple):
    """One key as it is known; times in milliseconds since 1970 (UTC), ``revoked_ms`` 0 while it is valid."""

    id: str
    name: str
    scopes: frozenset[str]
    made_ms: int
    revoked_ms: int

    def described(self) -> dict[str, object]:
        """Describe it for people and for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "made": instant(self.made_ms),
            "revoked": instant(self.revoked_ms) if self.revoked_ms else None,
        }


class ApiKeys:
    """The keys of a store."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, name: str, scopes: frozenset[str], now_ms: int) -> tuple[ApiKey, str]:
        """Make a key; returns it with the text that its caller shows (`Authorization: Bearer …`), which nobody can read again.

        Raises ValueError for a name or a scope that is none, KeysFull, StoreFault.
        """
        if not name.isprintable() or len(name) > API_KEY_NAME_CHARS_MAX:
            raise ValueError(f"a key's name is at most {API_KEY_NAME_CHARS_MAX} visible characters")
        if not scopes or scopes - SCOPES.keys():
            raise ValueError(f"scopes are {', '.join(SCOPES)}; name one or more of them")
        if await self._call("HLEN", _KEYS) >= API_KEYS_MAX:
            raise KeysFull(f"there are {API_KEYS_MAX} keys already, revoked ones among them")
        key = ApiKey(secrets.token_hex(6), name, scopes, now_ms, 0)
        secret = secrets.token_urlsafe(32)
        await self._call("HSETNX", _KEYS, key.id, _written(key, _hash(secret)))
        return key, f"ocs_{key.id}_{secret}"

    async def all(self) -> list[ApiKey]:
        """Return all keys, the oldest first. Raises StoreFault."""
        flat = await self._call("HGETALL", _KEYS)
        found = [_read(key.decode(), text)[0] for key, text in zip(flat[::2], flat[1::2], strict=True)]
        return sorted(found, key=lambda each: (each.made_ms, each.id))

    async def revoke(self, key_id: str, now_ms: int) -> ApiKey | None:
        """Let a key be valid no more, from the next call on; None where there is none. Raises StoreFault."""
        text = await self._call("HGET", _KEYS, key_id)
        if text is None:
            return None
        key, kept = _read(key_id, text)
        if not key.revoked_ms:
            key = key._replace(revoked_ms=now_ms)
            await self._call("HSET", _KEYS, key_id, _written(key, kept))
        return key

    async def of(self, shown: str) -> ApiKey | None:
        """Return the valid key that a caller shows, or None. Raises StoreFault."""
        form = _FORM.fullmatch(shown)
        if form is None:
            return None
        text = await self._call("HGET", _KEYS, form[1])
        key, kept = _read(form[1], text) if text is not None else (None, _NO_HASH)
        right = hmac.compare_digest(_hash(form[2]), kept)
        return key if key is not None and right and not key.revoked_ms else None

    async def _call(self, *words: str) -> Any:
        return await self._store.execute(slot_of(_KEYS), *words)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _written(key: ApiKey, kept: str) -> str:
    return json.dumps([key.name, kept, sorted(key.scopes), key.made_ms, key.revoked_ms])


def _read(key_id: str, text: bytes) -> tuple[ApiKey, str]:
    name, kept, scopes, made_ms, revoked_ms = json.loads(text)
    return ApiKey(key_id, name, frozenset(scopes), made_ms, revoked_ms), kept
