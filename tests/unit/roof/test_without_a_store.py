import json
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from ocs.__main__ import main


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    remarks: str


Run = Callable[..., Said]


@pytest.fixture
def ocs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command inside this process; none of these may come as far as a store."""
    for name in [name for name in os.environ if name.startswith("OCS_")]:
        monkeypatch.delenv(name)

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ocs", *words, "--store", "redis://127.0.0.1:1"])
        with pytest.raises(SystemExit) as end:
            main()
        out, remarks = capsys.readouterr()
        return Said(int(end.value.code or 0), out, remarks)

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("balance", "12"),
        ("balance", "49170x"),
        ("balance",),
        ("subscriber", "create", "4917", "--tariff", "flat", "--credit", "1,00"),
        ("subscriber", "create", "4917", "--tariff", "flat", "--credit", "-1.00"),
        ("subscriber", "create", "4917", "--tariff", "flat", "--credit-floor", "1.00"),
        ("subscriber", "create", "4917", "--tariff", "flat", "--imsi", "26201-1"),
        ("subscriber", "create", "4917", "--tariff", "flat", "--kind", "barter"),
        ("subscriber", "bulk", "--count", "0", "--first", "4917", "--tariff", "flat"),
        ("subscriber", "bulk", "--count", "2", "--first", "999999999999999", "--tariff", "flat"),
        ("topup", "4917", "0.0000001", "--id", "a"),
        ("topup", "4917", "10000.01", "--id", "a"),
        ("topup", "4917", "1.00", "--id", "with space"),
        ("topup", "4917", "1.00"),
        ("price", "--tariff", "flat", "--service", "fax"),
        ("price", "--tariff", "flat", "--service", "voice", "--used", "-1"),
        ("price", "--tariff", "flat", "--service", "voice", "--to", "49301x34"),
        ("price", "--tariff", "flat", "--service", "voice", "--at", "yesterday"),
        ("price", "--tariff", "flat", "--service", "voice", "--roaming", "Spain"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(ocs: Run, words: tuple[str, ...]) -> None:
    said = ocs(*words)
    assert (said.code, said.out) == (2, "")
    assert said.remarks != ""
    assert "Traceback" not in said.remarks


def test_a_tariff_without_zones_and_windows_prices_alike_everywhere(ocs: Run) -> None:
    words = ("price", "--tariff", "flat", "--service", "voice", "--used", "61", "--json")
    there = ("--to", "+49301234567", "--at", "2026-01-01T00:00:00Z", "--roaming", "21401")
    assert ocs(*words).out == ocs(*words, *there).out
    assert '"cost": "0.20"' in ocs(*words).out


@pytest.mark.parametrize(
    ("words", "cost"),
    [
        (("--tariff", "flat-data", "--service", "data"), "0.10"),
        (("--tariff", "flat-data", "--service", "data", "--used", "1048577"), "0.02"),
        (("--tariff", "flat-data", "--service", "data", "--used", "0"), "0.00"),
        (("--tariff", "flat-data", "--service", "data", "--rating-group", "7", "--used", "1"), "0.01"),
        (("--tariff", "flat", "--service", "voice", "--used", "61"), "0.20"),
        (("--tariff", "flat-sms", "--service", "sms", "--used", "3"), "0.27"),
    ],
)
def test_a_price_is_told_with_its_lines(ocs: Run, words: tuple[str, ...], cost: str) -> None:
    said = json.loads(ocs("price", *words, "--json").out)
    assert (said["cost"], said["currency"]) == (cost, "EUR")
    assert [line["amount"] for line in said["lines"]] == ([cost] if cost != "0.00" else [])


def test_a_price_of_what_a_tariff_does_not_know_is_not_found(ocs: Run) -> None:
    assert ocs("price", "--tariff", "flat-sms", "--service", "data").code == 4
    unknown = ocs("price", "--tariff", "flat-rate", "--service", "data")
    assert unknown.code == 4
    assert "flat-voice" in unknown.remarks
