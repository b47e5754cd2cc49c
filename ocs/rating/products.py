"""Products: what a subscriber buys beside the tariff, as data: a price, a period, allowances, and what each is good for; pure.

Laws
1. A product is immutable under its key ("smart-m@1"); an account keeps the key of what it bought (openings.py).
2. Of an allowance's uses the first that fits is the one, as with rates. Of several allowances those with the lower priority are
   used first, then those that end first (wallet.py).
3. A bonus is a product with one allowance of money, whose amount the top-up decides.
4. No service has more sources than SOURCES_MAX: ``crowd`` tells what allowances can bring at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ocs.money import MICROS
from ocs.rating.periods import PeriodKind
from ocs.rating.rates import ANYTHING, Conditions
from ocs.units import Unit

UNIT_OF_ROW = {"octets": 1, "seconds": 2, "events": 3, "units": 3, "money": 4}
"""What the store calls the unit of an allowance's row. Units of no service are counted like events."""


class Use(NamedTuple):
    """A service that an allowance is good for: each begun ``block`` of ``unit`` takes ``take`` of the allowance.

    Money has no block: it pays whatever the price is.
    """

    service: str
    conditions: Conditions
    unit: Unit | None = None
    block: int = 0
    take: int = 0


class Allowance(NamedTuple):
    """So much in each period; ``rollover_most`` of what is left goes over into the next one (0: nothing)."""

    name: str
    unit: str
    amount: int
    priority: int
    blocker: bool
    rollover_most: int
    uses: tuple[Use, ...]

    @property
    def is_money(self) -> bool:
        """Tell whether it pays prices instead of giving units."""
        return self.unit == "money"


@dataclass(frozen=True, slots=True)
class Product:
    """One immutable version of a product.

    ``recurring``: it is paid for and opened again in each period. ``prorated``: a first period that is cut short costs and holds
    its share. ``grace_ms``: how long a renewal that credit is short for is tried again. ``lifts``: spend caps that do not hold
    for who has it. ``shared``: its rows are in the account's book, else a member's are the member's own. ``given``: nobody buys it;
    operators give it, each time as much as they say, up to its one allowance's amount.
    """

    name: str
    version: int
    description: str
    price_micros: int
    currency: str
    tax_class: str
    recurring: bool
    kind: PeriodKind
    zone: ZoneInfo
    prorated: bool = False
    grace_ms: int = 0
    shared: bool = False
    lifts: frozenset[str] = frozenset()
    allowances: tuple[Allowance, ...] = ()
    given: bool = False

    @property
    def key(self) -> str:
        """Return the name under which accounts keep this version."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Bonus:
    """What a top-up of ``from_micros`` or more brings: an amount, or per cents of it (in millionths of one)."""

    product: Product
    from_micros: int
    percent_micros: int = 0
    amount_micros: int = 0

    @property
    def key(self) -> str:
        """Return its product's key."""
        return self.product.key

    def worth_micros(self, topup_micros: int) -> int:
        """Return what a top-up brings, rounded down to the micro-unit; 0 for one that is too small."""
        if topup_micros < self.from_micros:
            return 0
        return self.amount_micros or topup_micros * self.percent_micros // (100 * MICROS)


class Catalogue:
    """Products by key, those of bonuses among them, and the newest of each name."""

    __slots__ = ("_bonuses", "_by_key", "_newest")

    def __init__(self, products: Iterable[Product] = (), bonuses: Iterable[Bonus] = ()) -> None:
        bonuses = tuple(bonuses)
        self._by_key: dict[str, Product] = {}
        self._newest: dict[str, Product] = {}
        for each in (*products, *(bonus.product for bonus in bonuses)):
            self._by_key[each.key] = each
            if each.name not in self._newest or self._newest[each.name].version < each.version:
                self._newest[each.name] = each
        self._bonuses = tuple(each for each in bonuses if self._newest[each.product.name] is each.product)

    @property
    def products(self) -> Mapping[str, Product]:
        """Return all of them by key."""
        return self._by_key

    @property
    def bonuses(self) -> tuple[Bonus, ...]:
        """Return the newest version of every bonus."""
        return self._bonuses

    def product(self, key: str) -> Product | None:
        """Return a version, as an account keeps it."""
        return self._by_key.get(key)

    def newest(self, name: str) -> Product | None:
        """Return what is sold under a name."""
        return self._newest.get(name)

    def bonus(self, topup_micros: int, currency: str) -> Bonus | None:
        """Return the bonus of a top-up: of those that it is enough for, the one that wants most; None when there is none."""
        fitting = [
            each
            for each in self._bonuses
            if each.product.currency == currency and each.from_micros <= topup_micros
        ]
        return max(fitting, key=lambda each: (each.from_micros, each.key), default=None)


class _Coming(NamedTuple):
    """What can come to a service where any of some conditions holds: so many sources, and a blocker behind them."""

    where: list[Conditions]
    rows: int
    blocker: bool


def crowd(
    allowances: Sequence[Allowance],
    service: str,
    within: Conditions = ANYTHING,
    caps: Sequence[Conditions] = (),
) -> int:
    """Return the most sources that allowances and spend caps can bring a service at once, for facts within some conditions.

    All are counted as if they were valid at once. What rolls over is a source of its own, and so is one blocker.
    """
    coming = [_Coming([each], 1, blocker=False) for each in caps]
    for each in allowances:
        where = [use.conditions for use in each.uses if use.service == service]
        coming.append(_Coming(where, 2 if each.rollover_most else 1, each.blocker))
    return _most(coming, within, blocked=False)


def _most(coming: Sequence[_Coming], within: Conditions, *, blocked: bool) -> int:
    """Try what comes one by one, with and without it where it does not come for all facts that are left."""
    found = 0
    for place, (where, rows, blocker) in enumerate(coming):
        met = [within.both(each) for each in where if within.meet(each)]
        if not met:
            continue
        more = rows + (blocker and not blocked)
        if within in met:
            found += more
            blocked = blocked or blocker
            continue
        rest = coming[place + 1 :]
        ways = [more + _most(rest, each, blocked=blocked or blocker) for each in met]
        return found + max(*ways, _most(rest, within, blocked=blocked))
    return found
