"""What a request asks for: as lenient as CLIENTS 5 to 16, strict elsewhere."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs import limits
from ocs.charging.ask import (
    EVENT,
    INITIAL,
    NOT_GIVEN,
    TERMINATION,
    UPDATE,
    Ask,
    AskFault,
    Units,
    _normalised,
    ask,
)
from ocs.diameter.faults import DecodeFault
from ocs.diameter.writers import encode_avps
from ocs.names import SubscriberId
from ocs.records import ACCOUNTING
from ocs.units import UNITS_MAX
from tests.unit.charging.ccr import (
    CODEC,
    IMSI,
    MSISDN,
    SIP,
    Captured,
    avps_of,
    captured,
    ccr,
    frame_of,
    octets,
    service,
    services,
)

NUMBER, CARD = SubscriberId("e", "491700000001"), SubscriberId("i", "001010000000001")
CHARGED = [one for one in captured() if one.name != "CCR-E"]


def only(kind: int, **more: Any) -> Ask:
    """Ask for one service of rating group 10."""
    return ask(ccr(kind, 1, **services(service(**more))))


def refused(kind: int = UPDATE, **more: Any) -> AskFault:
    """Return the fault of a request."""
    with pytest.raises(AskFault) as caught:
        ask(ccr(kind, 1, **more))
    return caught.value


def in_service(avps: dict[str, Any]) -> bytes:
    """Encode AVPs as they lie inside one service."""
    return encode_avps({"Multiple-Services-Credit-Control": avps})


# ---------------------------------------------------------------- captured requests


@pytest.mark.parametrize("one", CHARGED, ids=lambda one: f"{one.capture}-{one.name}")
def test_every_captured_session_request_is_understood(one: Captured) -> None:
    asked = ask(one.message)
    assert asked.family == ("voice" if "32260" in asked.context else "data")
    assert NUMBER in asked.ids
    assert len(asked.services) == 1
    assert (asked.services[0].wanted is None) == (asked.kind == TERMINATION)
    assert (asked.services[0].used is None) == (asked.kind == INITIAL)


def test_captured_requests_name_their_services_as_their_clients_do() -> None:
    keys = {one.capture.partition("_")[0]: ask(one.message).services[0].key for one in CHARGED}
    assert keys == {"freediameter": "1", "kamailio": "100/1000", "open5gs": "", "pydiam": "1"}


def test_a_captured_open5gs_session_reports_input_plus_output() -> None:
    session = [ask(one.message).services[0] for one in CHARGED if one.capture == "open5gs"][:4]
    assert [one.used for one in session] == [
        None,
        Units(200_000, 2, NOT_GIVEN),
        Units(200_000, 2, NOT_GIVEN),
        Units(101_000, 4, NOT_GIVEN),
    ]
    assert [one.wanted for one in session] == [Units(1_000_000)] * 3 + [None]


def test_a_captured_report_of_garbage_time_is_passed_on_and_judged_by_the_store() -> None:
    last = [ask(one.message) for one in CHARGED if one.capture == "open5gs_no_grant_garbage_time"][-1]
    assert last.services[0].used == Units(0, 1_795_376_831, NOT_GIVEN)


# ---------------------------------------------------------------- who


@pytest.mark.parametrize(
    ("who", "ids"),
    [
        ({"Subscription_Id": [MSISDN, IMSI]}, (NUMBER, CARD)),
        ({"Subscription_Id": [IMSI, MSISDN]}, (CARD, NUMBER)),
        ({"Subscription_Id": [MSISDN, SIP]}, (NUMBER,)),
        ({"Subscription_Id": [{**MSISDN, "Subscription-Id-Data": "+491700000001"}]}, (NUMBER,)),
        ({"Subscription_Id": [SIP], "User_Name": "002020000000002"}, (NUMBER,)),
        ({"Subscription_Id": None, "Service_Information": {"Subscription-Id": [SIP]}}, (NUMBER,)),
        ({"Subscription_Id": None, "User_Name": "+491700000001"}, (NUMBER,)),
        ({"Subscription_Id": None, "User_Name": "491700000001"}, (NUMBER,)),
        ({"Subscription_Id": None, "User_Name": "001010000000001"}, (CARD,)),
        ({"Subscription_Id": None, "User_Name": "sip:491700000001@example.org"}, (NUMBER,)),
        ({"Subscription_Id": None, "User_Name": "two words"}, ()),
        ({"Subscription_Id": None}, ()),
        (
            {
                "Subscription_Id": None,
                "Subscription_Id_Extension": [
                    {"Subscription-Id-IMSI": "001010000000001"},
                    {"Subscription-Id-E164": "491700000001"},
                ],
            },
            (CARD, NUMBER),
        ),
    ],
)
def test_the_subscriber_is_whom_any_spelling_in_any_place_names(
    who: dict[str, Any], ids: tuple[SubscriberId, ...]
) -> None:
    assert ask(ccr(INITIAL, **services(service(requested={})), **who)).ids == ids


def test_no_more_subscription_ids_count_than_the_limit() -> None:
    many = [{**MSISDN, "Subscription-Id-Data": f"4917000000{n:02}"} for n in range(12)]
    asked = ask(ccr(INITIAL, Subscription_Id=many, **services(service(requested={}))))
    assert [one.value for one in asked.ids] == [
        f"4917000000{n:02}" for n in range(limits.SUBSCRIPTION_IDS_MAX)
    ]


def test_no_more_extended_ids_count_than_the_limit() -> None:
    many = [{"Subscription-Id-E164": f"4917000000{n:02}"} for n in range(12)]
    spelt = ask(
        ccr(INITIAL, Subscription_Id=None, Subscription_Id_Extension=many, **services(service(requested={})))
    )
    assert len(spelt.ids) == limits.SUBSCRIPTION_IDS_MAX


def test_a_long_spelling_is_read_and_not_remembered() -> None:
    long = {**MSISDN, "Subscription-Id-Data": f"+491700000001;{'x' * limits.SPELLING_KEPT_CHARS_MAX}"}
    before = _normalised.cache_info().currsize
    asked = ask(ccr(INITIAL, Subscription_Id=[long], **services(service(requested={}))))
    assert (asked.ids, _normalised.cache_info().currsize) == ((NUMBER,), before)


# ---------------------------------------------------------------- used units


@pytest.mark.parametrize(
    ("reports", "used"),
    [
        ([octets(7)], Units(7)),
        ([octets(0)], Units(0)),
        ([{"CC-Total-Octets": 7, "CC-Input-Octets": 1, "CC-Output-Octets": 2}], Units(7)),
        ([{"CC-Input-Octets": 1, "CC-Output-Octets": 2}], Units(3)),
        ([{"CC-Input-Octets": 5}], Units(5)),
        ([{"CC-Output-Octets": 6}], Units(6)),
        ([{"CC-Time": 60}], Units(NOT_GIVEN, 60)),
        ([{"CC-Service-Specific-Units": 2}], Units(NOT_GIVEN, NOT_GIVEN, 2)),
        ([octets(7), octets(8)], Units(15)),
        ([octets(7), {"CC-Input-Octets": 1}, {"CC-Time": 4}], Units(8, 4)),
        (
            [
                {"Tariff-Change-Usage": when, "CC-Total-Octets": units}
                for when, units in ((0, 5), (1, 6), (2, 1))
            ],
            Units(12),
        ),
        ([octets(2**64 - 1)], Units(UNITS_MAX)),
        ([octets(UNITS_MAX), octets(1)], Units(UNITS_MAX)),
        ([{"CC-Service-Specific-Units": 2**64 - 1}], Units(NOT_GIVEN, NOT_GIVEN, UNITS_MAX)),
        (
            [{"CC-Time": 5, "CC-Money": {"Unit-Value": {"Value-Digits": 3}}}],
            Units(seconds=5, money=3_000_000),
        ),
        (
            [{"CC-Money": {"Unit-Value": {"Value-Digits": digits}}} for digits in (3, 4)],
            Units(money=7_000_000),
        ),
    ],
)
def test_reports_of_one_service_add_up(reports: list[dict[str, Any]], used: Units) -> None:
    assert only(UPDATE, used=reports).services[0].used == used


def test_a_report_without_a_number_is_a_fault_and_never_nothing_used() -> None:
    fault = refused(**services(service(used=[octets(7), {}])))
    assert fault.result_code == 5004
    assert fault.failed_avp == in_service({"Used-Service-Unit": [{}]})


def test_used_units_of_the_wrong_length_never_reach_the_ask() -> None:
    frame = frame_of(avps_of(UPDATE, 1, **services(service(used={"CC-Time": 7}))))
    time_with_length, volume_with_length = (
        bytes.fromhex("000001a44000000c"),
        bytes.fromhex("000001a54000000c"),
    )
    with pytest.raises(DecodeFault) as caught:
        CODEC.decode(frame.replace(time_with_length, volume_with_length))
    assert caught.value.result_code == 5014
    assert volume_with_length in caught.value.failed_avp


# ---------------------------------------------------------------- what is wanted


@pytest.mark.parametrize(
    ("requested", "wanted"),
    [
        ({}, Units()),
        (octets(1000), Units(1000)),
        ({"CC-Input-Octets": 10, "CC-Output-Octets": 20}, Units(30)),
        ({"CC-Time": 60}, Units(NOT_GIVEN, 60)),
        (octets(2**64 - 1), Units(UNITS_MAX)),
    ],
)
@pytest.mark.parametrize("kind", [INITIAL, UPDATE])
def test_requested_units_ask_even_when_they_name_none(
    kind: int, requested: dict[str, Any], wanted: Units
) -> None:
    assert only(kind, requested=requested).services[0].wanted == wanted


def test_an_update_that_only_reports_asks_for_nothing() -> None:
    assert only(UPDATE, used=octets(5)).services[0].wanted is None


def test_a_termination_asks_for_nothing_even_if_it_requests() -> None:
    assert only(TERMINATION, used=octets(5), requested=octets(9)).services[0].wanted is None


@pytest.mark.parametrize(
    "final",
    [
        {"used": octets(5), "Reporting_Reason": [2]},
        {"used": octets(5), "Reporting_Reason": [4, 2]},
        {"used": [octets(1), {"CC-Total-Octets": 5, "Reporting-Reason": 2}]},
    ],
)
def test_a_report_marked_final_asks_for_nothing(final: dict[str, Any]) -> None:
    assert only(UPDATE, requested={}, **final).services[0].wanted is None


def test_an_initial_marked_final_still_asks() -> None:
    assert only(INITIAL, requested={}, Reporting_Reason=[2]).services[0].wanted == Units()


def test_a_report_for_another_reason_asks_on() -> None:
    asked = only(
        UPDATE, requested={}, used={"CC-Total-Octets": 5, "Reporting-Reason": 3}, Reporting_Reason=[4]
    )
    assert asked.services[0].wanted == Units()


@pytest.mark.parametrize("used", [{}, {"used": octets(5)}])
def test_a_service_of_an_initial_request_must_request(used: dict[str, Any]) -> None:
    fault = refused(INITIAL, **services(service(**used)))
    assert (fault.result_code, fault.failed_avp) == (5005, in_service({"Requested-Service-Unit": {}}))


# ---------------------------------------------------------------- services


def test_services_are_in_the_order_of_their_keys() -> None:
    asked = ask(ccr(INITIAL, **services(*[service(n, requested=octets(n)) for n in (30, 10, 20)])))
    assert [(one.key, one.wanted) for one in asked.services] == [
        ("10", Units(10)),
        ("20", Units(20)),
        ("30", Units(30)),
    ]
    assert asked.multiple


@pytest.mark.parametrize(
    ("rating_group", "identifiers", "key"),
    [
        (None, [5], "/5"),
        (10, [5], "10/5"),
        (10, [7, 5], "10/5+7"),
        (10, [5, 7, 5], "10/5+7"),
        (None, [9, 10], "/9+10"),
    ],
)
def test_a_service_with_identifiers_is_named_by_them_in_any_order(
    rating_group: int | None, identifiers: list[int], key: str
) -> None:
    asked = ask(ccr(INITIAL, **services(service(rating_group, identifiers=identifiers, requested={}))))
    assert asked.services[0].key == key


def test_too_many_identifiers_in_a_service_are_a_fault() -> None:
    identifiers = list(range(limits.SERVICE_IDENTIFIERS_MAX + 1))
    fault = refused(**services(service(identifiers=identifiers, used=octets(1))))
    assert (fault.result_code, fault.failed_avp) == (
        5009,
        in_service({"Service-Identifier": identifiers[-1]}),
    )


@pytest.mark.parametrize(
    "twins",
    [
        [service(used=octets(1)), service(used=octets(2))],
        [service(None, used=octets(1)), service(None, used=octets(2))],
        [service(identifiers=[5, 7], used=octets(1)), service(identifiers=[7, 5], used=octets(2))],
    ],
)
def test_a_service_that_comes_twice_is_a_fault_with_the_second(twins: list[dict[str, Any]]) -> None:
    fault = refused(**services(service(99, used=octets(1)), *twins))
    assert (fault.result_code, fault.failed_avp) == (5009, in_service(twins[1]))


def test_more_services_than_the_limit_are_a_fault() -> None:
    message = ccr(UPDATE, 1, **services(service(1, used=octets(1))))
    message.avps["Multiple-Services-Credit-Control"] = [
        service(n, used=octets(n)) for n in range(limits.SERVICES_PER_REQUEST_MAX + 1)
    ]
    with pytest.raises(AskFault) as caught:
        ask(message)
    beyond = service(limits.SERVICES_PER_REQUEST_MAX, used=octets(limits.SERVICES_PER_REQUEST_MAX))
    assert (caught.value.result_code, caught.value.failed_avp) == (5009, in_service(beyond))


@pytest.mark.parametrize(
    ("at_message_level", "failed"),
    [
        ({"Used_Service_Unit": [octets(5)]}, {"Used-Service-Unit": octets(5)}),
        ({"Requested_Service_Unit": octets(5)}, {"Requested-Service-Unit": octets(5)}),
    ],
)
def test_units_beside_services_contradict_them(
    at_message_level: dict[str, Any], failed: dict[str, Any]
) -> None:
    fault = refused(**services(service(used=octets(1))), **at_message_level)
    assert (fault.result_code, fault.failed_avp) == (5007, encode_avps(failed))


# ---------------------------------------------------------------- units at message level


@pytest.mark.parametrize(
    ("kind", "more", "used", "wanted"),
    [
        (INITIAL, {"Requested_Service_Unit": octets(9)}, None, Units(9)),
        (INITIAL, {}, None, Units()),
        (INITIAL, {"Multiple_Services_Indicator": 0}, None, Units()),
        (
            UPDATE,
            {"Used_Service_Unit": [octets(3), octets(4)], "Requested_Service_Unit": {}},
            Units(7),
            Units(),
        ),
        (UPDATE, {"Used_Service_Unit": [octets(3)]}, Units(3), Units()),
        (UPDATE, {"Used_Service_Unit": [{"CC-Time": 3, "Reporting-Reason": 2}]}, Units(-1, 3), None),
        (
            TERMINATION,
            {"Used_Service_Unit": [octets(3)], "Requested_Service_Unit": octets(1)},
            Units(3),
            None,
        ),
    ],
)
def test_a_request_without_services_is_one_service(
    kind: int, more: dict[str, Any], used: Units | None, wanted: Units | None
) -> None:
    asked = ask(ccr(kind, 1, **more))
    (one,) = asked.services
    assert (one.key, one.used, one.wanted, asked.multiple) == ("", used, wanted, False)


def test_a_service_at_message_level_is_named_by_its_identifier() -> None:
    (one,) = ask(ccr(INITIAL, Service_Identifier=7, Requested_Service_Unit={})).services
    assert (one.key, one.rating_group, one.service_identifier) == ("/7", None, 7)


@pytest.mark.parametrize(
    ("kind", "more"),
    [(INITIAL, {"Multiple_Services_Indicator": 1}), (UPDATE, {}), (TERMINATION, {})],
)
def test_a_request_may_be_about_no_service_at_all(kind: int, more: dict[str, Any]) -> None:
    asked = ask(ccr(kind, 1, **more))
    assert (asked.services, asked.multiple) == ((), True)


def test_an_empty_report_at_message_level_is_a_fault() -> None:
    fault = refused(Used_Service_Unit=[{}])
    assert (fault.result_code, fault.failed_avp) == (5004, encode_avps({"Used-Service-Unit": {}}))


# ---------------------------------------------------------------- identity and content


@pytest.mark.parametrize(
    ("session_id", "result_code"), [("", 5004), ("x" * 256, 5012), ("é" * 128, 5012), ("x" * 60_000, 5012)]
)
def test_a_session_id_beyond_the_limit_is_a_fault(session_id: str, result_code: int) -> None:
    fault = refused(INITIAL, Session_Id=session_id, **services(service(requested={})))
    assert fault.result_code == result_code
    assert len(fault.failed_avp) <= limits.FAILED_AVP_OCTETS_MAX


def test_a_session_id_at_the_limit_is_taken() -> None:
    assert ask(ccr(Session_Id="x" * 255, **services(service(requested={})))).session_id == "x" * 255


@pytest.mark.parametrize("kind", [INITIAL, UPDATE, TERMINATION, EVENT])
def test_a_session_id_that_names_a_session_of_accounting_is_refused(kind: int) -> None:
    # it would write its outcomes where that session keeps which records came
    fault = refused(kind, Session_Id=f"{ACCOUNTING}pgw.example.org;1;1", Requested_Action=0)
    failed = encode_avps({"Session-Id": f"{ACCOUNTING}pgw.example.org;1;1"})
    assert (fault.result_code, fault.failed_avp) == (5004, failed)


def test_a_very_long_offending_avp_becomes_an_example_of_itself() -> None:
    long = service(used=[octets(n) for n in range(200)])
    fault = refused(**services(long, long))
    assert (fault.result_code, fault.failed_avp) == (5009, in_service({}))


def test_a_fault_carries_what_its_answer_needs_and_no_value() -> None:
    fault = refused(**services(service(used={})))
    assert fault.avps["Session-Id"] == "smf.example.org;1;2"
    assert "4917" not in fault.reason


@pytest.mark.parametrize(
    ("context", "family"),
    [
        ("32251@3gpp.org", "data"),
        ("ext.01.001.8.32260@3gpp.org", "voice"),
        ("32274@3gpp.org", "sms"),
        ("nobody@example.org", None),
        ("x" * 300 + "32251@3gpp.org", None),
    ],
)
def test_the_tail_of_the_context_decides_the_service(context: str, family: str | None) -> None:
    asked = ask(ccr(INITIAL, Service_Context_Id=context, **services(service(requested={}))))
    assert (asked.family, asked.context) == (family, context)


groups_of_units = st.fixed_dictionaries(
    {},
    optional={
        "CC-Total-Octets": st.integers(0, 2**64 - 1),
        "CC-Input-Octets": st.integers(0, 2**64 - 1),
        "CC-Output-Octets": st.integers(0, 2**64 - 1),
        "CC-Time": st.integers(0, 2**32 - 1),
        "CC-Service-Specific-Units": st.integers(0, 2**64 - 1),
        "Reporting-Reason": st.integers(0, 9),
    },
)


@settings(deadline=None)  # a busy machine is no fault
@given(
    kind=st.sampled_from([INITIAL, UPDATE, TERMINATION]),
    reports=st.lists(groups_of_units, max_size=3),
    requested=st.one_of(st.none(), groups_of_units),
)
def test_any_units_are_asked_within_bounds_or_are_a_fault(
    kind: int, reports: list[dict[str, int]], requested: dict[str, int] | None
) -> None:
    group = service(10)
    if reports:
        group["Used-Service-Unit"] = reports
    if requested is not None:
        requested.pop("Reporting-Reason", None)
        group["Requested-Service-Unit"] = requested
    try:
        (one,) = ask(ccr(kind, 1, **services(group))).services
    except AskFault as fault:
        known = fault.result_code in {5004, 5005} and fault.failed_avp
        if not known:
            raise
        return
    assert (one.used is None) == (not reports)
    for units in (one.used, one.wanted):
        assert units is None or all(NOT_GIVEN <= count <= UNITS_MAX for count in units)
    assert one.wanted is None or kind != TERMINATION
