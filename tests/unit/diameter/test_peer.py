"""One connection: capabilities, faults, and what is not ours passing through."""

import pytest

from ocs import limits
from ocs.diameter.codec import Codec
from ocs.diameter.message import Message
from ocs.diameter.peer import Closing, Identity, Notice, Opened, Refused
from ocs.diameter.states import State
from tests.unit.diameter.rig import (
    CREDIT_CONTROL,
    HOST,
    REALM,
    all_captured,
    avp,
    captured,
    ccr,
    cer,
    closing,
    dpr,
    dwr,
    frame,
    kinds,
    make,
    names,
    opened,
    read,
    split,
    state,
    success,
)

CLIENT_HELLO = bytes.fromhex("16030102000100 01fc0303".replace(" ", "")) + bytes(500)


class Blind(Codec):
    """A codec that must not be asked."""

    def decode(self, frame: bytes) -> Message:
        raise AssertionError("an application frame was decoded on the hot path")


# ---------------------------------------------------------------- capabilities


@pytest.mark.parametrize(("name", "octets"), all_captured("CER"))
def test_the_cer_of_every_real_client_opens_the_connection(name: str, octets: bytes) -> None:
    peer = make()
    assert peer.receive(octets, 0) == []
    cea = read(peer.outgoing())
    assert cea.result_code == 2001
    assert cea.header.hop_by_hop_identifier == read(octets).header.hop_by_hop_identifier
    assert cea.header.end_to_end_identifier == read(octets).header.end_to_end_identifier
    assert state(peer) is State.R_OPEN
    *notices, event = peer.events()
    assert isinstance(event, Opened)
    assert event.capabilities.shares_credit_control
    assert kinds(notices) == ([Notice] if name == "kamailio_cer_without_host_ip" else [])
    assert peer.identity == event.identity
    assert event.identity.remote_address == "127.0.0.1"


def test_a_cer_without_host_ip_address_is_taken_with_a_notice() -> None:
    peer = make()
    peer.receive(cer(address=b""), 0)
    assert kinds(peer.events()) == [Notice, Opened]


def test_a_cer_in_which_nothing_is_common_gets_5010_and_the_connection_closes() -> None:
    peer = make()
    peer.receive(cer(avp(258, 16777238)), 0)
    cea = read(peer.outgoing())
    assert (cea.result_code, cea.header.is_error) == (5010, False)
    assert closing(peer)
    assert state(peer) is State.CLOSED
    assert peer.events() == [Refused(5010, "no common application"), Closing("no common application")]


def test_a_peer_that_is_not_allowed_gets_3010_and_only_the_log_learns_why() -> None:
    asked: list[Identity] = []

    def allow(who: Identity) -> str | None:
        asked.append(who)
        return "ctf.example.org is allowed from 192.0.2.0/24 only"

    peer = make(allow=allow)
    peer.receive(cer(), 0)
    cea = read(peer.outgoing())
    assert (cea.result_code, cea.header.is_error, cea.error_message) == (3010, True, "peer not known here")
    assert asked == [Identity("ctf.example.org", "example.org", "127.0.0.1")]
    assert closing(peer)
    assert peer.events()[0] == Refused(3010, "ctf.example.org is allowed from 192.0.2.0/24 only")


@pytest.mark.parametrize(
    ("octets", "code", "failed"),
    [
        (cer(host=b""), 5005, 264),
        (cer(host=HOST + HOST), 5009, 264),
        (cer(CREDIT_CONTROL, avp(9999, 1)), 5001, 9999),
        (cer(CREDIT_CONTROL, avp(278, b"\x00\x01")), 5014, 278),
        (cer(version=2), 5011, None),
        (frame(257, HOST + REALM, flags=0xA0), 3008, None),
    ],
    ids=["no-host", "host-twice", "unknown-mandatory", "wrong-length", "version-2", "error-bit"],
)
def test_a_cer_that_cannot_be_read_is_answered_with_its_fault_and_the_connection_closes(
    octets: bytes, code: int, failed: int | None
) -> None:
    peer = make()
    assert peer.receive(octets, 0) == []
    cea = read(peer.outgoing())
    assert cea.result_code == code
    assert [inner.code for found in cea.avps if found.code == 279 for inner in found.value] == [failed] * (
        failed is not None
    )
    assert closing(peer)
    assert kinds(peer.events()) == [Refused, Closing]


@pytest.mark.parametrize(
    "first", [ccr(), dwr(), dpr(), success(dwr()), success(cer())], ids=["ccr", "dwr", "dpr", "dwa", "cea"]
)
def test_anything_before_the_cer_closes_the_connection_without_an_answer(first: bytes) -> None:
    peer = make()
    assert peer.receive(first + cer(), 0) == []
    assert closing(peer)
    assert peer.outgoing() == b""
    [event] = peer.events()
    assert isinstance(event, Closing)
    assert "before the capabilities exchange" in event.reason


def test_a_second_cer_gets_5012_and_the_connection_stays() -> None:
    peer = opened()
    peer.receive(cer(ids=99), 0)
    assert read(peer.outgoing()).result_code == 5012
    assert state(peer) is State.R_OPEN
    assert not closing(peer)


def test_a_connection_on_which_no_cer_comes_is_closed() -> None:
    peer = make(now_ms=1_000)
    assert peer.due_ms == 1_000 + limits.CAPABILITIES_MS
    peer.tick(peer.due_ms - 1)
    assert not closing(peer)
    peer.tick(peer.due_ms)
    assert closing(peer)
    assert peer.events() == [Closing("no capabilities exchange in time")]


# ---------------------------------------------------------------- TLS and broken streams


def test_a_tls_handshake_instead_of_a_cer_closes_cleanly_with_its_reason() -> None:
    peer = make()
    assert peer.receive(CLIENT_HELLO, 0) == []
    assert (peer.closing, peer.outgoing()) == (True, b"")
    assert peer.events() == [Closing("a TLS handshake on the plain port")]


def test_a_tls_handshake_after_the_cea_closes_cleanly_with_its_reason() -> None:
    peer = opened()
    assert peer.receive(CLIENT_HELLO, 0) == []
    assert closing(peer)
    assert peer.events() == [Closing("a TLS handshake on the plain port")]


@pytest.mark.parametrize("length", [0, 16, 22, 65_540])
def test_frames_before_a_broken_length_are_kept_and_then_the_connection_closes(length: int) -> None:
    peer, other = opened(), opened()
    broken = b"\x01" + length.to_bytes(3, "big") + bytes(16)
    assert peer.receive(ccr(1) + ccr(2) + broken + ccr(3), 0) == [ccr(1), ccr(2)]
    assert closing(peer)
    assert peer.receive(ccr(4), 0) == []
    [event] = peer.events()
    assert isinstance(event, Closing)
    assert event.reason.startswith("frame: message length")
    assert other.receive(ccr(5), 0) == [ccr(5)]
    assert not closing(other)


# ---------------------------------------------------------------- what passes through


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("cut", ["whole", "octets", "glued", "odd"])
def test_a_captured_conversation_comes_through_however_it_is_cut(name: str, cut: str) -> None:
    messages = captured(name)
    starts = [at for at, (kind, _) in enumerate(messages) if kind == "CER"]
    for start, stop in zip(starts, [*starts[1:], len(messages)], strict=True):
        peer = make()
        part = [octets for _, octets in messages[start:stop]]
        stream = b"".join(part)
        step = {"whole": 0, "octets": 1, "glued": len(stream), "odd": 37}[cut]
        chunks = [stream[at : at + step] for at in range(0, len(stream), step)] if step else part
        up = [octets for chunk in chunks for octets in peer.receive(chunk, 0)]
        expected = [octets for kind, octets in messages[start:stop] if kind[:2] in {"CC", "RA"}]
        assert up == expected
        said = [read(octets) for octets in split(peer.outgoing())]
        asked = [octets for kind, octets in messages[start:stop] if kind in {"CER", "DWR", "DPR"}]
        assert [message.header.command_code for message in said] == [
            int.from_bytes(ask[5:8], "big") for ask in asked
        ]
        assert [message.result_code for message in said] == [2001] * len(said)
        assert [message.header.hop_by_hop_identifier for message in said] == [
            int.from_bytes(ask[12:16], "big") for ask in asked
        ]
        left = "DPR" in {kind for kind, _ in messages[start:stop]}
        assert state(peer) is (State.CLOSING if left else State.R_OPEN)


def test_application_frames_in_open_are_not_decoded() -> None:
    peer = opened()
    peer._codec = Blind()
    assert peer.receive(ccr(1) + ccr(2), 0) == [ccr(1), ccr(2)]


def test_a_watchdog_between_application_frames_is_answered_and_their_order_is_kept() -> None:
    peer = opened()
    assert peer.receive(ccr(1) + dwr(ids=55) + ccr(2), 0) == [ccr(1), ccr(2)]
    dwa = read(peer.outgoing())
    assert (dwa.result_code, dwa.header.hop_by_hop_identifier) == (2001, 55)


def test_an_application_that_we_do_not_speak_passes_up_for_the_codec_to_answer() -> None:
    peer = opened()
    gx = frame(272, b"", application=16777238)
    assert peer.receive(gx, 0) == [gx]
    assert peer.outgoing() == b""


def test_what_is_sent_in_open_goes_out_in_order_and_once() -> None:
    peer = opened()
    peer.send(b"one")
    peer.send(b"two")
    assert peer.outgoing() == b"onetwo"
    assert peer.outgoing() == b""


def test_what_is_sent_before_open_or_after_the_end_is_dropped_and_counted() -> None:
    peer = make()
    peer.send(b"early")
    peer.receive(cer(), 0)
    peer.outgoing()
    peer.receive_eof(0)
    peer.send(b"late")
    assert peer.outgoing() == b""
    assert peer.discarded == 2


# ---------------------------------------------------------------- faults in base messages


@pytest.mark.parametrize(("name", "octets"), all_captured("DWR"))
def test_the_dwr_of_every_real_client_is_answered_with_2001_origin_host_and_realm(
    name: str, octets: bytes
) -> None:
    peer = opened()
    assert peer.receive(octets, 0) == []
    dwa = read(peer.outgoing())
    assert (dwa.result_code, dwa.origin_host, dwa.origin_realm) == (2001, b"ocs.example.org", b"example.org")


@pytest.mark.parametrize("command", [4, 258, 283])
def test_an_unknown_base_command_gets_3001_with_the_error_bit_and_the_connection_stays(command: int) -> None:
    peer = opened()
    assert peer.receive(frame(command, HOST + REALM, ids=77) + ccr(), 0) == [ccr()]
    refusal = read(peer.outgoing())
    assert (refusal.header.command_code, refusal.header.is_error) == (command, True)
    assert refusal.header.hop_by_hop_identifier == 77
    assert [found.value for found in refusal.avps if found.code == 268] == [3001]
    assert not closing(peer)


def test_an_answer_that_nobody_asked_for_is_dropped() -> None:
    peer = opened()
    peer.receive(frame(283, avp(268, 2001), flags=0), 0)
    assert (peer.outgoing(), peer.closing, peer.discarded) == (b"", False, 1)


@pytest.mark.parametrize(
    ("octets", "code", "failed"),
    [
        (dwr(origin=REALM), 5005, 264),
        (dwr(origin=HOST), 5005, 296),
        (dwr(more=avp(9999, 1)), 5001, 9999),
        (dwr(more=HOST), 5009, 264),
        (dwr(more=avp(278, b"\x00")), 5014, 278),
        (dwr(flags=0xA0), 3008, None),
        (dpr(cause=None), 5005, 273),
        (dpr(cause=7), 5004, 273),
    ],
    ids=[
        "no-host",
        "no-realm",
        "unknown-mandatory",
        "host-twice",
        "wrong-length",
        "error-bit",
        "no-cause",
        "cause-7",
    ],
)
def test_a_base_request_that_cannot_be_read_is_answered_with_its_fault_and_the_connection_stays(
    octets: bytes, code: int, failed: int | None
) -> None:
    peer = opened()
    assert peer.receive(octets + ccr(), 0) == [ccr()]
    refusal = read(peer.outgoing())
    assert refusal.result_code == code
    assert refusal.header.is_error is (3000 <= code < 4000)
    assert [inner.code for found in refusal.avps if found.code == 279 for inner in found.value] == [
        failed
    ] * (failed is not None)
    assert state(peer) is State.R_OPEN
    assert kinds(peer.events()) == [Notice]
