"""What a tariff's text says is told apart from how it is written."""

import pytest

from ocs.rating.written import Written, WrittenPlan

TEXT = """
tariff: t
version: 1
currency: EUR
effective: 2027-01-01T00:00:00Z
services:
  data: {unit: octets, steps: [{block: 1, price: "1.00", per: MB}]}
  sms: {unit: events, steps: [{block: 1, price: "0.09", per: event}]}
"""
PLAN = WrittenPlan("numbering: n\n", (("p.csv", "prefix,zone\n49,near\n"),))


@pytest.mark.parametrize(
    "same", [TEXT, "# dearer next year\n" + TEXT, TEXT.replace("{unit: events, ", "{ unit:  events,\n    ")]
)
def test_comments_layout_and_the_plan_change_nothing_that_is_said(same: str) -> None:
    assert Written(same, PLAN).said == Written(TEXT, None).said


@pytest.mark.parametrize(
    ("old", "new"), [('"0.09"', '"0.10"'), ("version: 1", "version: 2"), ("2027", "2028"), ("EUR", "USD")]
)
def test_a_price_an_instant_or_a_name_says_something_else(old: str, new: str) -> None:
    assert Written(TEXT.replace(old, new), None).said != Written(TEXT, None).said
