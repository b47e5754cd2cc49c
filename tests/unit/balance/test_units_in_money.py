"""Services that their clients rate themselves (RFC 8506, CC-Money): the whole way of a request, and what it leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.audit import audit
from ocs.balance.wallets import Wallets
from ocs.charging.ask import (
    CHECK_BALANCE,
    DIRECT_DEBITING,
    EVENT,
    PRICE_ENQUIRY,
    REFUND_ACCOUNT,
    AskFault,
)
from ocs.diameter.writers import encode_avps
from ocs.rating.products import Catalogue
from ocs.rating.tariff import read_tariff
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import CENT, CONFIG, MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service, services

EURO, DOLLAR = 978, 840
SHOP = 700
QUICK = '[charging.grants]\nmoney = "0.50"\nmoney_most = "3.00"\n[charging.rate_max]\nmoney_per_s = "0.01"\n'


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def shop(room: StoreRoom, tmp_path: Path) -> Gateway:
    return Gateway(room, written(tmp_path, ""), "content", credit_micros=1_000 * CENT)


@pytest.fixture
def quick(room: StoreRoom, tmp_path: Path) -> Gateway:
    """Grants of 3.00 at most, and not more than a cent a second is believed."""
    return Gateway(room, written(tmp_path, QUICK), "content", credit_micros=1_000 * CENT)


def money(cents: int, currency: int | None = EURO, exponent: int = -2) -> dict[str, Any]:
    """Units in money."""
    told: dict[str, Any] = {"Unit-Value": {"Value-Digits": cents, "Exponent": exponent}}
    return {"CC-Money": told if currency is None else told | {"Currency-Code": currency}}


def event(gateway: Gateway, action: int, requested: dict[str, Any], number: int = 0, **more: Any) -> Any:
    group = service(more.pop("group", SHOP), requested=requested, **more)
    return gateway.say(EVENT, number, Requested_Action=action, **services(group))


def granted(answer: Any) -> tuple[int, int, int] | None:
    """What is granted in money: digits, exponent, currency."""
    units = only(answer).granted_service_unit
    if units is None:
        return None
    told = units.cc_money
    return told.unit_value.value_digits, told.unit_value.exponent, told.currency_code


def currency_failed(answer: Any) -> int:
    """The Currency-Code in Failed-AVP."""
    (failed,) = answer.failed_avp[0].additional_avps
    assert failed.code == 425
    return int(failed.value)


def left(gateway: Gateway) -> tuple[int, int]:
    """The balance and what is reserved, in cents; the audit agrees."""
    assert gateway.run(audit(gateway.charged.parts)).faults == []
    book = gateway.book()
    return book.balance_micros // CENT, book.pending_micros // CENT


# ---------------------------------------------------------------- events


def test_a_debit_in_money_takes_exactly_that_amount(shop: Gateway) -> None:
    answer = event(shop, DIRECT_DEBITING, money(499))
    assert (answer.result_code, only(answer).result_code, granted(answer)) == (2001, 2001, (499, -2, EURO))
    assert left(shop) == (501, 0)
    assert event(shop, DIRECT_DEBITING, money(1, exponent=-6), number=1).result_code == 2001
    assert shop.book().balance_micros == 501 * CENT - 1


def test_what_cannot_be_paid_in_full_is_4012_and_takes_nothing(shop: Gateway) -> None:
    answer = event(shop, DIRECT_DEBITING, money(1_001))
    assert (answer.result_code, granted(answer), left(shop)) == (4012, None, (1_000, 0))
    assert event(shop, DIRECT_DEBITING, money(10, exponent=0), number=1).result_code == 2001
    assert left(shop) == (0, 0)


def test_a_debit_said_again_is_the_same_debit(shop: Gateway) -> None:
    first, again = (event(shop, DIRECT_DEBITING, money(250)) for _ in range(2))
    assert granted(first) == granted(again) == (25, -1, EURO)
    assert event(shop, DIRECT_DEBITING, money(251)).result_code == 5012
    assert left(shop) == (750, 0)


def test_without_a_currency_an_amount_is_in_the_accounts(shop: Gateway) -> None:
    """RFC 8506 section 8.22: Currency-Code is optional; the answer names it."""
    assert granted(event(shop, DIRECT_DEBITING, money(300, None))) == (3, 0, EURO)
    assert left(shop) == (700, 0)


def test_a_refund_in_money_is_bounded_by_its_debit(shop: Gateway) -> None:
    token = only(event(shop, DIRECT_DEBITING, money(600))).refund_information
    back = {"Refund_Information": token}
    assert event(shop, REFUND_ACCOUNT, money(250), 1, **back).result_code == 2001
    assert left(shop) == (650, 0)
    beyond = event(shop, REFUND_ACCOUNT, money(351), 2, **back)
    assert (beyond.result_code, left(shop)) == (5012, (650, 0))
    assert event(shop, REFUND_ACCOUNT, {}, 3, **back).result_code == 2001
    assert left(shop) == (1_000, 0)


def test_a_debit_in_money_is_not_refunded_in_other_units_nor_the_reverse(shop: Gateway) -> None:
    bought = only(event(shop, DIRECT_DEBITING, money(600))).refund_information
    used = only(event(shop, DIRECT_DEBITING, octets(MIB), 1, group=1)).refund_information
    assert event(shop, REFUND_ACCOUNT, octets(1), 2, Refund_Information=bought).result_code == 5012
    wrong = event(shop, REFUND_ACCOUNT, money(1), 3, group=1, Refund_Information=used)
    assert (wrong.result_code, left(shop)) == (5012, (399, 0))


def test_a_check_and_a_price_in_money_move_nothing(shop: Gateway) -> None:
    assert event(shop, CHECK_BALANCE, money(1_000)).check_balance_result == 0
    assert event(shop, CHECK_BALANCE, money(1_001), 1).check_balance_result == 1
    told = event(shop, PRICE_ENQUIRY, money(1_999), 2).cost_information
    assert (told.unit_value.value_digits, told.unit_value.exponent, told.currency_code) == (1_999, -2, EURO)
    assert left(shop) == (1_000, 0)


def test_a_cap_of_the_day_bounds_what_is_bought(room: StoreRoom, tmp_path: Path) -> None:
    rich = Gateway(room, written(tmp_path, ""), "content", credit_micros=20_000 * CENT)
    rich.charged.book.wallets = Wallets(Catalogue())
    assert event(rich, DIRECT_DEBITING, money(4_000)).result_code == 2001
    assert event(rich, DIRECT_DEBITING, money(1_001), 1).result_code == 4012
    assert event(rich, DIRECT_DEBITING, money(1_000), 2).result_code == 2001
    assert left(rich) == (15_000, 0)


@pytest.mark.parametrize("requested", [{}, octets(0), octets(5), {"CC-Service-Specific-Units": 1}])
@pytest.mark.parametrize("action", [DIRECT_DEBITING, CHECK_BALANCE, PRICE_ENQUIRY])
def test_an_event_has_to_say_how_much_money(shop: Gateway, action: int, requested: dict[str, Any]) -> None:
    """RFC 8506 section 9.2: insufficient rating input; the server never chooses what something costs."""
    assert event(shop, action, requested).result_code == 5031
    assert left(shop) == (1_000, 0)


def test_money_is_nothing_that_a_measured_service_is_asked_for(shop: Gateway) -> None:
    for action in (DIRECT_DEBITING, CHECK_BALANCE, PRICE_ENQUIRY):
        assert event(shop, action, money(5), action, group=1).result_code == 5031
    assert shop.begin(service(1, requested=money(5))).result_code == 5031
    assert left(shop) == (1_000, 0)


def test_beside_units_that_are_measured_money_does_not_count(shop: Gateway) -> None:
    answer = event(shop, DIRECT_DEBITING, octets(2 * MIB) | money(900), group=1)
    assert only(answer).granted_service_unit.cc_total_octets == 2 * MIB
    assert left(shop) == (998, 0)


def test_a_tariff_that_sells_nothing_in_money_takes_none(room: StoreRoom, tmp_path: Path) -> None:
    flat = Gateway(room, written(tmp_path, ""), "flat", credit_micros=1_000 * CENT)
    assert event(flat, DIRECT_DEBITING, money(5)).result_code == 5031
    assert (
        flat.begin(service(SHOP, requested=money(5)), service(1, requested=octets(MIB))).result_code == 2001
    )
    assert left(flat) == (1_000, 1)


# ---------------------------------------------------------------- currencies and amounts


@pytest.mark.parametrize("action", [DIRECT_DEBITING, REFUND_ACCOUNT, CHECK_BALANCE, PRICE_ENQUIRY])
def test_another_currency_is_5031_with_itself(shop: Gateway, action: int) -> None:
    """RFC 8506 section 9.2: a value that is not supported in the rating, and a copy of it in Failed-AVP."""
    answer = event(shop, action, money(5, DOLLAR))
    assert answer.result_code == 5031
    (failed,) = answer.failed_avp[0].additional_avps
    assert (failed.code, failed.value) == (425, DOLLAR)
    assert left(shop) == (1_000, 0)


def test_another_currency_in_a_session_moves_nothing(shop: Gateway) -> None:
    assert shop.begin(service(SHOP, requested=money(5, DOLLAR))).result_code == 5031
    assert shop.begin(service(SHOP, requested=money(300))).result_code == 2001
    answer = shop.go_on(service(SHOP, used=money(100, DOLLAR), requested=money(300, DOLLAR)))
    assert (answer.result_code, currency_failed(answer), left(shop)) == (5031, DOLLAR, (1_000, 0))
    assert shop.go_on(service(SHOP, requested=money(300))).result_code == 2001
    answer = shop.end(service(SHOP, used=money(100, DOLLAR)))
    assert (answer.result_code, currency_failed(answer), left(shop)) == (5031, DOLLAR, (1_000, 0))


@pytest.mark.parametrize("last", [False, True])
def test_beside_money_of_another_currency_what_was_used_is_posted_and_no_hold_stays(
    shop: Gateway, *, last: bool
) -> None:
    """DESIGN section 3: no refusal skips posting."""
    shop.begin(service(1, requested=octets(5 * MIB)), service(SHOP, requested=money(300)))
    assert left(shop) == (1_000, 305)
    say = shop.end if last else shop.go_on
    answer = say(service(1, used=octets(MIB)), service(SHOP, used=money(100, DOLLAR)))
    assert left(shop) == (999, 0)
    assert answer.result_code == 2001
    assert [each.result_code for each in answer.multiple_services_credit_control] == [2001, 5031]


@pytest.mark.parametrize("last", [False, True])
def test_units_that_are_measured_are_posted_though_their_own_service_tells_of_another_currency(
    shop: Gateway, *, last: bool
) -> None:
    shop.begin(service(1, requested=octets(5 * MIB)))
    say = shop.end if last else shop.go_on
    used = octets(2 * MIB) | money(100, DOLLAR)
    answer = say(service(1, used=used) if last else service(1, used=used, requested=octets(MIB)))
    assert (answer.result_code, currency_failed(answer), left(shop)) == (5031, DOLLAR, (998, 0))
    shop.number -= 1  # said again it is the same
    answer = say(service(1, used=used) if last else service(1, used=used, requested=octets(MIB)))
    assert (answer.result_code, currency_failed(answer), left(shop)) == (5031, DOLLAR, (998, 0))


def test_two_currencies_in_one_request_contradict_each_other(shop: Gateway) -> None:
    with pytest.raises(AskFault) as caught:
        shop.begin(service(SHOP, requested=money(5)), service(701, requested=money(5, DOLLAR)))
    assert caught.value.result_code == 5007
    assert caught.value.failed_avp == encode_avps({"Currency-Code": DOLLAR})


@pytest.mark.parametrize(("digits", "exponent"), [(-5, -2), (1, -7), (2**53, -6), (1, 99)])
@pytest.mark.parametrize("name", ["used", "requested"])
def test_what_is_no_amount_is_5004_with_itself(shop: Gateway, name: str, digits: int, exponent: int) -> None:
    wrong = money(digits, exponent=exponent)
    shop.begin(service(SHOP, requested=money(300)))
    with pytest.raises(AskFault) as caught:
        shop.go_on(service(SHOP, **{name: wrong}))
    group = "Used-Service-Unit" if name == "used" else "Requested-Service-Unit"
    expected = {"Multiple-Services-Credit-Control": [{group: [wrong] if name == "used" else wrong}]}
    assert (caught.value.result_code, caught.value.failed_avp) == (5004, encode_avps(expected))
    assert left(shop) == (1_000, 300)


@pytest.mark.parametrize("action", [DIRECT_DEBITING, REFUND_ACCOUNT, CHECK_BALANCE, PRICE_ENQUIRY])
def test_an_event_about_no_money_is_5004(shop: Gateway, action: int) -> None:
    with pytest.raises(AskFault) as caught:
        event(shop, action, money(0))
    assert caught.value.result_code == 5004


# ---------------------------------------------------------------- sessions


def test_a_session_reserves_money_posts_what_was_used_and_gives_back_the_rest(shop: Gateway) -> None:
    answer = shop.begin(service(SHOP, requested=money(300)))
    assert (answer.result_code, granted(answer), left(shop)) == (2001, (3, 0, EURO), (1_000, 300))
    answer = shop.go_on(service(SHOP, used=money(125), requested=money(400)))
    assert (granted(answer), left(shop)) == ((4, 0, EURO), (875, 400))
    shop.end(service(SHOP, used=money(399)))
    assert left(shop) == (476, 0)


def test_what_is_left_is_the_last(shop: Gateway) -> None:
    answer = shop.begin(service(SHOP, requested=money(2_500)))
    assert granted(answer) == (10, 0, EURO)
    assert only(answer).final_unit_indication.final_unit_action == 0
    answer = shop.go_on(service(SHOP, used=money(1_000), requested=money(1)))
    assert (answer.result_code, granted(answer), left(shop)) == (4012, None, (0, 0))


def test_nothing_asked_is_the_usual_and_more_than_the_most_is_the_most(quick: Gateway) -> None:
    assert granted(quick.begin(service(SHOP, requested={}))) == (5, -1, EURO)
    assert granted(quick.go_on(service(SHOP, used=money(50), requested=money(301)))) == (3, 0, EURO)
    assert left(quick) == (950, 300)


def test_units_of_another_kind_are_refused_in_a_session_in_money(shop: Gateway) -> None:
    assert shop.begin(service(SHOP, requested=octets(5))).result_code == 5031
    assert left(shop) == (1_000, 0)


def test_what_is_beyond_the_grant_is_posted_and_what_is_beyond_belief_is_not(quick: Gateway) -> None:
    quick.begin(service(SHOP, requested=money(100)))
    quick.go_on(service(SHOP, used=money(400), requested=money(100)))
    assert left(quick) == (600, 100)
    quick.end(service(SHOP, used=money(402)))
    assert left(quick) == (500, 0)


def test_other_units_reported_of_a_purchase_are_set_aside(shop: Gateway) -> None:
    shop.begin(service(SHOP, requested=money(100)))
    shop.go_on(service(SHOP, used=octets(5_000), requested=money(100)))
    assert left(shop) == (1_000, 100)
    shop.end(service(SHOP, used=octets(5_000) | money(40)))
    assert left(shop) == (960, 0)


def test_money_reported_of_a_measured_service_is_set_aside(shop: Gateway) -> None:
    shop.begin(service(1, requested=octets(5 * MIB)))
    shop.end(service(1, used=money(300)))
    assert left(shop) == (1_000, 0)


def test_a_cap_of_a_session_ends_it(shop: Gateway) -> None:
    premium = {"identifiers": [7], "requested": money(1_500)}
    rich = shop
    rich.top_up(5_000 * CENT)
    answer = rich.begin(service(None, **premium), family="sms")
    assert (granted(answer), only(answer).final_unit_indication is not None) == ((10, 0, EURO), True)


def test_purchases_and_measured_services_share_one_session_and_one_balance(shop: Gateway) -> None:
    answer = shop.begin(service(1, requested=octets(10 * MIB)), service(SHOP, requested=money(2_000)))
    first, second = answer.multiple_services_credit_control
    assert first.granted_service_unit.cc_total_octets == 10 * MIB
    assert second.granted_service_unit.cc_money.unit_value.value_digits == 99
    assert left(shop) == (1_000, 1_000)


def test_money_at_message_level_is_granted_there(shop: Gateway) -> None:
    answer = shop.say(
        EVENT,
        0,
        "sms",
        Requested_Action=DIRECT_DEBITING,
        Service_Identifier=7,
        Requested_Service_Unit=money(250),
    )
    told = answer.granted_service_unit.cc_money
    assert (answer.result_code, told.unit_value.value_digits, told.currency_code) == (2001, 25, EURO)
    assert left(shop) == (750, 0)
    answer = shop.say(1, 0, "sms", Service_Identifier=7, Requested_Service_Unit=money(200))
    assert answer.granted_service_unit.cc_money.unit_value.value_digits == 2
    assert left(shop) == (750, 200)


def test_a_repeated_request_of_a_session_gets_its_money_again(shop: Gateway) -> None:
    first = shop.begin(service(SHOP, requested=money(300)))
    shop.charged.book.known.clear()
    again = shop.begin(service(SHOP, requested=money(300)))
    assert granted(first) == granted(again)
    assert left(shop) == (1_000, 300)


def test_a_repeated_request_gets_its_money_again_though_the_tariff_sells_none_by_now(shop: Gateway) -> None:
    first = shop.begin(service(SHOP, requested=money(300)))
    text = (CONFIG / "tariffs" / "content.yaml").read_text()
    later = text.replace("version: 1", "version: 2").replace("[700]", "[701]")
    shop.charged.book.tariffs.add([read_tariff(later, "later.yaml")])
    shop.charged.book.known.clear()
    assert granted(shop.begin(service(SHOP, requested=money(300)))) == granted(first) == (3, 0, EURO)
    assert left(shop) == (1_000, 300)


def test_config_by_family_leaves_money_as_it_is(room: StoreRoom, tmp_path: Path) -> None:
    text = (
        "[charging.quota]\nremaining_balance = true\n[charging.quota.data]\ngrant = 1000\nmost = 2000\nvalidity_s = 60\n"
        'adapt_s = 10\nthreshold = "20%"\nholding_s = 5\n'
    )
    gateway = Gateway(room, written(tmp_path, text), "content", credit_micros=1_000 * CENT)
    answer = gateway.begin(service(SHOP, requested={}))
    one = only(answer)
    assert (granted(answer), one.validity_time, one.quota_holding_time) == ((1, 0, EURO), 60, 5)
    assert (one.volume_quota_threshold, one.unit_quota_threshold) == (None, None)
    gateway.wait(1)
    assert granted(gateway.go_on(service(SHOP, used=money(90), requested={}))) == (1, 0, EURO)
    assert answer.remaining_balance.unit_value.value_digits == 900 * CENT
