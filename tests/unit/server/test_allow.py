from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
import structlog

from ocs import limits
from ocs.diameter.base import Identity
from ocs.server.allow import AllowList, AllowRow, Security
from ocs.server.counters import Counters
from ocs.server.secure import names_of

ROWS = (
    AllowRow("pgw.example.net", "example.net", ip_network("10.0.0.0/8")),
    AllowRow("dra.example.net", "*", ip_network("10.1.0.0/16"), tls_required=True),
    AllowRow("*", "example.org", ip_network("2001:db8::/32")),
)


class Heard:
    def __init__(self, rows: tuple[AllowRow, ...] = ROWS) -> None:
        self.lines: list[dict[str, Any]] = []
        self.counters = Counters()
        self.now_ms = 0
        log = structlog.wrap_logger(None, processors=[self._note])
        self.allow = AllowList(rows, self.counters, log, lambda: self.now_ms)

    def _note(self, _logger: Any, _method: str, event: Any) -> Any:
        self.lines.append(dict(event))
        raise structlog.DropEvent

    def reason(self, host: str, realm: str, address: str, security: Security | None = None) -> str | None:
        refusal = self.allow.judge(Identity(host, realm, address), security or Security())
        return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("host", "realm", "address", "reason"),
    [
        ("pgw.example.net", "example.net", "10.2.3.4", None),
        ("PGW.Example.Net", "EXAMPLE.net", "10.2.3.4", None),
        ("pgw.example.net", "example.net", "::ffff:10.2.3.4", None),
        ("pgw.example.net", "example.net", "192.0.2.1", "address"),
        ("pgw.example.net", "example.net", "", "address"),
        ("sgw.example.net", "example.net", "10.2.3.4", "origin_host"),
        ("pgw.example.net", "example.com", "10.2.3.4", "origin_realm"),
        ("any.example.org", "example.org", "2001:db8::7", None),
        ("any.example.org", "example.org", "2001:db8::7%eth0", None),
        ("any.example.org", "example.net", "2001:db8::7", "origin_realm"),
    ],
)
def test_host_realm_and_address_have_to_fit_one_row(
    host: str, realm: str, address: str, reason: str | None
) -> None:
    assert Heard().reason(host, realm, address) == reason


def test_nobody_is_let_in_by_an_empty_list() -> None:
    assert Heard(()).reason("pgw.example.net", "example.net", "127.0.0.1") == "address"


def test_a_row_that_requires_tls_requires_a_certificate_of_that_name() -> None:
    heard = Heard()
    peer = ("dra.example.net", "example.net", "10.1.0.1")
    assert heard.reason(*peer) == "tls"
    assert heard.reason(*peer, Security(tls=True)) == "certificate"
    assert heard.reason(*peer, Security(tls=True, names=frozenset({"pgw.example.net"}))) == "certificate"
    assert heard.reason(*peer, Security(tls=True, names=frozenset({"dra.example.net"}))) is None


def test_the_first_row_that_fits_decides() -> None:
    strict = AllowRow("*", "*", ip_network("10.0.0.0/8"), tls_required=True)
    loose = AllowRow("*", "*", ip_network("10.0.0.0/8"))
    assert Heard((strict, loose)).reason("a", "b", "10.0.0.1") == "tls"
    assert Heard((loose, strict)).reason("a", "b", "10.0.0.1") is None


def test_a_refusal_is_counted_and_told_with_who_and_why() -> None:
    heard = Heard()
    assert heard.allow.check(Identity("sgw.example.net", "example.net", "10.0.0.1")) is not None
    assert heard.counters.cells[heard.counters.index("ocs_peers_refused_total", "origin_host")] == 1
    (line,) = heard.lines
    assert (line["origin_host"], line["address"], line["reason"]) == (
        "sgw.example.net",
        "10.0.0.1",
        "origin_host",
    )


def test_a_stranger_cannot_fill_the_log() -> None:
    heard = Heard()
    stranger = Identity("x", "y", "192.0.2.1")
    heard.now_ms = 5_000
    for _ in range(1_000):
        heard.allow.check(stranger)
    assert len(heard.lines) == limits.PEER_LINES_PER_S
    heard.now_ms += 1_000
    heard.allow.check(stranger)
    assert heard.lines[-1]["unsaid"] == 1_000 - limits.PEER_LINES_PER_S
    assert heard.counters.cells[heard.counters.index("ocs_peers_refused_total", "address")] == 1_001


def test_a_certificate_names_its_dns_names_and_its_common_name() -> None:
    certificate = {
        "subject": ((("organizationName", "X"),), (("commonName", "PGW.example.net"),)),
        "subjectAltName": (("DNS", "dra.example.net"), ("IP Address", "10.0.0.1")),
    }
    assert names_of(certificate) == {"pgw.example.net", "dra.example.net"}
    assert names_of(None) == frozenset()
