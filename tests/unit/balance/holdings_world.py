"""A network with products on a real store, and a calendar that the test moves."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.agenda import Agenda
from ocs.balance.audit import audit
from ocs.balance.holdings import Holdings
from ocs.balance.stored_book import Row
from ocs.balance.wallets import Wallets
from ocs.charging.ask import INITIAL, TERMINATION, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.names import SubscriberId, e164
from ocs.outcomes import Code
from ocs.rating.product_reading import read_bonus, read_product
from ocs.rating.products import Catalogue
from ocs.rating.tariff import Tariff, read_tariff
from ocs.records import Rows
from tests.charged_store import ChargedStore, StoreRoom
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
LIFELESS = read_tariff(
    """
tariff: t
version: 1
currency: EUR
zone: Europe/Berlin
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
        cls,
        room: StoreRoom,
        credit: int = 100 * EURO,
        at: str = "2027-03-10T12:00",
        until_ms: int = 0,
        tariff: Tariff = TARIFF,
    ) -> "Scene":
        scene = cls(await room.charged({tariff.key: tariff}, RULES, 2))
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

    async def agenda(self) -> dict[str, int]:
        """What is due in the subscriber's partition, and when."""
        keys = self.charged.parts.keys[self.account.profile.partition]
        found = await self.charged.store.execute(keys.slot, "ZRANGE", keys.agenda, 0, -1, "WITHSCORES")
        return {name.decode(): int(score) for name, score in zip(found[::2], found[1::2], strict=True)}

    async def records(self) -> list[Rows]:
        place = self.account.profile
        keys = self.charged.parts.keys[place.partition]
        seen = await self.charged.look(place.partition, [keys.book(place.account)])
        return [each for each in seen.records if isinstance(each, Rows)]

    async def posted(self) -> int:
        return (await self.look()).book.posted_micros


async def member_of(scene: Scene, msisdn: str, cap_micros: int = 0) -> SubscriberId:
    new = NewSubscriber(msisdn, "", "t", "prepaid", "EUR", 0)
    code, _ = await scene.charged.accounts.create(new, 0, await scene.look(), cap_micros)
    assert code == Code.SUCCESS
    identity = e164(msisdn)
    assert identity is not None
    return identity
