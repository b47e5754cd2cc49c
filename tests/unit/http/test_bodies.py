"""Bodies that do not end: in octets, see test_sessions.py; in time, here, through a keeper's own HTTP on a socket."""

import asyncio
from pathlib import Path

import pytest
from fastapi import APIRouter

from ocs.http.app import Health, application
from ocs.server.acceptor import listen
from ocs.server.channel import pair
from ocs.server.counters import Counters
from ocs.server.keeper import KeeperParts, keep
from ocs.server.log import Log

HEAD = b"POST /body HTTP/1.1\r\nHost: ocs\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"


class _Quiet:
    def __getattr__(self, _name: str) -> object:
        return lambda *_words, **_facts: None


def test_a_body_that_does_not_come_holds_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few hundred strangers, who need no key for it, would keep probes and scrapers out."""
    monkeypatch.setattr("ocs.http.bodies.HTTP_IDLE_S", 0.05)
    routes = APIRouter()

    @routes.post("/body")
    async def take(body: dict[str, int]) -> dict[str, int]:
        return body

    log: Log = _Quiet()  # type: ignore[assignment]
    app = application(
        health=lambda: Health(ready=True, checks={}, facts={}),
        read_metrics=list,
        version="1",
        routers=[routes],
    )

    async def said(begun: bytes) -> bytes:
        doors, (ours, theirs), stop = listen("127.0.0.1", 0), pair(), asyncio.Event()
        counters = Counters(tmp_path, "keeper")
        keeping = asyncio.create_task(keep(KeeperParts(app, log, {}), counters, doors, theirs, stop))
        try:
            reader, writer = await asyncio.open_connection(*doors[0].getsockname())
            writer.write(HEAD + begun)
            async with asyncio.timeout(60):
                answer = await reader.read()  # to the end of the connection
            writer.close()
            return answer
        finally:
            stop.set()
            await keeping
            ours.close()
            theirs.close()

    answer = asyncio.run(said(b'{"a": '))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
