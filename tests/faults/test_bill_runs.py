"""Bill runs killed at each of their units of work, and led by two at once: the end is the undisturbed one, byte for byte."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from ocs.sql import engine_of
from postpaid_bridge.run import RunEvent, RunState
from postpaid_bridge.sql import runs
from postpaid_bridge.sql.execution import Pauses, execute_chunk
from tests import databases
from tests import run_scene as scene

pytestmark = pytest.mark.long

LEASE_MS = runs.LEASE_MS


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with databases.database_url("sqlite", tmp_path_factory.mktemp("undisturbed")) as url:
        engine = engine_of(url)
        scene.populate(engine)
        scene.whole(engine)
        found = scene.end_state(engine)
        engine.dispose()
    return found


def led(engine: Engine, clock: scene.Ticking) -> None:
    """Lead the run from wherever it is to its end, as an operator's script does."""
    run = scene.planned(engine)
    at = scene.conductor(engine, clock=clock)
    for _ in range(20):
        with engine.connect() as look:
            state = runs.run_of(look, run).state
        match state:
            case RunState.PLANNED:
                at.preview(run, "clerk")
            case RunState.PREVIEWED:
                scene.approved(engine, run, RunEvent.APPROVE_EXECUTE)
            case RunState.APPROVED_TO_EXECUTE | RunState.EXECUTING:
                at.execute(run, "clerk")
            case RunState.EXECUTED:
                scene.approved(engine, run, RunEvent.APPROVE_NUMBER)
            case RunState.APPROVED_TO_NUMBER | RunState.NUMBERING:
                at.number(run, "clerk")
            case RunState.NUMBERED:
                at.publish(run, scene.BILL_DAY, "clerk")
            case _:
                return
    raise AssertionError("after 20 steps the run is not at its end")


@contextmanager
def dying(engine: Engine, number: int, moment: str) -> Iterator[None]:
    """Kill this process around its commit of that number: "before" it, or "behind" it."""
    count = 0

    def around(act: Callable[..., None]) -> Callable[..., None]:
        def commit(connection: Any) -> None:
            nonlocal count
            count += 1
            if count == number and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            act(connection)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        return commit

    dialect: Any = engine.dialect
    dialect.do_commit = around(dialect.do_commit)
    yield


def child(url: str, number: int, moment: str) -> int:
    """Lead the run in a process of its own that dies at that commit; its exit status, 0 where it came to the end."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        engine = engine_of(url)
        with dying(engine, number, moment):
            led(engine, scene.Ticking(scene.NOW_MS + number * 2 * LEASE_MS))
        os._exit(0)
    finally:
        os._exit(3)


@pytest.mark.parametrize("moment", ["before", "behind"])
def test_a_run_killed_at_each_of_its_commits_ends_as_the_undisturbed_one(
    database_url: str, moment: str, undisturbed: dict[str, Any]
) -> None:
    engine = engine_of(database_url)
    scene.populate(engine)
    engine.dispose()
    died = 0
    for number in range(1, 60):
        status = child(database_url, number, moment)
        if status == 0:
            break
        assert status == signal.SIGKILL
        died += 1
        engine = engine_of(database_url)
        assert scene.wrong_with(engine) == []
        engine.dispose()
    assert died > 5
    engine = engine_of(database_url)
    assert scene.end_state(engine) == undisturbed
    engine.dispose()


def at_once(*acts: Callable[[], object]) -> list[BaseException]:
    faults: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        try:
            barrier.wait()
            act()
        except BaseException as fault:  # noqa: BLE001 - told by the caller
            faults.append(fault)

    barrier = threading.Barrier(len(acts))
    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return faults


def test_two_coordinators_at_once_bill_and_number_as_one(
    database: Engine, undisturbed: dict[str, Any]
) -> None:
    scene.populate(database)
    run = scene.planned(database)
    scene.conductor(database).preview(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_EXECUTE)
    pace = scene.PACE._replace(chunk=1)
    both = [scene.conductor(database, pace) for _ in range(2)]
    assert at_once(*(lambda at=at: at.execute(run, "clerk") for at in both)) == []
    scene.approved(database, run, RunEvent.APPROVE_NUMBER)
    assert at_once(*(lambda at=at: at.number(run, "clerk") for at in both)) == []
    assert at_once(*(lambda at=at: at.publish(run, scene.BILL_DAY, "clerk") for at in both)) == []
    assert scene.wrong_with(database) == []
    assert scene.end_state(database) == undisturbed


def test_a_chunk_run_twice_at_once_bills_each_account_once(database: Engine) -> None:
    scene.populate(database)
    run = scene.planned(database)
    scene.conductor(database).preview(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_EXECUTE)
    with database.begin() as work:
        runs.step(work, run, RunEvent.EXECUTE, "clerk", scene.NOW_MS)
    ids = [row.id for row in scene.rows(database, run).values()]
    done: list[int] = []

    def chunk() -> None:
        done.append(execute_chunk(database, run, ids, scene.TERMS, Pauses(), scene.NOW_MS).done)

    assert at_once(chunk, chunk, chunk) == []
    assert sum(done) == len(ids)
    assert {row.state for row in scene.rows(database, run).values()} == {"done"}
    assert len(scene.bills_of(database)) == len(ids)
    assert scene.wrong_with(database) == []


def test_a_run_abandoned_while_it_is_executed_keeps_no_draft_and_no_claim(database: Engine) -> None:
    scene.populate(database)
    before = scene.end_state(database)
    run = scene.planned(database)
    scene.conductor(database).preview(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_EXECUTE)

    def abandon() -> None:
        with database.begin() as work:
            runs.abandon(work, run, "head", scene.NOW_MS)

    pace = scene.PACE._replace(chunk=1)
    faults = at_once(lambda: scene.conductor(database, pace).execute(run, "clerk"), abandon)
    assert [str(each) for each in faults if "abandoned cannot execute" not in str(each)] == []
    assert scene.end_state(database) == before


def test_a_database_that_goes_away_and_comes_back_costs_a_pause_and_no_account(
    database: Engine, undisturbed: dict[str, Any]
) -> None:
    scene.populate(database)
    gone = [1, 2, 4, 5, 6, 8, 11, 12, 15]
    count = 0

    def begin(_connection: object) -> None:
        nonlocal count
        count += 1
        if count in gone:
            raise OperationalError("BEGIN", {}, Exception("the server has gone away"))

    run = scene.executed(database)
    event.listen(database, "begin", begin)
    while True:  # approvals are a human's, who is told and asks again
        try:
            scene.approved(database, run, RunEvent.APPROVE_NUMBER)
        except OperationalError:
            continue
        break
    scene.conductor(database).number(run, "clerk")
    scene.conductor(database).publish(run, scene.BILL_DAY, "clerk")
    event.remove(database, "begin", begin)
    assert count > max(gone)
    assert scene.end_state(database) == undisturbed


def test_what_is_stopped_ends_behind_its_chunk_and_goes_on_later(
    database: Engine, undisturbed: dict[str, Any]
) -> None:
    scene.populate(database)
    run = scene.planned(database)
    scene.conductor(database).preview(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_EXECUTE)
    told: list[int] = []
    at: Any = None

    def tell(progress: Any) -> None:
        told.append(progress.done)
        if progress.done:
            at.stop()

    at = scene.conductor(database, tell=tell)
    assert at.execute(run, "clerk").state is RunState.EXECUTING
    assert told == [0, 3]
    assert scene.conductor(database).resume(run, "clerk").state is RunState.EXECUTED
    scene.finished(database, run)
    assert scene.end_state(database) == undisturbed


def test_the_wounds_would_be_seen(tmp_path: Path) -> None:
    """The judge of these tests tells a gap, a double claim and what is left unbilled."""
    with databases.database_url("sqlite", tmp_path) as url:
        engine = engine_of(url)
        scene.populate(engine)
        scene.whole(engine)
        with engine.begin() as work:
            work.exec_driver_sql("UPDATE bill SET sequence = 99, number = '2026-000099' WHERE sequence = 2")
            work.exec_driver_sql("UPDATE usage_line SET bill = 77 WHERE id = 1")
            work.exec_driver_sql(
                "DELETE FROM posting WHERE entry = (SELECT id FROM entry WHERE key = 'bill:2026-000001')"
            )
        told = " ".join(scene.wrong_with(engine))
        engine.dispose()
    assert "numbers [1, 3" in told
    assert "usage is claimed for no bill" in told
    assert "unbilled behind bill 2026-000001" in told
