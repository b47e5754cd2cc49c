"""Every path of TMF632, TMF629 and TMF666 that is served, in every answer that it has here, against the definitions as TM Forum publishes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine

from ocs.care.customers.http import Ground, accounts, customers, parties, routers
from ocs.care.customers.shapes import Words
from ocs.http.access import Asks, AsksChange
from ocs.http.keys import ApiKeys
from ocs.sql import engine_of
from tests.care_scene import ACCOUNT, ADA, CUSTOMER, HOME, MAIL, PARTY, PERSONAL, CareApi, account_of
from tests.charged_store import store_room
from tests.real_valkey import RealValkey
from tests.vectors.rating.element import RULES

SERVICES, OWN = "/customers/v1/services", "/customers/v1/accounts"


@pytest.fixture
def api(database: Engine, tmp_path: Path) -> Iterator[CareApi]:
    with CareApi(database, tmp_path) as made:
        yield made


def test_the_base_paths_are_the_definitions() -> None:
    assert (PARTY, CUSTOMER, ACCOUNT) == (parties.BASE, customers.BASE, accounts.BASE)


def test_a_person_is_created_once_shown_changed_and_ended(api: CareApi) -> None:
    body = ADA | {"birthDate": "1990-05-17T00:00:00Z", "languageAbility": [{"languageCode": "en"}]}
    made = api("POST", f"{PARTY}/individual", 201, body, "a-1")
    assert api.answer.headers["location"] == made["href"] == f"{PARTY}/individual/{made['id']}"
    assert api("POST", f"{PARTY}/individual", 201, body, "a-1") == made
    api("POST", f"{PARTY}/individual", 409, ADA, "a-1")
    assert (made["birthDate"], made["languageAbility"][0]["languageCode"]) == ("1990-05-17T00:00:00Z", "en")
    assert made["contactMedium"] == [*MAIL, HOME]
    assert api("GET", made["href"], 200) == made
    moved = HOME | {"characteristic": HOME["characteristic"] | {"city": "Bonn", "street2": "c/o X"}}  # type: ignore[operator]
    changed = api("PATCH", made["href"], 200, {"familyName": "Groß", "contactMedium": [moved]})
    assert changed == made | {"familyName": "Groß", "fullName": "Ada Groß", "contactMedium": [*MAIL, moved]}
    api("DELETE", made["href"], 204)
    api("DELETE", made["href"], 204)
    assert [each["name"] for each in api("GET", made["href"], 200)["partyCharacteristic"]] == ["until"]
    api("PATCH", made["href"], 409, {"familyName": "Klein"})


def test_an_organisation_has_its_place_in_a_tree_and_never_below_itself(api: CareApi) -> None:
    top = api.company()
    north, south = api.company("North", top["id"]), api.company("South", top["id"])
    assert (top["isHeadOffice"], north["isHeadOffice"]) == (True, False)
    below = {"organizationParentRelationship": {"organization": {"id": south["id"]}}}
    moved = api("PATCH", north["href"], 200, below)
    assert moved["organizationParentRelationship"]["organization"]["id"] == south["id"]
    api("PATCH", top["href"], 409, below)
    api("DELETE", south["href"], 409)
    path = f"{PARTY}/organization?organizationParentRelationship.organization.id={south['id']}&fields=tradingName"
    assert [each["tradingName"] for each in api("GET", path, 200)] == ["North"]
    numbers = [{"identificationType": "vatId", "identificationId": "de 123456789"}]
    language = [{"name": "language", "value": "en"}]
    changed = api(
        "PATCH",
        top["href"],
        200,
        {"organizationIdentification": numbers, "partyCharacteristic": language, "tradingName": "K AG"},
    )
    assert changed["organizationIdentification"][0]["identificationId"] == "DE123456789"
    api("DELETE", north["href"], 204)
    assert api("GET", north["href"], 200)["status"] == "closed"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (ADA | {"givenName": ""}, "given_name: it is empty"),
        (ADA | {"middleName": "B"}, "middleName: unknown attribute; leave it out"),
        (ADA | {"languageAbility": [{"languageCode": "fr"}]}, "language: unknown word; write de or en"),
        (
            ADA | {"contactMedium": [{"mediumType": "email", "characteristic": {}}]},
            "emailAddress: it is missing",
        ),
        (
            ADA | {"contactMedium": [{"mediumType": "fax", "characteristic": {}}]},
            "contactMedium[0].mediumType",
        ),
        (ADA | {"birthDate": "1990-05-17"}, "birthDate: no time"),
        ({"givenName": "Ada"}, "familyName: Field required"),
    ],
)
def test_a_wrong_person_is_refused_with_where_and_why(api: CareApi, body: Any, says: str) -> None:
    assert says in api("POST", f"{PARTY}/individual", 400, body)["message"]
    assert api("GET", f"{PARTY}/individual", 200) == []


def test_lists_are_paged_filtered_and_cut_to_fields(api: CareApi) -> None:
    made = [api.person(familyName=name) for name in ("Ahorn", "Birke", "Buche", "Buche")]
    page = api("GET", f"{PARTY}/individual?limit=2&offset=1&fields=familyName", 200)
    assert page == [{name: each[name] for name in ("id", "href", "familyName")} for each in made[1:3]]
    assert (api.answer.headers["x-total-count"], api.answer.headers["x-result-count"]) == ("4", "2")
    assert 'rel="next"' in api.answer.headers["link"]
    assert [each["id"] for each in api("GET", f"{PARTY}/individual?familyName=Buche&limit=1", 200)] == [
        made[2]["id"]
    ]
    assert api.answer.headers["x-total-count"] == "2"
    found = api(
        "GET", f"{PARTY}/individual?contactMedium.characteristic.city=Berlin&familyName.ne=Ahorn&limit=2", 200
    )
    assert [each["id"] for each in found] == [made[1]["id"], made[2]["id"]]
    assert api.answer.headers["x-total-count"] == "3"
    api("GET", f"{PARTY}/individual?nickName=A", 400)
    api("GET", f"{PARTY}/individual?fields=nickName", 400)
    api("GET", f"{PARTY}/individual/{made[0]['id']}?fields=nickName", 400)
    assert set(api("GET", f"{PARTY}/individual/{made[0]['id']}?fields=none", 200)) == {"id", "href"}
    for absent in ("999999", "x", "9" * 40):
        api("GET", f"{PARTY}/individual/{absent}", 404)
        api("DELETE", f"{PARTY}/organization/{absent}", 404)
    api("GET", f"{PARTY}/organization/{made[0]['id']}", 404)


def test_a_customer_has_a_number_a_kind_and_its_accounts(api: CareApi) -> None:
    ada = api.person()
    made = api.customer(ada)
    assert (made["id"], made["name"], made["status"]) == ("C10000016", "Ada Klein", "active")
    account = api.account(made)
    shown = api("GET", made["href"], 200)
    assert shown["account"] == [{"id": account["id"], "href": account["href"], "name": account["id"]}]
    assert api("GET", f"{CUSTOMER}/customer?engagedParty.id={ada['id']}&status=active", 200) == [shown]
    assert api("GET", f"{CUSTOMER}/customer?engagedParty.id=x", 200) == []
    engaged = {"engagedParty": {"id": ada["id"], "@referredType": "Individual"}}
    gold = engaged | {"characteristic": [{"name": "creditClass", "value": "gold"}]}
    changed = api("PATCH", made["href"], 200, gold)
    assert [each["value"] for each in changed["characteristic"]] == ["consumer", "gold"]
    api("PATCH", made["href"], 400, {"engagedParty": {"id": "999", "@referredType": "Individual"}})
    api("PATCH", made["href"], 400, {"characteristic": [{"name": "shoeSize", "value": "43"}]})
    api("PATCH", made["href"], 400, {"status": "active"})
    api("DELETE", made["href"], 409)
    api("DELETE", account["href"], 204)
    api("DELETE", account["href"], 204)
    assert api("GET", account["href"], 200)["state"] == "closing"
    api("DELETE", made["href"], 409)
    api("GET", f"{CUSTOMER}/customer/C1", 404)
    wrong = {"name": "Eva", "characteristic": [{"name": "kind", "value": "consumer"}]}
    api("POST", f"{CUSTOMER}/customer", 400, wrong | engaged)
    api(
        "POST",
        f"{CUSTOMER}/customer",
        400,
        wrong | {"engagedParty": {"id": "999", "@referredType": "Individual"}},
    )


def test_a_billing_account_is_opened_once_changed_and_seen_as_a_party_account_too(api: CareApi) -> None:
    top = api.company()
    lab = api.company("Lab", top["id"])
    customer = api.customer(top, "business", "Klein AG")
    body = account_of(customer) | {
        "name": "Lab",
        "billStructure": {
            "cycleSpecification": {"name": "monthly-15", "isRef": True, "paymentDueDateOffset": 30},
            "format": {"name": "short", "isRef": True},
            "presentationMedia": [{"name": "download", "isRef": True}],
        },
    }
    body["relatedParty"].append(
        {"id": lab["id"], "name": "Lab", "role": "payer", "@referredType": "Organization"}
    )
    made = api("POST", f"{ACCOUNT}/billingAccount", 201, body, "acc-1")
    api.today = api.today.replace(day=9)
    assert api("POST", f"{ACCOUNT}/billingAccount", 201, body, "acc-1") == made
    structure = made["billStructure"]
    assert (
        structure["cycleSpecification"]["name"],
        structure["cycleSpecification"]["paymentDueDateOffset"],
    ) == ("monthly-15", 30)
    assert [each["name"] for each in made["relatedParty"]] == ["Klein AG", "Lab"]
    [seen] = api("GET", f"{ACCOUNT}/partyAccount?state=active", 200)
    assert seen == made | {"href": f"{ACCOUNT}/partyAccount/{made['id']}", "@type": "PartyAccount"}
    assert api("GET", seen["href"], 200) == seen
    said = {"name": "Lab", "relatedParty": body["relatedParty"]}
    media = {"contactType": "billing", "validFor": {}, "contactMedium": MAIL}
    changed = api(
        "PATCH",
        made["href"],
        200,
        said | {"contact": [media], "billStructure": {"format": {"name": "full", "isRef": True}}},
    )
    assert changed["billStructure"]["format"]["id"] == "full"
    assert changed["contact"][0]["contactMedium"] == MAIL
    api("PATCH", made["href"], 400, said | {"name": "Other"})
    api("PATCH", made["href"], 400, said | {"relatedParty": account_of(customer)["relatedParty"]})
    exempt = [{"issuingJurisdiction": "DE", "validFor": {}, "reason": "reverse_charge"}]
    assert "VAT id" in api("PATCH", made["href"], 400, said | {"taxExemption": exempt})["message"]
    exempt[0]["reason"] = "exempt"
    assert (
        api("PATCH", made["href"], 200, said | {"taxExemption": exempt})["taxExemption"][0]["reason"]
        == "exempt"
    )
    assert "taxExemption" not in api("PATCH", made["href"], 200, said | {"taxExemption": []})
    assert (
        "iban"
        in api("PATCH", made["href"], 400, said | {"defaultPaymentMethod": {"id": "direct_debit"}})["message"]
    )
    api("POST", f"{ACCOUNT}/billingAccount", 400, body | {"relatedParty": body["relatedParty"][1:]})
    api("POST", f"{ACCOUNT}/partyAccount", 405, body)


def test_what_the_definition_has_no_room_for_is_shown_and_changed_whole(api: CareApi) -> None:
    customer = api.customer(api.person())
    made = api(
        "POST", OWN, 201, {"customer": customer["id"], "currency": "CHF", "since": "2026-02-01"}, "own-1"
    )
    assert (
        api("POST", OWN, 201, {"customer": customer["id"], "currency": "CHF", "since": "2026-02-01"}, "own-1")
        == made
    )
    assert (made["currency"], made["since"], made["cycle"], made["iban_end"]) == (
        "CHF",
        "2026-02-01",
        "monthly-1",
        "",
    )
    one = f"{OWN}/{made['id']}"
    debit = {
        "payment": "direct_debit",
        "iban": "DE89370400440532013000",
        "mandate": "M-1",
        "mandate_day": "2026-01-31",
        "due_days": 7,
    }
    changed = api("PATCH", one, 200, debit)
    assert (changed["iban_end"], changed["mandate_day"], changed["due_days"]) == ("3000", "2026-01-31", 7)
    assert "370400" not in api.answer.text
    assert api("GET", one, 200) == changed
    api("PATCH", one, 422, {"iban": "DE89370400440532013001"})
    api("PATCH", one, 422, {"colour": "red"})
    api("PATCH", one, 422, {"due_days": "7"})
    api("GET", f"{OWN}/A1", 404)
    api("POST", OWN, 422, {"customer": "C1"})


def test_a_service_is_held_once_changed_from_a_day_on_and_ended(api: CareApi) -> None:
    ada = api.person()
    account = api.account(api.customer(ada))
    body = {
        "party": int(ada["id"]),
        "plan": "smart-m",
        "number": "+491701",
        "book": "b1",
        "options": ["day"],
        "credit_limit": "50.00",
    }
    made = api("POST", SERVICES, 201, body, "s-1")
    assert api.answer.headers["location"] == f"{SERVICES}/{made['id']}"
    assert api("POST", SERVICES, 201, body, "s-1") == made
    assert (made["payer"], made["number"], made["credit_limit"], made["since"]) == (
        account["id"],
        "491701",
        "50.00",
        "2026-03-01",
    )
    one = f"{SERVICES}/{made['id']}"
    changes = {
        "day": "2026-03-10",
        "plan": "smart-l",
        "add_options": ["night"],
        "end_options": ["day"],
        "credit_limit": "20.00",
    }
    changed = api("PATCH", one, 200, changes)
    assert [(each["plan"], each["role"], each["since"], each["until"]) for each in changed["plans"]] == [
        ("smart-m", "plan", "2026-03-01", "2026-03-10"), ("day", "option", "2026-03-01", "2026-03-10"),
        ("smart-l", "plan", "2026-03-10", None), ("night", "option", "2026-03-10", None),
    ]  # fmt: skip
    # all or nothing: the second of both changes is wrong
    api("PATCH", one, 404, {"day": "2026-03-20", "plan": "smart-s", "end_options": ["day"]})
    assert api("GET", one, 200) == changed
    api("PATCH", one, 404, {"payer": "A1"})
    api("PATCH", one, 422, {"day": "2026-03-20"})
    api("PATCH", one, 422, {"credit_limit": "a lot"})
    api("PATCH", one, 422, {"colour": "red"})
    api("POST", SERVICES, 409, body | {"book": ""}, "s-2")
    ended = api("PATCH", one, 200, {"until": "2026-04-01"})
    assert (ended["until"], {each["until"] for each in ended["plans"]}) == (
        "2026-04-01",
        {"2026-03-10", "2026-04-01"},
    )
    api("GET", f"{SERVICES}/999", 404)


def test_services_are_listed_page_by_page(api: CareApi) -> None:
    ada = api.person()
    account = api.account(api.customer(ada))
    made = [
        api("POST", SERVICES, 201, {"party": int(ada["id"]), "plan": "m", "number": f"49170{place}"})["id"]
        for place in range(3)
    ]
    page = api("GET", f"{SERVICES}?party={ada['id']}&limit=2", 200)
    assert ([each["id"] for each in page["services"]], page["next"]) == (made[:2], made[1])
    page = api("GET", f"{SERVICES}?payer={account['id']}&limit=2&after={page['next']}", 200)
    assert ([each["id"] for each in page["services"]], page["next"]) == (made[2:], None)
    assert [each["id"] for each in api("GET", f"{SERVICES}?number=491701", 200)["services"]] == made[1:2]
    api("GET", f"{SERVICES}?colour=red", 422)


def test_words_of_configuration_are_the_only_ones(database: Engine, tmp_path: Path) -> None:
    with CareApi(
        database, tmp_path, words=Words(cycles={"monthly-1"}, plans={"smart-m"}, credit_classes={"standard"})
    ) as api:
        ada = api.person()
        account = api.account(api.customer(ada))
        api("PATCH", f"{OWN}/{account['id']}", 422, {"cycle": "weekly"})
        api("POST", SERVICES, 422, {"party": int(ada["id"]), "plan": "smart-x"})
        api("POST", SERVICES, 201, {"party": int(ada["id"]), "plan": "smart-m"})


def test_who_may_not_is_refused_and_every_change_is_on_the_audit_log_without_anything_personal(
    database: Engine, tmp_path: Path
) -> None:
    with RealValkey() as server, store_room(server) as room:
        keys = ApiKeys(room.run(room.charged({}, RULES)).store)
        shown = {
            scope: room.run(keys.create("test", frozenset({scope}), 1))[1]
            for scope in ("care:read", "care:write", "balance:read")
        }
        with CareApi(database, tmp_path, keys, room=room) as api:
            api("GET", f"{PARTY}/individual", 401)
            for scope in ("care:write", "balance:read"):
                api("GET", f"{PARTY}/individual", 403, key=shown[scope])
            api("POST", f"{PARTY}/individual", 403, ADA, key=shown["care:read"])
            made = api("POST", f"{PARTY}/individual", 201, ADA, key=shown["care:write"])
            assert api("GET", made["href"], 200, key=shown["care:read"]) == made
            api("PATCH", made["href"], 400, {"familyName": ""}, key=shown["care:write"])
            lines = api.lines()
    assert lines.count('"party.create"') == 2  # its intent, and its outcome with the id that it made
    assert f"party {made['id']}" in lines
    assert lines.count('"status":403') == 1
    assert lines.count('"status":400') == 1
    assert not any(each in lines for each in PERSONAL)


def test_a_database_that_is_away_is_503_and_says_to_ask_again(tmp_path: Path) -> None:
    with CareApi(engine_of("sqlite:////nowhere/at/all.sqlite"), tmp_path) as api:
        assert api("GET", SERVICES, 503)["detail"].startswith("the database does not answer")
        assert api.answer.headers["retry-after"] == "1"
        api("PATCH", f"{SERVICES}/1", 503, {"plan": "m"})


def test_every_route_is_on_the_page_and_every_change_tells_the_audit_log_what_it_is(api: CareApi) -> None:
    page = api.app.openapi()
    assert {
        f"{PARTY}/organization/{{id}}",
        f"{CUSTOMER}/customer",
        f"{ACCOUNT}/partyAccount/{{id}}",
        SERVICES,
        OWN,
    } <= page["paths"].keys()
    for build in routers:
        for route in build(
            Ground(api.ground.engine, api.ground.access, api.ground.clock, api.ground.today)
        ).routes:
            assert isinstance(route, APIRoute)
            changes = bool((route.methods or set()) - {"GET"})
            asks: list[Any] = [each.call for each in route.dependant.dependencies]
            assert [type(each) for each in asks] == [AsksChange if changes else Asks]
            assert [each.scope for each in asks] == ["care:write" if changes else "care:read"]
            assert not inspect.iscoroutinefunction(route.endpoint), "SQL never runs on the loop"
