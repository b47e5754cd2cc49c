"""Taxes: rates by day, rounding at half a cent, and the table as it is written."""

from datetime import date

import pytest

from ocs.rating.document import DocumentFault
from postpaid_bridge.periods import Period
from postpaid_bridge.tax import Basis, TaxFault, half_up, in_basis, net_of, read_taxes, taxed
from tests.bill_scene import TAXES

GROSS, NET = Basis.GROSS, Basis.NET
P19, P7 = 19_000_000, 7_000_000


@pytest.mark.parametrize(
    ("tax_class", "day", "code", "percent"),
    [
        ("standard", "2020-06-30", "standard-19", 19),
        ("standard", "2020-07-01", "standard-16", 16),
        ("standard", "2020-12-31", "standard-16", 16),
        ("standard", "2021-01-01", "standard-19", 19),
        ("reduced", "2020-12-31", "reduced-5", 5),
        ("reduced", "2026-11-28", "reduced-7", 7),
        ("exempt", "2026-11-28", "exempt-0", 0),
    ],
)
def test_a_class_has_the_rate_of_the_day(tax_class: str, day: str, code: str, percent: int) -> None:
    found = TAXES.rate(tax_class, date.fromisoformat(day))
    assert (found.code, found.percent_micros) == (code, percent * 1_000_000)


@pytest.mark.parametrize(
    ("status", "code", "category", "word"),
    [
        ("domestic", "standard-19", "S", ""),
        ("reverse_charge", "reverse-charge", "AE", "§ 13b UStG"),
        ("exempt", "exempt", "E", "§ 4 Nr. 7 UStG"),
    ],
)
def test_who_owes_no_tax_is_told_so_with_the_law(status: str, code: str, category: str, word: str) -> None:
    found = TAXES.due("standard", date(2026, 11, 30), status)
    assert (found.code, found.category) == (code, category)
    assert word in found.text("de")
    assert bool(found.text("en")) == bool(word)


def test_what_has_no_tax_has_none_for_anybody() -> None:
    assert TAXES.due("exempt", date(2026, 11, 30), "reverse_charge").code == "exempt-0"


@pytest.mark.parametrize(
    ("tax_class", "day", "status", "told"),
    [
        (
            "luxury",
            "2026-01-01",
            "domestic",
            "'luxury' is no tax class; there are exempt, none, reduced, standard",
        ),
        (
            "standard",
            "2006-12-31",
            "domestic",
            "standard has no rate on 2006-12-31; its first is from 2007-01-01",
        ),
        (
            "standard",
            "2026-01-01",
            "pirate",
            "'pirate' is no tax status; there are domestic, exempt, reverse_charge",
        ),
    ],
)
def test_a_rate_is_never_guessed(tax_class: str, day: str, status: str, told: str) -> None:
    with pytest.raises(TaxFault, match=told):
        TAXES.due(tax_class, date.fromisoformat(day), status)


def test_a_period_is_split_where_the_rate_changes() -> None:
    days = [date(2020, 6, 15), date(2020, 7, 1), date(2021, 1, 1), date(2021, 2, 1)]
    assert TAXES.split("standard", Period(days[0], days[3])) == [
        Period(days[0], days[1]),
        Period(days[1], days[2]),
        Period(days[2], days[3]),
    ]
    assert TAXES.split("standard", Period(days[1], days[2])) == [Period(days[1], days[2])]


@pytest.mark.parametrize(
    ("number", "divisor", "found"),
    [
        (5, 10, 1),
        (4, 10, 0),
        (-5, 10, -1),
        (-4, 10, 0),
        (15, 10, 2),
        (-15, 10, -2),
        (1, 3, 0),
        (2, 3, 1),
        (0, 7, 0),
    ],
)
def test_half_is_rounded_away_from_zero(number: int, divisor: int, found: int) -> None:
    assert half_up(number, divisor) == found


@pytest.mark.parametrize(
    ("lines", "percent", "found"),
    [
        ([(1499, GROSS)], P19, [(1260, 239, 1499)]),  # 2.3934
        ([(1260, NET)], P19, [(1260, 239, 1499)]),  # 2.394
        ([(50, NET)], P19, [(50, 10, 60)]),  # 0.095 is half a cent: up
        ([(-50, NET)], P19, [(-50, -10, -60)]),
        ([(49, NET)], P19, [(49, 9, 58)]),  # 0.0931
        ([(50, NET), (50, NET)], P19, [(50, 10, 60), (50, 9, 59)]),  # once per code: 0.19, and not 0.20
        ([(3, NET)] * 3, P19, [(3, 1, 4), (3, 0, 3), (3, 1, 4)]),  # 0.0171
        ([(250, GROSS)], P7, [(234, 16, 250)]),  # 0.1636
        ([(107, GROSS)], P7, [(100, 7, 107)]),
        ([(1499, GROSS), (333, NET)], P19, [(1259, 240, 1499), (333, 63, 396)]),  # 2.3934 + 0.6327 = 3.0261
        ([(1190, GROSS), (-1190, GROSS)], P19, [(1000, 190, 1190), (-1000, -190, -1190)]),
        ([(1000, GROSS), (777, NET)], 0, [(1000, 0, 1000), (777, 0, 777)]),
        ([], P19, []),
    ],
)
def test_tax_of_lines_by_a_table(
    lines: list[tuple[int, Basis]], percent: int, found: list[tuple[int, int, int]]
) -> None:
    assert taxed(lines, percent) == found


def test_amounts_change_their_basis_half_up() -> None:
    assert net_of(11_900_000, P19) == 10_000_000
    assert in_basis(10_000_000, NET, GROSS, P19) == 11_900_000
    assert in_basis(14_990_000, GROSS, NET, P19) == 12_596_639
    assert in_basis(7, NET, NET, P19) == 7


GOOD = """country: DE
classes:
  standard:
    rates:
      - {from: 2007-01-01, percent: "19"}
      - {from: 2020-07-01, percent: "16"}
statuses:
  exempt: {category: E, text: {de: frei, en: exempt}}
"""


@pytest.mark.parametrize(
    ("wrong", "instead", "told"),
    [
        (
            "2020-07-01",
            "2007-01-01",
            "t.yaml:6: 2007-01-01 is not after 2007-01-01; write the rates in order",
        ),
        ('"19"', '"-19"', "t.yaml:5: classes.standard.rates.0.percent: Value error, -19 is negative"),
        ('"19"', "19", "t.yaml:5: classes.standard.rates.0.percent: Input should be a valid string"),
        ('"19"', '"0"', "t.yaml:5: 0 per cent in category S; S has tax, Z, E and O have 0"),
        ("2007-01-01", "yesterday", "t.yaml:5: classes.standard.rates.0.from: Input should be a valid date"),
        ("{de: frei, en: exempt}", "{de: frei}", "t.yaml:8: write the text in de and en"),
        ("exempt:", "pirate:", "t.yaml:8: statuses.pirate"),
        ("country: DE", "country: Germany", "t.yaml:1: country: String should match pattern"),
        ("    rates:\n", "    category: E\n    rates:\n", "t.yaml:6: 19 per cent in category E"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_file_and_line(wrong: str, instead: str, told: str) -> None:
    assert read_taxes(GOOD, "t.yaml").rate("standard", date(2026, 1, 1)).code == "standard-16"
    with pytest.raises(DocumentFault) as fault:
        read_taxes(GOOD.replace(wrong, instead), "t.yaml")
    assert fault.value.problems[0].startswith(told)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DocumentFault, match=r"t\.yaml:1: no tax table; write country, classes and statuses"):
        read_taxes("", "t.yaml")
