"""Supervision: a silent session's hold is released once; a top-up whose caller died is finished once."""

from collections.abc import Callable, Iterator

import pytest

from ocs.balance.audit import audit
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.outcomes import Code
from ocs.sessions.search import find_session, open_sessions
from ocs.sessions.sweep import Sweeper
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, RULES, Network, network
from tests.unit.balance.test_audit import _claim_only


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


def _sweeper(net: Network) -> Sweeper:
    charged = net.charged
    return Sweeper(charged.parts, charged.accounts, charged.clock, RULES.tombstone_ms)


def test_a_session_within_its_time_stays(net: Network) -> None:
    net.ask(INITIAL, 0, wants=MIB)

    assert net.run(_sweeper(net).once()) == (0, 0, 0)
    assert net.book().pending_micros == 10_000


def test_a_silent_sessions_hold_is_released_once(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()) == (1, 20_000, 0)
    assert net.run(sweeper.once()) == (0, 0, 0)
    book = net.book()
    assert (book.pending_micros, book.posted_micros, book.sessions_open) == (0, 0, 0)
    assert net.run(audit(net.charged.parts)).faults == []


def test_late_usage_of_an_expired_session_posts_once(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    net.run(_sweeper(net).once())

    assert net.ask(UPDATE, 1, used=MIB, wants=MIB).code == Code.UNKNOWN_SESSION
    assert net.ask(UPDATE, 1, used=MIB, wants=MIB).code == Code.UNKNOWN_SESSION
    assert net.ask(TERMINATION, 2, used=MIB).code == Code.SUCCESS
    assert net.ask(TERMINATION, 3, used=MIB).code == Code.UNKNOWN_SESSION

    book = net.book()
    assert (book.posted_micros, book.pending_micros, book.sessions_open) == (20_000, 0, 0)
    assert net.run(audit(net.charged.parts)).faults == []


def test_an_operator_ends_a_session(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    assert net.run(_sweeper(net).expire(net.partition, "s;1", forced=True)) == 20_000
    assert net.run(_sweeper(net).expire(net.partition, "s;1", forced=True)) is None
    assert net.book().pending_micros == 0


def test_a_topup_whose_caller_died_is_finished_once(net: Network) -> None:
    net.run(_claim_only(net))
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()).claims_finished == 1
    assert net.run(sweeper.once()).claims_finished == 0
    assert net.book().credits_micros == 1_070_000


def test_sessions_are_found_by_account_and_by_name(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    async def found() -> list[str]:
        account = net.account.profile.account
        return [each.session_id async for each in open_sessions(net.charged.parts, account=account)]

    assert net.run(found()) == ["s;1"]
    session = net.run(find_session(net.charged.parts, "s;1"))
    assert (session.origin_host, session.services[0].granted_units) == ("gw.example.org", 2 * MIB)
    assert net.run(find_session(net.charged.parts, "s;2")) is None


@pytest.mark.parametrize(
    "garbled",
    [
        lambda state: state[:-60],
        lambda state: bytes([state[0] + 1]) + state[1:],
    ],
    ids=["cut", "another layout"],
)
def test_a_session_that_is_unreadable_keeps_no_other_from_its_end(
    net: Network, garbled: Callable[[bytes], bytes]
) -> None:
    net.ask(INITIAL, 0, wants=MIB, session="s;1")
    net.ask(INITIAL, 0, wants=MIB, session="s;2")
    key = net.charged.parts.keys[net.partition].session("s;1")
    state = net.execute("GET", key)
    net.execute("SET", key, garbled(state))
    net.run(net.charged.move_time(RULES.supervision_ms + 1_000))
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()).expired == 1
    assert sweeper.faults == 1


def test_a_claim_that_is_unreadable_keeps_no_other_from_its_end(net: Network) -> None:
    net.run(_claim_only(net))
    keys = net.charged.parts.keys[net.partition]
    net.execute("ZADD", keys.claims, 1, "till:garbled")
    net.execute("SET", keys.claim("till", "garbled"), b"\xc1")
    sweeper = _sweeper(net)

    assert net.run(sweeper.once()).claims_finished == 1
    assert sweeper.faults == 1
