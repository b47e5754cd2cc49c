import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from ocs.balance import store as store_module
from ocs.balance.addresses import Endpoint, parse
from ocs.balance.link import LinkDown, LinkLost, NotMaster, StoreError, StoreRefused, pack
from ocs.balance.store import Store
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey
from tests.unit.balance.test_link import Replies, kinds

LIBRARY = b"""#!lua name=try_1
redis.register_function('try_1', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)
"""
BROKEN = b"#!lua name=try_1\nredis.register_function('try_1', function("


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return uvloop.run(main())


async def opened(url: str, **options: Any) -> Store:
    store = Store(parse(url, {}), **options)
    await store.open()
    return store


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is awaited is the store's own state, it signals nobody
        await asyncio.sleep(0.005)


def test_a_store_that_is_open_is_ready_and_names_its_master(valkey: RealValkey) -> None:
    async def scene() -> None:
        up: list[str] = []
        store = await opened(valkey.url, on_master_up=lambda link: up.append(link.run_id))
        run_id = valkey.client().info("server")["run_id"]
        assert store.ready
        assert up == [run_id]
        assert [store.incarnation(slot) for slot in (0, 16_383)] == [run_id, run_id]
        assert store.masters() == [f"127.0.0.1:{valkey.port}"]
        assert store.endpoint(7) == Endpoint("127.0.0.1", valkey.port)
        assert await store.execute(0, "SET", "k", 7) == b"OK"
        assert await store.execute_at(store.masters()[0], "GET", "k") == b"7"
        await store.close()
        assert store.incarnation(0) == ""

    run(scene())


def test_a_store_that_is_away_is_told_within_the_wait() -> None:
    with RealValkey() as server:
        url = server.url
    store = Store(parse(url, {}))
    with pytest.raises(LinkDown, match="cannot connect"):
        run(store.open(wait_ms=150))


@pytest.mark.parametrize("settings", [{"appendonly": "no"}, {"maxmemory-policy": "volatile-lru"}])
def test_a_store_that_could_lose_money_is_refused_at_once(settings: dict[str, str]) -> None:
    with RealValkey(settings=settings) as server, pytest.raises(StoreRefused):
        run(opened(server.url))


def test_a_replica_alone_is_refused_at_once(own_valkey: RealValkey) -> None:
    own_valkey.client().replicaof("127.0.0.1", 1)
    with pytest.raises(NotMaster):
        run(opened(own_valkey.url))


def test_a_store_that_comes_up_late_is_waited_for(own_valkey: RealValkey) -> None:
    own_valkey.kill()

    async def scene() -> bool:
        store = Store(parse(own_valkey.url, {}))
        opening = asyncio.create_task(store.open())
        await asyncio.sleep(0.2)
        own_valkey.launch()
        await opening
        await store.close()
        return opening.exception() is None

    assert run(scene())


def test_an_unloaded_library_is_loaded_once_and_every_call_counts_once(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:

        async def scene() -> Replies:
            store = await opened(proxy.url, library=LIBRARY)
            replies = Replies()
            for _ in range(50):
                store.call(0, pack("FCALL", "try_1", 1, "n", 1), replies)
            await replies.until(50)
            await store.close()
            return replies

        assert sorted(run(scene())) == list(range(1, 51))
        assert proxy.calls["FUNCTION"] == 1


def test_a_library_that_another_worker_loaded_meanwhile_is_no_fault(valkey: RealValkey) -> None:
    async def scene() -> list[Any]:
        stores = [await opened(valkey.url, library=LIBRARY) for _ in range(4)]
        sums = await asyncio.gather(*(store.execute(0, "FCALL", "try_1", 1, "n", 1) for store in stores))
        for store in stores:
            await store.close()
        return sorted(sums)

    assert run(scene()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("library", "says"), [(b"", "not found"), (BROKEN, "Error compiling"), (LIBRARY, "not found")]
)
def test_a_function_that_no_load_can_bring_is_an_error_after_one_load(
    valkey: RealValkey, library: bytes, says: str
) -> None:
    with CuttingProxy(valkey.port) as proxy:

        async def scene() -> Any:
            store = await opened(proxy.url, library=library)
            try:
                return await store.execute(0, "FCALL", "try_2" if library is LIBRARY else "try_1", 1, "n", 1)
            finally:
                await store.close()

        with pytest.raises(StoreError, match=says):
            run(scene())
        assert proxy.calls["FUNCTION"] == bool(library)


def test_an_error_of_the_call_itself_goes_up_and_is_not_tried_again(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:

        async def scene() -> None:
            store = await opened(proxy.url)
            await store.execute(0, "SET", "k", "text")
            try:
                await store.execute(0, "INCR", "k")
            finally:
                await store.close()

        with pytest.raises(StoreError, match="not an integer"):
            run(scene())
        assert proxy.calls["INCR"] == 1


@pytest.mark.parametrize(("fault", "counted"), [("cut_before", None), ("cut_after", b"1")])
def test_a_cut_link_is_told_at_once_mended_by_itself_and_nothing_is_sent_again(
    valkey: RealValkey, fault: str, counted: bytes | None
) -> None:
    with CuttingProxy(valkey.port) as proxy:

        async def scene() -> list[Any]:
            ups: list[str] = []
            store = await opened(proxy.url, on_master_up=lambda link: ups.append(link.run_id))
            getattr(proxy, fault)("INCR")
            replies = Replies()
            store.call(0, pack("INCR", "n"), replies)
            await replies.until(1)
            assert not store.ready
            found = await store.execute(0, "GET", "n")  # parked until the link is back
            await store.close()
            return [kinds(replies), found, len(ups), ups[0] == ups[-1]]

        assert run(scene()) == [["LinkLost"], counted, 2, True]
        assert (proxy.calls["INCR"], proxy.connections) == (1, 2)


def test_a_replay_made_from_inside_a_lost_call_waits_for_the_new_link(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:

        async def scene() -> list[Any]:
            store = await opened(proxy.url)
            proxy.cut_after("INCR")
            replies = Replies()

            def replay(reply: Any) -> None:
                replies(reply)
                if isinstance(reply, LinkLost):
                    store.call(0, pack("GET", "n"), replies)

            store.call(0, pack("INCR", "n"), replay)
            await replies.until(2)
            await store.close()
            return [kinds(replies)[0], replies[1]]

        assert run(scene()) == ["LinkLost", b"1"]


def test_calls_without_a_link_end_at_their_deadline(own_valkey: RealValkey) -> None:
    async def scene() -> list[Any]:
        store = await opened(own_valkey.url, deadline_ms=150)
        own_valkey.kill()
        await until(lambda: not store.ready)
        assert store.incarnation(3) == ""
        replies = Replies()
        for _ in range(3):
            store.call(3, pack("PING"), replies)
        await replies.until(3)
        await store.close()
        return kinds(replies)

    assert run(scene()) == ["LinkDown"] * 3


def test_parked_calls_are_bounded(own_valkey: RealValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "STORE_CALLS_PARKED_MAX", 5)

    async def scene() -> list[Any]:
        store = await opened(own_valkey.url, deadline_ms=100)
        own_valkey.kill()
        await until(lambda: not store.ready)
        replies = Replies()
        for _ in range(8):
            store.call(3, pack("PING"), replies)
        await replies.until(8)
        await store.close()
        return sorted(kinds(replies))

    assert run(scene()) == ["LinkDown"] * 5 + ["LinkFull"] * 3


def _fails(_reply: Any) -> None:
    raise RuntimeError("a defect of one receiver")


@pytest.mark.parametrize("ending", ["deadline", "closed", "displaced"])
def test_a_defect_in_one_receiver_strands_no_other_parked_call(own_valkey: RealValkey, ending: str) -> None:
    async def scene() -> list[Any]:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, said: told.append(str(said["exception"]))
        )
        store = await opened(own_valkey.url, deadline_ms=100 if ending == "deadline" else 10_000)
        was = store.incarnation(3) if ending == "displaced" else ""
        own_valkey.kill()
        await until(lambda: not store.ready)
        replies = Replies()
        for done in (replies, _fails, replies):
            store.call(3, pack("PING"), done, was)
        if ending == "displaced":
            await asyncio.to_thread(own_valkey.start)
        if ending == "closed":
            await store.close()
        await replies.until(2)
        await store.close()
        assert told == ["a defect of one receiver"]
        return kinds(replies)

    assert run(scene()) == ["Displaced" if ending == "displaced" else "LinkDown"] * 2


def test_a_killed_store_comes_back_as_another_incarnation(own_valkey: RealValkey) -> None:
    async def scene() -> list[Any]:
        ups: list[str] = []
        store = await opened(own_valkey.url, on_master_up=lambda link: ups.append(link.run_id))
        await store.execute(0, "SET", "k", "kept")
        own_valkey.kill()
        await until(lambda: not store.ready)
        own_valkey.launch()
        await until(lambda: store.ready)
        found = await store.execute(0, "GET", "k")
        incarnation = store.incarnation(0)
        await store.close()
        return [found, len(set(ups)), incarnation == ups[-1]]

    assert run(scene()) == [b"kept", 2, True]


def test_a_paused_store_is_unknown_within_the_link_deadline_and_mended_after(own_valkey: RealValkey) -> None:
    async def scene() -> list[Any]:
        store = await opened(own_valkey.url, link_deadline_ms=100)
        own_valkey.pause()
        replies = Replies()
        store.call(0, pack("INCR", "n"), replies)
        await replies.until(1)
        own_valkey.resume()
        await until(lambda: store.ready)
        await store.execute(0, "PING")
        await store.close()
        return kinds(replies)

    assert run(scene()) == ["LinkLost"]


def test_a_loading_store_is_tried_again() -> None:
    with RealValkey(settings={"enable-debug-command": "local", "key-load-delay": "100"}) as server:
        client = server.client()
        with client.pipeline(transaction=False) as pipe:
            for number in range(5_000):
                pipe.set(f"k{number}", "v")
            pipe.execute()

        async def scene() -> Any:
            store = await opened(server.url, deadline_ms=30_000)
            reloading = asyncio.create_task(asyncio.to_thread(client.execute_command, "DEBUG", "LOADAOF"))
            while not reloading.done() and store.retried == 0:
                found = await store.execute(0, "GET", "k4999")
            await reloading
            found = await store.execute(0, "GET", "k4999")
            retried = store.retried
            await store.close()
            return found, retried > 0

        assert run(scene()) == (b"v", True)


def test_a_closed_store_ends_every_call(own_valkey: RealValkey) -> None:
    async def scene() -> list[str]:
        store = await opened(own_valkey.url)
        own_valkey.pause()
        replies = Replies()
        store.call(0, pack("PING"), replies)
        await store.close()
        store.call(0, pack("PING"), replies)
        await replies.until(2)
        return kinds(replies)

    assert run(scene()) == ["LinkLost", "LinkDown"]


def test_a_store_before_its_opening_parks_nothing_for_ever() -> None:
    async def scene() -> list[str]:
        store = Store(parse("redis://127.0.0.1:1", {}), deadline_ms=50)
        replies = Replies()
        store.call(0, pack("PING"), replies)
        await replies.until(1)
        return kinds(replies)

    assert run(scene()) == ["LinkDown"]
