"""From the stream to the queues on a real store: each notice waits once for each who wants it, whatever dies in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.api_limits import SUBSCRIPTIONS_PER_OWNER_MAX
from ocs.balance.link import LinkDown
from ocs.notices.following import GROUP
from ocs.notices.notice import Notice
from ocs.notices.subscriptions import SubscriptionsFull
from ocs.records import Status
from ocs.stream import groups
from tests.real_valkey import RealValkey
from tests.unit.balance.books import network
from tests.unit.notices.world import Following, M


@pytest.fixture
def on(valkey: RealValkey, tmp_path: Path) -> Iterator[Following]:
    with network(valkey) as net:
        yield Following(net, tmp_path / "archive")


def topup(on: Following, name: str, micros: int = M) -> None:
    on.net.run(on.net.charged.accounts.topup(on.net.account, micros, "till", name))


def bar(on: Following, status: Status) -> None:
    on.net.run(on.net.charged.accounts.amend(on.net.account, status=status))


def test_what_happens_waits_for_who_wants_it(on: Following) -> None:
    everything = on.subscribe()
    ends = on.subscribe(types=["session.ended"])
    operators = on.subscribe(types=["session.*"], query="reason=operator,restart")
    topup(on, "t1")
    on.net.session()
    bar(on, Status.BARRED)
    bar(on, Status.ACTIVE)

    on.look()

    assert on.kinds(everything) == ["account.barred", "account.unbarred", "session.ended", "topup.done"]
    assert on.kinds(ends) == ["session.ended"]
    assert on.kinds(operators) == []


def test_what_happened_before_anybody_followed_is_not_told(on: Following) -> None:
    somebody = on.subscribe()
    on.look()
    assert on.kinds(somebody) == [], "the account was opened and topped up before"


def test_who_subscribes_is_told_what_comes_after_it(on: Following) -> None:
    first = on.subscribe()
    topup(on, "t1")
    on.look()
    second = on.subscribe()
    topup(on, "t2")
    on.look()
    assert [each.notice.facts["id"] for each in on.waiting(second)] == ["t2"]
    assert len(on.waiting(first)) == 2


def test_a_channel_is_told_what_it_did_and_no_alarm(on: Following) -> None:
    own = on.subscribe(any_channel=False, channel="till")
    other = on.subscribe(any_channel=False, channel="app")
    topup(on, "t1")
    bar(on, Status.BARRED)
    on.net.execute("XTRIM", on.net.charged.parts.keys[on.net.partition].stream, "MAXLEN", "1")
    on.look()
    assert on.kinds(own) == ["account.barred"], "the top-up's record was cut away"
    topup(on, "t2")
    on.look()
    assert on.kinds(own) == ["account.barred", "topup.done"]
    assert on.kinds(other) == ["account.barred"]


def test_a_hole_in_the_stream_is_an_alarm_to_operators(on: Following) -> None:
    operator = on.subscribe(types=["alarm.*"])
    topup(on, "t1")
    topup(on, "t2")
    on.net.execute("XTRIM", on.net.charged.parts.keys[on.net.partition].stream, "MAXLEN", "1")
    on.look()
    (alarm,) = on.waiting(operator)
    assert alarm.notice.facts["loss"] == "missing"
    assert alarm.notice.facts["partition"] == on.net.partition
    assert [event for event, _facts in on.log.lines] == ["records of the stream are missing"]
    assert on.reader.done.breaks == 1


def test_who_dies_before_it_has_acknowledged_puts_nothing_there_twice(
    on: Following, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = on.subscribe()
    topup(on, "t1")
    bar(on, Status.BARRED)
    bar(on, Status.ACTIVE)
    for step in ("add", "_mark", "acknowledge"):
        owner = {"acknowledge": on.reader, "_mark": on.follower, "add": on.queue}[step]

        async def dies(*_arguments: object) -> None:
            raise LinkDown("died here")

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, dies) if step != "add" else patch.setattr(type(on.queue), "add", dies)
            with pytest.raises(LinkDown):
                on.look()
        on = Following(on.net, tmp_path / "archive")
    on.look()
    assert on.kinds(somebody) == ["account.barred", "account.unbarred", "topup.done"]


def test_a_low_balance_and_a_used_allowance_come_from_the_store(on: Following) -> None:
    somebody = on.subscribe(types=["balance.low"])
    on.net.session("s;1")  # 0.02 of 1.00
    on.look()
    assert on.kinds(somebody) == []
    for number in range(25):
        on.net.session(f"s;{number + 2}")
    on.look(20)
    (low,) = on.waiting(somebody)
    assert low.notice.facts["threshold"] == "0.50"


def test_a_record_that_cannot_be_read_stops_its_partition_and_no_other(on: Following) -> None:
    somebody = on.subscribe()
    keys = on.net.charged.parts.keys[on.net.partition]
    on.net.execute("XADD", keys.stream, "1-*", "r", b"\xc1 no record")
    topup(on, "t1")
    on.look()
    assert on.kinds(somebody) == []
    assert on.follower.stopped == 1
    places = on.net.run(groups(on.net.charged.parts))[GROUP]
    assert int(places[keys.partition].partition("-")[2]) < on.net.execute("XLEN", keys.stream)


def test_one_client_cannot_take_all_subscriptions(on: Following) -> None:
    for _ in range(SUBSCRIPTIONS_PER_OWNER_MAX):
        on.subscribe()
    with pytest.raises(SubscriptionsFull):
        on.subscribe()


def test_a_subscription_that_was_taken_back_gets_nothing_and_is_forgotten_with_all_it_had(
    on: Following,
) -> None:
    gone = on.subscribe()
    topup(on, "t1")
    on.look()
    on.net.run(on.subscriptions.end(gone))
    topup(on, "t2")
    on.look()
    assert len(on.waiting(gone)) == 1
    on.net.run(on.targets.tidy(on.queue))
    assert len(on.waiting(gone)) == 1, "what is under way for it ends first"
    on.net.run(on.queue.add(gone.id, [Notice("late", "topup.done", 1, "acc", {})], 1))
    on.net.run(on.targets.tidy(on.queue))
    assert on.waiting(gone) == []
    assert on.net.run(on.subscriptions.all()) == []


@pytest.mark.parametrize(
    "wrong", [{"types": ["no.such"]}, {"types": []}, {"query": "nofact=1"}, {"query": "x"}, {"types": ["t*"]}]
)
def test_a_subscription_to_what_is_none_is_refused(on: Following, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"types|query"):
        on.subscribe(**wrong)
