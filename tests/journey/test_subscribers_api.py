"""Subscribers over HTTP as an operator has them: a served server, a key from the command line, a gateway whose session goes on."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.house.source import ROOT
from tests.real_ocs import RealOcs
from tests.serving import Client

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

NUMBER, OTHER = "491700000001", "491700000002"
SCOPES = ("subscribers:read", "subscribers:write", "balance:read", "adjust:write", "topup:write")
RE_AUTH, ABORT = 258, 274


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealOcs]:
    with RealOcs(tmp_path) as server:
        yield server
        assert server.troubles() == []


def desk_of(served: RealOcs) -> httpx.Client:
    key = served.ocs(
        "keys", "create", "--name", "desk", *(word for each in SCOPES for word in ("--scope", each))
    )
    url = f"http://127.0.0.1:{served.http_port}/subscribers/v1"
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key['key']}"}, timeout=20)


def test_an_operator_administers_a_subscriber_whose_session_goes_on(served: RealOcs) -> None:
    with desk_of(served) as desk, Client(served.connect()) as client:
        client.exchange("pgw.example.net")
        made = desk.post(
            "/subscribers", json={"msisdn": NUMBER, "tariff": "flat-data", "credit": "20.00"}
        ).json()
        assert served.ocs("subscriber", "show", NUMBER).items() <= made.items()
        assert client.ask(1, 0).avps["Result-Code"] == 2001

        changed = desk.patch(f"/subscribers/{NUMBER}", json={"msisdn": OTHER, "imsi": "262010000000001"})
        assert changed.status_code == 200, changed.text
        told = client.answered()
        assert told.command == RE_AUTH, "its open session is told"
        assert client.ask(2, 1).avps["Result-Code"] == 2001
        (session,) = served.ocs("sessions", "--msisdn", OTHER)
        assert session["account"] == made["account"]
        assert desk.get(f"/subscribers/{made['id']}/balance").json() == served.ocs("balance", OTHER)

        bought = desk.post(f"/subscribers/{OTHER}/products", json={"product": "smart-s", "id": "order-4711"})
        assert bought.status_code == 201, bought.text
        assert desk.get(f"/subscribers/{OTHER}/products").json() == served.ocs("product", "held", OTHER)

        barred = desk.patch(
            f"/subscribers/{OTHER}", json={"status": "barred", "credit_floor": "-5.00"}
        ).json()
        assert (barred["status"], barred["credit_floor"]) == ("barred", "-5.00")
        listed = desk.get("/subscribers").json()
        assert [each["id"] for each in listed["subscribers"]] == [made["id"]]
        assert desk.delete(f"/subscribers/{OTHER}").json()["status"] == "terminated"
        log = served.log.read_text(encoding="utf-8")
        assert not re.search(f"{NUMBER}|{OTHER}|262010000000001", log)
    assert served.ocs("audit")["clean"] is True


def test_an_operator_ends_a_subscriber_with_a_refund_while_a_gateway_has_a_session(served: RealOcs) -> None:
    made = served.ocs("subscriber", "create", NUMBER, "--tariff", "flat-data", "--credit", "20.00")
    with desk_of(served) as desk, Client(served.connect()) as client:
        client.exchange("pgw.example.net")
        assert client.ask(1, 0).avps["Result-Code"] == 2001
        held = served.ocs("balance", NUMBER)["reserved"]
        assert held != "0.00"
        ended = served.ocs("subscriber", "terminate", NUMBER, "--refund", "--id", "end-1")
        assert (ended["status"], ended["refunded"], ended["reserved"]) == ("terminated", "20.00", "0.00")
        assert client.answered().command == ABORT, "its client is told"
        assert desk.delete(f"/subscribers/{made['account']}", params={"refund": "true"}).status_code == 409
    assert served.ocs("audit")["clean"] is True


def test_the_examples_of_the_page_work_when_pasted(served: RealOcs, tmp_path: Path) -> None:
    """Every `curl` of the section, in its order, against a server."""
    page = (ROOT / "ocs" / "http" / "API.md").read_text(encoding="utf-8")
    section = page.partition("## Subscribers")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    key = served.ocs(
        "keys", "create", "--name", "page", *(word for each in SCOPES for word in ("--scope", each))
    )
    assert len(blocks) > 5
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            env={
                "PATH": os.environ["PATH"],
                "OCS": f"http://127.0.0.1:{served.http_port}",
                "KEY": key["key"],
            },
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=60,
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
