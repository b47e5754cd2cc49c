"""One-time events: what a request asks for, how it is planned, and what names a debit."""

from typing import Any

import pytest

from ocs.charging.ask import (
    CHECK_BALANCE,
    DIRECT_DEBITING,
    EVENT,
    INITIAL,
    PRICE_ENQUIRY,
    REFUND_ACCOUNT,
    Ask,
    AskFault,
    Event,
    Units,
    ask,
)
from ocs.charging.event import Debited, event_plan, read_refund_information, write_refund_information
from ocs.charging.plan import QuotaRules
from ocs.charging.quota import ByGroup, Sizes
from ocs.diameter.faults import DecodeFault
from ocs.diameter.writers import encode_avps
from ocs.rating.ladder import Ladder
from ocs.rating.tariff import read_tariff
from tests.unit.charging.ccr import CODEC, avps_of, captured, ccr, frame_of, service, services

RULES = QuotaRules(1_000, 60, 1, 3_600, 10**9, 2, 1)
DAWN_MS = 1_795_000_000_000


def read(action: int | None = DIRECT_DEBITING, number: int = 1, **more: Any) -> Ask:
    return ask(ccr(EVENT, number, Requested_Action=action, **more))


def refused(**more: Any) -> AskFault:
    with pytest.raises(AskFault) as caught:
        read(**more)
    return caught.value


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize("capture", ["pydiam", "freediameter"])
def test_a_captured_one_time_event_is_understood(capture: str) -> None:
    (one,) = [one for one in captured() if one.capture == capture and one.name == "CCR-E"]
    asked = ask(one.message)
    assert (asked.kind, asked.family, asked.event) == (EVENT, "sms", Event(DIRECT_DEBITING))
    assert [(each.key, each.wanted) for each in asked.services] == [("1", Units(events=1))]


@pytest.mark.parametrize("action", [DIRECT_DEBITING, REFUND_ACCOUNT, CHECK_BALANCE, PRICE_ENQUIRY])
def test_every_action_is_read(action: int) -> None:
    assert read(action, **services(service(requested={}))).event == Event(action)


def test_an_event_without_requested_action_is_missing_it() -> None:
    fault = refused(action=None, **services(service(requested={})))
    assert fault.result_code == 5005
    assert fault.failed_avp == encode_avps({"Requested-Action": 0})


def test_an_unknown_requested_action_is_5004_with_itself() -> None:
    frame = frame_of(avps_of(EVENT, 0, Requested_Action=3))
    one = encode_avps({"Requested-Action": 3})
    assert frame.count(one) == 1
    with pytest.raises(DecodeFault) as caught:
        CODEC.decode(frame.replace(one, one[:-1] + b"\x04"))
    assert (caught.value.result_code, caught.value.failed_avp) == (5004, one[:-1] + b"\x04")


def test_a_session_that_sends_requested_action_is_a_session_all_the_same() -> None:
    assert ask(ccr(INITIAL, 0, Requested_Action=1, **services(service(requested={})))).event is None


@pytest.mark.parametrize(
    "units",
    [
        services(service()),
        services(service(requested={})),
        {"Requested_Service_Unit": {}},
        {},
        {"Multiple_Services_Indicator": 1},
    ],
)
def test_an_event_that_names_no_units_leaves_them_to_the_server(units: dict[str, Any]) -> None:
    asked = read(**units)
    assert [each.wanted for each in asked.services] == [Units()]
    assert asked.multiple == ("Multiple_Services_Credit_Control" in units)


@pytest.mark.parametrize(
    "units",
    [
        {"Used_Service_Unit": [{"CC-Time": 5}]},
        {"Used_Service_Unit": [{"CC-Time": 5}], "Requested_Service_Unit": {"CC-Time": 5}},
        services(service(used={"CC-Time": 5})),
        services(service(1, requested={}), service(2, used={"CC-Time": 5})),
    ],
)
def test_used_units_have_no_place_in_an_event(units: dict[str, Any]) -> None:
    fault = refused(**units)
    assert fault.result_code == 5008
    assert fault.failed_avp == encode_avps({"Used-Service-Unit": {"CC-Time": 5}})


@pytest.mark.parametrize(("digits", "code"), [(-5, 5004), (0, 5004)])
def test_money_that_is_no_amount_is_refused_and_so_is_none_at_all(digits: int, code: int) -> None:
    money = {"CC-Money": {"Unit-Value": {"Value-Digits": digits}}}
    assert refused(Requested_Service_Unit=money).result_code == code


def test_the_action_and_the_debit_named_are_content() -> None:
    one = services(service(requested={"CC-Time": 5}))
    named = services({**service(requested={"CC-Time": 5}), "Refund-Information": b"x"})
    asked = [read(DIRECT_DEBITING, **one), read(REFUND_ACCOUNT, **one), read(REFUND_ACCOUNT, **named)]
    assert asked[2].event == Event(REFUND_ACCOUNT, b"x")
    assert len({each.digest for each in asked}) == 3
    assert read(DIRECT_DEBITING, 9, **one).digest == asked[0].digest


def test_a_refund_of_two_debits_is_contradicting() -> None:
    two = [
        {**service(group, requested={}), "Refund-Information": name} for group, name in ((1, b"x"), (2, b"y"))
    ]
    assert refused(action=REFUND_ACCOUNT, **services(*two)).result_code == 5007


# ---------------------------------------------------------------- how it is planned


TARIFF = read_tariff(
    """tariff: t
version: 1
currency: EUR
calendar:
  zone: UTC
  default: night
  windows: {day: [{days: [mon, tue, wed, thu, fri, sat, sun], from: '06:00', to: '18:00'}]}
rates:
  - name: r
    service: voice
    windows:
      day: {steps: [{block: 1, price: "1.00", per: 1}]}
      night: {steps: [{block: 1, price: "0.10", per: 1}]}
""",
    "t.yaml",
)
UNIT, USED, WANTS, PIECES = 2, 3, 7, 11


def planned(wanted: dict[str, int], own: ByGroup[Sizes] | None = None) -> list[Any]:
    """The plan's service of a call."""
    units = {"CC-Time": wanted["seconds"]} if wanted else {}
    asked = read(Service_Context_Id="32260@3gpp.org", **services(service(requested=units)))
    kept: dict[int, Ladder] = {}

    def text(ladder: Ladder) -> bytes:
        return str(id(kept.setdefault(id(ladder), ladder))).encode()

    made = event_plan(asked, TARIFF, RULES, text, DAWN_MS, None, own)
    assert len(made.ladders) == 1, "one window prices all of it"
    return made.services


@pytest.mark.parametrize(
    ("wanted", "units"), [({}, 60), ({"seconds": 0}, 60), ({"seconds": 7}, 7), ({"seconds": 10**9}, 10**9)]
)
def test_all_units_are_wanted_and_used_whatever_a_quota_would_be(wanted: dict[str, int], units: int) -> None:
    told = planned(wanted)
    assert (told[UNIT], told[WANTS], told[USED + 1]) == (2, units, units)


def test_an_event_that_asks_for_nothing_gets_what_config_says_of_its_family() -> None:
    told = planned({}, ByGroup({None: Sizes((1, 20, 1), (1, 40, 1), 300)}))
    assert (told[WANTS], told[USED + 1]) == (20, 20)


# ---------------------------------------------------------------- what names a debit


def test_refund_information_names_the_debit_that_it_was_written_for() -> None:
    asked = read(number=77, Session_Id="smsc;ü;1")
    assert read_refund_information(write_refund_information(asked)) == Debited("smsc;ü;1", 77)


@pytest.mark.parametrize(
    "octets", [b"", b"\x01\x00\x00\x00\x00", b"\x02\x00\x00\x00\x00a", b"\x01\x00\x00\x00\x00\xff"]
)
def test_other_octets_name_none(octets: bytes) -> None:
    assert read_refund_information(octets) is None
