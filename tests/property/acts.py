"""What every function of the Lua library that writes is called with, and where: for the tests of its law 1."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ocs.balance.functions import source
from ocs.balance.link import StoreFault
from ocs.balance.parts import packed
from ocs.charging.accounting import AccountingRecord
from ocs.charging.ask import (
    DIRECT_DEBITING,
    INITIAL,
    REFUND_ACCOUNT,
    TERMINATION,
    UPDATE,
    Ask,
    AskedService,
    Event,
    Units,
)
from ocs.charging.outcome import Outcome
from ocs.outcomes import Code
from ocs.rating.openings import OpenedRow
from tests.accounting_records import EVENT, INTERIM, START, STOP, container, traffic
from tests.charged_store import StoreRoom
from tests.property.offers import OFFERS
from tests.property.pair import MEMBER, TERMS, Pair

BROKEN, WHOLE = 77, 78
TEXT = source()
SERVICE = AskedService("10", 10, None, None, Units(octets=500))
REPORT = AskedService("10", 10, None, Units(octets=400), None)


async def everything(pair: Pair) -> dict[bytes, tuple[bytes, bool]]:
    """All keys with their content, and whether they expire."""
    store = pair.charged.store
    names = sorted(await store.execute(0, "KEYS", "*"))
    dumps = await asyncio.gather(*(store.execute(0, "DUMP", name) for name in names))
    lives = await asyncio.gather(*(store.execute(0, "PTTL", name) for name in names))
    return {name: (dump, life >= 0) for name, dump, life in zip(names, dumps, lives, strict=True)}


async def opened(room: StoreRoom) -> Pair:
    """An account with money in a store whose functions are whole."""
    pair = await Pair.made(room, partitions=1)
    await pair.open(OFFERS[0])
    await pair.credit(0, "first", 1_000)
    return pair


async def in_session(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await pair.charge(0, pair.ask(0, "gw;1", INITIAL, 0, (SERVICE,)))
    return pair


async def expired(room: StoreRoom) -> Pair:
    pair = await in_session(room)
    await pair.expire(0, "gw;1", forced=True)
    return pair


async def orphaned(room: StoreRoom) -> Pair:
    pair = await in_session(room)
    keys = pair.charged.parts.keys[0]
    await pair.charged.store.execute(keys.slot, "DEL", keys.session("gw;1"))
    return pair


async def claimed(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await claim(pair, WHOLE)
    return pair


async def joined(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await join(pair, WHOLE, member="1")
    return pair


async def join(pair: Pair, _version: int, member: str = "2") -> Any:
    keys = pair.charged.parts.keys[0]
    account = pair.homes[0][1].name
    path = f"{account}/{member}"
    names = (
        keys.part,
        keys.book(account),
        keys.profile(path),
        keys.stream,
        keys.book(path),
        keys.credit("created", path),
    )
    return await pair.charged.parts.call(0, "join", names, account, member, "[]", "asked for", 1_000)


async def rows(pair: Pair, _version: int) -> Any:
    """Buy what has a price, brings a bucket, and rolls another over; for the member where there is one."""
    keys = pair.charged.parts.keys[0]
    account = pair.homes[0][1].name
    member = "1" if await pair.charged.store.execute(keys.slot, "EXISTS", keys.book(f"{account}/1")) else ""
    path = f"{account}/{member}" if member else account
    names = [keys.part, keys.book(account), keys.profile(path), keys.stream, keys.agenda]
    names += [keys.credit("rows", "bought")] + ([keys.book(path)] if member else [])
    row = [[5, 1, 0, 2**41, 50, int(bool(member))]]
    return await pair.charged.parts.call(
        0,
        "rows",
        names,
        account,
        member,
        1,
        "bought",
        10,
        "[]",
        row,
        [[5, 0, 6, 1, 2**41, 1, 20, 0]],
        5,
        7,
        1_000,
        [],
        [1, 9],
    )


async def debited(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await pair.event(0, one_time(pair, DIRECT_DEBITING, 0))
    return pair


async def debited_by_member(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await pair.join(0, OFFERS[0])
    await pair.event(1, one_time(pair, DIRECT_DEBITING, 0, index=1))
    return pair


def one_time(pair: Pair, action: int, number: int, index: int = 0) -> Ask:
    return pair.event_ask(index, "gw;1", number, Event(action), (SERVICE,), "data")


def event(action: int, index: int = 0) -> "Act":
    async def act(pair: Pair, _version: int) -> Any:
        outcome = await pair.charged.charge(one_time(pair, action, 1, index))
        if outcome.code == Code.LIMIT:
            raise StoreFault("the script ended in an error")
        return outcome

    return act


async def accounted(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await account_record(traffic(START, 0))(pair, WHOLE)
    return pair


def account_record(record: AccountingRecord) -> "Act":
    async def act(pair: Pair, _version: int) -> Any:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        pair.charged.clock.keep_up()
        pair.charged.book.account(record, future.set_result)
        outcome = await future
        if outcome.code == Code.LIMIT:
            raise StoreFault("the script ended in an error")
        return outcome

    return act


async def listed(room: StoreRoom) -> Pair:
    pair = await opened(room)
    keys = pair.charged.parts.keys[0]
    await pair.charged.store.execute(keys.slot, "ZADD", keys.agenda, 5, "somebody")
    return pair


async def strike(pair: Pair, version: int) -> Any:
    return await raw(pair, "strike", version, (pair.charged.parts.keys[0].agenda,), "somebody", "5")


def charge(kind: int, service: AskedService) -> "Act":
    async def act(pair: Pair, version: int) -> Any:
        pair.charged.book.charge_name = f"charge_{version}"
        outcome = await pair.charged.charge(pair.ask(0, "gw;1", kind, 1, (service,)))
        if outcome.code == Code.LIMIT:
            raise StoreFault("the script ended in an error")
        return outcome

    return act


def on_account(name: str, *arguments: Any) -> "Act":
    async def act(pair: Pair, version: int) -> Any:
        keys = pair.charged.parts.keys[0]
        account = pair.homes[0][1].name
        middle = {
            "amend": (keys.profile(account),),
            "open": (keys.profile("new"),),
            "credit": (keys.credit("test", "second"),),
            "expire": (keys.session("gw;1"), keys.due),
        }[name]
        book = keys.book("new" if name == "open" else account)
        told = "new" if name == "open" else account
        behind = {
            "expire": (keys.open,),
            "open": (keys.credit("created", "new"),),
            "credit": (keys.acted(account, 1), keys.owed(account), keys.lives(account)),
        }.get(name, ())
        return await pair.charged.parts.call(
            0, name, (keys.part, book, *middle, keys.stream, *behind), told, *arguments
        )

    return act


async def raw(pair: Pair, name: str, version: int, keys: tuple[str, ...], *arguments: Any) -> Any:
    slot = pair.charged.parts.keys[0].slot
    return await pair.charged.store.execute(slot, "FCALL", f"{name}_{version}", len(keys), *keys, *arguments)


async def epoch(pair: Pair, version: int) -> Any:
    keys = pair.charged.parts.keys[0]
    return await raw(pair, "epoch", version, (keys.part, keys.run, keys.stream), "another process")


async def calendar(pair: Pair, version: int) -> Any:
    return await raw(pair, "calendar", version, (pair.charged.parts.keys[0].part,), "5000")


async def claim(pair: Pair, version: int) -> Any:
    keys = pair.charged.parts.keys[0]
    names = (keys.claim("test", "second"), keys.claims, keys.asked("test", 1))
    body = packed(pair.charged.now_ms, "test:second", pair.charged.now_ms, 1_000)
    return await raw(pair, "claim", version, names, body, "a claim")


def turn(kept_ms: int) -> "Act":
    async def act(pair: Pair, version: int) -> Any:
        keys = pair.charged.parts.keys[0]
        names = (keys.claim("test", "second"), keys.claims)
        body = packed(pair.charged.now_ms, "test:second", kept_ms)
        return await raw(pair, "turn", version, names, body, "a claim", "another")

    return act


def count(*, back: bool) -> "Act":
    async def act(pair: Pair, version: int) -> Any:
        key = pair.charged.parts.keys[0].day("test", 1, "5")
        return await raw(pair, "count", version, (key,), packed("id second", 1, 5, 100, 3, 1_000, int(back)))

    return act


async def counted(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await count(back=False)(pair, WHOLE)
    return pair


def step(name: str, *arguments: Any, amount: int = 0, owes: int = 0, bucket: int = 0) -> "Act":
    """One step of an action; arguments behind what is told of it."""

    async def act(pair: Pair, _version: int) -> Any:
        keys, now_ms = pair.charged.parts.keys[0], pair.charged.now_ms
        account = pair.homes[0][1].name
        names = [
            keys.part,
            keys.book(account),
            keys.moved(f"{name} {arguments}", "test", "second"),
            keys.stream,
        ]
        names += [keys.acted(account, 2), keys.owed(account)]
        told = [
            account,
            "",
            "test",
            "second",
            "",
            "",
            2,
            7,
            1,
            now_ms,
            1_000,
            "test:second",
            amount,
            0,
            1,
            0,
            0,
            owes,
        ]
        told += [bucket, 0, 5 if bucket else 0]
        more: list[Any] = list(arguments)
        if name in {"hold", "settling"}:
            names += [keys.session("rf  test:second"), keys.due, keys.open]
        if name == "hold":
            more = [50, now_ms + 10_000, "rf  test:second", "test reserved"]
        if name == "reversing":
            names += [keys.lives(account), keys.brought(account, "bonus test:second"), keys.agenda]
        if name == "closing":
            names.append(keys.profile(account))
        if bucket and len(pair.homes) > 1:
            told[1], names = MEMBER, [*names, keys.book(f"{account}/{MEMBER}")]
        return await pair.charged.parts.call(0, name, names, told, *more)

    return act


async def held(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await step("hold")(pair, WHOLE)
    return pair


async def bringing(room: StoreRoom) -> Pair:
    """A top-up that has lengthened a life and brought a bonus."""
    pair = await Pair.made(room, partitions=1)
    await pair.open(OFFERS[0], life_ms=1_000)
    await on_account("credit", "test", "second", 7, 100, 1_000, 50_000, 1, 1, "test:second")(pair, WHOLE)
    account = await pair.stored(0)
    row, cause = OpenedRow(32, 4, 0, 2**41, 50), "bonus test:second"
    done = await pair.accounts.open_rows(account, [row], 0, cause, content="bonus", told=(1, 2**41))
    assert done.code == Code.SUCCESS
    return pair


async def owing(room: StoreRoom) -> Pair:
    pair = await opened(room)
    await step("moving", amount=50, owes=60)(pair, WHOLE)
    return pair


def with_bucket(*, member: bool) -> "Callable[[StoreRoom], Coroutine[Any, Any, Pair]]":
    async def setting(room: StoreRoom) -> Pair:
        pair = await opened(room)
        if member:
            await pair.join(0, OFFERS[0])
        await pair.open_rows(int(member), [(5, 1, 0, 2**41, 50)], 0)
        return pair

    return setting


def swap(text: str) -> "Act":
    async def act(pair: Pair, version: int) -> Any:
        keys = pair.charged.parts.keys[0]
        key = keys.profile(pair.homes[0][1].name)
        known = await pair.charged.store.execute(keys.slot, "GET", key)
        return await raw(pair, "swap", version, (key,), known, text)

    return act


async def with_voucher(room: StoreRoom) -> Pair:
    """A voucher of an active batch."""
    pair = await opened(room)
    await voucher("add", 0, 2**52, [1])(pair, WHOLE)
    await voucher("batch", 1, 3, 2**52)(pair, WHOLE)
    return pair


async def with_claim(room: StoreRoom) -> Pair:
    pair = await with_voucher(room)
    await CLAIM_VOUCHER(pair, WHOLE)
    return pair


def voucher(name: str, *arguments: Any) -> "Act":
    """Call a function of vouchers: all with the same voucher of the same batch."""

    async def act(pair: Pair, _version: int) -> Any:
        keys = pair.charged.parts.keys[0]
        one, copy = keys.voucher("one"), keys.vouchers(7)
        names = {
            "add": (copy, one),
            "batch": (copy,),
            "claim": (one, copy, keys.voucher_claims),
            "end": (one, copy, keys.voucher_claims),
            "turn": (one, copy),
            "remove": (copy, one),
            "wrong": (keys.tries("somebody"),),
        }[name]
        told = {"add": (7, 100, "EUR", *arguments[-3:])}.get(name, arguments)
        return await pair.charged.parts.call(0, f"voucher_{name}", (keys.part, *names), *told)

    return act


CLAIM_VOUCHER = voucher("claim", 7, 0, "till", "r1", 0, 0, "somebody", "EUR", "one")


async def head(pair: Pair, version: int) -> Any:
    return await raw(pair, "voucher_head", version, ("{vouchers}:batches",), "7", "", "a row")


Act = Callable[[Pair, int], Coroutine[Any, Any, Any]]
ACTS: dict[str, tuple[Callable[[StoreRoom], Coroutine[Any, Any, Pair]], Act]] = {
    "charge: an initial": (opened, charge(INITIAL, SERVICE)),
    "charge: an update": (in_session, charge(UPDATE, REPORT)),
    "charge: a termination": (in_session, charge(TERMINATION, REPORT)),
    "charge: an initial that is refused": (opened, charge(INITIAL, SERVICE._replace(wanted=Units(0, 0, 0)))),
    "charge: an update after expiry": (expired, charge(UPDATE, REPORT)),
    "debit": (opened, event(DIRECT_DEBITING)),
    "debit: of a member": (debited_by_member, event(DIRECT_DEBITING, 1)),
    "refund": (debited, event(REFUND_ACCOUNT)),
    "refund: of a member": (debited_by_member, event(REFUND_ACCOUNT, 1)),
    "account: a start": (opened, account_record(traffic(START, 0))),
    "account: an interim": (accounted, account_record(traffic(INTERIM, 1, container(500)))),
    "account: a stop": (accounted, account_record(traffic(STOP, 1, container(500)))),
    "account: a stop alone": (opened, account_record(traffic(STOP, 1, container(500)))),
    "account: an event": (opened, account_record(traffic(EVENT, 0, container(500)))),
    "expire: a session": (in_session, on_account("expire", "gw;1", TERMS.tombstone_ms, 1)),
    "expire: a session that is gone": (
        orphaned,
        on_account("expire", "gw;1", TERMS.tombstone_ms, 1),
    ),
    "epoch": (opened, epoch),
    "calendar": (opened, calendar),
    "open": (opened, on_account("open", 0, "{}", 0, 0, "", 0)),
    "open: with credit": (opened, on_account("open", -100, "{}", 500, -1, "asked for", 1_000)),
    "amend": (opened, on_account("amend", "", 2, "", -2, 0, -2, 1)),
    "amend: a credit floor": (opened, on_account("amend", "", 0, "", -2, 0, -2, -100)),
    "strike": (listed, strike),
    "claim": (opened, claim),
    "credit": (opened, on_account("credit", "test", "second", 7, 100, 1_000, 0, 1, 1, "test:second")),
    "credit: refused": (opened, on_account("credit", "test", "second", 7, 0, 1_000, 0, 1, 1, "test:second")),
    "credit: what is owed is repaid": (
        owing,
        on_account("credit", "test", "second", 7, 100, 1_000, 0, 1, 1, "test:second"),
    ),
    "credit: some of it": (
        owing,
        on_account("credit", "test", "second", 7, 10, 1_000, 0, 1, 1, "test:second"),
    ),
    "moving": (opened, step("moving", amount=5)),
    "moving: refused": (opened, step("moving", amount=-5_000)),
    "moving: lent": (opened, step("moving", amount=5, owes=7)),
    "moving: a bucket": (with_bucket(member=False), step("moving", bucket=5)),
    "moving: a member's bucket": (with_bucket(member=True), step("moving", bucket=5)),
    "reversing": (opened, step("reversing", amount=-5)),
    "reversing: with bonus and time": (bringing, step("reversing", amount=-5)),
    "reversing: refused": (opened, step("reversing", amount=-5_000)),
    "closing": (opened, step("closing", -1)),
    "closing: refused": (opened, step("closing", 3)),
    "closing: what is owed is repaid": (owing, step("closing", -1)),
    "hold": (opened, step("hold")),
    "hold: refused": (held, step("hold", "again")),
    "settling": (held, step("settling", 20, "rf  test:second", 300)),
    "settling: refused": (held, step("settling", 60, "rf  test:second", 300)),
    "join": (opened, join),
    "join: another member": (joined, join),
    "rows: a product": (opened, rows),
    "rows: of a member": (joined, rows),
    "voucher_add": (opened, voucher("add", 0, 9, [1])),
    "voucher_batch": (with_voucher, voucher("batch", 2, 4, 5, 9, "EUR", 0)),
    "voucher_batch: of none here": (opened, voucher("batch", 1, 5, 5, 9, "EUR", 0)),
    "voucher_claim": (with_voucher, CLAIM_VOUCHER),
    "voucher_end: used": (with_claim, voucher("end", "till", "r1", "somebody", 1, "one")),
    "voucher_end: free": (with_claim, voucher("end", "till", "r1", "somebody", 0, "one")),
    "voucher_turn": (with_voucher, voucher("turn", 7, 1, 4)),
    "voucher_remove": (with_voucher, voucher("remove", 7, [1])),
    "voucher_head": (opened, head),
    "voucher_wrong": (opened, voucher("wrong", 3, 1_000, 1_000)),
    "turn: settled": (claimed, turn(1_000)),
    "turn: under way": (claimed, turn(0)),
    "count": (opened, count(back=False)),
    "count: given back": (counted, count(back=True)),
    "swap: another text": (opened, swap("another")),
    "swap: nothing": (opened, swap("")),
}
