"""What changes for a subscriber is said once, to the workers of its open sessions, and to nobody else; and never at the change's cost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from ocs.balance.link import LinkDown, StoreFault
from ocs.balance.store import Store
from ocs.charging.ask import INITIAL, TERMINATION
from ocs.diameter.server_initiated import ABORT_SESSION, RE_AUTH, Order
from ocs.limits import ORDERS_PER_MESSAGE_MAX
from ocs.outcomes import Code
from ocs.rating.tariff import Tariff, read_tariff
from ocs.rating.versions import Tariffs
from ocs.records import Status
from ocs.sessions.orders import channel, read_orders
from ocs.sessions.reauthorise import Reauthorisation, Said
from ocs.sessions.search import sessions_of
from ocs.sessions.switching import Switching
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, Network, network

FIRST, SECOND = "9f3a.0", "9f3a.1"
WAIT_S = 20


class Workers:
    """Two workers that hear their orders."""

    def __init__(self, server: RealValkey) -> None:
        self._heard = {name: server.client().pubsub() for name in (FIRST, SECOND)}
        for name, listener in self._heard.items():
            listener.ssubscribe(channel(name))
            assert listener.get_message(timeout=WAIT_S)["type"] == "ssubscribe"

    def orders(self, worker: str = FIRST) -> list[Order]:
        """The orders of the next message, which has to come."""
        message = self._heard[worker].get_message(timeout=WAIT_S)
        assert message is not None
        return read_orders(message["data"])

    def silent(self) -> bool:
        """Whether no worker has heard anything more: what is published is there when its publisher has its reply."""
        return all(listener.get_message(timeout=0.01) is None for listener in self._heard.values())


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        opened.charged.accounts.listener = Reauthorisation(opened.charged.parts)
        yield opened


@pytest.fixture
def workers(net: Network, valkey: RealValkey) -> Workers:
    return Workers(valkey)


def _open(net: Network, session: str, via: str) -> None:
    net.charged.via = via
    net.ask(INITIAL, 0, wants=MIB, session=session)


def _order(session: str, number: int, command: int = RE_AUTH, hop: str = "gw.example.org") -> Order:
    return Order(command, session, "gw.example.org", "example.org", hop, number)


def test_a_top_up_is_said_once_to_the_workers_of_the_sessions(net: Network, workers: Workers) -> None:
    _open(net, "s;1", f"{FIRST}.7")
    _open(net, "s;2", f"{SECOND}.8 dra.example.org")
    _open(net, "s;3", "")  # nobody knows where it came from
    _open(net, "s;4", f"{FIRST}.9")
    net.ask(TERMINATION, 1, used=MIB, session="s;4")

    for _ in range(2):  # the same id again is the same top-up
        net.run(net.charged.accounts.topup(net.account, 1_000, "till", "second"))

    assert workers.orders(FIRST) == [_order("s;1", 7)]
    assert workers.orders(SECOND) == [_order("s;2", 8, hop="dra.example.org")]
    assert workers.silent()


def test_barring_and_unbarring_are_said_and_the_end_of_a_subscriber_aborts(
    net: Network, workers: Workers
) -> None:
    _open(net, "s;1", f"{FIRST}.7")
    accounts = net.charged.accounts

    for status in (Status.BARRED, Status.ACTIVE):
        net.run(accounts.amend(net.account, status=status))
        assert workers.orders() == [_order("s;1", 7)]
    net.run(accounts.terminate(net.account))

    assert workers.orders() == [_order("s;1", 7, ABORT_SESSION)]
    assert net.run(accounts.amend(net.account, status=Status.BARRED)) == Code.UNKNOWN_SUBSCRIBER
    assert workers.silent()  # what was refused has changed nothing


def test_what_cannot_be_said_does_not_make_the_change_fail_and_is_counted(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    _open(net, "s;1", f"{FIRST}.7")
    execute = Store.execute

    async def lost(store: Store, slot: int, *arguments: str | int | bytes, incarnation: str = "") -> object:
        if arguments[0] == "SPUBLISH":
            raise LinkDown("made up")
        return await execute(store, slot, *arguments, incarnation=incarnation)

    monkeypatch.setattr(Store, "execute", lost)
    done = net.run(net.charged.accounts.topup(net.account, 1_000, "till", "second"))

    assert (done.code, done.balance_micros) == (Code.SUCCESS, 1_001_000)
    listener = net.charged.accounts.listener
    assert isinstance(listener, Reauthorisation)
    assert listener.faults == 1


def test_who_hears_is_told_apart_from_who_does_not(net: Network, workers: Workers) -> None:
    _open(net, "s;1", f"{FIRST}.7")
    _open(net, "s;2", "gone.0.8")
    speaks = Reauthorisation(net.charged.parts)
    place = net.account.profile

    said = net.run(speaks.of_subscriber(place.partition, place.path, rating_group=10))

    assert said == Said(sessions=2, told=1)
    assert workers.orders() == [_order("s;1", 7)._replace(rating_group=10)]
    sessions = net.run(sessions_of(net.charged.parts, place.partition, place.path))
    assert net.run(speaks.of_sessions(sessions[:1], ABORT_SESSION)) == Said(1, 1)
    assert workers.orders() == [_order("s;1", 7, ABORT_SESSION)]


def test_the_sessions_of_a_tariff_are_told_no_faster_than_they_may(
    net: Network, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        _open(net, f"s;{number}", f"{FIRST}.7")
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    speaks = Reauthorisation(net.charged.parts)

    assert net.run(speaks.of_tariff("flat-data", per_s=10)) == Said(25, 25)
    assert pauses == [1.0, 1.0]
    assert [len(workers.orders()) for _ in range(3)] == [10, 10, 5]
    assert net.run(speaks.of_tariff("flat-data", per_s=10, but="flat-data@1")) == Said(0, 0)
    assert net.run(speaks.of_tariff("flat", per_s=10)) == Said(0, 0)
    pauses.clear()
    assert net.run(speaks.of_tariff("flat-data", per_s=10 * ORDERS_PER_MESSAGE_MAX)) == Said(25, 25)
    assert (pauses, len(workers.orders())) == ([], 25)


# -- versions that take sessions along

INSTANT_MS = 1_796_079_600_000
SWITCH = """
tariff: flat-data
version: {version}
currency: EUR
effective: 2026-12-01T00:00:00+01:00
running_sessions: {running}
services:
  data: {{unit: octets, steps: [{{block: 1048576, price: "0.01", per: 1048576}}]}}
"""


def _version(version: int, running: str) -> Tariff:
    return read_tariff(SWITCH.format(version=version, running=running), "flat-data.yaml")


def _switching(net: Network, running: str) -> Switching:
    earlier = dataclasses.replace(_version(3, "switch"), effective_ms=INSTANT_MS - 86_400_000)
    versions = {each.key: each for each in (_version(2, running), earlier)}
    speaks = Reauthorisation(net.charged.parts)
    return Switching(net.charged.parts, Tariffs(versions), speaks, net.charged.clock, per_s=100)


def _at(net: Network, instant_ms: int) -> None:
    net.charged.clock.keep_up()
    net.run(net.charged.move_time(instant_ms - net.charged.now_ms))


def test_at_the_instant_of_a_version_that_takes_them_along_its_sessions_are_asked_once_over_all_servers(
    net: Network, workers: Workers
) -> None:
    _at(net, INSTANT_MS - 30_000)
    _open(net, "s;1", f"{FIRST}.7")
    switching, another = _switching(net, "switch"), _switching(net, "switch")
    assert net.run(switching.once()) == {}

    _at(net, INSTANT_MS + 10_000)

    assert net.run(switching.once()) == {"flat-data@2": Said(1, 1)}
    assert workers.orders() == [_order("s;1", 7)]
    assert net.run(switching.once()) == net.run(another.once()) == {}
    assert workers.silent()


def test_a_version_whose_sessions_could_not_all_be_asked_is_done_again(
    net: Network, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at(net, INSTANT_MS - 30_000)
    _open(net, "s;1", f"{FIRST}.7")
    _at(net, INSTANT_MS + 10_000)
    switching = _switching(net, "switch")

    async def fails(*_names: object, **_terms: object) -> Said:
        raise StoreFault("away")

    with monkeypatch.context() as broken:
        broken.setattr(Reauthorisation, "of_tariff", fails)
        with pytest.raises(StoreFault):
            net.run(switching.once())

    assert net.run(switching.once()) == {"flat-data@2": Said(1, 1)}
    assert workers.orders() == [_order("s;1", 7)]


def test_sessions_of_a_version_that_lets_them_be_are_not_asked(net: Network, workers: Workers) -> None:
    _at(net, INSTANT_MS - 30_000)
    _open(net, "s;1", f"{FIRST}.7")
    _at(net, INSTANT_MS + 10_000)

    assert net.run(_switching(net, "keep").once()) == {}
    assert workers.silent()


def test_a_version_that_has_counted_for_long_is_no_news(net: Network, workers: Workers) -> None:
    _at(net, INSTANT_MS + 600_000)
    _open(net, "s;1", f"{FIRST}.7")

    assert net.run(_switching(net, "switch").once()) == {}
    assert workers.silent()


def test_a_session_that_uses_up_an_allowance_lets_the_others_of_its_account_ask_anew(
    net: Network, workers: Workers
) -> None:
    speaks = Reauthorisation(net.charged.parts)
    net.charged.book.crossed = speaks.crossed
    profile = net.account.profile
    _open(net, "s;1", f"{FIRST}.7")
    _open(net, "s;2", f"{SECOND}.8")
    _open(net, "s;3", f"{FIRST}.9")

    async def told() -> None:
        speaks.crossed(profile, "s;1")
        await asyncio.gather(*speaks._news)

    net.run(told())

    assert workers.orders(SECOND) == [_order("s;2", 8)]
    assert workers.orders(FIRST) == [_order("s;3", 9)]
    assert workers.silent()


def test_news_beyond_the_limit_are_counted_and_not_told(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.sessions.reauthorise.NEWS_MAX", 2)
    speaks = Reauthorisation(net.charged.parts)

    async def told() -> None:
        for _ in range(5):
            speaks.crossed(net.account.profile, "s;1")
        await asyncio.gather(*speaks._news)

    net.run(told())

    assert speaks.faults == 3
    assert speaks._news == set()
