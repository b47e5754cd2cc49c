"""What is offered beside tariffs, as a process works with it: the catalogue of products, and what subscribers hold of it."""

from ocs.balance.book import Book
from ocs.balance.holdings import Holdings
from ocs.balance.wallets import Wallets
from ocs.rating.products import Catalogue
from ocs.rating.versions import Tariffs
from ocs.roof.build import Keepers, known_tariffs, read_products, read_tariffs
from ocs.settings import Settings


def catalogue_of(settings: Settings) -> Catalogue:
    """Read the products of the settings' folder; Ended (usage) names every fault."""
    tariffs = read_tariffs(settings.tariffs_folder, settings.zones_folder)
    return read_products(settings.products_folder, settings.zones_folder, tariffs)


def holdings_on(keepers: Keepers, tariffs: Tariffs, catalogue: Catalogue) -> Holdings:
    """Build what subscribers hold; top-ups bring what follows from it, from then on."""
    holdings = Holdings(keepers.parts, keepers.accounts, keepers.clock, catalogue, tariffs.newest)
    keepers.accounts.brings = holdings
    return holdings


async def known_holdings(keepers: Keepers) -> Holdings:
    """Build it for a command that has the store. Raises StoreFault."""
    return holdings_on(keepers, await known_tariffs(keepers), catalogue_of(keepers.settings))


def equip(book: Book, holdings: Holdings) -> None:
    """Let a Book charge on what subscribers hold."""
    book.wallets = Wallets(holdings.catalogue)
