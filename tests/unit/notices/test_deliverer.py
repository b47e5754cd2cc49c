"""Deliveries on a real store to real sockets: retries, dead letters, and who is slow delays nobody else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from ocs.limits import DELIVERIES_WAITING_MAX
from ocs.notices import queue as queueing
from ocs.notices.callbacks import Callbacks
from ocs.notices.deliverer import Deliverer
from ocs.notices.notice import Notice
from ocs.notices.queue import Queue
from ocs.notices.subscriptions import Subscription
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.notices.receivers import Posted, receiver
from tests.unit.notices.world import delivers

LOOPBACK = Callbacks([ip_network("127.0.0.0/8")])
DAY_MS = 86_400_000


class Wall:
    """A wall clock that tests put forward."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms


class Post:
    """A queue on a real store and who delivers from it."""

    def __init__(self, room: StoreRoom) -> None:
        self.room = room
        self.queue = Queue(room.store)
        self.wall = Wall()

    def run(self, work: Any) -> Any:
        return self.room.run(work)

    @asynccontextmanager
    async def delivering(self, *to: Subscription, **rest: Any) -> AsyncIterator[Deliverer]:
        made = delivers(self.queue, LOOPBACK, self.wall.now_ms, **rest)
        made.set(to)
        try:
            yield made
        finally:
            await made.close()


@pytest.fixture
def post(valkey: RealValkey) -> Iterator[Post]:
    with store_room(valkey) as room:
        yield Post(room)


def notices(count: int, first: int = 0) -> list[Notice]:
    return [Notice(f"n{first + each}", "topup.done", 1, "acc", {"id": f"t{each}"}) for each in range(count)]


def subscription(name: str, to: str) -> Subscription:
    secret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
    return Subscription(name, "k", "c", True, to, ("*",), (), "webhook", secret, 1)


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - the store gives no event
            await asyncio.sleep(0.02)


def test_each_notice_is_delivered_and_leaves_the_queue(post: Post) -> None:
    async def run() -> list[str]:
        async with receiver() as to:
            await post.queue.add("s", notices(30), post.wall.ms)
            async with post.delivering(subscription("s", to.url)) as deliverer:
                await until(lambda: _is_empty(post, "s"))
                assert deliverer.done.delivered == 30
            return to.ids

    assert sorted(post.run(run())) == sorted(each.id for each in notices(30))


async def _is_empty(post: Post, name: str, ahead_ms: int = 0) -> bool:
    post.wall.ms += ahead_ms
    return await post.queue.waiting(name) == 0


def test_a_receiver_that_was_down_gets_everything_when_it_is_back(post: Post) -> None:
    async def run() -> None:
        async with receiver() as to:
            well = to.answer
            to.answer = _fails
            await post.queue.add("s", notices(5), post.wall.ms)
            pauses_s = (1_000,) * 60
            async with post.delivering(subscription("s", to.url), pauses_s=pauses_s) as deliverer:
                await to.until(lambda: len(to.posted) >= 2)
                to.answer = well
                tried = len(to.posted)
                await until(lambda: _is_empty(post, "s", 10_000))
                assert deliverer.done.dead == 0
            assert set(to.ids[tried:]) == {each.id for each in notices(5)}

    post.run(run())


async def _fails(_posted: Posted) -> tuple[int, str]:
    return 500, ""


def test_a_delivery_is_tried_as_often_as_set_and_then_is_a_dead_letter(post: Post) -> None:
    async def run() -> None:
        async with receiver() as to:
            to.answer = _fails
            await post.queue.add("s", notices(1), post.wall.ms)
            async with post.delivering(subscription("s", to.url), pauses_s=(5, 60)) as deliverer:
                for tries in (1, 2):
                    await to.until(lambda tries=tries: len(to.posted) == tries)  # type: ignore[misc]
                    await until(lambda tries=tries: _tried(post, tries))
                    pause_ms = await post.queue.next_due_ms("s") - post.wall.ms
                    assert pause_ms == (5_000, 60_000)[tries - 1]
                    post.wall.ms += pause_ms
                await until(lambda: _is_empty(post, "s"))
                assert deliverer.done.dead == 1
            assert len(to.posted) == 3
            (dead,) = await post.queue.dead("s")
            assert (dead.delivery.tries, dead.delivery.why, dead.died_ms) == (3, "answered 500", post.wall.ms)

            assert await post.queue.revive("s", "n0", post.wall.ms)
            assert await post.queue.dead("s") == []
            assert not await post.queue.revive("s", "n0", post.wall.ms)
            to.answer = to._well
            async with post.delivering(subscription("s", to.url)):
                await until(lambda: _is_empty(post, "s"))
            assert len(to.posted) == 4

    post.run(run())


async def _tried(post: Post, tries: int) -> bool:
    found = await post.queue.due("s", 2**50, 1)
    return bool(found) and found[0].tries == tries


def test_a_callback_that_is_gone_is_not_tried_again(post: Post) -> None:
    async def run() -> None:
        async with receiver() as to:

            async def gone(_posted: Posted) -> tuple[int, str]:
                return 410, ""

            to.answer = gone
            await post.queue.add("s", notices(1), post.wall.ms)
            async with post.delivering(subscription("s", to.url)):
                await until(lambda: _is_empty(post, "s"))
            assert len(to.posted) == 1
            assert len(await post.queue.dead("s")) == 1

    post.run(run())


def test_a_slow_receiver_delays_nobody_and_has_few_connections(post: Post) -> None:
    async def run() -> None:
        async with receiver() as slow, receiver() as quick:
            busy = most = 0

            async def hangs(_posted: Posted) -> tuple[int, str]:
                nonlocal busy, most
                busy += 1
                most = max(most, busy)
                try:
                    await asyncio.sleep(60)
                finally:
                    busy -= 1
                return 200, ""

            slow.answer = hangs
            await post.queue.add("slow", notices(200), post.wall.ms)
            await post.queue.add("quick", notices(200), post.wall.ms)
            to = subscription("slow", slow.url), subscription("quick", quick.url)
            async with post.delivering(*to, timeout_s=30) as deliverer:
                await until(lambda: _is_empty(post, "quick"))
                assert deliverer.done.delivered == 200
                assert await post.queue.waiting("slow") == 200, "what waits is in the store, not here"
            assert most <= 4

    post.run(run())


def test_a_receiver_that_failed_is_asked_by_one_at_a_time_until_it_is_well(post: Post) -> None:
    async def run() -> None:
        async with receiver() as to:
            busy: list[int] = []
            under_way = 0

            async def fails(_posted: Posted) -> tuple[int, str]:
                nonlocal under_way
                under_way += 1
                await asyncio.sleep(0.2)
                busy.append(under_way)
                under_way -= 1
                return 500, ""

            to.answer = fails
            await post.queue.add("s", notices(100), post.wall.ms)
            async with post.delivering(subscription("s", to.url), pauses_s=(3600,) * 3):
                await to.until(lambda: len(to.posted) >= 6)
            assert max(busy[:4]) == 4
            assert busy[4:6] == [1, 1], "four at first, then one after each pause"

    post.run(run())


def test_what_has_waited_for_longer_than_all_tries_take_is_given_up(post: Post) -> None:
    async def run() -> None:
        async with receiver() as to:
            to.answer = _fails
            await post.queue.add("s", notices(40), post.wall.ms)
            async with post.delivering(subscription("s", to.url), pauses_s=(1, 1)) as deliverer:
                await to.until(lambda: len(to.posted) >= 6)
                await until(lambda: _is_empty(post, "s", DAY_MS))
                assert deliverer.done.dead == 40
            assert len(to.posted) < 30

    post.run(run())


def test_a_defect_of_a_form_is_its_deliverys_alone(post: Post) -> None:
    class Broken:
        async def send(self, _notice: Notice, _subscription: Subscription) -> None:
            raise KeyError("a defect")

    async def run() -> None:
        async with receiver() as to:
            await post.queue.add("a", notices(1), post.wall.ms)
            await post.queue.add("b", notices(1), post.wall.ms)
            broken = subscription("a", to.url)._replace(form="broken")
            async with post.delivering(broken, subscription("b", to.url), senders={"broken": Broken()}) as on:
                await until(lambda: _is_empty(post, "b"))
                await until(lambda: _failed(on))
            assert (await post.queue.due("a", 2**50, 1))[0].why == "a defect of the sender: KeyError"

    post.run(run())


async def _failed(deliverer: Deliverer) -> bool:
    return deliverer.done.failed > 0


# -- the queue


def test_a_notice_waits_once_however_often_it_is_put_there(post: Post) -> None:
    async def run() -> None:
        for _ in range(3):
            await post.queue.add("s", notices(2), post.wall.ms)
        assert await post.queue.waiting("s") == 2
        assert len(await post.queue.due("s", post.wall.ms, 10)) == 2

    post.run(run())


def test_who_died_between_the_hash_and_the_set_leaves_something_that_is_delivered(post: Post) -> None:
    async def run() -> None:
        await post.queue.add("s", notices(2), post.wall.ms)
        await post.room.store.execute(post.queue._slot, "ZREM", "{events}:due:s", "n0")
        await post.queue.add("s", notices(2), post.wall.ms)  # derived again: it was not acknowledged
        await post.room.store.execute(post.queue._slot, "HDEL", "{events}:waiting:s", "n1")
        assert [each.notice.id for each in await post.queue.due("s", post.wall.ms, 10)] == ["n0"]
        assert await post.room.store.execute(post.queue._slot, "ZCARD", "{events}:due:s") == 1

    post.run(run())


def test_a_queue_that_is_full_buries_what_comes_and_drops_the_oldest_of_the_dead(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DELIVERIES_WAITING_MAX > 10
    monkeypatch.setattr(queueing, "DELIVERIES_WAITING_MAX", 10)
    monkeypatch.setattr(queueing, "DEAD_LETTERS_MAX", 5)

    async def run() -> None:
        for start in range(0, 20, 4):
            await post.queue.add("s", notices(4, start), post.wall.ms)
            post.wall.ms += 1
        assert await post.queue.waiting("s") == 10
        assert await post.queue.dead_count("s") == 5
        assert post.queue.dropped == 5
        assert (await post.queue.dead("s"))[0].delivery.notice.id == "n19"
        assert await post.queue.drop("s", "n19")
        assert not await post.queue.drop("s", "n19")

    post.run(run())
