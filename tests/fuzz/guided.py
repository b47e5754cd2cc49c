"""One target under atheris; `python -m tests.fuzz` starts it, in a process that ends with the run."""

from __future__ import annotations

import os
import sys
from hashlib import sha1
from pathlib import Path

try:
    import atheris
except ImportError:  # no wheel for this machine or this Python
    raise SystemExit(
        "atheris is not installed here; the kept inputs are played by the tests without it"
    ) from None

_PROTOCOL = ("ocs.charging", "ocs.diameter", "ocs.names", "ocs.server")
INSTRUMENTED = {
    "wire": _PROTOCOL,
    "store": (
        *_PROTOCOL,
        "ocs.balance.book",
        "ocs.balance.charging",
        "ocs.balance.events",
        "ocs.balance.plan_text",
        "ocs.balance.profiles",
    ),
    "frame": _PROTOCOL,
    "rows": ("ocs.balance.archive_files", "ocs.balance.entries", "ocs.balance.spool", "ocs.records"),
    "tariff": ("ocs.rating",),
}
"""Whose coverage guides, by target: all else, the model above all, runs at its usual speed."""

with atheris.instrument_imports(include=list(INSTRUMENTED[sys.argv[1]])):
    from tests.fuzz.targets import CORPUS, FOLDER, TARGETS


def main(name: str, seconds: int) -> None:
    """Fuzz one target for so many seconds; ends the process."""
    target = TARGETS[name]
    found, broken = Path(FOLDER, name), Path(FOLDER, f"{name}-broken")
    begun = Path(FOLDER, f"{name}-seeds")
    for folder in (found, broken, begun):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (begun / sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    kept = Path(CORPUS, name)
    kept.mkdir(parents=True, exist_ok=True)

    def mutate(octets: bytes, octets_max: int, seed: int) -> bytes:
        return target.mutate(octets, octets_max, seed, atheris.Mutate)

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.octets_max}",
        f"-artifact_prefix={broken}{os.sep}",
        "-rss_limit_mb=1024",  # a leak of the target ends the run
        "-timeout=10",
        "-print_final_stats=1",
        *map(str, (found, kept, begun)),
    ]
    crossed = {} if target.crossed is None else {"custom_crossover": target.crossed}
    atheris.Setup([sys.argv[0], *options], target.play, custom_mutator=mutate, **crossed)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
