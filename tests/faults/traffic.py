"""Traffic: sessions that open, report and end, by seed; every request repeated until it is answered, as real clients do.

A request that nobody answered goes out again with the same Session-Id, type and number and the same content, marked as
a repetition (T-bit). One that was answered TOO_BUSY (3004) too: whether it was posted before that is not known either.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from tests.faults.ledger import (
    CREDIT_LIMIT,
    DIRECT_DEBITING,
    EVENT,
    INITIAL,
    MIB,
    REFUND_ACCOUNT,
    SUCCESS,
    TERMINATION,
    TOO_BUSY,
    UPDATE,
    Answer,
    Ledger,
    Reported,
    Request,
)

Door = Callable[[Request, bool], Awaitable[Answer | None]]
"""Sends one request, marked as repeated or not; None when no answer came."""

GROUPS = (10, 20)
_REFUNDED = 0.6


class Traffic:
    """Many lanes of sessions over a few accounts, all in one ledger."""

    def __init__(self, ledger: Ledger, msisdns: Sequence[str], seed: int) -> None:
        self.ledger = ledger
        self.ending = False
        self.sessions_left_open = 0
        self._msisdns = msisdns
        self._random = random.Random(seed)
        self._seed = seed
        self._lanes: list[asyncio.Task[None]] = []
        self._answered = asyncio.Event()
        self._opened = 0

    def start(self, door: Door, name: str, lanes: int, leave_open: int = 0) -> None:
        """Begin lanes of sessions through one door; one more session of the first `leave_open` lanes stays open."""
        for lane in range(lanes):
            task = asyncio.create_task(
                self._lane(door, f"{name};{self._seed};{lane}", leave=lane < leave_open)
            )
            self._lanes.append(task)

    def start_events(self, door: Door, name: str, lanes: int) -> None:
        """Begin lanes of one-time events through one door: debits, most of which are refunded."""
        self._lanes += [
            asyncio.create_task(self._event_lane(door, f"{name};events;{lane}")) for lane in range(lanes)
        ]

    async def until(self, more: int) -> None:
        """Wait until so many more requests are acknowledged: faults strike at a count, never at a time."""
        goal = self.ledger.counts["acknowledged"] + more
        while self.ledger.counts["acknowledged"] < goal:
            self._answered.clear()
            answered = asyncio.ensure_future(self._answered.wait())
            done, _ = await asyncio.wait(
                (answered, *self._lanes), timeout=40, return_when=asyncio.FIRST_COMPLETED
            )
            if answered not in done:
                answered.cancel()
                assert done, f"traffic stands still at {self.ledger.counts}"
                raise RuntimeError("a lane has ended before its time") from next(iter(done)).exception()

    async def finish(self) -> None:
        """Let every session come to its end, every request to its answer."""
        self.ending = True
        await asyncio.gather(*self._lanes)

    async def charge(self, door: Door, request: Request) -> Answer:
        """Send one request until it is answered, and enter it."""
        counts, repeated = self.ledger.counts, False
        counts["sent"] += 1
        while (answer := await door(request, repeated)) is None or answer.code == TOO_BUSY:
            if answer is None:
                counts["unanswered"] += 1
                repeated = True
            else:
                counts["busy"] += 1
            await asyncio.sleep(0.02)
        self.ledger.take(request, answer)
        self._answered.set()
        return answer

    async def _lane(self, door: Door, name: str, *, leave: bool) -> None:
        while not self.ending:
            await self.session(door, name)
        if leave:
            await self.session(door, name, leave=True)

    async def _event_lane(self, door: Door, name: str) -> None:
        dice = self._random
        while not self.ending:
            self._opened += 1
            session, msisdn = f"{name};{self._opened}", dice.choice(self._msisdns)
            wish = (Reported(GROUPS[0], None, dice.randint(1, 4 * MIB)),)
            answer = await self.charge(door, Request(session, msisdn, EVENT, 0, wish, DIRECT_DEBITING))
            if answer.code == SUCCESS and dice.random() < _REFUNDED:
                all_of_it = (Reported(GROUPS[0], None, 0),)
                await self.charge(door, Request(session, msisdn, EVENT, 1, all_of_it, REFUND_ACCOUNT))

    async def session(self, door: Door, lane: str, *, leave: bool = False) -> None:
        """One session of a lane: initial, some updates, termination; one or two services."""
        dice = self._random
        self._opened += 1
        name = f"{lane};{self._opened}"
        msisdn = dice.choice(self._msisdns)
        groups = GROUPS[: dice.choice((1, 1, 2))]
        opening = tuple(Reported(group, None, dice.randint(1, 4) * MIB) for group in groups)
        answer = await self.charge(door, Request(name, msisdn, INITIAL, 0, opening))
        if answer.code == CREDIT_LIMIT:
            return
        number = 0
        for number in range(1, dice.randint(1, 4)):
            standing = self.ledger.sessions[name].standing
            reports = tuple(
                Reported(group, self._use(standing.get(group, 0)), dice.randint(1, 4 * MIB))
                for group in groups
            )
            await self.charge(door, Request(name, msisdn, UPDATE, number, reports))
        if leave:
            self.sessions_left_open += 1
            return
        standing = self.ledger.sessions[name].standing
        ends = tuple(Reported(group, self._use(standing.get(group, 0)), None) for group in groups)
        await self.charge(door, Request(name, msisdn, TERMINATION, number + 1, ends))

    def _use(self, granted: int) -> int:
        """What is used of a grant: all, nothing, or something."""
        return self._random.choice((granted, granted, 0, self._random.randint(0, granted)))
