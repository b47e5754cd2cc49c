"""One-time events, said a second time, for the model: MONEY.md, "Events", in fractions.

Laws
1. A debit is a grant of all units of a service, followed by its full use, at one instant; it is no session's.
2. What a debit would have taken, had it been of fewer units, is made anew from its price and its allowances each time; a refund is the
   difference of two of those.
3. What an event was answered is remembered for ever: no script lasts a day.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from ocs.balance.model import Model
from ocs.balance.model_books import Account, Service, Session
from ocs.balance.model_paying import Movement, Posted, Wish
from ocs.balance.model_prices import UNUSED, Price, posted, use
from ocs.balance.model_request import Request, _Row, elsewhere
from ocs.balance.model_rows import Row, RowKey, before_blocker
from ocs.charging.ask import CHECK_BALANCE, DIRECT_DEBITING, INITIAL, PRICE_ENQUIRY, Ask, AskedService, Units
from ocs.charging.outcome import Charged, Cost, Outcome, ServiceOutcome
from ocs.outcomes import Code, Note
from ocs.rating.sources import Source, SourceKind
from ocs.records import Charge, Line, SessionState, Status, Taken
from ocs.units import Unit

_ENDLESS = 2**60
"""More than anybody has, where credit does not count."""
_NUMBERS_MAX, _LISTED_MAX = 8, 32

Name = tuple[str, int]
"""Session-Id and number of an event."""


class _Took(NamedTuple):
    """What a number of units takes: of each move, of the account; their price, and how many of them allowances have."""

    moves: list[int]
    account: int
    price: int
    allowance_units: int


@dataclass(slots=True)
class _Debited:
    """One service of a debit, and how many of its units are left to be refunded."""

    key: str
    unit: Unit
    mark: str
    left: int
    price: Price
    ahead: int
    charge: int
    moves: tuple[Movement, ...]

    def took(self, units: int) -> _Took:
        """Return what so many units would have taken."""
        rest_units, moves = units, list[int]()
        for source, taken, _ in self.moves:
            if source.kind == SourceKind.UNITS:
                covered = min(rest_units, floor(Fraction(taken * source.block, source.take)))
                rest_units -= covered
                moves.append(min(taken, ceil(Fraction(covered, source.block)) * source.take))
            else:
                moves.append(0)
        used = use(self.price, UNUSED, rest_units, self.ahead)
        price = posted(self.price, used)
        rest = charge = min(price, self.charge)
        for place, (source, taken, _) in enumerate(self.moves):
            if source.kind == SourceKind.TIER:
                moves[place] = used.covered
            elif source.kind in {SourceKind.FREE, SourceKind.STOP}:
                moves[place] = charge
            elif source.kind == SourceKind.MONEY:
                moves[place] = min(rest, taken)
                rest -= moves[place]
        return _Took(moves, rest, price, units - rest_units)


@dataclass(slots=True)
class _Kept:
    """An event that was answered: whose, with what content and outcome, and what it debited."""

    account: str
    member: str
    digest: int
    outcome: Outcome
    family: str | None = None
    tariff: str = ""
    debited: dict[str, _Debited] = field(default_factory=dict)


class Events:
    """The one-time events of the accounts of one partition; ``refunds_newest`` is what config says of refunds that name no debit."""

    def __init__(self, model: Model, *, refunds_newest: bool = False) -> None:
        self._model = model
        self._refunds_newest = refunds_newest
        self._kept: dict[Name, _Kept] = {}

    def charge(self, account: Account, ask: Ask, now_ms: int, member: str = "") -> Outcome:
        """Charge one event of an account, or of a member of it."""
        assert ask.event is not None
        moves = ask.event.action not in {CHECK_BALANCE, PRICE_ENQUIRY}
        name = ask.session_id, ask.number
        kept = self._kept.get(name) if moves else None
        if kept is not None:
            if (kept.account, kept.member, kept.digest) != (account.name, member, ask.digest):
                return Outcome(Code.CONFLICT, Note(0), ())
            return kept.outcome._replace(notes=Note.REPLAY)
        if Status.TERMINATED in {account.status, account.own(member).status}:
            return Outcome(Code.UNKNOWN_SUBSCRIBER, Note(0), ())
        if not moves:
            return self._enquiry(account, ask, now_ms, member)
        kept = (
            self._debit(account, ask, now_ms, member)
            if ask.event.action == DIRECT_DEBITING
            else self._refund(account, ask, now_ms, member)
        )
        if kept is None:
            return Outcome(Code.LIMIT, Note(0), (), Charged(""))
        self._kept[name] = kept
        return kept.outcome

    def left(self, account: Account, member: str, ask: Ask) -> dict[str, int]:
        """Return what is left to be refunded of a debit, by service; nothing where the request is none of this subscriber."""
        kept = self._kept.get((ask.session_id, ask.number))
        if kept is None or (kept.account, kept.member, kept.digest) != (account.name, member, ask.digest):
            return {}
        return {key: each.left for key, each in kept.debited.items() if each.left}

    # ---------------------------------------------------------------- debits and enquiries

    def _debit(self, account: Account, ask: Ask, now_ms: int, member: str) -> _Kept:
        debit = _Debit(self._model, account, ask, now_ms, member)
        debit.run(credit=True)
        codes = [row.code for row in debit.request.rows]
        code = min(codes) if Code.SUCCESS not in codes else Code.SUCCESS
        account.records.append(debit.record(code))
        outcome = Outcome(code, debit.notes, (), Charged("EUR", debit.told()))
        return _Kept(
            account.name,
            member,
            ask.digest,
            outcome,
            ask.family,
            debit.request.session.offer.key,
            debit.debited,
        )

    def _enquiry(self, account: Account, ask: Ask, now_ms: int, member: str) -> Outcome:
        """Do it, look, and undo it."""
        assert ask.event is not None
        before = _Snapshot(account)
        debit = _Debit(self._model, account, ask, now_ms, member)
        debit.run(credit=ask.event.action == CHECK_BALANCE)
        before.restore(account)
        codes = [row.code for row in debit.request.rows]
        refusals = [code for code in codes if code in {Code.BARRED, Code.UNRATED}]
        code = min(refusals, default=Code.SUCCESS)
        if ask.event.action == PRICE_ENQUIRY:
            code = min(code, *codes)
        costs = tuple(
            Cost(debit.debited[row.asked.key].charge, row.posted.allowance_units)
            if row.asked.key in debit.debited
            else Cost(0, 0)
            for row in debit.request.rows
        )
        return Outcome(code, Note(0), (), Charged("EUR", debit.told(), costs))

    # ---------------------------------------------------------------- refunds

    def _refund(self, account: Account, ask: Ask, now_ms: int, member: str) -> _Kept | None:
        found = self._meant(account, ask, member)
        if found is None:
            return None
        name, debit = found
        lines, told, parts = [], [], []
        for place, asked in enumerate(ask.services, 1):
            line = debit.debited[asked.key]
            units = _asked(line, asked)
            assert units is not None
            before, after = line.took(line.left), line.took(line.left - units)
            line.left -= units
            for (source, _, _), much, less in zip(line.moves, before.moves, after.moves, strict=True):
                row = account.row(member, source)
                back = 0 if row is None else min(row.used, much - less)
                if row is not None and back:
                    row.used -= back
                    parts.append(
                        Taken(place, source.own, source.kind, source.id, source.start_ms, -back, row.used)
                    )
            amount = before.account - after.account
            account.posted_micros -= amount
            if member:
                account.members[member].posted_micros -= amount
            lines.append(
                Line(
                    line.key, line.unit, Code.SUCCESS, -units, 0, line.left - after.allowance_units, -amount, after.price,
                    line.left, 0, line.mark, after.price - before.price, after.allowance_units - before.allowance_units,
                )
            )  # fmt: skip
            told.append(ServiceOutcome(Code.SUCCESS, line.unit, units, 0, False))
        facts = f"{name[1]}:{name[0]}"
        account.records.append(
            _record(account, ask, now_ms, member, Code.SUCCESS, debit.tariff, facts, lines, parts)
        )
        outcome = Outcome(Code.SUCCESS, Note(0), (), Charged("EUR", tuple(told)))
        return _Kept(account.name, member, ask.digest, outcome)

    def _meant(self, account: Account, ask: Ask, member: str) -> tuple[Name, _Kept] | None:
        """Return the debit that a refund means: by its name, else of its Session-Id, else, where config says so, the newest."""
        own = [
            (name, kept)
            for name, kept in reversed(self._kept.items())
            if (kept.account, kept.member) == (account.name, member) and kept.debited
        ]
        listed = own[:_LISTED_MAX]
        assert ask.event is not None
        if ask.event.refund:
            named = ask.event.refund[5:].decode(errors="replace"), int.from_bytes(ask.event.refund[1:5])
            listed, own = [], [each for each in own if each[0] == named]
        else:
            same = [each for each in listed if each[0][0] == ask.session_id]
            near = [
                each
                for each in own
                if each[0][0] == ask.session_id and 0 < ask.number - each[0][1] <= _NUMBERS_MAX
            ]
            near.sort(key=lambda each: -each[0][1])
            own = same + [each for each in near if each not in same]
        keys = {asked.key for asked in ask.services}
        others = [each for each in listed if each not in own] if self._refunds_newest else []
        for candidates in (own, others):
            has = [
                each for each in candidates if each[1].family == ask.family and keys <= each[1].debited.keys()
            ]
            for each in has:
                if all(_asked(each[1].debited[asked.key], asked) for asked in ask.services):
                    return each
            if has:
                return None
        return None


def _asked(line: _Debited, asked: AskedService) -> int | None:
    """Return how many units are to be refunded; None where that is nothing, too many, or of another kind."""
    wanted = asked.wanted or Units()
    units = wanted[line.unit - 1]
    if units <= 0:
        if max(wanted) > 0:
            return None
        units = line.left
    return units if 0 < units <= line.left else None


class _Debit:
    """The services of one event, granted whole and used at once."""

    def __init__(self, model: Model, account: Account, ask: Ask, now_ms: int, member: str) -> None:
        self.account, self.ask, self.now_ms, self.member = account, ask, now_ms, member
        self.most = model.terms.chosen or model.terms.most[:3]
        session = Session(account.name, model.versions.newest(account.own(member).offer, now_ms), member)
        self.request = Request(
            model.terms, account, session, ask._replace(kind=INITIAL), now_ms, model.versions
        )
        self.debited: dict[str, _Debited] = {}

    def run(self, *, credit: bool) -> None:
        """Debit each service that can be paid in full, where credit counts."""
        for row in sorted(self.request.rows, key=lambda row: row.turn):
            row.code = self._one(row, credit=credit)
        self.request._begin_life()  # noqa: SLF001 - the model's own

    @property
    def notes(self) -> Note:
        """What else has happened."""
        return Note.CROSSED if any(row.posted.crossed for row in self.request.rows) else Note(0)

    def told(self) -> tuple[ServiceOutcome, ...]:
        return tuple(ServiceOutcome(row.code, row.unit, row.granted, 0, False) for row in self.request.rows)

    def _one(self, row: _Row, *, credit: bool) -> Code:
        request, purse, wanted = self.request, self.request.purse, row.asked.wanted
        if request._barred(row):  # noqa: SLF001
            return Code.BARRED
        if row.rate is None:
            return Code.UNRATED
        assert wanted is not None
        if elsewhere(row.unit, wanted) or (row.unit is Unit.MONEY and wanted.money <= 0):
            return Code.UNRATED
        if request.dunned(row):
            return Code.BARRED
        wish = wanted[row.unit - 1] if wanted[row.unit - 1] > 0 else self.most[row.unit - 1]
        window = request.session.offer.window(self.now_ms) if len(row.rate.prices) > 1 else 0
        price = row.rate.prices[window]
        sources = before_blocker(request._sources(row))  # noqa: SLF001
        if not credit:
            sources = [source for source in sources if source.kind != SourceKind.STOP]
        lent = 0 if credit else _ENDLESS
        self.account.credits_micros += lent
        service = Service(row.unit)
        made = purse.grant(service, tuple(sources), price, UNUSED, Wish(wish, wish, 100))
        self.account.credits_micros -= lent
        if made.units < wish:
            return Code.CREDIT_LIMIT
        service.parts, service.grant, service.mark = made.parts, wish, row.rate.mark(window)
        service.offer = request.session.offer
        ahead = purse._ahead(made.parts, UNUSED)  # noqa: SLF001
        row.posted = purse.post(service, [(price, wish)], voids=True)
        row.granted, row.mark = wish, service.rate
        self._keep(row, price, ahead)
        return Code.SUCCESS

    def _keep(self, row: _Row, price: Price, ahead: int) -> None:
        moves = row.posted.movements
        charge = row.posted.amount_micros + sum(
            each.taken for each in moves if each.source.kind == SourceKind.MONEY
        )
        self.debited[row.asked.key] = _Debited(
            row.asked.key, row.unit, row.mark, row.granted, price, ahead, charge, moves
        )

    def record(self, code: Code) -> Charge:
        """Return the record of a debit."""
        lines, parts = [], []
        for place, row in enumerate(self.request.rows, 1):
            done: Posted = row.posted
            priced = row.granted - done.allowance_units
            lines.append(
                Line(
                    row.asked.key, row.unit, row.code, row.granted, 0, priced, done.amount_micros, done.priced_micros, row.granted, 0,
                    row.mark if row.granted else "", done.priced_micros, done.allowance_units,
                )
            )  # fmt: skip
            parts += [_taken(place, *each) for each in done.movements]
        facts = self.request.place.text
        tariff = self.request.session.offer.key
        return _record(
            self.account, self.ask, self.now_ms, self.member, code, tariff, facts, lines, parts, self.notes
        )


def _taken(place: int, source: Source, taken: int, used_after: int) -> Taken:
    return Taken(place, source.own, source.kind, source.id, source.start_ms, taken, used_after)


def _record(
    account: Account,
    ask: Ask,
    now_ms: int,
    member: str,
    code: Code,
    tariff: str,
    facts: str,
    lines: list[Line],
    parts: list[Taken],
    notes: Note = Note(0),  # noqa: B008 - a constant
) -> Charge:
    posted_micros, pending_micros = account.own_money(member)
    return Charge(
        account.name, account.next(), now_ms, now_ms, ask.session_id, ask.kind, ask.number, code, notes, tariff,
        *account.money, SessionState.CLOSED, facts, member, posted_micros, pending_micros, account.until_ms, tuple(lines),
        tuple(parts), ask.correlation,
    )  # fmt: skip


class _Snapshot:
    """What an event may change of an account, to be put back."""

    def __init__(self, account: Account) -> None:
        self._money = account.posted_micros, account.until_ms
        self._used = {key: row.used for key, row in account.rows.items()}
        self._members = {
            name: (each.posted_micros, {key: row.used for key, row in each.rows.items()})
            for name, each in account.members.items()
        }

    def restore(self, account: Account) -> None:
        """Put everything back as it was; counters that came go."""
        account.posted_micros, account.until_ms = self._money
        _restore(account.rows, self._used)
        for name, (posted_micros, used) in self._members.items():
            account.members[name].posted_micros = posted_micros
            _restore(account.members[name].rows, used)


def _restore(rows: dict[RowKey, Row], used: dict[RowKey, int]) -> None:
    for key in list(rows):
        if key in used:
            rows[key].used = used[key]
        else:
            del rows[key]
