import pytest

from ocs.rating.numbering import read_numbering
from ocs.rating.periods import CALENDAR_DAY, CALENDAR_MONTH
from ocs.rating.rates import Facts
from ocs.rating.sources import SourceKind
from ocs.rating.spending import SpendCap
from ocs.rating.tariff import Tariff, TariffError, read_tariff

PLANS = {
    "sample": read_numbering(
        'numbering: sample\ncountry_code: "49"\nzones: [near]\nprefixes: p\nroaming_zones: [home, eu]\nnetworks: n\n',
        "sample.yaml",
        {"p": "prefix,zone\n49,near\n", "n": "network,zone\n262,home\n208,eu\n"},
    )
}
TEXT = """tariff: sample
version: 1
currency: EUR
prices: gross
tax_percent: "19"
zone: Europe/Berlin
numbering: sample
spend_caps:
  - {name: roaming, service: data, roaming: [eu], amount: "50.00", per: month, then: disconnect, before_tax: true}
services:
  data: {unit: octets, steps: [{block: 1, price: "1.00", per: MiB}]}
  sms: {unit: events, steps: [{block: 1, price: "0.09", per: 1}]}
"""


def tariff(before: str = "", after: str = "") -> Tariff:
    assert before in TEXT
    return read_tariff(TEXT.replace(before, after, 1), "t.yaml", PLANS)


def cap(before: str = "", after: str = "") -> SpendCap:
    (found,) = tariff(before, after).spend_caps
    return found


def faults(before: str, after: str) -> list[str]:
    with pytest.raises(TariffError) as told:
        tariff(before, after)
    return told.value.problems


def test_a_cap_before_tax_is_brought_to_gross_prices() -> None:
    found = cap()
    assert (found.counter.kind, found.counter.name) == (SourceKind.STOP, "spend/roaming")
    assert (found.counter.cap_micros, found.counter.per) == (59_500_000, CALENDAR_MONTH)
    assert found.notices == (80, 100)


@pytest.mark.parametrize(
    ("before", "after", "cap_micros"),
    [
        (", before_tax: true", "", 50_000_000),
        ("prices: gross", "prices: net", 50_000_000),
        ('"19"', '"7.7"', 53_850_000),
        ('"19"', '"8.100001"', 54_050_000),  # 54.0500005: rounded down, never up
        ('"19"', '"0"', 50_000_000),
    ],
)
def test_a_cap_is_compared_with_prices_as_they_stand(before: str, after: str, cap_micros: int) -> None:
    assert cap(before, after).counter.cap_micros == cap_micros


def test_what_is_spent_elsewhere_does_not_count() -> None:
    found = cap()
    told = [
        Facts("data", roaming="eu"),
        Facts("data"),
        Facts("data", roaming=None),
        Facts("sms", roaming="eu"),
    ]
    assert [found.fits(facts) for facts in told] == [True, False, False, False]


def test_a_capped_service_is_no_single_ladder_and_its_facts_are_looked_at() -> None:
    on = tariff()
    assert set(on.services) == {"sms"}
    assert on.looked_at("data") == frozenset({"roaming"})
    assert on.looked_at("sms") == frozenset({"direction"})


def test_a_cap_may_be_of_a_day_and_let_the_rest_be_free() -> None:
    found = cap("per: month, then: disconnect", "per: day, then: free, notices: [50]")
    assert (found.counter.kind, found.counter.per, found.notices) == (SourceKind.FREE, CALENDAR_DAY, (50,))


LINE = TEXT.splitlines()[8]
MORE = [LINE.replace("roaming,", f"cap-{number},") for number in range(3)]


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ('tax_percent: "19"\n', "", 8, 'before which tax? write it beside prices: tax_percent: "19"'),
        ('tax_percent: "19"', "tax_percent: 19", 5, "valid string"),
        ('tax_percent: "19"', 'tax_percent: "119"', 5, "119 per cent is above 100"),
        ("zone: Europe/Berlin\n", "", 7, "days and months of which time zone"),
        ("[eu]", "[moon]", 9, "'moon' is no zone of sample"),
        ('"50.00"', '"0.00"', 9, "a cap of nothing; it has to be above zero"),
        ('"50.00"', "50.00", 9, "valid string"),
        ("then: disconnect", "then: redirect", 9, "'free' or 'disconnect'"),
        ("per: month", "per: week", 9, "'month' or 'day'"),
        ("before_tax: true", "before_tax: true, notices: [100, 80]", 9, "per cents that rise"),
        ("before_tax: true", "before_tax: true, notices: [80, 80]", 9, "per cents that rise"),
        ("before_tax: true", "before_tax: true, notices: [0]", 9, "greater than or equal to 1"),
        ("service: data", "service: voice", 9, "nothing here prices voice; strike it"),
        (LINE, f"{LINE}\n{LINE}", 10, "roaming is another spend cap's name already"),
        (LINE, "\n".join([LINE, *MORE]), 12, "more than 3 spend caps of data; leave 3"),
    ],
)  # fmt: skip
def test_a_wrong_cap_is_told_with_its_line(before: str, after: str, line: int, what: str) -> None:
    told = faults(before, after)
    assert any(each.startswith(f"t.yaml:{line}: ") and what in each for each in told), told
