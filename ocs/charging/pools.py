"""Credit pools (RFC 8506 sections 5.1.2 and 8.30 to 8.32; TS 32.299 clause 6.3): who may be in one, and how it is told; pure.

Laws
1. An abstract service unit of a pool is one micro-unit of the account's currency, so a multiplier is the price of one unit of the
   service in micro-units. It is written exactly, or rounded up at MULTIPLIER_DIGITS digits: no client may use more than is held.
2. In a pool are only services whose price for each further unit is the same wherever they stand: one window, one step, no minimum, no
   cap, nothing that is paid or counted beside the account's money, not free, not rated by its client. What blocks, rounding and a
   connect fee cost beyond that is held besides (functions/pools.lua, beyond_linear). All others are granted as ever.
3. The multiplier is of the ladder that the grant was made on, which the plan knows; whether it went into a pool only the store does.
"""

from collections.abc import Mapping
from typing import Any, Final

from ocs.charging.ask import Ask, AskedService
from ocs.charging.outcome import NO_POOLS, Pooled
from ocs.charging.quota import ByGroup, Sizes
from ocs.diameter.writers import encode_avps
from ocs.rating.ladder import CapMode, Ladder
from ocs.units import Unit

MULTIPLIER_DIGITS: Final = 17
"""So many digits fit Value-Digits (Integer64); what the last of them rounds up is below a micro-unit of all that a session can cost."""
_UNIT_TYPES: Final = {Unit.SECONDS: 0, Unit.OCTETS: 2, Unit.EVENTS: 5}
"""CC-Unit-Type (RFC 8506 section 8.32): TIME, TOTAL-OCTETS, SERVICE-SPECIFIC-UNITS."""


def linear(ladder: Ladder, unit: Unit) -> bool:
    """Tell whether services on a ladder may be in a pool, by their price alone (law 2)."""
    return (
        unit in _UNIT_TYPES
        and len(ladder.steps) == 1
        and ladder.steps[0].price_micros > 0
        and not ladder.minimum_micros
        and ladder.cap_mode == CapMode.NONE
    )


def pooled(
    ask: Ask, services: tuple[AskedService, ...], own: ByGroup[Sizes], ladders: tuple[Ladder, ...], unit: Unit
) -> Mapping[str, Pooled]:
    """Return those of a request's services, all on one rate of these ladders, whose grants are to go into a pool, by key."""
    if not ask.multiple or len(ladders) > 1 or not linear(ladders[0], unit):
        return NO_POOLS
    asking = [each for each in services if each.wanted is not None]
    return {
        each.key: Pooled(pool, ladders[0]) for each in asking if (pool := own[each.rating_group].pool)
    } or NO_POOLS


def multiplier(ladder: Ladder) -> dict[str, int]:
    """Return the multiplier of a service on a ladder, as a Unit-Value (law 1)."""
    step = ladder.steps[0]
    price, per, exponent = step.price_micros, step.per_units, 0
    while price % per and len(str(price // per)) < MULTIPLIER_DIGITS and exponent > -_PLACES_MAX:
        price, exponent = price * 10, exponent - 1
    return {"Value-Digits": -(-price // per), "Exponent": exponent}


_PLACES_MAX: Final = 40
"""A price of 1 micro-unit per 2^40 units has its first digit at the 13th place."""


def reference(pool: int, ladder: Ladder, unit: Unit) -> bytes:
    """Encode the G-S-U-Pool-Reference of a grant (RFC 8506 section 8.30)."""
    told: dict[str, Any] = {
        "G-S-U-Pool-Identifier": pool,
        "CC-Unit-Type": _UNIT_TYPES[unit],
        "Unit-Value": multiplier(ladder),
    }
    return encode_avps({"G-S-U-Pool-Reference": told})
