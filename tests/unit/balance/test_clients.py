import asyncio
from typing import Any

import pytest
import redis

from ocs.balance.addresses import parse
from ocs.balance.clients import async_client, client
from ocs.balance.link import StoreRefused
from tests.cluster import Cluster
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey

FAULTS = ["cut_before", "cut_after"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_over_a_cut_link_is_sent_exactly_once(valkey: RealValkey, fault: str) -> None:
    with CuttingProxy(valkey.port) as proxy:
        getattr(proxy, fault)("INCRBY")
        with client(parse(proxy.url, {})) as link, pytest.raises(redis.ConnectionError):
            link.incr("n")
        assert proxy.calls["INCRBY"] == 1
        assert int(valkey.client().get("n") or 0) == FAULTS.index(fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_asyncio_call_over_a_cut_link_is_sent_exactly_once(valkey: RealValkey, fault: str) -> None:
    async def scene(url: str) -> None:
        async with async_client(parse(url, {})) as link:
            await link.incr("n")

    with CuttingProxy(valkey.port) as proxy:
        getattr(proxy, fault)("INCRBY")
        with pytest.raises(redis.ConnectionError):
            asyncio.run(scene(proxy.url))
        assert proxy.calls["INCRBY"] == 1
        assert int(valkey.client().get("n") or 0) == FAULTS.index(fault)


def test_a_plain_client_sends_it_more_than_once_so_the_proxy_can_tell(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:
        proxy.cut_after("INCRBY")
        with redis.Redis(port=proxy.port) as link:
            link.incr("n")
        assert proxy.calls["INCRBY"] > 1


def test_clients_reach_a_cluster_and_a_socket(cluster: Cluster, valkey: RealValkey) -> None:
    for url in (cluster.url, valkey.socket_url):
        with client(parse(url, {}), decode=True) as link:
            link.set("k", "v")
            assert link.get("k") == "v"


def test_asyncio_clients_reach_a_cluster(cluster: Cluster) -> None:
    async def scene() -> Any:
        async with async_client(parse(cluster.url, {})) as link:
            await link.set("k", "v")
            return await link.get("k")

    assert asyncio.run(scene()) == b"v"


def test_embedded_is_no_address_of_a_client() -> None:
    with pytest.raises(StoreRefused, match="embedded"):
        client(parse("embedded:", {}))
