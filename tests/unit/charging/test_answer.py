"""Every answer as python-diameter, which is not our codec, reads it: CLIENTS 18 to 22."""

from typing import Any

import pytest
from diameter.message import Message as Stranger

from ocs import limits
from ocs.charging.answer import AnswerWriter
from ocs.charging.ask import EVENT, INITIAL, TERMINATION, UPDATE, AskFault, ask
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.diameter.codec import Message, header
from ocs.diameter.faults import DecodeFault
from ocs.diameter.writers import encode_avps
from ocs.outcomes import RESULT_CODES, Code, Note
from ocs.units import Unit
from tests.unit.charging.ccr import (
    CODEC,
    Captured,
    avps_of,
    captured,
    ccr,
    frame_of,
    header_of,
    octets,
    service,
    services,
)

WRITER = AnswerWriter("ocs.example.org", "example.org", failure_handling=0, session_failover=1)
NO_NOTE = Note(0)
KINDS = {INITIAL: "I", UPDATE: "U", TERMINATION: "T"}
UNIT_OF = {"data": Unit.OCTETS, "voice": Unit.SECONDS}
GRANTED_IN = {
    Unit.OCTETS: "cc_total_octets",
    Unit.SECONDS: "cc_time",
    Unit.EVENTS: "cc_service_specific_units",
}
ERROR_BIT, PROXIABLE_BIT = 0x20, 0x40
PROXY_INFO = (
    bytes.fromhex("0000011c400000280000011840000013")
    + b"a.relay.org\0"
    + bytes.fromhex("000000214000000c")
    + b"\1\2\3\4"
)


def granted(units: int, *, unit: Unit = Unit.OCTETS, final: bool = False) -> ServiceOutcome:
    """Return the decision for a service that gets units."""
    return ServiceOutcome(Code.SUCCESS, unit, units, 3600, final)


def refusal(code: Code) -> ServiceOutcome:
    """Return the decision for a service that gets none."""
    return ServiceOutcome(code, Unit.OCTETS, 0, 0, False)


def success(*decided: ServiceOutcome, code: Code = Code.SUCCESS) -> Outcome:
    """Return an outcome of services."""
    return Outcome(code, NO_NOTE, decided)


def octets_of(message: Message, outcome: Outcome, writer: AnswerWriter = WRITER) -> bytes:
    """Answer a request made to measure."""
    return writer.answer(message, ask(message), outcome)


def read(answer: bytes) -> Any:
    """Read an answer as the stranger does."""
    return Stranger.from_bytes(answer)


def answered(message: Message, outcome: Outcome) -> Any:
    """Answer a request made to measure, and read it."""
    return read(octets_of(message, outcome))


def names_of(answer: bytes) -> list[str]:
    """Return the AVPs of an answer in their order."""
    return [avp.name for avp in Stranger.from_bytes(answer, plain_msg=True).avps]


def words_of(answer: bytes) -> str:
    """Return the Error-Message of an answer."""
    (avp,) = [avp for avp in Stranger.from_bytes(answer, plain_msg=True).avps if avp.name == "Error-Message"]
    return str(avp.value)


# ---------------------------------------------------------------- captured requests


@pytest.mark.parametrize(
    "one", [one for one in captured() if one.name != "CCR-E"], ids=lambda one: f"{one.capture}-{one.name}"
)
def test_every_captured_session_request_gets_an_answer_that_its_client_can_read(one: Captured) -> None:
    asked, to = ask(one.message), header(one.frame)
    unit = UNIT_OF[asked.family or ""]
    decided = granted(1000, unit=unit, final=True) if asked.kind != TERMINATION else refusal(Code.SUCCESS)
    answer = WRITER.answer(one.message, asked, success(decided))
    got = read(answer)
    assert (got.header.hop_by_hop_identifier, got.header.end_to_end_identifier) == (
        to.hop_by_hop,
        to.end_to_end,
    )
    assert (got.header.command_flags, got.header.application_id) == (PROXIABLE_BIT, 4)
    assert (got.session_id, got.result_code) == (asked.session_id, 2001)
    assert (got.origin_host, got.origin_realm, got.auth_application_id) == (
        b"ocs.example.org",
        b"example.org",
        4,
    )
    assert (got.cc_request_type, got.cc_request_number) == (asked.kind, asked.number)
    (answered_service,) = got.multiple_services_credit_control
    assert answered_service.result_code == 2001
    assert answered_service.rating_group == asked.services[0].rating_group
    assert (answered_service.service_identifier or [None])[0] == asked.services[0].service_identifier
    if asked.kind == TERMINATION:
        assert answered_service.granted_service_unit is None
        assert answered_service.validity_time is None
        assert answered_service.final_unit_indication is None
    else:
        assert getattr(answered_service.granted_service_unit, GRANTED_IN[unit]) == 1000
        assert answered_service.validity_time == 3600
        assert answered_service.final_unit_indication.final_unit_action == 0
    if asked.kind == INITIAL:
        assert (got.cc_session_failover, got.credit_control_failure_handling) == (1, 0)
    else:
        assert not hasattr(got, "cc_session_failover") or got.cc_session_failover is None


@pytest.mark.parametrize("one", list(captured()), ids=lambda one: f"{one.capture}-{one.name}")
def test_every_captured_request_can_be_refused(one: Captured) -> None:
    got = read(WRITER.refuse(header(one.frame), one.message.avps, 3004, error_message="too busy"))
    assert got.header.command_flags == PROXIABLE_BIT | ERROR_BIT
    assert (got.session_id, got.result_code) == (one.message.avps["Session-Id"], 3004)
    assert (got.cc_request_type, got.cc_request_number) == (
        one.message.avps["CC-Request-Type"],
        one.message.avps["CC-Request-Number"],
    )


# ---------------------------------------------------------------- services


def test_an_answer_begins_with_the_session_id_and_keeps_the_order_of_the_rfc() -> None:
    message = ccr(INITIAL, **services(service(requested={})), Proxy_Info=[PROXY_INFO])
    assert names_of(octets_of(message, success(granted(5)))) == [
        "Session-Id",
        "Result-Code",
        "Origin-Host",
        "Origin-Realm",
        "Auth-Application-Id",
        "CC-Request-Type",
        "CC-Request-Number",
        "CC-Session-Failover",
        "Credit-Control-Failure-Handling",
        "Multiple-Services-Credit-Control",
        "Proxy-Info",
    ]


@pytest.mark.parametrize(("unit", "name"), GRANTED_IN.items())
@pytest.mark.parametrize("units", [1, 60, 2**32 - 1])
def test_units_are_granted_in_the_kind_of_the_tariff_and_in_no_other(
    unit: Unit, name: str, units: int
) -> None:
    got = answered(ccr(INITIAL, **services(service(requested={}))), success(granted(units, unit=unit)))
    (one,) = got.multiple_services_credit_control
    kinds = {each: getattr(one.granted_service_unit, each) for each in GRANTED_IN.values()}
    assert kinds == {each: units if each == name else None for each in GRANTED_IN.values()}


def test_every_service_has_its_own_name_units_and_result_code() -> None:
    message = ccr(
        UPDATE,
        1,
        **services(
            service(30, requested={}),
            service(20, identifiers=[7, 5], requested={}),
            service(None, identifiers=[9], requested={}),
            service(10, used=octets(5)),
        ),
    )
    assert [one.key for one in ask(message).services] == ["/9", "10", "20/5+7", "30"]
    decided = (granted(9), refusal(Code.SUCCESS), refusal(Code.CREDIT_LIMIT), granted(30, final=True))
    got = answered(message, success(*decided)).multiple_services_credit_control
    seen = [
        (
            one.rating_group,
            one.service_identifier,
            one.result_code,
            one.granted_service_unit and one.granted_service_unit.cc_total_octets,
            one.validity_time,
            one.final_unit_indication is not None,
        )
        for one in got
    ]
    assert seen == [
        (None, [9], 2001, 9, 3600, False),
        (10, [], 2001, None, None, False),
        (20, [5, 7], 4012, None, None, False),
        (30, [], 2001, 30, 3600, True),
    ]


def test_a_service_is_named_right_however_often_names_were_forgotten() -> None:
    writer = AnswerWriter("ocs.example.org", "example.org", failure_handling=None, session_failover=None)
    for n in [*range(limits.SERVICE_NAMES_KEPT_MAX + 3), 0, 1]:
        message = Message(0xC0, 272, 4, 1, 1, avps_of(UPDATE, 1, **services(service(n, requested={}))))
        assert encode_avps({"Rating-Group": n}) in octets_of(message, success(granted(1)), writer)
    assert len(writer._names) == 5


@pytest.mark.parametrize(
    ("code", "result"), [(Code.BARRED, 4010), (Code.UNRATED, 5031), (Code.CREDIT_LIMIT, 4012)]
)
def test_a_refused_service_says_so_itself_and_gets_no_units(code: Code, result: int) -> None:
    got = answered(ccr(INITIAL, **services(service(requested={}))), success(refusal(code), code=code))
    (one,) = got.multiple_services_credit_control
    assert (got.result_code, one.result_code, one.granted_service_unit) == (result, result, None)
    assert got.header.command_flags == PROXIABLE_BIT


def test_a_service_that_asks_is_never_told_success_without_units() -> None:
    message = ccr(UPDATE, 1, **services(service(10, requested={}), service(20, used=octets(1))))
    got = answered(message, success(refusal(Code.SUCCESS), refusal(Code.SUCCESS)))
    assert [one.result_code for one in got.multiple_services_credit_control] == [4012, 2001]
    single = answered(ccr(UPDATE, 1, Used_Service_Unit=[octets(1)]), success(refusal(Code.SUCCESS)))
    assert single.result_code == 4012


def test_an_answer_to_a_request_about_no_service_has_none() -> None:
    got = answered(ccr(INITIAL, Multiple_Services_Indicator=1), success())
    assert (got.result_code, got.multiple_services_credit_control) == (2001, [])


@pytest.mark.parametrize("final", [False, True])
def test_units_asked_at_message_level_are_granted_there(final: bool) -> None:  # noqa: FBT001
    message = ccr(INITIAL, Requested_Service_Unit={"CC-Time": 60}, Service_Context_Id="32260@3gpp.org")
    got = answered(message, success(granted(60, unit=Unit.SECONDS, final=final)))
    assert (got.granted_service_unit.cc_time, got.validity_time) == (60, 3600)
    assert (got.final_unit_indication is not None) == final
    assert got.multiple_services_credit_control == []


def test_a_refusal_at_message_level_has_no_units() -> None:
    message = ccr(INITIAL, Requested_Service_Unit={})
    answer = octets_of(message, success(refusal(Code.CREDIT_LIMIT), code=Code.CREDIT_LIMIT))
    assert read(answer).result_code == 4012
    assert {"Granted-Service-Unit", "Validity-Time", "Final-Unit-Indication"}.isdisjoint(names_of(answer))


# ---------------------------------------------------------------- the whole request refused


@pytest.mark.parametrize("code", list(Code))
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_outcome_is_answered_with_all_that_a_client_needs(code: Code, kind: int) -> None:
    message = ccr(kind, 1, Multiple_Services_Indicator=1)
    answer = octets_of(message, success(code=code))
    got = read(answer)
    assert got.result_code == RESULT_CODES[code]
    assert got.header.is_error == (3000 <= RESULT_CODES[code] < 4000)
    assert (got.auth_application_id, got.cc_request_type, got.cc_request_number) == (4, kind, 1)
    assert names_of(answer)[0] == "Session-Id"
    assert CODEC.decode(answer).avps["Session-Id"] == "smf.example.org;1;2"


@pytest.mark.parametrize("code", [Code.CONFLICT, Code.SEEN])
def test_a_conflict_names_the_request_number_and_says_why(code: Code) -> None:
    answer = octets_of(ccr(UPDATE, 7, **services(service(requested={}))), success(code=code))
    got = read(answer)
    assert [avp.value for avp in got.failed_avp[0].additional_avps] == [7]
    assert got.failed_avp[0].additional_avps[0].name == "CC-Request-Number"
    assert "CC-Request-Number was used before" in words_of(answer)
    assert got.multiple_services_credit_control == []


@pytest.mark.parametrize(
    ("context", "copied"), [("nobody@example.org", "nobody@example.org"), ("x" * 5000, "")]
)
def test_what_cannot_be_rated_is_named(context: str, copied: str) -> None:
    message = ccr(INITIAL, Service_Context_Id=context, **services(service(requested={})))
    got = answered(message, success(refusal(Code.UNRATED), code=Code.UNRATED))
    assert [avp.value for avp in got.failed_avp[0].additional_avps] == [copied]


def test_an_unknown_session_gets_no_services_even_if_late_usage_was_posted() -> None:
    message = ccr(UPDATE, 1, **services(service(used=octets(5), requested={})))
    got = answered(message, success(refusal(Code.SUCCESS), code=Code.UNKNOWN_SESSION))
    assert (got.result_code, got.multiple_services_credit_control) == (5002, [])


def test_proxy_info_is_copied_untouched_and_in_order() -> None:
    other = PROXY_INFO.replace(b"a.relay", b"b.relay")
    message = ccr(UPDATE, 1, Proxy_Info=[other, PROXY_INFO], **services(service(requested={})))
    assert other + PROXY_INFO in octets_of(message, success(granted(1)))
    assert other + PROXY_INFO in WRITER.refuse(header_of(message), message.avps, 3004)


def test_a_sub_session_is_named_in_the_answer() -> None:
    message = ccr(UPDATE, 1, CC_Sub_Session_Id=3, **services(service(requested={})))
    assert answered(message, success(granted(1))).cc_sub_session_id == 3


@pytest.mark.parametrize(("flags", "kept"), [(0xC0, 0x40), (0x80, 0x00), (0xD0, 0x40)])
def test_the_p_bit_is_kept_and_the_t_bit_is_not(flags: int, kept: int) -> None:
    message = ccr(UPDATE, 1, **services(service(requested={})))
    message.flags = flags
    answer = WRITER.answer(message, ask(message), success(granted(1)))
    assert header(answer).flags == kept


def test_without_settings_an_initial_answer_says_nothing_of_failure() -> None:
    writer = AnswerWriter("ocs.example.org", "example.org", failure_handling=None, session_failover=None)
    message = ccr(INITIAL, **services(service(requested={})))
    names = names_of(octets_of(message, success(granted(1)), writer))
    assert {"CC-Session-Failover", "Credit-Control-Failure-Handling"}.isdisjoint(names)


# ---------------------------------------------------------------- faults


def test_a_fault_of_the_ask_is_answered_with_its_failed_avp() -> None:
    message = ccr(UPDATE, 1, **services(service(10, used={})))
    with pytest.raises(AskFault) as caught:
        ask(message)
    fault = caught.value
    answer = WRITER.refuse(
        header_of(message),
        fault.avps,
        fault.result_code,
        failed_avp=fault.failed_avp,
        error_message=fault.reason,
    )
    got = read(answer)
    assert (got.result_code, got.header.is_error, words_of(answer)) == (5004, False, fault.reason)
    (failed,) = got.failed_avp[0].additional_avps
    assert [(failed.name, [avp.name for avp in failed.value])] == [
        ("Multiple-Services-Credit-Control", ["Used-Service-Unit"])
    ]


def test_a_fault_of_the_codec_is_answered_with_what_could_be_read() -> None:
    frame = frame_of(avps_of(INITIAL, 0, Service_Context_Id=None))
    with pytest.raises(DecodeFault) as caught:
        CODEC.decode(frame)
    fault = caught.value
    answer = WRITER.refuse(header(frame), fault.avps, fault.result_code, failed_avp=fault.failed_avp)
    got = read(answer)
    assert (got.session_id, got.result_code, got.cc_request_number) == ("smf.example.org;1;2", 5005, 0)
    assert names_of(answer)[0] == "Session-Id"


def test_a_message_of_which_nothing_could_be_read_still_gets_an_answer() -> None:
    to = header(frame_of(avps_of()))
    answer = WRITER.refuse(to, {}, 3001)
    assert names_of(answer) == ["Result-Code", "Origin-Host", "Origin-Realm", "Auth-Application-Id"]
    assert header(answer).length == len(answer)


def test_another_application_is_not_answered_as_credit_control() -> None:
    answer = WRITER.refuse(header(frame_of(avps_of()))._replace(application=16777238), {}, 3007)
    assert "Auth-Application-Id" not in names_of(answer)
    assert header(answer).application == 16777238


def test_a_refused_event_is_answered_as_an_event() -> None:
    message = ccr(EVENT, 0, Requested_Action=0, **services(service(requested={})))
    got = read(WRITER.refuse(header_of(message), message.avps, 5012))
    assert (got.cc_request_type, got.result_code) == (EVENT, 5012)
