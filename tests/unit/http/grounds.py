"""The ground of the HTTP API on a real store, without a socket: keys, tokens, rates, the audit log, and one route that changes things."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ocs.http import admin, oauth
from ocs.http.access import Access, Caller, Doorkeeper
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog, Change
from ocs.http.keys import ApiKey, ApiKeys
from ocs.http.tokens import Tokens
from ocs.notices.subscriptions import Subscriptions
from tests.real_valkey import RealValkey
from tests.unit.balance.books import Network, network

DAY = "2026-11-28"
NOW_MS = 1_795_824_000_000  # 2026-11-28T00:00:00Z
STRANGER = ("192.0.2.1", 1000)


class Hands:
    """A clock that is set by hand; both of its times go on together."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_ms(self) -> int:
        return self.at_ms - NOW_MS


class Wanted(BaseModel):
    """A body with all kinds of numbers."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    amount: Annotated[Decimal, Field(gt=0, max_digits=16, decimal_places=6)]
    count: int = 0
    what: str = ""


class Ground:
    """The API with `POST /things` (topup:write), which tells what it is about to do, `PUT /things` (adjust:write), which does not, and
    `GET /things` (balance:read).
    """

    def __init__(
        self, net: Network, folder: Path, *, closed: bool = True, rate: int = 0, burst: int = 1
    ) -> None:
        self.net, self.clock = net, Hands()
        self.folder = folder / "audit"
        self.told: list[str] = []
        self.made: list[Decimal] = []
        self.keys = ApiKeys(net.charged.store)
        self.tokens = Tokens(net.charged.store, self.keys, 900)
        self.audit = AuditLog(self.folder, self.told.append)
        door = Doorkeeper(self.clock, rate, burst)
        self.access = Access(self.keys if closed else None, tokens=self.tokens, door=door, audit=self.audit)
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[
                oauth.router(self.keys, self.tokens, door, self.audit),
                admin.router(self.keys, self.access, self.audit, Subscriptions(net.charged.store)),
                self._things(),
            ],
            hosts=None if closed else {"localhost", "::1"},
        )

    def _things(self) -> APIRouter:
        routes = APIRouter(prefix="/things")

        @routes.post("", status_code=201)
        async def make(wanted: Wanted, change: Change = self.access.change("topup:write")) -> dict[str, str]:  # noqa: B008
            await change.begins(
                "thing.make", resource=wanted.what, account="a-1", before={"balance": Decimal(1)}
            )
            self.made.append(wanted.amount)
            change.made(after={"balance": wanted.amount})
            return {"amount": str(wanted.amount)}

        @routes.put("/{what}")
        async def adjust(what: str, caller: Caller = self.access.route("adjust:write")) -> dict[str, str]:  # noqa: B008
            if what == "broken":
                raise RuntimeError(what)
            self.made.append(Decimal(len(what)))
            return {"caller": caller.id, "channel": caller.channel}

        @routes.get("")
        async def see(caller: Caller = self.access.route("balance:read")) -> dict[str, Any]:  # noqa: B008
            return {"caller": caller.id, "channel": caller.channel, "scopes": sorted(caller.scopes)}

        return routes

    def key(self, *scopes: str, **more: Any) -> tuple[ApiKey, str]:
        """Make a key."""
        made: tuple[ApiKey, str] = self.net.run(
            self.keys.create("", frozenset(scopes), self.clock.now_ms(), **more)
        )
        return made

    async def ask(
        self, method: str, path: str, shown: str | None, address: tuple[str, int], **rest: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {shown}"} if shown is not None else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=address)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers | rest.pop("headers", {}), **rest)

    def __call__(
        self,
        method: str,
        path: str,
        shown: str | None = None,
        address: tuple[str, int] = STRANGER,
        **rest: Any,
    ) -> httpx.Response:
        answer: httpx.Response = self.net.run(self.ask(method, path, shown, address, **rest))
        return answer

    def token(self, shown: str, **more: str) -> httpx.Response:
        """Ask for a token with a key's credentials in the body."""
        _, client_id, secret = shown.split("_", 2)
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return self("POST", "/oauth/token", data=form | more)

    def at_once(self, *asked: Any) -> list[httpx.Response]:
        """Ask several things at once."""

        async def all_of() -> list[httpx.Response]:
            return list(await asyncio.gather(*asked))

        answers: list[httpx.Response] = self.net.run(all_of())
        return answers

    def lines(self, day: str = DAY) -> list[dict[str, Any]]:
        """What stands in a day's file of the audit log."""
        path = self.folder / f"{day}.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def ground(valkey: RealValkey, folder: Path, **more: Any) -> Iterator[Ground]:
    with network(valkey) as net:
        yield Ground(net, folder, **more)


def is_problem(answer: httpx.Response, status: int) -> str:
    """The detail of a problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    return str(content["detail"])
