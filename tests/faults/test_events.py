"""One-time events while workers, the store and the whole server are killed: no debit and no refund counts twice, none is lost."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.ledger import EVENT
from tests.faults.scene import LANES, scene

pytestmark = pytest.mark.timeout(120)  # several starts of a whole server, on a machine that may be busy


@pytest.mark.slow
def test_debits_and_refunds_count_once_whatever_is_killed_between_request_and_answer(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, seed=11) as on:
            for element in on.elements:
                on.traffic.start_events(element.ask, element.host, LANES)
            for worker in ("worker-0", "worker-1"):
                await on.traffic.until(150)
                on.server.kill_worker(worker)
            for _ in range(3):
                await on.traffic.until(150)
                on.server.kill_store()
            await on.traffic.until(150)
            await on.server.kill(with_store=True)
            await on.server.start()
            await on.traffic.until(150)

            assert await on.verdict() == []

            assert on.ledger.counts["unanswered"] >= 1
            debited, refunded = (
                sum(kind == EVENT and number == which for _, kind, number in on.ledger.acknowledged)
                for which in (0, 1)
            )
            assert debited > refunded > 100

    asyncio.run(play())


@pytest.mark.slow
def test_events_run_beside_sessions_of_the_same_accounts(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, seed=12) as on:
            on.begin()
            for element in on.elements:
                on.traffic.start_events(element.ask, element.host, 2)
            await on.traffic.until(200)
            on.server.kill_store()
            await on.traffic.until(200)

            assert await on.verdict() == []

    asyncio.run(play())
