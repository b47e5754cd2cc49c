"""Orders for recurring and automatic top-ups, whichever API they are asked by."""

from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from ocs.balance.accounts import Account
from ocs.balance.topup_orders import FAR_MS, Kept, Order, Orders, OrderState
from ocs.clock import instant
from ocs.http.access import Caller
from ocs.money import format_amount

ACTIVE_MAX: Final = 16
"""Orders of one account that are active at once."""
CROWDED: Final = "the account has as many orders as it may; end one first"
TAKEN: Final = "the id is an order's; nothing was done. Use another id"


class OrderDesk(NamedTuple):
    """What orders are made with: where they are kept, which channels may have some, and below what automatic ones top up."""

    orders: Orders
    channels: AbstractSet[str]
    below_micros: int

    async def crowded(self, account: Account) -> bool:
        """Tell whether an account has as many orders as it may."""
        profile = account.profile
        found = await self.orders.of_account(profile.partition, profile.path)
        return sum(each.order.state is OrderState.ACTIVE for each in found) >= ACTIVE_MAX

    async def takes(self, channel: str, action_id: str) -> bool:
        """Take an id for an action of a channel, again too; False: it is an order's. Only of channels that may have orders it is asked."""
        return channel not in self.channels or await self.orders.takes(channel, action_id)

    async def hinders(self, order: Order, account: Account) -> str:
        """Say why an order that is suspended cannot be resumed; "": nothing hinders it."""
        if order.state is not OrderState.SUSPENDED:
            return ""
        if order.channel not in self.channels:
            return "its channel may have no orders any more"
        if account.ended:
            return "the account has ended"
        return CROWDED if await self.crowded(account) else ""

    async def of(self, account: Account, caller: Caller) -> list[Kept]:
        """Return the orders of an account that a caller may see."""
        profile = account.profile
        found = await self.orders.of_account(profile.partition, profile.path)
        return [each for each in found if sees(caller, each.order.channel)]


def sees(caller: Caller, channel: str) -> bool:
    """Tell whether a channel's orders are a caller's to see and to end."""
    return channel == caller.channel or caller.allows("channel:any")


def described_order(order: Order, currency: str) -> dict[str, Any]:
    """Describe an order as /subscribers/v1 shows it."""
    waits = order.state is OrderState.ACTIVE and order.period and order.look_ms < FAR_MS
    waits = waits and order.look_ms != order.resumed_ms  # else it was not looked yet what is due next
    return {
        "id": order.name,
        "kind": "recurring" if order.period else "automatic",
        "amount": format_amount(order.amount_micros),
        "currency": currency,
        "period": order.period or None,
        "periods": order.periods or None,
        "skipped": order.skipped,
        "below": None if order.period else format_amount(order.below_micros),
        "state": str(order.state),
        "why": order.why or None,
        "done": order.done,
        "next": instant(order.look_ms) if waits else None,
        "created": instant(order.created_ms),
    }
