"""RFC 8506 at a real `ocs serve` that is configured otherwise than by default; python-diameter asks and reads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from diameter.message.avp.grouped import (
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    UsedServiceUnit,
)
from diameter.message.commands import (
    AbortSessionRequest,
    AccountingRequest,
    DeviceWatchdogRequest,
    SessionTerminationRequest,
)

from tests.conformance.test_python_diameter import capabilities, ccr, origin, say
from tests.real_ocs import Connectable, RealOcs

MIB = 1_048_576
VALIDITY_S = 77
RETRY_AND_TERMINATE, FAILOVER_NOT_SUPPORTED, TERMINATE = 2, 0, 0
INITIAL, UPDATE, TERMINATION = 1, 2, 3
FIRST = 491_700_000_001


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(
        tmp_path_factory.mktemp("configured"),
        OCS_DIAMETER__FAILURE_HANDLING="RETRY_AND_TERMINATE",
        OCS_DIAMETER__SESSION_FAILOVER="false",
        OCS_CHARGING__VALIDITY_S=str(VALIDITY_S),
    ) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "20", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "0.02"),
        )
        yield made


class Element:
    """A network element on one connection; it charges one subscriber in one session."""

    def __init__(self, connection: socket.socket, place: int) -> None:
        self._connection = connection
        self.number = str(FIRST + place)
        self.session = f"raw.example.net;compliance;{place}"
        self._ids = 0

    def say(self, request: Any) -> Any:
        self._ids += 1
        return say(self._connection, request, self._ids)

    def request(self, kind: int, number: int, *services: Any) -> Any:
        """A CCR that holds these services and nothing else."""
        made = ccr(kind, number, self.session)
        made.header.application_id = 4
        made.origin_host = b"raw.example.net"
        made.subscription_id = [SubscriptionId(0, self.number)]
        made.multiple_services_credit_control = list(services)
        return made

    def ask(self, kind: int, number: int, *services: Any) -> Any:
        return self.say(self.request(kind, number, *services))


@contextmanager
def element(server: Connectable, place: int) -> Iterator[Element]:
    with server.connect() as connection:
        made = Element(connection, place)
        assert made.say(capabilities()).result_code == 2001
        yield made


def wish(group: int, *, used: int | None = None, wanted: int | None = None, ends: bool = False) -> Any:
    """One service of packet data that wants octets, or whatever the server chooses."""
    made: Any = MultipleServicesCreditControl(rating_group=group)
    if not ends:
        made.requested_service_unit = RequestedServiceUnit(cc_total_octets=wanted)
    if used is not None:
        made.used_service_unit = [UsedServiceUnit(cc_total_octets=used)]
    return made


def services(answer: Any) -> list[tuple[int, int, int | None, bool]]:
    """Rating-Group, Result-Code, octets granted and whether they are the last, of each service."""
    return [
        (
            each.rating_group,
            each.result_code,
            each.granted_service_unit.cc_total_octets if each.granted_service_unit else None,
            each.final_unit_indication is not None,
        )
        for each in answer.multiple_services_credit_control
    ]


def test_failure_handling_and_failover_are_told_with_the_initial_answer_and_not_again(
    server: RealOcs,
) -> None:
    """RFC 8506 sections 5.7, 8.4 and 8.14."""
    with element(server, 0) as pgw:
        opened = pgw.ask(INITIAL, 0, wish(1, wanted=1))
        updated = pgw.ask(UPDATE, 1, wish(1, used=1, wanted=1))
        pgw.ask(TERMINATION, 2, wish(1, used=1, ends=True))
    assert opened.credit_control_failure_handling == RETRY_AND_TERMINATE
    assert opened.cc_session_failover == FAILOVER_NOT_SUPPORTED
    assert updated.credit_control_failure_handling is None
    assert updated.cc_session_failover is None


def test_every_grant_has_the_validity_time_of_the_settings(server: RealOcs) -> None:
    """RFC 8506 sections 5.1 and 8.33."""
    with element(server, 1) as pgw:
        opened = pgw.ask(INITIAL, 0, wish(1, wanted=1))
        updated = pgw.ask(UPDATE, 1, wish(1, used=1, wanted=1))
        pgw.ask(TERMINATION, 2, wish(1, used=1, ends=True))
    for answer in (opened, updated):
        assert [each.validity_time for each in answer.multiple_services_credit_control] == [VALIDITY_S]


def test_services_of_one_session_are_granted_reported_and_refused_each_for_itself(server: RealOcs) -> None:
    """RFC 8506 sections 5.1.2 and 8.16: two groups get the 0.02 EUR that there are, the third gets 4012."""
    with element(server, 2) as pgw:
        opened = pgw.ask(INITIAL, 0, *[wish(group, wanted=MIB) for group in (1, 2, 3)])
        updated = pgw.ask(UPDATE, 1, wish(2, used=MIB, ends=True))
        asked = pgw.ask(UPDATE, 2, wish(3, wanted=MIB))
        ended = pgw.ask(TERMINATION, 3, wish(1, used=0, ends=True))
    assert opened.result_code == 2001
    assert services(opened) == [(1, 2001, MIB, False), (2, 2001, MIB, False), (3, 4012, None, False)]
    assert services(updated) == [(2, 2001, None, False)]
    assert (asked.result_code, services(asked)) == (4012, [(3, 4012, None, False)])
    assert ended.result_code == 2001
    assert server.balance(pgw.number) == ("0.01", "0.00")


def test_what_was_reserved_and_not_used_is_free_again_after_the_final_interrogation(server: RealOcs) -> None:
    """RFC 8506 sections 5.2.1, 5.3 and 5.4: reserve, deduct, refund."""
    with element(server, 3) as pgw:
        pgw.ask(INITIAL, 0, wish(1, wanted=2 * MIB))
        reserved = server.balance(pgw.number)
        pgw.ask(UPDATE, 1, wish(1, used=1, wanted=2 * MIB))
        deducted = server.balance(pgw.number)
        pgw.ask(TERMINATION, 2, wish(1, used=1, ends=True))
    assert (reserved, deducted) == (("0.02", "0.02"), ("0.01", "0.01"))
    assert server.balance(pgw.number) == ("0.01", "0.00")


def test_the_final_units_say_terminate_and_nothing_else(server: RealOcs) -> None:
    """RFC 8506 sections 5.6.1, 8.34 and 8.35."""
    with element(server, 4) as pgw:
        opened = pgw.ask(INITIAL, 0, wish(1))
        ended = pgw.ask(TERMINATION, 1, wish(1, used=0, ends=True))
    assert services(opened) == [(1, 2001, 2 * MIB, True)]
    (service,) = opened.multiple_services_credit_control
    final = service.final_unit_indication
    assert final.final_unit_action == TERMINATE
    assert (final.restriction_filter_rule, final.filter_id, final.redirect_server) == ([], [], None)
    assert ended.result_code == 2001


def test_units_at_message_level_are_granted_there_and_deducted(server: RealOcs) -> None:
    """RFC 8506 sections 3.1, 3.2 and 5.2.1: a session of one service has no MSCC."""
    with element(server, 5) as pgw:
        asking = pgw.request(INITIAL, 0)
        asking.requested_service_unit = RequestedServiceUnit(cc_total_octets=MIB)
        opened = pgw.say(asking)
        reporting = pgw.request(TERMINATION, 1)
        reporting.used_service_unit = [UsedServiceUnit(cc_total_octets=MIB)]
        ended = pgw.say(reporting)
    assert (opened.result_code, ended.result_code) == (2001, 2001)
    assert opened.granted_service_unit.cc_total_octets == MIB
    assert opened.validity_time == VALIDITY_S
    assert opened.multiple_services_credit_control == []
    assert server.balance(pgw.number) == ("0.01", "0.00")


def test_what_cannot_be_rated_is_5031_with_the_context_that_is_not_supported(server: RealOcs) -> None:
    """RFC 8506 sections 4.1.3 and 9.2."""
    with element(server, 6) as pgw:
        request = pgw.request(INITIAL, 0, wish(1))
        request.service_context_id = "32299@example.org"
        answer = pgw.say(request)
    assert (answer.result_code, services(answer)) == (5031, [(1, 5031, None, False)])
    (failed,) = answer.failed_avp[0].additional_avps
    assert (failed.code, failed.value) == (461, "32299@example.org")


def test_an_unknown_user_is_5030_and_a_barred_one_4010(server: RealOcs) -> None:
    """RFC 8506 sections 9.1 and 9.2."""
    with element(server, 1_000) as pgw:
        assert pgw.ask(INITIAL, 0, wish(1)).result_code == 5030
    with element(server, 7) as pgw:
        server.ocs("subscriber", "bar", pgw.number)
        answer = pgw.ask(INITIAL, 0, wish(1))
        assert (answer.result_code, services(answer)) == (4010, [(1, 4010, None, False)])


def test_what_was_used_is_deducted_though_more_is_refused(server: RealOcs) -> None:
    """RFC 8506 section 9.1: "If the CCR contained used service units, they are deducted"."""
    with element(server, 11) as pgw:
        pgw.ask(INITIAL, 0, wish(1, wanted=2 * MIB))
        refused = pgw.ask(UPDATE, 1, wish(1, used=2 * MIB, wanted=1))
        pgw.ask(TERMINATION, 2, wish(1, used=0, ends=True))
        assert (refused.result_code, services(refused)) == (4012, [(1, 4012, None, False)])
        assert server.balance(pgw.number) == ("0.00", "0.00")
    with element(server, 12) as pgw:
        pgw.ask(INITIAL, 0, wish(1, wanted=2 * MIB))
        server.ocs("subscriber", "bar", pgw.number)
        refused = pgw.ask(UPDATE, 1, wish(1, used=MIB, wanted=1))
        pgw.ask(TERMINATION, 2, wish(1, used=0, ends=True))
        assert (refused.result_code, services(refused)) == (4010, [(1, 4010, None, False)])
        assert server.balance(pgw.number) == ("0.01", "0.00")


def test_a_session_that_is_not_open_is_5002(server: RealOcs) -> None:
    """RFC 6733 section 7.1.5, RFC 8506 section 7: no update and no end without a beginning."""
    with element(server, 8) as pgw:
        assert pgw.ask(UPDATE, 1, wish(1, used=MIB)).result_code == 5002
        assert pgw.ask(TERMINATION, 2, wish(1, used=MIB, ends=True)).result_code == 5002
    assert server.balance(pgw.number) == ("0.02", "0.00")


def test_a_request_number_with_other_content_is_refused_and_moves_nothing(server: RealOcs) -> None:
    """RFC 8506 sections 5.7 and 8.2: duplicates are told by Session-Id and CC-Request-Number."""
    with element(server, 9) as pgw:
        pgw.ask(INITIAL, 0, wish(1, wanted=1))
        first = pgw.ask(UPDATE, 1, wish(1, used=1, wanted=1))
        again = pgw.ask(UPDATE, 1, wish(1, used=1, wanted=1))
        other = pgw.ask(UPDATE, 1, wish(1, used=MIB + 1, wanted=1))
        pgw.ask(TERMINATION, 2, wish(1, used=0, ends=True))
    assert services(again) == services(first)
    assert other.result_code == 5012
    assert [each.code for each in other.failed_avp[0].additional_avps] == [415]
    assert server.balance(pgw.number) == ("0.01", "0.00")


def test_origin_state_id_is_the_servers_in_every_base_answer(server: RealOcs) -> None:
    """RFC 6733 section 8.16: the same on every connection for as long as the server lives."""
    told = []
    for place in (1_001, 1_002):
        with server.connect() as connection:
            pgw = Element(connection, place)
            told.append(pgw.say(capabilities()).origin_state_id)
            told.append(pgw.say(origin(DeviceWatchdogRequest())).origin_state_id)
    assert told[0] > 0
    assert told == told[:1] * 4


@pytest.mark.parametrize(
    ("request_of", "application"),
    [(SessionTerminationRequest, 4), (AbortSessionRequest, 4), (AccountingRequest, 4)],
)
def test_commands_of_other_applications_are_3001_and_the_connection_stays(
    server: RealOcs, request_of: Any, application: int
) -> None:
    """RFC 6733 sections 3.1, 7.1.3 and 7.2."""
    with element(server, 10) as pgw:
        request = origin(request_of())
        request.session_id = pgw.session
        request.destination_realm = b"example.org"
        request.header.application_id = application
        request.auth_application_id = application
        answer = pgw.say(request)
        assert (answer.result_code, answer.header.is_error) == (3001, True)
        assert pgw.say(origin(DeviceWatchdogRequest())).result_code == 2001


def test_after_all_of_it_the_books_are_right(server: RealOcs) -> None:
    assert server.ocs("sessions") == []
    assert server.ocs("audit")["clean"]
    assert server.troubles() == []
