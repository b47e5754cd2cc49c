"""The wallets that a worker remembers: what each subscriber has beside money, made once for each version of its profile.

Who holds nothing shares one wallet per tariff; where a tariff counts nothing either, there is none, and a plan needs none.
"""

from ocs.charging.plan import Profile
from ocs.limits import WALLETS_KEPT_MAX
from ocs.rating.life import ENDLESS
from ocs.rating.products import Catalogue
from ocs.rating.tariff import Tariff
from ocs.rating.wallet import Wallet


class Wallets:
    """Gives the wallet of a subscriber on a tariff; None where a price needs no more than money."""

    __slots__ = ("_kept", "_of_tariffs", "catalogue")

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._kept: dict[str, tuple[Profile, Tariff, Wallet]] = {}
        self._of_tariffs: dict[int, tuple[Tariff, Wallet | None]] = {}

    def __call__(self, profile: Profile, tariff: Tariff) -> Wallet | None:
        """Return the wallet; the profile's version is the memory's key, and with it the account's."""
        if not (profile.products or profile.shared or profile.cap_micros):
            known = self._of_tariffs.get(id(tariff))
            if known is None:  # the tariff is held, so that its id stays its own
                known = self._of_tariffs[id(tariff)] = (tariff, self._made(profile, tariff))
            return known[1]
        kept = self._kept.get(profile.path)
        if kept is not None and kept[0] is profile and kept[1] is tariff:
            return kept[2]
        wallet = made(profile, tariff, self.catalogue)
        if len(self._kept) >= WALLETS_KEPT_MAX and profile.path not in self._kept:
            del self._kept[next(iter(self._kept))]
        self._kept[profile.path] = (profile, tariff, wallet)
        return wallet

    def _made(self, profile: Profile, tariff: Tariff) -> Wallet | None:
        counts = tariff.spend_caps or any(rate.counters for rate in tariff.choice.rates)
        return made(profile, tariff, self.catalogue) if counts or tariff.life != ENDLESS else None


def made(profile: Profile, tariff: Tariff, catalogue: Catalogue) -> Wallet:
    """Make the wallet of a subscriber: of a member its own products, and those of its account that are shared."""
    known = catalogue.products
    shared = tuple(
        each for each in profile.shared if each.product_key in known and known[each.product_key].shared
    )
    return Wallet(
        tariff, catalogue, (*profile.products, *shared), profile.cap_micros, is_member=bool(profile.member)
    )
