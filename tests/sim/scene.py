"""One seed: a world, what goes wrong in it, and the verdict at its end.

The seed decides everything: sizes, behaviour, latencies, and at which numbered call or message something breaks. The same seed gives
the same trace, line for line; `digest` stands for it.
"""

import asyncio
import hashlib
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

from ocs.balance import spool as spools
from ocs.balance.accounts import Accounts, NewSubscriber
from ocs.balance.audit import audit
from ocs.balance.entries import entries
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.names import E164, SubscriberId
from ocs.records import Epoch
from tests.sim import clients
from tests.sim.element import Element, Line
from tests.sim.judge import BookSeen, Evidence, judge
from tests.sim.ledger import Ledger
from tests.sim.loop import Errand, Program, SimLoop, Stuck
from tests.sim.serving import PARTITIONS, SUPERVISION_MS, SWEEP_S, Desk, Office, store_of
from tests.sim.storehouse import CALLER_FATES, FATES, Server, Storehouse, told_library
from tests.sim.wire import Socket, Weather, Wire

FAIR_EVERY: Final = 10
"""One seed of so many is fair: nothing breaks, and all clients behave."""
_LINE_FATES: Final = ("cut", "cut", "silence", "still", "crash", "stranger")
_FUNCTIONS: Final = (
    ("charge", 60),
    ("debit", 8),
    ("refund", 5),
    ("claim", 5),
    ("credit", 5),
    ("confirm", 5),
    ("expire", 3),
)
"""Functions of the library whose calls break by their number among their own, and up to which: a call that is seldom made would hardly
ever be met by its number among all."""
_PATIENCE_S: Final = 90.0


@dataclass(slots=True)
class Verdict:
    """What a seed ended in."""

    seed: int
    faults: list[str]
    digest: str
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)

    @property
    def replay(self) -> str:
        """The line that replays it."""
        return f".venv/bin/python -m tests.sim --seed {self.seed}"

    def __str__(self) -> str:
        faults = "\n  ".join(self.faults[:12])
        return f"seed {self.seed} fails; {self.replay} --trace\n  {faults}"


class World:
    """Everything that there is in one seed."""

    def __init__(self, seed: int, server: Server, folder: Path, library: bytes, *, keeps_trace: bool) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.loop = SimLoop()
        self.program = Program("world", self.loop)
        self.ledger = Ledger()
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.trace: list[str] = []
        self._keeps_trace = keeps_trace
        self._hash = hashlib.blake2b(digest_size=16)
        self._library = library
        self.fair = seed % FAIR_EVERY == 0
        dice = self.dice
        self.weather = (
            Weather(0.5, 5.0)
            if self.fair
            else Weather(
                0.5,
                dice.choice((2.0, 20.0, 80.0)),
                dice.choice((0.0, 0.02, 0.1)),
                dice.choice((200.0, 1_500.0)),
                dice.choice((0.0, 0.2)),
            )
        )
        self.house = Storehouse(
            self.loop, self.program, server, random.Random(f"{seed};store"), {}, self.note
        )
        self.house.strike = self._strike
        self.loop.connect_out = self.house.connect
        self.loop.run_errand = self._run_errand
        self.disk_bad = 0.0
        self.folder = folder
        self.offices = [
            Office(number, self.loop, folder / f"worker-{number}", library, self.complain)
            for number in range(dice.choice((1, 2, 2)))
        ]
        self.desk: Desk | None = None
        self.elements: list[Element] = []
        self.lanes: list[tuple[Program, asyncio.Task[Any]]] = []
        self.ending = False
        self.wires = 0
        self.posts = 0
        self.line_fates: dict[int, str] = {}
        self.msisdns = [f"49170000000{index}" for index in range(dice.randrange(1, 5))]

    # -- notes

    def note(self, text: str) -> None:
        """One line of the trace."""
        line = f"{self.loop.elapsed_s():.6f} {text}"
        self._hash.update(line.encode())
        if self._keeps_trace:
            self.trace.append(line)

    def complain(self, text: str) -> None:
        """Something that must never happen."""
        self.note(f"WRONG {text}")
        self.faults.append(text)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    # -- the play

    async def play(self) -> None:
        """Begin, let traffic meet its fate, let everything come to rest, and judge."""
        for office in self.offices:
            office.start(self._small_skew())
        self.desk = Desk(self.loop, self._library, self.complain)
        await self._open_accounts()
        self.house.calls = 0
        if not self.fair:
            self._roll_fates()
        dice = self.dice
        for index in range(dice.randrange(1, 4)):
            self._begin_element(f"pgw-{index}.example.net", 1, dice.choice((1, 2, 2, 3)))
        for index in range(dice.randrange(0, 4)):
            work = clients.till(
                self.desk, random.Random(dice.random()), self.msisdns, f"till-{index}", self.ledger.topups
            )
            self.lanes.append((self.program, self.program.start(work)))
        await asyncio.sleep(dice.uniform(4.0, 14.0))
        self.ending = True
        self._heal()
        await self._until(self._lanes_done, "clients wait for ever")
        await self._until(self._spools_empty, "the spool is never emptied")
        await asyncio.sleep(5.0)
        self._owed()
        await asyncio.sleep(SUPERVISION_MS / 1_000 + 2 * SWEEP_S + 1.0)
        self.faults += judge(self.ledger, await self._evidence(), fair=self.fair)

    async def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        give_up_s = self.loop.time() + _PATIENCE_S
        while not done():
            if self.loop.time() > give_up_s:
                self.complain(otherwise)
                return
            await asyncio.sleep(0.25)

    def _lanes_done(self) -> bool:
        return all(task.done() or not program.alive for program, task in self.lanes)

    def _spools_empty(self) -> bool:
        return all(office.spool is not None and not office.spool.entries for office in self.offices)

    def _owed(self) -> None:
        """Every request has its one answer, or its connection is no more."""
        for element in self.elements:
            for line in element.lines:
                for sending in line.sendings.values():
                    if line.sound and not sending.answered and not sending.sent.malformed:
                        self.complain(f"{sending.sent.request.key}: was never answered on a sound connection")

    # -- beginning

    async def _open_accounts(self) -> None:
        for msisdn in self.msisdns:
            credit = self.dice.choice((0, 300_000, 2_000_000, 20_000_000))
            floor = self.dice.choice((0, 0, 0, -1_000_000))
            new = NewSubscriber(msisdn, "", "sim", "prepaid", "EUR", floor)
            for _ in range(20):
                assert self.desk is not None
                if await self.desk.ask(partial(_create, new=new, credit=credit)):
                    break
                await asyncio.sleep(0.3)
            self.ledger.opened[msisdn] = (credit, floor)

    def _roll_fates(self) -> None:
        dice = self.dice
        fates = self.house.fates
        everything = (*FATES, *CALLER_FATES, "store_clock", "parted_after", "parted_before")
        for _ in range(dice.choice((1, 2, 3, 5, 8))):
            fates[dice.randrange(1, 250)] = dice.choice(everything)
        for _ in range(dice.choice((0, 1, 2, 4, 6))):
            name, most = dice.choice(_FUNCTIONS)
            self.house.function_fates[name, dice.randrange(1, most)] = dice.choice(everything)
        for _ in range(dice.choice((0, 0, 1, 2, 4))):
            self.line_fates[dice.randrange(3, 120)] = dice.choice(_LINE_FATES)
        self.disk_bad = dice.choice((0.0, 0.4, 0.8))

    def _begin_element(self, host: str, state_id: int, lines: int, known: set[str] | None = None) -> None:
        dice = random.Random(f"{self.seed};{host};{state_id}")
        program = Program(f"{host}.{state_id}", self.loop)
        element = Element(host, program, self.ledger, dice, self._dial, self.note, lines, state_id, known)
        element.mute = dice.random() < 0.2
        element.on_post = self._posted
        self.elements.append(element)
        program.start(element.keep_connected())
        for lane in clients.traffic(element, dice, self.msisdns, tame=self.fair, until=lambda: self.ending):
            self.lanes.append((program, program.start(lane)))

    def _small_skew(self) -> int:
        return 0 if self.fair else self.dice.randrange(-800, 800)

    # -- connections

    def _dial(self, line: Line) -> bool:
        """Connect an element to one of the workers that take connections."""
        takers = [office for office in self.offices if office.open]
        if not takers:
            return False
        office = line.element.dice.choice(takers)
        self.wires += 1
        wire = Wire(self.loop, random.Random(f"{self.seed};wire;{self.wires}"), self.weather)
        end = wire.join(line, line.element.program, "10.0.0.1")
        self.loop.call_later(
            wire.latency_s(), self._hand, office, Socket(wire, "10.0.0.9"), context=self.program.context
        )
        line.connection_made(end)
        return True

    def _hand(self, office: Office, accepted: Socket) -> None:
        if office.open:
            office.hand(accepted)
        else:
            accepted.close()

    def _posted(self, line: Line) -> None:
        """A request goes out: some are the last thing that their connection sees."""
        self.posts += 1
        fate = self.line_fates.pop(self.posts, "")
        if not fate or line.end is None:
            return
        self.counts[fate] += 1
        self.note(f"line {line.element.host}.{line.number}: {fate}")
        wire, after_s = line.end.wire, self.dice.choice((0.0, 0.002, 0.05))
        deeds: dict[str, Callable[[], None]] = {
            "cut": wire.cut,
            "silence": wire.fall_silent,
            "still": partial(wire.stand_still, self.dice.uniform(0.5, 5.0)),
            "crash": partial(self._crash, line.element),
            "stranger": partial(self._stranger, line.element),
        }
        self.loop.call_later(after_s, deeds[fate], context=self.program.context)

    def _crash(self, element: Element) -> None:
        """A client dies, forgets all its sessions, and comes back with a greater Origin-State-Id."""
        if element.program.alive:
            self.loop.kill(element.program)
            self._begin_element(element.host, element.state_id + 1, 2, element.known)

    def _stranger(self, element: Element) -> None:
        """Somebody connects and sends what is no Diameter, or what no peer sends first."""
        octets = self.dice.choice(
            (b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x00\x04", b"\x16\x03\x01\x02\x00", b"\x00" * 64, b"\x01")
        )
        program = Program("stranger", self.loop)
        other = Element("stranger.example.net", program, Ledger(), random.Random(0), self._dial, self.note, 0)
        self._dial(Line(other, 1, octets))

    # -- what becomes of processes

    def _strike(self, name: str, what: str) -> None:
        self.note(f"{name}: {what}")
        office = next((each for each in self.offices if each.program.name == name), None)
        if office is None:
            if what == "killed" and self.desk is not None:
                self.desk.kill()
            return
        if what == "killed":
            office.kill()
            self.loop.call_later(
                self.dice.uniform(0.05, 1.5), self._restart, office, context=self.program.context
            )
        elif what == "drained" and office.open:
            office.drain()
            self.loop.call_later(self.dice.uniform(3.2, 4.0), self._restart, office)
        elif what == "clock":
            office.program.skew_ms += self.dice.choice((-1, 1)) * self.dice.randrange(1_000, 90_000)
            self.loop.call_later(self.dice.uniform(0.5, 4.0), self._mend_clock, office)

    def _restart(self, office: Office) -> None:
        if not office.program.alive:
            self.note(f"{office.name} starts again")
            office.start(self._small_skew())
        elif not office.open:
            office.kill()
            office.start(self._small_skew())

    def _mend_clock(self, office: Office) -> None:
        office.program.skew_ms = 0

    def _run_errand(self, owner: Program | None, errand: Errand) -> Any:
        """Work on the disk, which may be full, and whose program may die before, in or after it."""
        writes = bool(errand.words) and errand.words[0] is spools._append
        if not self.disk_bad or not writes or self.dice.random() >= self.disk_bad:
            return errand.work()
        fate = self.dice.choice(("full", "full", "half", "died before", "died in", "died after"))
        self.counts[f"disk {fate}"] += 1
        self.note(f"disk {fate}")
        if fate not in {"full", "died before"}:
            errand.work()
        if fate in {"half", "died in"}:
            _, path, _, octets = errand.words
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - self.dice.randrange(1, len(octets)))
        if fate in {"full", "half"}:
            raise OSError(28, "no space left on the device")
        if owner is not None:
            self._strike(owner.name, "killed")
        return None

    def _heal(self) -> None:
        """Nothing breaks any more; what is broken comes back."""
        self.note("heal")
        self.house.heal()
        self.line_fates.clear()
        self.disk_bad = 0.0
        for office in self.offices:
            office.program.skew_ms = 0
            self._restart(office)

    # -- the end

    async def _evidence(self) -> Evidence:
        program = Program("auditor", self.loop)
        return await program.start(self._gather(program))  # type: ignore[no-any-return]

    async def _gather(self, program: Program) -> Evidence:
        store = store_of(program, self._library)
        await store.open()
        parts = Parts(store, program, PARTITIONS, 1_000)
        report = await audit(parts)
        self.faults += [f"audit: {fault}" for fault in report.faults]
        if report.sessions or report.pending_micros:
            self.complain(f"audit: {report.sessions} sessions are open, {report.pending_micros} are held")
        if report.in_transit:
            self.complain(f"audit: {report.in_transit} top-ups are in transit")
        streams = []
        for keys in parts.keys:
            reply = await store.execute(keys.slot, "XRANGE", keys.stream, "-", "+")
            streams.append([entry.record() for entry in entries(reply)])
            told = [each.run_id for each in streams[-1] if isinstance(each, Epoch)]
            if streams[-1] and told[-1:] != [store.incarnation(keys.slot)]:
                self.complain(f"partition {keys.partition} does not say that its server was started again")
        accounts = Accounts(parts, program)
        books, names, floors = {}, {}, {}
        for msisdn in self.msisdns:
            account = await accounts.find(SubscriberId(E164, msisdn))
            if account is None:
                continue
            book = account.book
            books[msisdn] = BookSeen(
                book.credits_micros,
                book.posted_micros,
                book.pending_micros,
                book.floor_micros,
                book.sessions_open,
            )
            names[msisdn] = account.profile.account
            floors[account.profile.account] = book.floor_micros
        await store.close()
        for record in (each for stream in streams for each in stream):
            if not isinstance(record, Epoch):
                self.note(repr(record))
        return Evidence(
            streams, books, names, floors, self._set_aside(), not self.house.counts["store_clock"]
        )

    def _set_aside(self) -> list[Any]:
        aside = []
        for path in self.folder.rglob("*.refused"):
            for entry in spools.read(path).entries:
                ask = entry.ask
                used = tuple(
                    sorted((each.key, max(0, *each.used) if each.used else 0) for each in ask.services)
                )
                aside.append(((ask.session_id, ask.kind, ask.number), used))
        for path in self.folder.rglob("*.unread"):
            self.complain(f"a spool cannot be read: {path.name}")
        return aside


async def _create(accounts: Accounts, new: NewSubscriber, credit: int) -> Any:
    return await accounts.create(new, credit)


@contextmanager
def _rolled(dice: random.Random) -> Iterator[None]:
    """Let names that the house draws at random be the seed's."""
    with mock.patch("ocs.balance.accounts.secrets", mock.Mock(choice=dice.choice)):
        yield


def run_seed(
    seed: int,
    server: Server,
    *,
    keeps_trace: bool = False,
    wound: Callable[[str], str] = lambda text: text,
    folder: str | None = None,
) -> Verdict:
    """Play one seed on an emptied store; never raises for what it finds."""
    with tempfile.TemporaryDirectory(prefix="sim-", dir=folder) as place:
        library = told_library(wound)
        server.begin(library, forget_functions=seed % 7 == 0)
        world = World(seed, server, Path(place), library, keeps_trace=keeps_trace)
        try:
            with _rolled(random.Random(f"{seed};names")):
                world.loop.run_until_complete(world.program.start(world.play()))
        except (Stuck, StoreFault) as fault:
            world.complain(f"{type(fault).__name__}: {fault}")
        except Exception as fault:  # noqa: BLE001 - whatever it is, the seed fails and the next one runs
            world.complain(f"the play breaks off: {fault!r}")
        world.faults += [f"nobody caught: {defect}" for defect in world.loop.defects]
        for office in world.offices:
            office.judge()
            office.close()
        if not world.house.is_up:
            world.house.revive()
        for session in tuple(world.house.sessions):
            session.link.close()
        world.loop.end()
        counts = world.counts + world.house.counts + world.ledger.counts
        counts["simulated ms"] = int(world.loop.elapsed_s() * 1_000)
        counts["store calls"] = world.house.executed
        counts["numbered calls"] = world.house.calls
        return Verdict(seed, world.faults, world.digest, counts, world.trace)
