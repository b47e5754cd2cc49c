"""Money in integers: micro-units of the account's currency, read from text and written to text without loss.

Laws
1. An amount is an ``int`` of micro-units (1 EUR = 1,000,000). No float ever holds money.
2. Every number that the store computes with stays below 2**53, because Lua's numbers are doubles;
   ``EXACT_MAX`` is asserted here and in the Lua twin (ocs/balance/functions/ocs.lua).
3. Rounding is named: floor, ceil, half up. Nothing rounds by accident.
"""

import re

MICROS = 1_000_000
EXACT_MAX = 2**53 - 1
"""Largest integer that a double holds exactly together with all below it."""

_AMOUNT = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,6})?")


class AmountError(ValueError):
    """Text that is no amount of money; the message says what was read and what would be right."""


def parse_amount(text: str) -> int:
    """Read decimal text ("10.00", "-50", "0.641667") as micro-units.

    At most ten digits before and six after the point; anything else, exponents, signs but a leading
    minus, spaces and grouping included, is an AmountError.
    """
    if not _AMOUNT.fullmatch(text):
        raise AmountError(
            f"not an amount: {text[:40]!r}; write decimal text with up to six decimals, such as 10.00"
        )
    sign = -1 if text.startswith("-") else 1
    whole, _, decimals = text.lstrip("-").partition(".")
    return sign * (int(whole) * MICROS + int(decimals.ljust(6, "0")))


def format_amount(micros: int) -> str:
    """Write micro-units as decimal text with at least two and up to six decimals, never rounded."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def mul_div_floor(a: int, b: int, c: int) -> int:
    """Return floor(a * b / c) for a, b >= 0 and c > 0; the result and b * c stay below 2**53 (the Lua twin needs it)."""
    return _exact(a * b // c, b, c)


def mul_div_ceil(a: int, b: int, c: int) -> int:
    """Return ceil(a * b / c) under the bounds of mul_div_floor."""
    return _exact(-(-a * b // c), b, c)


def mul_div_half_up(a: int, b: int, c: int) -> int:
    """Return a * b / c rounded half up under the bounds of mul_div_floor."""
    return _exact((2 * a * b + c) // (2 * c), b, c)


def _exact(result: int, b: int, c: int) -> int:
    if not (0 <= result <= EXACT_MAX and b >= 0 and c > 0 and b * c <= EXACT_MAX):
        raise OverflowError(f"beyond the exact range of the store: result {result}, factor {b}, divisor {c}")
    return result
