"""An archiver that is killed at one of its steps: `python -m tests.faults.dying_archiver URL FOLDER STEP NTH`.

It replaces what the archiver calls with the same thing that, at the nth time, ends the process by SIGKILL before or
after it; nothing is caught, flushed or closed.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocs.balance import archive
from ocs.balance.archive import Archiver
from tests.faults.judgement import room

STEPS = {
    "read, nothing written": (Archiver, "_write", "before"),
    "a member written, not synced": (os, "fsync", "before"),
    "a member synced, not noted": (os, "fsync", "after"),
    "all members written, not noted": (archive, "write_places", "before"),
    "the note drafted, not renamed": (Path, "rename", "before"),
    "the note renamed, nothing trimmed": (Path, "rename", "after"),
    "one partition trimmed": (Archiver, "_trim", "after"),
}
"""Where it dies: the owner and name of what is called, and whether before the call or after it."""


def arm(step: str, nth: int) -> None:
    """Die at the nth call of the step, counted from the first batch on: opening the folder syncs and renames too."""
    if STEPS[step][0] is Archiver:
        _replace(step, nth)
        return
    write = Archiver._write

    def armed(archiver: Archiver, ripe: Any) -> None:
        _replace(step, nth)
        write(archiver, ripe)

    setattr(Archiver, "_write", armed)  # noqa: B010 - mypy does not let a method be assigned


def _replace(step: str, nth: int) -> None:
    owner, name, when = STEPS[step]
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def begun(arguments: tuple[Any, ...]) -> bool:
        nonlocal calls
        calls += name != "fsync" or str(Path(f"/proc/self/fd/{arguments[0]}").readlink()).endswith(".rec.gz")
        return calls == nth

    def dying(*arguments: Any, **options: Any) -> Any:
        last = begun(arguments)
        if last and when == "before":
            die()
        result = real(*arguments, **options)
        if last and when == "after":
            die()
        return result

    async def dying_later(*arguments: Any) -> Any:
        last = begun(arguments)
        result = await real(*arguments)
        if last:
            die()
        return result

    setattr(owner, name, dying_later if asyncio.iscoroutinefunction(real) else dying)


def die() -> None:
    """End at once."""
    os.kill(os.getpid(), signal.SIGKILL)


async def _archive(url: str, folder: Path) -> None:
    async with room(url) as at:
        archiver = Archiver(at.parts, folder, at.clock)
        await archiver.open()
        await archiver.once(everything=True)
        archiver.close()


if __name__ == "__main__":
    arm(sys.argv[3], int(sys.argv[4]))
    asyncio.run(_archive(sys.argv[1], Path(sys.argv[2])))
