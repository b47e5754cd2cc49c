"""Where a request comes from: what a proxy says is believed where settings name the proxy, and of nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, Request

from ocs.http.access import address_of
from ocs.http.app import Health, application
from ocs.server.acceptor import listen
from ocs.server.channel import pair
from ocs.server.counters import Counters
from ocs.server.keeper import KeeperParts, keep


class _Quiet:
    def __getattr__(self, _name: str) -> object:
        return lambda *_words, **_facts: None


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        ((), None, "127.0.0.1"),
        ((), "192.0.2.9", "127.0.0.1"),
        (("192.0.2.0/24",), "192.0.2.9", "127.0.0.1"),
        (("127.0.0.0/8",), "192.0.2.9", "192.0.2.9"),
        (("127.0.0.1/32",), "198.51.100.1, 192.0.2.9", "192.0.2.9"),
        (("127.0.0.1/32", "192.0.2.9/32"), "198.51.100.1, 192.0.2.9", "198.51.100.1"),
    ],
)
def test_an_address_is_who_connected_unless_that_is_a_proxy_of_ours(
    tmp_path: Path, proxies: tuple[str, ...], said: str | None, address: str
) -> None:
    """Else anybody could blame another in the audit log, and have a new address for each wrong key."""
    routes = APIRouter()

    @routes.get("/where")
    async def where(request: Request) -> str:
        return address_of(request)

    app = application(
        health=lambda: Health(ready=True, checks={}, facts={}),
        read_metrics=list,
        version="1",
        routers=[routes],
    )

    async def seen() -> str:
        doors, (ours, theirs), stop = listen("127.0.0.1", 0), pair(), asyncio.Event()
        parts = KeeperParts(app, _Quiet(), {}, proxies=proxies)  # type: ignore[arg-type]
        keeping = asyncio.create_task(keep(parts, Counters(tmp_path, "keeper"), doors, theirs, stop))
        try:
            async with httpx.AsyncClient(timeout=60) as client:
                port = doors[0].getsockname()[1]
                headers = {"X-Forwarded-For": said} if said is not None else {}
                answer = await client.get(f"http://127.0.0.1:{port}/where", headers=headers)
                found: str = answer.json()
                return found
        finally:
            stop.set()
            await keeping
            ours.close()
            theirs.close()

    assert asyncio.run(seen()) == address
