"""What idempotency compares (DESIGN law 5): the content of a request, and nothing but it."""

from hashlib import blake2b
from typing import Any

import pytest

from ocs.charging.ask import UPDATE, ask
from tests.unit.charging.ccr import IMSI, MSISDN, SIP, ccr, octets, service, services

BASE: dict[str, Any] = services(service(10, used=octets(1), requested=octets(2)), service(20, used=octets(3)))


@pytest.mark.parametrize(
    "change",
    [
        {"Session_Id": "another;1;2"},
        {"Origin_Host": "another.example.org"},
        {"Destination_Host": "ocs.example.org", "Destination_Realm": "elsewhere.org"},
        {"Route_Record": ["relay.example.org"]},
        {"Event_Timestamp": 1_800_000_000},
        {"Origin_State_Id": 77},
        {"Requested_Action": 1},
        {"CC_Request_Number": 9},
        {"Subscription_Id": [IMSI, MSISDN]},
        {"Subscription_Id": [SIP, IMSI]},
        services(*reversed(BASE["Multiple_Services_Credit_Control"])),
        services(service(10, used=[octets(1), octets(0)], requested=octets(2)), service(20, used=octets(3))),
    ],
)
def test_the_digest_does_not_know_what_is_not_content(change: dict[str, Any]) -> None:
    assert ask(ccr(UPDATE, 1, **(BASE | change))).digest == ask(ccr(UPDATE, 1, **BASE)).digest


@pytest.mark.parametrize(
    "change",
    [
        {"Subscription_Id": [MSISDN]},
        {"Subscription_Id": [{**MSISDN, "Subscription-Id-Data": "491700000002"}, IMSI]},
        {"CC_Sub_Session_Id": 1},
        services(service(10, used=octets(1), requested=octets(2))),
        services(service(10, used=octets(9), requested=octets(2)), service(20, used=octets(3))),
        services(service(10, used=octets(1), requested=octets(9)), service(20, used=octets(3))),
        services(service(10, used=octets(1), requested={}), service(20, used=octets(3))),
        services(service(10, used=octets(1), requested=octets(2)), service(21, used=octets(3))),
        services(service(10, used=octets(1), requested=octets(2)), service(20, used={"CC-Time": 3})),
        services(service(10, used=octets(1)), service(20, used=octets(3))),
        services(service(10, requested=octets(2)), service(20, used=octets(3))),
    ],
)
def test_the_digest_knows_the_content(change: dict[str, Any]) -> None:
    assert ask(ccr(UPDATE, 1, **(BASE | change))).digest != ask(ccr(UPDATE, 1, **BASE)).digest


def test_the_digest_is_the_same_in_every_process_and_release() -> None:
    content = "e491700000001\ni001010000000001\n\n10 1,-1,-1 2,-1,-1\n20 3,-1,-1 -"
    expected = blake2b(content.encode(), digest_size=6).hexdigest()
    assert f"{ask(ccr(UPDATE, 1, **BASE)).digest:012x}" == expected == "b1d176a228c6"


def test_nothing_used_and_no_report_are_not_the_same_content() -> None:
    silent = services(service(10, requested={}), service(20, requested={}))
    spoken = services(service(10, requested={}, used=octets(0)), service(20, requested={}))
    assert ask(ccr(UPDATE, 1, **silent)).digest != ask(ccr(UPDATE, 1, **spoken)).digest
