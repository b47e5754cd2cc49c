"""Where time comes from: one small object handed down from the roof, so that tests and simulations can replace it."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of the two times that the floors below the roof need."""

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since 1970 (UTC), for records, expiry and prices."""
        ...

    def monotonic_ms(self) -> int:
        """Return milliseconds that never run backwards, for deadlines and watchdogs."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Return wall-clock milliseconds since 1970 (UTC)."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return the machine's monotonic milliseconds."""
        return time.monotonic_ns() // 1_000_000
