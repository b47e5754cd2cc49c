"""What the store must do, said a second time: MONEY.md as a program in fractions, slow, plain and without a store.

Laws
1. Nothing of ocs.rating and nothing else of ocs.balance is imported (but model_prices, its other half): a second opinion that
   shares code is no opinion.
2. Prices are exact fractions; what is held is summed, never kept.
3. A property test holds this page and the Lua library equal, step by step, on a real store.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from ocs.balance.model_prices import (
    NOWHERE,
    UNUSED,
    Offer,
    Place,
    Rate,
    Used,
    affordable,
    follows,
    pieces,
    posted,
    use,
)
from ocs.charging.ask import INITIAL, NOT_GIVEN, TERMINATION, UPDATE, Ask, AskedService
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.limits import NUMBERS_WINDOW, OUTCOMES_KEPT, SESSION_SERVICES_MAX, SESSIONS_PER_SUBSCRIBER_MAX
from ocs.outcomes import Code, Note
from ocs.records import Account as AccountRecord
from ocs.records import Charge, Expire, Line, Record, SessionState, Status, Topup
from ocs.units import Unit


class Terms(NamedTuple):
    """What config says: most units of a grant and greatest rate by unit (in the order of Unit), lives in time."""

    most: tuple[int, int, int]
    rate_max: tuple[int, int, int]
    validity_s: int
    supervision_ms: int
    tombstone_ms: int


@dataclass(slots=True)
class Service:
    """One service that was granted in a session; ``granted_ms`` is when it last asked and was answered, ``mark`` its rate."""

    unit: Unit = Unit.OCTETS
    used: Used = UNUSED
    mark: str = ""
    posted_micros: int = 0
    grant: int = 0
    hold_micros: int = 0
    number: int = -1
    granted_ms: int = 0
    final: bool = False


class Remembered(NamedTuple):
    """One of the last outcomes of a session."""

    kind: int
    number: int
    digest: int
    outcome: Outcome


@dataclass(slots=True)
class Session:
    """A session or its tombstone."""

    account: str
    offer: Offer
    state: SessionState = SessionState.OPEN
    due_ms: int = 0
    services: dict[str, Service] = field(default_factory=dict)
    place: Place = NOWHERE
    numbers: set[int] = field(default_factory=set)
    remembered: list[Remembered] = field(default_factory=list)

    @property
    def held_micros(self) -> int:
        """Return what the session's services hold together."""
        return sum(each.hold_micros for each in self.services.values())

    def void(self) -> int:
        """Release every hold; return what was held."""
        held = self.held_micros
        for each in self.services.values():
            each.hold_micros = 0
        return held


@dataclass(slots=True)
class Account:
    """A book and its sessions; the sums that the store keeps are made anew here each time."""

    name: str
    profile: str
    offer: Offer
    floor_micros: int
    credits_micros: int = 0
    posted_micros: int = 0
    sequence: int = 0
    version: int = 1
    status: Status = Status.ACTIVE
    sessions: dict[str, Session] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    @property
    def open_sessions(self) -> list[Session]:
        """Return the account's open sessions."""
        return [each for each in self.sessions.values() if each.state is SessionState.OPEN]

    @property
    def pending_micros(self) -> int:
        """Return the sum of the holds of the open sessions."""
        return sum(each.held_micros for each in self.open_sessions)

    @property
    def available_micros(self) -> int:
        """Return what a grant may hold at most."""
        return self.credits_micros - self.posted_micros - self.pending_micros - self.floor_micros

    @property
    def money(self) -> tuple[int, int, int]:
        """Return credits, posted and pending, as every record ends in them."""
        return self.credits_micros, self.posted_micros, self.pending_micros

    def next(self) -> int:
        """Return the number of the next record."""
        self.sequence += 1
        return self.sequence


@dataclass(slots=True)
class _Row:
    """One service of a request on its way: what was posted of it and what became of its wish.

    ``earlier`` is the rate and window that it is on, ``rate`` the one for a grant now; ``sold`` whether its family has any price.
    """

    asked: AskedService
    earlier: tuple[Rate, int] | None
    rate: Rate | None
    mark: str = ""
    validity_s: int = 0
    posted_units: int = 0
    quarantined_units: int = 0
    amount_micros: int = 0
    code: Code = Code.SUCCESS
    granted: int = 0
    final: bool = False

    @property
    def unit(self) -> Unit:
        rate = self.earlier[0] if self.earlier is not None else self.rate
        return rate.unit if rate is not None else Unit.OCTETS

    @property
    def grantable(self) -> bool:
        """Whether there is a rate for a grant, in the unit that the service is on."""
        return self.rate is not None and self.rate.unit == self.unit

    @property
    def emergency(self) -> bool:
        return self.rate is not None and self.rate.name.startswith("emergency ")

    def outcome(self) -> ServiceOutcome:
        """Return the row as the answer tells it; only a grant has a life."""
        return ServiceOutcome(
            self.code, self.unit, self.granted, self.validity_s if self.granted else 0, self.final
        )


class Model:
    """The accounts of one partition, by name; the caller moves the time. Top-up ids are claimed over all partitions."""

    def __init__(self, terms: Terms, claims: dict[tuple[str, str], tuple[str, int]]) -> None:
        self.terms = terms
        self.accounts: dict[str, Account] = {}
        self._claims = claims

    def open(self, account: Account, now_ms: int, credit_micros: int = 0) -> None:
        """Open an account, with the credit that it begins with, which is a top-up of its own."""
        self.accounts[account.name] = account
        self._amended(account, now_ms)
        if credit_micros:
            self._credited(account, "opening", account.name, credit_micros, now_ms)

    def amend(
        self,
        account: Account,
        now_ms: int,
        *,
        status: Status | None = None,
        profile: str = "",
        offer: Offer | None = None,
    ) -> Code:
        """Change status, or profile and tariff; a terminated account stays as it is."""
        if account.status is Status.TERMINATED:
            return Code.UNKNOWN_SUBSCRIBER
        account.status = status or account.status
        account.profile = profile or account.profile
        account.offer = offer or account.offer
        account.version += 1
        self._amended(account, now_ms)
        return Code.SUCCESS

    def _amended(self, account: Account, now_ms: int) -> None:
        record = AccountRecord(
            account.name, account.next(), now_ms, account.version, account.status, account.floor_micros,
            account.profile, "", 0, *account.money,
        )  # fmt: skip
        account.records.append(record)

    def credit(
        self, account: Account, channel: str, topup_id: str, amount_micros: int, now_ms: int
    ) -> tuple[Code, bool]:
        """Add money once per (channel, id): the code, and whether it was a repetition."""
        name, content = (channel, topup_id), (account.name, amount_micros)
        if name in self._claims:
            return (Code.SUCCESS, True) if self._claims[name] == content else (Code.CONFLICT, False)
        if account.status is Status.TERMINATED:
            return Code.UNKNOWN_SUBSCRIBER, False
        self._claims[name] = content
        self._credited(account, channel, topup_id, amount_micros, now_ms)
        return Code.SUCCESS, False

    @staticmethod
    def _credited(account: Account, channel: str, topup_id: str, amount_micros: int, now_ms: int) -> None:
        account.credits_micros += amount_micros
        record = Topup(
            account.name, account.next(), now_ms, channel, topup_id, amount_micros, 0, *account.money
        )
        account.records.append(record)

    def expire(self, account: Account, session_id: str, now_ms: int, *, forced: bool = False) -> Code:
        """End a session whose time has come (or, forced, at an operator's word)."""
        session = account.sessions.get(session_id)
        if session is None or session.state is not SessionState.OPEN:
            return Code.UNKNOWN_SESSION
        if not forced and session.due_ms > now_ms:
            return Code.STALE
        session.state = SessionState.EXPIRED
        session.due_ms = now_ms + self.terms.tombstone_ms
        held = session.void()
        account.records.append(
            Expire(
                account.name,
                account.next(),
                now_ms,
                session_id,
                held,
                int(forced),
                "",
                *account.money[1:],
                *account.money,
            )
        )
        return Code.SUCCESS

    def charge(self, account: Account, ask: Ask, now_ms: int) -> Outcome:
        """Charge one credit-control request."""
        session = account.sessions.get(ask.session_id)
        if session is None:
            owner = next((each for each in self.accounts.values() if ask.session_id in each.sessions), None)
            if owner is not None:
                return _refusal(Code.CONFLICT)
            if ask.kind != INITIAL:
                return _refusal(Code.UNKNOWN_SESSION)
        else:
            known = self._recall(session, ask)
            if known is not None:
                return known
        if ask.kind == INITIAL:
            if account.status is Status.TERMINATED:
                return _refusal(Code.UNKNOWN_SUBSCRIBER)
            session = Session(account.name, account.offer)
            request = _Request(self.terms, account, session, ask, now_ms)
            if len(account.open_sessions) >= SESSIONS_PER_SUBSCRIBER_MAX and not request.emergency:
                return _refusal(Code.SESSIONS_FULL)
            account.sessions[ask.session_id] = session
        assert session is not None, "only an Initial goes on without a session"
        if session.state is SessionState.REFUSED:
            return _refusal(Code.SUCCESS if ask.kind == TERMINATION else Code.UNKNOWN_SESSION)
        return _Request(self.terms, account, session, ask, now_ms).run()

    @staticmethod
    def _recall(session: Session, ask: Ask) -> Outcome | None:
        """Return what is known of a request already; None when it is new."""
        for kept in session.remembered:
            if (kept.kind, kept.number) == (ask.kind, ask.number):
                if kept.digest != ask.digest:
                    return _refusal(Code.CONFLICT)
                return kept.outcome._replace(notes=Note.REPLAY)
        if ask.kind == INITIAL:
            return _refusal(Code.CONFLICT)
        if ask.kind == UPDATE and session.numbers:
            below = max(session.numbers) - NUMBERS_WINDOW
            if ask.number in session.numbers or ask.number <= below:
                return _refusal(Code.SEEN)
        if ask.kind == TERMINATION and session.state is SessionState.CLOSED:
            return _refusal(Code.UNKNOWN_SESSION)
        return None


def _refusal(code: Code) -> Outcome:
    return Outcome(code, Note(0), ())


class _Request:
    """Steps 4 to 9 of MONEY.md for one request that goes on to move money."""

    def __init__(self, terms: Terms, account: Account, session: Session, ask: Ask, now_ms: int) -> None:
        self.terms, self.account, self.session, self.ask, self.now_ms = terms, account, session, ask, now_ms
        self.notes = Note(0)
        self.late = session.state is not SessionState.OPEN
        self.rows = [self._row(asked) for asked in ask.services]

    @property
    def emergency(self) -> bool:
        """Whether an emergency call is among what is asked for."""
        return any(row.emergency and row.asked.wanted is not None for row in self.rows)

    @property
    def place(self) -> Place:
        """What is known of where the services go, with what this request tells."""
        offer, family = self.session.offer, self.ask.family
        if family is None or not offer.sells(family):
            return self.session.place
        return self.session.place.after(family, offer.place(family, self.ask.information))

    def _row(self, asked: AskedService) -> _Row:
        offer, family = self.session.offer, self.ask.family
        rate = offer.rate(family, self.place, asked.rating_group)
        service = self.session.services.get(asked.key)
        if family is None or not offer.sells(family):
            return _Row(asked, None, None, service.mark if service is not None else "")
        if service is None:
            return _Row(asked, None, rate)
        return _Row(asked, offer.marked(family, service.mark), rate, service.mark)

    def run(self) -> Outcome:
        """Post, void, grant, remember, record."""
        ask, session, account = self.ask, self.session, self.account
        for row in self.rows:
            self._post(row)
        for row in self.rows:
            self._void(row)
        if self.late:
            self.notes |= Note.LATE
        if ask.kind == TERMINATION:
            session.void()
        elif not self.late:
            session.place = self.place
            for row in self.rows:
                self._grant(row)
        code = self._command_code()
        self._move_session(code)
        rows = tuple(row.outcome() for row in self.rows)
        outcome = Outcome(code, self.notes, rows)
        if ask.kind == UPDATE:
            session.numbers.add(ask.number)
        session.remembered = [*session.remembered, Remembered(ask.kind, ask.number, ask.digest, outcome)][
            -OUTCOMES_KEPT:
        ]
        account.records.append(self._record(code))
        return outcome

    def _post(self, row: _Row) -> None:
        """Step 4: post what one service reports; what is not believed is set aside."""
        used = row.asked.used
        if used is None:
            return
        service = self.session.services.get(row.asked.key)
        reported = used[row.unit - 1]
        if service is None or row.earlier is None or service.unit != row.unit or reported == NOT_GIVEN:
            row.quarantined_units = max(0, *used)
        else:
            seconds = (self.now_ms - service.granted_ms) // 1000 + 1
            believed = (
                reported <= 4 * service.grant or reported <= self.terms.rate_max[row.unit - 1] * seconds
            )
            units = reported if believed else min(reported, service.grant)
            price = row.earlier[0].prices[row.earlier[1]]
            row.posted_units = min(units, max(0, price.limit - service.used.position))
            row.quarantined_units = reported - row.posted_units
            told = pieces(self.session.offer, *row.earlier, reported, row.posted_units, self.now_ms)
            for price, count in told:
                service.used = use(price, service.used, count)
            row.amount_micros = max(0, posted(price, service.used) - service.posted_micros)
            service.posted_micros += row.amount_micros
            self.account.posted_micros += row.amount_micros
            if row.posted_units > service.grant:
                self.notes |= Note.OVERRUN
        if row.quarantined_units:
            self.notes |= Note.QUARANTINE

    def _void(self, row: _Row) -> None:
        """Step 5: void the hold of a service that is named, unless a higher number has done so."""
        if row.asked.used is None and row.asked.wanted is None:
            return
        service = self.session.services.get(row.asked.key)
        if service is None or (service.number > self.ask.number and self.ask.kind != TERMINATION):
            return
        service.hold_micros, service.number = 0, self.ask.number
        if self.ask.kind == UPDATE and not self.late:
            service.grant, service.final = 0, False

    def _grant(self, row: _Row) -> None:
        """Step 6: grant what one service wants and the account can pay."""
        asked, services, number = row.asked, self.session.services, self.ask.number
        if asked.wanted is None:
            return
        row.validity_s = self.terms.validity_s
        if row.rate is not None and len(row.rate.prices) > 1:
            to_edge_s = (self.session.offer.edge(self.now_ms) - self.now_ms) // 1000
            row.validity_s = min(row.validity_s, max(1, to_edge_s))
        service = services.get(asked.key)
        if service is not None and service.number > number:
            if not row.grantable or service.unit != row.unit:
                row.code = Code.UNRATED
                return
            row.granted, row.final = service.grant, service.final
            row.code = Code.SUCCESS if service.grant else Code.CREDIT_LIMIT
            self.notes |= Note.STANDING
            return
        if self.account.status is not Status.ACTIVE and not row.emergency:
            row.code = Code.BARRED
        elif not row.grantable or not self._measurable(row, service):
            row.code = Code.UNRATED
        else:
            self._hold(row, service or Service(row.unit))
        if service is not None:  # a refusal, too, is an answer from which time is counted
            service.number, service.granted_ms = number, self.now_ms

    def _measurable(self, row: _Row, service: Service | None) -> bool:
        """Whether a service has room in the session, and the kind of unit that it was opened with."""
        if service is None:
            return len(self.session.services) < SESSION_SERVICES_MAX
        return service.unit == row.unit

    def _hold(self, row: _Row, service: Service) -> None:
        most, wanted, rate = self.terms.most[row.unit - 1], row.asked.wanted, row.rate
        assert wanted is not None
        assert rate is not None
        offer = self.session.offer
        window = offer.window(self.now_ms) if len(rate.prices) > 1 else 0
        price, used = rate.prices[window], service.used
        wish = wanted[row.unit - 1]
        wish = min(wish, most) if wish > 0 else most
        if len(rate.prices) > 1 and row.unit is Unit.SECONDS:
            wish = min(wish, row.validity_s)
        if row.earlier is not None and not follows(price, row.earlier[0].prices[0]):
            used = used._replace(cost=Fraction(service.posted_micros))
        units = affordable(price, used, wish, service.posted_micros, self.account.available_micros)
        if not units:
            row.code = Code.CREDIT_LIMIT
            return
        row.granted, row.final = units, units < wish
        service.used, service.mark = used, rate.mark(window)
        service.grant, service.final = units, row.final
        service.number, service.granted_ms = self.ask.number, self.now_ms
        service.hold_micros = max(0, posted(price, use(price, used, units)) - service.posted_micros)
        self.session.services[row.asked.key] = service

    def _command_code(self) -> Code:
        """Step 7: the command's code, and step 8: what an ended session answers."""
        if self.late and self.ask.kind == UPDATE:
            return Code.UNKNOWN_SESSION
        codes = [row.code for row in self.rows]
        return min(codes) if codes and Code.SUCCESS not in codes else Code.SUCCESS

    def _move_session(self, code: Code) -> None:
        session = self.session
        if self.ask.kind == TERMINATION:
            session.state, session.due_ms = SessionState.CLOSED, self.now_ms + self.terms.tombstone_ms
        elif self.ask.kind == INITIAL and code is not Code.SUCCESS:
            session.state, session.due_ms = SessionState.REFUSED, self.now_ms + self.terms.tombstone_ms
        elif not self.late:
            session.due_ms = self.now_ms + self.terms.supervision_ms

    def _record(self, code: Code) -> Charge:
        ask, account, session = self.ask, self.account, self.session
        lines = tuple(self._line(row) for row in self.rows)
        return Charge(
            account.name, account.next(), self.now_ms, self.now_ms, ask.session_id, ask.kind, ask.number,
            code, self.notes, session.offer.key, *account.money, session.state, session.place.text, "", *account.money[1:], 0, lines,
        )  # fmt: skip

    def _line(self, row: _Row) -> Line:
        service = self.session.services.get(row.asked.key, Service())
        return Line(
            row.asked.key, row.unit, row.code, row.posted_units, row.quarantined_units, service.used.position,
            row.amount_micros, service.posted_micros, service.grant, service.hold_micros, row.mark, row.amount_micros, 0,
        )  # fmt: skip
