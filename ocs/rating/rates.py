"""Rates: what a price applies to, how one is chosen, and how usage is cut at the edges of its windows; pure.

Laws
1. The first rate in the file's order whose every condition holds is the one; a condition that is left out always holds.
   A rate that earlier ones leave nothing for is refused when the tariff is read (``unreachable``).
2. A session keeps its rate while its facts stay. Windows are not conditions: a rate has a price for each window, and the
   walk passes from one window's ladder to the next (ladder.py, law 6).
3. What was granted belongs to the window of its grant, since no grant passes an edge (DESIGN law 12), however late it is reported.
   Seconds used beyond the grant belong to the window in which each began; octets and events do not say when they were used.
4. Emergency calls and messages are free, whatever the rates say; so is what a subscriber receives, unless a rate names it:
   the caller pays (and in the EU a roamer receives calls for nothing, Regulation (EU) 2022/612).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ocs.rating.counters import Counter
from ocs.rating.ladder import Ladder
from ocs.rating.numbering import EMERGENCY
from ocs.rating.windows import Calendar
from ocs.units import Unit

AT_HOME = "home"
"""Roaming zone of a subscriber who does not roam: of every request that names no visited network."""

ACCESSES = ("geran", "utran", "hspa-evolution", "eutran", "nb-iot", "lte-m", "nr", "wlan", "gan", "virtual")
"""Access types of 3GPP-RAT-Type (TS 29.061 clause 16.4.7.2) by name."""

OUTGOING, INCOMING = "outgoing", "incoming"
"""Direction of a call or message, seen from the subscriber; data has none and counts as outgoing."""

CUT_BACK_S_MAX = 86_400
"""How far back used seconds are cut at edges. What a report says beyond it belongs to the window in which this reach begins:
no grant lives as long, and the report may be absurd (CC-Time tells up to 136 years)."""

PIECES_MAX = 64
"""Pieces of one service's report. Beyond: all that is older belongs to the first of them. 32 services' pieces have to pass the
store's stack of 8,000 values."""

_PARTS_MAX = 20_000
"""Pieces of a rate that the search for unreachable ones looks at; no believable tariff comes near."""


class Facts(NamedTuple):
    """What is known of a service that asks for a price; None is unknown, and meets only rates without that condition.

    ``apn`` is the network identifier in lower case; ``roaming`` the zone of the visited network.
    """

    service: str
    zone: str | None = None
    roaming: str | None = AT_HOME
    rating_group: int | None = None
    service_identifier: int | None = None
    access: str | None = None
    apn: str | None = None
    called_party: str | None = None
    direction: str | None = OUTGOING


class Conditions(NamedTuple):
    """Values of each fact that a rate applies to, in the order of Facts; None is any."""

    zones: frozenset[str] | None = None
    roaming: frozenset[str] | None = None
    rating_groups: frozenset[int] | None = None
    service_identifiers: frozenset[int] | None = None
    access: frozenset[str] | None = None
    apns: frozenset[str] | None = None
    called_parties: frozenset[str] | None = None
    directions: frozenset[str] | None = None

    def hold(self, facts: Facts) -> bool:
        """Tell whether all of them hold."""
        for values, fact in zip(self, facts[1:], strict=True):
            if values is not None and fact not in values:
                return False
        return True

    @property
    def named(self) -> frozenset[str]:
        """Return the names of the facts that they look at."""
        return frozenset(
            name for name, values in zip(Facts._fields[1:], self, strict=True) if values is not None
        )

    def both(self, other: "Conditions") -> "Conditions":
        """Return the conditions that hold where both do; nowhere when they do not meet."""
        found: list[Any] = [
            two if one is None else one if two is None else one & two
            for one, two in zip(self, other, strict=True)
        ]
        return Conditions(*found)

    def meet(self, other: "Conditions") -> bool:
        """Tell whether some facts hold for both."""
        return all(
            one is None or two is None or not one.isdisjoint(two)
            for one, two in zip(self, other, strict=True)
        )


ANYTHING = Conditions()
ANYTHING_SENT = Conditions(directions=frozenset({OUTGOING}))


class Piece(NamedTuple):
    """Units that were used in one window, and its ladder by index."""

    ladder: int
    units: int


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate of a tariff: its ladders, and which of them each window of the calendar has."""

    name: str
    service: str
    conditions: Conditions
    unit: Unit
    ladders: tuple[Ladder, ...]
    windows: tuple[str, ...]
    """Names of the windows of each ladder, for people; "" when there are none."""
    by_window: tuple[int, ...]
    """Index of the ladder of each window of the calendar; (0,) without one."""
    calendar: Calendar | None
    tax_class: str
    free: bool
    emergency: bool = False
    priority: int = 5
    """Which of a request's services is served first when credit is scarce: 1 before 9; an emergency's is 0."""
    counters: tuple[Counter, ...] = ()
    """What the account's use of this rate counts on: tiers, a cap per day."""
    plain: bool = False
    """Whether it is all that its service has, and has one ladder: then sessions need not say which rate they are on."""

    def __post_init__(self) -> None:
        """Hold law 6 of the ladder: one chain may end on any of the ladders."""
        for one, other in pairwise(self.ladders):
            alike = _common(one) == _common(other) and one.limit == other.limit
            assert alike, "ladders of two chains"

    @property
    def cuts_by_time(self) -> bool:
        """Tell whether what is used beyond a grant is cut at the edges of windows (law 3)."""
        return self.unit == Unit.SECONDS and len(self.ladders) > 1

    def index_at(self, at_ms: int) -> int:
        """Return the index of the ladder that prices what begins at an instant."""
        if self.calendar is None or len(self.ladders) == 1:
            return 0
        return self.by_window[self.calendar.window_at(at_ms)]

    def ladder_at(self, at_ms: int) -> Ladder:
        """Return the ladder that prices what begins at an instant."""
        return self.ladders[self.index_at(at_ms)]

    def mark(self, index: int) -> str:
        """Return the name of the rate and one of its ladders in its version ("" where there is but one): see ``Tariff.mark``."""
        if self.plain:
            return ""
        return self.name if len(self.ladders) == 1 else f"{self.name}/{index}"

    def follows(self, earlier: "Rate") -> bool:
        """Tell whether a walk may pass from another rate to this one as it is: both make the same of its end."""
        return earlier is self or _common(earlier.ladders[0]) == _common(self.ladders[0])

    def edge_after(self, at_ms: int, until_ms: int) -> int | None:
        """Return the first instant after ``at_ms``, and before ``until_ms``, with another ladder: the end of Validity-Time."""
        if self.calendar is None or len(self.ladders) == 1:
            return None
        here = self.index_at(at_ms)
        edge_ms = self.calendar.next_edge_ms(at_ms)
        while edge_ms is not None and edge_ms < until_ms:
            if self.index_at(edge_ms) != here:
                return edge_ms
            edge_ms = self.calendar.next_edge_ms(edge_ms)
        return None

    def pieces(self, units: int, *, start_ms: int) -> list[Piece]:
        """Cut units that began at ``start_ms`` at every edge; nothing for none.

        Seconds are counted from their own begin, so that interims cut like the whole when one begins where the other
        ended. Octets and events take the window at the instant given (law 3).
        """
        if units <= 0:
            return []
        if self.unit != Unit.SECONDS or len(self.ladders) == 1:
            return [Piece(self.index_at(start_ms), units)]
        found: list[Piece] = []
        end_ms = start_ms + 1000 * units
        done = 0
        while done < units:
            begun_ms = start_ms + 1000 * done
            edge_ms = self.edge_after(begun_ms, end_ms)
            fits = units if edge_ms is None else -((start_ms - edge_ms) // 1000)
            until = min(units, fits)
            found.append(Piece(self.index_at(begun_ms), until - done))
            done = until
        return found

    def pieces_until(self, units: int, end_ms: int) -> list[Piece]:
        """Cut seconds that ended at ``end_ms``, no further back than CUT_BACK_S_MAX and into PIECES_MAX pieces at most."""
        reach = min(units, CUT_BACK_S_MAX)
        found = self.pieces(reach, start_ms=end_ms - 1000 * reach)[-PIECES_MAX:]
        if found:
            found[0] = Piece(found[0].ladder, found[0].units + units - sum(piece.units for piece in found))
        return found


def _common(ladder: Ladder) -> tuple[int, ...]:
    """Return what ladders of one chain share (ladder.py, law 6), but the limit."""
    return (
        ladder.axis,
        ladder.scale,
        ladder.quantum_micros,
        ladder.rounding,
        ladder.minimum_micros,
        ladder.cap_micros,
        ladder.cap_mode,
    )


class Choice(NamedTuple):
    """The rates of a tariff in order, and what is free without them (law 4), by service."""

    rates: tuple[Rate, ...]
    emergency: tuple[Rate, ...]
    incoming: tuple[Rate, ...]

    def rate(self, facts: Facts) -> Rate | None:
        """Return the rate of a service; None when the tariff does not price it."""
        if facts.zone == EMERGENCY:
            return _first(self.emergency, facts)
        found = _first(self.rates, facts)
        return _first(self.incoming, facts) if found is None and facts.direction == INCOMING else found


def _first(rates: Sequence[Rate], facts: Facts) -> Rate | None:
    for rate in rates:
        if rate.service == facts.service and rate.conditions.hold(facts):
            return rate
    return None


NO_RATES = Choice((), (), ())


def alone(rates: Sequence[Rate], service: str) -> Rate | None:
    """Return the one rate of a service when one ladder is all there is to it: no condition, window or counter; and it measures use, since
    of money a request has to say how much.
    """
    found = [each for each in rates if each.service == service]
    if len(found) != 1:
        return None
    (only,) = found
    unconditional = only.conditions in {ANYTHING, ANYTHING_SENT}
    measures = only.unit is not Unit.MONEY
    return only if unconditional and measures and len(only.ladders) == 1 and not only.counters else None


# ---------------------------------------------------------------- rates that can never be chosen

_Box = tuple[frozenset[object], ...]
_OTHER = object()
"""Any value that no rate names, unknown ones included."""


def unreachable(rates: Sequence[tuple[str, Conditions]]) -> list[int]:
    """Return the places of (service, conditions) of which earlier ones take everything, alone or together.

    Facts have finitely many values that matter: those that some rate names, and all others as one. A rate is a box of
    them; what earlier boxes leave of it is cut out piece by piece.
    """
    domains: list[set[object]] = [{_OTHER} for _ in ANYTHING]
    for _, conditions in rates:
        for domain, values in zip(domains, conditions, strict=True):
            domain.update(values or ())
    boxes = [
        tuple(
            frozenset(domain if values is None else values)
            for domain, values in zip(domains, conditions, strict=True)
        )
        for _, conditions in rates
    ]
    found = []
    for place, (service, _) in enumerate(rates):
        left = [boxes[place]]
        for earlier in range(place):
            if rates[earlier][0] == service and len(left) < _PARTS_MAX:
                left = [part for box in left for part in _without(box, boxes[earlier])]
        if not left:
            found.append(place)
    return found


def _without(box: _Box, other: _Box) -> list[_Box]:
    """Return what is left of a box without another, as boxes that do not overlap."""
    if any(mine.isdisjoint(theirs) for mine, theirs in zip(box, other, strict=True)):
        return [box]
    parts = []
    for place, (mine, theirs) in enumerate(zip(box, other, strict=True)):
        if outside := mine - theirs:
            shared = tuple(one & two for one, two in zip(box[:place], other[:place], strict=True))
            parts.append((*shared, outside, *box[place + 1 :]))
    return parts
