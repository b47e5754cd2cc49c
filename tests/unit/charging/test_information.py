"""What requests tell of their service, from the captured ones and from ones made to measure."""

from typing import Any

import pytest

from ocs.charging.information import NOTHING, Told, kept, merged, told
from ocs.rating.numbering import read_numbering
from ocs.rating.rates import AT_HOME, Conditions, Facts
from tests.unit.charging.ccr import captured

PLAN = read_numbering(
    """
numbering: sample
country_code: "49"
trunk_prefix: "0"
zones: [near, far]
prefixes: p
emergency: ["110", "112"]
roaming_zones: [home, eu]
networks: n
""",
    "sample.yaml",
    {"p": "prefix,zone\n49,near\n1,far\n", "n": "network,zone\n262,home\n208,eu\n"},
)
ALL = frozenset(Facts._fields[1:])


def call(number: str, **more: Any) -> dict[str, Any]:
    return {
        "IMS-Information": {
            "Called-Party-Address": number,
            **{k.replace("_", "-"): v for k, v in more.items()},
        }
    }


def bearer(**more: Any) -> dict[str, Any]:
    names = {"network": "3GPP-SGSN-MCC-MNC", "access": "3GPP-RAT-Type", "apn": "Called-Station-Id"}
    return {"PS-Information": {names[name]: value for name, value in more.items()}}


@pytest.mark.parametrize(
    ("information", "found"),
    [
        (None, NOTHING),
        ({}, NOTHING),
        (call("+4930123456"), Told(zone="near", called_party="national")),
        (call("tel:0301234567"), Told(zone="near", called_party="national")),
        (call("sip:+15551234@ims.example.org;user=phone"), Told(zone="far", called_party="international")),
        (call("+8812345678"), Told(zone="?", called_party="international")),
        (call("alice"), Told(zone="?", called_party="unknown")),
        (call("112"), Told(zone="emergency", called_party="emergency")),
        (call("+49110"), Told(zone="emergency", called_party="emergency")),
        (call("urn:service:sos"), Told(zone="emergency", called_party="emergency")),
        (call("+4930123456", Role_Of_Node=0), Told(zone="near", called_party="national")),
        (call("+4930123456", Role_Of_Node=1), Told(direction="incoming")),
        ({"IMS-Information": {"Called-Asserted-Identity": ["tel:+15551234"]}}, Told(zone="far", called_party="international")),
        ({"IMS-Information": {}}, NOTHING),
        ({"SMS-Information": {"Recipient-Info": [{"Recipient-Address": [{"Address-Data": "+4930123456"}]}]}},
         Told(zone="near", called_party="national")),
        ({"SMS-Information": {"Recipient-Info": [{"Recipient-Received-Address": [{"Address-Data": "15551234"}]}]}},
         Told(zone="far", called_party="international")),
        ({"SMS-Information": {"Recipient-Info": [{}]}}, NOTHING),
        ({"MMS-Information": {"Recipient-Address": [{}, {"Address-Data": "+15551234"}]}},
         Told(zone="far", called_party="international")),
        ({**call("+15551234"), **bearer(network="20801")}, Told(zone="far", roaming="eu", called_party="international")),
    ],
)  # fmt: skip
def test_a_call_or_message_tells_where_it_goes(information: dict[str, Any] | None, found: Told) -> None:
    assert told("voice", information, PLAN, ALL) == found


@pytest.mark.parametrize(
    ("information", "found"),
    [
        (bearer(network="26201"), Told(roaming="home")),
        (bearer(network="208015"), Told(roaming="eu")),
        (bearer(network="99999"), Told(roaming="?")),
        (bearer(network="abc"), Told(roaming="?")),
        (bearer(access=b"\x06"), Told(access="eutran")),
        (bearer(access=b"\x33"), Told(access="nr")),
        (bearer(access=b"\xff"), Told(access="?")),
        (bearer(access=b""), Told(access="?")),
        (bearer(apn="Internet.mnc001.mcc262.gprs"), Told(apn="internet")),
        (bearer(apn="ims"), Told(apn="ims")),
        (bearer(apn="x,y"), Told(apn="?")),
        (bearer(apn="x\0y"), Told(apn="?")),
        (call("+4930123456", Role_Of_Node=1), NOTHING),
    ],
)
def test_a_data_session_tells_where_it_is(information: dict[str, Any], found: Told) -> None:
    assert told("data", information, PLAN, ALL) == found


def test_what_no_rate_looks_at_is_not_told_but_an_emergency_and_a_call_received_are() -> None:
    whole = {**call("+4930123456"), **bearer(network="20801", access=b"\x06", apn="internet")}
    assert told("data", whole, PLAN, frozenset()) == told("voice", whole, PLAN, frozenset()) == NOTHING
    assert told("data", whole, PLAN, frozenset({"access"})) == Told(access="eutran")
    assert told("voice", whole, PLAN, frozenset({"zone"})) == Told(zone="near")
    assert told("voice", call("112"), PLAN, frozenset()) == Told(zone="emergency")
    assert told("voice", call("+49", Role_Of_Node=1), PLAN, frozenset()) == Told(direction="incoming")


@pytest.mark.parametrize(
    "number", ["112", "911", "tel:112", "sip:112@ims.example.org", "urn:service:sos.fire"]
)
def test_an_emergency_is_known_without_a_numbering_plan(number: str) -> None:
    assert told("voice", call(number), None, frozenset()) == Told(zone="emergency")


@pytest.mark.parametrize("number", ["+49301123456", "110", "1120", "alice", ""])
def test_without_a_numbering_plan_no_other_number_is_told_apart(number: str) -> None:
    assert told("voice", call(number), None, ALL) == NOTHING


@pytest.mark.parametrize(
    "known",
    [
        NOTHING,
        Told(zone="near"),
        Told(roaming="?"),
        Told(direction="incoming"),
        Told("near", "eu", "nr", "internet", "national", "incoming"),
    ],
)
def test_what_a_session_keeps_is_read_as_it_was_written(known: Told) -> None:
    assert kept(known.text) == known
    assert known.text.isascii()
    assert not known.text.endswith(",")


def test_a_data_session_moves_and_a_call_does_not() -> None:
    before = Told(roaming="eu", access="eutran")
    assert merged("data", before, Told(access="nr")) == Told(roaming="eu", access="nr")
    assert merged("data", before, NOTHING) == before
    assert merged("voice", Told(zone="near"), Told(zone="far", access="nr")) == Told(zone="near")
    assert merged("voice", NOTHING, Told(zone="far")) == Told(zone="far")


def test_what_is_unknown_meets_no_rate_that_asks_for_it_and_silence_means_at_home() -> None:
    silent = NOTHING.facts("data", 10, None)
    assert silent == Facts("data", roaming=AT_HOME, rating_group=10)
    unknown = Told(zone="?", roaming="?", access="?", apn="?").facts("voice", None, 7)
    assert unknown == Facts("voice", None, None, None, 7)
    for conditions in (Conditions(zones=frozenset({"?"})), Conditions(roaming=frozenset({"?", "home"}))):
        assert not conditions.hold(unknown)
    assert Told(zone="near", called_party="national", direction="incoming").facts(
        "data", None, None
    ) == Facts("data")


def test_real_network_elements_are_understood() -> None:
    found = {}
    for each in captured():
        information = each.message.avps["Service-Information"]
        if "SMS-Information" in information:
            continue
        family = "voice" if "IMS-Information" in information else "data"
        found[each.capture, family] = told(family, information, PLAN, ALL)
    assert found["open5gs", "data"] == Told(roaming="?", access="eutran", apn="internet")
    assert found["freediameter", "data"] == found["pydiam", "data"] == Told(access="eutran", apn="internet")
    for voice in ("kamailio", "kamailio_sip_identity", "pydiam"):
        assert found[voice, "voice"] == Told(zone="near", called_party="national")


def test_a_free_help_line_is_told_where_no_rate_looks_at_zones_since_it_passes_a_bar() -> None:
    plan = PLAN.__class__(
        **{name: getattr(PLAN, name) for name in PLAN.__slots__} | {"help_lines": frozenset({"far"})}
    )
    assert told("voice", call("+15551234"), plan, frozenset()) == Told(zone="far")
    assert told("voice", call("+4930123456"), plan, frozenset()) == NOTHING
    assert told("voice", call("+15551234"), PLAN, frozenset()) == NOTHING
