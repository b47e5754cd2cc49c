"""The API of customers on a real database, called without a socket; every answer below /tmf-api is held against its definition."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import Engine

from ocs.care.customers.http import Ground, routers
from ocs.care.customers.shapes import ANY_WORDS, Words
from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog
from ocs.http.keys import ApiKeys
from tests.charged_store import StoreRoom
from tests.contract.tmf_shapes import Definition

TODAY = date(2026, 3, 1)
NOW_MS = 1_772_323_200_000
"""2026-03-01T00:00:00Z"""
DEFINITIONS = [Definition.read(each) for each in ("TMF632", "TMF629", "TMF666")]
PARTY, CUSTOMER, ACCOUNT = (each.base_path for each in DEFINITIONS)
PERSONAL = ("Ada", "Klein", "ada@example.org", "491701", "DE89370400440532013000")


class Hands:
    """A clock that stands."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_ms(self) -> int:
        return NOW_MS


class CareApi:
    """The API; a call is `api("GET", "/customers/v1/services", 200)`, and gives what was answered."""

    def __init__(
        self,
        database: Engine,
        folder: Path,
        keys: ApiKeys | None = None,
        words: Words = ANY_WORDS,
        room: StoreRoom | None = None,
    ) -> None:
        self.audit = folder / "audit"
        self.today = TODAY
        self.answer = httpx.Response(100)
        access = Access(keys, audit=AuditLog(self.audit))
        self.ground = ground = Ground(database, access, Hands(), lambda: self.today, words)
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[build(ground) for build in routers],
        )
        self._runner = asyncio.Runner()
        self._room = room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self._runner.close()

    def run(self, what: Any) -> Any:
        """Run something on the loop that requests are answered on."""
        return self._runner.run(what) if self._room is None else self._room.run(what)

    async def _asked(self, method: str, path: str, **rest: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **rest)

    def __call__(
        self,
        method: str,
        path: str,
        status: int,
        json: Any = None,
        own_id: str = "",
        key: str = "",
        *,
        lax: bool = False,
    ) -> Any:
        """Ask; ``lax``: the body is wrong on purpose."""
        headers = ({"Idempotency-Key": own_id} if own_id else {}) | (
            {"Authorization": f"Bearer {key}"} if key else {}
        )
        self.answer = self.run(self._asked(method, path, json=json, headers=headers))
        assert self.answer.status_code == status, self.answer.text
        content: Any = self.answer.json() if self.answer.content else None
        for each in DEFINITIONS:
            if path.startswith(each.base_path):
                partial = "fields=" in path
                assert (
                    each.answer_faults(
                        method, path, status, content, dict(self.answer.headers), partial=partial
                    )
                    == []
                )
                if status < 300 and json is not None and not lax:
                    assert each.body_faults(method, path, json) == []
        if status >= 400:
            assert not any(each in self.answer.text for each in PERSONAL), "nothing personal"
        return content

    def lines(self) -> str:
        """The audit log."""
        return "".join(each.read_text() for each in sorted(self.audit.glob("*.jsonl")))

    def person(self, **more: Any) -> Any:
        """Create Ada."""
        return self("POST", f"{PARTY}/individual", 201, ADA | more)

    def company(self, name: str = "Klein AG", parent: str = "") -> Any:
        """Create a company, or a branch."""
        above = {"organizationParentRelationship": {"organization": {"id": parent}}} if parent else {}
        return self(
            "POST", f"{PARTY}/organization", 201, {"tradingName": name, "contactMedium": MAIL} | above
        )

    def customer(self, party: Any, kind: str = "consumer", name: str = "Ada Klein") -> Any:
        """Let a party be a customer."""
        body = {
            "name": name,
            "engagedParty": {"id": party["id"], "@referredType": "Individual"},
            "characteristic": [{"name": "kind", "value": kind}],
        }
        return self("POST", f"{CUSTOMER}/customer", 201, body)

    def account(self, customer: Any, **more: Any) -> Any:
        """Open a customer's account."""
        return self("POST", f"{ACCOUNT}/billingAccount", 201, account_of(customer) | more)


MAIL = [{"mediumType": "email", "characteristic": {"emailAddress": "ada@example.org"}}]
HOME = {
    "mediumType": "postalAddress",
    "characteristic": {
        "contactType": "main",
        "street1": "Hauptstraße 1",
        "postCode": "10115",
        "city": "Berlin",
        "country": "DE",
    },
}
ADA = {"givenName": "Ada", "familyName": "Klein", "contactMedium": [*MAIL, HOME]}


def account_of(customer: Any) -> dict[str, Any]:
    """The body of an account that is paid by the customer's own party."""
    return {
        "name": customer["name"],
        "relatedParty": [
            {"id": customer["id"], "name": customer["name"], "role": "customer", "@referredType": "Customer"}
        ],
    }
