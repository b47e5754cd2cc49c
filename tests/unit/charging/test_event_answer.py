"""Answers to one-time events as python-diameter, which is not our codec, reads them."""

from typing import Any

import pytest
from diameter.message import Message as Stranger

from ocs.charging.answer import AnswerWriter
from ocs.charging.ask import CHECK_BALANCE, DIRECT_DEBITING, EVENT, PRICE_ENQUIRY, REFUND_ACCOUNT, ask
from ocs.charging.event import concluded, read_refund_information
from ocs.charging.outcome import Charged, Cost, Outcome, ServiceOutcome
from ocs.diameter.codec import Message
from ocs.outcomes import Code, Note
from ocs.units import Unit
from tests.unit.charging.ccr import ccr, service, services

WRITER = AnswerWriter("ocs.example.org", "example.org", failure_handling=0, session_failover=1)
REFUND_INFORMATION, FAILED = 2022, 279


def event(action: int, *groups: Any, **more: Any) -> Message:
    more = {"Service_Context_Id": "32274@3gpp.org"} | more
    return ccr(EVENT, 7, Requested_Action=action, **more, **(services(*groups) if groups else {}))


def done(units: int, unit: Unit = Unit.EVENTS) -> ServiceOutcome:
    return ServiceOutcome(Code.SUCCESS, unit, units, 0, False)


def not_done(code: Code) -> ServiceOutcome:
    return ServiceOutcome(code, Unit.EVENTS, 0, 0, False)


def octets_of(
    message: Message,
    *decided: ServiceOutcome,
    code: Code = Code.SUCCESS,
    costs: tuple[Cost, ...] = (),
    currency: str = "EUR",
) -> bytes:
    asked = ask(message)
    outcome = concluded(asked, code, Note(0), decided, Charged(currency, (), costs))
    return WRITER.answer(message, asked, outcome)


def answered(message: Message, *decided: ServiceOutcome, **more: Any) -> Any:
    return Stranger.from_bytes(octets_of(message, *decided, **more))


def plain(octets: bytes) -> Any:
    return Stranger.from_bytes(octets, plain_msg=True).avps


def test_a_debit_is_answered_with_its_units_service_by_service() -> None:
    message = event(DIRECT_DEBITING, service(1, requested={}), service(2, requested={}))
    got = answered(message, done(3), not_done(Code.CREDIT_LIMIT))
    assert (got.result_code, got.cc_request_type, got.cc_request_number) == (2001, EVENT, 7)
    first, second = got.multiple_services_credit_control
    assert (first.rating_group, first.result_code, first.granted_service_unit.cc_service_specific_units) == (
        1,
        2001,
        3,
    )
    assert (second.rating_group, second.result_code, second.granted_service_unit) == (2, 4012, None)
    assert first.validity_time is None
    assert first.final_unit_indication is None


@pytest.mark.parametrize(
    ("context", "told"), [("32274@3gpp.org", True), ("ext.32274@3gpp.org", True), ("sms@example.org", False)]
)
def test_a_debited_service_of_3gpp_says_what_a_refund_is_to_name(context: str, *, told: bool) -> None:
    message = event(DIRECT_DEBITING, service(1, requested={}), Service_Context_Id=context)
    (group,) = [avp for avp in plain(octets_of(message, done(1))) if avp.code == 456]
    tokens = [avp for avp in group.value if avp.code == REFUND_INFORMATION]
    assert bool(tokens) == told
    for token in tokens:
        assert read_refund_information(token.value) == ("smf.example.org;1;2", 7)
        assert (token.vendor_id, token.is_mandatory) == (10415, True)


def test_what_was_not_debited_names_nothing_to_refund() -> None:
    message = event(DIRECT_DEBITING, service(1, requested={}))
    answer = octets_of(message, not_done(Code.CREDIT_LIMIT), code=Code.CREDIT_LIMIT)
    assert Stranger.from_bytes(answer).result_code == 4012
    (group,) = [avp for avp in plain(answer) if avp.code == 456]
    assert REFUND_INFORMATION not in [avp.code for avp in group.value]


def test_units_asked_at_message_level_are_granted_there() -> None:
    got = answered(event(DIRECT_DEBITING, Requested_Service_Unit={"CC-Time": 5}), done(5, Unit.SECONDS))
    assert (got.result_code, got.granted_service_unit.cc_time) == (2001, 5)
    assert not got.multiple_services_credit_control
    refused = answered(event(DIRECT_DEBITING), not_done(Code.BARRED), code=Code.BARRED)
    assert (refused.result_code, refused.granted_service_unit) == (4010, None)


def test_a_refund_is_answered_with_codes_alone() -> None:
    got = answered(event(REFUND_ACCOUNT, service(1, requested={})), done(3))
    assert got.result_code == 2001
    (group,) = got.multiple_services_credit_control
    assert (group.rating_group, group.result_code, group.granted_service_unit) == (1, 2001, None)


def test_a_refund_of_what_is_not_there_fails_with_what_was_to_be_done() -> None:
    message = event(REFUND_ACCOUNT, service(1, requested={}))
    answer = WRITER.answer(message, ask(message), Outcome(Code.LIMIT, Note(0), (), Charged("")))
    got = Stranger.from_bytes(answer)
    assert (got.result_code, got.multiple_services_credit_control) == (5012, [])
    (failed,) = [avp for avp in plain(answer) if avp.code == FAILED]
    assert [(avp.name, avp.value) for avp in failed.value] == [("Requested-Action", 1)]


@pytest.mark.parametrize(
    ("codes", "result", "enough"),
    [
        ((Code.SUCCESS, Code.SUCCESS), 2001, 0),
        ((Code.SUCCESS, Code.CREDIT_LIMIT), 2001, 1),
        ((Code.CREDIT_LIMIT, Code.UNRATED), 5031, None),
        ((Code.UNRATED, Code.BARRED), 4010, None),
    ],
)
def test_a_balance_is_enough_for_everything_or_not(
    codes: tuple[Code, ...], result: int, enough: int | None
) -> None:
    message = event(CHECK_BALANCE, service(1, requested={}), service(2, requested={}))
    got = answered(message, *[not_done(code) for code in codes])
    assert (got.result_code, got.check_balance_result) == (result, enough)
    assert not got.multiple_services_credit_control


@pytest.mark.parametrize(
    ("micros", "digits", "exponent"),
    [
        ((90_000,), 9, -2),
        ((641_667,), 641_667, -6),
        ((0,), 0, 0),
        ((7_000_000,), 7, 0),
        ((10_000_000, 5), 10_000_005, -6),
        ((1_000_000, 500_000), 15, -1),
    ],
)
def test_a_price_is_exact_in_digits_and_exponent(micros: tuple[int, ...], digits: int, exponent: int) -> None:
    groups = [service(place, requested={}) for place, _ in enumerate(micros)]
    costs = tuple(Cost(each, 0) for each in micros)
    got = answered(event(PRICE_ENQUIRY, *groups), *[done(1) for _ in micros], costs=costs)
    cost = got.cost_information
    assert (cost.unit_value.value_digits, cost.unit_value.exponent, cost.currency_code) == (
        digits,
        exponent,
        978,
    )
    assert cost.cost_unit is None
    assert got.result_code == 2001


def test_a_price_in_what_is_no_currency_has_the_number_of_none() -> None:
    got = answered(event(PRICE_ENQUIRY), done(1), costs=(Cost(1, 0),), currency="XTS")
    assert got.cost_information.currency_code == 999


@pytest.mark.parametrize(
    ("code", "result"), [(Code.CREDIT_LIMIT, 4012), (Code.UNRATED, 5031), (Code.BARRED, 4010)]
)
def test_what_has_no_price_is_told_none(code: Code, result: int) -> None:
    got = answered(event(PRICE_ENQUIRY), not_done(code), costs=(Cost(0, 0),))
    assert (got.result_code, got.cost_information) == (result, None)
