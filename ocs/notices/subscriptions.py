"""Who wants to know: subscriptions of API clients, in the store, and the rules of the settings that messages follow.

Laws
1. A secret is made here, shown once when the subscription is made, and kept in the store, since it signs (it opens nothing of ours).
2. A subscription that is taken back is marked first; whoever delivers forgets what waits for it, and then the mark.
3. What a channel did is told to that channel, and to who may see every channel; alarms only to the latter.
4. What is written on the streams after `create` has returned is told to the new subscription.
5. A subscription is its owner's, the key that made it or took it over; who does so puts it in the place of what was read, so that one that
   was taken back meanwhile does not come back.
"""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from ocs.api_limits import SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_OWNER_MAX
from ocs.balance.functions import function
from ocs.balance.keys import slot_of
from ocs.balance.store import Store
from ocs.notices.notice import ALARMS, FACTS, TYPES, Notice

SLOT_TAG: Final = "{events}"
_ALL: Final = f"{SLOT_TAG}:subscriptions"
"""Hash of all subscriptions: id -> JSON."""
_REVISION: Final = f"{SLOT_TAG}:revision"
"""Rises with every change of them."""
_TYPE: Final = re.compile(r"[a-z]+(\.[a-z]+|\.\*)|\*")

WEBHOOK: Final = "webhook"
"""The form of our own webhooks; others are registered (forms.py)."""


class SubscriptionsFull(ValueError):
    """There are as many subscriptions as there may be."""


class Subscription(NamedTuple):
    """Who wants which notices, and where they go.

    ``types`` are types or "topup.*" or "*"; of ``query`` each name is a fact (or type, account) with the values that it may have. ``channel``
    is whose doings are told, ``any_channel`` whether everybody's are. ``form`` says what is posted.
    """

    id: str
    owner: str
    channel: str
    any_channel: bool
    callback: str
    types: tuple[str, ...]
    query: tuple[tuple[str, tuple[str, ...]], ...]
    form: str
    secret: str
    made_ms: int
    ended: bool = False
    wants: str = ""
    """What its form narrows it by: the TMF654 hub's query, as it was given."""

    def takes(self, notice: Notice) -> bool:
        """Tell whether a notice is for it."""
        if not any(each in {"*", notice.type} or _below(each, notice.type) for each in self.types):
            return False
        if not self.any_channel:
            channel = notice.facts.get("channel", self.channel)
            if notice.type.startswith(ALARMS) or channel != self.channel:
                return False
        told = {**notice.facts, "type": notice.type, "account": notice.account}
        return all(str(told.get(name, "")) in values for name, values in self.query)


def _below(pattern: str, kind: str) -> bool:
    return pattern.endswith(".*") and kind.startswith(pattern[:-1])


def read_types(types: Iterable[str]) -> tuple[str, ...]:
    """Judge types and patterns of types; raises ValueError that names what is none."""
    found = tuple(dict.fromkeys(types))
    for each in found:
        known = each == "*" or each in TYPES or any(_below(each, kind) for kind in TYPES)
        if not _TYPE.fullmatch(each) or not known:
            raise ValueError(
                f"types: {each[:40]!r} is none; types are {', '.join(TYPES)}, or such as topup.*"
            )
    if not found:
        raise ValueError("types: name one or more, or *")
    return found


def read_query(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read a filter such as "channel=till&reason=normal,operator": all names, of each one of its values. Raises ValueError."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=16)
    except ValueError:
        raise ValueError("query: write it as name=value&name=value") from None
    known = FACTS | {"type", "account"}
    for name, _value in pairs:
        if name not in known:
            raise ValueError(f"query: {name[:40]!r} is no fact; facts are {', '.join(sorted(known))}")
    return tuple((name, tuple(value.split(","))) for name, value in pairs)


class Subscriptions:
    """The subscriptions of a store."""

    __slots__ = ("_making", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._making = asyncio.Lock()

    async def create(
        self,
        owner: str,
        callback: str,
        now_ms: int,
        *,
        types: Iterable[str] = ("*",),
        query: str = "",
        channel: str = "",
        any_channel: bool = False,
        form: str = WEBHOOK,
        wants: str = "",
    ) -> Subscription:
        """Make a subscription; what it returns has the secret, which nobody is shown again.

        The callback is to be judged before (callbacks.py), and the reader's group registered (following.py). Raises ValueError for
        types or a query that are none, SubscriptionsFull, StoreFault.
        """
        judged, filtered = read_types(types), read_query(query)
        secret = _new_secret()
        made = Subscription(
            secrets.token_hex(8), owner, channel or owner, any_channel, callback, judged, filtered, form, secret, now_ms,
            wants=wants,
        )  # fmt: skip
        async with self._making:  # else many who ask at once would all find room
            standing = await self.all()
            if len(standing) >= SUBSCRIPTIONS_MAX:
                raise SubscriptionsFull(f"there are {SUBSCRIPTIONS_MAX} subscriptions already")
            _refuse_many(owner, standing)
            await self._write(made)
        return made

    async def all(self) -> list[Subscription]:
        """Return all subscriptions, the oldest first, those among them that were taken back. Raises StoreFault."""
        flat = await self._call("HGETALL", _ALL)
        found = [_read(text) for text in flat[1::2]]
        return sorted(found, key=lambda each: (each.made_ms, each.id))

    async def find(self, subscription_id: str) -> Subscription | None:
        """Return a subscription that was not taken back, or None. Raises StoreFault."""
        text = await self._call("HGET", _ALL, subscription_id)
        found = _read(text) if text is not None else None
        return None if found is None or found.ended else found

    async def take_over(self, found: Subscription, owner: str, *, new_secret: bool) -> Subscription | None:
        """Let a subscription be another key's from now on, signed with a new secret where that is asked for (law 5); None: it has just changed.

        Raises SubscriptionsFull, StoreFault.
        """
        if found.owner != owner:
            _refuse_many(owner, await self.all())
        taken = found._replace(owner=owner, secret=_new_secret() if new_secret else found.secret)
        known = await self._call("HGET", _ALL, found.id)
        # the function puts a field of any hash in the place of what was read
        if (
            known is None
            or _read(known) != found
            or not await self._swapped(found.id, known, _written(taken))
        ):
            return None
        await self._call("INCR", _REVISION)
        return taken

    async def end(self, subscription: Subscription) -> None:
        """Take a subscription back: nothing is sent to it from now on (law 2). Raises StoreFault."""
        await self._write(subscription._replace(ended=True, secret=""))

    async def forget(self, subscription: Subscription) -> None:
        """Forget the mark of one that was taken back, once nothing waits for it. Raises StoreFault."""
        await self._call("HDEL", _ALL, subscription.id)
        await self._call("INCR", _REVISION)

    async def revision(self) -> int:
        """Return a number that rises with every change. Raises StoreFault."""
        return int(await self._call("GET", _REVISION) or 0)

    async def _write(self, subscription: Subscription) -> None:
        await self._call("HSET", _ALL, subscription.id, _written(subscription))
        await self._call("INCR", _REVISION)

    async def _call(self, *words: str | bytes) -> Any:
        return await self._store.execute(slot_of(_ALL), *words)

    async def _swapped(self, name: str, known: bytes, after: str) -> bool:
        return bool(await self._call("FCALL", function("voucher_head"), "1", _ALL, name, known, after))


def _refuse_many(owner: str, standing: Iterable[Subscription]) -> None:
    if sum(each.owner == owner for each in standing) >= SUBSCRIPTIONS_PER_OWNER_MAX:
        raise SubscriptionsFull(f"you have {SUBSCRIPTIONS_PER_OWNER_MAX} subscriptions; take one back first")


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _written(subscription: Subscription) -> str:
    return json.dumps(subscription, separators=(",", ":"))


def _read(text: bytes) -> Subscription:
    made = Subscription(*json.loads(text))
    return made._replace(
        types=tuple(made.types), query=tuple((name, tuple(values)) for name, values in made.query)
    )
