"""`make bench` runs from end to end: real server, real store, generator and yardsticks; its figures are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(240)  # a dozen processes start one after the other
def test_a_quick_bench_runs_and_every_audit_after_it_is_clean(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests.bench", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    phases = results["phases"]
    assert [each["phase"] for each in phases] == [
        "everysec, closed loop",
        "always, closed loop",
        "always, open loop at half",
        "always, closed loop, on rates",
    ]
    assert all(each["audit"]["clean"] and each["answers"] > 0 for each in phases)
    assert all(each["cpu_us"][name] > 0 for each in phases for name in ("worker", "store", "generator"))
    assert results["stranger"]["codes"].keys() == {"2001"}
    page = (tmp_path / "RESULTS.md").read_text()
    assert "python-diameter, fixed answer" in page
    assert "always, open loop at half" in page
