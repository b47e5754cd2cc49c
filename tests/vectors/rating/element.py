"""A network element with one subscriber, whose requests come when the test says, and a tariff with windows, zones and roaming."""

import time
from typing import Any, NamedTuple

from ocs.balance.accounts import Account
from ocs.balance.book import Rules
from ocs.charging.ask import INITIAL, NOT_GIVEN, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.charging.plan import QuotaRules
from ocs.money import parse_amount
from ocs.names import SubscriberId, e164
from ocs.outcomes import Code
from ocs.rating.numbering import read_numbering
from ocs.rating.tariff import Tariff, read_tariff
from ocs.records import Charge
from ocs.units import Unit
from tests.charged_store import ChargedStore, StoreRoom
from tests.vectors.rating.table import CONTEXTS, instant_ms

MSISDN = "491700000001"
RULES = Rules(QuotaRules(10**9, 3_600, 10, 3_600, 10**9, 10, 10), 7_200_000, 300_000, 1_000)
PLANS = {
    "sample": read_numbering(
        'numbering: sample\ncountry_code: "49"\nzones: [near, far]\nprefixes: p\nroaming_zones: [home, eu, world]\nnetworks: n\n',
        "sample.yaml",
        {"p": "prefix,zone\n49,near\n1,far\n", "n": "network,zone\n262,home\n208,eu\n310,world\n"},
    )
}
SAMPLE = """
tariff: sample
version: 1
currency: EUR
numbering: sample
calendar:
  zone: Europe/Berlin
  default: night
  windows: {day: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "08:00", to: "18:00"}]}
rates:
  - name: near
    service: voice
    zones: [near]
    windows:
      day: {steps: [{block: 1, price: "0.02", per: second}]}
      night: {steps: [{block: 1, price: "0.01", per: second}]}
  - {name: far, service: voice, zones: [far], steps: [{block: 1, price: "0.50", per: second}]}
  - {name: free-app, service: data, rating_groups: [900], free: true}
  - name: at-home
    service: data
    roaming: [home]
    windows:
      day: {steps: [{block: 100, price: "0.10", per: 100}]}
      night: {steps: [{block: 100, price: "0.03", per: 100}]}
  - name: in-the-eu
    service: data
    roaming: [eu]
    minimum: "2.00"
    cap_per_session: {amount: "3.00", then: free}
    steps: [{block: 100, price: "0.20", per: 100}]
  - name: by-time
    service: data
    unit: seconds
    roaming: [world]
    steps: [{block: 1, price: "1.00", per: second}]
"""
NEAR, FAR, EMERGENCY, RECEIVED = (
    {"IMS-Information": {"Called-Party-Address": "+4930123456"}},
    {"IMS-Information": {"Called-Party-Address": "sip:+15551234@ims.example.org"}},
    {"IMS-Information": {"Called-Party-Address": "112"}},
    {"IMS-Information": {"Called-Party-Address": "+491700000001", "Role-Of-Node": 1}},
)
HOME, EU, WORLD, NOWHERE = (
    {"PS-Information": {"3GPP-SGSN-MCC-MNC": network}} for network in ("26201", "20801", "310410", "99999")
)
NOON, EVENING = "2026-02-05T12:00", "2026-02-05T17:50"


class Seen(NamedTuple):
    """Money of the account in micro-units."""

    posted_micros: int
    pending_micros: int


class Element:
    """A network element with one subscriber and one session, whose requests come when the test says."""

    def __init__(self, charged: ChargedStore, account: Account, tariff: Tariff, family: str) -> None:
        self.charged, self.account, self.tariff, self.family = charged, account, tariff, family
        self.number = -1
        self.session_id = "gw;1"
        charged.clock.keep_up = lambda: None  # type: ignore[method-assign] # `at` says what time it is

    @classmethod
    async def made(cls, room: StoreRoom, tariff: Tariff, family: str, credit: str = "20000.00") -> "Element":
        charged = await room.charged({tariff.key: tariff}, RULES, 2)
        account = await charged.subscriber(MSISDN, "", tariff.name)
        left = parse_amount(credit)
        while left:
            amount = min(left, 10**10)
            done = await charged.accounts.topup(account, amount, "test", str(left))
            assert done.code == Code.SUCCESS
            left -= amount
        return cls(charged, account, tariff, family)

    async def at(self, instant: str | int) -> None:
        """Move the calendar to an instant: wall-clock time of the tariff, or milliseconds."""
        now_ms = instant_ms(self.tariff, instant) if isinstance(instant, str) else instant
        self.charged.clock.wall_ms = time.time_ns() // 1_000_000
        await self.charged.move_time(now_ms - self.charged.now_ms)

    async def send(
        self,
        kind: int,
        *,
        used: int | None = None,
        wanted: int | None = None,
        told: dict[str, Any] | None = None,
        group: int | None = 10,
        unit: Unit | None = None,
        after: int | None = None,
    ) -> Outcome:
        """Send one request of one service."""
        self.number += 1
        identity = e164(MSISDN)
        assert identity is not None
        kinds = unit or (Unit.OCTETS if self.family == "data" else Unit.SECONDS)
        service = AskedService(
            "" if group is None else str(group),
            group,
            None,
            _units(kinds, used),
            _units(kinds, wanted),
            _units(kinds, after),
        )
        await self.at(self.charged.now_ms)  # the machine's time went on; the test's stands still
        return await self.charged.charge(
            Ask(kind, self.session_id, self.number, self.family, CONTEXTS[self.family], (identity,), (service,), self.number,
                True, "gw", "example.org", told)
        )  # fmt: skip

    def ask_of(
        self, kind: int, session_id: str, identity: SubscriberId, used: int | None, wanted: int | None
    ) -> Ask:
        """A request of somebody else's session, of one service without a group."""
        unit = Unit.OCTETS if self.family == "data" else Unit.SECONDS
        service = AskedService("", None, None, _units(unit, used), _units(unit, wanted))
        return Ask(
            kind, session_id, kind, self.family, CONTEXTS[self.family], (identity,), (service,), kind, True, "gw", "example.org"
        )  # fmt: skip

    async def initial(self, told: dict[str, Any] | None, wanted: int = 0, **more: Any) -> ServiceOutcome:
        """Open the session; the only service's decision."""
        (service,) = (await self.send(INITIAL, wanted=wanted, told=told, **more)).services
        return service

    async def update(self, used: int, wanted: int = 0, **more: Any) -> ServiceOutcome:
        (service,) = (await self.send(UPDATE, used=used, wanted=wanted, **more)).services
        return service

    async def end(self, used: int, **more: Any) -> Outcome:
        return await self.send(TERMINATION, used=used, **more)

    async def money(self) -> Seen:
        found = await self.charged.accounts.read(self.account.profile.partition, self.account.profile.account)
        assert found is not None
        return Seen(found.book.posted_micros, found.book.pending_micros)

    async def posted(self) -> int:
        return (await self.money()).posted_micros

    async def last_record(self) -> Charge:
        place = self.account.profile
        seen = await self.charged.look(
            place.partition, [self.charged.parts.keys[place.partition].book(place.account)]
        )
        found = [each for each in seen.records if isinstance(each, Charge)]
        return found[-1]

    def forget(self) -> None:
        """Let a worker answer that has never heard of the session."""
        self.charged.book.known.clear()


def _units(unit: Unit, count: int | None) -> Units | None:
    if count is None:
        return None
    fields = [NOT_GIVEN] * 3
    fields[unit - 1] = count
    return Units(*fields)


def sample(**changes: str) -> Tariff:
    text = SAMPLE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return read_tariff(text, "sample.yaml", PLANS)
