"""Credit pools: who may be in one, and the multiplier that is told (RFC 8506 sections 5.1.2 and 8.30)."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from diameter.message.avp import Avp
from hypothesis import given
from hypothesis import strategies as st

from ocs.charging import quota
from ocs.charging.pools import MULTIPLIER_DIGITS, linear, multiplier, reference
from ocs.charging.quota_text import QuotaText
from ocs.rating.ladder import CapMode, Ladder, ladder, step
from ocs.settings import SettingsFault, load
from ocs.units import UNITS_MAX, Unit

MIB = 1_048_576


def at(price: int, per: int, block: int = 1, **more: Any) -> Ladder:
    return ladder([step(0, UNITS_MAX, block, price, per)], **more)


def value(told: dict[str, int]) -> Decimal:
    return Decimal(told["Value-Digits"]).scaleb(told["Exponent"])


@pytest.mark.parametrize(
    ("price", "per", "expected"),
    [
        (1, 1, "1"),
        (100_000, 1, "100000"),
        (10_000, MIB, "0.0095367431640625"),
        (100_000, 60, "1666.6666666666667"),
        (1, 3, "0.33333333333333334"),
        (1, 1 << 40, "9.0949470177292824E-13"),
    ],
)
def test_a_multiplier_is_the_price_of_a_unit_in_micro_units(price: int, per: int, expected: str) -> None:
    assert value(multiplier(at(price, per))) == Decimal(expected)


@given(st.integers(1, 1 << 34), st.integers(1, 1 << 20))
def test_a_multiplier_is_never_below_the_price_and_exact_up_to_its_digits(price: int, per: int) -> None:
    told = multiplier(at(price, per))
    exact, written = Fraction(price, per), Fraction(value(told))
    assert exact <= written < exact * (1 + Fraction(1, 10 ** (MULTIPLIER_DIGITS - 1)))
    assert told["Value-Digits"] < 1 << 63


@pytest.mark.parametrize(
    ("on", "unit"),
    [
        (at(0, 1), Unit.OCTETS),
        (at(1, 1, minimum_micros=5), Unit.OCTETS),
        (at(1, 1, cap_micros=5, cap_mode=CapMode.FREE), Unit.OCTETS),
        (at(1, 1, cap_micros=5, cap_mode=CapMode.STOP), Unit.OCTETS),
        (at(1, 1), Unit.MONEY),
        (ladder([step(0, 10, 1, 2, 1), step(10, UNITS_MAX, 1, 1, 1)]), Unit.OCTETS),
    ],
)
def test_what_does_not_cost_the_same_everywhere_is_in_no_pool(on: Ladder, unit: Unit) -> None:
    assert not linear(on, unit)


@pytest.mark.parametrize("unit", [Unit.OCTETS, Unit.SECONDS, Unit.EVENTS])
def test_what_costs_the_same_everywhere_may_be_in_one(unit: Unit) -> None:
    assert linear(at(7, 60, 60, fee_micros=5, quantum_micros=10), unit)


@pytest.mark.parametrize(("unit", "kind"), [(Unit.SECONDS, 0), (Unit.OCTETS, 2), (Unit.EVENTS, 5)])
def test_a_reference_names_pool_unit_and_multiplier(unit: Unit, kind: int) -> None:
    read = Avp.from_bytes(reference(7, at(3, 2), unit))
    assert (read.code, read.is_mandatory, read.vendor_id) == (457, True, 0)
    told = {each.code: each for each in read.value}
    assert (told[453].value, told[454].value) == (7, kind)
    assert {each.code: each.value for each in told[445].value} == {447: 15, 429: -1}


def test_a_pool_belongs_to_a_family_and_a_rating_group_may_differ() -> None:
    text = QuotaText.model_validate(
        {"data": {"pool": 3, "rating_groups": [{"rating_group": 7, "pool": 0}, {"rating_group": 8}]}}
    )
    own = quota.sizes(text, (10, 20, 30), 40)["data"]
    assert (own[None].pool, own[7].pool, own[8].pool) == (3, 0, 3)
    assert quota.extras(text)["data"][None].tells_pool
    assert quota.extras(text.standard())["data"][None].tells_pool
    assert text.tells
    assert not QuotaText().pools


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("pool = 101", "quota.data.pool"),
        ("pool = -1", "quota.data.pool"),
        ("pool = 1\nadapt_s = 60\ngrant = 1048576", "what is in a pool does not follow the speed of use"),
    ],
)
def test_a_pool_that_cannot_be_is_told(tmp_path: Path, text: str, wrong: str) -> None:
    file = tmp_path / "ocs.toml"
    file.write_text(f"[charging.quota.data]\n{text}\n")
    with pytest.raises(SettingsFault) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert wrong in str(problem)
