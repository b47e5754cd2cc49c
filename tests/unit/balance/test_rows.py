"""Allowances, restricted money and counters on a real store: what a session takes of them, holds on them, and gives back."""

from collections.abc import Iterator

import pytest

from ocs.balance.accounts import RowsOpened
from ocs.balance.audit import audit
from ocs.balance.stored_book import write_book
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.openings import Held, Rolled
from ocs.rating.sources import Source, SourceKind
from ocs.records import Rows
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.rows_scene import (
    BLOCKER,
    FAR_MS,
    MONTH,
    PER_MIB,
    PER_MINUTE,
    PER_SECOND,
    TIERS,
    FixedWallet,
    Scene,
    bucket,
    counter,
    tariff_of,
    units,
)


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def test_free_minutes_come_first_in_blocks_and_money_pays_the_rest(room: StoreRoom) -> None:
    """Row 18 of the examples: 60 free minutes in 60-s blocks, 59 used; 150 s cost two blocks."""

    async def call() -> None:
        scene = await Scene.made(room, PER_MINUTE, units(1, 60, 1))
        await scene.open(bucket(1, 2, 1))
        assert await scene.granted(INITIAL, None, 300) == 300
        assert (await scene.row(1)).pending == 1
        assert await scene.granted(UPDATE, 35, 300) == 300
        await scene.ask(TERMINATION, 115, None)
        found = await scene.look()
        assert (found.book.posted_micros, found.book.pending_micros) == (200_000, 0)
        row = await scene.row(1)
        assert (row.used, row.pending) == (1, 0)
        await scene.clean()
        record = await scene.last()
        assert (record.lines[0].allowance_units, record.lines[0].priced_micros) == (25, 200_000)

    room.run(call())


@pytest.mark.parametrize("cuts", [(2_000_000,), (1_499_999, 1, 500_000), (700_000, 1_000_000, 300_000)])
def test_an_allowance_of_octets_and_then_money(room: StoreRoom, cuts: tuple[int, ...]) -> None:
    """Row 21 of the examples."""

    async def session() -> None:
        scene = await Scene.made(room, PER_MIB, units(1, 1, 1))
        await scene.open(bucket(1, 1, 1_500_000))
        await scene.ask(INITIAL, None, 2_000_000)
        for cut in cuts[:-1]:
            await scene.ask(UPDATE, cut, 2_000_000)
        await scene.ask(TERMINATION, cuts[-1], None)
        assert (await scene.look()).book.posted_micros == 10_000
        assert (await scene.row(1)).used == 1_500_000

    room.run(session())


def test_a_cap_of_the_day_makes_the_rest_free(room: StoreRoom) -> None:
    """Row 23 of the examples: calls of 20 s cost 20, 10, 0; the next day 20."""

    async def calls() -> None:
        costs = []
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.FREE, 30_000_000, until_ms=2**41))
        for call in range(4):
            if call == 3:
                wallet = FixedWallet(
                    tariff_of(PER_SECOND), counter(SourceKind.FREE, 30_000_000, start_ms=1, until_ms=2**41)
                )
                scene.charged.book.wallets = lambda _profile, _tariff: wallet  # noqa: B023
            before = (await scene.look()).book.posted_micros
            assert await scene.granted(INITIAL, None, 20, session=f"s{call}") == 20
            await scene.ask(TERMINATION, 20, None, session=f"s{call}")
            costs.append((await scene.look()).book.posted_micros - before)
        assert costs == [20_000_000, 10_000_000, 0, 20_000_000]

    room.run(calls())


def test_a_free_rest_is_granted_to_an_empty_account(room: StoreRoom) -> None:
    async def calls() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.FREE, 30_000_000), credit=30_000_000)
        assert await scene.granted(INITIAL, None, 100) == 100
        assert (await scene.look()).book.pending_micros == 30_000_000
        await scene.ask(UPDATE, 100, 100)
        found = await scene.look()
        assert (found.book.balance_micros, found.book.pending_micros) == (0, 0)
        assert await scene.granted(UPDATE, 100, 100) == 100

    room.run(calls())


def test_a_cap_that_disconnects_is_shared_by_sessions(room: StoreRoom) -> None:
    async def calls() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.STOP, 30_000_000))
        assert await scene.granted(INITIAL, None, 20, session="a") == 20
        outcome = await scene.ask(INITIAL, None, 20, session="b")
        assert (outcome.services[0].granted, outcome.services[0].final) == (10, True)
        assert (await scene.ask(INITIAL, None, 20, session="c")).code == Code.CREDIT_LIMIT
        await scene.ask(TERMINATION, 5, None, session="a")
        await scene.ask(TERMINATION, 10, None, session="b")
        row = await scene.row(MONTH)
        assert (row.used, row.pending) == (15_000_000, 0)
        assert await scene.granted(INITIAL, None, 20, session="d") == 15
        await scene.clean()

    room.run(calls())


def test_a_blocker_keeps_from_money(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_MIB, units(1, 1, 1), BLOCKER)
        await scene.open(bucket(1, 1, 1_000))
        outcome = await scene.ask(INITIAL, None, 5_000)
        assert (outcome.services[0].granted, outcome.services[0].final) == (1_000, True)
        assert (await scene.ask(UPDATE, 1_000, 5_000)).code == Code.CREDIT_LIMIT
        assert (await scene.look()).book.posted_micros == 0

    room.run(session())


def test_restricted_money_pays_before_the_account(room: StoreRoom) -> None:
    async def call() -> None:
        scene = await Scene.made(
            room, PER_SECOND, Source(SourceKind.MONEY, 0, 7, 0, FAR_MS), credit=5_000_000
        )
        await scene.open(bucket(7, 4, 3_500_000))
        outcome = await scene.ask(INITIAL, None, 20)
        assert (outcome.services[0].granted, outcome.services[0].final) == (8, True)
        held = await scene.row(7), (await scene.look()).book.pending_micros
        assert (held[0].pending, held[1]) == (3_500_000, 4_500_000)
        await scene.clean()
        await scene.ask(TERMINATION, 5, None)
        found, row = await scene.look(), await scene.row(7)
        assert (row.used, row.pending, found.book.posted_micros, found.book.pending_micros) == (
            3_500_000,
            0,
            1_500_000,
            0,
        )

    room.run(call())


def test_steps_are_chosen_by_the_usage_of_the_period(room: StoreRoom) -> None:
    async def sessions() -> None:
        scene = await Scene.made(room, TIERS, counter(SourceKind.TIER))
        posted = []
        for name, used in (("a", 35), ("b", 55), ("c", 31)):
            await scene.ask(INITIAL, None, used, session=name)
            await scene.ask(UPDATE, used // 2, used, session=name)
            await scene.ask(TERMINATION, used - used // 2, None, session=name)
            posted.append((await scene.look()).book.posted_micros)
        # 4 blocks at 1.00; 6 at 1.00 (the sixth begins at 90); 4 at 0.50, since 100 is reached
        assert posted == [4_000_000, 10_000_000, 12_000_000]
        assert (await scene.row(MONTH)).used == 140
        await scene.clean()

    room.run(sessions())


def test_what_is_held_comes_back_when_a_session_expires(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_MIB, counter(SourceKind.STOP, 50_000), units(1, 1, 1))
        await scene.open(bucket(1, 1, 1_000))
        await scene.ask(INITIAL, None, 2_000_000)
        assert ((await scene.row(1)).pending, (await scene.row(MONTH)).pending) == (1_000, 20_000)
        await scene.clean()
        where = scene.account.profile
        code = await scene.charged.expire(where.partition, where.account, "s", 1_000, forced=True)
        assert code == Code.SUCCESS
        assert ((await scene.row(1)).pending, (await scene.row(MONTH)).pending) == (0, 0)
        assert (await scene.look()).book.pending_micros == 0

    room.run(session())


def test_a_grant_ends_where_its_bucket_does(room: StoreRoom) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_SECOND, units(1, 1, 1))
        await scene.open(bucket(1, 2, 1_000, until_ms=scene.charged.now_ms + 60_500))
        (service,) = (await scene.ask(INITIAL, None, 100)).services
        assert service.granted == service.validity_s
        assert 58 <= service.granted <= 60
        await scene.charged.move_time(61_000)
        await scene.ask(UPDATE, service.granted, 10)  # reported late: it posts to the bucket that held it
        assert (await scene.row(1)).used == service.granted
        await scene.ask(TERMINATION, 10, None)
        assert (await scene.look()).book.posted_micros == 10_000_000

    room.run(session())


def test_members_share_a_balance_each_up_to_a_cap(room: StoreRoom) -> None:
    """Row 24 of the examples: a family balance of 100, 10 a member and month."""

    async def family() -> None:
        scene = await Scene.made(room, PER_SECOND, counter(SourceKind.STOP, 10_000_000, own=1))
        for member in ("1", "2"):
            profile = scene.account.profile._replace(msisdn=f"49170000001{member}", member=member)
            assert await scene.charged.accounts.join(scene.account, profile) == Code.SUCCESS
            identity = e164(profile.msisdn)
            assert identity is not None
            place = f"{profile.partition} {profile.path}"
            await scene.charged.store.execute(0, "SET", identity.key, place)
        first, second = {"msisdn": "491700000011", "session": "a"}, {"msisdn": "491700000012", "session": "b"}
        assert await scene.granted(INITIAL, None, 15, **first) == 10
        assert await scene.granted(INITIAL, None, 8, **second) == 8
        assert (await scene.ask(UPDATE, 10, 5, **first)).code == Code.CREDIT_LIMIT
        await scene.ask(TERMINATION, 0, None, **first)
        await scene.ask(TERMINATION, 8, None, **second)
        await scene.clean()
        found = await scene.look()
        assert (found.book.posted_micros, found.book.pending_micros, found.book.sessions_open) == (
            18_000_000,
            0,
            0,
        )
        path = f"{found.profile.account}/1"
        member_one = await scene.charged.accounts.read(found.profile.partition, path)
        assert member_one is not None
        assert member_one.own is not None
        assert (member_one.own.posted_micros, member_one.own.pending_micros) == (10_000_000, 0)
        assert member_one.own.rows[0].used == 10_000_000

    room.run(family())


def test_a_balance_lives_from_its_first_use_to_its_end_and_on_in_grace(room: StoreRoom) -> None:
    async def life() -> None:
        scene = await Scene.made(room, PER_SECOND, until_ms=-1, first_ms=60_000, grace_ms=60_000)
        before_ms = scene.charged.now_ms
        assert await scene.granted(INITIAL, None, 10) == 10
        until_ms = (await scene.look()).book.until_ms
        assert before_ms + 60_000 <= until_ms <= before_ms + 75_000
        await scene.charged.move_time(61_000)
        assert (await scene.ask(UPDATE, 10, 10)).code == Code.BARRED
        assert (await scene.look()).book.posted_micros == 10_000_000

    room.run(life())


def test_a_product_is_bought_once_and_renewed_with_what_is_left(room: StoreRoom) -> None:
    async def product() -> None:
        scene = await Scene.made(room, PER_MIB, units(1, 1, 1), credit=5_000_000)
        profile = scene.account.profile._replace(products=(Held(1, "p@1", 0, 0),))
        now_ms = scene.charged.now_ms
        first = bucket(32, 1, 1_000, until_ms=now_ms + 1_000)
        assert await scene.open(first, price=3_000_000, profile=profile) == Code.SUCCESS
        assert (await scene.look()).profile.products == (Held(1, "p@1", 0, 0),)
        second = bucket(32, 1, 1_000, start_ms=now_ms + 1_000)
        rolled = Rolled(32, 0, 33, now_ms + 1_000, FAR_MS, 1, 400)
        assert await scene.open(second, price=3_000_000, rolled=[rolled]) == Code.CREDIT_LIMIT
        assert (await scene.look()).book.posted_micros == 3_000_000
        assert await scene.open(second, price=2_000_000, rolled=[rolled]) == Code.SUCCESS
        assert await scene.open(second, price=2_000_000, rolled=[rolled]) == Code.SUCCESS
        found = await scene.look()
        assert found.book.posted_micros == 5_000_000
        assert [(each.id, each.amount) for each in found.book.rows] == [(32, 600), (33, 400), (32, 1_000)]
        stale = scene.account._replace(book=found.book._replace(version=1))
        code, *_ = await scene.charged.accounts.open_rows(stale, [bucket(64, 1, 5)], 0, "test")
        assert code == Code.STALE
        keys = scene.charged.parts.keys[found.profile.partition]
        seen = await scene.charged.look(found.profile.partition, [keys.book(found.profile.account)])
        await scene.clean()
        assert [each.price_micros for each in seen.records if isinstance(each, Rows)] == [
            3_000_000,
            2_000_000,
        ]

    room.run(product())


def test_a_name_that_counts_once_is_told_what_it_was_told_the_first_time(room: StoreRoom) -> None:
    async def twice() -> None:
        scene = await Scene.made(room, PER_MIB)

        async def done(content: str, number: int, price: int) -> RowsOpened:
            return await scene.charged.accounts.open_rows(
                scene.account, [bucket(32 * number, 1, 1)], price, "p", content=content, told=(number, FAR_MS)
            )

        first = await done("c", 7, 5)
        assert first == RowsOpened(Code.SUCCESS, replayed=False, price_micros=5, number=7, until_ms=FAR_MS)
        assert await done("c", 8, 6) == first._replace(replayed=True)
        assert (await done("other", 7, 5)).code == Code.CONFLICT
        assert (await scene.look()).book.posted_micros == 5

    room.run(twice())


@pytest.mark.parametrize(
    ("wound", "told"),
    [
        ({"pending": 1}, "holds 1001, its open sessions hold 1000"),
        ({"used": 5}, "has used 5, the records took 0"),
    ],
)
def test_the_audit_sees_a_row_that_was_changed_behind_its_back(
    room: StoreRoom, wound: dict[str, int], told: str
) -> None:
    async def session() -> None:
        scene = await Scene.made(room, PER_MIB, units(1, 1, 1))
        await scene.open(bucket(1, 1, 5_000))
        await scene.ask(INITIAL, None, 1_000)
        await scene.clean()
        found = await scene.look()
        (row,) = found.book.rows
        changed = row._replace(**{name: getattr(row, name) + by for name, by in wound.items()})
        keys = scene.charged.parts.keys[found.profile.partition]
        text = write_book(found.book._replace(rows=(changed,)))
        await scene.charged.store.execute(keys.slot, "SET", keys.book(found.profile.account), text)
        faults = (await audit(scene.charged.parts)).faults
        assert [told in each.what for each in faults] == [True]

    room.run(session())
