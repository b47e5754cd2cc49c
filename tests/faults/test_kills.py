"""Killed under load, in parts and as a whole: nothing acknowledged is lost, nothing is debited twice (DESIGN laws 6, 7)."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.scene import ELEMENTS, LANES, Scene, scene

pytestmark = pytest.mark.timeout(120)  # several starts of a whole server, on a machine that may be busy


def test_a_killed_worker_is_started_again_and_the_other_workers_peers_notice_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path) as on:
            on.begin()
            await on.traffic.until(200)
            before = on.server.workers
            on.server.kill_worker("worker-0")
            await on.traffic.until(400)
            while on.server.workers["worker-0"] == before["worker-0"]:
                await on.traffic.until(50)

            assert await on.verdict() == []

            assert on.server.workers["worker-1"] == before["worker-1"]
            lost = [element for element in on.elements if element.connections > 1]
            others = [element for element in on.elements if element.connections == 1]
            assert (len(lost), len(others)) == (2, 2)
            assert on.ledger.counts["unanswered"] >= 1
            assert [(each.unanswered, each.busy) for each in others] == [(0, 0), (0, 0)]
            assert min(each.answered for each in others) > 100

    asyncio.run(play())


@pytest.mark.slow
def test_the_whole_server_killed_goes_on_with_the_same_data_folder(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path) as on:
            on.begin()
            for with_store in (False, True):
                await on.traffic.until(250)
                await on.server.kill(with_store=with_store)
                await on.server.start()
            await on.traffic.until(250)

            assert await on.verdict() == []
            assert await on.server.stop() == 0

    asyncio.run(play())


def test_a_killed_store_is_started_again_and_3004_is_answered_meanwhile(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path) as on:
            on.begin()
            killed = []
            for _ in range(3):
                await on.traffic.until(200)
                killed.append(on.server.store_pid)
                on.server.kill_store()
            await on.traffic.until(100)
            assert len({*killed, on.server.store_pid}) == 4
            assert len(on.server.told("the store was started again")) == 3

            way = on.server.data_dir / "store.sock"
            on.server.kill_store()
            way.unlink(missing_ok=True)
            way.mkdir()  # nobody can listen there now: the store cannot come back
            await _every_request_is_too_busy(on)
            way.rmdir()
            await on.traffic.until(200)

            assert await on.verdict() == []

            assert on.ledger.counts["unanswered"] == 0
            assert all(each.connections == 1 for each in on.elements)  # the server kept its peers
            assert await on.server.stop() == 0

    asyncio.run(play())


async def _every_request_is_too_busy(on: Scene) -> None:
    """Every lane's request is answered with 3004, twice."""
    goal = on.ledger.counts["busy"] + 2 * ELEMENTS * LANES
    while on.ledger.counts["busy"] < goal:  # noqa: ASYNC110 - a count
        await asyncio.sleep(0.02)


@pytest.mark.slow
def test_many_things_die_in_a_row(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, seed=7) as on:
            on.begin()
            await on.traffic.until(150)
            on.server.kill_worker("worker-1")
            await on.traffic.until(20)
            on.server.kill_store()
            await on.traffic.until(5)
            on.server.kill_worker("worker-0")
            on.server.kill_store()
            await on.traffic.until(50)
            on.server.kill_store()
            on.server.kill_worker("worker-1")
            await on.traffic.until(150)

            assert await on.verdict() == []

    asyncio.run(play())


def test_sigterm_under_load_takes_leave_of_every_peer_and_loses_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path) as on:
            on.begin()
            await on.traffic.until(300)

            assert (on.ledger.counts["unanswered"], on.ledger.counts["busy"]) == (0, 0)
            assert await on.server.stop() == 0

            assert [element.disconnects for element in on.elements] == [1] * ELEMENTS
            assert on.ledger.counts["unanswered"] == 0  # what was under way was answered before the end
            await on.server.start()
            await on.traffic.until(100)
            assert await on.verdict() == []
            assert on.traffic.sessions_left_open == ELEMENTS
            assert sum(map(on.ledger.held_micros, on.msisdns)) > 0

    asyncio.run(play())
