"""What the routes of TMF654 work with, built on the keepers of the process that serves them."""

from ocs.balance.accounts import Account
from ocs.balance.actions import NO_LIMITS, ActionKind, DayLimits
from ocs.balance.directory import Directory
from ocs.balance.holdings import Bought, Holdings
from ocs.balance.keys import home
from ocs.balance.parts import Parts
from ocs.http.prepay.desk import Listeners, Prepay
from ocs.http.prepay.places import Places
from ocs.limits import TOPUP_KEPT_MS
from ocs.rating.products import Product
from ocs.roof.build import Keepers


class Gifts:
    """Buckets that operators give; an id is noted before anything is given, and kept as long as a top-up's."""

    def __init__(self, parts: Parts, holdings: Holdings) -> None:
        self._parts = parts
        self._holdings = holdings

    async def claim(self, channel: str, name: str, content: str) -> bool:
        """Note what an id is for, where it is new; whether it is for that."""
        keys = self._parts.keys[home(f"{channel}:{name}", len(self._parts.keys))]
        standing = await self._parts.store.execute(
            keys.slot, "SET", keys.gift(channel, name), content, "NX", "GET", "PX", TOPUP_KEPT_MS
        )
        return standing is None or standing == content.encode()

    async def give(self, account: Account, product: Product, amount: int, until_ms: int, name: str) -> Bought:
        """Give so much of a product, once by a name (holdings.py)."""
        return await self._holdings.give(account, product, amount, until_ms, name)


class NoTerms:
    """No limits and no fees."""

    def limits(self, _channel: str, _kind: ActionKind) -> DayLimits:
        """Return no limits."""
        return NO_LIMITS

    def fee_micros(self, _amount_micros: int, _currency: str) -> int:
        """Return no fee."""
        return 0


def prepay_of(keepers: Keepers, holdings: Holdings, listeners: Listeners | None) -> Prepay:
    """Build it."""
    accounts, parts = keepers.accounts, keepers.parts
    return Prepay(
        Places(parts, accounts),
        Directory(parts, accounts),
        accounts.actions,
        NoTerms(),
        Gifts(parts, holdings),
        holdings.catalogue,
        holdings.now_ms,
        listeners,
    )
