"""Intake dies at each of its steps, its database goes and comes back, its stream is trimmed: the end is as if nothing had been."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from ocs import stream
from ocs.balance.archive import Archiver
from ocs.clock import SystemClock
from ocs.sql import engine_of, writing
from ocs.stream import Batch, Break, Entry, Loss
from postpaid_bridge.jobs.intake import Intake, Progress, Settings, cut
from postpaid_bridge.sql import intake
from tests.bridge_scene import (
    EURO,
    NOBODYS,
    ONE_OF,
    OTHER,
    PARTITIONS,
    PREPAID,
    RULES,
    Life,
    does_not_hold,
    end_state,
    now_ms,
    sold_to,
)
from tests.charged_store import StoreRoom, store_room
from tests.databases import KINDS, database_url
from tests.faults.dying_intake import SMALL, STEPS, take_in
from tests.faults.judgement import room as judges_room
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
KNOWN = (ONE_OF, OTHER, NOBODYS)


class Lived(NamedTuple):
    """A life on a store of its own, and the end of intake on a database, by nothing disturbed."""

    server: RealValkey
    room: StoreRoom
    life: Life
    ends: dict[str, dict[str, Any]]


@contextmanager
def open_database(kind: str, folder: Path, life: Life) -> Iterator[tuple[str, Engine]]:
    """A database as an operator has it in the middle: records of a book are parked, whose service has come since."""
    with database_url(kind, folder) as url:
        engine = engine_of(url)
        sold_to(engine, life, ONE_OF, OTHER)
        sold_to(engine, life, PREPAID, mode="prepaid")
        whole = [
            each for each in life.batches() if each.partition == life.accounts[NOBODYS].profile.partition
        ]
        with writing(engine) as work:
            intake.take(work, RULES, [each._replace(entries=each.entries[:-1]) for each in whole], now_ms())
        sold_to(engine, life, NOBODYS)
        yield url, engine
        engine.dispose()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with RealValkey() as server, store_room(server) as room:
        life = Life(room)
        life.everything("a")
        life.everything("b")
        ends = {}
        for kind in KINDS:
            folder = tmp_path_factory.mktemp(kind)
            with open_database(kind, folder, life) as (_, engine):
                asyncio.run(take_in(server.url, engine, folder))
                assert does_not_hold(engine, life, *KNOWN, ours=4 * EURO) == []
                ends[kind] = end_state(engine)
        assert ends["sqlite"] == ends["postgresql"]
        yield Lived(server, room, life, ends)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


DEATHS = [(step, 1) for step in STEPS] + [
    pytest.param(step, 3, marks=pytest.mark.long) for step in STEPS if not step.startswith("opened")
]


@pytest.mark.parametrize(("step", "nth"), DEATHS)
def test_killed_at_a_step_and_begun_again_the_end_is_the_undisturbed_one(
    lived: Lived, tmp_path: Path, kind: str, step: str, nth: int
) -> None:
    with open_database(kind, tmp_path, lived.life) as (url, engine):
        asyncio.run(forget_the_group(lived.server.url))
        command = [
            sys.executable,
            "-m",
            "tests.faults.dying_intake",
            lived.server.url,
            url,
            str(tmp_path),
            step,
            str(nth),
        ]
        assert subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode == -9
        asyncio.run(take_in(lived.server.url, engine, tmp_path))
        assert end_state(engine) == lived.ends[kind]
        assert does_not_hold(engine, lived.life, *KNOWN, ours=4 * EURO) == []


async def reached(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def forget_the_group(url: str) -> None:
    async with judges_room(url, partitions=PARTITIONS) as at:
        await stream.leave(at.parts, SMALL.group)


def test_a_database_that_goes_and_comes_back_costs_waiting_and_nothing_else(
    lived: Lived, tmp_path: Path, kind: str
) -> None:
    with open_database(kind, tmp_path, lived.life) as (_, engine):
        asyncio.run(forget_the_group(lived.server.url))
        left = 6

        @event.listens_for(engine, "before_cursor_execute")
        def away(*_of: Any) -> None:
            nonlocal left
            seen.append(1)
            if len(seen) in range(12, 400, 9) and left:
                left -= 1
                raise OperationalError("away", None, Exception("the server closed the connection"))

        seen: list[int] = []
        made = asyncio.run(take_in(lived.server.url, engine, tmp_path))
        assert left == 0
        assert (made.totals.waits, made.totals.fault) == (6, "")
        event.remove(engine, "before_cursor_execute", away)
        assert end_state(engine) == lived.ends[kind]


def test_postgresql_that_ends_our_connections_is_waited_for(lived: Lived, tmp_path: Path) -> None:
    with open_database("postgresql", tmp_path, lived.life) as (url, engine):
        asyncio.run(forget_the_group(lived.server.url))
        hits: list[int] = []
        other = engine_of(url)

        def tell(_progress: Progress) -> None:
            if len(hits) >= 3:
                return
            hits.append(1)
            with writing(other) as work:
                work.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
                    ),
                    {"name": make_url(url).database},
                )

        async def run() -> Intake:
            async with judges_room(lived.server.url, partitions=PARTITIONS) as at:
                made = Intake(engine, at.parts, tmp_path, RULES, SMALL, SystemClock())
                await made.run(tell, until_done=True)
                return made

        asyncio.run(run())
        other.dispose()
        assert len(hits) == 3
        assert end_state(engine) == lived.ends["postgresql"]


def test_what_intake_has_not_acknowledged_is_cut_from_the_stream_and_read_from_the_archive(
    lived: Lived, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last but one: it trims the streams. An intake that stays away too long loses nothing."""
    with open_database(kind, tmp_path, lived.life) as (_, engine):
        asyncio.run(forget_the_group(lived.server.url))
        folder = tmp_path / "archive"

        async def run() -> Intake:
            async with judges_room(lived.server.url, partitions=PARTITIONS) as at:
                await stream.register(at.parts, SMALL.group, stream.START)
                archiver = Archiver(at.parts, folder, at.clock)
                await archiver.open()
                await archiver.once(everything=True)
                archiver.close()
                made = Intake(engine, at.parts, folder, RULES, SMALL, SystemClock())
                await made.run(until_done=True)
                return made

        made = asyncio.run(run())
        assert made.totals.done.alarms == 0
        assert end_state(engine) == lived.ends[kind]


def test_work_is_cut_into_units_in_order_and_a_break_stays_before_what_is_behind_it() -> None:
    entries = tuple(Entry(f"1-{number}", b"") for number in range(1, 8))
    broken = Break(0, "1-0", "1-1", Loss.MISSING)
    undone = Batch(2, (), Break(2, "1-9", "1-5", Loss.UNDONE))
    works = list(cut([Batch(0, entries, broken), Batch(1, entries[:2]), undone], 3))
    assert [[(each.partition, len(each.entries)) for each in work] for work in works] == [
        [(0, 3)],
        [(0, 3)],
        [(0, 1), (1, 2), (2, 0)],
    ]
    assert [each.broken for work in works for each in work] == [broken, None, None, None, undone.broken]


def test_intake_waits_where_it_is_asked_to_stop(lived: Lived, tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path, lived.life) as (_, engine):
        asyncio.run(forget_the_group(lived.server.url))

        async def run() -> Intake:
            async with judges_room(lived.server.url, partitions=PARTITIONS) as at:
                made = Intake(engine, at.parts, tmp_path, RULES, Settings(group="bridge"), SystemClock())
                work = asyncio.create_task(made.run())
                await reached(lambda: made.totals.caught_up)
                made.stop()
                await asyncio.wait_for(work, 30)
                return made

        made = asyncio.run(run())
        assert made.totals.commits < 5, "many records are one unit of work"
        assert end_state(engine) == lived.ends["sqlite"]
