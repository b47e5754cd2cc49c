"""Renewals inside the request that meets them, on a real store: after it gave back what it held, and before it is granted anything."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from ocs.balance.wallets import Wallets
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.outcomes import Code, Note
from ocs.rating.product_reading import read_product
from ocs.rating.products import Catalogue
from ocs.records import Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import EURO, MONTHLY, PASS, ZONE, Scene, member_of


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def test_a_session_that_holds_all_the_money_is_renewed_with_what_it_gives_back(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=20 * EURO, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        await scene.at("2027-03-31T23:00")
        await scene.ask(INITIAL, 0, "s", None, 60_000)
        before = await scene.look()
        assert before.book.available_micros == 0
        await scene.at("2027-04-01T00:00:05")
        outcome = await scene.ask(UPDATE, 1, "s", 100, 31_000)
        after = await scene.look()
        assert outcome.services[0].granted == 31_000
        assert after.book.posted_micros - before.book.posted_micros == 3_100_000
        (held,) = after.profile.products
        assert held.until_ms == int(datetime(2027, 5, 1, tzinfo=ZONE).timestamp() * 1000)
        await scene.clean()
        await scene.ask(UPDATE, 2, "s", 31_000, 10)
        await scene.ask(TERMINATION, 3, "s", 0, None)
        assert [each.cause.split()[0] for each in await scene.records()] == ["bought", "renewed"]
        await scene.clean()

    room.run(work())


def test_what_a_session_held_of_the_old_month_rolls_over_too(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        (left,) = await scene.left()
        await scene.ask(INITIAL, 0, "s", None, left)
        await scene.at("2027-04-01T00:00:05")
        await scene.ask(UPDATE, 1, "s", left - 3_000, 10)
        await scene.ask(TERMINATION, 2, "s", 0, None)
        assert await scene.left() == [31_000, 3_000]
        await scene.clean()

    room.run(work())


def test_a_product_counts_on_what_a_member_may_spend(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        child = await member_of(scene, "491700000005", cap_micros=1_500_000)
        codes = []
        for name in ("one", "two"):
            found = await scene.charged.accounts.find(child)
            assert found is not None
            codes.append((await scene.holdings.buy(found, PASS, name)).code)
        assert codes == [Code.SUCCESS, Code.CREDIT_LIMIT]
        await scene.at("2027-03-12T12:00")
        outcome = await scene.use(2_000, "491700000005")
        assert outcome.services[0].granted == 500
        await scene.clean()

    room.run(work())


def test_a_renewal_is_made_once_and_the_worker_knows_it(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        await scene.use(10)
        await scene.at("2027-04-01T00:00:05")
        notes = [(await scene.ask(INITIAL, 0, "s", None, 10)).notes]
        notes += [(await scene.ask(UPDATE, number, "s", 10, 10)).notes for number in range(1, 4)]
        assert [bool(each & Note.RENEWED) for each in notes] == [True, False, False, False]
        again = await scene.ask(INITIAL, 0, "s", None, 10)
        assert again.notes & Note.REPLAY
        assert await scene.posted() == (await scene.look()).book.posted_micros
        assert [each.cause.split()[0] for each in await scene.records()] == ["bought", "renewed"]
        await scene.clean()

    room.run(work())


@pytest.mark.parametrize("who", ["barred", "ended"])
def test_who_may_be_granted_nothing_pays_no_renewal_with_a_request(room: StoreRoom, who: str) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        await scene.buy(MONTHLY)
        before = await scene.posted()
        await scene.at("2027-04-01T00:00:05")
        found = await scene.look()
        until_ms = scene.charged.now_ms - 1_000 if who == "ended" else None
        status = Status.BARRED if who == "barred" else None
        assert await scene.charged.accounts.amend(found, status=status, until_ms=until_ms) == Code.SUCCESS
        outcome = await scene.ask(INITIAL, 0, "s", None, 10)
        assert (outcome.code, bool(outcome.notes & Note.RENEWED)) == (Code.BARRED, False)
        assert await scene.posted() == before
        await scene.clean()

    room.run(work())


@pytest.mark.parametrize(("cap", "renewed"), [(6_200_000, True), (6_100_000, False)])
def test_a_renewal_with_a_members_request_keeps_to_its_cap(room: StoreRoom, cap: int, renewed: bool) -> None:  # noqa: FBT001
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-01T00:00")
        child = await member_of(scene, "491700000005", cap_micros=cap)
        found = await scene.charged.accounts.find(child)
        assert found is not None
        weekly = read_product(
            'product: weekly\nversion: 1\nprice: "3.10"\ncurrency: EUR\ncharge: recurring\nperiod: {days: 7}\nzone: Europe/Berlin\n'
            "allowances: [{name: a, unit: octets, amount: 500, uses: [{service: data, block: 1}]}]\n",
            "weekly.yaml",
        )
        scene.holdings.catalogue = Catalogue([weekly])
        scene.charged.book.wallets = Wallets(scene.holdings.catalogue)
        assert (await scene.holdings.buy(found, weekly, "w")).code == Code.SUCCESS
        await scene.at("2027-03-08T01:00")
        outcome = await scene.ask(INITIAL, 0, "s", None, 500, "491700000005")
        assert bool(outcome.notes & Note.RENEWED) is renewed
        await scene.ask(TERMINATION, 1, "s", 500, None, "491700000005")
        assert await scene.posted() == (6_200_000 if renewed else 3_600_000)
        await scene.clean()

    room.run(work())
