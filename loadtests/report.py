"""The figures for people: tables in the terminal, the same in RESULTS.md, and everything as JSON beside it."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.figures import Aim, aims

Rows = list[list[str]]


def _number(value: float, digits: int = 1) -> str:
    return f"{value:,.{digits}f}" if digits else f"{value:,.0f}"


def phase_rows(phases: list[dict[str, Any]]) -> Rows:
    """Return the table of phases: rate, what bounds it, processor time per CCR, octets, codes."""
    head = ["phase", "CCR/s", "bound", "share", "worker µs", "store µs", "in function µs", "generator µs", "keeper and door µs",
            "others use", "file octets", "codes", "audit"]  # fmt: skip
    rows = [head]
    for each in phases:
        cpu = each["cpu_us"]
        rows.append(
            [
                each["phase"], _number(each["per_second"], 0), _number(each["bound_per_second"], 0),
                f"{each['bound_share']:.2f}", *[_number(cpu[name]) for name in ("worker", "store", "store_function", "generator")],
                _number(cpu.get("keeper", 0.0) + cpu.get("door", 0.0)), f"{each['foreign_share']:.0%}", _number(each["file_octets"], 0),
                " ".join(f"{code}: {count:,}" for code, count in each["codes"].items()),
                "clean" if each["audit"]["clean"] else "NOT CLEAN",
            ]
        )  # fmt: skip
    return rows


def latency_rows(phases: list[dict[str, Any]]) -> Rows:
    """Return the table of latencies, by phase and kind of request."""
    rows = [["phase", "request", "count", "p50 ms", "p99 ms", "p99.9 ms", "greatest ms"]]
    for each in phases:
        for kind, figures in each["latency_us"].items():
            if figures["count"]:
                times = [_number(figures[name] / 1e3, 2) for name in ("p50", "p99", "p999", "max")]
                rows.append([each["phase"], kind, _number(figures["count"], 0), *times])
        if each["behind_us"]["count"]:
            behind = each["behind_us"]
            times = [_number(behind[name] / 1e3, 2) for name in ("p50", "p99", "p999", "max")]
            rows.append([each["phase"], "of it: the generator was late", _number(behind["count"], 0), *times])
    return rows


def aim_rows(found: list[Aim]) -> Rows:
    """Return the table of what the issue asks for."""
    rows = [["aim", "found", "asked", ""]]
    for aim in found:
        asked = f"{'at most' if aim.at_most else 'at least'} {aim.limit:g} {aim.unit}".rstrip()
        rows.append(
            [aim.what, f"{aim.found:,.2f} {aim.unit}".rstrip(), asked, "met" if aim.met else "MISSED"]
        )
    return rows


def yardstick_rows(results: dict[str, Any]) -> Rows:
    """Return the table of yardsticks, with our rate as a multiple of each."""
    rows = [["yardstick", "a second", "store µs", "ours is"]]
    always = [each for each in results["phases"] if each["phase"] == "always, closed loop"]
    rate = always[0]["per_second"] if always else 0.0
    if results.get("stranger"):
        each = results["stranger"]
        rows.append(
            [
                "python-diameter, fixed answer",
                _number(each["per_second"], 0),
                "",
                f"{rate / each['per_second']:.2f} ×",
            ]
        )
    for name, each in results.get("reference", {}).items():
        what = f"reference function, five commands, window 256, {name}"
        rows.append(
            [
                what,
                _number(each["per_second"], 0),
                _number(each["store_us"]),
                f"{rate / each['per_second']:.2f} ×",
            ]
        )
    return rows


def charge_rows(charge: dict[str, Any]) -> Rows:
    """Return the table of the charge function alone."""
    rows = [["call", "calls", "store µs", "in function µs", "file octets"]]
    for each in charge["costs"]:
        cells = [_number(each["process_us"]), _number(each["function_us"]), _number(each["file_octets"], 0)]
        rows.append([each["what"], _number(each["calls"], 0), *cells])
    return rows


def memory_rows(results: dict[str, Any]) -> Rows:
    """Return the table of memory: the store's per account and session, and of each process over the soak."""
    rows = [["memory", "early", "late", "grown"]]
    charge = results.get("charge", {})
    for name, value in charge.items():
        if name.endswith("_octets") or name.startswith("session_octets"):
            rows.append([f"store: {name.replace('_', ' ')}", "", f"{value:,}", ""])
    for name, each in results.get("soak", {}).get("memory", {}).items():
        sizes = [
            _number(each[key] / 2**20) + " MiB" for key in ("early_octets", "late_octets", "grown_octets")
        ]
        rows.append([f"soak: {name}", *sizes])
    return rows


def codec_rows(codec: list[dict[str, Any]]) -> Rows:
    """Return the table of the codec beside python-diameter's."""
    rows = [["codec", "ours µs", "python-diameter µs", "times", "asked"]]
    rows += [
        [
            each["what"],
            _number(each["ours_us"]),
            _number(each["stranger_us"]),
            _number(each["times"]),
            f"at least {each['times_min']:g}",
        ]
        for each in codec
    ]
    return rows


def part_rows(results: dict[str, Any]) -> Rows:
    """Return the table of the worker's other parts alone."""
    rows = [["part of the worker", "µs"]]
    for what, each in results.get("charging", {}).items():
        rows += [
            [f"charging, {what}: {name.removesuffix('_us')}", _number(value)] for name, value in each.items()
        ]
    for road, value in results.get("link", {}).get("roads", {}).items():
        rows.append([f"one call to the store, {road}", _number(value)])
    return rows


def tables(results: dict[str, Any]) -> dict[str, Rows]:
    """Return every table for which there are figures, by its title."""
    phases = results["phases"] + ([results["soak"]["phase"]] if results.get("soak") else [])
    found = {
        "What the issue asks for": aim_rows(aims(results)),
        "Whole path": phase_rows(phases),
        "Latency": latency_rows(phases),
        "Yardsticks of this machine": yardstick_rows(results),
        "Memory": memory_rows(results),
        "Parts of the worker alone": part_rows(results),
    }
    if results.get("charge"):
        found["The charge function alone"] = charge_rows(results["charge"])
    if results.get("codec"):
        found["The codec alone"] = codec_rows(results["codec"])
    return {title: rows for title, rows in found.items() if len(rows) > 1}


def print_table(title: str, rows: Rows, console: Console) -> None:
    """Print a table, whose first row is its head."""
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def show(results: dict[str, Any], wrong: list[str], console: Console) -> None:
    """Print the tables."""
    for title, rows in tables(results).items():
        print_table(title, rows, console)
    for each in wrong:
        console.print(f"WRONG: {each}", style="bold red", markup=False)


def markdown(results: dict[str, Any], wrong: list[str]) -> str:
    """Return the page RESULTS.md."""
    lines = [
        "# Results of `make bench`",
        "",
        "Written by `python -m loadtests.bench`; figures of another machine stand beside its yardsticks.",
        "",
    ]
    facts = {
        **results["machine"],
        "store": results.get("store_version", ""),
        "command": f"`{results['command']}`",
        "when": results["when"],
    }
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    lines += [f"- **wrong**: {each}" for each in wrong]
    for title, (head, *rows) in tables(results).items():
        lines += ["", f"## {title}", "", _line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
        lines += [_line(row) for row in rows]
    lines += ["", *NOTES, ""]
    return "\n".join(lines)


NOTES = (
    "## How to read this",
    "",
    "- bound = min(workers / worker µs, 1 / store µs, cores / sum of worker, store and generator µs); share = CCR/s / bound.",
    "- Store µs are the kernel's account of the store's process, all threads; in function is its own word (INFO commandstats),",
    "  which is time on the clock: where the store is not left alone on its processor it may be the larger.",
    "- Closed loop: a fixed number of requests is always under way, so its latency is that number / CCR/s. Open loop: requests",
    "  leave by a Poisson plan, and a latency counts from the moment the plan says (corrected for coordinated omission); the",
    "  generator's own delay, at least its tick of 1 ms, is inside it and shown apart.",
    "- Others use: the share of the processors that went to other programs meanwhile (the bench's own watching is in it).",
    "  Above a few hundredths the figures are disturbed: measure again on a quiet machine.",
    "- An initial that is the first of its subscriber pays for fetching the profile.",
    "- Store memory: an account is its book, profile and two identities; a top-up leaves marks for 30 days; a session has its",
    "  `where:` key with it. Streams are not counted: the archiver empties them.",
    "- File octets are those of the append-only file per call, trimming of the streams included.",
)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write(results: dict[str, Any], wrong: list[str], folder: Path) -> None:
    """Write RESULTS.md and results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text(markdown(results, wrong))
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
