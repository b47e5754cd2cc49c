"""Actions: what channels and operators ask that moves money, each once, listed, and undone where it may be."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.actions import ActionKind, ActionState, Done
from ocs.limits import RESERVED_MS_MAX
from ocs.outcomes import Code
from ocs.rating.sources import COUNTER_IDS
from ocs.records import ActionKind as Kind
from ocs.records import Status
from ocs.sessions.sweep import Sweeper
from tests.real_valkey import RealValkey
from tests.unit.balance.books import RULES, network
from tests.unit.balance.test_audit import _claim_only
from tests.unit.balance.tills import FUNDS, Till, bucket_of_gift


@pytest.fixture
def till(valkey: RealValkey) -> Iterator[Till]:
    with network(valkey) as opened:
        made = Till(opened)
        yield made
        assert made.faults() == []


# ---------------------------------------------------------------- once


def test_an_adjustment_adds_or_takes_once_and_says_what_is_left(till: Till) -> None:
    for replayed in (False, True):
        done = till.do(Kind.ADJUST, 700, "up", reason="goodwill")
        assert (done.code, done.replayed) == (Code.SUCCESS, replayed)
        assert done.action is not None
        assert (done.action.state, done.action.balance) == (ActionState.COMPLETED, FUNDS + 700)
    assert till.do(Kind.ADJUST, -200, "down").code is Code.SUCCESS
    assert till.balance == FUNDS + 500
    assert till.do(Kind.ADJUST, 701, "up", reason="goodwill").code is Code.CONFLICT
    assert till.do(Kind.ADJUST, 700, "up", reason="goodwill", content="more").code is Code.CONFLICT
    assert [(each.kind, each.credited_micros, each.taken_micros, each.reason) for each in till.records()] == [
        (Kind.ADJUST, 700, 0, "goodwill"),
        (Kind.ADJUST, 0, 200, ""),
    ]


def test_an_adjustment_takes_no_more_than_is_available_and_its_refusal_is_told_again(till: Till) -> None:
    done = till.do(Kind.ADJUST, -FUNDS - 1)
    assert (done.code, done.action and done.action.state, done.action and done.action.left) == (
        Code.CREDIT_LIMIT,
        ActionState.FAILED,
        FUNDS,
    )
    till.do(Kind.TOPUP, 5, "more")
    assert till.do(Kind.ADJUST, -FUNDS - 1).code is Code.CREDIT_LIMIT
    assert till.balance == FUNDS + 5


def test_what_is_due_is_taken_below_the_floor_and_added_to_who_has_ended(till: Till) -> None:
    for _ in range(2):
        assert till.do(Kind.ADJUST, -FUNDS - 300, "rent", is_due=True).code is Code.SUCCESS
    assert till.balance == -300
    assert till.do(Kind.ADJUST, -FUNDS - 300, "rent").code is Code.CONFLICT
    assert till.do(Kind.ADJUST, -1, "no").code is Code.CREDIT_LIMIT
    till.amend(till.net.account, Status.TERMINATED)
    assert till.do(Kind.ADJUST, 300, "paid").code is Code.UNKNOWN_SUBSCRIBER
    assert till.do(Kind.ADJUST, 300, "settled", is_due=True).code is Code.SUCCESS
    assert till.balance == 0
    with pytest.raises(ValueError, match="only an adjustment of money is due"):
        till.do(Kind.TOPUP, 5, "wrong", is_due=True)


def test_many_at_once_with_one_id_move_once(till: Till) -> None:
    async def work() -> list[Done]:
        asked = till.asked(Kind.TOPUP, 300, content="receipt 7")
        return await asyncio.gather(*(till.actions.do(asked) for _ in range(50)))

    assert {done.code for done in till.net.run(work())} == {Code.SUCCESS}
    assert till.balance == FUNDS + 300


def test_an_id_belongs_to_one_account(till: Till) -> None:
    till.do(Kind.TOPUP, 300)
    asked = till.asked(Kind.TOPUP, 300)._replace(
        account=till.other.profile.path, partition=till.other.profile.partition
    )
    assert till.net.run(till.actions.do(asked)) == Done(Code.CONFLICT)
    assert till.received == 500


# ---------------------------------------------------------------- buckets


def test_a_bucket_is_adjusted_down_to_what_is_used_or_held(till: Till) -> None:
    bucket = bucket_of_gift(till)
    done = till.do(Kind.ADJUST, 25, "up", bucket=bucket)
    assert done.action is not None
    assert (done.code, done.action.balance, done.action.available) == (Code.SUCCESS, 75, 75)
    assert till.do(Kind.ADJUST, -76, "too much", bucket=bucket).action.left == 75  # type: ignore[union-attr]
    assert till.do(Kind.ADJUST, -75, "down", bucket=bucket).code is Code.SUCCESS
    assert till.look().book.rows[0].amount == 0
    assert till.do(Kind.ADJUST, 1, "nowhere", bucket="6-0").code is Code.UNRATED
    assert till.cancel("up").code is Code.CREDIT_LIMIT
    assert till.balance == FUNDS


# ---------------------------------------------------------------- transfers


def test_a_transfer_takes_amount_and_fee_of_the_giver(till: Till) -> None:
    done = till.do(Kind.TRANSFER, 1_000, fee_micros=30)
    assert done.action is not None
    assert (done.code, done.action.settled, done.action.balance) == (Code.SUCCESS, 1_000, FUNDS - 1_030)
    assert (till.balance, till.received) == (FUNDS - 1_030, 1_500)


def test_a_receivers_fee_is_taken_of_what_it_receives(till: Till) -> None:
    till.do(Kind.TRANSFER, 1_000, fee_micros=30, fee_by_receiver=True)
    assert (till.balance, till.received) == (FUNDS - 1_000, 1_470)


def test_a_transfer_that_cannot_be_received_is_given_back(till: Till) -> None:
    till.amend(till.other, Status.TERMINATED)
    done = till.do(Kind.TRANSFER, 1_000, fee_micros=30)
    assert done.action is not None
    assert (done.code, done.action.state, done.action.why) == (
        Code.UNKNOWN_SUBSCRIBER,
        ActionState.FAILED,
        "the receiver",
    )
    assert (till.balance, till.received) == (FUNDS, 500)
    assert [each.taken_micros for each in till.records()] == [1_030, -1_030]


def test_nobody_transfers_what_is_borrowed_or_while_barred(till: Till) -> None:
    till.do(Kind.EMERGENCY, 100, "lent", fee_micros=10)
    assert till.do(Kind.TRANSFER, FUNDS - 9, "borrowed").code is Code.CREDIT_LIMIT
    till.amend(till.look(), Status.BARRED)
    assert till.do(Kind.TRANSFER, 1, "barred").code is Code.BARRED
    assert till.do(Kind.RESERVE, 1, "barred too").code is Code.BARRED


def test_a_transfer_to_another_currency_is_refused_before_it_is_claimed(till: Till) -> None:
    profile = till.other.profile._replace(currency="USD")
    assert till.net.run(till.net.charged.accounts.amend(till.other, profile=profile)) is Code.SUCCESS
    with pytest.raises(ValueError, match="within one currency, not from EUR to USD"):
        till.do(Kind.TRANSFER, 5)
    assert till.net.run(till.actions.find("shop", "one")) is None
    assert (till.balance, till.received) == (FUNDS, 500)


def test_a_transfer_that_is_known_is_answered_again_whatever_the_currencies_are_by_now(till: Till) -> None:
    first = till.do(Kind.TRANSFER, 5)
    profile = till.other.profile._replace(currency="USD")
    assert till.net.run(till.net.charged.accounts.amend(till.other, profile=profile)) is Code.SUCCESS
    again = till.do(Kind.TRANSFER, 5)
    assert (again.code, again.replayed, again.action) == (Code.SUCCESS, True, first.action)
    assert till.do(Kind.TRANSFER, 6).code is Code.CONFLICT
    with pytest.raises(ValueError, match="within one currency"):
        till.do(Kind.TRANSFER, 5, "two")


def test_an_id_that_is_free_again_is_no_way_into_another_currency(till: Till) -> None:
    assert till.do(Kind.TRANSFER, 2 * FUNDS).code is Code.CREDIT_LIMIT
    profile = till.other.profile._replace(currency="USD")
    assert till.net.run(till.net.charged.accounts.amend(till.other, profile=profile)) is Code.SUCCESS
    other = till.other.profile
    asked = till.asked(Kind.TRANSFER, 5, receiver=other.path, receiver_partition=other.partition)
    with pytest.raises(ValueError, match="within one currency"):
        till.net.run(till.actions.do_again(asked))
    assert till.received == 500


# ---------------------------------------------------------------- reservations


def test_a_reservation_holds_and_is_completed_with_less(till: Till) -> None:
    done = till.do(Kind.RESERVE, 400)
    assert done.action is not None
    assert (done.code, done.action.state, till.available, till.balance) == (
        Code.SUCCESS,
        ActionState.HELD,
        FUNDS - 400,
        FUNDS,
    )
    assert till.complete(401).code is Code.LIMIT
    for replayed in (False, True):
        done = till.complete(150)
        assert (done.code, done.replayed) == (Code.SUCCESS, replayed)
        assert done.action is not None
        assert (done.action.state, done.action.settled) == (ActionState.COMPLETED, 150)
    assert till.complete(151).code is Code.CONFLICT
    assert till.cancel().code is Code.CONFLICT
    assert (till.available, till.balance) == (FUNDS - 150, FUNDS - 150)


def test_a_reservation_is_void_when_cancelled(till: Till) -> None:
    till.do(Kind.RESERVE, 400)
    assert [till.cancel().replayed for _ in range(2)] == [False, True]
    assert till.complete(1).code is Code.CONFLICT
    assert (till.available, till.find().state) == (FUNDS, ActionState.CANCELLED)


def test_a_reservation_whose_time_has_come_is_void_once(till: Till) -> None:
    net = till.net
    till.do(Kind.RESERVE, 400)
    net.run(net.charged.move_time(60_001))
    assert till.find().state is ActionState.EXPIRED
    assert till.complete(10).code is Code.UNKNOWN_SESSION
    sweeper = Sweeper(net.charged.parts, net.charged.accounts, net.charged.clock, RULES.tombstone_ms)
    net.charged.clock.keep_up()
    assert [net.run(sweeper.once())[:2] for _ in range(2)] == [(1, 400), (0, 0)]
    assert (till.available, till.find().state) == (FUNDS, ActionState.EXPIRED)
    assert till.complete(10).code is Code.CONFLICT


def test_a_reservation_takes_no_place_of_a_session_and_has_its_bounds(till: Till) -> None:
    assert till.do(Kind.RESERVE, FUNDS + 1, "too much").code is Code.CREDIT_LIMIT
    assert till.do(Kind.RESERVE, 1, "too long", lasts_ms=RESERVED_MS_MAX + 1).code is Code.LIMIT
    assert till.do(Kind.RESERVE, 1, "too late", until_ms=5).code is Code.LIMIT
    assert till.do(Kind.RESERVE, 1, "kept").code is Code.SUCCESS
    assert till.look().book.sessions_open == 0


# ---------------------------------------------------------------- reversals


def test_a_topup_is_reversed_whole_or_refused_with_what_is_left(till: Till) -> None:
    till.do(Kind.TOPUP, 5_000)
    till.do(Kind.ADJUST, -FUNDS - 1, "spent")
    done = till.cancel()
    assert done.action is not None
    assert (done.code, done.action.left, done.action.state) == (
        Code.CREDIT_LIMIT,
        4_999,
        ActionState.COMPLETED,
    )
    till.do(Kind.TOPUP, 1, "again")
    assert [(till.cancel().code, till.balance) for _ in range(2)] == [(Code.SUCCESS, 0)] * 2
    assert till.find().state is ActionState.CANCELLED
    assert till.do(Kind.TOPUP, 5_000).replayed
    assert till.balance == 0


def test_only_what_came_in_is_reversed(till: Till) -> None:
    till.do(Kind.ADJUST, -5, "down")
    till.do(Kind.ADJUST, 5, "up")
    till.do(Kind.TRANSFER, 5, "gone")
    assert [till.cancel(name).code for name in ("down", "up", "gone", "never")] == [
        Code.CONFLICT,
        Code.SUCCESS,
        Code.CONFLICT,
        Code.UNKNOWN_SESSION,
    ]


# ---------------------------------------------------------------- the end, and credit that is lent


def test_an_end_refunds_all_that_is_there_and_ends_the_subscriber(till: Till) -> None:
    assert till.do(Kind.REFUND, 1, "wrong").action.left == FUNDS  # type: ignore[union-attr]
    done = till.do(Kind.REFUND, 0)
    assert done.action is not None
    assert (done.code, done.action.settled, done.action.balance) == (Code.SUCCESS, FUNDS, 0)
    assert (till.look().status, till.balance) == (Status.TERMINATED, 0)
    assert till.do(Kind.REFUND, 0).replayed
    assert till.do(Kind.TOPUP, 1, "too late").code is Code.UNKNOWN_SUBSCRIBER


def test_emergency_credit_is_lent_once_and_repaid_by_the_next_topups(till: Till) -> None:
    till.do(Kind.ADJUST, -FUNDS, "poor")
    done = till.do(Kind.EMERGENCY, 100, fee_micros=20)
    assert done.action is not None
    assert (done.code, done.action.owed_micros, till.look().owed_micros, till.balance) == (
        Code.SUCCESS,
        120,
        120,
        100,
    )
    assert till.do(Kind.EMERGENCY, 100, "second").code is Code.EXISTS
    done = till.do(Kind.TOPUP, 50, "some")
    assert done.action is not None
    assert (done.action.owed_micros, done.action.balance, till.balance) == (70, 100, 100)
    till.do(Kind.TOPUP, 100, "the rest")
    assert (till.look().owed_micros, till.balance) == (0, 130)
    assert till.do(Kind.EMERGENCY, 100, "third").code is Code.SUCCESS


def test_what_is_owed_is_repaid_before_a_refund(till: Till) -> None:
    till.do(Kind.EMERGENCY, 100, fee_micros=20)
    done = till.do(Kind.REFUND, 0, "end")
    assert done.action is not None
    assert (done.action.settled, till.balance, till.look().owed_micros) == (FUNDS - 20, 0, 0)


# ---------------------------------------------------------------- what cannot be asked


@pytest.mark.parametrize(
    ("kind", "amount", "more"),
    [
        (Kind.TOPUP, 0, {}),
        (Kind.TOPUP, -1, {}),
        (Kind.ADJUST, 0, {}),
        (Kind.TOPUP, 10**12, {}),
        (Kind.REVERSAL, 1, {}),
        (Kind.TOPUP, 1, {"bucket": "5-0"}),
        (Kind.ADJUST, 1, {"bucket": "five"}),
        (Kind.ADJUST, 1, {"bucket": f"{COUNTER_IDS}-0"}),
        (Kind.ADJUST, 1, {"bucket": f"1-{2**64}"}),
        (Kind.ADJUST, 1, {"fee_micros": 1}),
        (Kind.TRANSFER, 1, {"fee_micros": 2, "fee_by_receiver": True}),
        (Kind.TRANSFER, 1, {"receiver": "", "receiver_partition": 0}),
        (Kind.TOPUP, 1, {"reason": "x" * 201}),
        (Kind.RESERVE, 1, {"until_ms": 0}),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_claimed(
    till: Till, kind: ActionKind, amount: int, more: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        till.do(kind, amount, **more)
    assert till.net.run(till.actions.find("shop", "one")) is None


def test_a_claim_of_an_earlier_release_is_found_and_reversed(till: Till) -> None:
    till.net.run(_claim_only(till.net))
    assert till.find("dying", "till").state is ActionState.CREATED
    assert till.net.run(till.actions.resume("till", "dying"))
    assert till.balance == FUNDS + 70_000
    assert till.find("dying", "till").state is ActionState.COMPLETED
    assert till.cancel("dying", "till").code is Code.SUCCESS
    assert till.balance == FUNDS
