"""One accounting record on its way through the store, from what was read to its Outcome (book.py has the laws).

Laws
1. A record is known by its session, kind and number under a key of its own, which lives longer than the record's own time may be old:
   what comes again by then is too old to be posted. So no record counts twice, however late it is repeated.
2. What nobody can be billed for is posted to nobody, and told so: ``UNBILLED``. Who calls sets it aside (unbilled.py).
3. What a session is rated by, and how long its call has lasted, is kept in the store and remembered here; the store compares.
"""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ocs.balance.charging import Answered, Charging
from ocs.balance.functions import function
from ocs.balance.keys import slot_of, where
from ocs.balance.link import pack
from ocs.balance.parts import Part, packed
from ocs.balance.plan_text import pack_plan, read_outcome
from ocs.balance.profiles import write_place
from ocs.balance.renewals import renewal
from ocs.charging.accounting import AccountingRecord
from ocs.charging.accounting_plan import Lasted, Made, Rated, accounting_plan
from ocs.charging.ask import EVENT, INITIAL, TERMINATION
from ocs.charging.outcome import Outcome
from ocs.charging.plan import ANY, Profile, known_of
from ocs.limits import (
    PLANS_PER_REQUEST_MAX,
    RECORD_AHEAD_S,
    RECORD_FUTURE_S_MAX,
    SESSION_SERVICES_MAX,
    SESSIONS_KNOWN_MAX,
)
from ocs.outcomes import Code, Note

if TYPE_CHECKING:
    from ocs.balance.book import Book

UNBILLED: Final = frozenset((Code.UNKNOWN_SUBSCRIBER, Code.UNKNOWN_SESSION, Code.LIMIT, Code.UNRATED))
"""Outcomes of a record that nobody can be billed for: of nobody we know, too old (LIMIT), or of no service that is charged (UNRATED)."""
_EVENT_S: Final = 60
"""Seconds of use, at the greatest rate, that one event may tell of."""
_LASTED: Final = 3


class AccountingRules(NamedTuple):
    """What config says of accounting: how old a record may be, and after how long without a record a session ends."""

    age_s: int
    supervision_s: int

    @property
    def kept_ms(self) -> int:
        """Return how long records, and sessions that have ended, are remembered (law 1)."""
        return 1000 * (self.age_s + RECORD_AHEAD_S)

    def kept_of(self, own_ms: int, now_ms: int) -> int:
        """Return how long a record of its own time is remembered: until it would be too old, whatever its client's clock."""
        return self.kept_ms + max(0, own_ms - now_ms)

    def posts(self, own_ms: int, now_ms: int) -> bool:
        """Tell whether a record's own time is neither too old nor too far ahead."""
        return now_ms - 1000 * self.age_s <= own_ms <= now_ms + 1000 * RECORD_FUTURE_S_MAX


class Accounted:
    """What a worker counts and remembers of accounting."""

    __slots__ = ("gaps_closed", "gaps_opened", "rated", "rules")

    def __init__(self, rules: AccountingRules) -> None:
        self.rules = rules
        self.rated: dict[str, Rated] = {}
        self.gaps_opened = self.gaps_closed = 0
        """Numbers that were found missing, and that came after all."""

    def learn(self, name: str, rated: Rated) -> None:
        """Remember what a session is rated by."""
        if name not in self.rated and len(self.rated) >= SESSIONS_KNOWN_MAX:
            del self.rated[next(iter(self.rated))]
        self.rated[name] = rated


class Accounting(Charging):
    """One accounting record on its way through the store."""

    __slots__ = ("_accounted", "_made", "_rated", "_record")

    def __init__(self, book: "Book", accounted: Accounted, record: AccountingRecord, done: Answered) -> None:
        super().__init__(book, record.ask, done, "", 0)
        self._accounted, self._record = accounted, record
        self._known = None  # a session of credit-control's
        self._made: Made | None = None
        asks = record.ask.kind in {INITIAL, EVENT}
        self._rated = None if asks else accounted.rated.get(record.ask.session_id)

    def start(self) -> None:
        """Send the record; one of a service that is not charged here ends at once."""
        if self._ask.family is None:
            self._end(Code.UNRATED)
        else:
            super().start()

    def _send_for(self, profile: Profile, part: Part) -> None:
        book, ask, rules = self._book, self._ask, self._accounted.rules
        record = self._record.shifted(part.offset_ms)
        if self._rated is not None and self._rated.known.account != profile.path:
            self._rated = None
        now_ms = book.clock.now_ms() + part.offset_ms
        own_ms = record.at_s * 1000 or now_ms
        at_ms = min(own_ms, now_ms)
        if self._rated is not None:
            key = self._rated.known.tariff
            tariff = book.tariffs.of_session(key)
        else:
            tariff = book.tariffs.newest(profile.tariff, at_ms)
            key = tariff.key if tariff is not None else profile.tariff
        if tariff is None and book.tariffs.seek(part, self._learned):
            return  # another worker may know a version that we do not
        if tariff is None and self._rated is not None:
            book.counts["tariff_unknown"] += 1
            self._end(Code.EPOCH)
            return
        wallet = book.wallets(profile, tariff) if tariff is not None else None
        renewed = renewal(profile, wallet, now_ms) if wallet is not None and wallet.due(now_ms) else b""
        made = self._made = accounting_plan(
            record, tariff, book.rules.quota, book.ladder_text, at_ms, now_ms, self._rated, wallet
        )
        self._sent_key = key
        via = f"{ask.origin_host} {ask.origin_realm}"
        body = pack_plan(
            ask, profile, profile.path, now_ms, made.at_ms, part.offset_ms, key, made.plan, renewed, via=via
        )
        before = self._rated.lasted if self._rated is not None else Lasted()
        call = record.call
        unknown = call is not None and ask.kind != INITIAL and not made.lasted.tells(call)
        told = packed(
            int(call is not None), *before, *made.lasted, made.facts, rules.supervision_s * 1000, rules.kept_of(own_ms, now_ms),
            int(not rules.posts(own_ms, now_ms)), _EVENT_S if ask.kind == EVENT else rules.age_s, SESSION_SERVICES_MAX,
            int(unknown),
        )  # fmt: skip
        keys = book.parts.keys[profile.partition]
        own = (keys.book(profile.path),) if profile.member else ()
        names = (
            keys.part, keys.book(profile.account), keys.session(ask.session_id),
            keys.record(f"{ask.kind}.{ask.number}:{ask.session_id}"), keys.stream, keys.profile(profile.path), keys.due, keys.open, *own,
        )  # fmt: skip
        command = pack("FCALL", function("account"), str(len(names)), *names, part.text, body, told)
        self._sent_us = book.now_us()
        book.parts.store.call(keys.slot, command, self._replied, part.incarnation)

    def _stale(self, reply: Any) -> None:
        """Make the plan again with the fresh profile, and with what the session is rated by."""
        if len(reply) > _LASTED and self._profile is not None:
            tariff, facts, *marks = (each.decode() for each in reply[3:-3])
            known = known_of(
                self._profile.path, tariff, facts, dict(zip(marks[::2], marks[1::2], strict=True))
            )
            self._rated = Rated(known, Lasted(*map(int, reply[-3:])))
        self._book.counts["stale"] += 1
        profile = self._profile
        assert profile is not None
        self._plans += 1
        if self._plans >= PLANS_PER_REQUEST_MAX or not reply[1]:
            self._end(Code.STALE)
            return
        self._read_again(profile, reply)

    # -- the end

    def _finish(self, reply: Any) -> None:
        code, text, notes, *gaps = reply
        if not text:
            self._end(Code(code), Note(notes))
            return
        if gaps:
            self._accounted.gaps_opened += gaps[0]
            self._accounted.gaps_closed += gaps[1]
        decided, services = read_outcome(text)
        self._let_know(text, notes)
        if not notes & Note.REPLAY:
            self._remember_rated(notes)
        if self._ask.kind != EVENT and not notes & Note.REPLAY:
            self._say_where()
        self._done_with(Outcome(Code(decided), Note(notes), services))

    def _remember_rated(self, notes: int) -> None:
        accounted, made, ask = self._accounted, self._made, self._ask
        if ask.kind in {TERMINATION, EVENT} or notes & Note.LATE:
            accounted.rated.pop(ask.session_id, None)  # the store tells whoever comes late
            return
        assert made is not None
        assert self._profile is not None
        before = self._rated.known if self._rated is not None else None
        facts = before.facts if before is not None else ""
        if made.facts != ANY:
            facts = made.facts
        marks = dict(before.marks) if before is not None else {}
        marks |= {each.key: mark for each, mark in zip(ask.services, made.plan.marks(), strict=True) if mark}
        known = known_of(self._profile.path, self._sent_key, facts, marks)
        accounted.learn(ask.session_id, Rated(known, made.lasted))

    def _say_where(self) -> None:
        """Leave word where the session lives, for records that name nobody; losing it loses no money."""
        book, profile, rules = self._book, self._profile, self._accounted.rules
        assert profile is not None
        key = where(self._ask.session_id)
        life_ms = rules.supervision_s * 1000 + rules.kept_ms
        command = pack("SET", key, write_place(profile.partition, profile.path), "PX", life_ms)
        book.parts.store.call(slot_of(key), command, _ignore)


def _ignore(_reply: Any) -> None:
    """Receive a reply that changes nothing."""
