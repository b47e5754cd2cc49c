"""Dunning dies at each of its steps, races with payments, and reaches a real store: the end is as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from ocs.care.customers.tables import services
from ocs.sql import engine_of, reading, writing
from postpaid_bridge.sql import dunning as kept
from postpaid_bridge.sql.journal import outbox
from tests.bridge_accounts import broken_laws, standing
from tests.charged_store import StoreRoom, store_room
from tests.databases import KINDS, database_url
from tests.dunning_scene import DUE, Scene
from tests.faults.dying_dunning import STEPS
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
BAR_DAY = date(2026, 4, 9)
ACCOUNTS = ("1000001", "1000002", "1000003")


def end_of(scene: Scene) -> dict[str, Any]:
    """All that dunning leaves behind, without the numbers of rows."""
    with reading(scene.engine) as look:
        assert broken_laws(look) == []
        accounts = list(
            look.execute(
                select(kept.looks.c.billing_account).order_by(kept.looks.c.billing_account)
            ).scalars()
        )
        told = [
            tuple(row)
            for row in look.execute(
                select(outbox.c.kind, outbox.c.book, outbox.c.amount_micros, outbox.c.content)
            )
        ]
    return {
        "steps": {each: scene.steps(each) for each in accounts},
        "owed": {each: standing(scene.engine, each) for each in accounts},
        "letters": sorted(
            (each.billing_account, each.kind, each.content) for each in scene.rows(kept.letters)
        ),
        "bars": [tuple(each) for each in scene.rows(kept.bars)],
        "barred": [each.barred for each in scene.rows(services)],
        "outbox": sorted(told),
        "looks": [(each.billing_account, each.wake, each.level) for each in scene.rows(kept.looks)],
    }


def opened(engine: Engine) -> Scene:
    """Three accounts on the eve of their bar."""
    scene = Scene(engine)
    for number in ACCOUNTS:
        scene.bill(scene.account(number), 150)
    scene.run(DUE, BAR_DAY - timedelta(1))
    return scene


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    ends = []
    for kind in KINDS:
        with database_url(kind, tmp_path_factory.mktemp(kind)) as url:
            engine = engine_of(url)
            scene = opened(engine)
            assert scene.run(BAR_DAY) == {BAR_DAY: {"bar_outgoing": 3}}
            ends.append(end_of(scene))
            engine.dispose()
    assert ends[0] == ends[1]
    return ends[0]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_at_a_step_and_begun_again_ends_as_if_nothing_had_been(
    kind: str, step: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    with database_url(kind, tmp_path) as url:
        engine = engine_of(url)
        scene = opened(engine)
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.dying_dunning", url, BAR_DAY.isoformat(), step, "1"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == -9, done.stderr
        scene.run(BAR_DAY)
        assert end_of(scene) == undisturbed
        engine.dispose()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_payments_and_a_run_at_once_end_as_one_after_the_other(kind: str, tmp_path: Path) -> None:
    """Whoever has paid is not barred in the end, whichever came first; the books agree with the journal; two runs take no step twice."""
    with database_url(kind, tmp_path) as url:
        engine = engine_of(url)
        scene = Scene(engine)
        payers = [scene.account(f"100000{place}") for place in range(8)]
        for each in payers:
            scene.bill(each, 150)
        scene.run(DUE, BAR_DAY - timedelta(1))
        gate, faults = threading.Barrier(3), list[BaseException]()

        def beside(work: Any) -> threading.Thread:
            def run() -> None:
                gate.wait()
                try:
                    work()
                except BaseException as fault:  # noqa: BLE001 - told below
                    faults.append(fault)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        def pay() -> None:
            for each in reversed(payers[:6]):
                scene.pay(each, 200, BAR_DAY)

        threads = [beside(pay), beside(lambda: scene.run(BAR_DAY)), beside(lambda: scene.run(BAR_DAY))]
        for thread in threads:
            thread.join()
        assert faults == []
        scene.dunning.relieve(BAR_DAY)
        end = end_of(scene)
        assert end["barred"] == ["none"] * 6 + ["outgoing"] * 2
        scene.run(BAR_DAY + timedelta(1))
        for place, each in enumerate(payers):
            actions = [action for *_, action, _ in scene.steps(each)]
            assert actions[:2] == ["remind", "warn"]
            paid = (["end"], ["bar_outgoing", "lift"])
            assert actions[2:] in (paid if place < 6 else (["bar_outgoing"],))
            assert len(set(scene.steps(each))) == len(scene.steps(each))
        engine.dispose()


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened_room:
        yield opened_room


def test_a_bar_and_its_end_reach_the_charging_server_in_any_order(room: StoreRoom, database: Engine) -> None:
    from postpaid_bridge.jobs.bars import Barring  # noqa: PLC0415
    from postpaid_bridge.sql.outbox import Row  # noqa: PLC0415
    from tests.unit.balance.books import RULES, TARIFFS  # noqa: PLC0415

    charged = room.run(room.charged(TARIFFS, RULES))
    subscriber = room.run(charged.subscriber("491700000001", "", "flat-data"))
    scene = Scene(database)
    account = scene.account()
    scene.bill(account, 150)
    where = subscriber.profile
    with writing(database) as work:
        work.execute(services.update().values(subscriber=where.path))
    scene.run(DUE, BAR_DAY)
    scene.pay(account, 200, BAR_DAY)
    scene.dunning.relieve(BAR_DAY)
    rows = [
        Row(each.id, each.kind, each.book, each.key, 0, each.content, 0, 0, "")
        for each in scene.rows(outbox, outbox.c.kind != "post")
    ]
    assert [each.kind for each in rows] == ["bar", "unbar"]
    carry = Barring(charged.accounts)

    def state() -> tuple[str, int]:
        found = room.run(charged.accounts.read(where.partition, where.path)).profile
        return found.barred, found.bar_epoch

    room.run(carry(rows[0], where.partition))
    assert state() == ("outgoing", 1)
    room.run(carry(rows[1], where.partition))
    assert state() == ("", 2)
    for row in (rows[0], rows[1], rows[0]):  # said again by one who died before he noted it
        room.run(carry(row, where.partition))
        assert state() == ("", 2)
