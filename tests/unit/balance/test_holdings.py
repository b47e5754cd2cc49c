"""Products on a real store: bought once, charged on, renewed by whoever comes first, short of credit, lapsed, shared, at their end."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.agenda import Agenda
from ocs.balance.audit import audit
from ocs.balance.holdings import Holdings
from ocs.balance.stored_book import UNUSED, Row
from ocs.balance.wallets import Wallets
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.names import SubscriberId, e164
from ocs.outcomes import Code
from ocs.rating.product_reading import read_bonus, read_product
from ocs.rating.products import Catalogue
from ocs.rating.tariff import read_tariff
from ocs.records import Rows, Status
from tests.charged_store import ChargedStore, StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.vectors.rating.element import RULES

EURO = 1_000_000
DAY_MS = 86_400_000
ZONE = ZoneInfo("Europe/Berlin")
TARIFF = read_tariff(
    """
tariff: t
version: 1
currency: EUR
zone: Europe/Berlin
life: {first_use_days: 30, grace_days: 10, quarantine_days: 90, topups: [{from: "5.00", days: 60}]}
services:
  data: {unit: octets, steps: [{block: 1, price: "1.00", per: kB}]}
""",
    "t.yaml",
)
MONTHLY = read_product(
    """
product: monthly
version: 1
price: "3.10"
currency: EUR
charge: recurring
period: calendar-month
zone: Europe/Berlin
proration: true
grace_days: 5
allowances:
  - {name: internet, unit: octets, amount: 31000, rollover: {most: 5000}, uses: [{service: data, block: 1}]}
""",
    "monthly.yaml",
)
FAMILY = read_product(
    """
product: family
version: 1
price: "5.00"
currency: EUR
charge: recurring
period: {days: 30}
zone: Europe/Berlin
shared: true
allowances: [{name: internet, unit: octets, amount: 9000, uses: [{service: data, block: 1}]}]
""",
    "family.yaml",
)
PASS = read_product(
    """
product: pass
version: 1
price: "1.00"
currency: EUR
charge: once
period: {hours: 24}
allowances: [{name: internet, unit: octets, amount: 500, blocker: true, uses: [{service: data, block: 1}]}]
""",
    "pass.yaml",
)
BONUS = read_bonus(
    """
bonus: tenth
version: 1
currency: EUR
from: "20.00"
percent: "10"
days: 30
zone: Europe/Berlin
uses: [{service: data}]
""",
    "tenth.yaml",
)
CATALOGUE = Catalogue([MONTHLY, FAMILY, PASS], [BONUS])


class Scene:
    """A network with products, one subscriber at first, and a calendar that the test moves."""

    def __init__(self, charged: ChargedStore) -> None:
        self.charged = charged
        self.holdings = Holdings(
            charged.parts, charged.accounts, charged.clock, CATALOGUE, charged.book.tariffs.newest
        )
        charged.accounts.brings = self.holdings
        self.equip()
        self.numbers: dict[str, int] = {}
        self.account: Account

    def equip(self) -> None:
        """Let the Book be a worker's that has just started."""
        self.charged.book.wallets = Wallets(CATALOGUE)

    @classmethod
    async def made(
        cls, room: StoreRoom, credit: int = 100 * EURO, at: str = "2027-03-10T12:00", until_ms: int = 0
    ) -> "Scene":
        scene = cls(await room.charged({TARIFF.key: TARIFF}, RULES, 2))
        await scene.at(at)
        scene.account = await scene.charged.subscriber("491700000001", "", "t", 0, credit, until_ms)
        return scene

    async def at(self, instant: str) -> None:
        """Move the calendar to an instant of Berlin's wall clock."""
        wanted_ms = int(datetime.fromisoformat(instant).replace(tzinfo=ZONE).timestamp() * 1000)
        self.charged.clock.keep_up()
        await self.charged.move_time(wanted_ms - self.charged.now_ms)

    async def look(self, path: str = "") -> Account:
        where = self.account.profile
        found = await self.charged.accounts.read(where.partition, path or where.path)
        assert found is not None
        return found

    async def rows(self) -> list[Row]:
        return [each for each in (await self.look()).book.rows if not each.is_counter]

    async def left(self) -> list[int]:
        """What is left of the buckets that hold now, by id."""
        now_ms = self.charged.now_ms
        rows = sorted(await self.rows())
        return [each.amount - each.used for each in rows if each.start_ms <= now_ms < each.until_ms]

    async def buy(self, product: Any, name: str = "p") -> Code:
        return (await self.holdings.buy(await self.look(), product, name)).code

    async def use(self, octets: int, msisdn: str = "491700000001") -> Outcome:
        """A session that uses so much; the answer to its Initial."""
        name = f"s{len(self.numbers)}"
        self.numbers[name] = 1
        outcome = await self.ask(INITIAL, 0, name, None, octets, msisdn)
        await self.ask(TERMINATION, 1, name, octets, None, msisdn)
        return outcome

    async def ask(
        self,
        kind: int,
        number: int,
        name: str,
        used: int | None,
        wanted: int | None,
        msisdn: str = "491700000001",
    ) -> Outcome:
        identity = e164(msisdn)
        assert identity is not None
        units = [None if each is None else Units(octets=each) for each in (used, wanted)]
        service = AskedService("", None, None, units[0], units[1])
        return await self.charged.charge(
            Ask(
                kind,
                name,
                number,
                "data",
                "32251@3gpp.org",
                (identity,),
                (service,),
                number,
                True,
                "gw",
                "x.org",
            )
        )

    async def clean(self) -> None:
        assert (await audit(self.charged.parts)).faults == []

    async def tend(self) -> None:
        agenda = Agenda(self.charged.parts, self.holdings)
        await agenda.once()
        assert agenda.faults == 0

    async def records(self) -> list[Rows]:
        place = self.account.profile
        keys = self.charged.parts.keys[place.partition]
        seen = await self.charged.look(place.partition, [keys.book(place.account)])
        return [each for each in seen.records if isinstance(each, Rows)]

    async def posted(self) -> int:
        return (await self.look()).book.posted_micros


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


async def _member(scene: Scene, msisdn: str, cap_micros: int = 0) -> SubscriberId:
    new = NewSubscriber(msisdn, "", "t", "prepaid", "EUR", 0)
    code, _ = await scene.charged.accounts.create(new, 0, await scene.look(), cap_micros)
    assert code == Code.SUCCESS
    identity = e164(msisdn)
    assert identity is not None
    return identity


def test_members_use_what_their_account_shares_and_then_its_money_up_to_their_cap(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        child = await _member(scene, "491700000005", cap_micros=2 * EURO)
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
        assert bought.code == Code.SUCCESS
        again = await scene.charged.accounts.find(child)
        assert again is not None
        assert again.own is not None
        assert [row.amount for row in again.own.rows if not row.is_counter] == [500]
        await scene.clean()

    room.run(work())


def test_barring_or_ending_a_member_leaves_the_others_alone(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        child = await _member(scene, "491700000005")
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


def test_a_balance_is_used_extended_over_and_its_number_rests(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-01T12:00", until_ms=UNUSED)
        await scene.at("2027-02-01T12:00")
        assert (await scene.look()).book.until_ms == UNUSED
        await scene.use(10)
        until_ms = (await scene.look()).book.until_ms
        assert until_ms - scene.charged.now_ms == pytest.approx(30 * DAY_MS, abs=10_000)
        await scene.charged.accounts.topup(await scene.look(), 4 * EURO, "till", "small")
        assert (await scene.look()).book.until_ms == until_ms
        await scene.charged.accounts.topup(await scene.look(), 5 * EURO, "till", "great")
        assert (await scene.look()).book.until_ms - until_ms == pytest.approx(30 * DAY_MS, abs=10_000)
        await scene.at("2027-04-03T00:00")
        assert (await scene.use(10)).code == Code.BARRED
        place = scene.account.profile
        await scene.holdings.look_again(place.partition, place.path, 0)
        await scene.tend()
        assert (await scene.look()).book.status is Status.ACTIVE  # in its grace
        await scene.at("2027-04-14T00:00")
        await scene.tend()
        assert (await scene.look()).book.status is Status.TERMINATED
        identity = e164("491700000001")
        assert identity is not None
        assert await scene.charged.accounts.find(identity) is not None
        new = NewSubscriber("491700000001", "", "t", "prepaid", "EUR", 0)
        assert (await scene.charged.accounts.create(new))[0] == Code.EXISTS
        await scene.at("2027-07-14T00:00")
        await scene.tend()
        assert await scene.charged.accounts.find(identity) is None
        assert (await scene.charged.accounts.create(new))[0] == Code.SUCCESS
        await scene.clean()

    room.run(work())


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
        child = await _member(scene, "491700000005", cap_micros=1_500_000)
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
