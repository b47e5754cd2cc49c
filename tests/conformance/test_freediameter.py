"""freeDiameter as peer and as relay: it dials `ocs serve`, plain and over TLS, and a gateway of python-diameter charges through it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, Self

import pytest
from diameter.message.constants import APP_DIAMETER_CREDIT_CONTROL_APPLICATION, VENDOR_TGPP
from diameter.node import Node
from diameter.node.application import Application

from tests.certificates import Authority
from tests.conformance.test_python_diameter import MIB, MSISDN, ccr
from tests.house.source import ROOT
from tests.real_ocs import RealOcs
from tests.real_valkey import RealValkey, free_port
from tests.strangers import PATIENCE_S, Stranger, await_that, needs
from tests.tap import Tap

pytestmark = needs("freediameter")

TEMPLATE = Template((ROOT / "tests/conformance/strangers/freediameter.conf").read_text(encoding="utf-8"))
RELAY, GATEWAY, OCS = "relay.example.net", "pgw.example.net", "ocs.example.org"
CER, CCR, DWR, DPR = 257, 272, 280, 282
RELAY_APPLICATION = 0xFFFF_FFFF
CREDIT = "10.00"


class Gateway:
    """A packet gateway of python-diameter that every relay dials."""

    def __init__(self) -> None:
        logging.getLogger("diameter").setLevel(logging.CRITICAL)
        self.port = free_port()
        self._node: Any = Node(GATEWAY, "example.net", ["127.0.0.1"], self.port, vendor_ids=[VENDOR_TGPP])
        self._node.wakeup_interval = 0.1
        peer = self._node.add_peer(f"aaa://{RELAY}", "example.org")
        self._application: Any = Application(
            APP_DIAMETER_CREDIT_CONTROL_APPLICATION, is_auth_application=True
        )
        self._node.add_application(self._application, [peer], realms=["example.org"])

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


class Server(NamedTuple):
    """Whom the relay dials, and where."""

    name: str
    port: int
    tls: bool = False

    def line(self) -> str:
        plain = "" if self.tls else "No_TLS; "
        return f'ConnectPeer = "{self.name}" {{ ConnectTo = "127.0.0.1"; Port = {self.port}; {plain}}};'


def relay(
    folder: Path, authority: Authority, gateway_port: int, *servers: Server, watchdog_s: int = 30
) -> Stranger:
    """A freeDiameter that prefers its servers in this order."""
    own, routes, settings = authority.pair(RELAY), folder / "routes.conf", folder / "freediameter.conf"
    rules = [f'* : "{server.name}" += {10 - place} ;\n' for place, server in enumerate(servers)]
    routes.write_text("".join(rules), encoding="utf-8")
    settings.write_text(
        TEMPLATE.substitute(
            watchdog_s=watchdog_s,
            certificate=own.certificate,
            key=own.key,
            authority=authority.certificate,
            gateway_port=gateway_port,
            routes=routes,
            servers="\n".join(server.line() for server in servers),
        ),
        encoding="utf-8",
    )
    return Stranger("freediameter", ["freeDiameterd", "-c", str(settings)], folder)


def await_open(freediameter: Stranger, peer: str, times: int = 1) -> None:
    freediameter.await_line(f"-> 'STATE_OPEN'\t'{peer}'", times)


def charge_a_session(gateway: Gateway, session: str) -> list[Any]:
    """Initial, update of 3 MiB, termination after half a MiB more: 0.04 EUR."""
    return [
        gateway.ask(1, 0, session),
        gateway.ask(2, 1, session, used=3 * MIB),
        gateway.ask(3, 2, session, used=MIB // 2, ends=True),
    ]


def results(answers: list[Any]) -> list[tuple[int, list[int]]]:
    return [
        (each.result_code, [service.result_code for service in each.multiple_services_credit_control])
        for each in answers
    ]


GRANTED = (2001, [2001])


def subscribe(server: RealOcs) -> None:
    server.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", CREDIT)


# ---------------------------------------------------------------- the relay between a gateway and us


class Relayed(NamedTuple):
    """Gateway, freeDiameter, tap, server: in a row."""

    server: RealOcs
    tap: Tap
    freediameter: Stranger
    gateway: Gateway


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        yield made


@pytest.fixture(scope="module")
def relayed(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, gateway: Gateway
) -> Iterator[Relayed]:
    folder = tmp_path_factory.mktemp("relayed")
    with RealOcs(folder) as server, Tap(server.port) as tap:
        subscribe(server)
        with relay(folder, authority, gateway.port, Server(OCS, tap.port), watchdog_s=6) as freediameter:
            await_open(freediameter, OCS)
            gateway.await_relay()
            yield Relayed(server, tap, freediameter, gateway)


def test_the_relay_offers_its_own_application_alone_and_takes_our_answer(relayed: Relayed) -> None:
    """CLIENTS 1 and 3; its log says what it read of our CEA, by its own dictionary."""
    (asked,) = relayed.tap.of(CER, from_server=False, request=True)
    assert asked.value(258) == RELAY_APPLICATION
    assert asked.all_of(260) == asked.all_of(259) == []
    (answered,) = relayed.tap.of(CER, from_server=True, request=False)
    assert answered.value(268) == 2001
    (said,) = [
        line for line in relayed.freediameter.said().splitlines() if 'Origin-Host(264)[-M]="ocs' in line
    ]
    assert "DIAMETER_SUCCESS" in said
    assert "Unknown" not in said


def test_a_session_is_charged_through_the_relay(relayed: Relayed) -> None:
    """RFC 6733 sections 2.8.1, 6.2 and 6.7.1: hop-by-hop ids are the relay's, end-to-end ids the gateway's."""
    session = "pgw.example.net;1;relayed"
    answers = charge_a_session(relayed.gateway, session)
    assert results(answers) == [GRANTED] * 3
    assert [each.session_id for each in answers] == [session] * 3
    asked = relayed.tap.of(CCR, from_server=False, request=True)
    answered = relayed.tap.of(CCR, from_server=True, request=False)
    assert [each.value(282) for each in asked] == [GATEWAY.encode()] * 3
    ends = [each.header.end_to_end_identifier for each in answers]
    hops = [each.header.hop_by_hop_identifier for each in answers]
    for seen in (asked, answered):
        assert [each.typed.header.end_to_end_identifier for each in seen] == ends
    rewritten = [each.typed.header.hop_by_hop_identifier for each in asked]
    assert [each.typed.header.hop_by_hop_identifier for each in answered] == rewritten
    assert not set(rewritten) & set(hops)
    assert relayed.server.balance(MSISDN) == ("9.96", "0.00")


def test_a_refusal_comes_back_through_the_relay(relayed: Relayed) -> None:
    answer = relayed.gateway.ask(2, 1, "pgw.example.net;2;never opened", used=1)
    assert (answer.result_code, answer.origin_host) == (5002, OCS.encode())


def test_the_relays_watchdog_is_answered(relayed: Relayed) -> None:
    """RFC 6733 section 5.5: after six silent seconds, the least that RFC 3539 allows."""
    relayed.freediameter.await_that(
        lambda: bool(relayed.tap.of(DWR, from_server=True, request=False)), "a watchdog answer"
    )
    asked = relayed.tap.of(DWR, from_server=False, request=True)[0]
    answered = relayed.tap.of(DWR, from_server=True, request=False)[0]
    assert answered.value(268) == 2001
    assert answered.typed.header.hop_by_hop_identifier == asked.typed.header.hop_by_hop_identifier
    charge_a_session(relayed.gateway, "pgw.example.net;3;after the watchdog")
    assert relayed.freediameter.said().count("'STATE_SUSPECT'") == 0


def test_the_relay_takes_leave_and_gets_its_answer(relayed: Relayed) -> None:
    """RFC 6733 section 5.4. The last test of this relay: it ends."""
    relayed.freediameter.stop()
    (asked,) = relayed.tap.of(DPR, from_server=False, request=True)
    (answered,) = relayed.tap.of(DPR, from_server=True, request=False)
    assert (asked.value(273), answered.value(268)) == (0, 2001)  # REBOOTING
    assert answered.typed.header.hop_by_hop_identifier == asked.typed.header.hop_by_hop_identifier
    await_that(
        lambda: relayed.server.count("ocs_connections_closed_total", "disconnect") == 1,
        "its connection closes",
    )
    assert relayed.server.troubles() == []
    assert relayed.server.ocs("audit")["clean"]


# ---------------------------------------------------------------- a server that restarts


def test_the_relay_answers_our_watchdog_and_leave_and_comes_back_to_the_restarted_server(
    tmp_path: Path, authority: Authority, gateway: Gateway
) -> None:
    """RFC 6733 sections 5.4 and 5.5, and a session that outlives the server (section 2.5)."""
    session = "pgw.example.net;1;restarted"
    port = free_port()
    options = ("--diameter-port", str(port))
    with (
        Tap(port) as tap,
        relay(tmp_path, authority, gateway.port, Server(OCS, tap.port)) as freediameter,
    ):
        with RealOcs(tmp_path, *options, OCS_DIAMETER__WATCHDOG_S="6") as server:
            subscribe(server)
            await_open(freediameter, OCS)
            gateway.await_relay()
            assert gateway.ask(1, 0, session).result_code == 2001
            freediameter.await_that(
                lambda: bool(tap.of(DWR, from_server=False, request=False)), "an answer to our watchdog"
            )
            assert tap.of(DWR, from_server=False, request=False)[0].value(268) == 2001
        (leave,) = tap.of(DPR, from_server=False, request=False)
        assert leave.value(268) == 2001
        freediameter.await_line("sent a DPR with cause: REBOOTING")
        with RealOcs(tmp_path, *options) as server:
            await_open(freediameter, OCS, 2)
            assert results([gateway.ask(2, 1, session, used=3 * MIB)]) == [GRANTED]
            assert results([gateway.ask(3, 2, session, used=MIB // 2, ends=True)]) == [GRANTED]
            assert server.balance(MSISDN) == ("9.96", "0.00")
            assert server.troubles() == []


# ---------------------------------------------------------------- TLS from the first octet


ONLY_OVER_TLS = """
[[diameter.peers]]
origin_host = "relay.example.net"
origin_realm = "example.net"
address = "127.0.0.0/8"
tls_required = true
"""


class Secured(NamedTuple):
    """A server that lets the relay in over TLS alone."""

    server: RealOcs
    port: int


@contextmanager
def secured(folder: Path, authority: Authority, trusted: Authority) -> Iterator[Secured]:
    settings = folder / "ocs.toml"
    settings.write_text(ONLY_OVER_TLS, encoding="utf-8")
    ours, port = authority.pair(OCS), free_port()
    with RealOcs(
        folder,
        *("--config", str(settings)),
        OCS_DIAMETER__TLS__PORT=str(port),
        OCS_DIAMETER__TLS__CERTIFICATE=str(ours.certificate),
        OCS_DIAMETER__TLS__KEY=str(ours.key),
        OCS_DIAMETER__TLS__CA=str(trusted.certificate),
    ) as server:
        yield Secured(server, port)


def test_a_session_is_charged_over_tls_with_certificates_of_both_sides(
    tmp_path: Path, authority: Authority, gateway: Gateway
) -> None:
    """RFC 6733 sections 2.2 and 13.1, CLIENTS 4: TLS before the first message; the certificate's CN is the identity."""
    with secured(tmp_path, authority, authority) as (server, port):
        subscribe(server)
        with (
            relay(tmp_path, authority, gateway.port, Server(OCS, port, tls=True)) as freediameter,
        ):
            await_open(freediameter, OCS)
            gateway.await_relay()
            answers = charge_a_session(gateway, "pgw.example.net;1;over TLS")
            assert results(answers) == [GRANTED] * 3
            assert server.balance(MSISDN) == ("9.96", "0.00")
        await_that(
            lambda: server.count("ocs_connections_closed_total", "disconnect") == 1,
            "a leave by DPR, over TLS too",
        )
        assert server.troubles() == []


def test_a_certificate_of_another_authority_and_the_plain_port_get_the_relay_nowhere(
    tmp_path: Path, authority: Authority, gateway: Gateway
) -> None:
    another = Authority(tmp_path / "another", "another authority")
    with secured(tmp_path, authority, another) as (server, port):
        with relay(tmp_path, authority, gateway.port, Server(OCS, port, tls=True)):
            await_that(
                lambda: server.count("ocs_peers_refused_total", "tls") > 0, "the certificate is refused"
            )
        with relay(tmp_path, authority, gateway.port, Server(OCS, server.port)) as freediameter:
            freediameter.await_line("DIAMETER_UNKNOWN_PEER")
        assert server.count("ocs_connections_turned_away_total", "tls_handshake") > 0
        assert "peer open" not in server.log.read_text(encoding="utf-8")


# ---------------------------------------------------------------- a server that is lost with an answer under way


def test_what_a_lost_server_was_asked_is_asked_again_elsewhere_and_counts_once(
    tmp_path: Path, authority: Authority, gateway: Gateway
) -> None:
    """RFC 6733 section 5.5.4 and CLIENTS 25: two servers on one store; the relay repeats with the T-bit."""
    session, first, second = "pgw.example.net;1;failed over", "ocs-a.example.org", "ocs-b.example.org"
    with (
        RealValkey(settings={"appendfsync": "always"}) as store,
        RealOcs(tmp_path / "a", OCS_STORE__URL=store.url, OCS_DIAMETER__ORIGIN_HOST=first) as one,
        RealOcs(tmp_path / "b", OCS_STORE__URL=store.url, OCS_DIAMETER__ORIGIN_HOST=second) as other,
        Tap(one.port) as tap,
        Tap(other.port) as other_tap,
        relay(
            tmp_path, authority, gateway.port, Server(first, tap.port), Server(second, other_tap.port)
        ) as freediameter,
    ):
        subscribe(one)
        await_open(freediameter, first)
        await_open(freediameter, second)
        gateway.await_relay()
        assert results([gateway.ask(1, 0, session)]) == [GRANTED]
        tap.swallows = True
        with ThreadPoolExecutor() as thread:
            asked = thread.submit(gateway.ask, 2, 1, session, used=3 * MIB)
            await_that(
                lambda: len(tap.of(CCR, from_server=True, request=False)) == 2, "the answer that is lost"
            )
            tap.cut()
            answer = asked.result(PATIENCE_S)
        assert results([answer]) == [GRANTED]
        assert answer.origin_host == second.encode()
        (again,) = other_tap.of(CCR, from_server=False, request=True)
        original = tap.of(CCR, from_server=False, request=True)[-1]
        assert again.typed.header.is_retransmit
        assert not original.typed.header.is_retransmit
        assert again.typed.header.end_to_end_identifier == original.typed.header.end_to_end_identifier
        assert other.count("ocs_charging_notes_total", "replay") == 1
        assert results([gateway.ask(3, 2, session, used=MIB // 2, ends=True)]) == [GRANTED]
        assert other.balance(MSISDN) == ("9.96", "0.00")
        assert other.ocs("audit")["clean"]
