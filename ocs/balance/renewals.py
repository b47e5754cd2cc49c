"""Renewals: what the next period of a product brings, and the one that a request brings along (DESIGN law 12).

What is due of a subscriber is opened by the first request that meets it: the store does it inside the one call, after what the
request held is given back and before anything is granted (rows.lua). Else by the agenda (holdings.py).
"""

from collections.abc import Iterable
from typing import NamedTuple

from ocs.balance.parts import packed
from ocs.balance.profiles import write_profile
from ocs.charging.plan import Profile, Wallet
from ocs.rating.openings import Held, Opening, opening
from ocs.rating.products import Product
from ocs.rating.sources import Source
from ocs.rating.wallet import Due


class Renewal(NamedTuple):
    """What is opened, in whose book (``own`` 1: the member's), the profile from then on, and what the records call it."""

    opened: Opening
    own: int
    profile: Profile
    cause: str


def renewed(profile: Profile, due: Due, standing: Iterable[Held], now_ms: int) -> Renewal:
    """Return the renewal of a product; ``standing`` is what the subscriber holds that is not over, this one with it."""
    held = due.held
    opened = opening(due.product, held, now_ms)
    after = held._replace(until_ms=opened.period[1])
    return Renewal(
        opened,
        own_book(profile, due.product),
        profile._replace(products=tuple(after if one == held else one for one in standing)),
        f"renewed {held.product_key} {held.number} {opened.period[0]}",
    )


def renewal(profile: Profile, wallet: Wallet, now_ms: int) -> bytes:
    """Pack the first renewal that is due of a subscriber's own products, b"" where there is none.

    What is due of the account that a member shares is opened by the account's own requests, and by the agenda.
    """
    due = wallet.due(now_ms)
    first = next((each for each in due if each.held in profile.products), None)
    if first is None:
        return b""
    waiting = {each.held for each in due}
    standing = (  # what is over goes with it
        one
        for one in profile.products
        if one.until_ms > now_ms or one in waiting or one.product_key in wallet.unknown
    )
    opened, own, after, cause = renewed(profile, first, standing, now_ms)
    return packed(
        cause,
        opened.price_micros,
        write_profile(after),
        [[*row, own] for row in opened.rows],
        [[*rolled, own] for rolled in opened.rolled],
        limit_of(wallet.cap(now_ms)),
    )


def own_book(profile: Profile, product: Product) -> int:
    """Return whose book a product's rows are in: 1 a member's own."""
    return int(bool(profile.member) and not product.shared)


def limit_of(cap: Source | None) -> list[int]:
    """Return a member's cap as the store takes it: id, start and end of its counter, and the cap; nothing where there is none."""
    return [] if cap is None else [cap.id, cap.start_ms, cap.until_ms, cap.cap_micros]
