"""Who is let in, and over what: TLS, addresses, the allow list; and how a worker takes leave."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest

from ocs import limits
from ocs.charging.answer import AnswerWriter
from ocs.diameter.base import BaseMessages
from ocs.diameter.codec import Codec
from ocs.diameter.message import Message
from ocs.server.allow import AllowRow
from ocs.server.secure import TlsFiles
from tests.certificates import Authority, Pair
from tests.serving import LOCAL, Client, Served

STRICT = (AllowRow("pgw.example.net", "example.net", ip_network("127.0.0.0/8"), tls_required=True),)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    ours = authority.pair("ocs.example.org")
    return TlsFiles(ours.certificate, ours.key, authority.certificate)


def secured(served: Served, authority: Authority, own: Pair | None) -> Client:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority.certificate)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    connection = socket.create_connection((served.host, served.port), timeout=20)
    return Client(context.wrap_socket(connection))


def is_turned_away(served: Served, authority: Authority, own: Pair | None) -> bool:
    """Whether a peer gets nothing to read; in TLS 1.3 its own handshake may be over before it is refused."""
    try:
        with secured(served, authority, own) as peer:
            peer.send(b"x")
            return not peer.socket.recv(1)
    except (ssl.SSLError, ConnectionError):
        return True


def test_a_peer_with_a_certificate_is_charged_over_tls(authority: Authority, files: TlsFiles) -> None:
    with (
        Served(tls=files, allow=STRICT) as served,
        secured(served, authority, authority.pair("pgw.example.net")) as peer,
    ):
        assert peer.exchange().avps["Result-Code"] == 2001
        assert peer.ask().avps["Result-Code"] == 2001


def test_a_peer_without_a_certificate_gets_nowhere(authority: Authority, files: TlsFiles) -> None:
    with Served(tls=files, allow=STRICT) as served:
        assert is_turned_away(served, authority, None)
        served.until(lambda: served.count("ocs_peers_refused_total", "tls") == 1)
        assert served.count("ocs_connections_turned_away_total", "tls_handshake") == 1


def test_a_certificate_of_another_authority_gets_nowhere(
    authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path, "another authority").pair("pgw.example.net")
    with Served(tls=files, allow=STRICT) as served:
        assert is_turned_away(served, authority, foreign)
        served.until(lambda: served.count("ocs_peers_refused_total", "tls") == 1)


def test_a_certificate_of_another_peer_does_not_open_this_one(authority: Authority, files: TlsFiles) -> None:
    with (
        Served(tls=files, allow=STRICT) as served,
        secured(served, authority, authority.pair("sgw.example.net")) as peer,
    ):
        assert peer.exchange("pgw.example.net").avps["Result-Code"] == 3010
        assert peer.read() is None
        assert served.count("ocs_peers_refused_total", "certificate") == 1


def test_a_peer_that_never_begins_its_handshake_holds_up_nobody(
    authority: Authority, files: TlsFiles
) -> None:
    with (
        Served(tls=files, allow=STRICT) as served,
        served.connect(),
        secured(served, authority, authority.pair("pgw.example.net")) as peer,
    ):
        assert peer.exchange().avps["Result-Code"] == 2001


def test_a_peer_that_has_to_come_over_tls_is_refused_on_the_plain_port() -> None:
    with Served(allow=STRICT) as served, served.connect() as peer:
        assert peer.exchange("pgw.example.net").avps["Result-Code"] == 3010
        assert peer.read() is None
        assert served.count("ocs_peers_refused_total", "tls") == 1


def test_a_peer_that_is_not_listed_is_refused_by_name_and_told_to_the_log() -> None:
    with Served(allow=STRICT) as served, served.connect() as peer:
        assert peer.exchange("stranger.example.com").avps["Result-Code"] == 3010
        assert peer.read() is None
        (line,) = [line for line in served.lines if line["event"] == "peer refused"]
        assert (line["origin_host"], line["address"], line["reason"]) == (
            "stranger.example.com",
            "127.0.0.1",
            "origin_host",
        )
        served.until(lambda: served.count("ocs_connections_closed_total", "refused") == 1)
        assert served.count("ocs_requests_total", "CER", "none", "3010") == 1


def test_an_address_that_no_row_has_is_closed_before_it_says_anything() -> None:
    rows = (AllowRow("*", "*", ip_network("192.0.2.0/24")),)
    with Served(allow=rows) as served, served.connect() as peer:
        assert peer.is_closed()
        served.until(lambda: served.count("ocs_connections_turned_away_total", "address") == 1)
        assert served.count("ocs_peers_refused_total", "address") == 1
        assert served.count("ocs_connections_total") == 0
        assert [line["reason"] for line in served.lines if line["event"] == "peer refused"] == ["address"]


def test_peers_come_over_ipv6_too_and_are_told_the_address_that_they_found_us_at() -> None:
    served = Served()
    served.host = "::1"
    with served, served.connect() as peer:
        answer = peer.exchange()
        assert answer.avps["Result-Code"] == 2001
        assert answer.avps["Host-IP-Address"] == ["::1"]
        assert peer.ask().avps["Result-Code"] == 2001


def test_a_drain_tells_peers_begins_nothing_and_finishes_what_is_under_way() -> None:
    with Served() as served, served.peer() as peer:
        served.call(lambda: setattr(served.book, "hold", True))
        peer.send(peer.ccr(2, 1, session="under way"))
        served.until(lambda: len(served.book.held) == 1)
        served.drain()
        leave = peer.answered()
        assert (leave.command, leave.is_request, leave.avps["Disconnect-Cause"]) == (282, True, 0)
        # Sent before the peer has read the DPR: nothing new, but what is open may end.
        assert peer.ask(1, 0, session="new").avps["Result-Code"] == 3004
        peer.send(peer.ccr(3, 1, session="open"))
        served.until(lambda: len(served.book.held) == 2)
        peer.send(disconnect_answer(leave.hop_by_hop))
        served.call(lambda: None)
        served.call(served.book.release)
        answers = [peer.answered().avps["Session-Id"] for _ in range(2)]
        assert answers == ["under way", "open"]
        assert peer.read() is None
        assert served.count("ocs_requests_shed_total", "drain") == 1


def call_to(peer: Client, number: str) -> bytes:
    """The Initial of a call to a number."""
    message = peer.codec.decode(peer.ccr(1, 0, session=f"call to {number}"))
    call = {"Role-Of-Node": 0, "Called-Party-Address": number}
    avps = message.avps | {
        "Service-Context-Id": "32260@3gpp.org",
        "Service-Information": {"IMS-Information": call},
    }
    return peer.codec.encode(Message(message.flags, 272, 4, message.hop_by_hop, message.end_to_end, avps))


def test_emergency_calls_are_let_in_where_other_calls_are_too_many() -> None:
    with Served(inflight_per_peer_max=4) as served, served.peer() as peer:
        served.call(lambda: setattr(served.book, "hold", True))
        for number in range(4):
            peer.send(peer.ccr(1, 0, session=f"s{number}"))
        served.until(lambda: len(served.book.held) == 4)
        peer.send(call_to(peer, "sip:+4930123456@ims.example.net"))
        refused = peer.answered()
        assert refused.avps["Session-Id"].startswith("call to sip:+4930")
        assert refused.avps["Result-Code"] == 3004
        peer.send(call_to(peer, "tel:112"))
        served.until(lambda: len(served.book.held) == 5)
        peer.send(call_to(peer, "urn:service:sos.fire"))  # no room is left but for what is under way
        assert peer.answered().avps["Result-Code"] == 3004
        served.call(served.book.release)
        answers = {
            each.avps["Session-Id"]: each.avps["Result-Code"] for each in (peer.answered() for _ in range(5))
        }
        assert answers["call to tel:112"] == 2001
        assert served.count("ocs_requests_shed_total", "peer") == 2


def disconnect_answer(hop_by_hop: int) -> bytes:
    avps = {"Result-Code": 2001, "Origin-Host": "pgw.example.net", "Origin-Realm": "example.net"}
    return Client.codec.encode(Message(0, 282, 0, hop_by_hop, hop_by_hop, avps))


def test_a_drain_does_not_wait_for_ever_for_a_peer_that_does_not_answer() -> None:
    with Served(drain_s=0.2) as served, served.peer() as peer:
        served.drain()
        assert peer.answered().command == 282
        assert peer.is_closed()
        served.until(lambda: served.count("ocs_connections_closed_total", "drain") == 1)


def test_a_peer_that_dials_again_and_again_takes_no_other_peers_place() -> None:
    with Served() as served:
        mine = [served.connect() for _ in range(limits.CONNECTIONS_PER_PEER_MAX)]
        for client in mine:
            assert client.exchange("loop.example.net").avps["Result-Code"] == 2001
        beyond = served.connect()
        local = LOCAL._replace(origin_host="loop.example.net", host_ips=("127.0.0.1",))
        beyond.send(BaseMessages(local).cer(1, 1))
        assert beyond.is_closed()
        served.until(lambda: served.count("ocs_connections_closed_total", "crowded") == 1)
        assert mine[0].ask().avps["Result-Code"] == 2001
        with served.peer("other.example.net") as other:
            assert other.ask().avps["Result-Code"] == 2001
        mine.pop().socket.close()
        served.until(lambda: served.count("ocs_connections_closed_total", "peer") == 2)
        again = served.connect()
        assert again.exchange("LOOP.example.net").avps["Result-Code"] == 2001
        for client in (*mine, again):
            client.socket.close()


def test_an_answer_that_cannot_be_written_is_counted_as_the_one_that_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_given: object) -> bytes:
        raise RuntimeError("made up")

    monkeypatch.setattr(AnswerWriter, "answer", failing)
    with Served() as served, served.peer() as peer:
        assert peer.ask().avps["Result-Code"] == 5012
        assert served.count("ocs_requests_total", "CCR", "initial", "5012") == 1
        assert served.count("ocs_requests_total", "CCR", "initial", "2001") == 0
        assert served.count("ocs_internal_faults_total") == 1


def test_a_request_that_asked_and_got_nothing_is_counted_as_it_was_answered() -> None:
    with Served() as served, served.peer() as peer:
        served.book.grant = 0
        for kind, word, single, result in (
            (1, "initial", True, 4012),
            (1, "initial", False, 2001),  # the service says 4012 itself
            (3, "termination", True, 2001),  # it asked for nothing
        ):
            before = served.count("ocs_requests_total", "CCR", word, str(result))
            peer.send(peer.ccr(kind, single=single))
            assert peer.answered().avps["Result-Code"] == result
            assert served.count("ocs_requests_total", "CCR", word, str(result)) == before + 1


def test_why_a_request_reports_is_counted() -> None:
    codec = Codec()
    with Served() as served, served.peer() as peer:
        peer.ask()
        message = codec.decode(peer.ccr(2, 1))
        message.avps["Multiple-Services-Credit-Control"][0]["Reporting-Reason"] = [2]
        peer.send(codec.encode(message))
        assert peer.answered().avps["Result-Code"] == 2001
        assert served.count("ocs_reporting_reasons_total", "final") == 1
        assert served.count("ocs_reporting_reasons_total", "qht") == 0
