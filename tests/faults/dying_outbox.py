"""A process that empties an outbox, and is killed at a step: python -m tests.faults.dying_outbox STORE DATABASE PARTITIONS STEP."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ocs.balance.actions import Actions
from ocs.sql import engine_of
from postpaid_bridge.jobs.book_places import BookPlaces
from postpaid_bridge.jobs.outbox import Outbox, Posting, Settings
from tests.faults.judgement import room

STEPS = ("taken", "claimed", "moved", "posted", "kept")
SETTINGS = Settings(at_once=1, lease_s=0.5, pause_s_max=0.1, every_s=0.01)


def _die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _dies_behind(owner: Any, name: str) -> None:
    """Let the process be killed right behind a method; a coroutine's, when it is done."""
    whole: Callable[..., Any] = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        found = whole(*arguments, **named)
        if not asyncio.iscoroutine(found):
            return _die()

        async def to_its_end() -> Any:
            await found
            return _die()

        return to_its_end()

    setattr(owner, name, dying)


async def _empty(store: str, database: str, partitions: int, step: str) -> None:
    match step:
        case "taken":
            _dies_behind(Outbox, "_take")
        case "claimed":
            _dies_behind(Actions, "_claimed")
        case "moved":
            _dies_behind(Actions, "_act")
        case "posted":
            _dies_behind(Actions, "do_again")
        case "kept":
            _dies_behind(Outbox, "_keep")
    engine = engine_of(database)
    async with room(store, partitions=partitions) as at:
        places, handlers = BookPlaces(engine, at.parts), {"post": Posting(at.accounts.actions, at.clock)}
        await Outbox(engine, places, handlers, SETTINGS, at.clock).once()


if __name__ == "__main__":
    asyncio.run(_empty(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
