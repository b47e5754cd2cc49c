"""What the server needs of a log; structlog's loggers are such, and the roof hands one in."""

from collections.abc import Callable
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


class SparingLog:
    """A log for what peers do: each event by itself is limited, and its next line tells how many were left unsaid."""

    __slots__ = ("_log", "_now_ms", "_sparings")

    def __init__(self, log: Log, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._now_ms = now_ms
        self._sparings: dict[str, Sparing] = {}  # by event: words of this code, so they are few

    def info(self, event: str, **facts: Any) -> None:
        """Tell what is normal."""
        self._tell(self._log.info, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Tell what somebody should look at."""
        self._tell(self._log.warning, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Tell what is broken."""
        self._tell(self._log.error, event, facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Tell what is broken, with the exception that is being handled."""
        self._tell(self._log.exception, event, facts)

    def _tell(self, write: Callable[..., Any], event: str, facts: dict[str, Any]) -> None:
        sparing = self._sparings.get(event)
        if sparing is None:
            sparing = self._sparings[event] = Sparing()
        if sparing.may(self._now_ms()):
            unsaid = sparing.unsaid()
            write(event, **facts, **({"unsaid": unsaid} if unsaid else {}))
