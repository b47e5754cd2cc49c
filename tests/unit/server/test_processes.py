from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from ocs import api_limits
from ocs.server import counters
from tests.house.source import ROOT
from tests.served_processes import Processes
from tests.serving import Client


def connect(server: Processes, host: str = "pgw.example.net") -> Client:
    client = Client(socket.create_connection(("127.0.0.1", server.port), timeout=20))
    client.exchange(host)
    return client


def get(server: Processes, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{server.http_port}{path}", timeout=20)


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


def total(folder: Path, family: str, *labels: str) -> int:
    return sum(reading.value(family, *labels) for reading in counters.read(folder))


def test_connections_are_spread_over_workers_and_metrics_are_summed(tmp_path: Path) -> None:
    with Processes(tmp_path, workers=2) as server:
        peers = [connect(server, f"peer{number}.example.net") for number in range(4)]
        assert [peer.ask().avps["Result-Code"] for peer in peers] == [2001] * 4
        until(
            lambda: (
                [
                    reading.value("ocs_peers", "open")
                    for reading in counters.read(tmp_path)
                    if reading.process.startswith("worker")
                ]
                == [2, 2]
            )
        )
        page = get(server, "/metrics").text
        assert 'ocs_requests_total{command="CCR",result_code="2001",type="initial"} 4.0' in page
        assert 'ocs_request_seconds_count{type="initial"} 4.0' in page
        for peer in peers:
            peer.socket.close()


def test_live_and_ready_say_so_and_ready_names_what_it_looked_at(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        assert get(server, "/health/live").json() == {"status": "alive"}
        until(lambda: get(server, "/health/ready").status_code == 200)
        assert get(server, "/health/ready").json()["checks"] == {
            "worker-0": True,
            "worker-0 store": True,
            "keeper": True,
        }
        assert get(server, "/docs").status_code == 200


def test_an_http_connection_that_asks_nothing_or_half_is_closed(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        place = ("127.0.0.1", server.http_port)
        with (
            socket.create_connection(place, timeout=40) as silent,
            socket.create_connection(place, timeout=40) as half,
        ):
            half.sendall(b"GET /health/live HTTP/1.1\r\n")
            assert silent.recv(1) == b""
            assert half.recv(1) == b""
        assert get(server, "/health/live").status_code == 200


def test_http_connections_beyond_the_bound_are_answered_with_503(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        place = ("127.0.0.1", server.http_port)
        idle = [socket.create_connection(place, timeout=20) for _ in range(api_limits.HTTP_CONNECTIONS_MAX)]
        assert get(server, "/health/live").status_code == 503
        for each in idle:
            each.close()
        until(lambda: get(server, "/health/live").status_code == 200)


def test_a_killed_worker_is_started_again_and_goes_on_counting(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        peer = connect(server)
        peer.ask()
        until(lambda: total(tmp_path, "ocs_requests_total", "CCR", "initial", "2001") == 1)
        worker = _named(server, "worker-0")
        os.kill(worker.pid, signal.SIGKILL)
        assert peer.is_closed()
        again = connect(server)
        assert again.ask(2, 1).avps["Result-Code"] == 2001
        until(lambda: total(tmp_path, "ocs_requests_total", "CCR", "update", "2001") == 1)
        assert total(tmp_path, "ocs_requests_total", "CCR", "initial", "2001") == 1
        again.socket.close()


def _named(server: Processes, name: str) -> psutil.Process:
    """A process of the server by its name, as it was started last."""
    return psutil.Process(server.pids()[name])


def test_a_killed_door_is_started_again_on_the_same_port_and_the_keeper_goes_on(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        before = server.pids()
        os.kill(before["door"], signal.SIGKILL)
        assert get(server, "/health/live").status_code == 200
        until(lambda: get(server, "/health/ready").status_code == 200)
        after = server.pids()
        assert {name for name in after if after[name] != before[name]} == {"door"}


def test_a_killed_keeper_takes_no_http_along_and_health_says_that_it_is_gone(tmp_path: Path) -> None:
    with Processes(tmp_path) as server, httpx.Client(timeout=20) as api:
        health = f"http://127.0.0.1:{server.http_port}/health/ready"
        until(lambda: api.get(health).json()["checks"].get("keeper") is True)
        before = server.pids()
        os.kill(before["keeper"], signal.SIGKILL)
        until(lambda: api.get(health).json()["checks"]["keeper"] is False)
        assert api.get(health).status_code == 200
        until(lambda: api.get(health).json()["checks"]["keeper"] is True)
        after = server.pids()
        assert {name for name in after if after[name] != before[name]} == {"keeper"}


@pytest.mark.parametrize("name", ["keeper", "door"])
def test_a_process_beside_the_workers_that_stands_still_is_ended_and_one_that_works_is_not(
    tmp_path: Path, name: str
) -> None:
    with Processes(tmp_path, silent_ms=3_000) as server:
        first = _named(server, name)
        time.sleep(4.5)
        assert _named(server, name).pid == first.pid
        first.suspend()
        until(lambda: not first.is_running())
        assert get(server, "/health/live").status_code == 200


def test_http_is_there_until_workers_and_keeper_have_ended(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        worker, keeper = _named(server, "worker-0"), _named(server, "keeper")
        keeper.suspend()  # it cannot end before it goes on
        os.kill(server.pid, signal.SIGTERM)
        psutil.wait_procs([worker], timeout=30)
        assert get(server, "/health/live").status_code == 200
        assert get(server, "/health/ready").json()["status"] == "not ready"
        keeper.resume()
        assert server.wait() == 0


def test_sigterm_takes_leave_of_peers_and_ends_with_zero(tmp_path: Path) -> None:
    with Processes(tmp_path, workers=2) as server:
        peers = [connect(server, f"peer{number}.example.net") for number in range(2)]
        family = server.children()
        os.kill(server.pid, signal.SIGTERM)
        asked = [peer.answered() for peer in peers]
        assert [(each.command, each.avps["Disconnect-Cause"]) for each in asked] == [(282, 0)] * 2
        for peer in peers:  # peers that just close, as Kamailio does (CLIENTS 23)
            peer.socket.close()
        assert server.terminate() == 0
        assert [child for child in family if child.is_running()] == []


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        family = server.children()
        assert len(family) == 3
        for child in family:
            child.suspend()  # so that it cannot see its channel end: the kernel alone ends it
        server.kill()
        psutil.wait_procs(family, timeout=30)
        assert [child for child in family if child.is_running()] == []


def test_a_start_that_fails_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.served_processes", str(tmp_path), "1", "no such tariff"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "worker-0: RuntimeError: no such tariff" in done.stderr


def test_a_server_whose_log_has_no_reader_any_more_still_ends(tmp_path: Path) -> None:
    with Processes(tmp_path) as server:
        family = server.children()
        server.close_log()
        os.kill(server.pid, signal.SIGTERM)
        psutil.wait_procs(family, timeout=30)
        server.wait()
        assert [child for child in family if child.is_running()] == []
