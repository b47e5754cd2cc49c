"""Delivers what waits: each subscription by itself, again and again with growing pauses, until it is taken over or given up.

Laws
1. A subscription that does not answer delays itself alone: each has a worker of its own, few tries at once, and one at a time, ever more
   seldom, while its last try failed. What is in memory is what is being tried.
2. Nothing leaves the queue before the other side has taken it over, or it is a dead letter.
3. A delivery is given up after its last try, when the other side says that it is gone, or when it has waited for longer than all tries
   take: a callback that is dead for a day leaves dead letters, not a queue.
4. The order is not promised.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from ocs.balance.link import StoreFault
from ocs.limits import CALLBACK_PAUSE_MS_MAX, DELIVERIES_AT_ONCE_MAX, DELIVERIES_LOOK_S
from ocs.notices.queue import Delivery, Queue
from ocs.notices.senders import Sender, Undelivered
from ocs.notices.subscriptions import WEBHOOK, Subscription

_JITTER = 0.2
_FIRST_PAUSE_MS = 1_000
_SILENT_FAILURES = 3


class Retries(NamedTuple):
    """When failed deliveries are tried again: pauses in seconds, one a failure; and how many are tried at once for a subscription."""

    pauses_s: tuple[int, ...]
    at_once: int

    @property
    def life_ms(self) -> int:
        """Return how long a delivery may wait in all."""
        return int(sum(self.pauses_s) * 1000 * (1 + _JITTER)) + CALLBACK_PAUSE_MS_MAX


@dataclass(slots=True)
class Delivered:
    """Totals of a deliverer since its start, for metrics."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    faults: int = 0
    """Looks and notes that the store did not allow, made again."""


class _Worker:
    """What is known of one subscription while this process delivers."""

    __slots__ = ("failures", "subscription", "task", "wake")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.wake = asyncio.Event()
        self.failures = 0
        self.task: asyncio.Task[None] | None = None


class Deliverer:
    """Delivers for the subscriptions that it is given; one in a store at a time (lease)."""

    def __init__(
        self,
        queue: Queue,
        senders: Mapping[str, Sender],
        now_ms: Callable[[], int],
        retries: Retries,
        log: Any,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._senders = senders
        self._now_ms = now_ms
        self._retries = retries
        self._log = log
        self._chance = chance
        self._workers: dict[str, _Worker] = {}
        self._slots = asyncio.Semaphore(DELIVERIES_AT_ONCE_MAX)
        self.done = Delivered()

    def set(self, subscriptions: Iterable[Subscription]) -> None:
        """Deliver for these from now on, and for no others."""
        wanted = {each.id: each for each in subscriptions if not each.ended}
        for gone in self._workers.keys() - wanted.keys():
            worker = self._workers.pop(gone)
            if worker.task is not None:
                worker.task.cancel()
        for name, subscription in wanted.items():
            if name in self._workers:
                self._workers[name].subscription = subscription
                continue
            worker = self._workers[name] = _Worker(subscription)
            worker.task = asyncio.create_task(self._work(worker), name=f"deliver {name}")

    def wake(self, subscription: str) -> None:
        """Look at once: something was put in a subscription's queue."""
        if subscription in self._workers:
            self._workers[subscription].wake.set()

    async def close(self) -> None:
        """Stop; what is being sent may be sent again by the next."""
        tasks = [each.task for each in self._workers.values() if each.task is not None]
        self._workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one subscription

    async def _work(self, worker: _Worker) -> None:
        while True:
            worker.wake.clear()
            pause_s = DELIVERIES_LOOK_S
            try:
                pause_s = await self._turn(worker)
            except StoreFault:
                self.done.faults += 1
            except Exception:  # noqa: BLE001 - one subscription's defect must not end its worker for good
                self.done.faults += 1
                self._log.exception("a subscription is not served", subscription=worker.subscription.id)
            if worker.failures:  # no word of new notices makes a callback answer
                await asyncio.sleep(pause_s)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.wake.wait(), pause_s)

    async def _turn(self, worker: _Worker) -> float:
        """Try what is due; how long to wait then, in seconds."""
        name, now_ms = worker.subscription.id, self._now_ms()
        count = 1 if worker.failures else self._retries.at_once
        found = await self._queue.due(name, now_ms, count)
        if not found:
            ahead_ms = await self._queue.next_due_ms(name) - self._now_ms()
            return min(DELIVERIES_LOOK_S, max(0.02, ahead_ms / 1000))
        tried = await self._fresh(worker, found, now_ms)
        results = await asyncio.gather(
            *(self._one(worker.subscription, each) for each in tried), return_exceptions=True
        )
        for result in results:  # once all have ended: none runs on beside the next turn
            if isinstance(result, BaseException):
                raise result
        if False in results:
            worker.failures += 1
            pause_ms = min(_FIRST_PAUSE_MS << min(worker.failures - 1, 16), CALLBACK_PAUSE_MS_MAX)
            return pause_ms / 1000
        if results:
            worker.failures = 0
        return 0

    async def _fresh(self, worker: _Worker, found: Sequence[Delivery], now_ms: int) -> list[Delivery]:
        """Return those that are worth a try; who waited for too long is given up (law 3), untried only where nothing answers."""
        fresh = []
        for each in found:
            old = now_ms - each.since_ms > self._retries.life_ms
            if old and (each.tries or worker.failures >= _SILENT_FAILURES):
                why = each.why or "the callback does not answer"
                await self._give_up(worker.subscription.id, each._replace(why=why))
            else:
                fresh.append(each)
        return fresh

    async def _one(self, subscription: Subscription, delivery: Delivery) -> bool:
        """Try one delivery; whether the other side is well."""
        why = await self._sent(subscription, delivery)
        if why is None:
            self.done.delivered += 1
            await self._queue.done(subscription.id, delivery.notice.id)
            return True
        self.done.failed += 1
        failed = delivery._replace(tries=delivery.tries + 1, why=why.why)
        if why.final or delivery.tries >= len(self._retries.pauses_s):
            await self._give_up(subscription.id, failed)
            return False
        pause_s = self._retries.pauses_s[delivery.tries] * (1 + _JITTER * self._chance())
        await self._queue.again(
            subscription.id, failed, self._now_ms() + int(max(pause_s, why.after_s) * 1000)
        )
        return False

    async def _sent(self, subscription: Subscription, delivery: Delivery) -> Undelivered | None:
        form = subscription.form
        sender = self._senders.get(form, self._senders.get(WEBHOOK))
        if sender is None:
            return Undelivered("this server sends no webhooks")
        try:
            async with self._slots:
                await sender.send(delivery.notice, subscription)
        except Undelivered as fault:
            return fault
        except Exception as defect:  # noqa: BLE001 - a form of another door, a template: its defect is this delivery's alone
            self._log.exception("a sender failed", form=form, type=delivery.notice.type)
            return Undelivered(f"a defect of the sender: {type(defect).__name__}")
        return None

    async def _give_up(self, name: str, delivery: Delivery) -> None:
        self.done.dead += 1
        await self._queue.bury(name, delivery, self._now_ms())
        self._log.warning(
            "a delivery was given up", subscription=name, notice=delivery.notice.id, why=delivery.why
        )
