"""Emergency credit, a recurring top-up and an automatic one as people have them: a served server, a collector of a channel, keys of the command line."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from ocs.http.prepay.buckets import BASE
from ocs.notices.signature import sign
from tests.real_ocs import RealOcs
from tests.serving import Client

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

MSISDN, OTHER = "491700000001", "491700000002"
SECRET = "whsec_" + base64.b64encode(b"a secret of the bank").decode()


class Bank:
    """Answers as a collector does, the first time of each id with what ``first`` says."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.signed: list[bool] = []
        self.first: list[int] = []
        self.port = 0

    def answer(self, head: Any, body: bytes) -> tuple[int, bytes]:
        said = json.loads(body)
        self.posted.append(said)
        mark = sign(SECRET, head["webhook-id"], int(head["webhook-timestamp"]), body)
        self.signed.append(mark == head["webhook-signature"])
        status = self.first.pop(0) if self.first else 200
        return status, json.dumps({"id": said["id"], "paid": True}).encode()


@contextmanager
def bank() -> Iterator[Bank]:
    found = Bank()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, content = found.answer(self.headers, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(folder: Path, port: int) -> Iterator[RealOcs]:
    config = folder / "orders.toml"
    config.write_text(
        f"""
[actions]
emergency_amount = "3.00"
emergency_fee = "0.50"
emergency_below = "1.00"
[events]
callback_networks = ["127.0.0.0/8"]
[topup_orders]
below = "14.98"
retry_s = [1, 1]
[topup_orders.channels.till]
collect = "trusted"
[topup_orders.channels.bank]
collect = "webhook"
url = "http://127.0.0.1:{port}/collect"
secret = "{SECRET}"
""",
        encoding="utf-8",
    )
    with RealOcs(folder, "--config", str(config)) as server:
        yield server
        assert server.ocs("audit")["clean"] is True
        assert server.troubles() == []


def api_of(server: RealOcs, channel: str) -> httpx.Client:
    key = server.ocs("keys", "create", "--name", channel, "--role", "admin", "--channel", channel)["key"]
    url = f"http://127.0.0.1:{server.http_port}"
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)


def order(name: str, **more: Any) -> dict[str, Any]:
    body = {"id": name, "amount": {"amount": 15, "units": "EUR"}, "usageType": "monetary"}
    return body | {"logicalResource": [{"id": MSISDN}]} | more


def until(server: RealOcs, balance: str) -> None:
    for _ in range(300):
        if server.balance(MSISDN)[0] == balance:
            return
        time.sleep(0.1)
    raise AssertionError(server.balance(MSISDN))


def test_orders_are_paid_and_credited_and_emergency_credit_is_repaid(tmp_path: Path) -> None:
    with bank() as collector, serving(tmp_path, collector.port) as server:
        made = server.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", "0.50")
        with api_of(server, "till") as till, api_of(server, "bank") as app:
            lent = till.post(f"/subscribers/v1/subscribers/{MSISDN}/emergency-credit", json={"id": "help-1"})
            assert (lent.status_code, lent.json()["owed"]) == (201, "3.50")
            assert server.ocs("balance", MSISDN)["owed"] == "3.50"

            said = till.post(f"{BASE}/topupBalance", json=order("rent", recurringPeriod="monthly"))
            assert (said.status_code, said.json()["status"]) == (201, "created")
            until(server, "15.00")
            assert "owed" not in server.ocs("balance", MSISDN)
            (listed,) = till.get(f"/subscribers/v1/subscribers/{MSISDN}/top-up-orders").json()
            assert (listed["id"], listed["done"], listed["state"]) == ("till:rent", 1, "active")

            collector.first = [503]
            said = app.post(f"{BASE}/topupBalance", json=order("auto", isAutoTopup=True))
            assert said.status_code == 201, said.text
            assert collector.posted == []
            with Client(server.connect()) as client:
                client.exchange("pgw.example.net")
                assert client.ask(1, 0).avps["Result-Code"] == 2001  # what it holds is not available
                until(server, "30.00")
            first, again = collector.posted[:2]
            assert first == again, "it is asked again under the same id"
            assert (first["id"], first["account"], first["channel"]) == ("auto@1", made["account"], "bank")
            assert first["amount"] == {"unit": "EUR", "value": "15.00"}
            assert all(collector.signed)
            shown = app.get(f"{BASE}/topupBalance/auto@1").json()
            assert (shown["status"], shown["isAutoTopup"]) == ("completed", True)
            assert app.delete(f"{BASE}/topupBalance/auto").status_code == 204

            collector.first = [503] * 3
            assert (
                app.post(f"{BASE}/topupBalance", json=order("card", recurringPeriod="weekly")).status_code
                == 201
            )
            for _ in range(300):
                if app.get(f"{BASE}/topupBalance/card").json()["status"] == "failed":
                    break
                time.sleep(0.1)
            stuck = server.ocs("subscriber", "orders", MSISDN)[0]
            assert (stuck["id"], stuck["state"], stuck["why"]) == ("bank:card", "suspended", "answered 503")
            before = float(server.balance(MSISDN)[0])
            resume = "--resume", "bank:card", "--config", str(tmp_path / "orders.toml")
            assert server.ocs("subscriber", "orders", MSISDN, *resume)["state"] == "active"
            until(server, f"{before + 15:.2f}")  # it was not known whether it was paid
            assert server.ocs("subscriber", "orders", MSISDN, "--end", "bank:card")["state"] == "cancelled"
