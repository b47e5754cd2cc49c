"""The outbox killed at each step, beside a living one, and with the store gone and back: everything is posted, and once."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ocs.limits import TOPUP_MICROS_MAX
from ocs.records import ActionKind, Moved
from postpaid_bridge.jobs.reconcile import Reconciliation
from postpaid_bridge.outbox import CHANNEL
from tests.bridge_scene import ONE_OF, OTHER, PARTITIONS, Life, sold_to
from tests.charged_store import store_room
from tests.faults.dying_outbox import SETTINGS, STEPS
from tests.house.source import ROOT
from tests.outbox_scene import booked, box_of, entry, held, rows
from tests.real_valkey import RealValkey

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
BIG = 2 * TOPUP_MICROS_MAX + 7
"""Three actions: a death between two parts is among those tried."""


@pytest.fixture
def life(own_valkey: RealValkey, database: Engine) -> Iterator[Life]:
    with store_room(own_valkey) as room:
        made = Life(room)
        sold_to(database, made, ONE_OF, OTHER)
        yield made


def dies(life: Life, database_url: str, step: str) -> None:
    """Let a process empty the outbox until it is killed."""
    command = [sys.executable, "-m", "tests.faults.dying_outbox", life.room.server.url, database_url]
    ended = subprocess.run(
        [*command, str(PARTITIONS), step], cwd=ROOT, env=dict(os.environ), timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL


def fill(database: Engine, life: Life) -> None:
    for number in range(3):
        booked(
            database,
            entry("rent", f"a{number}", life.book(ONE_OF), 100 + number),
            entry("payment", f"b{number}", life.book(OTHER), 7),
        )
    booked(database, entry("write-off", "big", life.book(OTHER), BIG))


async def drained(database: Engine, life: Life) -> None:
    """A living outbox takes over once the dead one's lease has ended."""
    box = box_of(database, life, SETTINGS)
    running = asyncio.create_task(box.run())
    while any(each.done_ms is None for each in rows(database)):
        life.charged.clock.keep_up()
        await asyncio.sleep(0.02)
    box.stop()
    await running


def posted_once(database: Engine, life: Life, tmp_path: Path) -> None:
    """Each row's amount moved its book exactly once, by the records; and books are what the journal says."""
    moved: dict[str, int] = {}
    for found in life.stream().values():
        for each in found:
            record = each.record()
            if isinstance(record, Moved) and record.channel == CHANNEL:
                assert record.kind == ActionKind.ADJUST
                assert record.id not in moved, "an action moved a book twice"
                moved[record.id] = record.credited_micros - record.taken_micros
    by_row: dict[str, int] = {}
    for name, micros in moved.items():
        by_row[name.partition(".")[0]] = by_row.get(name.partition(".")[0], 0) + micros
    assert by_row == {each.key: each.amount_micros for each in rows(database)}
    for msisdn in (ONE_OF, OTHER):
        assert life.balance(msisdn) == -held(database, life.book(msisdn))
    work = Reconciliation(database, life.charged.parts, life.actions, tmp_path / "archive")
    assert life.room.run(work.run()).sound


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_next_one_goes_on_and_nothing_is_lost_or_posted_twice(
    step: str, database: Engine, database_url: str, life: Life, tmp_path: Path
) -> None:
    fill(database, life)
    dies(life, database_url, step)
    work = Reconciliation(database, life.charged.parts, life.actions, tmp_path / "archive")
    assert life.room.run(work.run()).sound, "also while a dead one's rows wait"
    life.room.run(drained(database, life))
    posted_once(database, life, tmp_path)


def test_killed_at_all_steps_beside_a_living_one(
    database: Engine, database_url: str, life: Life, tmp_path: Path
) -> None:
    fill(database, life)

    async def together() -> None:
        deaths = [asyncio.to_thread(_dies_or_ends, life, database_url, step) for step in STEPS]
        await asyncio.gather(drained(database, life), *deaths)

    life.room.run(together())
    posted_once(database, life, tmp_path)


def _dies_or_ends(life: Life, database_url: str, step: str) -> None:
    command = [sys.executable, "-m", "tests.faults.dying_outbox", life.room.server.url, database_url]
    ended = subprocess.run(
        [*command, str(PARTITIONS), step], cwd=ROOT, env=dict(os.environ), timeout=60, check=False
    )
    assert ended.returncode in {0, -signal.SIGKILL}


def test_a_store_that_is_killed_and_started_again_gets_each_posting_once(
    database: Engine, life: Life, tmp_path: Path
) -> None:
    server = life.room.server

    async def through_a_death() -> None:
        box = box_of(database, life, SETTINGS)
        running = asyncio.create_task(box.run())
        fill_more = 0
        while fill_more < 6:
            fill_more += 1
            await asyncio.to_thread(
                booked, database, entry("rent", f"k{fill_more}", life.book(ONE_OF), fill_more)
            )
            if fill_more == 3:
                await asyncio.to_thread(server.kill)
                while not box.totals.fault:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)
                await asyncio.to_thread(server.start)
            life.charged.clock.keep_up()
            await asyncio.sleep(0.05)
        while any(each.done_ms is None for each in rows(database)):
            life.charged.clock.keep_up()
            await asyncio.sleep(0.02)
        box.stop()
        await running

    life.room.run(through_a_death())
    posted_once(database, life, tmp_path)
