"""Standing orders for top-ups: recurring (weekly, fortnightly, monthly) or automatic (where less than a threshold is available).

Laws
1. An order is known by (channel, id) over all accounts. It lies in its account's partition and never expires; one that has ended is kept as
   long as an action.
2. An order changes only from the text that was read (``replace``): of two who carry one out, one goes on.
3. Each execution is a top-up of its own (``execution``), under an id made of the order's and its due time, or of the order's and a number that only
   a finished execution raises: it is credited once, whoever dies.
4. The index of a partition says when to look at an order, never what to do.
5. An order that is resumed makes nothing up: periods that were due while it was suspended are passed over, and count. Only an execution of which
   it is not known whether it was paid goes on, under its own id.
6. An id is an order's or an action's of its channel, never both: one key says which, and who writes it first has it (``takes``).
"""

import calendar
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ocs.balance.actions import ActionKind, Asked
from ocs.balance.keys import Keys, home
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.profiles import payer
from ocs.limits import TOPUP_KEPT_MS
from ocs.outcomes import Code, Note

FAR_MS: Final = 2**52
"""A time at which nobody looks."""
ID_CHARS_MAX: Final = 40
"""Of an order's id: that of an execution has the time behind it, and is as long as an action's may be."""
_ACTION: Final = b"action"
"""Says in the place of an order that the id is an action's; that of an order begins with a number."""
_EVER_MS: Final = 100 * 366 * 86_400_000
_TRIES: Final = 16
_DAYS: Final = {"weekly": 7, "fortnightly": 14}
MONTHLY: Final = "monthly"


class OrderState(StrEnum):
    """State of an order; the last two are ends."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class Order(NamedTuple):
    """A standing order.

    ``path`` is whose money it is for, as in Asked; ``period`` "" for an automatic one, which tops up where less than ``below_micros`` is available;
    ``periods`` how many periods there are (0: no end). ``content`` is what else the client said, ``method`` its reference to how it
    pays. ``start_ms`` is the first due time. ``done`` counts finished executions; ``run`` is the number of the one under way (0: none), ``tries`` its
    failed tries, ``asking`` whether who pays was asked and what came of it is not known. ``look_ms`` is when to look at it next. ``today`` counts what
    finished on ``day`` (days since 1970, UTC). ``why`` says why it was suspended or ended, or what its last try failed with. ``resumed_ms`` is when it
    was resumed last (0: never), ``skipped`` how many periods were passed over.
    """

    channel: str
    id: str
    partition: int
    path: str
    amount_micros: int
    period: str = ""
    periods: int = 0
    below_micros: int = 0
    content: str = ""
    method: str = ""
    start_ms: int = 0
    created_ms: int = 0
    state: OrderState = OrderState.ACTIVE
    look_ms: int = 0
    done: int = 0
    run: int = 0
    tries: int = 0
    asking: bool = False
    day: int = 0
    today: int = 0
    why: str = ""
    resumed_ms: int = 0
    skipped: int = 0

    @property
    def name(self) -> str:
        """Return its name in indices."""
        return f"{self.channel}:{self.id}"

    @property
    def over(self) -> bool:
        """Tell whether it has ended and nothing of it is under way."""
        return self.state in {OrderState.CANCELLED, OrderState.COMPLETED} and not self.run


class Kept(NamedTuple):
    """An order as it was read, with its text."""

    order: Order
    text: bytes


class Ordered(NamedTuple):
    """Answer to an order: SUCCESS, or CONFLICT: the id has other content, or the order has ended."""

    code: Code
    order: Order
    replayed: bool = False


def repeated_ms(start_ms: int, period: str, number: int, zone: ZoneInfo) -> int:
    """Return the due time so many periods after the first: at the same time of the wall clock, in a shorter month on its last day.

    A time that the clock skips is taken as if it had not been put forward, one that it repeats is its first (ocs/rating/periods.py).
    """
    if not number:
        return start_ms
    seconds, rest_ms = divmod(start_ms, 1000)
    wall = datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, fold=0)
    if period == MONTHLY:
        months = 12 * wall.year + wall.month - 1 + number
        year, month = divmod(months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        then = wall.replace(year=year, month=month + 1, day=min(wall.day, last))
    else:
        then = wall + timedelta(days=_DAYS[period] * number)
    return int(then.replace(tzinfo=zone).timestamp()) * 1000 + rest_ms


def scheduled(order: Order, zone: ZoneInfo) -> Order:
    """Return a recurring order of which nothing is under way as it waits: for its next due time that is not passed over, or at its end."""
    skipped = order.skipped
    while not order.periods or order.done + skipped < order.periods:
        due_ms = repeated_ms(order.start_ms, order.period, order.done + skipped, zone)
        if due_ms >= order.resumed_ms:
            return order._replace(skipped=skipped, look_ms=due_ms)
        skipped += 1
    ended = OrderState.COMPLETED if order.state is OrderState.ACTIVE else order.state
    return order._replace(skipped=skipped, look_ms=FAR_MS, state=ended)


def execution(order: Order, zone: ZoneInfo) -> Asked:
    """Return the top-up that the execution under way is."""
    if order.period:
        due_ms = repeated_ms(order.start_ms, order.period, order.run - 1 + order.skipped, zone)
        mark = datetime.fromtimestamp(due_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        said: dict[str, object] = {"recurringPeriod": order.period}
    else:
        mark, said = str(order.run), {"isAutoTopup": True}
    if order.method:
        said["paymentMethod"] = {"id": order.method}
    content = json.dumps(
        said | {"usageType": "monetary"}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return Asked(
        ActionKind.TOPUP, order.channel, f"{order.id}@{mark}", order.partition, order.path, order.amount_micros,
        content=content, reason=f"order {order.id}",
    )  # fmt: skip


def write_order(order: Order) -> bytes:
    """Write an order as the store keeps it."""
    return json.dumps(order, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")


def read_order(text: bytes) -> Order:
    """Read an order of the store; raises ValueError."""
    try:
        order = Order(*json.loads(text))
        return order._replace(state=OrderState(order.state))
    except TypeError as fault:
        raise ValueError(f"no order: {fault}") from fault


class Orders:
    """The orders of one store. All methods raise StoreFault: ask again with the same id."""

    __slots__ = ("_parts", "now_ms")

    def __init__(self, parts: Parts, now_ms: Callable[[int], Awaitable[int]]) -> None:
        self._parts = parts
        self.now_ms = now_ms

    @property
    def partitions(self) -> int:
        """Return how many partitions there are."""
        return len(self._parts.keys)

    async def create(self, order: Order) -> Ordered:
        """Keep an order once by (channel, id): the same content is the same order as it stands, other content a CONFLICT."""
        standing = await self._placed(order, f"{order.partition} {self._content(order)}")
        if standing is not None:
            return standing
        keys, now_ms = self._parts.keys[order.partition], await self.now_ms(order.partition)
        first = order._replace(
            created_ms=now_ms, start_ms=order.start_ms or now_ms, look_ms=order.start_ms or now_ms
        )
        if not order.period:  # before the order is there: who follows the streams must not pass over it
            await self._parts.store.execute(keys.slot, "SADD", keys.watched, payer(order.path))
        names = (keys.order(order.channel, order.id), keys.orders, keys.orders_of(payer(order.path)))
        text = write_order(first)
        _code, found, note = await self._parts.bare(
            keys.partition, "claim", names, first.look_ms, order.name, now_ms, _EVER_MS, texts=(text,)
        )
        known = read_order(found)
        if note == Note.REPLAY and self._content(known) != self._content(order):
            return Ordered(Code.CONFLICT, known)
        return Ordered(Code.SUCCESS, known, note == Note.REPLAY)

    @staticmethod
    def _content(order: Order) -> str:
        """Return what makes two orders the same."""
        said = json.dumps(
            [order.path, order.amount_micros, order.period, order.periods, order.below_micros, order.content]
        )
        return hashlib.blake2b(said.encode(errors="surrogateescape"), digest_size=16).hexdigest()

    async def _placed(self, order: Order, content: str) -> Ordered | None:
        """Say in the partition of its id where an order is; what it is where the id has other content."""
        keys = self._parts.keys[home(order.name, len(self._parts.keys))]
        place = keys.ordered(order.channel, order.id)
        found = await self._parts.store.execute(keys.slot, "SET", place, content, "NX", "GET")
        if found is None or found.decode() == content:
            return None
        known = await self.find(order.channel, order.id)
        return Ordered(Code.CONFLICT, known.order if known is not None else order)

    async def takes(self, channel: str, action_id: str) -> bool:
        """Take an id for an action, again too, as long as an action is kept; False: it is an order's."""
        keys = self._parts.keys[home(f"{channel}:{action_id}", len(self._parts.keys))]
        place = keys.ordered(channel, action_id)
        found = await self._parts.store.execute(
            keys.slot, "SET", place, _ACTION, "NX", "GET", "PX", TOPUP_KEPT_MS
        )
        return found is None or found == _ACTION

    async def find(self, channel: str, order_id: str) -> Kept | None:
        """Return an order by its id."""
        keys = self._parts.keys[home(f"{channel}:{order_id}", len(self._parts.keys))]
        place = await self._parts.store.execute(keys.slot, "GET", keys.ordered(channel, order_id))
        if place is None or place == _ACTION:
            return None
        return await self.at(int(place.partition(b" ")[0]), f"{channel}:{order_id}")

    async def at(self, partition: int, name: str) -> Kept | None:
        """Return an order by its place; one that is no more leaves the index."""
        keys = self._parts.keys[partition]
        text = await self._parts.store.execute(keys.slot, "GET", keys.order(*name.split(":", 1)))
        if text is None:
            await self._parts.store.execute(keys.slot, "ZREM", keys.orders, name)
            return None
        return Kept(read_order(text), text)

    async def of_account(self, partition: int, path: str) -> list[Kept]:
        """Return the orders for an account's money, the newest first."""
        keys, account = self._parts.keys[partition], payer(path)
        call = self._parts.store.execute
        names = await call(keys.slot, "ZREVRANGE", keys.orders_of(account), 0, -1)
        found = [await self.at(partition, each.decode()) for each in names]
        gone = [name for name, each in zip(names, found, strict=True) if each is None]
        if gone:
            await call(keys.slot, "ZREM", keys.orders_of(account), *gone)
        return [each for each in found if each is not None]

    async def replace(self, kept: Kept, after: Order) -> Kept | None:
        """Put an order in the place of the one that was read; None where that is another by now."""
        order, text = kept.order, write_order(after)
        keys = self._parts.keys[order.partition]
        names = (keys.order(order.channel, order.id), keys.orders)
        code, _standing = await self._parts.bare(
            keys.partition, "turn", names, after.look_ms, order.name, TOPUP_KEPT_MS if after.over else 0,
            texts=(kept.text, text),
        )  # fmt: skip
        if code != Code.SUCCESS:
            return None
        if after.over:  # its place goes with it; where we die before that, it leads to nothing
            there = self._parts.keys[home(order.name, len(self._parts.keys))]
            place = there.ordered(order.channel, order.id)
            await self._parts.store.execute(there.slot, "PEXPIRE", place, TOPUP_KEPT_MS)
        return Kept(after, text)

    async def end(self, channel: str, order_id: str) -> Order | None:
        """Cancel an order, again too; None: there is none. One execution that who pays was asked for already may still come."""
        for _ in range(_TRIES):
            kept = await self.find(channel, order_id)
            if kept is None or kept.order.state in {OrderState.CANCELLED, OrderState.COMPLETED}:
                return kept.order if kept is not None else None
            order = kept.order
            after = order._replace(state=OrderState.CANCELLED, why="cancelled")
            if not order.asking or order.state is OrderState.SUSPENDED:
                after = after._replace(run=0, tries=0, asking=False)
            if (done := await self.replace(kept, after)) is not None:
                return done.order
        raise StoreFault("the order changes faster than it can be read; try again")

    async def resume(self, channel: str, order_id: str) -> Ordered | None:
        """Let a suspended order go on (law 5), again too; CONFLICT: it has ended. None: there is none."""
        for _ in range(_TRIES):
            kept = await self.find(channel, order_id)
            if kept is None:
                return None
            order = kept.order
            if order.state is not OrderState.SUSPENDED:
                goes_on = order.state is OrderState.ACTIVE
                return Ordered(Code.SUCCESS if goes_on else Code.CONFLICT, order, goes_on)
            now_ms = await self.now_ms(order.partition)
            after = order._replace(
                state=OrderState.ACTIVE, why="", tries=0, look_ms=now_ms, resumed_ms=now_ms
            )
            if not order.asking:
                after = after._replace(run=0)
            if (done := await self.replace(kept, after)) is not None:
                return Ordered(Code.SUCCESS, done.order)
        raise StoreFault("the order changes faster than it can be read; try again")

    async def due(self, partition: int, now_ms: int, count: int) -> list[str]:
        """Return names of orders that are to be looked at."""
        keys = self._parts.keys[partition]
        found = await self._parts.store.execute(
            keys.slot, "ZRANGEBYSCORE", keys.orders, "-inf", now_ms, "LIMIT", 0, count
        )
        return [each.decode() for each in found]

    async def put_off(self, partition: int, name: str, at_ms: int) -> None:
        """Let an order that cannot be read or carried out wait."""
        keys: Keys = self._parts.keys[partition]
        await self._parts.store.execute(keys.slot, "ZADD", keys.orders, "XX", "GT", at_ms, name)

    async def watched(self, partition: int, accounts: Sequence[str]) -> list[str]:
        """Return those of some accounts that have, or had, an automatic order."""
        if not accounts:
            return []
        keys = self._parts.keys[partition]
        found = await self._parts.store.execute(keys.slot, "SMISMEMBER", keys.watched, *accounts)
        return [each for each, is_one in zip(accounts, found, strict=True) if is_one]
