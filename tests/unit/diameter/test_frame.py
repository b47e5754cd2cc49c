"""The framer: any chunking, bounded, and shut for good after a length that cannot be."""

from struct import pack

import pytest

from ocs.diameter.frame import FrameFault, Framer
from tests.unit.diameter.octets import ccr, message

LIMIT = 4096


def fault_of(chunk: bytes) -> FrameFault:
    with pytest.raises(FrameFault) as caught:
        Framer(LIMIT).feed(chunk)
    return caught.value


def test_a_whole_message_comes_out_as_it_went_in() -> None:
    assert [ccr()] == Framer(LIMIT).feed(ccr())


def test_glued_messages_come_out_in_order() -> None:
    first, second = ccr(), message(command=280, application=0)
    assert [first, second, first] == Framer(LIMIT).feed(first + second + first)


def test_a_message_fed_octet_by_octet_comes_out_once_with_its_last_octet() -> None:
    framer, frame = Framer(LIMIT), ccr()
    outcomes = [framer.feed(frame[at : at + 1]) for at in range(len(frame))]
    assert [[]] * (len(frame) - 1) + [[frame]] == outcomes


@pytest.mark.parametrize("cut", [1, 3, 4, 19, 20, 21])
def test_a_header_cut_anywhere_is_put_together_again(cut: int) -> None:
    framer, frame = Framer(LIMIT), ccr()
    assert framer.feed(frame + frame[:cut]) == [frame]
    assert framer.feed(frame[cut:]) == [frame]


def test_nothing_comes_out_of_nothing() -> None:
    assert Framer(LIMIT).feed(b"") == []


@pytest.mark.parametrize(
    ("length", "why"),
    [
        (0, "below the header's 20"),
        (19, "below the header's 20"),
        (16, "below the header's 20"),
        (22, "not a multiple of 4"),
        (LIMIT + 4, "above the limit"),
        (0xFFFFFC, "above the limit"),
    ],
)
def test_a_length_that_cannot_be_is_refused_as_soon_as_it_is_read(length: int, why: str) -> None:
    fault = fault_of(pack(">I", 1 << 24 | length))
    assert why in fault.reason
    assert fault.frames == []


def test_a_message_of_exactly_the_limit_passes() -> None:
    frame = message(bytes(LIMIT - 20))
    assert Framer(LIMIT).feed(frame) == [frame]


def test_the_messages_before_the_garbage_are_kept_with_the_fault() -> None:
    assert [ccr(), ccr()] == fault_of(ccr() + ccr() + b"\x01\x00\x00\x00").frames


def test_a_split_header_after_garbage_is_never_read_as_a_message() -> None:
    framer, frame = Framer(LIMIT), ccr()
    with pytest.raises(FrameFault):
        framer.feed(b"GET / HTTP/1.1\r\n" + frame[:3])
    for rest in (frame[3:], frame):
        with pytest.raises(FrameFault) as caught:
            framer.feed(rest)
        assert caught.value.frames == []


def test_a_tls_client_hello_on_the_plain_port_is_a_length_above_the_limit() -> None:
    assert "above the limit" in fault_of(bytes.fromhex("160301020001")).reason


def test_the_version_is_left_to_the_codec() -> None:
    frame = message(version=2)
    assert Framer(LIMIT).feed(frame) == [frame]


def test_two_connections_share_nothing() -> None:
    one, other, frame = Framer(LIMIT), Framer(LIMIT), ccr()
    assert one.feed(frame[:30]) == []
    assert other.feed(frame) == [frame]
    assert one.feed(frame[30:]) == [frame]
