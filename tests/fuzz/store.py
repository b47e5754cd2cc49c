"""The same conversation against a real store and against the executable model: the answers are the same to the octet, and so is the money.

Slower than the model alone (wire.py), and the judge of money: only a real server is.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

from ocs.balance.accounts import NewSubscriber
from ocs.balance.book import Rules
from ocs.balance.stored_book import read_book
from ocs.charging.ask import Ask
from ocs.charging.outcome import Outcome
from ocs.outcomes import Code
from tests.charged_store import ChargedStore, StoreRoom
from tests.fuzz import seeds
from tests.fuzz.judge import judge
from tests.fuzz.wire import CREDIT_MICROS, FLAT, MESSAGES, NUMBERS, QUOTA, TARIFF, TERMS, World
from tests.real_valkey import RealValkey

RULES = Rules(QUOTA, TERMS.supervision_ms, TERMS.tombstone_ms, 5_000)
"""The deadline is long, so that a busy machine is no refusal."""


class StoreBook:
    """A real book on a real store, with the accounts that the model's book has."""

    ready = True

    def __init__(self, room: StoreRoom) -> None:
        self._room = room
        self._charged: ChargedStore = room.run(room.charged({FLAT.key: TARIFF}, RULES, 1))
        self._books: list[str] = []
        for msisdn, imsi in NUMBERS:
            new = NewSubscriber(msisdn, imsi, "flat", "prepaid", "EUR", 0, 0)
            self._charged.clock.keep_up()
            code, account = room.run(self._charged.accounts.create(new, CREDIT_MICROS))
            assert code is Code.SUCCESS
            self._books.append(self._charged.parts.keys[0].book(account.profile.account))

    def charge(self, ask: Ask, done: Callable[[Outcome], None], via: str) -> None:
        """Charge as a worker does."""
        self._charged.clock.keep_up()
        self._charged.book.charge(ask, done, via)

    def money(self) -> tuple[tuple[int, int, int], ...]:
        """Read the books as they stand."""
        keys = self._charged.parts.keys[0]
        books = [
            read_book(each)
            for each in self._room.run(self._charged.store.execute(keys.slot, "MGET", *self._books))
        ]
        counts = self._charged.book.counts
        wrong = {
            name: counts[name]
            for name in ("script_faults", "store_faults", "own_faults", "skew")
            if counts[name]
        }
        assert not wrong, f"the store refused: {wrong}"
        return tuple((each.credits_micros, each.posted_micros, each.pending_micros) for each in books)


class Both:
    """A store and a model that hear the same."""

    def __init__(self, server: RealValkey) -> None:
        self._room = StoreRoom(server)
        self._real, self._modelled = World(), World()

    def play(self, octets: bytes) -> None:
        """Hold one input to the invariant, and the store to the model."""
        found = self._real.play_on(octets, StoreBook(self._room), self._room.loop)
        judge(octets, found, seeds.harmless)
        expected = self._modelled.play(octets, MESSAGES)
        assert found.money == expected.money, f"the store has {found.money}, the model {expected.money}"
        assert found == expected, "the store and the model answer differently"

    def close(self) -> None:
        """End what talks to the store."""
        self._room.close()


_both: list[Any] = []


def play(octets: bytes) -> None:
    """Play one input on a store that is started with the first, and ends with this process."""
    if not _both:
        server = RealValkey()
        atexit.register(server.stop)
        _both.append(Both(server))
        atexit.register(_both[0].close)
    _both[0].play(octets)
