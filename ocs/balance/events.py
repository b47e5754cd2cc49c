"""One one-time event on its way through the store, from its Ask to its Outcome (book.py has the laws).

An event is known by Session-Id and CC-Request-Number under a key of its own, so that it touches no session of that Session-Id. A
debit and a refund are one function call each; an enquiry is one that only reads. A refund whose debit nobody names looks first
which debits the account had.
"""

from typing import TYPE_CHECKING, Any

from ocs.balance.charging import Answered, Charging
from ocs.balance.functions import function
from ocs.balance.link import StoreFault, pack
from ocs.balance.parts import Part, packed
from ocs.balance.plan_text import pack_plan, read_outcome
from ocs.balance.renewals import renewal
from ocs.charging.ask import CHECK_BALANCE, DIRECT_DEBITING, REFUND_ACCOUNT, Ask
from ocs.charging.barring import barred, help_lines
from ocs.charging.event import Debited, concluded, event_plan, read_refund_information
from ocs.charging.outcome import Charged, Cost, More, Outcome
from ocs.charging.plan import Profile
from ocs.limits import (
    DEBIT_KEPT_MS,
    DEBITS_LISTED_MAX,
    EVENT_KEPT_MS,
    REFUND_NUMBERS_MAX,
    REFUSED_EVENT_KEPT_MS,
)
from ocs.outcomes import RESULT_CODES, Code, Note
from ocs.rating.currencies import numeric

if TYPE_CHECKING:
    from ocs.balance.book import Book


class Event(Charging):
    """One event on its way through the store."""

    __slots__ = ("_action", "_debits")

    def __init__(self, book: "Book", ask: Ask, done: Answered, via: str, at_ms: int) -> None:
        super().__init__(book, ask, done, via, at_ms)
        assert ask.event is not None
        self._action = ask.event.action
        self._debits: list[str] | None = None
        self._known = None  # of a session of that name, which is none of ours

    def _find(self) -> None:
        self._debits = None  # they are another account's, if the number has moved
        if self._ask.ids:
            super()._find()
        else:
            self._end(Code.UNKNOWN_SUBSCRIBER)

    def _find_where(self) -> None:
        self._end(self._refusal)  # no session says whose an event is

    def _send_for(self, profile: Profile, part: Part) -> None:
        if self._ask.currency and self._ask.currency != numeric(profile.currency):
            self._end(Code.UNRATED)  # RFC 8506 section 9.2; nothing was looked at (answer.py)
            return
        if self._action == REFUND_ACCOUNT and self._debits is None and self._named() is None:
            self._list_debits(profile)
            return
        book, ask = self._book, self._ask
        now_ms = book.clock.now_ms() + part.offset_ms
        tariff = book.tariffs.newest(profile.tariff, now_ms)
        if tariff is None and book.tariffs.seek(part, self._learned):
            return  # another worker may know a version that we do not
        key = tariff.key if tariff is not None else profile.tariff
        wallet = book.wallets(profile, tariff) if tariff is not None else None
        due = wallet is not None and self._action != REFUND_ACCOUNT and wallet.due(now_ms)
        renewed = renewal(profile, wallet, now_ms) if due and wallet is not None else b""
        own = book.rules.sizes.get(ask.family or "") if book.rules.sizes else None
        made = event_plan(ask, tariff, book.rules.quota, book.ladder_text, now_ms, wallet, own)
        if profile.barred:
            made = barred(made, profile.barred, help_lines(tariff))
        told = packed(1) if book.rules.tells_balance and ask.family is not None else b""  # plan.lua, Q_TELLS
        body = pack_plan(
            ask, profile, profile.path, now_ms, now_ms, part.offset_ms, key, made, renewed, told=told
        )
        name, keys, *more = self._call(profile)
        prefix = book.parts.keys[profile.partition]
        command = pack("FCALL", function(name), str(len(keys)), *keys, part.text, body, *more)
        self._sent_us = book.now_us()
        book.parts.store.call(prefix.slot, command, self._replied, part.incarnation)

    def _call(self, profile: Profile) -> tuple[Any, ...]:
        """Return the function's name, its keys, and what it takes beside the plan."""
        keys, ask = self._book.parts.keys[profile.partition], self._ask
        own = (keys.book(profile.path),) if profile.member else ()
        known = (keys.part, keys.book(profile.account))
        told = keys.profile(profile.path)
        if self._action not in {DIRECT_DEBITING, REFUND_ACCOUNT}:
            return "enquire", (*known, told, *own), str(int(self._action == CHECK_BALANCE))
        name = Debited(ask.session_id, ask.number).name
        event = (keys.event(name), keys.stream, told)
        if self._action == DIRECT_DEBITING:
            debits = keys.debits(profile.path)
            more = packed(name, ask.family or "", REFUSED_EVENT_KEPT_MS, DEBIT_KEPT_MS, DEBITS_LISTED_MAX - 1)
            return "debit", (*known, *event, debits, *own), more
        named, names = self._candidates()
        more = packed(ask.family or "", EVENT_KEPT_MS, named)
        return "refund", (*known, *event, *own, *map(keys.event, names)), more

    # -- which debit a refund is of

    def _named(self) -> str | None:
        """Return the name of the debit that the request's Refund-Information says; "" for one that is none of ours."""
        assert self._ask.event is not None
        if not self._ask.event.refund:
            return None
        debited = read_refund_information(self._ask.event.refund)
        return "" if debited is None else debited.name

    def _candidates(self) -> tuple[int, list[str]]:
        """Return the debits that may be meant, the first ones first, and how many of them are named by the request itself.

        What it does not name is meant only where config says so: a client that says its refund again under a Session-Id of another
        would be given back another debit too, and money given back twice is seldom seen.
        """
        named = self._named()
        if named is not None:
            return 1, [named]
        session_id, number = self._ask.session_id, self._ask.number
        listed = self._debits or []
        own = [each for each in listed if each.partition(":")[2] == session_id]
        before = range(number - 1, max(-1, number - 1 - REFUND_NUMBERS_MAX), -1)
        own += [name for each in before if (name := Debited(session_id, each).name) not in own]
        others = [each for each in listed if each not in own] if self._book.rules.refunds_newest else []
        return len(own), own + others

    def _list_debits(self, profile: Profile) -> None:
        keys = self._book.parts.keys[profile.partition]
        command = pack("LRANGE", keys.debits(profile.path), "0", str(DEBITS_LISTED_MAX - 1))
        self._book.parts.store.call(keys.slot, command, self._listed)

    def _listed(self, reply: Any) -> None:
        self._guarded(self._take_list, reply)

    def _take_list(self, reply: Any) -> None:
        if isinstance(reply, StoreFault):
            self._faulted(reply, self._send)
            return
        self._debits = [each.decode(errors="surrogateescape") for each in reply]
        self._send()

    # -- the end

    def _done_with(self, outcome: Outcome) -> None:
        counted = self._action, RESULT_CODES[outcome.code]
        self._book.events[counted] = self._book.events.get(counted, 0) + 1
        super()._done_with(outcome)

    def _finish(self, reply: Any) -> None:
        code, text, notes, *costs = reply
        if text:  # costs are pairs; behind them stands what the account has available, where the plan asked
            self._decided(text, notes, costs.pop() if len(costs) % 2 else None, costs)
        else:
            charged = Charged("") if code == Code.LIMIT else None  # what a refund asks back is not there
            self._done_with(Outcome(Code(code), Note(notes), (), charged))

    def _decided(self, text: bytes, notes: Any, available_micros: int | None, costs: Any = ()) -> None:
        code, services = read_outcome(text)
        self._let_know(text, notes)
        assert self._profile is not None
        told = tuple(Cost(money, units) for money, units in zip(costs[::2], costs[1::2], strict=True))
        currency = self._profile.currency
        outcome = concluded(self._ask, Code(code), Note(notes), services, Charged(currency, (), told))
        if available_micros is not None:
            outcome = outcome._replace(more=More(available_micros=available_micros, currency=currency))
        self._done_with(outcome)
