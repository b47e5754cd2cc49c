"""Empties the outbox to the charging server: restartable, and safe to kill anywhere and to run twice at once.

Laws
1. A row is done only after the store has said so; who dies in between asks again with the same id, and is told the same.
2. Rows of a book go out in the order of their ids, books beside each other.
3. A store that is away is waited for, longer after each try; what it refuses is kept with its reason, and holds nobody up (sql/outbox.py).
4. A kind that nobody here knows stays where it is, and is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ocs.balance.actions import Actions, Asked
from ocs.balance.link import StoreFault
from ocs.balance.parts import ScriptFault
from ocs.clock import Clock
from ocs.limits import ACTION_REASON_CHARS_MAX
from ocs.outcomes import Code
from ocs.records import ActionKind
from ocs.sql import writing
from postpaid_bridge.jobs.book_places import BookPlaces
from postpaid_bridge.outbox import CERTAIN_MS, CHANNEL, parts_of, pause_ms
from postpaid_bridge.sql import outbox
from postpaid_bridge.sql.outbox import Became, Row

__all__ = ["Handler", "NoAccount", "Outbox", "Posting", "Refused", "Settings", "Totals"]

log = structlog.get_logger(__name__)
_WHY = {
    Code.CONFLICT: "its id has other content in the charging server",
    Code.LIMIT: "it goes beyond the range of the store",
}


class Settings(NamedTuple):
    """How the outbox is emptied: books at once, how long one has a row, the longest pause, and the one between looks."""

    at_once: int = 64
    lease_s: float = 30.0
    pause_s_max: float = 300.0
    every_s: float = 1.0


class Refused(Exception):
    """A row that cannot be carried out; the message is for a human."""


class NoAccount(Refused):
    """There is no account of the row's book where it was looked for."""

    def __init__(self) -> None:
        super().__init__("the charging server has no such account")


Handler = Callable[[Row, int], Awaitable[None]]
"""Carries out one row at the partition of its book. Raises Refused, StoreFault."""


@dataclass(slots=True)
class Totals:
    """Totals since the job began, for metrics."""

    done: int = 0
    refused: int = 0
    failed: int = 0
    fault: str = ""
    """Why the last row failed that is to be tried again; "" where the last look found nothing wrong."""


class Posting:
    """Carries out rows of kind "post": adjustments that are due."""

    def __init__(self, actions: Actions, clock: Clock) -> None:
        self._actions = actions
        self._clock = clock

    async def __call__(self, row: Row, partition: int) -> None:
        """Post one row."""
        certain = self._clock.now_ms() - row.begun_ms < CERTAIN_MS
        for action_id, micros in parts_of(row.key, row.amount_micros):
            if not certain:
                await self._is_known(action_id)
                continue
            asked = Asked(
                ActionKind.ADJUST, CHANNEL, action_id, partition, row.book, micros, is_due=True,
                reason=row.text[:ACTION_REASON_CHARS_MAX],
            )  # fmt: skip
            done = await self._actions.do_again(asked)
            if done.code == Code.UNKNOWN_SUBSCRIBER:
                raise NoAccount
            if done.code != Code.SUCCESS:
                raise Refused(_WHY.get(done.code, f"the charging server says {done.code.name.lower()}"))

    async def _is_known(self, action_id: str) -> None:
        """See that what was begun too long ago to be asked again is done; raises Refused where nobody can tell."""
        found = await self._actions.find(CHANNEL, action_id)
        if found is None or found.code != Code.SUCCESS or not found.done_ms:
            raise Refused(
                "begun more than 30 days ago, and not known to be done: compare the account with the journal"
            )


class Outbox:
    """The outbox of one bridge; several may run, also in several processes."""

    def __init__(
        self,
        engine: Engine,
        places: BookPlaces,
        handlers: Mapping[str, Handler],
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._places = places
        self._handlers = handlers
        self._settings = settings
        self._clock = clock
        self._stopped = asyncio.Event()
        self._away = ""
        self._unknown: set[str] = set()
        self.totals = Totals()

    def stop(self) -> None:
        """Let ``run`` end behind the rows that it is at."""
        self._stopped.set()

    async def run(self) -> None:
        """Empty the outbox until it is stopped. Raises what is no fault of the store or the database."""
        tries = 0
        while not self._stopped.is_set():
            try:
                moved = await self.once()
            except (StoreFault, DBAPIError) as fault:
                moved, self._away = 0, _told(fault)
                log.warning("outbox.waiting", fault=self._away)
            self.totals.fault = self._away
            tries = tries + 1 if self._away else 0
            if tries:
                await self._sleep(pause_ms(tries, int(self._settings.pause_s_max * 1000)) / 1000)
            elif not moved:
                await self._sleep(self._settings.every_s)

    async def once(self) -> int:
        """Make one pass over what is due; how many rows were done. Raises StoreFault where books cannot be found, DBAPIError."""
        self._away = ""
        taken = await asyncio.to_thread(self._take)
        if not taken:
            return 0
        room = asyncio.Semaphore(self._settings.at_once)
        try:
            places = await self._places.find(taken)
            found = await asyncio.gather(*(self._book(rows, places, room) for rows in taken.values()))
        except StoreFault:
            await asyncio.to_thread(self._keep, [], [row.id for rows in taken.values() for row in rows])
            raise
        results = [each for of_book in found for each in of_book]
        begun = {each.id for each in results}
        left = [row.id for rows in taken.values() for row in rows if row.id not in begun]
        await asyncio.to_thread(self._keep, results, left)
        return self._count(results)

    # -- steps

    def _take(self) -> dict[str, list[Row]]:
        now_ms, settings = self._clock.now_ms(), self._settings
        with writing(self._engine) as work:
            return outbox.take(work, now_ms, now_ms + int(settings.lease_s * 1000), settings.at_once * 8)

    def _keep(self, results: list[Became], left: list[int]) -> None:
        with writing(self._engine) as work:
            outbox.became(work, results, self._clock.now_ms())
            outbox.give_back(work, left)

    async def _book(
        self, rows: list[Row], places: Mapping[str, int], room: asyncio.Semaphore
    ) -> list[Became]:
        """Carry out the rows of one book in their order, up to the first that fails."""
        results: list[Became] = []
        async with room:
            for row in rows:
                if self._away or self._stopped.is_set():
                    break
                one = await self._one(row, places.get(row.book))
                if one is None:
                    break
                results.append(one)
                if one.due_ms:
                    break
        return results

    async def _one(self, row: Row, partition: int | None) -> Became | None:
        handler = self._handlers.get(row.kind)
        if handler is None:
            if row.kind not in self._unknown:
                self._unknown.add(row.kind)
                log.error("outbox.unknown_kind", kind=row.kind, row=row.id)
            due_ms = self._clock.now_ms() + int(self._settings.pause_s_max * 1000)
            return Became(row.id, fault=f"nobody here knows the kind {row.kind}", due_ms=due_ms)
        try:
            await self._carried_out(handler, row, partition)
        except (Refused, ValueError) as fault:
            why = str(fault) if isinstance(fault, Refused) else f"it cannot be asked for: {fault}"
            log.error("outbox.refused", row=row.id, book=row.book, why=why)  # noqa: TRY400 - a refusal has no trace
            return Became(row.id, fault=why)
        except StoreFault as fault:
            if not isinstance(fault, ScriptFault):  # that one is of this row alone
                self._away = _told(fault)
            wait_ms = pause_ms(row.tries + 1, int(self._settings.pause_s_max * 1000))
            return Became(row.id, fault=_told(fault), due_ms=self._clock.now_ms() + wait_ms)
        return Became(row.id, done=True)

    async def _carried_out(self, handler: Handler, row: Row, partition: int | None) -> None:
        """Carry out a row where its book is; one that is not where it was is looked for again."""
        if partition is not None:
            try:
                await handler(row, partition)
            except NoAccount:
                pass
            else:
                return
        found = (await self._places.find([row.book], anew=True)).get(row.book)
        if found is None or found == partition:
            raise NoAccount
        await handler(row, found)

    def _count(self, results: list[Became]) -> int:
        done = sum(each.done for each in results)
        self.totals.done += done
        self.totals.failed += sum(bool(each.due_ms) for each in results)
        self.totals.refused += sum(not each.done and not each.due_ms for each in results)
        return done

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return


def _told(fault: Exception) -> str:
    """Say what is away, without a statement and its values."""
    return (str(fault.orig if isinstance(fault, DBAPIError) else fault).strip() or type(fault).__name__)[:200]
