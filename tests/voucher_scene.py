"""Vouchers on a real store for tests: batches that are made, the codes that were told, and who redeems them."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.audit import audit
from ocs.balance.voucher_batches import Batch, Batches, BatchState, NewBatch
from ocs.balance.voucher_codes import Secret
from ocs.balance.voucher_making import Made, begin
from ocs.balance.vouchers import Lock, Vouchers
from ocs.outcomes import Code
from tests.faults.judgement import Room, room

DAY_MS = 86_400_000
VALUE_MICROS = 10_000_000
SECRET = "a secret of the tests, long enough for it"
NO_FILE = Path("no-such-folder") / "secret"
BY_SUBSCRIBER, BY_CHANNEL = Lock(3, 3_600_000, 1_800_000), Lock(0, 0, 0)


class VoucherRoom(NamedTuple):
    """A store as who redeems has it."""

    at: Room
    batches: Batches
    vouchers: Vouchers

    async def subscriber(self, msisdn: str, credit_micros: int = 0, currency: str = "EUR") -> Account:
        new = NewSubscriber(msisdn, "", "flat-data", "prepaid", currency, 0)
        code, account = await self.at.accounts.create(new, credit_micros)
        assert code is Code.SUCCESS
        return account

    async def again(self, account: Account) -> Account:
        """The account as it is by now."""
        found = await self.at.accounts.read(account.profile.partition, account.profile.path)
        assert found is not None
        return found

    async def new(
        self, size: int, amount_micros: int = VALUE_MICROS, currency: str = "EUR", from_ms: int = 0
    ) -> NewBatch:
        until_ms = await self.batches.now_ms() + 30 * DAY_MS
        return NewBatch(amount_micros, currency, size, from_ms, until_ms, "of the tests", "test", 16)

    async def made(self, new: NewBatch) -> tuple[Batch, list[Made]]:
        """A batch that is created, and its vouchers."""
        making = await begin(self.batches, self.at.parts, new)
        made = [each async for chunk in making.chunks() for each in chunk]
        return await making.finish(), made

    async def active(self, size: int, amount_micros: int = VALUE_MICROS) -> tuple[Batch, list[Made]]:
        batch, made = await self.made(await self.new(size, amount_micros))
        return await self.batches.change(batch.id, BatchState.ACTIVE), made

    async def wrong(self) -> list[str]:
        """What the audit finds."""
        return [str(fault) for fault in (await audit(self.at.parts, None)).faults]


def on(at: Room, by_subscriber: Lock = BY_SUBSCRIBER, by_channel: Lock = BY_CHANNEL) -> VoucherRoom:
    """Vouchers on an open store."""
    batches = Batches(at.parts, at.clock, Secret(SECRET, NO_FILE))
    return VoucherRoom(
        at, batches, Vouchers(at.parts, at.accounts, at.clock, batches, by_subscriber, by_channel)
    )


@asynccontextmanager
async def voucher_room(
    url: str, by_subscriber: Lock = BY_SUBSCRIBER, by_channel: Lock = BY_CHANNEL
) -> AsyncIterator[VoucherRoom]:
    """Open a store by its address."""
    async with room(url) as at:
        yield on(at, by_subscriber, by_channel)


def codes(made: Iterable[Made]) -> list[str]:
    return [each.code for each in made]
