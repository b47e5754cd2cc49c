"""A slot moves there and back while it is in use: no call is lost, none counts twice."""

import asyncio
from typing import Any

import pytest

from ocs.balance.addresses import Endpoint, parse
from ocs.balance.link import StoreError, StoreRefused, pack
from ocs.balance.store import Store
from ocs.balance.topology import read_slots
from tests.cluster import Cluster
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey
from tests.unit.balance.test_link import Replies, kinds
from tests.unit.balance.test_store import LIBRARY, opened, run, until

TAG = "p17"


@pytest.fixture
def slot(cluster: Cluster) -> int:
    return int(cluster.client(0).execute_command("CLUSTER KEYSLOT", TAG))


def away(cluster: Cluster, slot: int) -> int:
    """A master that does not serve the slot."""
    return (cluster.owner(slot) + 1) % 3


def test_every_slot_is_served_by_its_master(cluster: Cluster, slot: int) -> None:
    async def scene() -> None:
        up: list[str] = []
        store = await opened(cluster.url, on_master_up=lambda link: up.append(link.name))
        assert store.masters() == sorted(f"127.0.0.1:{node.port}" for node in cluster.nodes) == sorted(up)
        for key in (f"{{k{number}}}" for number in range(50)):
            where = cluster.client(0).execute_command("CLUSTER KEYSLOT", key)
            assert await store.execute(where, "INCR", key) == 1
            owner = cluster.owner(where)
            assert store.endpoint(where) == Endpoint("127.0.0.1", cluster.nodes[owner].port)
            assert store.incarnation(where) == cluster.client(owner).info("server")["run_id"]
        assert store.retried == 0
        await store.close()

    run(scene())


def test_a_moved_slot_is_followed_there_and_back(cluster: Cluster, slot: int) -> None:
    async def scene() -> list[Any]:
        store = await opened(cluster.url)
        seen = [await store.execute(slot, "INCR", TAG)]
        incarnations = [store.incarnation(slot)]
        for to in (away(cluster, slot), cluster.owner(slot)):
            await asyncio.to_thread(cluster.move, slot, to)
            seen.append(await store.execute(slot, "INCR", TAG))
            incarnations.append(store.incarnation(slot))
        await store.close()
        return [seen, incarnations[0] == incarnations[2] != incarnations[1], store.retried >= 1]

    assert run(scene()) == [[1, 2, 3], True, True]


def test_a_new_key_in_a_leaving_slot_goes_where_ask_says(cluster: Cluster, slot: int) -> None:
    async def scene() -> list[Any]:
        store = await opened(cluster.url)
        to = away(cluster, slot)
        cluster.begin_move(slot, to)
        seen = [await store.execute(slot, "INCR", f"{{{TAG}}}new") for _ in range(3)]
        at_home = store.endpoint(slot)
        cluster.end_move(slot, to)
        seen.append(await store.execute(slot, "INCR", f"{{{TAG}}}new"))
        moved = store.endpoint(slot)
        await store.close()
        return [seen, at_home != moved]

    assert run(scene()) == [[1, 2, 3, 4], True]


def test_calls_pipelined_through_ask_keep_their_asking(cluster: Cluster, slot: int) -> None:
    async def scene() -> Replies:
        store = await opened(cluster.url)
        to = away(cluster, slot)
        cluster.begin_move(slot, to)
        replies = Replies()
        for _ in range(200):
            store.call(slot, pack("INCR", f"{{{TAG}}}new"), replies)
        await replies.until(200)
        cluster.end_move(slot, to)
        await store.close()
        return replies

    assert sorted(run(scene())) == list(range(1, 201))


def test_a_call_with_keys_on_both_sides_is_tried_again_until_the_move_is_done(
    cluster: Cluster, slot: int
) -> None:
    one, two = f"{{{TAG}}}one", f"{{{TAG}}}two"

    async def scene() -> list[Any]:
        store = await opened(cluster.url, deadline_ms=20_000)
        to = away(cluster, slot)
        await store.execute(slot, "MSET", one, 1, two, 2)
        cluster.begin_move(slot, to)
        cluster.move_keys(slot, to, [one])
        replies = Replies()
        store.call(slot, pack("MGET", one, two), replies)
        await until(lambda: store.retried >= 5)
        waited = list(replies)
        cluster.move_keys(slot, to)
        await replies.until(1)
        cluster.end_move(slot, to)
        await store.close()
        return [waited, list(replies)]

    assert run(scene()) == [[], [[b"1", b"2"]]]


def test_a_call_is_asked_for_as_often_as_it_takes(cluster: Cluster, slot: int) -> None:
    one, two = f"{{{TAG}}}one", f"{{{TAG}}}two"

    async def scene() -> list[Any]:
        store = await opened(cluster.url, deadline_ms=20_000)
        to = away(cluster, slot)
        cluster.begin_move(slot, to)
        replies = Replies()
        store.call(slot, pack("MGET", one, two), replies)  # ASK here, TRYAGAIN there: neither key exists
        await until(lambda: store.retried >= 12)
        for key in (one, two):
            await store.execute(slot, "SET", key, "new")  # one key: ASK is enough
        await replies.until(1)
        cluster.end_move(slot, to)
        await store.close()
        return list(replies)

    assert run(scene()) == [[b"new", b"new"]]


def test_a_call_with_keys_on_both_sides_ends_at_its_deadline(cluster: Cluster, slot: int) -> None:
    one, two = f"{{{TAG}}}one", f"{{{TAG}}}two"

    async def scene() -> Any:
        store = await opened(cluster.url, deadline_ms=100)
        to = away(cluster, slot)
        await store.execute(slot, "MSET", one, 1, two, 2)
        cluster.begin_move(slot, to)
        cluster.move_keys(slot, to, [one])
        replies = Replies()
        store.call(slot, pack("MGET", one, two), replies)
        await replies.until(1)
        cluster.move_keys(slot, to)
        cluster.end_move(slot, to)
        await store.close()
        return replies[0]

    fault = run(scene())
    assert isinstance(fault, StoreError)
    assert fault.code in {"TRYAGAIN", "ASK"}


def test_no_call_is_lost_or_counted_twice_while_the_slot_moves_both_ways(cluster: Cluster, slot: int) -> None:
    async def scene() -> list[Any]:
        store = await opened(cluster.url, library=LIBRARY, deadline_ms=20_000)
        home, other = cluster.owner(slot), away(cluster, slot)
        replies, sent = Replies(), 0
        loads = asyncio.Event()

        async def load() -> None:
            nonlocal sent
            while not loads.is_set():
                for _ in range(20):
                    store.call(slot, pack("FCALL", "try_1", 1, TAG, 1), replies)
                    sent += 1
                await replies.until(sent - 100)
                await asyncio.sleep(0.001)

        running = asyncio.create_task(load())
        for to in (other, home, other, home):
            await asyncio.to_thread(cluster.move, slot, to)
        loads.set()
        await running
        await replies.until(sent)
        final = await store.execute(slot, "GET", TAG)
        await store.close()
        return [set(kinds(replies)), sorted(replies) == list(range(1, sent + 1)), int(final) == sent]

    assert run(scene()) == [{"int"}, True, True]


def test_a_function_missing_on_the_new_master_is_loaded_there(cluster: Cluster, slot: int) -> None:
    async def scene() -> list[Any]:
        store = await opened(cluster.url, library=LIBRARY)
        seen = [await store.execute(slot, "FCALL", "try_1", 1, TAG, 1)]
        await asyncio.to_thread(cluster.move, slot, away(cluster, slot))
        seen.append(await store.execute(slot, "FCALL", "try_1", 1, TAG, 1))
        await store.close()
        return seen

    assert run(scene()) == [1, 2]


def test_one_dead_master_leaves_the_slots_of_the_others_alone() -> None:
    with Cluster() as cluster:
        for index in range(3):
            cluster.client(index).config_set("cluster-require-full-coverage", "no")

        async def scene() -> list[Any]:
            store = await opened(cluster.url, deadline_ms=100)
            cluster.nodes[0].kill()
            await until(lambda: not store.ready)
            replies = Replies()
            store.call(0, pack("PING"), replies)
            living = await store.execute(16_383, "INCR", "living")
            await replies.until(1)
            down = [store.incarnation(0), bool(store.incarnation(16_383))]
            cluster.nodes[0].launch()
            await until(lambda: store.ready)
            back = bool(store.incarnation(0))
            await store.close()
            return [kinds(replies), living, down, back]

        key_slot = cluster.client(0).execute_command("CLUSTER KEYSLOT", "living")
        assert cluster.owner(key_slot) != 0
        assert run(scene()) == [["LinkDown"], 1, ["", True], True]


def test_a_seed_that_is_away_is_passed_over(cluster: Cluster) -> None:
    url = cluster.url.replace("cluster://", "cluster://127.0.0.1:1,")
    assert len(run(_masters(url))) == 3


async def _masters(url: str) -> list[str]:
    store = await opened(url)
    masters = store.masters()
    await store.close()
    return masters


def test_a_single_server_is_no_cluster(valkey: RealValkey) -> None:
    with pytest.raises(StoreRefused, match="use redis://"):
        run(opened(f"cluster://127.0.0.1:{valkey.port}"))


def test_a_cut_link_of_a_cluster_comes_back(cluster: Cluster) -> None:
    """The seed is behind the proxy; the cluster's own addresses are not: the links survive the seed."""
    with CuttingProxy(cluster.nodes[0].port) as proxy:

        async def scene() -> list[Any]:
            store: Store = await opened(f"cluster://127.0.0.1:{proxy.port}")
            proxy.cut_now()
            found = await store.execute(0, "PING")
            await store.close()
            return [found, len(parse(cluster.url, {}).endpoints)]

        assert run(scene()) == [b"PONG", 3]


def test_slots_without_a_host_are_where_we_asked() -> None:
    reply = [[0, 10, [b"", 7000, b"id", []]], [11, 20, [None, 7001, b"id"]], [21, 30, [b"::1", 7000, b"id"]]]
    assert [share.endpoint.name for share in read_slots(reply, "asked")] == [
        "asked:7000",
        "asked:7001",
        "[::1]:7000",
    ]
