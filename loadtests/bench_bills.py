"""Bill runs measured: accounts billed a second without documents, from usage that waits to numbers with their entries.

    python -m loadtests.bench_bills [--accounts 1000] [--usage 10] [--database URL] [--chunk 100] [--quick] [--out FILE]

Laws
1. What is measured is the run as an operator has it: preview, execute, number, publish, each with its commits. Populating is not in it.
2. Figures are told, never asserted. What was billed is proved: as many numbers as accounts, nothing unbilled, a journal that adds up.
"""

import argparse
import cProfile
import json
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from sqlalchemy import Engine, func, select

from ocs.care.customers.tables import billing_accounts, customers, holdings, parties, service_plans, services
from ocs.clock import SystemClock
from ocs.sql import engine_of, metadata, reading, writing
from ocs.units import Unit
from postpaid_bridge.jobs.run import Conductor, Pace, approve
from postpaid_bridge.journal import Ledger
from postpaid_bridge.periods import KINDS
from postpaid_bridge.plans import read_plans
from postpaid_bridge.run import RunEvent, Settings, start_ms
from postpaid_bridge.sql import journal, planning, runs, usage
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.drafting import Terms
from postpaid_bridge.sql.planning import Asked
from postpaid_bridge.sql.usage_rows import line_row
from postpaid_bridge.tax import read_taxes
from postpaid_bridge.usage import STANDARD, Held, Line, Source, Taken, days_of, entries_of

ROOT = Path(__file__).parents[1]
ZONE = ZoneInfo("Europe/Berlin")
SINCE, DAY = date(2026, 10, 1), date(2026, 11, 3)
AT_ONCE = 1_000


def terms() -> Terms:
    """Read the sample operator's plans and taxes."""
    taxes = read_taxes((ROOT / "config/taxes.yaml").read_text(), "config/taxes.yaml")
    pages = {str(file): file.read_text() for file in sorted((ROOT / "config/plans").glob("*.yaml"))}
    return Terms(read_plans(pages, taxes.classes), taxes, KINDS, ZONE)


def populate(engine: Engine, accounts: int, count: int) -> None:
    """Make so many consumers with a mobile plan, and ``count`` usage lines each, posted as intake posts them."""
    metadata.create_all(engine)
    for start in range(1, accounts + 1, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, accounts + 1))
        with writing(engine) as work:
            for table, row in (
                (parties, lambda n: {"id": n, "kind": "person", "family_name": f"P{n}", "since_ms": 0}),
                (
                    customers,
                    lambda n: {"id": n, "number": f"C{n}", "party": n, "kind": "consumer", "since_ms": 0},
                ),
                (
                    billing_accounts,
                    lambda n: {"id": n, "number": f"A{n:08}", "customer": n, "party": n, "since": SINCE},
                ),
                (services, _service),
                (holdings, lambda n: {"service": n, "party": n, "billing_account": n, "since": SINCE}),
                (service_plans, lambda n: {"service": n, "plan": "mobile-m", "role": "plan", "since": SINCE}),
            ):
                work.execute(table.insert(), [row(n) for n in numbers])
            _use(engine, work, numbers, count)


def _service(n: int) -> dict[str, Any]:
    return {
        "id": n, "billing_account": n, "party": n, "kind": "mobile", "mode": "postpaid", "number": f"4917{n:08d}", "book": f"b{n}",
        "subscriber": f"b{n}", "plan": "mobile-m", "since": SINCE,
    }  # fmt: skip


def _use(_engine: Engine, work: Any, numbers: range, count: int) -> None:
    at_ms = start_ms(date(2026, 10, 15), ZONE)
    taken = []
    for n in numbers:
        held = Held(n, n, n, "postpaid", f"4917{n:08d}", f"b{n}", "", SINCE, None)
        for place in range(count):
            usage_class = ("voice", "data", "sms")[place % 3]
            line = Line(
                f"{n};{place}", f"1-{n}", f"s{n}", place, "10", f"b{n}", "", at_ms, at_ms, usage_class, Unit.SECONDS, 60, 0,
                12_345 + place * n, 12_345 + place * n,
            )  # fmt: skip
            taken.append(Taken(line, held, STANDARD[usage_class]))
    made = entries_of(f"bench/{numbers[0]}", taken, days_of(ZONE), at_ms, from_book=True)
    journal.post(work, list(made.values()))
    work.execute(usage.lines.insert(), [line_row(each, Source.STREAM, 1, "") for each in taken])


def measured(act: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that something takes, and those of a processor."""
    begun, used = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - begun, time.process_time() - used


def run(accounts: int, count: int, url: str, chunk: int) -> dict[str, Any]:
    """Measure one run on an empty database; the figures, with what is wrong."""
    engine, clock, of = engine_of(url), SystemClock(), terms()
    populate(engine, accounts, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with writing(engine) as work:
        number = planning.plan(work, Asked("regular", DAY), Settings(), KINDS, "bench", clock.now_ms()).id
    at = Conductor(engine, of, clock, Pace(chunk=chunk))
    preview_s, _ = measured(lambda: at.preview(number, "bench"))
    approve(engine, number, RunEvent.APPROVE_EXECUTE, DAY, "bench", clock.now_ms())
    execute_s, execute_cpu_s = measured(lambda: at.execute(number, "bench"))
    approve(engine, number, RunEvent.APPROVE_NUMBER, DAY, "bench", clock.now_ms())
    number_s, number_cpu_s = measured(lambda: at.number(number, "bench"))
    publish_s, publish_cpu_s = measured(lambda: at.publish(number, DAY, "bench"))
    found = {
        "accounts": accounts,
        "usage_lines": accounts * count,
        "database": engine.dialect.name,
        "chunk": chunk,
        "accounts_per_s_billed": round(accounts / (execute_s + number_s + publish_s)),
        "accounts_per_cpu_s_billed": round(accounts / (execute_cpu_s + number_cpu_s + publish_cpu_s)),
        "accounts_per_s_previewed": round(accounts / preview_s),
        "accounts_per_s_executed": round(accounts / execute_s),
        "accounts_per_s_numbered": round(accounts / number_s),
        "memory_grown_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
        "faults": faults(engine, number, accounts),
    }
    engine.dispose()
    return found


def faults(engine: Engine, number: int, accounts: int) -> list[str]:
    """Return what is wrong with what was billed."""
    with reading(engine) as look:
        given = runs.numbers_of(look, number)
        last = look.execute(select(func.max(bills.c.sequence))).scalar()
        found = [] if given == last == accounts else [f"{given} numbers up to {last} for {accounts} accounts"]
        balances = journal.ledger_balances(look)
        found += ["the journal does not add up"] if sum(balances.values()) else []
        return found + (["not all is billed"] if balances.get(Ledger.UNBILLED, 0) else [])


def main() -> int:
    """Read the command line, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--usage", type=int, default=10, help="usage lines of each account")
    parser.add_argument("--chunk", type=int, default=100)
    parser.add_argument("--database", help="an empty database; SQLite in a folder of its own by default")
    parser.add_argument("--profile", action="store_true", help="tell where the time goes")
    parser.add_argument("--quick", action="store_true", help="shows that it runs; the figures mean nothing")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    accounts = 20 if asked.quick else asked.accounts
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database or f"sqlite:///{folder}/bench.sqlite"
        if asked.profile:
            found = profile.runcall(run, accounts, asked.usage, url, asked.chunk)
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)
        else:
            found = run(accounts, asked.usage, url, asked.chunk)
    Console().print_json(json.dumps(found))
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
