"""Backups under load: what was acknowledged before is there, what came after the instant is told, and nothing is in both."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocs import records
from ocs.balance.archive_files import one_member
from ocs.balance.backup import faults, listed
from tests.faults.element import Element
from tests.faults.judgement import Room, all_entries, room
from tests.faults.ledger import Ledger
from tests.faults.scene import LANES, Scene, scene
from tests.faults.serving import Server
from tests.faults.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

Key = tuple[str, int, int]


async def said(server: Server, *words: str) -> Any:
    """One command on a server's folder, which has to succeed; its JSON."""
    code, text = await server.ocs(*words, "--json")
    assert code == 0, text
    return json.loads(text[: text.rindex("}") + 1])


async def charged(at: Room, archive: Path) -> list[Key]:
    """Every request on record in a store and its archive."""
    found: list[Key] = []
    for keys in at.parts.keys:
        for entry in await all_entries(at, keys.partition, archive):
            record = entry.record()
            if isinstance(record, records.Charge):
                found.append((record.session_id, record.kind, record.number))
    return found


def undone(folder: Path) -> list[Key]:
    """Every request that a restore has set aside."""
    found: list[Key] = []
    for path in sorted((folder / "undone" / "records").glob("*.rec.gz")):
        with path.open("rb") as file:
            at = 0
            while at < path.stat().st_size:
                file.seek(at)
                batch, length = one_member(file)
                at += length
                kept = [entry.record() for entry in batch]
                found += [
                    (each.session_id, each.kind, each.number)
                    for each in kept
                    if isinstance(each, records.Charge)
                ]
    return found


@asynccontextmanager
async def serving_again(folder: Path) -> AsyncIterator[Server]:
    """A server in a folder of its own, to be restored into."""
    folder.mkdir()  # noqa: ASYNC240 - a moment
    server = Server(folder)
    try:
        yield server
    finally:
        server.end()


async def _charges_on(server: Server, msisdns: list[str]) -> None:
    """More traffic on a restored server, and the audit after it; no partition of the archive is left behind."""
    await server.start()
    traffic = Traffic(Ledger(), msisdns, 99)
    elements = [Element(f"again-{index}.example.net", server.port) for index in range(2)]
    for element in elements:
        traffic.start(element.ask, element.host, LANES)
    await traffic.until(200)
    await traffic.finish()
    assert traffic.ledger.wrong == []
    await asyncio.gather(*(element.close() for element in elements))
    assert await server.stop() == 0
    assert (await said(server, "audit"))["clean"] is True
    assert list(server.archive.glob("*.behind")) == []
    assert server.told("a partition is not archived") == []


def test_a_backup_under_load_has_all_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    """Taken while requests come in, then the machine dies; the backup alone serves on elsewhere."""

    async def play() -> None:
        async with scene(tmp_path, OCS_ARCHIVE__EVERY_S="1") as made:
            made.begin()
            await made.traffic.until(300)
            before = set(made.ledger.acknowledged)
            await said(made.server, "backup", "create", "--folder", str(tmp_path / "b"))
            await made.traffic.until(300)
            (backup,) = listed(tmp_path / "b")
            assert faults(backup) == []
            await made.traffic.finish()
            sent = set(made.ledger.acknowledged)
            await made.server.kill(with_store=True)
            shutil.rmtree(made.server.data_dir)

            async with serving_again(tmp_path / "again") as again:
                told = await said(again, "backup", "restore", str(backup.path))
                assert (told["audit"], told["accounts"]) == ("clean", len(made.msisdns))
                assert (await said(again, "audit"))["clean"] is True
                await again.start()
                async with room(again.store_url) as at:
                    there = await charged(at, again.archive)
                assert (len(there), before - set(there), set(there) - sent) == (len(set(there)), set(), set())
                assert len(before) >= 300
                assert await again.stop() == 0
                await _charges_on(again, made.msisdns)

    asyncio.run(play())


def test_a_restore_to_an_instant_under_load_parts_the_records_in_two(tmp_path: Path) -> None:
    """What the restored store has, and what was set aside, are together all that was acknowledged, and nothing twice."""

    async def play() -> None:
        async with scene(tmp_path, OCS_ARCHIVE__EVERY_S="1", OCS_BACKUP__HISTORY_H="1") as made:
            made.begin()
            await made.traffic.until(200)
            before = set(made.ledger.acknowledged)
            await _next_second()
            to_s = int(time.time())
            await made.traffic.until(200)
            await _rewritten(made)
            await made.traffic.until(200)
            await made.traffic.finish()
            await said(made.server, "backup", "create", "--folder", str(tmp_path / "b"))
            everything = set(made.ledger.acknowledged)

            async with serving_again(tmp_path / "again") as again:
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(to_s))
                told = await said(
                    again, "backup", "restore", "newest", "--folder", str(tmp_path / "b"), "--to", stamp
                )
                assert told["audit"] == "clean"
                lost = undone(again.data_dir)
                await again.start()
                async with room(again.store_url) as at:
                    there = await charged(at, again.archive)
                assert before <= set(there)
                assert lost
                assert sorted(there + lost) == sorted(everything)
                assert sum(each["records"] for each in told["kinds"] if each["kind"] == "charge") == len(lost)
                assert await again.stop() == 0
                await _charges_on(again, made.msisdns)

    asyncio.run(play())


async def _next_second() -> None:
    at = int(time.time()) + 1
    while time.time() < at + 0.01:  # noqa: ASYNC110 - the clock gives no event
        await asyncio.sleep(0.01)


async def _rewritten(made: Scene) -> None:
    async with room(made.server.store_url) as at:
        await at.store.execute(0, "BGREWRITEAOF")
        while b"aof_rewrite_in_progress:1" in await at.store.execute(0, "INFO", "persistence"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_kill_9_of_the_command_under_load_leaves_no_backup_and_the_server_charges_on(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path) as made:
            made.begin()
            for pause in (0.3, 0.5, 0.7):
                await made.traffic.until(50)
                process = await made.server.begin("backup", "create", "--folder", str(tmp_path / "b"))
                await asyncio.sleep(pause)
                if process.returncode is None:
                    process.kill()
                await process.communicate()
                assert all(faults(each) == [] for each in listed(tmp_path / "b"))
            await said(made.server, "backup", "create", "--folder", str(tmp_path / "b"))
            assert [each for each in (tmp_path / "b").iterdir() if each.name.startswith(".")] == []
            assert await made.verdict() == []

    asyncio.run(play())
