from pathlib import Path

import pytest

from ocs.rating.ladder import Axis, Rounding
from ocs.rating.tariff import TariffError, read_tariff
from ocs.roof.build import read_tariffs
from ocs.units import UNITS_MAX, Unit

CONFIG = Path(__file__).resolve().parents[3] / "config" / "tariffs"
FULL = """
tariff: sample
version: 3
currency: EUR
services:
  voice:
    unit: seconds
    connect_fee: "0.40"
    round_to: "0.01"
    rounding: up
    steps:
      - {from: 0, block: 60, price: "0.20", per: 60}
      - {from: 60, block: 1, price: "0.10", per: 60}
  data:
    unit: octets
    steps:
      - {block: 1048576, price: "0.01", per: 1048576}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(TariffError) as told:
        read_tariff(text, "t.yaml")
    return told.value.problems


def test_a_tariff_is_read_whole() -> None:
    tariff = read_tariff(FULL, "t.yaml")
    assert (tariff.key, tariff.currency, set(tariff.services)) == ("sample@3", "EUR", {"voice", "data"})
    voice = tariff.services["voice"]
    on = voice.ladder
    assert (voice.unit, on.axis, on.fee_micros, on.quantum_micros, on.rounding) == (
        Unit.SECONDS, Axis.SESSION, 400_000, 10_000, Rounding.UP,
    )  # fmt: skip
    assert [tuple(each) for each in on.steps] == [(0, 60, 60, 10_000, 3), (60, UNITS_MAX, 1, 5_000, 3)]


def test_all_ladders_of_a_tariff_share_one_scale() -> None:
    scales = {service.ladder.scale for service in read_tariff(FULL, "t.yaml").services.values()}
    assert len(scales) == 1


@pytest.mark.parametrize("file", sorted(CONFIG.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_tariff_of_the_config_can_be_read_and_is_named_like_its_file(file: Path) -> None:
    assert read_tariffs(CONFIG)[f"{file.stem}@1"].name == file.stem


def test_there_are_tariffs_in_the_config() -> None:
    assert {file.stem for file in CONFIG.glob("*.yaml")} >= {"flat", "flat-data", "flat-voice", "flat-sms"}


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ('price: "0.20"', "price: 0.20", 12, "string"),
        ('price: "0.20"', 'price: "-0.20"', 12, "negative"),
        ('price: "0.20"', 'price: "0.2000001"', 12, "not an amount"),
        ("block: 60", "block: 0", 12, "greater than or equal to 1"),
        ("rounding: up", "rounding: sideways", 10, "half-up"),
        ("unit: seconds", "unit: octets", 7, "voice is measured in seconds"),
        ("from: 60, block: 1", "from: 0, block: 1", 11, "empty"),
        ("currency: EUR", "currency: euro", 4, "pattern"),
        ("version: 3", "version: 0", 3, "greater than or equal to 1"),
        ("tariff: sample", "tariff: Sample Tariff", 2, "pattern"),
        ("    rounding: up", "    rounding: up\n    cap: 3", 11, "Extra inputs"),
        ('connect_fee: "0.40"', 'connect_fee: "9999999999.00"', 6, "connect fee"),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_is_wrong(
    before: str, after: str, line: int, what: str
) -> None:
    assert FULL.count(before) == 1
    (problem,) = problems(FULL.replace(before, after))
    assert problem.startswith(f"t.yaml:{line}: "), problem
    assert what in problem


def test_all_faults_are_told_at_once() -> None:
    text = FULL.replace("block: 60", "block: 0").replace("currency: EUR", "currency: x")
    assert len(problems(text)) == 2


@pytest.mark.parametrize("text", ["", "[]", "just text", "a: [", "tariff: {", "- 1\n- 2"])
def test_what_is_no_tariff_is_refused_without_a_crash(text: str) -> None:
    assert problems(text)
