"""Whether new sessions may be sent here, judged from what the workers write into their counters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ocs.server.counters import Reading, read

HEARTBEAT_MS_MAX: Final = 5_000
"""Age of a worker's last tick beyond which it is not counted on; it ticks every second."""


def checks(folder: Path, workers: Sequence[str], now_ms: int) -> dict[str, bool]:
    """Judge each worker by name: `worker-0` serves, `worker-0 store` reaches its store."""
    readings = {reading.process: reading for reading in read(folder)}
    judged: dict[str, bool] = {}
    for worker in workers:
        reading = readings.get(worker)
        serves = reading is not None and _serves(reading, now_ms)
        judged[worker] = serves
        judged[f"{worker} store"] = bool(
            serves and reading is not None and reading.value("ocs_process_store_ready")
        )
    return judged


def is_ready(judged: dict[str, bool], workers: Sequence[str]) -> bool:
    """Ready is: some worker serves and reaches its store; the acceptor hands new peers to workers that serve only."""
    return any(judged[worker] and judged[f"{worker} store"] for worker in workers)


def _serves(reading: Reading, now_ms: int) -> bool:
    fresh = now_ms - reading.value("ocs_process_heartbeat_ms") <= HEARTBEAT_MS_MAX
    return fresh and reading.value("ocs_process_ready") == 1
