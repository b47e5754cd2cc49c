"""Re-rating agrees with charging: recorded sessions cost on their own tariff what was posted for them, to the micro-unit."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.balance.entries import entries
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.charging.replay import Compared, Replay
from ocs.rating.rerate import Why
from ocs.rating.tariff import Tariff
from ocs.records import Charge, Record, SessionState
from tests.charged_store import ChargedStore, StoreRoom
from tests.property.pair import POOLING, Pair
from tests.property.scripts import Opening, openings, play, pool_openings, scripts, where_the_server_chooses
from tests.vectors.rating.element import EU, HOME, NEAR, WORLD, Element, sample

TRAVELLED = sample(
    **{
        'day: {steps: [{block: 1, price: "0.02", per: second}]}': 'day: {steps: [{block: 1, price: "0.02", per: 7}]}',
        'night: {steps: [{block: 1, price: "0.01", per: second}]}': 'night: {steps: [{block: 6, price: "0.01", per: 9}]}',
        'day: {steps: [{block: 100, price: "0.10", per: 100}]}': 'day: {steps: [{block: 1, price: "0.10", per: 700}]}',
        'steps: [{block: 100, price: "0.20", per: 100}]': 'steps: [{block: 10, price: "0.20", per: 90}]',
    }
)
"""The sample tariff with prices that leave fractions of a micro-unit."""
travels = st.lists(
    st.tuples(
        st.sampled_from((HOME, EU, HOME, EU, WORLD, None)),
        st.one_of(st.integers(0, 900), st.integers(0, 40_000)),
        st.one_of(st.integers(0, 300), st.integers(0, 50_000), st.just(5_000_000)),
        st.booleans(),
    ),
    min_size=1,
    max_size=9,
)


async def recorded(charged: ChargedStore) -> list[list[Record]]:
    """The records of every partition."""
    found = []
    for keys in charged.parts.keys:
        reply = await charged.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+")
        found.append([entry.record() for entry in entries(reply)])
    return found


def replayed(
    partitions: list[list[Record]], other: Tariff, known: Callable[[str], Tariff | None] | None = None
) -> Compared:
    """What is found when sessions that began on a tariff are replayed on it."""
    # the calendar moves here while tombstones live on: late usage comes however late
    replay = Replay(other, known or (lambda _key: other), lambda key: key == other.key, 10**12)
    for partition in partitions:
        for record in partition:
            replay.add(record)
        replay.end_partition()
    assert replay.sessions_kept == 0
    return replay.found


@settings(max_examples=60)
@given(openings, scripts(20, 60))
def test_recorded_usage_costs_on_its_own_tariff_what_was_posted(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    costs_what_was_posted(room, room.run(play(room, opening, script)))


@settings(max_examples=40)
@given(pool_openings, scripts(20, 60))
def test_what_was_used_of_credit_pools_costs_on_its_own_tariff_what_was_posted(
    room: StoreRoom, opening: Opening, script: list[Any]
) -> None:
    costs_what_was_posted(
        room, room.run(play(room, opening, where_the_server_chooses(script), terms=POOLING))
    )


def costs_what_was_posted(room: StoreRoom, pair: Pair) -> None:
    """Compare what is on record with its price on the tariff that it began on."""
    partitions = room.run(recorded(pair.charged))
    versions = pair.charged.book.tariffs
    posted: Counter[str] = Counter()
    began: dict[str, str] = {}
    switched, reached = set(), set()
    for record in (each for partition in partitions for each in partition):
        if isinstance(record, Charge) and record.state != SessionState.REFUSED:
            if record.kind == INITIAL:
                began[record.session_id] = record.tariff
            key = record.tariff if record.is_event else began[record.session_id]
            if record.tariff != key:
                switched.add(key)
                reached |= {key, record.tariff}
            posted[key] += sum(line.amount_micros for line in record.lines)
    for key, micros in posted.items():
        tariff = versions.of_session(key)
        assert tariff is not None
        found = replayed(partitions, tariff, versions.of_session)
        # what a session paid on its tariff's next version is priced there again too; only then is it compared
        told = {Why.SERVICE, Why.LATE, Why.ROWS, Why.COUNTERS, Why.REFUND}
        told |= {Why.NO_RATE, Why.UNIT} if key in switched else set()
        # a service that is first used behind the switch began on the next version, in a session that did not
        told |= {Why.BEGUN} if key in reached else set()
        assert set(found.apart) <= told, found
        assert key in switched or all(
            each.paid_micros == each.would_micros for each in found.accounts.values()
        ), found
        compared = sum(each.paid_micros for each in found.accounts.values())
        assert compared + sum(each.paid_micros for each in found.apart.values()) == micros
        assert compared == sum(each.paid_micros for each in found.services.values())


@settings(max_examples=60)
@given(st.sampled_from(("data", "voice")), travels)
def test_sessions_over_borders_and_windows_cost_on_their_own_tariff_what_was_posted(
    room: StoreRoom, family: str, travel: list[tuple[Any, int, int, bool]]
) -> None:
    async def session() -> list[list[Record]]:
        element = await Element.made(room, TRAVELLED, family)
        await element.at("2026-02-05T05:00")
        await element.initial(HOME if family == "data" else NEAR)
        for place, (network, seconds, used, another_worker) in enumerate(travel):
            if another_worker:
                element.forget()
            await element.at(element.charged.now_ms + 1000 * seconds)
            last = place == len(travel) - 1
            told = network if family == "data" else None
            await element.send(
                TERMINATION if last else UPDATE, used=used, wanted=None if last else 0, told=told
            )
        return await recorded(element.charged)

    found = replayed(room.run(session()), TRAVELLED)
    assert found.apart == {}
    assert all(each.paid_micros == each.would_micros for each in found.accounts.values()), found
