"""Recurring and automatic top-ups over HTTP: ordered once over TMF654, shown, ended; listed and ended beside the subscriber."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.topup_orders import Order, OrderState
from ocs.http.order_desk import ACTIVE_MAX
from tests.charged_store import StoreRoom, store_room
from tests.prepay_scene import BODIES, EURO, FIRST, SECOND, Answer, Scene, scene, topup
from tests.real_valkey import RealValkey
from tests.subscriber_scene import LEND, Operators, is_problem

MONTHLY: dict[str, Any] = topup(
    id="rent", recurringPeriod="monthly", numberOfPeriods=12, paymentMethod={"id": "card-7"}, reason="every month"
)  # fmt: skip
BELOW: dict[str, Any] = topup(id="auto", isAutoTopup=True)


@pytest.fixture
def on(valkey: RealValkey, tmp_path: Path) -> Iterator[Scene]:
    with scene(valkey, tmp_path) as made:
        yield made
        made.clean()


def test_a_recurring_order_is_made_once_shown_and_ended(on: Scene) -> None:
    said = on("POST", "/topupBalance", MONTHLY, "bank")
    made = said.is_right(201)
    assert (made["status"], made["recurringPeriod"], made["numberOfPeriods"]) == ("created", "monthly", 12)
    assert (made["isAutoTopup"], made["amount"]) == (False, {"amount": Decimal(10), "units": "EUR"})
    assert (made["paymentMethod"], said.headers["location"]) == ({"id": "card-7"}, made["href"])
    assert on("POST", "/topupBalance", MONTHLY, "bank").is_right(201) == made
    assert on("GET", "/topupBalance/rent", key="bank").is_right(200) == made
    on("GET", "/topupBalance/rent").is_error(404)
    on("PATCH", "/topupBalance/rent", {"status": "completed"}, "bank").is_error(409, "conflict")
    ended = on("PATCH", "/topupBalance/rent", {"status": "cancelled"}, "bank").is_right(200)
    assert ended["status"] == "cancelled"
    assert on("PATCH", "/topupBalance/rent", {"status": "cancelled"}, "bank").is_right(200) == ended
    on("DELETE", "/topupBalance/rent", key="bank").is_right(204)
    assert on.balance() == 20 * EURO, "nothing is credited before it is carried out"
    lines = [each["action"] for each in on.lines() if each["status"] < 300]
    assert lines == ["topup.order"] * 2 + ["topup.order.cancel"] * 3


def test_an_automatic_order_has_the_threshold_of_the_settings(on: Scene) -> None:
    made = on("POST", "/topupBalance", BELOW, "bank").is_right(201)
    assert (made["status"], made["isAutoTopup"]) == ("created", True)
    kept: Order = on.run(on.orders.find("bank", "auto")).order
    assert (kept.below_micros, kept.amount_micros, kept.period) == (2 * EURO, 10 * EURO, "")


def test_a_recurring_order_begins_when_it_says(on: Scene) -> None:
    start = {"startDateTime": "2099-01-31T08:00:00Z"}
    on("POST", "/topupBalance", MONTHLY | {"validFor": start}, "bank").is_right(201)
    kept: Order = on.run(on.orders.find("bank", "rent")).order
    assert kept.look_ms == kept.start_ms == 4_073_529_600_000


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (BELOW | {"recurringPeriod": "weekly"}, "badOrder"),
        (topup(numberOfPeriods=3), "badOrder"),
        (MONTHLY | {"voucher": "123"}, "badOrder"),
        (MONTHLY | {"recurringPeriod": "daily"}, "badRequest"),
        (MONTHLY | {"numberOfPeriods": 0}, "badRequest"),
        (MONTHLY | {"id": "x" * 41}, "badId"),
        (MONTHLY | {"usageType": "data"}, "badUsageType"),
        (MONTHLY | {"amount": None}, "missing"),
        (MONTHLY | {"amount": {"amount": -1, "units": "EUR"}}, "notPositive"),
        (MONTHLY | {"amount": {"amount": 1, "units": "USD"}}, ""),
        (BELOW | {"validFor": {"startDateTime": "2099-01-01T00:00:00Z"}}, "notServed"),
        (MONTHLY | {"validFor": {"endDateTime": "2099-01-01T00:00:00Z"}}, "notServed"),
    ],
)
def test_what_makes_no_order_is_refused_and_keeps_nothing(on: Scene, wrong: Any, code: str) -> None:
    body = {name: each for name, each in wrong.items() if each is not None}
    on("POST", "/topupBalance", body, "bank").is_error(400, code)
    profile = on.account().profile
    assert on.run(on.orders.of_account(profile.partition, profile.path)) == []


def test_a_channel_without_orders_has_none(on: Scene) -> None:
    on("POST", "/topupBalance", MONTHLY).is_error(400, "notServed")
    on("POST", "/topupBalance", BELOW).is_error(400, "notServed")


def test_an_id_is_an_orders_or_a_top_ups(on: Scene) -> None:
    on("POST", "/topupBalance", MONTHLY, "bank").is_right(201)
    on("POST", "/topupBalance", MONTHLY | {"numberOfPeriods": 3}, "bank").is_error(409, "conflict")
    on("POST", "/topupBalance", topup(id="rent"), "bank").is_error(409, "conflict")
    on("POST", "/topupBalance", topup(id="cash"), "bank").is_right(201)
    on("POST", "/topupBalance", MONTHLY | {"id": "cash"}, "bank").is_error(409, "conflict")
    assert on.balance() == 30 * EURO


def suspend(on: Scene, name: str) -> None:
    kept = on.run(on.orders.find("bank", name))
    stopped = kept.order._replace(state=OrderState.SUSPENDED, why="declined")
    assert on.run(on.orders.replace(kept, stopped)) is not None


def test_a_suspended_order_is_failed_and_goes_on_as_created(on: Scene) -> None:
    made = on("POST", "/topupBalance", MONTHLY, "bank").is_right(201)
    suspend(on, "rent")
    assert on("GET", "/topupBalance/rent", key="bank").is_right(200)["status"] == "failed"
    for _ in range(2):
        again = on("PATCH", "/topupBalance/rent", {"status": "created"}, "bank").is_right(200)
        assert again == made
    on("PATCH", "/topupBalance/rent", {"status": "created"}).is_error(404)
    on("PATCH", "/topupBalance/rent", {"status": "cancelled"}, "bank").is_right(200)
    on("PATCH", "/topupBalance/rent", {"status": "created"}, "bank").is_error(409, "conflict")
    lines = [(each["action"], each["status"]) for each in on.lines()]
    assert lines.count(("topup.order.resume", 200)) == 1


def test_an_order_is_not_resumed_where_there_are_as_many_as_there_may_be(on: Scene) -> None:
    on("POST", "/topupBalance", MONTHLY, "bank").is_right(201)
    suspend(on, "rent")
    for number in range(ACTIVE_MAX):
        on("POST", "/topupBalance", MONTHLY | {"id": f"o{number}"}, "bank").is_right(201)
    on("PATCH", "/topupBalance/rent", {"status": "created"}, "bank").is_error(409, "limit")
    assert on("GET", "/topupBalance/rent", key="bank").is_right(200)["status"] == "failed"


@pytest.mark.parametrize("path", BODIES)
def test_of_an_order_and_an_action_posted_at_once_under_one_id_one_passes(on: Scene, path: str) -> None:
    action = BODIES[path] | {"id": "both"}
    order = MONTHLY | {"id": "both"}

    async def race() -> list[Answer]:
        posts = [("/topupBalance", order), (f"/{path}", action)] * 100
        random.Random(path).shuffle(posts)
        said = await asyncio.gather(*(on.ask("POST", where, body, "bank") for where, body in posts))
        return [  # who was not answered in time asks again
            await on.ask("POST", *post, "bank") if each.status == 503 else each
            for each, post in zip(said, posts, strict=True)
        ]

    before = on.balance()
    said = on.run(race())
    right = {json.dumps(each.is_right(201), default=str) for each in said if each.status == 201}
    assert len(right) == 1, "who passes is one, and is answered alike"
    assert {each.status for each in said} == {201, 409}
    assert sum(each.status == 201 for each in said) == 100
    is_order = on.run(on.orders.find("bank", "both")) is not None
    assert is_order == (on.run(on.actions.find("bank", "both")) is None)
    moved = {"topupBalance": 10, "adjustBalance": 2, "transferBalance": -1, "reserveBalance": 0}[path]
    assert on.balance() == before + (0 if is_order else moved * EURO)


def test_an_account_has_so_many_orders_at_most_and_a_repetition_counts_none(on: Scene) -> None:
    for number in range(ACTIVE_MAX):
        on("POST", "/topupBalance", MONTHLY | {"id": f"o{number}"}, "bank").is_right(201)
    on("POST", "/topupBalance", MONTHLY, "bank").is_error(409, "limit")
    on("POST", "/topupBalance", MONTHLY | {"id": "o0"}, "bank").is_right(201)
    other = {"logicalResource": [{"id": SECOND}]}
    on("POST", "/topupBalance", MONTHLY | other, "bank").is_right(201)
    on("DELETE", "/topupBalance/o0", key="bank").is_right(204)
    on("POST", "/topupBalance", MONTHLY | {"id": "one-more"}, "bank").is_right(201)


# -- /subscribers/v1


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def test_the_orders_of_a_subscriber_are_listed_and_ended_by_who_may_see_them(
    room: StoreRoom, tmp_path: Path
) -> None:
    api = Operators(room, tmp_path)
    profile = api.scene.account.profile
    channels = {each: api.channel(each) for each in ("subscribers:read", LEND)}
    mine = Order(channels[LEND], "rent", profile.partition, profile.path, 10 * EURO, "monthly", 3)
    seen = Order(
        channels["subscribers:read"], "auto", profile.partition, profile.path, 5 * EURO, below_micros=EURO
    )
    for each in (mine, seen):
        api.room.run(api.orders.orders.create(each))
    path = f"/subscribers/{FIRST}/top-up-orders"
    (listed,) = api("GET", path).json()
    assert (listed["id"], listed["kind"], listed["below"], listed["next"]) == (
        seen.name,
        "automatic",
        "1.00",
        None,
    )
    is_problem(api("DELETE", f"{path}/{seen.name}", LEND), 404)
    active = {"state": "active"}
    is_problem(api("PATCH", f"{path}/{seen.name}", LEND, json=active), 404)
    is_problem(api("PATCH", f"{path}/{mine.name}", LEND, json={"state": "cancelled"}), 422)
    kept = api.room.run(api.orders.orders.find(mine.channel, mine.id))
    api.room.run(api.orders.orders.replace(kept, kept.order._replace(state=OrderState.SUSPENDED, skipped=2)))
    assert "no orders" in is_problem(api("PATCH", f"{path}/{mine.name}", LEND, json=active), 409)
    api.channels.add(mine.channel)
    for _ in range(2):
        gone_on = api("PATCH", f"{path}/{mine.name}", LEND, json=active)
        told = gone_on.json()
        assert (gone_on.status_code, told["state"], told["skipped"], told["next"]) == (200, "active", 2, None)
    is_problem(api("DELETE", f"{path}/{mine.name}", "subscribers:read"), 403)
    for _ in range(2):
        ended = api("DELETE", f"{path}/{mine.name}", LEND)
        assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
        assert (ended.json()["period"], ended.json()["periods"]) == ("monthly", 3)
    is_problem(api("PATCH", f"{path}/{mine.name}", LEND, json=active), 409)


def test_emergency_credit_is_not_lent_under_the_id_of_an_order(room: StoreRoom, tmp_path: Path) -> None:
    api = Operators(room, tmp_path)
    api.channels.add(api.channel(LEND))
    profile = api.scene.account.profile
    api.room.run(
        api.orders.orders.create(
            Order(api.channel(LEND), "help-1", profile.partition, profile.path, EURO, "weekly")
        )
    )
    asked = api("POST", f"/subscribers/{FIRST}/emergency-credit", json={"id": "help-1"})
    assert "an order's" in is_problem(asked, 409)
