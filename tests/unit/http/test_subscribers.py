"""Subscribers over HTTP: the application itself on a real store, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.link import LinkDown
from tests.audit_lines import attempts
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.subscriber_scene import BALANCE, FIRST, READ, Operators, is_problem
from tests.unit.balance.holdings_world import member_of

SECOND, THIRD = "491700000002", "491700000003"
CARD = "262010000000001"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def api(room: StoreRoom, tmp_path: Path) -> Operators:
    return Operators(room, tmp_path)


def test_a_subscriber_is_created_once_and_found_by_number_imsi_and_id(api: Operators) -> None:
    asked = {"imsi": CARD, "credit": "10.00", "kind": "postpaid", "credit_floor": "-50.00"}
    first, again = api.create(**asked), api.create(**asked)

    assert (first.status_code, again.status_code) == (201, 201)
    made = first.json()
    assert made == again.json() == api.show(SECOND) == api.show(f"+{SECOND}") == api.show(made["id"])
    assert first.headers["Location"] == f"/subscribers/v1/subscribers/{made['id']}"
    assert (made["balance"], made["available"], made["credit_floor"]) == ("10.00", "60.00", "-50.00")
    assert (made["kind"], made["status"], made["active_until"]) == ("postpaid", "active", "not used yet")
    for query in (
        {"msisdn": SECOND},
        {"imsi": CARD},
        {"account": made["id"]},
        {"msisdn": SECOND, "imsi": CARD},
    ):
        assert api("GET", "/subscribers", params=query).json() == {"subscribers": [made], "next": None}
    assert api("GET", "/subscribers", params={"msisdn": FIRST, "imsi": CARD}).json()["subscribers"] == []
    api.clean()


def test_other_content_under_a_number_is_a_conflict_that_names_the_account(api: Operators) -> None:
    made = api.create(credit="10.00", imsi=CARD).json()
    assert made["id"] in is_problem(api.create(credit="11.00", imsi=CARD), 409)
    assert is_problem(api.create(msisdn=THIRD, imsi=CARD), 409).startswith("imsi: ")
    assert api("GET", "/subscribers", params={"msisdn": THIRD}).json()["subscribers"] == []
    api("DELETE", f"/subscribers/{SECOND}")
    assert "rests" in is_problem(api.create(credit="10.00", imsi=CARD), 409)
    assert api.show(SECOND)["balance"] == "10.00"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"msisdn": "49 17"}, "3 to 15 digits"),
        ({"msisdn": "49170000000000001"}, "3 to 15 digits"),
        ({"imsi": "26201x"}, "up to 15 digits"),
        ({"tariff": "gold"}, "known are t"),
        ({"credit": "-1.00"}, "credit: write an amount from 0.00"),
        ({"credit": "1e3"}, "decimal text"),
        ({"credit": "0.0000001"}, "decimal text"),
        ({"credit": 10}, "body.credit"),
        ({"credit_floor": "50.00"}, "a credit limit of 50.00 is -50.00"),
        ({"kind": "free"}, "body.kind"),
        ({"cap": "5.00"}, "name who pays"),
        ({"member_of": THIRD}, "no subscriber has this number or id"),
        ({"member_of": FIRST, "credit": "1.00"}, "no money of its own"),
        ({"colour": "red"}, "body.colour"),
        ({"msisdn": None}, "body.msisdn"),
    ],
)  # fmt: skip
def test_what_cannot_be_created_is_refused_whole_and_the_refusal_says_why(
    api: Operators, fields: dict[str, Any], says: str
) -> None:
    told = is_problem(api.create(**fields), 422)
    assert says in told
    assert SECOND not in told
    assert len(api("GET", "/subscribers").json()["subscribers"]) == 1
    assert api.begun == []


def test_a_tariff_that_is_not_known_is_looked_for_once_more(api: Operators) -> None:
    api.create(tariff="gold")
    assert api.looks == 1


def test_one_change_does_all_that_is_asked_for_or_nothing(api: Operators) -> None:
    made = api.create(imsi=CARD).json()
    refused = api.change(status="barred", credit_floor="-5.00", msisdn=THIRD, imsi=CARD)
    assert made["id"] in is_problem(refused, 409)
    before = api.show()
    assert (before["status"], before["credit_floor"], before["msisdn"]) == ("active", "0.00", FIRST)

    changed = api.change(status="barred", credit_floor="-5.00", msisdn=THIRD, imsi="262010000000009").json()

    assert changed == api.show(THIRD) == api.show(changed["id"])
    assert (changed["status"], changed["available"], changed["imsi"]) == (
        "barred",
        "105.00",
        "262010000000009",
    )
    assert api.change(THIRD, status="barred", msisdn=THIRD).json() == changed
    assert api.change(THIRD, status="active", imsi="").json()["imsi"] == ""
    api.clean()


def test_an_old_number_names_its_subscriber_until_it_has_rested(api: Operators) -> None:
    changed = api.change(msisdn=SECOND).json()
    assert api.show(FIRST) == api.change(FIRST, msisdn=SECOND).json() == changed
    assert "rests" in is_problem(api.create(msisdn=FIRST), 409)
    api.room.run(api.scene.at("2027-06-07T12:00"))
    api.room.run(api.scene.tend())
    assert api.show(FIRST)["id"] == changed["id"]
    api.room.run(api.scene.at("2027-06-09T12:00"))
    api.room.run(api.scene.tend())
    is_problem(api("GET", f"/subscribers/{FIRST}"), 404)
    assert api.create(msisdn=FIRST).status_code == 201
    api.clean()


def test_a_number_may_be_taken_back_while_it_rests(api: Operators) -> None:
    api.change(msisdn=SECOND)
    assert api.change(SECOND, msisdn=FIRST).json()["msisdn"] == FIRST
    api.room.run(api.scene.at("2027-07-09T12:00"))
    api.room.run(api.scene.tend())
    assert api.show(FIRST)["msisdn"] == FIRST
    is_problem(api("GET", f"/subscribers/{SECOND}"), 404)


def test_a_credit_floor_may_not_leave_less_than_nothing(api: Operators) -> None:
    api.create(kind="postpaid", credit_floor="-50.00")
    api.room.run(api.scene.use(20_000, SECOND))
    assert api.show(SECOND)["balance"] == "-20.00"
    assert "choose -20.00 or lower" in is_problem(api.change(SECOND, credit_floor="-19.99"), 409)
    assert api.change(SECOND, credit_floor="-20.00").json()["available"] == "0.00"
    assert api.change(SECOND, credit_floor="-80.00").json()["available"] == "60.00"
    api.clean()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "name a field"),
        ({"status": "terminated"}, "body.status"),
        ({"tariff": None}, "body.tariff"),
        ({"tariff": "gold"}, "known are t"),
        ({"msisdn": ""}, "3 to 15 digits"),
        ({"cap": "1.00"}, "for a member"),
        ({"balance": "1.00"}, "body.balance"),
        ({"credit_floor": "0.01"}, "-50.00"),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused(api: Operators, fields: dict[str, Any], says: str) -> None:
    before = api.show()
    assert says in is_problem(api.change(**fields), 422)
    assert (api.show(), api.begun) == (before, [])


def test_who_is_terminated_stays_so_and_changes_nothing_any_more(api: Operators) -> None:
    ended = api("DELETE", f"/subscribers/{FIRST}")
    assert (ended.status_code, ended.json()["status"]) == (200, "terminated")
    assert api("DELETE", f"/subscribers/{FIRST}").json() == ended.json()
    assert "terminated" in is_problem(api.change(status="active"), 409)
    assert "terminated" in is_problem(
        api("POST", f"/subscribers/{FIRST}/products", json={"product": "pass"}), 409
    )
    assert api.begun == ["subscriber.terminate"] * 2
    first, again, *refused = attempts(api.audit)
    assert [each.ended["before"]["status"] for each in (first, again)] == ["active", "terminated"]
    assert first.ended["after"]["status"] == "terminated"
    assert [(each.begun, each.ended["status"]) for each in refused] == [(None, 409), (None, 409)]


def test_members_share_an_account_and_have_a_cap_of_their_own(api: Operators) -> None:
    made = [api.create(msisdn=f"49180000000{i}", member_of=FIRST, cap="3.00").json() for i in range(3)]
    assert {each["cap"] for each in made} == {"3.00"}
    first = api("GET", f"/subscribers/{FIRST}/members", params={"limit": 2}).json()
    rest = api("GET", f"/subscribers/{FIRST}/members", params={"limit": 2, "after": first["next"]}).json()
    listed = first["subscribers"] + rest["subscribers"]
    assert ([each["id"] for each in listed], rest["next"]) == (sorted(each["id"] for each in made), None)
    one = made[0]["id"]
    assert api.change(one, cap="0").json()["cap"] is None
    assert api.change(one, status="barred", msisdn=THIRD).json()["status"] == "barred"
    assert api.show()["status"] == "active"
    is_problem(api.change(one, credit_floor="-1.00"), 422)
    assert "member itself" in is_problem(api.create(member_of=one), 422)
    assert api("GET", f"/subscribers/{one}/members").json()["subscribers"] == []
    assert api("GET", f"/subscribers/{made[1]['id']}/balance").json()["cap_left"] == "3.00"
    api.clean()


def test_pages_together_name_each_subscriber(api: Operators) -> None:
    made = {api.create(msisdn=f"4918000000{i:02}").json()["id"] for i in range(30)} | {api.show()["id"]}
    api.room.run(member_of(api.scene, "491800000099"))
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = api("GET", "/subscribers", params={"limit": 7, "after": after}).json()
        seen += [each["id"] for each in page["subscribers"]]
        after = page["next"]
    assert {each for each in seen if "-" not in each} == made
    assert len([each for each in set(seen) if "-" in each]) == 1


@pytest.mark.parametrize("after", ["x", "1.2", "abcdefabcdef.0.17", "...", "abcdefabcdef.99.0", "a.-1.0"])
def test_a_place_of_another_walk_is_refused(api: Operators, after: str) -> None:
    is_problem(api("GET", "/subscribers", params={"after": after}), 422)


def test_a_product_is_bought_once_by_its_id_and_ends_with_its_period(api: Operators) -> None:
    place = f"/subscribers/{FIRST}/products"
    bought = api("POST", place, json={"product": "monthly", "id": "o1"})
    again = api("POST", place, json={"product": "monthly"}, headers={"Idempotency-Key": "o1"})
    assert (bought.status_code, again.status_code) == (201, 201)
    assert bought.json() == again.json()
    assert "other" in is_problem(api("POST", place, json={"product": "pass", "id": "o1"}), 409)
    (held,) = api("GET", place).json()
    assert (held["product"], held["number"], held["renews"]) == ("monthly@1", bought.json()["number"], True)
    ended = api("DELETE", f"{place}/{held['number']}").json()
    assert ended == api("DELETE", f"{place}/{held['number']}").json() == held | {"renews": False}
    is_problem(api("DELETE", f"{place}/99"), 404)
    said = api("GET", f"/subscribers/{FIRST}/balance").json()
    (bucket,) = said["buckets"]
    assert (bucket["name"], bucket["unit"], said["balance"]) == (
        "monthly@1 internet",
        "octets",
        api.show()["balance"],
    )
    api.clean()


@pytest.mark.parametrize(
    ("body", "header", "status", "says"),
    [
        ({"product": "gold"}, None, 422, "known are family, monthly, pass"),
        ({"product": "pass", "id": "a b"}, None, 422, "printable ASCII"),
        ({"product": "pass", "id": "a:b"}, None, 422, "printable ASCII"),
        ({"product": "pass", "id": "a"}, "b", 400, "differ"),
        ({"product": "pass", "price": "0"}, None, 422, "body.price"),
    ],
)  # fmt: skip
def test_a_purchase_that_cannot_be_is_refused(
    api: Operators, body: dict[str, Any], header: str | None, status: int, says: str
) -> None:
    headers = {} if header is None else {"Idempotency-Key": header}
    told = is_problem(api("POST", f"/subscribers/{FIRST}/products", json=body, headers=headers), status)
    assert says in told
    assert api.show()["balance"] == "100.00"


def test_what_is_not_paid_for_is_not_bought(api: Operators) -> None:
    api.create()
    told = is_problem(api("POST", f"/subscribers/{SECOND}/products", json={"product": "pass"}), 409)
    assert "costs 1.00" in told


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/subscribers", None, 401),
        ("GET", "/subscribers", BALANCE, 403),
        ("POST", "/subscribers", READ, 403),
        ("PATCH", f"/subscribers/{FIRST}", READ, 403),
        ("DELETE", f"/subscribers/{FIRST}", BALANCE, 403),
        ("GET", f"/subscribers/{FIRST}/balance", READ, 403),
        ("POST", f"/subscribers/{FIRST}/products", READ, 403),
        ("GET", f"/subscribers/{SECOND}", READ, 404),
        ("GET", "/subscribers/%20", READ, 404),
        ("GET", "/subscribers/a-b-c", READ, 404),
    ],
)  # fmt: skip
def test_who_may_not_is_told_so_and_who_is_not_there_is_not(
    api: Operators, method: str, path: str, key: str | None, status: int
) -> None:
    is_problem(api(method, path, key, json={} if method in {"POST", "PATCH"} else None), status)
    assert api.begun == []


def test_the_audit_log_has_states_before_and_after_and_never_a_number(api: Operators) -> None:
    made = api.create(imsi=CARD, credit="5.00").json()
    first = api.show()["id"]
    api.change(msisdn=THIRD, status="barred")
    api.change(THIRD, imsi="262010000000009", status="active")
    bought = api("POST", f"/subscribers/{THIRD}/products", json={"product": "pass", "id": "o-1"})
    assert bought.status_code == 201, bought.text
    api("DELETE", f"/subscribers/{THIRD}")

    seen = [each.ended for each in attempts(api.audit)]

    told = {"tariff": "t", "credit_floor": "0.00"}
    rich, gone = (
        {"status": "active", "balance": "100.00"} | told,
        {"status": "terminated", "balance": "99.00"} | told,
    )
    assert [each["action"] for each in seen] == [
        "subscriber.create", "subscriber.change", "subscriber.change", "product.buy", "subscriber.terminate",
    ]  # fmt: skip
    assert [each["resource"] for each in seen[:3]] == [made["id"], first, first]
    assert seen[0]["after"] == {"status": "active", "balance": "5.00", "replayed": False} | told
    assert seen[1]["before"] == rich | {"fields": ["status", "msisdn"]}
    assert seen[1]["after"] == rich | {"status": "barred", "number": "changed"}
    assert (seen[2]["after"]["status"], seen[2]["after"]["imsi"]) == ("active", "changed")
    assert (seen[3]["before"]["product"], seen[3]["after"]["price"]) == (
        bought.json()["product"],
        bought.json()["price"],
    )
    assert seen[4]["after"] == gone
    assert [each["accounts"] for each in seen[1:]] == [[first]] * 4
    assert not any(each in str(seen) for each in (FIRST, SECOND, THIRD, CARD, "262010000000009"))


def test_a_store_that_is_away_is_503(api: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_given: Any, **_options: Any) -> Any:
        raise LinkDown("away")

    monkeypatch.setattr("ocs.balance.accounts.Accounts.amend", away)
    answer = api.change(status="barred")
    is_problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
