"""The long form (`make test-long`): a hundred kills on one data folder, and the net over many seeds."""

import asyncio
import random
from pathlib import Path

import pytest

from ocs.balance.functions import library
from tests.faults.dying_archiver import STEPS
from tests.faults.scene import Scene, scene
from tests.faults.test_archiver import ONCE_A_PARTITION, archived_after_death
from tests.faults.test_mutations import charged_over_a_cutting_link
from tests.faults.traffic import Traffic
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.long

KILLS = 100
KILLS_A_ROUND = 10


@pytest.mark.timeout(1_500)
def test_a_hundred_kills_on_one_data_folder_lose_nothing_and_debit_nothing_twice(tmp_path: Path) -> None:
    async def play() -> None:
        dice = random.Random(100)
        async with scene(tmp_path, seed=100, OCS_ARCHIVE__EVERY_S="1") as on:
            for number in range(KILLS // KILLS_A_ROUND):
                on.traffic = Traffic(on.ledger, on.msisdns, seed=100 + number)
                on.begin()
                for _ in range(KILLS_A_ROUND):
                    await on.traffic.until(dice.randint(1, 150))
                    await _kill_something(on, dice)
                assert await on.verdict() == []

    asyncio.run(play())


async def _kill_something(on: Scene, dice: random.Random) -> None:
    """A worker, the store, both, the server, or the server and its store."""
    match dice.choice(("worker", "worker", "store", "store", "both", "server", "all")):
        case "worker":
            on.server.kill_worker(dice.choice(sorted(on.server.workers)))
        case "store" if on.server.store_pid:
            on.server.kill_store()
        case "both" if on.server.store_pid:
            on.server.kill_worker("worker-0")
            on.server.kill_store()
        case "server":
            await on.server.kill()
            await on.server.start()
        case "all":
            await on.server.kill(with_store=True)
            await on.server.start()


@pytest.mark.parametrize("seed", range(200))
def test_the_net_holds_for_every_seed(valkey: RealValkey, seed: int) -> None:
    assert asyncio.run(charged_over_a_cutting_link(valkey, library(), seed)) == []


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("step", "nth"), [(step, nth) for step in ONCE_A_PARTITION for nth in range(2, 7)])
def test_an_archiver_killed_anywhere_has_lost_nothing(
    valkey: RealValkey, tmp_path: Path, step: str, nth: int, seed: int
) -> None:
    assert step in STEPS
    assert asyncio.run(archived_after_death(valkey, tmp_path, step, nth, seed)) == []
