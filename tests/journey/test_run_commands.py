"""`python -m postpaid_bridge run …`: from plan to published bills as an operator types it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ocs.sql import engine_of
from tests import run_scene as scene
from tests.house.source import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


def asked(url: str, *words: str) -> tuple[int, Any, str]:
    """Run a command; its exit code, its JSON, and what it said beside."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "postpaid_bridge", "run", *words, "--database", url, "--json"],
        capture_output=True, text=True, check=False, env=environment, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_run_as_an_operator_types_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bridge.sqlite'}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "postpaid_bridge", "database", "upgrade", "--database", url],
        check=True, env=environment, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    engine: Engine = engine_of(url)
    scene.populate(engine, bad=True)
    day = ("--day", str(scene.DAY))
    code, page, _ = asked(url, "plan", *day)
    assert (code, page["state"], page["accounts"]) == (0, "planned", {"planned": 10})
    assert asked(url, "execute", "1")[0] == 3
    assert asked(url, "status", "9")[0] == 4
    code, page, said = asked(url, "preview", "1")
    assert (code, page["preview"]["accounts"], page["preview"]["will_be_parked"]) == (0, 9, 1)
    assert "preview 10/10" in said
    assert asked(url, "approve", "1")[1]["state"] == "approved_to_execute"
    code, page, said = asked(url, "execute", "1")
    assert (code, page["state"], page["accounts"]) == (1, "executed", {"done": 9, "parked": 1})
    assert "1 parked" in said
    assert page["bills"]["gross"] == page["preview"]["gross"]
    code, page, _ = asked(url, "abandon", "1", "--account", page["parked"][0]["account"])
    assert (code, page["accounts"]) == (0, {"done": 9, "left_out": 1})
    assert asked(url, "approve", "1", "--day", str(scene.BILL_DAY))[1]["state"] == "approved_to_number"
    code, page, _ = asked(url, "number", "1")
    assert (code, page["bills"]["first"], page["bills"]["last"]) == (0, "2026-000001", "2026-000009")
    assert asked(url, "abandon", "1")[0] == 3
    assert asked(url, "publish", "1")[1]["state"] == "published"
    assert asked(url, "status")[1][0]["state"] == "published"
    assert scene.wrong_with(engine) == []
    engine.dispose()
