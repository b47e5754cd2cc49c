"""Actions in a crowd: limits of a channel's day, listings, and callers that die while others go on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.accounts import NewSubscriber
from ocs.balance.actions import Actions, ActionState, Asked, DayLimits, Done, Page
from ocs.balance.audit import audit
from ocs.balance.claims import Step, begun, read_claim, write_claim
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, ScriptFault
from ocs.balance.profiles import write_profile
from ocs.limits import TOPUP_KEPT_MS
from ocs.outcomes import Code
from ocs.records import ActionKind as Kind
from ocs.records import Status
from tests.real_valkey import RealValkey
from tests.unit.balance.books import network
from tests.unit.balance.tills import FUNDS, Till, listed


@pytest.fixture
def till(valkey: RealValkey) -> Iterator[Till]:
    with network(valkey) as opened:
        made = Till(opened)
        yield made
        assert made.faults() == []


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


def test_actions_are_listed_newest_first_by_account_and_by_channel(till: Till) -> None:
    net = till.net
    net.run(net.charged.move_time(1_000))
    for name, kind, amount in (
        ("a", Kind.TOPUP, 5), ("b", Kind.ADJUST, -2), ("c", Kind.TOPUP, 7), ("d", Kind.TRANSFER, 10**9), ("e", Kind.TRANSFER, 3),
    ):  # fmt: skip
        till.do(kind, amount, name)
        net.run(net.charged.move_time(1_000))
    assert listed(till, Page(), channel=False) == (["e", "c", "b", "a", "first"], 5)
    assert listed(till, Page(), channel=True) == (["e", "d", "c", "b", "a"], 5)
    assert listed(till, Page((Kind.TOPUP,)), channel=True) == (["c", "a"], 2)
    assert listed(till, Page(offset=1, limit=2), channel=True) == (["d", "c"], 5)
    since = till.find("c").created_ms
    assert listed(till, Page(since_ms=since), channel=False) == (["e", "c"], 2)
    assert listed(till, Page(until_ms=since), channel=False) == (["b", "a", "first"], 3)
    other = till.other.profile
    assert [
        each.asked.id for each in net.run(till.actions.of_account(other.partition, other.path)).actions
    ] == ["e"]
    with pytest.raises(ValueError, match="a page is"):
        listed(till, Page(limit=1_001), channel=True)


def test_what_is_older_than_thirty_days_is_in_no_listing_and_is_trimmed_by_the_next(till: Till) -> None:
    net = till.net
    till.do(Kind.TOPUP, 5, "old")
    net.run(net.charged.move_time(TOPUP_KEPT_MS + 1))
    assert listed(till, Page(), channel=False) == ([], 0)
    till.do(Kind.TOPUP, 5, "new")
    assert listed(till, Page(), channel=False) == (["new"], 1)
    where = net.account.profile
    keys = net.charged.parts.keys[where.partition]
    assert net.execute("ZRANGE", keys.acted(where.account, Kind.TOPUP), 0, -1) == [b"shop:new"]


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
    opened = net.run(calls(where.partition, "open", names, "nobody", 0, profile, 0, 0, "", 0))
    assert opened[0] == Code.SUCCESS
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
    assert listed(till, Page(), channel=True) == (["one"], 1)


def test_an_action_that_is_under_way_for_a_month_is_left_to_a_human(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marks of its steps may have gone: nobody can tell any more whether it was done."""
    _dying_before_it_is_confirmed(till, monkeypatch, till.asked(Kind.ADJUST, 5))
    till.net.run(till.net.charged.move_time(TOPUP_KEPT_MS))
    with pytest.raises(ScriptFault, match="look at its account"):
        till.net.run(till.actions.resume("shop", "one"))
    assert till.balance == FUNDS + 5


@pytest.mark.parametrize("kind", [Kind.TOPUP, Kind.TRANSFER, Kind.RESERVE])
def test_a_claim_is_read_as_it_was_written(till: Till, kind: Kind) -> None:
    asked = till.asked(
        kind, 5, content="é", reason="why", fee_micros=1, receiver="b", receiver_partition=3, lasts_ms=7
    )
    claim = begun(asked, DayLimits(number=2, day="today"), 1_000)
    assert read_claim(write_claim(claim)) == claim
    later = claim._replace(step=Step.COMPLETE, attempt=3, amount=4, reason="because", money=(5, 4, 3, 0, 2))
    assert read_claim(write_claim(later)) == later


# ---------------------------------------------------------------- limits of a subscriber


def test_a_subscribers_day_has_limits_over_all_channels_that_failed_actions_give_back(till: Till) -> None:
    limits = DayLimits(account_amount=100, account_number=3, day="today")
    assert till.do(Kind.TOPUP, 60, "a", limits=limits).code is Code.SUCCESS
    other = till.asked(Kind.TOPUP, 60, "a")._replace(channel="app")
    refused = till.net.run(till.actions.do(other, limits))
    assert refused.action is not None
    assert (refused.code, refused.action.left) == (Code.LIMIT, 40)
    assert refused.action.why == "beyond what may come in for the subscriber on one day"
    again = till.net.run(till.actions.do(other, limits))
    assert (again.code, again.replayed) == (Code.LIMIT, True)
    assert till.do(Kind.TOPUP, 500, "b", limits=limits._replace(account_amount=0)).code is Code.SUCCESS
    assert till.do(Kind.TOPUP, 1, "c", limits=limits._replace(account_amount=0)).code is Code.SUCCESS
    assert till.do(Kind.TOPUP, 1, "d", limits=limits._replace(account_amount=0)).code is Code.LIMIT
    assert till.do(Kind.TOPUP, 1, "e", limits=limits._replace(day="tomorrow")).code is Code.SUCCESS
    somebody = till.asked(Kind.TOPUP, 90, "f")._replace(
        account=till.other.profile.path, partition=till.other.profile.partition
    )
    assert till.net.run(till.actions.do(somebody, limits)).code is Code.SUCCESS
    assert till.balance == FUNDS + 562


def test_what_the_subscriber_may_not_have_is_not_counted_on_the_channel(till: Till) -> None:
    limits = DayLimits(amount=100, account_amount=60, day="today")
    assert till.do(Kind.TOPUP, 61, "a", limits=limits).code is Code.LIMIT
    assert till.do(Kind.TOPUP, 60, "b", limits=limits).code is Code.SUCCESS
    somebody = till.asked(Kind.TOPUP, 40, "c")._replace(
        account=till.other.profile.path, partition=till.other.profile.partition
    )
    assert till.net.run(till.actions.do(somebody, limits)).code is Code.SUCCESS


def test_200_top_ups_at_once_never_pass_a_subscribers_day(till: Till) -> None:
    limits = DayLimits(account_amount=1_000, account_number=50, day="today")

    async def work(size: int, kind: str) -> list[Done]:
        each = [
            till.asked(Kind.TOPUP, size, f"{kind}{n}")._replace(channel=f"till{n % 7}") for n in range(200)
        ]
        return await asyncio.gather(*(till.actions.do(asked, limits) for asked in each))

    done: list[Done] = till.net.run(work(90, "n"))
    assert [each.code for each in done].count(Code.SUCCESS) == 11
    assert {each.code for each in done} == {Code.SUCCESS, Code.LIMIT}
    assert till.balance == FUNDS + 990
    done = till.net.run(work(1, "m"))
    assert [each.code for each in done].count(Code.SUCCESS) == 10
    assert till.balance == FUNDS + 1_000
    done = till.net.run(work(1, "m"))
    assert all(each.replayed for each in done)


def test_a_member_counts_on_its_payers_day(till: Till) -> None:
    accounts = till.net.charged.accounts
    new = NewSubscriber("491700000077", "", "flat-data", "prepaid", "EUR", 0)
    code, member = till.net.run(accounts.create(new, 0, till.look()))
    assert code is Code.SUCCESS
    limits = DayLimits(account_amount=100, day="today")
    asked = till.asked(Kind.TOPUP, 60, "a")._replace(account=member.profile.path)
    assert till.net.run(till.actions.do(asked, limits)).code is Code.SUCCESS
    assert till.do(Kind.TOPUP, 60, "b", limits=limits).code is Code.LIMIT
