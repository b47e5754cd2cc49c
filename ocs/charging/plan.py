"""From an Ask to a Plan: the small program that the store runs in one call; pure, and the same data in Python and in Lua.

The store knows what only it can know (cumulative usage, money available); everything that can be decided without it is
decided here: the subscriber's tariff, the ladder of each service, what is wanted at most, how long it holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ocs.charging.ask import Ask, Units
from ocs.names import SubscriberId
from ocs.outcomes import Code
from ocs.rating.ladder import Ladder
from ocs.rating.tariff import Tariff


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
    """Config of grants: most units a request gets (and what it gets when it asks for none), their life, greatest rates.

    The rates are the greatest that are believed, in units per second (DESIGN law 8); the kinds are in the order of Unit.
    """

    octets: int
    seconds: int
    events: int
    validity_s: int
    octets_per_s: int
    seconds_per_s: int
    events_per_s: int


_NOTHING = Units()
_REFUSED = int(Code.UNRATED)


class Plan(NamedTuple):
    """A request's services as the store reads them (charge.lua, A_KEY and the rest), each list flat.

    ``ladders`` are packed, each once. ``services`` holds WIDTH values for each service: key, refusal, unit, used of each kind (-1:
    not told), wanted, validity in seconds, greatest rate a second, the ladder that a grant is priced on (counted from 1; 0: none),
    and how many of the ``pieces`` are its own: pairs of a ladder and the units used on it, in the services' order.
    """

    ladders: list[bytes]
    services: list[Any]
    pieces: list[int]


WIDTH = 11


def plan(ask: Ask, tariff: Tariff | None, rules: QuotaRules, ladder_text: Callable[[Ladder], bytes]) -> Plan:
    """Make the plan of a request on a tariff; one that is not known (None) refuses every service. ``ladder_text`` packs a ladder."""
    priced = tariff.services.get(ask.family) if tariff is not None and ask.family is not None else None
    services: list[Any] = []
    pieces: list[int] = []
    if priced is None:
        for key, _, _, used, wanted in ask.services:
            refusal = _REFUSED if wanted is not None else 0
            services += (key, refusal, 1, *(_NOTHING if used is None else used), 0, 0, 0, 0, 0)
        return Plan([], services, pieces)
    at = priced.unit - 1
    most, rate = rules[at], rules[at + 4]
    for key, _, _, used, wanted in ask.services:
        octets, seconds, events = reported = _NOTHING if used is None else used
        wants = 0
        if wanted is not None:
            # nothing asked, zero asked, or another kind asked than the tariff measures: the server chooses (INTERFACE, Grants)
            wants = wanted[at] if 0 < wanted[at] < most else most
        count = 0
        if reported[at] >= 0:
            pieces += (1, reported[at])
            count = 1
        services += (key, 0, at + 1, octets, seconds, events, wants, rules.validity_s, rate, 1, count)
    return Plan([ladder_text(priced.ladder)], services, pieces)
