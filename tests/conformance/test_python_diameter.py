"""python-diameter as a stranger: a node that owes nothing to ocs.diameter talks to `ocs serve` on its embedded store."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import pytest
from diameter.message import Message
from diameter.message.avp.grouped import (
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    UsedServiceUnit,
)
from diameter.message.commands import (
    AbortSessionRequest,
    CapabilitiesExchangeRequest,
    CreditControlRequest,
    DeviceWatchdogRequest,
    DisconnectPeerRequest,
    ReAuthRequest,
)
from diameter.message.constants import APP_DIAMETER_CREDIT_CONTROL_APPLICATION, VENDOR_TGPP
from diameter.node import Node
from diameter.node.application import SimpleThreadingApplication

from tests.house.source import ROOT
from tests.real_valkey import _die_with_parent

MSISDN = "491700000001"
MIB = 1_048_576


class Server(NamedTuple):
    """A running `ocs serve`."""

    folder: Path
    port: int

    def ocs(self, *arguments: str) -> Any:
        """One command on the server's store; its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "ocs", *arguments, "--data-dir", str(self.folder), "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ocs", "serve", "--data-dir", str(folder)),
            *("--diameter-port", "0", "--http-port", "0"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call
    )
    assert process.stdout is not None
    try:
        ready = re.fullmatch(
            r"ready diameter=127\.0\.0\.1:(\d+) http=127\.0\.0\.1:\d+\n", process.stdout.readline()
        )
        assert ready is not None
        made = Server(folder, int(ready[1]))
        made.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", "10.00")
        yield made
    finally:
        process.terminate()
        assert process.wait() == 0
        process.stdout.close()


class Gateway:
    """A packet gateway of python-diameter, with threads of its own."""

    def __init__(self, port: int, handler: Callable[[Any, Any], Any] | None = None) -> None:
        self.node: Any = Node("pgw.example.net", "example.net", vendor_ids=[VENDOR_TGPP])
        uri = f"aaa://ocs.example.org:{port}"
        self.peer: Any = self.node.add_peer(
            uri, "example.org", ip_addresses=["127.0.0.1"], is_persistent=True
        )
        self.application: Any = SimpleThreadingApplication(
            APP_DIAMETER_CREDIT_CONTROL_APPLICATION,
            is_auth_application=True,
            request_handler=handler or _refuse,
        )
        self.node.wakeup_interval = 1
        self.node.add_application(self.application, [self.peer], ["example.org", "example.net"])
        self.node.start()
        self.application.wait_for_ready(20)

    def ask(
        self,
        kind: int,
        number: int,
        session: str,
        *,
        used: int | None = None,
        ends: bool = False,
        msisdn: str = MSISDN,
    ) -> Any:
        """One CCR of rating group 10 and its answer."""
        request = ccr(kind, number, session, used=used, ends=ends, msisdn=msisdn)
        return self.application.send_request(request, timeout=20)


def _refuse(_application: Any, _message: Any) -> None:
    return None


def ccr(
    kind: int,
    number: int,
    session: str,
    *,
    used: int | None = None,
    ends: bool = False,
    msisdn: str = MSISDN,
) -> Any:
    request: Any = CreditControlRequest()
    request.session_id = session
    request.origin_host = b"pgw.example.net"
    request.origin_realm = b"example.net"
    request.destination_realm = b"example.org"
    request.auth_application_id = APP_DIAMETER_CREDIT_CONTROL_APPLICATION
    request.service_context_id = "32251@3gpp.org"
    request.cc_request_type = kind
    request.cc_request_number = number
    request.subscription_id = [SubscriptionId(0, msisdn)]
    service: Any = MultipleServicesCreditControl(rating_group=10)
    if used is not None:
        service.used_service_unit = [UsedServiceUnit(cc_total_octets=used)]
    if not ends:
        service.requested_service_unit = RequestedServiceUnit()
    request.multiple_services_credit_control = [service]
    return request


@pytest.fixture(scope="module")  # its threads take seconds to end
def gateway(server: Server) -> Iterator[Gateway]:
    logging.getLogger("diameter").setLevel(logging.CRITICAL)
    made = Gateway(server.port)
    yield made
    made.node.stop(wait_timeout=10)


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


def test_a_session_is_opened_updated_and_ended_and_charged_to_the_cent(
    server: Server, gateway: Gateway
) -> None:
    before = server.ocs("balance", MSISDN)
    opened = gateway.ask(1, 0, "pgw.example.net;1;session")
    updated = gateway.ask(2, 1, "pgw.example.net;1;session", used=3 * MIB)
    held = server.ocs("balance", MSISDN)
    ended = gateway.ask(3, 2, "pgw.example.net;1;session", used=MIB // 2, ends=True)
    after = server.ocs("balance", MSISDN)

    for answer, kind, number in ((opened, 1, 0), (updated, 2, 1), (ended, 3, 2)):
        assert answer.result_code == 2001
        assert answer.session_id == "pgw.example.net;1;session"
        assert (answer.cc_request_type, answer.cc_request_number) == (kind, number)
        assert answer.origin_host == b"ocs.example.org"
        assert answer.auth_application_id == 4
        assert [each.result_code for each in answer.multiple_services_credit_control] == [2001]
    for answer in (opened, updated):
        (service,) = answer.multiple_services_credit_control
        assert service.granted_service_unit.cc_total_octets == 10 * MIB
        assert (service.rating_group, service.validity_time) == (10, 3600)
    assert before["balance"] == "10.00"
    assert (held["balance"], held["reserved"]) == ("9.97", "0.10")
    assert (after["balance"], after["reserved"]) == ("9.96", "0.00")


def test_a_repeated_request_gets_the_same_answer_and_moves_no_money(server: Server, gateway: Gateway) -> None:
    session = "pgw.example.net;2;repeat"
    gateway.ask(1, 0, session)
    first = gateway.ask(2, 1, session, used=MIB)
    money = server.ocs("balance", MSISDN)
    again = gateway.ask(2, 1, session, used=MIB)
    other = gateway.ask(2, 1, session, used=2 * MIB)
    assert server.ocs("balance", MSISDN) == money
    gateway.ask(3, 2, session, ends=True)
    units = [each.multiple_services_credit_control[0].granted_service_unit for each in (first, again)]
    assert units[0].cc_total_octets == units[1].cc_total_octets == 10 * MIB
    assert (again.result_code, other.result_code) == (2001, 5012)


def test_an_update_of_an_unknown_session_is_refused(gateway: Gateway) -> None:
    assert gateway.ask(2, 1, "pgw.example.net;3;unknown", used=1).result_code == 5002


def test_a_watchdog_request_of_the_node_is_answered(gateway: Gateway) -> None:
    before = gateway.peer.counters.dwa
    gateway.node.send_dwr(gateway.peer.connection)
    until(lambda: gateway.peer.counters.dwa == before + 1)


def test_the_node_takes_leave_with_a_dpr_and_gets_its_dpa(server: Server) -> None:
    logging.getLogger("diameter").setLevel(logging.CRITICAL)
    gateway = Gateway(server.port)
    gateway.node.stop(wait_timeout=20)
    assert gateway.peer.counters.dpa == 1


def test_the_node_is_asked_anew_after_a_top_up_answers_and_is_granted_more(server: Server) -> None:
    logging.getLogger("diameter").setLevel(logging.CRITICAL)
    msisdn, session = "491700000077", "pgw.example.net;4;poor"
    server.ocs("subscriber", "create", msisdn, "--tariff", "flat-data", "--credit", "0.05")
    asked: Queue[Any] = Queue()

    def obey(application: Any, request: Any) -> Any:
        asked.put(request)
        return application.generate_answer(request, result_code=2001)

    gateway = Gateway(server.port, obey)
    try:
        (service,) = gateway.ask(1, 0, session, msisdn=msisdn).multiple_services_credit_control
        assert service.granted_service_unit.cc_total_octets == 5 * MIB
        assert service.final_unit_indication.final_unit_action == 0

        server.ocs("topup", msisdn, "10.00", "--id", "poor")

        request = asked.get(timeout=20)
        assert isinstance(request, ReAuthRequest)
        assert (request.session_id, request.destination_host) == (session, b"pgw.example.net")
        assert (request.auth_application_id, request.re_auth_request_type) == (4, 0)
        (service,) = gateway.ask(2, 1, session, used=MIB, msisdn=msisdn).multiple_services_credit_control
        assert service.granted_service_unit.cc_total_octets == 10 * MIB
        assert service.final_unit_indication is None

        assert server.ocs("session", "end", session)["client_told"] is True

        assert isinstance(asked.get(timeout=20), AbortSessionRequest)
        assert gateway.ask(3, 2, session, used=MIB, ends=True, msisdn=msisdn).result_code == 2001
        assert server.ocs("balance", msisdn)["balance"] == "10.03"
    finally:
        gateway.node.stop(wait_timeout=20)


# ---------------------------------------------------------------- octet for octet, through its codec alone


def origin(request: Any) -> Any:
    request.origin_host = b"raw.example.net"
    request.origin_realm = b"example.net"
    return request


def capabilities() -> Any:
    request = origin(CapabilitiesExchangeRequest())
    request.host_ip_address = ["127.0.0.1"]
    request.vendor_id = 0
    request.product_name = "stranger"
    request.auth_application_id = [4]
    request.supported_vendor_id = [5535, VENDOR_TGPP, 13019]
    return request


def heard(connection: socket.socket) -> Any:
    """Read the next message with python-diameter's codec."""
    head = connection.recv(20, socket.MSG_WAITALL)
    return Message.from_bytes(
        head + connection.recv(int.from_bytes(head[1:4], "big") - 20, socket.MSG_WAITALL)
    )


def say(connection: socket.socket, request: Any, hop_by_hop: int) -> Any:
    """Send a request and read the answer with python-diameter's codec; requests of the server's are not answered (CLIENTS 24)."""
    request.header.hop_by_hop_identifier = hop_by_hop
    request.header.end_to_end_identifier = hop_by_hop + 1
    connection.sendall(request.as_bytes())
    answer = heard(connection)
    while answer.header.is_request:
        answer = heard(connection)
    assert answer.header.hop_by_hop_identifier == hop_by_hop
    assert answer.header.end_to_end_identifier == hop_by_hop + 1
    return answer


def test_the_capabilities_answer_says_what_real_elements_need(server: Server) -> None:
    with server.connect() as connection:
        answer = say(connection, capabilities(), 0)
    assert answer.result_code == 2001  # CLIENTS 1
    assert (answer.origin_host, answer.origin_realm) == (b"ocs.example.org", b"example.org")
    assert [address[1] for address in answer.host_ip_address] == ["127.0.0.1"]
    assert answer.auth_application_id == [4]  # CLIENTS 2, both ways
    assert [(each.vendor_id, each.auth_application_id) for each in answer.vendor_specific_application_id] == [
        (VENDOR_TGPP, 4)
    ]
    assert VENDOR_TGPP in answer.supported_vendor_id
    assert answer.product_name


def test_nothing_in_common_is_5010_and_the_end(server: Server) -> None:
    request = capabilities()
    request.auth_application_id = [16_777_236]  # Rx
    with server.connect() as connection:
        assert say(connection, request, 1).result_code == 5010
        assert connection.recv(1) == b""


def test_watchdog_and_disconnect_are_answered_by_name(server: Server) -> None:
    with server.connect() as connection:
        say(connection, capabilities(), 1)
        watchdog = say(connection, origin(DeviceWatchdogRequest()), 2)
        assert (watchdog.result_code, watchdog.origin_host) == (2001, b"ocs.example.org")
        leave = origin(DisconnectPeerRequest())
        leave.disconnect_cause = 0
        assert say(connection, leave, 3).result_code == 2001


def test_a_request_without_what_it_must_have_is_answered_with_what_is_missing(server: Server) -> None:
    broken = ccr(1, 0, "raw.example.net;1")
    broken.header.application_id = APP_DIAMETER_CREDIT_CONTROL_APPLICATION
    broken.cc_request_type = None
    with server.connect() as connection:
        say(connection, capabilities(), 1)
        answer = say(connection, broken, 2)
        assert answer.result_code == 5005
        assert [each.code for each in answer.failed_avp[0].additional_avps] == [416]
        assert say(connection, origin(DeviceWatchdogRequest()), 3).result_code == 2001
