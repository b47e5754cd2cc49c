"""Top-ups under load, alone and beside charging, on one real server: rates, p99, processor time, and what charging feels of it.

    python -m loadtests.bench_topups [--workers 1] [--seconds 15] [--rounds 3] [--connections 8] [--quick] [--out FOLDER]

Laws
1. One server on one store for the whole run: charging's maximum (closed loop); then, round after round, charging alone at half of it
   (open loop), top-ups alone (closed loop), and both together. Figures are medians over the rounds, so that no drift looks like an effect.
2. An audit at the end judges all of it; figures of a dirty audit, of missing answers or of refusals are void: exit code 1.
3. --quick shows that everything runs; its figures mean nothing, and it writes no file unless --out says where.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from loadtests import figures, report
from loadtests.channels import KEY
from loadtests.gauges import end_in_order, machine
from loadtests.rig import FIRST_MSISDN, Measured, RigFault, Server, audit, generate, run_command, subscribe

HERE = Path(__file__).parent
CHANNELS = "loadtests.channels"
MAXIMUM, ALONE, TOPUPS, BOTH = "charging, closed loop", "charging alone", "top-ups alone", "both together"
DURABILITY = "always"
TRAIL_SECONDS = 2.0
"""How long top-ups go on behind their window, so that charging's is covered whole."""
PAGE, FIGURES = "TOPUPS.md", "topups.json"


class Options(NamedTuple):
    """What a run does; ``connections`` are the top-up channels'."""

    workers: int
    seconds: float
    warm_seconds: float
    rounds: int
    connections: int
    subscribers: int
    quick: bool
    out: Path | None


class Bench:
    """One run; `results` grows phase by phase."""

    def __init__(self, options: Options, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console
        self.results: dict[str, Any] = {
            "machine": machine(),
            "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "command": "python -m loadtests.bench_topups " + " ".join(sys.argv[1:]),
            "quick": options.quick,
            "connections": options.connections,
            "phases": [],
        }

    def run(self) -> None:
        """Run every phase, then the audit."""
        options, store = self._options, self._folder / "store"
        subscribe(store, options.subscribers, "flat-data")
        with Server(store, DURABILITY, options.workers, OCS_HTTP__RATE="0") as server:
            self.results["store_version"] = server.store_version
            os.environ[KEY] = new_key(store)
            half = self._charging(server, MAXIMUM)["per_second"] / 2
            for _ in range(options.rounds):
                self._charging(server, ALONE, half)
                self._topups(server)
                self._both(server, half)
            self.results["audit"] = audit(store)
        self.results["figures"] = summed_up(self.results["phases"])

    def _charging(self, server: Server, name: str, rate: float = 0.0) -> dict[str, Any]:
        self._say(name, rate)
        found = self._charged(name, generate(server.address, server, *self._generator(rate)))
        self.results["phases"].append(found)
        return found

    def _topups(self, server: Server) -> None:
        self._say(TOPUPS)
        measured = generate(
            server.http_address, server, *self._channels(self._options.seconds, 0.0), module=CHANNELS
        )
        self.results["phases"].append({"phase": TOPUPS, "topups": topped_up(measured)})

    def _both(self, server: Server, rate: float) -> None:
        """Load with both at once: top-ups begin with charging, and end behind it."""
        self._say(BOTH, rate)
        with ThreadPoolExecutor(1) as beside:
            seconds = max(self._options.seconds - 1, self._options.seconds * 0.8)
            channels = beside.submit(
                generate,
                server.http_address,
                None,
                *self._channels(seconds, min(TRAIL_SECONDS, self._options.seconds)),
                module=CHANNELS,
            )
            measured = generate(server.address, server, *self._generator(rate))
            topups = channels.result()
        self.results["phases"].append(self._charged(BOTH, measured) | {"topups": topped_up(topups)})

    def _charged(self, name: str, measured: Measured) -> dict[str, Any]:
        return figures.phase(name, DURABILITY, self._options.workers, measured, {"clean": True})

    def _generator(self, rate: float) -> list[str]:
        given = {
            "--mode": "open" if rate else "closed",
            "--rate": rate or 1.0,
            "--seconds": self._options.seconds,
        }
        return self._words(given)

    def _channels(self, seconds: float, trail_seconds: float) -> list[str]:
        given = {
            "--connections": self._options.connections,
            "--seconds": seconds,
            "--trail-seconds": trail_seconds,
        }
        return self._words(given)

    def _words(self, given: dict[str, Any]) -> list[str]:
        options = self._options
        both = {
            "--first": FIRST_MSISDN, "--subscribers": options.subscribers, "--warm-seconds": options.warm_seconds
        }  # fmt: skip
        return [str(word) for pair in (both | given).items() for word in pair]

    def _say(self, what: str, rate: float = 0.0) -> None:
        told = f"{what}, {self._options.seconds:g} s" + (f" at {rate:,.0f} a second" if rate else "")
        self._console.print(f"{time.strftime('%H:%M:%S')} {told}", markup=False, highlight=False)


def new_key(store: Path) -> str:
    """Make an API key of a top-up channel on a living store."""
    code, output = run_command(
        "ocs", "keys", "create", "--role", "channel", "--channel", "load", "--json", "--data-dir", str(store)
    )
    if code != 0:
        raise RigFault(f"`ocs keys create` ended with {code}")
    return str(json.loads(output)["key"])


def topped_up(measured: Measured) -> dict[str, Any]:
    """Work out what the channels have seen, and where the server was looked at meanwhile what each process spent for one top-up."""
    result, samples = measured.result, measured.samples
    answers = max(1, result["answers"])
    found = {
        "per_second": result["answers"] / result["seconds"],
        "latency_us": result["latency_us"],
        "codes": result["codes"],
        "unanswered": result["unanswered"],
        "client_us": result["generator_us"] / answers,
    }
    if samples:
        first, last = samples[0], samples[-1]
        spent = {name: last.cpu_us[name] - first.cpu_us[name] for name in last.cpu_us}
        found["cpu_us"] = {name: us / answers for name, us in spent.items()}
        found["file_octets"] = figures.file_octets(samples)
        found["foreign_share"] = figures.foreign_share(
            first, last, sum(spent.values()) + result["generator_us"]
        )
    return found


def summed_up(phases: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures that are asked for, each the median over the rounds."""
    of = {name: [each for each in phases if each["phase"] == name] for name in (MAXIMUM, ALONE, TOPUPS, BOTH)}

    def median(name: str, *keys: str) -> float:
        found = []
        for each in of[name]:
            value: Any = each
            for key in keys:
                value = value.get(key, 0.0)
            found.append(float(value))
        return statistics.median(found)

    charged, alone = median(MAXIMUM, "per_second"), median(TOPUPS, "topups", "per_second")
    beside = median(BOTH, "topups", "per_second")
    return {
        "charging, CCR/s in a closed loop": charged,
        "charging, CCR/s in the open loop": median(ALONE, "per_second"),
        "top-ups/s alone": alone,
        "top-ups/s beside charging": beside,
        "top-ups/s alone, as a share of the charging rate": alone / charged,
        "top-ups/s beside charging, as a share of the charging rate": beside / charged,
        "top-up p99 ms alone": median(TOPUPS, "topups", "latency_us", "p99") / 1e3,
        "top-up p99 ms beside charging": median(BOTH, "topups", "latency_us", "p99") / 1e3,
        "charging p99 ms alone": median(ALONE, "latency_us", "all", "p99") / 1e3,
        "charging p99 ms beside top-ups": median(BOTH, "latency_us", "all", "p99") / 1e3,
        "door, µs of processor time per top-up": median(TOPUPS, "topups", "cpu_us", "door"),
        "store, µs of processor time per top-up": median(TOPUPS, "topups", "cpu_us", "store"),
        "worker, µs of processor time per CCR, alone": median(ALONE, "cpu_us", "worker"),
        "worker, µs of processor time per CCR, beside top-ups": median(BOTH, "cpu_us", "worker"),
    }


def wrongs(results: dict[str, Any]) -> list[str]:
    """Return what makes the figures void."""
    charged = [each | {"audit": results["audit"]} for each in results["phases"] if "latency_us" in each]
    found = list(dict.fromkeys(figures.wrongs({"phases": charged})))
    for each in results["phases"]:
        if (topups := each.get("topups")) is not None:
            if topups["unanswered"]:
                found.append(f"{each['phase']}: {topups['unanswered']} top-ups were not answered")
            if refused := {code: count for code, count in topups["codes"].items() if code != "201"}:
                found.append(f"{each['phase']}: answers to top-ups other than 201: {refused}")
            if not topups["codes"].get("201"):
                found.append(f"{each['phase']}: no top-up was made")
    return found


def rows_of(results: dict[str, Any]) -> list[list[str]]:
    """Return the table."""
    found = results["figures"].items()
    return [["figure", "median"]] + [
        [name, f"{value:,.3f}" if "share" in name else f"{value:,.1f}"] for name, value in found
    ]


NOTES = (
    "Charging in the open loop runs at half of what the closed loop reached. Top-ups are in a closed loop: so many connections, one new",
    "top-up under way on each, so that p99 alone is about connections / top-ups per second. The door (one process) is their bound; both",
    "together share the store, and on a small machine the processors: generator and channels run on it too.",
)


def page(results: dict[str, Any], wrong: list[str]) -> str:
    """Return TOPUPS.md."""
    facts = results["machine"] | {
        "store": results["store_version"],
        "command": f"`{results['command']}`",
        "when": results["when"],
        "top-up connections": results["connections"],
        "audit": "clean" if results["audit"]["clean"] else "NOT CLEAN",
    }
    head, *rows = rows_of(results)
    lines = ["# Top-ups, alone and beside charging", "", "Written by `python -m loadtests.bench_topups`.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    lines += [f"- **wrong**: {each}" for each in wrong]
    lines += ["", f"| {' | '.join(head)} |", "| --- | ---: |", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", *NOTES, ""])


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Top-ups alone and beside charging.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="measured time of each phase")
    parser.add_argument("--warm-seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3, help="of charging alone, top-ups alone, both")
    parser.add_argument("--connections", type=int, default=8, help="of the top-up channels")
    parser.add_argument("--subscribers", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="a second each; the figures mean nothing")
    parser.add_argument("--out", type=Path, help=f"folder of {PAGE} and {FIGURES} (default: loadtests/)")
    given = parser.parse_args(arguments)
    if given.quick:
        return Options(given.workers, 1.2, 0.4, 1, 4, 1_000, quick=True, out=given.out)
    return Options(
        given.workers, given.seconds, given.warm_seconds, given.rounds, given.connections, given.subscribers,
        quick=False, out=given.out or HERE,
    )  # fmt: skip


def main() -> int:
    """Run, show, write; 1 when the figures are void."""
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
    results = bench.results
    wrong = wrongs(results)
    report.print_table("Top-ups, alone and beside charging", rows_of(results), console)
    for each in wrong:
        console.print(f"WRONG: {each}", style="bold red", markup=False)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / PAGE).write_text(page(results, wrong))
        (options.out / FIGURES).write_text(json.dumps(results, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
