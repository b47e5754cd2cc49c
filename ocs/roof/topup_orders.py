"""Recurring and automatic top-ups, built: what the API makes orders with, and the keeper's job that carries them out, by lease."""

import asyncio
import secrets
import ssl
from contextlib import suppress
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from ocs.api_limits import EVENTS_LEASE_MS
from ocs.balance.archive_files import ArchiveFault
from ocs.balance.holdings import Holdings
from ocs.balance.link import StoreFault
from ocs.balance.topup_orders import Orders
from ocs.http.order_desk import OrderDesk
from ocs.money import parse_amount
from ocs.notices.lease import Lease
from ocs.notices.notice import Notice
from ocs.roof.build import Keepers
from ocs.roof.event_sections import secret_of
from ocs.roof.events import callbacks_of, teller_of
from ocs.roof.jobs import Advance, Job
from ocs.roof.prepay import Terms
from ocs.server.counters import Counters
from ocs.stream import Reader
from ocs.topups.collecting import Collector, Collects, Trusted
from ocs.topups.executing import Executor, Rules
from ocs.topups.watching import GROUP, Watcher

_LEASE: Final = "{topups}:owner"
_RENEW_S: Final = EVENTS_LEASE_MS / 3000
_PAUSE_S: Final = 0.05
_FAULT_S: Final = 5.0


def orders_of(keepers: Keepers, holdings: Holdings) -> OrderDesk:
    """Build what orders are made with."""
    settings = keepers.settings.topup_orders
    orders = Orders(keepers.parts, holdings.now_ms)
    return OrderDesk(orders, frozenset(settings.channels), parse_amount(settings.below))


def order_desk_of(keepers: Keepers, holdings: Holdings) -> OrderDesk | None:
    """Build what the API makes orders with; None where no channel may have some."""
    return orders_of(keepers, holdings) if keepers.settings.topup_orders.channels else None


def topup_job(keepers: Keepers, counters: Counters, holdings: Holdings) -> Job:
    """Give the keeper the job that carries orders out."""
    lease = Lease(keepers.store, _LEASE, secrets.token_hex(8))

    async def carry_out() -> None:
        try:
            while True:
                with suppress(StoreFault):  # tried again: what is due stays due
                    if await lease.held():
                        await _Owner(keepers, counters, holdings, lease).work()
                await asyncio.sleep(_RENEW_S)
        finally:
            with suppress(StoreFault):
                await lease.give_back()

    return carry_out


class _Owner:
    """Who has the lease: follows the streams and carries out; both end with the lease."""

    def __init__(self, keepers: Keepers, counters: Counters, holdings: Holdings, lease: Lease) -> None:
        settings, self._lease = keepers.settings, lease
        mine, accounts = settings.topup_orders, keepers.accounts
        self._keepers, self._every_s = keepers, settings.charging.sweep_s
        self._collectors = _collectors(keepers)
        orders = Orders(keepers.parts, holdings.now_ms)
        rules = Rules(ZoneInfo(mine.zone), mine.per_day, mine.retry_s)
        limits = Terms(settings.actions).limits
        self._executor = Executor(
            orders, accounts.read, accounts.actions, limits, self._collectors, rules, teller_of(keepers) or _untold, structlog.get_logger()
        )  # fmt: skip
        self._reader = Reader(keepers.parts, settings.archive_folder, GROUP, keepers.clock)
        self._watcher = Watcher(self._reader, orders, accounts.read, self._executor)
        self._advance = Advance(counters)

    async def work(self) -> None:
        """Work until the lease is lost, or a part of it fails."""
        tasks = [asyncio.create_task(each) for each in (self._execute(), self._watch())]
        try:
            while await self._lease.held():
                done, _ = await asyncio.wait(tasks, timeout=_RENEW_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in self._collectors.values():
                if isinstance(each, Collector):
                    await each.close()

    async def _execute(self) -> None:
        while True:
            try:
                await self._executor.once()
            finally:
                self._advance("ocs_topup_orders_executed_total", self._executor.executed)
                self._advance("ocs_topup_orders_failed_total", self._executor.failed)
                self._advance("ocs_topup_orders_suspended_total", self._executor.suspended)
                self._advance("ocs_topup_order_faults_total", self._executor.faults)
            await asyncio.sleep(self._every_s)

    async def _watch(self) -> None:
        while True:
            try:
                await self._reader.open()
                while True:
                    if not await self._watcher.once():
                        await asyncio.sleep(max(_PAUSE_S, self._reader.pause_s))
            except ArchiveFault as fault:  # orders are looked at now and then all the same
                structlog.get_logger().error("the stream cannot be followed for orders", why=str(fault))
            await asyncio.sleep(_FAULT_S)


async def _untold(notice: Notice) -> None:
    """Tell nobody: there are no events."""
    del notice


def _collectors(keepers: Keepers) -> dict[str, Collects]:
    """Build who collects, by channel. Raises OSError for a secret's file that cannot be read."""
    events, found = keepers.settings.events, dict[str, Collects]()
    trusted = ssl.create_default_context(cafile=str(events.callback_ca)) if events.callback_ca else None
    for name, each in keepers.settings.topup_orders.channels.items():
        if each.collect == "trusted":
            found[name] = Trusted()
        else:
            secret = secret_of(each.secret, each.secret_file)
            found[name] = Collector(
                each.url, secret, callbacks_of(events), keepers.clock.now_ms, events.timeout_s, trusted
            )
    return found
