"""What commands print for people."""

import pytest

from ocs.roof import say


def test_facts_stand_below_each_other_and_empty_ones_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    say.facts({"credit_floor": "-50.00", "owed": "", "tariff": "t"})
    assert capsys.readouterr().out == "credit floor  -50.00\ntariff        t\n"


def test_no_facts_are_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    say.facts({})
    say.facts({"owed": None})
    assert capsys.readouterr().out == ""
