"""Signals that end the server: asked once, it ends in order; asked again meanwhile, it goes on ending.

Laws
1. From the top of `serve` to the end of the process no signal that asks for an end kills us: the store would be orphaned.
2. A handler only notes. Nothing is interrupted half-way (a store just being started); who waits looks at `check`.
3. A hang-up (SIGHUP) ends us where there is a terminal that can hang up. A service has none: there, once it serves, it is the
   request for a rolling restart that such a signal is in the field.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

NUMBERS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class AskedToEnd(Exception):
    """The server was asked to end before it served."""


class Ending:
    """Whether we were asked to end; install it before anything is started that has to be stopped."""

    def __init__(self) -> None:
        self.asked = False
        self._stop: Callable[[], None] | None = None
        self._hangup: Callable[[], None] | None = None
        self._before: dict[signal.Signals, signal.Handlers | Callable[[int, FrameType | None], object]] = {}

    def __enter__(self) -> Self:
        for number in NUMBERS:
            before = signal.getsignal(number)
            if number is signal.SIGHUP and before is signal.SIG_IGN:
                continue  # nohup: whoever started us wants us to outlive the terminal
            self._before[number] = before if callable(before) else signal.SIG_DFL
            signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            # ignored, not put back: the interpreter's own end takes a while, and is still a part of ours
            signal.signal(number, signal.SIG_IGN if self.asked else before)

    def check(self) -> None:
        """Raise AskedToEnd when we were asked."""
        if self.asked:
            raise AskedToEnd

    def then(self, stop: Callable[[], None]) -> None:
        """Call this when we are asked, and now when we were."""
        self._stop = stop
        if self.asked:
            stop()

    def on_hangup(self, do: Callable[[], None]) -> None:
        """Call this at a hang-up, from now on, instead of ending (law 3)."""
        if not _has_terminal():
            self._hangup = do

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._hangup is not None and not self.asked:
            self._hangup()
            return
        self.asked = True
        if self._stop is not None:
            self._stop()


def _has_terminal() -> bool:
    """Tell whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
