"""A link that listens: what others publish on one channel (SPUBLISH, sharded: a cluster passes it to one slot's nodes alone).

Laws
1. Nobody waits for what is published and nobody keeps it: what is said while no link stands is lost, and is to be of a kind that may be.
2. The link lives where the channel's slot is served now; when it breaks, or the slot moves, another is opened, with pauses.
3. Silence is probed as on every link (link.py, law 4): a half-open one is found within its deadline.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import hiredis

from ocs.balance.addresses import Address, Endpoint
from ocs.balance.keys import slot_of
from ocs.balance.link import NOTHING, Demands, Link, LinkDown, LinkLost
from ocs.balance.store import Store
from ocs.limits import STORE_BACKOFF_MS_MAX, STORE_BACKOFF_MS_MIN

Receive = Callable[[bytes], None]

_LOOK_S: Final = 1.0
"""How often it is looked whether the slot is served elsewhere by now."""

_MESSAGE, _LEFT = b"smessage", b"sunsubscribe"


class Subscription(Link):
    """A link that subscribes to one channel; ``receive`` gets each message."""

    __slots__ = ("_receive",)

    def __init__(
        self,
        endpoint: Endpoint,
        address: Address,
        receive: Receive,
        *,
        title: str,
        on_lost: Callable[[Link], None],
    ) -> None:
        super().__init__(endpoint, address, demands=Demands.none(), title=title, on_lost=on_lost)
        self._receive = receive

    async def subscribe(self, channel: str) -> None:
        """Begin to hear; raises a StoreFault."""
        await self.execute("SSUBSCRIBE", channel)

    def data_received(self, data: bytes) -> None:
        """Tell what was published from replies to our own calls; only these wait in turn."""
        self._reader.feed(data)
        try:
            while (reply := self._gets()) is not NOTHING:
                self._take(reply)
        except hiredis.ProtocolError as fault:
            self._end(f"not the Redis protocol: {fault}")

    def _take(self, reply: Any) -> None:
        kind = reply[0] if isinstance(reply, list) and len(reply) == 3 else None
        if kind == _MESSAGE:
            self._hand_on(reply[2])
        elif kind == _LEFT:
            self._end("the slot of the channel has moved")
        elif self._waiting:
            self._answered += 1
            self._waiting.popleft()(reply)
        elif self._fault is None:
            self._end("a reply that nobody asked for")

    def _hand_on(self, message: bytes) -> None:
        try:
            self._receive(message)
        except Exception as defect:  # noqa: BLE001 - as in Link.data_received
            self._report(self._receive, defect)


async def listen(store: Store, address: Address, channel: str, receive: Receive, title: str) -> None:
    """Hear a channel until cancelled, whatever becomes of the link."""
    slot, pause_ms = slot_of(channel), STORE_BACKOFF_MS_MIN
    while True:
        endpoint = store.endpoint(slot)
        if endpoint is not None and await _heard(store, slot, endpoint, address, channel, receive, title):
            pause_ms = STORE_BACKOFF_MS_MIN
        await asyncio.sleep(pause_ms / 1000)
        pause_ms = min(2 * pause_ms, STORE_BACKOFF_MS_MAX)


async def _heard(
    store: Store, slot: int, endpoint: Endpoint, address: Address, channel: str, receive: Receive, title: str
) -> bool:
    """Hear a channel at one place for as long as it is the right one; whether it ever was heard."""
    lost = asyncio.Event()
    link = Subscription(endpoint, address, receive, title=title, on_lost=lambda _link: lost.set())
    try:
        await link.connect()
        await link.subscribe(channel)
        while not lost.is_set() and store.endpoint(slot) == endpoint:
            try:
                await asyncio.wait_for(lost.wait(), _LOOK_S)
            except TimeoutError:
                continue
    except (LinkDown, LinkLost):
        return False  # of which the store's own links tell
    except Exception as defect:  # noqa: BLE001 - whatever it is (a user who may not subscribe), it is told and tried again
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a listener failed", "exception": defect}
        )
        return False
    finally:
        link.close()
    return True
