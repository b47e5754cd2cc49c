"""Bad messages: each is refused with the code and the Failed-AVP that name what is wrong with it."""

from struct import pack

import pytest

from ocs import limits
from ocs.diameter import grammar
from ocs.diameter.codec import Codec, header, writer
from ocs.diameter.faults import DecodeFault
from tests.unit.diameter.octets import (
    CCR,
    CONTEXT,
    DESTINATION_REALM,
    ORIGIN_HOST,
    ORIGIN_REALM,
    REQUEST_NUMBER,
    REQUEST_TYPE,
    SESSION_ID,
    avp,
    ccr,
    fault_of,
    information,
    message,
    service,
    u32,
)

NEEDED = {
    "Session-Id": "client.example.org;1;2",
    "Origin-Host": "client.example.org",
    "Origin-Realm": "example.org",
    "Auth-Application-Id": 4,
    "CC-Request-Type": 1,
    "CC-Request-Number": 7,
}


def refused(frame: bytes, result_code: int, failed_avp: bytes) -> DecodeFault:
    """Assert how a frame is refused, twice by the same codec: the second time it remembers headers."""
    codec = Codec()
    codec.decode(ccr())
    first, second = (fault_of(frame, codec) for _ in range(2))
    assert (result_code, failed_avp) == (first.result_code, first.failed_avp)
    assert (result_code, failed_avp) == (second.result_code, second.failed_avp)
    assert first.header == second.header == header(frame.ljust(20, b"\0"))
    return second


# ---------------------------------------------------------------- the message header


@pytest.mark.parametrize("frame", [b"", b"\x01", ccr()[:19]])
def test_less_than_a_header_is_5015(frame: bytes) -> None:
    refused(frame, 5015, b"")


def test_a_length_that_is_not_the_frames_is_5015() -> None:
    refused(ccr() + bytes(4), 5015, b"")
    refused(ccr()[:-4], 5015, b"")


def test_an_unpadded_last_avp_makes_a_length_that_cannot_be_5015() -> None:
    frame = message(*CCR, avp(1, b"123456")[:-2])
    assert len(frame) % 4 == 2
    refused(frame, 5015, b"")


def test_another_version_is_5011() -> None:
    refused(message(*CCR, version=2), 5011, b"")


def test_an_unknown_command_is_3001_and_still_knows_its_session() -> None:  # CLIENTS 17
    fault = refused(message(*CCR, command=4), 3001, b"")
    assert fault.avps["Session-Id"] == NEEDED["Session-Id"]


@pytest.mark.parametrize(("command", "application"), [(272, 0), (257, 4), (8388635, 0)])
def test_a_command_of_another_application_is_3001(command: int, application: int) -> None:
    refused(message(*CCR, command=command, application=application), 3001, b"")


def test_an_unknown_application_is_3007_whatever_the_command() -> None:
    refused(message(*CCR, application=16777238), 3007, b"")
    refused(message(*CCR, application=16777238, command=4), 3007, b"")


def test_a_request_with_the_e_bit_is_3008() -> None:
    fault = refused(message(*CCR, flags=0xE0), 3008, b"")
    assert fault.avps["CC-Request-Number"] == 7


# ---------------------------------------------------------------- AVP headers and lengths


@pytest.mark.parametrize("bit", [0x01, 0x02, 0x04, 0x08, 0x10])
def test_reserved_avp_bits_are_3009(bit: int) -> None:
    failed = avp(1, b"user", flags=0x40 | bit)
    refused(ccr(failed), 3009, failed)


@pytest.mark.parametrize(
    "wrong",
    [
        avp(278, bytes(8)),  # Origin-State-Id, Unsigned32
        avp(278, bytes(3)),
        avp(419, bytes(4)),  # CC-Sub-Session-Id, Unsigned64
        avp(419, b""),
        avp(436, bytes(2)),  # Requested-Action, Enumerated
        avp(55, bytes(8)),  # Event-Timestamp, Time
    ],
)
def test_a_typed_avp_of_another_length_is_5014_with_itself(wrong: bytes) -> None:
    refused(ccr(wrong), 5014, wrong)


def test_a_wrong_length_deep_inside_is_named_inside_its_groups() -> None:
    wrong = avp(421, bytes(4))  # CC-Total-Octets is an Unsigned64
    frame = ccr(service(u32(432, 10), avp(446, u32(420, 5) + wrong)))
    refused(frame, 5014, service(avp(446, wrong)))


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x01\x7f\x00\x00", b"\x00\x02\x7f\x00\x00\x01"])
def test_an_address_of_another_length_than_its_familys_is_5014(payload: bytes) -> None:
    wrong = avp(1228, payload, vendor=10415)
    within = information(avp(874, wrong, vendor=10415))
    refused(ccr(within), 5014, within)


@pytest.mark.parametrize("length", [0, 1, 7])
def test_an_avp_length_below_its_header_is_5014_with_an_example(length: int) -> None:
    refused(ccr(avp(421, bytes(8), length=length)), 5014, avp(421, bytes(8)))


def test_a_vendor_avp_length_below_its_header_is_5014_with_an_example() -> None:
    refused(ccr(avp(873, b"", vendor=10415, length=8)), 5014, avp(873, b"", vendor=10415))


def test_an_avp_that_ends_beyond_the_message_is_5014_with_an_example_of_the_shortest_payload() -> None:
    refused(ccr(avp(420, bytes(4), length=4000)), 5014, u32(420, 0))
    refused(ccr(avp(1, b"user", length=16777215)), 5014, avp(1, b""))
    refused(ccr(avp(9999, b"user", length=24)), 5014, avp(9999, b""))


def test_the_reason_is_the_same_however_often_a_header_that_is_too_long_was_met() -> None:
    codec, too_long = Codec(), ccr(avp(1, b"user", length=24))
    with pytest.raises(DecodeFault, match="AVP 1 ends beyond its container"):
        codec.decode(too_long)
    codec.decode(ccr(avp(1, b"a user of 16 oct")))  # the same header, where it is right
    with pytest.raises(DecodeFault, match="AVP 1 ends beyond its container"):
        codec.decode(too_long)


def test_an_avp_that_ends_beyond_its_group_is_5014_inside_that_group() -> None:
    refused(ccr(service(avp(432, bytes(4), length=16)), u32(455, 1)), 5014, service(u32(432, 0)))


def test_a_header_cut_off_by_the_end_is_padded_to_a_header() -> None:
    refused(message(*CCR, pack(">I", 1)), 5014, avp(1, b"", flags=0))
    refused(ccr(service(pack(">I", 432)), u32(455, 1)), 5014, service(avp(432, bytes(4), flags=0)))
    cut = pack(">II", 873, 0xC0 << 24 | 12)
    refused(message(*CCR, cut), 5014, avp(873, b"", vendor=0))


def test_an_unpadded_last_avp_inside_a_group_is_5014_for_the_group() -> None:
    # RFC 6733 section 4.4: the padding of what is inside is counted, a group's length is a multiple of 4
    unpadded = avp(443, u32(450, 0) + avp(444, b"49170")[:-3])
    refused(ccr(unpadded), 5014, avp(443, b""))


# ---------------------------------------------------------------- grammar


@pytest.mark.parametrize(
    ("part", "example"),
    [
        (SESSION_ID, avp(263, b"")),
        (ORIGIN_HOST, avp(264, b"")),
        (ORIGIN_REALM, avp(296, b"")),
        (DESTINATION_REALM, avp(283, b"")),
        (CONTEXT, avp(461, b"")),
        (REQUEST_TYPE, u32(416, 0)),
        (REQUEST_NUMBER, u32(415, 0)),
    ],
)
def test_a_missing_required_avp_is_5005_with_a_zeroed_example(part: bytes, example: bytes) -> None:
    refused(ccr(without=part), 5005, example)


def test_an_avp_missing_in_a_group_is_named_inside_it() -> None:
    refused(ccr(avp(443, u32(450, 0))), 5005, avp(443, avp(444, b"")))


def test_a_second_singleton_is_5009_with_the_second() -> None:
    second = u32(416, 2)
    refused(ccr(second, u32(416, 3)), 5009, second)
    refused(ccr(service(u32(432, 1), u32(432, 2))), 5009, service(u32(432, 2)))


def test_a_third_origin_host_is_5009() -> None:  # CLIENTS 6 forgives two
    third = avp(264, b"third.example.org")
    refused(ccr(ORIGIN_HOST, third), 5009, third)


def test_one_service_more_than_the_limit_is_5009_with_that_service() -> None:
    services = [service(u32(432, at)) for at in range(limits.SERVICES_PER_REQUEST_MAX + 1)]
    Codec().decode(ccr(*services[:-1]))
    refused(ccr(*services), 5009, services[-1])


@pytest.mark.parametrize(
    "unknown",
    [
        avp(9999, b"abc"),
        avp(9999, b"abc", vendor=10415),
        avp(1, b"abc", vendor=99),
        u32(432 + 10_000, 1),
        avp(448, bytes(4)),  # Validity-Time is known, but not in a request's grammar
    ],
)
def test_an_unknown_avp_with_the_m_bit_is_5001_with_itself(unknown: bytes) -> None:
    refused(ccr(unknown), 5001, unknown)
    refused(ccr(avp(443, u32(450, 0) + avp(444, b"1") + unknown)), 5001, avp(443, unknown))


def test_an_unknown_m_bit_avp_beside_service_information_is_5001() -> None:
    codec = Codec()
    unknown = avp(9999, b"abc")
    with pytest.raises(DecodeFault) as caught:
        codec.decode(ccr(information(unknown), unknown))
    assert (caught.value.result_code, caught.value.failed_avp) == (5001, unknown)


def test_a_very_long_offending_avp_becomes_an_example_of_itself() -> None:
    at_limit = avp(9999, bytes(limits.FAILED_AVP_OCTETS_MAX - 8))
    refused(ccr(at_limit), 5001, at_limit)
    refused(ccr(avp(9999, bytes(limits.FAILED_AVP_OCTETS_MAX))), 5001, avp(9999, b""))


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("wrong", [u32(416, 0), u32(416, 5), u32(416, 0xFFFFFFFF), u32(436, 4), u32(455, 2)])
def test_an_enumerated_value_out_of_range_is_5004_with_itself(wrong: bytes) -> None:
    others = [part for part in CCR if part[:4] != wrong[:4]]
    refused(message(*others, wrong), 5004, wrong)


def test_a_value_that_a_later_release_may_add_is_passed_on() -> None:
    found = Codec().decode(ccr(information(avp(874, avp(3, pack(">i", 99), vendor=10415), vendor=10415))))
    assert found.avps["Service-Information"]["PS-Information"]["3GPP-PDP-Type"] == 99


def test_text_that_is_not_utf_8_is_5004_with_itself() -> None:
    wrong = avp(1, b"\xff\xfe")
    refused(ccr(wrong), 5004, wrong)


@pytest.mark.parametrize("identity", [b"", b"a b", b"host\n", b"h\xc3\xb6st", bytes(4), b"x" * 256])
def test_an_identity_that_is_no_name_is_5004_with_itself(identity: bytes) -> None:
    wrong = avp(293, identity)
    refused(ccr(wrong), 5004, wrong)


# ---------------------------------------------------------------- nesting


def nested(code: int, flags: int, depth: int) -> bytes:
    inside = b""
    for _ in range(depth):
        inside = avp(code, inside, flags=flags)
    return inside


def test_services_2000_deep_are_refused_at_the_first_that_no_grammar_knows() -> None:
    # The copy would be 16,000 octets long: the Failed-AVP holds its header.
    refused(ccr(nested(456, 0x40, 2000)), 5001, service(service()))


@pytest.mark.parametrize("code", [456, 446, 9999])
def test_groups_2000_deep_without_the_m_bit_are_never_entered(code: int) -> None:
    Codec().decode(ccr(nested(code, 0, 2000)))


def test_groups_2000_deep_in_service_information_and_proxy_info_are_never_entered() -> None:
    codec, deep = Codec(), nested(9999, 0x40, 2000)
    found = codec.decode(ccr(information(deep), avp(284, deep)))
    assert codec.ignored_in_service_information == 1
    assert found.avps["Proxy-Info"] == [avp(284, deep)]


def test_a_grammar_that_is_too_deep_is_refused_when_the_codec_is_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(grammar.GROUPS, "Address-Domain", "[ Address-Domain ]")
    with pytest.raises(ValueError, match="deeper than"):
        Codec()


# ---------------------------------------------------------------- what the answer needs


def test_the_fault_brings_what_the_answer_needs_from_before_and_after_it() -> None:
    proxy = [avp(284, avp(280, b"a.org") + avp(33, b"%d" % at)) for at in range(3)]
    fault = fault_of(message(proxy[0], avp(9999, b"x"), proxy[1], *CCR, proxy[2]))
    assert fault.result_code == 5001
    assert {name: fault.avps[name] for name in NEEDED} == NEEDED
    assert fault.avps["Proxy-Info"] == proxy


def test_what_is_itself_broken_is_not_brought() -> None:
    fault = fault_of(message(u32(416, 9), *(part for part in CCR if part != REQUEST_TYPE)))
    assert fault.result_code == 5004
    assert "CC-Request-Type" not in fault.avps
    assert fault.avps["CC-Request-Number"] == 7


def test_the_rescue_counts_nothing_as_ignored() -> None:
    codec = Codec()
    with pytest.raises(DecodeFault):
        codec.decode(ccr(avp(9999, b"x"), avp(9998, b"x")))
    assert codec.ignored_in_service_information == 0


def test_the_failed_avp_goes_into_an_answer_as_it_is() -> None:
    failed = fault_of(ccr(service(avp(446, avp(421, bytes(4)))))).failed_avp
    answer = (SESSION_ID, u32(268, 5014), ORIGIN_HOST, ORIGIN_REALM, u32(258, 4), u32(416, 1), u32(415, 7))
    found = Codec().decode(message(*answer, writer("Failed-AVP")(failed), flags=0x40))
    assert found.avps["Failed-AVP"] == [failed]


def test_a_reason_shows_no_value() -> None:
    assert "491700000001" not in fault_of(ccr(avp(1, b"491700000001", flags=0x48))).reason
    assert "secret" not in str(fault_of(ccr(avp(293, b"secret host"))))
