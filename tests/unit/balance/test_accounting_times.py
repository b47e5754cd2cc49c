"""The own times of accounting records: none, long ago, or to come; what they bound and what they do not."""

from collections.abc import Iterator

import pytest

from ocs.outcomes import Code, Note
from tests.accounting_records import EVENT, START, STOP, call, container, traffic
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.test_accounting import CENT, MIB, Client

AGE_S = 3_600


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.mark.parametrize("ahead_s", [None, 7_200])
def test_usage_is_believed_where_nobody_knows_when_its_session_began(
    room: StoreRoom, ahead_s: int | None
) -> None:
    """After an outage START and STOP come together: the receipt of a START that tells no time, or one to come, is no beginning."""

    async def session() -> None:
        client = await Client.made(room)
        told = {"at_s": client.now_s + ahead_s} if ahead_s else {}
        await client.told(traffic(START, 0, **told))
        assert await client.told(traffic(STOP, 1, container(2_000 * MIB), **told)) == Note.OVERRUN
        assert await client.posted() == 2_000 * CENT
        absurd = traffic(EVENT, 0, container(10**13), session="absurd", **told)
        assert Note.QUARANTINE in await client.told(absurd)

    room.run(session())


def test_a_call_is_believed_of_which_neither_record_tells_a_time(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room, "flat-voice")
        await client.told(call(START, 0, length_s=0))
        assert await client.told(call(STOP, 1, length_s=600)) == Note.OVERRUN
        (_, last) = await client.records()
        assert last.lines[0].position == 600

    room.run(session())


def test_a_record_of_the_future_counts_once_until_it_is_too_old(room: StoreRoom) -> None:
    """Its key lives as long as its own time may come: a repetition counts at no time."""

    async def session() -> None:
        client = await Client.made(room)
        ahead_s = 7_200
        record = traffic(EVENT, 0, container(MIB), at_s=client.now_s + ahead_s)
        await client.told(record)
        charged, partition = client.charged, client.account.profile.partition
        keys = charged.parts.keys[partition]
        name = keys.record(f"{record.ask.kind}.0:{record.ask.session_id}")
        left_ms = await charged.store.execute(keys.slot, "PTTL", name)
        assert left_ms > 1_000 * (ahead_s + AGE_S)

    room.run(session())


def test_a_record_of_the_day_after_tomorrow_is_not_posted(room: StoreRoom) -> None:
    async def session() -> None:
        client = await Client.made(room)
        beyond = traffic(EVENT, 0, container(MIB), at_s=client.now_s + 90_000)
        assert (await client.send(beyond)).code == Code.LIMIT
        assert await client.posted() == 0

    room.run(session())
