"""Open sessions by account: a subscriber's rows, those of an account's members with it, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.sessions.search import sessions_of
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, Network, network

ROWS = ("abc s;1", "abc s;2", "abc/mem s;3", "abc/mem2 s;4", "abcd s;5", "ab s;6")


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "sessions"),
    [
        ("abc", ["s;1", "s;2", "s;3", "s;4"]),
        ("abc/mem", ["s;3"]),
        ("abc/mem2", ["s;4"]),
        ("abcd", ["s;5"]),
        ("ab", ["s;6"]),
        ("a", []),
    ],
)
def test_rows_of_a_subscriber_are_found_and_no_others(net: Network, path: str, sessions: list[str]) -> None:
    keys = net.charged.parts.keys[net.partition]
    net.execute("ZADD", keys.open, *(word for row in ROWS for word in ("0", row)))

    rows = net.execute("ZRANGEBYLEX", keys.open, *keys.opened_by(path))

    assert [row.decode().partition(" ")[2] for row in rows] == sessions


def test_a_session_is_found_from_its_initial_to_its_end(net: Network) -> None:
    def found() -> list[str]:
        path = net.account.profile.account
        return [each.session_id for each in net.run(sessions_of(net.charged.parts, net.partition, path))]

    assert found() == []
    net.ask(INITIAL, 0, wants=MIB, session="s;1")
    net.ask(INITIAL, 0, wants=MIB, session="s;2")
    assert found() == ["s;1", "s;2"]
    net.ask(UPDATE, 1, used=MIB, wants=MIB, session="s;1")
    net.ask(TERMINATION, 1, used=MIB, session="s;2")
    assert found() == ["s;1"]
    net.ask(TERMINATION, 2, used=MIB, session="s;1")
    assert found() == []


def test_a_session_that_cannot_be_read_hides_no_other_of_its_account(net: Network) -> None:
    for name in ("s;1", "s;2", "s;3"):
        net.ask(INITIAL, 0, wants=MIB, session=name)
    keys = net.charged.parts.keys[net.partition]
    net.execute("SET", keys.session("s;2"), "garbage")
    path = net.account.profile.account
    found = net.run(sessions_of(net.charged.parts, net.partition, path))
    assert [each.session_id for each in found] == ["s;1", "s;3"]


@pytest.mark.parametrize(
    ("via", "kept"),
    [
        ("", ("", "gw.example.org")),
        ("9f3a.0.12", ("9f3a.0.12", "gw.example.org")),
        ("9f3a.0.12 dra.example.org", ("9f3a.0.12", "dra.example.org")),
    ],
    ids=["not told", "direct", "through a relay"],
)
def test_a_session_remembers_on_which_connection_its_last_request_came(
    net: Network, via: str, kept: tuple[str, str]
) -> None:
    net.ask(INITIAL, 0, wants=MIB)
    net.charged.via = via
    net.ask(UPDATE, 1, used=MIB, wants=MIB)

    (session,) = net.run(sessions_of(net.charged.parts, net.partition, net.account.profile.account))
    assert (session.via, session.hop) == kept
    assert (session.origin_host, session.origin_realm) == ("gw.example.org", "example.org")
