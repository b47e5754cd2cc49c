"""Quantities as TMF654 has them ({amount, units}) and as the store counts them, exact both ways.

Laws
1. Money is micro-units of the account's currency, at most six decimals; data octets, voice seconds, sms and other events, all whole.
2. What would have to be rounded is refused, and a unit that is not the bucket's is never converted by guess.
"""

from decimal import Context, Decimal
from enum import StrEnum
from typing import Any, Final

from ocs.http.prepay.errors import bad
from ocs.money import MICROS
from ocs.units import UNITS_MAX


class UsageType(StrEnum):
    """What a bucket is for (definition: UsageType)."""

    MONETARY = "monetary"
    VOICE = "voice"
    DATA = "data"
    SMS = "sms"
    OTHER = "other"


_OCTETS: Final = {
    "octets": 1, "octet": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_SECONDS: Final = {"seconds": 1, "second": 1, "minutes": 60, "minute": 60, "hours": 3_600, "hour": 3_600}
WORDS: Final = {
    UsageType.DATA: _OCTETS,
    UsageType.VOICE: _SECONDS,
    UsageType.SMS: {"events": 1, "messages": 1},
    UsageType.OTHER: {"units": 1, "events": 1, **_OCTETS, **_SECONDS},
}
"""Units that a client may write, by usage type; the first is the one that we write."""

MONEY_ROW: Final = 4
"""The unit of a bucket of money (ocs/rating/products.py, UNIT_OF_ROW)."""
_EXACT: Final = Context(prec=200)
"""More digits than any number that is read has (ocs/http/exact.py)."""
_UNIT_OF_ROW: Final = {1: "octets", 2: "seconds", 3: "events"}


def money(micros: int, currency: str) -> dict[str, Any]:
    """Write micro-units as a Quantity of a currency."""
    return {"amount": decimal_of(micros), "units": currency}


def decimal_of(micros: int) -> Decimal:
    """Return micro-units as the decimal number with at least two and at most six places: 10.00, 0.641667."""
    exact = Decimal(micros).scaleb(-6)
    short = exact.normalize()
    places = -int(short.as_tuple().exponent)
    return exact.quantize(Decimal(1).scaleb(-min(6, max(2, places))))


def units(count: int, row_unit: int, currency: str) -> dict[str, Any]:
    """Write what a bucket counts, in the unit that the store counts it in."""
    if row_unit == MONEY_ROW:
        return money(count, currency)
    return {"amount": count, "units": _UNIT_OF_ROW[row_unit]}


def text(count: int, row_unit: int, currency: str) -> str:
    """Write what a bucket counts for people: 10.00 EUR, 1,048,576 octets."""
    if row_unit == MONEY_ROW:
        return f"{decimal_of(count):f} {currency}"
    return f"{count:,} {_UNIT_OF_ROW[row_unit]}"


def micros_of(amount: Decimal, unit: str, currency: str, where: str = "amount") -> int:
    """Read money as micro-units, of any sign; 400 for another currency and for more than six decimals."""
    if unit != currency:
        raise bad("currency", f"{where}.units: the account is in {currency}; write {currency}")
    return _whole(
        _EXACT.multiply(amount, Decimal(MICROS)),
        f"{where}.amount: money has at most six decimals; write such as 10.00",
    )


def count_of(amount: Decimal, unit: str, usage: UsageType, where: str = "amount") -> int:
    """Read an allowance's quantity in octets, seconds or events, of any sign; 400 for what is not whole or in no unit of it."""
    words = WORDS[usage]
    if unit not in words:
        raise bad("units", f"{where}.units: no unit of {usage}; write one of {', '.join(words)}")
    count = _whole(
        _EXACT.multiply(amount, Decimal(words[unit])),
        f"{where}.amount: it has to be a whole number of {next(iter(words))}",
    )
    if abs(count) > UNITS_MAX:
        raise bad("limit", f"{where}.amount: beyond what a bucket holds; write at most {UNITS_MAX}")
    return count


def _whole(exact: Decimal, refusal: str) -> int:
    whole = int(exact)
    if whole != exact:
        raise bad("tooPrecise", refusal)
    return whole
