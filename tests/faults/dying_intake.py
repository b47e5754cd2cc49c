"""An intake that is killed at one of its steps: `python -m tests.faults.dying_intake STORE DATABASE ARCHIVE STEP NTH`.

It replaces what intake calls with the same thing that, at the nth time, ends the process by SIGKILL before or after it.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from ocs.clock import SystemClock
from ocs.sql import engine_of
from ocs.stream import Reader
from postpaid_bridge.jobs.intake import Intake, Settings
from postpaid_bridge.sql import intake, journal
from tests.bridge_scene import PARTITIONS, RULES
from tests.faults.dying_archiver import die
from tests.faults.judgement import room

STEPS: dict[str, tuple[Any, str, str]] = {
    "opened, nothing read": (Reader, "open", "after"),
    "read, nothing written": (intake, "take", "before"),
    "lines written, not posted": (journal, "post", "before"),
    "posted, no place noted": (journal, "post", "after"),
    "the place noted, not committed": (intake, "take", "after"),
    "committed, not acknowledged": (Reader, "acknowledge", "before"),
    "acknowledged": (Reader, "acknowledge", "after"),
    "before what is parked is tried again": (intake, "replay", "before"),
    "what was parked is taken, not committed": (intake, "replay", "after"),
}
"""Where it dies: the owner and name of what is called, and whether before the call or after it."""

SMALL = Settings(group="bridge", records_at_once=8, wait_s=0.05, wait_s_max=0.2, again_s=0.0)


def arm(step: tuple[Any, str, str], nth: int) -> None:
    """Die at the nth call of a step."""
    owner, name, when = step
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def is_last() -> bool:
        nonlocal calls
        calls += 1
        return calls == nth

    def dying(*arguments: Any, **options: Any) -> Any:
        last = is_last()
        if last and when == "before":
            die()
        result = real(*arguments, **options)
        if last and when == "after":
            die()
        return result

    async def dying_later(*arguments: Any) -> Any:
        last = is_last()
        if last and when == "before":
            die()
        result = await real(*arguments)
        if last and when == "after":
            die()
        return result

    setattr(owner, name, dying_later if asyncio.iscoroutinefunction(real) else dying)


async def take_in(store: str, engine: Engine, archive: Path, settings: Settings = SMALL) -> Intake:
    """Take in all that there is."""
    async with room(store, partitions=PARTITIONS) as at:
        made = Intake(engine, at.parts, archive, RULES, settings, SystemClock())
        await made.run(until_done=True)
        return made


if __name__ == "__main__":
    arm(STEPS[sys.argv[4]], int(sys.argv[5]))
    asyncio.run(take_in(sys.argv[1], engine_of(sys.argv[2]), Path(sys.argv[3])))
