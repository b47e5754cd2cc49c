"""The simulated world: a handful of seeds here, thousands in `make test-long` (README.md has what was played)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.house.source import ROOT
from tests.sim.__main__ import memory_folder
from tests.sim.scene import Verdict, run_seed
from tests.sim.storehouse import Server
from tests.sim.wounds import WOUNDS, wounded

SEEDS = range(24)
MANY = range(1_000, 4_000)
AT_ONCE = 100
SEEDS_PER_WOUND = 60
"""A wound that so many seeds do not notice is one that this simulation is blind to."""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(memory_folder())
    yield made
    made.close()


def play(seed: int, server: Server, **more: object) -> Verdict:
    return run_seed(seed, server, folder=memory_folder(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_holds(server: Server, seed: int) -> None:
    verdict = play(seed, server)
    assert not verdict.faults, str(verdict)


def test_a_seed_that_fails_says_how_to_replay_it(server: Server) -> None:
    with wounded("no-void") as lua:
        verdict = play(3, server, wound=lua)
    assert verdict.faults
    assert str(verdict).startswith("seed 3 fails; .venv/bin/python -m tests.sim --seed 3 --trace\n")


def test_the_same_seed_gives_the_same_trace(server: Server) -> None:
    for seed in (5, 6, 12):
        first, again = play(seed, server, keeps_trace=True), play(seed, server, keeps_trace=True)
        assert first.trace == again.trace
        assert first.digest == again.digest


def test_another_process_with_other_hashes_gives_the_same_trace(server: Server) -> None:
    code = (
        "import json, sys; from tests.sim.test_sim import *; made = Server(memory_folder());"
        "print(json.dumps([play(seed, made).digest for seed in (5, 6, 12)])); made.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [play(seed, server).digest for seed in (5, 6, 12)]


@pytest.mark.parametrize("name", ["no-replay", "no-expiry", "answer-twice"])
def test_a_wound_is_noticed(server: Server, name: str) -> None:
    assert notices(server, name) is not None


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", sorted(WOUNDS))
def test_every_wound_is_noticed(server: Server, name: str) -> None:
    assert notices(server, name) is not None, WOUNDS[name].what


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("first", range(MANY.start, MANY.stop, AT_ONCE))
def test_thousands_of_seeds_hold(server: Server, first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        verdict = play(seed, server)
        assert not verdict.faults, str(verdict)


def notices(server: Server, name: str) -> int | None:
    """The first seed that notices a wound."""
    with wounded(name) as lua:
        return next((seed for seed in range(SEEDS_PER_WOUND) if play(seed, server, wound=lua).faults), None)
