"""What one pipelined call costs: our link and store beside redis-py asyncio, same machine, same run, same server.

Figures are microseconds of this process's CPU per call, callbacks included, the server not; the smallest of
several rounds, taken in turns, so that a neighbour's load hits all alike. Budget: `Store.call` at most BUDGET_MICROS.

    python -m loadtests.bench_link [--calls N] [--window W] [--json]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from ocs.balance.addresses import Address
from ocs.balance.clients import async_client
from ocs.balance.embedded import Embedded
from ocs.balance.link import Link, pack
from ocs.balance.store import Store

BUDGET_MICROS = 5.0
ROUNDS = 3
VALUE = "x" * 300  # about what a charge's arguments weigh
CHARGE = ("SET", "bench", VALUE)
SLOT = 0
REDIS_POOL_MAX = (
    100  # connections of redis-py's pool: one more task, and a call fails with "Too many connections"
)


async def closed_loop(call: Callable[[Callable[[Any], None]], None], calls: int, window: int) -> None:
    """Keep `window` calls in flight until `calls` are answered."""
    finished = asyncio.get_running_loop().create_future()
    sent = answered = 0

    def done(reply: Any) -> None:
        nonlocal sent, answered
        if isinstance(reply, Exception):
            finished.set_exception(reply)
            return
        answered += 1
        if sent < calls:
            sent += 1
            call(done)
        elif answered == calls:
            finished.set_result(None)

    sent = min(window, calls)
    for _ in range(sent):
        call(done)
    await finished


async def over_link(address: Address, calls: int, window: int) -> float:
    """One link, commands packed each time, as a charge is."""
    link = Link(address.endpoints[0], address)
    await link.connect()
    try:
        return await _micros(closed_loop(lambda done: link.call(pack(*CHARGE), done), calls, window), calls)
    finally:
        link.close()


async def over_store(address: Address, calls: int, window: int) -> float:
    """The whole road: routing by slot, then the link."""
    store = Store(address)
    await store.open()
    try:
        return await _micros(
            closed_loop(lambda done: store.call(SLOT, pack(*CHARGE), done), calls, window), calls
        )
    finally:
        await store.close()


async def over_redis_pipeline(address: Address, calls: int, window: int) -> float:
    """redis-py asyncio at its best: explicit pipelines of a whole window, all replies awaited together."""
    async with async_client(address) as client:

        async def batches() -> None:
            for _ in range(calls // window):
                pipe = client.pipeline(transaction=False)
                for _ in range(window):
                    pipe.execute_command(*CHARGE)
                await pipe.execute()

        await client.ping()
        return await _micros(batches(), calls // window * window)


async def over_redis_calls(address: Address, calls: int, window: int) -> float:
    """redis-py asyncio as it is mostly used: `window` tasks, each awaiting its own calls on a pooled connection."""
    async with async_client(address) as client:
        window = min(window, REDIS_POOL_MAX)

        async def one_after_another(count: int) -> None:
            for _ in range(count):
                await client.execute_command(*CHARGE)

        async def tasks() -> None:
            await asyncio.gather(*(one_after_another(calls // window) for _ in range(window)))

        await tasks()  # connections are made once, outside the measure
        return await _micros(tasks(), calls // window * window)


async def _micros(work: Awaitable[None], calls: int) -> float:
    begun = time.process_time_ns()
    await work
    return (time.process_time_ns() - begun) / 1000 / calls


ROADS: dict[str, Callable[[Address, int, int], Awaitable[float]]] = {
    "ours: Link.call": over_link,
    "ours: Store.call": over_store,
    "redis-py asyncio: pipelines": over_redis_pipeline,
    "redis-py asyncio: a task per call": over_redis_calls,
}


def measure(calls: int, window: int) -> dict[str, float]:
    """Measure every road in turns on one embedded store; the smallest counts."""
    found: dict[str, list[float]] = {road: [] for road in ROADS}
    with (
        tempfile.TemporaryDirectory() as folder,
        Embedded.start_or_adopt(Path(folder) / "store", "everysec") as store,
    ):
        for _ in range(ROUNDS):
            for road, work in ROADS.items():
                count = calls // 10 if "task per call" in road else calls
                found[road].append(uvloop.run(_awaited(work(store.address, count, window))))
    return {road: round(min(micros), 2) for road, micros in found.items()}


async def _awaited(work: Awaitable[float]) -> float:
    return await work


def main() -> int:
    """Print the figures; 1 when the budget is broken."""
    parser = argparse.ArgumentParser(description="CPU of one pipelined call")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    micros = measure(options.calls, options.window)
    if options.json:
        print(json.dumps({"unit": "CPU µs per call", "window": options.window, "roads": micros}))
    else:
        for road, cost in micros.items():
            print(f"{road:36} {cost:8.2f} µs CPU per call, window {options.window}")
    over = micros["ours: Store.call"] > BUDGET_MICROS
    if over:
        print(f"over budget: Store.call may cost {BUDGET_MICROS} µs", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
