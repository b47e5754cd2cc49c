"""Vouchers over HTTP: the application itself on a real store, without a socket."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocs.balance.voucher_batches import BatchState
from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog
from ocs.http.keys import ApiKeys
from ocs.http.vouchers import Keepers, router
from tests.audit_lines import attempts
from tests.real_valkey import RealValkey
from tests.voucher_scene import VoucherRoom, voucher_room

MSISDN, OTHER = "491700000001", "491700000002"
READ, WRITE, TOPUP = "vouchers:read", "vouchers:write", "topup:write"
BATCH = {"value": "10.00", "size": 3, "valid_until": "2040-01-01T00:00:00Z"}
NEVER_MADE = "0000111122223333"
UNKNOWN = 404


class Api:
    """The API on a store, called with a key of its own for each scope."""

    def __init__(self, at: VoucherRoom, shown: dict[str, str], folder: Path) -> None:
        self.at = at
        self.audit = folder
        self._shown = shown
        keepers = Keepers(at.at.parts, at.batches, at.vouchers, at.at.accounts.find, 16, "EUR", None)
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[router(keepers, Access(ApiKeys(at.at.store), audit=AuditLog(folder)))],
        )

    @property
    def written(self) -> str:
        """Every line of the audit log."""
        return "".join(each.read_text() for each in self.audit.glob("*"))

    async def __call__(
        self, method: str, path: str, json: Any = None, key: str = WRITE, **headers: str
    ) -> httpx.Response:
        shown = {"Authorization": f"Bearer {self._shown[key]}"} | headers
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ocs/vouchers/v1") as client:
            return await client.request(method, path, headers=shown, json=json)

    async def redeem(self, code: str, name: str = "r1", msisdn: str = MSISDN) -> httpx.Response:
        return await self("POST", "/redemptions", {"msisdn": msisdn, "code": code, "id": name}, TOPUP)

    async def active(self) -> list[str]:
        """The codes of a batch that was made and activated."""
        made = await self("POST", "/batches", BATCH)
        assert made.status_code == 201
        told = await self("PATCH", made.headers["location"].removeprefix("/vouchers/v1"), {"state": "active"})
        assert told.json()["state"] == "active"
        return [each["code"] for each in csv.DictReader(io.StringIO(made.text))]


def played(valkey: RealValkey, play: Callable[[Api], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with voucher_room(valkey.url) as at:
            keys = ApiKeys(at.at.store)
            shown = {
                scope: (await keys.create(scope, frozenset({scope}), 1))[1] for scope in (READ, WRITE, TOPUP)
            }
            await at.subscriber(MSISDN)
            with tempfile.TemporaryDirectory() as folder:
                await play(Api(at, shown, Path(folder)))
            assert await at.wrong() == []

    asyncio.run(whole())


def test_a_batch_is_made_activated_redeemed_and_looked_at_and_no_line_has_a_code_or_a_number(
    valkey: RealValkey,
) -> None:
    async def play(api: Api) -> None:
        made = await api("POST", "/batches", BATCH | {"description": "kiosks"})
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        rows = list(csv.DictReader(io.StringIO(made.text)))
        assert [row["serial"] for row in rows] == ["000001-0000001", "000001-0000002", "000001-0000003"]
        assert {(row["value"], row["currency"], row["valid_until"]) for row in rows} == {
            ("10.00", "EUR", "2040-01-01T00:00:00Z")
        }
        code = rows[0]["code"]
        assert (await api.redeem(code)).status_code == UNKNOWN  # not active yet
        assert (await api("PATCH", "/batches/1", {"state": "active"})).status_code == 200

        done = await api.redeem(code)
        assert (done.status_code, done.json()["serial"], done.json()["balance"]) == (
            201,
            "000001-0000001",
            "10.00",
        )
        assert (await api.redeem(code)).json() == done.json()
        used = await api.redeem(code, "r2")
        assert (used.status_code, used.json()["reason"]) == (409, "used")
        assert "r1" not in used.text

        batch = (await api("GET", "/batches/1", key=READ)).json()
        assert (batch["state"], batch["vouchers"]) == (
            "active",
            {"free": 2, "claimed": 0, "used": 1, "blocked": 0},
        )
        one = (await api("GET", "/vouchers/000001-0000001", key=READ)).json()
        assert (one["state"], one["topup_id"]) == ("used", "r1")
        assert (await api("PATCH", "/vouchers/000001-0000001", {"state": "blocked"})).status_code == 409
        assert (await api("PATCH", "/vouchers/000001-0000002", {"state": "blocked"})).json()[
            "state"
        ] == "blocked"
        assert (await api.redeem(rows[1]["code"], "r3")).json()["reason"] == "blocked"
        extended = await api("PATCH", "/batches/1", {"valid_until": "2041-01-01T00:00:00Z"})
        assert extended.json()["valid_until"] == "2041-01-01T00:00:00Z"
        assert (await api("PATCH", "/batches/1", {"valid_until": "2030-01-01T00:00:00Z"})).status_code == 409
        (listed,) = (await api("GET", "/batches", key=READ)).json()["batches"]
        assert listed["description"] == "kiosks"
        written = api.written
        assert not any(secret in written for secret in (MSISDN, *(row["code"] for row in rows)))
        seen = [each.ended for each in attempts(api.audit)]
        assert [(each["action"], each["status"]) for each in seen] == [
            ("voucher_batch.create", 201), ("voucher.redeem", 404), ("voucher_batch.change", 200), ("voucher.redeem", 201),
            ("voucher.redeem", 201), ("voucher.redeem", 409), ("voucher.change", 409), ("voucher.change", 200),
            ("voucher.redeem", 409), ("voucher_batch.change", 200), ("voucher_batch.change", 409),
        ]  # fmt: skip
        assert (seen[0]["resource"], seen[0]["after"]["state"]) == ("1", "created")
        assert (seen[2]["before"]["state"], seen[2]["after"]["state"]) == ("created", "active")
        assert seen[3]["before"] == {"balance": "0.00"}
        assert (seen[3]["after"]["balance"], seen[3]["after"]["serial"]) == ("10.00", "000001-0000001")
        assert [each["after"]["outcome"] for each in seen[1:6] if "outcome" in each["after"]] == [
            "unknown",
            "none",
            "none",
            "used",
        ]
        assert (seen[7]["before"], seen[7]["after"]) == ({"state": "free"}, {"state": "blocked"})

    played(valkey, play)


def test_wrong_codes_lock_and_a_right_one_is_told_until_when(valkey: RealValkey) -> None:
    async def play(api: Api) -> None:
        code, *_ = await api.active()
        told = [(await api.redeem(NEVER_MADE)) for _ in range(3)]
        assert [each.status_code for each in told] == [404, 404, 404]
        assert ["locked_until" in each.json() for each in told] == [False, False, True]
        locked = await api.redeem(code)
        assert (locked.status_code, locked.json()["reason"]) == (429, "locked")
        assert 1_700 < int(locked.headers["retry-after"]) <= 1_800

    played(valkey, play)


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"code": NEVER_MADE}, 422),
        ({"msisdn": MSISDN}, 422),
        ({"msisdn": MSISDN, "code": 1234567890123456}, 422),
        ({"msisdn": MSISDN, "code": "12345678901x"}, 422),
        ({"msisdn": MSISDN, "code": ""}, 422),
        ({"msisdn": MSISDN, "code": "1" * 65}, 422),
        ({"msisdn": "nobody", "code": NEVER_MADE}, 422),
        ({"msisdn": OTHER, "code": NEVER_MADE}, 404),
        ({"msisdn": MSISDN, "code": NEVER_MADE, "id": "a b"}, 422),
        ({"msisdn": MSISDN, "code": NEVER_MADE, "id": "a:b"}, 422),
        ({"msisdn": MSISDN, "code": NEVER_MADE, "id": "a/b"}, 422),
        ({"msisdn": MSISDN, "code": NEVER_MADE, "id": "a" * 65}, 422),
        ({"msisdn": MSISDN, "code": NEVER_MADE, "amount": "10.00"}, 422),
        ({"msisdn": MSISDN, "code": NEVER_MADE, "id": "other"}, 400),
        ([], 422),
        ("text", 422),
    ],
)
def test_a_redemption_that_cannot_be_moves_nothing_and_shows_no_code(
    valkey: RealValkey, wanted: Any, status: int
) -> None:
    async def play(api: Api) -> None:
        header = {"Idempotency-Key": "this"} if wanted and "id" in wanted and wanted["id"] == "other" else {}
        told = await api("POST", "/redemptions", wanted, TOPUP, **header)
        assert told.status_code == status, told.text
        assert told.headers["content-type"] == "application/problem+json"
        code = wanted.get("code", "") if isinstance(wanted, dict) else ""
        assert not code or str(code) not in told.text + api.written

    played(valkey, play)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "0"},
        {"value": "0.00"},
        {"value": "-1.00"},
        {"value": "1.0000001"},
        {"value": "1e3"},
        {"value": "NaN"},
        {"value": 10},
        {"value": "9999999999.00"},
        {"size": 0},
        {"size": 1_000_001},
        {"size": "3"},
        {"size": 1.5},
        {"valid_until": "2020-01-01T00:00:00Z"},
        {"valid_until": "2040-01-01T00:00:00"},
        {"valid_until": "2090-01-01T00:00:00Z"},
        {"valid_from": "2040-01-01T00:00:00Z"},
        {"valid_from": "0001-01-01T00:00:00+12:00"},
        {"valid_until": 1_893_456_000},
        {"currency": "euro"},
        {"description": "x" * 201},
        {"description": "a\nb"},
        {"codes": ["1234567890123456"]},
    ],
    ids=str,
)
def test_a_batch_that_cannot_be_is_refused_and_none_is_made(
    valkey: RealValkey, change: dict[str, Any]
) -> None:
    async def play(api: Api) -> None:
        told = await api("POST", "/batches", BATCH | change)
        assert (told.status_code, told.headers["content-type"]) == (422, "application/problem+json"), (
            told.text
        )
        assert (await api("GET", "/batches", key=READ)).json() == {"batches": [], "next": None}

    played(valkey, play)


def test_what_is_not_there_or_not_allowed_is_said(valkey: RealValkey) -> None:
    async def play(api: Api) -> None:
        await api.active()
        for method, path, body, status in (
            ("GET", "/batches/9", None, 404),
            ("GET", "/vouchers/000009-0000001", None, 404),
            ("GET", "/vouchers/nonsense", None, 404),
        ):
            assert (await api(method, path, body, READ)).status_code == status
        for wrong in ({}, {"state": "made"}, {"state": "active", "x": 1}):
            assert (await api("PATCH", "/batches/1", wrong)).status_code == 422
        assert (await api("PATCH", "/batches/9", {"state": "active"})).status_code == 404
        await api("PATCH", "/batches/1", {"state": "cancelled"})
        assert (await api("PATCH", "/batches/1", {"state": "active"})).status_code == 409
        assert (await api("POST", "/batches", BATCH, READ)).status_code == 403
        assert (await api("GET", "/batches", key=TOPUP)).status_code == 403
        wanted = {"msisdn": MSISDN, "code": NEVER_MADE}
        assert (await api("POST", "/redemptions", wanted, WRITE)).status_code == 403

    played(valkey, play)


def test_an_export_that_breaks_off_leaves_a_batch_that_is_void(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.balance.voucher_batches.VOUCHER_CHUNK", 2)

    async def play(api: Api) -> None:
        calls = 0

        async def receive() -> Any:
            return {"type": "http.disconnect"} if calls > 1 else {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > 1 and message.get("body"):
                raise OSError("the client has gone")

        body = b'{"value": "10.00", "size": 5, "valid_until": "2040-01-01T00:00:00Z"}'
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST",
            "path": "/vouchers/v1/batches", "raw_path": b"", "query_string": b"", "scheme": "http", "server": ("ocs", 80),
            "headers": [
                (b"authorization", f"Bearer {api._shown[WRITE]}".encode()), (b"content-type", b"application/json"),
            ],
        }  # fmt: skip
        with pytest.raises(Exception):  # noqa: B017 - whatever the framework makes of it
            await api.app(scope, receive, send)
        batch = await api.at.batches.find(1)
        while not batch.removed:
            await asyncio.sleep(0.01)
            batch = await api.at.batches.find(1)
        assert (batch.state, batch.removed) == (BatchState.CANCELLED, True)
        keys = await api.at.at.store.execute(0, "KEYS", "*:voucher:*")
        assert keys == [], "nobody was ever to have one"

    played(valkey, play)
