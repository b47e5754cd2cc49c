"""What one service's units are paid from, said a second time, for the model: posting on parts, and granting on sources.

Laws
1. An allowance comes first in time: what it covers is no step on the price's axis.
2. Outside its time a row gives no more than what this service itself held on it until now (DESIGN law 12).
3. Open units of a block are paid: they are used up first, whatever has become of their row. A leftover gives nothing else.
"""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from ocs.balance.model_books import Account, Service
from ocs.balance.model_prices import Price, Used, affordable, posted, use
from ocs.balance.model_rows import MONEY_UNIT, NOTHING_DRAWN, Part, Row, draw, renewed
from ocs.rating.sources import Source, SourceKind


class Movement(NamedTuple):
    """What posting took of the row of a part, and what is used of it after."""

    source: Source
    taken: int
    used_after: int


@dataclass(slots=True)
class Posted:
    """What became of units: how many an allowance had, the price of the others, and what of it the account paid."""

    allowance_units: int = 0
    priced_micros: int = 0
    amount_micros: int = 0
    moved: dict[int, Movement] = field(default_factory=dict)
    """By the part's place."""
    crossed: bool = False
    """Whether a bucket's last or the last below a cap went with it."""

    @property
    def movements(self) -> tuple[Movement, ...]:
        """Return them in the order of the parts."""
        return tuple(self.moved[place] for place in sorted(self.moved))


class Granted(NamedTuple):
    """A grant: its units, what it holds of the account's money, and the parts that it is made on."""

    units: int
    hold_micros: int
    parts: list[Part]


class Wish(NamedTuple):
    """Units that are wished for; those beyond ``usual`` for ``share`` per cent of the money at most."""

    units: int
    usual: int
    share: int


@dataclass(slots=True)
class Purse:
    """What the services of one subscriber are paid from at an instant."""

    account: Account
    member: str
    at_ms: int

    # ---------------------------------------------------------------- rows

    def valid(self, source: Source) -> bool:
        """Tell whether a source's row takes part in a grant; a counter does always."""
        if source.kind in {SourceKind.STOP, SourceKind.FREE, SourceKind.TIER}:
            return True
        row = self.account.row(self.member, source)
        return row is not None and row.lives(self.at_ms)

    def counted(self, source: Source) -> int:
        """Return what a counter stands at."""
        row = self.account.row(self.member, source)
        return 0 if row is None else row.used

    def _counter(self, source: Source, unit: int) -> Row:
        rows = self.account.rows_of(self.member, source.own)
        new = Row(source.id, unit, source.start_ms, source.until_ms)
        return rows.setdefault(new.key, new)

    def _ahead(self, parts: list[Part], used: Used) -> int:
        """Return how far the axis that chooses the steps is ahead of the service's own."""
        tiers = [part.source for part in parts if part.source.kind == SourceKind.TIER]
        return self.counted(tiers[0]) - used.covered if tiers else 0

    def _aheads(self, parts: list[Part], used: Used) -> list[int]:
        """Return how far that axis may be ahead, with and without what others hold on it."""
        ahead = self._ahead(parts, used)
        tiers = [part for part in parts if part.source.kind == SourceKind.TIER]
        held = [self.account.pending(self.member, each.source.own, each.key) for each in tiers[:1]]
        return [ahead, *[ahead + each for each in held if each]]

    # ---------------------------------------------------------------- posting

    def post(self, service: Service, told: list[tuple[Price, int]], *, voids: bool) -> Posted:
        """Post units of a service, each at its price; ``voids`` tells whether this voids what the service holds first."""
        held = [part.held if voids else 0 for part in service.parts]
        if voids:
            service.let_go()
        done = Posted()
        done.allowance_units = self._post_units(service, sum(units for _, units in told), held, done)
        left = _without_first(told, done.allowance_units)
        if any(units for _, units in left):
            self._post_money(service, left, held, done)
        return done

    def _free(self, source: Source, held: int) -> int:
        """Return what posting may take of a row, of which the service held so much."""
        free = self.account.free(self.member, source)
        return free if self.valid(source) else min(free, held)

    def _post_units(self, service: Service, units: int, held: list[int], done: Posted) -> int:
        left = units
        for place, part in enumerate(service.parts):
            if part.source.kind != SourceKind.UNITS:
                continue
            opened = min(left, part.open)
            part.open -= opened
            left -= opened
            row = self.account.row(self.member, part.source)
            if not left or row is None or part.leftover:
                continue
            drawn = draw(left, part.source, self._free(part.source, held[place]))
            row.used += drawn.taken
            part.open = max(0, drawn.covers - left)
            left -= min(left, drawn.covers)
            if drawn.taken:
                done.moved[place] = Movement(part.source, drawn.taken, row.used)
                done.crossed |= row.used == row.amount
        return units - left

    def _post_money(
        self, service: Service, told: list[tuple[Price, int]], held: list[int], done: Posted
    ) -> None:
        before, ahead = service.used, self._ahead(service.parts, service.used)
        for price, units in told:
            service.used = use(price, service.used, units, ahead)
        done.priced_micros = max(0, posted(told[-1][0], service.used) - service.posted_micros)
        service.posted_micros += done.priced_micros
        charge = done.priced_micros
        for part in service.parts:
            if part.source.kind == SourceKind.FREE:
                charge = min(charge, max(0, part.source.cap_micros - self.counted(part.source)))
        rest = charge
        for place, part in enumerate(service.parts):
            kind = part.source.kind
            if kind == SourceKind.TIER:
                self._count(part.source, service.unit, service.used.covered - before.covered, place, done)
            elif kind in {SourceKind.FREE, SourceKind.STOP}:
                self._count(part.source, MONEY_UNIT, charge, place, done)
            elif kind == SourceKind.MONEY:
                rest -= self._take_money(part.source, rest, held[place], place, done)
        done.amount_micros = rest
        self.account.posted_micros += rest
        if self.member:
            self.account.own(self.member).posted_micros += rest

    def _count(self, source: Source, unit: int, count: int, place: int, done: Posted) -> None:
        if count:
            row = self._counter(source, unit)
            below = row.used < source.cap_micros
            row.used += count
            done.moved[place] = Movement(source, count, row.used)
            done.crossed |= below and row.used >= source.cap_micros and source.kind != SourceKind.TIER

    def _take_money(self, source: Source, rest: int, held: int, place: int, done: Posted) -> int:
        row = self.account.row(self.member, source)
        taken = min(rest, self._free(source, held))
        if row is None or not taken:
            return 0
        row.used += taken
        done.moved[place] = Movement(source, taken, row.used)
        done.crossed |= row.used == row.amount
        return taken

    # ---------------------------------------------------------------- granting

    def grant(
        self, service: Service, sources: tuple[Source, ...], price: Price, used: Used, wish: Wish
    ) -> Granted:
        """Grant what is wanted, as far as buckets and money go; nothing moves but a counter that comes to be."""
        leftovers, fresh = renewed(service.parts, sources)
        left = wish.units - min(wish.units, sum(part.open for part in leftovers))
        blocked = False
        for part in fresh:
            if part.source.kind == SourceKind.BLOCK:
                blocked = True
                break
            if part.source.kind == SourceKind.UNITS:
                left -= min(left, part.open)
                free = self.account.free(self.member, part.source)
                drawn = draw(left, part.source, free) if self.valid(part.source) else NOTHING_DRAWN
                part.held = drawn.taken
                left -= min(left, drawn.covers)
        units, hold_micros = 0, 0
        if left and not blocked:
            usual = max(0, wish.usual - (wish.units - left))
            units, hold_micros = self._on_money(service, fresh, price, used, Wish(left, usual, wish.share))
        return Granted(wish.units - left + units, hold_micros, leftovers + fresh)

    def _on_money(
        self, service: Service, parts: list[Part], price: Price, used: Used, wish: Wish
    ) -> tuple[int, int]:
        """Return how many units money pays for, and what of it the account holds."""
        purses = [part for part in parts if part.source.kind == SourceKind.MONEY and self.valid(part.source)]
        stops = [part for part in parts if part.source.kind == SourceKind.STOP]
        frees = [part.source for part in parts if part.source.kind == SourceKind.FREE]
        budget = max(0, self.account.available_micros)
        budget += sum(self.account.free(self.member, part.source) for part in purses)
        for part in stops:
            pending = self.account.pending(self.member, part.source.own, part.key)
            budget = min(budget, max(0, part.source.cap_micros - self.counted(part.source) - pending))
        room = min([max(0, each.cap_micros - self.counted(each)) for each in frees], default=inf)
        aheads, cost, units = self._aheads(parts, used), 0, -1

        def paid(units: int, money: int) -> int:
            """Return the units that money pays for; others' may come before these or after: the dearer counts."""
            for ahead in aheads:
                units = affordable(
                    price, used, units, service.posted_micros, inf if room <= money else money, ahead
                )
            return units

        if wish.units > wish.usual:
            units = paid(wish.units, budget // 100 * wish.share)
        if units < wish.usual:
            units = paid(wish.usual, budget)
        if not units:
            return 0, 0
        for ahead in aheads:
            cost = max(cost, posted(price, use(price, used, units, ahead)) - service.posted_micros)
        hold = int(min(cost, room))
        for part in parts:
            if part.source.kind == SourceKind.TIER:
                self._counter(part.source, service.unit)
                part.held = units
        for part in stops:
            part.held = hold
            if hold:
                self._counter(part.source, MONEY_UNIT)
        rest = hold
        for part in purses:
            part.held = min(rest, self.account.free(self.member, part.source))
            rest -= part.held
        return units, rest


def _without_first(told: list[tuple[Price, int]], units: int) -> list[tuple[Price, int]]:
    """Return priced units but the first so many."""
    left = []
    for price, count in told:
        skipped = min(units, count)
        units -= skipped
        left.append((price, count - skipped))
    return left
