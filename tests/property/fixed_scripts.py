"""Scripts that meet one rule for certain, where random ones seldom do; examples of the properties, and of the wounds that these rules may have."""

from typing import Any

from ocs.charging.ask import NOT_GIVEN
from ocs.records import ActionKind
from tests.property.bars import Bar
from tests.property.deed_steps import Act
from tests.property.offers import KNOWN
from tests.property.scripts import Opened, Opening, Release, Request, Wish

_NOTHING = (0,) * 6


def _offer(key: str) -> int:
    return next(place for place, offer in enumerate(KNOWN) if offer.key == key)


def _everybody(offer: str, amounts: tuple[int, ...]) -> Opening:
    return [Opened(_offer(offer), 0, 20_000, amounts, 0) for _ in range(4)]


def _asks(about: tuple[str, str], *wishes: Wish) -> Request:
    return Request(0, 0, 0, "next", about, wishes, "msisdn", own=True, stays=False)


JOINS_AT_ANOTHER_PRICE: tuple[Opening, list[Any]] = (
    _everybody("plain@1", _NOTHING),
    [
        _asks(("data", "26201"), Wish(0, "none", NOT_GIVEN, 0)),
        Release(_offer("plain@1"), 0, takes_along=True),
        _asks(("data", "26201"), Wish(0, "none", NOT_GIVEN, 0)),
    ],
)
"""A session goes on at its tariff's next prices: it stays in its pool, and what they may come to beyond the units is held anew."""

ENDS_AND_ASKS_WHILE_BARRED: tuple[Opening, list[Any]] = (
    _everybody("plain@1", _NOTHING),
    [
        Bar(0, "outgoing", late=False),
        _asks(("data", "26201")),
        _asks(("data", "26201"), Wish(0, "none", NOT_GIVEN, 0))._replace(kind=3),
    ],
)
"""A client asks for more as it ends its session, of which a creditor's bar would refuse it: an end gets nothing, and is not refused."""

TAKES_WHAT_IS_HELD: tuple[Opening, list[Any]] = (
    _everybody("buckets@1", (1_500, 0, 0, 0, 0, 0)),
    [
        _asks(("data", "26201"), Wish(3, "none", 500, 0)),
        Act(0, ActionKind.ADJUST, 0, 0, -1_400, 1, 0, 0, False, 0, False),
    ],
)
"""A session holds a third of a bucket; more than the rest is asked to be taken from it."""
