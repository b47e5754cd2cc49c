"""Orders are carried out when they are due, paid for before they are credited, and credited once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ocs.balance.actions import Asked, DayLimits
from ocs.balance.topup_orders import OrderState, repeated_ms
from ocs.outcomes import Code
from ocs.records import Status
from ocs.topups.collecting import Collected
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.topup_scene import DECLINED, UNKNOWN, Desk
from tests.unit.balance.holdings_world import EURO

DAY_S = 86_400


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def desk(room: StoreRoom) -> Desk:
    return Desk(room)


@pytest.mark.parametrize(
    ("first", "period", "dues"),
    [
        ("2027-01-31T12:00", "monthly", ["2027-02-28T12:00", "2027-03-31T12:00", "2027-04-30T12:00"]),
        ("2028-01-30T08:30", "monthly", ["2028-02-29T08:30", "2028-03-30T08:30"]),
        ("2027-03-21T02:30", "weekly", ["2027-03-28T03:30", "2027-04-04T02:30"]),
        ("2027-10-17T02:30", "fortnightly", ["2027-10-31T02:30", "2027-11-14T02:30"]),
        ("2027-11-30T00:00", "monthly", ["2027-12-30T00:00", "2028-01-30T00:00", "2028-02-29T00:00"]),
    ],
)
def test_due_times_keep_the_clock_time_and_short_months_have_their_last_day(
    first: str, period: str, dues: list[str]
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    start_ms = int(datetime.fromisoformat(first).replace(tzinfo=zone).timestamp() * 1000) + 123
    assert repeated_ms(start_ms, period, 0, zone) == start_ms
    for number, due in enumerate(dues, 1):
        found_ms = repeated_ms(start_ms, period, number, zone)
        found = datetime.fromtimestamp(found_ms // 1000, zone)
        assert (found.isoformat(timespec="minutes")[:16], found.fold, found_ms % 1000) == (due, 0, 123)


def test_a_monthly_order_tops_up_at_once_and_then_every_month_so_often_as_it_says(desk: Desk) -> None:
    desk.create(period="monthly", periods=3)
    desk.run()
    assert (desk.balance(), desk.read().done) == (110, 1)
    desk.at("2027-02-28T11:59")
    assert desk.balance() == 110
    desk.at("2027-02-28T12:01")
    assert desk.balance() == 120
    desk.at("2027-03-31T12:01")
    assert (desk.balance(), desk.read().state) == (130, OrderState.COMPLETED)
    desk.at("2027-04-30T12:01")
    assert desk.balance() == 130
    assert len(desk.bank.taken) == 3
    desk.clean()


def test_what_was_missed_is_made_up_one_by_one(desk: Desk) -> None:
    desk.create(period="weekly", channel="till")
    desk.at("2027-02-15T12:00")
    assert (desk.balance(), desk.read(channel="till").done) == (130, 3)
    desk.clean()


def test_an_automatic_order_tops_up_where_less_than_its_threshold_is_available(desk: Desk) -> None:
    desk.create(below_micros=20 * EURO, amount_micros=15 * EURO)
    desk.run()
    assert desk.balance() == 100
    desk.spend(85)
    desk.later(7 * 3_600)
    assert (desk.balance(), desk.bank.asked) == (30, ["o1@1"])
    desk.spend(15)
    desk.later(7 * 3_600)
    assert (desk.balance(), desk.bank.asked) == (30, ["o1@1", "o1@2"])
    desk.clean()


def test_it_tops_up_again_at_once_where_that_was_too_little_and_so_often_a_day_at_most(desk: Desk) -> None:
    desk.create(below_micros=200 * EURO)
    desk.run(8)
    assert (desk.balance(), desk.read().today) == (120, 2)
    desk.at("2027-02-01T00:59")
    assert desk.balance() == 120, "the day is one of UTC"
    desk.at("2027-02-01T01:01")
    assert desk.balance() == 140
    desk.clean()


def test_what_is_declined_or_not_answered_is_tried_again_under_its_id_and_then_suspended(desk: Desk) -> None:
    desk.create(period="monthly")
    desk.bank.answers = [DECLINED, UNKNOWN, DECLINED]
    desk.run()
    assert (desk.balance(), len(desk.bank.asked)) == (100, 1)
    desk.later(61)
    assert (len(desk.bank.asked), desk.read().asking) == (2, True)
    desk.later(601)
    order = desk.read()
    assert (order.state, order.why, len(desk.bank.asked)) == (OrderState.SUSPENDED, "DECLINED", 3)
    assert len(set(desk.bank.asked)) == 1
    (told,) = desk.told
    assert (told.type, told.facts["id"], told.facts["reason"]) == ("topup.suspended", "o1", "DECLINED")
    desk.later(90 * DAY_S)
    assert (desk.balance(), len(desk.bank.asked)) == (100, 3)
    desk.clean()


def test_one_that_is_paid_at_the_second_try_is_credited_once(desk: Desk) -> None:
    desk.create(period="monthly")
    desk.bank.answers = [UNKNOWN]
    desk.run()
    desk.later(61)
    order = desk.read()
    assert (desk.balance(), order.done, order.tries, order.why) == (110, 1, 0, "")
    assert desk.told == []


def test_what_is_paid_and_beyond_the_channels_bounds_is_credited_once_they_allow_it(desk: Desk) -> None:
    desk.create(period="monthly")
    desk.limits = DayLimits(each=EURO)
    desk.run()
    assert (desk.balance(), desk.read().asking) == (100, True)
    assert "LIMIT" in desk.read().why
    desk.limits = DayLimits(each=50 * EURO)
    desk.later(61)
    assert (desk.balance(), desk.read().done) == (110, 1)
    desk.clean()


def test_an_order_is_one_by_its_id_and_other_content_is_a_conflict(desk: Desk) -> None:
    first = desk.create(period="monthly")
    again = desk.room.run(desk.orders.create(desk.order(period="monthly")))
    assert (again.code, again.replayed, again.order) == (Code.SUCCESS, True, first)
    other = desk.room.run(desk.orders.create(desk.order(period="weekly")))
    assert (other.code, other.order) == (Code.CONFLICT, first)
    assert desk.create(period="weekly", channel="till").channel == "till"


def test_a_cancelled_order_tops_up_no_more(desk: Desk) -> None:
    desk.create(period="monthly")
    desk.bank.answers = [DECLINED]
    desk.run()
    for _ in range(2):
        ended = desk.room.run(desk.orders.end("bank", "o1"))
        assert (ended.state, ended.run) == (OrderState.CANCELLED, 0)
    desk.later(40 * DAY_S)
    assert (desk.balance(), len(desk.bank.asked)) == (100, 1)
    assert desk.room.run(desk.orders.end("bank", "nothing")) is None


def test_of_a_cancelled_order_what_may_have_been_paid_is_asked_about_until_it_is_known(desk: Desk) -> None:
    desk.create(period="monthly")
    desk.bank.answers = [UNKNOWN]
    desk.run()
    desk.room.run(desk.orders.end("bank", "o1"))
    desk.later(61)
    assert (desk.balance(), desk.read().state) == (110, OrderState.CANCELLED)
    desk.later(40 * DAY_S)
    assert desk.balance() == 110
    desk.clean()


def test_the_orders_of_who_has_ended_end(desk: Desk) -> None:
    desk.create(period="monthly")
    account = desk.room.run(desk.scene.look())
    desk.room.run(desk.scene.charged.accounts.amend(account, status=Status.TERMINATED))
    desk.run()
    assert (desk.read().state, desk.bank.asked) == (OrderState.CANCELLED, [])


def test_an_id_of_an_execution_that_is_somebody_elses_top_up_credits_nothing(desk: Desk) -> None:
    account = desk.room.run(desk.scene.look())
    desk.room.run(desk.scene.charged.accounts.topup(account, 10 * EURO, "bank", "o1@1"))
    desk.create(below_micros=200 * EURO)
    desk.run()
    desk.later(61)
    desk.later(601)
    assert (desk.balance(), desk.read().state) == (110, OrderState.SUSPENDED)
    assert "CONFLICT" in str(desk.told[0].facts["reason"])


def test_who_cancels_while_who_pays_is_asked_finds_it_cancelled_and_the_one_credited(desk: Desk) -> None:
    desk.create(period="monthly")
    desk.bank.meanwhile = lambda: desk.orders.end("bank", "o1")
    desk.run()
    order = desk.read()
    assert (desk.balance(), order.state, order.run, order.done) == (110, OrderState.CANCELLED, 0, 1)
    desk.clean()


def resume(desk: Desk) -> None:
    done = desk.room.run(desk.orders.resume("bank", "o1"))
    assert (done.code, done.order.state) == (Code.SUCCESS, OrderState.ACTIVE)


def suspended(desk: Desk, answer: Collected = DECLINED, **fields: Any) -> None:
    """An order whose first execution has failed as often as it may."""
    desk.create(**fields)
    desk.bank.answers = [answer] * 3
    desk.run()
    desk.later(61)
    desk.later(601)
    assert desk.read().state is OrderState.SUSPENDED


def test_an_order_that_is_resumed_passes_over_what_was_due_and_does_what_is_due_next(desk: Desk) -> None:
    suspended(desk, period="monthly", periods=5)
    desk.at("2027-04-02T12:00")
    resume(desk)
    desk.run()
    assert (desk.balance(), desk.read().skipped) == (100, 3), "January, February and March are over"
    desk.at("2027-04-30T11:59")
    assert desk.balance() == 100
    desk.at("2027-04-30T12:01")
    assert (desk.balance(), desk.bank.asked[-1]) == (110, "o1@20270430T100000Z")
    desk.at("2027-05-31T12:01")
    order = desk.read()
    assert (desk.balance(), order.state, order.done) == (120, OrderState.COMPLETED, 2), "five have been"
    desk.clean()


def test_an_order_that_is_resumed_after_its_last_period_is_at_its_end(desk: Desk) -> None:
    suspended(desk, period="weekly", periods=3)
    desk.at("2027-03-30T12:00")
    resume(desk)
    desk.run()
    assert (desk.balance(), desk.read().state) == (100, OrderState.COMPLETED)
    again = desk.room.run(desk.orders.resume("bank", "o1"))
    assert (again.code, again.order.state) == (Code.CONFLICT, OrderState.COMPLETED)
    assert desk.room.run(desk.orders.resume("bank", "nothing")) is None


def test_what_may_have_been_paid_before_a_suspension_is_asked_about_once_it_is_resumed(desk: Desk) -> None:
    suspended(desk, UNKNOWN, period="weekly")
    desk.at("2027-02-16T12:00")
    resume(desk)
    desk.run()
    order = desk.read()
    assert (desk.balance(), order.done, order.skipped) == (110, 1, 2)
    assert set(desk.bank.asked) == {"o1@20270131T110000Z"}
    desk.at("2027-02-21T12:01")
    assert (desk.balance(), desk.bank.asked[-1]) == (120, "o1@20270221T110000Z")
    desk.clean()


def test_an_automatic_order_that_is_resumed_looks_at_once_and_is_told_of_again(desk: Desk) -> None:
    suspended(desk, below_micros=200 * EURO)
    resume(desk)
    desk.bank.answers = [DECLINED] * 3
    desk.run()
    desk.later(61)
    desk.later(601)
    assert desk.read().state is OrderState.SUSPENDED
    assert len({each.id for each in desk.told}) == len(desk.told) == 2
    resume(desk)
    desk.run()
    assert (desk.balance(), desk.read().done) == (120, 2)
    resume(desk)
    assert desk.read().done == 2, "what goes on is as it was"
    desk.clean()


def test_who_dies_after_resuming_has_resumed_once(desk: Desk) -> None:
    suspended(desk, period="weekly", periods=10)
    desk.at("2027-02-16T12:00")
    resume(desk)
    first = desk.read()
    desk.later(3_600)
    resume(desk)
    assert desk.read().resumed_ms == first.resumed_ms


def test_an_id_is_whose_it_was_first(desk: Desk) -> None:
    assert desk.room.run(desk.orders.takes("bank", "a1"))
    assert desk.room.run(desk.orders.takes("bank", "a1"))
    made = desk.room.run(desk.orders.create(desk.order(id="a1", period="weekly")))
    assert (made.code, desk.room.run(desk.orders.find("bank", "a1"))) == (Code.CONFLICT, None)
    desk.create(period="weekly")
    assert not desk.room.run(desk.orders.takes("bank", "o1"))
    assert desk.room.run(desk.orders.takes("till", "o1")), "it is another channel's"


def test_an_order_that_is_broken_keeps_no_other_from_its_turn(desk: Desk) -> None:
    desk.create(id="broken", period="monthly")
    desk.create(channel="till", id="sound", period="monthly")
    collect = desk.bank.collect

    async def broken(asked: Asked, order_id: str, method: str, currency: str) -> Collected:
        raise ZeroDivisionError(order_id)

    desk.bank.collect = broken  # type: ignore[method-assign]
    executor = desk.executor()
    for _ in range(3):
        desk.room.run(executor.once())
    assert (executor.faults, desk.balance()) == (1, 110)  # it is put off
    assert desk.lines == ["an order cannot be carried out"]

    desk.bank.collect = collect  # type: ignore[method-assign]
    desk.later(61)
    assert desk.balance() == 120
