"""Fuzz for so many seconds, guided by coverage (atheris): `python -m tests.fuzz [seconds] [target ...]`, all targets in turn.

Targets (targets.py): a connection's octets against the model (wire) and against a real store beside it (store), one message (frame), what
stands on disk and on the stream (rows), a tariff's text (tariff).

What reaches code that nothing reached before is kept in .fuzz/<target>, what breaks the invariant in .fuzz/<target>-broken; both stay, and
the next run goes on from them. `python -m tests.fuzz.keep` takes over into tests/fuzz/corpus what reaches new code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

from tests.fuzz.targets import FOLDER, TARGETS


def main(words: list[str]) -> int:
    """Fuzz each target in a process of its own; 1 where one of them broke."""
    seconds = int(words[0]) if words and words[0].isdigit() else 60
    names = [each for each in words if not each.isdigit()] or list(TARGETS)
    broken = []
    for name in names:
        share = max(1, seconds // len(names))
        print(f"fuzzing {name} for {share} s", flush=True)
        words = [sys.executable, "-m", "tests.fuzz.guided", name, str(share)]
        with (
            TemporaryDirectory() as folder
        ):  # libFuzzer ends without a farewell: what its process leaves goes with it
            done = subprocess.run(words, env=os.environ | {"TMPDIR": folder}, check=False)
        if done.returncode:
            broken.append(name)
    for name in broken:
        print(f"{name}: broken; what did it is in {FOLDER}/{name}-broken", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
