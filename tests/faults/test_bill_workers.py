"""A bill run done by two real Celery workers over a real Valkey; one takes its chunk and is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine

from ocs.clock import SystemClock
from postpaid_bridge.jobs.batch import Dispatch, app_of
from postpaid_bridge.run import RunEvent, RunState
from postpaid_bridge.sql import runs
from tests import run_scene as scene
from tests.house.source import ROOT
from tests.real_valkey import RealValkey

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


@contextmanager
def worker(broker: str, url: str, name: str, *how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.bill_worker", broker, url, name, *how]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE if how else subprocess.DEVNULL, text=True, env=environment, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_two_workers_one_killed_end_as_the_undisturbed_run(
    database: Engine, database_url: str, own_valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.populate(database)
    run = scene.planned(database)
    scene.conductor(database).preview(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_EXECUTE)
    broker = f"{own_valkey.url}/0"
    pace = scene.PACE._replace(chunk=1, chunks_out=3, poll_s=0.1)
    monkeypatch.setattr(runs, "LEASE_MS", 3_000)
    at = scene.conductor(database, pace, clock=SystemClock(), workers=Dispatch(app_of(broker)))
    with worker(broker, database_url, "dies", "hang") as dies:
        leads = threading.Thread(target=lambda: at.execute(run, "clerk"), daemon=True)
        leads.start()
        try:
            assert dies.stdout is not None
            assert "took a chunk\n" in iter(dies.stdout.readline, "")  # behind the banner
            with worker(broker, database_url, "lives"), worker(broker, database_url, "lives too"):
                dies.kill()
                leads.join(90)
        finally:
            at.stop()
            leads.join(30)
    assert {row.state for row in scene.rows(database, run).values()} == {"done"}
    with database.connect() as look:
        assert runs.run_of(look, run).state is RunState.EXECUTED
    scene.finished(database, run)
    assert scene.wrong_with(database) == []
    assert len(scene.numbers(database)) == 8
