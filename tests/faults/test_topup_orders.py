"""Standing orders race kills of the keeper, the store and the whole server: each execution is paid once and credited once."""

import asyncio
import base64
import contextlib
import json
import os
import random
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from ocs.balance.link import StoreFault
from ocs.balance.topup_orders import Order, Orders, OrderState, execution
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from tests.faults.judgement import Room, room
from tests.faults.scene import Scene, scene
from tests.unit.notices.receivers import Posted, Receiver, receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # who dies leaves a lease of 15 s behind

SECRET = "whsec_" + base64.b64encode(b"a secret of the bank").decode()
ACCOUNTS, PERIODS, PER_DAY = 4, 5, 6
EURO, WEEK_MS = 1_000_000, 7 * 86_400_000
UTC = ZoneInfo("UTC")


class Bank:
    """A collector that takes money once by id, sometimes without saying so, and is there when somebody is to die."""

    def __init__(self, to: Receiver, seed: int) -> None:
        self.chance = random.Random(seed)
        self.taken: dict[str, str] = {}
        self.wrong: list[str] = []
        self.asked = 0
        self.deaths: dict[int, Callable[[], Coroutine[Any, Any, None]]] = {}
        """Who dies at which request that comes in."""
        self.dying: list[asyncio.Task[None]] = []
        to.answer, to.says = self.answer, self.says

    async def answer(self, posted: Posted) -> tuple[int, str]:
        said = json.loads(posted.body)
        self.asked += 1
        fate, death = self.chance.random(), self.deaths.pop(self.asked, None)
        if death is not None and fate < 0.3:
            await death()  # before anything is taken
        if fate > 0.9:
            return 503, ""
        if self.taken.setdefault(said["id"], said["amount"]["value"]) != said["amount"]["value"]:
            self.wrong.append(f"{said['id']}: another amount is asked for")
        if death is not None and fate >= 0.3:  # while it is answered, credited or confirmed
            self.dying.append(asyncio.create_task(self._later(death)))
        return (500, "") if fate > 0.8 else (200, "")

    async def _later(self, death: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.sleep(self.chance.random() * 0.02)
        await death()

    @staticmethod
    def says(posted: Posted) -> bytes:
        return json.dumps({"id": json.loads(posted.body)["id"], "paid": True}).encode()


class Given(NamedTuple):
    """An order, and whose number it is for."""

    order: Order
    msisdn: str


async def give(at: Room, orders: Orders, msisdns: list[str]) -> list[Given]:
    """Give each subscriber orders that are due so often: two recurring ones that begin in the past, an automatic one that is never satisfied."""
    found = []
    for msisdn in msisdns:
        account = await at.accounts.find(SubscriberId(E164, msisdn))
        assert account is not None
        profile, now_ms = account.profile, await orders.now_ms(account.profile.partition)
        for channel, name, amount, more in (
            ("bank", f"r{msisdn}", 3, {"period": "weekly", "periods": PERIODS, "start_ms": now_ms - 9 * WEEK_MS}),
            ("till", f"t{msisdn}", 5, {"period": "weekly", "periods": PERIODS, "start_ms": now_ms - 9 * WEEK_MS}),
            ("bank", f"a{msisdn}", 7, {"below_micros": 10**12}),
        ):  # fmt: skip
            order = Order(channel, name, profile.partition, profile.path, amount * EURO, content="{}", **more)
            made = await orders.create(order)
            assert made.code is Code.SUCCESS
            found.append(Given(made.order, msisdn))
    return found


async def read(orders: Orders, given: list[Given]) -> list[Order]:
    found = [await orders.find(each.order.channel, each.order.id) for each in given]
    return [each.order for each in found if each is not None]


def is_done(order: Order) -> bool:
    if order.period:
        return order.state is OrderState.COMPLETED
    return order.done >= PER_DAY and not order.run


async def until_done(on: Scene, orders: Orders, given: list[Given]) -> list[Order]:
    """Wait until all that is due was carried out."""
    async with asyncio.timeout(200):
        while True:
            with contextlib.suppress(StoreFault):  # it has been killed just now
                found = await read(orders, given)
                if len(found) == len(given) and all(map(is_done, found)):
                    return found
            await asyncio.sleep(0.5)


def deaths_on(on: Scene, kinds: str) -> Callable[[str], Callable[[], Coroutine[Any, Any, None]]]:
    """Give who kills: k the keeper, s the store, a all of the server but the store, w all of it."""

    async def kill(kind: str) -> None:
        if kind == "k":
            told = [each for each in on.server.told("process started") if each["name"] == "keeper"]
            os.kill(told[-1]["pid"], signal.SIGKILL)
        elif kind == "s":
            if on.server.store_pid:
                on.server.kill_store()
        else:
            await on.server.kill(with_store=kind == "w")
            await on.server.start()

    assert set(kinds) <= set("ksaw")
    return lambda kind: lambda: kill(kind)


@pytest.mark.parametrize(
    ("kinds", "seed"),
    [
        pytest.param("kskks", 1, marks=pytest.mark.long),
        pytest.param("sssss", 2, marks=pytest.mark.long),
        pytest.param("awk", 3, marks=pytest.mark.long),
    ],
)
def test_orders_race_kills_and_each_execution_counts_once(tmp_path: Path, kinds: str, seed: int) -> None:
    async def play(to: Receiver) -> None:
        bank = Bank(to, seed)
        channels = {
            "till": {"collect": "trusted"},
            "bank": {"collect": "webhook", "url": to.url, "secret": SECRET},
        }
        settings: dict[str, Any] = {
            "OCS_EVENTS__CALLBACK_NETWORKS": '["127.0.0.0/8"]',
            "OCS_EVENTS__TIMEOUT_S": "2",
            "OCS_ARCHIVE__EVERY_S": "1",
            "OCS_TOPUP_ORDERS__RETRY_S": json.dumps([1] * 32),
            "OCS_TOPUP_ORDERS__PER_DAY": str(PER_DAY),
            "OCS_TOPUP_ORDERS__CHANNELS": json.dumps(channels),
        }  # fmt: skip
        async with scene(tmp_path, workers=1, accounts=ACCOUNTS, **settings) as on:
            kills = deaths_on(on, kinds)
            at_request = bank.chance.sample(range(3, 36), len(kinds))
            bank.deaths = dict(zip(sorted(at_request), map(kills, kinds), strict=True))
            async with room(on.server.store_url) as at:

                async def now_ms(partition: int) -> int:
                    return at.clock.now_ms() + (await at.parts.epoch(partition)).offset_ms

                orders = Orders(at.parts, now_ms)
                given = await give(at, orders, on.msisdns)
                on.begin()
                found = await until_done(on, orders, given)
                await asyncio.gather(*bank.dying)
            assert bank.deaths == {}, "all who were to die have died"
            assert bank.wrong == []
            wanted = set()
            for order, each in zip(found, given, strict=True):
                runs = [execution(order._replace(run=number), UTC) for number in range(1, order.done + 1)]
                for asked in runs:
                    on.ledger.topped_up(asked.id, each.msisdn, asked.amount)
                if order.channel == "bank":
                    wanted |= {asked.id for asked in runs}
            assert bank.taken.keys() == wanted
            assert len(on.ledger.topups) >= ACCOUNTS * (2 * PERIODS + PER_DAY)
            assert await on.verdict() == []

    async def begin() -> None:
        async with receiver() as to:
            await play(to)

    asyncio.run(begin())
