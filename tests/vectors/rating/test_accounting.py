"""The examples told by accounting records: what Start, Interim and Stop cost is what the same usage costs online, and what the price says."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.balance.audit import audit
from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.charging.outcome import Outcome
from ocs.charging.replay import Replay
from ocs.money import parse_amount
from ocs.outcomes import Code
from ocs.rating.price import price
from ocs.rating.rates import Facts
from ocs.rating.tariff import Tariff
from tests.accounting_records import INTERIM, START, STOP, call, container, traffic
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.vectors.rating.element import EU, HOME, Element, sample
from tests.vectors.rating.table import cases, instant_ms, only_service, rated_tariffs, table, tariffs

CASES = [pytest.param(*case[1:], id=case[0]) for case in cases()]
TOLD = [row for row in table()["rated"] if row["row"] not in {2, 7}]
"""Of a call that was connected before, and of a grant, no record tells."""
EVENING_MS = instant_ms(sample(), "2026-02-05T17:50")


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Told(Element):
    """An element whose usage is told after it happened."""

    def now_s(self) -> int:
        """The calendar's time."""
        return self.charged.now_ms // 1000

    async def tell(self, record: AccountingRecord) -> None:
        """Tell a record of the calendar's time, as a client does whose clock the calendar is ahead of."""
        await self.at(self.charged.now_ms)
        record = record.shifted(-1000 * (self.charged.offset_ms // 1000))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.charged.book.account(record, future.set_result)
        assert (await future).code == Code.SUCCESS


async def call_told(element: Told, start_ms: int, lengths_s: list[int], called: str = "") -> None:
    """Tell of a call: its start, interims after so many seconds each, and its stop."""
    await element.at(start_ms)
    await element.tell(call(START, 0, element.now_s(), called=called))
    for number, length_s in enumerate(lengths_s, 1):
        await element.at(start_ms + 1000 * length_s)
        last = number == len(lengths_s)
        await element.tell(call(STOP if last else INTERIM, number, element.now_s()))


@pytest.mark.parametrize("interims", [1, 3], ids=["a stop", "interims"])
@pytest.mark.parametrize(("tariff", "units", "cost_micros"), CASES)
def test_the_example_costs_the_same_told_by_accounting(
    room: StoreRoom, tariff: str, units: int, cost_micros: int, interims: int
) -> None:
    family, _ = only_service(tariff)
    parts = [units * part // interims for part in range(1, interims + 1)]

    async def session() -> None:
        element = await Told.made(room, tariffs()[tariff], family, credit="0.00")
        assert isinstance(element, Told)
        if family == "voice":
            await call_told(element, element.charged.now_ms // 1000 * 1000, parts)
        else:
            await element.tell(traffic(START, 0))
            for number, (done, before) in enumerate(zip(parts, [0, *parts], strict=False), 1):
                await element.tell(traffic(INTERIM, number, container(done - before)))
        assert await element.posted() == cost_micros
        assert (await audit(element.charged.parts)).faults == []

    room.run(session())


@pytest.mark.parametrize("row", TOLD, ids=lambda row: f"row {row['row']}: {row['cost']}")
def test_an_example_of_windows_and_zones_costs_the_same_told_by_accounting(
    room: StoreRoom, row: dict[str, Any]
) -> None:
    on = rated_tariffs()[row["tariff"]]
    start_ms = instant_ms(on, row["from"])
    until_ms = instant_ms(on, row["until"]) if "until" in row else start_ms + 1000 * row["units"]

    async def session() -> None:
        element = await Told.made(room, on, "voice", credit="0.00")
        assert isinstance(element, Told)
        await call_told(
            element, start_ms, [(until_ms - start_ms) // 1000], row.get("to", "").replace(" ", "")
        )
        assert await element.posted() == parse_amount(row["cost"])

    room.run(session())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(0, 1_500),
    st.lists(st.integers(0, 400), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_a_call_costs_what_the_price_says_in_whatever_order_its_records_come(
    room: StoreRoom, into_s: int, steps_s: list[int], chance: Any
) -> None:
    on, start_ms = sample(), EVENING_MS + 1000 * into_s
    lengths_s = [sum(steps_s[: place + 1]) for place in range(len(steps_s))]
    rate = on.rate(Facts("voice", "near"))
    assert rate is not None

    async def session() -> None:
        element = await Told.made(room, on, "voice", credit="0.00")
        assert isinstance(element, Told)
        await element.at(start_ms + 1000 * lengths_s[-1])
        start_s = element.now_s() - lengths_s[-1]
        told = [call(START, 0, start_s, called="+4930123456")]
        told += [call(INTERIM, place, start_s + each) for place, each in enumerate(lengths_s[:-1], 1)]
        told.append(call(STOP, len(lengths_s), start_s + lengths_s[-1]))
        late = told[1:]
        chance.shuffle(late)
        for record in (told[0], *late):
            if chance.random() < 0.3:
                element.charged.book.accounted.rated.clear()
            await element.tell(record)
        assert await element.posted() == price(rate, lengths_s[-1], start_ms).cost_micros

    room.run(session())


async def online(room: StoreRoom, on: Tariff, steps: list[tuple[int, Any]], start_ms: int) -> int:
    """What a data session costs online: each step is what was used until then, and what is told then."""
    element = await Element.made(room, on, "data")
    await element.at(start_ms)
    await element.send(INITIAL, wanted=0, told=steps[0][1])
    for place, (used, told) in enumerate(steps[1:], 1):
        await element.at(start_ms + 60_000 * place)
        last = place == len(steps) - 1
        await element.send(TERMINATION if last else UPDATE, used=used, wanted=None if last else 0, told=told)
    return await element.posted()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from((HOME, EU))), min_size=2, max_size=6),
)
def test_data_costs_online_and_told_by_accounting_the_same(
    room: StoreRoom, minutes: int, steps: list[tuple[int, Any]]
) -> None:
    on, start_ms = sample(), EVENING_MS + 60_000 * minutes

    async def session() -> None:
        expected = await online(room, on, steps, start_ms)
        element = await Told.made(room, on, "data", credit="0.00")
        assert isinstance(element, Told)
        for place, (used, told) in enumerate(steps):
            await element.at(start_ms + 60_000 * place)
            now_s = element.now_s()
            containers = [container(used, at_s=now_s)] if place else []
            kind = STOP if place == len(steps) - 1 else INTERIM if place else START
            await element.tell(traffic(kind, place, *containers, at_s=now_s, bearer=told["PS-Information"]))
        assert await element.posted() == expected

    room.run(session())


def test_a_containers_octets_belong_to_the_window_that_they_end_in(room: StoreRoom) -> None:
    on, edge_ms = sample(), instant_ms(sample(), "2026-02-05T18:00")

    async def session() -> None:
        element = await Told.made(room, on, "data", credit="0.00")
        assert isinstance(element, Told)
        await element.at(edge_ms + 5_000)
        edge_s = element.now_s() - 5
        told = [container(100, at_s=edge_s), container(100, at_s=edge_s + 5)]
        await element.tell(traffic(STOP, 1, *told, at_s=edge_s + 5, bearer=HOME["PS-Information"]))
        assert await element.posted() == 130_000  # 0.10 before six, 0.03 after
        found = [await element.last_record()]
        replay = Replay(on, {on.key: on}.get, lambda _key: True, 1)
        replay.add(found[0])
        replay.end_partition()
        assert (
            sum(each.chains for each in replay.found.apart.values()) == 1
        )  # two windows in one record: not compared

    room.run(session())


def test_what_accounting_posted_is_rated_again_to_the_micro_unit(room: StoreRoom) -> None:
    on = sample()

    async def session() -> None:
        element = await Told.made(room, on, "voice", credit="0.00")
        assert isinstance(element, Told)
        await call_told(element, EVENING_MS, [300, 700, 1_200], called="+4930123456")
        place = element.account.profile.partition
        keys = element.charged.parts.keys[place]
        replay = Replay(on, {on.key: on}.get, lambda _key: True, 1)
        for record in (await element.charged.look(place, [keys.part])).records:
            replay.add(record)
        replay.end_partition()
        (compared,) = replay.found.accounts.values()
        assert compared.paid_micros == compared.would_micros == await element.posted() > 0
        assert replay.found.apart == {}

    room.run(session())
