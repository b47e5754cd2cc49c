"""A worker of bill runs: python -m tests.faults.bill_worker BROKER DATABASE NAME [hang]. With ``hang`` it takes a chunk and never does it."""

import sys
import time

from ocs.clock import SystemClock
from ocs.sql import engine_of
from postpaid_bridge.jobs import batch
from tests import run_scene as scene


def _hang(_run: int, _ids: list[int], _owner: str) -> None:
    print("took a chunk", flush=True)  # noqa: T201 - what the test waits for
    time.sleep(600)


if __name__ == "__main__":
    broker, url, name, *how = sys.argv[1:]
    chunk = batch.chunk_of(engine_of(url), scene.TERMS, SystemClock(), scene.PACE.pauses)
    batch.work(batch.app_of(broker), _hang if how else chunk, name)
