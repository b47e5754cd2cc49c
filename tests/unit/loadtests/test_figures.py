"""What the benchmark makes of its readings: the bound, octets of the file, memory that is flat or not, and what is void."""

from __future__ import annotations

import os
from typing import Any

import pytest

from loadtests import figures
from loadtests.gauges import StoreReading
from loadtests.report import markdown
from loadtests.rig import Measured, Sample

GOOD: dict[str, Any] = {
    "phase": "always, closed loop",
    "audit": {"clean": True, "faults": []},
    "codes": {"2001": 10},
    "unanswered": 0,
    "ungranted": 0,
}


def sample(
    at: float, *, cpu: int = 0, resident: int = 0, file: int = 0, calls: int = 0, busy: int = 0
) -> Sample:
    names = ("worker-0", "store", "keeper", "supervisor")
    store = StoreReading(cpu, cpu, 0, file, calls, cpu // 2)
    return Sample(at, dict.fromkeys(names, cpu), dict.fromkeys(names, resident), store, busy)


def measured(samples: list[Sample]) -> Measured:
    latency = {"all": {"count": 100, "p50": 1, "p99": 2, "p999": 3, "max": 4}}
    result = {
        "answers": 100,
        "seconds": 0.5,
        "generator_us": 1_000.0,
        "latency_us": latency,
        "behind_us": {"count": 0},
        "codes": {"2001": 100},
        "ungranted": 0,
        "unanswered": 0,
        "request_octets": [616, 680, 668],
    }
    return Measured(result, samples)


def test_a_phase_divides_what_each_process_spent_by_the_answers() -> None:
    run = measured([sample(0, cpu=1_000), sample(1, cpu=5_000, calls=100)])
    found = figures.phase("p", "always", 1, run, {"clean": True})
    assert found["per_second"] == 200
    assert found["cpu_us"]["worker"] == found["cpu_us"]["store"] == found["cpu_us"]["keeper"] == 40
    assert found["cpu_us"]["store_function"] == 20
    assert found["cpu_us"]["generator"] == 10


def test_what_others_use_of_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    # of two processors for a second, half was used: a tenth by us
    first, last = sample(0, busy=0), sample(1, busy=1_000_000)
    assert figures.foreign_share(first, last, 200_000) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("workers", "costs", "per_second"),
    [
        (1, (50, 40, 1), 20_000),  # one worker is the bottleneck
        (8, (50, 40, 1), 25_000),  # with more of them the store is, or the processors are
    ],
)
def test_the_bound_is_the_narrowest_of_three(
    monkeypatch: pytest.MonkeyPatch, workers: int, costs: tuple[int, int, int], per_second: float
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert figures.bound_per_second(workers, *costs) == pytest.approx(per_second)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert figures.bound_per_second(workers, *costs) == pytest.approx(1e6 / sum(costs))


def test_a_rewritten_file_does_not_count_against_its_octets() -> None:
    samples = [
        sample(0, file=1_000, calls=0),
        sample(1, file=8_000, calls=10),
        sample(2, file=500, calls=20),
        sample(3, file=7_500, calls=30),
    ]
    assert figures.file_octets(samples) == 700


def test_memory_that_grows_after_its_caches_are_full_is_not_flat() -> None:
    mib = 1 << 20
    growing = [sample(at, resident=(100 + at) * mib) for at in range(100)]
    flat = [sample(at, resident=(100 if at > 10 else 50) * mib) for at in range(100)]
    assert figures.memory(growing)["worker-0"]["flat"] == 0
    assert figures.memory(flat)["worker-0"]["flat"] == 1
    assert figures.memory(flat)["worker-0"]["grown_octets"] == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"audit": {"clean": False, "faults": ["x"]}}, "audit"),
        ({"unanswered": 1}, "not answered"),
        ({"ungranted": 1}, "granted nothing"),
        ({"codes": {"2001": 9, "5012": 1}}, "5012"),
    ],
)
def test_figures_are_void_when_something_was_wrong(change: dict[str, Any], word: str) -> None:
    (wrong,) = figures.wrongs({"phases": [{**GOOD, **change}]})
    assert word in wrong


def test_figures_hold_when_nothing_was_wrong() -> None:
    assert figures.wrongs({"phases": [GOOD, {**GOOD, "codes": {"2001": 9, "3004": 1}}]}) == []


def test_an_aim_that_is_missed_says_so_on_the_page() -> None:
    run = measured([sample(0), sample(1, cpu=6_100, calls=100)])
    phase = figures.phase("always, closed loop", "always", 1, run, {"clean": True, "faults": []})
    results = {"phases": [phase], "machine": {}, "command": "c", "when": "w"}
    assert [aim.met for aim in figures.aims(results)] == [False, False, False]
    assert "| worker, µs of processor time per CCR | 61.00 µs | at most 60 µs | MISSED |" in markdown(
        results, []
    )
