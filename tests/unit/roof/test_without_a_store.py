import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ocs.__main__ import main
from ocs.money import parse_amount
from ocs.settings import config_folder


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
        ("price", "--tariff", "flat", "--service", "voice", "--at", "2100-01-01T00:00Z"),
        ("price", "--tariff", "flat", "--service", "voice", "--at", "1969-12-31T23:59Z"),
        ("price", "--tariff", "flat", "--service", "voice", "--until", "2026-01-01T00:00Z"),
        ("price", "--tariff", "flat", "--service", "voice", "--at", "2026-01-01", "--until", "2025-12-31"),
        (
            "price",
            "--tariff",
            "flat-data",
            "--service",
            "data",
            "--at",
            "2026-01-01",
            "--until",
            "2026-01-02",
        ),
        ("price", "--tariff", "mobile", "--service", "voice", "--to", "alice"),
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


def test_a_price_is_told_where_no_store_ever_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "price",
        "--tariff",
        "content",
        "--service",
        "data",
        "--rating-group",
        "700",
        "--used",
        "1500000",
    )
    monkeypatch.setattr(sys, "argv", ["ocs", *words, "--data-dir", str(tmp_path / "none"), "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code or 0, json.loads(capsys.readouterr().out)["cost"]) == (0, "1.50")
    assert not (tmp_path / "none").exists()


def test_a_price_of_what_a_tariff_does_not_know_is_not_found(ocs: Run) -> None:
    assert ocs("price", "--tariff", "flat-sms", "--service", "data").code == 4
    unknown = ocs("price", "--tariff", "flat-rate", "--service", "data")
    assert unknown.code == 4
    assert "flat-voice" in unknown.remarks


@pytest.mark.parametrize(
    ("words", "rate", "cost"),
    [
        # a Monday: ten minutes of day, then by the second
        (("voice", "--to", "03012345", "--at", "2026-11-23T18:50", "--until", "2026-11-23T19:00:10"), "national", "0.91"),
        (("voice", "--to", "+4915112345678", "--at", "2026-11-22T12:00", "--used", "61"), "national", "0.06"),
        (("voice", "--to", "004312345678", "--used", "31"), "to-the-eu", "0.098167"),
        (("voice", "--to", "004312345678", "--used", "60", "--roaming", "31026"), "calls-elsewhere", "1.99"),
        (("voice", "--to", "112", "--used", "3600", "--roaming", "31026"), "emergency voice", "0.00"),
        (("voice", "--to", "+49112"), "emergency voice", "0.00"),
        (("voice", "--incoming", "--used", "3600", "--roaming", "20801"), "incoming voice", "0.00"),
        (("voice", "--incoming", "--used", "61", "--roaming", "31026"), "received-elsewhere", "1.98"),
        (("voice", "--to", "0800 1234567", "--used", "3600"), "freephone", "0.00"),
        (("voice", "--to", "0900 1234567", "--used", "60", "--connected"), "premium", "1.99"),
        (("sms", "--to", "03012345", "--roaming", "20810"), "messages", "0.07"),
        (("data", "--rating-group", "900", "--used", "1000000000"), "self-care", "0.00"),
        (("data", "--rating-group", "10", "--used", "1000000000"), "surfing", "5.00"),
        (("data", "--roaming", "31026", "--used", "1"), "surfing-elsewhere", "0.10"),
    ],
)  # fmt: skip
def test_the_sample_mobile_tariff_prices_by_zone_window_and_group(
    ocs: Run, words: tuple[str, ...], rate: str, cost: str
) -> None:
    said = json.loads(ocs("price", "--tariff", "mobile", "--service", *words, "--json").out)
    assert (said["rate"], said["cost"]) == (rate, cost)
    assert sum(parse_amount(line["amount"]) for line in said["lines"]) == parse_amount(cost)


def test_a_price_over_an_edge_names_its_windows(ocs: Run) -> None:
    words = (
        "--service",
        "voice",
        "--to",
        "03012345",
        "--at",
        "2026-11-23T18:59:30",
        "--used",
        "90",
        "--json",
    )
    lines = json.loads(ocs("price", "--tariff", "mobile", *words).out)["lines"]
    told = [(line.get("window"), line.get("units"), line["amount"]) for line in lines]
    # the second minute begins at 19:00:30: the day's block covers the first half of the evening's minute
    assert told == [
        ("peak", 30, "0.09"),
        ("off-peak", 30, "0.00"),
        ("off-peak", 30, "0.025"),
        (None, None, "0.005"),
    ]


def test_a_premium_call_is_disconnected_at_its_cap(ocs: Run) -> None:
    words = ("price", "--tariff", "mobile", "--service", "voice", "--to", "09001234567", "--used", "3600")
    said = json.loads(ocs(*words, "--json").out)
    assert (said["used"], said["cost"], said["disconnected"]) == (840, "28.06", True)
    assert "disconnect" in ocs(*words).remarks


def test_a_price_that_no_rate_knows_says_what_is_missing(ocs: Run) -> None:
    said = ocs("price", "--tariff", "mobile", "--service", "voice")
    assert said.code == 4
    assert "--to" in said.remarks


def test_tariffs_are_checked_with_every_rate_in_order(ocs: Run) -> None:
    said = ocs("tariff", "check")
    assert said.code == 0
    assert "mobile@1" in said.out
    assert "roaming eu, home" in said.out
    told = {
        each["tariff"]: each for each in json.loads(ocs("tariff", "check", "--json").out) if "tariff" in each
    }
    names = [each["rate"] for each in told["mobile@1"]["rates"]]
    assert names.index("freephone") < names.index("national") < names.index("calls-elsewhere")
    assert told["flat-data@1"]["rates"] == [
        {"rate": "data", "service": "data", "unit": "octets", "conditions": {}, "windows": [], "tax_class": "standard",
         "free": False, "priority": 5, "counters": []}
    ]  # fmt: skip
    assert told["mobile@1"]["spend_caps"] == [
        {
            "spend_cap": "roaming",
            "service": "data",
            "amount": "59.50",
            "per": "month",
            "notices": [80, 100, 200],
        }
    ]


def test_products_are_checked_beside_the_tariffs(ocs: Run) -> None:
    assert "smart-m@1" in ocs("tariff", "check").out
    told = {
        each["product"]: each
        for each in json.loads(ocs("tariff", "check", "--json").out)
        if "product" in each
    }
    on = told["week-pass@1"]
    assert (on["price"], on["charge"], on["period"], on["shared"]) == ("3.99", "recurring", "7 days", False)
    assert on["allowances"][1] == {
        "allowance": "minutes", "unit": "seconds", "amount": 3600, "priority": 4, "blocker": False, "services": ["voice"],
    }  # fmt: skip
    assert told["roaming-open@1"]["lifts"] == ["roaming"]


def test_a_product_is_checked_by_itself(ocs: Run, tmp_path: Path) -> None:
    text = (config_folder() / "products" / "day-pass.yaml").read_text()
    file = tmp_path / "pass.yaml"
    file.write_text(text)
    assert [each["product"] for each in json.loads(ocs("tariff", "check", str(file), "--json").out)] == [
        "day-pass@1"
    ]
    file.write_text(text.replace("{hours: 24}", "{hours: 0}"))
    said = ocs("tariff", "check", str(tmp_path))
    assert said.code == 2
    assert f"{file}:8: " in said.remarks
    assert "is no period" in said.remarks


def test_what_products_say_twice_or_lift_in_vain_is_told(
    ocs: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (config_folder() / "products" / "roaming-open.yaml").read_text()
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(text.replace("[roaming]", "[abroad]"))
    monkeypatch.setenv("OCS_CHARGING__PRODUCTS_DIR", str(tmp_path))
    said = ocs("tariff", "check")
    assert said.code == 2
    assert "roaming-open@1 stands in another file too; raise its version" in said.remarks
    assert "lifts abroad, which no tariff has; its spend caps are dear-calls, roaming" in said.remarks


def test_one_file_is_checked_by_itself_and_every_fault_is_told(ocs: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tariff: bad\nversion: 0\ncurrency: euro\nservices: {}\n")
    said = ocs("tariff", "check", str(file))
    assert said.code == 2
    assert f"{file}:2: " in said.remarks
    assert f"{file}:3: " in said.remarks
    missing = ocs("tariff", "check", str(tmp_path / "none.yaml"))
    assert (missing.code, "cannot be read" in missing.remarks) == (2, True)
    empty = ocs("tariff", "check", str(tmp_path / "."))
    assert empty.code == 2
