"""The audit of vouchers finds what it is for: each wound is one that a fault of the house could leave."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ocs.api_limits import VOUCHER_CLAIM_MS_MAX
from ocs.balance.accounts import Account
from ocs.balance.actions import ActionKind, Asked
from ocs.balance.audit import audit
from ocs.balance.keys import VOUCHER_BATCHES, Keys, slot_of
from ocs.balance.parts import packed, unpacked
from ocs.balance.voucher_codes import name_of
from ocs.outcomes import Code
from tests.real_valkey import RealValkey
from tests.voucher_scene import VALUE_MICROS, VoucherRoom, voucher_room

MSISDN = "491700000001"


class Spot:
    """A used voucher, and how to damage it."""

    def __init__(self, at: VoucherRoom, account: Account, batch: int, code: str, serial: str) -> None:
        self.at, self.account, self.batch, self.serial = at, account, batch, serial
        self.name = name_of(at.batches.secret.octets(code))
        self.keys: Keys = at.vouchers._keys(self.name)

    async def call(self, *words: Any) -> Any:
        return await self.at.at.store.execute(self.keys.slot, *words)

    async def change(self, key: str, changed: Callable[[list[Any]], list[Any]]) -> None:
        values = changed(list(unpacked(await self.call("GET", key))))
        await self.call("SET", key, packed(*values))


async def set_free(spot: Spot) -> None:
    await spot.change(spot.keys.voucher(spot.name), lambda v: [1, *v[1:4]])
    await spot.change(spot.keys.vouchers(spot.batch), lambda c: [*c[:7], c[7] + 1, c[8], c[9] - 1, c[10]])


async def given_to_another(spot: Spot) -> None:
    await spot.change(spot.keys.voucher(spot.name), lambda v: [*v[:7], "somebody", v[8]])


async def miscounted(spot: Spot) -> None:
    await spot.change(spot.keys.vouchers(spot.batch), lambda c: [*c[:9], c[9] + 1, c[10]])


async def come_in_twice(spot: Spot) -> None:
    where = spot.account.profile
    asked = Asked(
        ActionKind.TOPUP, "till", "again", where.partition, where.account, VALUE_MICROS, mark=spot.serial
    )
    done = await spot.at.at.accounts.actions.do(asked)
    assert done.code is Code.SUCCESS


async def never_come_in(spot: Spot) -> None:
    other = await spot.at.subscriber("491700000002")
    place = other.profile
    await spot.change(
        spot.keys.voucher(spot.name), lambda v: [*v[:5], "never", place.partition, place.account, v[8]]
    )


async def worth_more(spot: Spot) -> None:
    slot = slot_of(VOUCHER_BATCHES)
    row = await spot.at.batches.row(spot.batch)
    more = row.replace(str(VALUE_MICROS).encode(), str(2 * VALUE_MICROS).encode())
    await spot.at.at.store.execute(slot, "HSET", VOUCHER_BATCHES, spot.batch, more)


async def lost(spot: Spot) -> None:
    await spot.call("DEL", spot.keys.voucher(spot.name))


async def claimed_for_too_long(spot: Spot) -> None:
    await spot.change(spot.keys.voucher(spot.name), lambda v: [2, *v[1:8], v[8] - VOUCHER_CLAIM_MS_MAX - 1])
    await spot.change(spot.keys.vouchers(spot.batch), lambda c: [*c[:8], c[8] + 1, c[9] - 1, c[10]])


async def not_suspended_here(spot: Spot) -> None:
    await spot.change(spot.keys.vouchers(spot.batch), lambda c: [c[0], 4, *c[2:]])


WOUNDS: dict[str, tuple[Callable[[Spot], Coroutine[Any, Any, None]], str]] = {
    "a used voucher is free": (set_free, "is had by None"),
    "a used voucher is another's": (given_to_another, "is had by Holder"),
    "a count is wrong": (miscounted, "there are"),
    "a voucher has come in twice": (come_in_twice, "more than once"),
    "a used voucher has not come in": (never_come_in, "no top-up is on record"),
    "a voucher is worth another amount": (worth_more, "is had by Holder"),
    "a used voucher is lost": (lost, "its row says"),
    "a claim is too old": (claimed_for_too_long, "for too long"),
    "a copy differs from the row": (not_suspended_here, "is (2, 4"),
}


@pytest.mark.parametrize("name", WOUNDS)
def test_the_audit_names_a_wound(valkey: RealValkey, name: str) -> None:
    wound, expected = WOUNDS[name]

    async def play() -> None:
        async with voucher_room(valkey.url) as at:
            account = await at.subscriber(MSISDN)
            batch, (one, *_) = await at.active(20)
            done = await at.vouchers.redeem(account, one.code, "till", "r1")
            assert done.code is Code.SUCCESS
            report = await audit(at.at.parts, None)
            assert report.faults == []
            told = report.vouchers
            assert (told.vouchers, told.used, told.used_micros, told.claimed) == (20, 1, VALUE_MICROS, 0)
            await wound(Spot(at, account, batch.id, one.code, one.serial))
            assert any(expected in each for each in await at.wrong()), await at.wrong()

    asyncio.run(play())
