"""Whatever batches the records come in, and however often: intake comes to the same end."""

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocs.sql import engine_of, writing
from ocs.stream import Batch
from postpaid_bridge.sql import intake
from tests.bridge_scene import (
    EURO,
    ONE_OF,
    OTHER,
    PREPAID,
    RULES,
    Life,
    does_not_hold,
    end_state,
    now_ms,
    sold_to,
)
from tests.charged_store import store_room
from tests.databases import KINDS, database_url
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.long


class Lived(NamedTuple):
    """A life, its records, and what intake makes of them at once."""

    life: Life
    batches: list[Batch]
    end: dict[str, Any]


@pytest.fixture(scope="module")
def lived() -> Iterator[Lived]:
    with RealValkey() as server, store_room(server) as room:
        life = Life(room)
        for name in ("a", "b"):
            life.everything(name)
        batches = life.batches()
        yield Lived(life, batches, taken("sqlite", life, [batches]))


def taken(kind: str, life: Life, works: list[list[Batch]]) -> dict[str, Any]:
    """The end of these units of work on a database of their own."""
    with tempfile.TemporaryDirectory() as folder, database_url(kind, Path(folder)) as url:
        engine = engine_of(url)
        sold_to(engine, life, ONE_OF, OTHER)
        sold_to(engine, life, PREPAID, mode="prepaid")
        for each in works:
            with writing(engine) as work:
                intake.take(work, RULES, each, now_ms())
        wrong = does_not_hold(engine, life, ONE_OF, OTHER, ours=4 * EURO)
        found = end_state(engine)
        engine.dispose()
    assert wrong == []
    return found


@st.composite
def cuts(draw: st.DrawFn, batches: list[Batch]) -> list[list[Batch]]:
    """Units of work: the partitions' records cut anywhere, dealt out in any mixture, some of them read again."""
    queues = []
    for batch in batches:
        at = [0, *sorted(draw(st.sets(st.integers(1, len(batch.entries)), max_size=5))), len(batch.entries)]
        pieces = []
        for start, end in pairwise(at):
            back = draw(st.integers(0, min(start, 6)))  # what was not acknowledged comes again
            if end > start - back:
                pieces.append(Batch(batch.partition, batch.entries[start - back : end]))
        queues.append(pieces)
    works: list[list[Batch]] = []
    while any(queues):
        dealt: list[bool] = draw(st.lists(st.booleans(), min_size=len(queues), max_size=len(queues)))
        chosen = [queue for queue, is_in in zip(queues, dealt, strict=True) if queue and is_in]
        chosen = chosen or [next(filter(None, queues))]
        works.append([queue.pop(0) for queue in chosen])
    return works


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_the_end_is_the_same_in_any_batches_with_any_repetitions(
    kind: str, lived: Lived, data: st.DataObject
) -> None:
    works = data.draw(cuts(lived.batches))
    assert taken(kind, lived.life, works) == lived.end
