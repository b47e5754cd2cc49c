"""The Book: one credit-control request becomes one function call in the store, and its reply an Outcome.

Laws
1. One call for the whole request, all its services together. A second trip happens only where the worker does not know
   the subscriber yet, or knows an old profile (STALE), or the store is another process than before (EPOCH).
   What belongs to a session whose Initial is under way here waits for it: a termination may be sent before the
   Initial's answer was read (CLIENTS 15), and must not overtake it.
2. An unknown outcome (link lost) is resolved by replaying the same key until the deadline, never by a guess.
3. ``charge`` never raises and always calls ``done`` exactly once; what the store could not answer is 3004.
4. A session is found where it was opened, also when its identities name nobody, or somebody else, by now (``where:``).
5. What a session is rated by is kept in the store and remembered here; the store compares, so a wrong memory costs a trip (STALE)
   and never a cent.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ocs.balance.accounting import Accounted, Accounting, AccountingRules
from ocs.balance.charging import Answered, Charging
from ocs.balance.events import Event
from ocs.balance.functions import function
from ocs.balance.parts import Parts, packed
from ocs.balance.profiles import Profiles
from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import EVENT, INITIAL, Ask
from ocs.charging.plan import Known, Profile, QuotaRules, Wallet
from ocs.charging.quota import ByGroup, Sizes
from ocs.clock import Clock
from ocs.limits import SESSION_SERVICES_MAX, SESSIONS_KNOWN_MAX, SESSIONS_PER_SUBSCRIBER_MAX
from ocs.rating.ladder import Ladder
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs

LADDER_TEXTS_MAX = 10_000

Wallets = Callable[[Profile, Tariff], Wallet | None]
"""What a subscriber has beside money on a tariff; None where that is nothing."""

Crossed = Callable[[Profile, str], None]
"""Hears that a request of a session (or an event) used up an allowance of a subscriber, or reached a spend cap: not to be waited for."""


class Stopwatch(NamedTuple):
    """How the store's round trips are timed: a clock in microseconds, and who is told."""

    now_us: Callable[[], int]
    observe: Callable[[int], None]


_UNTIMED = Stopwatch(lambda: 0, lambda _micros: None)


_NO_SIZES: Final[Mapping[str, ByGroup[Sizes]]] = {}
_WAYS: tuple[type[Charging], ...] = (*[Charging] * EVENT, Event)
"""How a request goes through the store, by its CC-Request-Type."""


class Rules(NamedTuple):
    """What config says about sessions: quota, supervision, the life of a tombstone, and the deadline of a call.

    ``accounting`` are those of offline charging. ``sizes`` are those of the families that have some of their own (charging/quota.py); ``tells``
    says whether answers tell more than the decision, ``tells_balance`` whether that is the balance; ``pools`` whether there are credit pools. ``refunds_newest``: a refund that names no
    debit means the newest that fits.
    """

    quota: QuotaRules
    supervision_ms: int
    tombstone_ms: int
    deadline_ms: int
    sizes: Mapping[str, ByGroup[Sizes]] = _NO_SIZES
    tells: bool = False
    tells_balance: bool = False
    refunds_newest: bool = False
    accounting: AccountingRules = AccountingRules(3 * 86_400, 86_400)
    pools: bool = False

    @property
    def longest_s(self) -> int:
        """Return the longest life of a grant."""
        own = [each.validity_s for sizes in self.sizes.values() for each in sizes.values()]
        return max([self.quota.validity_s, *own])

    @property
    def where_ms(self) -> int:
        """Return the life of where:<Session-Id>: a session is heard of, or expires, within half of it."""
        return 2 * self.supervision_ms


class Book:
    """Charges requests against accounts; one per worker."""

    __slots__ = (
        "_texts",
        "accounted",
        "charge_name",
        "clock",
        "counts",
        "crossed",
        "events",
        "known",
        "load",
        "now_us",
        "observe",
        "opening",
        "parts",
        "profiles",
        "rules",
        "rules_text",
        "tariffs",
        "wallets",
    )

    def __init__(
        self, parts: Parts, tariffs: Tariffs, rules: Rules, clock: Clock, stopwatch: Stopwatch = _UNTIMED
    ) -> None:
        self.now_us, self.observe = stopwatch
        self._texts: dict[int, tuple[Ladder, bytes]] = {}  # the ladder is held, so that its id stays its own
        self.parts = parts
        self.clock = clock
        self.charge_name = function("charge")
        self.profiles = Profiles(parts)
        self.tariffs = tariffs
        self.wallets: Wallets = _no_wallet
        self.crossed: Crossed = _nobody_else
        self.load: Callable[[], int] = int
        """How much of what the worker may have under way it has, in per cent."""
        self.accounted = Accounted(rules.accounting)
        self.rules = rules
        self.rules_text = packed(
            rules.supervision_ms,
            rules.tombstone_ms,
            SESSIONS_PER_SUBSCRIBER_MAX,
            SESSION_SERVICES_MAX,
            rules.where_ms // 2,
        )
        self.known: dict[str, Known] = {}
        """What sessions are rated by, where that is more than one ladder, or another version than the newest."""
        self.opening: dict[str, list[Charging]] = {}
        """Sessions whose Initial is under way here, each with the requests that wait for it."""
        self.counts: dict[str, int] = dict.fromkeys(
            (
                "skew",
                "stale",
                "epoch",
                "replayed_unknown",
                "tariff_unknown",
                "store_faults",
                "script_faults",
                "own_faults",
            ),
            0,
        )
        """What went other than straight through, for metrics."""
        self.events: dict[tuple[int, int], int] = {}
        """One-time events by Requested-Action and Result-Code, for metrics."""

    def ladder_text(self, ladder: Ladder) -> bytes:
        """Return a ladder as the library takes it; packed once, since a tariff's ladders never change."""
        kept = self._texts.get(id(ladder))
        if kept is None:
            if len(self._texts) >= LADDER_TEXTS_MAX:
                self._texts.clear()
            kept = self._texts[id(ladder)] = (ladder, packed(*ladder))
        return kept[1]

    @property
    def ready(self) -> bool:
        """Tell whether every part of the store can be reached."""
        return self.parts.store.ready

    def learn(self, session_id: str, known: Known) -> None:
        """Remember what a session is rated by."""
        if session_id not in self.known and len(self.known) >= SESSIONS_KNOWN_MAX:
            del self.known[next(iter(self.known))]
        self.known[session_id] = known

    def account(self, record: AccountingRecord, done: Answered) -> None:
        """Post one accounting record; ``done`` gets its Outcome, later, exactly once (accounting.py, UNBILLED)."""
        self.charge(record.ask, done, record=Accounting(self, self.accounted, record, done))

    def charge(
        self, ask: Ask, done: Answered, via: str = "", at_ms: int = 0, record: Accounting | None = None
    ) -> None:
        """Charge one request; ``done`` gets its Outcome, later, exactly once.

        ``via`` is the way that the request came, kept in its session for requests of ours (stored_session.py, OpenSession).
        ``at_ms`` is the instant that prices it where that is not now: when it was received, by the wall clock (spool.py).
        ``record`` is the way of an accounting record.
        """
        charging = _WAYS[ask.kind](self, ask, done, via, at_ms) if record is None else record
        if ask.session_id in self.opening:
            if ask.kind != INITIAL:
                self.opening[ask.session_id].append(charging)
                return
        elif ask.kind == INITIAL:
            self.opening[ask.session_id] = []
            charging.opens = True
        charging.start()


def _nobody_else(_profile: Profile, _session_id: str) -> None:
    """Tell nobody."""


def _no_wallet(_profile: Profile, _tariff: Tariff) -> None:
    """Know of nothing beside money."""
