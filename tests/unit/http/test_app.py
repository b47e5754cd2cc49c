from __future__ import annotations

import asyncio

import httpx
import pytest

from ocs.http.app import Health, application


def get(health: Health, path: str) -> httpx.Response:
    """Ask the application itself, without a socket."""
    app = application(health=lambda: health, read_metrics=list, version="1")

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ocs") as client:
            return await client.get(path)

    return asyncio.run(ask())


READY = Health(ready=True, checks={}, facts={})


@pytest.mark.parametrize(("ready", "status", "word"), [(True, 200, "ready"), (False, 503, "not ready")])
def test_ready_answers_by_status_and_says_what_was_looked_at(ready: bool, status: int, word: str) -> None:  # noqa: FBT001
    answer = get(Health(ready, {"worker-0": ready}, {"offset_days": 31}), "/health/ready")
    assert answer.status_code == status
    assert answer.json() == {"status": word, "checks": {"worker-0": ready}, "facts": {"offset_days": 31}}


def test_live_answers_whatever_the_store_does() -> None:
    assert get(Health(ready=False, checks={}, facts={}), "/health/live").json() == {"status": "alive"}


def test_metrics_and_documentation_are_there() -> None:
    assert get(READY, "/metrics").headers["content-type"].startswith("text/plain")
    assert get(READY, "/docs").status_code == 200
    assert set(get(READY, "/openapi.json").json()["paths"]) == {"/health/live", "/health/ready", "/metrics"}
