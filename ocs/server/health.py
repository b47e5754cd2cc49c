"""Whether new sessions may be sent here, judged from what the processes write into their counters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ocs.server.counters import Reading, read
from ocs.server.families import JOB_PASSED, JOBS

HEARTBEAT_MS_MAX: Final = 5_000
"""Age of a process's last tick beyond which it is not counted on; it ticks every second."""


def checks(folder: Path, workers: Sequence[str], now_ms: int, count: int = 0) -> dict[str, bool]:
    """Judge each worker by name: `worker-0` serves, `worker-0 store` reaches its store.

    Where there are only ``count`` workers on more places, those are judged that serve, then those that have lived last.
    """
    readings = {reading.process: reading for reading in read(folder)}
    serving = {name: name in readings and _serves(readings[name], now_ms) for name in workers}
    lived = {name: _heartbeat_ms(readings.get(name)) for name in workers}
    taken = set(sorted(workers, key=lambda name: (not serving[name], -lived[name]))[: count or len(workers)])
    judged: dict[str, bool] = {}
    for worker in workers:
        if worker in taken:
            judged[worker] = serving[worker]
            judged[f"{worker} store"] = bool(
                serving[worker] and readings[worker].value("ocs_process_store_ready")
            )
    return judged


def is_ready(judged: dict[str, bool], workers: Sequence[str]) -> bool:
    """Ready is: some worker serves and reaches its store; the acceptor hands new peers to workers that serve only."""
    return any(judged.get(worker) and judged[f"{worker} store"] for worker in workers)


def keeper(folder: Path, keepers: Sequence[str], now_ms: int) -> tuple[bool, dict[str, int]]:
    """Judge whether there is a keeper on one of its places, and tell when each of its jobs has passed last (Unix time in milliseconds)."""
    found = [reading for reading in read(folder) if reading.process in keepers]
    passed = {job: max((each.value(JOB_PASSED, job) for each in found), default=0) for job in JOBS}
    return any(_serves(each, now_ms) for each in found), passed


def _heartbeat_ms(reading: Reading | None) -> int:
    return reading.value("ocs_process_heartbeat_ms") if reading is not None else 0


def _serves(reading: Reading, now_ms: int) -> bool:
    fresh = now_ms - _heartbeat_ms(reading) <= HEARTBEAT_MS_MAX
    return fresh and reading.value("ocs_process_ready") == 1
