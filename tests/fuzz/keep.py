"""Take over what the fuzzer found: `python -m tests.fuzz.keep [target ...]` leaves in the corpus the smallest inputs that reach all code.

Inputs named broke-… have broken the invariant once; they stay whatever they reach.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import CORPUS, FOLDER, TARGETS, Target
from tests.house.source import ROOT

BROKE = "broke-"
_OURS = str(ROOT / "ocs")
_MODEL = str(ROOT / "ocs" / "balance" / "model")
Step = tuple[str, int, int]
"""A file, and two lines that were run one after the other in one function."""


def steps(play: Callable[[bytes], None], octets: bytes) -> set[Step]:
    """Play one input; what it ran of the charging server, the model left out."""
    found: set[Step] = set()

    def inside(name: str) -> Callable[[FrameType, str, Any], Any]:
        before = 0

        def line(frame: FrameType, event: str, _value: Any) -> Any:
            nonlocal before
            if event == "line":
                found.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    def call(frame: FrameType, _event: str, _value: Any) -> Any:
        name = frame.f_code.co_filename
        return inside(name) if name.startswith(_OURS) and not name.startswith(_MODEL) else None

    sys.settrace(call)
    try:
        play(octets)
    finally:
        sys.settrace(None)
    return found


def inputs(folders: Iterator[Path]) -> list[bytes]:
    """All inputs of some folders, each once, the smallest first."""
    found = {
        path.read_bytes()
        for folder in folders
        for path in folder.glob("*")
        if not path.name.startswith(BROKE)
    }
    return sorted(found, key=lambda octets: (len(octets), octets))


def keep(name: str, target: Target) -> tuple[int, int]:
    """Rewrite one target's folder; how many inputs there were, and how many are left."""
    kept = Path(CORPUS, name)
    kept.mkdir(parents=True, exist_ok=True)
    given = inputs(
        folder for folder in (kept, Path(FOLDER, name), Path(FOLDER, f"{name}-seeds")) if folder.is_dir()
    )
    for (
        octets
    ) in given:  # what is remembered from one input to the next (layouts, spellings) counts for none of them
        target.play(octets)
    reached: set[Step] = set()
    chosen = []
    for octets in given:
        ran = steps(target.play, octets)
        if ran - reached:
            reached |= ran
            chosen.append(octets)
    for path in kept.glob("*"):
        if not path.name.startswith(BROKE):
            path.unlink()
    for octets in chosen:
        (kept / sha1(octets, usedforsecurity=False).hexdigest()[:16]).write_bytes(octets)
    return len(given), len(chosen)


def main(names: list[str]) -> None:
    """Rewrite the folders of the targets that are named, or of all."""
    for name in names or list(TARGETS):
        given, left = keep(name, TARGETS[name])
        print(f"{name}: {left} of {given} inputs kept", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
