"""One connection of a worker without a socket: octets in, octets out, every line of code between them the server's own.

Laws
1. Nothing here knows what is right (judge.py does); it tells what was said, what was answered, and what is left behind.
2. One input meets a fresh connection, fresh bounds and fresh accounts; codec and answer writer are the worker's, and go on.
3. Time is a number that moves by a millisecond with every chunk: an input does the same whenever it is played.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, cast

from ocs import limits
from ocs.balance.model import Model
from ocs.balance.model_books import Account, Terms
from ocs.balance.model_events import Events
from ocs.balance.model_prices import Offer
from ocs.balance.parts import packed
from ocs.charging.answer import AnswerWriter
from ocs.charging.ask import EVENT, INITIAL, Ask
from ocs.charging.ask import ask as read_ask
from ocs.charging.event import event_plan
from ocs.charging.information import is_emergency
from ocs.charging.outcome import Outcome
from ocs.charging.plan import QuotaRules, plan
from ocs.diameter.codec import Codec
from ocs.names import SubscriberId, subscriber_id
from ocs.outcomes import Code, Note
from ocs.rating.ladder import Ladder
from ocs.rating.tariff import Tariff
from ocs.server.admission import Admission
from ocs.server.allow import AllowList
from ocs.server.connection import Connection, Roll
from ocs.server.counters import Counters
from ocs.server.desk import Desk
from ocs.server.log import SparingLog
from ocs.server.profiles import Profiles, Writers
from ocs.server.requester import Requester
from ocs.server.tally import Tally
from ocs.units import Unit
from tests.contract.mutations import stream_of
from tests.property.ladders import price_of
from tests.property.offers import plain, tariff_of
from tests.serving import LOCAL, LOOPBACK

CREDIT_MICROS = 10_000_000
NOW_MS = 1_700_000_000_000
QUOTA = QuotaRules(10_485_760, 60, 1, 3_600, 125_000_000, 2, 1)
TERMS = Terms(
    (QUOTA.octets, QUOTA.seconds, QUOTA.events, QUOTA.money_most),
    (QUOTA.octets_per_s, QUOTA.seconds_per_s, QUOTA.events_per_s, QUOTA.money_per_s),
    QUOTA.validity_s,
    7_200_000,
    300_000,
)
FLAT: Offer = plain(
    "flat@1",
    {
        "data": price_of(Unit.OCTETS, (0, 1_048_576, 10_000, 1_048_576)),
        "voice": price_of(Unit.SECONDS, (0, 60, 100_000, 60)),
        "sms": price_of(Unit.EVENTS, (0, 1, 90_000, 1)),
    },
)
"""What config/tariffs/flat.yaml says."""
TARIFF: Tariff = tariff_of(FLAT)
MESSAGES = -1
"""Instead of a number of octets: message by message."""
NUMBERS = (("491700000001", "001010000000001"), ("491700000002", "001010000000002"))
"""MSISDN and IMSI of the accounts; the first are those that every capture is about."""


class Played(NamedTuple):
    """What became of one input: the answers, whether the server closed before its peer left, and what the accounts have."""

    answered: bytes
    closed: bool
    faults: tuple[str, ...]
    money: tuple[tuple[int, int, int], ...]
    """Credits, posted and pending of each account."""
    left: tuple[tuple[str, int], ...]
    """What should be gone by now, and how much of it is left."""


class Loop:
    """As much of an event loop as a connection needs."""

    def __init__(self) -> None:
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call_soon(self, call: Callable[..., Any], *words: Any) -> None:
        self._ready.append((call, words))

    def settle(self) -> None:
        """Run until nothing is left to be run."""
        while self._ready:
            call, words = self._ready.popleft()
            call(*words)


class Wire:
    """The transport of a connection, and what was written to it."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self.lost: Callable[[], None] = lambda: None
        self.written: list[bytes] = []
        self.paused = self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 40_000), "sockname": ("127.0.0.1", 3_868)}.get(name)

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, octets: bytes) -> None:
        assert not self.closed, "written to a connection that is closed"
        self.written.append(octets)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self.lost)

    abort = close


class Faults:
    """A log that keeps what must never be said: faults of our own."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, event: str, **facts: Any) -> None:
        """Say what is normal."""

    warning = info

    def error(self, event: str, **facts: Any) -> None:
        self.said.append(f"{event}: {facts.get('exc_info')!r}")

    exception = error


class Charges(Protocol):
    """A book, as a connection needs it, and what its accounts have."""

    ready: bool

    def charge(self, ask: Ask, done: Callable[[Outcome], None], via: str) -> None:
        """Charge one request."""

    def money(self) -> tuple[tuple[int, int, int], ...]:
        """Credits, posted and pending of each account."""


class ModelBook:
    """The executable model as a book; the plan that a real book would send is made too, and packed."""

    ready = True

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._model = Model(TERMS, {})
        self._events = Events(self._model)
        self.now_ms = NOW_MS
        self._by_id: dict[SubscriberId, Account] = {}
        for place, names in enumerate(NUMBERS):
            account = Account(f"a{place}", "", FLAT, 0)
            self._model.open(account, NOW_MS, CREDIT_MICROS)
            self._by_id |= {_identity(kind, name): account for kind, name in enumerate(names)}

    def charge(self, ask: Ask, done: Callable[[Outcome], None], via: str) -> None:
        """Charge in a later turn of the loop, as a store does."""
        assert via
        self._loop.call_soon(lambda: done(self._charged(ask)))

    def money(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(each.money for each in self._model.accounts.values())

    def _charged(self, ask: Ask) -> Outcome:
        if ask.kind == EVENT:
            packed(event_plan(ask, TARIFF, QUOTA, ladder_text, self.now_ms, None)[:4])
        else:
            packed(plan(ask, TARIFF, QUOTA, ladder_text, self.now_ms)[:4])
        found = {account.name: account for each in ask.ids if (account := self._by_id.get(each)) is not None}
        if (
            not found and ask.kind != EVENT and (ask.kind != INITIAL or not ask.ids)
        ):  # named by nobody: whose its session is
            accounts = self._model.accounts.values()
            found = {each.name: each for each in accounts if ask.session_id in each.sessions}
        if len(found) != 1:
            code = Code.UNKNOWN_SUBSCRIBER if ask.ids or ask.kind == EVENT else Code.UNKNOWN_SESSION
            return Outcome(code, Note(0), ())
        (account,) = found.values()
        books: Any = self._events if ask.kind == EVENT else self._model
        outcome: Outcome = books.charge(account, ask, self.now_ms)
        return outcome


def _identity(kind: int, text: str) -> SubscriberId:
    found = subscriber_id(kind, text)
    assert found is not None
    return found


def ladder_text(ladder: Ladder) -> bytes:
    return packed(*ladder)


class World:
    """A worker as its connections see it."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = codec or Codec()
        self.answers = AnswerWriter(
            LOCAL.origin_host, LOCAL.origin_realm, failure_handling=None, session_failover=None
        )
        self._counters = Counters()
        self._tally = Tally(self._counters)
        self.now_us = NOW_MS * 1_000

    def desk(self, book: Any, faults: Faults) -> Desk:
        """A desk with bounds of its own."""
        log = SparingLog(faults, lambda: self.now_us // 1_000)
        return Desk(
            local=LOCAL,
            codec=self.codec,
            ask=read_ask,
            book=book,
            writers=Writers(self.answers, self.answers),
            profiles=Profiles(),
            admission=Admission(limits.INFLIGHT_PER_WORKER_MAX, limits.INFLIGHT_PER_WORKER_MAX),
            tally=self._tally,
            requester=Requester(LOCAL, 0, self._tally, log, lambda: self.now_us, lambda: NOW_MS // 1_000),
            allow=AllowList(LOOPBACK, self._counters, faults, lambda: self.now_us // 1_000),
            log=log,
            now_us=lambda: self.now_us,
            jitter_ms=lambda: 0,
            is_emergency=is_emergency,
            say_state=lambda _host, _state: None,
        )

    def play(self, octets: bytes, cut: int | None = None) -> Played:
        """Say octets on a new connection against the model, in chunks of ``cut`` octets (None: as the octets themselves decide)."""
        loop = Loop()
        return self._played(octets, cut, loop, ModelBook(loop), loop.settle)

    def play_on(self, octets: bytes, book: Charges, loop: asyncio.AbstractEventLoop) -> Played:
        """Say octets, message by message, against a book of the caller's on a real event loop, which runs until all are answered."""

        async def settled() -> None:
            while self._desk_in_use.admission.inflight:  # noqa: ASYNC110 - nobody tells, and nothing of the server is changed for it
                await asyncio.sleep(0.0002)
            for _ in range(3):  # what was answered is flushed in a later turn
                await asyncio.sleep(0)

        return self._played(octets, MESSAGES, loop, book, lambda: loop.run_until_complete(settled()))

    def _played(
        self, octets: bytes, cut: int | None, loop: Any, book: Charges, settle: Callable[[], None]
    ) -> Played:
        self.now_us = NOW_MS * 1_000
        faults, roll, wire = Faults(), Roll(), Wire(loop)
        desk = self._desk_in_use = self.desk(book, faults)
        connection = Connection(desk, roll, loop)
        wire.lost = lambda: connection.connection_lost(None)
        connection.connection_made(cast("asyncio.Transport", wire))
        for chunk in chunks(octets, cut):
            if wire.closed:
                break
            self.now_us += 1_000
            connection.data_received(chunk)
            settle()
            assert not wire.paused or wire.closed, "reading stopped although everything was read"
        closed = wire.closed
        if not closed:
            if connection.eof_received():
                settle()
            wire.close()
        settle()
        money = book.money()
        left = [
            ("connections", len(roll)),
            ("requests", desk.admission.inflight),
            ("peers", desk.admission.peers),
        ]
        left += [("orders", desk.requester.waiting), ("connections of orders", len(desk.requester._numbers))]
        return Played(
            b"".join(wire.written), closed, tuple(faults.said), money, tuple(each for each in left if each[1])
        )


def chunks(octets: bytes, cut: int | None) -> Iterator[bytes]:
    """Cut octets as a network may, or message by message; a checksum of them decides where nobody else does."""
    if cut == MESSAGES:
        frames = [each.octets for each in stream_of(octets, limits.MESSAGE_OCTETS_MAX).frames]
        yield from frames
        octets, cut = octets[sum(map(len, frames)) :], len(octets)
    if cut is None:
        kind = zlib.crc32(octets) % 8
        cut = 1 if kind == 0 and len(octets) < 400 else 61 if kind == 1 else len(octets)
    for at in range(0, len(octets), max(1, cut)):
        yield octets[at : at + cut]
