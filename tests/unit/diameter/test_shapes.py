"""A message of a known shape is read as the walker reads it, and judged by the walker wherever it differs."""

import gc
import weakref
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs import limits
from ocs.diameter.codec import Codec, Message
from ocs.diameter.faults import DecodeFault
from ocs.diameter.shapes import Shapes
from tests.unit.diameter.octets import FRAMES, avp, ccr


class Walker(Codec):
    """The codec without its memory of shapes: what it says is right."""

    def decode(self, frame: bytes) -> Message:
        return self._walked(frame)


WALKER = Walker()


def said(codec: Codec, frame: bytes) -> Any:
    """What a codec says of a frame: a message, or the fault with all that its answer needs."""
    try:
        return codec.decode(frame)
    except DecodeFault as fault:
        return fault.result_code, fault.failed_avp, fault.header, fault.avps


@cache
def readable() -> list[bytes]:
    return [frame for frame in FRAMES if isinstance(said(WALKER, frame), Message)]


def learned(*frames: bytes) -> Codec:
    codec = Codec()
    for frame in frames:
        for _ in range(limits.SHAPE_WALKS):
            codec.decode(frame)
    return codec


def walks(codec: Codec, frame: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many times the walker is asked while the codec decodes a frame once."""
    asked = []
    walk = Codec._walked

    def told(self: Codec, octets: bytes) -> Message:
        asked.append(octets)
        return walk(self, octets)

    with monkeypatch.context() as patch:
        patch.setattr(Codec, "_walked", told)
        said(codec, frame)
    return len(asked)


def test_a_layout_that_came_often_is_not_walked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = max(readable(), key=len)
    codec = Codec()
    for _ in range(limits.SHAPE_WALKS - 1):
        codec.decode(frame)
    assert walks(codec, frame, monkeypatch) == 1
    assert walks(codec, frame, monkeypatch) == 0


def test_every_captured_message_is_read_by_its_shape_as_by_the_walker() -> None:
    codec = learned(*readable())
    for frame in FRAMES:
        assert said(codec, frame) == said(WALKER, frame)


@pytest.mark.parametrize("frame", readable(), ids=len)
def test_a_message_that_differs_in_any_octet_is_judged_as_the_walker_judges_it(frame: bytes) -> None:
    codec = learned(frame)
    for at in range(len(frame)):
        change = (0x01, 0x80, 0xFF)[at % 3]
        changed = frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :]
        assert said(codec, changed) == said(WALKER, changed), (at, change)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_messages_cut_and_joined_from_others_are_judged_as_the_walker_judges_them(
    data: st.DataObject,
) -> None:
    codec = EVERY
    one, other = data.draw(st.sampled_from(readable())), data.draw(st.sampled_from(FRAMES))
    at, octets = data.draw(st.integers(0, len(one))), data.draw(st.integers(0, 40))
    frame = one[:at] + other[at : at + octets] + one[at + octets :]
    frame = frame[:1] + len(frame).to_bytes(3, "big") + frame[4:]
    assert said(codec, frame) == said(WALKER, frame)


EVERY = learned(*readable())


def test_other_values_of_one_shape_are_the_messages_own(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = max((each for each in readable() if each[5:8] == (272).to_bytes(3, "big")), key=len)
    codec = learned(frame)
    session = WALKER.decode(frame).avps["Session-Id"].encode()
    other = frame[:12] + b"\1\2\3\4\5\6\7\x08" + frame[20:].replace(session, session[::-1], 1)
    assert walks(codec, other, monkeypatch) == 0
    found = codec.decode(other)
    assert found == WALKER.decode(other)
    assert (found.avps["Session-Id"], found.hop_by_hop) == (session[::-1].decode(), 0x01020304)


def test_what_is_passed_over_is_counted_by_shape_too() -> None:
    strange = avp(99_999, b"\0" * 4, flags=0x40)
    frame = next(each for each in readable() if b"\x00\x00\x03\x69" in each and each[5:8] == b"\0\1\x10")
    inside = frame.index(b"\x00\x00\x03\x69")  # Service-Information, 873
    length = int.from_bytes(frame[inside + 5 : inside + 8])
    grown = (
        frame[: inside + 5]
        + (length + len(strange)).to_bytes(3, "big")
        + frame[inside + 8 : inside + length]
        + strange
        + frame[inside + length :]
    )
    grown = grown[:1] + len(grown).to_bytes(3, "big") + grown[4:]
    codec = learned(grown)
    counted = codec.ignored_in_service_information
    codec.decode(grown)
    assert counted == limits.SHAPE_WALKS
    assert codec.ignored_in_service_information == counted + 1


def test_of_an_avp_that_comes_twice_the_first_counts_and_the_second_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = ccr(avp(264, b"other.example.org"))  # Origin-Host, as Kamailio does (CLIENTS 6)
    codec = learned(frame)
    assert walks(codec, frame, monkeypatch) == 0
    assert codec.decode(frame).avps["Origin-Host"] == "client.example.org"
    bad = frame.replace(b"other.example.org", b"other example.org")
    assert said(codec, bad) == said(WALKER, bad)
    assert not isinstance(said(codec, bad), Message)


def test_the_memory_of_shapes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHAPES_KEPT_MAX", 20)
    codec = Codec()
    cer = readable()[0]
    for text in range(1, 60):
        frame = cer + avp(281, b"x" * text)  # Error-Message, of another length each time
        frame = frame[:1] + len(frame).to_bytes(3, "big") + frame[4:]
        for _ in range(limits.SHAPE_WALKS):
            said(codec, frame)
        assert codec._shapes.count <= 20


def test_shapes_that_look_alike_push_out_the_oldest() -> None:
    shapes = Shapes()
    for _ in range(limits.SHAPES_ALIKE_MAX + 5):
        shapes.learn(bytes(28), (), {})
    assert len(shapes.alike(bytes(28))) == shapes.count == limits.SHAPES_ALIKE_MAX


def test_a_layout_that_cannot_be_learned_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHAPE_AVPS_MAX", 3)
    codec = learned(ccr())
    assert codec._shapes.count == 0
    assert not codec._shapes._known


def test_an_avp_without_a_value_is_learned_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = ccr(avp(1, b""), avp(99_999, b"", flags=0), avp(278, b"\0\0\0\5"))
    codec = learned(frame)
    assert walks(codec, frame, monkeypatch) == 0
    assert codec.decode(frame) == WALKER.decode(frame)


def test_a_known_layout_whose_values_have_to_be_judged_is_not_learned_again() -> None:
    codec = learned(ccr())
    for number in range(limits.SHAPE_WALKS * 3):
        codec.decode(ccr(without=None).replace(b"client.example.org", b"%06d.example.org" % number))
    assert codec._shapes.count <= 2


def test_a_shape_that_is_forgotten_is_freed_without_the_collector() -> None:
    """A worker's collector seldom runs (server/worker.py); a forgotten reader of 20 kB must not wait for it."""
    codec = learned(ccr())
    reader = weakref.ref(codec._shapes.alike(ccr())[0].read)
    gc.disable()
    try:
        codec._shapes._known.clear()
        assert reader() is None
    finally:
        gc.enable()


def routed(*hops: int) -> bytes:
    """A CCR with Route-Records of these lengths: a layout of its own each time, of one length in all where the sum is one."""
    return ccr(*(avp(282, b"h" * length) for length in hops))


ALIKE = [routed(*hops) for hops in product((4, 8, 12), repeat=8) if sum(hops) == 64]


def test_layouts_that_each_come_seldom_are_not_learned_however_alike_they_look() -> None:
    codec = Codec()
    for frame in ALIKE[: limits.SHAPE_WALKS] * 2:
        codec.decode(frame)
    assert codec._shapes.count == 0


def test_a_layout_is_learned_among_others_that_look_alike_and_come_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = Codec()
    often, *seldom = ALIKE[:400]
    for frame in seldom * 2:
        codec.decode(frame)
        codec.decode(often)
    assert walks(codec, often, monkeypatch) == 0
    assert codec._shapes.count == 1


def test_where_a_shape_was_pushed_out_the_next_has_to_come_twice_as_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = learned(*ALIKE[: limits.SHAPES_ALIKE_MAX + 1])  # the last one pushes the first out
    late, later = ALIKE[-2:]
    for frame, times in ((late, 2), (later, 4)):
        for _ in range(times * limits.SHAPE_WALKS - 1):
            codec.decode(frame)
        assert walks(codec, frame, monkeypatch) == 1
        assert walks(codec, frame, monkeypatch) == 0
    for _ in range(20):
        codec._shapes._back_off(later[:8] + later[20:28])
    assert set(codec._shapes._often.values()) == {limits.SHAPE_WALKS_MAX}


def test_of_shapes_that_look_alike_few_readers_are_asked() -> None:
    frames = ALIKE[:: len(ALIKE) // limits.SHAPES_ALIKE_MAX][: limits.SHAPES_ALIKE_MAX]
    codec = learned(*frames)
    asked = 0
    for frame in frames:
        shapes = codec._shapes.alike(frame)
        assert len(shapes) == limits.SHAPES_ALIKE_MAX
        read = [shape.read(frame) for shape in shapes if frame[shape.at : shape.end] == shape.head]
        assert [each for each in read if each is not None] == [WALKER.decode(frame)]
        asked += len(read)
    assert asked <= 2 * len(frames)


def test_when_every_shape_is_forgotten_they_have_to_come_twice_as_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SHAPES_KEPT_MAX", 2)
    codec = Codec()
    for frame in readable()[:3]:
        for _ in range(limits.SHAPE_WALKS):
            codec.decode(frame)
    assert codec._shapes.count == 1
    assert set(codec._shapes._often.values()) == {2 * limits.SHAPE_WALKS}
