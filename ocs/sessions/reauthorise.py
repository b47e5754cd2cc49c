"""Server-initiated re-authorisation and abort (RFC 8506 section 5.5, RFC 6733 section 8.5): which sessions, and who is told to send.

Laws
1. The store has changed before anything is said: money, profile and status in the account, the end in the session. That is the mark
   which the session's next request honours; what is said here only lets that request come sooner, and may be lost on its way.
2. What is said goes to the worker that the session's last request came to (orders.py); nobody else has its connection.
3. Nothing here makes the change fail that it follows.
4. What one session uses up or reaches (an allowance's end, a spend cap) is said to the others of its account, while its answer goes out:
   of such news so many wait at once, and what is beyond is counted and left to the sessions' own next requests (law 1).
5. Sessions of a whole tariff are told so many a second, and no faster than one worker sends: nothing of it is shed there.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from ocs.balance.keys import slot_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.stored_session import OpenSession, SessionUnreadable
from ocs.charging.plan import Profile
from ocs.diameter.server_initiated import ABORT_SESSION, RE_AUTH, Order
from ocs.limits import NEWS_MAX, ORDERS_PER_MESSAGE_MAX
from ocs.sessions.orders import channel, order_of, write_orders
from ocs.sessions.search import open_sessions, sessions_of


class Said(NamedTuple):
    """How many open sessions there were, and of how many the worker has heard that it is to send."""

    sessions: int
    told: int


class Reauthorisation:
    """Tells workers to ask the clients of sessions; one per process that changes accounts."""

    __slots__ = ("_news", "_parts", "faults")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._news: set[asyncio.Task[None]] = set()
        self.faults = 0
        """Changes after which nobody could be told."""

    # -- what the accounts tell (accounts.py, Listener)

    async def changed(self, partition: int, path: str, *, ended: bool = False) -> None:
        """Let the clients of a subscriber's open sessions ask anew (RAR), or end them, since the subscriber has ended (ASR)."""
        try:
            await self.of_subscriber(partition, path, ABORT_SESSION if ended else RE_AUTH)
        except (StoreFault, SessionUnreadable):
            self.faults += 1

    # -- what a charge tells (book.py, Crossed)

    def crossed(self, profile: Profile, session_id: str) -> None:
        """Let the clients of the account's other sessions ask anew; returns at once, inside the worker's event loop."""
        if len(self._news) >= NEWS_MAX:
            self.faults += 1
            return
        task = asyncio.get_running_loop().create_task(self._others(profile, session_id))
        self._news.add(task)
        task.add_done_callback(self._news.discard)

    async def _others(self, profile: Profile, session_id: str) -> None:
        try:
            sessions = await sessions_of(self._parts, profile.partition, profile.account)
            await self.of_sessions([each for each in sessions if each.session_id != session_id])
        except (StoreFault, SessionUnreadable):
            self.faults += 1

    # -- sessions

    async def of_subscriber(
        self, partition: int, path: str, command: int = RE_AUTH, rating_group: int = -1
    ) -> Said:
        """Ask the clients of a subscriber's open sessions, of an account those of its members too. Raises StoreFault, SessionUnreadable."""
        sessions = await sessions_of(self._parts, partition, path)
        return await self.of_sessions(sessions, command, rating_group)

    async def of_sessions(
        self, sessions: Sequence[OpenSession], command: int = RE_AUTH, rating_group: int = -1
    ) -> Said:
        """Ask the clients of these sessions. Raises StoreFault."""
        by_worker: dict[str, list[Order]] = {}
        for session in sessions:
            found = order_of(session, command, rating_group)
            if found is not None:
                by_worker.setdefault(found[0], []).append(found[1])
        told = 0
        for worker, orders in by_worker.items():
            for start in range(0, len(orders), ORDERS_PER_MESSAGE_MAX):
                told += await self._publish(worker, orders[start : start + ORDERS_PER_MESSAGE_MAX])
        return Said(len(sessions), told)

    async def of_tariff(self, name: str, per_s: int, but: str = "") -> Said:
        """Ask the clients of all open sessions on any version of a tariff ``but`` one, spread over time. Raises StoreFault, SessionUnreadable."""
        found = told = 0
        batch: list[OpenSession] = []
        most = min(per_s, ORDERS_PER_MESSAGE_MAX)
        async for session in open_sessions(self._parts):
            if session.tariff == but or session.tariff.rpartition("@")[0] != name:
                continue
            batch.append(session)
            if len(batch) == most:
                done = await self.of_sessions(batch)
                found, told, batch = found + done.sessions, told + done.told, []
                await asyncio.sleep(most / per_s)
        done = await self.of_sessions(batch)
        return Said(found + done.sessions, told + done.told)

    async def _publish(self, worker: str, orders: list[Order]) -> int:
        """Tell a worker; of how many orders it has heard: all, or none where nobody listens."""
        where = channel(worker)
        hearers = await self._parts.store.execute(slot_of(where), "SPUBLISH", where, write_orders(orders))
        return len(orders) if hearers else 0
