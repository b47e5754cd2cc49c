"""Actions: what channels and operators ask that moves money, each once, listed, and undone where it may be."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.accounts import Account
from ocs.balance.actions import Action, ActionKind, Actions, ActionState, Asked, DayLimits, Done, Page
from ocs.balance.audit import audit
from ocs.balance.entries import entries
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, ScriptFault
from ocs.balance.profiles import write_profile
from ocs.limits import RESERVED_MS_MAX, TOPUP_KEPT_MS
from ocs.outcomes import Code
from ocs.rating.openings import OpenedRow
from ocs.records import ActionKind as Kind
from ocs.records import Moved, Status
from ocs.sessions.sweep import Sweeper
from tests.real_valkey import RealValkey
from tests.unit.balance.books import RULES, Network, network
from tests.unit.balance.test_audit import _claim_only

FUNDS = 1_000_000
"""What the account of a Network begins with."""


class Till:
    """A channel that asks, and looks at what it has done."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.actions: Actions = net.charged.accounts.actions
        self.other = net.run(net.charged.subscriber("491700000099", "", "flat-data", credit_micros=500))

    def asked(self, kind: Kind, amount: int, name: str = "one", **more: Any) -> Asked:
        where = self.net.account.profile
        return Asked(kind, "shop", name, where.partition, where.path, amount, **more)

    def do(
        self, kind: Kind, amount: int, name: str = "one", *, limits: DayLimits | None = None, **more: Any
    ) -> Done:
        self.net.charged.clock.keep_up()
        if kind is Kind.TRANSFER and "receiver" not in more:
            more |= {"receiver": self.other.profile.path, "receiver_partition": self.other.profile.partition}
        if kind is Kind.RESERVE and not {"until_ms", "lasts_ms"} & more.keys():
            more |= {"lasts_ms": 60_000}
        done: Done = self.net.run(
            self.actions.do(self.asked(kind, amount, name, **more), limits or DayLimits())
        )
        return done

    def look(self, account: Account | None = None) -> Account:
        where = (account or self.net.account).profile
        found: Account | None = self.net.run(self.net.charged.accounts.read(where.partition, where.path))
        assert found is not None
        return found

    @property
    def balance(self) -> int:
        return self.look().book.balance_micros

    @property
    def available(self) -> int:
        return self.look().book.available_micros

    @property
    def received(self) -> int:
        return self.look(self.other).book.balance_micros

    def find(self, name: str = "one", channel: str = "shop") -> Action:
        found: Action | None = self.net.run(self.actions.find(channel, name))
        assert found is not None
        return found

    def cancel(self, name: str = "one", channel: str = "shop") -> Done:
        self.net.charged.clock.keep_up()
        done: Done = self.net.run(self.actions.cancel(channel, name, "by mistake"))
        return done

    def complete(self, amount: int, name: str = "one") -> Done:
        self.net.charged.clock.keep_up()
        done: Done = self.net.run(self.actions.complete("shop", name, amount))
        return done

    def amend(self, account: Account, status: Status) -> None:
        assert self.net.run(self.net.charged.accounts.amend(account, status=status)) is Code.SUCCESS

    def records(self) -> list[Moved]:
        found = []
        for keys in self.net.charged.parts.keys:
            rows = self.net.run(self.net.charged.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+"))
            found += [each.record() for each in entries(rows)]
        return [each for each in found if isinstance(each, Moved)]

    def faults(self) -> list[Any]:
        faults: list[Any] = self.net.run(audit(self.net.charged.parts)).faults
        return faults


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


def _bucket(till: Till, amount: int = 50) -> str:
    account = till.look()
    row = OpenedRow(5, 1, 0, 2**41, amount)
    assert till.net.run(till.net.charged.accounts.open_rows(account, [row], 0, "gift")).code is Code.SUCCESS
    return "5-0"


def test_a_bucket_is_adjusted_down_to_what_is_used_or_held(till: Till) -> None:
    bucket = _bucket(till)
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


# ---------------------------------------------------------------- limits


def test_a_channels_day_has_limits_that_failed_actions_give_back(till: Till) -> None:
    limits = DayLimits(each=60, amount=100, number=3, day="today")
    assert till.do(Kind.TOPUP, 61, "a", limits=limits).code is Code.LIMIT
    assert till.do(Kind.TOPUP, 60, "b", limits=limits).code is Code.SUCCESS
    assert till.do(Kind.TOPUP, 60, "c", limits=limits).code is Code.LIMIT
    gone = till.other
    till.amend(gone, Status.TERMINATED)
    asked = till.asked(Kind.TOPUP, 40, "d")._replace(
        account=gone.profile.path, partition=gone.profile.partition
    )
    assert till.net.run(till.actions.do(asked, limits)).code is Code.UNKNOWN_SUBSCRIBER
    assert till.do(Kind.TOPUP, 40, "e", limits=limits).code is Code.SUCCESS
    assert till.do(Kind.TOPUP, 1, "f", limits=limits).code is Code.LIMIT
    assert till.do(Kind.TOPUP, 1, "g", limits=limits._replace(day="tomorrow")).code is Code.SUCCESS
    assert till.balance == FUNDS + 101


def test_a_days_limit_is_exact_in_a_race(till: Till) -> None:
    async def work() -> list[Done]:
        limits = DayLimits(amount=1_000, day="today")
        each = [till.asked(Kind.TOPUP, 300, f"n{number % 20}") for number in range(60)]
        return await asyncio.gather(*(till.actions.do(asked, limits) for asked in each))

    done: list[Done] = till.net.run(work())
    assert till.balance == FUNDS + 900
    names = {each.action.asked.id for each in done if each.action is not None and each.code is Code.SUCCESS}
    assert len(names) == 3


# ---------------------------------------------------------------- listings


def _listed(till: Till, page: Page, *, channel: bool) -> tuple[list[str], int]:
    where = till.net.account.profile
    work = (
        till.actions.of_channel("shop", page)
        if channel
        else till.actions.of_account(where.partition, where.path, page)
    )
    found = till.net.run(work)
    return [each.asked.id for each in found.actions], found.total


def test_actions_are_listed_newest_first_by_account_and_by_channel(till: Till) -> None:
    net = till.net
    net.run(net.charged.move_time(1_000))
    for name, kind, amount in (
        ("a", Kind.TOPUP, 5), ("b", Kind.ADJUST, -2), ("c", Kind.TOPUP, 7), ("d", Kind.TRANSFER, 10**9), ("e", Kind.TRANSFER, 3),
    ):  # fmt: skip
        till.do(kind, amount, name)
        net.run(net.charged.move_time(1_000))
    assert _listed(till, Page(), channel=False) == (["e", "c", "b", "a", "first"], 5)
    assert _listed(till, Page(), channel=True) == (["e", "d", "c", "b", "a"], 5)
    assert _listed(till, Page((Kind.TOPUP,)), channel=True) == (["c", "a"], 2)
    assert _listed(till, Page(offset=1, limit=2), channel=True) == (["d", "c"], 5)
    since = till.find("c").created_ms
    assert _listed(till, Page(since_ms=since), channel=False) == (["e", "c"], 2)
    assert _listed(till, Page(until_ms=since), channel=False) == (["b", "a", "first"], 3)
    other = till.other.profile
    assert [
        each.asked.id for each in net.run(till.actions.of_account(other.partition, other.path)).actions
    ] == ["e"]
    with pytest.raises(ValueError, match="a page is"):
        _listed(till, Page(limit=1_001), channel=True)


def test_what_is_older_than_thirty_days_is_in_no_listing_and_is_trimmed_by_the_next(till: Till) -> None:
    net = till.net
    till.do(Kind.TOPUP, 5, "old")
    net.run(net.charged.move_time(TOPUP_KEPT_MS + 1))
    assert _listed(till, Page(), channel=False) == ([], 0)
    till.do(Kind.TOPUP, 5, "new")
    assert _listed(till, Page(), channel=False) == (["new"], 1)
    where = net.account.profile
    keys = net.charged.parts.keys[where.partition]
    assert net.execute("ZRANGE", keys.acted(where.account, Kind.TOPUP), 0, -1) == [b"shop:new"]


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


# ---------------------------------------------------------------- two who drive one action agree


def _dying_before_it_is_confirmed(till: Till, monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    """Ask for an action whose caller dies when it has acted, and before it says so."""

    async def dies(*_: Any) -> None:
        raise StoreFault("the link is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Actions, "_turn", dies)
        with pytest.raises(StoreFault):
            till.net.run(till.actions.do(asked))


def test_what_was_refused_once_stays_refused_though_it_might_be_done_by_now(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = till.asked(Kind.ADJUST, -FUNDS - 1)
    _dying_before_it_is_confirmed(till, monkeypatch, asked)
    till.do(Kind.TOPUP, 5, "more")
    assert till.find().state is ActionState.CREATED
    assert till.net.run(till.actions.resume("shop", "one"))
    assert (till.find().state, till.find().code, till.balance) == (
        ActionState.FAILED, Code.CREDIT_LIMIT, FUNDS + 5,
    )  # fmt: skip
    assert not till.net.run(till.actions.resume("shop", "one"))


def test_money_that_a_receiver_refused_is_given_back_though_it_might_be_received_by_now(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, where = till.net, till.other.profile
    asked = till.asked(Kind.TRANSFER, 100, receiver_partition=where.partition, receiver="nobody")
    calls = net.charged.parts.call

    async def dies(partition: int, name: str, keys: Any, *arguments: Any) -> Any:
        if name == "moving" and ":given back:" in keys[2]:
            raise StoreFault("the link is gone")
        return await calls(partition, name, keys, *arguments)

    parts: Any = _Parts(net.charged.parts, dies)
    dying = Actions(parts, net.charged.clock, net.charged.accounts)
    with pytest.raises(StoreFault):
        net.run(dying.do(asked))
    assert till.balance == FUNDS - 100
    report = net.run(audit(net.charged.parts))
    assert (report.faults, report.in_transit, report.in_transit_micros) == ([], 1, 100)
    keys = net.charged.parts.keys[where.partition]
    names = (keys.part, keys.book("nobody"), keys.profile("nobody"), keys.stream)
    profile = write_profile(where)
    assert net.run(calls(where.partition, "open", names, "nobody", 0, profile, 0, 0))[0] == Code.SUCCESS
    assert net.run(till.actions.resume("shop", "one"))
    assert (till.balance, till.find().why) == (FUNDS, "the receiver")


class _Parts:
    """The partitions, but for one call."""

    def __init__(self, parts: Parts, call: Any) -> None:
        self.call, self._parts = call, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)


def test_a_server_of_an_earlier_release_sees_no_action_but_top_ups_that_begin(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would credit whatever it finds in its list of claims."""

    def listed() -> list[str]:
        every = till.net.charged.parts.keys
        return [name.decode() for keys in every for name in till.net.execute("ZRANGE", keys.claims, 0, -1)]

    _dying_before_it_is_confirmed(till, monkeypatch, till.asked(Kind.ADJUST, 5, "adjusted"))
    assert listed() == []
    _dying_before_it_is_confirmed(till, monkeypatch, till.asked(Kind.TOPUP, 5, "added"))
    assert listed() == ["shop:added"]
    for name in ("adjusted", "added"):
        assert till.net.run(till.actions.resume("shop", name))
    assert listed() == []


def test_a_refused_top_up_of_the_command_leaves_its_id_free(till: Till) -> None:
    accounts = till.net.charged.accounts
    till.amend(till.other, Status.TERMINATED)
    gone = till.net.run(accounts.topup(till.other, 5, "shop", "one"))
    assert gone.code is Code.UNKNOWN_SUBSCRIBER
    for replayed in (False, True):
        done = till.net.run(accounts.topup(till.net.account, 7, "shop", "one"))
        assert (done.code, done.replayed, done.balance_micros) == (Code.SUCCESS, replayed, FUNDS + 7)
    assert _listed(till, Page(), channel=True) == (["one"], 1)


def test_an_action_that_is_under_way_for_a_month_is_left_to_a_human(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marks of its steps may have gone: nobody can tell any more whether it was done."""
    _dying_before_it_is_confirmed(till, monkeypatch, till.asked(Kind.ADJUST, 5))
    till.net.run(till.net.charged.move_time(TOPUP_KEPT_MS))
    with pytest.raises(ScriptFault, match="look at its account"):
        till.net.run(till.actions.resume("shop", "one"))
    assert till.balance == FUNDS + 5
