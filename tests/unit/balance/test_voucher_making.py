"""Batches of vouchers are made whole or are void: codes that clash, makers that die, secrets that are missing."""

import asyncio
import json
import stat
from collections.abc import Callable, Coroutine
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from ocs.api_limits import VOUCHER_MAKING_MS_MAX
from ocs.balance.audit import audit
from ocs.balance.keys import VOUCHER_BATCHES, slot_of
from ocs.balance.voucher_batches import Batches, BatchRefused, BatchState, Counts, NoBatch
from ocs.balance.voucher_codes import Secret, SecretFault
from ocs.balance.voucher_making import Making, begin
from ocs.balance.vouchers import Why
from ocs.outcomes import Code
from tests.real_valkey import RealValkey
from tests.voucher_scene import DAY_MS, SECRET, VoucherRoom, codes, voucher_room

MSISDN = "491700000001"


def played(valkey: RealValkey, play: Callable[[VoucherRoom], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with voucher_room(valkey.url) as at:
            await play(at)
            assert await at.wrong() == []

    asyncio.run(whole())


async def vouchers_there(at: VoucherRoom) -> int:
    return len(await at.at.store.execute(0, "KEYS", "*:voucher:*"))


def test_no_two_vouchers_have_a_code_alike_over_all_batches_and_chunks(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.balance.voucher_batches.VOUCHER_CHUNK", 3)

    async def play(at: VoucherRoom) -> None:
        _, first = await at.made(await at.new(4))
        taken = codes(first)
        making = await begin(at.batches, at.at.parts, await at.new(5))
        fresh = [f"{number:016d}" for number in range(5)]
        draws = chain(
            [taken[0], fresh[0], fresh[0], taken[3]], fresh[:2], [taken[1]], fresh, repeat("9" * 16)
        )
        making.draw = lambda _digits: next(draws)
        made = [each async for chunk in making.chunks() for each in chunk]
        batch = await making.finish()
        assert len({*taken, *codes(made)}) == 9
        await at.batches.change(batch.id, BatchState.ACTIVE)
        account = await at.subscriber(MSISDN)
        for each in made:
            done = await at.vouchers.redeem(account, each.code, "till")
            assert (done.code, done.serial) == (Code.SUCCESS, each.serial)
        for each in first:  # the other batch's are as they were
            assert (await at.vouchers.find(each.serial)).state == 1

    played(valkey, play)


def test_codes_that_are_all_taken_end_the_making(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        _, (one,) = await at.made(await at.new(1))
        making = await begin(at.batches, at.at.parts, await at.new(1))
        making.draw = lambda _digits: one.code
        with pytest.raises(BatchRefused, match="longer"):
            await anext(making.chunks())
        await making.give_up()

    played(valkey, play)


def test_a_batch_that_is_being_made_cannot_be_activated_and_one_that_was_given_up_leaves_nothing(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.balance.voucher_batches.VOUCHER_CHUNK", 10)

    async def play(at: VoucherRoom) -> None:
        account = await at.subscriber(MSISDN)
        making = await begin(at.batches, at.at.parts, await at.new(25))
        chunks = making.chunks()
        made = await anext(chunks)
        with pytest.raises(BatchRefused, match="making"):
            await at.batches.change(making.batch.id, BatchState.ACTIVE)
        assert (await at.vouchers.redeem(account, made[0].code, "till")).why is Why.UNKNOWN
        await making.give_up()
        assert await vouchers_there(at) == 0
        with pytest.raises(BatchRefused, match="cancelled while"):
            await anext(chunks)
        with pytest.raises(BatchRefused, match="cancelled"):
            await making.finish()
        batch = await at.batches.find(making.batch.id)
        assert (batch.state, batch.removed) == (BatchState.CANCELLED, True)
        assert await at.batches.counts(batch.id) == Counts()
        with pytest.raises(NoBatch):
            await at.vouchers.find(made[0].serial)

    played(valkey, play)


def test_a_maker_that_is_late_leaves_no_voucher_in_a_batch_that_was_cancelled(valkey: RealValkey) -> None:
    """The batch is cancelled, and its vouchers removed, between the note of a chunk's names and the vouchers themselves."""

    async def play(at: VoucherRoom) -> None:
        class Late(Making):
            async def _keep(self, names: dict[int, str]) -> list[int]:
                await at.batches.change(self.batch.id, BatchState.CANCELLED)
                return await super()._keep(names)

        begun = await begin(at.batches, at.at.parts, await at.new(5))
        late = Late(at.batches, at.at.parts, begun.batch, await at.batches.row(begun.batch.id))
        with pytest.raises(BatchRefused, match="cancelled"):
            async for _ in late.chunks():
                pass
        assert await vouchers_there(at) == 0

    played(valkey, play)


def test_a_batch_whose_maker_died_is_cancelled_by_the_sweep_after_an_hour(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.balance.voucher_batches.VOUCHER_CHUNK", 10)

    async def play(at: VoucherRoom) -> None:
        making = await begin(at.batches, at.at.parts, await at.new(25))
        await anext(making.chunks())
        assert await at.batches.tend() == 0
        assert (await audit(at.at.parts, None)).faults == [], "what is being made is no fault"
        row = json.loads(await at.batches.row(making.batch.id))
        row[11] -= VOUCHER_MAKING_MS_MAX + 1
        words = ("HSET", VOUCHER_BATCHES, making.batch.id, json.dumps(row))
        await at.at.store.execute(slot_of(VOUCHER_BATCHES), *words)
        assert await at.batches.tend() == 1
        assert (await at.batches.find(making.batch.id)).removed
        assert await vouchers_there(at) == 0

    played(valkey, play)


def test_a_created_batch_whose_export_did_not_arrive_is_cancelled_and_leaves_nothing(
    valkey: RealValkey,
) -> None:
    async def play(at: VoucherRoom) -> None:
        batch, _ = await at.made(await at.new(20))
        await at.batches.change(batch.id, BatchState.CANCELLED)
        assert await vouchers_there(at) == 0
        assert await at.batches.tend() == 0

    played(valkey, play)


def test_vouchers_and_codes_are_spread_and_no_key_or_value_holds_a_code(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        _, made = await at.made(await at.new(400))
        names = await at.at.store.execute(0, "KEYS", "*")
        dumps = b"".join([name + (await at.at.store.execute(0, "DUMP", name)) for name in names])
        assert not any(each.code.encode() in dumps for each in made)
        lives = {await at.at.store.execute(0, "PTTL", name) for name in names}
        assert lives == {-1}, "nothing that holds value expires"
        places = [name.partition(b"}")[0] for name in names if b":voucher:" in name]
        assert min(places.count(each) for each in set(places)) > 20, "400 over 8 partitions"
        assert not any(each.code in repr(each) + str(each) for each in made)

    played(valkey, play)


def test_the_secret_is_made_once_for_its_user_alone_and_its_loss_is_told(
    valkey: RealValkey, tmp_path: Path
) -> None:
    async def play(at: VoucherRoom) -> None:
        file = tmp_path / "vouchers" / "secret"
        batches = Batches(at.at.parts, at.at.clock, Secret("", file))
        with pytest.raises(SecretFault, match="missing"):
            batches.secret.mark()
        new = await at.new(1)
        await batches.begin(new)
        text = file.read_bytes()
        assert (stat.S_IMODE(file.stat().st_mode), len(text.strip())) == (0o600, 64)
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert [each.name for each in file.parent.iterdir()] == ["secret"]
        await batches.begin(new)
        assert file.read_bytes() == text
        file.unlink()
        with pytest.raises(SecretFault, match="missing"):
            await Batches(at.at.parts, at.at.clock, Secret("", file)).begin(new)
        assert not file.exists(), "another one would make worthless what there is"
        with pytest.raises(SecretFault, match="not the one"):
            await Batches(at.at.parts, at.at.clock, Secret(SECRET, file)).begin(new)
        file.write_text("short")
        with pytest.raises(SecretFault, match="less than 32"):
            Secret("", file).mark()

    async def whole() -> None:
        async with voucher_room(valkey.url) as at:
            await play(at)

    asyncio.run(whole())


def test_a_batch_that_cannot_be_is_refused_before_anything_is_written(valkey: RealValkey) -> None:
    async def play(at: VoucherRoom) -> None:
        good = await at.new(1)
        now_ms = await at.batches.now_ms()
        for wrong in (
            good._replace(amount_micros=0),
            good._replace(amount_micros=-1),
            good._replace(size=0),
            good._replace(size=1_000_001),
            good._replace(digits=11),
            good._replace(digits=25),
            good._replace(currency="EURO"),
            good._replace(until_ms=now_ms - 1),
            good._replace(from_ms=good.until_ms),
            good._replace(from_ms=-1),
            good._replace(until_ms=now_ms + 21 * 366 * DAY_MS),
            good._replace(description="a\tb"),
        ):
            with pytest.raises(BatchRefused):
                await at.batches.begin(wrong)
        assert await at.batches.all() == []

    played(valkey, play)
