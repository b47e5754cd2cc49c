"""The kinds of unit that a service is measured and granted in (RFC 8506 section 8.17, 8.18)."""

from enum import IntEnum


class Unit(IntEnum):
    """What one unit is; the numbers are shared with the Lua library and kept in records, so they never change."""

    OCTETS = 1
    SECONDS = 2
    EVENTS = 3
    MONEY = 4
    """Micro-units of the account's currency, of a service that its client rates itself (RFC 8506 section 8.22)."""


UNITS_MAX = 2**50
"""Greatest cumulative position on any axis: a pebioctet, or 35 million years of seconds."""
