"""The fast generator: packet gateways that load a Diameter server with charging sessions (I, 3 × U, T), open or closed loop.

    python -m loadtests.generator --address 127.0.0.1:3868 --mode closed --window 256 --seconds 10 \
        --first 491700000000 --subscribers 20000

Laws
1. It runs in a process of its own and shares no code with the server.
2. Open loop: requests leave by a plan (Poisson, seeded), whether or not earlier ones are answered, and a latency counts
   from the moment the plan says: a server that stalls is charged for all that had to wait (coordinated omission).
3. Closed loop: so many requests are under way, always; a latency counts from sending.
4. Sessions are picked at random among the open ones, so that the kinds of request stay mixed as in life.
5. Hop-by-hop ids differ between connections, for servers that mix them up.

It prints JSON lines: {"event": "measuring"}, {"event": "measured"} at the edges of the measured window, then the result.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, cast

import uvloop

from loadtests import tally
from loadtests.moulds import GRANTED, ORIGIN_HOST, ORIGIN_REALM, RESULT_CODE, Avp, Moulds, message
from loadtests.tally import Tally

SESSION_UPDATES = 3
IMSI_PREFIX = "26201"
ANSWER_SECONDS_MAX = 5.0
"""How long answers are waited for at the end (CLIENTS 22)."""
TICK_SECONDS = 0.001
SUCCESS = 2001
_GRANT = GRANTED.to_bytes(4, "big")
_CCR, _CER, _DWR, _DPR = 272, 257, 280, 282
_LAST_STEP = SESSION_UPDATES + 1


class Subscriber(NamedTuple):
    """A subscriber's identities, as octets."""

    imsi: bytes
    msisdn: bytes


class Session:
    """One charging session: what comes next, and of whom."""

    __slots__ = ("cold", "session_id", "step", "subscriber")

    def __init__(self, session_id: bytes, subscriber: Subscriber, *, cold: bool) -> None:
        self.session_id = session_id
        self.subscriber = subscriber
        self.step = 0
        self.cold = cold

    @property
    def kind(self) -> int:
        """Return the kind of the request under way, as the tally counts it."""
        if self.step == 0:
            return tally.COLD if self.cold else tally.INITIAL
        return tally.UPDATE if self.step < _LAST_STEP else tally.TERMINATION


class Plan(NamedTuple):
    """What a run does; `rate` is 0 in a closed loop."""

    host: str
    port: int
    connections: int
    window: int
    rate: float
    sessions: int
    warm_seconds: float
    seconds: float
    first: int
    subscribers: int
    seed: int


class Gateway(asyncio.Protocol):
    """One connection: a packet gateway with its own Origin-Host, subscribers and sessions."""

    def __init__(
        self, place: int, plan: Plan, run_stamp: int, on_answer: Callable[["Gateway"], None]
    ) -> None:
        self.origin_host = b"s%02d.example.org" % place
        self.inflight: dict[int, tuple[int, Session]] = {}
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tally: Tally | None = None
        self.counts_from_ns = 0
        self._on_answer = on_answer
        self._moulds = Moulds.of(self.origin_host, len(str(plan.first)))
        self._stamp = b"%s;%08x" % (self.origin_host, run_stamp)
        self._subscribers = subscribers(plan, place)
        self._sessions_wanted = max(1, plan.sessions // plan.connections)
        self._sessions_made = 0
        self._open = 0
        self._idle: list[Session] = []
        self._random = Random(plan.seed * 1000 + place)
        self._next_id = (place + 1) << 24
        self._out: list[bytes] = []
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    # -- asking

    def ask(self, due_ns: int) -> None:
        """Send the next request of some session; its latency counts from `due_ns`."""
        idle = self._idle
        if idle and self._open >= self._sessions_wanted:
            at = int(self._random.random() * len(idle))
            session = idle[at]
            idle[at] = idle[-1]
            idle.pop()
        else:
            session = self._new_session()
        step = session.step
        mould = self._moulds[0 if step == 0 else 1 if step < _LAST_STEP else 2]
        self._next_id = number = self._next_id + 1
        self.inflight[number] = (due_ns, session)
        self._write(
            mould.fill(
                number.to_bytes(4, "big") * 2,
                session.session_id,
                step.to_bytes(4, "big"),
                session.subscriber.imsi,
                session.subscriber.msisdn,
            )
        )

    def _new_session(self) -> Session:
        made = self._sessions_made
        self._sessions_made += 1
        self._open += 1
        owner = self._subscribers[made % len(self._subscribers)]
        cold = made < len(self._subscribers)
        return Session(b"%s;%07d;gy" % (self._stamp, made), owner, cold=cold)

    def _write(self, octets: bytes) -> None:
        """Write together what one turn of the loop produces."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(octets)

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # -- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open with a CER."""
        self._transport = cast("asyncio.Transport", transport)
        self._write(exchange(self.origin_host))

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything that waits on this connection."""
        self._transport = None
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"no capabilities exchange: {exc}"))
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take every whole message."""
        octets = self._rest + data if self._rest else data
        now_ns = time.perf_counter_ns()
        at, total = 0, len(octets)
        while total - at >= 4:
            end = at + int.from_bytes(octets[at + 1 : at + 4], "big")
            if end > total:
                break
            self._take(octets[at:end], now_ns)
            at = end
        self._rest = octets[at:]

    def _take(self, frame: bytes, now_ns: int) -> None:
        command, request = int.from_bytes(frame[5:8], "big"), frame[4] & 0x80
        if command == _CCR and not request:
            self._answered(frame, now_ns)
        elif command == _CER and not request:
            code = result_code(frame)
            if code == SUCCESS:
                self.opened.set_result(None)
            else:
                self.opened.set_exception(ConnectionError(f"capabilities exchange answered {code}"))
        elif request and command in {_DWR, _DPR}:
            self._write(answer_base(frame, self.origin_host))

    def _answered(self, frame: bytes, now_ns: int) -> None:
        found = self.inflight.pop(int.from_bytes(frame[12:16], "big"), None)
        if found is None:
            return
        due_ns, session = found
        code = result_code(frame)
        seen = self.tally
        if seen is not None and due_ns >= self.counts_from_ns:
            seen.codes[code] += 1
            seen.latencies_us[session.kind].append((now_ns - due_ns) // 1000)
            if session.step < _LAST_STEP and code == SUCCESS and _GRANT not in frame:
                seen.ungranted += 1
        session.step += 1
        if code == SUCCESS and session.step <= _LAST_STEP:
            self._idle.append(session)
        else:
            self._open -= 1
        self._on_answer(self)

    async def leave(self) -> None:
        """Say goodbye (DPR) and wait until the server has closed, or a second has passed."""
        if self._transport is None:
            return
        body = [Avp(273, 0x40, 0, bytes(4))]
        self._write(message(header(0x80, _DPR, 1), origin(self.origin_host) + body))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.gone), 1)
        if self._transport is not None:
            self._transport.close()


def subscribers(plan: Plan, place: int) -> list[Subscriber]:
    """Return the subscribers of one gateway: every n-th of the consecutive numbers, with the IMSI that `ocs subscriber bulk` gives."""
    numbers = range(plan.first + place, plan.first + plan.subscribers, plan.connections)
    return [
        Subscriber(f"{IMSI_PREFIX}{str(number)[-10:]}".encode(), str(number).encode()) for number in numbers
    ]


# ---------------------------------------------------------------- the base protocol, as far as a client needs it


def header(flags: int, command: int, ids: int) -> bytes:
    """Return a header of the base protocol; message() puts the length right."""
    return b"\x01\0\0\0" + bytes([flags]) + command.to_bytes(3, "big") + bytes(4) + ids.to_bytes(4, "big") * 2


def origin(host: bytes) -> list[Avp]:
    """Return Origin-Host and Origin-Realm."""
    return [Avp(ORIGIN_HOST, 0x40, 0, host), Avp(ORIGIN_REALM, 0x40, 0, b"example.org")]


def exchange(host: bytes) -> bytes:
    """Return a CER of a credit-control client (RFC 6733 section 5.3.1)."""
    avps = [
        *origin(host),
        Avp(257, 0x40, 0, b"\x00\x01\x7f\x00\x00\x01"),
        Avp(266, 0x40, 0, (10415).to_bytes(4, "big")),
        Avp(269, 0, 0, b"load"),
        Avp(258, 0x40, 0, (4).to_bytes(4, "big")),
    ]
    return message(header(0x80, _CER, 1), avps)


def answer_base(frame: bytes, host: bytes) -> bytes:
    """Return the answer to a DWR or DPR: 2001, under our name."""
    head = frame[:4] + bytes([frame[4] & 0x7F]) + frame[5:20]
    return message(head, [Avp(RESULT_CODE, 0x40, 0, SUCCESS.to_bytes(4, "big")), *origin(host)])


def result_code(frame: bytes) -> int:
    """Return the Result-Code of an answer's top level; 0 when there is none."""
    at, end = 20, len(frame)
    while at < end:
        if frame[at : at + 4] == b"\x00\x00\x01\x0c":
            return int.from_bytes(frame[at + 8 : at + 12], "big")
        length = int.from_bytes(frame[at + 5 : at + 8], "big")
        at += max(8, length + -length % 4)
    return 0


# ---------------------------------------------------------------- the run


class Run:
    """All gateways, and the clock of the run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self.gateways: list[Gateway] = []
        self._sending = True

    async def run(self) -> dict[str, Any]:
        """Load the server as planned and return the result."""
        plan = self.plan
        loop = asyncio.get_running_loop()
        stamp = int(time.time()) & 0xFFFFFFFF
        on_answer = self._again if plan.rate == 0 else _rest
        self.gateways = [Gateway(place, plan, stamp, on_answer) for place in range(plan.connections)]
        for gateway in self.gateways:
            await loop.create_connection(lambda each=gateway: each, plan.host, plan.port)  # type: ignore[misc]
            await asyncio.wait_for(gateway.opened, ANSWER_SECONDS_MAX)
        measured = await (self._open_loop() if plan.rate else self._closed_loop())
        for gateway in self.gateways:
            if gateway.gone.done():
                raise ConnectionError(f"the server closed the connection of {gateway.origin_host.decode()}")
        await asyncio.gather(*[gateway.leave() for gateway in self.gateways])
        sizes = [mould.octets for mould in Moulds.of(self.gateways[0].origin_host, len(str(plan.first)))]
        return {"request_octets": sizes, **measured, **self.tally.summed()}

    def _again(self, gateway: Gateway) -> None:
        """Closed loop: an answer lets the next request out."""
        if self._sending:
            gateway.ask(time.perf_counter_ns())

    async def _closed_loop(self) -> dict[str, Any]:
        """Keep so many requests under way; what is answered inside the window counts."""
        plan = self.plan
        for gateway in self.gateways:
            for _ in range(max(1, plan.window // plan.connections)):
                gateway.ask(time.perf_counter_ns())
        await asyncio.sleep(plan.warm_seconds)
        self._measure(0)
        began_ns, began_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        say({"event": "measuring"})
        await asyncio.sleep(plan.seconds)
        for gateway in self.gateways:
            gateway.tally = None
        self._sending = False
        seconds = (time.perf_counter_ns() - began_ns) / 1e9
        cpu_us = (time.process_time_ns() - began_cpu_ns) / 1e3
        say({"event": "measured"})
        await self._settle()
        return {"seconds": seconds, "generator_us": cpu_us}

    async def _open_loop(self) -> dict[str, Any]:
        """Send by the plan; what is due inside the window counts, whenever its answer comes."""
        plan, gateways = self.plan, self.gateways
        draw, mean_ns = Random(plan.seed).expovariate, 1e9 / plan.rate
        due_ns, turn = float(time.perf_counter_ns()), 0
        start_ns = due_ns + plan.warm_seconds * 1e9
        end_ns = start_ns + plan.seconds * 1e9
        self._measure(int(start_ns))
        began_cpu_ns = 0
        while due_ns < end_ns:
            now_ns = time.perf_counter_ns()
            if now_ns >= start_ns and not began_cpu_ns:
                began_cpu_ns = time.process_time_ns()
                say({"event": "measuring"})
            until_ns = min(now_ns, end_ns)
            while due_ns <= until_ns:
                gateways[turn % len(gateways)].ask(int(due_ns))
                turn += 1
                if due_ns >= start_ns:
                    self.tally.behind_us.append(max(0, time.perf_counter_ns() - int(due_ns)) // 1000)
                due_ns += draw(1.0) * mean_ns
            await asyncio.sleep(TICK_SECONDS)
        cpu_us = (time.process_time_ns() - began_cpu_ns) / 1e3
        say({"event": "measured"})
        await self._settle()
        return {"seconds": plan.seconds, "generator_us": cpu_us}

    def _measure(self, from_ns: int) -> None:
        """Count from now on what was due at or after a moment."""
        for gateway in self.gateways:
            gateway.tally, gateway.counts_from_ns = self.tally, from_ns

    async def _settle(self) -> None:
        """Wait for the answers that are still under way; what does not come counts as unanswered."""
        give_up = time.monotonic() + ANSWER_SECONDS_MAX
        # asked a hundred times a second, once a run: an event would cost the hot path more
        while any(gateway.inflight for gateway in self.gateways) and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.tally.unanswered = sum(len(gateway.inflight) for gateway in self.gateways)


def _rest(_gateway: Gateway) -> None:
    """Open loop: an answer lets nothing out."""


def say(line: dict[str, Any]) -> None:
    """Tell the bench, at once."""
    print(json.dumps(line), flush=True)


def read_plan(arguments: list[str] | None = None) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Load a Diameter server with charging sessions.")
    parser.add_argument("--address", required=True, help="HOST:PORT")
    parser.add_argument("--mode", choices=("open", "closed"), default="closed")
    parser.add_argument("--rate", type=float, default=1000.0, help="open loop: requests a second")
    parser.add_argument(
        "--window", type=int, default=256, help="closed loop: requests under way, over all connections"
    )
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=2048, help="sessions that are open at any time")
    parser.add_argument("--warm-seconds", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--first", type=int, required=True, help="first MSISDN")
    parser.add_argument("--subscribers", type=int, required=True, help="consecutive MSISDNs")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    host, _, port = given.address.rpartition(":")
    if not 1 <= given.connections <= min(99, given.subscribers):
        parser.error("connections: 1 to 99, and a subscriber for each")
    if given.mode == "open" and given.rate <= 0:
        parser.error("an open loop needs a rate above 0")
    return Plan(
        host.strip("[]"), int(port), given.connections, given.window, given.rate if given.mode == "open" else 0.0,
        given.sessions, given.warm_seconds, given.seconds, given.first, given.subscribers, given.seed,
    )  # fmt: skip


def main() -> int:
    """Run the load and print the result as the last line."""
    plan = read_plan()
    gc.disable()  # nothing here makes cycles; a collection would be seen as the server's latency
    try:
        result = uvloop.run(Run(plan).run())
    except (OSError, TimeoutError) as fault:
        say({"event": "failed", "why": str(fault) or type(fault).__name__})
        return 1
    say({"event": "result", **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
