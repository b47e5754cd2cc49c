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
OPERATIONS = [
    (method, path)
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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with two subscribers, its page, and a key for everything."""
    with RealOcs(tmp_path_factory.mktemp("openapi"), OCS_HTTP__RATE="0") as server:
        for number in NUMBERS:
            server.ocs("subscriber", "create", number, "--tariff", "flat-data", "--credit", "100.00")
        key = server.ocs("keys", "create", "--role", "admin", "--channel", "till", "--name", "fuzz")["key"]
        address, headers = f"http://127.0.0.1:{server.http_port}", {"Authorization": f"Bearer {key}"}
        for path, body in MADE.items():
            for name in IDS:
                httpx.post(
                    f"{address}{BASE}/{path}", json=body | {"id": f"{name}-{path}"}, headers=headers
                ).raise_for_status()
        yield schemathesis.openapi.from_url(f"{address}/openapi.json"), headers
        assert server.troubles() == []
        assert server.ocs("audit")["clean"] is True


def judge(served: Any, method: str, path: str, examples: int) -> None:
    schema, headers = served
    operation = schema[f"{BASE}{path}"][method]
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE).map(_aimed)
    for cases in (right, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)):

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


def test_every_operation_of_the_page_is_tried(served: Any) -> None:
    schema, _ = served
    said = {
        (each.ok().method.upper(), each.ok().path.removeprefix(BASE))
        for each in schema.get_all_operations()
        if each.ok().path.startswith(BASE)
    }
    assert said == set(OPERATIONS)


def test_every_operation_says_what_it_is_and_how_it_fails(served: Any) -> None:
    schema, _ = served
    for method, path in OPERATIONS:
        said = schema.raw_schema["paths"][f"{BASE}{path}"][method.lower()]
        assert said["summary"]
        assert said["description"]
        assert said["tags"] == ["TMF654 prepay balance"]
        for code in ("400", "401", "403", "405", "500", "503"):
            (content,) = said["responses"][code]["content"].values()
            assert content["schema"]["$ref"].endswith("/Error")
        if method in {"POST", "PATCH"}:
            assert said["requestBody"]["content"]["application/json"]["example"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_what_the_page_says(served: Any, method: str, path: str) -> None:
    judge(served, method, path, 12)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_many_answers_are_what_the_page_says(served: Any, method: str, path: str) -> None:
    judge(served, method, path, 500)
