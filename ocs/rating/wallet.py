"""The wallet: what an account, or a member of one, may pay a service from at an instant: its sources, in order; pure.

Laws
1. Counters come first: the rate's, the spend caps that fit (one that is lifted is counted, and bounds nothing), a member's own cap. Then the buckets of what is held:
   by priority, then what ends first, then by number; what rolled over goes before the fresh allowance beside it.
2. A bucket is named when its period holds, whether or not the store has opened it: a source without a row gives nothing. So one
   plan can renew a product and use what it brings.
3. Nothing stands behind a blocker. There are at most SOURCES_MAX sources: counters and the blocker always, of more buckets the first.
   ``crowded`` tells before a product is bought whether it could come to that.
4. What is free has no sources.
5. Lists are remembered until the first instant at which one can change, and only on this wallet: whoever's profile changes gets a
   new one.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ocs.rating.counters import MEMBER, Counter, counter
from ocs.rating.openings import Held, bucket_id, period_of
from ocs.rating.periods import CALENDAR_MONTH
from ocs.rating.products import Allowance, Catalogue, Product, Use, crowd
from ocs.rating.rates import Facts, Rate
from ocs.rating.sources import SOURCES_MAX, Source, SourceKind
from ocs.rating.tariff import Tariff
from ocs.rating.windows import AT_MS_MAX

LISTS_KEPT_MAX = 256
"""Facts of which a wallet remembers the sources; a subscriber seldom meets more in a day. Beyond: all are forgotten."""

_BLOCK = Source(SourceKind.BLOCK)


class Due(NamedTuple):
    """A held product whose period has begun and was not opened yet.

    When credit is short for it at or after ``lapses_ms``, the product ends; before, it is tried again.
    """

    held: Held
    product: Product
    period: tuple[int, int]
    lapses_ms: int


class _Bucket(NamedTuple):
    """A source of what is held, and before it what law 1 sorts by."""

    priority: int
    until_ms: int
    pair: int
    fresh: bool
    source: Source
    blocker: bool


class _Holding:
    """A held instance with its product, and the period that was looked at last."""

    __slots__ = ("held", "own", "product", "serving", "start_ms", "until_ms")

    def __init__(self, held: Held, product: Product, *, is_member: bool) -> None:
        self.held = held
        self.product = product
        self.own = int(is_member and not product.shared)
        self.serving: dict[str, list[list[tuple[Use, list[_Bucket]]]]] = {
            use.service: [] for each in product.allowances for use in each.uses
        }
        self.start_ms = self.until_ms = 0

    @property
    def renews(self) -> bool:
        return self.product.recurring and self.held.renews

    def looks_at(self, at_ms: int) -> bool:
        """Tell whether a period of it holds at an instant, and note that period's buckets."""
        _, _, begun_ms, until_ms, _ = self.held
        ends = not self.renews and (until_ms or self.product.recurring)
        if at_ms < begun_ms or (ends and at_ms >= until_ms):
            return False
        if not self.start_ms <= at_ms < self.until_ms:
            try:
                self.start_ms, self.until_ms = period_of(self.product, begun_ms, at_ms)
            except ValueError:  # bought once, and over
                return False
            self.serving = {service: list(self._serving(service)) for service in self.serving}
        return True

    def edge_after(self, at_ms: int) -> int:
        """Return the first instant after this one at which it may begin, end, or be renewed."""
        edges_ms = [each for each in (self.held.start_ms, self.held.until_ms, self.until_ms) if each > at_ms]
        return min(edges_ms, default=AT_MS_MAX)

    def buckets(self, rate: Rate, facts: Facts) -> list[_Bucket]:
        """Return what it has for a service in the period noted: of each allowance the first use that fits."""
        unit = rate.unit
        found: list[_Bucket] = []
        for uses in self.serving.get(facts.service, ()):
            for use, made in uses:
                if (use.unit is None or use.unit == unit) and use.conditions.hold(facts):
                    found += made
                    break
        return found

    def _serving(self, service: str) -> Iterator[list[tuple[Use, list[_Bucket]]]]:
        for place, each in enumerate(self.product.allowances):
            uses = [use for use in each.uses if use.service == service]
            if uses:
                yield [(use, self._buckets(place, each, use)) for use in uses]

    def _buckets(self, place: int, allowance: Allowance, use: Use) -> list[_Bucket]:
        kind = SourceKind.MONEY if allowance.is_money else SourceKind.UNITS
        rolls = allowance.rollover_most and self.start_ms > self.held.start_ms
        found = []
        for rolled in (True, False) if rolls else (False,):
            number = bucket_id(self.held.number, place, rolled=rolled)
            source = Source(kind, self.own, number, self.start_ms, self.until_ms, use.block, use.take)
            blocks = allowance.blocker and not rolled
            found.append(_Bucket(allowance.priority, self.until_ms, number >> 1, not rolled, source, blocks))
        return found


class _Listed(NamedTuple):
    """Sources that were found once, and from when till when they hold."""

    rate: Rate
    from_ms: int
    until_ms: int
    sources: tuple[Source, ...]


class Wallet:
    """What one account, or one member, has beside its balance.

    ``held`` are its instances: of a member the member's own, and of the account those that are shared. Instances of products that
    the catalogue does not know are left out and named in ``unknown``.
    """

    __slots__ = (
        "_cap",
        "_counters",
        "_due_ms",
        "_holdings",
        "_is_member",
        "_listed",
        "_looked_at",
        "tariff",
        "unknown",
    )

    def __init__(
        self,
        tariff: Tariff,
        catalogue: Catalogue,
        held: tuple[Held, ...],
        member_cap_micros: int = 0,
        is_member: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        self.tariff = tariff
        self._is_member = is_member
        self._holdings: list[_Holding] = []
        unknown = []
        for each in held:
            product = catalogue.product(each.product_key)
            if product is None:
                unknown.append(each.product_key)
            else:
                self._holdings.append(_Holding(each, product, is_member=is_member))
        self.unknown = tuple(unknown)
        self._cap: Counter | None = None
        if is_member and member_cap_micros:
            self._cap = counter(
                SourceKind.STOP, MEMBER, CALENDAR_MONTH, tariff.zone, member_cap_micros, each_member=True
            )
        self._counters: dict[Counter, Source] = {}
        self._listed: dict[Facts, _Listed] = {}
        self._looked_at: dict[str, frozenset[str]] = {}
        self._due_ms = min(
            (max(each.held.start_ms, each.held.until_ms) for each in self._holdings if each.renews),
            default=AT_MS_MAX,
        )

    def sources(self, rate: Rate, facts: Facts, at_ms: int) -> tuple[Source, ...]:
        """Return what a service on a rate of the tariff is paid from at an instant, in order."""
        known = self._listed.get(facts)
        if known is not None and known.rate is rate and known.from_ms <= at_ms < known.until_ms:
            return known.sources
        if rate.free:
            return ()
        if len(self._listed) >= LISTS_KEPT_MAX:
            self._listed.clear()
        found = self._listed[facts] = self._found(rate, facts, at_ms)
        return found.sources

    def cap(self, at_ms: int) -> Source | None:
        """Return the counter of what a member may spend of its account; None where it may spend all."""
        return None if self._cap is None else self._counted(self._cap, at_ms)

    def due(self, at_ms: int) -> tuple[Due, ...]:
        """Return what is to be opened, in the order in which it fell due: recurring products whose period was not opened yet."""
        if at_ms < self._due_ms:
            return ()
        found = []
        for each in self._holdings:
            _, _, start_ms, until_ms, _ = held = each.held
            due_ms = max(start_ms, until_ms)
            if each.renews and at_ms >= due_ms:
                product = each.product
                begun = period_of(product, start_ms, at_ms)
                found.append(Due(held, product, begun, due_ms + product.grace_ms))
        return tuple(
            sorted(found, key=lambda each: (each.lapses_ms - each.product.grace_ms, each.held.number))
        )

    def facts_looked_at(self, service: str) -> frozenset[str]:
        """Return the names of the facts that what is held looks at, as Tariff.looked_at does for rates."""
        known = self._looked_at.get(service)
        if known is None:
            uses = [
                use.conditions.named
                for each in self._holdings
                for allowance in each.product.allowances
                for use in allowance.uses
                if use.service == service
            ]
            known = self._looked_at[service] = frozenset[str]().union(*uses)
        return known

    def crowded(self, product: Product) -> str | None:
        """Return the service of which one more product could make too many sources, None when there is room.

        Everything held is counted as if it were valid at once, and no spend cap as lifted.
        """
        allowances = [*(each for has in self._holdings for each in has.product.allowances)]
        allowances += product.allowances
        for rate in self.tariff.choice.rates:
            if rate.free or not any(
                use.service == rate.service for each in product.allowances for use in each.uses
            ):
                continue
            caps = [cap.conditions for cap in self.tariff.spend_caps if cap.service == rate.service]
            counters = len(rate.counters) + (self._cap is not None)
            if counters + crowd(allowances, rate.service, rate.conditions, caps) > SOURCES_MAX:
                return rate.service
        return None

    def _found(self, rate: Rate, facts: Facts, at_ms: int) -> _Listed:
        buckets: list[_Bucket] = []
        lifted: set[str] = set()
        edge_ms = AT_MS_MAX
        for holding in self._holdings:
            if holding.looks_at(at_ms):
                lifted |= holding.product.lifts
                buckets += holding.buckets(rate, facts)
            edge_ms = min(edge_ms, holding.edge_after(at_ms))
        counters = [self._counted(each, at_ms) for each in rate.counters]
        counters += [
            self._counted(cap.counter if cap.name not in lifted else cap.counter.lifted, at_ms)
            for cap in self.tariff.spend_caps
            if cap.fits(facts)
        ]
        if self._cap is not None:
            counters.append(self._counted(self._cap, at_ms))
        edge_ms = min(edge_ms, *(each.until_ms for each in counters)) if counters else edge_ms
        return _Listed(rate, at_ms, edge_ms, (*counters, *_ordered(buckets, SOURCES_MAX - len(counters))))

    def _counted(self, on: Counter, at_ms: int) -> Source:
        """Return a counter's source; its period is found once."""
        known = self._counters.get(on)
        if known is None or not known.start_ms <= at_ms < known.until_ms:
            known = self._counters[on] = on.source(at_ms, int(self._is_member and on.each_member))
        return known


def _ordered(buckets: list[_Bucket], room: int) -> list[Source]:
    """Return buckets in their order, up to the first blocker, as many as there is room for (laws 1 and 3)."""
    buckets.sort()
    last = next((place for place, each in enumerate(buckets) if each.blocker), None)
    if last is None:
        return [each.source for each in buckets[:room]]
    return [*[each.source for each in buckets[: min(last + 1, room - 1)]], _BLOCK]
