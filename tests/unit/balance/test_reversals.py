"""A top-up taken back: with it goes what is left of its bonus, and the time that it gave the balance."""

import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from ocs.balance.actions import ActionState, Done
from ocs.balance.audit import audit
from ocs.balance.parts import packed
from ocs.charging.ask import INITIAL, TERMINATION
from ocs.outcomes import Code
from ocs.records import ActionKind as Kind
from ocs.records import Moved
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import DAY_MS, EURO, Scene


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def played(room: StoreRoom, work: Callable[[Scene], Awaitable[None]], **made: Any) -> None:
    async def play() -> None:
        scene = await Scene.made(room, **made)
        await work(scene)
        await scene.clean()

    room.run(play())


async def top_up(scene: Scene, euros: int, name: str = "one") -> None:
    done = await scene.charged.accounts.topup(await scene.look(), euros * EURO, "till", name)
    assert done.code is Code.SUCCESS
    await scene.charged.move_time(1_000)


async def cancel(scene: Scene, name: str = "one") -> Done:
    return await scene.charged.accounts.actions.cancel("till", name, "by mistake")


async def bonus_of(scene: Scene) -> tuple[int, int, bool]:
    """Amount and use of the only bucket, and whether it may still be granted of."""
    (row,) = await scene.rows()
    return row.amount, row.used, row.until_ms > scene.charged.now_ms


async def last_moved(scene: Scene) -> Moved:
    place = scene.account.profile
    keys = scene.charged.parts.keys[place.partition]
    seen = await scene.charged.look(place.partition, [keys.book(place.account)])
    return [each for each in seen.records if isinstance(each, Moved)][-1]


# ---------------------------------------------------------------- the bonus


def test_a_bonus_goes_back_with_its_top_up_and_the_record_says_so(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 20)
        assert await bonus_of(scene) == (2 * EURO, 0, True)
        for replayed in (False, True):
            done = await cancel(scene)
            assert done.action is not None
            assert (done.code, done.replayed, done.action.state) == (
                Code.SUCCESS,
                replayed,
                ActionState.CANCELLED,
            )
            assert (done.action.settled, done.action.bonus_back, done.action.bonus_used) == (
                20 * EURO,
                2 * EURO,
                0,
            )
        assert await bonus_of(scene) == (0, 0, False)
        record = await last_moved(scene)
        (row,) = record.rows
        assert (record.kind, record.credited_micros, row.amount, row.used) == (
            Kind.REVERSAL,
            -20 * EURO,
            0,
            0,
        )
        assert (await scene.use(10)).code == Code.CREDIT_LIMIT

    played(room, work, credit=0)


def test_what_was_used_of_a_bonus_is_told_and_the_rest_goes_back(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 20)
        await scene.use(500)
        done = await cancel(scene)
        assert done.action is not None
        assert (done.code, done.action.bonus_back, done.action.bonus_used) == (
            Code.SUCCESS,
            1_500_000,
            500_000,
        )
        assert await bonus_of(scene) == (500_000, 500_000, False)
        found = await scene.charged.accounts.actions.find("till", "one")
        assert found == done.action

    played(room, work, credit=0)


def test_what_a_session_holds_of_a_bonus_it_may_use_and_nothing_more_is_granted_of_it(
    room: StoreRoom,
) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 20)
        assert (await scene.ask(INITIAL, 0, "held", None, 300)).services[0].granted == 300
        done = await cancel(scene)
        assert done.action is not None
        assert (done.action.bonus_back, done.action.bonus_used) == (1_700_000, 300_000)
        await scene.ask(TERMINATION, 1, "held", 200, None)
        assert await bonus_of(scene) == (300_000, 200_000, False)
        assert (await scene.use(10)).code == Code.CREDIT_LIMIT

    played(room, work, credit=0)


def test_a_reversal_that_is_refused_takes_no_bonus_and_no_time(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 20)
        until_ms = (await scene.look()).book.until_ms
        await scene.use(3_000)
        done = await cancel(scene)
        assert done.action is not None
        assert (done.code, done.action.state, done.action.left) == (
            Code.CREDIT_LIMIT,
            ActionState.COMPLETED,
            19 * EURO,
        )
        assert await bonus_of(scene) == (2 * EURO, 2 * EURO, True)
        assert (await scene.look()).book.until_ms == until_ms

    played(room, work, credit=0, until_ms=1_900_000_000_000)


def test_the_bonus_of_another_top_up_stays(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 20, "one")
        await top_up(scene, 30, "two")
        await cancel(scene)
        assert await scene.left() == [3 * EURO]

    played(room, work, credit=0)


def test_who_is_late_with_a_bonus_gives_none_once_its_top_up_is_reversed(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        bonuses, scene.charged.accounts.brings = scene.charged.accounts.brings, None
        await top_up(scene, 20)
        assert (await cancel(scene)).code is Code.SUCCESS
        assert bonuses is not None
        place = scene.account.profile
        await bonuses.follow(place.partition, place.account, 20 * EURO, "till:one")
        assert await scene.rows() == []

    played(room, work, credit=0)


# ---------------------------------------------------------------- the life


async def until_day(scene: Scene) -> float:
    """How many days from the beginning on the balance lasts."""
    return round((await scene.look()).book.until_ms / DAY_MS - START_MS / DAY_MS, 3)


START_MS = 1_804_676_400_000
"""2027-03-10T12:00 of Berlin, when scenes begin."""
IN_TEN_DAYS: dict[str, Any] = {"credit": 0, "until_ms": START_MS + 10 * DAY_MS}


def test_the_life_ends_where_it_would_without_the_top_up(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        assert abs(scene.charged.now_ms - START_MS) < 60_000
        assert await until_day(scene) == 10
        await top_up(scene, 5)
        assert round(await until_day(scene)) == 60
        await cancel(scene)
        assert await until_day(scene) == 10
        assert (await last_moved(scene)).until_ms == START_MS + 10 * DAY_MS

    played(room, work, **IN_TEN_DAYS)


@pytest.mark.parametrize(
    ("taken_back", "days"),
    [("a", [70]), ("b", [60]), ("ab", [70, 10]), ("ba", [60, 10])],
)
def test_of_several_top_ups_each_gives_its_own_time(
    room: StoreRoom, taken_back: str, days: list[int]
) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 5, "a")
        await scene.at("2027-03-20T12:00")
        await top_up(scene, 5, "b")
        assert round(await until_day(scene)) == 70
        found = []
        for name in taken_back:
            await cancel(scene, name)
            found.append(round(await until_day(scene)))
        assert found == days

    played(room, work, **IN_TEN_DAYS)


def test_an_end_that_an_operator_has_set_since_stays(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        await top_up(scene, 5)
        code = await scene.charged.accounts.amend(await scene.look(), until_ms=START_MS + 40 * DAY_MS)
        assert code is Code.SUCCESS
        await cancel(scene)
        assert await until_day(scene) == 40

    played(room, work, **IN_TEN_DAYS)


def test_an_end_that_comes_sooner_again_is_looked_at_sooner(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        account = await scene.look()
        name = f"life:{account.profile.path}"
        keys = scene.charged.parts.keys[account.profile.partition]
        await top_up(scene, 5)
        later_ms = START_MS + 70 * DAY_MS
        await scene.charged.store.execute(keys.slot, "ZADD", keys.agenda, later_ms, name)
        await cancel(scene)
        assert (await scene.agenda())[name] == START_MS + 10 * DAY_MS

    played(room, work, **IN_TEN_DAYS)


def test_only_the_newest_top_ups_of_very_many_give_their_time_back(room: StoreRoom) -> None:
    async def work(scene: Scene) -> None:
        for number in range(40):
            await top_up(scene, 5, f"n{number}")
        lasted = (await scene.look()).book.until_ms
        for number in range(40):
            await cancel(scene, f"n{39 - number}")
        # 32 are known by name; the last of the eight before is for good
        left_ms = lasted - (await scene.look()).book.until_ms
        assert 32_000 <= left_ms < 60_000

    played(room, work, **IN_TEN_DAYS)


# ---------------------------------------------------------------- the audit


def test_a_bonus_that_stays_and_a_life_that_no_record_knows_are_seen(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, **IN_TEN_DAYS)
        await top_up(scene, 20)
        place, charged = scene.account.profile, scene.charged
        keys = charged.parts.keys[place.partition]
        bonus = keys.brought(place.account, "bonus till:one")
        await charged.store.execute(keys.slot, "SET", bonus, packed(1, 0, []))
        assert (await cancel(scene)).code is Code.SUCCESS
        book = await charged.store.execute(keys.slot, "GET", keys.book(place.account))
        longer = book[:64] + struct.pack("<d", START_MS + 90 * DAY_MS) + book[72:]
        await charged.store.execute(keys.slot, "SET", keys.book(place.account), longer)
        first, second = [each.what for each in (await audit(charged.parts)).faults]
        assert "top-up till:one was reversed and its bonus stays: row 32 from" in first
        assert second == f"lasts until {START_MS + 90 * DAY_MS}, the records say {START_MS + 10 * DAY_MS}"

    room.run(work())
