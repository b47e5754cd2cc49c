"""The fast top-up channels: so many HTTP connections, each of which tops up, waits for the answer, and tops up again (closed loop).

    LOAD_KEY=ocs_… python -m loadtests.channels --address 127.0.0.1:8080 --connections 8 --seconds 10 \
        --first 491700000000 --subscribers 20000

Laws
1. It runs in a process of its own, shares no code with the server, and speaks as much HTTP/1.1 as it needs: the client of a library
   costs more processor time than the server that it is to load.
2. Each top-up is new (an id of its own) and for the next subscriber; a latency counts from sending to the answer's last octet.
3. After the measured window it loads on for `--trail-seconds`, uncounted: whoever measures beside it is not alone at the end.

It prints JSON lines as the generator does: {"event": "measuring"}, {"event": "measured"}, then the result.
"""

import argparse
import asyncio
import gc
import os
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple, cast

import uvloop

from loadtests.generator import ANSWER_SECONDS_MAX, say
from loadtests.tally import percentiles

KEY = "LOAD_KEY"
"""The environment's name for the API key: a command line can be read by everybody on the machine."""
PATH = "/tmf-api/prepayBalanceManagement/v4/topupBalance"
CREATED = 201
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Plan(NamedTuple):
    """What a run does."""

    host: str
    port: int
    connections: int
    warm_seconds: float
    seconds: float
    trail_seconds: float
    first: int
    subscribers: int


class Bodies:
    """Requests, one after the other: the head is the same, the id is new each time, the number is the next subscriber's."""

    def __init__(self, plan: Plan, key: str) -> None:
        self._host, self._key = f"{plan.host}:{plan.port}", key
        self._plan = plan
        self._stamp = f"{time.time_ns():x}"
        self._numbers = count()

    def next(self) -> bytes:
        """Build the next request."""
        number = next(self._numbers)
        msisdn = self._plan.first + number % self._plan.subscribers
        body = (
            f'{{"id":"l-{self._stamp}-{number}","amount":{{"amount":1.25,"units":"EUR"}},"usageType":"monetary",'
            f'"logicalResource":[{{"id":"{msisdn}"}}]}}'
        )
        return (
            f"POST {PATH} HTTP/1.1\r\nhost: {self._host}\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()


class Channel(asyncio.Protocol):
    """One connection: one top-up under way, always."""

    def __init__(self, ask: Callable[[], bytes | None], seen: Callable[[int, int, int], None]) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.busy = False
        self._ask, self._seen = ask, seen
        self._transport: asyncio.Transport | None = None
        self._sent_ns = 0
        self._octets = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note the end; an answer that is owed does not come any more."""
        self._transport = None
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take the answer once it is whole, and send the next request."""
        octets = self._octets = self._octets + data if self._octets else data
        head = octets.find(_END)
        if head < 0 or len(octets) < head + len(_END) + length_of(octets[:head]):
            return
        self._octets, self.busy = b"", False
        self._seen(int(octets[9:12]), self._sent_ns, time.perf_counter_ns())
        self._next()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        request = self._ask()
        if request is not None and self._transport is not None:
            self.busy = True
            self._sent_ns = time.perf_counter_ns()
            self._transport.write(request)


def length_of(head: bytes) -> int:
    """Return the length of an answer's body, from its head; raises ValueError where it does not tell: its connection ends."""
    lower = head.lower()
    at = lower.find(_LENGTH)
    if at < 0:
        raise ValueError(f"an answer without content-length: {head!r}")
    return int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0])


class Run:
    """All channels, and the clock of the run."""

    def __init__(self, plan: Plan, key: str) -> None:
        self.plan = plan
        self._bodies = Bodies(plan, key)
        self._codes: Counter[int] = Counter()
        self._latencies_us = array("I")
        self._sending, self._counting = True, False

    async def run(self) -> dict[str, Any]:
        """Load the server as planned and return the result."""
        plan, loop = self.plan, asyncio.get_running_loop()
        channels = [Channel(self._ask, self._seen) for _ in range(plan.connections)]
        for channel in channels:
            await loop.create_connection(lambda each=channel: each, plan.host, plan.port)  # type: ignore[misc]
        await asyncio.sleep(plan.warm_seconds)
        began_ns, began_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        self._counting = True
        say({"event": "measuring"})
        await asyncio.sleep(plan.seconds)
        self._counting = False
        seconds = (time.perf_counter_ns() - began_ns) / 1e9
        cpu_us = (time.process_time_ns() - began_cpu_ns) / 1e3
        say({"event": "measured"})
        await asyncio.sleep(plan.trail_seconds)
        self._sending = False
        give_up = time.monotonic() + ANSWER_SECONDS_MAX
        while any(each.busy and not each.gone.done() for each in channels) and time.monotonic() < give_up:  # noqa: ASYNC110 - once a run
            await asyncio.sleep(0.01)
        lost = sum(each.busy or each.gone.done() for each in channels)
        for channel in channels:
            channel.close()
        return {
            "seconds": seconds,
            "generator_us": cpu_us,
            "answers": sum(self._codes.values()),
            "codes": {str(code): number for code, number in sorted(self._codes.items())},
            "unanswered": lost,
            "latency_us": percentiles(sorted(self._latencies_us)),
        }

    def _ask(self) -> bytes | None:
        return self._bodies.next() if self._sending else None

    def _seen(self, code: int, sent_ns: int, now_ns: int) -> None:
        if self._counting:
            self._codes[code] += 1
            self._latencies_us.append((now_ns - sent_ns) // 1000)


def read_plan(arguments: list[str] | None = None) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=f"Top up in a closed loop; the API key is read from {KEY}.")
    parser.add_argument("--address", required=True, help="HOST:PORT of the HTTP API")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--warm-seconds", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--trail-seconds", type=float, default=0.0)
    parser.add_argument("--first", type=int, required=True, help="first MSISDN")
    parser.add_argument("--subscribers", type=int, required=True, help="consecutive MSISDNs")
    given = parser.parse_args(arguments)
    host, _, port = given.address.rpartition(":")
    if given.connections < 1 or given.subscribers < 1:
        parser.error("at least one connection and one subscriber")
    return Plan(
        host.strip("[]"), int(port), given.connections, given.warm_seconds, given.seconds, given.trail_seconds,
        given.first, given.subscribers,
    )  # fmt: skip


def main() -> int:
    """Run the load and print the result as the last line."""
    plan = read_plan()
    gc.disable()  # as the generator does
    try:
        result = uvloop.run(Run(plan, os.environ.get(KEY, "")).run())
    except (OSError, TimeoutError, ValueError) as fault:
        say({"event": "failed", "why": str(fault) or type(fault).__name__})
        return 1
    say({"event": "result", **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
