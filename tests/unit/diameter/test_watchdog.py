"""The watchdog table against RFC 3539 section 3.4.1, and the clockwork around it."""

from itertools import product

import pytest

from ocs.diameter.watchdog import (
    FOR_CALLER,
    ROWS,
    TABLE,
    Watchdog,
    WatchdogAction,
    WatchdogEvent,
    WatchdogState,
)

TW_MS = 30_000
SEND, FAILOVER, FAILBACK = WatchdogAction.SEND, WatchdogAction.FAILOVER, WatchdogAction.FAILBACK
CLOSE, OPEN, THROWAWAY = WatchdogAction.CLOSE, WatchdogAction.OPEN, WatchdogAction.THROWAWAY

# Written down from RFC 3539 section 3.4.1, independently of the table.
RFC = """
OKAY | Receive DWA | Pending = FALSE, SetWatchdog() | OKAY
OKAY | Receive non-DWA | SetWatchdog() | OKAY
SUSPECT | Receive DWA | Pending = FALSE, Failback(), SetWatchdog() | OKAY
SUSPECT | Receive non-DWA | Failback(), SetWatchdog() | OKAY
REOPEN | Receive DWA, NumDWA == 2 | Pending = FALSE, NumDWA++, Failback() | OKAY
REOPEN | Receive DWA, NumDWA < 2 | Pending = FALSE, NumDWA++ | REOPEN
REOPEN | Receive non-DWA | Throwaway() | REOPEN
INITIAL | Receive DWA | Pending = FALSE, Throwaway() | INITIAL
INITIAL | Receive non-DWA | Throwaway() | INITIAL
DOWN | Receive DWA | Pending = FALSE, Throwaway() | DOWN
DOWN | Receive non-DWA | Throwaway() | DOWN
OKAY | Timer expires, not Pending | SendWatchdog(), SetWatchdog(), Pending = TRUE | OKAY
OKAY | Timer expires, Pending | Failover(), SetWatchdog() | SUSPECT
SUSPECT | Timer expires | CloseConnection(), SetWatchdog() | DOWN
INITIAL | Timer expires | AttemptOpen(), SetWatchdog() | INITIAL
DOWN | Timer expires | AttemptOpen(), SetWatchdog() | DOWN
REOPEN | Timer expires, not Pending | SendWatchdog(), SetWatchdog(), Pending = TRUE | REOPEN
REOPEN | Timer expires, Pending, NumDWA >= 0 | NumDWA = -1, SetWatchdog() | REOPEN
REOPEN | Timer expires, Pending, NumDWA < 0 | CloseConnection(), SetWatchdog() | DOWN
INITIAL | Connection up | SetWatchdog() | OKAY
DOWN | Connection up | NumDWA = 0, SendWatchdog(), SetWatchdog(), Pending = TRUE | REOPEN
OKAY | Connection down | CloseConnection(), Failover(), SetWatchdog() | DOWN
SUSPECT | Connection down | CloseConnection(), SetWatchdog() | DOWN
REOPEN | Connection down | CloseConnection(), SetWatchdog() | DOWN
"""


def rfc_rows() -> dict[tuple[WatchdogState, WatchdogEvent], tuple[tuple[WatchdogAction, ...], WatchdogState]]:
    rows = {}
    for line in RFC.strip().splitlines():
        state, event, actions, next_state = (cell.strip() for cell in line.split("|"))
        does = tuple(WatchdogAction(name.strip()) for name in actions.split(", "))
        rows[WatchdogState(state), WatchdogEvent(event)] = (does, WatchdogState(next_state))
    return rows


@pytest.mark.parametrize(
    "pair", list(product(WatchdogState, WatchdogEvent)), ids=lambda pair: f"{pair[0].value}-{pair[1].value}"
)
def test_every_pair_of_state_and_event_is_the_rfcs_row(pair: tuple[WatchdogState, WatchdogEvent]) -> None:
    row = TABLE.get(pair)
    found = None if row is None else (row.actions, row.next_state)
    assert found == rfc_rows().get(pair)


def test_no_pair_has_two_rows() -> None:
    assert len(TABLE) == len(ROWS)


def state(watchdog: Watchdog) -> WatchdogState:
    """Ask anew: a type checker believes that what was asserted once stays so."""
    return watchdog.state


def still() -> int:
    return 0


def okay(now_ms: int = 0) -> Watchdog:
    watchdog = Watchdog(TW_MS, now_ms, still)
    assert watchdog.up(now_ms) == ()
    return watchdog


def reopen() -> Watchdog:
    watchdog = okay()
    watchdog.down(0)
    assert watchdog.up(0) == (SEND,)
    assert state(watchdog) is WatchdogState.REOPEN
    return watchdog


def test_the_caller_is_handed_no_action_that_is_the_watchdogs_own() -> None:
    watchdog = okay()
    handed = set(watchdog.tick(TW_MS) + watchdog.tick(2 * TW_MS) + watchdog.message(2 * TW_MS, dwa=True))
    assert handed == {SEND, FAILOVER, FAILBACK}
    assert handed < FOR_CALLER


def test_silence_is_asked_about_then_suspected_then_closed() -> None:
    watchdog = okay()
    assert watchdog.tick(TW_MS - 1) == ()
    assert watchdog.tick(TW_MS) == (SEND,)
    assert watchdog.pending
    assert watchdog.tick(2 * TW_MS - 1) == ()
    assert watchdog.tick(2 * TW_MS) == (FAILOVER,)
    assert state(watchdog) is WatchdogState.SUSPECT
    assert watchdog.tick(3 * TW_MS) == (CLOSE,)
    assert state(watchdog) is WatchdogState.DOWN


def test_traffic_keeps_a_watchdog_quiet_by_a_single_store() -> None:
    watchdog = okay()
    for now_ms in range(0, 10 * TW_MS, TW_MS // 2):
        watchdog.heard_ms = now_ms
        assert watchdog.tick(now_ms + TW_MS - 1) == ()
    assert watchdog.due_ms == watchdog.heard_ms + TW_MS


def test_a_dwa_answers_the_question_and_the_next_silence_is_asked_about_again() -> None:
    watchdog = okay()
    assert watchdog.tick(TW_MS) == (SEND,)
    assert watchdog.message(TW_MS + 5, dwa=True) == ()
    assert not watchdog.pending
    assert watchdog.tick(2 * TW_MS + 5) == (SEND,)


def test_any_message_clears_a_suspicion_but_only_a_dwa_clears_the_question() -> None:
    watchdog = okay()
    watchdog.tick(TW_MS)
    watchdog.tick(2 * TW_MS)
    assert watchdog.message(2 * TW_MS + 1) == (FAILBACK,)
    assert state(watchdog) is WatchdogState.OKAY
    assert watchdog.pending
    assert watchdog.message(2 * TW_MS + 2, dwa=True) == ()
    assert not watchdog.pending


def test_a_connection_that_came_back_has_to_answer_three_times() -> None:
    watchdog = reopen()
    assert watchdog.message(1, dwa=True) == ()
    assert watchdog.tick(TW_MS) == (SEND,)
    assert watchdog.message(TW_MS + 1, dwa=True) == ()
    assert state(watchdog) is WatchdogState.REOPEN
    assert watchdog.tick(2 * TW_MS) == (SEND,)
    assert watchdog.message(2 * TW_MS + 1, dwa=True) == (FAILBACK,)
    assert state(watchdog) is WatchdogState.OKAY


def test_a_connection_that_came_back_and_says_other_things_is_not_believed() -> None:
    watchdog = reopen()
    assert watchdog.message(1) == (THROWAWAY,)
    assert state(watchdog) is WatchdogState.REOPEN


def test_a_connection_that_came_back_and_stays_silent_is_closed_after_two_more_periods() -> None:
    watchdog = reopen()
    assert watchdog.tick(TW_MS) == ()
    assert state(watchdog) is WatchdogState.REOPEN
    assert watchdog.tick(2 * TW_MS) == (CLOSE,)
    assert state(watchdog) is WatchdogState.DOWN


def test_a_watchdog_that_is_down_asks_for_a_new_connection_every_period() -> None:
    watchdog = okay()
    assert watchdog.down(0) == (CLOSE, FAILOVER)
    assert watchdog.tick(TW_MS) == (OPEN,)
    assert watchdog.tick(TW_MS + 1) == ()
    assert watchdog.tick(2 * TW_MS) == (OPEN,)


def test_a_loss_is_reported_once() -> None:
    watchdog = okay()
    watchdog.tick(TW_MS)
    watchdog.tick(2 * TW_MS)
    assert watchdog.down(2 * TW_MS) == (CLOSE,), "a suspected peer has failed over already"
    assert watchdog.down(2 * TW_MS) == ()


@pytest.mark.parametrize(
    ("asked_ms", "due_ms"), [(0, 30_000), (2_000, 32_000), (-2_000, 28_000), (9_999, 32_000)]
)
def test_jitter_moves_the_timer_by_at_most_two_seconds(asked_ms: int, due_ms: int) -> None:
    watchdog = Watchdog(TW_MS, 0, lambda: asked_ms)
    watchdog.up(0)
    assert watchdog.due_ms == due_ms


def test_jitter_of_a_short_watchdog_leaves_a_pause() -> None:
    watchdog = Watchdog(300, 0, lambda: -2_000)
    watchdog.up(0)
    assert watchdog.due_ms == 200


def test_jitter_is_drawn_again_with_every_setting_of_the_timer() -> None:
    drawn = iter((0, 100, 200))
    watchdog = Watchdog(TW_MS, 0, lambda: next(drawn))
    watchdog.up(0)
    assert watchdog.due_ms == TW_MS + 100
    watchdog.tick(watchdog.due_ms)
    assert watchdog.due_ms == TW_MS + 100 + TW_MS + 200
