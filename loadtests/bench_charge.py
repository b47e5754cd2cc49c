"""The charge function alone: FCALL charge pipelined without Diameter, realistic sessions (I, 3 × U, T).

    python -m loadtests.bench_charge [--sessions 5000] [--durability always|everysec] [--services 1] [--json]

Prints the store's processor time per call by kind of request, the time inside the function, octets of the append-only
file, and the memory of an account and of a session. Beside it the floor: the same commands sent to a function that does
nothing, so that the difference is what the function itself costs.

Commands are made by the Book itself, in batches a moment before they are sent: the function refuses a clock that is
2 s off, and the making is not to be measured. The windows hold 256 calls, as many workers' pipelines would.
"""

import argparse
import asyncio
import json
import random
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from loadtests.gauges import StoreGauge, StoreReading, end_in_order
from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.book import Book
from ocs.balance.embedded import Embedded
from ocs.balance.functions import function, library
from ocs.balance.keys import where
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.plan_text import CODE_AT
from ocs.balance.store import Store
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.clock import SystemClock
from ocs.names import e164, imsi
from ocs.outcomes import Code, Note
from ocs.rating.versions import Tariffs
from ocs.roof.build import read_tariffs, rules_of
from ocs.settings import Settings

WINDOW = 256
BATCH = 4_000
STORE_BUDGET_US = 40.0
MEMORY_BUDGET_OCTETS = 600
FIRST_MSISDN = 491_700_000_000
CREDIT_MICROS = 50_000_000
IDLE = b"#!lua name=idle_bench\nredis.register_function('idle_bench', function(keys, args) return { 14, args[1], 0 } end)"
STEPS = ((INITIAL, 0), (UPDATE, 1), (UPDATE, 2), (UPDATE, 3), (TERMINATION, 4))


class Cost(NamedTuple):
    """What one kind of call costs the store, per call."""

    what: str
    calls: int
    info_us: float
    process_us: float
    function_us: float
    file_octets: float


class _Taking:
    """Stands where the Book expects the store: keeps the commands instead of sending them, and says that all went well."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.charges: list[tuple[int, bytes]] = []
        self.words: list[tuple[int, bytes]] = []
        """What the Book sends beside the charges: where each session lives."""

    def call(self, slot: int, command: bytes, done: Callable[[Any], None], _incarnation: str = "") -> None:
        if b"\r\nFCALL\r\n" in command[:24]:
            self.charges.append((slot, command))
            done(_WELL)
        else:
            self.words.append((slot, command))
            done(b"OK")

    def incarnation(self, slot: int) -> str:
        return self._store.incarnation(slot)


_WELL = [int(Code.SUCCESS), struct.pack("<BI6xBBB", INITIAL, 0, Code.SUCCESS, 0, 0), int(Note.WHERE)]
"""The reply to a request of no service (session.lua, HEAD_FORMAT)."""


class Bench:
    """One store, its subscribers, and the sessions that are charged on it."""

    def __init__(self, store: Store, gauge: StoreGauge, services: int, seed: int) -> None:
        self.clock = SystemClock()
        self.store = store
        self.gauge = gauge
        self.parts = Parts(store, self.clock, 256, 1_000)
        self.accounts = Accounts(self.parts, self.clock)
        self.replies: Counter[int] = Counter()
        self._services = services
        self._random = random.Random(seed)
        self._taking = _Taking(store)
        making = Parts(self._taking, self.clock, 256, 1_000)  # type: ignore[arg-type]  # stands in for the store
        settings = Settings()
        tariffs = Tariffs(read_tariffs(settings.tariffs_folder))
        self._book = Book(making, tariffs, rules_of(settings), self.clock)
        self._making = making
        self._created: list[Account] = []

    async def subscribe(self, count: int) -> None:
        """Create subscribers, many at once; the Book learns what a worker knows of them."""
        numbers = iter(range(FIRST_MSISDN, FIRST_MSISDN + count))

        async def some() -> None:
            for number in numbers:
                new = NewSubscriber(str(number), f"26201{number % 10**10}", "flat-data", "prepaid", "EUR", 0)
                _, account = await self.accounts.create(new)
                self._book.profiles.remember(ids_of(number), account.profile)
                self._created.append(account)

        await asyncio.gather(*[some() for _ in range(64)])
        for partition in range(256):
            self._making._known[partition] = self.parts.known(partition)  # noqa: SLF001 - what a worker has learnt

    async def credit(self) -> None:
        """Top every subscriber up once."""
        accounts = iter(self._created)

        async def some() -> None:
            for account in accounts:
                await self.accounts.topup(account, CREDIT_MICROS, "bench", account.profile.msisdn)

        await asyncio.gather(*[some() for _ in range(64)])

    def commands(self, kind: int, number: int, sessions: range) -> list[tuple[int, bytes]]:
        """Make the commands of one step of many sessions."""
        self._taking.charges, self._taking.words = [], []
        for session in sessions:
            self._book.charge(self._ask(kind, number, session), _nobody)
        if len(self._taking.charges) != len(sessions):
            raise SystemExit("the Book did not send one command for each request")
        return self._taking.charges

    def _ask(self, kind: int, number: int, session: int) -> Ask:
        used = None if kind == INITIAL else Units(self._random.randrange(1_000_000, 9_000_000))
        wanted = None if kind == TERMINATION else Units()
        services = tuple(
            AskedService(str(10 * (each + 1)), 10 * (each + 1), None, used, wanted)
            for each in range(self._services)
        )
        return Ask(
            kind, session_id(session), number, "data", "32251@3gpp.org", ids_of(FIRST_MSISDN + session), services,
            self._random.getrandbits(48), True, "smf.example.org", "example.org",
        )  # fmt: skip

    async def send(self, commands: list[tuple[int, bytes]]) -> None:
        """Send commands with so many in flight as the window allows; counts the codes of the replies."""
        future = asyncio.get_running_loop().create_future()
        source: Iterator[tuple[int, bytes]] = iter(commands)
        left = len(commands)
        replies, call = self.replies, self.store.call

        def done(reply: Any) -> None:
            nonlocal left
            left -= 1
            if isinstance(reply, StoreFault):
                if not future.done():
                    future.set_exception(reply)
                return
            if isinstance(reply, list):
                replies[reply[0]] += 1
            elif len(reply) > CODE_AT:  # an outcome; less is the OK of a SET
                replies[reply[CODE_AT]] += 1
            following = next(source, None)
            if following is not None:
                call(*following, done)
            elif left == 0 and not future.done():
                future.set_result(None)

        for _ in range(min(WINDOW, left)):
            call(*next(source), done)
        await future

    async def measure(
        self, what: str, kind: int, number: int, count: int, change: Callable[[bytes], bytes] | None = None
    ) -> Cost:
        """Send one step of so many sessions, and read what it cost the store."""

        def made(sessions: range) -> list[tuple[int, bytes]]:
            commands = self.commands(kind, number, sessions)
            return commands if change is None else [(slot, change(command)) for slot, command in commands]

        return await self._measure(what, count, made)

    async def measure_where(self, count: int) -> Cost:
        """Leave word where each session lives, as the Book does beside an Initial."""

        def made(sessions: range) -> list[tuple[int, bytes]]:
            self.commands(INITIAL, 0, sessions)
            return self._taking.words

        return await self._measure("where, beside the Initial", count, made)

    async def _measure(self, what: str, count: int, made: Callable[[range], list[tuple[int, bytes]]]) -> Cost:
        spent = StoreReading(0, 0, 0, 0, 0, 0)
        for start in range(0, count, BATCH):
            commands = made(range(start, min(start + BATCH, count)))
            before = self.gauge.read()
            await self.send(commands)
            after = self.gauge.read()
            spent = StoreReading(*(s + a - b for s, a, b in zip(spent, after, before, strict=True)))
        return Cost(
            what, count, spent.info_us / count, spent.process_us / count, spent.call_us / count,
            spent.file_octets / count,
        )  # fmt: skip

    async def trim(self) -> None:
        """Empty the streams, as the archiver does, so that memory shows what stays."""
        for keys in self.parts.keys:
            await self.store.execute(keys.slot, "XTRIM", keys.stream, "MAXLEN", 0)

    async def memory(self) -> int:
        """Return the store's memory without the streams, which the archiver empties."""
        await self.trim()
        await self.store.execute(0, "MEMORY", "PURGE")
        return self.gauge.read().memory_octets

    async def key_octets(self, session: int) -> dict[str, dict[str, int]]:
        """Return what each key of a session and its account takes: its memory and the length of its value."""
        found = await self.accounts.find(ids_of(FIRST_MSISDN + session)[0])
        if found is None:
            raise SystemExit("a subscriber is missing")
        keys = self.parts.keys[found.profile.partition]
        named = {
            "book": keys.book(found.profile.account),
            "profile": keys.profile(found.profile.account),
            "session": keys.session(session_id(session)),
            "number": ids_of(FIRST_MSISDN + session)[0].key,
            "where": where(session_id(session)),
        }
        figures: dict[str, dict[str, int]] = {}
        for name, key in named.items():
            memory = await self.store.execute(keys.slot, "MEMORY", "USAGE", key)
            if memory is not None:
                length = await self.store.execute(keys.slot, "STRLEN", key)
                figures[name] = {"memory_octets": memory, "value_octets": length}
        return figures


def _nobody(_outcome: Outcome) -> None:
    """Receive an answer for which nobody waits: the command was kept, not sent."""


def ids_of(number: int) -> tuple[Any, ...]:
    """Return both identities of a subscriber, as a packet gateway sends them."""
    return (imsi(f"26201{number % 10**10}"), e164(str(number)))


def session_id(session: int) -> str:
    """Return a Session-Id of the usual length (Open5GS's shape)."""
    return f"smf.example.org;1795347749;{session:07};app_gy"


def idle(command: bytes) -> bytes:
    """Turn a charge command into the same command to the function that does nothing."""
    name = function("charge").encode()
    return command.replace(b"$%d\r\n%s\r\n" % (len(name), name), b"$10\r\nidle_bench\r\n", 1)


async def run(folder: Path, sessions: int, durability: str, services: int) -> dict[str, Any]:
    """Run the whole bench on a store of its own."""
    with Embedded.start_or_adopt(folder, durability, serving=True) as embedded:
        store = Store(embedded.address, library=library())
        await store.open()
        gauge = StoreGauge(embedded.url)
        try:
            bench = Bench(store, gauge, services, seed=1)
            await store.execute(0, "FUNCTION", "LOAD", IDLE)
            await bench.accounts.learn_all()
            empty = await bench.memory()
            await bench.subscribe(sessions)
            subscribed = await bench.memory()
            await bench.credit()
            credited = await bench.memory()
            figures: dict[str, Any] = {
                "account_octets": round((subscribed - empty) / sessions),
                "topup_octets": round((credited - subscribed) / sessions),
            }
            costs = [await bench.measure("the same, doing nothing", INITIAL, 0, sessions, idle)]
            bench.replies.clear()
            for kind, number in STEPS:
                what = f"CCR-{' IUT'[kind]} {number}"
                costs.append(await bench.measure(what, kind, number, sessions))
                if kind == INITIAL:
                    costs.append(await bench.measure_where(sessions))
                now = await bench.memory()
                figures[f"session_octets_after_{what}"] = round((now - credited) / sessions)
                if kind != TERMINATION:
                    figures[f"keys_after_{what}"] = await bench.key_octets(sessions // 2)
            figures["codes"] = {Code(code).name: count for code, count in bench.replies.items()}
            figures["store"] = gauge.version
            return {"costs": [cost._asdict() for cost in [*costs, mean(costs[1:])]], **figures}
        finally:
            gauge.close()
            await store.close()


def mean(costs: list[Cost]) -> Cost:
    """Return what a request costs on average: all that a session causes, by its requests."""
    requests = len(STEPS) * costs[0].calls
    sums = [sum(each) / len(STEPS) for each in zip(*[cost[2:] for cost in costs], strict=True)]
    return Cost("mean of a session's requests", requests, *sums)


def show(result: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(
        f"{'what':30}{'calls':>8}{'INFO cpu µs':>13}{'process µs':>12}{'function µs':>13}{'file octets':>13}"
    )
    for row in result["costs"]:
        print(
            f"{row['what']:30}{row['calls']:8}{row['info_us']:13.1f}{row['process_us']:12.1f}"
            f"{row['function_us']:13.1f}{row['file_octets']:13.0f}"
        )
    for name, value in result.items():
        if name != "costs":
            print(f"{name}: {value}")


def main() -> int:
    """Print the figures; 1 when the store's budget is missed or a request was not answered with success."""
    parser = argparse.ArgumentParser(description="The charge function alone.")
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--services", type=int, default=1, help="services in each request")
    parser.add_argument("--durability", choices=("always", "everysec"), default="always")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    end_in_order()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        result = uvloop.run(run(Path(folder), arguments.sessions, arguments.durability, arguments.services))
    if arguments.json:
        print(json.dumps(result))
    else:
        show(result)
    good = set(result["codes"]) == {"SUCCESS"} and result["costs"][-1]["process_us"] <= STORE_BUDGET_US
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
