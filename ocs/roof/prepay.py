"""What the routes of TMF654 work with, built on the keepers of the process that serves them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from ocs.balance.accounts import Account
from ocs.balance.actions import NO_LIMITS, ActionKind, Asked, DayLimits
from ocs.balance.archive_files import history
from ocs.balance.directory import Directory
from ocs.balance.holdings import Bought, Holdings
from ocs.balance.keys import home
from ocs.balance.parts import Parts
from ocs.clock import instant
from ocs.http.order_desk import OrderDesk
from ocs.http.prepay import hub
from ocs.http.prepay.desk import Listeners, Prepay
from ocs.http.prepay.places import Places
from ocs.limits import TOPUP_KEPT_MS
from ocs.money import parse_amount
from ocs.notices.forms import Forms
from ocs.notices.notice import Notice
from ocs.rating.products import Product
from ocs.records import Record
from ocs.roof.action_sections import Actions, ChannelBounds, DayBounds
from ocs.roof.build import Keepers
from ocs.roof.vouchers import batches_of, vouchers_of


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

    async def give(
        self, account: Account, product: Product, amount: int, until_ms: int, name: str, asked: str
    ) -> Bought:
        """Give so much of a product, once by a name (holdings.py)."""
        return await self._holdings.give(account, product, amount, until_ms, name, asked)


class Archive:
    """Records that have left the store, read from the archive's files beside the loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def records(self, partition: int, account: str, since_ms: int, until_ms: int) -> list[Record]:
        """Return an account's records of a time, the oldest first. Raises ArchiveFault."""
        return await asyncio.to_thread(self._records, partition, account, since_ms, until_ms)

    def _records(self, partition: int, account: str, since_ms: int, until_ms: int) -> list[Record]:
        if not self._folder.is_dir():
            return []
        day = instant(since_ms)[:10]  # what was archived on a day is no younger
        found: list[Record] = []
        for entry in history(self._folder, partition, day):
            record = entry.record()
            if record.account == account and since_ms <= record.now_ms <= until_ms:
                found.append(record)
        return found


class Terms:
    """What the settings say of actions; ``of_subscribers``: their bounds count beside those of channels."""

    def __init__(self, actions: Actions, *, of_subscribers: bool = False) -> None:
        bounds = actions.subscriber.topup if of_subscribers else DayBounds()
        self._day = parse_amount(bounds.day), bounds.number
        self._fee_micros = parse_amount(actions.transfer_fee)
        self._usual = _limits(actions)
        self._channels = {name: _limits(bounds) for name, bounds in actions.channels.items()}

    def limits(self, asked: Asked) -> DayLimits:
        """Return what the channel of an action may do of its kind, and its subscriber; of allowances, which have other units, how often alone."""
        found = self._channels.get(asked.channel, self._usual).get(asked.kind, NO_LIMITS)
        if asked.kind is ActionKind.TOPUP:
            amount, number = self._day
            return found._replace(account_amount=amount, account_number=number)
        return NO_LIMITS._replace(number=found.number) if asked.bucket else found

    def fee_micros(self, _amount_micros: int, _currency: str) -> int:
        """Return what a transfer costs."""
        return self._fee_micros


def _limits(bounds: ChannelBounds) -> dict[ActionKind, DayLimits]:
    kinds = {
        ActionKind.TOPUP: bounds.topup,
        ActionKind.ADJUST: bounds.adjust,
        ActionKind.TRANSFER: bounds.transfer,
        ActionKind.RESERVE: bounds.reserve,
    }
    return {
        kind: DayLimits(parse_amount(each.each), parse_amount(each.day), each.number)
        for kind, each in kinds.items()
    }


def prepay_of(
    keepers: Keepers,
    holdings: Holdings,
    listeners: Listeners | None,
    orders: OrderDesk | None,
    tell: Callable[[Notice], Awaitable[None]] | None = None,
) -> Prepay:
    """Build it."""
    accounts, parts = keepers.accounts, keepers.parts
    return Prepay(
        Places(parts, accounts),
        Directory(parts, accounts),
        accounts.actions,
        Terms(keepers.settings.actions, of_subscribers=True),
        Gifts(parts, holdings),
        holdings.catalogue,
        holdings.now_ms,
        listeners,
        Archive(keepers.settings.archive_folder),
        vouchers_of(keepers, batches_of(keepers)),
        orders,
        tell,
    )


def forms_of(keepers: Keepers, holdings: Holdings) -> Forms:
    """Build what writes the bodies of webhooks, for whoever delivers them: our own form, and that of the hub."""
    forms = Forms()
    forms.register(hub.FORM, hub.Writer(prepay_of(keepers, holdings, None, None)))
    return forms
