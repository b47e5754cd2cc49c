"""Renewals before a request: what is due of a subscriber is opened by the first request that meets it (DESIGN law 12).

One task a subscriber, however many requests wait; where credit was short, the next try comes after a pause.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ocs.balance.holdings import Holdings
from ocs.balance.link import StoreFault
from ocs.charging.plan import Profile
from ocs.limits import RENEWAL_RETRY_REQUEST_MS, WALLETS_KEPT_MAX


class Renewals:
    """A worker's renewals; stands in ``Book.renew``."""

    __slots__ = ("_holdings", "_tasks", "_tried", "_waiting")

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._waiting: dict[str, list[Callable[[Any], None]]] = {}
        self._tried: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, profile: Profile, now_ms: int, done: Callable[[Any], None]) -> bool:
        """Open what is due; ``done`` takes the profile as it is then (or a StoreFault, or None). False: it was tried a moment ago."""
        path = profile.path
        version, until_ms = self._tried.get(path, (0, 0))
        if version == profile.version and now_ms < until_ms:
            return False
        if path in self._waiting:
            self._waiting[path].append(done)
            return True
        self._waiting[path] = [done]
        task = asyncio.get_running_loop().create_task(self._open(profile, now_ms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _open(self, profile: Profile, now_ms: int) -> None:
        found: Any = None
        try:
            account = await self._holdings.renew(profile.partition, profile.path)
            if account is not None and profile.member and profile.shared:  # the account's own come from it
                await self._holdings.renew(profile.partition, profile.account)
                account = await self._holdings.read(profile.partition, profile.path)
            found = account.profile if account is not None else None
        except StoreFault as fault:
            found = fault
        except Exception as error:  # noqa: BLE001 - those who wait get their answer, whatever it is
            found = StoreFault(f"a renewal met a defect of ours: {error!r}")
            told = {"message": "a renewal met a defect of ours", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)
        if isinstance(found, Profile):
            self._note(found, now_ms)
        for done in self._waiting.pop(profile.path):
            done(found)

    def _note(self, profile: Profile, now_ms: int) -> None:
        if len(self._tried) >= WALLETS_KEPT_MAX and profile.path not in self._tried:
            del self._tried[next(iter(self._tried))]
        self._tried[profile.path] = (profile.version, now_ms + RENEWAL_RETRY_REQUEST_MS)
