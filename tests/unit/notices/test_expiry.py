"""What ends soon, and what of an allowance is used, on a real store with a calendar: told in time, once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.lives import note_life
from ocs.notices.expiry import Expiry
from ocs.notices.following import Follower, Targets
from ocs.notices.notice import Notice
from ocs.notices.queue import Queue
from ocs.notices.subscriptions import Subscriptions
from ocs.stream import NEWEST, Reader
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import CATALOGUE, MONTHLY, PASS, TARIFF, Scene
from tests.unit.notices.receivers import Log
from tests.unit.notices.world import RULES
from tests.unit.test_stream import Steps


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Looking:
    """Looks for what ends, and keeps what it was told."""

    def __init__(self, scene: Scene, days: Sequence[int] = (1, 3)) -> None:
        self.told: list[Notice] = []
        self.fails = False

        async def put(notices: Sequence[Notice]) -> None:
            self.told += notices
            if self.fails:
                raise ConnectionError("died behind it")

        self.expiry = Expiry(scene.charged.parts, scene.holdings, put, days, lambda: TARIFF.life.grace_ms)

    async def once(self) -> list[tuple[str, Any]]:
        """What one round tells: types and days."""
        self.told = []
        await self.expiry.once()
        return [(each.type, each.facts["days"]) for each in self.told]


def test_a_balance_that_ends_is_told_each_time_once(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-01T12:00")
        account = await scene.look()
        soon_ms = scene.charged.now_ms + 86_400_000 // 2
        await scene.charged.accounts.amend(account, until_ms=soon_ms)
        await note_life(scene.charged.parts, account, soon_ms + TARIFF.life.grace_ms)
        assert await Looking(scene).once() == [], "what was due before anybody looked is not told"
        until_ms = scene.charged.now_ms + 10 * 86_400_000
        await scene.charged.accounts.amend(account, until_ms=until_ms)
        await note_life(scene.charged.parts, account, until_ms + TARIFF.life.grace_ms)
        looking = Looking(scene)
        assert await looking.once() == [], "the first round only notes where it begins"
        for day, told in ((7, []), (8, [3]), (9, []), (10, [1]), (11, []), (12, [])):
            await scene.at(f"2027-01-{day:02d}T13:00")
            assert await looking.once() == [("balance.ending", each) for each in told], day
            assert await looking.once() == []

    room.run(work())


def test_a_round_that_died_behind_its_notices_tells_the_same_again(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-01T12:00", credit=100_000_000)
        await scene.buy(PASS)
        looking = Looking(scene, (1,))
        await looking.once()
        await scene.charged.accounts.amend(
            await scene.look(), until_ms=scene.charged.now_ms + 86_400_000 + 60_000
        )
        await note_life(scene.charged.parts, await scene.look(), scene.charged.now_ms + 86_400_000 + 60_000)
        await scene.at("2027-01-01T12:05")
        looking.fails = True
        with pytest.raises(ConnectionError):
            await looking.once()
        first = [each.id for each in looking.told]
        looking.fails = False
        await looking.once()
        assert [each.id for each in looking.told] == first
        assert await looking.once() == []

    room.run(work())


def test_a_product_that_was_cancelled_is_told_and_one_that_renews_is_not(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-10T12:00")
        await scene.buy(MONTHLY)
        looking = Looking(scene)
        await looking.once()
        await scene.at("2027-01-29T12:00")
        assert await looking.once() == []
        held = (await scene.look()).profile.products[0]
        await scene.holdings.cancel(await scene.look(), held.number)
        await scene.at("2027-01-31T12:00")
        assert await looking.once() == [("product.ending", 1)]
        assert looking.told[0].facts["product"] == "monthly@1"

    room.run(work())


def test_an_end_that_was_extended_is_told_for_the_new_one_alone(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-01T12:00")
        account = await scene.look()
        until_ms = scene.charged.now_ms + 4 * 86_400_000
        await scene.charged.accounts.amend(account, until_ms=until_ms)
        await note_life(scene.charged.parts, account, until_ms)
        looking = Looking(scene)
        await looking.once()
        await scene.charged.accounts.topup(account, 5_000_000, "till", "t1")
        await scene.at("2027-01-03T12:00")
        assert await looking.once() == []

    room.run(work())


def test_an_allowance_is_told_at_80_and_100_per_cent_from_records_and_store(
    room: StoreRoom, tmp_path: Path
) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-10T12:00")
        store, parts = scene.charged.store, scene.charged.parts
        assert CATALOGUE.product("pass@1") is not None
        queue, subscriptions = Queue(store), Subscriptions(store)
        await scene.buy(PASS, "before anybody followed")
        somebody = await subscriptions.create(
            "k", "https://example.com/", 1, types=["allowance.used"], any_channel=True
        )

        async def follow() -> list[tuple[Any, Any, Any]]:
            reader = Reader(parts, tmp_path, "notices", Steps())
            made = Follower(parts, reader, Targets(subscriptions, ()), queue, RULES, lambda: 1, Log())
            await reader.open(NEWEST)
            for _ in range(6):
                await made.once()
            found = await queue.due(somebody.id, 2**50, 100)
            return [
                (e.notice.facts["percent"], e.notice.facts["used"], e.notice.facts["product"]) for e in found
            ]

        await follow()
        await scene.use(399)
        assert await follow() == []
        await scene.use(1)
        assert await follow() == [(80, 400, "pass@1")]
        await scene.use(100)
        assert sorted(await follow()) == [(80, 400, "pass@1"), (100, 500, "pass@1")]

    room.run(work())
