"""API keys: who may call the HTTP API, for what, and how often. The store has their hashes alone; a key is shown once, when it is made.

Laws
1. A key is 256 bits of chance: one SHA-256 keeps it, and guessing it is hopeless without any stretching.
2. Comparisons take the same time wherever two texts differ, also for a key that does not exist.
3. A key that was revoked stays listed, so that a line of the audit log names its caller for ever.
4. A key of before is read as it was written: what it does not say, its channel for one, follows from its id. A key that says no more
   than those did is written as they were, so that a server of before reads it too.
5. As a client of OAuth 2 (tokens.py) a key `ocs_<id>_<secret>` has its id as client_id, and its secret as client_secret.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ocs.api_limits import API_BURST_MAX, API_KEY_NAME_CHARS_MAX, API_KEYS_MAX, API_RATE_MAX
from ocs.balance.keys import slot_of
from ocs.balance.store import Store
from ocs.clock import instant

SCOPES: Final = {
    "sessions:read": "see open sessions",
    "sessions:write": "end sessions, and let their clients ask anew",
    "balance:read": "see balances, allowances and what moved them",
    "bucket:write": "open buckets of balance",
    "topup:write": "top up, and take a top-up back",
    "adjust:write": "adjust balances",
    "transfer:write": "transfer balance between subscribers",
    "reserve:write": "reserve balance, post and void reservations",
    "subscribers:read": "see subscribers and their services",
    "subscribers:write": "create, change, bar and terminate subscribers",
    "care:read": "see parties, customers, billing accounts and the services they hold",
    "care:write": "create, change and end parties, customers, billing accounts and the services they hold",
    "payments:write": "book payments, charge-backs and refunds, and decide about what nobody can place",
    "vouchers:read": "see batches of vouchers and their states",
    "vouchers:write": "make, export, activate and block vouchers",
    "events:read": "see subscriptions to events, and what could not be delivered",
    "events:write": "subscribe to events, and deliver again",
    "audit:read": "read the audit log",
    "keys:write": "make, list and revoke API keys",
    "channel:any": "act for every channel, and see what every channel did",
}
"""What a key may be for."""

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "channel": frozenset(
        ("balance:read", "topup:write", "transfer:write", "reserve:write", "events:read", "events:write")
    ),
    "care": frozenset(
        (
            "sessions:read", "sessions:write", "balance:read", "topup:write", "subscribers:read", "subscribers:write",
            "vouchers:read", "events:read", "channel:any", "care:read", "care:write",
        )
    ),
    "billing": frozenset(("care:read", "payments:write")),
    "operator": frozenset(SCOPES) - {"keys:write", "audit:read"},
    "auditor": frozenset(each for each in SCOPES if each.endswith(":read")) | {"channel:any"},
    "admin": frozenset(SCOPES),
}  # fmt: skip
"""Named sets of scopes. A key keeps its role's name: what the role may is what it may in the release that reads it."""

KEYS: Final = "{keys}:api"
"""Hash of all keys: id -> [name, SHA-256 of the secret, scopes, made at, revoked at (0: not)], and behind them, where there is
any of it, {role, channel, rate, burst, until}."""
TOKENS: Final = "{keys}:tokens:"
"""Before a key's id: the hash of its tokens (tokens.py)."""
CHANNEL: Final = re.compile(r"[a-z0-9-]{1,32}")
"""Form of a channel's name."""
_FORM: Final = re.compile(r"ocs_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_ID: Final = re.compile(r"[a-z0-9]{12}")
_LAST_MS: Final = 253_402_300_799_000
_NO_HASH: Final = "0" * 64


class KeysFull(ValueError):
    """There are as many keys as there may be."""


class KeyOver(ValueError):
    """The key would be valid no more when it is made."""


class ApiKey(NamedTuple):
    """One key as it is known; times in milliseconds since 1970 (UTC), 0 where there is none.

    ``scopes`` are those that were named beside the role; ``rate`` (requests a second) and ``burst`` (requests at once) are 0 where
    the settings' hold; a rate alone has a burst of twice as many. A key is valid before ``until_ms``.
    """

    id: str
    name: str
    scopes: frozenset[str]
    made_ms: int
    revoked_ms: int
    role: str = ""
    channel: str = ""
    rate: int = 0
    burst: int = 0
    until_ms: int = 0

    @property
    def granted(self) -> frozenset[str]:
        """What it may: its own scopes and its role's."""
        return self.scopes | ROLES.get(self.role, frozenset())

    def is_valid(self, now_ms: int) -> bool:
        """Whether it opens anything now."""
        return not self.revoked_ms and (not self.until_ms or now_ms < self.until_ms)

    def facts(self) -> dict[str, object]:
        """Say what a key may, for the audit log."""
        return {"role": self.role, "scopes": sorted(self.granted), "channel": self.channel}

    def described(self) -> dict[str, object]:
        """Describe it for people and for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "channel": self.channel,
            "scopes": sorted(self.granted),
            "rate": self.rate or None,
            "burst": self.burst or None,
            "made": instant(self.made_ms),
            "valid_until": instant(self.until_ms) if self.until_ms else None,
            "revoked": instant(self.revoked_ms) if self.revoked_ms else None,
        }


class ApiKeys:
    """The keys of a store."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self,
        name: str,
        scopes: frozenset[str],
        now_ms: int,
        *,
        role: str = "",
        channel: str = "",
        rate: int = 0,
        burst: int = 0,
        until_ms: int = 0,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns it with the text that its caller shows (`Authorization: Bearer …`), which nobody can read again.

        Raises ValueError for what no key can be (KeyOver: its end has passed), KeysFull, StoreFault.
        """
        key_id = secrets.token_hex(6)
        key = ApiKey(key_id, name, scopes, now_ms, 0, role, channel or key_id, rate, burst, until_ms)
        if fault := _fault(key):
            raise ValueError(fault)
        if until_ms and until_ms <= now_ms:
            raise KeyOver("a key is valid until an instant that is still to come")
        if await self._call("HLEN", KEYS) >= API_KEYS_MAX:
            raise KeysFull(f"there are {API_KEYS_MAX} keys already, revoked ones among them")
        secret = secrets.token_urlsafe(32)
        await self._call("HSETNX", KEYS, key.id, _written(key, hash_of(secret)))
        return key, f"ocs_{key.id}_{secret}"

    async def all(self) -> list[ApiKey]:
        """Return all keys, the oldest first. Raises StoreFault."""
        flat = await self._call("HGETALL", KEYS)
        found = [_read(key.decode(), text)[0] for key, text in zip(flat[::2], flat[1::2], strict=True)]
        return sorted(found, key=lambda each: (each.made_ms, each.id))

    async def get(self, key_id: str) -> ApiKey | None:
        """Return a key by its id, valid or not; None where there is none. Raises StoreFault."""
        text = await self._call("HGET", KEYS, key_id) if _ID.fullmatch(key_id) else None
        return None if text is None else _read(key_id, text)[0]

    async def revoked(self, key_ids: Iterable[str]) -> frozenset[str]:
        """Return those of some ids whose keys were revoked; what is no key's id was not. Raises StoreFault."""
        asked = sorted({each for each in key_ids if _ID.fullmatch(each)})
        texts = await self._call("HMGET", KEYS, *asked) if asked else []
        known = [_read(each, text)[0] for each, text in zip(asked, texts, strict=True) if text is not None]
        return frozenset(each.id for each in known if each.revoked_ms)

    async def revoke(self, key_id: str, now_ms: int) -> ApiKey | None:
        """Let a key be valid no more, nor its tokens, from the next call on; None where there is none. Raises StoreFault."""
        text = await self._call("HGET", KEYS, key_id) if _ID.fullmatch(key_id) else None
        if text is None:
            return None
        key, kept = _read(key_id, text)
        if not key.revoked_ms:
            key = key._replace(revoked_ms=now_ms)
            await self._call("HSET", KEYS, key_id, _written(key, kept))
            await self._call("DEL", TOKENS + key_id)  # room alone: a token is nothing without its key
        return key

    async def of(self, shown: str, now_ms: int) -> ApiKey | None:
        """Return the valid key that a caller shows, or None. Raises StoreFault."""
        form = _FORM.fullmatch(shown)
        return None if form is None else await self.of_pair(form[1], form[2], now_ms)

    async def of_pair(self, key_id: str, secret: str, now_ms: int) -> ApiKey | None:
        """Return the valid key of an id and a secret (law 5), or None. Raises StoreFault."""
        text = await self._call("HGET", KEYS, key_id) if _ID.fullmatch(key_id) else None
        key, kept = _read(key_id, text) if text is not None else (None, _NO_HASH)
        right = hmac.compare_digest(hash_of(secret), kept)
        return key if key is not None and right and key.is_valid(now_ms) else None

    async def _call(self, *words: str) -> Any:
        return await self._store.execute(slot_of(KEYS), *words)


def hash_of(secret: str) -> str:
    """Return what is kept of a secret: SHA-256 in hexadecimal (law 1)."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _fault(key: ApiKey) -> str:
    """Say why there can be no such key; empty where there can."""
    if not key.name.isprintable() or len(key.name) > API_KEY_NAME_CHARS_MAX:
        return f"a key's name is at most {API_KEY_NAME_CHARS_MAX} visible characters"
    if key.role and key.role not in ROLES:
        return f"roles are {', '.join(ROLES)}"
    if not key.granted or key.scopes - SCOPES.keys():
        return f"scopes are {', '.join(SCOPES)}; name one or more of them, or a role: {', '.join(ROLES)}"
    if not CHANNEL.fullmatch(key.channel):
        return "a channel's name is 1 to 32 of a-z, 0-9 and -"
    if not 0 <= key.rate <= API_RATE_MAX:
        return f"a rate is 1 to {API_RATE_MAX} requests a second, or 0: the settings'"
    if not 0 <= key.burst <= API_BURST_MAX:
        return f"a burst is 1 to {API_BURST_MAX} requests, or 0: the settings'"
    if key.until_ms > _LAST_MS:
        return "a key is valid until the year 9999 at most"
    return ""


def _written(key: ApiKey, kept: str) -> str:
    row: list[object] = [key.name, kept, sorted(key.scopes), key.made_ms, key.revoked_ms]
    more: dict[str, object] = {
        "role": key.role,
        "channel": key.channel if key.channel != key.id else "",
        "rate": key.rate,
        "burst": key.burst,
        "until": key.until_ms,
    }
    more = {name: value for name, value in more.items() if value}
    return json.dumps([*row, more] if more else row)


def _read(key_id: str, text: bytes) -> tuple[ApiKey, str]:
    name, kept, scopes, made_ms, revoked_ms, *rest = json.loads(text)
    more = rest[0] if rest else {}
    key = ApiKey(
        key_id, name, frozenset(scopes), made_ms, revoked_ms, more.get("role", ""), more.get("channel") or key_id,
        more.get("rate", 0), more.get("burst", 0), more.get("until", 0),
    )  # fmt: skip
    return key, kept
