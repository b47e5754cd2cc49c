"""Recorded usage priced again: one service of one session, from its first unit on, by the engine that charged it; pure.

Laws
1. Nothing is computed here that the ladder does not compute. On the tariff that it was charged on, usage costs what was posted, to
   the micro-unit (tests/property/test_rerate.py): whatever a tariff does not tell (an absurd report set aside, the use after a
   tariff change) shows as another amount, and is not compared then.
2. A grant's rate prices what is reported next: what was granted in the window of the grant, seconds beyond it cut at the edges of
   windows back from the report; octets and events all in the window of their grant (rates.py, law 3).
3. A grant on a rate that does not follow the one before closes the chain: what was posted is where it begins (MONEY.md).
4. What cannot be compared is named (``Why``), never guessed.
"""

from collections.abc import Callable
from enum import StrEnum

from ocs.rating.ladder import ORIGIN, Ladder, Walk, advance, total
from ocs.rating.numbering import EMERGENCY, Numbering
from ocs.rating.rates import INCOMING, Facts, Rate
from ocs.rating.tariff import Tariff
from ocs.units import Unit


class Why(StrEnum):
    """Why usage cannot be compared."""

    BEGUN = "began before the records, or on another version"
    TARIFF = "recorded tariff not known"
    SERVICE = "service not told by the record"
    LATE = "granted by a request that came late"
    FACTS = "recorded tariff kept less than the other looks at"
    ZONES = "zones of another numbering plan"
    NO_RATE = "no rate in the other tariff"
    COUNTERS = "counted by day, month or spend cap in the other tariff"
    ROWS = "paid from restricted money, or free beyond a cap"
    REFUND = "given back by a refund"
    UNIT = "measured in other units"
    LIMIT = "beyond what a price can count"
    OTHERWISE = "its own tariff gives another amount"


class Chain:
    """One service of a session on one tariff: granted, used, granted again."""

    __slots__ = ("_index", "_posted_micros", "_rate", "_walk")

    def __init__(self) -> None:
        self._walk: Walk = ORIGIN
        self._posted_micros = 0
        self._rate: Rate | None = None
        self._index = 0

    @property
    def position(self) -> int:
        """Return the units used so far."""
        return self._walk.position

    def grant(self, rate: Rate, index: int, *, closes: bool = False) -> None:
        """Go on with a grant on one of a rate's ladders; ``closes`` where that is another version's (charging/switch.py)."""
        if self._rate is not None and (closes or not rate.follows(self._rate)):
            self._walk = self._walk._replace(whole_micros=self._posted_micros, frac=0)
        self._rate, self._index = rate, index

    def use(self, units: int, reported: int, end_ms: int, granted: int, tier: int | None = None) -> int:
        """Use units, the last ones of so many that were reported at an instant; the micro-units that this posts.

        So many of them as were ``granted`` belong to the window of their grant. ``tier`` is where the counter stood that chooses the
        steps, where one does. Raises OverflowError beyond the ladder's limit.
        """
        rate = self._rate
        assert rate is not None
        if units <= 0:
            return 0
        walk, left, skipped, ladder = self._walk, units, reported - units, rate.ladders[self._index]
        shift = 0 if tier is None else tier - walk.covered
        if rate.cuts_by_time:
            first = min(left, granted)
            walk = advance(ladder, walk, first, shift)
            left, skipped = left - first, skipped + first
        for each, count in self._pieces(reported, end_ms):
            if left == 0:
                break
            passed = min(skipped, count)
            used = min(left, count - passed)
            ladder, skipped, left = each, skipped - passed, left - used
            walk = advance(ladder, walk, used, shift)
        self._walk = walk
        amount = max(0, total(ladder, walk) - self._posted_micros)
        self._posted_micros += amount
        return amount

    def _pieces(self, reported: int, end_ms: int) -> list[tuple[Ladder, int]]:
        rate = self._rate
        assert rate is not None
        if rate.unit != Unit.SECONDS or len(rate.ladders) == 1:
            return [(rate.ladders[self._index], reported)]
        return [(rate.ladders[index], count) for index, count in rate.pieces_until(reported, end_ms)]


_ALWAYS_TOLD = frozenset({"service", "rating_group", "service_identifier", "direction"})
_OF_WHAT_IS_CALLED = frozenset({"zone", "called_party"})


def comparable(recorded: Tariff, other: Tariff, facts: Facts, *, one_plan: Callable[[], bool]) -> Rate | Why:
    """Return the rate of another tariff for facts that a session kept, or why usage is not to be compared on it."""
    rate = rate_told(recorded, other, facts, one_plan=one_plan)
    if not isinstance(rate, Rate):
        return rate
    counted = rate.counters or any(cap.service == facts.service for cap in other.spend_caps)
    return Why.COUNTERS if counted and recorded.key != other.key else rate


def rate_told(recorded: Tariff, other: Tariff, facts: Facts, *, one_plan: Callable[[], bool]) -> Rate | Why:
    """Return the rate of another tariff for facts that a session kept, or why they do not tell it.

    ``one_plan`` says that both have the same numbering plan: a zone is what a plan makes of a number that nobody kept.
    """
    if facts.zone != EMERGENCY:
        looked_at = (other.looked_at(facts.service) or frozenset()) - _ALWAYS_TOLD
        if facts.direction == INCOMING:
            looked_at -= _OF_WHAT_IS_CALLED  # there is no number called
        if looked_at - (recorded.looked_at(facts.service) or frozenset()):
            return Why.FACTS
        if looked_at & {"zone", "roaming", "called_party"} and not one_plan():
            return Why.ZONES
    rate = other.rate(facts)
    return Why.NO_RATE if rate is None else rate


def same_plan(one: Numbering | None, other: Numbering | None) -> bool:
    """Tell whether two numbering plans give every number and network the same zone."""
    return one is other or one == other
