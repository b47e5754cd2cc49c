"""From an Ask to a Plan: the small program that the store runs in one call; pure, and the same data in Python and in Lua.

The store knows what only it can know (cumulative usage, money available); everything that can be decided without it is
decided here: the subscriber's tariff, the ladder of each service, what is wanted at most, how long it holds.
"""

from typing import NamedTuple

from ocs.charging.ask import Ask, AskedService, Units
from ocs.names import SubscriberId
from ocs.outcomes import Code
from ocs.rating.ladder import Ladder
from ocs.rating.tariff import ServiceTariff, Tariff
from ocs.units import Unit


class Profile(NamedTuple):
    """What a plan needs to know of an account; kept in the store, cached by workers, told apart by ``version``."""

    account: str
    partition: int
    version: int
    msisdn: str
    imsi: str
    tariff: str
    kind: str
    currency: str

    def owns(self, identity: SubscriberId) -> bool:
        """Tell whether an identity names this account."""
        return identity.value in {self.msisdn, self.imsi}


class QuotaRules(NamedTuple):
    """Config of grants: most units a request gets (and what it gets when it asks for none), their life, greatest rates."""

    octets: int
    seconds: int
    events: int
    validity_s: int
    octets_per_s: int
    seconds_per_s: int
    events_per_s: int

    def most(self, unit: Unit) -> int:
        """Return the largest grant of a unit."""
        return self[unit - 1]

    def rate_max(self, unit: Unit) -> int:
        """Return the greatest believable rate of a unit per second (DESIGN law 8)."""
        return self[unit + 3]


class PlannedService(NamedTuple):
    """One service of the plan; the order of the fields is the Lua library's (charge.lua, A_KEY ...)."""

    key: str
    refusal: int
    unit: int
    used: Units
    wants: int
    validity_s: int
    rate_max: int
    ladders: tuple[Ladder, ...]
    posts: tuple[tuple[int, int], ...]
    ladder: int


class Plan(NamedTuple):
    """The request's plan, without the store's own facts (epoch, offset), which the Book adds."""

    kind: int
    number: int
    digest: int
    account: str
    version: int
    tariff: str
    at_ms: int
    session_id: str
    services: tuple[PlannedService, ...]


_NOTHING = Units()


def plan(
    ask: Ask, profile: Profile, tariff: Tariff | None, tariff_key: str, rules: QuotaRules, at_ms: int
) -> Plan:
    """Make the plan of a request for an account on a tariff ("name@version"); one that is not known (None) refuses every service."""
    priced = tariff.services.get(ask.family) if tariff is not None and ask.family is not None else None
    services = tuple([_service(each, priced, rules) for each in ask.services])
    return Plan(
        ask.kind,
        ask.number,
        ask.digest,
        profile.account,
        profile.version,
        tariff_key,
        at_ms,
        ask.session_id,
        services,
    )


def _service(asked: AskedService, priced: ServiceTariff | None, rules: QuotaRules) -> PlannedService:
    used = asked.used if asked.used is not None else _NOTHING
    if priced is None:
        refusal = Code.UNRATED if asked.wanted is not None else 0
        return PlannedService(asked.key, int(refusal), int(Unit.OCTETS), used, 0, 0, 0, (), (), 0)
    unit = priced.unit
    wants = 0
    if asked.wanted is not None:
        most = rules.most(unit)
        wanted = asked.wanted[unit - 1]
        # nothing asked, zero asked, or another kind asked than the tariff measures: the server chooses (INTERFACE, Grants)
        wants = most if wanted <= 0 else min(wanted, most)
    reported = used[unit - 1]
    posts = ((1, reported),) if reported >= 0 else ()
    return PlannedService(
        asked.key,
        0,
        int(unit),
        used,
        wants,
        rules.validity_s,
        rules.rate_max(unit),
        (priced.ladder,),
        posts,
        1,
    )
