"""The OpenAPI page against a real server: schemathesis makes requests of it, right ones and wrong ones, and judges every answer by it.

No answer is a fault of the server (5xx), of a status or content type that the page does not name, or of another shape than it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ocs.http.prepay.buckets import BASE
from tests.real_ocs import RealOcs

NUMBERS = "491700000001", "491700000002"
IDS = ("one", "two", "three", "four", "five")
_OF = {
    "amount": {"amount": 1, "units": "EUR"},
    "usageType": "monetary",
    "logicalResource": [{"id": NUMBERS[0]}],
    "reason": "a test",
}
MADE: dict[str, dict[str, Any]] = {
    "topupBalance": _OF,
    "adjustBalance": _OF,
    "transferBalance": _OF | {"receiverLogicalResource": {"id": NUMBERS[1]}},
    "reserveBalance": _OF,
}
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance,
]  # fmt: skip
MONEY = [
    (method, f"{BASE}{path}")
    for path, methods in {
        "/bucket": ("GET", "POST"),
        "/bucket/{id}": ("GET",),
        **{f"/{kind}Balance": ("GET", "POST") for kind in ("topup", "adjust", "transfer", "reserve")},
        **{f"/{kind}Balance/{{id}}": ("GET", "PATCH", "DELETE") for kind in ("topup", "adjust", "transfer", "reserve")},
        "/accumulatedBalance": ("GET",),
        "/accumulatedBalance/{id}": ("GET",),
        "/balanceActionHistory": ("GET",),
        "/balanceActionHistory/{id}": ("GET",),
        "/hub": ("POST",),
        "/hub/{id}": ("DELETE",),
    }.items()
    for method in methods
]  # fmt: skip
"""Operations of TMF654."""
SUBSCRIBER, SERVICE = "/subscribers/v1/subscribers", "/tmf-api/ServiceActivationAndConfiguration/v4"
OTHERS = [
    (method, path)
    for path, methods in {
        "/oauth/token": ("POST",),
        "/admin/v1/keys": ("GET", "POST"),
        "/admin/v1/keys/{key_id}": ("DELETE",),
        "/admin/v1/audit": ("GET",),
        "/charging/v1/sessions": ("GET", "DELETE"),
        "/charging/v1/sessions/{session_id}": ("GET", "DELETE"),
        "/charging/v1/reauthorisations": ("POST",),
        "/vouchers/v1/batches": ("GET", "POST"),
        "/vouchers/v1/batches/{batch_id}": ("GET", "PATCH"),
        "/vouchers/v1/vouchers/{serial}": ("GET", "PATCH"),
        "/vouchers/v1/redemptions": ("POST",),
        SUBSCRIBER: ("GET", "POST"),
        f"{SUBSCRIBER}/{{subscriber}}": ("GET", "PATCH", "DELETE"),
        f"{SUBSCRIBER}/{{subscriber}}/members": ("GET",),
        f"{SUBSCRIBER}/{{subscriber}}/balance": ("GET",),
        f"{SUBSCRIBER}/{{subscriber}}/products": ("GET", "POST"),
        f"{SUBSCRIBER}/{{subscriber}}/emergency-credit": ("POST",),
        f"{SUBSCRIBER}/{{subscriber}}/products/{{number}}": ("DELETE",),
        f"{SERVICE}/service": ("GET", "POST"),
        f"{SERVICE}/service/{{id}}": ("GET", "PATCH", "DELETE"),
        f"{SERVICE}/monitor": ("GET",),
        f"{SERVICE}/monitor/{{id}}": ("GET",),
        "/events/v1/subscriptions": ("GET", "POST"),
        "/events/v1/subscriptions/{subscription_id}": ("GET", "DELETE"),
        "/events/v1/subscriptions/{subscription_id}/take-over": ("POST",),
        "/events/v1/dead-letters": ("GET", "DELETE"),
        "/events/v1/dead-letters/retry": ("POST",),
    }.items()
    for method in methods
]  # fmt: skip
OPEN = [("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/metrics")]
"""Operations that need no key."""
OPERATIONS = [*MONEY, *OTHERS, *OPEN]
CALLBACK = "https://127.0.0.1:9/hook"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with two subscribers, its page, and a key for everything."""
    folder, networks = tmp_path_factory.mktemp("openapi"), '["127.0.0.0/8"]'
    with RealOcs(folder, OCS_HTTP__RATE="0", OCS_EVENTS__CALLBACK_NETWORKS=networks) as server:
        for number in NUMBERS:
            server.ocs("subscriber", "create", number, "--tariff", "flat-data", "--credit", "100.00")
        key = server.ocs("keys", "create", "--role", "admin", "--channel", "till", "--name", "fuzz")["key"]
        address, headers = f"http://127.0.0.1:{server.http_port}", {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address, headers=headers) as client:
            for path, body in MADE.items():
                for name in IDS:
                    client.post(f"{BASE}/{path}", json=body | {"id": f"{name}-{path}"}).raise_for_status()
            there = _there(client)
        yield schemathesis.openapi.from_url(f"{address}/openapi.json"), headers, there
        assert server.troubles() == []
        assert server.ocs("audit")["clean"] is True


def _there(client: httpx.Client) -> dict[str, list[Any]]:
    """Make some of each thing that a path names; returns their names by those of the parameters. Never the key that asks."""

    def made(path: str, body: Any) -> Any:
        answer = client.post(path, json=body)
        assert answer.status_code == 201, (path, answer.text)
        return answer

    keys = [made("/admin/v1/keys", {"scopes": ["balance:read"]}).json()["id"] for _ in IDS]
    batches = [
        made("/vouchers/v1/batches", {"value": "1.00", "size": 3, "valid_until": "2036-01-01T00:00:00Z"})
        for _ in IDS
    ]
    client.patch(batches[0].headers["location"], json={"state": "active"}).raise_for_status()
    rows = [line.split(",") for line in batches[0].text.splitlines()[1:]]
    numbers = [f"49170000010{place}" for place in range(len(IDS))]
    services = [
        made(SUBSCRIBER, {"msisdn": each, "tariff": "flat-data", "credit": "50.00"}).json()["id"]
        for each in numbers
    ]
    bought = made(f"{SUBSCRIBER}/{numbers[0]}/products", {"product": "smart-s"}).json()["number"]
    return {
        "key_id": keys,
        "batch_id": [int(each.headers["location"].rpartition("/")[2]) for each in batches],
        "serial": [serial for serial, *_ in rows],
        "code": [code for _, code, *_ in rows],
        "subscriber": numbers,
        "id": services,
        "number": [bought],
        "subscription_id": [
            made("/events/v1/subscriptions", {"callback": CALLBACK, "types": ["account.barred"]}).json()["id"]
            for _ in IDS
        ],
    }


def judge(served: Any, method: str, path: str, examples: int) -> None:
    schema, headers, there = served
    operation = schema[path][method]
    aim = _aimed if path.startswith(BASE) else _Aim(there)
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE).map(aim)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    for cases in (
        (right,) if (method, path) in OPEN else (right, wrong)
    ):  # nothing can be wrong where nothing is asked for

        @given(case=cases)
        @settings(
            max_examples=examples, deadline=None, database=None, derandomize=True, phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def answers(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        answers()


def _made(path: str, place: int) -> str:
    kind = path.removeprefix(f"{BASE}/").partition("/")[0]
    name = f"{IDS[place % len(IDS)]}-{kind}"
    return f"till:{name}" if kind == "balanceActionHistory" else name


def _aimed(case: Any) -> Any:
    """Let requests that are about somebody or something be about what is there: else hardly one would come to the money."""
    body, parameters = case.body, case.path_parameters
    if parameters and "Balance" in case.operation.path and len(parameters["id"]) % 2:
        case.path_parameters = parameters | {"id": _made(case.operation.path, len(parameters["id"]))}
    if not isinstance(body, dict) or not case.operation.path.endswith(("Balance", "/bucket")):
        return case
    for name in ("bucket", "partyAccount", "channel", "receiverBucket"):
        body.pop(name, None)
    body["logicalResource"] = [{"id": NUMBERS[0]}]
    if "receiverLogicalResource" in body:
        body["receiverLogicalResource"] = {"id": NUMBERS[1]}
        body["receiverBucketUsageType"] = "monetary"
    for name in ("amount", "remainingValue"):
        if isinstance(body.get(name), dict):
            body[name]["units"] = "EUR"
            if not 0 < body[name].get("amount", 0) <= 100:
                body[name]["amount"] = 0.25
    if "usageType" in body and "remainingValue" not in body:
        body["usageType"] = "monetary"
    return case


class _Aim:
    """The same for all other rooms: in every second request what is named is there; amounts and batches stay small."""

    def __init__(self, there: dict[str, list[Any]]) -> None:
        self._there = there
        self._turn = 0

    def __call__(self, case: Any) -> Any:
        self._turn += 1
        if self._turn % 2:
            return case
        for name in case.path_parameters or {}:
            if name in self._there:
                case.path_parameters[name] = self._one(name)
        if "subscription" in (case.query or {}):
            case.query["subscription"] = self._one("subscription_id")
        if isinstance(case.body, dict):
            self._fill(case.body)
        return case

    def _one(self, name: str) -> Any:
        return self._there[name][self._turn // 2 % len(self._there[name])]

    def _fill(self, body: dict[str, Any]) -> None:
        texts = {
            "tariff": "flat-data", "product": "smart-s", "callback": CALLBACK, "types": ["*"], "code": self._one("code"),
            "member_of": self._one("subscriber"), "subscription": self._one("subscription_id"), "value": "1.00", "size": 2,
            "valid_until": "2037-01-01T00:00:00Z", "currency": "EUR",
        }  # fmt: skip
        body.update({name: value for name, value in texts.items() if name in body})
        if "code" in body:
            body["msisdn"] = self._one("subscriber")
        if "serviceCharacteristic" in body:
            tariff = {"name": "tariff", "value": "flat-data"}
            body["serviceCharacteristic"] = [{"name": "msisdn", "value": f"4918{self._turn:08}"}, tariff]


def test_every_operation_of_the_page_is_tried(served: Any) -> None:
    schema, *_ = served
    said = {(each.ok().method.upper(), each.ok().path) for each in schema.get_all_operations()}
    assert said == set(OPERATIONS)


def test_every_operation_says_what_it_is_and_how_it_fails(served: Any) -> None:
    schema, *_ = served
    for method, path in MONEY:
        said = schema.raw_schema["paths"][path][method.lower()]
        assert said["summary"]
        assert said["description"]
        assert said["tags"] == ["TMF654 prepay balance"]
        for code in ("400", "401", "403", "405", "500", "503"):
            (content,) = said["responses"][code]["content"].values()
            assert content["schema"]["$ref"].endswith("/Error")
        if method in {"POST", "PATCH"}:
            assert said["requestBody"]["content"]["application/json"]["example"]


def test_all_other_rooms_say_it_too_in_the_body_that_they_answer_with(served: Any) -> None:
    schema, *_ = served
    for method, path in OTHERS:
        said = schema.raw_schema["paths"][path][method.lower()]
        assert said["summary"]
        assert said["description"]
        is_tmf = path.startswith("/tmf-api/")
        assert is_tmf != ("422" in said["responses"] or path == "/oauth/token")
        for code in {"405", "429", "500", "503"} | ({"401", "403"} if path != "/oauth/token" else set()):
            ((kind, content),) = said["responses"][code]["content"].items()
            assert kind == ("application/json" if is_tmf else "application/problem+json")
            assert content["schema"]["$ref"].rpartition("/")[2] in (
                {"Error"} if is_tmf else {"Problem", "Refusal"}
            )
        if "requestBody" in said:
            assert {"408", "413", "415"} <= said["responses"].keys()
            (content,) = said["requestBody"]["content"].values()
            shape = schema.raw_schema["components"]["schemas"].get(
                content["schema"].get("$ref", "").rpartition("/")[2], {}
            )
            assert {"example", "examples"} & (content.keys() | shape.keys()), (method, path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_what_the_page_says(served: Any, method: str, path: str) -> None:
    judge(served, method, path, 6)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_many_answers_are_what_the_page_says(served: Any, method: str, path: str) -> None:
    judge(served, method, path, 500)
