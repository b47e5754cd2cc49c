"""What clients do wrong, said with python-diameter to a real `ocs serve`: each fault costs nobody a cent that was not used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.test_compliance_credit_control import (
    FIRST,
    INITIAL,
    MIB,
    TERMINATION,
    UPDATE,
    Element,
    element,
    wish,
)
from tests.conformance.test_python_diameter import capabilities
from tests.real_ocs import RealOcs, read_frame, stranger

TEN_YEARS_OF_OCTETS = 10**15
SINCE_1970 = 1_795_374_794


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(
        tmp_path_factory.mktemp("faults"),
        OCS_CHARGING__VALIDITY_S="2",
        OCS_CHARGING__GRANTS__OCTETS=str(4 * MIB),
    ) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "20", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "10.00"),
        )
        yield made
        assert made.ocs("audit")["clean"] is True


def all_at_once(pgw: Element, *requests: Any) -> dict[int, int]:
    """Send requests in one write, and read their answers: Result-Codes by CC-Request-Number."""
    octets = b""
    for request in requests:
        pgw._ids += 1
        request.header.hop_by_hop_identifier = request.header.end_to_end_identifier = pgw._ids
        octets += request.as_bytes()
    pgw._connection.sendall(octets)
    found = {}
    for _ in requests:
        frame = read_frame(pgw._connection)
        assert frame is not None
        answer = stranger(frame)
        found[answer.value(415)] = answer.value(268)
    return found


def test_updates_in_parallel_are_each_posted_once(server: RealOcs) -> None:
    with element(server, 0) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        updates = [pgw.request(UPDATE, number, wish(10, used=MIB, wanted=MIB)) for number in range(1, 7)]
        assert all_at_once(pgw, *updates) == dict.fromkeys(range(1, 7), 2001)
        assert pgw.ask(TERMINATION, 7, wish(10, used=0, ends=True)).result_code == 2001
        assert server.balance(pgw.number) == ("9.94", "0.00")


def test_updates_out_of_order_are_posted_and_hold_nothing_twice(server: RealOcs) -> None:
    with element(server, 1) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        for number in (3, 1, 2):
            assert pgw.ask(UPDATE, number, wish(10, used=MIB, wanted=2 * MIB)).result_code == 2001
        assert server.balance(pgw.number) == ("9.97", "0.02")
        assert pgw.ask(TERMINATION, 4, wish(10, used=0, ends=True)).result_code == 2001
        assert server.balance(pgw.number) == ("9.97", "0.00")


def test_a_termination_that_is_sent_before_the_initial_was_answered_ends_the_session(server: RealOcs) -> None:
    with element(server, 2) as pgw:
        both = (
            pgw.request(INITIAL, 0, wish(10, wanted=4 * MIB)),
            pgw.request(TERMINATION, 1, wish(10, used=MIB, ends=True)),
        )
        assert all_at_once(pgw, *both) == {0: 2001, 1: 2001}
        assert server.balance(pgw.number) == ("9.99", "0.00")


def test_a_termination_that_never_comes_leaves_no_hold_behind(server: RealOcs) -> None:
    with element(server, 3) as pgw:
        assert pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB)).result_code == 2001
        assert server.balance(pgw.number) == ("10.00", "0.04")
    while server.balance(pgw.number)[1] != "0.00":
        time.sleep(0.1)
    with element(server, 3) as pgw:  # it wakes up, and reports what nobody waited for
        assert pgw.ask(UPDATE, 1, wish(10, used=2 * MIB)).result_code == 5002
        assert server.balance(pgw.number) == ("9.98", "0.00")


def test_numbers_that_jump_are_as_good_as_others(server: RealOcs) -> None:
    with element(server, 4) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        for number in (5, 6, 70, 4_000_000_000):
            assert pgw.ask(UPDATE, number, wish(10, used=MIB, wanted=MIB)).result_code == 2001
        assert pgw.ask(TERMINATION, 4_000_000_009, wish(10, used=0, ends=True)).result_code == 2001
        assert server.balance(pgw.number) == ("9.96", "0.00")


def test_a_client_that_restarts_and_counts_from_nothing_begins_another_session(server: RealOcs) -> None:
    with element(server, 5) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        pgw.ask(UPDATE, 1, wish(10, used=MIB, wanted=4 * MIB))
    with element(server, 5) as pgw:
        pgw.session = "raw.example.net;after the restart"
        assert pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB)).result_code == 2001
        assert pgw.ask(TERMINATION, 1, wish(10, used=MIB, ends=True)).result_code == 2001
    while server.balance(pgw.number)[1] != "0.00":  # supervision ends the first
        time.sleep(0.1)
    assert server.balance(pgw.number) == ("9.98", "0.00")


@pytest.mark.parametrize(("place", "used"), [(6, TEN_YEARS_OF_OCTETS), (7, (1 << 64) - 1)])
def test_counters_since_boot_are_posted_up_to_the_grant_and_the_rest_is_set_aside(
    server: RealOcs, place: int, used: int
) -> None:
    before = server.count("ocs_charging_notes_total", "quarantine")
    with element(server, place) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        assert pgw.ask(TERMINATION, 1, wish(10, used=used, ends=True)).result_code == 2001
    assert server.balance(pgw.number) == ("9.96", "0.00")
    assert server.count("ocs_charging_notes_total", "quarantine") == before + 1


def test_seconds_since_1970_of_a_service_that_was_granted_octets_cost_nothing(server: RealOcs) -> None:
    with element(server, 8) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        report = wish(10, used=MIB, ends=True)
        report.used_service_unit[0].cc_time = SINCE_1970
        assert pgw.ask(TERMINATION, 1, report).result_code == 2001
        assert server.balance(pgw.number) == ("9.99", "0.00")


def test_a_duplicate_that_comes_through_another_peer_with_the_t_bit_is_answered_and_not_charged(
    server: RealOcs,
) -> None:
    with element(server, 9) as pgw, server.connect() as connection:
        relay = Element(connection, 9)
        exchange = capabilities()
        exchange.origin_host = b"dra2.example.net"
        assert relay.say(exchange).result_code == 2001
        pgw.ask(INITIAL, 0, wish(10, wanted=4 * MIB))
        first = pgw.ask(UPDATE, 1, wish(10, used=3 * MIB, wanted=2 * MIB))
        again = relay.request(UPDATE, 1, wish(10, used=3 * MIB, wanted=2 * MIB))
        again.header.is_retransmit = True
        again.route_record = [b"raw.example.net"]
        repeated = relay.say(again)
        granted = [
            each.multiple_services_credit_control[0].granted_service_unit.cc_total_octets
            for each in (first, repeated)
        ]
        assert (repeated.result_code, granted) == (2001, [2 * MIB, 2 * MIB])
        assert server.balance(pgw.number) == ("9.97", "0.02")
        assert relay.ask(TERMINATION, 2, wish(10, used=0, ends=True)).result_code == 2001
    assert server.balance(pgw.number) == ("9.97", "0.00")
