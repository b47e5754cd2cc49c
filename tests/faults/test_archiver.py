"""The archiver dies between its steps: every record is in the archive once, and every balance is rebuilt from it alone."""

import asyncio
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ocs import records
from ocs.balance.archive import Archiver, history
from ocs.balance.audit import audit, rebuild
from ocs.balance.embedded import Embedded
from ocs.balance.entries import follows
from ocs.balance.keys import layout
from ocs.names import E164, SubscriberId
from tests.faults.direct import Direct
from tests.faults.dying_archiver import STEPS
from tests.faults.judgement import PARTITIONS, Room, judge, numbers, populate, room
from tests.faults.ledger import Ledger
from tests.faults.scene import scene
from tests.faults.traffic import Traffic
from tests.real_valkey import RealValkey

ROOT = Path(__file__).parents[2]


async def archive_everything(at: Room, folder: Path) -> None:
    """What is left on the streams goes to the archive, and off the streams."""
    archiver = Archiver(at.parts, folder, at.clock)
    await archiver.open()
    await archiver.once(everything=True)
    archiver.close()
    for keys in at.parts.keys:
        assert await at.store.execute(keys.slot, "XLEN", keys.stream) == 0
    assert archiver.done.holes == 0


async def rebuilt(at: Room, ledger: Ledger, folder: Path) -> list[str]:
    """What does not hold between the books and what the archive alone says they are."""
    found: list[str] = []
    chains = [rebuild(folder, keys.partition) for keys in at.parts.keys]
    for chain in chains:
        found += map(str, chain.faults)
    for msisdn in ledger.credits_micros:
        account = await at.accounts.find(SubscriberId(E164, msisdn))
        assert account is not None
        book, name = account.book, account.profile.account
        tail = chains[account.profile.partition].tails.get(name)
        if tail is None or any(getattr(tail, field) != getattr(book, field) for field in tail._fields):
            found.append(f"{msisdn}: rebuilt {tail}, the book is {book}")
        if chains[account.profile.partition].held_micros(name) != ledger.held_micros(msisdn):
            found.append(f"{msisdn}: the archive does not hold what the network holds")
    return found


ONCE_A_PARTITION = ("a member written, not synced", "a member synced, not noted", "one partition trimmed")
DEATHS = [(step, 1) for step in STEPS] + [(step, 3) for step in ONCE_A_PARTITION]


@pytest.mark.parametrize(("step", "nth"), DEATHS)
def test_an_archiver_killed_at_a_step_has_lost_nothing_and_written_nothing_twice(
    valkey: RealValkey, tmp_path: Path, step: str, nth: int
) -> None:
    assert asyncio.run(archived_after_death(valkey, tmp_path, step, nth, seed=1)) == []


async def archived_after_death(server: RealValkey, folder: Path, step: str, nth: int, seed: int) -> list[str]:
    """Charge, let an archiver die, charge on, archive to the end; what does not hold then, or did not in between."""
    ledger, msisdns = Ledger(), numbers(PARTITIONS)
    async with room(server.url) as at:
        await populate(at, ledger, msisdns)
        await _charge(at, ledger, msisdns, 2 * seed)
        dead = await asyncio.to_thread(_die, server, folder, step, nth)
        found = [] if dead == -9 else [f"the archiver ended with {dead}, not at its step"]
        found += await judge(at, ledger, folder)  # as the operator finds it
        await _charge(at, ledger, msisdns, 2 * seed + 1)
        await archive_everything(at, folder)
        return found + await rebuilt(at, ledger, folder) + await judge(at, ledger, folder)


async def _charge(at: Room, ledger: Ledger, msisdns: list[str], seed: int) -> None:
    traffic = Traffic(ledger, msisdns, seed)
    traffic.start(Direct(at).ask, "direct", 4, leave_open=1)
    await traffic.until(30)
    await traffic.finish()


def _die(server: RealValkey, folder: Path, step: str, nth: int) -> int:
    command = [sys.executable, "-m", "tests.faults.dying_archiver", server.url, str(folder), step, str(nth)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def test_after_kills_under_load_every_balance_is_rebuilt_from_the_archive_alone(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, workers=1, OCS_ARCHIVE__EVERY_S="1") as on:
            on.begin()
            for _ in range(2):
                await on.traffic.until(150)
                on.server.kill_store()
            await on.traffic.until(150)
            assert await on.verdict() == []
            assert await on.server.stop() == 0

            folder = on.server.archive
            with Embedded.start_or_adopt(on.server.data_dir) as store:
                async with room(store.url) as at:
                    await archive_everything(at, folder)

                    assert await rebuilt(at, on.ledger, folder) == []
                    assert (await audit(at.parts, folder)).faults == []
            # each life of the store that a partition was used in is on record, with the last id before it
            assert max(_epochs(folder, keys.partition) for keys in layout(PARTITIONS)) >= 3

    asyncio.run(play())


def _epochs(folder: Path, partition: int) -> int:
    """How many epochs a partition has seen; every record follows the one before."""
    entries = list(history(folder, partition))
    assert all(follows(before.id, after) for before, after in pairwise(entries))
    return sum(isinstance(entry.record(), records.Epoch) for entry in entries)
