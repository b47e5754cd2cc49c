"""What random scripts speak of: sessions, services, numbers called; and how a request tells of them."""

from typing import Any

from hypothesis import strategies as st

from ocs.charging.ask import NOT_GIVEN, Units
from tests.property.offers import NETWORKS
from tests.property.offers import NUMBERS as CALLED

SESSIONS = ("gw;1", "gw;2", "gw;3", "gw;4")
"""One of each account, and one of the member of the first."""
REFUNDS = "gw;5"
"""Of refunds that name no debit by their Session-Id."""
KEYS = ((10, None), (20, None), (10, 5), (None, 7), (None, None))


MONEY = 3
"""The place of money in Units."""

ABOUT: tuple[tuple[str | None, str], ...] = (
    *[("data", "")] * 8, *[("data", network) for network in NETWORKS] * 2, ("data", "112"),
    *[("voice", number) for number in CALLED], ("voice", "112"), ("voice", "received"), ("voice", ""), ("voice", "26201"),
    *[("sms", "")] * 3, ("sms", "112"), (None, ""),
)  # fmt: skip
"""A request's family, and what its information tells of."""
accounts = st.integers(0, len(SESSIONS) - 1)


def told(what: str) -> dict[str, Any] | None:
    """Service-Information that tells of a number called, of a call received, or of a network visited."""
    if not what:
        return None
    if what in NETWORKS:
        return {"PS-Information": {"3GPP-SGSN-MCC-MNC": what}}
    call = (
        {"Role-Of-Node": 1, "Called-Party-Address": "+4930999"}
        if what == "received"
        else {"Called-Party-Address": what}
    )
    return {"IMS-Information": call}


def place_of(family: str | None, group: int | None = None, turn: int = 0) -> int:
    """The kind of unit that most rates of a family and rating group are in, by its place in Units; ``turn`` tells when it is another."""
    if family == "sms" and group == 10 and turn % 4:
        return MONEY
    return {"voice": 1, "sms": 2}.get(family or "", 0)


def units_of(place: int, count: int) -> Units:
    fields = [NOT_GIVEN] * 4
    fields[place] = count
    return Units(*fields)
