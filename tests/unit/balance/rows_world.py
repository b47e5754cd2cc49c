"""A model with one account, for tests of buckets, counters and lives: asks are written in one line, time and wallet set by hand."""

from ocs.balance.model import Model
from ocs.balance.model_books import Account, Member, Service, Terms
from ocs.balance.model_prices import Offer, Place, Price, Rate
from ocs.balance.model_rows import MONEY_UNIT
from ocs.charging.ask import INITIAL, NOT_GIVEN, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.rating.sources import COUNTER_IDS, Source, SourceKind
from ocs.records import Charge, Status
from ocs.units import Unit
from tests.property.ladders import price_of

AT_MS = 1_795_046_400_000
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
END_MS = AT_MS + DAY_MS
UNIT = 1_000_000
"""A unit of the currency, in micro-units."""
TERMS = Terms((10**9, 10**6, 10**3, 1), (10**9, 10**6, 10**3, 1), 7_200, 10 * DAY_MS, 300_000)
FREE_RATES = {
    name: Rate(name, (price_of(Unit.SECONDS, (0, 1, 0, 1)),), free=True)
    for name in ("emergency voice", "incoming voice")
}
SMALL = {"data": Unit.OCTETS, "voice": Unit.SECONDS, "sms": Unit.EVENTS}


def bucket(
    id_: int, block: int, take: int, *, own: int = 0, start_ms: int = AT_MS, until_ms: int = END_MS
) -> Source:
    return Source(SourceKind.UNITS, own, id_, start_ms, until_ms, block, take)


def money(id_: int) -> Source:
    return Source(SourceKind.MONEY, 0, id_, AT_MS, END_MS)


def counter(
    kind: SourceKind, cap_micros: int = 0, *, own: int = 0, id_: int = 1, start_ms: int = AT_MS
) -> Source:
    return Source(kind, own, COUNTER_IDS + id_, start_ms, start_ms + END_MS - AT_MS, cap_micros=cap_micros)


BLOCKER = Source(SourceKind.BLOCK)


class World:
    """One account, its members, and what its tariff sells; ``sources`` and ``at_ms`` may be changed at any time."""

    def __init__(
        self,
        *sources: Source,
        credit: int = 100 * UNIT,
        price: Price | None = None,
        family: str = "voice",
        rates: tuple[Rate, ...] = (),
        first_ms: int = 0,
        grace_ms: int = 0,
    ) -> None:
        self.sources: tuple[Source, ...] = sources
        self.by_rate: dict[str, tuple[Source, ...]] = {}
        self.at_ms = AT_MS
        self.family = family
        prices = {} if rates else {family: price or price_of(SMALL[family], (0, 1, UNIT, 1))}
        self.offer = Offer(
            "t@1", prices, {family: rates} if rates else {}, FREE_RATES,
            place=lambda _family, told: Place(**(told or {})),
            wallet=lambda rate, _family, _at_ms: self.by_rate.get(rate, self.sources),
            first_ms=first_ms, grace_ms=grace_ms,
        )  # fmt: skip
        self.model = Model(TERMS, {})
        self.account = Account("a", "", self.offer, 0)
        self.model.open(self.account, AT_MS, credit)
        self.numbers: dict[str, int] = {}

    # ---------------------------------------------------------------- what is there

    def row(self, source: Source, amount: int = 0, used: int = 0, member: str = "") -> None:
        """Open a bucket for a source."""
        unit = MONEY_UNIT if source.kind == SourceKind.MONEY else SMALL[self.family]
        told = [(source.id, unit, source.start_ms, source.until_ms, amount)]
        self.model.open_rows(self.account, told, 0, "test", self.at_ms, member=member)
        self.account.own(member).rows[source.id, source.start_ms].used = used

    def join(self, *names: str) -> None:
        for name in names:
            self.model.join(self.account, Member(name, "", self.offer), self.at_ms)

    def used(self, source: Source, member: str = "") -> int:
        row = self.account.row(member, source)
        return 0 if row is None else row.used

    def pending(self, source: Source, member: str = "") -> int:
        return self.account.pending(member, source.own, (source.id, source.start_ms))

    def service(self, session: str = "s", key: str = "1") -> Service:
        return self.account.sessions[session].services[key]

    def opens(self, session: str = "s", key: str = "1") -> list[int]:
        return [part.open for part in self.service(session, key).parts]

    @property
    def charged(self) -> Charge:
        """The last record, which is a charge."""
        last = self.account.records[-1]
        assert isinstance(last, Charge)
        return last

    # ---------------------------------------------------------------- what is asked

    def send(
        self,
        *services: tuple[int, int | None, int | None],
        session: str = "s",
        member: str = "",
        end: bool = False,
        told: dict[str, str] | None = None,
        number: int | None = None,
    ) -> Outcome:
        """Charge services of (rating group, used, wanted); a session begins with its first request."""
        begun = session in self.numbers
        count = self.numbers.get(session, -1) + 1 if number is None else number
        self.numbers[session] = max(count, self.numbers.get(session, -1))
        kind = TERMINATION if end else UPDATE if begun else INITIAL
        asked = tuple(
            AskedService(str(group), group, None, self._units(used), self._units(wanted))
            for group, used, wanted in services
        )
        ask = Ask(kind, session, count, self.family, "c", (), asked, 0, True, "gw", "example.org", told)
        return self.model.charge(self.account, ask, self.at_ms, member)

    def _units(self, count: int | None) -> Units | None:
        if count is None:
            return None
        return Units(*[count if unit is SMALL[self.family] else NOT_GIVEN for unit in Unit])

    def ask(self, wanted: int, session: str = "s", **more: str) -> ServiceOutcome:
        """Ask for units of rating group 1."""
        return self.send((1, None, wanted), session=session, **more).services[0]  # type: ignore[arg-type]

    def use(self, used: int, wanted: int | None = None, session: str = "s") -> ServiceOutcome:
        """Report units of rating group 1, and perhaps ask for more."""
        return self.send((1, used, wanted), session=session).services[0]

    def call(self, used: int, session: str, member: str = "") -> int:
        """Begin a session, use it, end it: what the account paid."""
        before = self.account.posted_micros
        self.send((1, None, used), session=session, member=member)
        self.send((1, used, None), session=session, member=member, end=True)
        return self.account.posted_micros - before

    def bar(self, member: str = "") -> None:
        self.model.amend(self.account, self.at_ms, status=Status.BARRED, member=member)
