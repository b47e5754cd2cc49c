"""Top-ups under load run from end to end, each tool in processes of its own: locust's tills, and the figures, which are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=160, check=False)


@pytest.mark.slow
@pytest.mark.timeout(180)  # a dozen processes start one after the other
def test_a_quick_bench_of_top_ups_tells_what_they_and_charging_cost_each_other(tmp_path: Path) -> None:
    done = run("loadtests.bench_topups", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "topups.json").read_text())
    assert results["audit"]["clean"] is True
    told = [each["phase"] for each in results["phases"]]
    assert told == ["charging, closed loop", "charging alone", "top-ups alone", "both together"]
    alone, both = results["phases"][2], results["phases"][3]
    assert alone["topups"]["codes"].keys() == both["topups"]["codes"].keys() == {"201"}
    assert both["answers"] > 0
    assert all(alone["topups"]["cpu_us"][name] > 0 for name in ("door", "store"))
    assert all(value > 0 for value in results["figures"].values()), results["figures"]
    page = (tmp_path / "TOPUPS.md").read_text()
    assert "audit: clean" in page
    assert "charging p99 ms beside top-ups" in page


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_tills_of_locust_load_a_server_that_answers_all_of_them_as_it_should(tmp_path: Path) -> None:
    sizes = ("--subscribers", "20", "--vouchers", "10")
    brief = (
        "--headless",
        "--users",
        "5",
        "--spawn-rate",
        "5",
        "--run-time",
        "3s",
        "--csv",
        str(tmp_path / "l"),
    )
    done = run("loadtests.load", *sizes, *brief)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("audit: clean\n")
    assert ",top up," in (tmp_path / "l_stats.csv").read_text()
