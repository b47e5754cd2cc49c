"""The offers of the scripts, twice: as the model prices them, and as tariffs of the rating rooms."""

from math import lcm
from typing import Any

from ocs.balance.model_prices import NOWHERE, Offer, Place, Price
from ocs.balance.model_prices import Rate as ModelRate
from ocs.rating.ladder import ladder, step
from ocs.rating.numbering import EMERGENCY, read_numbering
from ocs.rating.rates import ANYTHING, ANYTHING_SENT, INCOMING, OUTGOING, Choice, Conditions, Rate
from ocs.rating.tariff import ServiceTariff, Tariff
from ocs.units import UNITS_MAX, Unit
from tests.property.ladders import ladder_of, price_of
from tests.property.wallets import FIRST_MS, GRACE_MS, sources

PERIOD_MS, FIRST_PART_MS = 37_000, 20_000
"""The windows of the tests: 20 seconds and 17 seconds, in turn."""
NUMBERING = read_numbering(
    'numbering: sample\ncountry_code: "49"\nzones: [near, far]\nprefixes: p\nroaming_zones: [home, eu, world]\nnetworks: n\n',
    "sample.yaml",
    {"p": "prefix,zone\n49,near\n1,far\n", "n": "network,zone\n262,home\n208,eu\n310,world\n"},
)
NUMBERS = {"+4930111": "near", "15551234": "far", "112": "emergency", "+88123456": "?"}
NETWORKS = {"26201": "home", "20801": "eu", "310410": "world", "99999": "?"}


class Turns:
    """A calendar of two windows in turn."""

    names = ("first", "second")

    def window_at(self, at_ms: int) -> int:
        return int(at_ms % PERIOD_MS >= FIRST_PART_MS)

    def next_edge_ms(self, at_ms: int) -> int:
        into_ms = at_ms % PERIOD_MS
        return at_ms - into_ms + (PERIOD_MS if into_ms >= FIRST_PART_MS else FIRST_PART_MS)


TURNS = Turns()


def told_by(*families: str) -> Any:
    """What information tells: the number called or that the call is received (voice), the network visited (data).

    Of families without rates that look at it, only whether it is an emergency or received.
    """

    def place(family: str, information: dict[str, Any] | None) -> Place:
        if not information:
            return NOWHERE
        network = NETWORKS.get(information.get("PS-Information", {}).get("3GPP-SGSN-MCC-MNC", ""), "")
        if family == "data":
            return Place(network=network) if family in families else NOWHERE
        call = information.get("IMS-Information", {})
        if call.get("Role-Of-Node") == 1:
            return Place(direction="incoming")
        zone = NUMBERS.get(call.get("Called-Party-Address", ""), "")
        return Place(zone if family in families or zone == "emergency" else "")

    return place


FREE = {
    f"{what} {family}": ModelRate(f"{what} {family}", (price_of(unit, (0, 1, 0, 1)),), free=True)
    for what in (EMERGENCY, INCOMING)
    for family, unit in (("voice", Unit.SECONDS), ("sms", Unit.EVENTS))
}


def plain(key: str, prices: dict[str, Price]) -> Offer:
    """An offer with one price for each family."""
    return Offer(key, prices, free=FREE, place=told_by())


def rated(key: str, rates: dict[str, tuple[ModelRate, ...]]) -> Offer:
    """An offer with rates, which share a limit where they share a chain."""
    limited = {
        family: tuple(
            rate._replace(
                prices=tuple(p._replace(limit=min(q.limit for q in rate.prices)) for p in rate.prices)
            )
            for rate in each
        )
        for family, each in rates.items()
    }
    return Offer(key, {}, limited, FREE, TURNS.window_at, TURNS.next_edge_ms, told_by(*rates))


def with_wallet(offer: Offer) -> Offer:
    """An offer whose services may be paid from buckets, on an account whose life has an end."""
    return offer._replace(
        wallet=lambda rate, family, at_ms: sources(offer.key, family, rate, at_ms),
        first_ms=FIRST_MS,
        grace_ms=GRACE_MS,
    )


BOUGHT = ModelRate("bought", (price_of(Unit.MONEY, (0, 1, 1, 1)),), groups=frozenset({10}))
"""What its client rates itself."""
OFFERS = (
    plain(
        "plain@1",
        {"data": price_of(Unit.OCTETS, (0, 100, 50, 100)), "voice": price_of(Unit.SECONDS, (0, 1, 7, 1))},
    ),
    plain(
        "steps@1",
        {
            "data": price_of(
                Unit.OCTETS, (0, 7, 1, 3), (300, 64, 11, 13), (900, 1, 0, 1), (1500, 500, 5, 1), fee=77
            ),
            "voice": price_of(Unit.SECONDS, (0, 60, 123, 60), (60, 6, 1, 7), quantum=10, rounding="up"),
            "sms": price_of(Unit.EVENTS, (0, 1, 90, 1), rounding="down"),
        },
    ),
    plain(
        "free-then-dear@1",
        {
            "data": price_of(Unit.OCTETS, (0, 1, 0, 1), (500, 1000, 1, 1), quantum=100),
            "voice": price_of(
                Unit.SECONDS, (0, 1, 1, 3), quantum=7, rounding="down", fee=5, minimum=21, cap=(40, "free")
            ),
        },
    ),
    plain("short@1", {"data": price_of(Unit.OCTETS, (0, 1, 2**51 // 3000, 1))}),
    rated(
        "windows@1",
        {
            "data": (
                ModelRate("free", (price_of(Unit.OCTETS, (0, 1, 0, 1)),), groups=frozenset({20})),
                ModelRate("timed", (price_of(Unit.SECONDS, (0, 1, 3, 1)),), groups=frozenset({10}),
                          networks=frozenset({"eu"})),
                ModelRate("abroad", (price_of(Unit.OCTETS, (0, 10, 9, 1), minimum=50, cap=(400, "stop")),),
                          networks=frozenset({"eu"})),
                ModelRate("world", (price_of(Unit.OCTETS, (0, 10, 5, 1), cap=(60, "free")),),
                          networks=frozenset({"world"})),
                ModelRate("home", (price_of(Unit.OCTETS, (0, 100, 50, 100)), price_of(Unit.OCTETS, (0, 7, 1, 3), fee=9)),
                          networks=frozenset({"home"})),
            ),
            "voice": (
                ModelRate("near", (price_of(Unit.SECONDS, (0, 5, 11, 7), fee=3), price_of(Unit.SECONDS, (0, 1, 2, 1))),
                          zones=frozenset({"near"})),
                ModelRate("far", (price_of(Unit.SECONDS, (0, 60, 90, 60), (60, 1, 9, 1), quantum=10, rounding="up", cap=(700, "free")),
                                  price_of(Unit.SECONDS, (0, 1, 5, 1), quantum=10, rounding="up", cap=(700, "free"))),
                          zones=frozenset({"far"})),
            ),
            "sms": (BOUGHT._replace(prices=(price_of(Unit.MONEY, (0, 1, 1, 1), cap=(1_000, "stop")),)),),
        },
    ),
    with_wallet(
        plain(
            "plain-buckets@1",
            {
                "data": price_of(Unit.OCTETS, (0, 100, 50, 100)),
                "voice": price_of(Unit.SECONDS, (0, 5, 11, 7), (20, 7, 5, 1), (70, 1, 1, 1), fee=3),
            },
        )
    ),
    with_wallet(
        rated(
            "buckets@1",
            {
                "data": (
                    ModelRate("free", (price_of(Unit.OCTETS, (0, 1, 0, 1)),), groups=frozenset({20}), networks=frozenset({"home"}), free=True),
                    ModelRate("eager", (price_of(Unit.OCTETS, (0, 1, 2, 1)),), groups=frozenset({10}), networks=frozenset({"home"}), priority=2),
                    ModelRate("abroad", (price_of(Unit.OCTETS, (0, 10, 9, 1), minimum=50, cap=(400, "stop")),),
                              networks=frozenset({"eu"}), priority=7),
                    ModelRate("world", (price_of(Unit.OCTETS, (0, 10, 5, 1)),), networks=frozenset({"world"})),
                    ModelRate("home", (price_of(Unit.OCTETS, (0, 100, 50, 100)), price_of(Unit.OCTETS, (0, 7, 1, 3), fee=9)),
                              networks=frozenset({"home"})),
                ),
                "voice": (
                    ModelRate("near", (price_of(Unit.SECONDS, (0, 5, 11, 7), (20, 7, 5, 1), (70, 1, 1, 1), fee=3),
                                       price_of(Unit.SECONDS, (0, 1, 2, 1), (40, 3, 1, 3))),
                              zones=frozenset({"near"})),
                    ModelRate("far", (price_of(Unit.SECONDS, (0, 60, 90, 60), (60, 1, 9, 1), quantum=10, rounding="up"),
                                      price_of(Unit.SECONDS, (0, 1, 5, 1), quantum=10, rounding="up")),
                              zones=frozenset({"far"})),
                ),
                "sms": (BOUGHT, ModelRate("text", (price_of(Unit.EVENTS, (0, 1, 90, 1)),))),
            },
        )
    ),
)  # fmt: skip


LINEAR = rated(
    "linear@1",
    {
        "data": (
            ModelRate("dear", (price_of(Unit.OCTETS, (0, 1, 7, 3), fee=9),), groups=frozenset({10})),
            ModelRate("blocks", (price_of(Unit.OCTETS, (0, 100, 50, 100), quantum=10, rounding="up"),), groups=frozenset({20}), priority=3),
            ModelRate("timed", (price_of(Unit.SECONDS, (0, 7, 5, 2), quantum=3, rounding="down"),), networks=frozenset({"eu"})),
            ModelRate("rest", (price_of(Unit.OCTETS, (0, 10, 1, 7)),)),
        ),
        "voice": (
            ModelRate("near", (price_of(Unit.SECONDS, (0, 60, 90, 60), fee=5),), zones=frozenset({"near"})),
            ModelRate("far", (price_of(Unit.SECONDS, (0, 1, 11, 7)),), zones=frozenset({"far"})),
        ),
        "sms": (BOUGHT, ModelRate("text", (price_of(Unit.EVENTS, (0, 2, 90, 1)),))),
    },
)  # fmt: skip
"""Rates that may be in a credit pool."""
KNOWN = (*OFFERS, LINEAR)


def revised(offer: Offer, version: int) -> Offer:
    """A later version of an offer: other prices, and every third one prices no calls."""

    def of(price: Price) -> Price:
        dearer = tuple(each._replace(price_micros=each.price_micros + version) for each in price.steps)
        bare = price._replace(steps=dearer, fee_micros=price.fee_micros + 2 * version, limit=UNITS_MAX)
        return bare._replace(limit=ladder_of(bare).limit)

    left = {
        family: tuple(rate._replace(prices=tuple(map(of, rate.prices))) for rate in rates)
        for family, rates in offer.rates.items()
        if version % 3 or family != "voice"
    }
    prices = {family: of(price) for family, price in offer.prices.items() if version % 3 or family != "voice"}
    key = f"{offer.key.partition('@')[0]}@{version}"
    return (
        rated(key, left)._replace(wallet=offer.wallet, first_ms=offer.first_ms, grace_ms=offer.grace_ms)
        if left
        else offer._replace(key=key, prices=prices)
    )


def _rates(offer: Offer, scale: int) -> list[Rate]:
    """The rates of an offer as the reader of tariffs makes them; numbers unknown to the plan meet no rate."""
    made = [
        Rate(family, family, ANYTHING if family == "data" else ANYTHING_SENT, price.unit, (ladder_of(price, scale),),
             ("",), (0,), None, "standard", free=False, plain=True)
        for family, price in offer.prices.items()
    ]  # fmt: skip
    for family, rates in offer.rates.items():
        for rate in rates:
            ladders = [ladder_of(price, scale)._replace(limit=price.limit) for price in rate.prices]
            windowed = len(ladders) > 1
            conditions = Conditions(
                rate.zones,
                rate.networks,
                rate.groups,
                directions=None if family == "data" else frozenset({OUTGOING}),
            )
            made.append(
                Rate(
                    rate.name, family, conditions, rate.prices[0].unit, tuple(ladders), ("",) * len(ladders),
                    tuple(range(len(ladders))), TURNS if windowed else None, "standard", free=rate.free,  # type: ignore[arg-type]
                    priority=rate.priority,
                )
            )  # fmt: skip
    return made


def tariff_of(offer: Offer) -> Tariff:
    """The tariff of an offer, as a worker reads it from config."""
    name, _, version = offer.key.partition("@")
    prices = [*offer.prices.values(), *(p for rates in offer.rates.values() for r in rates for p in r.prices)]
    scale = lcm(*(each.per_units for price in prices for each in ladder_of(price).steps))
    services = {
        family: ServiceTariff(price.unit, ladder_of(price, scale)) for family, price in offer.prices.items()
    }
    nothing = ladder([step(0, UNITS_MAX, 1, 0, 1)], scale=scale)
    emergency, incoming = (
        tuple(
            Rate(
                f"{what} {family}", family, ANYTHING, unit, (nothing,), ("",), (0,), None, "standard", free=True,
                emergency=what == EMERGENCY,
            )
            for family, unit in (("voice", Unit.SECONDS), ("sms", Unit.EVENTS))
        )
        for what in (EMERGENCY, INCOMING)
    )  # fmt: skip
    choice = Choice(tuple(_rates(offer, scale)), emergency, incoming)
    return Tariff(name, int(version), "EUR", services, choice, numbering=NUMBERING if offer.rates else None)


TARIFFS = {offer.key: tariff_of(offer) for offer in KNOWN}
