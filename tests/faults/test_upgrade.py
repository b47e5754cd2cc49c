"""Upgraded under load: code, settings and function library are replaced worker by worker, and no session fails.

The release is a copy of ours, so that the one on disk can be changed under the server that runs, as an upgrade does it.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import redis

from ocs.balance.functions import NAME, VERSION
from tests.faults.scene import ELEMENTS, Scene, scene
from tests.house.source import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # ten starts of processes under load, on a machine that may be busy

NEXT = f"ocs_{VERSION + 1}"


class Release:
    """A release on disk, to be run and to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("ocs", "config"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        # the rule of libraries.py in seconds, so that the end of the old one can be waited for
        self.change("ocs/limits.py", "LIBRARY_TELL_S = 60\n", "LIBRARY_TELL_S = 0.25\n")
        self.change("ocs/limits.py", "LIBRARY_IDLE_MS = 600_000\n", "LIBRARY_IDLE_MS = 2_500\n")

    def change(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (file, old)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def raise_library(self) -> None:
        """Become the next release: every function has a new name."""
        self.change(
            "ocs/balance/functions/__init__.py", f"VERSION = {VERSION}\n", f"VERSION = {VERSION + 1}\n"
        )


def libraries(on: Scene) -> set[str]:
    """The function libraries that the store has now."""
    with redis.Redis(unix_socket_path=str(on.server.data_dir / "store.sock")) as client:
        rows: Any = client.function_list()
        return {row[1].decode() for row in rows}


async def rolled(on: Scene, *, meanwhile: set[frozenset[str]] | None = None) -> tuple[int, str]:
    """Let the server roll while its traffic runs; exit code and words of the command."""
    rolling = asyncio.ensure_future(on.server.ocs("restart"))
    while not rolling.done():
        if meanwhile is not None:
            meanwhile.add(frozenset(libraries(on)))
        await asyncio.sleep(0.02)
    return await rolling


def test_a_release_with_another_function_library_takes_over_under_load_and_the_old_library_goes_last(
    tmp_path: Path,
) -> None:
    release = Release(tmp_path / "release")

    async def play() -> None:
        async with scene(tmp_path, root=release.folder) as on:
            on.begin()
            await on.traffic.until(200)
            assert libraries(on) == {NAME}

            release.raise_library()
            seen: set[frozenset[str]] = set()
            assert await rolled(on, meanwhile=seen) == (0, "every process was replaced\n")
            assert seen == {
                frozenset({NAME}),
                frozenset({NAME, NEXT}),
            }  # both, and never the old one gone before its users
            while NAME in libraries(on):
                await on.traffic.until(20)
            await on.traffic.until(200)
            assert libraries(on) == {NEXT}

            # every element was told to go, and what it was owed was answered before
            assert on.ledger.counts["unanswered"] == 0
            assert min(element.disconnects for element in on.elements) >= 1
            assert await on.verdict() == []
            assert on.ledger.wrong == []
            assert [row["by"] for row in on.server.told("a process was replaced")] == [
                "worker-2",
                "worker-0",
                "keeper-1",
                "door-1",
            ]
            assert on.server.told("a process died") == []
            assert on.traffic.sessions_left_open == ELEMENTS
            assert await on.server.stop() == 0

    asyncio.run(play())


def test_two_releases_charge_the_same_sessions_on_one_store(tmp_path: Path) -> None:
    old, new = Release(tmp_path / "old"), Release(tmp_path / "new")
    new.raise_library()

    async def play() -> None:
        from tests.faults.element import Element  # noqa: PLC0415 - beside its server
        from tests.faults.serving import Server  # noqa: PLC0415

        async with scene(tmp_path, root=old.folder) as on:
            beside = Server(tmp_path / "beside", store=on.server.store_url, root=new.folder)
            try:
                await beside.start()
                # each session's requests go to one release and to the other in turn, as after a fail-over
                pairs = [(each, Element(each.host, beside.port)) for each in on.elements]
                for pair in pairs:
                    turns = iter(range(1_000_000))

                    async def ask(request: Any, repeated: bool, pair: Any = pair, turns: Any = turns) -> Any:  # noqa: FBT001
                        return await pair[next(turns) % 2].ask(request, repeated)

                    on.traffic.start(ask, pair[0].host, 4, leave_open=1)
                await on.traffic.until(400)
                assert libraries(on) == {NAME, NEXT}
                assert min(each.answered for pair in pairs for each in pair) > 20
                assert await on.verdict() == []
                await asyncio.gather(*(pair[1].close() for pair in pairs))
                assert await beside.stop() == 0
            finally:
                beside.end()

    asyncio.run(play())


def test_a_release_that_cannot_start_stops_the_upgrade_and_the_server_goes_on_as_it_was(
    tmp_path: Path,
) -> None:
    release = Release(tmp_path / "release")

    async def play() -> None:
        async with scene(tmp_path, root=release.folder) as on:
            on.begin()
            await on.traffic.until(100)
            before = on.server.workers

            release.change("ocs/balance/stored_session.py", "LAYOUT = 5\n", "LAYOUT = 6\n")
            code, said = await rolled(on)
            assert (code, "sessions 5, records" in said, "this release writes sessions 6" in said) == (
                5,
                True,
                True,
            )

            release.change("ocs/balance/stored_session.py", "LAYOUT = 6\n", "LAYOUT = 5\n")
            release.change(
                "ocs/server/worker.py",
                "    def load(self) -> Load:\n",
                "    def load(self) -> Load:\n        raise OSError\n",
            )
            code, said = await rolled(on)
            assert code == 1
            assert "died while it started" in said
            await on.traffic.until(100)
            assert {name: pid for name, pid in on.server.workers.items() if name in before} == before
            assert sum(each.disconnects for each in on.elements) == 0
            assert on.ledger.counts["unanswered"] == 0

            release.change("ocs/server/worker.py", "        raise OSError\n", "")
            assert (await rolled(on))[0] == 0
            await on.traffic.until(100)
            assert await on.verdict() == []

    asyncio.run(play())
