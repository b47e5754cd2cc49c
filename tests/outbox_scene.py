"""Entries that move books, and the outbox that carries them to a real store, for tests."""

from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Engine, func, select

from ocs.balance.actions import Actions, Asked, Done
from ocs.clock import Clock
from ocs.sql import reading, writing
from postpaid_bridge.jobs.book_places import BookPlaces
from postpaid_bridge.jobs.outbox import Outbox, Posting, Settings
from postpaid_bridge.journal import IN_BOOK, Entry, Ledger, posting
from postpaid_bridge.sql.journal import outbox, post, postings
from tests.bridge_scene import Life

DAY = date(2026, 11, 28)
QUICK = Settings(at_once=8, lease_s=0.4, pause_s_max=0.1, every_s=0.01)
SIDES = {
    "rent": (Ledger.UNBILLED, Ledger.REVENUE),
    "tax": (Ledger.RECEIVABLE, Ledger.TAX),
    "payment": (Ledger.CASH, Ledger.RECEIVABLE),
    "charge-back": (Ledger.RECEIVABLE, Ledger.CASH),
    "credit": (Ledger.REVENUE, Ledger.UNBILLED),
    "write-off": (Ledger.BAD_DEBT, Ledger.RECEIVABLE),
    "billed": (Ledger.RECEIVABLE, Ledger.UNBILLED),
}


def entry(kind: str, key: str, book: str, micros: int, at_ms: int = 1) -> Entry:
    """One event that moves a book."""
    debit, credit = SIDES[kind]
    return Entry(key, kind, 1, DAY, at_ms, posting(debit, credit, micros, book), text=f"{kind} {key}")


def booked(database: Engine, *made: Entry) -> None:
    """Post entries, of billing account 1."""
    with writing(database) as work:
        post(work, made)


def held(database: Engine, book: str) -> int:
    """Unbilled and receivable of a book."""
    found = 0
    with reading(database) as look:
        for side, sign in ((postings.c.debit, 1), (postings.c.credit, -1)):
            of = (postings.c.book == book, side.in_(IN_BOOK))
            found += sign * int(
                look.execute(select(func.sum(postings.c.amount_micros)).where(*of)).scalar() or 0
            )
    return found


def rows(database: Engine) -> list[Any]:
    """All rows of the outbox, in their order."""
    with reading(database) as look:
        return list(look.execute(select(outbox).order_by(outbox.c.id)))


def box_of(
    database: Engine,
    life: Life,
    settings: Settings = QUICK,
    actions: Actions | Any = None,
    clock: Clock | None = None,
) -> Outbox:
    """An outbox on a life's store."""
    clock = clock or life.charged.clock
    return Outbox(
        database,
        BookPlaces(database, life.charged.parts),
        {"post": Posting(actions or life.actions, clock)},
        settings,
        clock,
    )


class Listening:
    """Actions that are noted on their way, and may be stopped."""

    def __init__(self, actions: Actions, before: Callable[[Asked], None] = lambda _: None) -> None:
        self._actions = actions
        self._before = before
        self.asked: list[Asked] = []

    async def do_again(self, asked: Asked) -> Done:
        """Note it, and do it."""
        self._before(asked)
        self.asked.append(asked)
        return await self._actions.do_again(asked)

    async def find(self, channel: str, action_id: str) -> Any:
        """Look as ever."""
        return await self._actions.find(channel, action_id)
