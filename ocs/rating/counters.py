"""Counters: what an account used or spent in a period, by which a price is capped or its steps are chosen; pure.

Laws
1. A counter is known by its number, which is made of its name alone: the same in every version of a tariff, in every process, for
   ever. Two names of one tariff that make one number are refused when it is read (tariff.py).
2. Numbers of counters begin at COUNTER_IDS; those below are buckets.
"""

from hashlib import blake2b
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ocs.limits import BOOK_MICROS_MAX
from ocs.rating.periods import PeriodKind, period
from ocs.rating.sources import COUNTER_IDS, Source, SourceKind

MEMBER = "member"
"""Name of the counter of what a member of a shared account spends; no other name is without a slash."""


def counter_id(name: str) -> int:
    """Return the number of a counter: 31 bits of its name's hash, from COUNTER_IDS on."""
    digest = blake2b(name.encode(), digest_size=4).digest()
    return COUNTER_IDS + int.from_bytes(digest, "big") % COUNTER_IDS


class Counter(NamedTuple):
    """One counter: its kind (FREE, STOP or TIER), its name ("day/national"), its periods, and its cap when it has one.

    ``each_member``: each member of a shared account has one of its own; else all count on the account's.
    """

    kind: SourceKind
    name: str
    id: int
    per: PeriodKind
    zone: ZoneInfo
    cap_micros: int = 0
    each_member: bool = False

    @property
    def lifted(self) -> "Counter":
        """Return it without its cap: what is spent is counted all the same, for notices (spending.py, law 2)."""
        return self._replace(kind=SourceKind.STOP, cap_micros=BOOK_MICROS_MAX)

    def source(self, at_ms: int, own: int = 0) -> Source:
        """Return it as a plan names it, in the period that holds at an instant."""
        start_ms, until_ms = period(self.per, at_ms, 0, self.zone)
        return Source(self.kind, own, self.id, start_ms, until_ms, 0, 0, self.cap_micros)


def counter(
    kind: SourceKind,
    name: str,
    per: PeriodKind,
    zone: ZoneInfo,
    cap_micros: int = 0,
    *,
    each_member: bool = False,
) -> Counter:
    """Build a counter; its number follows from its name."""
    return Counter(kind, name, counter_id(name), per, zone, cap_micros, each_member)
