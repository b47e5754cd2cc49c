"""Payments over HTTP: the shape of TMF676, scopes, the audit log, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine, select

from ocs.http.access import Asks, AsksChange
from ocs.http.app import Health, application
from ocs.http.keys import ROLES, ApiKeys
from ocs.sql import reading
from postpaid_bridge.http import payments as http
from postpaid_bridge.sql.payments import payments
from tests.bridge_accounts import EURO, account, bill, broken_laws, standing
from tests.care_scene import CareApi
from tests.charged_store import store_room
from tests.real_valkey import RealValkey
from tests.vectors.rating.element import RULES

PAYMENT = f"{http.BASE}/payment"


class Api(CareApi):
    """The API of payments."""

    def __init__(self, database: Engine, folder: Path, keys: ApiKeys | None = None, **more: Any) -> None:
        super().__init__(database, folder, keys, **more)
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[build(self.ground) for build in http.routers],
        )


def body(
    value: float | str = 40, account: str | None = "1000001", own_id: str = "p1", **more: Any
) -> dict[str, Any]:
    of = {"account": {"id": account}} if account else {}
    return {
        "correlatorId": own_id, "totalAmount": {"value": value, "unit": "EUR"}, "paymentMethod": {"name": "card"}, **of, **more,
    }  # fmt: skip


@pytest.fixture
def api(database: Engine, tmp_path: Path) -> Iterator[Api]:
    with Api(database, tmp_path) as made:
        yield made


def test_a_payment_is_booked_once_by_the_providers_id_and_shown(api: Api, database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    more: dict[str, Any] = {"paymentItem": [{"item": {"id": number}}], "payer": {"name": "Erika Muster"}}
    made = api("POST", PAYMENT, 201, body(**more))
    assert api.answer.headers["location"] == made["href"] == f"{PAYMENT}/{made['id']}"
    assert (made["status"], made["account"]["id"], made["totalAmount"]) == (
        "accepted",
        "1000001",
        {"unit": "EUR", "value": 40.0},
    )
    assert made["paymentItem"][0]["item"]["id"] == number
    api.today = api.today.replace(day=2)
    assert api("POST", PAYMENT, 201, body(**more)) == made, "who names no day asks for the same"
    api("POST", PAYMENT, 409, body(41, **more))
    assert api("GET", made["href"], 200) == made
    assert api("GET", f"{PAYMENT}?account.id=1000001&correlatorId=p1", 200) == [made]
    assert api("GET", f"{PAYMENT}?account.id=1000002", 200) == []
    api("GET", f"{PAYMENT}/77", 404)
    assert standing(database, of) == {f"{number} principal b1": 60 * EURO}
    assert "Muster" not in api.lines()
    assert '"payment.create"' in api.lines()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (body(0), 400),
        (body(-1), 400),
        (body(1.001), 400),
        (body(1.0000001), 400),
        (body("40.00"), 400),
        (body(1, account="77"), 400),
        (body(1, own_id=""), 400),
        (body(1, own_id="ü"), 400),
        (body() | {"totalAmount": {"value": 1, "unit": "USD"}}, 400),
        (body(paymentItem=[{"item": {"id": "2026-000009"}}]), 400),
        (body(paymentItem=[{"item": {"id": "x"}, "amount": {"value": 1, "unit": "USD"}}]), 400),
        (body(amount={"value": 1, "unit": "EUR"}), 400),
    ],
)
def test_what_no_payment_can_be_is_refused_and_nothing_is_booked(
    api: Api, database: Engine, asked: dict[str, Any], status: int
) -> None:
    account(database)
    api("POST", PAYMENT, status, asked)
    with reading(database) as look:
        assert look.execute(select(payments)).all() == []


def test_charge_backs_refunds_and_clearing_have_routes_of_their_own(api: Api, database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    made = api("POST", PAYMENT, 201, body(130))
    own = f"{http.OWN}/payments/{made['id']}"
    assert api("GET", own, 200)["left"] == 30.0
    api("POST", f"{own}/refunds", 409, {"id": "o1", "amount": 31})
    assert api("POST", f"{own}/refunds", 201, {"id": "o1", "amount": 30})["left"] == 0
    back = {"id": "r1", "amount": 100, "fee": 3.5, "reason": "AC04"}
    shown = api("POST", f"{own}/charge-backs", 201, back)
    assert shown["paid"] == [], "the bank took what the refund had left"
    assert api("POST", f"{own}/charge-backs", 201, back) == shown
    assert standing(database, of) == {
        f"{number} principal b1": 100 * EURO,
        "charge-back:2:fee fee ": 3_500_000,
    }
    waits = api("POST", PAYMENT, 201, body(5, account=None, own_id="p2", description="1000002?"))
    assert waits["status"] == "pending"
    (row,) = api("GET", f"{http.OWN}/clearing", 200)
    assert (row["id"], row["why"], row["proposals"]) == (int(waits["id"]), "no number that is known here", [])
    place = f"{http.OWN}/clearing/{waits['id']}/place"
    api("POST", place, 422, {"account": "77"})
    api("POST", f"{http.OWN}/clearing/{waits['id']}/leave", 422, {"reason": ""})
    assert api("POST", place, 200, {"account": "1000001", "bills": [number]})["account"] == "1000001"
    api("POST", place, 409, {"account": "1000001"})
    with reading(database) as look:
        assert broken_laws(look) == []


def test_each_route_asks_for_its_scope_and_each_change_is_on_the_audit_log(
    database: Engine, tmp_path: Path
) -> None:
    account(database)
    with RealValkey() as server, store_room(server) as room:
        charged = room.run(room.charged({}, RULES, 1))
        keys = ApiKeys(charged.parts.store)
        shown = {}
        for role in ("billing", "channel"):
            shown[role] = room.run(keys.create(role, frozenset(), 1, role=role, channel="psp"))[1]
        with Api(database, tmp_path, keys, room=room) as api:
            api("POST", PAYMENT, 401, body())
            api("POST", PAYMENT, 403, body(), key=shown["channel"])
            made = api("POST", PAYMENT, 201, body(), key=shown["billing"])
            api("GET", made["href"], 403, key=shown["channel"])
            api("GET", made["href"], 200, key=shown["billing"])
            whole = api("GET", f"{http.OWN}/payments/{made['id']}", 200, key=shown["billing"])
            assert whole["provider"] == "psp"
    assert ROLES["billing"] == {"care:read", "payments:write"}
    for build in http.routers:
        for route in build(api.ground).routes:
            assert isinstance(route, APIRoute)
            changes = route.methods != {"GET"}
            asks = [
                each.call for each in route.dependant.dependencies if isinstance(each.call, Asks | AsksChange)
            ]
            assert [each.scope for each in asks] == ["payments:write" if changes else "care:read"]
