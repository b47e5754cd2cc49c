"""The whole path under load, on a real server: rate, latency, processor time, memory, and yardsticks of the same machine.

    python -m loadtests.bench [--workers 1] [--seconds 15] [--soak 600] [--quick] [--out FOLDER]

Laws
1. Every phase starts a server on a store of its own, so that it does not depend on those before it, and ends with an audit; figures of a dirty audit, of missing answers or of refusals
   are void: exit code 1. A missed aim is shown, and is an error with --enforce only: machines differ.
2. Yardsticks are measured in the same run, so that figures of two machines can be compared.
3. --quick shows that everything runs; its figures mean nothing, and it writes no file unless --out says where.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from loadtests import figures, report
from loadtests.figures import ON_RATES
from loadtests.gauges import end_in_order, machine
from loadtests.rig import (
    FIRST_MSISDN,
    RigFault,
    Sample,
    Server,
    audit,
    free_port,
    generate,
    run_command,
    stranger,
    subscribe,
)

HERE = Path(__file__).parent
STRANGER_WINDOW = 64
FLAT_TARIFF, RATED_TARIFF = "flat-data", "mobile"
"""One ladder; and the sample operator's, where data is priced by network visited and rating group, with caps."""


class Options(NamedTuple):
    """What a run does."""

    workers: int
    seconds: float
    warm_seconds: float
    soak_seconds: float
    connections: int
    window: int
    subscribers: int
    sessions: int
    quick: bool
    out: Path | None
    enforce: bool


class Bench:
    """One run; `results` grows phase by phase."""

    def __init__(self, options: Options, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console
        self.results: dict[str, Any] = {
            "machine": machine(),
            "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "command": "python -m loadtests.bench " + " ".join(sys.argv[1:]),
            "quick": options.quick,
            "phases": [],
        }

    def run(self) -> None:
        """Run every phase."""
        self._phase("everysec, closed loop", "everysec", 0.0, self._options.seconds)
        self._phase("always, closed loop", "always", 0.0, self._options.seconds)
        half = self.results["phases"][-1]["per_second"] / 2
        self._phase("always, open loop at half", "always", half, self._options.seconds)
        self._phase(ON_RATES, "always", 0.0, self._options.seconds, RATED_TARIFF)
        self._yardsticks()
        self._parts()
        if self._options.soak_seconds:
            self._soak(half / 2)

    def _phase(
        self, name: str, durability: str, rate: float, seconds: float, tariff: str = FLAT_TARIFF
    ) -> None:
        found, _ = self._load(name, durability, rate, seconds, tariff)
        self.results["phases"].append(found)

    def _load(
        self, name: str, durability: str, rate: float, seconds: float, tariff: str = FLAT_TARIFF
    ) -> tuple[dict[str, Any], list[Sample]]:
        """Load a fresh server on a fresh store, audit, and work out the figures."""
        options = self._options
        self._say(f"{name}, {seconds:g} s" + (f" at {rate:,.0f} a second" if rate else ""))
        store = self._folder / "store"
        subscribe(store, options.subscribers, tariff)
        with Server(store, durability, options.workers) as server:
            self.results["store_version"] = server.store_version
            measured = generate(server.address, server, *self._generator_options(rate, seconds))
            proved = audit(store)
        shutil.rmtree(store)
        return figures.phase(name, durability, options.workers, measured, proved), measured.samples

    def _generator_options(self, rate: float, seconds: float, window: int = 0) -> list[str]:
        options = self._options
        given = {
            "--first": FIRST_MSISDN,
            "--subscribers": options.subscribers,
            "--sessions": options.sessions,
            "--connections": options.connections,
            "--window": window or options.window,
            "--warm-seconds": options.warm_seconds,
            "--seconds": seconds,
            "--mode": "open" if rate else "closed",
            "--rate": rate or 1.0,
        }
        return [str(word) for pair in given.items() for word in pair]

    def _yardsticks(self) -> None:
        options = self._options
        self._say("yardstick: python-diameter")
        with stranger(free_port(), options.connections) as address:
            measured = generate(
                address, None, *self._generator_options(0.0, options.seconds, STRANGER_WINDOW)
            )
        result = measured.result
        self.results["stranger"] = {
            "per_second": result["answers"] / result["seconds"],
            "window": STRANGER_WINDOW,
            "codes": result["codes"],
            "latency_us": result["latency_us"]["all"],
        }
        self.results["reference"] = {}
        for durability in ("always", "everysec"):
            self._say(f"yardstick: reference function, {durability}")
            seconds = str(min(5.0, options.seconds))
            code, output = run_command(
                "loadtests.yardsticks", "reference", "--seconds", seconds, "--durability", durability
            )
            if code != 0:
                raise RigFault(f"the reference function ended with {code}")
            self.results["reference"][durability] = json.loads(output)

    def _parts(self) -> None:
        """Measure the parts alone; they print their figures whether or not they meet their budgets."""
        quick = self._options.quick
        parts = {
            "charge": ("loadtests.bench_charge", "--sessions", "200" if quick else "10000"),
            "codec": ("loadtests.bench_codec", "--seconds", "0.05" if quick else "2"),
            "charging": ("loadtests.bench_charging", "--seconds", "0.05" if quick else "2"),
            "link": ("loadtests.bench_link", "--calls", "2000" if quick else "50000"),
        }
        for name, (module, *arguments) in parts.items():
            self._say(f"alone: {name}")
            code, output = run_command(module, "--json", *arguments)
            try:
                self.results[name] = json.loads(output)
            except json.JSONDecodeError as fault:
                raise RigFault(f"{module} ended with {code} and no figures") from fault

    def _soak(self, rate: float) -> None:
        found, samples = self._load(
            "soak, open loop at a quarter", "always", rate, self._options.soak_seconds
        )
        self.results["soak"] = {
            "phase": found,
            "memory": figures.memory(samples),
            "resident_octets": [
                {"second": round(sample.at - samples[0].at), **sample.resident_octets}
                for sample in samples[:: max(1, len(samples) // 60)]
            ],
        }

    def _say(self, what: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')} {what}", markup=False, highlight=False)


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="The whole path under load, and yardsticks of the same machine."
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="measured time of each phase")
    parser.add_argument("--warm-seconds", type=float, default=4.0)
    parser.add_argument(
        "--soak", type=float, default=0.0, metavar="SECONDS", help="watch the workers' memory for so long"
    )
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--window", type=int, default=256, help="requests under way in a closed loop")
    parser.add_argument("--subscribers", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=2_048, help="sessions open at any time")
    parser.add_argument("--quick", action="store_true", help="a second or two each; the figures mean nothing")
    parser.add_argument(
        "--out", type=Path, help="folder of RESULTS.md and results.json (default: loadtests/)"
    )
    parser.add_argument("--enforce", action="store_true", help="a missed aim is an error")
    given = parser.parse_args(arguments)
    if given.quick:
        out = given.out
        return Options(
            given.workers, 0.6, 0.3, given.soak, 4, 32, 200, 64, quick=True, out=out, enforce=False
        )
    return Options(
        given.workers, given.seconds, given.warm_seconds, given.soak, given.connections, given.window,
        given.subscribers, given.sessions, quick=False, out=given.out or HERE, enforce=given.enforce,
    )  # fmt: skip


def main() -> int:
    """Run, show, write; 1 when the figures are void (or an aim is missed, with --enforce)."""
    options = read_options()
    end_in_order()
    console = Console(width=None if sys.stdout.isatty() else 200)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(options, Path(folder), console)
        try:
            bench.run()
        except RigFault as fault:
            console.print(f"the benchmark could not be run: {fault}", style="bold red", markup=False)
            return 1
    wrong = figures.wrongs(bench.results)
    report.show(bench.results, wrong, console)
    if options.out is not None:
        report.write(bench.results, wrong, options.out)
    missed = options.enforce and not all(aim.met for aim in figures.aims(bench.results))
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
