"""RFC 8506 section 6 at a real `ocs serve`: python-diameter debits, refunds, checks balances and asks prices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from diameter.message.avp.grouped import MultipleServicesCreditControl, RequestedServiceUnit, SubscriptionId

from tests.conformance.test_python_diameter import capabilities, ccr, say
from tests.real_ocs import RealOcs

EVENT = 4
DIRECT_DEBITING, REFUND_ACCOUNT, CHECK_BALANCE, PRICE_ENQUIRY = range(4)
ENOUGH_CREDIT, NO_CREDIT, EURO = 0, 1, 978
MESSAGES = "32274@3gpp.org"
FIRST = 491_700_000_001


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(tmp_path_factory.mktemp("events")) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "20", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "1.00"),
        )
        yield made


class Centre:
    """A message centre on one connection, for one subscriber."""

    def __init__(self, server: RealOcs, connection: Any, place: int) -> None:
        self._server, self._connection, self._ids = server, connection, 0
        self.number = str(FIRST + place)
        self.session = f"smsc.example.net;events;{place}"

    def say(self, request: Any) -> Any:
        self._ids += 1
        return say(self._connection, request, self._ids)

    def request(
        self,
        action: int | None,
        number: int,
        units: int | None = None,
        *,
        token: bytes | None = None,
        **more: Any,
    ) -> Any:
        """An event of so many messages (None: it names none) in one service."""
        made = ccr(EVENT, number, more.get("session", self.session))
        made.header.application_id = 4
        made.origin_host = b"smsc.example.net"
        made.service_context_id = more.get("context", MESSAGES)
        made.requested_action = action
        made.subscription_id = [SubscriptionId(0, self.number)]
        service: Any = MultipleServicesCreditControl(rating_group=1)
        service.requested_service_unit = RequestedServiceUnit(cc_service_specific_units=units)
        service.refund_information = token
        made.multiple_services_credit_control = [service]
        return made

    def ask(self, action: int | None, number: int, units: int | None = None, **more: Any) -> Any:
        return self.say(self.request(action, number, units, **more))

    @property
    def balance(self) -> str:
        balance, reserved = self._server.balance(self.number)
        assert reserved == "0.00"
        return balance


@contextmanager
def centre(server: RealOcs, place: int) -> Iterator[Centre]:
    with server.connect() as connection:
        made = Centre(server, connection, place)
        assert made.say(capabilities()).result_code == 2001
        yield made


def only(answer: Any) -> Any:
    (service,) = answer.multiple_services_credit_control
    return service


def cost(answer: Any) -> tuple[int, int, int]:
    told = answer.cost_information
    return told.unit_value.value_digits, told.unit_value.exponent, told.currency_code


def test_a_debit_takes_its_price_and_nothing_stays_reserved(server: RealOcs) -> None:
    """RFC 8506 section 6.3."""
    with centre(server, 0) as smsc:
        answer = smsc.ask(DIRECT_DEBITING, 0, 3)
        assert (answer.result_code, answer.cc_request_type, answer.cc_request_number) == (2001, EVENT, 0)
        assert only(answer).granted_service_unit.cc_service_specific_units == 3
        assert only(answer).result_code == 2001
        assert smsc.balance == "0.73"
        assert server.ocs("sessions", "--msisdn", smsc.number) == []


def test_what_cannot_be_paid_in_full_is_4012_and_debits_nothing(server: RealOcs) -> None:
    with centre(server, 1) as smsc:
        answer = smsc.ask(DIRECT_DEBITING, 0, 12)
        assert (answer.result_code, only(answer).result_code, only(answer).granted_service_unit) == (
            4012,
            4012,
            None,
        )
        assert smsc.balance == "1.00"
        assert smsc.ask(DIRECT_DEBITING, 1, 11).result_code == 2001
        assert smsc.balance == "0.01"


def test_an_event_said_again_is_the_same_event_and_with_other_content_a_conflict(server: RealOcs) -> None:
    """RFC 8506 section 6.5 and DESIGN law 5."""
    with centre(server, 2) as smsc:
        first, again = smsc.ask(DIRECT_DEBITING, 0, 1), smsc.ask(DIRECT_DEBITING, 0, 1)
        assert (first.result_code, again.result_code) == (2001, 2001)
        assert only(again).refund_information == only(first).refund_information
        for answer in (smsc.ask(DIRECT_DEBITING, 0, 2), smsc.ask(REFUND_ACCOUNT, 0, 1)):
            assert answer.result_code == 5012
            assert [each.code for each in answer.failed_avp[0].additional_avps] == [415]
        assert smsc.balance == "0.91"


def test_a_refund_gives_back_what_its_debit_took_and_no_more(server: RealOcs) -> None:
    """RFC 8506 section 6.4, TS 32.299 clause 7.2."""
    with centre(server, 3) as smsc:
        token = only(smsc.ask(DIRECT_DEBITING, 0, 3)).refund_information
        smsc.ask(DIRECT_DEBITING, 0, 1, session="another")
        refunded = smsc.ask(REFUND_ACCOUNT, 0, 2, session="refund", token=token)
        assert (refunded.result_code, only(refunded).result_code) == (2001, 2001)
        assert smsc.balance == "0.82"
        beyond = smsc.ask(REFUND_ACCOUNT, 1, 2, session="refund", token=token)
        assert beyond.result_code == 5012
        assert [each.code for each in beyond.failed_avp[0].additional_avps] == [436]
        assert smsc.ask(REFUND_ACCOUNT, 2, session="refund", token=token).result_code == 2001
        assert smsc.balance == "0.91"
        assert smsc.ask(REFUND_ACCOUNT, 1, session="another").result_code == 2001
        assert smsc.balance == "1.00"
        assert smsc.ask(REFUND_ACCOUNT, 3, session="refund").result_code == 5012


def test_a_balance_is_checked_and_stays(server: RealOcs) -> None:
    """RFC 8506 sections 6.2 and 8.6."""
    with centre(server, 4) as smsc:
        enough, too_much = smsc.ask(CHECK_BALANCE, 0, 11), smsc.ask(CHECK_BALANCE, 0, 12)
        assert (enough.result_code, enough.check_balance_result) == (2001, ENOUGH_CREDIT)
        assert (too_much.result_code, too_much.check_balance_result) == (2001, NO_CREDIT)
        assert smsc.balance == "1.00"


@pytest.mark.parametrize(
    ("context", "units", "told"),
    [(MESSAGES, 3, (27, -2, EURO)), (MESSAGES, None, (9, -2, EURO)), (MESSAGES, 1000, (90, 0, EURO))],
)
def test_a_price_is_told_and_nothing_moves(
    server: RealOcs, context: str, units: int | None, told: tuple[int, int, int]
) -> None:
    """RFC 8506 sections 6.1 and 8.7 to 8.11."""
    with centre(server, 5) as smsc:
        answer = smsc.ask(PRICE_ENQUIRY, 0, units, context=context)
        assert (answer.result_code, cost(answer)) == (2001, told)
        assert smsc.balance == "1.00"


def test_seconds_and_octets_have_prices_too(server: RealOcs) -> None:
    with centre(server, 6) as smsc:
        call = smsc.request(PRICE_ENQUIRY, 0, context="32260@3gpp.org")
        call.multiple_services_credit_control[0].requested_service_unit = RequestedServiceUnit(cc_time=61)
        data = smsc.request(PRICE_ENQUIRY, 1, context="32251@3gpp.org")
        data.multiple_services_credit_control[0].requested_service_unit = RequestedServiceUnit(
            cc_total_octets=3_000_000
        )
        assert cost(smsc.say(call)) == (2, -1, EURO)
        assert cost(smsc.say(data)) == (3, -2, EURO)


def test_units_at_message_level_are_debited_there(server: RealOcs) -> None:
    """RFC 8506 section 6.3: without Multiple-Services-Credit-Control."""
    with centre(server, 7) as smsc:
        request = smsc.request(DIRECT_DEBITING, 0)
        request.multiple_services_credit_control = []
        request.requested_service_unit = RequestedServiceUnit(cc_service_specific_units=2)
        answer = smsc.say(request)
        assert (answer.result_code, answer.granted_service_unit.cc_service_specific_units) == (2001, 2)
        assert not answer.multiple_services_credit_control
        assert smsc.balance == "0.82"


def test_an_event_that_cannot_be_understood_is_refused_with_what_is_wrong(server: RealOcs) -> None:
    """RFC 8506 section 8.41: Requested-Action MUST be there, and be one of four."""
    with centre(server, 8) as smsc:
        missing, unknown = smsc.ask(None, 0, 1), smsc.ask(7, 1, 1)
        for answer, code in ((missing, 5005), (unknown, 5004)):
            assert answer.result_code == code
            assert [each.code for each in answer.failed_avp[0].additional_avps] == [436]
        assert smsc.balance == "1.00"


def test_who_is_unknown_barred_or_not_rated_is_told_so(server: RealOcs) -> None:
    with centre(server, 9) as smsc:
        server.ocs("subscriber", "bar", smsc.number)
        for action in (DIRECT_DEBITING, CHECK_BALANCE, PRICE_ENQUIRY):
            assert smsc.ask(action, action, 1).result_code == 4010
        server.ocs("subscriber", "unbar", smsc.number)
        for action in (DIRECT_DEBITING, CHECK_BALANCE, PRICE_ENQUIRY):
            assert smsc.ask(action, 10 + action, 1, context="nothing@example.org").result_code == 5031
        smsc.number = "491799999999"
        for action in range(4):
            assert smsc.ask(action, 20 + action, 1).result_code == 5030


def test_after_all_of_it_the_books_are_right(server: RealOcs) -> None:
    report = server.ocs("audit")
    assert (report["clean"], report["reserved"], report["faults"]) == (True, "0.00", [])
    assert server.count("ocs_requests_total", "CCR", "event", "2001") > 0
    while not server.count("ocs_events_total", "price", "5030"):  # told once a second
        time.sleep(0.05)
    for action in ("debit", "refund", "check", "price"):
        assert server.count("ocs_events_total", action, "2001") > 0
        assert server.count("ocs_events_total", action, "5030") == 1
    assert server.count("ocs_internal_faults_total") == 0
    assert server.troubles() == []
