"""The net is no decoration: without the replay check, the void, the once-only marker or the fsync, it tears."""

import asyncio
import ctypes
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocs.balance.functions import loadable, source
from tests.cutting_proxy import CuttingProxy
from tests.faults.direct import Direct
from tests.faults.judgement import judge, numbers, populate, room
from tests.faults.ledger import INITIAL, MIB, TERMINATION, UPDATE, Ledger, Reported, Request
from tests.faults.test_topups import insisting
from tests.faults.traffic import Door, Traffic
from tests.real_valkey import RealValkey

pytestmark = pytest.mark.long

REPLAY_CHECK = ("if code then return { code, text, note } end", "")
VOID = ("book[B_PENDING] = book[B_PENDING] - session[s + V_HOLD]\n", "\n")
ONCE_ONLY = (
    "  if known then return known end\n  local book_text, life, owed",
    "  local book_text, life, owed",
)


def without(*protections: tuple[str, str]) -> bytes:
    """The function library with protections taken out; each has to be there, once."""
    text = source()
    for standing, instead in protections:
        assert text.count(standing) == 1, standing
        text = text.replace(standing, instead)
    return loadable(text)


async def charged_over_a_cutting_link(server: RealValkey, lua: bytes, seed: int = 5) -> list[str]:
    """The net: traffic and top-ups over a link that is cut before and after calls, and what does not hold afterwards."""
    dice = random.Random(seed)
    ledger, msisdns = Ledger(), numbers(4)
    with CuttingProxy(server.port) as proxy:
        async with room(proxy.url, lua=lua) as at:
            await populate(at, ledger, msisdns)
            traffic = Traffic(ledger, msisdns, seed)
            door = Direct(at).ask
            traffic.start(door, "direct", 6, leave_open=2)
            for cut in (proxy.cut_after, proxy.cut_before, proxy.cut_after):
                connections = proxy.connections
                cut("FCALL", dice.randint(1, 30))
                while proxy.connections == connections:
                    await traffic.until(1)
            await traffic.finish()
            await _reported_over_a_cut(traffic, door, proxy, msisdns[1])
            for nth in (1, 2, 3):
                proxy.cut_after("FCALL", nth)
                await insisting(at, ledger, msisdns[0], 50_000, f"till {nth}")
    async with room(server.url, lua=lua) as at:
        return await judge(at, ledger)


async def _reported_over_a_cut(traffic: Traffic, door: Door, proxy: CuttingProxy, msisdn: str) -> None:
    """A session whose update happens while its reply is lost: the Book has to charge it again, and it may not count."""
    opening = Request("cut", msisdn, INITIAL, 0, (Reported(10, None, 2 * MIB),))
    update = Request("cut", msisdn, UPDATE, 1, (Reported(10, 2 * MIB, 2 * MIB),))
    end = Request("cut", msisdn, TERMINATION, 2, (Reported(10, 2 * MIB, None),))
    await traffic.charge(door, opening)
    proxy.cut_after("FCALL")
    await traffic.charge(door, update)
    await traffic.charge(door, end)


def _net(server: RealValkey, *protections: tuple[str, str]) -> list[str]:
    return asyncio.run(charged_over_a_cutting_link(server, without(*protections)))


def test_the_net_holds_with_every_protection_in_place(valkey: RealValkey) -> None:
    assert _net(valkey) == []


def test_the_net_tears_without_the_replay_check(valkey: RealValkey) -> None:
    found = _net(valkey, REPLAY_CHECK)

    assert any("charged 2 times" in each for each in found)
    assert any(": posted " in each for each in found)


def test_the_net_tears_without_the_void(valkey: RealValkey) -> None:
    found = _net(valkey, VOID)

    assert any(": pending " in each for each in found)
    assert any("its open sessions hold" in each for each in found)  # the audit sees it too


def test_the_net_tears_without_the_marker_that_makes_a_credit_count_once(valkey: RealValkey) -> None:
    found = _net(valkey, ONCE_ONLY)

    assert any("added 2 times" in each for each in found)
    assert any(": credits " in each for each in found)


# ---------------------------------------------------------------- fsync
#
# A kill -9 loses what a process has not handed to the kernel; what it has written survives in the page cache, synced or
# not. So a plain kill cannot tell `always` from `no`, and only the loss of the machine would. But `everysec` does more than sync
# late: while its background thread syncs, the server keeps new writes in its own memory (up to two seconds) and
# replies all the same. Here that thread is stopped, as a slow disk would stop it, requests are charged and
# acknowledged, and the store is killed. `always` syncs in the thread that replies, before it replies: nothing to lose.

SEIZE, INTERRUPT, WAIT_FOR_ALL = 0x4206, 0x4207, 0x40000000


@contextmanager
def slow_disk(server: RealValkey) -> Iterator[None]:
    """The store's syncing thread stands still (ptrace); at the end the store is killed -9."""
    tasks = Path(f"/proc/{server.pid}/task")
    thread = next(int(each.name) for each in tasks.iterdir() if (each / "comm").read_text() == "bio_aof\n")
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes, ptrace.restype = (
        (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p),
        ctypes.c_long,
    )
    if ptrace(SEIZE, thread, None, None) != 0:
        pytest.skip(f"this machine lets nobody trace a child: {os.strerror(ctypes.get_errno())}")
    ptrace(INTERRUPT, thread, None, None)
    os.waitpid(thread, WAIT_FOR_ALL)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGKILL)
        os.waitpid(thread, WAIT_FOR_ALL)  # a traced thread is ours to bury; the rest is the server's
        server.kill()


async def charged_until_killed_on_a_slow_disk(server: RealValkey, sessions_max: int) -> list[str]:
    """Charge until the store keeps acknowledged writes to itself (or long enough), kill it, and see what is left."""
    ledger, msisdns = Ledger(), numbers(2)
    async with room(server.url) as at:
        await populate(at, ledger, msisdns)
        while _unsynced(server) != (0, 0):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        door = Direct(at).ask
        with slow_disk(server):
            traffic = Traffic(ledger, msisdns, seed=9)
            for _ in range(sessions_max):
                await traffic.session(door, "slow")
                if _unsynced(server)[0]:
                    break
    server.start()
    async with room(server.url) as at:
        return await judge(at, ledger)


def _unsynced(server: RealValkey) -> tuple[int, int]:
    """Octets that the store has replied to and not written, and syncs that wait for the background thread."""
    with server.client() as client:
        told = client.info("persistence")
    return int(told["aof_buffer_length"]), int(told["aof_pending_bio_fsync"])


def _killed(fsync: str, sessions_max: int) -> list[str]:
    with RealValkey(settings={"appendfsync": fsync}) as server:
        return asyncio.run(charged_until_killed_on_a_slow_disk(server, sessions_max))


def test_a_store_that_syncs_before_it_replies_loses_nothing_acknowledged_when_killed() -> None:
    assert _killed("always", 150) == []


def test_the_net_tears_when_the_store_replies_before_it_syncs() -> None:
    # it syncs once a second: until then there is nothing to lose, and two seconds later it writes all the same; a machine that
    # is busy in between may kill too late, which shows nothing
    tries = (_killed("everysec", 3_000) for _ in range(3))

    assert any("acknowledged and lost" in each for found in tries for each in found)
