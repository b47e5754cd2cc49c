from __future__ import annotations

import asyncio

import httpx
import pytest

from ocs.http.app import Health, application


def get(
    headers: dict[str, str],
    *,
    hosts: set[str] | None = None,
    secured: bool = False,
    path: str = "/health/live",
) -> httpx.Response:
    app = application(
        health=lambda: Health(ready=True, checks={}, facts={}),
        read_metrics=list,
        version="1",
        hosts=hosts,
        secured=secured,
    )

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost:8080"
        ) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


HOSTS = {"localhost", "127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
def test_without_keys_this_machines_own_names_are_answered(host: str) -> None:
    assert get({"Host": host}, hosts=HOSTS).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["rebound.example.com", "127.0.0.1.example.com", "localhost.", "", "[::1", "a@localhost.example.com"],
)
def test_without_keys_a_name_that_a_stranger_made_point_here_is_not_answered(host: str) -> None:
    answer = get({"Host": host}, hosts=HOSTS)
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8080", 200),
        ("http://127.0.0.1", 200),
        ("https://example.com", 403),
        ("null", 403),
        ("http://localhost.example.com", 403),
    ],
)
def test_without_keys_a_page_from_elsewhere_is_not_answered(origin: str, status: int) -> None:
    assert get({"Origin": origin}, hosts=HOSTS).status_code == status


def test_with_keys_every_name_is_answered() -> None:
    assert get({"Host": "ocs.example.org", "Origin": "https://example.com"}).status_code == 200


def test_every_answer_carries_what_keeps_browsers_and_caches_off_and_no_banner() -> None:
    for path in ("/health/live", "/nothing"):
        headers = get({}, path=path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert "strict-transport-security" not in headers
    assert "max-age" in get({}, secured=True).headers["strict-transport-security"]


def test_no_redirect_names_a_host_that_the_request_made_up() -> None:
    answer = get({"Host": "evil.example.com"}, path="/health/live/")
    assert (answer.status_code, "location" in answer.headers) == (404, False)
