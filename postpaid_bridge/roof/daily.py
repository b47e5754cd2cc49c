"""A job at a time of the day, in the operator's zone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ocs.clock import Clock

__all__ = ["daily", "next_ms"]

_LOOK_S: Final = 20.0


def next_ms(now_ms: int, at: time, zone: ZoneInfo) -> int:
    """Return the next instant after now at which it is that time of the day; a time that a change of clocks leaves out is when it would be."""
    day = datetime.fromtimestamp(now_ms / 1000, zone).date()
    found = _instant_ms(day, at, zone)
    return found if found > now_ms else _instant_ms(day + timedelta(days=1), at, zone)


def _instant_ms(day: date, at: time, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, at, zone).timestamp() * 1000)


def daily(at: time, zone: ZoneInfo, clock: Clock, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:  # fmt: skip
    """Make a job that does its work each day at a time; a clock that is set meanwhile is followed."""

    async def job() -> None:
        due_ms = next_ms(clock.now_ms(), at, zone)
        while True:
            now_ms = clock.now_ms()
            if now_ms >= due_ms:
                await work()
                due_ms = next_ms(clock.now_ms(), at, zone)
                continue
            due_ms = min(due_ms, next_ms(now_ms, at, zone))
            await asyncio.sleep(min(_LOOK_S, (due_ms - now_ms) / 1000))

    return job
