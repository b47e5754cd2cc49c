"""TMF654: what is wrong is refused precisely, and moves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.prepay_scene import BODIES, FIRST, NOBODY, SECOND, Scene, scene, topup
from tests.real_valkey import RealValkey

BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"amount": {"amount": 0, "units": "EUR"}}, 400, "notPositive"),
    ({"amount": {"amount": -1, "units": "EUR"}}, 400, "notPositive"),
    ({"amount": {"amount": 0.0000001, "units": "EUR"}}, 400, "tooPrecise"),
    ({"amount": {"amount": "10", "units": "EUR"}}, 400, "badRequest"),
    ({"amount": {"amount": "1e3", "units": "EUR"}}, 400, "badRequest"),
    ({"amount": {"amount": True, "units": "EUR"}}, 400, "badRequest"),
    ({"amount": {"amount": None, "units": "EUR"}}, 400, "badRequest"),
    ({"amount": {"units": "EUR"}}, 400, "badRequest"),
    ({"amount": {"amount": 10}}, 400, "badRequest"),
    ({"amount": {"amount": 10_000.01, "units": "EUR"}}, 400, "limit"),
    ({"amount": {"amount": 10**30, "units": "EUR"}}, 400, "limit"),
    ({"amount": {"amount": 10, "units": "USD"}}, 400, "currency"),
    ({"amount": {"amount": 10, "units": "EUR", "surprise": 1}}, 400, "badRequest"),
    ({"amount": 10}, 400, "badRequest"),
    ({"amount": None}, 400, ""),
    ({"usageType": "data"}, 400, "badUsageType"),
    ({"usageType": "money"}, 400, "badRequest"),
    ({"usageType": None}, 400, "badRequest"),
    ({"surprise": 1}, 400, "badRequest"),
    ({"id": "with blank"}, 400, "badRequest"),
    ({"id": "with:colon"}, 400, "badRequest"),
    ({"id": "with/stroke"}, 400, "badRequest"),
    ({"id": "x" * 65}, 400, "badRequest"),
    ({"id": ""}, 400, "badRequest"),
    ({"logicalResource": [{"id": NOBODY}]}, 400, "unknownSubscriber"),
    ({"logicalResource": [{"id": "phone"}]}, 400, "badNumber"),
    ({"logicalResource": [{"id": FIRST}, {"id": SECOND}]}, 400, "badRequest"),
    ({"logicalResource": None}, 400, "missing"),
    ({"partyAccount": {"id": "nobody"}}, 400, "unknownAccount"),
    ({"bucket": {"id": "no/body"}}, 400, "unknownBucket"),
    ({"channel": {"id": "bank"}}, 403, "forbidden"),
    ({"isAutoTopup": True}, 400, "notServed"),
    ({"validFor": {"endDateTime": "2027-01-01T00:00:00Z"}}, 400, "notServed"),
    ({"description": "x" * 257}, 400, "badRequest"),
    ({"description": "\x00"}, 400, "badRequest"),
    ({"requestor": {"id": "somebody"}}, 400, "badRequest"),
]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One scene for all that must not change it."""
    with RealValkey() as server, scene(server, tmp_path_factory.mktemp("bad")) as made:
        yield made
        made.clean()


@pytest.mark.parametrize("path", ["topupBalance", "reserveBalance"])
@pytest.mark.parametrize("place", range(len(BAD)))
def test_a_body_that_is_wrong_is_refused_precisely_and_moves_nothing(
    standing: Scene, path: str, place: int
) -> None:
    wrong, status, code = BAD[place]
    if path == "reserveBalance" and ("isAutoTopup" in wrong or "validFor" in wrong):
        wrong, code = {"validFor": {"startDateTime": "2027-01-01T00:00:00Z"}}, "notServed"
    before = standing.account(), len(standing.lines())
    body = {name: each for name, each in (BODIES[path] | wrong).items() if each is not None}
    message = standing("POST", f"/{path}", body).is_error(status, code)
    assert any(name in message for name in (*wrong, "body")), message
    assert standing.account() == before[0]
    (line,) = standing.lines()[before[1] :]
    assert (line["status"], line["channel"]) == (status, "till")
    assert FIRST not in str(line)


@pytest.mark.parametrize(
    ("octets", "headers", "status"),
    [
        (b'{"amount": {"amount": NaN, "units": "EUR"}}', {}, 400),
        (b'{"amount": {"amount": 1e999999999, "units": "EUR"}}', {}, 400),
        (b"[" * 50_000, {}, 400),
        (b'{"id": "a", "id": "b"}', {}, 400),
        (b"\xff", {}, 400),
        (b'"\\ud800"', {}, 400),
        (b"[]", {}, 400),
        (b"", {}, 400),
        (b"x" * 70_000, {}, 413),
        (b"amount=10", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415),
        (b"{}", {"Idempotency-Key": "with blank"}, 400),
        (b"{}", {"Authorization": "Bearer ocs_0123456789ab_" + "x" * 43}, 401),
    ],
)
def test_octets_that_are_no_request_are_refused_before_anything_is_read_of_them(
    standing: Scene, octets: bytes, headers: dict[str, str], status: int
) -> None:
    before = standing.account(), len(standing.lines())
    key = None if "Authorization" in headers else "till"
    standing("POST", "/topupBalance", octets, key, headers=headers).is_error(status)
    assert standing.account() == before[0]
    assert [each["status"] for each in standing.lines()[before[1] :]] == [status]


def test_an_id_and_another_idempotency_key_are_refused(standing: Scene) -> None:
    said = standing("POST", "/topupBalance", topup(id="a"), headers={"Idempotency-Key": "b"})
    said.is_error(400, "badId")


@pytest.mark.parametrize(
    "path", ["bucket", *BODIES, "accumulatedBalance", "balanceActionHistory", "hub", "nothing"]
)
def test_a_method_that_a_path_does_not_have_is_told_which_it_has(standing: Scene, path: str) -> None:
    said = standing("PUT", f"/{path}", {})
    if path == "nothing":
        said.is_error(404)
    else:
        said.is_error(405, "methodNotAllowed")
        assert {"GET", "POST"} & set(said.headers["allow"].split(", "))
