"""What answers tell of the balance, where config says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.accounts import NewSubscriber
from ocs.charging.ask import (
    CHECK_BALANCE,
    DIRECT_DEBITING,
    EVENT,
    INITIAL,
    PRICE_ENQUIRY,
    REFUND_ACCOUNT,
    UPDATE,
)
from ocs.records import Status
from ocs.settings import SettingsFault
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import CENT, MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service, services

BOTH = '[charging.quota]\nlow_balance = "0.15"\nremaining_balance = true\n'
LOW, ENOUGH = 1, 0


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def told(answer: Any) -> tuple[int, float, int]:
    """Return whether the balance is low, and what is left, in which currency."""
    left = answer.remaining_balance
    assert left.unit_value.exponent == -6
    return answer.low_balance_indication, left.unit_value.value_digits, left.currency_code


def test_the_balance_is_what_is_available_once_the_request_was_charged(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    assert told(gateway.begin()) == (ENOUGH, 20 * CENT, 978)
    assert told(gateway.go_on(service(used=octets(10 * MIB), requested={}))) == (LOW, 10 * CENT, 978)
    assert told(gateway.end(service(used=octets(MIB)))) == (ENOUGH, 19 * CENT, 978)


def test_a_repeated_request_is_told_what_is_available_now(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    first = gateway.begin()
    gateway.top_up(7 * CENT)
    again = gateway.say(INITIAL, 0, Multiple_Services_Credit_Control=[service(requested={})])
    assert (
        only(again).granted_service_unit.cc_total_octets == only(first).granted_service_unit.cc_total_octets
    )
    assert told(again) == (ENOUGH, 27 * CENT, 978)


def test_who_is_refused_is_told_too(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH))
    answer = gateway.begin()
    assert (answer.result_code, told(answer)) == (4012, (LOW, 0, 978))
    gateway.run(gateway.charged.accounts.amend(gateway.account, status=Status.BARRED))
    assert (
        gateway.say(
            INITIAL, 0, Session_Id="other", Multiple_Services_Credit_Control=[service(requested={})]
        ).result_code
        == 4010
    )


def test_a_credit_floor_is_available_and_a_debt_is_negative(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), floor_micros=-30 * CENT)
    assert told(gateway.begin()) == (ENOUGH, 20 * CENT, 978)
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=2 * CENT)
    gateway.begin()
    assert told(gateway.go_on(service(used=octets(5 * MIB), requested={}))) == (LOW, -3 * CENT, 978)


def test_a_member_is_told_of_its_account(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    new = NewSubscriber("491700000005", "", "flat", "prepaid", "EUR", 0)
    gateway.run(gateway.charged.accounts.create(new, 0, gateway.account))
    child = {"Subscription-Id-Type": 0, "Subscription-Id-Data": "491700000005"}
    assert told(gateway.begin(Subscription_Id=[child])) == (ENOUGH, 20 * CENT, 978)


def test_a_session_without_services_is_told_too(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    assert told(gateway.say(INITIAL, 0, Multiple_Services_Indicator=1)) == (ENOUGH, 30 * CENT, 978)
    assert told(gateway.say(UPDATE, 1, Requested_Service_Unit=octets(MIB))) == (ENOUGH, 29 * CENT, 978)


def test_only_what_is_set_is_told_and_only_to_services_of_3gpp(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, '[charging.quota]\nlow_balance = "0.15"\n'), credit_micros=CENT)
    answer = gateway.begin()
    assert (answer.low_balance_indication, answer.remaining_balance) == (LOW, None)
    gateway = Gateway(
        room, written(tmp_path, "[charging.quota]\nremaining_balance = true\n"), credit_micros=CENT
    )
    answer = gateway.begin()
    assert (answer.low_balance_indication, answer.remaining_balance.unit_value.value_digits) == (None, 0)
    stranger = Gateway(room, written(tmp_path, BOTH), credit_micros=CENT).begin(family="x@example.org")
    assert (stranger.result_code, stranger.low_balance_indication, stranger.remaining_balance) == (
        5031,
        None,
        None,
    )
    silent = Gateway(room, written(tmp_path, ""), credit_micros=CENT).begin()
    assert (silent.low_balance_indication, silent.remaining_balance) == (None, None)


def test_restriction_and_balance_go_together(room: StoreRoom, tmp_path: Path) -> None:
    text = BOTH + '[charging.quota.data]\nfinal_action = "REDIRECT"\nredirect_to = "https://a.example.org"\n'
    answer = Gateway(room, written(tmp_path, text)).begin(service(1, requested={}), service(2, requested={}))
    assert [one.granted_service_unit.cc_total_octets for one in answer.multiple_services_credit_control] == [
        0,
        0,
    ]
    assert told(answer) == (LOW, 0, 978)


def test_a_threshold_that_is_no_amount_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault, match="not an amount"):
        written(tmp_path, '[charging.quota]\nlow_balance = "five"\n')


# ---------------------------------------------------------------- one-time events


def event(
    gateway: Gateway, action: int, number: int, units: int = 0, family: str = "data", **more: Any
) -> Any:
    """Say an event of so many octets; of none, it names none."""
    one = service(requested=octets(units) if units else {}, **more)
    return gateway.say(EVENT, number, family, Requested_Action=action, **services(one))


def test_events_tell_the_balance_too(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    assert told(event(gateway, CHECK_BALANCE, 0, 40 * MIB)) == (ENOUGH, 30 * CENT, 978)
    assert told(event(gateway, PRICE_ENQUIRY, 1, 20 * MIB)) == (ENOUGH, 30 * CENT, 978)
    debited = event(gateway, DIRECT_DEBITING, 2, 20 * MIB)
    assert told(debited) == (LOW, 10 * CENT, 978)
    token = only(debited).refund_information
    assert told(event(gateway, REFUND_ACCOUNT, 3, 7 * MIB, Refund_Information=token)) == (
        ENOUGH,
        17 * CENT,
        978,
    )
    gateway.begin(service(requested=octets(4 * MIB)))
    assert told(event(gateway, CHECK_BALANCE, 4, MIB)) == (LOW, 13 * CENT, 978)


@pytest.mark.parametrize("action", [DIRECT_DEBITING, REFUND_ACCOUNT])
def test_a_repeated_event_is_told_what_is_available_now(room: StoreRoom, tmp_path: Path, action: int) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    event(gateway, DIRECT_DEBITING, 0, 10 * MIB)
    left = 10 if action == DIRECT_DEBITING else 30
    assert told(event(gateway, action, 1, 10 * MIB)) == (LOW if left < 15 else ENOUGH, left * CENT, 978)
    gateway.top_up(7 * CENT)
    assert told(event(gateway, action, 1, 10 * MIB)) == (ENOUGH, (left + 7) * CENT, 978)
    assert gateway.book().balance_micros == (left + 7) * CENT


def test_a_debit_that_is_refused_for_want_of_credit_is_told_too(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=3 * CENT)
    answer = event(gateway, DIRECT_DEBITING, 0, 4 * MIB)
    assert (answer.result_code, told(answer)) == (4012, (LOW, 3 * CENT, 978))


def test_a_member_s_event_tells_of_its_account(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    new = NewSubscriber("491700000005", "", "flat", "prepaid", "EUR", 0)
    gateway.run(gateway.charged.accounts.create(new, 0, gateway.account))
    child = {"Subscription-Id-Type": 0, "Subscription-Id-Data": "491700000005"}
    for number, (action, left) in enumerate(
        ((CHECK_BALANCE, 30), (DIRECT_DEBITING, 28), (DIRECT_DEBITING, 26))
    ):
        one = services(service(requested=octets(2 * MIB)))
        answer = gateway.say(EVENT, number, "data", Requested_Action=action, Subscription_Id=[child], **one)
        assert told(answer) == (ENOUGH, left * CENT, 978)


@pytest.mark.parametrize("action", [CHECK_BALANCE, PRICE_ENQUIRY, DIRECT_DEBITING])
def test_events_tell_nothing_where_nothing_is_set_or_no_service_of_3gpp_asks(
    room: StoreRoom, tmp_path: Path, action: int
) -> None:
    silent = event(Gateway(room, written(tmp_path, ""), credit_micros=30 * CENT), action, 0, MIB)
    assert (silent.result_code, silent.low_balance_indication, silent.remaining_balance) == (2001, None, None)
    asked = Gateway(room, written(tmp_path, BOTH), credit_micros=30 * CENT)
    stranger = event(asked, action, 0, MIB, family="x@example.org")
    assert (stranger.result_code, stranger.low_balance_indication, stranger.remaining_balance) == (
        5031,
        None,
        None,
    )
