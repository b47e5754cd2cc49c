"""Events out while things die: every top-up is told to who subscribed, under one id, whatever was killed in between."""

import asyncio
import contextlib
import json
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from ocs.balance.audit import audit
from ocs.balance.link import StoreFault
from ocs.names import E164, SubscriberId
from ocs.notices.following import GROUP
from ocs.notices.queue import Queue
from ocs.outcomes import Code
from ocs.stream import groups
from tests.faults.judgement import Room, numbers, populate, room
from tests.faults.ledger import Ledger
from tests.faults.serving import Server
from tests.house.source import ROOT
from tests.unit.notices.receivers import Posted, Receiver, receiver

pytestmark = pytest.mark.timeout(180)  # starts of a whole server, on a machine that may be busy

SETTINGS = {
    "OCS_HTTP__AUTH": "off",
    "OCS_EVENTS__CALLBACK_NETWORKS": '["127.0.0.0/8"]',
    "OCS_EVENTS__RETRY_S": json.dumps([1] * 32),
    "OCS_EVENTS__TIMEOUT_S": "2",
    "OCS_ARCHIVE__EVERY_S": "1",
}
MICROS = 1_000_000


class Scene:
    """A served store, one till that tops up, and somebody who is told."""

    def __init__(self, server: Server, at: Room, to: Receiver) -> None:
        self.server, self.at, self.to = server, at, to
        self.topped_up: set[str] = set()
        self.subscription = ""

    @property
    def url(self) -> str:
        found = re.search(r"http=(\S+)", (self.server.folder / "said").read_text())
        assert found is not None
        return f"http://{found[1]}"

    async def subscribe(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            wanted = {"callback": self.to.url, "types": ["topup.done"], "query": "channel=till"}
            answer = await client.post(f"{self.url}/events/v1/subscriptions", json=wanted)
        assert answer.status_code == 201, answer.text
        self.subscription = answer.json()["id"]

    async def top_up(self, count: int) -> None:
        """Top up so often, each until it is answered."""
        for _ in range(count):
            name = f"t{len(self.topped_up)}"
            while True:
                with contextlib.suppress(StoreFault):
                    account = await self.at.accounts.find(SubscriberId(E164, numbers(4)[len(name) % 4]))
                    assert account is not None
                    done = await self.at.accounts.topup(account, MICROS, "till", name)
                    assert done.code is Code.SUCCESS
                    break
                await asyncio.sleep(0.05)
            self.topped_up.add(name)

    def kill_keeper(self) -> None:
        told = [each for each in self.server.told("process started") if each["name"] == "keeper"]
        os.kill(told[-1]["pid"], signal.SIGKILL)

    def heard(self) -> dict[str, set[str]]:
        """Top-ups that were told, each with the ids under which it was."""
        found: dict[str, set[str]] = {}
        for each in self.to.posted:
            content = json.loads(each.body)
            found.setdefault(content["data"]["id"], set()).add(each.head["webhook-id"])
        return found

    async def until_told(self, well: int = 0) -> None:
        """Wait until all was told; of what was posted before ``well`` nothing counts."""
        del self.to.posted[:well]
        await self.to.until(lambda: self.topped_up <= self.heard().keys(), 90)


async def played(tmp_path: Path, play: "asyncio.Future[None] | object") -> Scene:
    server = Server(tmp_path / "served", workers=1, store=None, root=ROOT, **SETTINGS)
    try:
        await server.start()
        async with room(server.store_url) as at, receiver() as to:
            await populate(at, Ledger(), numbers(4), MICROS)
            scene = Scene(server, at, to)
            await scene.subscribe()
            await play(scene)  # type: ignore[operator]
            heard = scene.heard()
            assert heard.keys() == scene.topped_up
            assert all(len(ids) == 1 for ids in heard.values()), "told again, but under the same id"
            assert (await audit(at.parts, server.archive)).faults == []
            assert await Queue(at.store).dead_count(scene.subscription) == 0
            return scene
    finally:
        server.end()


@pytest.mark.slow
def test_a_keeper_that_is_killed_while_it_delivers_has_lost_nothing(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        well = scene.to.answer
        killed = 0

        async def dies(posted: Posted) -> tuple[int, str]:
            nonlocal killed
            if len(scene.to.posted) in {3, 12} and killed < 2:
                killed += 1
                scene.kill_keeper()
            return await well(posted)

        scene.to.answer = dies
        await scene.top_up(40)
        await scene.until_told()
        assert killed == 2

    asyncio.run(played(tmp_path, play))


def test_a_store_that_is_killed_and_a_receiver_that_is_down_lose_nothing(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        well = scene.to.answer

        async def down(_posted: Posted) -> tuple[int, str]:
            return 503, ""

        scene.to.answer = down
        await scene.top_up(15)
        await scene.to.until(lambda: len(scene.to.posted) >= 1)
        scene.server.kill_store()
        await scene.top_up(15)
        failed = len(scene.to.posted)
        scene.to.answer = well
        await scene.until_told(failed)
        places = (await groups(scene.at.parts))[GROUP]
        assert len(places) == len(scene.at.parts.keys)

    asyncio.run(played(tmp_path, play))


@pytest.mark.slow
def test_a_receiver_that_is_slow_gets_everything_and_others_are_not_kept_waiting(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        async with receiver() as slow:

            async def hangs(_posted: Posted) -> tuple[int, str]:
                await asyncio.sleep(60)
                return 200, ""

            slow.answer = hangs
            quick, scene.to = scene.to, slow
            await scene.subscribe()
            scene.to = quick
            await scene.top_up(30)
            await scene.until_told()
            waiting = await Queue(scene.at.store).waiting(scene.subscription)
            assert waiting == 30, "the slow one's wait for it in the store"

    asyncio.run(played(tmp_path, play))
