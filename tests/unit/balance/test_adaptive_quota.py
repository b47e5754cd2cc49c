"""Grants that follow the speed of use, where config says so: numbers that a reader can check by head."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.charging.ask import INITIAL
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import CENT, MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service

ADAPT = f"[charging.quota.data]\nadapt_s = 60\ngrant = {MIB}\nmost = {100 * MIB}\nshare = 50\n"
CALLS = "[charging.quota.voice]\nadapt_s = 60\ngrant = 10\nmost = 600\n"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def mib(answer: Any) -> float:
    """Return what is granted to the one service, in MiB."""
    return float(only(answer).granted_service_unit.cc_total_octets) / MIB


def test_the_next_grant_lasts_about_as_long_as_it_is_to(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ADAPT), credit_micros=1_000 * CENT)
    assert mib(gateway.begin()) == 1
    gateway.wait(20)
    # 10 MiB in 20 s is 30 MiB in 60; the test's clock may run a little further
    assert 25 <= mib(gateway.go_on(service(used=octets(10 * MIB), requested={}))) <= 30


def test_it_is_never_less_than_the_usual_nor_more_than_the_most(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ADAPT), credit_micros=10_000 * CENT)
    gateway.begin()
    gateway.wait(600)
    assert mib(gateway.go_on(service(used=octets(MIB), requested={}))) == 1
    assert mib(gateway.go_on(service(used=octets(4 * MIB), requested={}))) == 100
    assert mib(gateway.go_on(service(used=octets(100 * MIB), requested=octets(3 * MIB)))) == 3
    assert mib(gateway.go_on(service(requested={}))) == 1


def test_what_is_beyond_the_usual_costs_no_more_than_its_share(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ADAPT), credit_micros=40 * CENT)
    gateway.begin()
    answer = gateway.go_on(service(used=octets(4 * MIB), requested={}))
    assert (mib(answer), only(answer).final_unit_indication) == (18, None)
    assert gateway.book().pending_micros == 18 * CENT


def test_a_poor_account_gets_the_usual_to_the_end(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ADAPT), credit_micros=3 * CENT)
    gateway.begin()
    for _ in range(2):
        answer = gateway.go_on(service(used=octets(MIB), requested={}))
        assert (mib(answer), only(answer).final_unit_indication) == (1, None)
    assert only(gateway.go_on(service(used=octets(MIB), requested={}))).result_code == 4012


def test_a_repeated_request_gets_the_same_grant(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ADAPT), credit_micros=1_000 * CENT)
    gateway.begin()
    again: dict[str, Any] = {
        "Multiple_Services_Credit_Control": [service(used=octets(4 * MIB), requested={})]
    }
    first = mib(gateway.say(2, 1, **again))
    gateway.wait(30)
    assert mib(gateway.say(2, 1, **again)) == first == 100
    assert (
        gateway.say(INITIAL, 0, Multiple_Services_Credit_Control=[service(requested={})]).result_code == 2001
    )


def test_a_call_is_granted_as_many_seconds_but_none_beyond_its_life(room: StoreRoom, tmp_path: Path) -> None:
    used = {"CC-Time": 20}
    for more, least, most in (("", 50, 60), ("validity_s = 30\n", 30, 30)):
        gateway = Gateway(room, written(tmp_path, CALLS + more), credit_micros=1_000 * CENT)
        assert only(gateway.begin(family="voice")).granted_service_unit.cc_time == 10
        gateway.wait(20)
        answer = gateway.go_on(service(used=used, requested={}), family="voice")
        assert least <= only(answer).granted_service_unit.cc_time <= most


def test_the_fuller_the_worker_the_longer_a_grant_is_to_last(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ADAPT), credit_micros=1_000 * CENT)
    gateway.charged.book.load = lambda: 100
    assert mib(gateway.begin()) == 1  # what is usual stays
    gateway.wait(20)
    # 4 MiB in 20 s are 48 in four times 60 s; the test's clock may run a little further
    assert 40 <= mib(gateway.go_on(service(used=octets(4 * MIB), requested={}))) <= 48
