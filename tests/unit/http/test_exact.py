"""JSON of requests: numbers digit by digit, and nothing that two readers could read in two ways."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ocs.http.app import Health, application
from ocs.http.exact import read_json


class Body(BaseModel):
    amount: Decimal
    count: int = 0


def post(body: bytes, kind: str | None = "application/json", query: str = "") -> httpx.Response:
    routes = APIRouter()

    @routes.post("/body")
    async def take(body: Body, name: str = "") -> dict[str, str]:
        return {"amount": str(body.amount), "count": str(body.count), "name": name}

    app = application(
        health=lambda: Health(ready=True, checks={}, facts={}),
        read_metrics=list,
        version="1",
        routers=[routes],
    )

    async def ask() -> httpx.Response:
        headers = {"Content-Type": kind} if kind is not None else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ocs") as client:
            return await client.post(f"/body{query}", content=body, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "number", ["0.1", "1234567890123456.123456", "9007199254740993", "0.10", "1E+2", "-0.000001"]
)
def test_a_route_gets_the_digits_that_were_sent(number: str) -> None:
    """A float would give 1234567890123456.1 and 9007199254740992."""
    answer = post(f'{{"amount": {number}}}'.encode())
    assert (answer.status_code, answer.json()["amount"]) == (200, number)


def test_a_whole_number_with_a_point_is_an_integer_and_another_is_none() -> None:
    assert post(b'{"amount": 1, "count": 2.0}').json()["count"] == "2"
    assert post(b'{"amount": 1, "count": 2.5}').status_code == 422


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"amount": NaN}', "NaN is no number"),
        (b'{"amount": -Infinity}', "-Infinity is no number"),
        (b'{"amount": 1e999999999}', "exponent too great"),
        (b'{"amount": 1e-41}', "exponent too great"),
        (b'{"amount": 0.' + b"1" * 60 + b"}", "too long"),
        (b'{"amount": ' + b"1" * 5000 + b"}", "too long"),
        (b'{"amount": 1, "amount": 2}', "a member twice"),
        (b'{"amount": 1, "x": {"y": 1, "y": 1}}', "a member twice"),
        (b"[" * 30_000, "nested too deeply"),
        (b'{"amount": "\\ud800"}', "surrogate"),
        (b'{"amount": "\xff"}', "not UTF-8"),
        ('{"amount": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"amount": 1', "JSON decode error"),
        (b"", "Field required"),
    ],
)
def test_what_is_no_plain_json_is_told_and_never_an_error_of_ours(body: bytes, says: str) -> None:
    answer = post(body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/merge-patch+json", 200),
        ("application/json; charset=utf-16", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/xml", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_a_body_of_another_type_is_refused(kind: str | None, status: int) -> None:
    """A page of another site can send text/plain without asking anybody; JSON it cannot."""
    answer = post(b'{"amount": 1}', kind)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert answer.headers["content-type"] == "application/problem+json"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**38), 10**38) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES)
def test_what_json_writes_is_read_as_it_was(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**16), max_value=10**16))
def test_every_amount_is_read_to_the_last_digit(amount: Decimal) -> None:
    assert read_json(f"[{amount:f}]".encode()) == [amount]


@given(st.binary(max_size=200))
def test_whatever_octets_come_they_are_json_or_a_decode_error(octets: bytes) -> None:
    with suppress(json.JSONDecodeError):
        assert read_json(octets) == json.loads(octets.decode(), parse_float=Decimal)


@pytest.mark.parametrize("query", ["?nam=x", "?name=x&other=y", "?name=x&name=y", "?=x", "?491700000001"])
def test_a_parameter_that_is_not_known_or_there_twice_is_refused_and_not_repeated(query: str) -> None:
    answer = post(b'{"amount": 1}', query=query)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("query: ")
    assert "4917" not in answer.text
    assert post(b'{"amount": 1}', query="?name=x").json()["name"] == "x"
