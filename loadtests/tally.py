"""What a load run has seen: answers by kind and result code, and latencies, summed up as percentiles.

A latency is kept for each request, four octets each: an hour at 20,000 a second would be too much, ten minutes are not.
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

KINDS = ("initial, first of the subscriber", "initial", "update", "termination")
COLD, INITIAL, UPDATE, TERMINATION = range(4)
LATENCY_US_MAX = 0xFFFFFFFF


class Tally:
    """Counts of one measured window."""

    __slots__ = ("behind_us", "codes", "latencies_us", "unanswered", "ungranted")

    def __init__(self) -> None:
        self.codes: Counter[int] = Counter()
        self.latencies_us = tuple(array("I") for _ in KINDS)
        self.behind_us = array("I")
        """Open loop: how late each request left, because the generator itself was busy."""
        self.ungranted = 0
        """Initials and updates answered 2001 without a grant: a full account must not see one."""
        self.unanswered = 0

    def summed(self) -> dict[str, Any]:
        """Return everything as JSON takes it."""
        every = sorted(each for kind in self.latencies_us for each in kind)
        # an answer that never came was slower than any that came
        every += [LATENCY_US_MAX] * self.unanswered
        latencies = {
            name: percentiles(sorted(kind)) for name, kind in zip(KINDS, self.latencies_us, strict=True)
        }
        return {
            "answers": sum(self.codes.values()),
            "codes": {str(code): count for code, count in sorted(self.codes.items())},
            "ungranted": self.ungranted,
            "unanswered": self.unanswered,
            "latency_us": {"all": percentiles(every)}
            | {name: each for name, each in latencies.items() if each["count"]},
            "behind_us": percentiles(sorted(self.behind_us)),
        }


def percentiles(ordered: list[int]) -> dict[str, int]:
    """Return percentiles of ordered figures: each the smallest that so large a share does not exceed."""
    last = len(ordered) - 1
    if last < 0:
        return {"count": 0}
    figures = {
        name: ordered[min(last, max(0, -(-len(ordered) * share // 1000) - 1))]
        for name, share in (("p50", 500), ("p99", 990), ("p999", 999))
    }
    return {"count": len(ordered), **figures, "max": ordered[last]}


def joined(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Add counts by key."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
