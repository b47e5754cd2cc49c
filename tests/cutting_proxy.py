"""A proxy that cuts and stalls the link to a store at a numbered call, never at a wall-clock moment.

It runs in a thread of its own, so that synchronous and asyncio clients alike can be put behind it. It reads every command,
counts it by name, and can, at the nth call of a name:

cut_before   close both sides; the store has not seen the call
cut_after    let the store answer, swallow the reply, close both sides: the call happened, nobody knows
stall        stop passing anything on, connections stay open; the store has not seen the call
half_open    pass requests on, swallow all replies, connections stay open
"""

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import hiredis


@dataclass(eq=False)
class _Side:
    """One connection through the proxy."""

    writer: asyncio.StreamWriter
    upstream: asyncio.StreamWriter
    unanswered: int = 0
    muted: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        for writer in (self.writer, self.upstream):
            writer.transport.abort()


class CuttingProxy:
    """Stands before host:port on a loopback port of its own."""

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._upstream = (host, port)
        self._tls = tls
        self._faults: dict[str, tuple[str, int]] = {}
        self._sides: set[_Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.calls: Counter[str] = Counter()
        """How often each command arrived, by its name in capitals."""
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    # -- faults

    def cut_before(self, name: str, nth: int = 1) -> None:
        self._arm(name, "cut_before", nth)

    def cut_after(self, name: str, nth: int = 1) -> None:
        self._arm(name, "cut_after", nth)

    def stall(self, name: str, nth: int = 1) -> None:
        self._arm(name, "stall", nth)

    def half_open(self, name: str, nth: int = 1) -> None:
        self._arm(name, "half_open", nth)

    def cut_now(self) -> None:
        """Close every connection."""
        self._run(self._close_all())

    def lead_to(self, port: int) -> None:
        """Close every connection; those that come lead to another server."""
        self._upstream = (self._upstream[0], port)
        self.cut_now()

    def _arm(self, name: str, fault: str, nth: int) -> None:
        """The nth call of the name from now on."""
        self._faults[name] = (fault, self.calls[name] + nth)

    # -- life

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close_all(self) -> None:
        for side in list(self._sides):
            side.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._spawn(self._serve(reader, writer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- one connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            replies, upstream = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        side = _Side(writer, upstream)
        self._sides.add(side)
        self._spawn(self._pass_replies(replies, side))
        requests = hiredis.Reader()
        try:
            while chunk := await reader.read(65_536):
                requests.feed(chunk)
                while (command := requests.gets()) is not False:
                    await self._pass_request(command, side)
        except (ConnectionError, OSError):
            pass
        finally:
            side.close()
            self._sides.discard(side)

    async def _pass_replies(self, replies: asyncio.StreamReader, side: _Side) -> None:
        counting = hiredis.Reader(notEnoughData=NotImplemented)
        try:
            while chunk := await replies.read(65_536):
                if not side.muted:
                    side.writer.write(chunk)
                counting.feed(chunk)
                while counting.gets() is not NotImplemented:
                    side.unanswered -= 1
                side.answered.set()
        except (ConnectionError, OSError):
            pass
        finally:
            side.close()

    async def _pass_request(self, command: list[bytes], side: _Side) -> None:
        name = command[0].decode().upper()
        self.calls[name] += 1
        fault, nth = self._faults.get(name, ("", 0))
        forward: Callable[[], None] = lambda: side.upstream.write(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # noqa: E731
        if self.calls[name] != nth:
            side.unanswered += 1
            forward()
            return
        await self._all_answered(side)  # what came before it is answered; the fault hits this call alone
        if fault == "stall":
            await asyncio.Event().wait()
        if fault == "half_open":
            side.muted = True
            side.unanswered += 1
            forward()
            return
        if fault == "cut_after":
            side.muted = True
            side.unanswered += 1
            forward()
            await self._all_answered(side)
        await side.writer.drain()
        raise ConnectionAbortedError(fault)

    @staticmethod
    async def _all_answered(side: _Side) -> None:
        while side.unanswered > 0:
            side.answered.clear()
            await side.answered.wait()
