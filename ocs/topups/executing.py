"""Carries out orders that are due: begin, collect, credit, confirm. Safe to kill anywhere, and to run twice.

Laws
1. An execution begins, ends and fails by a change of the order (topup_orders.py, law 2), so one is under way at most. Whoever finds one under way goes on
   with it: the same id is asked to be paid, the same top-up credited.
2. Before anybody is asked to pay, it is looked whether the top-up was made; that somebody is being asked stands in the order before it is done.
3. What is not paid, or not credited, is tried again by a schedule; then the order is suspended, and a notice tells, before that stands in the order.
4. Of an order that was cancelled an execution goes on only where it is not known whether it was paid.
5. An order that cannot be read or carried out, whatever is wrong with it, is told and put off; the others have their turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ocs.balance.accounts import Account
from ocs.balance.actions import Action, ActionState, Asked, DayLimits, Done
from ocs.balance.link import StoreFault
from ocs.balance.topup_orders import FAR_MS, Kept, Order, Orders, OrderState, execution, scheduled
from ocs.money import format_amount
from ocs.notices.notice import Notice
from ocs.outcomes import Code
from ocs.topups.collecting import Collects, Payment

DAY_MS: Final = 86_400_000
LOOK_MS: Final = 6 * 3_600_000
"""After so long an automatic order is looked at, whatever the streams have told."""
_RETRY_MS: Final = 60_000
_AT_ONCE: Final = 16
_PARTITIONS_AT_ONCE: Final = 32
_DUE_MAX: Final = 100
_TRIES: Final = 16


class Does(Protocol):
    """Who does actions (ocs/balance/actions.py)."""

    async def do_again(self, asked: Asked, limits: DayLimits = ...) -> Done:
        """Do an action once; one that failed is tried again."""

    async def find(self, channel: str, action_id: str) -> Action | None:
        """Return an action."""


class Rules(NamedTuple):
    """How orders are carried out: the zone of clock times, how often an automatic one on a day (UTC), pauses after failed tries."""

    zone: ZoneInfo
    per_day: int
    retry_s: tuple[int, ...]


class Executor:
    """Carries out the orders of one store."""

    def __init__(
        self,
        orders: Orders,
        read: Callable[[int, str], Awaitable[Account | None]],
        actions: Does,
        limits: Callable[[Asked], DayLimits],
        collectors: Mapping[str, Collects],
        rules: Rules,
        tell: Callable[[Notice], Awaitable[None]],
        log: Any,
    ) -> None:
        self._orders, self._read, self._actions, self._limits = orders, read, actions, limits
        self._collectors, self._rules, self._tell, self._log = collectors, rules, tell, log
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.executed = self.failed = self.suspended = self.faults = 0
        """Totals since the start: top-ups, failed tries, orders that were suspended, looks that the store did not allow."""

    async def once(self) -> None:
        """Look at all that is due."""
        partitions = range(self._orders.partitions)
        for start in range(0, len(partitions), _PARTITIONS_AT_ONCE):
            await asyncio.gather(*map(self._partition, partitions[start : start + _PARTITIONS_AT_ONCE]))

    async def _partition(self, partition: int) -> None:
        try:
            now_ms = await self._orders.now_ms(partition)
            names = await self._orders.due(partition, now_ms, _DUE_MAX)
        except StoreFault:
            self.faults += 1
            return
        await asyncio.gather(*(self._one(partition, each, now_ms) for each in names))

    async def _one(self, partition: int, name: str, now_ms: int) -> None:
        try:
            async with self._slots:
                kept = await self._orders.at(partition, name)
                if kept is not None:
                    await self.tend(kept)
        except StoreFault:
            self.faults += 1
        except Exception as fault:  # noqa: BLE001 - law 5
            self.faults += 1
            self._log.error("an order cannot be carried out", order=name, fault=type(fault).__name__)
            with suppress(StoreFault):
                await self._orders.put_off(partition, name, now_ms + _RETRY_MS)

    async def tend(self, kept: Kept) -> None:
        """Do what is due of an order. Raises StoreFault; the same again goes on."""
        order = kept.order
        account = await self._read(order.partition, order.path)
        now_ms = await self._orders.now_ms(order.partition)
        if account is None or account.ended:
            if order.asking:
                await self._notify(order, now_ms, "the subscriber has ended", account)
            gone = order._replace(
                state=OrderState.CANCELLED, why="the subscriber has ended", run=0, asking=False
            )
            await self._orders.replace(kept, gone)
            return
        if order.state is OrderState.SUSPENDED:
            await self._orders.replace(kept, order._replace(look_ms=FAR_MS))
            return
        if not order.run:
            begun = await self._begun(kept, account, now_ms)
            if begun is None:
                return
            kept = begun
        await self._execute(kept, account, now_ms)

    # -- begin

    def wants(self, order: Order, available_micros: int, now_ms: int) -> bool:
        """Tell whether an automatic order is to be carried out now."""
        below = available_micros < order.below_micros and order.state is OrderState.ACTIVE
        return below and not order.run and not self._spent(order, now_ms)

    def _spent(self, order: Order, now_ms: int) -> bool:
        return order.day == now_ms // DAY_MS and order.today >= self._rules.per_day

    async def _begun(self, kept: Kept, account: Account, now_ms: int) -> Kept | None:
        """Begin an execution where one is due; else say when to look again."""
        order = kept.order
        if order.state is not OrderState.ACTIVE:
            await self._orders.replace(kept, order._replace(look_ms=FAR_MS))
            return None
        if order.period:
            order = scheduled(order, self._rules.zone)
            look_ms = order.look_ms
            is_due = look_ms <= now_ms
        else:
            is_due = self.wants(order, account.book.available_micros, now_ms)
            look_ms = now_ms + LOOK_MS
            if self._spent(order, now_ms):
                look_ms = min(look_ms, (now_ms // DAY_MS + 1) * DAY_MS)
        if not is_due:
            await self._orders.replace(kept, order._replace(look_ms=look_ms))
            return None
        return await self._orders.replace(kept, order._replace(run=order.done + 1, tries=0, look_ms=now_ms))

    # -- collect and credit

    async def _execute(self, kept: Kept, account: Account, now_ms: int) -> None:
        order, currency = kept.order, account.profile.currency
        asked = execution(order, self._rules.zone)
        known = await self._actions.find(asked.channel, asked.id)
        if known is not None and known.asked == asked and known.state in _MADE:
            await self._confirm(kept, now_ms)
            return
        collector = self._collectors.get(order.channel)
        if collector is None:
            why = "the channel collects nothing any more"
            await self._suspend(kept, why, now_ms, account, asking=order.asking)
            return
        if not order.asking:
            asking = await self._orders.replace(kept, order._replace(asking=True))
            if asking is None:
                return  # it was cancelled, or another goes on with it
            kept = asking
        said = await collector.collect(asked, order.id, order.method, currency)
        if said.payment is not Payment.PAID:
            await self._failed(kept, said.why, account, unknown=said.payment is Payment.UNKNOWN)
            return
        done = await self._actions.do_again(asked, self._limits(asked))
        if done.code == Code.SUCCESS:
            self.executed += not done.replayed
            await self._confirm(kept, await self._orders.now_ms(order.partition))
        else:
            await self._failed(kept, f"paid and not credited: {done.code.name}", account, unknown=True)

    async def _confirm(self, kept: Kept, now_ms: int) -> None:
        """Say that the execution under way is done, also where the order was cancelled meanwhile."""
        run, standing = kept.order.run, kept
        for _ in range(_TRIES):
            order, day = standing.order, now_ms // DAY_MS
            today = order.today + 1 if order.day == day else 1
            after = order._replace(
                run=0, tries=0, asking=False, done=run, day=day, today=today, look_ms=now_ms, why=""
            )
            if order.period:
                after = scheduled(after, self._rules.zone)
            if await self._orders.replace(standing, after) is not None:
                return
            found = await self._orders.at(order.partition, order.name)
            if found is None or found.order.run != run:
                return
            standing = found

    async def _failed(self, kept: Kept, why: str, account: Account, *, unknown: bool) -> None:
        """Try again later, or no more."""
        self.failed += 1
        order, now_ms = kept.order, await self._orders.now_ms(kept.order.partition)
        tries = order.tries + 1
        if order.state is not OrderState.ACTIVE and not unknown:
            await self._orders.replace(kept, order._replace(run=0, tries=0, asking=False))
            return
        if tries > len(self._rules.retry_s):
            await self._suspend(kept, why, now_ms, account, asking=unknown)
            return
        look_ms = now_ms + self._rules.retry_s[tries - 1] * 1000
        after = order._replace(tries=tries, asking=unknown, look_ms=look_ms, why=why)
        await self._orders.replace(kept, after)

    async def _suspend(
        self, kept: Kept, why: str, now_ms: int, account: Account | None, *, asking: bool
    ) -> None:
        order = kept.order
        await self._notify(order, now_ms, why, account)
        state = OrderState.SUSPENDED if order.state is OrderState.ACTIVE else order.state
        after = order._replace(state=state, why=why, look_ms=FAR_MS, asking=asking)
        if state is not OrderState.SUSPENDED:
            after = after._replace(run=0, asking=False)
        if await self._orders.replace(kept, after) is not None:
            self.suspended += 1
            self._log.warning("an order for top-ups is suspended", order=order.name, why=why)

    async def _notify(self, order: Order, now_ms: int, why: str, account: Account | None) -> None:
        facts: dict[str, str | int] = {
            "channel": order.channel,
            "id": order.id,
            "amount": format_amount(order.amount_micros),
            "currency": account.profile.currency if account is not None else "",
            "reason": why,
        }
        name = f"topup.suspended.{order.channel}.{order.id}.{order.run}"
        if order.resumed_ms:  # it is another time
            name = f"{name}.{order.resumed_ms}"
        await self._tell(Notice(name, "topup.suspended", now_ms, order.path, facts, order.partition))


_MADE: Final = frozenset({ActionState.COMPLETED, ActionState.CANCELLED})
