"""A connection in time: watchdog, disconnection, and the ones that we open ourselves."""

from collections.abc import Callable

import pytest

from ocs import limits
from ocs.diameter import base
from ocs.diameter.peer import Closing, Okay, Opened, Peer, Refused, Suspect
from ocs.diameter.states import State
from ocs.diameter.watchdog import WatchdogState
from tests.unit.diameter.rig import (
    HOST,
    LOCAL,
    REALM,
    all_captured,
    answer,
    avp,
    ccr,
    cer,
    closing,
    dialled,
    dpr,
    dwr,
    kinds,
    make,
    opened,
    read,
    split,
    state,
    success,
)

TW_MS = LOCAL.watchdog_ms


# ---------------------------------------------------------------- watchdog


def test_a_silent_peer_is_asked_suspected_and_closed() -> None:
    peer = opened()
    peer.tick(TW_MS)
    asked = peer.outgoing()
    assert read(asked).header.command_code == 280
    assert peer.events() == []
    peer.tick(2 * TW_MS)
    assert kinds(peer.events()) == [Suspect]
    peer.tick(3 * TW_MS)
    assert closing(peer)
    assert peer.events() == [Closing("no answer to the watchdog")]
    assert peer.watchdog.state is WatchdogState.DOWN


def test_a_suspected_peer_that_speaks_is_okay_again() -> None:
    peer = opened()
    peer.tick(TW_MS)
    peer.tick(2 * TW_MS)
    assert peer.receive(ccr(), 2 * TW_MS + 1) == [ccr()]
    assert kinds(peer.events()) == [Suspect, Okay]


def test_an_answered_watchdog_keeps_the_connection() -> None:
    peer = opened()
    for now_ms in range(TW_MS, 10 * TW_MS, TW_MS):
        peer.tick(now_ms)
        peer.receive(success(peer.outgoing()), now_ms)
    assert state(peer) is State.R_OPEN
    assert peer.events() == []


def test_traffic_alone_keeps_the_watchdog_quiet() -> None:
    peer = opened()
    for now_ms in range(0, 10 * TW_MS, TW_MS - 1):
        peer.receive(ccr(), now_ms)
        peer.tick(now_ms)
    assert peer.outgoing() == b""


def test_octets_that_complete_no_message_are_no_sign_of_life() -> None:
    peer = opened()
    for now_ms, octet in enumerate(ccr()[:-1]):
        peer.receive(bytes((octet,)), now_ms)
    peer.tick(TW_MS)
    assert read(peer.outgoing()).header.command_code == 280


def test_the_next_connection_of_a_lost_peer_has_to_prove_itself_before_it_is_okay() -> None:
    lost = opened()
    lost.receive_eof(0)
    peer = make(watchdog=lost.watchdog)
    peer.receive(cer(), 0)
    cea, question = split(peer.outgoing())
    assert (read(cea).result_code, read(question).header.command_code) == (2001, 280)
    assert peer.receive(ccr(), 0) == [], "RFC 3539 Throwaway() in REOPEN"
    peer.receive(success(question), 0)
    for now_ms in (TW_MS, 2 * TW_MS):
        peer.tick(now_ms)
        peer.receive(success(peer.outgoing()), now_ms)
    assert kinds(peer.events()) == [Opened, Okay]
    assert peer.receive(ccr(), 2 * TW_MS) == [ccr()]


# ---------------------------------------------------------------- disconnection


@pytest.mark.parametrize(("name", "octets"), all_captured("DPR"))
def test_the_dpr_of_every_real_client_gets_its_dpa_and_then_the_peer_closes(name: str, octets: bytes) -> None:
    peer = opened()
    peer.receive(octets, 0)
    assert read(peer.outgoing()).result_code == 2001
    assert state(peer) is State.CLOSING
    assert not closing(peer), "the one that sent the DPR closes (RFC 6733 section 5.4)"
    peer.receive_eof(1)
    assert closing(peer)
    [event] = peer.events()
    assert isinstance(event, Closing)
    assert event.reason.startswith("the peer disconnects, cause ")


def test_our_dpr_is_followed_by_closing_when_the_dpa_comes() -> None:
    peer = opened()
    peer.disconnect(base.REBOOTING, 0)
    ours = peer.outgoing()
    assert read(ours).disconnect_cause == 0
    assert (peer.state, peer.closing) == (State.CLOSING, False)
    peer.receive(success(ours), 1)
    assert closing(peer)
    assert peer.events() == [Closing("we disconnect, cause 0")]


def test_requests_that_crossed_our_dpr_pass_up_and_their_answers_go_out() -> None:
    peer = opened()
    peer.disconnect(base.REBOOTING, 0)
    ours = peer.outgoing()
    assert peer.receive(ccr(3), 1) == [ccr(3)]
    peer.send(b"answer")
    assert peer.outgoing() == b"answer"
    peer.receive(success(ours), 2)
    assert closing(peer)


def test_two_dprs_that_cross_are_both_answered() -> None:
    peer = opened()
    peer.disconnect(base.REBOOTING, 0)
    peer.outgoing()
    peer.receive(dpr(), 1)
    assert read(peer.outgoing()).result_code == 2001
    assert state(peer) is State.CLOSING


@pytest.mark.parametrize("ours", [True, False], ids=["our-dpr", "their-dpr"])
def test_a_disconnection_that_nobody_finishes_ends_by_its_timer(ours: bool) -> None:  # noqa: FBT001
    peer = opened()
    if ours:
        peer.disconnect(base.REBOOTING, 100)
    else:
        peer.receive(dpr(), 100)
    for now_ms in range(200, 1_000, 100):
        peer.receive(dpr(), now_ms)
    assert peer.due_ms == 100 + limits.DISCONNECT_MS
    peer.tick(peer.due_ms - 1)
    assert not closing(peer)
    peer.tick(peer.due_ms)
    assert closing(peer)
    assert kinds(peer.events()) == [Closing]


def test_disconnecting_before_the_exchange_just_closes() -> None:
    peer = make()
    peer.disconnect(base.REBOOTING, 0)
    assert (peer.closing, peer.outgoing()) == (True, b"")


def test_a_peer_that_just_closes_is_told_once() -> None:
    peer = opened()
    peer.receive_eof(0)
    peer.receive_eof(1)
    peer.disconnect(base.BUSY, 2)
    peer.tick(10**9)
    assert peer.receive(ccr() + dwr(), 10**9) == []
    assert peer.discarded == 0, "what comes after the end is not even cut into frames"
    assert peer.events() == [Closing("the peer closed the connection")]
    assert peer.outgoing() == b""


# ---------------------------------------------------------------- the connection that we open


def test_a_connection_that_we_open_sends_a_cer_and_opens_with_the_cea() -> None:
    peer, request = dialled()
    assert read(request).auth_application_id == [4]
    assert state(peer) is State.WAIT_I_CEA
    peer.receive(success(request), 1)
    assert state(peer) is State.I_OPEN
    assert kinds(peer.events()) == [Opened]
    assert peer.receive(ccr(), 1) == [ccr()]
    peer.receive(dwr(), 1)
    assert read(peer.outgoing()).result_code == 2001
    peer.send(b"out")
    assert peer.outgoing() == b"out"
    peer.receive(cer(), 1)
    assert read(peer.outgoing()).result_code == 5012
    peer.receive(dpr(), 2)
    assert read(peer.outgoing()).result_code == 2001
    peer.receive_eof(3)
    assert closing(peer)


@pytest.mark.parametrize("code", [3010, 5010, 5012])
def test_a_cea_that_refuses_us_closes_the_connection_with_its_code(code: int) -> None:
    peer, request = dialled()
    full = success(request)[20:].replace(avp(268, 2001), avp(268, code))
    cea = answer(request, full) if code > 4000 else answer(request, avp(268, code) + HOST + REALM, flags=0x20)
    peer.receive(cea, 1)
    assert closing(peer)
    assert peer.events()[0] == Refused(code, "the peer refused our CER")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: success(request, more=avp(258, 16777238)),
        lambda request: success(request, host=b""),
        lambda request: success(request[:12] + b"\xde\xad\xbe\xef" + request[16:]),
        lambda _: ccr(),
        lambda _: cer(),
    ],
    ids=["nothing-common", "no-host", "another-request", "ccr", "cer"],
)
def test_anything_but_a_good_cea_closes_the_connection_that_we_opened(
    spoil: Callable[[bytes], bytes],
) -> None:
    peer, request = dialled()
    assert peer.receive(spoil(request), 1) == []
    assert closing(peer)
    assert Opened not in kinds(peer.events())


def test_a_connection_that_we_open_waits_for_its_transport() -> None:
    peer = make(initiator=True, connected=False)
    assert (peer.state, peer.outgoing()) == (State.WAIT_CONN_ACK, b"")
    peer.connected(1)
    assert state(peer) is State.WAIT_I_CEA
    assert read(peer.outgoing()).header.is_request


@pytest.mark.parametrize("end", [Peer.connect_failed, Peer.receive_eof], ids=["refused", "lost"])
def test_a_transport_that_does_not_come_up_closes(end: Callable[[Peer, int], None]) -> None:
    peer = make(initiator=True, connected=False)
    end(peer, 1)
    assert closing(peer)
    assert kinds(peer.events()) == [Closing]


@pytest.mark.parametrize("connected", [True, False])
def test_a_connection_that_we_open_gives_up_in_time(connected: bool) -> None:  # noqa: FBT001
    peer = make(initiator=True, connected=connected)
    peer.tick(limits.CAPABILITIES_MS)
    assert closing(peer)


def test_identifiers_of_our_requests_do_not_repeat_and_wrap() -> None:
    peer = opened()
    drawn = [peer.next_hop_by_hop() for _ in range(1_000)]
    assert len(set(drawn)) == 1_000
    peer._ids = 0xFFFFFFFF
    assert peer.next_hop_by_hop() == 0


def test_connections_of_different_moments_start_with_different_identifiers() -> None:
    assert make(now_ms=1).next_hop_by_hop() != make(now_ms=2).next_hop_by_hop()
