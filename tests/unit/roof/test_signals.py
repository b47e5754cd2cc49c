import os
import signal
from collections.abc import Iterator

import pytest

from ocs.roof.signals import NUMBERS, AskedToEnd, Ending


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted_and_interrupts_nothing(number: signal.Signals) -> None:
    with Ending() as ending:
        ending.check()
        os.kill(os.getpid(), number)
        with pytest.raises(AskedToEnd):
            ending.check()


def test_whoever_can_be_stopped_is_stopped_by_a_signal_before_and_after() -> None:
    stopped: list[str] = []
    with Ending() as ending:
        ending.then(lambda: stopped.append("early"))
        os.kill(os.getpid(), signal.SIGTERM)
        ending.then(lambda: stopped.append("late"))
    assert stopped == ["early", "late"]


def test_a_signal_after_the_end_was_asked_for_is_ignored_to_the_last() -> None:
    with Ending():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert {signal.getsignal(number) for number in NUMBERS} == {signal.SIG_IGN}


def test_an_end_that_nobody_asked_for_puts_the_handlers_back() -> None:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    with Ending():
        pass
    assert {number: signal.getsignal(number) for number in NUMBERS} == before


def test_a_hangup_that_nohup_set_aside_stays_aside() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Ending() as ending:
        os.kill(os.getpid(), signal.SIGHUP)
    assert not ending.asked
