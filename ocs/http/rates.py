"""How often: token buckets in memory, one for each client and one for the failures of each address.

Laws
1. Time is an argument, from a clock that never runs backwards; levels are integers, so that nothing is lost by rounding.
2. As many names are remembered as there may be; the one that was quiet longest is forgotten first, and begins anew with a full bucket.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple


class Limit(NamedTuple):
    """So many times in so many milliseconds in the long run, and ``burst`` times at once."""

    times: int
    in_ms: int
    burst: int


class Rates:
    """The buckets of up to ``most`` names."""

    __slots__ = ("_buckets", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._buckets: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """name -> level (what was earned, in times * milliseconds), and when it stood there; the quiet ones first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_ms(self, name: str, limit: Limit, now_ms: int) -> int:
        """Return how long a name has to wait for its next time; 0: it may now. Nothing is taken."""
        lacking = limit.in_ms - self._level(name, limit, now_ms)
        return -(-lacking // limit.times) if lacking > 0 else 0

    def take(self, name: str, limit: Limit, now_ms: int) -> int:
        """Take one time of a name's; returns 0, or, where nothing could be taken, how long it has to wait."""
        waits_ms = self.wait_ms(name, limit, now_ms)
        if not waits_ms:
            self._buckets[name] = (self._level(name, limit, now_ms) - limit.in_ms, now_ms)
            self._buckets.move_to_end(name)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return waits_ms

    def _level(self, name: str, limit: Limit, now_ms: int) -> int:
        full = limit.burst * limit.in_ms
        level, then_ms = self._buckets.get(name, (full, now_ms))
        return min(full, level + max(0, now_ms - then_ms) * limit.times)


def block_of(address: str) -> str:
    """Return whom an address stands for: itself, or the network of 64 bits that one subscriber of IPv6 has whole."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ip_network((int(known), 64), strict=False))
    return str(known)
