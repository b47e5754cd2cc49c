"""One connection to one Redis-protocol server: pipelined, in order, and nothing is ever sent twice.

Laws
1. Calls made in one turn of the event loop leave in one write; replies that arrive together are handed on in one turn.
2. `done` gets exactly one value, in the order of the calls and never from inside `call`: the reply, or a StoreFault.
3. A link never re-sends (DESIGN law 7). A call that was written and not answered ends in LinkLost: its outcome is
   unknown. A call that was never written ends in LinkDown or LinkFull: it has not happened.
4. Silence is loss: calls that wait while nothing arrives for a deadline, or a heartbeat unanswered, end the link.
5. What is asked is bounded: calls waiting and octets unsent, both in limits.py.
6. A server that could lose or evict money is refused at connect (DESIGN law 13).
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import hiredis

from ocs.balance.addresses import Address, AddressFault, Endpoint
from ocs.limits import (
    LINK_CALLS_WAITING_MAX,
    LINK_CONNECT_MS_MAX,
    LINK_DEADLINE_MS,
    LINK_HEARTBEAT_MS,
    LINK_UNSENT_OCTETS_MAX,
    SOCKET_PATH_OCTETS_MAX,
)

Done = Callable[[Any], None]
"""Takes the reply (bytes, int, list, None) or a StoreFault."""


class StoreFault(Exception):
    """Something between us and the store went wrong; on the hot path a value given to `done`, not raised."""


class LinkLost(StoreFault):
    """The link broke after the call was written: whether it happened is unknown. Replay the same key."""


class LinkDown(StoreFault):
    """There was no link; the call was never written, so it has not happened."""


class LinkFull(StoreFault):
    """Too many calls wait already; this one was never written, so it has not happened."""


class Displaced(StoreFault):
    """The slot is served by another process than the call was made for; it was not executed. Learn the epoch, call again."""


class StoreUnreadable(StoreFault):
    """The store holds something that this version cannot read; nothing was moved."""


class StoreRefused(StoreFault):
    """The server answers, but money must not be kept there; the text says which setting would be right."""


class NotMaster(StoreRefused):
    """The server is a replica."""


class StoreError(StoreFault):
    """An error reply: `code` is its first word (MOVED, ASK, TRYAGAIN, LOADING, ERR ...), `text` all of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.code = text.partition(" ")[0]


class Demands(NamedTuple):
    """What a server must be to keep money (DESIGN law 13)."""

    master: bool = True
    append_only: bool = True
    no_eviction: bool = True
    fsync: str = ""  # "always": appendfsync must be so (law 6); empty: not asked
    replicas: int = 0  # so many must have what was written before a reply is handed on (replicas.py)

    @classmethod
    def none(cls) -> "Demands":
        """Demands of a link that only asks where the masters are."""
        return cls(master=False, append_only=False, no_eviction=False)


NOTHING = object()
"""What the reader gives while a reply is not complete."""
_TICKS = 4  # a stall is seen after this many ticks of a quarter of the deadline each


def pack(*arguments: str | int | bytes) -> bytes:
    """Pack one command as it goes over the wire."""
    return hiredis.pack_command(arguments)  # type: ignore[arg-type,no-any-return]


@contextmanager
def reachable(path: str) -> Iterator[str]:
    """Give a way to a unix socket that fits the 107 octets of an address: through its folder's descriptor."""
    if len(os.fsencode(path)) <= SOCKET_PATH_OCTETS_MAX:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        yield f"/proc/self/fd/{folder}/{Path(path).name}"
    finally:
        os.close(folder)


class Link(asyncio.Protocol):
    """One connection; `connect` first, then `call`."""

    __slots__ = (
        "_address",
        "_answered",
        "_deadline_ms",
        "_demands",
        "_endpoint",
        "_fault",
        "_flushing",
        "_gets",
        "_idle_ticks",
        "_loop",
        "_mark",
        "_on_lost",
        "_out",
        "_paused",
        "_quiet_ticks",
        "_reader",
        "_ticker",
        "_transport",
        "_waiting",
        "is_open",
        "run_id",
        "title",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        address: Address,
        *,
        demands: Demands | None = None,
        deadline_ms: int = LINK_DEADLINE_MS,
        title: str = "ocs",
        on_lost: Callable[["Link"], None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._demands = Demands() if demands is None else demands
        self._deadline_ms = deadline_ms
        self._on_lost = on_lost
        self._reader = hiredis.Reader(replyError=StoreError, notEnoughData=NOTHING)
        self._gets = self._reader.gets
        self._waiting: deque[Done] = deque()
        self._out: list[bytes] = []
        self._flushing = False
        self._paused = False
        self._answered = 0
        self._mark = -1
        self._quiet_ticks = 0
        self._idle_ticks = 0
        self._fault: StoreFault | None = None
        self._transport: asyncio.Transport | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self.is_open = False
        self.run_id = ""
        self.title = title

    @property
    def name(self) -> str:
        """The server's place, as logs call it."""
        return self._endpoint.name

    @property
    def endpoint(self) -> Endpoint:
        """The server's place."""
        return self._endpoint

    @property
    def pending(self) -> int:
        """Calls that wait for their reply."""
        return len(self._waiting)

    @property
    def fault(self) -> StoreFault | None:
        """Why the link ended, or None while it lives."""
        return self._fault

    # -- connecting

    async def connect(self) -> None:
        """Connect, introduce ourselves and inspect the server. Raises a StoreFault; a link connects once."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LINK_CONNECT_MS_MAX / 1000):
                await self._open_transport()
                await self._introduce()
        except (TimeoutError, OSError) as fault:
            why = f"cannot connect: {str(fault) or 'no answer in time'}"
            self._end(why)
            raise LinkDown(f"{self.name}: {why}") from fault
        except AddressFault as fault:
            self._end("refused")
            raise StoreRefused(str(fault)) from fault
        except BaseException as fault:
            self._end(f"refused: {fault}")
            raise
        if self._fault is not None:  # lost between the last reply and now
            raise LinkDown(str(self._fault))
        self.is_open = True
        self._tick()

    async def _open_transport(self) -> None:
        if self._endpoint.path:
            with reachable(self._endpoint.path) as path:
                await self._loop.create_unix_connection(lambda: self, path)
            return
        context = self._address.tls.context() if self._address.tls else None
        await self._loop.create_connection(
            lambda: self, self._endpoint.host, self._endpoint.port, ssl=context
        )

    async def _introduce(self) -> None:
        """HELLO with AUTH, SELECT, then INFO: who is it, and may it keep money?"""
        hello: list[str] = ["HELLO", "2"]
        if self._address.password:
            hello += ["AUTH", self._address.user or "default", self._address.password.reveal()]
        try:
            await self._ask(*hello, "SETNAME", self.title)
            if self._address.database:
                await self._ask("SELECT", self._address.database)
            text = await self._ask("INFO", "server", "replication", "memory", "persistence", "cluster")
            info = _read_info(text)
            self._inspect(info)
            if self._demands.fsync:
                await self._inspect_fsync()
        except StoreError as fault:
            if fault.code in {"NOAUTH", "WRONGPASS", "NOPERM"}:
                raise StoreRefused(
                    f"{self.name}: the store refuses the password or user ({fault.code})"
                ) from None
            raise
        self.run_id = info.get("run_id", "")

    def _inspect(self, info: dict[str, str]) -> None:
        """Refuse a server that could lose or evict money (DESIGN law 13)."""
        demands = self._demands
        if info.get("loading") == "1":
            raise StoreError("LOADING the store is reading its append-only file")
        if demands.master and info.get("role") != "master":
            raise NotMaster(
                f"{self.name}: the store is a replica; name the master, or use sentinel:// or cluster://"
            )
        policy = info.get("maxmemory_policy", "")
        if demands.no_eviction and policy != "noeviction":
            raise StoreRefused(f"{self.name}: maxmemory-policy is {policy!r}; it must be noeviction")
        if demands.append_only and info.get("aof_enabled") != "1":
            raise StoreRefused(f"{self.name}: the append-only file is off; set appendonly yes")

    async def _inspect_fsync(self) -> None:
        reply = await self._ask("CONFIG", "GET", "appendfsync")
        found = reply[1].decode() if len(reply) == 2 else "hidden"
        if found != self._demands.fsync:
            raise StoreRefused(
                f"{self.name}: appendfsync is {found}; durability asks for {self._demands.fsync}"
            )

    # -- calling

    def call(self, command: bytes, done: Done) -> None:
        """Send one packed command; `done` gets its reply or a StoreFault later, in order."""
        if not self.is_open or self._paused or len(self._waiting) >= LINK_CALLS_WAITING_MAX:
            self._refuse(done)
            return
        self._waiting.append(done)
        self._out.append(command)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    async def execute(self, *arguments: str | int | bytes) -> Any:
        """Call and wait; raises the StoreFault. Not for the hot path (a future costs 8 µs)."""
        if not self.is_open:
            raise LinkDown(f"{self.name}: no link")
        return await self._ask(*arguments)

    def close(self) -> None:
        """End the link; what waits ends in LinkLost or LinkDown."""
        self._end("closed by us")

    def _refuse(self, done: Done) -> None:
        fault: StoreFault
        if not self.is_open:
            fault = LinkDown(f"{self.name}: no link")
        elif self._paused:
            fault = LinkFull(f"{self.name}: more than {LINK_UNSENT_OCTETS_MAX} octets unsent")
        else:
            fault = LinkFull(f"{self.name}: {LINK_CALLS_WAITING_MAX} calls wait already")
        asyncio.get_running_loop().call_soon(self._hand, done, fault)

    async def _ask(self, *arguments: str | int | bytes) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()

        def settle(reply: Any) -> None:
            if not future.done():
                future.set_result(reply)

        if self._transport is None or self._fault is not None:
            raise LinkDown(str(self._fault or f"{self.name}: no link"))
        self._waiting.append(settle)
        self._out.append(pack(*arguments))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        reply = await future
        if isinstance(reply, StoreFault):
            raise reply
        return reply

    def _flush(self) -> None:
        """Write everything that was called since the last turn, at once (law 1)."""
        self._flushing = False
        out = self._out
        if not out or self._transport is None:
            return
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()

    # -- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; bound what it may buffer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class
        self._transport.set_write_buffer_limits(high=LINK_UNSENT_OCTETS_MAX)

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to the call that waits longest."""
        self._reader.feed(data)
        gets = self._gets
        waiting = self._waiting
        answered = 0
        try:
            while (reply := gets()) is not NOTHING:
                if not waiting:
                    break
                done = waiting.popleft()
                answered += 1
                try:
                    done(reply)
                except Exception as fault:  # noqa: BLE001 - one caller's defect must not take the others' replies
                    self._report(done, fault)
        except hiredis.ProtocolError as fault:
            self._end(f"not the Redis protocol: {fault}")
            return
        self._answered += answered
        if reply is not NOTHING and self._fault is None:
            self._end("a reply that nobody asked for")

    def pause_writing(self) -> None:
        """The server does not read: take no more calls."""
        self._paused = True

    def resume_writing(self) -> None:
        """The server reads again."""
        self._paused = False

    def eof_received(self) -> bool:
        """Let the transport close; `connection_lost` follows."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that waits."""
        self._end(f"connection lost: {exc or 'closed by the store'}")

    # -- ending

    def _tick(self) -> None:
        """Judge silence every quarter of the deadline (law 4); an idle link is probed, so that it is no half-open one."""
        if self._fault is not None:
            return
        quarter_ms = self._deadline_ms / _TICKS
        self._ticker = self._loop.call_later(quarter_ms / 1000, self._tick)
        if self._mark != self._answered:
            self._mark = self._answered
            self._quiet_ticks = self._idle_ticks = 0
            return
        if not self._waiting:
            self._quiet_ticks = 0
            self._idle_ticks += 1
            if self._idle_ticks * quarter_ms >= LINK_HEARTBEAT_MS:
                self._idle_ticks = 0
                self.call(_PING, _ignore)
            return
        self._quiet_ticks += 1
        if self._quiet_ticks > _TICKS:
            self._end(f"no reply for {self._deadline_ms} ms")

    def _end(self, why: str) -> None:
        """End the link once; every waiting call learns whether it may have happened (law 3)."""
        if self._fault is not None:
            return
        lost = LinkLost(f"{self.name}: {why}")
        self._fault = lost
        was_open, self.is_open = self.is_open, False
        if self._ticker is not None:
            self._ticker.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting = list(self._waiting)
        self._waiting.clear()
        written = len(waiting) - len(self._out)
        self._out.clear()
        if was_open and self._on_lost is not None:
            self._on_lost(self)
        down = LinkDown(str(lost))
        for index, done in enumerate(waiting):
            self._hand(done, lost if index < written else down)

    def _hand(self, done: Done, fault: StoreFault) -> None:
        try:
            done(fault)
        except Exception as defect:  # noqa: BLE001 - as in data_received
            self._report(done, defect)

    def _report(self, done: Done, fault: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"{self.name}: a reply's receiver failed", "exception": fault, "receiver": done}
        )


def _ignore(_reply: Any) -> None:
    """Receive a heartbeat's reply: that it came is all that counts."""


def _read_info(text: bytes) -> dict[str, str]:
    """Read INFO's lines of name:value."""
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


_PING = pack("PING")
