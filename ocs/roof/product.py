"""Products at the command line: what there is, what a subscriber holds, buy, cancel."""

from typing import Any

from ocs.balance.accounts import Account
from ocs.balance.described import holdings_of, purchase_facts
from ocs.balance.holdings import Bought, Holdings
from ocs.balance.link import StoreFault
from ocs.money import format_amount
from ocs.outcomes import Code
from ocs.rating.products import Catalogue, Product
from ocs.roof import say
from ocs.roof.arguments import read_msisdn, read_topup_id
from ocs.roof.audited import CHANNEL, Deed, run_change
from ocs.roof.build import Keepers, read_settings, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import catalogue_of, known_holdings
from ocs.roof.place import Place
from ocs.roof.subscriber import found


def listing(place: Place, *, as_json: bool) -> None:
    """List what is sold."""
    catalogue = catalogue_of(read_settings(place))
    bonuses = {each.key for each in catalogue.bonuses}
    sold = [
        {
            "product": each.key,
            "price": format_amount(each.price_micros),
            "currency": each.currency,
            "charge": "recurring" if each.recurring else "once",
            "description": each.description,
        }
        for each in sorted(catalogue.products.values(), key=lambda each: each.key)
        if each.key not in bonuses and not each.given and catalogue.newest(each.name) is each
    ]
    if as_json:
        say.as_json(sold)
        return
    columns = [(name, name == "price") for name in ("product", "price", "charge", "description")]
    say.table(columns, [tuple(str(each[name]) for name, _ in columns) for each in sold])


def buy(place: Place, msisdn: str, name: str, purchase_id: str, *, as_json: bool) -> None:
    """Buy a product, once per id; a repetition tells the same, beside the balance of now."""
    identity, once = read_msisdn(msisdn), read_topup_id(purchase_id)

    async def work(keepers: Keepers, deed: Deed) -> tuple[Account, Product, Bought]:
        holdings = await known_holdings(keepers)
        product = _sold(holdings.catalogue, name)
        account = await found(keepers, identity)
        deed.begins_of(account, resource=f"{CHANNEL}:{once}", product=product.key)
        done = await holdings.buy(account, product, f"{CHANNEL} {once}")
        deed.made(after=purchase_facts(done))
        again = await keepers.accounts.read(account.profile.partition, account.profile.path)
        _refuse(done, again or account, product, once)
        return again or account, product, done

    account, product, done = run_change(place, "product.buy", work)
    content = {
        "msisdn": account.profile.msisdn,
        "product": product.key,
        "number": done.number or None,
        "price": format_amount(done.price_micros),
        "currency": account.profile.currency,
        "replayed": done.replayed,
        "valid_until": say.instant(done.until_ms) if done.until_ms else None,
        "balance": format_amount(account.book.balance_micros),
        "available": format_amount(account.book.available_micros),
    }
    say.as_json(content) if as_json else say.facts(content)


def _refuse(done: Bought, account: Account, product: Product, once: str) -> None:
    """End the command where nothing was bought."""
    if done.code == Code.SUCCESS:
        return
    if done.code == Code.CREDIT_LIMIT:
        available = format_amount(account.book.available_micros)
        price = format_amount(done.price_micros)
        cap = format_amount(account.profile.cap_micros)
        capped = done.price_micros <= account.book.available_micros and account.profile.member
        left = f"the member's cap of {cap} a month leaves less" if capped else f"available is {available}"
        raise Ended(Exit.FOUND_WRONG, f"{product.key} costs {price}, {left}; nothing was bought")
    if done.code == Code.CONFLICT:
        raise Ended(Exit.CONFLICT, f"the id {once} was used for another purchase; nothing was bought")
    if done.code == Code.LIMIT:
        raise Ended(Exit.USAGE, done.why or "the account holds as much as it can; nothing was bought")
    if done.code == Code.UNKNOWN_SUBSCRIBER:
        raise Ended(Exit.NOT_FOUND, f"no subscriber has the number {account.profile.msisdn}")
    raise StoreFault(f"the purchase was refused: {done.code.name}; ask again with the same id")


def _sold(catalogue: Catalogue, name: str) -> Product:
    """Return a product by name, or one version by key."""
    product = catalogue.product(name) or catalogue.newest(name)
    bonuses = {each.key for each in catalogue.bonuses}
    if product is None or product.key in bonuses or product.given:
        known = ", ".join(
            sorted(
                {
                    each.name
                    for each in catalogue.products.values()
                    if each.key not in bonuses and not each.given
                }
            )
        )
        raise Ended(Exit.NOT_FOUND, f"no product {name!r}; known are {known or 'none'}")
    return product


def held(place: Place, msisdn: str, *, as_json: bool) -> None:
    """Show what a subscriber holds."""
    identity = read_msisdn(msisdn)

    async def work(keepers: Keepers) -> tuple[Account, Holdings]:
        return await found(keepers, identity), await known_holdings(keepers)

    account, holdings = run(place, work)
    rows = holdings_of(account, holdings.catalogue)
    if as_json:
        say.as_json(rows)
        return
    columns = [(name, name == "number") for name in ("number", "product", "since", "until", "renews")]
    say.table(columns, [tuple(str(each[name]) for name, _ in columns) for each in rows])


def cancel(place: Place, msisdn: str, number: int, *, as_json: bool) -> None:
    """Let a product end with its period."""
    identity = read_msisdn(msisdn)

    async def work(keepers: Keepers, deed: Deed) -> None:
        holdings = await known_holdings(keepers)
        account = await found(keepers, identity)
        deed.begins_of(account, resource=f"{account.profile.path.replace('/', '-')}:{number}")
        code = await holdings.cancel(account, number)
        if code == Code.UNKNOWN_SESSION:
            raise Ended(
                Exit.NOT_FOUND, f"{identity.value} holds no product number {number}; see: ocs product held"
            )
        if code != Code.SUCCESS:
            raise StoreFault(f"the change was refused: {code.name}")
        deed.made(after={"renews": False})

    run_change(place, "product.cancel", work)
    content: dict[str, Any] = {"msisdn": identity.value, "number": number, "renews": False}
    say.as_json(content) if as_json else say.facts(content)
