"""Every path of TMF678 and TMF635 that is served, and bills' documents and deliveries; answers are held against the definitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi import APIRouter
from sqlalchemy import Engine, func, select, update

from ocs.care.customers.http import Ground
from ocs.http.keys import ApiKeys
from ocs.sql import reading, writing
from postpaid_bridge.http import bills as bills_room
from postpaid_bridge.http import usage as usage_room
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.usage import lines
from tests.care_scene import CareApi
from tests.charged_store import store_room
from tests.contract.tmf_shapes import Definition
from tests.document_scene import SHOP, mail_server, postman, printer, published
from tests.real_valkey import RealValkey
from tests.vectors.rating.element import RULES

BILLS, USAGE = bills_room.BASE, usage_room.BASE
OWN = bills_room.OWN


def rooms(database: Engine, folder: Path) -> object:
    def built(ground: Ground) -> Sequence[APIRouter]:
        fetch = printer(database, folder).again
        return [*bills_room.routers(ground, fetch), usage_room.router(ground, SHOP.help_lines)]

    return built


@pytest.fixture
def api(database: Engine, tmp_path: Path) -> Iterator[CareApi]:
    with CareApi(database, tmp_path, more=rooms(database, tmp_path)) as made:  # type: ignore[arg-type]
        yield made


def test_the_base_paths_are_the_definitions() -> None:
    assert [Definition.read(each).base_path for each in ("TMF678", "TMF635")] == [BILLS, USAGE]


def test_published_bills_are_listed_shown_and_their_documents_fetched(
    api: CareApi, database: Engine, tmp_path: Path
) -> None:
    accounts = published(database)
    [*_, before] = api("GET", f"{BILLS}/customerBill", 200)
    assert (before["billDocument"], before["state"]) == ([], "validated")
    api("GET", f"{OWN}/{before['id']}/document", 404)
    printer(database, tmp_path).once()
    shown = api("GET", f"{BILLS}/customerBill", 200)
    assert len(shown) == len(accounts)
    with reading(database) as look:
        rows = {row.number: row for row in look.execute(select(bills))}
    for each in shown:
        row = rows[each["billNo"]]
        assert api("GET", each["href"], 200) == each
        assert each["taxIncludedAmount"]["value"] == pytest.approx(row.gross_cents / 100)
        assert sum(tax["taxAmount"]["value"] for tax in each["taxItem"]) == pytest.approx(row.tax_cents / 100)
        assert each["amountDue"]["value"] == pytest.approx(max(0, row.gross_cents) / 100)
        assert ("paymentDueDate" in each) == (row.gross_cents > 0)
        [document] = each["billDocument"]
        api("GET", document["url"], 200)
        assert api.answer.headers["content-type"] == "application/pdf"
        assert sha256(api.answer.content).hexdigest() == document["id"]
        assert len(api.answer.content) == document["size"]["amount"]
    account = shown[0]["billingAccount"]["id"]
    assert api("GET", f"{BILLS}/customerBill?billingAccount.id={account}&fields=billNo", 200) == [
        {name: shown[0][name] for name in ("id", "href", "billNo")}
    ]
    assert api("GET", f"{BILLS}/customerBill?limit=2&offset=1", 200) == shown[1:3]
    assert api.answer.headers["x-total-count"] == str(len(accounts))
    api("GET", f"{BILLS}/customerBill?shoeSize=43", 400)


def test_what_is_not_published_is_not_there(api: CareApi, database: Engine, tmp_path: Path) -> None:
    published(database)
    printer(database, tmp_path).once()
    [first, *_] = api("GET", f"{BILLS}/customerBill", 200)
    with writing(database) as work:
        hidden = {"state": "numbered", "published_ms": None}
        work.execute(update(bills).where(bills.c.number == first["id"]).values(hidden))
    for path in (
        first["href"],
        f"{OWN}/{first['id']}/document",
        f"{OWN}/{first['id']}/deliveries",
        f"{BILLS}/customerBill/x",
    ):
        api("GET", path, 404)
    api("POST", f"{OWN}/{first['id']}/deliveries", 404, {})
    assert first["id"] not in [each["id"] for each in api("GET", f"{BILLS}/customerBill", 200)]


def test_a_bill_is_sent_anew_by_who_may_write_and_its_deliveries_are_told(
    api: CareApi, database: Engine, tmp_path: Path
) -> None:
    published(database)
    [first, *_] = api("GET", f"{BILLS}/customerBill", 200)
    path = f"{OWN}/{first['id']}/deliveries"
    printer(database, tmp_path).once()
    api("POST", path, 409, {})
    with mail_server() as (inbox, mail):
        asyncio.run(postman(database, tmp_path, mail).once())
        assert [each["state"] for each in api("GET", path, 200)["deliveries"]] == ["sent"]
        api("POST", path, 422, {"address": "a@example.org, b@example.org"})
        told = api("POST", path, 202, {"address": "new@example.org"})
        assert [each["state"] for each in told["deliveries"]] == ["sent", "waiting"]
    assert "new@example.org" not in api.answer.text
    assert "new@example.org" not in api.lines()
    assert '"bill.resend"' in api.lines()
    assert inbox.mails


def test_usage_is_listed_and_shown_with_numbers_only_as_the_payer_chose(
    api: CareApi, database: Engine
) -> None:
    published(database)
    with writing(database) as work:
        work.execute(update(lines).values(counterpart="4943199887766"))
        [help_line, *_] = work.execute(select(lines.c.id).order_by(lines.c.id)).scalars()
        work.execute(update(lines).where(lines.c.id == help_line).values(counterpart="08001110111"))
        count = work.execute(select(func.count()).select_from(lines)).scalar_one()
    shown = api("GET", f"{USAGE}/usage", 200)
    assert api.answer.headers["x-total-count"] == str(count)
    assert {each["status"] for each in shown} == {"billed"}
    numbers = [
        [one["value"] for one in each["usageCharacteristic"] if one["name"] == "counterpart"]
        for each in shown
    ]
    assert numbers[0] == []
    assert numbers[1] == ["4943199887xxx"]
    assert api("GET", shown[1]["href"], 200) == shown[1]
    service = shown[-1]["ratedProductUsage"][0]["productRef"]["id"]
    only = api("GET", f"{USAGE}/usage?ratedProductUsage.productRef.id={service}", 200)
    assert {each["ratedProductUsage"][0]["productRef"]["id"] for each in only} == {service}
    for absent in ("999999", "x", "9" * 40):
        api("GET", f"{USAGE}/usage/{absent}", 404)
    api("GET", f"{USAGE}/usage?nothing=1", 400)


def test_bills_need_the_scope_of_customers(database: Engine, tmp_path: Path) -> None:
    published(database)
    printer(database, tmp_path).once()
    with RealValkey() as server, store_room(server) as room:
        keys = ApiKeys(room.run(room.charged({}, RULES)).store)
        shown = {
            scope: room.run(keys.create("test", frozenset({scope}), 1))[1]
            for scope in ("care:read", "care:write", "balance:read")
        }
        with CareApi(database, tmp_path, keys, room=room, more=rooms(database, tmp_path)) as api:  # type: ignore[arg-type]
            paths = [f"{BILLS}/customerBill", f"{USAGE}/usage", f"{OWN}/2026-000001/document"]
            for path in paths:
                api("GET", path, 401)
                api("GET", path, 403, key=shown["balance:read"])
                api("GET", path, 200, key=shown["care:read"])
            api("POST", f"{OWN}/2026-000001/deliveries", 403, {}, key=shown["care:read"])
