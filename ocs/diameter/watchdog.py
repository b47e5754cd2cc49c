"""The watchdog of RFC 3539 section 3.4.1 as a table: is the peer's transport alive?

Laws
1. Time and jitter are arguments; this room has no clock.
2. The timer is one number. Traffic in OKAY only moves `heard_ms`, so that a busy connection pays nothing for it.
3. Any message is a sign of life; only a DWA clears Pending.
4. A DWA is taken by its command alone: a peer that bungles its identifiers is alive all the same.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

JITTER_MS_MAX: Final = 2_000
"""Jitter on either side of Tw (RFC 3539 section 3.4.1, [1]); of a shorter Tw at most a third, so that it stays a pause."""


class WatchdogState(Enum):
    """What is thought of the transport (RFC 3539 section 3.4.1)."""

    INITIAL = "INITIAL"
    OKAY = "OKAY"
    SUSPECT = "SUSPECT"
    DOWN = "DOWN"
    REOPEN = "REOPEN"


class WatchdogEvent(Enum):
    """What the table's rows wait for; conditions of the RFC are part of the event."""

    DWA = "Receive DWA"
    DWA_SECOND = "Receive DWA, NumDWA < 2"
    DWA_THIRD = "Receive DWA, NumDWA == 2"
    NON_DWA = "Receive non-DWA"
    TIMER = "Timer expires"
    TIMER_FREE = "Timer expires, not Pending"
    TIMER_PENDING = "Timer expires, Pending"
    TIMER_PENDING_DWA = "Timer expires, Pending, NumDWA >= 0"
    TIMER_PENDING_NONE = "Timer expires, Pending, NumDWA < 0"
    UP = "Connection up"
    DOWN = "Connection down"


class WatchdogAction(Enum):
    """What a row does. SEND, FAILOVER, FAILBACK, CLOSE, OPEN and THROWAWAY are handed to the caller."""

    PENDING = "Pending = TRUE"
    FREE = "Pending = FALSE"
    SET = "SetWatchdog()"
    COUNT = "NumDWA++"
    COUNT_ZERO = "NumDWA = 0"
    COUNT_NEGATIVE = "NumDWA = -1"
    SEND = "SendWatchdog()"
    FAILOVER = "Failover()"
    FAILBACK = "Failback()"
    CLOSE = "CloseConnection()"
    OPEN = "AttemptOpen()"
    THROWAWAY = "Throwaway()"


class WatchdogRow(NamedTuple):
    """One line of the table."""

    state: WatchdogState
    event: WatchdogEvent
    actions: tuple[WatchdogAction, ...]
    next_state: WatchdogState


_S, _E, _A = WatchdogState, WatchdogEvent, WatchdogAction

ROWS: Final[tuple[WatchdogRow, ...]] = (
    WatchdogRow(_S.OKAY, _E.DWA, (_A.FREE, _A.SET), _S.OKAY),
    WatchdogRow(_S.OKAY, _E.NON_DWA, (_A.SET,), _S.OKAY),
    WatchdogRow(_S.SUSPECT, _E.DWA, (_A.FREE, _A.FAILBACK, _A.SET), _S.OKAY),
    WatchdogRow(_S.SUSPECT, _E.NON_DWA, (_A.FAILBACK, _A.SET), _S.OKAY),
    WatchdogRow(_S.REOPEN, _E.DWA_THIRD, (_A.FREE, _A.COUNT, _A.FAILBACK), _S.OKAY),
    WatchdogRow(_S.REOPEN, _E.DWA_SECOND, (_A.FREE, _A.COUNT), _S.REOPEN),
    WatchdogRow(_S.REOPEN, _E.NON_DWA, (_A.THROWAWAY,), _S.REOPEN),
    WatchdogRow(_S.INITIAL, _E.DWA, (_A.FREE, _A.THROWAWAY), _S.INITIAL),
    WatchdogRow(_S.INITIAL, _E.NON_DWA, (_A.THROWAWAY,), _S.INITIAL),
    WatchdogRow(_S.DOWN, _E.DWA, (_A.FREE, _A.THROWAWAY), _S.DOWN),
    WatchdogRow(_S.DOWN, _E.NON_DWA, (_A.THROWAWAY,), _S.DOWN),
    WatchdogRow(_S.OKAY, _E.TIMER_FREE, (_A.SEND, _A.SET, _A.PENDING), _S.OKAY),
    WatchdogRow(_S.OKAY, _E.TIMER_PENDING, (_A.FAILOVER, _A.SET), _S.SUSPECT),
    WatchdogRow(_S.SUSPECT, _E.TIMER, (_A.CLOSE, _A.SET), _S.DOWN),
    WatchdogRow(_S.INITIAL, _E.TIMER, (_A.OPEN, _A.SET), _S.INITIAL),
    WatchdogRow(_S.DOWN, _E.TIMER, (_A.OPEN, _A.SET), _S.DOWN),
    WatchdogRow(_S.REOPEN, _E.TIMER_FREE, (_A.SEND, _A.SET, _A.PENDING), _S.REOPEN),
    WatchdogRow(_S.REOPEN, _E.TIMER_PENDING_DWA, (_A.COUNT_NEGATIVE, _A.SET), _S.REOPEN),
    WatchdogRow(_S.REOPEN, _E.TIMER_PENDING_NONE, (_A.CLOSE, _A.SET), _S.DOWN),
    WatchdogRow(_S.INITIAL, _E.UP, (_A.SET,), _S.OKAY),
    WatchdogRow(_S.DOWN, _E.UP, (_A.COUNT_ZERO, _A.SEND, _A.SET, _A.PENDING), _S.REOPEN),
    WatchdogRow(_S.OKAY, _E.DOWN, (_A.CLOSE, _A.FAILOVER, _A.SET), _S.DOWN),
    WatchdogRow(_S.SUSPECT, _E.DOWN, (_A.CLOSE, _A.SET), _S.DOWN),
    WatchdogRow(_S.REOPEN, _E.DOWN, (_A.CLOSE, _A.SET), _S.DOWN),
)
"""Every line, in the RFC's order."""

TABLE: Final[dict[tuple[WatchdogState, WatchdogEvent], WatchdogRow]] = {
    (row.state, row.event): row for row in ROWS
}
"""The lines by state and event."""


class Watchdog:
    """The watchdog of one peer. It may outlive a connection: handed to the next one, it goes DOWN -> REOPEN -> OKAY.

    Every verb returns the actions that the caller has to carry out, in order.
    """

    __slots__ = (
        "_interval_ms",
        "_jitter_ms",
        "_numdwa",
        "_pending",
        "_set_ms",
        "_tw_ms",
        "heard_ms",
        "state",
    )

    def __init__(self, tw_ms: int, now_ms: int, jitter_ms: Callable[[], int]) -> None:
        """Start in INITIAL. `jitter_ms` is asked at every SetWatchdog() and answers -2000 to 2000."""
        assert tw_ms > 0, "the watchdog's interval is a positive number of milliseconds"
        self._tw_ms = tw_ms
        self._jitter_ms = jitter_ms
        self._pending = False
        self._numdwa = 0
        self.state = WatchdogState.INITIAL
        self.heard_ms = now_ms
        self._set_ms = now_ms
        self._interval_ms = tw_ms
        self._set(now_ms)

    @property
    def due_ms(self) -> int:
        """The moment at which the timer expires unless something is heard before."""
        return max(self._set_ms, self.heard_ms) + self._interval_ms

    @property
    def pending(self) -> bool:
        """Whether a DWR of ours waits for its DWA."""
        return self._pending

    def up(self, now_ms: int) -> tuple[WatchdogAction, ...]:
        """Take note that capabilities were exchanged on a connection."""
        return self._step(WatchdogEvent.UP, now_ms)

    def down(self, now_ms: int) -> tuple[WatchdogAction, ...]:
        """Take note that the connection is gone."""
        return self._step(WatchdogEvent.DOWN, now_ms)

    def message(self, now_ms: int, *, dwa: bool = False) -> tuple[WatchdogAction, ...]:
        """Take note of a message from the peer. In OKAY, `heard_ms = now_ms` does the same for a message other than DWA."""
        if not dwa:
            return self._step(WatchdogEvent.NON_DWA, now_ms)
        if self.state is not WatchdogState.REOPEN:
            return self._step(WatchdogEvent.DWA, now_ms)
        return self._step(WatchdogEvent.DWA_THIRD if self._numdwa == 2 else WatchdogEvent.DWA_SECOND, now_ms)

    def tick(self, now_ms: int) -> tuple[WatchdogAction, ...]:
        """Let time pass: one row when the timer has expired by `now_ms`, nothing otherwise."""
        if now_ms < self.due_ms:
            return ()
        if self.state in {WatchdogState.OKAY, WatchdogState.REOPEN} and not self._pending:
            return self._step(WatchdogEvent.TIMER_FREE, now_ms)
        if self.state is WatchdogState.OKAY:
            return self._step(WatchdogEvent.TIMER_PENDING, now_ms)
        if self.state is WatchdogState.REOPEN:
            none = self._numdwa < 0
            return self._step(
                WatchdogEvent.TIMER_PENDING_NONE if none else WatchdogEvent.TIMER_PENDING_DWA, now_ms
            )
        return self._step(WatchdogEvent.TIMER, now_ms)

    def _step(self, event: WatchdogEvent, now_ms: int) -> tuple[WatchdogAction, ...]:
        row = TABLE.get((self.state, event))
        if row is None:
            return ()
        self.state = row.next_state
        for action in row.actions:
            if action is WatchdogAction.SET:
                self._set(now_ms)
            elif action is WatchdogAction.PENDING:
                self._pending = True
            elif action is WatchdogAction.FREE:
                self._pending = False
            elif action is WatchdogAction.COUNT:
                self._numdwa += 1
            elif action is WatchdogAction.COUNT_ZERO:
                self._numdwa = 0
            elif action is WatchdogAction.COUNT_NEGATIVE:
                self._numdwa = -1
        return tuple(action for action in row.actions if action in FOR_CALLER)

    def _set(self, now_ms: int) -> None:
        bound_ms = min(JITTER_MS_MAX, self._tw_ms // 3)
        self._set_ms = now_ms
        self._interval_ms = self._tw_ms + max(-bound_ms, min(bound_ms, self._jitter_ms()))


FOR_CALLER: Final = frozenset(
    (
        WatchdogAction.SEND,
        WatchdogAction.FAILOVER,
        WatchdogAction.FAILBACK,
        WatchdogAction.CLOSE,
        WatchdogAction.OPEN,
        WatchdogAction.THROWAWAY,
    )
)
"""Actions that touch the connection or the sessions on it; the rest is the watchdog's own memory."""
