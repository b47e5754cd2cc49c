"""What things cost, said a second time, for the model: exact fractions, a window for each second.

Laws
1. Nothing of ocs.rating is imported but what a source is, which is data.
2. A block belongs to the price in which it begins; later prices go on from where blocks were paid to.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any, NamedTuple

from ocs.rating.sources import Source
from ocs.units import Unit

CUT_BACK_S, PIECES = 86_400, 64
"""How far back used seconds are told apart by window, and into how many pieces at most."""


class PricedStep(NamedTuple):
    """Blocks that begin in [start, end) cost ``block * price_micros / per_units`` each."""

    start: int
    end: int
    block: int
    price_micros: int
    per_units: int


class Price(NamedTuple):
    """What one service costs in one window; ``rounding`` is "half-up", "up" or "down" to a multiple of the quantum.

    ``cap`` is "" (none), "free" (what comes after costs nothing) or "stop" (nothing is granted beyond it).
    """

    unit: Unit
    steps: tuple[PricedStep, ...]
    fee_micros: int
    quantum_micros: int
    rounding: str
    limit: int
    minimum_micros: int = 0
    cap_micros: int = 0
    cap: str = ""

    def exact(self, position: int) -> Fraction:
        """Return the exact cost in micro-units of the first ``position`` units of an axis."""
        return use(self, UNUSED, position).cost

    def rounded(self, position: int) -> int:
        """Return the cost of the first ``position`` units as it is posted."""
        return posted(self, use(self, UNUSED, position))

    def affordable(self, position: int, wanted: int, posted_micros: int, available_micros: int) -> int:
        """Return what ``affordable`` says after ``position`` units of this price alone."""
        return affordable(self, use(self, UNUSED, position), wanted, posted_micros, available_micros)


class Used(NamedTuple):
    """How far a service has come: units used, end of the last block paid, and the exact cost in micro-units."""

    position: int
    covered: int
    cost: Fraction


UNUSED = Used(0, 0, Fraction(0))


def use(price: Price, before: Used, units: int, ahead: int = 0) -> Used:
    """Use units at a price: pay the blocks that they begin.

    ``ahead`` is how far the axis on which the steps are chosen is ahead of the service's own (``axis: period``).
    """
    position, covered, cost = before.position + units, before.covered, before.cost
    if position > 0 and covered == 0:
        cost += price.fee_micros
    for step in price.steps:
        end = position if step is price.steps[-1] else min(step.end - ahead, position)
        blocks = max(0, ceil(Fraction(end - covered, step.block)))
        cost += blocks * step.block * Fraction(step.price_micros, step.per_units)
        covered += blocks * step.block
    return Used(position, covered, cost)


def posted(price: Price, used: Used) -> int:
    """Return what is posted for all that was used: rounded once, at least the minimum, at most a cap that frees the rest."""
    quanta = used.cost / price.quantum_micros
    count = {"half-up": floor(quanta + Fraction(1, 2)), "up": ceil(quanta), "down": floor(quanta)}[
        price.rounding
    ]
    cost = count * price.quantum_micros
    if used.position:
        cost = max(cost, price.minimum_micros)
    return min(cost, price.cap_micros) if price.cap == "free" else cost


def affordable(
    price: Price, used: Used, wanted: int, posted_micros: int, available_micros: float, ahead: int = 0
) -> int:
    """Return the most units up to ``wanted`` whose cost beyond ``posted_micros`` is at most ``available_micros``.

    That may be infinite, where what costs more is free; a cap that disconnects bounds it all the same.
    """
    budget = posted_micros + max(0, available_micros)
    if price.cap == "stop":
        budget = min(budget, max(posted_micros, price.cap_micros))
    most, beyond = 0, min(wanted, price.limit - used.position) + 1
    while beyond - most > 1:  # the cost never falls, so halving finds the edge
        middle = (most + beyond) // 2
        within = posted(price, use(price, used, middle, ahead)) <= budget
        most, beyond = (middle, beyond) if within else (most, middle)
    return most


def follows(price: Price, earlier: Price) -> bool:
    """Tell whether what was used at another price goes on at this one as it is: both make the same of its end."""
    return all(
        getattr(price, name) == getattr(earlier, name)
        for name in ("quantum_micros", "rounding", "minimum_micros", "cap_micros", "cap")
    )


class Rate(NamedTuple):
    """One rate of an offer: the price in each window, and the zones called, networks visited and rating groups that it is for.

    ``priority`` is its turn where credit is scarce, lowest first; what is ``free`` has no sources.
    """

    name: str
    prices: tuple[Price, ...]
    zones: frozenset[str] | None = None
    networks: frozenset[str] | None = None
    groups: frozenset[int] | None = None
    priority: int = 5
    free: bool = False

    def mark(self, window: int) -> str:
        """Return what a session says of the rate that it is on."""
        return self.name if len(self.prices) == 1 or not self.name else f"{self.name}/{window}"

    @property
    def unit(self) -> Unit:
        """Return what it is measured in."""
        return self.prices[0].unit

    def fits(self, place: "Place", group: int | None) -> bool:
        """Tell whether it is for this."""
        return (
            (self.zones is None or place.zone in self.zones)
            and (self.networks is None or (place.network or "home") in self.networks)
            and (self.groups is None or group in self.groups)
        )


class Place(NamedTuple):
    """What is known of where a service goes: zone called, network visited, direction; "" where nothing was told."""

    zone: str = ""
    network: str = ""
    direction: str = ""

    @property
    def text(self) -> str:
        """Return it as sessions and records have it."""
        return f"{self.zone},{self.network},,,,{self.direction}".rstrip(",")

    def after(self, family: str | None, told: "Place") -> "Place":
        """Return what is known once a later request has told something: data sessions move, calls stay what they were."""
        if family == "data":
            return Place(*[new or old for old, new in zip(self, told, strict=True)])
        return self


NOWHERE = Place()


class Offer(NamedTuple):
    """A tariff's version: its key, the price of each family that has one only, and the rates of the others.

    ``window`` tells which window an instant in milliseconds belongs to and ``edge`` the instant at which the next begins;
    ``place`` what a request's information tells of a service of a family, and ``wallet`` the sources of a rate by its name, family
    and instant, in order. ``first_ms`` is the life of an account from its first use (0: no end), ``grace_ms`` how long after its end
    it still receives.
    """

    key: str
    prices: Mapping[str, Price]
    rates: Mapping[str, tuple[Rate, ...]] = {}
    free: Mapping[str, Rate] = {}
    """By "emergency voice", "incoming sms" and the like."""
    window: Callable[[int], int] = lambda _at_ms: 0
    edge: Callable[[int], int] = lambda _at_ms: 2**62
    place: Callable[[str, Any], Place] = lambda _family, _information: NOWHERE
    wallet: Callable[[str, str, int], tuple[Source, ...]] = lambda _rate, _family, _at_ms: ()
    first_ms: int = 0
    grace_ms: int = 0

    def sells(self, family: str | None) -> bool:
        """Tell whether it has a price for anything of a family, be it what is free in every tariff."""
        return family in self.prices or family in self.rates or f"emergency {family}" in self.free

    def rate(self, family: str | None, place: Place, group: int | None) -> Rate | None:
        """Return the rate for a grant; None when nothing prices it."""
        if family is None or not self.sells(family):
            return None
        if family != "data" and place.zone == "emergency":
            return self.free[f"emergency {family}"]
        if family != "data" and place.direction:
            return self.free[f"incoming {family}"]
        if family in self.prices:
            return Rate("", (self.prices[family],))
        return next((rate for rate in self.rates.get(family, ()) if rate.fits(place, group)), None)

    def sources(self, rate: Rate, family: str | None, at_ms: int) -> tuple[Source, ...]:
        """Return what a grant on a rate may be paid from, in order."""
        if rate.free or family is None:
            return ()
        # a service may stay on a rate of another family than its request's
        own = next(
            (each for each, rates in self.rates.items() if rate.name in {r.name for r in rates}), family
        )
        return self.wallet(rate.name, own, at_ms)

    def marked(self, family: str | None, mark: str) -> tuple[Rate, int] | None:
        """Return rate and window of a mark."""
        if not mark:
            plain = self.prices.get(family or "")
            return None if plain is None else (Rate("", (plain,)), 0)
        for rate in (*(each for rates in self.rates.values() for each in rates), *self.free.values()):
            for window in range(len(rate.prices)):
                if rate.mark(window) == mark:
                    return rate, window
        return None


def version(offer: Offer) -> int:
    """Return an offer's place among the versions of its name."""
    return int(offer.key.partition("@")[2])


class Version(NamedTuple):
    """A version of an offer: from when on it counts, and whether running sessions go on with it then."""

    offer: Offer
    effective_ms: int
    takes_along: bool


class Versions(list[Version]):
    """The later versions of all offers, as they came to be known; an offer that is none of them counts from always."""

    def of(self, offer: Offer) -> list[Version]:
        """Return the versions of an offer's name, the highest first."""
        name = offer.key.partition("@")[0]
        mine = [each for each in self if each.offer.key.partition("@")[0] == name]
        return sorted(mine, key=lambda each: version(each.offer), reverse=True)

    def newest(self, offer: Offer, now_ms: int) -> Offer:
        """Return what a session that begins now gets."""
        return next((each.offer for each in self.of(offer) if each.effective_ms <= now_ms), offer)

    def above(self, offer: Offer) -> list[Version]:
        """Return the versions that take sessions of an offer along, the highest first."""
        return [each for each in self.of(offer) if version(each.offer) > version(offer) and each.takes_along]

    def following(self, offer: Offer, now_ms: int) -> Offer | None:
        """Return what a session of an offer goes on with now."""
        return next((each.offer for each in self.above(offer) if each.effective_ms <= now_ms), None)

    def edge(self, offer: Offer, now_ms: int) -> int:
        """Return the next instant at which sessions of an offer are taken along."""
        return min(
            (each.effective_ms for each in self.above(offer) if each.effective_ms > now_ms), default=2**62
        )


def pieces(
    offer: Offer, rate: Rate, window: int, reported: int, count: int, grant: int, now_ms: int
) -> list[tuple[Price, int]]:
    """Return ``count`` of the units reported now, each at its price: granted ones at their grant's, further seconds by when they began.

    Those that are not believed are the oldest of the report.
    """
    if len(rate.prices) == 1 or rate.unit is not Unit.SECONDS:
        return [(rate.prices[window], count)]
    granted = min(count, grant)
    beyond = _by_time(offer, rate, reported, now_ms)
    skipped = reported - (count - granted)
    return [(rate.prices[window], granted), *_without_first(beyond, skipped)]


def _without_first(told: list[tuple[Price, int]], units: int) -> list[tuple[Price, int]]:
    left = []
    for price, count in told:
        skipped = min(units, count)
        units -= skipped
        if count > skipped:
            left.append((price, count - skipped))
    return left


def _by_time(offer: Offer, rate: Rate, reported: int, now_ms: int) -> list[tuple[Price, int]]:
    """Return seconds that end now, each at the price of the window in which it began."""
    reach = min(reported, CUT_BACK_S)
    runs: list[list[int]] = []
    for second in range(reach):
        at = offer.window(now_ms - 1000 * (reach - second))
        if not runs or runs[-1][0] != at:
            runs.append([at, 0])
        runs[-1][1] += 1
    runs = runs[-PIECES:]
    if runs:
        runs[0][1] += reported - sum(units for _, units in runs)
    return [(rate.prices[at], units) for at, units in runs]
