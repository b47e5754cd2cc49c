"""The link to the store is cut and stalled under load; what is unknown is resolved by replaying the same key (law 7)."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cutting_proxy import CuttingProxy
from tests.faults.scene import scene
from tests.real_valkey import RealValkey

Fault = Callable[[CuttingProxy, int], None]


def cut_before(proxy: CuttingProxy, nth: int) -> None:
    proxy.cut_before("FCALL", nth)


def cut_after(proxy: CuttingProxy, nth: int) -> None:
    proxy.cut_after("FCALL", nth)


def stall(proxy: CuttingProxy, nth: int) -> None:
    proxy.stall("FCALL", nth)


def half_open(proxy: CuttingProxy, nth: int) -> None:
    proxy.half_open("FCALL", nth)


def cut_all(proxy: CuttingProxy, _nth: int) -> None:
    proxy.cut_now()


FAULTS: tuple[Fault, ...] = (cut_before, cut_after, cut_all, stall, half_open, cut_after, cut_all)


@pytest.mark.slow
def test_the_link_is_cut_and_stalled_under_load(durable_valkey: RealValkey, tmp_path: Path) -> None:
    async def play() -> None:
        with CuttingProxy(durable_valkey.port) as proxy:
            async with scene(tmp_path, store=proxy.url, workers=1) as on:
                on.begin()
                for fault in FAULTS:
                    await on.traffic.until(80)
                    connections = proxy.connections
                    fault(proxy, 37)
                    while proxy.connections == connections:  # it has struck, and the link has come back
                        await on.traffic.until(1)
                await on.traffic.until(100)

                assert await on.verdict() == []

                assert on.ledger.counts["unanswered"] == 0  # peers are answered whatever the store does
                assert all(element.connections == 1 for element in on.elements)
                assert await on.server.stop() == 0

    asyncio.run(play())
