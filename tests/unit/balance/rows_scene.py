"""A subscriber, or the members of one account, on a wallet that the test says, for tests of rows on a real store."""

import time
from dataclasses import replace
from typing import Any

from ocs.balance.accounts import Account
from ocs.balance.audit import audit
from ocs.balance.book import Rules
from ocs.balance.stored_book import Row
from ocs.charging.ask import NOT_GIVEN, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.life import Life
from ocs.rating.openings import OpenedRow
from ocs.rating.rates import Facts, Rate
from ocs.rating.sources import COUNTER_IDS, Source, SourceKind
from ocs.rating.tariff import Tariff, read_tariff
from ocs.records import Charge
from ocs.units import Unit
from tests.charged_store import ChargedStore, StoreRoom

RULES = Rules(QuotaRules(10**9, 3_600, 10, 3_600, 10**9, 100, 10), 7_200_000, 300_000, 1_000)
FAR_MS = 2**41
MONTH = COUNTER_IDS + 1
PER_SECOND = 'voice: {unit: seconds, steps: [{block: 1, price: "1.00", per: second}]}'
PER_MINUTE = 'voice: {unit: seconds, steps: [{block: minute, price: "0.10", per: minute}]}'
PER_MIB = 'data: {unit: octets, steps: [{block: MiB, price: "0.01", per: MiB}]}'
TIERS = """data:
    unit: octets
    steps: [{block: 10, price: "1.00", per: 10}, {from: 100, block: 10, price: "0.50", per: 10}]"""


def tariff_of(services: str) -> Tariff:
    return read_tariff(f"tariff: t\nversion: 1\ncurrency: EUR\nservices:\n  {services}\n", "t.yaml")


class FixedWallet:
    """A wallet that has the same sources for everything."""

    def __init__(self, tariff: Tariff, *sources: Source, first_ms: int = 0, grace_ms: int = 0) -> None:
        self.tariff = replace(tariff, life=Life(first_ms, grace_ms))
        self.told = sources

    def sources(self, _rate: Rate, _facts: Facts, _at_ms: int) -> tuple[Source, ...]:
        return self.told

    def facts_looked_at(self, _service: str) -> frozenset[str]:
        return frozenset()

    unknown: tuple[str, ...] = ()

    def due(self, _at_ms: int) -> tuple[()]:
        return ()

    def cap(self, _at_ms: int) -> None:
        return None


def units(row: int, block: int, take: int, *, own: int = 0) -> Source:
    return Source(SourceKind.UNITS, own, row, 0, FAR_MS, block, take)


def counter(
    kind: SourceKind, cap: int = 0, *, own: int = 0, start_ms: int = 0, until_ms: int = FAR_MS
) -> Source:
    return Source(kind, own, MONTH, start_ms, until_ms, cap_micros=cap)


BLOCKER = Source(SourceKind.BLOCK)


class Scene:
    """One subscriber, or the members of one account, whose requests come one after the other."""

    def __init__(self, charged: ChargedStore, account: Account, family: str) -> None:
        self.charged, self.account, self.family = charged, account, family
        self.numbers: dict[str, int] = {}

    @classmethod
    async def made(
        cls,
        room: StoreRoom,
        services: str,
        *sources: Source,
        credit: int = 100_000_000,
        until_ms: int = 0,
        **life: int,
    ) -> "Scene":
        tariff = tariff_of(services)
        charged = await room.charged({tariff.key: tariff}, RULES, 2)
        wallet = FixedWallet(tariff, *sources, **life)
        charged.book.wallets = lambda _profile, _tariff: wallet
        account = await charged.subscriber("491700000001", "", "t", 0, credit)
        if until_ms:
            assert await charged.accounts.amend(account, until_ms=until_ms) == Code.SUCCESS
        family = services.partition(":")[0]
        return cls(charged, account, family)

    async def open(self, *rows: OpenedRow, **more: Any) -> Code:
        await self.look()
        code, *_ = await self.charged.accounts.open_rows(
            self.account, rows, more.pop("price", 0), "test", **more
        )
        return code

    async def look(self) -> Account:
        found = await self.charged.accounts.read(self.account.profile.partition, self.account.profile.path)
        assert found is not None
        self.account = found
        return found

    async def row(self, row_id: int, start_ms: int = 0) -> Row:
        found = await self.look()
        rows = found.book.rows + (found.own.rows if found.own is not None else ())
        return next(each for each in rows if (each.id, each.start_ms) == (row_id, start_ms))

    async def ask(
        self,
        kind: int,
        used: int | None,
        wanted: int | None,
        session: str = "s",
        msisdn: str = "491700000001",
    ) -> Outcome:
        number = self.numbers[session] = self.numbers.get(session, -1) + 1
        unit = Unit.OCTETS if self.family == "data" else Unit.SECONDS
        identity = e164(msisdn)
        assert identity is not None
        service = AskedService("", None, None, _units(unit, used), _units(unit, wanted))
        context = {"data": "32251@3gpp.org", "voice": "32260@3gpp.org"}[self.family]
        self.charged.clock.wall_ms = time.time_ns() // 1_000_000
        return await self.charged.charge(
            Ask(
                kind,
                session,
                number,
                self.family,
                context,
                (identity,),
                (service,),
                number,
                True,
                "gw",
                "x.org",
            )
        )

    async def granted(self, kind: int, used: int | None, wanted: int | None, **more: Any) -> int:
        outcome = await self.ask(kind, used, wanted, **more)
        return outcome.services[0].granted if outcome.services else 0

    async def clean(self) -> None:
        """Let the audit prove what stands; wounds are in test_audit_rows.py."""
        assert (await audit(self.charged.parts)).faults == []

    async def last(self) -> Charge:
        place = self.account.profile
        seen = await self.charged.look(
            place.partition, [self.charged.parts.keys[place.partition].book(place.account)]
        )
        return [each for each in seen.records if isinstance(each, Charge)][-1]


def _units(unit: Unit, count: int | None) -> Units | None:
    if count is None:
        return None
    fields = [NOT_GIVEN] * 3
    fields[unit - 1] = count
    return Units(*fields)


def bucket(row: int, unit: int, amount: int, *, start_ms: int = 0, until_ms: int = FAR_MS) -> OpenedRow:
    return OpenedRow(row, unit, start_ms, until_ms, amount)
