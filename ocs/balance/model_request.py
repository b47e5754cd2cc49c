"""One request that moves money, said a second time, for the model: steps 4 to 9 of MONEY.md.

Laws
1. What is posted stands in the order of the request; what is granted is granted in the order of priority, and told in the request's.
2. An edge is any instant at which what is paid from changes: of a window, of a row, of the account's life. No grant passes one.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from ocs.balance import model_pools
from ocs.balance.model_books import Account, Remembered, Service, Session, Terms
from ocs.balance.model_paying import Posted, Purse, Wish
from ocs.balance.model_prices import Offer, Place, Price, Rate, Versions, follows, pieces, version
from ocs.balance.model_rows import before_blocker, renewed
from ocs.charging.ask import INITIAL, NOT_GIVEN, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.limits import OUTCOMES_KEPT, SESSION_SERVICES_MAX
from ocs.outcomes import Code, Note
from ocs.rating.sources import Source, SourceKind
from ocs.records import Charge, Line, SessionState, Status, Taken
from ocs.units import Unit


def elsewhere(unit: Unit, wanted: Units) -> bool:
    """Tell whether use is asked for where only money is understood, or money where only use is."""
    kinds = {
        Unit.MONEY if place == Unit.MONEY else Unit.OCTETS
        for place, units in enumerate(wanted, 1)
        if units >= 0
    }
    return bool(kinds) and (Unit.MONEY if unit is Unit.MONEY else Unit.OCTETS) not in kinds


@dataclass(slots=True)
class _Row:
    """One service of a request on its way: what was posted of it and what became of its wish.

    ``earlier`` is the rate and window that it is on, ``rate`` the one for a grant now, of the version ``offer``.
    """

    asked: AskedService
    earlier: tuple[Rate, int] | None
    rate: Rate | None
    offer: Offer
    mark: str = ""
    validity_s: int = 0
    posted_units: int = 0
    quarantined_units: int = 0
    posted: Posted = field(default_factory=Posted)
    code: Code = Code.SUCCESS
    granted: int = 0
    final: bool = False
    pooled: bool = False
    foreign: bool = False
    """Its money is in another currency than the account's."""

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

    @property
    def received(self) -> bool:
        return self.rate is not None and self.rate.name.startswith("incoming ")

    @property
    def turn(self) -> tuple[bool, int]:
        """When it is granted, where credit is scarce; what has the same turn is granted in the order of the request."""
        return not self.emergency, self.rate.priority if self.rate is not None else 0

    def outcome(self) -> ServiceOutcome:
        """Return the row as the answer tells it; only a grant has a life, be it the last, of nothing."""
        lives = self.granted or self.final
        return ServiceOutcome(self.code, self.unit, self.granted, self.validity_s if lives else 0, self.final)


class Request:
    """Steps 4 to 9 of MONEY.md for one request that goes on to move money."""

    def __init__(
        self, terms: Terms, account: Account, session: Session, ask: Ask, now_ms: int, versions: Versions
    ) -> None:
        self.terms, self.account, self.session, self.ask, self.now_ms = terms, account, session, ask, now_ms
        self.versions, self.began = versions, session.offer
        self.notes = Note(0)
        self.late = session.state is not SessionState.OPEN
        self.purse = Purse(account, session.member, now_ms)
        self.offer = self._offer()
        self.rows = [self._row(asked) for asked in ask.services]
        self.held = {key: each.hold_micros for key, each in session.services.items()}
        if ask.currency not in {None, 0, terms.currency}:
            for row in self.rows:
                row.foreign = any(
                    each is not None and each.money >= 0 for each in (row.asked.used, row.asked.wanted)
                )

    @property
    def asks_for_emergency(self) -> bool:
        """Whether an emergency call is among what is asked for."""
        return any(row.emergency and row.asked.wanted is not None for row in self.rows)

    @property
    def place(self) -> Place:
        """What is known of where the services go, with what this request tells."""
        offer, family = self.began, self.ask.family
        if family is None or not offer.sells(family):
            return self.session.place
        told = offer.place(family, self.ask.information)
        return told if self.ask.kind == INITIAL else self.session.place.after(family, told)

    def _offer(self) -> Offer:
        """Return what grants are made on: the next version of what the session is on, where that sells anything of the kind."""
        family, following = self.ask.family, self.versions.following(self.began, self.now_ms)
        asks = any(each.wanted is not None for each in self.ask.services)
        if following is None or self.ask.kind != UPDATE or not asks or not following.sells(family):
            return self.began
        return following

    def _on(self, key: str) -> tuple[Rate, int] | None:
        """Return the rate and window that a service is on."""
        service = self.session.services.get(key)
        if service is None:
            return None
        return (service.offer or self.began).marked(self.ask.family, service.mark)

    def _row(self, asked: AskedService) -> _Row:
        offer, family = self.offer, self.ask.family
        rate = offer.rate(family, self.place, asked.rating_group)
        service, on = self.session.services.get(asked.key), self._on(asked.key)
        if family is None or not offer.sells(family):
            return _Row(asked, None, None, offer, service.rate if service is not None else "")
        if service is None:
            return _Row(asked, None, rate, offer)
        if on is not None and service.offer is not None and service.offer.key != offer.key:
            later = version(service.offer) > version(offer)
            if rate is None or rate.unit != on[0].unit or later:  # it stays where it is
                return _Row(asked, on, on[0], service.offer, service.rate)
        return _Row(asked, on, rate, offer, service.rate)

    def run(self) -> Outcome:
        """Post, void, grant, remember, record."""
        ask, session, account = self.ask, self.session, self.account
        for row in self.rows:
            self._post(row)
            self._settle_pool(row)
        for row in self.rows:
            self._void(row)
        if self.late:
            self.notes |= Note.LATE
        if ask.kind == TERMINATION:
            session.void()
            for row in self.rows:
                row.code = Code.UNRATED if row.foreign else Code.SUCCESS
        elif not self.late:
            if ask.number >= max(
                session.numbers, default=0
            ):  # what a late number tells is not how things are now
                session.place, session.offer = self.place, self.offer
            for row in sorted(self.rows, key=lambda row: row.turn):
                self._grant(row)
            self._begin_life()
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
        restricted = service is not None and service.final and not service.grant
        if (
            service is None
            or restricted
            or row.earlier is None
            or service.unit != row.unit
            or reported == NOT_GIVEN
            or (row.foreign and row.unit is Unit.MONEY)
        ):
            row.quarantined_units = max(0, *used)
        else:
            seconds = (self.now_ms - service.granted_ms) // 1000 + 1
            price = row.earlier[0].prices[row.earlier[1]]
            may = model_pools.may_use(self.session, service, price)
            believed = reported <= 4 * may or reported <= self.terms.rate_max[row.unit - 1] * seconds
            units = reported if believed else min(reported, may)
            row.posted_units = min(units, max(0, price.limit - service.used.position))
            row.quarantined_units = reported - row.posted_units
            told = pieces(self.began, *row.earlier, reported, row.posted_units, service.grant, self.now_ms)
            row.posted = self.purse.post(service, told, voids=self._voids(service))
            if row.posted.crossed:
                self.notes |= Note.CROSSED
            if row.posted_units > may:
                self.notes |= Note.OVERRUN
        if row.quarantined_units:
            self.notes |= Note.QUARANTINE

    def _settle_pool(self, row: _Row) -> None:
        """Take what one service used from its pool, and let it go where it asks for nothing more."""
        service = self.session.services.get(row.asked.key)
        if service is not None and service.pool:
            model_pools.take(self.session, service, row.posted.amount_micros)
            named = row.asked.used is not None or self.ask.kind == TERMINATION
            if named and row.asked.wanted is None and self._voids(service):
                model_pools.leave(self.session, service)

    def _void(self, row: _Row) -> None:
        """Step 5: void the hold of a service that is named, unless a higher number has done so."""
        if row.asked.used is None and row.asked.wanted is None:
            return
        service = self.session.services.get(row.asked.key)
        if service is None or not self._voids(service):
            return
        service.let_go()
        service.number = self.ask.number
        if not service.pool:
            service.hold_micros = 0
        if self.ask.kind == UPDATE and not self.late:
            service.grant, service.final = 0, False

    def _voids(self, service: Service) -> bool:
        """Whether this request voids what a service holds: no higher number has done so, or all ends."""
        return service.number <= self.ask.number or self.ask.kind == TERMINATION

    def _grant(self, row: _Row) -> None:
        """Step 6: grant what one service wants and the account can pay."""
        asked, services, number = row.asked, self.session.services, self.ask.number
        if asked.wanted is None and not row.foreign:
            return
        row.validity_s = min([self.terms.validity_s, *self._edges_s(row)])
        service = services.get(asked.key)
        if service is not None and service.number > number:
            if service.unit != row.unit or self._unrated(row):
                row.code = Code.UNRATED
                return
            if self.dunned(row):
                row.code = Code.BARRED
                return
            self.notes |= Note.STANDING
            if (
                service.grant
                and not service.pool
                and service.rate == f"{version(row.offer)}:{self._mark(row)}"
            ):
                row.granted, row.final = service.grant, service.final
            elif self.terms.restricts and not service.grant and service.final:
                row.final = True
            else:
                row.code = Code.CREDIT_LIMIT
            return
        if self._barred(row) or (
            self.dunned(row) and not self._unrated(row) and (service is None or service.unit == row.unit)
        ):
            row.code = Code.BARRED
        elif self._unrated(row) or not self._measurable(row, service):
            row.code = Code.UNRATED
        else:
            self._hold(row, service or Service(row.unit))
        if service is not None and not row.pooled:
            model_pools.leave(self.session, service)
        if service is not None:  # a refusal, too, is an answer from which time is counted
            service.number, service.granted_ms = number, self.now_ms

    @staticmethod
    def _unrated(row: _Row) -> bool:
        """Whether a service asks for what no rate sells, or names money that is none of the account's."""
        wanted = row.asked.wanted
        return row.foreign or not row.grantable or (wanted is not None and elsewhere(row.unit, wanted))

    def _mark(self, row: _Row) -> str:
        """Return the mark that a grant made now would have."""
        assert row.rate is not None
        return row.rate.mark(self.offer.window(self.now_ms) if len(row.rate.prices) > 1 else 0)

    def _measurable(self, row: _Row, service: Service | None) -> bool:
        """Whether a service has room in the session, and the kind of unit that it was opened with."""
        if service is None:
            return len(self.session.services) < SESSION_SERVICES_MAX
        return service.unit == row.unit

    def _barred(self, row: _Row) -> bool:
        """Whether somebody, or the end of the account's life, bars a service."""
        if row.emergency:
            return False
        if {self.account.status, self.account.own(self.session.member).status} != {Status.ACTIVE}:
            return True
        grace_ms = self.offer.grace_ms if row.received else 0
        return 0 < self.account.until_ms <= self.now_ms - grace_ms

    def dunned(self, row: _Row) -> bool:
        """Whether a creditor bars a service, outgoing or all; what is received passes the first."""
        scope = self.account.own(self.session.member).barred
        return bool(scope) and not row.emergency and not (row.received and scope == "outgoing")

    def _sources(self, row: _Row) -> tuple[Source, ...]:
        if row.rate is None:
            return ()
        # a service that stays on an older version is paid as its rate there is, also where the next one has no such rate
        return row.offer.sources(row.rate, self.ask.family, self.now_ms)

    def _edges_s(self, row: _Row) -> list[int]:
        """Return the whole seconds to each edge, at least one: of the window, of the rows, of the account's life."""
        offer, until_ms = self.offer, self.account.until_ms
        edge_ms = self.versions.edge(offer, self.now_ms)
        edges_ms = [edge_ms] if edge_ms <= self.now_ms + 1000 * self.terms.validity_s else []
        if row.rate is not None and len(row.rate.prices) > 1:
            edges_ms.append(offer.edge(self.now_ms))
        edges_ms += [
            source.until_ms
            for source in before_blocker(self._sources(row))
            if source.kind != SourceKind.BLOCK and self.purse.valid(source)
        ]
        if until_ms > 0 and not row.emergency:
            edges_ms.append(until_ms if self.now_ms < until_ms else until_ms + offer.grace_ms)
        return [max(1, (edge_ms - self.now_ms) // 1000) for edge_ms in edges_ms]

    def _begin_life(self) -> None:
        """Let the account's life begin with the first thing that is granted."""
        if self.account.until_ms == -1 and any(row.granted and not row.emergency for row in self.rows):
            first_ms = self.offer.first_ms
            self.account.until_ms = self.now_ms + first_ms if first_ms else 0

    def _wish(self, row: _Row) -> int:
        """Return what is wished for, before anything is known of speed, edges and money."""
        assert row.asked.wanted is not None
        most, wish = self.terms.most[row.unit - 1], row.asked.wanted[row.unit - 1]
        if row.unit is Unit.MONEY and wish <= 0:
            return self.terms.money
        return min(wish, most) if wish > 0 else (self.terms.chosen or self.terms.most[:3])[row.unit - 1]

    def _fast(self, row: _Row, service: Service) -> int:
        """Return what is wished for by the speed of use since the last grant; 0 where that does not matter."""
        assert row.asked.wanted is not None
        if (
            not self.terms.adapt_s
            or row.unit is Unit.MONEY
            or row.asked.wanted[row.unit - 1] > 0
            or row.asked.key not in self.session.services
        ):
            return 0
        most = self.terms.most[row.unit - 1]
        seconds = max(1, ceil(Fraction(self.now_ms - service.granted_ms, 1_000)))
        fast = min(most, floor(Fraction(min(row.posted_units, most) * self.terms.adapt_s, seconds)))
        return min(fast, row.validity_s) if row.unit is Unit.SECONDS else fast

    def _hold(self, row: _Row, service: Service) -> None:
        rate = row.rate
        assert rate is not None
        offer = self.offer
        window = offer.window(self.now_ms) if len(rate.prices) > 1 else 0
        price, used = rate.prices[window], service.used
        usual = self._wish(row)
        wish = max(usual, self._fast(row, service))
        if row.unit is Unit.SECONDS:
            usual, wish = min([usual, *self._edges_s(row)]), min([wish, *self._edges_s(row)])
        left = service.offer is not None and service.offer.key != row.offer.key
        if row.earlier is not None and (left or not follows(price, row.earlier[0].prices[0])):
            used = used._replace(cost=Fraction(service.posted_micros))
        if self._hold_in_pool(row, service, price, wish):
            service.used, service.mark, service.offer = used, rate.mark(window), row.offer
            return
        made = self.purse.grant(service, self._sources(row), price, used, Wish(wish, usual, self.terms.share))
        if not made.units:
            row.final = service.final = self.terms.restricts
            row.code = Code.SUCCESS if self.terms.restricts else Code.CREDIT_LIMIT
            return
        row.granted, row.final = made.units, made.units < usual
        service.used, service.mark, service.offer = used, rate.mark(window), row.offer
        service.grant, service.final = made.units, row.final
        service.number, service.granted_ms = self.ask.number, self.now_ms
        service.hold_micros, service.parts = made.hold_micros, made.parts
        self.session.services[row.asked.key] = service

    def _hold_in_pool(self, row: _Row, service: Service, price: Price, wish: int) -> bool:
        """Add units to the pool of a service, if it is to be in one and there is credit for that; else it goes out of it."""
        assert row.rate is not None
        pools = self.terms.pools
        pool = pools.get(row.asked.rating_group, pools.get(None, 0))
        pool = pool if model_pools.may_be_pooled(row.rate) and not self._sources(row) else 0
        if service.pool != pool:
            model_pools.leave(self.session, service)
        if pool:
            goes_on = service.pool == pool and service.rate == f"{version(row.offer)}:{self._mark(row)}"
            available = self.account.available_micros
            made = model_pools.share(service, pool, price, wish, available, goes_on=goes_on)
            if made.units:
                row.granted, row.pooled, row.final = made.units, True, made.units < made.most
                service.pool, service.grant, service.final = pool, made.units, row.final
                service.hold_micros += made.hold_micros
                service.number, service.granted_ms = self.ask.number, self.now_ms
                service.parts = renewed(service.parts, ())[0]
                self.session.services[row.asked.key] = service
                return True
        model_pools.leave(self.session, service)
        return False

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
        posted_micros, pending_micros = account.own_money(session.member)
        return Charge(
            account.name, account.next(), self.now_ms, self.now_ms, ask.session_id, ask.kind, ask.number,
            code, self.notes, self.began.key, *account.money, session.state, session.place.text,
            lines=(*(self._line(row) for row in self.rows), *self._moved_lines()),
            member=session.member,
            own_posted_micros=posted_micros,
            own_pending_micros=pending_micros,
            until_ms=account.until_ms,
            correlation=ask.correlation,
            parts=tuple(
                Taken(line, each.source.own, each.source.kind, each.source.id, each.source.start_ms, each.taken, each.used_after)
                for line, row in enumerate(self.rows, 1)
                for each in row.posted.movements
            ),
        )  # fmt: skip

    def _moved_lines(self) -> list[Line]:
        """Return lines of no code for the services that this does not name, and whose hold it moved in their pool."""
        named = {row.asked.key for row in self.rows}
        return [
            Line(
                key, each.unit, 0, 0, 0, each.used.position, 0, each.posted_micros, each.grant, each.hold_micros, each.rate, 0, 0
            )
            for key, each in self.session.services.items()
            if key not in named and each.hold_micros != self.held.get(key) and self.session.state is SessionState.OPEN
        ]  # fmt: skip

    def _line(self, row: _Row) -> Line:
        service = self.session.services.get(row.asked.key, Service())
        return Line(
            row.asked.key, row.unit, row.code, row.posted_units, row.quarantined_units, service.used.position,
            row.posted.amount_micros, service.posted_micros, service.grant, service.hold_micros, row.mark,
            row.posted.priced_micros, row.posted.allowance_units,
        )  # fmt: skip
