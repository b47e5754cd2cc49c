"""A network on a real store with somebody who follows its streams, for tests of events out."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ocs.notices.callbacks import Callbacks
from ocs.notices.deliverer import Deliverer, Retries
from ocs.notices.derive import Rules
from ocs.notices.following import GROUP, Follower, Targets
from ocs.notices.forms import Forms
from ocs.notices.queue import Delivery, Queue
from ocs.notices.senders import Sender, Webhooks
from ocs.notices.subscriptions import Subscription, Subscriptions
from ocs.stream import NEWEST, Reader
from tests.unit.balance.books import Network
from tests.unit.notices.receivers import Log
from tests.unit.test_stream import Steps

M = 1_000_000
RULES = Rules((M // 2,), (80, 100), "EUR")


class Following:
    """Who follows: as the keeper does, one look at a time."""

    def __init__(self, net: Network, folder: Path, rules: Iterable[Subscription] = ()) -> None:
        self.net = net
        self.store = net.charged.store
        self.queue = Queue(self.store)
        self.subscriptions = Subscriptions(self.store)
        self.log = Log()
        self.targets = Targets(self.subscriptions, rules)
        self.reader = Reader(net.charged.parts, folder, GROUP, Steps())
        self.follower = Follower(
            net.charged.parts, self.reader, self.targets, self.queue, RULES, lambda: 1_000, self.log
        )
        net.run(self.reader.open(NEWEST))

    def subscribe(self, callback: str = "https://example.com/", **rest: Any) -> Subscription:
        """Somebody subscribes, to everything of everybody."""
        given = {"any_channel": True, **rest}
        made: Subscription = self.net.run(self.subscriptions.create("key", callback, 1, **given))
        return made

    def look(self, times: int = 8) -> None:
        """Look at the streams so often."""
        for _ in range(times):
            self.net.run(self.follower.once())

    def waiting(self, subscription: Subscription) -> list[Delivery]:
        """What waits for a subscription."""
        found: list[Delivery] = self.net.run(self.queue.due(subscription.id, 2**50, 1_000))
        return found

    def kinds(self, subscription: Subscription) -> list[str]:
        """Types of what waits, in order of their names."""
        return sorted(each.notice.type for each in self.waiting(subscription))


def delivers(
    queue: Queue,
    callbacks: Callbacks,
    now_ms: Any,
    *,
    pauses_s: tuple[int, ...] = (1, 1, 1),
    timeout_s: float = 5,
    at_once: int = 4,
    senders: dict[str, Sender] | None = None,
) -> Deliverer:
    """A deliverer of webhooks, without chance; it is to be made inside a running loop."""
    asyncio.get_running_loop()
    known: dict[str, Sender] = {"webhook": Webhooks(callbacks, Forms(), now_ms, timeout_s)}
    return Deliverer(queue, known | (senders or {}), now_ms, Retries(pauses_s, at_once), Log(), lambda: 0.0)
