"""What stands in the audit log of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple


class Attempted(NamedTuple):
    """One attempted change, from both of its lines: what its intent said (None: it was refused before), and its outcome."""

    begun: dict[str, Any] | None
    ended: dict[str, Any]

    @property
    def action(self) -> str:
        return str(self.ended["action"])


def attempts(folder: Path) -> list[Attempted]:
    """Every attempt that has an outcome, in the order of the outcomes; each has one outcome, and one intent at most."""
    lines = [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]
    begun = {each["id"]: each for each in lines if each["line"] == "intent"}
    ended = {each["id"]: each for each in lines if each["line"] == "outcome"}
    assert len(begun) + len(ended) == len(lines), "a change has one intent at most and one outcome"
    assert set(begun) <= set(ended), "every intent has an outcome by now"
    assert all(each["n"] == int(name in begun) for name, each in ended.items())
    return [Attempted(begun.get(name), each) for name, each in ended.items()]


def begun(folder: Path) -> list[str]:
    """The actions that were begun, in order."""
    return [each.action for each in attempts(folder) if each.begun is not None]
