"""The Makefile's promises that can be seen without installing anything."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.house.source import ROOT


def dry(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_fresh_demo_installs_no_development_tools(tmp_path: Path) -> None:
    said = dry("demo", f"VENV={tmp_path / 'v'}", f"PYTHON={sys.executable}").stdout
    assert ("'.[demo]'" in said, "[dev]" in said, "-m venv" in said) == (True, False, True)


def test_a_development_environment_is_not_installed_again(tmp_path: Path) -> None:
    venv = f"VENV={tmp_path}"
    printed = dry("--print-data-base", "test", venv, f"PYTHON={sys.executable}").stdout
    stamp = next(line.partition(":= ")[2] for line in printed.splitlines() if line.startswith("DEV := "))
    name = stamp.replace("$(VENV)", str(tmp_path))
    values = dict(
        line.split(" := ", 1) for line in printed.splitlines() if line.startswith(("LANGUAGE :=", "PINS :="))
    )
    for key, value in values.items():
        name = name.replace(f"$({key})", value)
    Path(name).touch()
    said = dry("test", venv, f"PYTHON={sys.executable}").stdout
    assert ("pip install" in said, "-m pytest" in said) == (False, True)


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "demo", f"VENV={tmp_path / 'v'}", "PYTHON=no-such-python"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "no-such-python is not a Python" in done.stderr) == (2, True)


def test_every_ignored_rule_of_the_linter_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    settings = tomllib.loads(text)["tool"]["ruff"]["lint"]
    rules = {
        *settings["ignore"],
        *(rule for rules in settings["per-file-ignores"].values() for rule in rules),
    }
    unexplained = {
        rule for rule in rules if not any(f'"{rule}",' in line and "#" in line for line in text.splitlines())
    }
    assert (settings["select"], unexplained) == (["ALL"], set())
