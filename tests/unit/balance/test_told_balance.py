"""What answers tell of the balance, where config says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.accounts import NewSubscriber
from ocs.charging.ask import INITIAL, UPDATE
from ocs.records import Status
from ocs.settings import SettingsFault
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import CENT, MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service

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
