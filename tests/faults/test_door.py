"""The door is killed under top-ups: it comes back on the same port, what was acknowledged is there once, and the rest can be asked about by id."""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from itertools import count
from pathlib import Path

import httpx
import pytest

from ocs.http.prepay.buckets import BASE
from tests.faults.scene import Scene, scene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
]  # starts of real processes, on a machine that may be busy

TILLS, KILLS, TOPUPS = 8, 4, 240


class Tills:
    """Top-ups one after the other by several tills; who is not answered asks by id what became of it, and posts again what is not there."""

    def __init__(self, on: Scene) -> None:
        found = re.search(r"http=(\S+)", (on.server.folder / "said").read_text())
        assert found is not None
        self.url = f"http://{found[1]}{BASE}/topupBalance"
        self.on = on
        self.names = count(1)
        self.unanswered: list[str] = []
        self.asked: Counter[str] = Counter()
        self.acknowledged = 0

    async def run(self, number: int) -> None:
        chance = random.Random(number)
        while (name := next(self.names)) <= TOPUPS:
            msisdn = chance.choice(self.on.msisdns)
            await self.top_up(f"t{name}", msisdn, chance.randint(1, 900))

    async def top_up(self, name: str, msisdn: str, cents: int) -> None:
        body = {
            "id": name, "amount": {"amount": cents / 100, "units": "EUR"}, "usageType": "monetary",
            "logicalResource": [{"id": msisdn}],
        }  # fmt: skip
        answer = await self.ask("POST", self.url, name, body)
        while answer is None or answer.status_code == 503:
            known = await self.ask("GET", f"{self.url}/{name}", name)
            if known is not None and known.status_code in {200, 404}:
                self.asked[known.json().get("status", "not there")] += 1
                answer = await self.ask("POST", self.url, name, body)
        assert (answer.status_code, answer.json()["status"]) == (201, "completed"), answer.text
        self.on.ledger.topped_up(name, msisdn, cents * 10_000)
        self.acknowledged += 1

    async def ask(self, method: str, url: str, name: str, body: object = None) -> httpx.Response | None:
        """Ask once, on a connection of its own; None: not answered."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
                return await client.request(method, url, json=body)
        except httpx.HTTPError:
            self.unanswered.append(name)
            await asyncio.sleep(0.05)
            return None


def door_pid(on: Scene) -> int:
    return int([each["pid"] for each in on.server.told("process started") if each["name"] == "door"][-1])


def test_a_door_that_is_killed_under_top_ups_comes_back_and_each_counts_once(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, workers=1, OCS_HTTP__AUTH="off") as on:
            on.begin()
            tills, killed = Tills(on), list[int]()

            async def kill() -> None:
                chance = random.Random(5)
                for number in range(1, KILLS + 1):
                    while tills.acknowledged < number * TOPUPS // (KILLS + 1):  # noqa: ASYNC110 - a count
                        await asyncio.sleep(0.001)
                    await asyncio.sleep(chance.random() * 0.02)
                    killed.append(door_pid(on))
                    os.kill(killed[-1], signal.SIGKILL)

            await asyncio.gather(kill(), *map(tills.run, range(TILLS)))
            assert len({*killed, door_pid(on)}) == KILLS + 1
            assert tills.acknowledged == TOPUPS
            assert tills.asked.total() >= KILLS, "what was not acknowledged was asked about by its id"
            assert await on.verdict() == []
            assert await on.server.stop() == 0

    asyncio.run(play())
