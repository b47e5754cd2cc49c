"""The life of a prepaid balance: how long it may be used, what a top-up adds, and what follows; pure data.

Laws
1. A balance that was never used has no end. Its first use gives it ``first_ms``; a top-up makes it last at least ``extend_ms``
   from then on, and never less than it would have.
2. When it has ended nothing more is granted; what is received still is while the grace runs, and emergency calls always.
3. After grace and quarantine the number may be given to somebody else.
"""

from typing import NamedTuple

from ocs.rating.conditions import Fault
from ocs.rating.tariff_text import LifeText, micros

DAY_MS = 86_400_000


class LifeStep(NamedTuple):
    """Top-ups from an amount on make a balance last so long."""

    from_micros: int
    lasts_ms: int


class Life(NamedTuple):
    """Times in milliseconds; 0 where there is none. ``topups`` rise by amount."""

    first_ms: int = 0
    grace_ms: int = 0
    quarantine_ms: int = 0
    topups: tuple[LifeStep, ...] = ()

    def extend_ms(self, amount_micros: int) -> int:
        """Return how long a top-up makes the balance last from its own instant on; 0: it changes nothing."""
        return max((each.lasts_ms for each in self.topups if each.from_micros <= amount_micros), default=0)


ENDLESS = Life()


def life(text: LifeText | None, fault: Fault) -> Life:
    """Return the life that a tariff gives; faults are noted."""
    if text is None:
        return ENDLESS
    steps = tuple(LifeStep(micros(each.start), each.days * DAY_MS) for each in text.topups)
    if list(steps) != sorted(steps) or len({each.from_micros for each in steps}) < len(steps):
        fault(("life", "topups"), "top-ups rise by their amount, each once; sort them")
    return Life(text.first_use_days * DAY_MS, text.grace_days * DAY_MS, text.quarantine_days * DAY_MS, steps)
