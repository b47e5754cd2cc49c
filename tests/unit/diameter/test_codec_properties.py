"""For any octets a message or a fault, and for any message the way there and back."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.diameter import enums
from ocs.diameter.codec import Codec, Message, header
from ocs.diameter.dictionary import BY_NAME
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.frame import FrameFault, Framer
from ocs.diameter.grammar import COMMANDS, GROUPS, Command, Rule, grammar_rules
from ocs.diameter.writers import TIME_LEAST, TIME_MOST
from tests.unit.diameter.octets import FRAMES, avp, message

CODEC = Codec()
CODES = {int(code) for code in ResultCode}

# ---------------------------------------------------------------- any octets


def judged(frame: bytes) -> None:
    """Decode; a fault has to be one that can be answered, a message one that can be encoded."""
    try:
        found = CODEC.decode(frame)
    except DecodeFault as caught:
        fault = caught
    else:
        assert CODEC.decode(CODEC.encode(found)) == found
        return
    assert fault.result_code in CODES
    assert fault.header == header(frame.ljust(20, b"\0"))
    if fault.failed_avp:
        # What goes into Failed-AVP is one well-formed AVP, so that our answer never is malformed.
        length = int.from_bytes(fault.failed_avp[5:8], "big")
        assert len(fault.failed_avp) == length + 3 & ~3
        assert length >= 8


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_a_message_or_a_fault(octets: bytes) -> None:
    judged(octets)


@given(
    st.binary(max_size=200).map(lambda octets: octets[: len(octets) & ~3]),
    st.sampled_from(COMMANDS),
    st.sampled_from([0x00, 0x20, 0x40, 0x80, 0xA0, 0xC0, 0xD0, 0xFF]),
)
@settings(max_examples=300, deadline=None)
def test_any_octets_behind_a_good_header_are_a_message_or_a_fault(
    octets: bytes, command: Command, flags: int
) -> None:
    judged(message(octets, command=command.code, application=command.application, flags=flags))


KNOWN_AVP = st.builds(
    lambda name, payload, flags, lie: avp(
        BY_NAME[name].code, payload, flags, BY_NAME[name].vendor or None, lie
    ),
    st.sampled_from(sorted(BY_NAME)),
    st.binary(max_size=24),
    st.sampled_from([0, 0x40, 0x60]),
    st.none() | st.integers(0, 60),
)


@given(st.lists(KNOWN_AVP, max_size=6), st.sampled_from(COMMANDS))
@settings(max_examples=300, deadline=None)
def test_any_known_avps_of_any_length_are_a_message_or_a_fault(avps: list[bytes], command: Command) -> None:
    flags = 0x80 if command.request else 0
    judged(message(*avps, command=command.code, application=command.application, flags=flags))


@given(
    st.sampled_from(FRAMES),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=500, deadline=None)
def test_a_real_message_with_some_octets_changed_is_a_message_or_a_fault(
    frame: bytes, changes: list[tuple[int, int]]
) -> None:
    octets = bytearray(frame)
    for at, octet in changes:
        octets[at % len(octets)] = octet
    judged(bytes(octets))


@given(st.sampled_from(FRAMES), st.integers(0, 2000), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_a_real_message_cut_out_of_is_a_message_or_a_fault(frame: bytes, at: int, octets: int) -> None:
    at = 20 + at % len(frame)
    body = frame[20:at] + frame[at + octets :]
    head = b"\x01" + (20 + len(body)).to_bytes(3, "big") + frame[4:20]
    judged(head + body)


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_chunks_are_frames_or_a_fault_and_no_octet_is_lost(chunks: list[bytes]) -> None:
    framer, cut = Framer(1024), b""
    try:
        for chunk in chunks:
            cut += b"".join(framer.feed(chunk))
    except FrameFault as fault:
        cut += b"".join(fault.frames)
    assert b"".join(chunks).startswith(cut)


@given(st.lists(st.sampled_from(FRAMES), max_size=4), st.lists(st.integers(1, 900), max_size=12))
@settings(max_examples=200, deadline=None)
def test_however_a_stream_is_cut_the_same_frames_come_out(frames: list[bytes], sizes: list[int]) -> None:
    framer, octets, found = Framer(65_536), b"".join(frames), []
    for size in [*sizes, len(octets) + 1]:
        chunk, octets = octets[:size], octets[size:]
        found += framer.feed(chunk)
    assert found == frames


# ---------------------------------------------------------------- any message

TEXT = st.text(max_size=20)
IDENTITY = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "OctetString": st.binary(max_size=20),
    "Integer32": st.integers(-(1 << 31), (1 << 31) - 1),
    "Integer64": st.integers(-(1 << 63), (1 << 63) - 1),
    "Unsigned32": st.integers(0, (1 << 32) - 1),
    "Unsigned64": st.integers(0, (1 << 64) - 1),
    "Enumerated": st.integers(-(1 << 31), (1 << 31) - 1),
    "Address": st.ip_addresses().map(str) | st.binary(max_size=17).map(lambda octets: b"\x00\x08" + octets),
    "Time": st.integers(TIME_LEAST, TIME_MOST),
    "UTF8String": TEXT,
    "IPFilterRule": TEXT,
    "DiameterURI": TEXT,
    "DiameterIdentity": IDENTITY,
}


def value_of(rule: Rule) -> st.SearchStrategy[Any]:
    """Any value of one rule: of its format, and a list where it may come many times."""
    row = BY_NAME[rule.name]
    if rule.name == "Proxy-Info":
        one: st.SearchStrategy[Any] = st.binary(max_size=9).map(lambda octets: avp(284, avp(33, octets)))
    elif rule.name == "Failed-AVP":
        one = st.binary(max_size=9).map(lambda octets: avp(1, octets))
    elif rule.name in enums.CLOSED:
        one = st.sampled_from(sorted(enums.CLOSED[rule.name]))
    elif row.format == "Grouped":
        one = st.deferred(lambda: avps_of(rule.name, GROUPS[rule.name]))
    else:
        one = VALUES[row.format]
    return st.lists(one, min_size=1, max_size=2) if rule.listed else one


def avps_of(name: str, text: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any AVPs that a grammar allows: all that it requires, and some of the rest."""
    rules = grammar_rules(name, text)
    needed = {rule.name: value_of(rule) for rule in rules if rule.least}
    free = [rule for rule in rules if not rule.least]
    return st.fixed_dictionaries(needed).flatmap(
        lambda base: (
            st.lists(st.sampled_from(free), max_size=4, unique=True).flatmap(
                lambda chosen: st.fixed_dictionaries({rule.name: value_of(rule) for rule in chosen}).map(
                    lambda more: {**base, **more}
                )
            )
            if free
            else st.just(base)
        )
    )


ANY_MESSAGE = st.sampled_from(COMMANDS).flatmap(
    lambda command: st.builds(
        Message,
        st.just(0x80 if command.request else 0) | st.just(0xC0 if command.request else 0x40),
        st.just(command.code),
        st.just(command.application),
        st.integers(0, (1 << 32) - 1),
        st.integers(0, (1 << 32) - 1),
        avps_of(command.name, command.grammar),
    )
)


@given(ANY_MESSAGE)
@settings(max_examples=200, deadline=None)
def test_any_message_comes_back_as_it_was(sent: Message) -> None:
    before = copy.deepcopy(sent.avps)
    frame = CODEC.encode(sent)
    assert len(frame) % 4 == 0
    assert CODEC.decode(frame) == sent
    assert sent.avps == before
    assert Framer(1 << 24).feed(frame) == [frame]
