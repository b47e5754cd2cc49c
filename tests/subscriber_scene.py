"""The operators' API on a real store with products, called without a socket, with a key of its own for each scope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from ocs.balance.lending import LendingTerms
from ocs.balance.topup_orders import Orders
from ocs.http import services, subscriber_money, subscribers
from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog
from ocs.http.keys import ApiKeys
from ocs.http.order_desk import OrderDesk
from ocs.http.subscriber_desk import Desk
from ocs.sessions.closing import Closing
from ocs.sessions.reauthorise import Reauthorisation
from ocs.sessions.sweep import Sweeper
from tests.audit_lines import begun
from tests.charged_store import StoreRoom
from tests.unit.balance.holdings_world import Scene

ADJUST, LEND = "adjust:write", "topup:write"
READ, WRITE, BALANCE = "subscribers:read", "subscribers:write", "balance:read"
TERMS = LendingTerms(3_000_000, 500_000, 1_000_000)
"""3.00 is lent for 0.50 where less than 1.00 is available."""
FIRST = "491700000001"
"""Number of the subscriber that is there from the beginning, with 100.00."""


class Operators:
    """The API; a call is `api("GET", "/subscribers")`, below the base of /subscribers/v1 unless it begins with /tmf-api."""

    def __init__(self, room: StoreRoom, folder: Path) -> None:
        self.room = room
        self.scene: Scene = room.run(Scene.made(room))
        charged = self.scene.charged
        self.audit = folder / "audit"
        self.looks = 0
        self.channels = {"till"}
        """Channels that may have orders."""
        anew = Reauthorisation(charged.parts)
        tariffs: Any = charged.book.tariffs
        desk = Desk(
            charged.parts, charged.accounts, self.scene.holdings, charged.clock, tariffs, self._look, "EUR",
            Closing(charged.parts, charged.accounts, Sweeper(charged.parts, charged.accounts, charged.clock, 300_000), anew),
        )  # fmt: skip
        keys = ApiKeys(charged.store)
        standing = Orders(charged.parts, self.scene.holdings.now_ms)
        self.orders = OrderDesk(standing, self.channels, 2_000_000)
        access = Access(keys, audit=AuditLog(self.audit))
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[
                subscribers.router(desk, access),
                services.router(desk, access),
                subscriber_money.router(desk, charged.accounts.actions, TERMS, access, self.orders),
            ],
        )
        scopes = {each: frozenset({each}) for each in (READ, WRITE, BALANCE, LEND)}
        scopes[ADJUST] = frozenset({WRITE, ADJUST})
        self.shown = {name: room.run(keys.create("test", each, 1))[1] for name, each in scopes.items()}

    def channel(self, name: str) -> str:
        """The channel of a key: its id."""
        return str(self.shown[name]).split("_")[1]

    async def _look(self) -> None:
        self.looks += 1

    @property
    def begun(self) -> list[str]:
        """What was begun to be changed, as the audit log has it."""
        return begun(self.audit)

    def __call__(self, method: str, path: str, key: str | None = "", **rest: Any) -> httpx.Response:
        usual = (
            LEND
            if path.endswith("/emergency-credit")
            else BALANCE
            if path.endswith("/balance")
            else READ
            if method == "GET"
            else WRITE
        )
        headers = dict(rest.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self.shown[key or usual]}"
        whole = path if path.startswith("/tmf-api") else f"{subscribers.BASE}{path}"

        async def ask() -> httpx.Response:
            self.scene.charged.clock.keep_up()
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://ocs") as client:
                return await client.request(method, whole, headers=headers, **rest)

        answer: httpx.Response = self.room.run(ask())
        return answer

    def create(self, **fields: Any) -> httpx.Response:
        return self("POST", "/subscribers", json={"msisdn": "491700000002", "tariff": "t"} | fields)

    def show(self, name: str = FIRST) -> dict[str, Any]:
        answer = self("GET", f"/subscribers/{name}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def change(self, name: str = FIRST, **fields: Any) -> httpx.Response:
        return self("PATCH", f"/subscribers/{name}", json=fields)

    def clean(self) -> None:
        self.room.run(self.scene.clean())


def is_problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])
