"""The quota of services by family and rating group: what a plan asks for, and the AVPs that go with a grant; pure.

Laws
1. A family of which config says nothing is not here: it costs a look into an empty dict, and its answers stay what they are.
2. Quota-Holding-Time, Quota-Consumption-Time and thresholds are AVPs of 3GPP: a family is known by its context 322nn@3gpp.org alone,
   so no other context gets them (CLIENTS 20). TS 32.299 clause 7.2 demands their M-bit.
3. Quota-Consumption-Time goes with seconds only (TS 32.299 clause 7.2, Quota-Consumption-Time); a threshold goes with the kind of unit that is granted, is
   never above the grant, and is not sent with the last units: who asks before their end would get nothing for it.
4. REDIRECT and RESTRICT_ACCESS act at once where a service gets nothing for want of credit: it is granted zero units, with the action
   beside them (RFC 8506 section 8.34, TS 32.299 clause 6.4.2), and its session goes on. With TERMINATE it is refused.
5. Triggers name the changes that a rate, a cap or a product's use looks at, and no other. What nothing looks at asks for no report: an
   empty Trigger takes back those that the client has by itself (TS 32.299 clause 7.2, Trigger).
6. What is told of the balance is what the account (of a member: its account) has available once the request was charged: balance less
   what is reserved, less the credit floor. A repeated request gets the same decision, and is told what is available when it is repeated.
7. Where the server chooses, a grant may follow the speed of use (``adapt_s``): between ``chosen`` and ``most``, so that it lasts about
   that long. What goes beyond ``chosen`` costs at most ``share`` per cent of what is available, so that no service holds all of a poor
   account; ``chosen`` itself is granted as ever. The fuller a
   worker is, the longer a grant is to last, up to four times, so that the same sessions ask less often. Only the store knows the speed: it decides (grants.lua, grown).
8. What does not change from answer to answer is encoded once.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple, TypeVar

from ocs.charging.ask import AskedService
from ocs.charging.final_units import indication
from ocs.charging.outcome import More, Pooled
from ocs.charging.quota_text import (
    ADAPT_S_MAX,
    NUMBER_MAX,
    OWN_UNIT,
    FamilyText,
    QuotaText,
    ServiceText,
    threshold,
)
from ocs.diameter.codec import writer
from ocs.diameter.writers import encode_avps
from ocs.money import parse_amount
from ocs.rating.currencies import numeric
from ocs.units import Unit

T = TypeVar("T")

_TRIGGERS: Final[Mapping[str, tuple[int, ...]]] = {"access": (4,), "roaming": (30, 31)}
"""Trigger-Types (TS 32.299 clause 7.2) of what rates look at: CHANGE_IN_RAT; CHANGEINLOCATION_MCC and _MNC. The rest does not change
in a session."""

_TERMINATES: Final = indication(FamilyText())
_ALL, _STRETCH = 100, 3
_LOW: Final = [encode_avps({"Low-Balance-Indication": value}) for value in (0, 1)]
_MICROS_EXPONENT: Final = -6
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
    """How much a service gets and for how long: ``chosen`` where nothing is asked, at most ``most``; by unit, in the order of Unit.

    ``restricts`` tells that the end of credit is no refusal (law 4); ``adapt_s`` and ``share`` are those of law 7 (0: not so); ``pool`` is the
    number of the credit pool (pools.py; 0: none).
    """

    chosen: tuple[int, int, int]
    most: tuple[int, int, int]
    validity_s: int
    restricts: bool = False
    adapt_s: int = 0
    share: int = 0
    pool: int = 0


def _restricts(text: ServiceText) -> bool:
    return text.final_action != "TERMINATE"


@cache
def _trigger(looked_at: frozenset[str]) -> bytes:
    kinds = [kind for name, kinds in _TRIGGERS.items() if name in looked_at for kind in kinds]
    return encode_avps({"Trigger": {"Trigger-Type": kinds}})


class Extras:
    """The AVPs that go with a grant of one service: ``extras(unit, units, more, final=…)`` are their octets.

    ``last_units`` says alone that the units are the last.
    """

    __slots__ = (
        "_own_unit",
        "_per_cent",
        "_standing",
        "_triggers",
        "_units",
        "last_units",
        "tells_edges",
        "tells_pool",
    )

    def __init__(self, text: ServiceText, own_unit: Unit) -> None:
        holding = _holding(text.holding_s) if text.holding_s >= 0 else b""
        consumption = _consumption(text.consumption_s) if text.consumption_s >= 0 else b""
        self._standing = {unit: holding + (consumption if unit is Unit.SECONDS else b"") for unit in Unit}
        self._per_cent, self._units = threshold(text.threshold)
        self._own_unit, self._triggers = own_unit, text.triggers
        self.last_units = indication(text)
        self.tells_edges = text.tariff_time_change
        """Whether units say when their price changes; their life ends there in any case (plan.py, law 3)."""
        self.tells_pool = text.pool > 0
        """Whether units may say that they are of a pool (pools.py)."""

    def __bool__(self) -> bool:
        """Tell whether anything is otherwise than without a word in config."""
        return bool(
            any(self._standing.values())
            or self._per_cent
            or self._units
            or self._triggers
            or self.tells_edges
            or self.tells_pool
            or self.last_units != _TERMINATES
        )

    def __call__(self, unit: Unit, units: int, more: More | None, *, final: bool) -> bytes:
        """Encode what goes with a grant of so many units; with none of them only that they are the last."""
        if not units:
            return self.last_units
        standing = self._standing[unit]
        told = unit in _THRESHOLDS  # there is none of money
        if self._triggers and more is not None:
            standing += _trigger(more.looked_at)
        if final:
            return self.last_units + standing
        if self._per_cent and told:
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
    return Sizes(
        _with(usual, unit, chosen),
        _with(usual, unit, most),
        text.validity_s or validity_s,
        _restricts(text),
        text.adapt_s,
        text.share if text.adapt_s else 0,
        text.pool,
    )


def _with(usual: tuple[int, int, int], unit: Unit, size: int) -> tuple[int, int, int]:
    octets, seconds, events = (size if place == unit else each for place, each in enumerate(usual, 1))
    return octets, seconds, events


class BalanceText:
    """Writes what is told of a balance (TS 32.299 clause 7.2, Low-Balance-Indication and Remaining-Balance)."""

    __slots__ = ("_low_micros", "_remaining")

    def __init__(self, text: QuotaText) -> None:
        self._low_micros = parse_amount(text.low_balance) if text.low_balance else None
        self._remaining = text.remaining_balance

    def __call__(self, available_micros: int, currency: str) -> bytes:
        """Encode it, for a currency in letters (ISO 4217)."""
        low = b"" if self._low_micros is None else _LOW[available_micros < self._low_micros]
        if not self._remaining:
            return low
        amount = {"Value-Digits": available_micros, "Exponent": _MICROS_EXPONENT}
        return low + encode_avps(
            {"Remaining-Balance": {"Unit-Value": amount, "Currency-Code": numeric(currency)}}
        )


def limits(
    own: ByGroup[Sizes] | None,
    services: tuple[AskedService, ...],
    units: list[int],
    pools: Mapping[str, Pooled],
    *,
    tells_balance: bool,
    load: int = 0,
) -> list[int]:
    """Return what the store is told beside a plan (plan.lua, Q_FIXED): whether to tell the balance, then of each service whether it
    restricts, how long a grant is to last, the most of its unit (``units``), the share, and its pool. Empty where there is nothing to tell it.

    ``load`` is how much of what a worker may have under way it has, in per cent: with it a grant that follows the speed of use is to last
    longer, up to four times (law 7).
    """
    if own is None:
        return [1] if tells_balance else []
    told = [int(tells_balance)]
    for (key, group, _, _, wanted, _), unit in zip(services, units, strict=True):
        sizes = own[group]
        # money has no size in config by family, and does not follow the speed of use
        measured = unit != Unit.MONEY
        chooses = measured and wanted is not None and wanted[unit - 1] <= 0
        most = sizes.most[unit - 1] if measured else 0
        adapt_s = _stretched(sizes.adapt_s, load) if chooses else 0
        pool = pools[key].pool if key in pools else 0
        told += (int(sizes.restricts), adapt_s, most, sizes.share, pool)
    return told


def _stretched(adapt_s: int, load: int) -> int:
    return min(ADAPT_S_MAX, adapt_s * (_ALL + _STRETCH * load) // _ALL)


def extras(text: QuotaText) -> dict[str, ByGroup[Extras]]:
    """Return what goes with the grants of the families where anything does."""
    found = {}
    for name, family in text.families():
        own = ByGroup({group: Extras(each, OWN_UNIT[name]) for group, each in family.services()})
        if any(own.values()):
            found[name] = own
    return found
