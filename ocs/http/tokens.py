"""Tokens: what a client of OAuth 2 gets for its credentials (RFC 6749 section 4.4), and shows instead of its key (RFC 6750).

Laws
1. A token is 256 bits of chance behind its key's id; the store has its SHA-256 alone, and nobody can read it again.
2. A token is nothing without its key: each use looks at both, so that it dies with a key that is revoked, in the same instant.
3. It is for no more than its key is for at the moment of its use, nor for longer than its key is valid.
4. A key has a bounded number of valid tokens; one more is refused until the first of them has expired.
"""

import asyncio
import hmac
import json
import re
import secrets
from typing import Any, Final, NamedTuple

from ocs.api_limits import API_TOKENS_MAX
from ocs.balance.keys import slot_of
from ocs.balance.store import Store
from ocs.http.keys import KEYS, TOKENS, ApiKey, ApiKeys, hash_of

_FORM: Final = re.compile(r"ocst_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_FIELD_CHARS: Final = 16
"""A token is found by the beginning of its hash, and compared by all of it."""
_NO_HASH: Final = "0" * 64


class TokensFull(Exception):
    """A key has as many valid tokens as it may have; ``wait_ms`` until the first expires."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__(f"the client has {API_TOKENS_MAX} valid tokens; use one until it expires")
        self.wait_ms = wait_ms


class Held(NamedTuple):
    """What a token stands for: its key, and what of the key's scopes it was made for."""

    key: ApiKey
    scopes: frozenset[str]


class Tokens:
    """The tokens of a store's keys, valid for ``life_s`` seconds each."""

    __slots__ = ("_keys", "_life_ms", "_store")

    def __init__(self, store: Store, keys: ApiKeys, life_s: int) -> None:
        self._store = store
        self._keys = keys
        self._life_ms = life_s * 1000

    async def issue(self, key: ApiKey, scopes: frozenset[str], now_ms: int) -> tuple[str, int]:
        """Make a token for some of a valid key's scopes; returns what its client shows, and how many seconds it is valid.

        Raises TokensFull, StoreFault.
        """
        place = TOKENS + key.id
        if await self._call("HLEN", place) >= API_TOKENS_MAX:
            await self._make_room(place, now_ms)
        until_ms = now_ms + self._life_ms
        if key.until_ms:
            until_ms = min(until_ms, key.until_ms)
        secret = secrets.token_urlsafe(32)
        kept = hash_of(secret)
        row = json.dumps([kept, sorted(scopes), until_ms])
        await self._call("HSET", place, kept[:_FIELD_CHARS], row)
        # the youngest token is the last to expire: with it all of them are gone
        await self._call("PEXPIRE", place, str(self._life_ms))
        return f"ocst_{key.id}_{secret}", (until_ms - now_ms) // 1000

    async def of(self, shown: str, now_ms: int) -> Held | None:
        """Return what the valid token that a caller shows stands for, or None. Raises StoreFault."""
        form = _FORM.fullmatch(shown)
        if form is None:
            return None
        hashed = hash_of(form[2])
        text, key = await asyncio.gather(
            self._call("HGET", TOKENS + form[1], hashed[:_FIELD_CHARS]), self._keys.get(form[1])
        )
        kept, scopes, until_ms = json.loads(text) if text is not None else (_NO_HASH, [], 0)
        right = hmac.compare_digest(hashed, kept)
        if key is None or not right or now_ms >= until_ms or not key.is_valid(now_ms):
            return None
        return Held(key, key.granted & frozenset(scopes))

    async def _make_room(self, place: str, now_ms: int) -> None:
        """Drop a key's expired tokens; TokensFull where there are none."""
        flat = await self._call("HGETALL", place)
        ends = {field: json.loads(text)[2] for field, text in zip(flat[::2], flat[1::2], strict=True)}
        gone = [field for field, until_ms in ends.items() if until_ms <= now_ms]
        if not gone and len(ends) >= API_TOKENS_MAX:
            raise TokensFull(min(ends.values()) - now_ms)
        if gone:
            await self._call("HDEL", place, *gone)

    async def _call(self, *words: str | bytes) -> Any:
        return await self._store.execute(slot_of(KEYS), *words)
