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


def plan(
    ask: Ask, tariff: Tariff | None, rules: QuotaRules, ladder_text: Callable[[Ladder], bytes]
) -> list[Any]:
    """Make the services of a request's plan on a tariff; one that is not known (None) refuses every service.

    They come one after the other in one flat list, as the store reads them (charge.lua, A_KEY and the rest): key, refusal, unit,
    used of each kind, wanted, validity in seconds, greatest rate a second, the ladder that a grant is priced on; then
    the ladders (``ladder_text`` packs them) and the pieces of what was used (ladder, units), each list behind its count.
    """
    priced = tariff.services.get(ask.family) if tariff is not None and ask.family is not None else None
    services: list[Any] = []
    for key, _, _, used, wanted in ask.services:
        octets, seconds, events = reported = _NOTHING if used is None else used
        if priced is None:
            refusal = _REFUSED if wanted is not None else 0
            services += (key, refusal, 1, octets, seconds, events, 0, 0, 0, 0, 0, 0)
            continue
        at = priced.unit - 1
        wants = 0
        if wanted is not None:
            # nothing asked, zero asked, or another kind asked than the tariff measures: the server chooses (INTERFACE, Grants)
            wants, asked = rules[at], wanted[at]
            if 0 < asked < wants:
                wants = asked
        services += (key, 0, at + 1, octets, seconds, events, wants, rules.validity_s, rules[at + 4], 1)
        services += (1, ladder_text(priced.ladder))
        services += (1, 1, reported[at]) if reported[at] >= 0 else (0,)
    return services
