"""The bridge measured: usage lines a second that intake takes from records and from files, on a database of its own.

    python -m loadtests.bench_bridge [--accounts 1000] [--lines 100000] [--database URL] [--quick] [--out FILE]

Laws
1. Records are octets as the store writes them, made before the clock runs; what is measured is the unit of work: reading them, looking up,
   lines, entries, places, commit. The stream's own reading is not in it.
2. Figures are told, never asserted. What was taken in is proved: as many lines as there were, and a journal that adds up; else exit code 1.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
from rich.console import Console
from sqlalchemy import Engine, func, select

from ocs.care.customers.tables import billing_accounts, customers, parties, services
from ocs.clock import SystemClock
from ocs.records import VERSION, Kind
from ocs.sql import engine_of, metadata, reading, writing
from ocs.stream import Batch, Entry
from postpaid_bridge.jobs.files import take_file
from postpaid_bridge.sql import intake
from postpaid_bridge.sql.intake import Rules
from postpaid_bridge.sql.journal import ledger_balances
from postpaid_bridge.sql.usage import lines
from postpaid_bridge.usage import STANDARD, days_of
from postpaid_bridge.usage_files import COLUMNS

RULES = Rules(
    STANDARD, lambda _tariff, _mark, _unit: None, frozenset({"bridge"}), days_of(ZoneInfo("Europe/Berlin"))
)
SINCE = date(2020, 1, 1)
PARTITIONS = 16
AT_ONCE = 4_000


def populate(engine: Engine, accounts: int) -> None:
    """Make a tree of tables with so many customers, each with a billing account and a postpaid service."""
    metadata.create_all(engine)
    numbers = range(1, accounts + 1)
    with writing(engine) as work:
        work.execute(
            parties.insert(),
            [{"id": n, "kind": "person", "family_name": f"P{n}", "since_ms": 0} for n in numbers],
        )
        work.execute(
            customers.insert(),
            [{"id": n, "number": f"C{n}", "party": n, "kind": "consumer", "since_ms": 0} for n in numbers],
        )
        work.execute(
            billing_accounts.insert(),
            [{"id": n, "number": f"B{n}", "customer": n, "party": n, "since": SINCE} for n in numbers],
        )
        work.execute(
            services.insert(),
            [
                {
                    "id": n, "billing_account": n, "party": n, "kind": "mobile", "mode": "postpaid", "number": f"4917{n:08d}", "book": f"b{n}",
                    "subscriber": f"b{n}", "plan": "basic", "since": SINCE,
                }
                for n in numbers
            ],
        )  # fmt: skip


def records(accounts: int, count: int, chance: random.Random, now_ms: int) -> Iterator[list[Batch]]:
    """Give charges of one line each, as many units of work as it takes; every book's figures follow one another."""
    posted, sequences, places = [0] * accounts, [0] * accounts, [0] * PARTITIONS
    for start in range(0, count, AT_ONCE):
        found: list[list[Entry]] = [[] for _ in range(PARTITIONS)]
        for number in range(start, min(start + AT_ONCE, count)):
            at = chance.randrange(accounts)
            amount = chance.randrange(1, 90_000)
            posted[at] += amount
            sequences[at] += 1
            partition = at % PARTITIONS
            places[partition] += 1
            fields = [
                VERSION, Kind.CHARGE, f"b{at + 1}", sequences[at], now_ms, now_ms, f"gw.example.org;{number};1", 2, 1, 14, 0,
                "mobile-postpaid@1", 0, posted[at], 0, 1, "", "", posted[at], 0, 0, 1,
                "10", 1, 14, 1 << 20, 0, 1 << 20, amount, amount, 0, 0, "1:surfing", amount, 0,
            ]  # fmt: skip
            found[partition].append(Entry(f"1-{places[partition]}", msgpack.packb(fields)))
        yield [Batch(number, tuple(each)) for number, each in enumerate(found) if each]


def write_file(path: Path, accounts: int, count: int, chance: random.Random, at: str) -> None:
    """Write a usage file of so many lines."""
    with path.open("w") as file:
        file.write(f"usage,1,bench\n{','.join(COLUMNS)}\n")
        for number in range(count):
            who = f"4917{chance.randrange(accounts) + 1:08d}"
            file.write(
                f"{number},{who},roaming-voice,{at},60,seconds,0.{chance.randrange(10, 99)},EUR,33612345678,eu,,\n"
            )
        file.write(f"end,{count}\n")


def measured(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def taken_from_records(engine: Engine, accounts: int, count: int, now_ms: int) -> float:
    """Return the seconds that intake takes for so many records."""
    works = list(records(accounts, count, random.Random(1), now_ms))

    def take() -> None:
        for each in works:
            with writing(engine) as work:
                intake.take(work, RULES, each, now_ms)

    return measured(take)


def taken_from_a_file(engine: Engine, folder: Path, accounts: int, count: int, clock: SystemClock) -> float:
    """Return the seconds that a file of so many lines takes."""
    path = folder / "usage.csv"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock.now_ms() / 1000 - 60))
    write_file(path, accounts, count, random.Random(2), at)
    return measured(lambda: take_file(engine, RULES, path, clock))


def faults(engine: Engine, count: int) -> list[str]:
    """Return what is wrong with what was taken in."""
    with reading(engine) as look:
        found = look.execute(select(func.count()).select_from(lines)).scalar_one()
        wrong = [] if found == count else [f"{found} lines where {count} were given"]
        return wrong + (["the journal does not add up"] if sum(ledger_balances(look).values()) else [])


def run(accounts: int, count: int, url: str, folder: Path) -> dict[str, Any]:
    """Measure once on an empty database; the figures, with what is wrong."""
    engine, clock = engine_of(url), SystemClock()
    populate(engine, accounts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_files = taken_from_a_file(engine, folder, accounts, count, clock)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_records = taken_from_records(engine, accounts, count, clock.now_ms())
    found = {
        "accounts": accounts,
        "lines": count,
        "database": engine.dialect.name,
        "lines_per_s_from_records": round(count / in_records),
        "lines_per_s_from_files": round(count / in_files),
        "memory_grown_by_file_mib": (after - before) // 1024,
        "faults": faults(engine, 2 * count),
    }
    engine.dispose()
    return found


def main() -> int:
    """Read the command line, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--database", help="an empty database; SQLite in a folder of its own by default")
    parser.add_argument("--quick", action="store_true", help="shows that it runs; the figures mean nothing")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    accounts, count = (20, 500) if asked.quick else (asked.accounts, asked.lines)
    with tempfile.TemporaryDirectory() as folder:
        found = run(accounts, count, asked.database or f"sqlite:///{folder}/bench.sqlite", Path(folder))
    Console().print_json(json.dumps(found))
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
