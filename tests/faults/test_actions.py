"""Actions whose caller, or whose store, dies between any two steps: the sweeper finishes them, each moves once, and the audit is clean."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, NamedTuple

import pytest

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.actions import ActionKind, Actions, ActionState, Asked, DayLimits, Done
from ocs.balance.audit import audit
from ocs.balance.link import StoreFault
from ocs.balance.profiles import write_place
from ocs.outcomes import Code
from ocs.records import Status
from ocs.sessions import sweep
from ocs.sessions.sweep import Sweeper
from tests.cutting_proxy import CuttingProxy
from tests.faults.judgement import Room, room
from tests.real_valkey import RealValkey

CREDIT = 1_000
OTHERS = 500


class Two(NamedTuple):
    """Who gives and who receives, of partitions of their own."""

    giver: Account
    receiver: Account


Step = Callable[[Actions, Two], Coroutine[Any, Any, Done]]


class Play(NamedTuple):
    """What is done before, what is done while somebody dies, and how it ends: state, code, balance and available of the giver, balance of the receiver."""

    before: Step | None
    act: Step
    end: tuple[ActionState, Code, int, int, int]
    receiver_ends: bool = False


def _asked(two: Two, kind: ActionKind, amount: int, **more: Any) -> Asked:
    where = two.giver.profile
    return Asked(kind, "till", f"of {where.account}", where.partition, where.path, amount, **more)


def do(kind: ActionKind, amount: int, *, counted: bool = False, **more: Any) -> Step:
    """Ask for an action; one that is ``counted`` has a day of its own, on which there may be one: a second count would refuse it."""

    async def act(actions: Actions, two: Two) -> Done:
        if kind is ActionKind.TRANSFER:
            where = two.receiver.profile
            return await actions.do(
                _asked(two, kind, amount, receiver_partition=where.partition, receiver=where.path, **more)
            )
        limits = DayLimits(number=1, day=two.giver.profile.account) if counted else DayLimits()
        return await actions.do(_asked(two, kind, amount, **more), limits)

    return act


async def cancel(actions: Actions, two: Two) -> Done:
    asked = _asked(two, ActionKind.TOPUP, 1)
    return await actions.cancel(asked.channel, asked.id)


async def complete(actions: Actions, two: Two) -> Done:
    asked = _asked(two, ActionKind.TOPUP, 1)
    return await actions.complete(asked.channel, asked.id, 30)


KIND, DONE, OK = ActionKind, ActionState.COMPLETED, Code.SUCCESS
reserve = do(KIND.RESERVE, 100, lasts_ms=600_000)
PLAYS = {
    "top-up, counted": Play(None, do(KIND.TOPUP, 70, counted=True, content="receipt"), (DONE, OK, 1_070, 1_070, OTHERS)),
    "adjustment": Play(None, do(KIND.ADJUST, -70), (DONE, OK, 930, 930, OTHERS)),
    "transfer": Play(None, do(KIND.TRANSFER, 100, fee_micros=5), (DONE, OK, 895, 895, 600)),
    "transfer that is given back": Play(
        None, do(KIND.TRANSFER, 100, fee_micros=5),
        (ActionState.FAILED, Code.UNKNOWN_SUBSCRIBER, CREDIT, CREDIT, OTHERS), receiver_ends=True,
    ),
    "reservation": Play(None, reserve, (ActionState.HELD, OK, CREDIT, 900, OTHERS)),
    "reservation completed": Play(reserve, complete, (DONE, OK, 970, 970, OTHERS)),
    "reservation cancelled": Play(reserve, cancel, (ActionState.CANCELLED, OK, CREDIT, CREDIT, OTHERS)),
    "reversal": Play(do(KIND.TOPUP, 70), cancel, (ActionState.CANCELLED, OK, CREDIT, CREDIT, OTHERS)),
    "refund": Play(None, do(KIND.REFUND, 0), (DONE, OK, 0, 0, OTHERS)),
    "emergency credit": Play(None, do(KIND.EMERGENCY, 70, fee_micros=3), (DONE, OK, 1_070, 1_070, OTHERS)),
}  # fmt: skip


@pytest.mark.parametrize("store_dies", [False, True], ids=["caller dies", "store dies"])
@pytest.mark.parametrize("happened", [False, True], ids=["not happened", "happened"])
@pytest.mark.parametrize("name", PLAYS)
def test_an_action_is_finished_once_whoever_dies_at_whichever_step(
    name: str, monkeypatch: pytest.MonkeyPatch, *, happened: bool, store_dies: bool
) -> None:
    monkeypatch.setattr(sweep, "CLAIM_AGE_MS", -1_000)

    async def play() -> None:
        with RealValkey() as valkey:
            for nth in count(1):
                if not await _dies(valkey, PLAYS[name], nth, happened=happened, store_dies=store_dies):
                    assert nth > 3, "fewer steps than an action has"
                    return

    asyncio.run(play())


async def _dies(valkey: RealValkey, play: Play, nth: int, *, happened: bool, store_dies: bool) -> bool:
    """Play with a death at the nth call; whether there was such a call."""
    async with room(valkey.url) as at:
        two = await _two(at, nth)
        if play.before is not None:
            assert (await play.before(at.accounts.actions, two)).code is Code.SUCCESS
        if play.receiver_ends:
            assert await at.accounts.amend(two.receiver, status=Status.TERMINATED) is Code.SUCCESS
    with CuttingProxy(valkey.port) as proxy:
        async with room(proxy.url) as dying:
            (proxy.half_open if happened else proxy.stall)("FCALL", nth)
            before = _fcalls(valkey)
            task = asyncio.create_task(play.act(dying.accounts.actions, two))
            while proxy.calls["FCALL"] < nth and not task.done():  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.002)
            died = not task.done()
            while died and _fcalls(valkey) < before + nth - (not happened):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.002)
            if died and store_dies:
                valkey.kill()
                valkey.start()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    async with room(valkey.url) as at:
        await _judge(at, play, two)
    return died


async def _two(at: Room, nth: int) -> Two:
    found = []
    for number, credit in ((2 * nth, CREDIT), (2 * nth + 1, OTHERS)):
        new = NewSubscriber(f"49170{number:07d}", "", "flat-data", "prepaid", "EUR", 0)
        code, account = await at.accounts.create(new, credit)
        assert code is Code.SUCCESS
        found.append(account)
    return Two(*found)


async def _judge(at: Room, play: Play, two: Two) -> None:
    sweeper = Sweeper(at.parts, at.accounts, at.clock, 300_000)
    await sweeper.once()
    report = await audit(at.parts)
    assert (report.faults, report.in_transit, sweeper.faults) == ([], 0, 0)
    asked = _asked(two, ActionKind.TOPUP, 1)
    found = await at.accounts.actions.find(asked.channel, asked.id)
    assert found is None or found.state is not ActionState.CREATED
    for _ in range(2):
        done = await _insisting(at, play, two)
        giver, receiver = [await _read(at, each) for each in two]
        assert done.action is not None
        figures = (giver.book.balance_micros, giver.book.available_micros, receiver.book.balance_micros)
        assert (done.action.state, done.code, *figures) == play.end
    report = await audit(at.parts)
    assert (report.faults, report.in_transit) == ([], 0)


async def _insisting(at: Room, play: Play, two: Two) -> Done:
    while True:
        try:
            return await play.act(at.accounts.actions, two)
        except StoreFault:
            await asyncio.sleep(0.02)


async def _read(at: Room, account: Account) -> Account:
    found = await at.accounts.read(account.profile.partition, account.profile.path)
    assert found is not None
    return found


def _fcalls(server: RealValkey) -> int:
    """How many function calls the server has executed, whoever heard of it."""
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"])


@pytest.mark.parametrize("nth", range(1, 7))
def test_a_transfer_whose_process_is_killed_at_a_step_is_finished_once(
    nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CLAIM_AGE_MS", -1_000)

    async def play() -> None:
        with RealValkey() as valkey:
            async with room(valkey.url) as at:
                two = await _two(at, nth)
                places = [write_place(each.profile.partition, each.profile.path) for each in two]
            with CuttingProxy(valkey.port) as proxy:
                proxy.half_open("FCALL", nth)
                before = _fcalls(valkey)
                till = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.faults.dying_till", proxy.url, *places
                )
                while _fcalls(valkey) < before + nth:
                    assert till.returncode is None
                    await asyncio.sleep(0.005)
                till.kill()
                assert await till.wait() == -9
            async with room(valkey.url) as at:
                await _judge(at, PLAYS["transfer"], two)

    asyncio.run(play())


def test_transfers_in_a_ring_by_two_tills_with_the_same_ids_race_kills_of_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "CLAIM_AGE_MS", -1_000)
    fees: list[int] = []

    async def play() -> None:
        with RealValkey() as valkey:
            async with room(valkey.url) as at:
                ring = [each for number in range(4) for each in await _two(at, number)]
            async with room(valkey.url) as one, room(valkey.url) as two:
                for wave, kills in enumerate((True, True, True, False)):
                    tasks = [
                        asyncio.create_task(_handed_on(till, ring, place, f"{wave}-{place}-{turn}"))
                        for turn in range(6)
                        for place in range(len(ring))
                        for till in (one, two)
                    ]
                    if kills:
                        before = _fcalls(valkey)
                        while _fcalls(valkey) < before + 40:  # noqa: ASYNC110 - another process
                            await asyncio.sleep(0.002)
                        valkey.kill()
                        valkey.start()
                    done = await asyncio.gather(*tasks)
                    fees.extend(3 for each in done[::2] if each is Code.SUCCESS)
                sweeper = Sweeper(one.parts, one.accounts, one.clock, 300_000)
                await sweeper.once()
                report = await audit(one.parts)
                assert (report.faults, report.in_transit, sweeper.faults) == ([], 0, 0)
                books = [(await _read(one, each)).book for each in ring]
                assert sum(book.balance_micros for book in books) == 4 * (CREDIT + OTHERS) - sum(fees)
                assert min(book.balance_micros for book in books) >= 0
                assert fees

    asyncio.run(play())


async def _handed_on(at: Room, ring: list[Account], place: int, name: str) -> Code:
    """Hand money on to the next of a ring, asking again until it is answered."""
    giver, receiver = ring[place].profile, ring[(place + 1) % len(ring)].profile
    asked = Asked(
        KIND.TRANSFER, "till", name, giver.partition, giver.path, 90, fee_micros=3,
        receiver_partition=receiver.partition, receiver=receiver.path,
    )  # fmt: skip
    while True:
        try:
            done = await at.accounts.actions.do(asked)
        except StoreFault:
            await asyncio.sleep(0.02)
            continue
        assert done.code in {Code.SUCCESS, Code.CREDIT_LIMIT}
        return done.code
