import pytest

from ocs.rating.life import DAY_MS, ENDLESS, Life
from ocs.rating.tariff import TariffError, read_tariff

TEXT = """tariff: sample
version: 1
currency: EUR
life:
  first_use_days: 30
  grace_days: 10
  quarantine_days: 60
  topups:
    - {from: "5.00", days: 30}
    - {from: "15.00", days: 100}
services:
  sms: {unit: events, steps: [{block: 1, price: "0.09", per: 1}]}
"""


def life(before: str = "", after: str = "") -> Life:
    assert before in TEXT
    return read_tariff(TEXT.replace(before, after, 1), "t.yaml").life


def test_a_life_is_read_in_milliseconds() -> None:
    found = life()
    assert (found.first_ms, found.grace_ms, found.quarantine_ms) == (30 * DAY_MS, 10 * DAY_MS, 60 * DAY_MS)


@pytest.mark.parametrize(
    ("amount_micros", "days"),
    [(4_999_999, 0), (5_000_000, 30), (14_999_999, 30), (15_000_000, 100), (10**12, 100)],
)
def test_a_top_up_buys_the_days_of_the_greatest_amount_that_it_reaches(amount_micros: int, days: int) -> None:
    assert life().extend_ms(amount_micros) == days * DAY_MS


def test_a_greater_top_up_never_buys_fewer_days() -> None:
    assert life("days: 100", "days: 10").extend_ms(20_000_000) == 30 * DAY_MS


def test_a_tariff_without_life_has_no_end() -> None:
    found = life(TEXT[TEXT.index("life:") : TEXT.index("services:")], "")
    assert (found, found.extend_ms(10**9)) == (ENDLESS, 0)


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ('"15.00"', '"4.00"', 8, "top-ups rise by their amount, each once"),
        ('"15.00"', '"5.00"', 8, "top-ups rise by their amount, each once"),
        ('"15.00"', "15.00", 10, "valid string"),
        ("days: 100", "days: 0", 10, "greater than or equal to 1"),
        ("days: 100", "days: 10000", 10, "less than or equal to 3660"),
        ("first_use_days: 30", "first_use_days: -1", 5, "greater than or equal to 0"),
        ("grace_days: 10", "grace_hours: 10", 6, "Extra inputs"),
        (TEXT[TEXT.index("  topups:") : TEXT.index("services:")], "  topups: []\n", 8, "at least 1 item"),
    ],
)
def test_a_wrong_life_is_told_with_its_line(before: str, after: str, line: int, what: str) -> None:
    with pytest.raises(TariffError) as told:
        life(before, after)
    assert any(each.startswith(f"t.yaml:{line}: ") and what in each for each in told.value.problems), (
        told.value.problems
    )
