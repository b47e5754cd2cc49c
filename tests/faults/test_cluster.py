"""A session on three masters goes on while its slot moves, both ways and by both roads."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocs.names import E164, SubscriberId
from tests.cluster import Cluster
from tests.faults.direct import Direct
from tests.faults.judgement import Room, judge, numbers, populate, room
from tests.faults.ledger import INITIAL, MIB, SUCCESS, TERMINATION, UPDATE, Answer, Ledger, Reported, Request
from tests.faults.scene import scene
from tests.faults.traffic import Traffic

Move = Callable[[Cluster, int, int], None]


def classic(cluster: Cluster, slot: int, to: int) -> None:
    """SETSLOT and MIGRATE: ASK and TRYAGAIN on the way."""
    cluster.move(slot, to)


def atomic(cluster: Cluster, slot: int, to: int) -> None:
    """CLUSTER MIGRATESLOTS: the slot's content follows in the background, then the slot changes hands at once."""
    source = cluster.client(cluster.owner(slot))
    source.execute_command("CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.ids[to])
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if _last_migration(cluster, cluster.owner(slot)) == str(slot):
            break
        time.sleep(0.01)
    else:
        raise RuntimeError(str(source.execute_command("CLUSTER GETSLOTMIGRATIONS")))
    cluster._owner[slot] = to
    cluster._await_agreement()


def _last_migration(cluster: Cluster, index: int) -> str:
    """The slot that this master gave away last, once it has succeeded; "" before."""
    rows = cluster.client(index).execute_command("CLUSTER GETSLOTMIGRATIONS")
    fields = rows[0] if isinstance(rows[0], dict) else dict(zip(rows[0][::2], rows[0][1::2], strict=True))
    state = fields[b"state"].decode()
    assert state not in {"failed", "cancelled"}, fields
    return str(fields[b"slot_ranges"].decode().partition("-")[0]) if state == "success" else ""


def away(cluster: Cluster, slot: int) -> int:
    """A master that does not serve the slot."""
    return (cluster.owner(slot) + 1) % 3


async def _slot(at: Room, msisdn: str) -> int:
    account = await at.accounts.find(SubscriberId(E164, msisdn))
    assert account is not None
    return at.parts.keys[account.profile.partition].slot


@pytest.mark.parametrize("move", [classic, atomic])
def test_a_session_is_answered_2001_throughout_while_its_slot_moves_there_and_back(
    cluster: Cluster, move: Move
) -> None:
    ledger, (msisdn,) = Ledger(), numbers(1)
    requests = [
        Request("s;1", msisdn, INITIAL, 0, (Reported(10, None, 2 * MIB),)),
        Request("s;1", msisdn, UPDATE, 1, (Reported(10, 2 * MIB, 3 * MIB),)),
        Request("s;1", msisdn, UPDATE, 2, (Reported(10, 3 * MIB - 7, 2 * MIB),)),
        Request("s;1", msisdn, TERMINATION, 3, (Reported(10, 1, None),)),
    ]

    async def play() -> None:
        async with room(cluster.url) as at:
            await populate(at, ledger, [msisdn])
            door, slot = Direct(at), await _slot(at, msisdn)
            home = cluster.owner(slot)
            for request, to in zip(
                requests, (away(cluster, slot), home, away(cluster, slot), home), strict=True
            ):
                answer = await door.ask(request, False)
                assert answer == _granted(request)
                ledger.take(request, answer)
                await asyncio.to_thread(move, cluster, slot, to)
                again = await door.ask(request, True)
                assert again == answer
            assert ledger.posted_micros(msisdn) == 50_000  # five started MiB
            assert await judge(at, ledger) == []

    asyncio.run(play())


def _granted(request: Request) -> Answer:
    """2001, and what was wanted."""
    return Answer(SUCCESS, {each.group: (SUCCESS, each.wants or 0) for each in request.services})


def test_a_request_whose_keys_are_on_both_sides_is_answered_when_the_move_is_done(cluster: Cluster) -> None:
    async def play() -> None:
        ledger, (msisdn,) = Ledger(), numbers(1)
        async with room(cluster.url) as at:
            await populate(at, ledger, [msisdn])
            door, slot = Direct(at), await _slot(at, msisdn)
            opening = Request("s;1", msisdn, INITIAL, 0, (Reported(10, None, 2 * MIB),))
            ledger.take(opening, await _insist(door, opening))
            to, retried = away(cluster, slot), at.store.retried
            keys = cluster.client(cluster.owner(slot)).execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
            cluster.begin_move(slot, to)
            cluster.move_keys(slot, to, keys[::2])
            update = Request("s;1", msisdn, UPDATE, 1, (Reported(10, 2 * MIB, 2 * MIB),))
            under_way = asyncio.create_task(_insist(door, update))
            while at.store.retried < retried + 3:  # noqa: ASYNC110 - a count
                await asyncio.sleep(0.002)
            cluster.move_keys(slot, to)
            cluster.end_move(slot, to)
            answer = await under_way
            assert answer == _granted(update)
            ledger.take(update, answer)
            assert await judge(at, ledger) == []

    asyncio.run(play())


async def _insist(door: Direct, request: Request) -> Answer:
    answer = await door.ask(request, False)
    while answer is None or answer.code == 3004:
        answer = await door.ask(request, True)
    return answer


@pytest.mark.parametrize("move", [classic, atomic])
def test_traffic_goes_on_while_slots_move_both_ways(cluster: Cluster, move: Move) -> None:
    async def play() -> None:
        ledger, msisdns = Ledger(), numbers(6)
        async with room(cluster.url) as at:
            await populate(at, ledger, msisdns)
            traffic = Traffic(ledger, msisdns, seed=3)
            traffic.start(Direct(at).ask, "direct", 8, leave_open=2)
            slots = sorted({await _slot(at, msisdn) for msisdn in msisdns})
            homes = [cluster.owner(slot) for slot in slots]
            for goals in ([away(cluster, slot) for slot in slots], homes):
                for slot, to in zip(slots, goals, strict=True):
                    await traffic.until(20)
                    await asyncio.to_thread(move, cluster, slot, to)
            await traffic.until(50)
            await traffic.finish()
            assert await judge(at, ledger) == []

    asyncio.run(play())


def test_the_server_charges_on_a_cluster_while_slots_move(cluster: Cluster, tmp_path: Path) -> None:
    for index in range(3):
        cluster.client(index).config_set("appendfsync", "always")

    async def play() -> None:
        async with scene(tmp_path, store=cluster.url, workers=1) as on:
            on.begin()
            async with room(cluster.url) as at:
                slots = sorted({await _slot(at, msisdn) for msisdn in on.msisdns})[:3]
            homes = [cluster.owner(slot) for slot in slots]
            for move, goals in ((classic, [away(cluster, slot) for slot in slots]), (atomic, homes)):
                for slot, to in zip(slots, goals, strict=True):
                    await on.traffic.until(40)
                    await asyncio.to_thread(move, cluster, slot, to)
            await on.traffic.until(100)

            assert await on.verdict() == []

            assert on.ledger.counts["unanswered"] == 0
            assert await on.server.stop() == 0

    asyncio.run(play())
