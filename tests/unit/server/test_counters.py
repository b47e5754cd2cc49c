from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ocs.diameter.enums import OPEN
from ocs.outcomes import RESULT_CODES, Code, Note
from ocs.server import counters
from ocs.server.counters import Counters
from ocs.server.families import EACH, FAMILIES, GAUGE, GREATEST, HISTOGRAM, REASONS, Family
from ocs.server.tally import Tally
from tests.house.source import ROOT

THREE = (
    Family("a_total", "counter", "a", ("x",), (("1",), ("2",))),
    Family("b", GAUGE, "b", fold=EACH),
    Family("c_seconds", HISTOGRAM, "c", bounds=(10, 100)),
    Family("d", GAUGE, "d", fold=GREATEST),
)


def totals(folder: Path) -> dict[tuple[str, ...], int]:
    return {
        (metric.name, *sample.labels): sample.value
        for metric in counters.metrics(counters.read(folder))
        for sample in metric.samples
    }


def test_what_one_process_counts_another_reads(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from ocs.server.counters import Counters;"
        f"c = Counters(Path({str(tmp_path)!r}), 'worker-0');"
        "c.cells[c.index('ocs_connections_total')] += 5;"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode < 0
    assert totals(tmp_path)["ocs_connections_total",] == 5


def test_processes_are_added_up_or_shown_each_or_the_greatest_counts(tmp_path: Path) -> None:
    for name, value in (("one", 2), ("two", 3)):
        cells = Counters(tmp_path, name, THREE)
        cells.cells[cells.index("a_total", "2")] = value
        cells.cells[cells.index("b")] = value
        cells.cells[cells.index("d")] = value
        cells.histogram("c_seconds").observe(value)
        cells.close()
    assert totals(tmp_path) == {
        ("a_total", "1"): 0,
        ("a_total", "2"): 5,
        ("b", "one"): 2,
        ("b", "two"): 3,
        ("c_seconds",): 5,
        ("d",): 3,
    }


def test_a_process_that_starts_again_goes_on_counting_and_its_gauges_begin_at_zero(tmp_path: Path) -> None:
    first = Counters(tmp_path, "one", THREE)
    first.cells[first.index("a_total", "1")] = 7
    first.cells[first.index("b")] = 7
    first.close()
    again = Counters(tmp_path, "one", THREE)
    assert (again.cells[again.index("a_total", "1")], again.cells[again.index("b")]) == (7, 0)


def test_cells_of_another_version_are_not_taken_for_ours(tmp_path: Path) -> None:
    old = Counters(tmp_path, "one", THREE)
    old.cells[0] = 7
    old.close()
    Counters(tmp_path, "one", THREE[1:])
    assert ("a_total", "1") not in totals(tmp_path)


def test_files_that_are_no_counters_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.cells").write_bytes(b"short")
    (tmp_path / "y.cells").write_bytes(b"x" * 64)
    assert counters.read(tmp_path) == []
    counters.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("micros", "bucket"), [(0, 0), (10, 0), (11, 1), (100, 1), (101, 2)])
def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_pass(micros: int, bucket: int) -> None:
    cells = Counters(families=THREE)
    cells.histogram("c_seconds").observe(micros)
    at = cells.index("c_seconds")
    assert [cells.cells[at + number] for number in range(4)] == [
        *(int(number == bucket) for number in range(3)),
        micros,
    ]


def test_every_outcome_has_a_cell_and_every_name_is_said_once() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    made = Counters()
    tally = Tally(made)
    for code in Code:
        tally.charged(2, code, 0, 1)
    for result in set(RESULT_CODES.values()):
        expected = sum(each == result for each in RESULT_CODES.values())
        assert made.cells[made.index("ocs_requests_total", "CCR", "update", str(result))] == expected
    assert tally.requests == len(Code)


def test_notes_and_conflicts_are_counted_apart() -> None:
    made = Counters()
    tally = Tally(made)
    tally.charged(2, Code.SUCCESS, Note.OVERRUN | Note.LATE, 1)
    tally.charged(2, Code.CONFLICT, Note(0), 1)
    counted = {
        row[0]: made.cells[made.index("ocs_charging_notes_total", *row)]
        for family in FAMILIES
        if family.name == "ocs_charging_notes_total"
        for row in family.rows
    }
    assert counted == {
        "replay": 0,
        "overrun": 1,
        "quarantine": 0,
        "late": 1,
        "standing": 0,
        "renewed": 0,
        "gap": 0,
        "conflict": 1,
        "seen": 0,
    }


def test_the_reasons_of_reports_are_counted_wherever_they_stand() -> None:
    made = Counters()
    tally = Tally(made)
    services = [
        {
            "Reporting-Reason": [0, 4],
            "Used-Service-Unit": [{"CC-Time": 1, "Reporting-Reason": 1}, {"CC-Time": 2}],
        },
        {"Reporting-Reason": [2]},
        {},
    ]
    tally.reported({"Multiple-Services-Credit-Control": services})
    tally.reported(
        {"Used-Service-Unit": [{"Reporting-Reason": 9}, {"Reporting-Reason": 10}, {"Reporting-Reason": -1}]}
    )
    tally.reported({})
    counted = {word: made.cells[made.index("ocs_reporting_reasons_total", word)] for word in REASONS}
    assert {word: count for word, count in counted.items() if count} == {
        "threshold": 1,
        "qht": 1,
        "final": 1,
        "validity_time": 1,
        "unused_quota_timer": 1,
        "unknown": 2,
    }


def test_a_reason_has_the_name_that_the_standard_gives_it() -> None:
    assert {number: word.upper() for number, word in enumerate(REASONS[:-1])} == OPEN["Reporting-Reason"]
