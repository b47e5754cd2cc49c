from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

import pytest
import structlog

from ocs.server import supervisor as supervising
from ocs.server.channel import READY, Load, StartFault, pair, say
from ocs.server.counters import Counters, read
from ocs.server.roll import Renewal
from ocs.server.supervisor import Child, Job, ServeConfig, Supervisor
from tests.serving import build_door, build_keeper, build_worker


class Stand:
    """Stands in for a process: alive until it is killed."""

    pid = 4_711
    exitcode = -9

    def __init__(self) -> None:
        self.alive = False

    def start(self) -> None:
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.alive = False

    terminate = kill

    def close(self) -> None:
        pass


class Watched:
    """A supervisor of one worker that is a stand-in; `ends` are the worker's ends of its channels, oldest first."""

    def __init__(self, folder: Path, *jobs: Job) -> None:
        self.lines: list[dict[str, Any]] = []
        self.ends: list[socket.socket] = []
        config = ServeConfig(
            "127.0.0.1",
            0,
            None,
            "127.0.0.1",
            0,
            1,
            folder,
        )
        self.supervisor = Supervisor(
            config,
            build_worker=build_worker,
            build_keeper=build_keeper,
            build_door=build_door,
            log=structlog.wrap_logger(None, processors=[self._note]),
            on_ready=lambda _places: None,
            jobs=jobs,
        )
        self.supervisor._announced = True
        self.child: Child = self.supervisor.children["worker-0"]
        self.child.target = self._made

    def _note(self, _logger: Any, _method: str, event: Any) -> Any:
        self.lines.append(dict(event))
        raise structlog.DropEvent

    def _made(self, channel: socket.socket) -> Any:
        self.ends.append(channel.dup())
        return Stand()

    def said(self, event: str) -> int:
        return sum(line["event"] == event for line in self.lines)

    def close(self) -> None:
        self.supervisor._silence(self.child)
        for end in self.ends:
            end.close()


def test_a_process_that_cannot_be_started_again_now_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def weak() -> tuple[socket.socket, socket.socket]:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return pair()

    async def run() -> None:
        monkeypatch.setattr(supervising, "pair", weak)
        monkeypatch.setattr(supervising, "WORKER_STARTS_MS_MAX", 1)
        watched = Watched(tmp_path)
        watched.supervisor._again(watched.child)
        while watched.child.process is None:  # noqa: ASYNC110 - the supervisor has its turn
            await asyncio.sleep(0.001)
        assert watched.said("a process could not be started again") == 2
        watched.close()

    asyncio.run(run())


@pytest.mark.parametrize("name", ["worker-0", "keeper", "door"])
def test_a_process_that_reports_no_more_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(supervising, "WORKER_SILENT_MS_MAX", 100)

    async def run() -> None:
        watched = Watched(tmp_path)
        watched.child = watched.supervisor.children[name]
        watched.child.target = watched._made
        watched.supervisor._start(watched.child)
        say(watched.ends[0], READY)
        watch = asyncio.create_task(watched.supervisor._watch())
        for _ in range(20):
            say(watched.ends[0], Load(0, 0, 0, 0))
            await asyncio.sleep(0.02)
        assert watched.said("a process reports no more") == 0
        while len(watched.ends) < 2:  # noqa: ASYNC110 - the supervisor has its turn
            await asyncio.sleep(0.01)
        assert watched.said("a process reports no more") == 1
        assert watched.said("a process died") == 1
        watch.cancel()
        watched.close()

    asyncio.run(run())


@pytest.mark.parametrize("fault", [RuntimeError("made up"), None])
def test_a_job_of_the_supervisor_that_ends_ends_the_server_with_its_reason(
    tmp_path: Path, fault: Exception | None
) -> None:
    async def ends(_counters: Counters) -> None:
        if fault is not None:
            raise fault

    async def run() -> None:
        watched = Watched(tmp_path, ends)
        for name in ("keeper", "door"):
            watched.supervisor.children[name].target = watched._made
        assert await asyncio.wait_for(watched.supervisor.serve(), 20) == 1
        assert watched.supervisor.fault is not None
        assert ("made up" if fault else "one of its jobs ended") in watched.supervisor.fault.reason
        assert watched.said("the supervisor failed") == 1
        watched.close()

    asyncio.run(run())


def test_the_gauges_of_a_process_that_died_are_zero_and_what_it_counted_stands(tmp_path: Path) -> None:
    async def run() -> None:
        watched = Watched(tmp_path)
        cells = Counters(tmp_path, "worker-0")
        cells.cells[cells.index("ocs_peers", "open")] = 7
        cells.cells[cells.index("ocs_connections_total")] = 9
        watched.supervisor._start(watched.child)
        process = watched.child.process
        assert process is not None
        watched.supervisor._died(watched.child, process)
        (reading,) = read(tmp_path)
        assert (reading.value("ocs_peers", "open"), reading.value("ocs_connections_total")) == (0, 9)
        watched.supervisor._stopping = True
        watched.close()

    asyncio.run(run())


def test_whoever_asks_for_a_rolling_restart_hears_why_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is under way, or the server is asked to end meanwhile; who asked by a signal reads it in the log."""

    class Endless:
        def __init__(self, *_: Any) -> None:
            pass

        async def run(self) -> None:
            await asyncio.Event().wait()

    async def judge(_start: Any) -> None:
        pass

    async def run() -> None:
        monkeypatch.setattr(supervising, "Roll", Endless)
        watched = Watched(tmp_path)
        asked = watched.supervisor
        asked._renewal, asked._loop = Renewal(lambda: None, judge), asyncio.get_running_loop()
        first = asyncio.ensure_future(asked.roll())
        await asyncio.sleep(0)
        with pytest.raises(StartFault, match="under way already"):
            await asked.roll()
        asked.ask_roll()
        while not watched.lines:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0)
        assert [line["why"] for line in watched.lines] == ["a rolling restart is under way already"]
        assert asked._rolling is not None
        asked._rolling.cancel()  # as the end of the server does
        with pytest.raises(StartFault, match="asked to end"):
            await first

    asyncio.run(run())
