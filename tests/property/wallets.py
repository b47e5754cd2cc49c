"""What the scripts' services may be paid from: buckets and counters by offer, family and rate, the same for model and plan.

Numbers are small, and periods short, so that random scripts meet every edge: a bucket that runs out inside a block, an end, a
successor (the same id, begun later), a blocker, and caps that two sessions reach together.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ocs.balance.model_rows import MONEY_UNIT
from ocs.charging.plan import Profile
from ocs.rating.life import Life
from ocs.rating.rates import Facts, Rate
from ocs.rating.sources import COUNTER_IDS, Source, SourceKind
from ocs.rating.tariff import Tariff
from ocs.units import Unit

SHORT_MS, LONG_MS = 40_000, 90_000
"""Periods of rows: neither is a multiple of the other, nor of the windows' turns."""
FIRST_MS, GRACE_MS = 75_000, 15_000
"""Life of an account from its first use, longer than any grant, and how long it receives after its end."""


class Bucket(NamedTuple):
    """How one bucket's rows are opened: ``own`` in the member's book, and for which period."""

    unit: int
    length_ms: int
    own: int = 0


BUCKETS = {
    1: Bucket(Unit.OCTETS, SHORT_MS),
    2: Bucket(Unit.OCTETS, LONG_MS),
    3: Bucket(Unit.OCTETS, LONG_MS, own=1),
    4: Bucket(Unit.SECONDS, SHORT_MS),
    5: Bucket(MONEY_UNIT, LONG_MS),
    6: Bucket(Unit.EVENTS, LONG_MS, own=1),
}

BONUSES = (32, 64, 96, 128)
"""Ids of rows of money that top-ups bring, each the first of an instance of its own (openings.py, law 1)."""

At = Callable[[int], Source]


def period(at_ms: int, length_ms: int, ahead: int = 0) -> tuple[int, int]:
    """Begin and end of the period of an instant, or of one that comes later."""
    start_ms = at_ms - at_ms % length_ms + ahead * length_ms
    return start_ms, start_ms + length_ms


def _row(kind: SourceKind, id_: int, own: int, length_ms: int, **terms: int) -> At:
    return lambda at_ms: Source(kind, own, id_, *period(at_ms, length_ms), **terms)


def _units(id_: int, block: int, take: int) -> At:
    each = BUCKETS[id_]
    return _row(SourceKind.UNITS, id_, each.own, each.length_ms, block=block, take=take)


def _money(id_: int) -> At:
    return _row(SourceKind.MONEY, id_, BUCKETS[id_].own, BUCKETS[id_].length_ms)


BONUS_MONEY = tuple(_row(SourceKind.MONEY, id_, 0, LONG_MS) for id_ in BONUSES)


def _counter(kind: SourceKind, id_: int, length_ms: int, cap_micros: int = 0, own: int = 0) -> At:
    return _row(kind, COUNTER_IDS + id_, own, length_ms, cap_micros=cap_micros)


def _blocker(_at_ms: int) -> Source:
    return Source(SourceKind.BLOCK)


SOURCES: dict[str, dict[tuple[str, str], tuple[At, ...]]] = {
    "buckets": {
        ("data", "eager"): (_units(2, 7, 7), *BONUS_MONEY, _money(5)),
        ("data", "abroad"): (_units(3, 10, 7), _blocker, _units(1, 100, 30)),
        ("data", "world"): (_counter(SourceKind.STOP, 1, LONG_MS, 300), _money(5)),
        ("data", "home"): (_units(1, 100, 30), _units(2, 7, 7)),
        ("voice", "near"): (_counter(SourceKind.TIER, 2, LONG_MS), _units(4, 60, 60)),
        ("voice", "far"): (_counter(SourceKind.FREE, 3, SHORT_MS, 90), _units(4, 6, 10), _money(5)),
        ("sms", "bought"): (_counter(SourceKind.STOP, 4, LONG_MS, 200, own=1), _money(5)),
        ("sms", "text"): (_counter(SourceKind.STOP, 4, LONG_MS, 200, own=1), _units(6, 1, 2)),
    },
    "plain-buckets": {
        ("data", ""): (
            _counter(SourceKind.STOP, 4, LONG_MS, 500, own=1),
            _counter(SourceKind.FREE, 5, LONG_MS, 350),
            _units(2, 64, 50),
            *BONUS_MONEY,
            _money(5),
        ),
        ("voice", ""): (_counter(SourceKind.TIER, 2, LONG_MS, own=1), _units(4, 6, 6)),
    },
}


def sources(offer: str, family: str, rate: str, at_ms: int) -> tuple[Source, ...]:
    """Sources of a rate of an offer; a family that has one price has a rate without a name, or with its own."""
    by_rate = SOURCES.get(offer.partition("@")[0], {})
    named = by_rate.get((family, "" if rate == family else rate), ())
    return tuple(each(at_ms) for each in named)


class StoredWallet:
    """A wallet as a plan takes it (ocs.charging.plan)."""

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = replace(tariff, life=Life(FIRST_MS, GRACE_MS))

    def sources(self, rate: Rate, _facts: Facts, at_ms: int) -> tuple[Source, ...]:
        return sources(self.tariff.key, rate.service, rate.name, at_ms)

    def facts_looked_at(self, _service: str) -> frozenset[str]:
        return frozenset()

    unknown: tuple[str, ...] = ()

    def due(self, _at_ms: int) -> tuple[()]:
        return ()

    def cap(self, _at_ms: int) -> None:
        return None


_KEPT: dict[str, StoredWallet] = {}


def stored_wallet(_profile: Profile, tariff: Tariff) -> StoredWallet | None:
    """Wallet of a subscriber on a tariff, as a Book asks for it."""
    if tariff.name not in SOURCES:
        return None
    return _KEPT.setdefault(tariff.key, StoredWallet(tariff))
