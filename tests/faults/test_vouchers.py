"""Vouchers race each other, kills and deaths between steps: each is redeemed once, and the audit is clean."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from ocs.api_limits import VOUCHER_CLAIM_MS
from ocs.balance.actions import ActionKind, Asked
from ocs.balance.link import StoreFault
from ocs.balance.voucher_batches import BatchState, Counts, VoucherState
from ocs.balance.vouchers import Redeemed, Why
from ocs.limits import BOOK_MICROS_MAX
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from ocs.sessions.sweep import Sweeper
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey
from tests.voucher_scene import VALUE_MICROS, VoucherRoom, voucher_room

MSISDN, OTHER = "491700000001", "491700000002"
AT_ONCE = 200


@pytest.mark.parametrize("own", [False, True], ids=["an-id-each", "no-ids"])
def test_200_redemptions_of_one_voucher_at_once_on_several_links_succeed_once(
    valkey: RealValkey, *, own: bool
) -> None:
    async def play() -> None:
        async with AsyncExitStack() as links:
            rooms = [await links.enter_async_context(voucher_room(valkey.url)) for _ in range(4)]
            accounts = [await rooms[0].subscriber(f"49170000{index:04d}") for index in range(AT_ONCE)]
            batch, (one,) = await rooms[0].active(1)

            done = await asyncio.gather(
                *(
                    rooms[index % 4].vouchers.redeem(account, one.code, "till", "" if own else f"r{index}")
                    for index, account in enumerate(accounts)
                )
            )

            (won,) = (each for each in done if each.code is Code.SUCCESS)
            assert {each.why for each in done if each is not won} <= {Why.USED, Why.UNDER_WAY}
            books = [(await rooms[0].again(each)).book.credits_micros for each in accounts]
            assert sorted(books) == [0] * (AT_ONCE - 1) + [VALUE_MICROS]
            assert await rooms[0].batches.counts(batch.id) == Counts(used=1)
            assert await rooms[0].wrong() == []

    asyncio.run(play())


def test_200_repetitions_of_one_redemption_at_once_add_once_and_are_answered_alike(
    valkey: RealValkey,
) -> None:
    async def play() -> None:
        async with voucher_room(valkey.url) as one_link, voucher_room(valkey.url) as other:
            account = await one_link.subscriber(MSISDN)
            _, (one,) = await one_link.active(1)
            done = await asyncio.gather(
                *(
                    (one_link, other)[index % 2].vouchers.redeem(account, one.code, "till", "r1")
                    for index in range(AT_ONCE)
                )
            )
            assert {each._replace(replayed=False) for each in done} == {
                Redeemed(
                    Code.SUCCESS,
                    False,
                    VALUE_MICROS,
                    VALUE_MICROS,
                    VALUE_MICROS,
                    id="r1",
                    serial=one.serial,
                    channel="till",
                )
            }
            assert (await one_link.again(account)).book.credits_micros == VALUE_MICROS
            assert await one_link.wrong() == []

    asyncio.run(play())


STEPS = {1: "claim-voucher", 2: "claim-id", 3: "credit", 4: "confirm-id", 5: "confirm-voucher"}
"""The function calls of a first redemption, in their order."""


@pytest.mark.parametrize("by", ["next-try", "sweep", "sweep-of-top-ups-first"])
@pytest.mark.parametrize("happened", [False, True], ids=["not-happened", "happened"])
@pytest.mark.parametrize("nth", STEPS, ids=STEPS.values())
def test_a_redemption_whose_caller_dies_at_a_step_is_finished(
    valkey: RealValkey, nth: int, by: str, monkeypatch: pytest.MonkeyPatch, *, happened: bool
) -> None:
    async def play() -> None:
        async with voucher_room(valkey.url) as at:
            account = await at.subscriber(MSISDN)
            batch, (one,) = await at.active(1)
        with CuttingProxy(valkey.port) as proxy:
            async with voucher_room(proxy.url) as dying:
                await dying.at.accounts.learn_all()
                learned = proxy.calls["FCALL"]
                if happened:
                    proxy.half_open("FCALL", nth)
                else:
                    proxy.stall("FCALL", nth)
                before = _fcalls(valkey)
                task = asyncio.create_task(dying.vouchers.redeem(account, one.code, "till", "r1"))
                while proxy.calls["FCALL"] < learned + nth:  # noqa: ASYNC110 - the proxy lives in another thread
                    await asyncio.sleep(0.002)
                while _fcalls(valkey) < before + nth - (not happened):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.002)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        async with voucher_room(valkey.url) as at:
            claimed = nth > 1 or happened
            assert await at.wrong() == []
            if by == "sweep-of-top-ups-first":
                monkeypatch.setattr("ocs.sessions.sweep.CLAIM_AGE_MS", -1)
                sweeper = Sweeper(at.at.parts, at.at.accounts, at.at.clock, 1_000)
                await sweeper.once()
                assert sweeper.faults == 0
                assert await at.wrong() == []
            if by.startswith("sweep"):
                monkeypatch.setattr("ocs.balance.vouchers.VOUCHER_CLAIM_MS", 0)
                await asyncio.sleep(0.005)
                await at.vouchers.finish_left()
                assert at.vouchers.faults == 0
                state = (await at.vouchers.find(one.serial)).state
                assert state is (VoucherState.USED if claimed else VoucherState.FREE)
            for _ in range(2):
                done = await at.vouchers.redeem(account, one.code, "till", "r1")
                assert (done.code, done.balance_micros) == (Code.SUCCESS, VALUE_MICROS)
            assert (await at.vouchers.redeem(account, one.code, "till", "r2")).why is Why.USED
            assert (await at.again(account)).book.credits_micros == VALUE_MICROS
            assert await at.batches.counts(batch.id) == Counts(used=1)
            assert await at.wrong() == []

    asyncio.run(play())


def _fcalls(server: RealValkey) -> int:
    """How many function calls the server has executed, whoever heard of it."""
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"])


def test_a_twin_that_is_late_brings_nothing_in_once_the_voucher_is_free(valkey: RealValkey) -> None:
    """Two drive one redemption; one is refused for good and sets the voucher free; the other comes when the account has room again."""

    async def play() -> None:
        async with voucher_room(valkey.url) as at:
            full = await at.subscriber(MSISDN, BOOK_MICROS_MAX - 2 * VALUE_MICROS + 1)
            other = await at.subscriber(OTHER)
            accounts, where = at.at.accounts, full.profile
            assert (await accounts.topup(full, VALUE_MICROS, "till", "room")).code is Code.SUCCESS
            batch, (one,) = await at.active(1)
            assert (await at.vouchers.redeem(full, one.code, "till", "r1")).why is Why.LIMIT
            assert (await at.vouchers.redeem(other, one.code, "till", "r2")).code is Code.SUCCESS
            assert (await accounts.actions.cancel("till", "room")).code is Code.SUCCESS

            # what the late twin does: its claim of the voucher was answered long ago
            asked = Asked(
                ActionKind.TOPUP, "till", "r1", where.partition, where.account, VALUE_MICROS, mark=one.serial
            )
            late = await accounts.actions.do(asked)
            room_again = await accounts.topup(full, VALUE_MICROS, "till", "other")

            assert (late.code, late.replayed) == (Code.LIMIT, True)
            assert room_again.code is Code.SUCCESS, (
                "the account has room: only what is known of the action has held it"
            )
            assert await at.batches.counts(batch.id) == Counts(used=1)
            assert await at.wrong() == []

    asyncio.run(play())


async def insisting(at: VoucherRoom, msisdn: str, code: str, name: str) -> Redeemed:
    """Somebody who asks again with the same id until it is answered."""
    while True:
        try:
            found = await at.at.accounts.find(_identity(msisdn))
            assert found is not None
            return await at.vouchers.redeem(found, code, "till", name)
        except StoreFault:
            await asyncio.sleep(0.02)


def _identity(msisdn: str) -> SubscriberId:
    return SubscriberId(E164, msisdn)


def test_redemptions_race_kills_of_the_store_and_each_voucher_is_used_once() -> None:
    async def play(server: RealValkey) -> None:
        chance, hit = random.Random(7), 0
        msisdns = [f"49170000{index:04d}" for index in range(10)]
        async with voucher_room(server.url) as one, voucher_room(server.url) as two:
            for each in msisdns:
                await one.subscriber(each)
            batch, made = await one.active(60)
            for wave in range(3):
                tasks = [
                    asyncio.create_task(insisting(at, msisdn, each.code, f"{wave}/{each.serial}"))
                    for each in made[wave * 20 : wave * 20 + 20]
                    for msisdn in chance.sample(msisdns, 2)
                    for at in (one, two)
                ]
                await asyncio.sleep(chance.random() / 50)
                hit += sum(not each.done() for each in tasks)
                server.kill()
                server.start()
                done = await asyncio.gather(*tasks)
                assert {each.why for each in done} <= {Why.NONE, Why.USED, Why.UNDER_WAY}
            books = [(await one.at.accounts.find(_identity(each))) for each in msisdns]
            assert sum(each.book.credits_micros for each in books if each) == 60 * VALUE_MICROS
            assert await one.batches.counts(batch.id) == Counts(used=60)
            assert hit > 0
            assert await one.wrong() == []

    with RealValkey(settings={"appendfsync": "always"}) as server:
        asyncio.run(play(server))


@pytest.mark.parametrize("state", [BatchState.ACTIVE, BatchState.SUSPENDED, BatchState.CANCELLED])
def test_a_change_of_a_batch_that_dies_half_way_is_finished_by_the_next_look(
    valkey: RealValkey, state: BatchState
) -> None:
    async def play() -> None:
        async with voucher_room(valkey.url) as at:
            account = await at.subscriber(MSISDN)
            batch, made = await at.made(await at.new(40))
            if state is BatchState.SUSPENDED:
                await at.batches.change(batch.id, BatchState.ACTIVE)
        with CuttingProxy(valkey.port) as proxy:
            async with voucher_room(proxy.url) as dying:
                for partition in range(8):
                    await dying.at.parts.epoch(partition)
                proxy.stall("FCALL", 4)  # the row and two copies of eight
                task = asyncio.create_task(dying.batches.change(batch.id, state))
                while proxy.calls["FCALL"] < 8 + 4:  # noqa: ASYNC110 - the proxy lives in another thread
                    await asyncio.sleep(0.002)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        async with voucher_room(valkey.url) as at:
            half = await at.batches.find(batch.id)
            assert half.state is state
            assert half.spread < half.version
            assert await at.batches.tend() == 1
            assert await at.batches.tend() == 0
            expected = {
                BatchState.ACTIVE: Why.NONE,
                BatchState.SUSPENDED: Why.SUSPENDED,
                BatchState.CANCELLED: Why.UNKNOWN,  # never active: they have gone
            }[state]
            found = {
                (await at.vouchers.redeem(account, each.code, "till", each.serial)).why
                for each in made[: 2 if expected is Why.UNKNOWN else 40]
            }
            assert found == {expected}
            assert await at.wrong() == []

    asyncio.run(play())


def test_what_is_left_behind_is_younger_than_no_call_can_be() -> None:
    assert VOUCHER_CLAIM_MS > 2 * 4_500, "store.deadline_ms is at most 4,500"
