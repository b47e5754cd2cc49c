"""Sentinel: the master is asked for, a failover is followed, a demoted master is left."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ocs.balance.addresses import parse
from ocs.balance.link import LinkDown
from ocs.balance.store import Store
from tests.real_valkey import RealValkey
from tests.unit.balance.test_store import opened, run, until


class Watched(NamedTuple):
    master: RealValkey
    replica: RealValkey
    sentinel: RealValkey
    url: str


def _until(holds: Any) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        if time.monotonic() > give_up:
            raise RuntimeError("never came true")
        time.sleep(0.02)


@pytest.fixture
def watched() -> Iterator[Watched]:
    quick = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
    with RealValkey(settings=quick) as master, RealValkey(settings=quick) as replica:
        replica.client().replicaof("127.0.0.1", master.port)
        _until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        with RealValkey("--sentinel", sentinel=True) as sentinel:
            asked = sentinel.client()
            asked.execute_command("SENTINEL MONITOR", "ours", "127.0.0.1", master.port, 1)
            for name, value in (("down-after-milliseconds", 500), ("failover-timeout", 2000)):
                asked.execute_command("SENTINEL SET", "ours", name, value)
            _until(lambda: _replicas_known(sentinel) == 1)
            yield Watched(master, replica, sentinel, f"sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/ours")


def _replicas_known(sentinel: RealValkey) -> int:
    """How many replicas the Sentinel has found behind the master, read raw: redis-py renames what it parses."""
    with sentinel.client(protocol=2) as asked:
        link = asked.connection_pool.get_connection()
        try:
            link.send_command("SENTINEL", "MASTER", "ours")
            flat = link.read_response()
        finally:
            asked.connection_pool.release(link)
    return int(flat[flat.index(b"num-slaves") + 1])


def test_the_master_is_found_through_the_sentinel_that_answers(watched: Watched) -> None:
    async def scene() -> list[Any]:
        store = await opened(watched.url)
        await store.execute(9, "SET", "k", "v")
        masters = store.masters()
        await store.close()
        return masters

    assert run(scene()) == [f"127.0.0.1:{watched.master.port}"]


def test_a_failover_is_followed_to_another_incarnation(watched: Watched) -> None:
    async def scene() -> list[Any]:
        store = await opened(watched.url, deadline_ms=20_000)
        await store.execute(0, "INCR", "n")
        before = store.incarnation(0)
        replicated = await store.execute(0, "WAIT", 1, 5000)
        watched.master.kill()
        await until(lambda: not store.ready)
        seen = await store.execute(0, "INCR", "n")  # parked until the new master is found
        after = store.incarnation(0)
        masters = store.masters()
        await store.close()
        return [replicated, seen, before != after, masters]

    assert run(scene()) == [1, 2, True, [f"127.0.0.1:{watched.replica.port}"]]


def test_a_master_that_was_demoted_under_us_is_left_without_losing_the_call(watched: Watched) -> None:
    async def scene() -> list[Any]:
        store = await opened(watched.url, deadline_ms=20_000)
        await store.execute(0, "INCR", "n")
        await store.execute(0, "WAIT", 1, 5000)
        watched.replica.client().replicaof("NO", "ONE")
        watched.sentinel.client().execute_command("SENTINEL REMOVE", "ours")
        watched.sentinel.client().execute_command(
            "SENTINEL MONITOR", "ours", "127.0.0.1", watched.replica.port, 1
        )
        watched.master.client().replicaof("127.0.0.1", watched.replica.port)
        seen = await store.execute(0, "INCR", "n")
        masters = store.masters()
        await store.close()
        return [seen, masters]

    assert run(scene()) == [2, [f"127.0.0.1:{watched.replica.port}"]]


def test_an_unknown_master_name_is_told(watched: Watched) -> None:
    store = Store(parse(watched.url.replace("/ours", "/theirs"), {}))
    with pytest.raises(LinkDown, match="knows no master named 'theirs'"):
        run(store.open(wait_ms=300))
