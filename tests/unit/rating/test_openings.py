from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.openings import (
    NUMBER_MAX,
    Held,
    OpenedRow,
    Rolled,
    bonus_opening,
    bucket_id,
    opening,
    period_of,
)
from ocs.rating.product_reading import read_bonus, read_product
from ocs.rating.products import Product
from ocs.rating.sources import COUNTER_IDS

BERLIN = ZoneInfo("Europe/Berlin")
TEXT = """product: smart
version: 1
price: "9.99"
currency: EUR
charge: recurring
period: calendar-month
zone: Europe/Berlin
proration: true
allowances:
  - {name: internet, unit: octets, amount: 1000000, rollover: {most: 400000}, uses: [{service: data, block: 1}]}
  - {name: minutes, unit: seconds, amount: 6000, uses: [{service: voice, block: minute}]}
  - {name: extra, unit: money, amount: "5.00", rollover: true, uses: [{service: sms}]}
"""


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * 1000


def product(before: str = "", after: str = "") -> Product:
    assert before in TEXT
    return read_product(TEXT.replace(before, after, 1), "p.yaml")


def held(start: str, number: int = 3) -> Held:
    return Held(number, "smart@1", ms(start), 0)


JUNE, JULY, AUGUST = ms("2026-06-01"), ms("2026-07-01"), ms("2026-08-01")


def test_rows_are_numbered_by_instance_and_allowance_below_all_counters() -> None:
    assert [bucket_id(3, place, rolled=rolled) for place in (0, 15) for rolled in (False, True)] == [
        96,
        97,
        126,
        127,
    ]
    assert bucket_id(NUMBER_MAX, 15, rolled=True) < COUNTER_IDS
    numbers = {bucket_id(n, i, rolled=r) for n in (1, 2, 3) for i in range(16) for r in (False, True)}
    assert len(numbers) == 96


def test_a_whole_first_month_opens_everything() -> None:
    made = opening(product(), held("2026-06-01"), JUNE)
    assert made.rows == (
        OpenedRow(96, 1, JUNE, JULY, 1_000_000),
        OpenedRow(98, 2, JUNE, JULY, 6_000),
        OpenedRow(100, 4, JUNE, JULY, 5_000_000),
    )
    assert (made.price_micros, made.period, made.rolled) == (9_990_000, (JUNE, JULY), ())


def test_a_broken_first_month_costs_and_holds_its_share_by_seconds() -> None:
    start_ms = ms("2026-06-20T12:00:01")
    made = opening(product(), held("2026-06-20T12:00:01"), ms("2026-06-25"))
    left_s, whole_s = 10 * 86_400 + 43_199, 30 * 86_400
    assert made.period == (start_ms, JULY)
    assert [row.amount for row in made.rows] == [
        1_000_000 * left_s // whole_s,
        6_000 * left_s // whole_s,
        5_000_000 * left_s // whole_s,
    ]
    assert made.price_micros == 3_496_496  # 9,990,000 * 907,199 / 2,592,000 = 3,496,496.146
    assert (
        opening(product('"9.99"', '"0.000001"'), held("2026-06-16"), JUNE + 20 * 86_400_000).price_micros == 1
    )  # a half: up


def test_a_month_of_another_length_is_shared_by_its_own_seconds() -> None:
    made = opening(product('"9.99"', '"743.00"'), held("2026-03-28T23:00"), ms("2026-03-30"))
    assert (
        made.price_micros == (2 * 24 + 1 + 24 - 1) * 1_000_000
    )  # March 2026 has 743 hours, of which 72 are left


def test_without_proration_a_broken_first_month_is_charged_and_filled_whole() -> None:
    made = opening(product("proration: true\n", ""), held("2026-06-30T23:00"), ms("2026-06-30T23:30"))
    assert (made.price_micros, made.rows[0].amount, made.period[1]) == (9_990_000, 1_000_000, JULY)


def test_later_periods_are_whole_and_take_over_the_rest_of_the_one_before() -> None:
    start_ms = ms("2026-06-20")
    made = opening(product(), held("2026-06-20"), ms("2026-07-09"))
    assert (made.price_micros, made.period, made.rows[0]) == (
        9_990_000,
        (JULY, AUGUST),
        OpenedRow(96, 1, JULY, AUGUST, 1_000_000),
    )
    assert made.rolled == (
        Rolled(96, start_ms, 97, JULY, AUGUST, 1, 400_000),
        Rolled(100, start_ms, 101, JULY, AUGUST, 4, 5_000_000),
    )
    again = opening(product(), held("2026-06-20"), AUGUST)
    assert again.rolled[0] == Rolled(96, JULY, 97, AUGUST, ms("2026-09-01"), 1, 400_000)


def test_opened_twice_in_a_period_it_is_the_same() -> None:
    once, twice = (opening(product(), held("2026-06-20"), ms(f"2026-07-{day}")) for day in ("01", "31"))
    assert once == twice


def test_days_are_counted_from_the_instant_of_buying() -> None:
    days = product(
        "period: calendar-month\nzone: Europe/Berlin\nproration: true",
        "period: {days: 30}\nzone: Europe/Berlin",
    )
    assert opening(days, held("2026-06-20T10:00"), ms("2026-07-25")).period == (
        ms("2026-07-20T10:00"),
        ms("2026-08-19T10:00"),
    )


ONCE = read_product(
    TEXT.replace("recurring", "once")
    .replace("calendar-month", "day")
    .replace("proration: true\n", "")
    .replace(" rollover: {most: 400000},", "")
    .replace(" rollover: true,", ""),
    "p.yaml",
)


def test_what_is_bought_once_has_one_period() -> None:
    start_ms, end_ms = ms("2026-06-20T10:00"), ms("2026-06-21")
    assert period_of(ONCE, start_ms, end_ms - 1) == (start_ms, end_ms)
    with pytest.raises(ValueError, match=f"smart@1 ended at {end_ms}, before {end_ms}"):
        period_of(ONCE, start_ms, end_ms)


def test_nothing_begins_before_it_was_bought() -> None:
    with pytest.raises(ValueError, match=f"smart@1 begins at {JULY}, after {JULY - 1}"):
        period_of(product(), JULY, JULY - 1)


def test_a_bonus_gives_its_share_of_the_top_up_rounded_down() -> None:
    bonus = read_bonus(
        'bonus: topup\nversion: 1\ncurrency: EUR\nfrom: "20.00"\npercent: "10"\ndays: 30\nzone: Europe/Berlin\n'
        "uses: [{service: voice}]\n",
        "b.yaml",
    )
    instance = Held(7, "topup@1", ms("2026-06-20T10:00"), 0)
    made = bonus_opening(bonus, instance, 25_000_009)
    assert made.rows == (OpenedRow(224, 4, ms("2026-06-20T10:00"), ms("2026-07-20T10:00"), 2_500_000),)
    assert made.price_micros == 0
