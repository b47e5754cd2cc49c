"""A job that one of several servers has at a time, by a lease in the charging server's store."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ocs.balance.link import StoreFault
from ocs.notices.lease import Lease

__all__ = ["leased"]

_RENEW_S: Final = 2.0
Job = Callable[[], Awaitable[None]]


def leased(lease: Lease, job: Job) -> Job:
    """Make a job that runs while the lease is held, and waits for it while another has it.

    While the store is away nobody can take the lease, and the job goes on: it waits for the same store.
    """

    async def held_or_unknown() -> bool:
        try:
            return await lease.held()
        except StoreFault:
            return True

    async def run() -> None:
        while not await lease.held():  # noqa: ASYNC110 - another process gives it back
            await asyncio.sleep(_RENEW_S)
        task = asyncio.ensure_future(job())
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=_RENEW_S)
                if not task.done() and not await held_or_unknown():
                    break
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(StoreFault):
                await lease.give_back()

    async def again() -> None:
        while True:
            await run()

    return again
