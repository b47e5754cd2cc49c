"""AVPs of 3GPP in the services of a request: what COMPLIANCE.md says of them (TS 32.299 clause 7.2)."""

import pytest

from ocs.diameter.codec import Codec
from tests.unit.diameter.octets import avp, ccr, fault_of, service, u32

TGPP = 10_415


def used(*inside: bytes) -> bytes:
    return service(u32(432, 10), avp(446, avp(421, bytes(8)) + b"".join(inside)))


@pytest.mark.parametrize("code", [1249, 1276, 3912])
def test_what_a_service_may_not_have_here_is_5001_with_itself(code: int) -> None:
    stranger = avp(code, bytes(4), vendor=TGPP)
    fault = fault_of(ccr(service(u32(432, 10), stranger)))
    assert (fault.result_code, fault.failed_avp) == (5001, service(stranger))


def test_an_envelope_in_a_report_is_5001_and_nothing_is_lost_in_silence() -> None:
    envelope = avp(1266, avp(1269, bytes(4), vendor=TGPP), vendor=TGPP)
    fault = fault_of(ccr(used(envelope)))
    assert (fault.result_code, envelope in fault.failed_avp) == (5001, True)


def test_when_the_events_of_a_report_took_place_is_read() -> None:
    message = Codec().decode(ccr(used(avp(1258, (3_900_000_000).to_bytes(4, "big"), vendor=TGPP))))
    [told] = message.avps["Multiple-Services-Credit-Control"]
    assert told["Used-Service-Unit"][0]["Event-Charging-TimeStamp"] == [3_900_000_000 - 2_208_988_800]


def test_free_format_data_is_read_and_advice_of_charge_is_passed_over() -> None:
    furnished = avp(865, avp(2, b"id", vendor=TGPP) + avp(866, b"cdr", vendor=TGPP), vendor=TGPP)
    message = Codec().decode(
        ccr(service(u32(432, 10), furnished), avp(2055, (1).to_bytes(4, "big"), vendor=TGPP))
    )
    [told] = message.avps["Multiple-Services-Credit-Control"]
    assert told["PS-Furnish-Charging-Information"]["PS-Free-Format-Data"] == b"cdr"
    assert message.avps["AoC-Request-Type"] == 1
