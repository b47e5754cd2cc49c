"""Plans as they are written: those of the sample, and every fault with its file and line."""

import pytest

from ocs.rating.document import DocumentFault
from postpaid_bridge.plans import PlanBook, read_plans
from postpaid_bridge.tax import Basis
from tests.bill_scene import TAXES, plan_pages, plans_of_config, tariffs_of_config

GOOD = """plan: p
names: {de: P, en: P}
kind: mobile
prices: gross
currency: EUR
tariff: mobile
rents:
  - {item: base, names: {de: G, en: B}, amount: "10.00", due: arrear}
"""
TARIFFS = {"mobile": Basis.GROSS, "company": Basis.NET}


def read(text: str) -> PlanBook:
    return read_plans({"p.yaml": text}, {"standard", "reduced"}, TARIFFS)


def test_the_plans_of_the_sample_say_the_same_as_their_tariffs() -> None:
    found = plans_of_config()
    assert set(found.plans) == {"business-flex", "fixed-line", "mobile-m"}
    assert set(found.discount_plans) == {"frame-contract"}
    assert {each.prices for each in found.plans.values()} == {Basis.GROSS, Basis.NET}
    assert {each.kind for each in found.plans.values()} == {"mobile", "fixed"}
    assert {each.tariff for each in found.plans.values()} <= set(tariffs_of_config())
    assert found.plans["mobile-m"].rents[0].names.of("en") == "Mobile M monthly charge"


@pytest.mark.parametrize(
    ("wrong", "instead", "told"),
    [
        (
            '"10.00"',
            '"-10.00"',
            "p.yaml:8: rents.0.amount: Value error, -10.00 is negative; a price is zero or more",
        ),
        ('"10.00"', "10.00", "p.yaml:8: rents.0.amount: Input should be a valid string"),
        ('"10.00"', '"1e3"', "p.yaml:8: rents.0.amount: Value error, not an amount: '1e3'"),
        ('"10.00"', '"2000000"', "p.yaml:8: 2000000 is above a million"),
        ("due: arrear", "due: later", "p.yaml:8: rents.0.due: Input should be 'advance' or 'arrear'"),
        (
            "due: arrear",
            "due: arrear, tax_class: luxury",
            "p.yaml:8: 'luxury' is no tax class; there are reduced, standard",
        ),
        ("due: arrear", "due: arrear, per: day", "p.yaml:8: rents.0.per: Input should be 'week', 'month'"),
        ("tariff: mobile", "tariff: none-such", "p.yaml:6: no tariff 'none-such'; there are company, mobile"),
        ("tariff: mobile", "tariff: company", "p.yaml:4: gross, and the prices of tariff company are net"),
        ("kind: mobile", "kind: satellite", "p.yaml:3: kind: Input should be 'mobile' or 'fixed'"),
        ("prices: gross", "price: gross", "p.yaml:1: prices: Field required"),
        ("names: {de: P, en: P}", "names: {de: P}", "p.yaml:2: names.en: Field required"),
        ("plan: p", "- plan", "p.yaml:"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_file_and_line(wrong: str, instead: str, told: str) -> None:
    assert read(GOOD).plans["p"].rents[0].amount_micros == 10_000_000
    with pytest.raises(DocumentFault) as fault:
        read(GOOD.replace(wrong, instead))
    assert fault.value.problems[0].startswith(told)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            'of: ["rent:bas"], percent: "5"',
            "p.yaml:10: 'rent:bas' is no item of this plan; there are rent:base",
        ),
        (
            'of: [rent], percent: "5", amount: "1.00"',
            "discounts.0: Value error, write one of percent and amount",
        ),
        ('of: [rent], percent: "0"', "discounts.0: Value error, a discount of nothing"),
        ('of: [rent], percent: "101"', "discounts.0.percent: Value error, 101 per cent is above 100"),
        ('of: [tax], percent: "5"', "discounts.0.of.0: String should match pattern"),
        ('of: ["rent:base", usage], amount: "5"', "p.yaml:10: an amount off a rent goes by that rent's days"),
        (
            'of: [rent], percent: "5", months: 0',
            "discounts.0.months: Input should be greater than or equal to 1",
        ),
    ],
)
def test_a_discount_that_is_wrong_is_refused_with_file_and_line(lines: str, told: str) -> None:
    with pytest.raises(DocumentFault) as fault:
        read(f"{GOOD}discounts:\n  - {{item: d, names: {{de: D, en: D}}, {lines}}}\n")
    assert told in fault.value.problems[0]
    assert fault.value.problems[0].startswith("p.yaml:10: ")


def test_all_faults_of_all_files_are_told_at_once() -> None:
    twice = GOOD + GOOD.partition("rents:\n")[2]
    with pytest.raises(DocumentFault) as fault:
        read_plans(
            {"a.yaml": twice, "b.yaml": GOOD, "c.yaml": GOOD, "d.yaml": "discount_plan: 5", "e.yaml": "x"},
            {"standard"},
            TARIFFS,
        )
    told = "\n".join(fault.value.problems)
    assert "a.yaml:9: base is another item's name already" in told
    assert "c.yaml:1: p is another file's plan already; give it a key of its own" in told
    assert "d.yaml:1: discount_plan: Input should be a valid string" in told
    assert "e.yaml:1: neither a plan nor a discount_plan" in told


def test_every_tax_class_of_the_sample_is_in_the_table() -> None:
    with pytest.raises(DocumentFault, match=r"fixed-line.yaml:\d+: 'reduced' is no tax class"):
        read_plans(plan_pages(), set(TAXES.classes) - {"reduced"})
