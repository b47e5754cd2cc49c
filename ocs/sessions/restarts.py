"""Clients that restart (RFC 6733 section 8.16): what they said of their state, and the end of the sessions that they have lost.

A client's Origin-State-Id rises when it starts again without its sessions. It is kept in the store, since its connections come to any
worker of any server.

Laws
1. Only clients whose profile says so are looked at, and the session's owner decides nothing here: a session is ended as supervision ends
   it, only sooner; what its client reports of it all the same is posted late.
2. A rise ends nothing at once: whoever still speaks with a lower id within the grace is alive, so that two nodes share the name. From then
   on that name is not believed for a day.
3. An id that only falls (a clock that was set back) ends nothing. It is believed again when the higher one was not heard for a day.
4. What is ended was opened before the rise and not heard of since; the store compares once more (expire), so that no request is overtaken.
   Sessions of accounting are none of it: they hold nothing, and a client keeps records over its restart (RFC 6733 section 9.4).
5. What is lost on the way (a worker that dies, a store that is away) ends nothing: supervision does, in its time.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from ocs.balance.functions import function
from ocs.balance.keys import slot_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.stored_session import OpenSession
from ocs.clock import Clock
from ocs.limits import CLIENTS_KNOWN_MAX, RESTART_ENDS_PER_S, STATES_WAITING_MAX
from ocs.records import ACCOUNTING, RESTARTED
from ocs.sessions.search import open_sessions
from ocs.sessions.sweep import Sweeper

PENDING: Final = "ocs:restarts"
"""A sorted set, in a slot of its own: clients whose id has risen, by the Unix time in milliseconds of that."""

DOUBT_MS: Final = 86_400_000
_HEARD_MS: Final = 3_600_000
"""How exactly the store knows when an id was heard last: to the hour, so that telling it again and again writes nothing."""
_TOLD_MS: Final = 5_000
_PAUSE_S: Final = 0.2
_TRIES_MAX: Final = 10


class ClientState(NamedTuple):
    """What is known of one client: its greatest id and when that was heard, when it rose, and when a lower one was heard; 0: never."""

    state: int
    heard_ms: int
    risen_ms: int = 0
    doubted_ms: int = 0

    def text(self) -> str:
        """Return it as the store keeps it."""
        return " ".join(map(str, self))

    def believed(self, now_ms: int) -> bool:
        """Tell whether a rise says anything (law 2)."""
        return not self.doubted_ms or now_ms - self.doubted_ms > DOUBT_MS


def read_state(text: str) -> ClientState:
    """Read what the store keeps; raises ValueError."""
    state, heard_ms, risen_ms, doubted_ms = map(int, text.split(" "))
    return ClientState(state, heard_ms, risen_ms, doubted_ms)


def heard(known: ClientState | None, state: int, now_ms: int) -> ClientState:
    """Return what is known once a client has said an id (laws 2 and 3); the same object where nothing is new."""
    if known is None:
        return ClientState(state, now_ms)
    if state > known.state:
        return known._replace(state=state, heard_ms=now_ms, risen_ms=now_ms)
    if state < known.state:
        if now_ms - known.heard_ms > DOUBT_MS:
            return ClientState(state, now_ms)
        return known if now_ms - known.doubted_ms < _TOLD_MS else known._replace(doubted_ms=now_ms)
    return known if now_ms - known.heard_ms < _HEARD_MS else known._replace(heard_ms=now_ms)


def key_of(origin_host: str) -> str:
    """Return the key of what is known of a client."""
    return f"ocs:client:{origin_host.lower()}"


class ClientStates:
    """Writes down what clients say of their state; one per worker. Times are Unix milliseconds."""

    __slots__ = ("_clock", "_parts", "_told", "_waiting", "faults")

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._told: dict[tuple[str, int], int] = {}
        self._waiting: dict[tuple[str, int], None] = {}
        self.faults = 0

    def say(self, origin_host: str, state: int) -> None:
        """Take note that a client has said an id; cheap, and what is said again and again is told now and then."""
        said = origin_host.lower(), state
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._told.get(said, -_TOLD_MS) < _TOLD_MS or len(self._waiting) >= STATES_WAITING_MAX:
            return
        if len(self._told) >= CLIENTS_KNOWN_MAX:
            self._told.clear()
        self._told[said] = now_ms
        self._waiting[said] = None

    async def keep_up(self) -> None:
        """Write what was said, again and again until cancelled."""
        while True:
            waiting, self._waiting = self._waiting, {}
            for host, state in waiting:
                try:
                    await self.write(host, state)
                except (StoreFault, ValueError):
                    self.faults += 1  # law 5
            await asyncio.sleep(_PAUSE_S)

    async def write(self, origin_host: str, state: int) -> None:
        """Bring the store to know that a client has said an id. Raises StoreFault, and ValueError for a row that is none."""
        store, key = self._parts.store, key_of(origin_host)
        for _ in range(_TRIES_MAX):
            text = await store.execute(slot_of(key), "GET", key)
            known = read_state(text.decode()) if text is not None else None
            now_ms = self._clock.now_ms()
            after = heard(known, state, now_ms)
            if after is known:
                return
            if after.risen_ms != (known.risen_ms if known is not None else 0):
                # first: a row that has not risen after all is passed over, one that nobody looks at would stay
                await store.execute(slot_of(PENDING), "ZADD", PENDING, now_ms, origin_host.lower())
            if text is None:
                if await store.execute(slot_of(key), "SET", key, after.text(), "NX") is not None:
                    return
            elif await store.execute(slot_of(key), "FCALL", function("swap"), 1, key, text, after.text()):
                return


class Ended(NamedTuple):
    """What became of one client's rise: how many sessions were ended, or that it was not believed (-1)."""

    origin_host: str
    sessions: int


class Restarts:
    """Ends the sessions of clients that have restarted; the keeper's. ``grace_ms`` is how long a rise waits (law 2)."""

    __slots__ = ("_clock", "_grace_ms", "_parts", "_supervision_ms", "_sweeper", "ended")

    def __init__(
        self, parts: Parts, sweeper: Sweeper, clock: Clock, *, grace_ms: int, supervision_ms: int
    ) -> None:
        self._parts = parts
        self._sweeper = sweeper
        self._clock = clock
        self._grace_ms = grace_ms
        self._supervision_ms = supervision_ms
        self.ended = 0

    async def once(self, tell: Callable[[Ended], None] = lambda _ended: None) -> None:
        """Look at every rise whose grace is over. Raises StoreFault, SessionUnreadable: what is left is looked at again."""
        store, slot = self._parts.store, slot_of(PENDING)
        until_ms = self._clock.now_ms() - self._grace_ms
        for name in await store.execute(slot, "ZRANGEBYSCORE", PENDING, "-inf", until_ms):
            host = name.decode()
            known = await self._known(host)
            if known is None or not known.risen_ms:
                count = 0
            elif known.risen_ms > until_ms:
                continue  # it has risen once more: its time comes
            else:
                count = await self._end(host, known)
            await self._done(host, until_ms)
            tell(Ended(host, count))

    async def _done(self, host: str, until_ms: int) -> None:
        """Let go of a rise, unless the client has risen again."""
        store, slot = self._parts.store, slot_of(PENDING)
        score = await store.execute(slot, "ZSCORE", PENDING, host)
        if score is not None and float(score) <= until_ms:
            await store.execute(slot, "ZREM", PENDING, host)

    async def _known(self, host: str) -> ClientState | None:
        text = await self._parts.store.execute(slot_of(key_of(host)), "GET", key_of(host))
        try:
            return read_state(text.decode()) if text is not None else None
        except ValueError:
            return None

    async def _end(self, host: str, risen: ClientState) -> int:
        """End what a client has lost, so many a second; -1 where it is not believed (any more)."""
        count = 0
        if not risen.believed(self._clock.now_ms()):
            return -1
        async for session in open_sessions(self._parts):
            if session.origin_host.lower() != host or not await self._lost(session, risen.risen_ms):
                continue
            held = await self._sweeper.expire(
                session.partition, session.session_id, forced=RESTARTED, due_ms=session.due_ms
            )
            if held is None:
                continue
            count += 1
            self.ended += 1
            if count % RESTART_ENDS_PER_S == 0:
                await asyncio.sleep(1)
                known = await self._known(host)
                if known is None or not known.believed(self._clock.now_ms()):
                    return -1
        return count

    async def _lost(self, session: OpenSession, risen_ms: int) -> bool:
        """Tell whether a session was opened before the rise and not heard of since (law 4); sessions count in the store's calendar."""
        if session.session_id.startswith(ACCOUNTING):
            return False
        offset_ms = (await self._parts.epoch(session.partition)).offset_ms
        heard_ms = session.due_ms - self._supervision_ms
        return max(session.opened_ms, heard_ms) - offset_ms < risen_ms
