"""The base protocol's messages as others read them."""

import pytest
from diameter.message.commands import (
    CapabilitiesExchangeAnswer,
    CapabilitiesExchangeRequest,
    DeviceWatchdogAnswer,
    DeviceWatchdogRequest,
    DisconnectPeerAnswer,
    DisconnectPeerRequest,
)

from ocs.diameter import base
from ocs.diameter.base import BaseMessages
from ocs.diameter.message import header
from tests.unit.diameter.rig import (
    CODEC,
    CREDIT_CONTROL,
    HOST,
    LOCAL,
    avp,
    cer,
    dpr,
    dwr,
    read,
)

OURS = BaseMessages(LOCAL)


def offered(*more: bytes) -> base.Capabilities:
    return base.capabilities(CODEC.decode(cer(*more)))


def vendor_specific(*inside: bytes) -> bytes:
    return avp(260, b"".join(inside))


def test_a_strangers_codec_finds_in_our_cea_all_that_clients_1_to_4_ask_for() -> None:
    cea = read(OURS.cea(header(cer())))
    assert isinstance(cea, CapabilitiesExchangeAnswer)
    assert cea.result_code == 2001
    assert cea.origin_host == b"ocs.example.org"
    assert cea.origin_realm == b"example.org"
    assert cea.host_ip_address == [(1, "127.0.0.1"), (2, "::1")]
    assert cea.vendor_id == 10415
    assert cea.product_name == "ocs"
    assert cea.origin_state_id == 1_700_000_000
    assert cea.supported_vendor_id == [10415]
    assert cea.auth_application_id == [4]
    assert cea.inband_security_id == [0]
    assert cea.firmware_revision == 100
    [specific] = cea.vendor_specific_application_id
    assert (specific.vendor_id, specific.auth_application_id) == (10415, 4)


def test_answers_copy_the_identifiers_and_clear_the_request_bit() -> None:
    for build in (OURS.cea, OURS.dwa, OURS.dpa):
        octets = build(header(dwr(ids=0xDEADBEEF)))
        top = header(octets)
        assert (top.hop_by_hop, top.end_to_end) == (0xDEADBEEF, 0xDEADBEEF)
        assert top.flags == 0
        assert top.length == len(octets)


def test_a_strangers_codec_reads_our_dwa_and_dpa() -> None:
    dwa, dpa = read(OURS.dwa(header(dwr()))), read(OURS.dpa(header(dpr())))
    assert isinstance(dwa, DeviceWatchdogAnswer)
    assert isinstance(dpa, DisconnectPeerAnswer)
    for answer in (dwa, dpa):
        assert answer.result_code == 2001
        assert (answer.origin_host, answer.origin_realm) == (b"ocs.example.org", b"example.org")


def test_a_strangers_codec_reads_our_requests() -> None:
    theirs, watchdog, leave = read(OURS.cer(1, 2)), read(OURS.dwr(3, 4)), read(OURS.dpr(base.BUSY, 5, 6))
    assert isinstance(theirs, CapabilitiesExchangeRequest)
    assert isinstance(watchdog, DeviceWatchdogRequest)
    assert isinstance(leave, DisconnectPeerRequest)
    assert theirs.auth_application_id == [4]
    assert watchdog.origin_state_id == 1_700_000_000
    assert leave.disconnect_cause == base.BUSY
    for message, ids in ((theirs, (1, 2)), (watchdog, (3, 4)), (leave, (5, 6))):
        assert message.header.is_request
        assert (message.header.hop_by_hop_identifier, message.header.end_to_end_identifier) == ids


def test_our_own_codec_takes_every_message_that_we_build() -> None:
    built = [
        OURS.cer(1, 2),
        OURS.cea(header(cer())),
        OURS.cea_refusal(header(cer()), 5010, "no common application"),
        OURS.cea_refusal(header(cer()), 3010, "peer not known here"),
        OURS.dwr(1, 2),
        OURS.dwa(header(dwr())),
        OURS.dpr(0, 1, 2),
        OURS.dpa(header(dpr())),
        OURS.refusal(header(dwr()), 3001, "command not supported"),
        OURS.refusal(header(dpr()), 5005, "missing", avp(273, 0)),
    ]
    for octets in built:
        assert CODEC.decode(octets).avps["Origin-Host"] == "ocs.example.org"


def test_no_avp_of_a_cea_has_an_m_bit_that_the_rfc_forbids() -> None:
    # RFC 6733 section 4.5: Product-Name, Firmware-Revision and Error-Message must not have it.
    cea = read(OURS.cea_refusal(header(cer()), 5010, "no common application"))
    flags = {found.code: found.is_mandatory for found in cea.avps}
    assert not any(flags[code] for code in (269, 267, 281))
    assert all(flags[code] for code in (268, 264, 296, 257, 266, 278, 265, 258, 299, 260))


@pytest.mark.parametrize(("code", "error"), [(3001, True), (3008, True), (5005, False), (5010, False)])
def test_the_error_bit_is_set_for_protocol_errors_only(code: int, error: bool) -> None:  # noqa: FBT001
    assert read(OURS.refusal(header(dwr()), code, "why")).header.is_error is error
    assert read(OURS.cea_refusal(header(cer()), code, "why")).header.is_error is error


def test_a_refusal_carries_the_avp_that_failed() -> None:
    refusal = read(OURS.refusal(header(dwr()), 5005, "Origin-Host is missing", avp(264, "")))
    [failed] = [found for found in refusal.avps if found.code == 279]
    assert [inner.code for inner in failed.value] == [264]
    assert refusal.error_message == "Origin-Host is missing"


@pytest.mark.parametrize(
    "more",
    [
        (CREDIT_CONTROL,),
        (avp(258, 0xFFFFFFFF),),
        (avp(258, 16777238), avp(258, 16777272), CREDIT_CONTROL),
        (vendor_specific(avp(266, 10415), avp(258, 4)),),
        (vendor_specific(avp(258, 4), avp(266, 10415)),),
        (vendor_specific(avp(266, 10415), avp(258, 16777238)), vendor_specific(avp(266, 10415), avp(258, 4))),
        (avp(259, 0xFFFFFFFF),),
    ],
    ids=[
        "credit-control",
        "relay",
        "gx-s6b-beside",
        "vendor-specific",
        "id-before-vendor",
        "two-groups",
        "relay-by-acct",
    ],
)
def test_credit_control_is_common_however_it_is_offered(more: tuple[bytes, ...]) -> None:
    assert offered(*more).shares_credit_control


@pytest.mark.parametrize(
    "more",
    [
        (avp(258, 16777238),),
        (avp(259, 4),),
        (avp(259, 3),),
        (vendor_specific(avp(266, 10415), avp(258, 16777238)),),
        (avp(265, 10415),),
    ],
    ids=["gx", "acct-4", "acct-base", "gx-vendor-specific", "none"],
)
def test_another_application_is_not_common(more: tuple[bytes, ...]) -> None:
    assert not offered(*more).shares_credit_control


def test_what_a_cer_says_beside_applications_is_kept() -> None:
    said = offered(
        CREDIT_CONTROL,
        avp(278, 77),
        avp(265, 5535),
        avp(265, 10415),
        avp(265, 13019),
        avp(299, 1),
        avp(267, 10201),
    )
    assert said == base.Capabilities(
        applications=frozenset({4}),
        host_ips=("127.0.0.1",),
        vendor_id=0,
        product_name="test",
        origin_state_id=77,
        supported_vendors=frozenset({5535, 10415, 13019}),
        firmware_revision=10201,
        inband_security=frozenset({1}),
    )


def test_a_server_without_an_address_cannot_be_described() -> None:
    with pytest.raises(AssertionError, match="Host-IP-Address"):
        BaseMessages(LOCAL._replace(host_ips=()))


def test_the_sender_of_a_cer_is_who_it_says_at_the_address_it_came_from() -> None:
    message = CODEC.decode(cer(host=HOST))
    assert base.identity(message, "192.0.2.7") == base.Identity("ctf.example.org", "example.org", "192.0.2.7")
