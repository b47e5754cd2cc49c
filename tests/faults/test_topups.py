"""Top-ups race kills: one id adds once, whoever died between claim, credit and confirm (DESIGN sections 3 and 4)."""

import asyncio
import json
from pathlib import Path

import pytest

from ocs.balance.accounts import Account, ToppedUp
from ocs.balance.link import StoreFault
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from tests.cutting_proxy import CuttingProxy
from tests.faults.judgement import RICH_MICROS, Room, judge, numbers, populate, room
from tests.faults.ledger import Ledger
from tests.faults.scene import scene
from tests.faults.serving import Server
from tests.real_valkey import RealValkey

STEPS = {1: "epoch", 2: "claim", 3: "credit", 4: "turn"}
"""The function calls of a first top-up, in their order."""


async def _account(at: Room, msisdn: str) -> Account:
    account = await at.accounts.find(SubscriberId(E164, msisdn))
    assert account is not None
    return account


@pytest.mark.parametrize("happened", [False, True], ids=["not-happened", "happened"])
@pytest.mark.parametrize("nth", STEPS, ids=STEPS.values())
def test_a_topup_whose_caller_dies_at_a_step_is_finished_by_asking_again(
    valkey: RealValkey, nth: int, *, happened: bool
) -> None:
    async def play() -> None:
        ledger, (msisdn,) = Ledger(), numbers(1)
        async with room(valkey.url) as at:
            await populate(at, ledger, [msisdn])
        with CuttingProxy(valkey.port) as proxy:
            async with room(proxy.url) as dying:
                account = await _account(dying, msisdn)
                if happened:
                    proxy.half_open("FCALL", nth)
                else:
                    proxy.stall("FCALL", nth)
                before = _fcalls(valkey)
                task = asyncio.create_task(dying.accounts.topup(account, 70_000, "till", "one"))
                while proxy.calls["FCALL"] < nth:  # noqa: ASYNC110 - the proxy lives in another thread
                    await asyncio.sleep(0.002)
                while _fcalls(valkey) < before + nth - (not happened):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.002)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        async with room(valkey.url) as at:
            account = await _account(at, msisdn)
            for _ in range(2):
                done = await at.accounts.topup(account, 70_000, "till", "one")
                assert (done.code, done.balance_micros) == (Code.SUCCESS, RICH_MICROS + 70_000)
                ledger.topped_up("one", msisdn, 70_000)
            other = await at.accounts.topup(account, 80_000, "till", "one")
            assert other.code is Code.CONFLICT
            assert await judge(at, ledger) == []

    asyncio.run(play())


async def insisting(at: Room, ledger: Ledger, msisdn: str, amount_micros: int, topup_id: str) -> ToppedUp:
    """A till that asks again with the same id until it is answered."""
    while True:
        try:
            account = await _account(at, msisdn)
            done = await at.accounts.topup(account, amount_micros, "till", topup_id)
        except StoreFault:
            ledger.counts["topup faults"] += 1
            await asyncio.sleep(0.02)
            continue
        assert done.code is Code.SUCCESS
        ledger.topped_up(topup_id, msisdn, amount_micros)
        return done


def test_topups_race_kills_of_the_store_and_two_tills_with_the_same_id(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, workers=1) as on:
            on.begin()
            await on.traffic.until(50)
            ledger = on.ledger
            async with room(on.server.store_url) as one, room(on.server.store_url) as two:
                for wave, kills in enumerate((True, True, False)):
                    tasks = [
                        asyncio.create_task(
                            insisting(till, ledger, msisdn, 10_000 + index, f"{wave}/{index}")
                        )
                        for index, msisdn in enumerate(on.msisdns * 2)
                        for till in (one, two)
                    ]
                    if kills:
                        await on.traffic.until(1)
                        on.server.kill_store()
                    await asyncio.gather(*tasks)

            assert await on.verdict() == []

            assert len(ledger.topups) == 3 * 2 * len(on.msisdns)
            assert ledger.counts["topup faults"] > 0

    asyncio.run(play())


def test_the_topup_command_killed_before_its_answer_and_typed_again_adds_once(
    valkey: RealValkey, tmp_path: Path
) -> None:
    async def play() -> None:
        ledger, (msisdn,) = Ledger(), numbers(1)
        async with room(valkey.url) as at:
            await populate(at, ledger, [msisdn])
        with CuttingProxy(valkey.port) as proxy:
            typed = Server(tmp_path, store=proxy.url, OCS_STORE__DURABILITY="everysec")
            command = ("topup", msisdn, "12.50", "--id", "voucher-1", "--json")
            before = _fcalls(valkey)
            proxy.half_open("FCALL", 3)
            dying = await typed.begin(*command)
            # epoch, claim, credit: added, and nobody knows
            while _fcalls(valkey) < before + 3:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.002)
            dying.kill()
            await dying.communicate()
            assert dying.returncode == -9

            assert [(await typed.ocs(*command))[0] for _ in range(2)] == [0, 0]
            ledger.topped_up("voucher-1", msisdn, 12_500_000)
            assert (await typed.ocs("topup", msisdn, "12.51", "--id", "voucher-1"))[0] == 3
            code, text = await typed.ocs("balance", msisdn, "--json")
            assert (code, json.loads(text)["balance"]) == (0, "9012.50")
        async with room(valkey.url) as at:
            assert await judge(at, ledger) == []

    asyncio.run(play())


def _fcalls(server: RealValkey) -> int:
    """How many function calls the server has executed, whoever heard of it."""
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"])
