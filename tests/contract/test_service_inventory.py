"""Every path of TMF640 that is served, in every answer that it has here, against the definition as TM Forum publishes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocs.http.services import BASE
from tests.charged_store import StoreRoom, store_room
from tests.contract.tmf_shapes import Definition
from tests.real_valkey import RealValkey
from tests.subscriber_scene import BALANCE, FIRST, READ, Operators

TMF640 = Definition.read("TMF640")
NUMBER, OTHER, CARD = "491700000002", "491700000003", "262010000000001"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Inventory:
    """The services; every answer, and every body that is taken, is held against the definition."""

    def __init__(self, room: StoreRoom, folder: Path) -> None:
        self.api = Operators(room, folder)

    def __call__(
        self,
        method: str,
        path: str,
        status: int,
        json: Any = None,
        key: str | None = "",
        *,
        partial: bool = False,
    ) -> Any:
        answer: httpx.Response = self.api(method, BASE + path, key, json=json)
        assert answer.status_code == status, answer.text
        content: Any = answer.json() if answer.content else None
        headers = dict(answer.headers)
        assert TMF640.answer_faults(method, path, status, content, headers, partial=partial) == []
        if status < 300 and json is not None:
            assert TMF640.body_faults(method, path, json) == []
        if status >= 400:
            assert content["status"] == str(status)
            assert not any(each in answer.text for each in (NUMBER, FIRST, CARD)), "nothing personal"
        return content if status != 201 else (content, answer.headers["location"])

    def create(self, status: int = 201, state: str = "active", **values: str) -> Any:
        return self("POST", "/service", status, wanted(state, **({"msisdn": NUMBER, "tariff": "t"} | values)))


def wanted(state: str, **values: str) -> dict[str, Any]:
    return {
        "state": state,
        "serviceSpecification": {"id": "charging"},
        "serviceCharacteristic": [{"name": name, "value": value} for name, value in values.items()],
    }


def values_of(service: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in service["serviceCharacteristic"]}


@pytest.fixture
def inventory(room: StoreRoom, tmp_path: Path) -> Inventory:
    return Inventory(room, tmp_path)


def test_the_base_path_is_the_definitions() -> None:
    assert TMF640.base_path == BASE


def test_a_service_is_created_once_shown_changed_and_ended(inventory: Inventory) -> None:
    made, place = inventory.create(imsi=CARD, kind="postpaid", creditFloor="-5.00")
    assert place == made["href"] == f"{BASE}/service/{made['id']}"
    assert (made["state"], made["isServiceEnabled"]) == ("active", True)
    assert values_of(made) == {"msisdn": NUMBER, "imsi": CARD, "tariff": "t", "kind": "postpaid"}
    assert inventory.create(imsi=CARD, kind="postpaid", creditFloor="-5.00")[0] == made
    one = f"/service/{made['id']}"
    assert inventory("GET", one, 200) == made
    barred = inventory("PATCH", one, 200, {"state": "inactive"})
    assert (barred["state"], barred["isServiceEnabled"]) == ("inactive", False)
    moved = {"serviceCharacteristic": [{"name": "msisdn", "value": OTHER}, {"name": "imsi", "value": ""}]}
    assert values_of(inventory("PATCH", one, 200, moved)) == {
        "msisdn": OTHER,
        "tariff": "t",
        "kind": "postpaid",
    }
    assert inventory("DELETE", one, 204) is None
    assert inventory("GET", one, 200)["state"] == "terminated"
    assert inventory("DELETE", one, 204) is None
    inventory("PATCH", one, 409, {"state": "active"})
    inventory.api.clean()


def test_a_service_may_begin_inactive_and_its_repetition_bars_nobody_again(inventory: Inventory) -> None:
    made, _ = inventory.create(state="inactive")
    assert made["state"] == "inactive"
    one = f"/service/{made['id']}"
    assert inventory("PATCH", one, 200, {"state": "active"})["state"] == "active"
    assert inventory.create(state="inactive")[0]["state"] == "active"
    assert inventory("PATCH", one, 200, {"state": "terminated"})["state"] == "terminated"


def test_lists_have_counts_parts_and_fields(inventory: Inventory) -> None:
    for i in range(5):
        inventory.create(msisdn=f"49180000000{i}")
    every = inventory("GET", "/service", 200)
    assert len(every) == 6
    parts = [inventory("GET", f"/service?offset={at}&limit=4", 200) for at in (0, 4, 8)]
    assert ([each for part in parts for each in part], [len(each) for each in parts]) == (every, [4, 2, 0])
    answer = inventory.api("GET", f"{BASE}/service?limit=4&offset=4")
    assert (answer.headers["X-Total-Count"], answer.headers["X-Result-Count"]) == ("6", "2")
    cut = inventory("GET", "/service?fields=state", 200, partial=True)
    assert {tuple(each) for each in cut} == {("id", "href", "state")}
    one = f"/service/{every[0]['id']}?fields=serviceCharacteristic,name"
    assert set(inventory("GET", one, 200, partial=True)) == {"id", "href", "name", "serviceCharacteristic"}
    assert set(inventory("GET", f"/service/{every[0]['id']}?fields=none", 200, partial=True)) == {
        "id",
        "href",
    }


def test_more_services_than_can_be_sorted_are_listed_elsewhere(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.http.services.SERVICES_LISTED_MAX", 1)
    inventory.create()
    assert "/subscribers/v1/subscribers" in inventory("GET", "/service", 400)["message"]


def test_there_is_nothing_to_monitor_since_a_request_is_done_when_it_is_answered(
    inventory: Inventory,
) -> None:
    assert inventory("GET", "/monitor", 200) == []
    inventory("GET", "/monitor/1", 404)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "designed"},
        {"state": None},
        {"colour": "red"},
        {"description": "kept nowhere"},
        {"serviceSpecification": {"id": "voicemail"}},
        {"serviceSpecification": {}},
        {"serviceCharacteristic": [{"name": "msisdn", "value": OTHER}]},
        {"serviceCharacteristic": [{"name": "msisdn", "value": OTHER}] * 2},
        {"serviceCharacteristic": [{"name": "msisdn", "value": "x"}, {"name": "tariff", "value": "t"}]},
        {"serviceCharacteristic": [{"name": "msisdn", "value": OTHER}, {"name": "tariff", "value": "gold"}]},
        {"serviceCharacteristic": [{"name": "colour", "value": "red"}]},
        {"serviceCharacteristic": [{"name": "msisdn", "value": 491700000003}]},
        {"serviceCharacteristic": "msisdn"},
    ],
)
def test_what_cannot_be_created_is_400_and_nothing_is_created(
    inventory: Inventory, change: dict[str, Any]
) -> None:
    inventory("POST", "/service", 400, wanted("active", msisdn=NUMBER, tariff="t") | change)
    assert len(inventory("GET", "/service", 200)) == 1
    assert inventory.api.begun == []


def test_what_cannot_be_done_is_told_as_the_definition_says(inventory: Inventory) -> None:
    made, _ = inventory.create()
    one = f"/service/{made['id']}"
    inventory("PATCH", one, 400, {})
    inventory("PATCH", one, 400, {"serviceCharacteristic": [{"name": "kind", "value": "postpaid"}]})
    inventory(
        "PATCH", one, 400, {"state": "terminated", "serviceCharacteristic": [{"name": "imsi", "value": CARD}]}
    )
    inventory("PATCH", one, 409, {"serviceCharacteristic": [{"name": "msisdn", "value": FIRST}]})
    inventory.create(409, credit="1.00")
    for path in ("/service?fields=colour", "/service?offset=-1", "/service?limit=0", "/service?state=active"):
        inventory("GET", path, 400)
    inventory("GET", f"/service/{NUMBER}", 404)
    inventory("PATCH", "/service/nobody", 404, {"state": "active"})
    inventory("DELETE", "/service/nobody", 404)
    inventory("GET", "/service", 401, key=None)
    inventory("GET", "/service", 403, key=BALANCE)
    inventory("DELETE", one, 403, key=READ)
    assert inventory("GET", one, 200) == made
