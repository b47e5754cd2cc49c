"""Sessions over HTTP as their user has them: a served server, a key from the command line, and a network element that is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.real_ocs import RealOcs
from tests.serving import Client

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

MSISDN = "491700000001"
ABORT_SESSION = 274


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealOcs]:
    with RealOcs(tmp_path) as server:
        server.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", "1.00")
        yield server
        assert server.troubles() == []


def test_whoever_has_a_key_sees_a_session_and_ends_it(served: RealOcs) -> None:
    made = served.ocs(
        "keys", "create", "--scope", "sessions:read", "--scope", "sessions:write", "--name", "desk"
    )
    (listed,) = served.ocs("keys", "list")
    assert (listed["id"], listed["name"], listed["revoked"]) == (made["id"], "desk", None)
    base = f"http://127.0.0.1:{served.http_port}/charging/v1"
    with (
        Client(served.connect()) as client,
        httpx.Client(base_url=base, headers={"Authorization": f"Bearer {made['key']}"}, timeout=20) as desk,
    ):
        client.exchange("pgw.example.net")
        assert client.ask(1, 0).avps["Result-Code"] == 2001

        assert httpx.get(f"{base}/sessions").status_code == 401
        (seen,) = desk.get("/sessions", params={"msisdn": MSISDN}).json()["sessions"]
        assert seen == served.ocs("sessions")[0]
        ended = desk.delete(f"/sessions/{seen['session_id']}")

        assert ended.json() == {
            "session_id": seen["session_id"],
            "account": seen["account"],
            "released": "0.10",
            "client_told": True,
        }
        told = client.answered()
        assert (told.command, told.avps["Session-Id"]) == (ABORT_SESSION, seen["session_id"])
        assert served.balance(MSISDN) == ("1.00", "0.00")
        assert desk.get(f"/sessions/{seen['session_id']}").status_code == 404
        served.ocs("keys", "revoke", made["id"])
        assert desk.get("/sessions").status_code == 401
    (change,) = (
        each
        for each in served.ocs("audit-log")["changes"]
        if each["action"] == "session.end" and each["status"] == 200
    )
    assert (change["client"], change["after"]["released"]) == (made["id"], "0.10")
    assert made["key"] not in served.log.read_text(encoding="utf-8")
    assert served.ocs("audit")["clean"] is True
