"""Keys and the audit log over HTTP: nobody gives what he does not have, and nobody sees another tenant's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.http.keys import SCOPES
from ocs.notices.subscriptions import Subscriptions
from tests.real_valkey import RealValkey
from tests.unit.http.grounds import DAY, NOW_MS, Ground, ground, is_problem


@pytest.fixture
def api(valkey: RealValkey, tmp_path: Path) -> Iterator[Ground]:
    with ground(valkey, tmp_path, rate=100, burst=1000) as made:
        yield made


def test_a_key_is_made_shown_once_listed_and_revoked(api: Ground) -> None:
    admin, shown = api.key(role="admin")
    wanted = {
        "name": "till 7",
        "role": "channel",
        "channel": "tills",
        "rate": 20,
        "valid_until": "2027-01-01T00:00:00Z",
    }

    made = api("POST", "/admin/v1/keys", shown, json=wanted)

    assert made.status_code == 201, made.text
    key = made.json()
    assert (key["channel"], key["rate"], key["burst"], key["valid_until"]) == (
        "tills",
        20,
        None,
        "2027-01-01T00:00:00Z",
    )
    assert api("GET", "/things", key["key"]).json()["channel"] == "tills"
    listed = api("GET", "/admin/v1/keys", shown).json()["keys"]
    assert {each["id"] for each in listed} == {admin.id, key["id"]}
    assert key["key"].split("_", 2)[2] not in json.dumps(listed)
    assert api("DELETE", f"/admin/v1/keys/{key['id']}", shown).json()["revoked"] is not None
    is_problem(api("GET", "/things", key["key"]), 401)
    kept = (api.folder / f"{DAY}.jsonl").read_text()
    assert key["key"].split("_", 2)[2] not in kept
    assert [line["action"] for line in api.lines()][::2] == ["key.create", "key.revoke"]


ALONE = {"keys:write", "balance:read"}


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"scopes": ["balance:read"]}, 201),
        ({"scopes": ["balance:read"], "channel": "mine", "rate": 10}, 201),
        ({"scopes": ["topup:write"]}, 403),
        ({"scopes": ["balance:read", "channel:any"]}, 403),
        ({"role": "channel"}, 403),
        ({"role": "admin"}, 403),
        ({"scopes": ["balance:read"], "channel": "another"}, 403),
        ({"scopes": ["balance:read"], "rate": 11}, 403),
        ({"scopes": ["balance:read"], "rate": 10, "burst": 21}, 403),
        ({"scopes": []}, 422),
        ({}, 422),
        ({"role": "king"}, 422),
        ({"scopes": ["everything"]}, 422),
        ({"scopes": ["balance:read"], "name": "a\nb"}, 422),
        ({"scopes": ["balance:read"], "name": "a" * 65}, 422),
        ({"scopes": ["balance:read"], "channel": "UPPER"}, 422),
        ({"scopes": ["balance:read"], "rate": 1.5}, 422),
        ({"scopes": ["balance:read"], "rate": "5"}, 422),
        ({"scopes": ["balance:read"], "rate": True}, 422),
        ({"scopes": ["balance:read"], "burst": "5"}, 422),
        ({"scopes": ["balance:read"], "valid_until": 1_893_456_000}, 422),
        ({"scopes": ["balance:read"], "valid_until": "1893456000"}, 422),
        ({"scopes": ["balance:read"], "rate": 10**9}, 422),
        ({"scopes": ["balance:read"], "burst": 5}, 201),
        ({"scopes": ["balance:read"], "burst": 21}, 403),
        ({"scopes": ["balance:read"], "valid_until": "2020-01-01T00:00:00Z"}, 409),
        ({"scopes": ["balance:read"], "valid_until": "0001-01-01T00:00:00Z"}, 409),
        ({"scopes": ["balance:read"], "valid_until": "9999-12-31T23:59:59-12:00"}, 422),
        ({"scopes": ["balance:read"], "valid_until": "tomorrow"}, 422),
        ({"scopes": ["balance:read"], "valid_until": "2027-01-01T00:00:00"}, 422),
        ({"scopes": ["balance:read"], "id": "0123456789ab"}, 422),
        ([], 422),
    ],
)
def test_nobody_gives_what_he_does_not_have(api: Ground, wanted: Any, status: int) -> None:
    maker, shown = api.key(*ALONE, channel="mine", rate=10)
    answer = api("POST", "/admin/v1/keys", shown, json=wanted)
    if status == 201:
        assert answer.json()["channel"] == "mine"
        assert answer.json()["rate"] == 10
    else:
        is_problem(answer, status)
        assert [each.id for each in api.net.run(api.keys.all())] == [maker.id]
    outcomes = [line["status"] for line in api.lines() if line["line"] == "outcome"]
    assert outcomes == [status]


def test_a_key_with_an_end_makes_none_that_outlives_it(api: Ground) -> None:
    _, shown = api.key(role="admin", until_ms=NOW_MS + 86_400_000)
    for until, status in ((None, 403), ("2026-11-30T00:00:00Z", 403), ("2026-11-29T00:00:00Z", 201)):
        answer = api("POST", "/admin/v1/keys", shown, json={"role": "care", "valid_until": until})
        assert answer.status_code == status, answer.text


def test_a_narrowed_token_gives_no_more_than_it_has(api: Ground) -> None:
    _, shown = api.key(role="admin")
    token = api.token(shown, scope="keys:write channel:any").json()["access_token"]
    is_problem(api("POST", "/admin/v1/keys", token, json={"scopes": ["topup:write"]}), 403)
    assert api("POST", "/admin/v1/keys", token, json={"scopes": ["keys:write"]}).status_code == 201


def test_another_channels_keys_are_not_there(api: Ground) -> None:
    own, shown = api.key(*ALONE, channel="mine")
    other, other_shown = api.key("balance:read", channel="another")
    assert [each["id"] for each in api("GET", "/admin/v1/keys", shown).json()["keys"]] == [own.id]
    is_problem(api("DELETE", f"/admin/v1/keys/{other.id}", shown), 404)
    is_problem(api("DELETE", "/admin/v1/keys/000000000000", shown), 404)
    is_problem(api("DELETE", "/admin/v1/keys/UPPER", shown), 422)
    assert api("GET", "/things", other_shown).status_code == 200


def test_the_audit_log_shows_a_channel_its_own_lines_and_an_auditor_all(api: Ground) -> None:
    _, tills = api.key("adjust:write", "audit:read", channel="tills")
    _, apps = api.key("adjust:write", channel="apps")
    _, auditor = api.key(role="auditor")
    for shown in (tills, apps):
        assert api("PUT", "/things/x", shown).status_code == 200
    assert api("PUT", "/things/x", "wrong").status_code == 401

    def channels(shown: str, **asked: Any) -> list[str]:
        answer = api("GET", "/admin/v1/audit", shown, params=asked)
        assert answer.status_code == 200, answer.text
        return [each["channel"] for each in answer.json()["changes"]]

    assert channels(tills) == ["tills"]
    assert channels(auditor) == ["tills", "apps", ""]
    assert channels(auditor, channel="apps") == ["apps"]
    assert channels(auditor, day="2026-11-27") == []
    for wrong in (
        {"day": "2026-13-45"},
        {"day": "٢٠٢٦-١١-٢٨"},
        {"chanel": "apps"},
    ):  # none of them may look like an empty day
        is_problem(api("GET", "/admin/v1/audit", auditor, params=wrong), 422)
    is_problem(api("GET", "/admin/v1/audit", tills, params={"channel": "apps"}), 403)
    is_problem(api("GET", "/admin/v1/audit", apps), 403)
    first = api("GET", "/admin/v1/audit", auditor, params={"limit": 1}).json()
    second = api("GET", "/admin/v1/audit", auditor, params={"limit": 1, "after": first["next"]}).json()
    assert [page["changes"][0]["channel"] for page in (first, second)] == ["tills", "apps"]


@pytest.mark.parametrize("after", [1, 10**9, 1 << 53])
def test_a_place_where_no_page_begins_is_no_error(api: Ground, after: int) -> None:
    _, auditor = api.key("adjust:write", role="auditor")
    assert api("PUT", "/things/x", auditor).status_code == 200
    answer = api("GET", "/admin/v1/audit", auditor, params={"after": after})
    assert (answer.status_code, answer.json()["changes"]) == (200, [])


@pytest.mark.parametrize(
    "asked",
    [
        {"day": "../../etc/passwd"},
        {"day": "2026-11-28/../2026-11-28"},
        {"day": "today"},
        {"limit": 0},
        {"limit": 1001},
        {"after": -1},
        {"after": "x"},
        {"client": "a" * 33},
        {"account": "a" * 65},
    ],
)
def test_what_cannot_be_asked_of_the_audit_log_is_told(api: Ground, asked: dict[str, Any]) -> None:
    _, auditor = api.key(role="auditor")
    is_problem(api("GET", "/admin/v1/audit", auditor, params=asked), 422)


def test_the_page_of_the_api_tells_both_ways_in_and_every_scope(api: Ground) -> None:
    schema = api("GET", "/openapi.json").json()
    flows = schema["components"]["securitySchemes"]["OAuth2"]["flows"]
    assert flows["clientCredentials"]["tokenUrl"] == "/oauth/token"
    assert set(flows["clientCredentials"]["scopes"]) == set(SCOPES)
    assert schema["paths"]["/oauth/token"]["post"]["requestBody"]["content"].keys() == {
        "application/x-www-form-urlencoded"
    }


def test_who_revokes_a_key_is_told_what_its_channel_still_subscribes_to(api: Ground) -> None:
    _, admin = api.key(role="admin")
    old, _ = api.key("events:write", channel="tills")
    new, _ = api.key("events:write", channel="tills")
    subscriptions = Subscriptions(api.net.charged.store)
    for owner, channel in ((old, "tills"), (old, "tills"), (new, "tills"), (new, "bank")):
        api.net.run(subscriptions.create(owner.id, "https://example.com/", 1, channel=channel))

    told = api("DELETE", f"/admin/v1/keys/{old.id}", admin).json()["subscriptions"]

    assert sorted(told, key=lambda each: str(each["state"])) == [
        {"made_by": new.id, "state": "active", "subscriptions": 1},
        {"made_by": old.id, "state": "stopped", "subscriptions": 2},
    ]
