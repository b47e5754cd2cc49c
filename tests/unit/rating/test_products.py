from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.periods import CALENDAR_MONTH
from ocs.rating.products import Allowance, Bonus, Catalogue, Product, Use, crowd
from ocs.rating.rates import ANYTHING, AT_HOME, Conditions
from ocs.units import Unit

PRODUCT = Product(
    "smart", 1, "", 0, "EUR", "standard", recurring=True, kind=CALENDAR_MONTH, zone=ZoneInfo("UTC")
)
HOME, EU = (Conditions(roaming=frozenset({zone})) for zone in (AT_HOME, "eu"))


def allowance(*uses: Use, blocker: bool = False, rollover_most: int = 0) -> Allowance:
    return Allowance("a", "octets", 10, 5, blocker, rollover_most, uses)


def use(conditions: Conditions = ANYTHING, service: str = "data", take: int = 1) -> Use:
    return Use(service, conditions, Unit.OCTETS, 1, take)


def test_a_catalogue_knows_every_version_and_sells_the_newest() -> None:
    versions = [replace(PRODUCT, version=each) for each in (2, 3, 1)]
    on = Catalogue(versions)
    assert on.newest("smart") is versions[1]
    assert [on.product(f"smart@{each}") for each in (1, 2, 3, 4)] == [
        versions[2],
        versions[0],
        versions[1],
        None,
    ]
    assert on.newest("other") is None


def bonus(name: str, from_micros: int, version: int = 1, currency: str = "EUR") -> Bonus:
    return Bonus(replace(PRODUCT, name=name, version=version, currency=currency), from_micros, 10_000_000)


def test_a_top_up_brings_the_bonus_that_wants_most_of_those_it_is_enough_for() -> None:
    small, great = bonus("small", 20), bonus("great", 50)
    on = Catalogue(
        (), [great, small, bonus("francs", 20, currency="CHF"), bonus("old", 10), bonus("old", 60, version=2)]
    )
    assert [on.bonus(amount, "EUR") for amount in (19, 20, 49, 50)] == [None, small, small, great]
    assert on.product("small@1") is small.product


@pytest.mark.parametrize(("topup_micros", "worth_micros"), [(19, 0), (20, 2), (29, 2), (10**13, 10**12)])
def test_per_cents_of_a_top_up_are_rounded_down(topup_micros: int, worth_micros: int) -> None:
    assert bonus("small", 20).worth_micros(topup_micros) == worth_micros


def test_a_fixed_bonus_is_the_same_for_every_top_up_that_is_enough() -> None:
    on = replace(bonus("fixed", 20), percent_micros=0, amount_micros=7)
    assert [on.worth_micros(amount) for amount in (19, 20, 10**9)] == [0, 7, 7]


def test_a_crowd_is_as_many_as_meet_in_one_place() -> None:
    pairs = [
        allowance(use(Conditions(roaming=frozenset(zones)))) for zones in (("a", "b"), ("b", "c"), ("a", "c"))
    ]
    assert crowd(pairs, "data") == 2  # each meets each, and nowhere all three
    assert crowd([*pairs, allowance(use(), use(EU))], "data") == 3
    assert crowd([allowance(use(HOME), use(EU))] * 3, "data") == 3


def test_a_crowd_has_one_blocker_and_looks_at_every_use() -> None:
    last = allowance(use(), blocker=True)
    assert crowd([last, last], "data") == 3
    assert crowd([allowance(use(HOME), use(EU)), allowance(use(EU)), allowance(use(EU))], "data") == 3


def test_a_crowd_counts_caps_where_they_hold() -> None:
    home, anywhere = allowance(use(HOME), rollover_most=1), allowance(use())
    assert crowd([home, anywhere], "data", caps=[EU]) == 3
    assert crowd([home, anywhere], "data", caps=[EU, EU, EU]) == 4
    assert crowd([home, anywhere], "data", HOME, caps=[EU, EU, EU]) == 3


def test_a_crowd_counts_what_some_facts_fit_together() -> None:
    home, abroad = allowance(use(HOME)), allowance(use(EU), rollover_most=1)
    anywhere = allowance(use(), blocker=True)
    calls = allowance(use(service="voice"))
    assert crowd([home, abroad], "data") == 2
    assert crowd([home, home, abroad, calls], "data") == 2
    assert (
        crowd([home, abroad, anywhere], "data") == 2 + 1 + 1
    )  # abroad with what rolls over, anywhere, its blocker
    assert crowd([home, abroad, anywhere], "data", HOME) == 1 + 1 + 1
    assert crowd([home, abroad, anywhere], "voice") == 0
