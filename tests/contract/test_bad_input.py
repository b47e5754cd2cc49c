"""What a stranger may send to a worker: each case is answered or closed, counted, and felt by nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ocs import limits
from ocs.diameter.message import header
from ocs.server.desk import Bounds
from tests.serving import Client, Served

SMALL = Bounds(unsent_octets_high=16_384, unsent_octets_max=1_048_576, unsent_ms_max=5_000)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


@pytest.fixture
def bystander(served: Served) -> Iterator[Client]:
    """Another peer, which has to be served as if nothing had happened."""
    with served.peer("bystander.example.net") as peer:
        yield peer


def is_served(peer: Client, number: int = 0) -> bool:
    return bool(peer.ask(1, number).avps["Result-Code"] == 2001)


def with_length(frame: bytes, length: int) -> bytes:
    return frame[:1] + length.to_bytes(3, "big") + frame[4:]


@pytest.mark.parametrize(
    "length",
    [0, 4, 16, 19, 21, 22, 23, limits.MESSAGE_OCTETS_MAX + 4, 0xFFFFFC, 0xFFFFFF],
    ids=lambda length: f"length {length}",
)
def test_a_header_length_that_cannot_be_ends_that_connection_alone(
    served: Served, bystander: Client, length: int
) -> None:
    before = served.count("ocs_connections_closed_total", "frame")
    with served.peer("crooked.example.net") as peer:
        peer.send(with_length(peer.ccr(), length))
        assert peer.is_closed()
        served.until(lambda: served.count("ocs_connections_closed_total", "frame") == before + 1)
        assert is_served(bystander)


def test_requests_before_a_broken_header_are_answered_and_those_after_it_are_not(served: Served) -> None:
    with served.peer() as peer:
        good, after = peer.ccr(1, 0, session="before"), peer.ccr(1, 0, session="after")
        asked = len(served.book.asks)
        peer.send(good + with_length(peer.ccr(), 7) + after)
        answer = peer.answered()
        assert answer.avps["Session-Id"] == "before"
        assert peer.read() is None
    assert [ask.session_id for ask in served.book.asks[asked:]] == ["before"]


def test_split_headers_after_garbage_are_not_taken_for_messages(served: Served, bystander: Client) -> None:
    with served.peer("crooked.example.net") as peer:
        asked = len(served.book.asks)
        good = peer.ccr()
        for octets in (b"\xde\xad\xbe", b"\xef" * 40, good[:3], good[3:19], good[19:]):
            try:
                peer.send(octets)
            except (BrokenPipeError, ConnectionResetError):
                break
        assert peer.is_closed()
    assert is_served(bystander)
    assert len(served.book.asks) == asked + 1


def test_a_message_that_arrives_octet_by_octet_is_served(served: Served, bystander: Client) -> None:
    with served.peer() as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in peer.ccr():
            peer.send(bytes((octet,)))
        assert peer.answered().avps["Result-Code"] == 2001
    assert is_served(bystander)


def test_two_peers_with_the_same_hop_by_hop_id_each_get_their_own_answer(served: Served) -> None:
    with served.peer("a.example.net") as one, served.peer("b.example.net") as two:
        served.call(lambda: setattr(served.book, "hold", True))
        one.send(one.ccr(session="a.example.net;1", hop_by_hop=7))
        two.send(two.ccr(session="b.example.net;1", hop_by_hop=7))
        served.until(lambda: len(served.book.held) == 2)
        served.call(served.book.held.reverse)
        served.call(served.book.release)
        first, second = one.answered(), two.answered()
    assert (first.hop_by_hop, first.avps["Session-Id"]) == (7, "a.example.net;1")
    assert (second.hop_by_hop, second.avps["Session-Id"]) == (7, "b.example.net;1")


def test_a_ccr_before_the_capabilities_exchange_ends_that_connection(
    served: Served, bystander: Client
) -> None:
    asked = len(served.book.asks)
    before = served.count("ocs_connections_closed_total", "before_exchange")
    with served.connect() as stranger:
        stranger.send(stranger.ccr())
        assert stranger.read() is None
    assert len(served.book.asks) == asked
    served.until(lambda: served.count("ocs_connections_closed_total", "before_exchange") == before + 1)
    assert is_served(bystander)


def test_a_tls_handshake_on_the_plain_port_is_closed_with_a_reason(served: Served, bystander: Client) -> None:
    before = served.count("ocs_connections_closed_total", "tls_on_plain")
    client_hello = bytes.fromhex("160301008f0100008b0303") + bytes(132)
    served.shift_ms += 1_000  # the tests before this one may have used up this second's lines
    with served.connect() as stranger:
        stranger.send(client_hello)
        assert stranger.is_closed()
    with served.peer("freediameter.example.net") as peer:  # CLIENTS 4: after the CEA
        peer.send(client_hello)
        assert peer.is_closed()
    served.until(lambda: served.count("ocs_connections_closed_total", "tls_on_plain") == before + 2)
    assert any(line.get("why") == "a TLS handshake on the plain port" for line in served.lines)
    assert is_served(bystander)


def test_a_fault_in_one_request_is_answered_and_the_connection_stays(served: Served) -> None:
    with served.peer() as peer:
        ccr = bytearray(peer.ccr())
        ccr[0] = 2  # RFC 6733 section 7.1.5: DIAMETER_UNSUPPORTED_VERSION
        peer.send(bytes(ccr))
        assert peer.refusal() == (1, 5011, False)
        other = bytearray(peer.ccr())
        other[5:8] = (4).to_bytes(3, "big")  # CLIENTS 17
        peer.send(bytes(other))
        assert peer.refusal() == (2, 3001, True)
        assert is_served(peer)


def test_a_re_auth_request_to_a_server_is_no_command_that_it_supports(served: Served) -> None:
    with served.peer() as peer:
        ccr = bytearray(peer.ccr())
        ccr[5:8] = (258).to_bytes(3, "big")
        peer.send(bytes(ccr))
        assert peer.refusal() == (1, 3001, True)
        assert is_served(peer)


def test_an_answer_that_nobody_asked_for_is_dropped(served: Served) -> None:
    with served.peer() as peer:
        before = served.count("ocs_answers_stray_total")
        stray = bytearray(peer.ccr())
        stray[4] &= 0x7F
        peer.send(bytes(stray))
        assert is_served(peer)
        assert served.count("ocs_answers_stray_total") == before + 1


def test_a_fault_of_our_own_is_answered_too(served: Served, bystander: Client) -> None:
    with served.peer() as peer:
        served.book.fault = RuntimeError("made up")
        try:
            assert peer.ask().avps["Result-Code"] == 5012
        finally:
            served.book.fault = None
        assert is_served(peer)
        assert is_served(bystander)
        assert served.worker is not None
        assert served.worker.admission.inflight == 0


def test_requests_beyond_the_bound_of_a_peer_are_too_busy_and_terminations_are_refused_last() -> None:
    with (
        Served(inflight_per_peer_max=4) as served,
        served.peer() as peer,
        served.peer("b.example.net") as other,
    ):
        served.call(lambda: setattr(served.book, "hold", True))
        for number in range(4):
            peer.send(peer.ccr(1, 0, session=f"s;{number}"))
        served.until(lambda: len(served.book.held) == 4)
        busy = peer.ask(1, 0, session="s;4")
        assert (busy.avps["Result-Code"], busy.is_error) == (3004, True)
        peer.send(peer.ccr(3, 1, session="s;0"))
        served.until(lambda: len(served.book.held) == 5)
        assert peer.ask(3, 1, session="s;1").avps["Result-Code"] == 3004
        other.send(other.ccr(1, 0, session="o;0"))
        served.until(lambda: len(served.book.held) == 6)
        served.call(served.book.release)
        assert [peer.answered().avps["Result-Code"] for _ in range(5)] == [2001] * 5
        assert other.answered().avps["Result-Code"] == 2001
        assert peer.ask(1, 0, session="s;5").avps["Result-Code"] == 2001
        assert served.count("ocs_requests_shed_total", "peer") == 2


def test_a_peer_that_never_reads_is_not_read_from_and_then_cut() -> None:
    with (
        Served(bounds=SMALL) as served,
        served.peer("bystander.example.net") as bystander,
        served.peer("deaf.example.net") as deaf,
    ):
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.socket.setblocking(False)
        flood = b"".join(deaf.ccr(1, 0, session=f"deaf;{number}") for number in range(200))
        sent = 0
        stopped = 0
        while stopped < 50:  # our end takes no more, again and again: it has stopped reading
            try:
                at = sent % len(flood)
                sent += deaf.socket.send(flood[at:])
                stopped = 0
            except BlockingIOError:
                stopped += 1
                assert is_served(bystander)
        served.shift_ms += SMALL.unsent_ms_max
        served.until(lambda: served.count("ocs_connections_closed_total", "unread") == 1)
        assert is_served(bystander)


def test_a_peer_that_sends_nothing_is_closed_when_its_time_is_up() -> None:
    with Served() as served, served.connect() as silent, served.peer() as peer:
        served.until(lambda: served.count("ocs_connections_total") == 2)
        served.shift_ms += limits.CAPABILITIES_MS
        assert silent.read() is None
        served.until(lambda: served.count("ocs_connections_closed_total", "exchange_time") == 1)
        assert is_served(peer)


def test_a_thousand_idle_connections_leave_a_peer_alone() -> None:
    with Served(strangers_max=1_000) as served, served.peer() as peer:
        idle = [served.connect() for _ in range(1_000)]
        served.until(lambda: served.count("ocs_connections_total") == 1_001)
        assert all(is_served(peer, number) for number in range(20))
        for each in idle:
            each.socket.close()
        served.until(lambda: served.count("ocs_connections_closed_total", "peer") == 1_000)
        assert is_served(peer)


def test_the_oldest_of_too_many_connections_without_capabilities_makes_room() -> None:
    with Served(strangers_max=3) as served, served.peer() as peer:
        idle = [served.connect() for _ in range(20)]
        assert [each.is_closed() for each in idle[:17]] == [True] * 17
        served.until(
            lambda: (
                served.count("ocs_connections_closed_total", "full")
                + served.count("ocs_connections_turned_away_total", "full")
                == 17
            )
        )
        idle[-1].exchange("late.example.net")
        assert is_served(idle[-1])
        assert is_served(peer)
        for each in idle:
            each.socket.close()


def test_a_flood_of_closing_connections_and_unknown_commands_writes_few_lines() -> None:
    with Served() as served, served.peer() as peer:
        for _ in range(100):
            with served.connect() as stranger:
                stranger.send(b"\0" * 20)
                assert stranger.is_closed()
        served.until(lambda: served.count("ocs_connections_closed_total", "frame") == 100)
        closings = [line for line in served.lines if line["event"] == "connection closes"]
        assert len(closings) < 100
        served.shift_ms += 1_000
        with served.connect() as stranger:
            stranger.send(b"\0" * 20)
            assert stranger.is_closed()
        assert any(line.get("unsaid") for line in served.lines)
        assert is_served(peer)


def test_connections_beyond_the_bound_of_a_worker_are_turned_away() -> None:
    with Served(connections_max=2) as served, served.peer() as peer, served.connect():
        served.until(lambda: served.count("ocs_connections_total") == 2)
        with served.connect() as third:
            assert third.is_closed()
        assert served.count("ocs_connections_turned_away_total", "full") == 1
        assert served.count("ocs_connections_closed_total", "full") == 0
        assert is_served(peer)


def test_the_watchdog_is_answered_while_charging_waits(served: Served) -> None:
    with served.peer() as peer:
        served.call(lambda: setattr(served.book, "hold", True))
        peer.send(peer.ccr())
        served.until(lambda: len(served.book.held) == 1)
        peer.send(watchdog())
        answer = peer.answered()
        assert (answer.command, answer.avps["Result-Code"]) == (280, 2001)
        served.call(served.book.release)
        assert peer.answered().command == 272


def watchdog() -> bytes:
    from ocs.diameter.base import BaseMessages  # noqa: PLC0415
    from tests.serving import LOCAL  # noqa: PLC0415

    frame = BaseMessages(LOCAL._replace(host_ips=("127.0.0.1",))).dwr(5, 5)
    assert header(frame).command == 280
    return frame


def test_an_answer_whose_connection_has_gone_is_dropped_and_counted() -> None:
    with Served() as served, served.peer("bystander.example.net") as bystander:
        with served.peer() as peer:
            served.call(lambda: setattr(served.book, "hold", True))
            peer.send(peer.ccr())
            served.until(lambda: len(served.book.held) == 1)
            # A reset, not an end: what is owed to a peer that only ended its own side would still go out.
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        served.until(lambda: served.count("ocs_connections_closed_total", "peer") == 1)
        served.call(served.book.release)
        assert served.count("ocs_answers_dropped_total") == 1
        assert served.worker is not None
        assert (served.worker.admission.inflight, served.worker.admission.peers) == (0, 1)
        assert is_served(bystander)


def test_a_peer_that_ends_its_own_side_still_gets_what_it_is_owed(served: Served) -> None:
    with served.peer() as peer:
        served.call(lambda: setattr(served.book, "hold", True))
        peer.send(peer.ccr())
        served.until(lambda: len(served.book.held) == 1)
        peer.socket.shutdown(socket.SHUT_WR)
        served.call(lambda: None)
        served.call(served.book.release)
        assert peer.answered().avps["Result-Code"] == 2001
        assert peer.read() is None


def test_an_answer_that_is_ready_when_the_peer_ends_its_side_still_goes_out(served: Served) -> None:
    with served.peer() as peer:
        served.call(lambda: setattr(served.book, "hold", True))
        peer.send(peer.ccr())
        served.until(lambda: len(served.book.held) == 1)

        def one_turn() -> None:
            peer.socket.shutdown(socket.SHUT_WR)
            served.book.release()  # charged in the very turn of the loop in which the end arrives

        served.call(one_turn)
        assert peer.answered().avps["Result-Code"] == 2001
        assert peer.read() is None
