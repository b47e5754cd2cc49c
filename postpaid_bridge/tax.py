"""Taxes by class and date (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taxes:
    """The table of rates."""

    country: str
