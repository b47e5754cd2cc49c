import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from ocs.balance.embedded import Embedded
from ocs.roof.stage import Actor
from tests.journey.conftest import ROOT, Command, environment

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

FREE = ("--diameter-port", "0", "--http-port", "0")
WHO: dict[str, Any] = {"msisdn": "491700000001", "imsi": "262010000000001", "rating_group": 10}
MIB = 1_048_576


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 40
    while not holds():
        if time.monotonic() > give_up:
            raise AssertionError("it did not come to that")
        time.sleep(0.05)


class Served:
    """A real `ocs serve` with a subscriber, and a packet gateway that is a stranger to it."""

    def __init__(self, folder: Path, *options: str, detached: bool = False, **variables: str) -> None:
        folder.mkdir(exist_ok=True)  # one may have been restored
        self.folder = folder
        self.ocs = Command("--data-dir", str(folder))
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                self.ocs.arguments("serve", *FREE, *options),
                cwd=ROOT,
                env=environment() | variables,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=detached,  # without a terminal, as a service has none
            )
        assert self.server.stdout is not None
        self.ready = self.server.stdout.readline().rstrip("\n")
        self._gateways: list[Actor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        for gateway in self._gateways:
            gateway.stop()
        if self.server.poll() is None:
            self.server.kill()
        self.server.communicate()

    @property
    def diameter(self) -> tuple[str, str]:
        found = re.fullmatch(r"ready diameter=(\S+):(\d+) http=\S+:\d+", self.ready)
        assert found is not None, self.log.read_text()
        return found.group(1), found.group(2)

    def gateway(self) -> Actor:
        actor = Actor(["ocs.roof.gateway", *self.diameter], self.folder / "gateway.log")
        self._gateways.append(actor)
        assert json.loads(actor.hear(40)) == {"connected": True}
        return actor

    def http(self, path: str) -> str:
        with urllib.request.urlopen(
            f"http://{self.ready.rpartition('http=')[2]}{path}", timeout=10
        ) as answer:
            return str(answer.read().decode())

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Lines of the log about one event."""
        whole, _, _ = self.log.read_text().rpartition("\n")  # lines are written beside the loop
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def end(self) -> int:
        """End it as an operator does."""
        self.server.terminate()
        return self.server.wait(40)


def create(served: Served) -> None:
    """Create the subscriber of these tests."""
    words = ("--imsi", WHO["imsi"], "--tariff", "flat-data", "--credit", "1.00")
    served.ocs.json("subscriber", "create", WHO["msisdn"], *words)


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with Served(folder) as server:
        create(server)
        yield server


def test_a_session_is_charged_from_opening_to_end(served: Served) -> None:
    gateway = served.gateway()
    opened = gateway.tell({"do": "open", "wanted_octets": 4 * MIB, **WHO})
    assert (opened["result_code"], opened["granted_octets"]) == (2001, 4 * MIB)
    listed = served.ocs.json("sessions", "--msisdn", WHO["msisdn"])
    assert [(each["session_id"], each["reserved"]) for each in listed] == [(opened["session_id"], "0.04")]
    again = gateway.tell({"do": "repeat", "session_id": opened["session_id"]})
    assert again["granted_octets"] == 4 * MIB
    gateway.tell({"do": "update", "session_id": opened["session_id"], "used_octets": 3 * MIB + 1})
    ended = gateway.tell({"do": "end", "session_id": opened["session_id"], "used_octets": MIB})
    assert ended["result_code"] == 2001
    balance = served.ocs.json("balance", WHO["msisdn"])
    assert (balance["balance"], balance["reserved"]) == ("0.95", "0.00")
    assert served.ocs.json("sessions") == []
    assert served.ocs.json("audit")["clean"] is True
    assert WHO["msisdn"] not in served.log.read_text()


def test_a_session_that_an_operator_ends_holds_nothing_and_is_known_no_more(served: Served) -> None:
    gateway = served.gateway()
    session_id = gateway.tell({"do": "open", **WHO})["session_id"]
    assert served.ocs.json("session", "end", session_id)["released"] == "0.10"
    assert served.ocs.json("balance", WHO["msisdn"])["available"] == "1.00"
    assert served.ocs("session", "end", session_id).code == 4
    late = gateway.tell({"do": "update", "session_id": session_id, "used_octets": MIB})
    assert (late["result_code"], late["granted_octets"]) == (5002, 0)
    assert served.ocs.json("balance", WHO["msisdn"])["balance"] == "0.99"


def test_sigterm_drains_and_leaves_nothing_behind(served: Served) -> None:
    gateway = served.gateway()
    gateway.tell({"do": "open", **WHO})
    assert served.end() == 0
    assert not Embedded(served.folder, "always", None).alive()
    assert list((served.folder / "run").iterdir()) == []
    assert served.ocs.json("balance", WHO["msisdn"])["reserved"] == "0.10"


def test_health_and_metrics_are_told(served: Served) -> None:
    served.gateway().tell({"do": "open", **WHO})
    until(
        lambda: (
            'ocs_requests_total{command="CCR",result_code="2001",type="initial"} 1.0'
            in served.http("/metrics")
        )
    )
    until(lambda: json.loads(served.http("/health/ready"))["facts"]["store_epoch"] > 0)
    assert json.loads(served.http("/health/ready"))["checks"] == {
        "worker-0": True,
        "worker-0 store": True,
        "keeper": True,
    }
    until(lambda: all(json.loads(served.http("/health/ready"))["facts"]["ocs_job_passed_ms"].values()))
    assert 'ocs_job_passed_ms{job="archive"}' in served.http("/metrics")
    for process in ("worker-0", "keeper", "door"):
        until(lambda: f'ocs_process_store_ready{{process="{process}"}} 1.0' in served.http("/metrics"))  # noqa: B023 - at once


def test_a_silent_session_is_ended_and_sets_its_hold_free(folder: Path) -> None:
    with Served(folder, OCS_CHARGING__VALIDITY_S="1") as served:
        create(served)
        opened = served.gateway().tell({"do": "open", **WHO})
        assert opened["validity_s"] == 1
        until(lambda: served.ocs.json("sessions") == [])
        assert served.ocs.json("balance", WHO["msisdn"])["reserved"] == "0.00"
        assert served.ocs.json("audit")["clean"] is True


def test_a_store_that_was_killed_is_started_again_with_all_that_was_acknowledged(served: Served) -> None:
    gateway = served.gateway()
    session_id = gateway.tell({"do": "open", **WHO})["session_id"]
    gateway.tell({"do": "update", "session_id": session_id, "used_octets": 5 * MIB})
    os.kill(Embedded(served.folder, "always", None).pid, signal.SIGKILL)
    until(lambda: len(served.logged("the store was started again")) == 1)
    assert served.ocs.json("balance", WHO["msisdn"])["balance"] == "0.95"
    answer = gateway.tell({"do": "update", "session_id": session_id, "used_octets": MIB})
    until(
        lambda: (
            answer["result_code"] != 3004
            or bool(answer.update(gateway.tell({"do": "repeat", "session_id": session_id})))
        )
    )
    assert served.ocs.json("balance", WHO["msisdn"])["balance"] == "0.94"
    assert served.ocs.json("audit")["clean"] is True


def test_a_worker_that_was_killed_is_started_again_and_knows_its_sessions(folder: Path) -> None:
    with Served(folder, "--workers", "2") as served:
        create(served)
        gateway = served.gateway()
        session_id = gateway.tell({"do": "open", **WHO})["session_id"]
        until(lambda: len(served.logged("peer open")) == 1)
        (worker,) = [line["process"] for line in served.logged("peer open")]
        pid = next(line["pid"] for line in served.logged("process started") if line["name"] == worker)
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(served.logged("process started")) == 5)
        until(lambda: len(served.logged("peer open")) == 2)  # the gateway connects again
        ended = gateway.tell({"do": "end", "session_id": session_id, "used_octets": 2 * MIB})
        assert ended["result_code"] == 2001
        assert served.ocs.json("balance", WHO["msisdn"])["balance"] == "0.98"


def test_http_stands_behind_charging_where_both_want_a_processor(folder: Path) -> None:
    def niceness(pid: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, pid)

    with Served(folder, OCS_HTTP__NICE="7") as served:
        ours = niceness(0)
        pids = {line["name"]: line["pid"] for line in served.logged("process started")}
        behind = {name: niceness(pid) - ours for name, pid in pids.items()}
        assert behind == {"worker-0": 0, "keeper": 0, "door": 7}
        assert niceness(Embedded(served.folder, "always", None).pid) == ours


def test_a_port_that_is_taken_is_told_as_a_usage_error(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = Command("--data-dir", str(folder))("serve", "--diameter-port", str(port), "--http-port", "0")
    assert (said.code, said.out) == (2, "")
    assert not Embedded(folder, "always", None).alive()


def test_a_store_that_is_not_there_ends_the_start_with_its_code(folder: Path) -> None:
    said = Command("--data-dir", str(folder), "--store", "redis://127.0.0.1:1")("serve", *FREE)
    assert (said.code, said.out) == (5, "")


def test_a_tariff_that_cannot_be_read_is_told_with_its_line_before_anything_listens(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "odd.yaml").write_text("tariff: odd\nversion: 1\ncurrency: EUR\nservices: {fax: {}}\n")
    ocs = Command("--data-dir", str(folder), OCS_CHARGING__TARIFFS_DIR=str(tmp_path))
    said = ocs("serve", *FREE)
    assert (said.code, "odd.yaml:4" in said.remarks) == (2, True)
    assert not folder.exists()


def _begun(folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    words = Command("--data-dir", str(folder)).arguments("serve", *FREE, *options)
    return subprocess.Popen(
        words, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("trace", ["store.conf", "store.sock", "run"])
def test_a_signal_while_it_starts_ends_it_in_order_and_orphans_no_store(
    folder: Path, trace: str, number: signal.Signals
) -> None:
    server = _begun(folder)
    until((folder / trace).exists)
    server.send_signal(number)
    assert server.wait(40) == 0
    assert not Embedded(folder, "always", None).alive()


def test_a_signal_while_its_store_is_looked_for_ends_it_in_order(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = _begun(folder, "--store", f"redis://127.0.0.1:{silent.getsockname()[1]}")
        link, _ = silent.accept()
        server.terminate()
        assert server.wait(40) == 0
        link.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_are_repeated_while_it_ends_change_nothing(
    served: Served, number: signal.Signals
) -> None:
    served.server.terminate()
    while served.server.poll() is None:
        served.server.send_signal(number)
        time.sleep(0.01)
    assert served.server.returncode == 0
    assert served.logged("a process died") == []
    assert not Embedded(served.folder, "always", None).alive()


def test_a_restart_under_way_takes_settings_from_the_file_and_the_session_goes_on(folder: Path) -> None:
    settings = folder.parent / "mine.toml"
    settings.write_text("[charging.grants]\noctets = 1048576\n")
    with Served(folder, "--config", str(settings)) as served:
        create(served)
        gateway = served.gateway()
        opened = gateway.tell({"do": "open", **WHO})
        assert opened["granted_octets"] == MIB
        settings.write_text("[charging.grants]\noctets = 2097152\n")
        assert served.ocs.json("restart") == {"restarted": True}
        until(lambda: len(served.logged("peer open")) == 2)
        more = gateway.tell({"do": "update", "session_id": opened["session_id"], "used_octets": MIB})
        assert (more["result_code"], more["granted_octets"]) == (2001, 2 * MIB)
        assert [each["by"] for each in served.logged("a process was replaced")] == [
            "worker-1",
            "keeper-1",
            "door-1",
        ]
        assert served.ocs.json("audit")["clean"] is True
        assert served.end() == 0


@pytest.mark.slow
def test_a_restart_that_settings_forbid_says_which_and_changes_nothing(folder: Path) -> None:
    settings = folder.parent / "mine.toml"
    settings.write_text("")
    with Served(folder, "--config", str(settings)) as served:
        settings.write_text(
            "[store]\npartitions = 16\n[diameter]\norigin_realm = 'example.com'\n[backup]\nhistory_h = 24\n"
        )
        said = served.ocs("restart")
        refused = "diameter.origin_realm, store.partitions, backup.history_h cannot change"
        assert (said.code, refused in said.remarks) == (2, True)
        settings.write_text("[charging]\nvalidity = 7\n")
        said = served.ocs("restart")
        assert (said.code, "charging.validity: unknown key" in said.remarks) == (2, True)
        assert served.logged("a process was replaced") == []
        assert json.loads(served.http("/health/ready"))["checks"] == {
            "worker-0": True,
            "worker-0 store": True,
            "keeper": True,
        }


def test_a_restart_of_what_does_not_run_is_told(folder: Path) -> None:
    said = Command("--data-dir", str(folder))("restart")
    assert (said.code, "no server runs" in said.remarks) == (4, True)


def test_a_service_is_restarted_by_a_hangup(folder: Path) -> None:
    with Served(folder, detached=True) as served:
        served.server.send_signal(signal.SIGHUP)
        until(lambda: len(served.logged("rolling restart done")) == 1)
        assert served.end() == 0


def test_what_it_writes_is_for_its_user_alone(folder: Path) -> None:
    with Served(folder) as served:
        assert served.ready
        assert folder.stat().st_mode & 0o777 == 0o700  # it was made before, for all to read
        served.log.chmod(0o600)  # the test's own
        assert [str(each) for each in folder.rglob("*") if each.stat().st_mode & 0o077] == []
