"""The codec on good messages: types, lists, leniencies, headers, writers."""

import struct
from struct import pack
from typing import Any

import pytest
from diameter.message import Message as Stranger

from ocs import limits
from ocs.diameter.codec import Codec, Message, answer_header, header, writer
from tests.unit.diameter.octets import (
    AUTH_APPLICATION,
    CCR,
    ORIGIN_HOST,
    ORIGIN_REALM,
    SESSION_ID,
    P,
    avp,
    ccr,
    information,
    message,
    service,
    u32,
)


def decoded(*more: bytes, without: bytes | None = None) -> dict[str, Any]:
    return Codec().decode(ccr(*more, without=without)).avps


def test_the_least_ccr_reads_as_values_by_name() -> None:
    assert decoded() == {
        "Session-Id": "client.example.org;1;2",
        "Origin-Host": "client.example.org",
        "Origin-Realm": "example.org",
        "Destination-Realm": "example.org",
        "Auth-Application-Id": 4,
        "Service-Context-Id": "32251@3gpp.org",
        "CC-Request-Type": 1,
        "CC-Request-Number": 7,
    }


def test_header_fields_and_flags_are_read() -> None:
    found = Codec().decode(message(*CCR, flags=0xD0))
    assert (found.command, found.application, found.hop_by_hop, found.end_to_end) == (272, 4, 0x11, 0x22)
    assert (found.is_request, found.is_proxiable, found.is_error, found.is_retransmitted) == (
        True,
        True,
        False,
        True,
    )


def test_reserved_bits_of_the_message_header_are_ignored() -> None:
    # RFC 6733 section 3: they MUST be zero and are ignored by the receiver
    assert Codec().decode(message(*CCR, flags=0xCF)).flags == 0xCF


def test_the_order_of_avps_is_free() -> None:
    assert Codec().decode(message(*reversed(CCR))).avps == decoded()


@pytest.mark.parametrize(
    ("octets", "name", "value"),
    [
        (u32(420, 0xFFFFFFFF), "CC-Time", 0xFFFFFFFF),
        (avp(421, pack(">Q", 1 << 63)), "CC-Total-Octets", 1 << 63),
        (avp(413, avp(445, avp(447, pack(">q", -5)) + avp(429, pack(">i", -2)))), "CC-Money", None),
    ],
)
def test_numbers_keep_their_width_and_sign(octets: bytes, name: str, value: int | None) -> None:
    units = decoded(service(avp(446, octets)))["Multiple-Services-Credit-Control"][0]["Used-Service-Unit"][0]
    if value is None:
        assert units == {"CC-Money": {"Unit-Value": {"Value-Digits": -5, "Exponent": -2}}}
    else:
        assert units == {name: value}


@pytest.mark.parametrize(
    ("payload", "unix_seconds"),
    [
        ("83aa7e80", 0),  # 1970-01-01
        ("80000000", -61505152),  # 1968-01-20, the first that lies before the wrap
        ("ffffffff", 2085978495),  # 2036-02-07 06:28:15
        ("00000000", 2085978496),  # 2036-02-07 06:28:16, the wrap (RFC 6733 section 4.3.1)
    ],
)
def test_time_is_unix_seconds_on_both_sides_of_2036(payload: str, unix_seconds: int) -> None:
    assert decoded(avp(55, bytes.fromhex(payload)))["Event-Timestamp"] == unix_seconds
    assert writer("Event-Timestamp")(unix_seconds) == avp(55, bytes.fromhex(payload))


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"\x00\x01\x0a\x2d\x00\x02", "10.45.0.2"),
        (b"\x00\x02" + bytes.fromhex("20010db8") + bytes(11) + b"\x01", "2001:db8::1"),
        (b"\x00\x08491700000001", b"\x00\x08491700000001"),  # E.164
        (b"\x00\x080123", b"\x00\x080123"),  # as long as an IPv4 address, but none
    ],
)
def test_addresses_are_text_for_ip_and_octets_otherwise(payload: bytes, value: str | bytes) -> None:
    found = decoded(information(avp(874, avp(1227, payload, vendor=10415), vendor=10415)))
    assert found["Service-Information"]["PS-Information"]["PDP-Address"] == [value]
    assert writer("PDP-Address")(value) == avp(1227, payload, vendor=10415)


def test_what_may_come_many_times_is_a_list_even_once_and_the_rest_is_not() -> None:
    found = decoded(service(u32(432, 10), u32(439, 1)), avp(1, b"user"))
    assert found["Multiple-Services-Credit-Control"] == [{"Rating-Group": 10, "Service-Identifier": [1]}]
    assert found["User-Name"] == "user"


def test_proxy_info_is_carried_whole_and_in_order() -> None:
    first = avp(284, avp(280, b"a.example.org") + avp(33, b"1"))
    second = avp(284, avp(280, b"b.example.org") + avp(33, b"22"))
    found = Codec().decode(ccr(first, u32(455, 1), second))
    assert found.avps["Proxy-Info"] == [first, second]
    assert first + second in Codec().encode(found)


def test_route_record_reads_as_identities() -> None:
    assert decoded(avp(282, b"a.org"), avp(282, b"b.org"))["Route-Record"] == ["a.org", "b.org"]


def test_an_unknown_avp_without_m_bit_is_passed_over() -> None:
    assert decoded(avp(9999, b"x", flags=0), service(avp(9999, b"yy", flags=0, vendor=5))) == {
        **decoded(),
        "Multiple-Services-Credit-Control": [{}],
    }


def test_vendor_zero_means_the_ietf() -> None:
    # RFC 6733 section 4.1.1: no Vendor-ID and a Vendor-ID of zero mean the same
    assert decoded(avp(1, b"user", vendor=0))["User-Name"] == "user"


def test_another_vendors_avp_of_the_same_code_is_another_avp() -> None:
    assert "User-Name" not in decoded(avp(1, b"user", flags=0, vendor=10415))


def test_an_empty_requested_service_unit_is_normal() -> None:  # CLIENTS 10
    assert decoded(service(avp(437, b"")))["Multiple-Services-Credit-Control"] == [
        {"Requested-Service-Unit": {}}
    ]


# ---------------------------------------------------------------- leniencies, by their paragraph of CLIENTS


def cer(*addresses: bytes) -> bytes:
    return message(
        ORIGIN_HOST,
        ORIGIN_REALM,
        *addresses,
        u32(266, 0),
        avp(269, b"x", flags=0),
        command=257,
        application=0,
        flags=0x80,
    )


def test_clients_3_a_cer_without_host_ip_address_is_accepted() -> None:
    assert "Host-IP-Address" not in Codec().decode(cer()).avps
    with_one = Codec().decode(cer(avp(257, b"\x00\x01\x7f\x00\x00\x01")))
    assert with_one.avps["Host-IP-Address"] == ["127.0.0.1"]


def test_clients_3_firmware_revision_may_carry_the_m_bit() -> None:
    assert Codec().decode(cer(u32(267, 10201))).avps["Firmware-Revision"] == 10201


def test_clients_5_the_headers_application_id_is_enough() -> None:
    assert "Auth-Application-Id" not in decoded(without=AUTH_APPLICATION)


def test_clients_6_of_origin_host_and_realm_twice_the_first_counts() -> None:
    found = decoded(avp(264, b"second.example.org"), avp(296, b"second.org"))
    assert (found["Origin-Host"], found["Origin-Realm"]) == ("client.example.org", "example.org")


@pytest.mark.parametrize("flags", [0, P])
def test_clients_7_m_and_p_bits_of_known_avps_are_not_checked(flags: int) -> None:
    frame = message(*(part[:4] + bytes([flags]) + part[5:] for part in CCR))
    assert Codec().decode(frame).avps == decoded()


def test_clients_8_avps_outside_the_grammar_that_must_not_be_refused() -> None:
    qos = avp(1016, avp(1028, pack(">i", 9), vendor=10415), vendor=10415)
    reason = avp(872, pack(">i", 2), vendor=10415)
    found = decoded(
        u32(480, 2),
        u32(485, 0),
        avp(260, u32(266, 10415) + u32(258, 4)),
        avp(2055, pack(">i", 1), vendor=10415),
        service(qos, reason, avp(446, reason)),
        information(avp(443, u32(450, 0) + avp(444, b"491700000001"))),
    )
    assert found["Vendor-Specific-Application-Id"] == {"Vendor-Id": 10415, "Auth-Application-Id": 4}
    assert found["AoC-Request-Type"] == 1
    assert found["Multiple-Services-Credit-Control"] == [
        {
            "QoS-Information": {"QoS-Class-Identifier": 9},
            "Reporting-Reason": [2],
            "Used-Service-Unit": [{"Reporting-Reason": 2}],
        }
    ]
    assert len(found["Service-Information"]["Subscription-Id"]) == 1


def test_clients_8_unknown_m_bit_avps_in_service_information_are_passed_over_and_counted() -> None:
    codec = Codec()
    deep = avp(874, avp(9998, b"x", vendor=10415) + avp(30, b"internet"), vendor=10415)
    frame = ccr(information(avp(9999, b"y"), deep))
    for times in (1, 2):  # the second time from the memory of headers
        found = codec.decode(frame)
        assert found.avps["Service-Information"] == {"PS-Information": {"Called-Station-Id": "internet"}}
        assert codec.ignored_in_service_information == 2 * times


# ---------------------------------------------------------------- memory


def test_the_memory_of_headers_and_identities_is_bounded() -> None:
    codec = Codec()
    for at in range(2 * limits.AVP_HEADS_KEPT_MAX):
        codec.decode(ccr(avp(100_000 + at, b"", flags=0)))
    (bound,) = (bound for key, bound in codec._commands.items() if key == (4, 272, 0x80))
    assert 0 < len(bound.heads) <= limits.AVP_HEADS_KEPT_MAX
    for at in range(limits.IDENTITIES_KEPT_MAX + 9):
        codec.decode(ccr(avp(293, b"host%d.example.org" % at)))
    assert 0 < len(codec._identities) <= limits.IDENTITIES_KEPT_MAX


def test_a_remembered_header_does_not_hide_a_length_beyond_the_end() -> None:
    codec = Codec()
    codec.decode(ccr(avp(1, b"12345678")))
    with pytest.raises(Exception, match="ends beyond"):
        codec.decode(ccr(avp(1, b"12345678")[:-4]))


# ---------------------------------------------------------------- encoding


def test_an_answer_through_writers_is_read_alike_by_us_and_by_python_diameter() -> None:
    request = header(message(*CCR, flags=0xD0))
    granted = writer("Granted-Service-Unit")(writer("CC-Total-Octets")(10_485_760))
    body = b"".join(
        (
            writer("Session-Id")("client.example.org;1;2"),
            writer("Result-Code")(2001),
            writer("Origin-Host")("ocs.example.org"),
            writer("Origin-Realm")("example.org"),
            writer("Auth-Application-Id")(4),
            writer("CC-Request-Type")(1),
            writer("CC-Request-Number")(7),
            writer("Multiple-Services-Credit-Control")(granted + writer("Result-Code")(2001)),
            writer("Low-Balance-Indication", mandatory=False)(1),
        )
    )
    octets = answer_header(request, error=False, length=20 + len(body)) + body
    ours, theirs = Codec().decode(octets), Stranger.from_bytes(octets)
    assert ours.flags == 0x40  # P kept, R and T cleared
    assert ours.avps["Multiple-Services-Credit-Control"] == [
        {"Granted-Service-Unit": {"CC-Total-Octets": 10_485_760}, "Result-Code": 2001}
    ]
    assert (theirs.session_id, theirs.result_code, theirs.cc_request_number) == (
        "client.example.org;1;2",
        2001,
        7,
    )
    assert theirs.multiple_services_credit_control[0].granted_service_unit.cc_total_octets == 10_485_760
    assert theirs.header.hop_by_hop_identifier == 0x11
    assert theirs.header.end_to_end_identifier == 0x22


def test_the_general_encoder_and_the_writers_write_the_same_octets() -> None:
    avps = Codec().decode(ccr(avp(55, bytes.fromhex("83aa7e80")), service(u32(432, 10)))).avps
    frame = Codec().encode(Message(0xC0, 272, 4, 0x11, 0x22, avps))
    assert frame == ccr(avp(55, bytes.fromhex("83aa7e80")), service(u32(432, 10)))


def test_the_answer_to_a_protocol_error_carries_the_e_bit() -> None:
    assert header(answer_header(header(message(*CCR)), error=True, length=20)).flags == 0x60
    assert header(answer_header(header(message(*CCR, flags=0x80)), error=True, length=20)).flags == 0x20


def test_an_error_answer_has_the_grammar_of_rfc_6733_section_7_2() -> None:
    found = Codec().decode(
        message(SESSION_ID, u32(268, 3004), ORIGIN_HOST, ORIGIN_REALM, command=258, flags=0x20)
    )
    assert found.is_error
    assert found.avps["Result-Code"] == 3004


def test_failed_avp_is_carried_and_not_read() -> None:
    inside = avp(421, bytes(4))
    answer = (SESSION_ID, u32(268, 5014), ORIGIN_HOST, ORIGIN_REALM, avp(279, inside))
    found = Codec().decode(message(*answer, command=274, flags=0x40))
    assert found.avps["Failed-AVP"] == inside
    assert writer("Failed-AVP")(inside) == avp(279, inside)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CC-Time", 1 << 32), ("CC-Time", -1), ("Event-Timestamp", 1 << 40), ("PDP-Address", "10.0.0")],
)
def test_a_value_that_does_not_fit_is_never_cut_to_fit(name: str, value: object) -> None:
    with pytest.raises((OverflowError, ValueError, struct.error)):
        writer(name)(value)


def test_the_text_of_a_message_names_its_avps_and_shows_no_value() -> None:
    text = repr(Codec().decode(ccr(avp(1, b"491700000001"))))
    assert "User-Name" in text
    assert "4917" not in text
