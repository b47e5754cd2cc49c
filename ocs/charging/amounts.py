"""Amounts of money as Diameter writes them (RFC 8506 sections 8.8 to 8.11 and 8.22): Value-Digits * 10^Exponent; pure.

Laws
1. An amount is whole micro-units, or it is refused: nothing is rounded that a client has rated.
2. What is written has no zero at its end that says nothing: 1.50 is 15 * 10^-1.
"""

from collections.abc import Mapping
from typing import Any, Final

from ocs.diameter.writers import encode_avps
from ocs.limits import MONEY_EXPONENT_MAX
from ocs.rating.currencies import numeric
from ocs.units import UNITS_MAX

_MICROS_EXPONENT: Final = -6


def micros_of(value: Mapping[str, Any]) -> int | None:
    """Read a Unit-Value as micro-units; None for what is no amount: negative, finer than a micro-unit, or beyond UNITS_MAX."""
    digits, exponent = value["Value-Digits"], value.get("Exponent", 0)
    if digits < 0 or not -MONEY_EXPONENT_MAX <= exponent <= MONEY_EXPONENT_MAX:
        return None
    places = exponent - _MICROS_EXPONENT
    whole, rest = (digits * 10**places, 0) if places >= 0 else divmod(digits, 10**-places)
    return None if rest or whole > UNITS_MAX else int(whole)


def unit_value(micros: int) -> dict[str, int]:
    """Return the Unit-Value of an amount (law 2)."""
    digits, exponent = micros, _MICROS_EXPONENT
    while exponent < 0 and digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    return {"Value-Digits": digits, "Exponent": exponent}


def money(micros: int, currency: str) -> dict[str, Any]:
    """Return the members of a group that tells an amount in a currency (its letters): CC-Money, Cost-Information."""
    return {"Unit-Value": unit_value(micros), "Currency-Code": numeric(currency)}


def failed_currency(currency: int) -> bytes:
    """Encode the Currency-Code that an account does not have, for a Failed-AVP."""
    return encode_avps({"Currency-Code": currency})
