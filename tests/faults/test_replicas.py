"""Masters die and replicas take over: what was acknowledged with replicas is there, nothing is there twice (DESIGN law 6)."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from ocs.balance.archive import Archiver
from ocs.balance.audit import audit
from ocs.balance.link import Demands, StoreFault
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from tests.cutting_proxy import CuttingProxy
from tests.faults.direct import Direct
from tests.faults.judgement import Room, judge, numbers, populate, room
from tests.faults.ledger import INITIAL, MIB, SUCCESS, TOO_BUSY, Answer, Ledger, Reported, Request
from tests.faults.scene import scene
from tests.faults.traffic import Traffic
from tests.real_valkey import RealValkey
from tests.replicas import Replicated

ONE = Demands(replicas=1)
ROUNDS = 3
WORKERS = 2

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def rooms(url: str, demands: Demands = ONE) -> AsyncIterator[list[Room]]:
    """So many stores of one address as there would be workers."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(room(url, demands=demands)) for _ in range(WORKERS)]


async def _answered(door: Direct, request: Request) -> Answer:
    """Ask until there is an answer."""
    while (answer := await door.ask(request, True)) is None or answer.code == TOO_BUSY:
        pass
    return answer


def test_a_repetition_on_another_worker_is_not_granted_before_a_replica_has_it() -> None:
    async def play() -> None:
        ledger, (msisdn,) = Ledger(), numbers(1)
        opening = Request("s;1", msisdn, INITIAL, 0, (Reported(10, None, 2 * MIB),))
        with Replicated() as servers:
            async with rooms(servers.master.url) as (first, second), room(servers.master.url) as beside:
                await populate(first, ledger, [msisdn])
                doors = [Direct(first), Direct(second)]
                for number, door in enumerate(doors):  # each knows the subscriber and the epoch by now
                    known = Request(f"known;{number}", msisdn, INITIAL, 0, (Reported(10, None, MIB),))
                    ledger.take(known, await _answered(door, known))
                replica = servers.replicas[0]
                servers.stop(replica)
                assert (await doors[0].ask(opening, False)) == Answer(TOO_BUSY, {})
                account = await beside.accounts.find(SubscriberId(E164, msisdn))
                assert account is not None
                assert account.book.pending_micros == 40_000  # the master has done it

                assert (await doors[1].ask(opening, True)) == Answer(TOO_BUSY, {})

                servers.go_on(replica)
                answer = await _answered(doors[1], opening)
                ledger.take(opening, answer)
                assert answer == Answer(SUCCESS, {10: (SUCCESS, 2 * MIB)})
                keys = first.parts.keys[account.profile.partition]
                assert replica.client().exists(keys.session("s;1")) == 1
                assert await judge(beside, ledger) == []

    asyncio.run(play())


async def topped_up(at: Room, ledger: Ledger, msisdn: str, name: str) -> None:
    """Top up until it is acknowledged, with one id."""
    while True:
        try:
            account = await at.accounts.find(SubscriberId(E164, msisdn))
            assert account is not None
            done = await at.accounts.topup(account, 7_000_000, "till", name)
        except StoreFault:
            await asyncio.sleep(0.02)
            continue
        assert done.code is Code.SUCCESS
        ledger.topped_up(name, msisdn, 7_000_000)
        return


async def failed_over(
    servers: Replicated, proxy: CuttingProxy, folder: Path, seed: int, demands: Demands = ONE
) -> list[str]:
    """Load, replicas that hear nothing for a while, kills of the master meanwhile, the newest replica promoted each time; what does not hold in the end."""
    dice, ledger, msisdns = random.Random(seed), Ledger(), numbers(6)
    async with rooms(proxy.url, demands) as workers:
        await populate(workers[0], ledger, msisdns)
        traffic = Traffic(ledger, msisdns, seed)
        for number, at in enumerate(workers):
            traffic.start(Direct(at).ask, f"worker-{number}", 6, leave_open=1)
        archiver = Archiver(workers[0].parts, folder, workers[0].clock)
        await archiver.open()
        for number in range(ROUNDS):
            await traffic.until(dice.randint(1, 60))
            for group in archiver.groups:
                await archiver.archive(group, everything=True)
            topup = asyncio.create_task(
                topped_up(workers[1], ledger, dice.choice(msisdns), f"{seed} {number}")
            )
            await traffic.until(dice.randint(1, 30))
            servers.freeze(*dice.sample(servers.replicas, dice.choice((1, 2, 2))))
            await _answers(ledger, 8)
            with suppress(StoreFault):
                for group in archiver.groups:
                    await archiver.archive(group, everything=True)
            await asyncio.to_thread(_fail_over, servers, proxy)
            await topup
        await traffic.until(40)
        await traffic.finish()
        await archiver.once(everything=True)
        found = [f"{partition}: {why}" for partition, why in archiver.done.behind.items()]
        archiver.close()
        return found + await judge(workers[0], ledger, folder)


async def _answers(ledger: Ledger, more: int) -> None:
    """Wait until so many more requests are answered, if only with 3004."""
    counts = ledger.counts
    goal = counts["busy"] + counts["acknowledged"] + more
    while counts["busy"] + counts["acknowledged"] < goal:  # noqa: ASYNC110 - a count
        await asyncio.sleep(0.01)


def _fail_over(servers: Replicated, proxy: CuttingProxy, wrong: RealValkey | None = None) -> None:
    """Kill the master, promote the replica that has most (or the wrong one), let the dead one come back as a replica."""
    dead = servers.master
    dead.kill()
    heir = wrong or servers.newest()
    dead.start()
    servers.follow(heir)
    proxy.lead_to(heir.port)


def test_masters_are_killed_under_load_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with Replicated(replicas=2) as servers, CuttingProxy(servers.master.port) as proxy:
        assert asyncio.run(failed_over(servers, proxy, tmp_path / "archive", seed=1)) == []


def test_what_a_replica_outside_the_set_has_missed_is_told_by_epoch_archive_and_audit(tmp_path: Path) -> None:
    """The wrong one is promoted: what the archive has and the store has not is marked by partition and listed by account."""
    folder, ledger, (late, *msisdns) = tmp_path / "archive", Ledger(), numbers(6)

    async def play(servers: Replicated, proxy: CuttingProxy) -> None:
        async with rooms(proxy.url) as (at, _):
            await populate(at, ledger, [late, *msisdns])
            places = {msisdn: await _place(at, msisdn) for msisdn in [late, *msisdns]}
            archiver = Archiver(at.parts, folder, at.clock)
            await archiver.open()
            wrong = servers.replicas[1]
            servers.freeze(wrong)
            traffic = Traffic(ledger, msisdns, seed=5)
            traffic.start(Direct(at).ask, "direct", 4)
            await traffic.until(60)
            await traffic.finish()
            await archiver.once(everything=True)
            opening = Request("late;1", late, INITIAL, 0, (Reported(10, None, MIB),))
            ledger.take(opening, await _answered(Direct(at), opening))
            moved = {places[session.msisdn] for session in ledger.sessions.values()} - {places[late]}
            partitions = {partition for partition, _ in moved}
            before = {number: (await at.parts.epoch(number)).epoch for number in partitions}

            await asyncio.to_thread(_fail_over, servers, proxy, wrong)
            await archiver.once(everything=True)

            assert archiver.done.behind.keys() == partitions
            after = {number: (await at.parts.epoch(number)).epoch for number in partitions}
            assert after == {number: epoch + 1 for number, epoch in before.items()}
            archiver.close()
            faults = (await audit(at.parts, folder)).faults
            assert {(each.partition, each.subject) for each in faults if each.subject != "stream"} == moved
            assert {each.partition for each in faults if each.subject == "stream"} == partitions
            # the bound of it: what no archive has seen is gone without a line; its client is told that its session is unknown
            told = await judge(at, ledger, folder)
            assert f"{opening.key}: acknowledged and lost" in told

    with Replicated(replicas=2) as servers, CuttingProxy(servers.master.port) as proxy:
        asyncio.run(play(servers, proxy))


@pytest.mark.slow
def test_the_whole_server_goes_on_over_a_failover_with_everything_that_it_acknowledged(
    tmp_path: Path,
) -> None:
    async def play(servers: Replicated, proxy: CuttingProxy) -> None:
        async with scene(tmp_path, store=proxy.url, OCS_STORE__REPLICAS="1", OCS_ARCHIVE__EVERY_S="1") as on:
            on.begin()
            await on.traffic.until(150)
            servers.freeze()
            await _answers(on.ledger, 8)
            await asyncio.to_thread(_fail_over, servers, proxy)
            await on.traffic.until(150)

            assert await on.verdict() == []

            assert list(on.server.archive.glob("*.behind")) == []
            assert await on.server.stop() == 0

    with (
        Replicated(replicas=2, appendfsync="always") as servers,
        CuttingProxy(servers.master.port) as proxy,
    ):
        asyncio.run(play(servers, proxy))


async def _place(at: Room, msisdn: str) -> tuple[int, str]:
    """Where an account lives: its partition and its name."""
    account = await at.accounts.find(SubscriberId(E164, msisdn))
    assert account is not None
    return account.profile.partition, account.profile.account


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 30))
@pytest.mark.parametrize("fsync", ["no", "always"])
def test_masters_are_killed_under_load_with_every_seed(tmp_path: Path, seed: int, fsync: str) -> None:
    demands = Demands(replicas=1, fsync="always" if fsync == "always" else "")
    with (
        Replicated(replicas=2, appendfsync=fsync) as servers,
        CuttingProxy(servers.master.port) as proxy,
    ):
        assert asyncio.run(failed_over(servers, proxy, tmp_path / "archive", seed, demands)) == []
