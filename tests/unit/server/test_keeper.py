from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from ocs import limits
from ocs.server import keeper
from ocs.server.counters import Counters
from ocs.server.health import checks, is_ready
from ocs.server.origin_state import FILE, origin_state_id


def test_a_job_that_fails_is_started_again_and_takes_no_other_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "JOB_PAUSE_MS", 0)
    assert limits.JOB_PAUSE_MS > 0
    counters, tries, other = Counters(), [], asyncio.Event()

    async def run() -> None:
        again = asyncio.Event()

        async def weak() -> None:
            tries.append(1)
            if len(tries) < 3:
                raise RuntimeError("made up")
            again.set()
            await asyncio.Event().wait()

        async def strong() -> None:
            other.set()
            await asyncio.Event().wait()

        quiet = structlog.wrap_logger(None, processors=[_drop])
        async with keeper.running({"weak": weak, "strong": strong}, quiet, counters):
            await again.wait()
            assert other.is_set()

    asyncio.run(run())
    assert counters.cells[counters.index("ocs_job_faults_total")] == 2


def _drop(_logger: object, _method: str, _event: object) -> dict[str, object]:
    raise structlog.DropEvent


def worker(folder: Path, name: str, *, ready: int, store: int, heartbeat_ms: int) -> None:
    counters = Counters(folder, name)
    counters.cells[counters.index("ocs_process_ready")] = ready
    counters.cells[counters.index("ocs_process_store_ready")] = store
    counters.cells[counters.index("ocs_process_heartbeat_ms")] = heartbeat_ms
    counters.close()


@pytest.mark.parametrize(
    ("ready", "store", "heartbeat_ms", "expected"),
    [
        (1, 1, 9_000, {"w": True, "w store": True}),
        (1, 0, 9_000, {"w": True, "w store": False}),
        (2, 1, 9_000, {"w": False, "w store": False}),
        (0, 1, 9_000, {"w": False, "w store": False}),
        (1, 1, 4_000, {"w": False, "w store": False}),
    ],
    ids=["serves", "without its store", "drains", "has not begun", "has stopped ticking"],
)
def test_a_worker_is_counted_on_only_when_it(
    tmp_path: Path, ready: int, store: int, heartbeat_ms: int, expected: dict[str, bool]
) -> None:
    worker(tmp_path, "w", ready=ready, store=store, heartbeat_ms=heartbeat_ms)
    judged = checks(tmp_path, ["w"], now_ms=10_000)
    assert judged == expected
    assert is_ready(judged, ["w"]) == all(expected.values())


def test_one_worker_that_serves_is_enough(tmp_path: Path) -> None:
    worker(tmp_path, "a", ready=1, store=1, heartbeat_ms=10_000)
    judged = checks(tmp_path, ["a", "never started"], now_ms=10_000)
    assert is_ready(judged, ["a", "never started"])


def test_the_origin_state_id_is_kept_in_the_folder(tmp_path: Path) -> None:
    first = origin_state_id(tmp_path / "new", 1_700_000_000)
    assert first == 1_700_000_000
    assert origin_state_id(tmp_path / "new", 1_800_000_000) == first
    (tmp_path / "new" / FILE).write_text("spoilt")
    assert origin_state_id(tmp_path / "new", 1_800_000_000) == 1_800_000_000


def test_a_job_that_goes_on_failing_is_started_ever_less_often_but_at_least_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    wait = asyncio.sleep

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        await wait(0)

    async def run() -> None:
        enough = asyncio.Event()

        async def weak() -> None:
            if len(pauses) >= 8:
                enough.set()
            raise RuntimeError("made up")

        quiet = structlog.wrap_logger(None, processors=[_drop])
        monkeypatch.setattr(asyncio, "sleep", sleep)
        async with keeper.running({"weak": weak}, quiet, Counters()):
            await enough.wait()

    asyncio.run(run())
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
