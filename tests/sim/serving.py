"""The server of the simulated world: the house's own rooms, arranged as the roof arranges them, each process a program of the loop."""

import asyncio
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from ocs.balance.accounts import Account, Accounts
from ocs.balance.addresses import parse
from ocs.balance.book import Book, Rules
from ocs.balance.link import Demands, StoreFault
from ocs.balance.parts import Parts
from ocs.balance.spool import Spool
from ocs.balance.store import Store
from ocs.balance.subscription import listen
from ocs.charging.answer import AnswerWriter
from ocs.charging.plan import QuotaRules
from ocs.diameter.base import Local
from ocs.rating.tariff import Tariff, read_tariff
from ocs.rating.versions import Tariffs
from ocs.server.allow import AllowRow
from ocs.server.channel import Handed, pair
from ocs.server.counters import Counters
from ocs.server.worker import Worker, WorkerConfig, WorkerParts
from ocs.sessions.reauthorise import Reauthorisation
from ocs.sessions.sweep import Sweeper
from tests.sim.loop import Program, SimLoop
from tests.sim.storehouse import HOST, PORT
from tests.sim.wire import Socket

PARTITIONS: Final = 2
VALIDITY_S: Final = 10
SUPERVISION_MS: Final = 2 * VALIDITY_S * 1_000
TOMBSTONE_MS: Final = 300_000
SWEEP_S: Final = 3.0
GRANTS: Final = (2_000_000, 60, 10)
RATES: Final = (1_000_000, 2, 10)
DRAIN_S: Final = 3.0
_FOR_EVER_MS: Final = 10**9
_ADDRESS: Final = parse(f"redis://{HOST}:{PORT}", {})
_LOCAL: Final = Local("ocs.example.org", "example.org", (), 10415, "sim", 1, 1, 6_000)
_ALLOW: Final = (AllowRow("*", "*", ip_network("0.0.0.0/0")),)


@cache
def tariffs() -> dict[str, Tariff]:
    """The one tariff of the world."""
    tariff = read_tariff((Path(__file__).parent / "tariff.yaml").read_text(), "tariff.yaml")
    return {tariff.key: tariff}


RULES: Final = Rules(QuotaRules(*GRANTS, VALIDITY_S, *RATES), SUPERVISION_MS, TOMBSTONE_MS, 1_000)


class Journal:
    """The server's log: what it tells as broken is kept, the rest let be."""

    def __init__(self, name: str, keep: Callable[[str], None]) -> None:
        self._name = name
        self._keep = keep

    def info(self, event: str, **facts: Any) -> None:
        """What is normal."""

    def warning(self, event: str, **facts: Any) -> None:
        """What somebody should look at: a peer is lost, a message is not read."""

    def error(self, event: str, **facts: Any) -> None:
        self._keep(f"{self._name} logs an error: {event} {facts}")

    exception = error


def store_of(program: Program, library: bytes) -> Store:
    """Build a program's store, as the roof does."""
    return Store(
        _ADDRESS, library=library, demands=Demands(fsync="always"), clock=program, title=program.name
    )


class Office:
    """One worker process: killed and started again under the same name, with the same folder."""

    def __init__(
        self, number: int, loop: SimLoop, folder: Path, library: bytes, complain: Callable[[str], None]
    ) -> None:
        self.number = number
        self.loop = loop
        self.name = f"worker-{number}"
        self._folder = folder
        self._library = library
        self._complain = complain
        self._channels: list[socket.socket] = []
        self.program = Program(self.name, loop)
        self.worker: Worker | None = None
        self.book: Book | None = None
        self.spool: Spool | None = None
        self.counters = Counters(None, self.name)
        self.stop = asyncio.Event()
        self.lives = 0
        self.connections = 0

    def start(self, skew_ms: int) -> None:
        """Begin a life."""
        self.lives += 1
        self.program = Program(f"{self.name}.{self.lives}", self.loop)
        self.program.skew_ms = skew_ms
        self.stop = asyncio.Event()
        self.program.start(self._live())

    @property
    def open(self) -> bool:
        """Tell whether it takes connections."""
        return self.program.alive and self.worker is not None and not self.worker.admission.draining

    def kill(self) -> None:
        """Kill -9."""
        self.judge()
        self.worker = None
        self.loop.kill(self.program)

    def drain(self) -> None:
        """SIGTERM."""
        self.program.do(self.stop.set)

    def hand(self, accepted: Socket) -> None:
        """Hand over a connection, as the supervisor does."""
        assert self.worker is not None
        self.program.at_death.append(accepted.wire.cut)
        self.program.do(self.worker._adopt, Handed(accepted, secured=False))  # type: ignore[arg-type]

    async def _live(self) -> None:
        ours, theirs = pair()
        self._channels += [ours, theirs]
        program, dice = self.program, random.Random(f"{self.name};{self.lives}")
        store = store_of(program, self._library)
        opening = asyncio.ensure_future(store.open(wait_ms=_FOR_EVER_MS))
        await asyncio.wait((opening,), timeout=2.0)
        parts = Parts(store, program, PARTITIONS, 1_000)
        self.book = book = Book(parts, Tariffs(tariffs()), RULES, program)
        self.spool = spool = Spool(book, self._folder, self.name, program)
        spooling = asyncio.create_task(spool.keep_up())
        journal = Journal(self.name, self._complain)

        async def close() -> None:
            spooling.cancel()
            await asyncio.gather(spooling, return_exceptions=True)
            await store.close()

        made = WorkerParts(
            book=spool,
            answers=AnswerWriter("ocs.example.org", "example.org", failure_handling=1, session_failover=1),
            log=journal,
            close=close,
            now_us=program.monotonic_us,
            listen=lambda channel, receive: listen(store, _ADDRESS, channel, receive, f"{self.name}-orders"),
            now_s=lambda: program.now_ms() // 1_000,
            jitter_ms=lambda: dice.randrange(-2_000, 2_001),
        )
        config = WorkerConfig(self.name, _LOCAL, _ALLOW, drain_s=DRAIN_S, number=self.number)
        self.worker = Worker(config, made, self.counters, ours)
        await self.worker.serve(self.stop)
        self.judge()
        self.worker = None
        await close()
        self.program.alive = False

    def judge(self) -> None:
        """Complain of what a life has counted that no fault of the world explains."""
        faults = self.counters.cells[self.counters.index("ocs_internal_faults_total")]
        if faults:
            self._complain(f"{self.name} counts {faults} faults of its own")
        for name in ("own_faults", "script_faults"):
            if self.book is not None and self.book.counts[name]:
                self._complain(f"{self.name} counts {name}: {self.book.counts[name]}")

    def close(self) -> None:
        """Let go of what belongs to the real machine."""
        for each in self._channels:
            each.close()


class Desk:
    """The keeper's process: accounts and top-ups (what HTTP does), supervision, epochs."""

    def __init__(self, loop: SimLoop, library: bytes, complain: Callable[[str], None]) -> None:
        self.loop = loop
        self._library = library
        self._complain = complain
        self.program = Program("keeper", loop)
        self.lives = 0
        self._begin()

    def _begin(self) -> None:
        self.lives += 1
        self.program = Program(f"keeper.{self.lives}", self.loop)
        self.store = store_of(self.program, self._library)
        self.parts = Parts(self.store, self.program, PARTITIONS, 1_000)
        self.accounts = Accounts(self.parts, self.program)
        self.reauthorisation = Reauthorisation(self.parts)
        self.accounts.listener = self.reauthorisation
        self.sweeper = Sweeper(self.parts, self.accounts, self.program, TOMBSTONE_MS)
        self.program.start(self._live())

    def kill(self) -> None:
        """Kill -9, and begin again."""
        self.loop.kill(self.program)
        self._begin()

    async def _live(self) -> None:
        opening = asyncio.ensure_future(self.store.open(wait_ms=_FOR_EVER_MS))
        await asyncio.wait((opening,), timeout=2.0)
        while True:
            with suppress(StoreFault):
                await self.accounts.learn_all()
            await self.sweeper.once()
            await asyncio.sleep(SWEEP_S)

    def ask(self, work: Callable[[Accounts], Any]) -> "asyncio.Future[Any]":
        """Let the keeper do something, as an HTTP request would; the future is None when it died or the store could not."""
        told: asyncio.Future[Any] = self.loop.create_future()

        async def answer() -> None:
            try:
                result = await work(self.accounts)
            except StoreFault:
                result = None
            if not told.done():
                told.set_result(result)

        def died() -> None:
            if not told.done():
                told.set_result(None)

        self.program.at_death.append(died)
        self.program.start(answer())
        return told


Subscriber = Account
