"""What ends soon: a balance's life and products that do not renew, told so many days before; found on the agenda.

Laws
1. A notice is due at an instant, so many days before the end. A round tells what was due since the round before and up to now: once, and the
   same under the same id where a round is repeated, since how far it came is written after its notices are safe.
2. An end that was set when its instant had passed already is not told: whoever has just paid for two days needs no word three days ahead.
3. A product that renews does not end; what a subscriber terminated or was barred for is told by other notices.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from ocs.api_limits import EXPIRY_AT_ONCE
from ocs.balance.accounts import Account
from ocs.balance.holdings import Holdings
from ocs.balance.keys import Keys, slot_of
from ocs.balance.parts import Parts
from ocs.clock import instant
from ocs.notices.notice import Notice
from ocs.notices.subscriptions import SLOT_TAG
from ocs.rating.products import Catalogue

DAY_MS: Final = 86_400_000
_SCANNED: Final = f"{SLOT_TAG}:scanned"
"""Hash: partition -> up to which instant its ends were told."""


def ending(
    account: Account, catalogue: Catalogue, days: Sequence[int], since_ms: int, now_ms: int
) -> Iterator[Notice]:
    """Give what is to be told of one subscriber between two instants (law 1); pure."""
    if account.ended:
        return
    profile, book = account.profile, account.book
    if not profile.member and book.until_ms > now_ms:
        for ahead in days:
            if since_ms < book.until_ms - ahead * DAY_MS <= now_ms:
                facts: dict[str, str | int] = {"ends": instant(book.until_ms, "milliseconds"), "days": ahead}
                name = f"balance.ending.{profile.path}.{book.until_ms}.{ahead}"
                yield Notice(
                    name,
                    "balance.ending",
                    book.until_ms - ahead * DAY_MS,
                    profile.path,
                    facts,
                    profile.partition,
                )
    for held in profile.products:
        product = catalogue.product(held.product_key)
        if product is None or (product.recurring and held.renews) or held.until_ms <= now_ms:
            continue
        for ahead in days:
            if since_ms < held.until_ms - ahead * DAY_MS <= now_ms:
                facts = {
                    "product": held.product_key,
                    "number": held.number,
                    "ends": instant(held.until_ms, "milliseconds"),
                    "days": ahead,
                }
                name = f"product.ending.{profile.path}.{held.number}.{held.until_ms}.{ahead}"
                yield Notice(
                    name,
                    "product.ending",
                    held.until_ms - ahead * DAY_MS,
                    profile.path,
                    facts,
                    profile.partition,
                )


class Expiry:
    """Goes over the agenda of all partitions."""

    __slots__ = ("_days", "_grace_ms", "_holdings", "_parts", "_put")

    def __init__(
        self,
        parts: Parts,
        holdings: Holdings,
        put: Callable[[Sequence[Notice]], Awaitable[None]],
        days: Sequence[int],
        grace_ms: Callable[[], int],
    ) -> None:
        """``grace_ms`` returns the longest grace of any tariff: the agenda has a balance's end with it."""
        self._parts = parts
        self._holdings = holdings
        self._put = put
        self._days = tuple(days)
        self._grace_ms = grace_ms

    async def once(self) -> None:
        """Tell what has become due since the last round. Raises StoreFault; the next round takes up what is left."""
        if self._days:
            for keys in self._parts.keys:
                await self._partition(keys)

    async def _partition(self, keys: Keys) -> None:
        call = self._parts.store.execute
        now_ms = await self._holdings.now_ms(keys.partition)
        told = await call(slot_of(_SCANNED), "HGET", _SCANNED, str(keys.partition))
        if told is not None and int(told) < now_ms:
            last_ms = now_ms + max(self._days) * DAY_MS + self._grace_ms()
            paths = await self._candidates(keys, last_ms)
            for start in range(0, len(paths), EXPIRY_AT_ONCE):
                notices = await self._looked(keys, paths[start : start + EXPIRY_AT_ONCE], int(told), now_ms)
                if notices:
                    await self._put(notices)
        await call(slot_of(_SCANNED), "HSET", _SCANNED, str(keys.partition), str(now_ms))

    async def _candidates(self, keys: Keys, last_ms: int) -> list[str]:
        """Return the paths for which the agenda has something up to an instant, the end of a life or of what is held among it."""
        names = await self._parts.store.execute(keys.slot, "ZRANGEBYSCORE", keys.agenda, "-inf", last_ms)
        found = dict.fromkeys(
            path
            for kind, _, path in (each.decode().rpartition(":") for each in names)
            if kind in {"", "life"}
        )
        return list(found)

    async def _looked(self, keys: Keys, paths: Sequence[str], since_ms: int, now_ms: int) -> list[Notice]:
        accounts = await asyncio.gather(*(self._holdings.read(keys.partition, path) for path in paths))
        catalogue = self._holdings.catalogue
        return [
            notice
            for account in accounts
            if account is not None
            for notice in ending(account, catalogue, self._days, since_ms, now_ms)
        ]
