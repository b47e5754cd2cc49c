"""What the server needs of a log; structlog's loggers are such, and the roof hands one in."""

from typing import Any, Protocol

from ocs.limits import PEER_LINES_PER_S


class Log(Protocol):
    """One structured line an event; facts are never personal data."""

    def info(self, event: str, **facts: Any) -> Any:
        """Tell what is normal."""

    def warning(self, event: str, **facts: Any) -> Any:
        """Tell what somebody should look at."""

    def error(self, event: str, **facts: Any) -> Any:
        """Tell what is broken."""

    def exception(self, event: str, **facts: Any) -> Any:
        """Tell what is broken, with the exception that is being handled."""


class Sparing:
    """How many lines about what peers do wrong may be written: a stranger must not fill the disk."""

    __slots__ = ("_lines", "_since_ms", "_unsaid")

    def __init__(self) -> None:
        self._since_ms = 0
        self._lines = 0
        self._unsaid = 0

    def may(self, now_ms: int) -> bool:
        """Tell whether one more line may be written now; those that may not are counted."""
        if now_ms - self._since_ms >= 1_000:
            self._since_ms, self._lines = now_ms, 0
        self._lines += 1
        if self._lines > PEER_LINES_PER_S:
            self._unsaid += 1
            return False
        return True

    def unsaid(self) -> int:
        """Return how many lines were left out since the last one, and begin to count anew."""
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid
