"""`python -m tests.sim`: play seeds, many with a progress bar, or one with its trace; Ctrl-C or SIGTERM ends it with what was played so far."""

import argparse
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.sim.scene import Verdict, run_seed
from tests.sim.storehouse import Server
from tests.sim.wounds import WOUNDS, wounded

_OUT = Console(soft_wrap=True, highlight=False)
_TOLD = ("sent", "answered", "store calls", "killed", "simulated ms")


def memory_folder() -> str | None:
    """A folder in memory, where there is one: the store's fsync then costs nothing, and judges no less."""
    place = Path("/dev/shm")  # noqa: S108 - the kernel's own
    return str(place) if place.is_dir() else None


def main() -> int:
    """Play; 1 when a seed fails, 2 when it was interrupted before the first."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one")
    parser.add_argument("--seeds", default="0:100", help="play these, FROM:TO (default %(default)s)")
    parser.add_argument("--trace", action="store_true", help="print every line of what happens (with --seed)")
    parser.add_argument("--wound", choices=sorted(WOUNDS), help="break the server in this way first")
    parser.add_argument("--go-on", action="store_true", help="go on after a seed that fails")
    given = parser.parse_args()
    first, _, last = given.seeds.partition(":")
    seeds = [given.seed] if given.seed is not None else range(int(first), int(last))
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # also where a shell has started us in the background, deaf
        signal.signal(number, signal.default_int_handler)
    server = Server(memory_folder())
    try:
        with wounded(given.wound or "") as lua:
            return _play(seeds, server, lua, given)
    finally:
        server.close()


def _play(seeds: range | list[int], server: Server, lua: object, given: argparse.Namespace) -> int:
    begun_s, total, failed, passed = time.monotonic(), Counter[str](), list[int](), 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), disable=len(seeds) == 1) as bar:
            task = bar.add_task("seeds", total=len(seeds))
            for seed in seeds:
                verdict = run_seed(seed, server, keeps_trace=given.trace, wound=lua, folder=memory_folder())  # type: ignore[arg-type]
                total += verdict.counts
                passed += not verdict.faults
                if verdict.faults:
                    failed.append(seed)
                    _tell(verdict, given.wound)
                bar.advance(task)
                if verdict.faults and not given.go_on:
                    break
                if given.trace:
                    _OUT.print("\n".join(verdict.trace), markup=False)
    except KeyboardInterrupt:
        _OUT.print("interrupted")
    spent_s = time.monotonic() - begun_s
    told = ", ".join(f"{total[name]:,} {name}" for name in _TOLD)
    _OUT.print(f"{passed} seeds passed, {len(failed)} failed, {passed / spent_s:.1f} seeds/s; {told}")
    return 1 if failed else 0 if passed else 2


def _tell(verdict: Verdict, wound: str | None) -> None:
    """Say what does not hold, and the line that replays it."""
    _OUT.print(str(verdict), markup=False)
    if wound:
        _OUT.print(f"  (with --wound {wound})")
    if verdict.trace:
        _OUT.print("\n".join(verdict.trace), markup=False)


if __name__ == "__main__":
    sys.exit(main())
