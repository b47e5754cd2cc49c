"""The quota of services by family and rating group: what a plan asks for, and the AVPs that go with a grant; pure.

Laws
1. A family of which config says nothing is not here: it costs a look into an empty dict, and its answers stay what they are.
2. Quota-Holding-Time, Quota-Consumption-Time and thresholds are AVPs of 3GPP: a family is known by its context 322nn@3gpp.org alone,
   so no other context gets them (CLIENTS 20). TS 32.299 clause 7.2 demands their M-bit.
3. Quota-Consumption-Time goes with seconds only (TS 32.299 clause 7.2, Quota-Consumption-Time); a threshold goes with the kind of unit that is granted, is
   never above the grant, and is not sent with the last units: who asks before their end would get nothing for it.
4. What does not change from answer to answer is encoded once.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from ocs.charging.quota_text import NUMBER_MAX, OWN_UNIT, QuotaText, ServiceText, threshold
from ocs.diameter.codec import writer
from ocs.units import Unit

T = TypeVar("T")

_holding = writer("Quota-Holding-Time")
_consumption = writer("Quota-Consumption-Time")
_THRESHOLDS: Final[Mapping[Unit, Callable[[int], bytes]]] = {
    Unit.OCTETS: writer("Volume-Quota-Threshold"),
    Unit.SECONDS: writer("Time-Quota-Threshold"),
    Unit.EVENTS: writer("Unit-Quota-Threshold"),
}


class ByGroup(dict[int | None, T]):
    """What holds for the services of a family, by rating group; None is what holds for all others."""

    def __missing__(self, group: int | None) -> T:
        """Return what holds for a rating group that does not differ."""
        return self[None]


class Sizes(NamedTuple):
    """How much a service gets and for how long: ``chosen`` where nothing is asked, at most ``most``; by unit, in the order of Unit."""

    chosen: tuple[int, int, int]
    most: tuple[int, int, int]
    validity_s: int


class Extras:
    """The AVPs that go with a grant of one service: ``extras(unit, units, final)`` are their octets."""

    __slots__ = ("_own_unit", "_per_cent", "_standing", "_units")

    def __init__(self, text: ServiceText, own_unit: Unit) -> None:
        holding = _holding(text.holding_s) if text.holding_s >= 0 else b""
        consumption = _consumption(text.consumption_s) if text.consumption_s >= 0 else b""
        self._standing = {unit: holding + (consumption if unit is Unit.SECONDS else b"") for unit in Unit}
        self._per_cent, self._units = threshold(text.threshold)
        self._own_unit = own_unit

    def __bool__(self) -> bool:
        """Tell whether anything goes with a grant."""
        return bool(any(self._standing.values()) or self._per_cent or self._units)

    def __call__(self, unit: Unit, units: int, *, final: bool) -> bytes:
        """Encode what goes with a grant of so many units."""
        standing = self._standing[unit]
        if final:
            return standing
        if self._per_cent:
            left = units * self._per_cent // 100
        elif self._units and unit == self._own_unit:
            left = min(self._units, units)
        else:
            return standing
        return _THRESHOLDS[unit](min(left, NUMBER_MAX)) + standing


def sizes(text: QuotaText, usual: tuple[int, int, int], validity_s: int) -> dict[str, ByGroup[Sizes]]:
    """Return the sizes of the families that have some of their own; ``usual`` is the most of each unit, for a life of ``validity_s``."""
    found = {}
    for name, family in text.families():
        own = ByGroup(
            {group: _sizes(each, OWN_UNIT[name], usual, validity_s) for group, each in family.services()}
        )
        if any(each != Sizes(usual, usual, validity_s) for each in own.values()):
            found[name] = own
    return found


def _sizes(text: ServiceText, unit: Unit, usual: tuple[int, int, int], validity_s: int) -> Sizes:
    place = unit - 1
    most = text.most or usual[place]
    chosen = text.grant or min(usual[place], most)
    return Sizes(_with(usual, unit, chosen), _with(usual, unit, most), text.validity_s or validity_s)


def _with(usual: tuple[int, int, int], unit: Unit, size: int) -> tuple[int, int, int]:
    octets, seconds, events = (size if each is unit else usual[each - 1] for each in Unit)
    return octets, seconds, events


def extras(text: QuotaText) -> dict[str, ByGroup[Extras]]:
    """Return what goes with the grants of the families where anything does."""
    found = {}
    for name, family in text.families():
        own = ByGroup({group: Extras(each, OWN_UNIT[name]) for group, each in family.services()})
        if any(own.values()):
            found[name] = own
    return found
