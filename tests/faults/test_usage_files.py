"""A usage file's intake is killed at each of its steps, and begun again: the end is as if nothing had been."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from ocs.care.customers.tables import billing_accounts, customers, parties, services
from ocs.clock import SystemClock
from ocs.sql import engine_of, reading, writing
from postpaid_bridge.jobs.files import take_file
from postpaid_bridge.sql.journal import entries, outbox, postings
from postpaid_bridge.sql.usage import files, lines, rejected
from postpaid_bridge.usage_files import COLUMNS
from tests.bridge_scene import RULES
from tests.databases import KINDS, database_url
from tests.faults.dying_files import AT_ONCE, STEPS

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
CLOCKS = {"made_ms", "done_ms", "due_ms"}
NUMBERS = {"id", "entry", "corrects", "file"}


def populate(engine: Engine) -> None:
    since = date(2020, 1, 1)
    with writing(engine) as work:
        work.execute(parties.insert().values(id=1, kind="person", family_name="A", since_ms=0))
        work.execute(customers.insert().values(id=1, number="C1", party=1, kind="consumer", since_ms=0))
        work.execute(billing_accounts.insert().values(id=1, number="B1", customer=1, party=1, since=since))
        for number in ("491700000001", "491700000002"):
            work.execute(
                services.insert().values(
                    billing_account=1, party=1, kind="mobile", mode="postpaid", number=number, book=f"b{number}", plan="basic",
                    since=since,
                )
            )  # fmt: skip


def write(path: Path, count: int) -> None:
    """A file with refunds, lines that come twice, and lines that are rejected."""
    at = SystemClock().now_ms() // 1000 - 60
    stamp = f"{datetime.fromtimestamp(at, UTC).date()}T00:00:00Z"
    listed = []
    for number in range(count):
        name = number - 20 if number % 11 == 10 and number > 20 else number
        who = "491700000003" if number % 7 == 3 else f"49170000000{1 + number % 2}"
        refund = number % 13 == 12
        listed.append(
            f"{name},{who},event,{stamp},1,events,{'-0.01' if refund else '1.00'},EUR,,,,{number - 2 if refund else ''}"
        )
    path.write_text("\n".join(["usage,1,p", ",".join(COLUMNS), *listed, f"end,{count}"]))


def end_of(engine: Engine) -> dict[str, Any]:
    """All rows, but for clocks and the database's own numbers: even the entries' keys are the same, since the same lines are one unit of work."""
    found: dict[str, Any] = {}
    with reading(engine) as look:
        for table in (files, lines, rejected, entries, postings, outbox):
            but = (
                CLOCKS | NUMBERS | ({"at_ms"} if table is entries else {"key"} if table is outbox else set())
            )
            columns = [
                each for each in table.c if each.name not in but or (table, each.name) == (lines, "entry")
            ]
            found[table.name] = sorted(map(tuple, look.execute(select(*columns))), key=repr)
    return found


DEATHS = [(step, 1) for step in STEPS] + [
    pytest.param(step, 3, marks=pytest.mark.slow)
    for step in STEPS
    if not step.startswith(("looked", "the file"))
]


@pytest.mark.usefixtures("_databases")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("step", "nth"), DEATHS)
def test_killed_at_a_step_and_begun_again_a_file_is_taken_in_as_if_nothing_had_been(
    tmp_path: Path, kind: str, step: str, nth: int
) -> None:
    path = tmp_path / "usage.csv"
    write(path, 6 * AT_ONCE)
    ends = []
    for killed in (False, True):
        with database_url(kind, tmp_path) as url:
            engine = engine_of(url)
            populate(engine)
            if killed:
                command = [sys.executable, "-m", "tests.faults.dying_files", url, str(path), step, str(nth)]
                assert subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode == -9
            done = take_file(engine, RULES, path, SystemClock(), lines_at_once=AT_ONCE)
            assert (done.state, done.taken + done.repeated + done.rejected) == ("done", 6 * AT_ONCE)
            assert min(done.taken, done.repeated, done.rejected) > 0
            ends.append(end_of(engine))
            engine.dispose()
    assert ends[0] == ends[1]
