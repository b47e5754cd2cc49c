"""The examples that need allowances, caps of a day or shared balances, charged live from tariffs and products as they are written."""

import pytest

from ocs.balance.accounts import NewSubscriber
from ocs.balance.audit import audit
from ocs.balance.holdings import Holdings
from ocs.balance.wallets import Wallets
from ocs.charging.ask import INITIAL, TERMINATION
from ocs.money import parse_amount
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.product_reading import read_product
from ocs.rating.products import Catalogue, Product
from ocs.rating.tariff import Tariff, read_tariff
from tests.charged_store import StoreRoom
from tests.vectors.rating.element import Element

HEAD = "tariff: t\nversion: 1\ncurrency: EUR\nzone: Europe/Berlin\n"
PER_SECOND = 'steps: [{block: 1, price: "1.00", per: second}]'
PER_MIB = read_tariff(
    HEAD + 'services: {data: {unit: octets, steps: [{block: MiB, price: "0.01", per: MiB}]}}', "t.yaml"
)
PER_MINUTE = read_tariff(
    HEAD + 'services: {voice: {unit: seconds, steps: [{block: minute, price: "0.10", per: minute}]}}',
    "t.yaml",
)
CAPPED = read_tariff(
    HEAD
    + f'rates: [{{name: calls, service: voice, cap_per_day: {{amount: "30.00", then: free}}, {PER_SECOND}}}]',
    "t.yaml",
)
PLAIN = read_tariff(HEAD + f"services: {{voice: {{unit: seconds, {PER_SECOND}}}}}", "t.yaml")
TIERED = read_tariff(
    HEAD
    + """rates:
  - name: out
    service: data
    axis: period
    period: month
    steps: [{block: 1000, price: "1.00", per: 1000}, {from: 5000, block: 1000, price: "0.25", per: 1000}]
""",
    "t.yaml",
)


def product(service: str, unit: str, amount: str, block: str) -> Product:
    return read_product(
        f"""
product: p
version: 1
price: "0.00"
currency: EUR
charge: recurring
period: calendar-month
zone: Europe/Berlin
allowances: [{{name: a, unit: {unit}, amount: {amount}, uses: [{{service: {service}, block: {block}}}]}}]
""",
        "p.yaml",
    )


async def with_products(
    room: StoreRoom, on: Tariff, family: str, *sold: Product, credit: str = "1000.00"
) -> Element:
    """An element whose subscriber has bought the products, on 4 February 2026 at noon."""
    element = await Element.made(room, on, family, credit)
    await element.at("2026-02-04T12:00")
    charged = element.charged
    catalogue = Catalogue(sold)
    charged.book.wallets = Wallets(catalogue)
    holdings = Holdings(
        charged.parts, charged.accounts, charged.clock, catalogue, charged.book.tariffs.newest
    )
    for each in sold:
        found = await charged.accounts.read(element.account.profile.partition, element.account.profile.path)
        assert found is not None
        assert (await holdings.buy(found, each, each.key)).code == Code.SUCCESS
    return element


async def call(element: Element, units: int, *cuts: int) -> int:
    """A session of so many units, reported in pieces; what the account pays for it."""
    before = await element.posted()
    element.session_id = f"gw;{element.number + 2}"
    await element.initial(None, units, group=None)
    for cut in cuts:
        await element.update(cut, units, group=None)
    await element.end(units - sum(cuts), group=None)
    assert (await audit(element.charged.parts)).faults == []
    return await element.posted() - before


@pytest.mark.parametrize("cuts", [(), (35,), (60, 1), (59, 1, 1)])
def test_row_18_free_minutes_and_then_blocks(room: StoreRoom, cuts: tuple[int, ...]) -> None:
    async def work() -> None:
        element = await with_products(
            room, PER_MINUTE, "voice", product("voice", "seconds", "60 minutes", "minute")
        )
        assert await call(element, 59 * 60) == 0
        assert await call(element, 150, *cuts) == parse_amount("0.20")

    room.run(work())


@pytest.mark.parametrize("cuts", [(), (1_500_000,), (1_499_999, 2), (100, 1_000_000)])
def test_row_21_an_allowance_of_octets_and_then_money(room: StoreRoom, cuts: tuple[int, ...]) -> None:
    async def work() -> None:
        element = await with_products(room, PER_MIB, "data", product("data", "octets", "1500000", "1"))
        assert await call(element, 2_000_000, *cuts) == parse_amount("0.01")

    room.run(work())


def test_row_23_a_cap_of_a_day_makes_the_rest_free(room: StoreRoom) -> None:
    async def work() -> None:
        element = await with_products(room, CAPPED, "voice")
        costs = [await call(element, 20) for _ in range(3)]
        await element.at("2026-02-05T00:00:01")
        costs.append(await call(element, 20))
        assert costs == [20_000_000, 10_000_000, 0, 20_000_000]

    room.run(work())


def test_row_24_a_member_stops_at_its_cap_and_others_go_on(room: StoreRoom) -> None:
    async def work() -> None:
        element = await with_products(room, PLAIN, "voice", credit="100.00")
        charged = element.charged
        for number, cap in (("491700000002", 10_000_000), ("491700000003", 0)):
            new = NewSubscriber(number, "", "t", "prepaid", "EUR", 0)
            code, _ = await charged.accounts.create(new, 0, element.account, cap)
            assert code == Code.SUCCESS
        granted: list[tuple[Code, int]] = []
        for number, wanted in (("491700000002", 15), ("491700000003", 15), ("491700000002", 15)):
            identity = e164(number)
            assert identity is not None
            outcomes = []
            for kind, used in ((INITIAL, None), (TERMINATION, min(wanted, 10))):
                ask = element.ask_of(
                    kind, f"{number};{len(granted)}", identity, used, None if used else wanted
                )
                outcomes.append(await charged.charge(ask))
            granted.append((outcomes[0].code, outcomes[0].services[0].granted))
        assert granted == [(Code.SUCCESS, 10), (Code.SUCCESS, 15), (Code.CREDIT_LIMIT, 0)]
        assert await element.posted() == 20_000_000
        assert (await audit(charged.parts)).faults == []

    room.run(work())


def test_steps_of_a_period_go_on_from_session_to_session_until_the_month_ends(room: StoreRoom) -> None:
    async def work() -> None:
        element = await with_products(room, TIERED, "data")
        # 3 blocks; 2 at 1.00 and 2 at 0.25; 1 at 0.25; and in March from the beginning
        costs = [await call(element, 2_500), await call(element, 4_000, 1_500), await call(element, 1)]
        await element.at("2026-03-01T00:00:01")
        costs.append(await call(element, 1))
        assert costs == [3_000_000, 2_500_000, 250_000, 1_000_000]

    room.run(work())
