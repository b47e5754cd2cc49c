"""One request on its way through the store, from its Ask to its Outcome (book.py has the laws)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ocs.balance.keys import slot_of, where
from ocs.balance.link import Displaced, LinkLost, StoreError, StoreFault, pack
from ocs.balance.parts import Part, packed
from ocs.balance.plan_text import NOTES_AT, pack_plan, read_outcome, split_told, without_pools
from ocs.balance.profiles import owned, read_profile, write_place
from ocs.balance.renewals import renewal
from ocs.charging.ask import INITIAL, TERMINATION, Ask
from ocs.charging.barring import barred, help_lines
from ocs.charging.outcome import NO_POOLS, More, Outcome, Pooled, ServiceOutcome
from ocs.charging.plan import Plan, Profile, known_of, plan
from ocs.charging.quota import ByGroup, Sizes, limits
from ocs.charging.switch import course as course_of
from ocs.limits import PLANS_PER_REQUEST_MAX
from ocs.outcomes import Code, Note
from ocs.rating.currencies import numeric
from ocs.rating.tariff import Tariff
from ocs.units import Unit

if TYPE_CHECKING:
    from ocs.balance.book import Book

Answered = Callable[[Outcome], None]

_ELSEWHERE = frozenset((Code.UNKNOWN_SESSION, Code.CONFLICT))
# plain numbers here: an IntFlag's & costs 2 µs
_WHERE, _REPLAY, _STANDING = int(Note.WHERE), int(Note.REPLAY), int(Note.STANDING)
_RENEWED, _CROSSED = int(Note.RENEWED), int(Note.CROSSED)


_AFTER = _RENEWED | _CROSSED | _REPLAY


class Charging:
    """One request on its way through the store; callbacks instead of a task (a task costs 8 µs)."""

    __slots__ = (
        "_ask",
        "_at_ms",
        "_book",
        "_done",
        "_foreign",
        "_fresh",
        "_give_up_ms",
        "_known",
        "_looked_where",
        "_offset_ms",
        "_over",
        "_plan",
        "_plans",
        "_profile",
        "_refusal",
        "_replays",
        "_sent_key",
        "_sent_next",
        "_sent_us",
        "_via",
        "opens",
    )

    def __init__(self, book: "Book", ask: Ask, done: Answered, via: str, at_ms: int) -> None:
        self._book = book
        self._at_ms = at_ms
        self._ask = ask
        self._via = via
        self._done = done
        self._give_up_ms = book.clock.monotonic_ms() + book.rules.deadline_ms
        self._plans = 0
        self._sent_us = self._offset_ms = 0
        self._sent_key = self._sent_next = ""
        # an Initial opens a session anew: what is known of one of that name has ended
        self._known = book.known.get(ask.session_id) if ask.kind != INITIAL else None
        self._plan: Plan | None = None
        self._fresh = self._replays = False
        self._looked_where = self._foreign = False
        self._refusal = Code.UNKNOWN_SESSION
        self._over = False
        self._profile: Profile | None = None
        self.opens = False

    def start(self) -> None:
        """Send the request for the profile that is remembered, or find out who is asking."""
        try:
            ids = self._ask.ids
            self._profile = self._book.profiles.recall(ids) if ids else None
            if self._profile is None:
                self._find()
            else:
                self._send()
        except Exception as error:  # noqa: BLE001 - law 3
            self._failed(error)

    # -- who is asking

    def _find(self) -> None:
        self._fresh = True
        self._looked_where = not self._ask.ids
        self._book.profiles.find(self._ask.ids, self._ask.session_id, self._found)

    def _find_where(self) -> None:
        self._looked_where = True
        self._book.profiles.find((), self._ask.session_id, self._found_where)

    def _found(self, profile: Any) -> None:
        self._guarded(self._take_profile, profile)

    def _take_profile(self, profile: Any) -> None:
        if isinstance(profile, Profile):
            self._profile = profile
            self._send()
        elif profile is not None:
            self._faulted(profile, self._find)
        elif self._ask.kind != INITIAL and not self._looked_where:
            self._refusal = Code.UNKNOWN_SUBSCRIBER
            self._find_where()
        else:
            self._end(Code.UNKNOWN_SUBSCRIBER if self._ask.ids else Code.UNKNOWN_SESSION)

    def _found_where(self, profile: Any) -> None:
        self._guarded(self._take_where, profile)

    def _take_where(self, profile: Any) -> None:
        """Take the account for which the session was opened: identities that name another by now have to have been its own."""
        if isinstance(profile, Profile) and self._was_asked_by(profile):
            self._profile = profile
            # what was learned of the other account's session does not hold here
            self._known, self._plans = None, 0
            self._send()
        elif isinstance(profile, StoreFault):
            self._faulted(profile, self._find_where)
        else:
            self._end(self._refusal)

    def _was_asked_by(self, profile: Profile) -> bool:
        known = self._profile
        if known is None:
            return True  # named by nobody, or by identities that have gone
        return profile.path != known.path and any(profile.owns(each) for each in self._ask.ids)

    # -- the call

    def _send(self) -> None:
        """Make the plan and send it; the partition's epoch is asked first where it is not known."""
        profile = self._profile
        assert profile is not None
        part = self._book.parts.known(profile.partition)
        if part is None:
            self._book.parts.learn(profile.partition, self._learned)
        else:
            self._send_for(profile, part)

    def _learned(self, part: Part | StoreFault) -> None:
        self._guarded(self._take_part, part)

    def _take_part(self, part: Part | StoreFault) -> None:
        if isinstance(part, StoreFault):
            self._faulted(part, self._send)
        else:
            assert self._profile is not None
            self._send_for(self._profile, part)

    def _tariff(self, profile: Profile, now_ms: int) -> tuple[str, Tariff | None]:
        """Return the version that the session is on, as far as it is known; None where it is not known here."""
        if self._known is not None:
            return self._known.tariff, self._book.tariffs.of_session(self._known.tariff)
        tariff = self._book.tariffs.newest(profile.tariff, now_ms)
        return tariff.key if tariff is not None else profile.tariff, tariff

    def _send_for(self, profile: Profile, part: Part) -> None:
        book, ask = self._book, self._ask
        path = profile.path
        if self._known is not None and self._known.account != path:
            self._known = None  # two accounts in two partitions may have sessions of one name
        if ask.currency:
            self._foreign = ask.currency != numeric(profile.currency)
            if self._foreign and ask.kind == INITIAL:  # nothing was used: what goes on is posted (plan.py)
                self._end(Code.UNRATED)  # RFC 8506 section 9.2; nothing was looked at (answer.py)
                return
        self._offset_ms = part.offset_ms
        now_ms = book.clock.now_ms() + part.offset_ms
        at_ms = now_ms if not self._at_ms else min(now_ms, self._at_ms + part.offset_ms)
        key, tariff = self._tariff(profile, now_ms)
        course = None
        if tariff is not None and (
            tariff.name in book.tariffs.taking or (self._known is not None and self._known.mixed)
        ):
            course = course_of(book.tariffs, ask, tariff, self._known, now_ms, book.rules.longest_s)
            tariff = course.tariff if not course.lost else None
        if tariff is None and book.tariffs.seek(part, self._learned):
            return  # another worker may know a version that we do not
        self._sent_key = key
        if tariff is None and self._known is not None:
            # its usage would be set aside unpriced; another worker, or this one later, knows the version (nothing is marked as seen)
            book.counts["tariff_unknown"] += 1
            self._end(Code.EPOCH)
            return
        self._sent_next = following = course.next if course is not None else ""
        account, session_id = profile.account, ask.session_id
        wallet = book.wallets(profile, tariff) if tariff is not None else None
        renewed = renewal(profile, wallet, now_ms) if wallet is not None and wallet.due(now_ms) else b""
        own = book.rules.sizes.get(ask.family or "") if book.rules.sizes else None
        made = self._plan = plan(
            ask, tariff, book.rules.quota, book.ladder_text, at_ms, self._known, wallet, course, own,
            foreign=self._foreign,
        )  # fmt: skip
        if profile.barred and ask.kind != TERMINATION:  # an end asks for nothing, whatever it says
            made = self._plan = barred(made, profile.barred, help_lines(tariff))
        told = self._quota(made, own) if own is not None or book.rules.tells_balance else b""
        via = f"{ask.origin_host} {ask.origin_realm} {self._via}"
        body = pack_plan(
            ask, profile, path, now_ms, at_ms, part.offset_ms, key, made, renewed, following, via, book.rules_text, told
        )  # fmt: skip
        keys = book.parts.keys[profile.partition]
        prefix = keys.prefix
        command = pack(
            "FCALL",
            book.charge_name,
            "8" if profile.member else "7",
            keys.part,
            f"{prefix}book:{account}",
            f"{prefix}session:{session_id}",
            keys.due,
            keys.stream,
            f"{prefix}profile:{path}",
            keys.open,
            *((f"{prefix}book:{path}",) if profile.member else ()),
            part.text,
            body,
        )
        self._sent_us = book.now_us()
        book.parts.store.call(keys.slot, command, self._replied, part.incarnation)

    def _quota(self, made: Plan, own: ByGroup[Sizes] | None) -> bytes:
        """Pack what config says of the quota of the request's services; nothing where it says nothing."""
        ask, rules = self._ask, self._book.rules
        tells = rules.tells_balance and ask.family is not None
        found = limits(
            own, ask.services, made.units(), made.pools, tells_balance=tells, load=self._book.load()
        )
        return packed(*found) if found else b""

    def _replied(self, reply: Any) -> None:
        try:
            self._take_reply(reply)
        except Exception as error:  # noqa: BLE001 - law 3
            self._failed(error)

    def _take_reply(self, reply: Any) -> None:
        if isinstance(reply, StoreFault):
            self._faulted(reply, self._send)
            return
        book = self._book
        book.observe(book.now_us() - self._sent_us)
        if reply.__class__ is bytes:  # charged: an outcome says everything itself
            available_micros = None
            if book.rules.tells_balance:
                reply, available_micros = split_told(reply)
            self._decided(reply, reply[NOTES_AT], available_micros)
            return
        code = reply[0]
        if code == Code.SUCCESS or code > Code.STALE:
            self._finish(reply)
        elif code == Code.EPOCH:
            self._displaced()
        elif code == Code.STALE:
            self._stale(reply)
        elif code == Code.UNKNOWN_SUBSCRIBER and not self._fresh and self._ask.ids:
            # the account has ended; the number may be another's by now
            book.profiles.forget(self._ask.ids)
            self._find()
        elif code in _ELSEWHERE and not reply[1] and not self._looked_where and self._ask.kind != INITIAL:
            self._refusal = Code(code)  # unless the session is another account's: the number may have moved
            self._find_where()
        else:
            if code == Code.SKEW:
                book.counts["skew"] += 1
            self._finish(reply)

    def _displaced(self) -> None:
        """Begin again with the epoch of the process that serves the partition now; nothing was executed."""
        self._book.counts["epoch"] += 1
        assert self._profile is not None
        self._book.parts.forget(self._profile.partition)
        if self._late():
            self._end(Code.EPOCH)
        else:
            self._send()

    def _stale(self, reply: Any) -> None:
        """Make the plan again with the fresh profile, and with what the session is rated by."""
        self._book.counts["stale"] += 1
        known = self._profile
        assert known is not None
        self._plans += 1
        if self._plans >= PLANS_PER_REQUEST_MAX or not reply[1]:
            self._end(Code.STALE)
            return
        if len(reply) > 3:
            tariff, facts, *marks = (each.decode() for each in reply[3:])
            self._known = known_of(known.path, tariff, facts, dict(zip(marks[::2], marks[1::2], strict=True)))
            self._book.learn(self._ask.session_id, self._known)
        self._read_again(known, reply)

    def _read_again(self, known: Profile, reply: Any) -> None:
        """Take the profile that the store told, or read it where that tells not all."""
        if known.member:  # its account's profile may have changed too
            self._book.profiles.read(known.partition, known.path, self._fresh_found)
            return
        self._take_fresh(read_profile(reply[1], known.path, known.partition, reply[2]))

    def _fresh_found(self, profile: Any) -> None:
        self._guarded(self._take_fresh, profile)

    def _take_fresh(self, profile: Any) -> None:
        if not isinstance(profile, Profile):
            self._end(Code.EPOCH if profile is not None else Code.UNKNOWN_SUBSCRIBER)
            return
        known, self._profile = self._profile, profile
        ids = self._ask.ids
        if ids and not self._looked_where:
            if known is not None and any(owned(known, each) and not owned(profile, each) for each in ids):
                self._book.profiles.forget(ids)  # given up meanwhile: whom they name by now, the index says
                self._profile = None
                self._find()
                return
            self._book.profiles.remember(ids, profile)
        self._send()

    def _faulted(self, fault: StoreFault, again: Callable[[], None]) -> None:
        """Replay what is unknown; hand on what is known to have failed."""
        counts = self._book.counts
        if isinstance(fault, Displaced) and self._profile is not None:
            self._displaced()
        elif isinstance(fault, LinkLost) and not self._late():
            counts["replayed_unknown"] += 1
            self._replays = True
            again()
        elif isinstance(fault, StoreError) and fault.code == "ERR":
            counts["script_faults"] += 1
            self._end(Code.LIMIT)
        else:
            counts["store_faults"] += 1
            self._end(Code.EPOCH)

    def _late(self) -> bool:
        return self._book.clock.monotonic_ms() >= self._give_up_ms

    # -- the end

    def _finish(self, reply: Any) -> None:
        code, text, notes = reply[0], reply[1], reply[2]
        if not text:
            self._end(Code(code), Note(notes))
            return
        self._decided(text, notes, reply[3] if len(reply) > 3 else None)

    def _decided(self, text: bytes, notes: Any, available_micros: int | None) -> None:
        kept, services = read_outcome(text)
        made, pools = self._plan, NO_POOLS
        if self._book.rules.pools or notes & _REPLAY:  # what is repeated may be older than the settings
            services, pools = self._pools(services)
        if (
            made is not None
            and (made.marked or self._known is not None)
            and not notes & (_REPLAY | _STANDING)
        ):
            self._remember(made, kept, services)
        if notes & _AFTER:
            self._let_know(text, notes)
        # a repeated Initial says it too: the worker that got the first reply may have died before it could
        if kept == Code.SUCCESS and (notes & _WHERE or (notes & _REPLAY and self._ask.kind == INITIAL)):
            self._say_where()
        elif kept == Code.SUCCESS and self._ask.kind == TERMINATION and not notes & _REPLAY:
            self._let_where_go()
        more = None
        # what is repeated may have been granted by a version of the tariff that the plan is not of
        in_money = made is not None and (
            made.in_money or self._foreign or (notes & _REPLAY and _has_money(services))
        )
        if made is not None and (self._book.rules.tells or in_money) and self._profile is not None:
            # the calendar of a test is ahead of the client's clock
            edges_s = {key: (edge_ms - self._offset_ms) // 1000 for key, edge_ms in made.edges_ms.items()}
            more = More(
                made.looked_at, available_micros, self._profile.currency, edges_s, pools, self._foreign
            )
        self._done_with(Outcome(kept, notes, services, more=more))

    def _pools(
        self, services: tuple[ServiceOutcome, ...]
    ) -> tuple[tuple[ServiceOutcome, ...], Mapping[str, Pooled]]:
        """Part an outcome's services and the pools that their grants went into."""
        services, numbers = without_pools(services)
        if self._plan is None or not any(numbers):
            return services, NO_POOLS
        known, keys = self._plan.pools, [each.key for each in self._ask.services]
        told = zip(keys, numbers, strict=True)
        return services, {key: known[key]._replace(pool=pool) for key, pool in told if pool and key in known}

    def _let_know(self, text: bytes, notes: int) -> None:
        """Let those know whom it concerns that a product was renewed, or that what other sessions get is another by now."""
        # the reply that said it was ours, and was lost; a client's repetition is told to nobody
        if notes & _REPLAY and self._replays:
            notes |= text[NOTES_AT]
        if notes & _RENEWED:
            self._book.profiles.forget(self._ask.ids)  # it says more by now
        if notes & _CROSSED and self._profile is not None:
            self._book.crossed(self._profile, self._ask.session_id)

    def _remember(self, made: Plan, kept: Any, services: tuple[ServiceOutcome, ...]) -> None:
        """Remember what the session is rated by after this request, as the store does; an ended one is forgotten."""
        book, ask = self._book, self._ask
        if ask.kind == TERMINATION or kept != Code.SUCCESS:
            if ask.kind == TERMINATION:
                book.known.pop(ask.session_id, None)
            return
        assert self._profile is not None
        path = self._profile.path
        # what another request of the session has taught meanwhile stays
        known = book.known.get(ask.session_id, self._known)
        if known is not None and known.account != path:
            known = None
        granted = {
            asked.key: mark
            for asked, mark, one in zip(ask.services, made.marks(), services, strict=True)
            if one.granted > 0
        }
        before, marks = (known.facts, known.marks) if known is not None else ("", {})
        facts = made.facts if made.marked else before
        tariff = self._sent_next or self._sent_key
        if known is None or tariff != known.tariff or facts != before or not granted.items() <= marks.items():
            book.learn(ask.session_id, known_of(path, tariff, facts, marks | granted))

    def _say_where(self) -> None:
        """Leave word where the session lives, for requests that name nobody; losing it loses no money."""
        book, profile = self._book, self._profile
        assert profile is not None
        key = where(self._ask.session_id)
        place = write_place(profile.partition, profile.path)
        command = pack("SET", key, place, "PX", book.rules.where_ms)
        book.parts.store.call(slot_of(key), command, _ignore)

    def _let_where_go(self) -> None:
        """Keep the word no longer than the tombstone of a session that is closed: there would be hours of them."""
        book, key = self._book, where(self._ask.session_id)
        book.parts.store.call(slot_of(key), pack("PEXPIRE", key, book.rules.tombstone_ms), _ignore)

    def _end(self, code: Code, notes: Note = Note(0)) -> None:  # noqa: B008 - a constant
        self._done_with(Outcome(code, notes, ()))

    def _done_with(self, outcome: Outcome) -> None:
        self._over = True
        if self.opens:
            waiting = self._book.opening.pop(self._ask.session_id)
            try:
                self._done(outcome)
            finally:
                for each in waiting:
                    self._let_start(each)
        else:
            self._done(outcome)

    def _let_start(self, waiting: "Charging") -> None:
        """Start what waited; a defect in its receiver strands no other."""
        try:
            waiting.start()
        except Exception as error:  # noqa: BLE001 - told, and the next one's turn
            told = {"message": "a request met a defect of its receiver", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)

    def _guarded(self, step: Callable[[Any], None], value: Any) -> None:
        """Take one step."""
        try:
            step(value)
        except Exception as error:  # noqa: BLE001 - law 3
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """End the request with 3004 after a defect of ours, instead of leaving it without an answer (law 3)."""
        if self._over:
            raise error
        self._book.counts["own_faults"] += 1
        told = {"message": "a request met a defect of ours", "exception": error}
        asyncio.get_running_loop().call_exception_handler(told)
        self._end(Code.EPOCH)


def _has_money(services: tuple[ServiceOutcome, ...]) -> bool:
    return any(each.unit == Unit.MONEY for each in services)


def _ignore(_reply: Any) -> None:
    """Receive a reply that changes nothing."""
