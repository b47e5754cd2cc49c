"""A process that serves HTTP and runs jobs by itself, beside the charging server: the bridge, customer care.

Laws
1. It listens before it says that it is ready, and what is asked until then waits.
2. It ends in order: HTTP first, with what is under way, then the jobs, each where it is (``ending_well``), then what they work with.
3. A job that fails is told, counted and started again after a pause; it takes nothing else along.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from ocs.server.acceptor import listen
from ocs.server.channel import StartFault
from ocs.server.counters import Counters
from ocs.server.keeper import STOP_S, Job, KeeperParts, http, running

__all__ = ["Job", "KeeperParts", "StartFault", "Stoppable", "ending_well", "listen", "serve_alone", "told_of"]


class Stoppable(Protocol):
    """A job that ends by itself when it is told to."""

    def stop(self) -> None:
        """Let ``run`` end where it is."""


def ending_well(build: Callable[[], tuple[Stoppable, Awaitable[object]]]) -> Job:
    """Make a job that is told to stop when it is cancelled, and waited for a few seconds; ``build`` makes it anew for each start."""

    async def job() -> None:
        stoppable, work = build()
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            stoppable.stop()
            await asyncio.wait((task,), timeout=STOP_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    return job


def told_of(name: str, job: Job, failing: dict[str, str]) -> Job:
    """Note in ``failing`` why a job failed, as long as it has not run for a while since."""

    async def noted() -> None:
        try:
            await job()
        except Exception as fault:
            failing[name] = f"{type(fault).__name__}: {fault}"[:200]
            raise

    return noted


async def serve_alone(
    parts: KeeperParts, doors: list[socket.socket], stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until ``stop`` is set; closes what the jobs work with at its end."""
    os.nice(parts.nice)
    try:
        async with running(parts.jobs, parts.log, Counters()), http(parts, doors) as serving:
            ready()
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
    finally:
        await parts.close()
        for door in doors:
            door.close()
