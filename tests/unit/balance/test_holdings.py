"""Products on a real store: bought once, charged on, renewed by whoever comes first, short of credit, lapsed, shared, at their end."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from ocs.balance.accounts import Account
from ocs.balance.link import StoreFault
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.openings import OpenedRow
from ocs.rating.products import Catalogue
from ocs.records import Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import DAY_MS, EURO, FAMILY, MONTHLY, PASS, ZONE, Scene, member_of


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def test_a_product_is_bought_once_for_the_share_of_its_month(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-17T00:00")  # 15 of 31 days are left
        first = await scene.holdings.buy(await scene.look(), MONTHLY, "p")
        again = await scene.holdings.buy(await scene.look(), MONTHLY, "p")
        other = await scene.holdings.buy(await scene.look(), PASS, "p")
        assert (first.code, again.code, again.replayed, other.code) == (
            Code.SUCCESS,
            Code.SUCCESS,
            True,
            Code.CONFLICT,
        )
        assert first.price_micros == again.price_micros == await scene.posted()
        # seconds of the calendar: the clocks go forward on 28 March; the second in which it is bought may have begun
        share = (15 * 86_400 - 3_600) / (31 * 86_400 - 3_600)
        assert first.price_micros == pytest.approx(3.1 * EURO * share, rel=1e-4)
        assert await scene.left() == [pytest.approx(31_000 * share, abs=2)]
        await scene.clean()

    room.run(work())


def test_what_is_used_comes_from_the_product_and_then_from_money(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        assert await scene.buy(MONTHLY) == Code.SUCCESS
        before, left = await scene.posted(), (await scene.left())[0]
        await scene.use(left + 2_000)
        assert await scene.posted() - before == 2 * EURO
        await scene.clean()

    room.run(work())


@pytest.mark.parametrize("who", ["request", "agenda"])
def test_the_next_month_is_opened_by_whoever_comes_first_and_takes_over_what_is_left(
    room: StoreRoom, who: str
) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        scene.account = await scene.look()
        await scene.records()
        await scene.at("2027-04-01T00:00:30")
        if who == "agenda":
            await scene.tend()
            assert await scene.left() == [31_000, 5_000]
        else:
            await scene.use(6_000)
            assert await scene.left() == [30_000, 0]  # what rolled over goes first
        (renewed,) = await scene.records()
        assert (renewed.price_micros, renewed.cause.split()[0]) == (3_100_000, "renewed")
        await scene.tend()
        await scene.use(10)
        assert await scene.records() == []
        await scene.clean()

    room.run(work())


def test_a_renewal_that_is_too_dear_waits_for_a_topup_within_its_grace(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=4 * EURO, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        await scene.at("2027-04-02T12:00")
        outcome = await scene.use(100)  # by the tariff, since the product is not paid
        assert (outcome.code, await scene.left()) == (Code.SUCCESS, [])
        await scene.tend()
        assert await scene.left() == []
        done = await scene.charged.accounts.topup(await scene.look(), 10 * EURO, "till", "receipt")
        assert done.code == Code.SUCCESS
        assert await scene.left() == [31_000, 5_000]
        (held,) = (await scene.look()).profile.products
        assert held.until_ms == int(datetime(2027, 5, 1, tzinfo=ZONE).timestamp() * 1000)
        await scene.clean()

    room.run(work())


def test_a_product_that_is_not_paid_within_its_grace_lapses(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=4 * EURO, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        await scene.at("2027-04-05T23:00")
        await scene.tend()
        assert len((await scene.look()).profile.products) == 1
        await scene.at("2027-04-06T00:01")
        await scene.tend()
        assert (await scene.look()).profile.products == ()
        await scene.charged.accounts.topup(await scene.look(), 10 * EURO, "till", "receipt")
        assert await scene.left() == []
        await scene.clean()

    room.run(work())


def test_a_cancelled_product_ends_with_its_period(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        assert await scene.holdings.cancel(await scene.look(), 1) == Code.SUCCESS
        assert await scene.holdings.cancel(await scene.look(), 7) == Code.UNKNOWN_SESSION
        assert len(await scene.left()) == 1
        before = await scene.posted()
        await scene.at("2027-04-01T01:00")
        await scene.use(1_000)
        assert (await scene.left(), await scene.posted() - before) == ([], EURO)

    room.run(work())


def test_a_pass_with_a_blocker_keeps_from_money_and_is_over_after_its_hours(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await scene.buy(PASS)
        before = await scene.posted()
        outcome = await scene.ask(INITIAL, 0, "s", None, 2_000)
        assert (outcome.services[0].granted, outcome.services[0].final) == (500, True)
        assert (await scene.ask(UPDATE, 1, "s", 500, 2_000)).code == Code.CREDIT_LIMIT
        await scene.ask(TERMINATION, 2, "s", 0, None)
        assert await scene.posted() == before
        await scene.at("2027-03-11T12:01")
        await scene.use(1_000)
        assert await scene.posted() - before == EURO

    room.run(work())


def test_a_bonus_is_given_once_and_pays_before_the_account(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=0)
        for _ in range(2):
            await scene.charged.accounts.topup(await scene.look(), 20 * EURO, "till", "receipt")
        await scene.charged.accounts.topup(await scene.look(), 19 * EURO, "till", "small")
        assert await scene.left() == [2 * EURO]
        await scene.use(3_000)
        assert (await scene.left(), await scene.posted()) == ([0], EURO)
        await scene.clean()

    room.run(work())


def test_members_use_what_their_account_shares_and_then_its_money_up_to_their_cap(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        child = await member_of(scene, "491700000005", cap_micros=2 * EURO)
        assert await scene.buy(FAMILY) == Code.SUCCESS
        before = await scene.posted()
        await scene.use(7_000, "491700000005")
        await scene.use(1_000)
        assert await scene.left() == [1_000]
        outcome = await scene.use(4_000, "491700000005")  # 1,000 shared, 2,000 paid, then the cap
        assert outcome.services[0].granted == 3_000
        assert await scene.posted() - before == 3 * EURO  # what was used beyond the grant is owed
        found = await scene.charged.accounts.find(child)
        assert found is not None
        assert found.own is not None
        assert (found.own.posted_micros, found.profile.account) == (3 * EURO, scene.account.profile.account)
        assert await scene.buy(MONTHLY, "own") == Code.SUCCESS
        refused = await scene.holdings.buy(found, FAMILY, "child")
        assert (refused.code, "the account buys it" in refused.why) == (Code.LIMIT, True)
        bought = await scene.holdings.buy(found, PASS, "child")
        assert bought.code == Code.CREDIT_LIMIT  # a product counts on the cap too
        await scene.clean()

    room.run(work())


def test_barring_or_ending_a_member_leaves_the_others_alone(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        child = await member_of(scene, "491700000005")
        found = await scene.charged.accounts.find(child)
        assert found is not None
        await scene.charged.accounts.amend(found, status=Status.BARRED)
        assert (await scene.use(10, "491700000005")).code == Code.BARRED
        assert (await scene.use(10)).code == Code.SUCCESS
        assert await scene.charged.accounts.terminate(found) == Code.SUCCESS
        assert (await scene.use(10, "491700000005")).code == Code.UNKNOWN_SUBSCRIBER
        assert (await scene.use(10)).code == Code.SUCCESS
        await scene.clean()

    room.run(work())


def test_what_has_ended_crowds_nothing_and_leaves_the_profile_and_the_agenda(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-10T12:00")
        for number in range(7):
            assert await scene.buy(PASS, f"p{number}") == Code.SUCCESS
        assert await scene.buy(PASS, "one too many") == Code.LIMIT
        await scene.at("2027-03-13T12:00")
        assert await scene.buy(PASS, "days later") == Code.SUCCESS
        assert [each.number for each in (await scene.look()).profile.products] == [8]
        await scene.at("2027-03-14T12:01")
        await scene.tend()
        assert ((await scene.look()).profile.products, await scene.agenda()) == ((), {})
        await scene.clean()

    room.run(work())


def test_a_number_is_never_used_twice_by_an_account_and_its_members(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-10T12:00")
        member = await member_of(scene, "491700000005")
        numbers = []
        for day in range(10, 18, 2):  # what was bought before has ended, and gone from the profile
            await scene.at(f"2027-03-{day}T12:01")
            await scene.tend()
            for buyer in (await scene.look(), await scene.charged.accounts.find(member)):
                assert buyer is not None
                assert buyer.profile.products == ()
                numbers.append((await scene.holdings.buy(buyer, PASS, f"day {day}")).number)
        assert numbers == sorted(set(numbers))
        await scene.clean()

    room.run(work())


def test_a_renewal_takes_out_what_has_ended_and_alone_gives_a_due_time(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-31T12:00")
        await scene.buy(PASS, "pass")
        await scene.buy(MONTHLY, "month")
        await scene.at("2027-04-01T18:00")
        await scene.use(10)
        (held,) = (await scene.look()).profile.products
        assert held.product_key == "monthly@1"
        await scene.tend()
        assert await scene.agenda() == {scene.account.profile.path: held.until_ms}

    room.run(work())


def test_a_product_that_the_catalogue_has_lost_stays_until_it_is_known_again(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        await scene.at("2027-04-01T01:00")
        scene.holdings.catalogue = Catalogue()
        await scene.tend()
        assert [each.product_key for each in (await scene.look()).profile.products] == ["monthly@1"]

    room.run(work())


def test_a_purchase_repeated_under_its_id_is_answered_whatever_is_held_by_then(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        first = [await scene.holdings.buy(await scene.look(), PASS, f"p{number}") for number in range(7)]
        assert [(each.number, each.until_ms) for each in first] == [
            (each.number, each.until_ms) for each in (await scene.look()).profile.products
        ]
        again = await scene.holdings.buy(await scene.look(), PASS, "p3")
        assert again == first[3]._replace(replayed=True)
        await scene.at("2027-03-13T12:00")
        await scene.tend()
        assert await scene.holdings.buy(await scene.look(), PASS, "p3") == again
        assert await scene.buy(MONTHLY, "p3") == Code.CONFLICT
        assert await scene.posted() == 7 * EURO

    room.run(work())


def test_an_id_counts_once_for_each_subscriber_wherever_they_live(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        others = [await scene.charged.subscriber(f"49170000001{n}", "", "t", 0, EURO) for n in range(8)]
        assert len({each.profile.partition for each in others}) == 2
        done = [await scene.holdings.buy(each, PASS, "p") for each in others]
        assert [(each.code, each.replayed) for each in done] == [(Code.SUCCESS, False)] * 8

    room.run(work())


def test_a_store_that_refuses_for_now_is_a_fault_and_no_answer(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        scene.charged.clock.wall_ms += 10_000
        with pytest.raises(StoreFault, match="SKEW"):
            await scene.buy(PASS)

    room.run(work())


def test_a_bonus_is_given_however_crowded_its_service_is(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        for number in range(7):
            await scene.buy(PASS, f"p{number}")
        await scene.charged.accounts.topup(await scene.look(), 20 * EURO, "till", "receipt")
        assert [row.amount for row in await scene.rows() if row.unit == 4] == [2 * EURO]
        assert (await scene.use(10)).code == Code.SUCCESS
        assert scene.holdings.bonuses_not_given == 0
        await scene.clean()

    room.run(work())


def test_a_bonus_for_which_there_is_no_room_is_counted_and_the_money_comes_in(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=0)
        until_ms = scene.charged.now_ms + DAY_MS
        full = [OpenedRow(5_000 + each, 1, 0, until_ms, 1) for each in range(100)]
        await scene.charged.accounts.open_rows(await scene.look(), full, 0, "full")
        done = await scene.charged.accounts.topup(await scene.look(), 20 * EURO, "till", "receipt")
        assert (done.code, done.balance_micros, scene.holdings.bonuses_not_given) == (
            Code.SUCCESS,
            20 * EURO,
            1,
        )

    room.run(work())


class LateBonus:
    """A top-up's followers whose clock is off when the money has come in."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.extends_ms = scene.holdings.extends_ms
        self.ending = scene.holdings.ending
        self.ended = scene.holdings.ended

    async def follow(self, *given: Any) -> None:
        clock = self.scene.charged.clock
        clock.wall_ms += 10_000
        try:
            await self.scene.holdings.follow(*given)
        finally:
            clock.wall_ms -= 10_000


def test_a_bonus_that_the_store_refuses_for_now_leaves_the_claim_open(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=0)
        accounts = scene.charged.accounts
        accounts.brings = LateBonus(scene)
        with pytest.raises(StoreFault):
            await accounts.topup(await scene.look(), 20 * EURO, "till", "receipt")
        accounts.brings = scene.holdings
        done = await accounts.topup(await scene.look(), 20 * EURO, "till", "receipt")
        assert (done.code, done.balance_micros, await scene.left()) == (
            Code.SUCCESS,
            20 * EURO,
            [2 * EURO],
        )

    room.run(work())


@pytest.mark.parametrize("whose", ["account", "member", "payer"])
def test_who_is_barred_pays_no_renewal_until_the_bar_is_lifted(room: StoreRoom, whose: str) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        msisdn = "491700000001" if whose == "account" else "491700000005"
        if whose != "account":
            await member_of(scene, msisdn)
        identity = e164(msisdn)
        assert identity is not None

        async def holder() -> Account:
            found = await scene.charged.accounts.find(identity)
            assert found is not None
            return found

        assert (await scene.holdings.buy(await holder(), MONTHLY, "own")).code == Code.SUCCESS
        barred = await (holder() if whose == "member" else scene.look())
        before = await scene.posted()
        await scene.charged.accounts.amend(barred, status=Status.BARRED)
        await scene.at("2027-04-03T00:00")
        await scene.tend()
        assert (await scene.use(10, msisdn)).code == Code.BARRED
        await scene.charged.accounts.topup(await scene.look(), EURO, "till", "while barred")
        assert (await scene.posted(), len((await holder()).profile.products)) == (before, 1)
        await scene.charged.accounts.amend(barred, status=Status.ACTIVE)
        await scene.use(10, msisdn)
        assert await scene.posted() - before == 3_100_000

    room.run(work())


def test_a_balance_whose_life_has_ended_pays_no_renewal_until_a_topup_extends_it(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        before = await scene.posted()
        await scene.at("2027-04-03T00:00")
        await scene.charged.accounts.amend(await scene.look(), until_ms=scene.charged.now_ms - DAY_MS)
        await scene.tend()
        await scene.charged.accounts.topup(await scene.look(), 4 * EURO, "till", "too small")
        assert await scene.posted() == before
        await scene.charged.accounts.topup(await scene.look(), 5 * EURO, "till", "enough")
        assert await scene.posted() - before == 3_100_000

    room.run(work())


def test_what_a_barred_account_holds_lapses_when_its_own_grace_is_over(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        await scene.charged.accounts.amend(scene.account, status=Status.BARRED)
        await scene.at("2027-04-05T23:00")
        await scene.tend()
        assert len((await scene.look()).profile.products) == 1
        await scene.at("2027-04-06T00:01")
        await scene.tend()
        assert ((await scene.look()).profile.products, await scene.agenda()) == ((), {})

    room.run(work())
