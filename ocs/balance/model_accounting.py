"""Accounting records, said a second time, for the model: MONEY.md, "Accounting records", in fractions.

Laws
1. Usage is posted at the price of its own time, whatever the account has: nothing is asked, granted or held.
2. What was seen is remembered for ever, and what is missing is made anew from it each time: no script lasts a day.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from ocs.balance.model import Model
from ocs.balance.model_books import Account, Service, Session
from ocs.balance.model_events import _record, _taken
from ocs.balance.model_paying import Posted, Purse
from ocs.balance.model_prices import NOWHERE, Place, Price, Rate, _by_time, follows
from ocs.balance.model_rows import renewed
from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import EVENT, INITIAL, NOT_GIVEN, TERMINATION, AskedService
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.limits import SESSION_SERVICES_MAX
from ocs.outcomes import Code, Note
from ocs.records import Charge, Line, SessionState, Status, Taken
from ocs.units import Unit

_EVENT_S = 60
_AHEAD_S = 86_400


@dataclass(slots=True)
class _Accounted(Session):
    """A session of accounting: how long its call has lasted, and which numbers came."""

    started_s: int = 0
    reached_s: int = 0
    length_s: int = 0
    kinds: set[int] = field(default_factory=set)
    asks: ClassVar[bool] = False
    missing: set[int] = field(default_factory=set)


class Posting:
    """What became of one record: its outcome, and how many numbers are missing since, or not any more."""

    __slots__ = ("closed", "opened", "outcome")

    def __init__(self, outcome: Outcome, opened: int = 0, closed: int = 0) -> None:
        self.outcome, self.opened, self.closed = outcome, opened, closed


class Records:
    """The accounting records of the accounts of one partition."""

    def __init__(self, model: Model, age_s: int, supervision_s: int) -> None:
        self._model, self._age_s, self._supervision_s = model, age_s, supervision_s
        self._kept: dict[tuple[str, int, int], tuple[str, str, int, Outcome]] = {}

    def account(self, account: Account, record: AccountingRecord, now_ms: int, member: str = "") -> Posting:
        """Post one record of an account, or of a member of it."""
        ask, own = record.ask, account.own(member)
        name = ask.session_id, ask.kind, ask.number
        if name in self._kept:
            owner, of_member, digest, outcome = self._kept[name]
            if (owner, of_member, digest) != (account.name, member, ask.digest):
                return _refused(Code.CONFLICT)
            return Posting(outcome._replace(notes=Note.REPLAY))
        found = account.sessions.get(ask.session_id) if ask.kind != EVENT else None
        assert found is None or isinstance(found, _Accounted)
        if found is not None and ask.kind in {INITIAL, TERMINATION} and ask.kind in found.kinds:
            return _refused(Code.CONFLICT)
        at_ms = min(record.at_s * 1000 or now_ms, now_ms)
        if at_ms < now_ms - 1000 * self._age_s or record.at_s * 1000 > now_ms + 1000 * _AHEAD_S:
            return _refused(Code.LIMIT)
        if found is None and Status.TERMINATED in {account.status, own.status}:
            return _refused(Code.UNKNOWN_SUBSCRIBER)
        session = found or _Accounted(account.name, self._model.versions.newest(own.offer, at_ms), member)
        if ask.kind != EVENT:
            account.sessions[ask.session_id] = session
        lasts = _EVENT_S if ask.kind == EVENT else self._age_s
        one = _One(self._model, account, session, record, now_ms, at_ms, lasts, fresh=found is None)
        posting = one.run(1000 * self._supervision_s)
        self._kept[name] = account.name, member, ask.digest, posting.outcome
        return posting


def _refused(code: Code) -> Posting:
    return Posting(Outcome(code, Note(0), ()))


@dataclass(slots=True)
class _Told:
    """One service of a record on its way."""

    asked: AskedService
    rate: Rate | None
    code: Code = Code.SUCCESS
    units: int = 0
    odd: int = 0
    posted: Posted = field(default_factory=Posted)

    @property
    def unit(self) -> Unit:
        return self.rate.unit if self.rate is not None else Unit.OCTETS


class _One:
    """One record that goes on to move money."""

    def __init__(
        self,
        model: Model,
        account: Account,
        session: _Accounted,
        record: AccountingRecord,
        now_ms: int,
        at_ms: int,
        lasts_s: int,
        *,
        fresh: bool,
    ) -> None:
        self.terms, self.account, self.session, self.record = model.terms, account, session, record
        self.ask, self.now_ms, self.at_ms, self.lasts_s, self.fresh = (
            record.ask,
            now_ms,
            at_ms,
            lasts_s,
            fresh,
        )
        self.late = session.state is not SessionState.OPEN or self.ask.number < max(
            session.numbers, default=0
        )
        self.was_open = session.state is SessionState.OPEN
        self.notes = Note.LATE if self.late else Note(0)

    def run(self, supervision_ms: int) -> Posting:
        """Measure, post, take note of the number, record."""
        ask, session = self.ask, self.session
        place, services = self._place(), self._measured()
        opened, closed = self._number()
        if opened:
            self.notes |= Note.GAP
        sells = session.offer.sells(ask.family)
        told = [
            _Told(each, session.offer.rate(ask.family, place, each.rating_group) if sells else None)
            for each in services
        ]
        purse = Purse(self.account, session.member, self.at_ms)
        for each in told:
            self._post(each, purse)
        if any(each.odd for each in told):
            self.notes |= Note.QUARANTINE
        if any(each.posted.crossed for each in told):
            self.notes |= Note.CROSSED
        if sum(each.posted.amount_micros for each in told) and self.account.available_micros < 0:
            self.notes |= Note.OVERRUN
        if sells:
            self._go_on(place)
        if ask.kind == TERMINATION:
            session.state = SessionState.CLOSED
        elif self.was_open:
            session.due_ms = self.now_ms + supervision_ms
        self.account.records.append(self._record(told, place if sells else session.place))
        rows = tuple(ServiceOutcome(each.code, each.unit, 0, 0, False) for each in told)
        return Posting(Outcome(Code.SUCCESS, self.notes, rows), opened, closed)

    def _place(self) -> Place:
        """Return what prices the usage: what was told before it, where anything was."""
        offer, ask = self.session.offer, self.ask
        told = offer.place(ask.family or "", ask.information) if offer.sells(ask.family) else NOWHERE
        known = not self.fresh and (ask.family == "data" or self.session.place != NOWHERE)
        return self.session.place if known else told

    def _go_on(self, place: Place) -> None:
        """Keep what the record has told for those after it."""
        session, ask = self.session, self.ask
        if ask.family == "data" and not self.fresh:
            place = session.place.after("data", session.offer.place("data", ask.information))
        if session.place == NOWHERE or ask.number >= max(session.numbers):
            session.place = place

    def _measured(self) -> tuple[AskedService, ...]:
        """Return what was used of each service: of a call, what is new of its length."""
        call, session, ask = self.record.call, self.session, self.ask
        if call is None:
            return ask.services
        instant_s, before_s = min(call.instant_s, self.now_ms // 1000), session.length_s
        if ask.kind == INITIAL and instant_s:
            session.started_s = instant_s
        if call.length_s != NOT_GIVEN:
            session.length_s = max(before_s, call.length_s)
            self.at_ms = 1000 * instant_s or self.at_ms
        else:
            session.reached_s = max(session.reached_s, instant_s)
            self.at_ms = 1000 * session.reached_s
            if session.started_s:
                session.length_s = max(before_s, session.reached_s - session.started_s)
            elif ask.kind != INITIAL:
                self.notes |= Note.QUARANTINE
        (service,) = ask.services
        assert service.used is not None
        return (service._replace(used=service.used._replace(seconds=session.length_s - before_s)),)

    def _number(self) -> tuple[int, int]:
        session, ask = self.session, self.ask
        if ask.kind == EVENT:
            return 0, 0
        begun = INITIAL in session.kinds
        if ask.kind == INITIAL and not self.record.call:
            at_s = self.record.at_s
            session.started_s = at_s if 1000 * at_s <= self.now_ms else 0
        session.numbers.add(ask.number)
        session.kinds.add(ask.kind)
        before = set(session.missing)
        if self.fresh and ask.kind != INITIAL:
            session.missing = set(range(ask.number))
            return max(ask.number, 1), 0
        top = max(session.numbers)
        if not self.fresh and ask.number == top:
            session.missing |= set(range(max(session.numbers - {top}, default=top) + 1, top))
        session.missing.discard(ask.number)
        if ask.kind == INITIAL:
            session.missing = {each for each in session.missing if each > ask.number}
        closed = len(before - session.missing)
        if ask.kind == INITIAL and not begun and not self.fresh:
            closed = max(closed, 1)
        return len(session.missing - before), closed

    def _post(self, told: _Told, purse: Purse) -> None:
        used, key = told.asked.used, told.asked.key
        assert used is not None
        service, rate, reported = self.session.services.get(key), told.rate, used[told.unit - 1]
        foreign = service is not None and service.unit != told.unit
        room = service is not None or len(self.session.services) < SESSION_SERVICES_MAX
        if rate is None or foreign or reported == NOT_GIVEN or not room:
            told.code, told.odd = Code.UNRATED, max(0, *used)
            return
        offer = self.session.offer
        window = offer.window(self.at_ms) if len(rate.prices) > 1 else 0
        price = rate.prices[window]
        service = service or Service(told.unit)
        earlier = offer.marked(self.ask.family, service.mark) if service.offer is not None else None
        if earlier is not None and not follows(price, earlier[0].prices[0]):
            service.used = service.used._replace(cost=Fraction(service.posted_micros))
        service.mark, service.offer, service.number = rate.mark(window), offer, self.ask.number
        leftovers, fresh = renewed(service.parts, offer.sources(rate, self.ask.family, self.at_ms))
        service.parts = leftovers + fresh
        self.session.services[key] = service
        if self._believed(told, reported):
            told.units = min(reported, max(0, price.limit - service.used.position))
        elif self.record.call is not None:
            self.session.length_s -= reported  # nobody believes it, so the call has not lasted so long
        told.odd = reported - told.units
        barred = self._barred(rate)
        if told.units:
            pieces = self._pieces(told, rate, window, reported)
            told.posted = purse.post(service, pieces, voids=True)
            if self.account.until_ms == -1 and not rate.name.startswith("emergency "):
                self.account.until_ms = self.at_ms + offer.first_ms if offer.first_ms else 0
        if barred:
            told.code = Code.BARRED

    def _believed(self, told: _Told, reported: int) -> bool:
        session, lasted_s = self.session, self.lasts_s
        if INITIAL in session.kinds and session.started_s:
            lasted_s = max(0, self.at_ms // 1000 - session.started_s)
        return reported <= self.terms.rate_max[told.unit - 1] * (lasted_s + 1)

    def _barred(self, rate: Rate) -> bool:
        if rate.name.startswith("emergency "):
            return False
        account = self.account
        if {account.status, account.own(self.session.member).status} != {Status.ACTIVE}:
            return True
        grace_ms = self.session.offer.grace_ms if rate.name.startswith("incoming ") else 0
        return 0 < account.until_ms <= self.at_ms - grace_ms

    def _pieces(self, told: _Told, rate: Rate, window: int, reported: int) -> list[tuple[Price, int]]:
        """Return the units at the price of their own time: of a container's end, or of the second in which they began."""
        offer, key = self.session.offer, told.asked.key
        found: list[tuple[Price, int]] = []
        slices = [each for each in self.record.slices if each.key == key]
        if len(rate.prices) == 1 or not any(each.at_s for each in self.record.slices):
            slices = []
        for each in slices:
            units = each.used[told.unit - 1]
            end_ms = min(1000 * each.at_s, self.now_ms) if each.at_s else self.at_ms
            if units == NOT_GIVEN:
                continue
            if told.unit is Unit.SECONDS:
                found += _by_time(offer, rate, units, end_ms)
            else:
                found.append((rate.prices[offer.window(end_ms - (each.at_s > 0))], units))
        if not slices:
            by_time = told.unit is Unit.SECONDS and len(rate.prices) > 1
            found = (
                _by_time(offer, rate, reported, self.at_ms) if by_time else [(rate.prices[window], reported)]
            )
        left, beyond = [], reported - told.units
        for price, units in found:  # what is not posted is the oldest
            passed = min(beyond, units)
            beyond -= passed
            if units > passed:
                left.append((price, units - passed))
        return left

    def _record(self, told: list[_Told], place: Place) -> Charge:
        session, lines, parts = self.session, list[Line](), list[Taken]()
        for at, each in enumerate(told, 1):
            service = session.services.get(each.asked.key) or Service()
            done = each.posted
            lines.append(
                Line(
                    each.asked.key, each.unit, each.code, each.units, each.odd, service.used.position, done.amount_micros,
                    service.posted_micros, 0, 0, service.rate, done.priced_micros, done.allowance_units,
                )
            )  # fmt: skip
            parts += [_taken(at, *movement) for movement in done.movements]
        made = _record(
            self.account,
            self.ask,
            self.now_ms,
            session.member,
            Code.SUCCESS,
            session.offer.key,
            place.text,
            lines,
            parts,
        )
        state = SessionState.CLOSED if self.ask.kind == EVENT else session.state
        return made._replace(at_ms=self.at_ms, notes=self.notes, state=state)
