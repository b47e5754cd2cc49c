"""What subscribers hold, and what comes to them, is told to who listens: once for each change, and not where nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ocs.outcomes import Code
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import DAY_MS, EURO, MONTHLY, PASS, Scene, member_of


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Told:
    """Who listens, and what it was told: paths without the account's name, and whether they have ended."""

    def __init__(self, scene: Scene) -> None:
        self._account = scene.account.profile.account
        self.since: list[tuple[str, bool]] = []

    async def changed(self, partition: int, path: str, *, ended: bool = False) -> None:
        assert partition >= 0
        assert path.startswith(self._account)
        self.since.append(("member" if "/" in path else "account", ended))

    def now(self) -> list[tuple[str, bool]]:
        """What was told since the last look."""
        since, self.since = self.since, []
        return since


def played(room: StoreRoom, play: Callable[[Scene, Told], Coroutine[Any, Any, None]]) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        told = scene.charged.accounts.listener = Told(scene)
        await play(scene, told)

    room.run(work())


def test_a_purchase_and_its_cancelling_are_told_once(room: StoreRoom) -> None:
    async def play(scene: Scene, told: Told) -> None:
        assert await scene.buy(MONTHLY, "p") == Code.SUCCESS
        assert told.now() == [("account", False)]
        assert await scene.buy(MONTHLY, "p") == Code.SUCCESS  # the same again
        assert told.now() == []
        assert await scene.holdings.cancel(await scene.look(), 1) == Code.SUCCESS
        assert told.now() == [("account", False)]
        assert await scene.holdings.cancel(await scene.look(), 7) == Code.UNKNOWN_SESSION
        assert told.now() == []

    played(room, play)


def test_a_purchase_that_is_refused_is_not_told(room: StoreRoom) -> None:
    async def play(scene: Scene, told: Told) -> None:
        scene.account = await scene.charged.subscriber("491700000009", "", "t")
        assert await scene.buy(PASS) == Code.CREDIT_LIMIT
        assert told.now() == []

    played(room, play)


def test_a_top_up_is_told_once_whatever_it_brings(room: StoreRoom) -> None:
    async def play(scene: Scene, told: Told) -> None:
        await scene.buy(MONTHLY)
        told.now()
        done = await scene.charged.accounts.topup(scene.account, 20 * EURO, "till", "with a bonus")
        assert done.code == Code.SUCCESS
        assert told.now() == [("account", False)]
        await scene.charged.move_time(40 * DAY_MS)  # a renewal is due, which the money is enough for
        before = (await scene.look()).book.version
        await scene.charged.accounts.topup(scene.account, EURO, "till", "with a renewal")
        assert (await scene.look()).book.version > before
        assert told.now() == [("account", False)]
        done = await scene.charged.accounts.topup(scene.account, 10 * EURO, "till", "with a bonus")
        assert (done.code, told.now()) == (Code.CONFLICT, [])

    played(room, play)


def test_a_renewal_by_the_agenda_is_told_and_a_look_that_changes_nothing_is_not(room: StoreRoom) -> None:
    async def play(scene: Scene, told: Told) -> None:
        await scene.buy(MONTHLY)
        told.now()
        place = scene.account.profile
        assert await scene.holdings.renew(place.partition, place.path) is not None
        assert told.now() == []
        await scene.charged.move_time(40 * DAY_MS)
        await scene.tend()
        assert told.now() == [("account", False)]

    played(room, play)


def test_a_members_change_is_its_own_and_the_end_of_the_account_is_told_as_an_end(room: StoreRoom) -> None:
    async def play(scene: Scene, told: Told) -> None:
        identity = await member_of(scene, "491700000005")
        member = await scene.charged.accounts.find(identity)
        assert member is not None
        assert told.now() == []
        assert (await scene.holdings.buy(member, PASS, "p")).code == Code.SUCCESS
        assert told.now() == [("member", False)]
        assert await scene.holdings.lives.terminate(await scene.look()) == Code.SUCCESS
        assert told.now() == [("account", True)]

    played(room, play)
