"""Receivers for tests: a small HTTP server on loopback that answers as the test says, and what it was sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Posted(NamedTuple):
    """One request: its head by lower-case name, path, and body."""

    path: str
    head: dict[str, str]
    body: bytes


class Receiver:
    """Answers each request with what ``answers`` says (default 200), and remembers it."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.answer: Callable[[Posted], Awaitable[tuple[int, str]]] = self._well
        self.says: Callable[[Posted], bytes] = self._nothing
        """The body of an answer, made after ``answer``."""
        self.port = 0
        self.connections = 0
        self.came = asyncio.Event()
        self._serving: set[asyncio.Task[Any]] = set()

    async def _well(self, _posted: Posted) -> tuple[int, str]:
        return 200, ""

    def _nothing(self, _posted: Posted) -> bytes:
        return b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [each.head["webhook-id"] for each in self.posted]

    async def until(self, holds: Callable[[], bool], wait_s: float = 30) -> None:
        """Wait until something holds; it is looked at after each request."""
        async with asyncio.timeout(wait_s):
            while not holds():
                self.came.clear()
                if holds():
                    return
                try:
                    await asyncio.wait_for(self.came.wait(), 0.2)
                except TimeoutError:
                    continue

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *rows = head.split("\r\n")
            named = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
            body = await reader.readexactly(int(named.get("content-length", "0")))
            posted = Posted(first.split(" ")[1], named, body)
            status, extra = await self.answer(posted)
            self.posted.append(posted)
            self.came.set()
            said = self.says(posted)
            told = (
                f"HTTP/1.1 {status} Said\r\ncontent-length: {len(said)}\r\n{extra}connection: close\r\n\r\n"
            )
            writer.write(told.encode() + said)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._serving.discard(task)

    async def close(self) -> None:
        """End what is being served."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def receiver(context: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver that ends with the block."""
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", port, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()


class Log:
    """A log that is read by tests."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def _take(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    info = warning = error = exception = _take
