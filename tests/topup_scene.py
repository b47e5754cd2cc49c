"""Orders for top-ups on a real store with a calendar that the test moves, and a collector whose answers it chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import ZoneInfo

from ocs.balance.actions import NO_LIMITS, Asked, DayLimits
from ocs.balance.topup_orders import Order, Orders
from ocs.notices.notice import Notice
from ocs.outcomes import Code
from ocs.topups.collecting import Collected, Collects, Payment, Trusted
from ocs.topups.executing import Executor, Rules
from tests.charged_store import StoreRoom
from tests.unit.balance.holdings_world import EURO, ZONE, Scene

PAID, DECLINED, UNKNOWN = (Collected(each, "" if each is Payment.PAID else each.name) for each in Payment)


class Bank:
    """A collector that takes money once by id, as they promise; ``answers`` come first, then it pays."""

    def __init__(self) -> None:
        self.answers: list[Collected] = []
        self.asked: list[str] = []
        self.taken: dict[str, int] = {}
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None
        """Done once while it is asked."""

    async def collect(self, asked: Asked, order_id: str, method: str, currency: str) -> Collected:
        del order_id, method, currency
        await asyncio.sleep(0)
        self.asked.append(asked.id)
        if self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            await act()
        answer = self.answers.pop(0) if self.answers else PAID
        if answer.payment is Payment.PAID:
            self.taken[asked.id] = asked.amount
        return answer


class Desk:
    """One subscriber with 100.00 at noon of 2027-01-31 in Berlin, two channels, an executor as often as it is asked for."""

    def __init__(self, room: StoreRoom, credit: int = 100 * EURO, at: str = "2027-01-31T12:00") -> None:
        self.room = room
        self.scene: Scene = room.run(Scene.made(room, credit, at))
        self.bank, self.told, self.lines = Bank(), list[Notice](), list[str]()
        self.limits = NO_LIMITS
        charged = self.scene.charged
        self.orders = Orders(charged.parts, self.scene.holdings.now_ms)
        self.actions: Any = charged.accounts.actions

    def executor(self, zone: ZoneInfo = ZONE) -> Executor:
        rules = Rules(zone, 2, (60, 600))
        collectors: dict[str, Collects] = {"till": Trusted(), "bank": self.bank}
        return Executor(
            self.orders, self.scene.charged.accounts.read, self.actions, self._limits, collectors, rules, self._tell, self
        )  # fmt: skip

    def _limits(self, _asked: Asked) -> DayLimits:
        return self.limits

    async def _tell(self, notice: Notice) -> None:
        self.told.append(notice)

    def warning(self, event: str, **_facts: Any) -> None:
        self.lines.append(event)

    error = warning

    def order(self, **fields: Any) -> Order:
        profile = self.scene.account.profile
        first = Order("bank", "o1", profile.partition, profile.path, 10 * EURO, content="{}")
        return first._replace(**fields)

    def create(self, **fields: Any) -> Order:
        made = self.room.run(self.orders.create(self.order(**fields)))
        assert made.code == Code.SUCCESS
        order: Order = made.order
        return order

    def run(self, times: int = 4) -> Executor:
        """Let so many passes of one executor look at what is due."""
        executor = self.executor()
        for _ in range(times):
            self.scene.charged.clock.keep_up()
            self.room.run(executor.once())
        assert executor.faults == 0
        return executor

    def at(self, instant: str) -> None:
        self.room.run(self.scene.at(instant))
        self.run()

    def later(self, seconds: float) -> None:
        self.room.run(self.scene.charged.move_time(int(seconds * 1000)))
        self.run()

    def read(self, order_id: str = "o1", channel: str = "bank") -> Order:
        kept = self.room.run(self.orders.find(channel, order_id))
        assert kept is not None
        order: Order = kept.order
        return order

    def balance(self) -> int:
        return int(self.room.run(self.scene.look()).book.balance_micros) // EURO

    def spend(self, euros: int) -> None:
        self.room.run(self.scene.use(euros * 1000))

    def clean(self) -> None:
        self.room.run(self.scene.clean())
