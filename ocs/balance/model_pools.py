"""Credit pools, said a second time, for the model: what services of a session hold together (MONEY.md, "Credit pools").

Laws
1. An answer adds what its units cost to what the pool holds, a report takes away what it costs, from whomever; nothing else does.
2. Who joins a pool brings what its price may cost beyond the price of a unit times the units.
"""

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from ocs.balance.model_books import Service, Session
from ocs.balance.model_prices import Price, Rate
from ocs.units import Unit


def _each(price: Price) -> Fraction:
    """Return what each unit costs."""
    return Fraction(price.steps[0].price_micros, price.steps[0].per_units)


def may_be_pooled(rate: Rate) -> bool:
    """Tell whether each further unit on a rate costs the same, wherever it stands."""
    price = rate.prices[0]
    bounded = price.minimum_micros or price.cap
    one = len(rate.prices) == len(price.steps) == 1
    return one and not bounded and price.steps[0].price_micros > 0 and rate.unit is not Unit.MONEY


def _others(session: Session, service: Service) -> list[Service]:
    """Return the other services of a service's pool, in the session's order."""
    return [each for each in session.services.values() if each.pool == service.pool and each is not service]


def may_use(session: Session, service: Service, price: Price) -> int:
    """Return the units that a service may have used."""
    if not service.pool:
        return service.grant
    held = service.hold_micros + sum(each.hold_micros for each in _others(session, service))
    return max(service.grant, min(price.limit, floor(held / _each(price))))


def take(session: Session, service: Service, cost_micros: int) -> None:
    """Take what a service's use cost from what its pool holds."""
    for each in [service, *_others(session, service)]:
        taken = min(cost_micros, each.hold_micros)
        each.hold_micros -= taken
        cost_micros -= taken


def leave(session: Session, service: Service) -> None:
    """Let a service go out of its pool; another has what it still holds there."""
    if service.pool:
        for heir in _others(session, service)[:1]:
            heir.hold_micros += service.hold_micros
        service.pool = service.hold_micros = 0


class Share(NamedTuple):
    """What a service adds to its pool: units, what is held for them, and how many it could have had at most."""

    units: int
    hold_micros: int
    most: int


def share(
    service: Service, pool: int, price: Price, wish: int, available_micros: int, *, goes_on: bool
) -> Share:
    """Return what a service may add to a pool; ``goes_on`` where it is in it already, on the same price."""
    has = floor(service.hold_micros / _each(price)) if service.pool == pool else 0
    if has > wish:
        wish = max(ceil(Fraction(wish, 10)), 2 * wish - has)
    beyond = Fraction(0)
    if not goes_on:
        beyond = ceil(_each(price) * (price.steps[0].block - 1)) + Fraction(2 * price.quantum_micros + 1)
        beyond += 0 if service.used.covered else price.fee_micros
    paid = floor(max(Fraction(0), available_micros - beyond) / _each(price))
    units = max(0, min(wish, paid, price.limit - service.used.position))
    return Share(units, ceil(_each(price) * units) + int(beyond) if units else 0, wish)
