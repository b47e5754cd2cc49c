"""freeDiameter as peer and as relay: it dials `ocs serve`, plain and over TLS, and a gateway of python-diameter charges through it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path
from queue import Queue
from string import Template
from typing import Any, NamedTuple, Self

import pytest
from diameter.message.commands import AbortSessionRequest, ReAuthRequest
from diameter.message.constants import APP_DIAMETER_CREDIT_CONTROL_APPLICATION, VENDOR_TGPP
from diameter.node import Node
from diameter.node.application import Application

from tests.certificates import Authority
from tests.conformance.test_accounting import record
from tests.conformance.test_python_diameter import MIB, MSISDN, ccr
from tests.house.source import ROOT
from tests.real_ocs import RealOcs
from tests.real_valkey import RealValkey, free_port
from tests.strangers import PATIENCE_S, Stranger, await_that, needs
from tests.tap import Tap

pytestmark = needs("freediameter")

TEMPLATE = Template((ROOT / "tests/conformance/strangers/freediameter.conf").read_text(encoding="utf-8"))
RELAY, SECURED, BYSTANDER = "relay.example.net", "secured.example.net", "bystander.example.net"
GATEWAY, OCS, OTHER = "pgw.example.net", "ocs.example.org", "other.example.org"
CER, RAR, CCR, ASR, DWR, DPR = 257, 258, 272, 274, 280, 282
RELAY_APPLICATION = 0xFFFF_FFFF
SUCCESS = 2001
REBOOTING = 0
GRANTED = (2001, [2001])
COST = Decimal("0.04")
"""Of a session as `Gateway.charge` has it: four started MiB."""

PEERS = """
[[diameter.peers]]
origin_host = "secured.example.net"
origin_realm = "example.net"
address = "127.0.0.0/8"
tls_required = true

[[diameter.peers]]
origin_host = "*"
origin_realm = "*"
address = "127.0.0.0/8"
"""


class Obedient(Application):  # type: ignore[misc]
    """Answers what the server asks with success, and keeps it."""

    def __init__(self) -> None:
        super().__init__(APP_DIAMETER_CREDIT_CONTROL_APPLICATION, is_auth_application=True)
        self.asked: Queue[Any] = Queue()

    def handle_request(self, message: Any) -> None:
        self.asked.put(message)
        self.send_answer(self.generate_answer(message, result_code=SUCCESS))


class Gateway:
    """A packet gateway of python-diameter that the relays dial."""

    def __init__(self) -> None:
        logging.getLogger("diameter").setLevel(logging.CRITICAL)
        self.port = free_port()
        self._node: Any = Node(GATEWAY, "example.net", ["127.0.0.1"], self.port, vendor_ids=[VENDOR_TGPP])
        self._node.wakeup_interval = 0.1
        peers = [self._node.add_peer(f"aaa://{name}", "example.org") for name in (RELAY, SECURED)]
        self._application: Any = Obedient()
        self.asked: Queue[Any] = self._application.asked
        self._node.add_application(self._application, peers, realms=["example.org", "example.net"])

    def __enter__(self) -> Self:
        self._node.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._node.stop(wait_timeout=5)

    def await_relay(self) -> None:
        self._application.wait_for_ready(PATIENCE_S)

    def ask(self, kind: int, number: int, session: str, **words: Any) -> Any:
        """One CCR of rating group 10 and its answer."""
        return self._application.send_request(ccr(kind, number, session, **words), timeout=PATIENCE_S)

    def account(self, request: Any) -> Any:
        """One ACR and its answer."""
        return self._application.send_request(request, timeout=PATIENCE_S)

    def charge(self, session: str) -> list[Any]:
        """Initial, update of 3 MiB, termination after half a MiB more: 0.04 EUR."""
        return [
            self.ask(1, 0, session),
            self.ask(2, 1, session, used=3 * MIB),
            self.ask(3, 2, session, used=MIB // 2, ends=True),
        ]


def results(answers: list[Any]) -> list[tuple[int, list[int]]]:
    return [
        (each.result_code, [service.result_code for service in each.multiple_services_credit_control])
        for each in answers
    ]


class Dialled(NamedTuple):
    """Whom a relay dials, and where."""

    name: str
    port: int
    tls: bool = False

    def line(self) -> str:
        plain = "" if self.tls else "No_TLS; "
        return f'ConnectPeer = "{self.name}" {{ ConnectTo = "127.0.0.1"; Port = {self.port}; {plain}}};'


class Network(NamedTuple):
    """Two servers on one store, a tap before each, a gateway; relays come and go."""

    folder: Path
    authority: Authority
    server: RealOcs
    other: RealOcs
    tls_port: int
    tap: Tap
    other_tap: Tap
    gateway: Gateway

    def relay(self, identity: str, *dialled: Dialled, watchdog_s: int = 30) -> Stranger:
        """A freeDiameter that prefers whom it dials in this order."""
        folder = Path(tempfile.mkdtemp(prefix=f"{identity}-", dir=self.folder))
        own, routes, settings = (
            self.authority.pair(identity),
            folder / "routes.conf",
            folder / "freediameter.conf",
        )
        rules = [f'* : "{each.name}" += {10 - place} ;\n' for place, each in enumerate(dialled)]
        routes.write_text("".join(rules), encoding="utf-8")
        text = TEMPLATE.substitute(
            identity=identity,
            watchdog_s=watchdog_s,
            certificate=own.certificate,
            key=own.key,
            authority=self.authority.certificate,
            routes=routes,
            dialled="\n".join(each.line() for each in dialled),
        )
        settings.write_text(text, encoding="utf-8")
        return Stranger("freediameter", ["freeDiameterd", "-c", str(settings)], folder)

    def balance(self) -> Decimal:
        balance, reserved = self.other.balance(MSISDN)
        assert reserved == "0.00"
        return Decimal(balance)


def opened(freediameter: Stranger, peer: str) -> int:
    """How often it has opened this peer."""
    return freediameter.said().count(f"-> 'STATE_OPEN'\t'{peer}'")


def await_open(freediameter: Stranger, peer: str, times: int = 1) -> None:
    freediameter.await_that(lambda: opened(freediameter, peer) >= times, f"{peer} is open")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The first server asks nobody for life within the tests, the other does after six silent seconds."""
    folder = tmp_path_factory.mktemp("network")
    authority = Authority(folder / "certificates")
    (folder / "ocs.toml").write_text(PEERS, encoding="utf-8")
    config, ours, tls_port = ("--config", str(folder / "ocs.toml")), authority.pair(OCS), free_port()
    with ExitStack() as stack:
        store = stack.enter_context(RealValkey(settings={"appendfsync": "always"}))
        server = stack.enter_context(
            RealOcs(
                folder / "ocs",
                *(*config, "--diameter-port", str(free_port())),
                OCS_STORE__URL=store.url,
                OCS_ACCOUNTING__ENABLED="true",
                OCS_DIAMETER__ORIGIN_HOST=OCS,
                OCS_DIAMETER__TLS__PORT=str(tls_port),
                OCS_DIAMETER__TLS__CERTIFICATE=str(ours.certificate),
                OCS_DIAMETER__TLS__KEY=str(ours.key),
                OCS_DIAMETER__TLS__CA=str(authority.certificate),
            )
        )
        other = stack.enter_context(
            RealOcs(
                folder / "other",
                *config,
                OCS_STORE__URL=store.url,
                OCS_DIAMETER__ORIGIN_HOST=OTHER,
                OCS_DIAMETER__WATCHDOG_S="6",
            )
        )
        server.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", "10.00")
        tap, other_tap = stack.enter_context(Tap(server.port)), stack.enter_context(Tap(other.port))
        gateway = stack.enter_context(Gateway())
        yield Network(folder, authority, server, other, tls_port, tap, other_tap, gateway)


@pytest.fixture(scope="module")
def relay(network: Network) -> Iterator[Stranger]:
    """The relay between the gateway and the servers; it asks for life after six silent seconds."""
    dialled = [
        Dialled(GATEWAY, network.gateway.port),
        Dialled(OCS, network.tap.port),
        Dialled(OTHER, network.other_tap.port),
    ]
    with network.relay(RELAY, *dialled, watchdog_s=6) as freediameter:
        for each in dialled:
            await_open(freediameter, each.name)
        network.gateway.await_relay()
        yield freediameter


@pytest.fixture(scope="module")
def bystander(network: Network) -> Iterator[Tap]:
    """The tap of a relay that is silent, so that the other server asks it for life."""
    with Tap(network.other.port) as tap, network.relay(BYSTANDER, Dialled(OTHER, tap.port)) as freediameter:
        await_open(freediameter, OTHER)
        yield tap


# ---------------------------------------------------------------- the relay between a gateway and us


def test_the_relay_offers_its_own_application_alone_and_takes_our_answer(
    network: Network, relay: Stranger, bystander: Tap
) -> None:
    """CLIENTS 1 and 3; its log says what it read of our CEA, by its own dictionary."""
    (asked,) = network.tap.of(CER, from_server=False, request=True)
    assert asked.value(258) == RELAY_APPLICATION
    assert asked.all_of(260) == asked.all_of(259) == []
    (answered,) = network.tap.of(CER, from_server=True, request=False)
    assert answered.value(268) == 2001
    (line,) = [line for line in relay.said().splitlines() if f'Origin-Host(264)[-M]="{OCS}"' in line]
    assert "DIAMETER_SUCCESS" in line
    assert "Unknown" not in line


def test_a_session_is_charged_through_the_relay(network: Network, relay: Stranger) -> None:
    """RFC 6733 sections 2.8.1, 6.2 and 6.7.1: hop-by-hop ids are the relay's, end-to-end ids the gateway's."""
    session, before = "pgw.example.net;1;relayed", network.balance()
    answers = network.gateway.charge(session)
    assert results(answers) == [GRANTED] * 3
    assert [each.session_id for each in answers] == [session] * 3
    asked = network.tap.of(CCR, from_server=False, request=True)
    answered = network.tap.of(CCR, from_server=True, request=False)
    assert [each.value(282) for each in asked] == [GATEWAY.encode()] * 3
    ends = [each.header.end_to_end_identifier for each in answers]
    hops = [each.header.hop_by_hop_identifier for each in answers]
    for seen in (asked, answered):
        assert [each.typed.header.end_to_end_identifier for each in seen] == ends
    rewritten = [each.typed.header.hop_by_hop_identifier for each in asked]
    assert [each.typed.header.hop_by_hop_identifier for each in answered] == rewritten
    assert not set(rewritten) & set(hops)
    assert before - network.balance() == COST


def test_an_accounting_session_is_told_through_the_relay_and_counts_once(
    network: Network, relay: Stranger
) -> None:
    session, before = "pgw.example.net;7;told", network.balance()
    told = [
        record(2, 0, session=session),
        record(3, 1, MIB, session=session),
        record(4, 2, MIB, session=session),
    ]
    for request in (*told, told[1]):
        request.origin_host, request.origin_realm = GATEWAY.encode(), b"example.net"
        answer = network.gateway.account(request)
        assert (answer.result_code, answer.origin_host) == (2001, OCS.encode())
        assert answer.accounting_record_number == request.accounting_record_number
    assert before - network.balance() == Decimal("0.02")


def test_a_refusal_comes_back_through_the_relay(network: Network, relay: Stranger) -> None:
    answer = network.gateway.ask(2, 1, "pgw.example.net;2;never opened", used=1)
    assert (answer.result_code, answer.origin_host) == (5002, OCS.encode())


def test_what_we_ask_first_goes_through_the_relay_and_its_answer_comes_back(
    network: Network, relay: Stranger
) -> None:
    """RFC 6733 sections 8.3 and 8.5, CLIENTS 24: a top-up has the gateway ask anew, an ended session is told."""
    server, tap, gateway = network.server, network.tap, network.gateway
    msisdn, session = "491700000077", "pgw.example.net;6;poor"
    server.ocs("subscriber", "create", msisdn, "--tariff", "flat-data", "--credit", "0.05")
    assert results([gateway.ask(1, 0, session, msisdn=msisdn)]) == [GRANTED]
    server.ocs("topup", msisdn, "10.00", "--id", "poor")
    again = gateway.asked.get(timeout=PATIENCE_S)
    assert isinstance(again, ReAuthRequest)
    assert results([gateway.ask(2, 1, session, used=MIB, msisdn=msisdn)]) == [GRANTED]
    assert server.ocs("session", "end", session)["client_told"] is True
    ended = gateway.asked.get(timeout=PATIENCE_S)
    assert isinstance(ended, AbortSessionRequest)
    for command, request in ((RAR, again), (ASR, ended)):
        assert (request.session_id, request.destination_host) == (session, GATEWAY.encode())
        assert request.route_record == [OCS.encode()]
        await_that(partial(tap.of, command, from_server=False, request=False), "the gateway's answer")
        (answered,) = tap.of(command, from_server=False, request=False)
        (asked,) = tap.of(command, from_server=True, request=True)
        assert (answered.value(268), answered.value(264)) == (SUCCESS, GATEWAY.encode())
        assert answered.typed.header.hop_by_hop_identifier == asked.typed.header.hop_by_hop_identifier
        assert request.header.hop_by_hop_identifier != asked.typed.header.hop_by_hop_identifier
    assert gateway.ask(3, 2, session, used=MIB, ends=True, msisdn=msisdn).result_code == SUCCESS
    assert server.balance(msisdn) == ("10.03", "0.00")
    assert server.count("ocs_answers_stray_total") == 0


def test_what_a_lost_server_was_asked_is_asked_again_elsewhere_and_counts_once(
    network: Network, relay: Stranger
) -> None:
    """RFC 6733 section 5.5.4 and CLIENTS 25: the relay repeats at the other server, with the T-bit."""
    session, before = "pgw.example.net;3;failed over", network.balance()
    tap, gateway, times = network.tap, network.gateway, opened(relay, OCS)
    assert results([gateway.ask(1, 0, session)]) == [GRANTED]
    charged = len(tap.of(CCR, from_server=True, request=False))
    tap.swallows = True
    with ThreadPoolExecutor() as thread:
        asked = thread.submit(gateway.ask, 2, 1, session, used=3 * MIB)
        await_that(
            lambda: len(tap.of(CCR, from_server=True, request=False)) > charged, "the answer that is lost"
        )
        tap.cut()
        answer = asked.result(PATIENCE_S)
    tap.swallows = False
    await_open(relay, OCS, times + 1)
    assert results([answer]) == [GRANTED]
    assert answer.origin_host == OTHER.encode()
    (again,) = network.other_tap.of(CCR, from_server=False, request=True)
    original = tap.of(CCR, from_server=False, request=True)[-1]
    assert (original.typed.header.is_retransmit, again.typed.header.is_retransmit) == (False, True)
    assert again.typed.header.end_to_end_identifier == original.typed.header.end_to_end_identifier
    assert network.other.count("ocs_charging_notes_total", "replay") == 1
    assert results([gateway.ask(3, 2, session, used=MIB // 2, ends=True)]) == [GRANTED]
    assert before - network.balance() == COST


def is_answered(tap: Tap, *, ours: bool) -> bool:
    """Whether a watchdog request, of ours or of the relay, has its answer."""
    asked = tap.of(DWR, from_server=ours, request=True)
    answered = tap.of(DWR, from_server=not ours, request=False)
    if answered:
        assert answered[0].value(268) == 2001
        assert answered[0].typed.header.hop_by_hop_identifier == asked[0].typed.header.hop_by_hop_identifier
    return bool(answered)


def test_watchdogs_of_both_sides_are_answered(network: Network, relay: Stranger, bystander: Tap) -> None:
    """RFC 6733 section 5.5: after six silent seconds, the least that RFC 3539 allows."""
    for tap, ours in ((network.tap, False), (bystander, True)):
        await_that(partial(is_answered, tap, ours=ours), "a watchdog answer")
    assert "'STATE_SUSPECT'" not in relay.said()


def test_the_relay_answers_our_leave_and_comes_back_to_the_restarted_server(
    network: Network, relay: Stranger
) -> None:
    """RFC 6733 sections 2.5 and 5.4: a session outlives the server."""
    session, before = "pgw.example.net;4;restarted", network.balance()
    times = opened(relay, OCS)
    assert results([network.gateway.ask(1, 0, session)]) == [GRANTED]
    network.server.restart()
    (leave,) = network.tap.of(DPR, from_server=False, request=False)
    assert leave.value(268) == 2001
    relay.await_line("sent a DPR with cause: REBOOTING")
    await_open(relay, OCS, times + 1)
    answers = [
        network.gateway.ask(2, 1, session, used=3 * MIB),
        network.gateway.ask(3, 2, session, used=MIB // 2, ends=True),
    ]
    assert results(answers) == [GRANTED] * 2
    assert [each.origin_host for each in answers] == [OCS.encode()] * 2
    assert before - network.balance() == COST


def test_the_relay_takes_leave_and_gets_its_answer(network: Network, relay: Stranger) -> None:
    """RFC 6733 section 5.4. The relay ends with it."""
    relay.stop()
    for tap in (network.tap, network.other_tap):
        (asked,) = tap.of(DPR, from_server=False, request=True)
        (answered,) = tap.of(DPR, from_server=True, request=False)
        assert (asked.value(273), answered.value(268)) == (REBOOTING, 2001)
        assert answered.typed.header.hop_by_hop_identifier == asked.typed.header.hop_by_hop_identifier
    await_that(
        lambda: network.other.count("ocs_connections_closed_total", "disconnect") == 1, "the connection's end"
    )


# ---------------------------------------------------------------- TLS from the first octet


def test_a_session_is_charged_over_tls_with_certificates_of_both_sides(network: Network) -> None:
    """RFC 6733 sections 2.2 and 13.1, CLIENTS 4: TLS before the first message; the certificate's CN is the identity."""
    before = network.balance()
    dialled = Dialled(GATEWAY, network.gateway.port), Dialled(OCS, network.tls_port, tls=True)
    with network.relay(SECURED, *dialled) as freediameter:
        for each in dialled:
            await_open(freediameter, each.name)
        network.gateway.await_relay()
        answers = network.gateway.charge("pgw.example.net;5;over TLS")
        assert results(answers) == [GRANTED] * 3
        closed = network.server.count("ocs_connections_closed_total", "disconnect")
    await_that(
        lambda: network.server.count("ocs_connections_closed_total", "disconnect") > closed,
        "a leave by DPR, over TLS too",
    )
    assert before - network.balance() == COST


def test_who_has_to_come_over_tls_is_refused_on_the_plain_port(network: Network) -> None:
    with network.relay(SECURED, Dialled(OCS, network.server.port)) as freediameter:
        freediameter.await_line("DIAMETER_UNKNOWN_PEER")
        assert "-> 'STATE_OPEN'" not in freediameter.said()


def test_after_all_of_it_the_books_are_right(network: Network) -> None:
    assert network.other.ocs("sessions") == []
    assert network.other.ocs("audit")["clean"]
    assert network.server.troubles() == network.other.troubles() == []
