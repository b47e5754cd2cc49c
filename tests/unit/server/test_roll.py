"""A rolling restart of real processes: who is replaced, in which order, and what becomes of it when one does not come up."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ocs.diameter.base import BaseMessages
from ocs.diameter.message import REQUEST
from ocs.server import counters
from tests.served_processes import Processes
from tests.serving import LOCAL, Client
from tests.unit.server.test_processes import connect, get, until

pytestmark = pytest.mark.timeout(120)  # a dozen processes start one after the other


def serving(folder: Path) -> dict[str, int]:
    """Processes that say that they serve, with the starts that their place has seen."""
    return {
        each.process: each.value("ocs_process_starts_total")
        for each in counters.read(folder)
        if each.value("ocs_process_ready") == 1
    }


def pids(server: Processes) -> set[int]:
    """The server's processes, but multiprocessing's own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {each.pid for each in psutil.Process(server.pid).children()}
    return set()


def rests(folder: Path, name: str) -> bool:
    """Whether a process has ended, and its supervisor has seen it."""
    (found,) = [each for each in counters.read(folder) if each.process == name]
    return not found.value("ocs_process_heartbeat_ms")


def goodbye(peer: Client) -> Any:
    """The DPR that a peer is sent, answered."""
    message: Any = peer.answered()
    assert (message.command, bool(message.flags & REQUEST)) == (282, True)
    peer.send(BaseMessages(LOCAL._replace(host_ips=("127.0.0.1",))).dpa(message))
    return message


@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_is_replaced_and_never_do_fewer_workers_serve_than_before(
    tmp_path: Path, workers: int
) -> None:
    with Processes(tmp_path, workers=workers) as server:
        peers = [connect(server, f"peer{number}.example.net") for number in range(workers)]
        server.roll()
        for peer in peers:
            assert goodbye(peer).avps["Disconnect-Cause"] == 0  # REBOOTING
            assert peer.is_closed()
            assert sum(name.startswith("worker") for name in serving(tmp_path)) >= workers
            again = connect(server, "again.example.net")
            assert again.ask().avps["Result-Code"] == 2001
        until(lambda: serving(tmp_path).get("keeper-1") == 1)
        until(lambda: rests(tmp_path, "keeper"))
        until(lambda: serving(tmp_path).get("door-1") == 1)
        until(lambda: rests(tmp_path, "door"))
        expected = {"worker-1"} if workers == 1 else {"worker-0", "worker-2"}
        until(lambda: set(serving(tmp_path)) == expected | {"keeper-1", "door-1"})
        until(lambda: get(server, "/health/ready").status_code == 200)
        assert (
            len(httpx.get(f"http://127.0.0.1:{server.http_port}/health/ready").json()["checks"])
            == 2 * workers + 1
        )
        server.terminate()
        assert re.findall(r"a process died|had to be killed|could not start", server.said) == []
        assert "rolling restart done" in server.said


@pytest.mark.slow
def test_a_second_rolling_restart_goes_back_to_the_places_of_the_first(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        server.roll()
        until(lambda: set(serving(tmp_path)) == {"worker-1", "keeper-1", "door-1"})
        until(lambda: rests(tmp_path, "door"))
        server.roll()
        until(lambda: serving(tmp_path) == {"worker-0": 2, "keeper": 2, "door": 2})
        assert connect(server).ask().avps["Result-Code"] == 2001


def test_a_worker_that_does_not_come_up_stops_it_and_whoever_serves_goes_on(tmp_path: Path) -> None:
    with Processes(tmp_path, workers=2) as server:
        peer = connect(server)
        (tmp_path / "faulty").touch()
        until(lambda: len(serving(tmp_path)) == 4)
        server.roll()
        until(lambda: any(each.process == "worker-2" for each in counters.read(tmp_path)))
        assert peer.ask().avps["Result-Code"] == 2001
        assert serving(tmp_path) == {"worker-0": 1, "worker-1": 1, "keeper": 1, "door": 1}
        (tmp_path / "faulty").unlink()
        until(lambda: "worker-2" not in serving(tmp_path))
        assert server.terminate() == 0
        assert "rolling restart stopped" in server.said
        assert "worker-2: RuntimeError: made up" in server.said


def test_what_the_judge_refuses_changes_nothing(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        peer = connect(server)
        (tmp_path / "refused").write_text("diameter.port cannot change")
        before = pids(server)
        server.roll()
        until(lambda: pids(server) != before)  # the judge has come
        until(lambda: pids(server) == before)
        assert peer.ask().avps["Result-Code"] == 2001
        assert server.terminate() == 0
        assert "diameter.port cannot change" in server.said
        assert server.said.count("process started") == 4
