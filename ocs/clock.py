"""Where time comes from: one small object handed down from the roof, so that tests and simulations can replace it; and how it is written."""

import time
from datetime import UTC, datetime
from typing import Literal, Protocol


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


def instant(at_ms: int, to: Literal["seconds", "milliseconds", "auto"] = "seconds") -> str:
    """Write milliseconds since 1970 as a time of RFC 3339 in UTC: "auto" has milliseconds only where there are some."""
    whole_s, rest_ms = divmod(at_ms, 1000)
    if to == "auto":
        to = "milliseconds" if rest_ms else "seconds"
    found = datetime.fromtimestamp(whole_s, UTC).replace(microsecond=rest_ms * 1000)
    return found.isoformat(timespec=to).removesuffix("+00:00") + "Z"
