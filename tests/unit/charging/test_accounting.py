"""Accounting records as they are read, and what a fault in one is answered with; the answers, read by a stranger."""

from typing import Any

import pytest
from diameter.message import Message as Stranger
from hypothesis import given
from hypothesis import strategies as st

from ocs.charging.accounting import Call, Slice, read
from ocs.charging.accounting_answer import AccountingAnswers
from ocs.charging.ask import EVENT, INITIAL, TERMINATION, UPDATE, Units
from ocs.diameter.codec import Codec
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.message import Message
from ocs.outcomes import Code
from tests import accounting_records as told
from tests.accounting_records import INTERIM, START, STOP, container, message
from tests.unit.diameter.octets import avp, u32

CODEC = Codec(accounting=True)
ANSWERS = AccountingAnswers("ocs.example.org", "example.org", 17, interim_s=300, realtime=2)
AT_S = 1_795_000_000


def decoded(request: Message) -> Message:
    """The same as it comes over the wire."""
    return CODEC.decode(CODEC.encode(request))


def fault_of(request: Message | bytes) -> DecodeFault:
    with pytest.raises(DecodeFault) as raised:
        read(CODEC.decode(request if isinstance(request, bytes) else CODEC.encode(request)))
    return raised.value


def bearer(**groups: Any) -> dict[str, Any]:
    return {"PS-Information": {name.replace("_", "-"): group for name, group in groups.items()}}


@pytest.mark.parametrize(
    ("kind", "as_"), [(START, INITIAL), (INTERIM, UPDATE), (STOP, TERMINATION), (told.EVENT, EVENT)]
)
def test_a_record_is_an_ask_of_a_session_that_no_session_id_names(kind: int, as_: int) -> None:
    record = read(decoded(message(kind, 4, at_s=AT_S)))
    assert (record.ask.kind, record.ask.number, record.at_s) == (as_, 4, AT_S)
    assert record.ask.session_id == "rf pgw.example.org;1;1"
    assert [each.value for each in record.ask.ids] == ["491700000001"]


def test_containers_are_added_up_by_service_and_kept_apart_by_time() -> None:
    groups = [container(300, 10, at_s=AT_S), container(60, 10, at_s=AT_S - 9), container(5, 20, seconds=7)]
    record = read(decoded(message(INTERIM, 1, at_s=AT_S, information=bearer(Service_Data_Container=groups))))
    assert {each.key: each.used for each in record.ask.services} == {"10": Units(360), "20": Units(5, 7)}
    assert record.slices == (
        Slice(AT_S - 9, "10", Units(60)),
        Slice(AT_S, "10", Units(300)),
        Slice(0, "20", Units(5, 7)),
    )


def test_the_bearers_volumes_count_where_no_service_is_told() -> None:
    volumes = [container(300, None, at_s=AT_S)]
    record = read(decoded(message(STOP, 1, information=bearer(Traffic_Data_Volumes=volumes))))
    assert [(each.key, each.used) for each in record.ask.services] == [("", Units(300))]
    assert record.at_s == AT_S
    both = bearer(Traffic_Data_Volumes=volumes, Service_Data_Container=[container(300, 10)])
    assert [each.key for each in read(decoded(message(STOP, 1, information=both))).ask.services] == ["10"]


def test_a_calls_record_tells_its_instant_and_perhaps_its_length() -> None:
    stamps = {"IMS-Information": {"Time-Stamps": {"SIP-Response-Timestamp": AT_S + 2}}}
    record = read(decoded(message(STOP, 1, family="voice", at_s=AT_S, information=stamps)))
    assert (record.call, record.at_s) == (Call(AT_S + 2, -1), AT_S + 2)
    timed = read(decoded(message(STOP, 1, family="voice", at_s=AT_S, Acct_Session_Time=90)))
    assert timed.call == Call(AT_S, 90)


def test_an_attempt_that_came_to_nothing_used_nothing() -> None:
    failed = {"IMS-Information": {"Cause-Code": [486]}}
    record = read(decoded(message(told.EVENT, 0, family="voice", information=failed)))
    assert record.ask.services[0].used == Units(0, 0, 0)
    went = {"IMS-Information": {"Cause-Code": [-200]}}
    assert read(decoded(message(told.EVENT, 0, family="voice", information=went))).ask.services[
        0
    ].used == Units(events=1)


def test_the_content_of_a_record_does_not_know_the_order_of_containers_but_their_numbers() -> None:
    one, other = container(3, 10, at_s=AT_S), container(4, 20, at_s=AT_S)
    digests = [
        read(decoded(message(INTERIM, 1, information=bearer(Service_Data_Container=groups)))).ask.digest
        for groups in ([one, other], [other, one], [one, one])
    ]
    assert digests[0] == digests[1] != digests[2]


FAULTS: dict[str, tuple[Any, int]] = {
    "a container without octets and time": (
        message(INTERIM, 1, information=bearer(Service_Data_Container=[container()])),
        5004,
    ),
    "a message that lasts": (message(START, 0, family="sms"), 5004),
    "a call without time": (message(STOP, 1, family="voice"), 5005),
    "a call of two days": (
        message(
            STOP,
            1,
            family="voice",
            at_s=AT_S,
            information={"IMS-Information": {"Time-Stamps": {"SIP-Response-Timestamp": AT_S - 90_000}}},
        ),
        5007,
    ),
    "too many containers": (
        message(INTERIM, 1, information=bearer(Service_Data_Container=[container(1)] * 257)),
        5009,
    ),
    "an empty Session-Id": (message(START, 0, session=""), 5004),
    "a record of no type": (message(START, 0, Accounting_Record_Type=5), 5004),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_record_whose_usage_cannot_be_read_is_refused_with_the_avp_that_is_wrong(name: str) -> None:
    request, code = FAULTS[name]
    fault = fault_of(request)
    assert fault.result_code == code
    assert fault.failed_avp
    octets = ANSWERS.refuse(request, fault.avps, fault.result_code, failed_avp=fault.failed_avp)
    answer = Stranger.from_bytes(octets)
    assert (answer.result_code, answer.header.is_error) == (code, False)
    assert (
        len(answer.failed_avp.additional_avps if hasattr(answer.failed_avp, "additional_avps") else [1]) == 1
    )


def test_a_type_that_is_none_is_told_again_since_every_answer_has_one() -> None:
    """RFC 6733 section 9.7.2: Accounting-Record-Type is required in every Accounting-Answer."""
    request = message(START, 0, Accounting_Record_Type=5)
    fault = fault_of(request)
    octets = ANSWERS.refuse(request, fault.avps, fault.result_code, failed_avp=fault.failed_avp)
    types = [each.value for each in Stranger.from_bytes(octets).avps if each.code == 480]
    assert (fault.result_code, types) == (5004, [5])


@pytest.mark.parametrize(
    "missing", ["Accounting-Record-Number", "Accounting-Record-Type", "Service-Context-Id"]
)
def test_a_record_that_lacks_what_it_must_have_is_5005(missing: str) -> None:
    request = message(START, 0)
    del request.avps[missing]
    fault = fault_of(request)
    assert fault.result_code == ResultCode.MISSING_AVP
    assert fault.avps["Session-Id"] == "pgw.example.org;1;1"


def test_an_unknown_avp_with_the_m_bit_is_5001_and_a_wrong_length_5014() -> None:
    frame = CODEC.encode(message(START, 0))
    stranger = u32(9_999, 1)
    longer = frame[:1] + (len(frame) + len(stranger)).to_bytes(3, "big") + frame[4:] + stranger
    fault = fault_of(longer)
    assert (fault.result_code, fault.failed_avp) == (ResultCode.AVP_UNSUPPORTED, stranger)
    assert fault.avps["Accounting-Record-Type"] == START
    short = avp(485, b"\0\0")
    cut = frame[:1] + (len(frame) + len(short)).to_bytes(3, "big") + frame[4:] + short
    assert fault_of(cut).result_code == ResultCode.INVALID_AVP_LENGTH


WHOLE = CODEC.encode(
    message(
        STOP,
        2,
        at_s=AT_S,
        information=bearer(
            Service_Data_Container=[container(300, 10, at_s=AT_S), container(5, None, seconds=7)],
            Called_Station_Id="internet",
        ),
    )
)


@given(st.lists(st.tuples(st.integers(20, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_octets_are_wrong_a_record_is_read_or_refused_with_a_code(
    wrong: list[tuple[int, int]],
) -> None:
    octets = bytearray(WHOLE)
    for place, value in wrong:
        octets[place] = value
    try:
        request = CODEC.decode(bytes(octets))
        record = read(request)
    except DecodeFault as fault:
        answer = ANSWERS.refuse(fault.header, fault.avps, fault.result_code, failed_avp=fault.failed_avp)
    else:
        answer = ANSWERS.answer(request, record.ask, Code.SUCCESS, 2001)
        assert all(each.used is not None and max(each.used) >= 0 for each in record.ask.services)
    assert Stranger.from_bytes(answer).result_code in {2001, *range(3000, 6000)}


def test_where_accounting_is_not_served_its_application_is_unknown() -> None:
    with pytest.raises(DecodeFault) as raised:
        Codec().decode(CODEC.encode(message(START, 0)))
    assert raised.value.result_code == ResultCode.APPLICATION_UNSUPPORTED


def test_a_stranger_reads_our_answer_with_all_that_it_must_have() -> None:
    request = decoded(message(START, 3, at_s=AT_S))
    answer = Stranger.from_bytes(ANSWERS.answer(request, read(request).ask, Code.SUCCESS, 2001))
    assert (answer.header.command_code, answer.header.application_id) == (271, 3)
    assert (answer.session_id, answer.result_code) == ("pgw.example.org;1;1", 2001)
    assert (answer.accounting_record_type, answer.accounting_record_number) == (START, 3)
    assert (answer.acct_application_id, answer.origin_state_id) == (3, 17)
    assert (answer.acct_interim_interval, answer.accounting_realtime_required) == (300, 2)
    assert (
        CODEC.decode(ANSWERS.answer(request, read(request).ask, Code.SUCCESS, 2001)).avps["Result-Code"]
        == 2001
    )


def test_a_conflict_names_the_number_that_was_told_before() -> None:
    request = decoded(message(INTERIM, 3))
    answer = CODEC.decode(ANSWERS.answer(request, read(request).ask, Code.CONFLICT, 5012))
    assert answer.avps["Failed-AVP"] == u32(485, 3)
    assert "Acct-Interim-Interval" not in answer.avps


def test_an_answer_of_3xxx_has_the_form_of_errors() -> None:
    request = decoded(message(START, 0))
    answer = CODEC.decode(ANSWERS.answer(request, read(request).ask, Code.EPOCH, 3004))
    assert answer.is_error
    assert answer.avps["Result-Code"] == 3004
