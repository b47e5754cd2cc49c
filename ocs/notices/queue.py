"""What waits to be delivered, and what could not be: in the store, for each subscription by itself.

Keys, all in the slot of the subscriptions: <tag>:waiting:<subscription> is a hash, notice id -> delivery; <tag>:due:<subscription> a
sorted set, notice id -> when it is tried next; <tag>:dead:<subscription> and <tag>:died:<subscription> the same of dead letters.

Laws
1. What is in the hash is written before the set names it, and goes after the set has let it go or is found without it: whoever dies in
   between leaves something that is delivered (again), never something that is lost.
2. A notice waits once for a subscription, however often it is put there: by its id. What was delivered may come again (ids tell).
3. No subscription holds more than WAITING_MAX deliveries and DEAD_MAX dead letters: beyond, what comes is dead, and the oldest of the
   dead are dropped, and counted.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ocs.api_limits import DEAD_LETTERS_MAX, DELIVERIES_WAITING_MAX
from ocs.balance.keys import slot_of
from ocs.balance.store import Store
from ocs.notices.notice import Notice
from ocs.notices.subscriptions import SLOT_TAG

FULL: Final = "too many deliveries wait"
_FAR_MS: Final = 2**52


class Delivery(NamedTuple):
    """A notice on its way to one subscription: how often it was tried, since when it waits, and why it failed last."""

    notice: Notice
    tries: int
    since_ms: int
    why: str = ""


class DeadLetter(NamedTuple):
    """A delivery that was given up, and when."""

    delivery: Delivery
    died_ms: int


class Queue:
    """The deliveries of all subscriptions of a store. Every call may raise StoreFault; the same call again goes on."""

    __slots__ = ("_slot", "_store", "dropped")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._slot = slot_of(SLOT_TAG)
        self.dropped = 0
        """Dead letters that were dropped for want of room, since the start."""

    # -- what waits

    async def add(self, subscription: str, notices: Sequence[Notice], now_ms: int) -> int:
        """Put notices in the queue of a subscription; returns how many had no room there and are dead letters."""
        waiting = _waiting(subscription)
        room = max(0, DELIVERIES_WAITING_MAX - int(await self._call("HLEN", waiting)))
        fits, rest = notices[:room], notices[room:]
        if fits:
            rows = [word for each in fits for word in (each.id, _written(Delivery(each, 0, now_ms)))]
            await self._call("HSET", waiting, *rows)
            times = [word for each in fits for word in (str(now_ms), each.id)]
            await self._call("ZADD", _due(subscription), "NX", *times)
        await self._bury(subscription, [Delivery(each, 0, now_ms, FULL) for each in rest], now_ms)
        return len(rest)

    async def due(self, subscription: str, now_ms: int, count: int) -> list[Delivery]:
        """Return deliveries whose time has come, those that wait longest first."""
        due = _due(subscription)
        names = await self._call("ZRANGEBYSCORE", due, "-inf", str(now_ms), "LIMIT", "0", str(count))
        if not names:
            return []
        texts = await self._call("HMGET", _waiting(subscription), *names)
        gone = [name for name, text in zip(names, texts, strict=True) if text is None]
        if gone:  # who delivered it died before it was let go
            await self._call("ZREM", due, *gone)
        return [_read(text) for text in texts if text is not None]

    async def next_due_ms(self, subscription: str) -> int:
        """Return when the next delivery is due; far in the future where none waits."""
        found = await self._call("ZRANGE", _due(subscription), "0", "0", "WITHSCORES")
        return int(float(found[1])) if found else _FAR_MS

    async def done(self, subscription: str, notice_id: str) -> None:
        """Let a delivery go."""
        await self._call("HDEL", _waiting(subscription), notice_id)
        await self._call("ZREM", _due(subscription), notice_id)

    async def again(self, subscription: str, delivery: Delivery, due_ms: int) -> None:
        """Note that a delivery failed, and when it is tried again."""
        await self._call("HSET", _waiting(subscription), delivery.notice.id, _written(delivery))
        await self._call("ZADD", _due(subscription), str(due_ms), delivery.notice.id)

    async def bury(self, subscription: str, delivery: Delivery, now_ms: int) -> None:
        """Give a delivery up: it is a dead letter from now on."""
        await self._bury(subscription, [delivery], now_ms)
        await self.done(subscription, delivery.notice.id)

    async def waiting(self, subscription: str) -> int:
        """Return how many deliveries wait."""
        return int(await self._call("HLEN", _waiting(subscription)))

    # -- dead letters

    async def _bury(self, subscription: str, dead: Sequence[Delivery], now_ms: int) -> None:
        if not dead:
            return
        kept = dead[-DEAD_LETTERS_MAX:]
        self.dropped += len(dead) - len(kept)
        rows = [
            word
            for each in kept
            for word in (each.notice.id, json.dumps([json.loads(_written(each)), now_ms]))
        ]
        await self._call("HSET", _dead(subscription), *rows)
        await self._call(
            "ZADD", _died(subscription), *[w for each in kept for w in (str(now_ms), each.notice.id)]
        )
        over = int(await self._call("ZCARD", _died(subscription))) - DEAD_LETTERS_MAX
        if over > 0:
            gone = await self._call("ZRANGE", _died(subscription), "0", str(over - 1))
            await self._forget(subscription, gone)
            self.dropped += len(gone)

    async def dead(self, subscription: str, first: int = 0, count: int = 100) -> list[DeadLetter]:
        """Return dead letters, the newest first, from one on."""
        names = await self._call("ZREVRANGE", _died(subscription), str(first), str(first + count - 1))
        texts = await self._call("HMGET", _dead(subscription), *names) if names else []
        return [_read_dead(text) for text in texts if text is not None]

    async def dead_letter(self, subscription: str, notice_id: str) -> DeadLetter | None:
        """Return one dead letter, or None."""
        text = await self._call("HGET", _dead(subscription), notice_id)
        return None if text is None else _read_dead(text)

    async def dead_count(self, subscription: str) -> int:
        """Return how many dead letters there are."""
        return int(await self._call("ZCARD", _died(subscription)))

    async def revive(self, subscription: str, notice_id: str, now_ms: int) -> bool:
        """Let a dead letter be delivered, from the first try on; False where there is none."""
        found = await self.dead_letter(subscription, notice_id)
        if found is None:
            return False
        await self.again(subscription, Delivery(found.delivery.notice, 0, now_ms), now_ms)
        await self._forget(subscription, [notice_id])
        return True

    async def drop(self, subscription: str, notice_id: str) -> bool:
        """Forget a dead letter; False where there is none."""
        return await self._forget(subscription, [notice_id]) > 0

    async def purge(self, subscription: str) -> None:
        """Forget everything of a subscription."""
        for key in (_waiting, _due, _dead, _died):
            await self._call("UNLINK", key(subscription))

    async def _forget(self, subscription: str, names: Sequence[str | bytes]) -> int:
        gone = int(await self._call("HDEL", _dead(subscription), *names))
        await self._call("ZREM", _died(subscription), *names)
        return gone

    async def _call(self, *words: Any) -> Any:
        return await self._store.execute(self._slot, *words)


def _waiting(subscription: str) -> str:
    return f"{SLOT_TAG}:waiting:{subscription}"


def _due(subscription: str) -> str:
    return f"{SLOT_TAG}:due:{subscription}"


def _dead(subscription: str) -> str:
    return f"{SLOT_TAG}:dead:{subscription}"


def _died(subscription: str) -> str:
    return f"{SLOT_TAG}:died:{subscription}"


def _written(delivery: Delivery) -> str:
    return json.dumps(delivery, separators=(",", ":"))


def _from(fields: list[Any]) -> Delivery:
    notice, tries, since_ms, why = fields
    return Delivery(Notice(*notice), tries, since_ms, why)


def _read(text: bytes) -> Delivery:
    return _from(json.loads(text))


def _read_dead(text: bytes) -> DeadLetter:
    fields, died_ms = json.loads(text)
    return DeadLetter(_from(fields), died_ms)
