"""Dunning's commands on both databases: a dry run, a run, why an account stands where it does, holds; and what is wrong is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from ocs.roof.ends import Ended
from postpaid_bridge.roof.commands import app
from postpaid_bridge.roof.dunned import read_terms
from postpaid_bridge.roof.ground import Ground
from tests.dunning_scene import FOLDER, PAGES, Scene

NUMBER = "1000001"


@pytest.fixture
def scene(database: Engine) -> Scene:
    made = Scene(database)
    made.bill(made.account(NUMBER), 150)
    return made


def said(scene: Scene, *words: str) -> Any:
    """What a command says as JSON."""
    ground = Ground()
    ground.__dict__["engine"] = (
        scene.engine
    )  # its tables are those of the code, whatever the last revision has
    done = CliRunner().invoke(app, [*words, "--json"], obj=ground, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(scene: Scene, *words: str) -> str:
    ground = Ground()
    ground.__dict__["engine"] = scene.engine
    with pytest.raises(Ended) as fault:
        CliRunner().invoke(app, [*words], obj=ground, catch_exceptions=False)
    return str(fault.value)


def test_a_dry_run_shows_what_a_run_then_does(scene: Scene) -> None:
    shown = said(scene, "dun", "--day", "2026-03-09", "--dry-run")
    assert [(each["account"], each["action"], each["overdue"]) for each in shown["steps"]] == [
        (NUMBER, "remind", "150.00")
    ]
    assert said(scene, "dun", "--day", "2026-03-09") == {
        "day": "2026-03-09", "looked": 1, "remind": 1, "failed": 0, "failures": {},
    }  # fmt: skip
    assert said(scene, "dun", "--day", "2026-03-09", "--dry-run")["steps"] == []


def test_an_account_s_standing_is_explained_with_paragraphs_and_what_comes_next(scene: Scene) -> None:
    for day in ("2026-03-09", "2026-03-23"):
        said(scene, "dun", "--day", day)
    told = said(scene, "explain", NUMBER, "--at", "2026-04-01")
    assert (told["level"], told["in_default"], told["next"]) == (2, "150.00", "level 3, outgoing barred")
    assert told["next_day"] == "2026-04-09"
    assert told["why"][0][0] == "TKG §61(4) s.2"
    assert [each["action"] for each in told["history"]] == ["remind", "warn"]
    early = said(scene, "explain", NUMBER, "--at", "2026-03-05")
    assert (early["level"], early["next_day"], early["history"]) == (0, "2026-03-09", [])


def test_a_hold_is_added_listed_and_ended(scene: Scene) -> None:
    made = said(scene, "hold", "add", NUMBER, "manual", "--reason", "is in hospital")["hold"]
    (row,) = said(scene, "hold", "list", NUMBER)["holds"]
    assert (row["kind"], row["reason"], row["ended"]) == ("manual", "is in hospital", "")
    assert said(scene, "hold", "end", str(made)) == {"hold": made, "ended": True}
    assert said(scene, "hold", "end", str(made)) == {"hold": made, "ended": False}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explain", "999"), "no billing account has the number '999'"),
        (("dun", "--day", "tomorrow"), "write it as 2026-03-31"),
        (("hold", "add", NUMBER, "whim", "--reason", "x"), "dispute, promise, manual, contested"),
        (("hold", "add", NUMBER, "contested", "--reason", "x", "--bill", "1", "--amount", "much"), "much"),
        (("hold", "end", "77"), "hold 77"),
    ],
)
def test_what_is_wrong_is_told(scene: Scene, words: tuple[str, ...], told: str) -> None:
    assert told in refused(scene, *words)


def test_all_faults_of_all_files_of_dunning_are_told(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    for name in ("law-de.yaml", "rates.yaml"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    (tmp_path / "policies" / "a.yaml").write_text(
        PAGES["consumer.yaml"].replace("flat_sum: false", "flat_sum: true")
    )
    (tmp_path / "policies" / "b.yaml").write_text("policy: b")
    with pytest.raises(Ended) as fault:
        read_terms(tmp_path)
    assert "a.yaml:21: " in str(fault.value)
    assert "b.yaml:1: " in str(fault.value)
