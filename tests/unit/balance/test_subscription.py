"""What is published is heard: after the link was cut, the store died, the slot moved; and what was said meanwhile is lost."""

import asyncio
from collections.abc import Awaitable, Callable

from ocs.balance.addresses import parse
from ocs.balance.keys import slot_of
from ocs.balance.store import Store
from ocs.balance.subscription import listen
from tests.cluster import Cluster
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey
from tests.unit.balance.test_store import opened, run, until

CHANNEL = "ocs:orders:test.0"
SLOT = slot_of(CHANNEL)


async def _heard(url: str, work: Callable[[Store, list[bytes]], Awaitable[None]]) -> list[bytes]:
    """Listen at a store while something is done there; what was heard."""
    heard: list[bytes] = []
    store = await opened(url)
    listening = asyncio.create_task(listen(store, parse(url, {}), CHANNEL, heard.append, "test"))
    try:
        await work(store, heard)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await store.close()
    return heard


async def _said(store: Store, heard: list[bytes], what: str) -> None:
    """Publish until somebody listens (0 is the answer while nobody does), and wait until it is heard."""
    while not await store.execute(SLOT, "SPUBLISH", CHANNEL, what):  # noqa: ASYNC110 - as in until
        await asyncio.sleep(0.005)
    await until(lambda: what.encode() in heard)


def test_what_is_published_is_heard_in_order_and_nothing_of_other_channels(valkey: RealValkey) -> None:
    async def work(store: Store, heard: list[bytes]) -> None:
        await _said(store, heard, "first")
        await store.execute(slot_of("other"), "SPUBLISH", "other", "not ours")
        for number in range(100):
            assert await store.execute(SLOT, "SPUBLISH", CHANNEL, number) == 1
        await until(lambda: len(heard) == 101)

    heard = run(_heard(valkey.url, work))

    assert heard == [b"first", *(str(number).encode() for number in range(100))]


def test_an_idle_link_is_kept_by_its_heartbeat(valkey: RealValkey) -> None:
    async def work(store: Store, heard: list[bytes]) -> None:
        await _said(store, heard, "first")
        before = _pings(valkey)
        await until(lambda: _pings(valkey) >= before + 4)
        await _said(store, heard, "second")
        assert valkey.client().pubsub_shardnumsub(CHANNEL) == [(CHANNEL.encode(), 1)]

    assert run(_heard(valkey.url, work)) == [b"first", b"second"]


def _pings(valkey: RealValkey) -> int:
    return int(valkey.client().info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])


def test_a_link_that_is_cut_comes_back(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:

        async def work(store: Store, heard: list[bytes]) -> None:
            await _said(store, heard, "first")
            proxy.cut_now()
            await asyncio.to_thread(_until_nobody_hears, valkey)
            valkey.client().spublish(CHANNEL, "while nobody heard")
            await until(lambda: store.ready)
            await _said(store, heard, "second")

        assert run(_heard(proxy.url, work)) == [b"first", b"second"]


def _until_nobody_hears(valkey: RealValkey) -> None:
    client = valkey.client()
    while dict(client.pubsub_shardnumsub(CHANNEL))[CHANNEL.encode()]:
        pass


def test_a_store_that_dies_is_listened_to_again(own_valkey: RealValkey) -> None:
    async def work(store: Store, heard: list[bytes]) -> None:
        await _said(store, heard, "first")
        await asyncio.to_thread(own_valkey.kill)
        await asyncio.to_thread(own_valkey.start)
        await until(lambda: store.ready)
        await _said(store, heard, "second")

    assert run(_heard(own_valkey.url, work)) == [b"first", b"second"]


def test_a_listener_follows_its_slot(cluster: Cluster) -> None:
    async def work(store: Store, heard: list[bytes]) -> None:
        await _said(store, heard, "first")
        home = cluster.owner(SLOT)
        for number, to in enumerate(((home + 1) % 3, home)):
            await asyncio.to_thread(cluster.move, SLOT, to)
            await _said(store, heard, f"moved {number}")

    assert run(_heard(cluster.url, work)) == [b"first", b"moved 0", b"moved 1"]


def test_a_receiver_that_fails_is_told_and_the_next_message_is_heard(valkey: RealValkey) -> None:
    fault = ValueError("a defect of the receiver")

    async def scene() -> list[bytes]:
        store = await opened(valkey.url)
        heard: list[bytes] = []

        def receive(message: bytes) -> None:
            heard.append(message)
            if message == b"first":
                raise fault

        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, told_: told.append(told_["exception"]))
        listening = asyncio.create_task(listen(store, parse(valkey.url, {}), CHANNEL, receive, "test"))
        await _said(store, heard, "first")
        await _said(store, heard, "second")
        await until(lambda: len(heard) == 2)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await store.close()
        assert told == [fault]
        return heard

    assert run(scene()) == [b"first", b"second"]


def test_a_user_who_may_not_subscribe_is_told_of(own_valkey: RealValkey) -> None:
    user = ("ACL", "SETUSER", "deaf", "on", ">word", "~*", "resetchannels", "+@all")
    own_valkey.client().execute_command(*user)
    url = own_valkey.url.replace("redis://", "redis://deaf:word@")

    async def scene() -> str:
        store = await opened(url)
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def tell(_loop: object, context: dict[str, object]) -> None:
            if not told.done():
                told.set_result(str(context["exception"]))

        asyncio.get_running_loop().set_exception_handler(tell)
        listening = asyncio.create_task(listen(store, parse(url, {}), CHANNEL, _nobody, "test"))
        what = await told
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await store.close()
        return what

    assert "NOPERM" in run(scene())


def _nobody(_message: bytes) -> None:
    """Hear nothing."""
