"""Whatever is posted, in whatever order with passes of the outbox that die and usage that comes in: books end as the journal says."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from ocs.balance.asked import Asked, Done
from ocs.balance.link import LinkLost
from ocs.records import ActionKind
from ocs.sql import engine_of, writing
from postpaid_bridge.jobs.outbox import Settings
from postpaid_bridge.jobs.reconcile import Reconciliation
from postpaid_bridge.sql import intake
from postpaid_bridge.sql.journal import outbox as table
from tests.bridge_scene import ONE_OF, OTHER, RULES, Life, now_ms, sold_to
from tests.charged_store import StoreRoom, store_room
from tests.databases import database_url
from tests.outbox_scene import SIDES, Listening, booked, box_of, entry, held, rows
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.long

IMPATIENT = Settings(at_once=2, lease_s=0, pause_s_max=0.001, every_s=0)
who = st.sampled_from([ONE_OF, OTHER])
steps = st.one_of(
    st.tuples(st.just("post"), who, st.sampled_from(sorted(SIDES)), st.integers(1, 25_000_000_000)),
    st.tuples(st.just("pass"), who, st.sampled_from(["whole", "before", "behind"]), st.integers(0, 4)),
    st.tuples(st.just("usage"), who, st.just(""), st.integers(1, 5)),
    st.tuples(st.just("take"), who, st.just(""), st.just(0)),
    st.tuples(st.just("compare"), who, st.just(""), st.just(0)),
)


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Cutting(Listening):
    """The link is lost before or behind the n-th action: then it has moved, and nobody is told."""

    cut = "whole"
    left = 0

    async def do_again(self, asked: Asked) -> Done:
        """Do it, or lose the link."""
        self.left -= 1
        if self.left < 0 and self.cut == "before":
            raise LinkLost("the link is lost")
        done = await super().do_again(asked)
        if self.left < 0 and self.cut == "behind":
            raise LinkLost("the link is lost")
        return done


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, max_size=25))
def test_any_interleaving_ends_with_balances_that_the_journal_says(
    script: list[tuple[str, str, str, int]], room: StoreRoom
) -> None:
    with tempfile.TemporaryDirectory() as folder, database_url("sqlite", Path(folder)) as url:
        engine, life = engine_of(url), Life(room)
        sold_to(engine, life, ONE_OF, OTHER)
        actions = Cutting(life.actions)
        box = box_of(engine, life, IMPATIENT, actions)

        def sound() -> bool:
            work = Reconciliation(engine, life.charged.parts, life.actions, Path(folder) / "archive", 1)
            return bool(room.run(work.run()).sound)

        def take() -> None:
            with writing(engine) as work:
                intake.take(work, RULES, life.batches(), now_ms())

        def due() -> None:
            life.charged.clock.keep_up()
            with writing(engine) as work:
                work.execute(update(table).values(due_ms=0, lease_ms=0))

        for number, (step, msisdn, how, count) in enumerate(script):
            match step:
                case "post":
                    booked(engine, entry(how, f"e{number}", life.book(msisdn), count))
                case "pass":
                    actions.cut, actions.left = how, count
                    due()
                    room.run(box.once())
                case "usage":
                    life.act(msisdn, ActionKind.ADJUST, -count, f"u{number}")
                case "take":
                    take()
                case "compare":
                    assert sound()
        actions.cut = "whole"
        for _ in range(30):
            due()
            room.run(box.once())
        take()
        assert all(each.done_ms is not None for each in rows(engine))
        for msisdn in (ONE_OF, OTHER):
            assert life.balance(msisdn) == -held(engine, life.book(msisdn))
        assert sound()
        engine.dispose()
