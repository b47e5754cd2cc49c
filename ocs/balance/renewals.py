"""A renewal that a request brings along: what is due of a subscriber is opened by the first request that meets it (DESIGN law 12).

The store does it inside the one call, after what the request held is given back and before anything is granted (rows.lua).
"""

from ocs.balance.parts import packed
from ocs.balance.profiles import write_profile
from ocs.charging.plan import Profile, Wallet
from ocs.rating.openings import opening
from ocs.rating.sources import Source


def renewal(profile: Profile, wallet: Wallet, now_ms: int) -> bytes:
    """Pack the first renewal that is due of a subscriber's own products, b"" where there is none.

    What is due of the account that a member shares is opened by the account's own requests, and by the agenda.
    """
    due = wallet.due(now_ms)
    waiting = {each.held for each in due}
    for each in due:
        if each.held in profile.products:
            product, held = each.product, each.held
            own = int(bool(profile.member) and not product.shared)
            opened = opening(product, held, now_ms)
            renewed = held._replace(until_ms=opened.period[1])
            kept = tuple(
                renewed if one == held else one
                for one in profile.products  # what is over goes with it
                if one.until_ms > now_ms or one in waiting or one.product_key in wallet.unknown
            )
            return packed(
                f"renewed {held.product_key} {held.number} {opened.period[0]}",
                opened.price_micros,
                write_profile(profile._replace(products=kept)),
                [[*row, own] for row in opened.rows],
                [[*rolled, own] for rolled in opened.rolled],
                limit_of(wallet.cap(now_ms)),
            )
    return b""


def limit_of(cap: Source | None) -> list[int]:
    """Return a member's cap as the store takes it: id, start and end of its counter, and the cap; nothing where there is none."""
    return [] if cap is None else [cap.id, cap.start_ms, cap.until_ms, cap.cap_micros]
