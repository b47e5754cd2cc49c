"""Every route that changes something, of the application as it is served: each attempt, right or refused, is one change of the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import structlog
from fastapi.routing import APIRoute

from ocs.balance.tariffs import Told
from ocs.http.access import Asks, AsksChange
from ocs.http.app import Health, application
from ocs.http.audit_log import SAFE
from ocs.http.prepay import examples
from ocs.http.prepay.buckets import BASE as TMF654
from ocs.http.services import BASE as TMF640
from ocs.roof.api import ground_of, routers_of
from ocs.roof.build import Keepers, located, opened, read_settings, stored_tariffs
from ocs.roof.offers import catalogue_of, holdings_on
from ocs.roof.place import Place
from tests.audit_lines import Attempted, attempts

FIRST, SECOND, THIRD, CARD = "491700000001", "491700000002", "491700000003", "262010000000009"
HOOK = "http://127.0.0.1:9/hook?token=T0P"
Made = dict[str, Any]
"""What the answers before have said, by the route that gave them."""


class Right(NamedTuple):
    """A request that a route takes: what fills its path and query from answers before, and its body."""

    method: str
    template: str
    body: Any = None
    path: Callable[[Made], dict[str, str]] = lambda _made: {}
    query: Callable[[Made], dict[str, str]] = lambda _made: {}
    changes: bool = True
    """Whether something is changed, so that it is begun first."""
    refused: int = 0
    """The status of what a route refuses whoever asks, and however."""


def _new(number: str) -> dict[str, str]:
    return {"msisdn": number, "tariff": "flat-data", "credit": "100.00"}


def _tmf(kind: str, body: Any, change: Any, *, changes: bool = True) -> list[Right]:
    path, name = f"{TMF654}/{kind}Balance", f"w-{kind}"
    one = f"{path}/{{id}}"
    again = body | {"id": f"{name}-2"}
    return [
        Right("POST", path, body | {"id": name}),
        Right("PATCH", one, change, lambda _made: {"id": name}, changes=changes),
        Right("POST", path, again),
        Right("DELETE", one, None, lambda _made: {"id": f"{name}-2"}, refused=0 if changes else 409),
    ]  # fmt: skip


_OF = {"msisdn": FIRST}
_FIRST = {"subscriber": FIRST}
RIGHT = [
    Right("POST", "/subscribers/v1/subscribers", _new(FIRST)),
    Right("POST", "/subscribers/v1/subscribers", _new(SECOND)),
    Right("PATCH", "/subscribers/v1/subscribers/{subscriber}", {"imsi": CARD}, lambda _made: _FIRST),
    Right("POST", "/subscribers/v1/subscribers/{subscriber}/products", {"product": "smart-s"}, lambda _made: _FIRST),
    Right("DELETE", "/subscribers/v1/subscribers/{subscriber}/products/{number}", None,
          lambda made: _FIRST | {"number": str(made["POST /subscribers/v1/subscribers/{subscriber}/products"]["number"])}),
    Right("POST", f"{TMF640}/service", {
        "state": "inactive", "serviceSpecification": {"id": "charging"},
        "serviceCharacteristic": [{"name": "msisdn", "value": THIRD}, {"name": "tariff", "value": "flat-data"}],
    }),
    Right("PATCH", f"{TMF640}/service/{{id}}", {"state": "active"}, lambda made: {"id": made[f"POST {TMF640}/service"]["id"]}),
    Right("DELETE", f"{TMF640}/service/{{id}}", None, lambda made: {"id": made[f"POST {TMF640}/service"]["id"]}),
    *_tmf("topup", examples.TOPUP, examples.CANCEL),
    *_tmf("adjust", examples.ADJUST, examples.CANCEL),
    *_tmf("reserve", examples.RESERVE, examples.COMPLETE),
    *_tmf("transfer", examples.TRANSFER, examples.SAME_TRANSFER, changes=False),
    Right("POST", f"{TMF654}/bucket", examples.BUCKET),
    Right("POST", f"{TMF654}/hub", {"callback": HOOK}),
    Right("DELETE", f"{TMF654}/hub/{{id}}", None, lambda made: {"id": made[f"POST {TMF654}/hub"]["id"]}),
    Right("POST", "/events/v1/subscriptions", {"callback": HOOK}),
    *(Right(method, f"/events/v1/dead-letters{rest}", rest and {"subscription": "@"}, query=lambda made: {"subscription": made["POST /events/v1/subscriptions"]["id"]})
      for method, rest in (("POST", "/retry"), ("DELETE", ""))),
    Right("POST", "/events/v1/subscriptions/{subscription_id}/take-over", None, lambda made: {"subscription_id": made["POST /events/v1/subscriptions"]["id"]}),
    Right("DELETE", "/events/v1/subscriptions/{subscription_id}", None, lambda made: {"subscription_id": made["POST /events/v1/subscriptions"]["id"]}),
    Right("POST", "/vouchers/v1/batches", {"value": "10.00", "size": 2, "valid_until": "2040-01-01T00:00:00Z"}),
    Right("PATCH", "/vouchers/v1/batches/{batch_id}", {"state": "active"}, lambda _made: {"batch_id": "1"}),
    Right("PATCH", "/vouchers/v1/vouchers/{serial}", {"state": "blocked"}, lambda _made: {"serial": "000001-0000002"}),
    Right("POST", "/vouchers/v1/redemptions", {"msisdn": FIRST, "code": "@", "id": "v-1"}),
    Right("POST", "/charging/v1/reauthorisations", _OF),
    Right("POST", f"{TMF654}/reserveBalance", examples.RESERVE | {"id": "w-end"}),
    Right("DELETE", "/charging/v1/sessions/{session_id:path}", None, lambda made: {"session_id:path": made["session"]}),
    Right("DELETE", "/charging/v1/sessions", None, query=lambda _made: _OF),
    Right("POST", "/admin/v1/keys", {"role": "channel"}),
    Right("DELETE", "/admin/v1/keys/{key_id}", None, lambda made: {"key_id": made["POST /admin/v1/keys"]["id"]}),
    Right("POST", "/subscribers/v1/subscribers/{subscriber}/emergency-credit", {"id": "lend"}, lambda _made: _FIRST),
    Right("POST", f"{TMF654}/topupBalance", examples.TOPUP | {"id": "rent", "recurringPeriod": "monthly"}),
    *(Right(method, "/subscribers/v1/subscribers/{subscriber}/top-up-orders/{order}", body, lambda _made: _FIRST | {"order": "open:rent"})
      for method, body in (("PATCH", {"state": "active"}), ("DELETE", None))),
    Right("DELETE", "/subscribers/v1/subscribers/{subscriber}", None, lambda _made: _FIRST),
]  # fmt: skip


def asked_by(route: APIRoute) -> list[Asks]:
    """What a route asks of its callers."""
    return [each.call for each in route.dependant.dependencies if isinstance(each.call, Asks)]


class World:
    """The application on an embedded store, and a key for everything and for nothing."""

    def __init__(self, folder: Path) -> None:
        self.settings = read_settings(
            Place(data_dir=folder),
            {
                "events": {"callback_networks": ["127.0.0.0/8"]},
                "actions": {"emergency_amount": "1.00", "emergency_below": "1000.00"},
                "topup_orders": {"channels": {"open": {"collect": "trusted"}}},
            },
        )
        self.audit = self.settings.audit_folder
        self.seen: list[tuple[Right, httpx.Response, Attempted]] = []
        self.refused: dict[tuple[str, str, str], list[int]] = {}
        self.changing: list[tuple[str, APIRoute]] = []
        self.made: Made = {}
        self.strangers = 0

    async def play(self, keepers: Keepers) -> None:
        ground = ground_of(keepers, structlog.get_logger())
        tariffs = stored_tariffs(self.settings, keepers, _heard)
        await tariffs.look()
        holdings = holdings_on(keepers, tariffs, catalogue_of(self.settings))
        routers = routers_of(keepers, holdings, tariffs, structlog.get_logger(), ground)
        app = application(
            health=lambda: Health(True, {}, {}), read_metrics=list, version="1", routers=routers
        )
        self.changing = [
            (method, route)
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and asked_by(route)
            for method in (route.methods or set()) - SAFE
        ]
        now_ms = keepers.clock.now_ms()
        everything = (await ground.keys.create("", frozenset(), now_ms, role="admin", channel="open"))[1]
        nothing = (await ground.keys.create("", frozenset({"audit:read"}), now_ms))[1]
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ocs") as client:
            for each in RIGHT:
                await self._right(client, each, everything)
            for method, route in self.changing:
                shown = {"no scope": nothing, "unreadable": everything}
                for why, key in shown.items():
                    await self._wrong(client, method, route.path, why, key)
                # each from an address of its own: who shows too much that is wrong is refused unlooked-at
                self.strangers += 1
                afar = httpx.ASGITransport(app, client=(f"192.0.2.{self.strangers}", 1))
                async with httpx.AsyncClient(transport=afar, base_url="http://ocs") as stranger:
                    await self._wrong(stranger, method, route.path, "stranger", "nobody")
        await ground.audit.close()

    async def _wrong(self, client: httpx.AsyncClient, method: str, template: str, why: str, key: str) -> None:
        path = template.replace("{session_id:path}", FIRST).replace("{", "").replace("}", "")
        before = len(attempts(self.audit))
        answer = await client.request(method, path, headers={"Authorization": f"Bearer {key}"}, content=b"{")
        statuses = [each.ended["status"] for each in attempts(self.audit)[before:]]
        self.refused[method, template, why] = [answer.status_code, *statuses]

    async def _right(self, client: httpx.AsyncClient, right: Right, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        if "session_id" in right.template:
            found = await client.get("/charging/v1/sessions", params=_OF, headers=headers)
            self.made["session"] = found.json()["sessions"][0]["session_id"]
        body, query = right.body or None, right.query(self.made)
        if body == {"subscription": "@"}:
            body, query = query, {}
        if isinstance(body, dict) and body.get("code") == "@":
            body = body | {"code": self.made["code"]}
        path = right.template
        for name, value in right.path(self.made).items():
            path = path.replace(f"{{{name}}}", value)
        before = len(attempts(self.audit))
        answer = await client.request(right.method, path, params=query, json=body, headers=headers)
        (attempt,) = attempts(self.audit)[before:]
        self.seen.append((right, answer, attempt))
        if right.template.endswith("/batches"):
            self.made["code"] = answer.text.splitlines()[1].split(",")[1]
        elif answer.content:
            self.made[f"{right.method} {right.template}"] = answer.json()


def _heard(told: Told) -> None:
    assert not told.why


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Every right request, then every route asked by a stranger, without a scope, and in a body that is no JSON."""
    made = World(tmp_path_factory.mktemp("audited"))

    async def played() -> None:
        with located(made.settings) as address:
            async with opened(made.settings, address) as keepers:
                await made.play(keepers)

    asyncio.run(played())
    return made


def test_every_route_that_changes_something_has_a_right_request_here_and_says_itself_what_it_changes(
    world: World,
) -> None:
    assert {(method, route.path) for method, route in world.changing} == {
        (each.method, each.template) for each in RIGHT
    }
    assert [
        route.path
        for _, route in world.changing
        if not all(isinstance(each, AsksChange) for each in asked_by(route))
    ] == []


def test_every_right_request_is_one_change_that_was_begun_before_it_was_made(world: World) -> None:
    for right, answer, attempt in world.seen:
        told = (right.method, right.template, answer.text)
        assert answer.status_code == right.refused if right.refused else answer.is_success, told
        assert attempt.ended["status"] == answer.status_code
        assert (attempt.begun is not None) == right.changes, right
        if attempt.begun is not None:
            assert not attempt.action.startswith(right.method), "it is named by what it does"
            assert attempt.ended["resource"] or attempt.ended["accounts"], right
            assert attempt.ended["after"], right
        assert (attempt.ended["channel"], bool(attempt.ended["client"])) == ("open", True)


def test_every_refused_request_is_one_change_too_and_none_of_it_was_begun(world: World) -> None:
    told = {
        name: statuses
        for name, statuses in world.refused.items()
        if len(statuses) != 2 or statuses[0] != statuses[1]
    }
    assert told == {}, "one attempt each, of the answer's own status"
    by_why = {
        why: {each[0] for name, each in world.refused.items() if name[2] == why}
        for _, _, why in world.refused
    }
    assert by_why["no scope"] == {403}
    assert by_why["stranger"] == {401}
    assert by_why["unreadable"] <= {400, 404, 415, 422, 200, 204}


def test_no_number_no_imsi_no_code_and_no_callback_is_in_any_line(world: World) -> None:
    written = "".join(each.read_text(encoding="utf-8") for each in world.audit.glob("*"))
    for secret in (FIRST, SECOND, THIRD, CARD, world.made["code"], "T0P", "whsec"):
        assert secret not in written
