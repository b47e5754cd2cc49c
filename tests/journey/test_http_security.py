"""The security of the HTTP API as its users have it: a served server over TLS, keys, tokens, rates, and a log that outlives a kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import Authority
from tests.house.source import ROOT
from tests.real_ocs import RealOcs

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

FORM = {"grant_type": "client_credentials"}


def tls_settings(authority: Authority, **more: str) -> dict[str, str]:
    pair = authority.pair("ocs.example.org")
    return {
        "OCS_HTTP__TLS__CERTIFICATE": str(pair.certificate),
        "OCS_HTTP__TLS__KEY": str(pair.key),
        **more,
    }


def trusting(authority: Authority, client: str | None = None) -> ssl.SSLContext:
    """A client's side: believes this authority alone; test certificates name a server and no address."""
    made = ssl.create_default_context(cafile=str(authority.certificate))
    made.check_hostname = False
    if client is not None:
        pair = authority.pair(client)
        made.load_cert_chain(pair.certificate, pair.key)
    return made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def served(tmp_path: Path, authority: Authority) -> Iterator[RealOcs]:
    with RealOcs(tmp_path, **tls_settings(authority), OCS_HTTP__TOKEN_S="60") as server:
        yield server
        assert server.troubles() == []


def credentials(made: dict[str, Any]) -> tuple[str, str]:
    _, client_id, secret = made["key"].split("_", 2)
    return client_id, secret


def test_over_tls_a_key_becomes_a_token_that_dies_with_it_and_all_is_on_the_log(
    served: RealOcs, authority: Authority
) -> None:
    first = served.ocs("keys", "create", "--role", "admin", "--name", "first", "--valid-until", "2999-12-31")
    assert first["valid_until"] == "3000-01-01T00:00:00Z"
    base = f"https://127.0.0.1:{served.http_port}"
    with httpx.Client(base_url=base, verify=trusting(authority), timeout=20) as api:
        token = api.post("/oauth/token", auth=credentials(first), data=FORM).json()
        assert token["expires_in"] == 60
        admin = {"Authorization": f"Bearer {token['access_token']}"}
        wanted = {"role": "care", "channel": "desk", "rate": 1, "valid_until": "2998-01-01T00:00:00Z"}
        made = api.post("/admin/v1/keys", headers=admin, json=wanted)
        assert made.status_code == 201, made.text
        desk = {"Authorization": f"Bearer {made.json()['key']}"}
        sessions = [api.get("/charging/v1/sessions", headers=desk) for _ in range(10)]
        assert sessions[0].status_code == 200
        assert "max-age" in sessions[0].headers["strict-transport-security"]
        assert "server" not in sessions[0].headers
        refused = [each for each in sessions if each.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"] == "1"
        assert api.delete("/charging/v1/sessions/none", headers=admin).status_code == 404
        assert api.delete("/charging/v1/sessions/none").status_code == 401

        served.ocs("keys", "revoke", first["id"])
        assert api.get("/charging/v1/sessions", headers=admin).status_code == 401
        assert (
            api.post("/oauth/token", auth=credentials(first), data=FORM).json()["error"] == "invalid_client"
        )

    changes = served.ocs("audit-log")["changes"]
    told = [(each["action"], each["client"], each["status"]) for each in changes]
    ended = "DELETE /charging/v1/sessions/{session_id:path}"
    assert told == [
        ("key.create", "command line", 0),
        ("token.issue", first["id"], 200),
        ("key.create", first["id"], 201),
        (ended, first["id"], 404),
        (ended, "", 401),
        ("key.revoke", "command line", 0),
        ("POST /oauth/token", "", 401),
    ]
    assert changes[2]["after"]["channel"] == "desk"
    (file,) = (served.folder / "audit").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    everything = file.read_text() + served.log.read_text()
    secrets = [first["key"], token["access_token"], made.json()["key"]]
    assert not [each for each in secrets if each.split("_", 2)[2] in everything]


def test_what_is_no_tls_is_not_served_and_every_version_that_is_safe_is(
    served: RealOcs, authority: Authority
) -> None:
    base = f"https://127.0.0.1:{served.http_port}"
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{served.http_port}/health/live", timeout=20)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/health/live", timeout=20)  # its authority is believed by nobody else
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        new = trusting(authority)
        new.minimum_version = new.maximum_version = version
        assert httpx.get(f"{base}/health/live", verify=new, timeout=20).status_code == 200


def test_clients_need_a_certificate_and_the_newest_version_where_settings_say_so(
    tmp_path: Path, authority: Authority
) -> None:
    more = {
        "OCS_HTTP__TLS__CA": str(authority.certificate),
        "OCS_HTTP__TLS__REQUIRE_CLIENT_CERTIFICATE": "true",
        "OCS_HTTP__TLS__MINIMUM": "1.3",
    }
    stranger = Authority(tmp_path / "strangers", "another authority")
    with RealOcs(tmp_path, **tls_settings(authority, **more)) as server:
        address = f"https://127.0.0.1:{server.http_port}/health/live"
        assert httpx.get(address, verify=trusting(authority, "till"), timeout=20).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(address, verify=trusting(authority), timeout=20)
        old = trusting(authority, "till")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(httpx.HTTPError):
            httpx.get(address, verify=old, timeout=20)
        wrong = trusting(authority)
        pair = stranger.pair("till")
        wrong.load_cert_chain(pair.certificate, pair.key)
        with pytest.raises(httpx.HTTPError):
            httpx.get(address, verify=wrong, timeout=20)
        assert server.troubles() == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"OCS_HTTP__HOST": "0.0.0.0"}, "http.tls.certificate"),
        ({"OCS_HTTP__HOST": "0.0.0.0", "OCS_HTTP__PLAIN": "true", "OCS_HTTP__AUTH": "off"}, "auth is off"),
        ({"OCS_HTTP__TLS__CERTIFICATE": "nowhere.pem", "OCS_HTTP__TLS__KEY": "nowhere.key"}, "http.tls"),
        ({"OCS_HTTP__TLS__CERTIFICATE": "nowhere.pem"}, "set both"),
        ({"OCS_HTTP__TLS__CA": "nowhere.pem"}, "set certificate and key"),
    ],
)
def test_what_would_be_open_to_all_does_not_start(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocs", "serve", "--data-dir", str(tmp_path / "data")],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def door_of(server: RealOcs) -> int:
    """The process that has connections accepted on the port of HTTP, found as the kernel shows it."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(1)
        ours = connection.getsockname()[1]
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port, other = f":{server.http_port:04X}", f":{ours:04X}"
        (inode,) = (row[9] for row in rows if row[1].endswith(port) and row[2].endswith(other))
        for child in children:
            for file in Path(f"/proc/{child}/fd").iterdir():
                if file.is_symlink() and str(file.readlink()) == f"socket:[{inode}]":
                    return int(child)
    raise AssertionError(children)


def test_a_kill_loses_no_change_that_was_answered(tmp_path: Path) -> None:
    """Keys are made in a stream, and the door is killed: each that was answered is on the log, and each that is in the store has its intent."""
    with RealOcs(tmp_path, OCS_HTTP__RATE="0") as server:
        shown = server.ocs("keys", "create", "--role", "admin")
        killed = door_of(server)
        base = f"http://127.0.0.1:{server.http_port}"
        answered: list[str] = []

        async def stream(api: httpx.AsyncClient) -> None:
            while len(answered) < 300:  # a stream that was between two requests meets the next door
                try:
                    made = await api.post("/admin/v1/keys", json={"role": "care", "name": "many"})
                except httpx.HTTPError:
                    return
                assert made.status_code == 201, made.text
                answered.append(made.json()["id"])
                if len(answered) == 60:
                    os.kill(killed, signal.SIGKILL)

        async def all_streams() -> None:
            headers = {"Authorization": f"Bearer {shown['key']}"}
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=20) as api:
                await asyncio.gather(*(stream(api) for _ in range(8)))

        asyncio.run(all_streams())
        assert len(answered) >= 60
        told = server.ocs("audit-log")["changes"]
        changes = [each for each in told if each["client"] != "command line"]
        done = {each["resource"] for each in changes if each["status"] == 201}
        under_way = [each for each in changes if each["status"] is None]
        stored = {each["id"] for each in server.ocs("keys", "list")} - {shown["id"]}
        assert set(answered) <= done <= stored
        assert len(stored - done) <= len(under_way) <= 8
        assert all(each["action"] == "key.create" and each["client"] == shown["id"] for each in changes)
        lines = (server.folder / "audit").glob("*.jsonl")
        assert all(json.loads(line) for file in lines for line in file.read_text().splitlines())
