"""Who is let in: keys with roles, channels and an end; tokens; rates; and strangers who guess."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.api_limits import API_FAILURES_BURST, API_TOKENS_MAX
from ocs.http import keys as keys_module
from ocs.http import tokens as tokens_module
from ocs.http.access import OPEN
from ocs.http.keys import ROLES, SCOPES, ApiKeys, hash_of
from tests.real_valkey import RealValkey
from tests.unit.http.grounds import NOW_MS, Ground, ground, is_problem

READ, WRITE, ADJUST = "balance:read", "topup:write", "adjust:write"
BODY = {"amount": 1, "what": "t-1"}


@pytest.fixture
def api(valkey: RealValkey, tmp_path: Path) -> Iterator[Ground]:
    with ground(valkey, tmp_path) as made:
        yield made


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


# -- keys


def test_a_key_of_before_is_read_as_it_was_and_its_channel_is_its_id(api: Ground) -> None:
    row = json.dumps(["desk", hash_of("s" * 43), ["balance:read"], 5, 0])
    api.net.run(api.net.charged.store.execute(0, "HSET", "{keys}:api", "0123456789ab", row))

    seen = api("GET", "/things", "ocs_0123456789ab_" + "s" * 43)

    assert seen.json() == {"caller": "0123456789ab", "channel": "0123456789ab", "scopes": ["balance:read"]}


def test_a_key_that_says_no_more_than_before_is_written_as_before(api: Ground) -> None:
    plain, _ = api.key(READ)
    more, _ = api.key(READ, role="channel", channel="tills", rate=5, until_ms=NOW_MS + 1)
    rows = {
        key.id: json.loads(api.net.run(api.net.charged.store.execute(0, "HGET", "{keys}:api", key.id)))
        for key in (plain, more)
    }
    assert (len(rows[plain.id]), len(rows[more.id])) == (5, 6)
    assert api.net.run(api.keys.get(more.id)) == more


def test_a_role_is_the_scopes_that_it_has_beside_those_that_were_named(api: Ground) -> None:
    _, shown = api.key(ADJUST, role="channel", channel="tills")
    seen = api("GET", "/things", shown).json()
    assert set(seen["scopes"]) == ROLES["channel"] | {ADJUST}
    assert seen["channel"] == "tills"


def test_roles_are_what_they_are_said_to_be() -> None:
    assert all(scopes <= SCOPES.keys() for scopes in ROLES.values())
    assert ROLES["admin"] == SCOPES.keys()
    assert SCOPES.keys() - ROLES["operator"] == {"keys:write", "audit:read"}
    assert not any(scope.endswith(":write") for scope in ROLES["auditor"])
    assert "channel:any" not in ROLES["channel"]


@pytest.mark.parametrize(
    "more",
    [
        {"role": "king"},
        {"channel": "Tills"},
        {"channel": "a" * 33},
        {"channel": "a\nb"},
        {"rate": -1},
        {"rate": 100_001},
        {"burst": -1},
        {"rate": 1, "burst": 200_001},
        {"until_ms": NOW_MS},
    ],
)
def test_a_key_that_cannot_be_is_not_made(api: Ground, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"roles|channel|rate|burst|instant"):
        api.key(READ, **more)
    assert api.net.run(api.keys.all()) == []


def test_a_key_opens_nothing_from_its_end_on(api: Ground) -> None:
    _, shown = api.key(READ, until_ms=NOW_MS + 1000)
    token = api.token(shown).json()
    assert token["expires_in"] == 1
    api.clock.at_ms += 999
    assert api("GET", "/things", shown).status_code == 200
    api.clock.at_ms += 1
    is_problem(api("GET", "/things", shown), 401)
    is_problem(api("GET", "/things", token["access_token"]), 401)
    assert api.token(shown).json()["error"] == "invalid_client"


def test_secrets_are_compared_in_constant_time() -> None:
    """By the code, not by a clock: both comparisons are hmac's, also for a key or a token that is none."""
    for of in (ApiKeys.of_pair, tokens_module.Tokens.of):
        text = inspect.getsource(of)
        assert "hmac.compare_digest(" in text
        assert "_NO_HASH" in text
        assert "kept ==" not in text
    assert len(keys_module._NO_HASH) == len(tokens_module._NO_HASH) == len(hash_of("a"))


# -- tokens


def test_a_token_opens_what_its_key_opens_until_it_expires(api: Ground) -> None:
    key, shown = api.key(READ, channel="tills")
    answer = api.token(shown)
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 900, READ)
    seen = api("GET", "/things", token["access_token"]).json()
    assert (seen["caller"], seen["channel"]) == (key.id, "tills")
    api.clock.at_ms += 899_999
    assert api("GET", "/things", token["access_token"]).status_code == 200
    api.clock.at_ms += 1
    refused = api("GET", "/things", token["access_token"])
    is_problem(refused, 401)
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]


def test_credentials_are_shown_by_basic_too_and_form_encoded_within(api: Ground) -> None:
    key, shown = api.key(READ)
    secret = shown.split("_", 2)[2]
    for told in (secret, secret.replace("-", "%2D").replace("_", "%5F")):
        answer = api(
            "POST", "/oauth/token", headers=basic(key.id, told), data={"grant_type": "client_credentials"}
        )
        assert answer.status_code == 200, answer.text


def test_a_token_may_be_for_less_than_its_key_and_never_for_more(api: Ground) -> None:
    _, shown = api.key(READ, WRITE)
    narrow = api.token(shown, scope=READ).json()
    assert narrow["scope"] == READ
    assert api("GET", "/things", narrow["access_token"]).status_code == 200
    refused = api("POST", "/things", narrow["access_token"], json=BODY)
    assert 'scope="topup:write"' in refused.headers["www-authenticate"]
    is_problem(refused, 403)
    for scope in (ADJUST, f"{READ} {ADJUST}", "everything"):
        answer = api.token(shown, scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert api.made == []


def test_the_store_has_no_token_that_could_be_shown_and_forgets_it_by_itself(api: Ground) -> None:
    key, shown = api.key(READ)
    token = api.token(shown).json()["access_token"]
    place = "{keys}:tokens:" + key.id
    kept = str(api.net.run(api.net.charged.store.execute(0, "HGETALL", place)))
    assert token.split("_", 2)[2] not in kept
    assert 0 < api.net.run(api.net.charged.store.execute(0, "PTTL", place)) <= 900_000


def test_a_revoked_keys_tokens_open_nothing_from_the_next_call_on(api: Ground) -> None:
    key, shown = api.key(READ)
    token = api.token(shown).json()["access_token"]
    assert api("GET", "/things", token).status_code == 200
    api.net.run(api.keys.revoke(key.id, NOW_MS))
    is_problem(api("GET", "/things", token), 401)
    assert api.token(shown).status_code == 401


def test_a_token_that_is_made_while_its_key_is_revoked_opens_nothing(api: Ground) -> None:
    """The client was let in before, and its token is written after: the key is looked at with every use."""
    key, _ = api.key(READ)
    api.net.run(api.keys.revoke(key.id, NOW_MS))
    token, _ = api.net.run(api.tokens.issue(key, key.granted, NOW_MS))
    is_problem(api("GET", "/things", token), 401)


def test_a_client_has_so_many_tokens_and_no_more_until_one_expires(
    api: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert API_TOKENS_MAX > 2
    monkeypatch.setattr("ocs.http.tokens.API_TOKENS_MAX", 2)
    _, shown = api.key(READ)
    first = api.token(shown).json()["access_token"]
    api.clock.at_ms += 1000
    assert api.token(shown).status_code == 200
    refused = api.token(shown)
    is_problem(refused, 429)
    assert refused.headers["retry-after"] == "899"
    assert api("GET", "/things", first).status_code == 200
    api.clock.at_ms += 899_000
    assert api.token(shown).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, 401, "invalid_client"),
        (
            {"grant_type": "client_credentials", "client_id": "0123456789ab", "client_secret": "a" * 60_000},
            401,
            "invalid_client",
        ),
        ({str(number): "x" for number in range(17)}, 400, "invalid_request"),
    ],
)
def test_a_request_for_a_token_that_is_wrong_is_told_in_the_words_of_oauth(
    api: Ground, form: dict[str, str], status: int, error: str
) -> None:
    answer = api("POST", "/oauth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"error", "error_description"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "error"),
    [
        ({"Content-Type": "application/json"}, b"{}", 400, "invalid_request"),
        ({}, b"grant_type=client_credentials", 400, "invalid_request"),
        ({"Authorization": "Basic !!!"}, b"grant_type=client_credentials", 401, "invalid_client"),
        ({"Authorization": "Basic bm9jb2xvbg=="}, b"grant_type=client_credentials", 401, "invalid_client"),
        ({"Authorization": "Bearer x"}, b"grant_type=client_credentials", 401, "invalid_client"),
        ({}, b"grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        ({}, b"grant_type=\xff", 400, "invalid_request"),
        ({}, b"grant_type=%ff", 400, "invalid_request"),
        ({}, b"&&&", 400, "invalid_request"),
        (basic("a", "b"), b"grant_type=client_credentials&client_secret=x", 400, "invalid_request"),
        (basic("a", "b"), b"grant_type=client_credentials&client_id=c", 400, "invalid_request"),
    ],
)
def test_a_form_that_is_none_is_told_in_the_words_of_oauth(
    api: Ground, headers: dict[str, str], body: bytes, status: int, error: str
) -> None:
    kind = (
        {}
        if not headers and b"=client" in body and b"&" not in body
        else {"Content-Type": "application/x-www-form-urlencoded"}
    )
    answer = api("POST", "/oauth/token", content=body, headers=kind | headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    if "Authorization" in headers and status == 401:
        assert answer.headers["www-authenticate"].startswith("Basic ")


# -- rates


def test_a_client_beyond_its_rate_waits_and_leaves_no_line(valkey: RealValkey, tmp_path: Path) -> None:
    with ground(valkey, tmp_path, rate=1, burst=2) as api:
        _, shown = api.key(WRITE)
        _, own = api.key(READ, rate=10, burst=3)
        assert [api("POST", "/things", shown, json=BODY).status_code for _ in range(2)] == [201, 201]
        refused = api("POST", "/things", shown, json=BODY)
        is_problem(refused, 429)
        assert refused.headers["retry-after"] == "1"
        assert len(api.made) == 2
        assert [line["line"] for line in api.lines()] == ["intent", "outcome"] * 2
        assert [api("GET", "/things", own).status_code for _ in range(4)] == [200, 200, 200, 429]
        api.clock.at_ms += 1000
        assert api("POST", "/things", shown, json=BODY).status_code == 201


def test_key_and_token_of_one_client_share_its_rate(valkey: RealValkey, tmp_path: Path) -> None:
    with ground(valkey, tmp_path, rate=1, burst=3) as api:
        _, shown = api.key(READ)
        token = api.token(shown).json()["access_token"]
        assert [api("GET", "/things", each).status_code for each in (shown, token, shown)] == [200, 200, 429]


# -- what there is not


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PATCH", "/things", 405, {"GET", "POST"}),
        ("OPTIONS", "/admin/v1/keys", 405, {"GET", "POST"}),
        ("GET", "/oauth/token", 405, {"POST"}),
        ("DELETE", "/health/live", 405, {"GET"}),
        ("GET", "/things/", 404, None),
        ("POST", "/nothing", 404, None),
    ],
)
def test_an_address_or_a_method_that_there_is_not_is_a_problem(
    api: Ground, method: str, path: str, status: int, allow: set[str] | None
) -> None:
    answer = api(method, path)
    is_problem(answer, status)
    assert (set(answer.headers["allow"].split(", ")) if "allow" in answer.headers else None) == allow


def test_an_error_of_our_own_is_a_problem_that_tells_nothing_of_it(api: Ground) -> None:
    _, shown = api.key(ADJUST)
    assert "broken" not in is_problem(api("PUT", "/things/broken", shown), 500)


# -- strangers


def test_a_thousand_wrong_keys_of_an_address_are_not_looked_at_and_fill_nothing(
    api: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shown = api.key(READ, WRITE)
    looked = []
    of = ApiKeys.of

    async def counted(self: ApiKeys, text: str, now_ms: int) -> Any:
        looked.append(text)
        return await of(self, text, now_ms)

    monkeypatch.setattr(ApiKeys, "of", counted)
    assert api("GET", "/things", shown).status_code == 200
    wrong = [f"ocs_{number:012}_{'a' * 43}" for number in range(1000)]
    answers = [api("POST", "/things", each, json=BODY).status_code for each in wrong]

    assert answers == [401] * API_FAILURES_BURST + [429] * (1000 - API_FAILURES_BURST)
    assert len(looked) == API_FAILURES_BURST + 1
    assert len(api.lines()) == API_FAILURES_BURST
    # who was right before passes from there all the same, and another address is its own
    assert api("GET", "/things", shown).status_code == 200
    assert api("POST", "/things", wrong[0], ("192.0.2.2", 1), json=BODY).status_code == 401
    token = api.token(shown).json()["access_token"]
    assert api("GET", "/things", token).status_code == 200
    # the right key that nobody has shown before waits with the guesses: whoever guesses it learns nothing
    _, fresh = api.key(READ)
    refused = api("GET", "/things", fresh)
    is_problem(refused, 429)
    assert refused.headers["retry-after"] == "6"
    api.clock.at_ms += 6000
    assert api("GET", "/things", fresh).status_code == 200


def test_wrong_credentials_at_the_token_address_count_as_well(api: Ground) -> None:
    wrong = f"ocs_{'0' * 12}_{'a' * 43}"
    answers = [api.token(wrong).status_code for _ in range(API_FAILURES_BURST + 2)]
    assert answers == [401] * API_FAILURES_BURST + [429] * 2
    is_problem(api("GET", "/things", wrong), 429)


@pytest.mark.parametrize(
    "shown",
    [
        "x" * 15_000, "ocs_", "ocst_", "ocs_0123456789ab_", "ocst_0123456789ab_" + "a" * 43, "OCS_0123456789AB_" + "a" * 43,
        "ocs_0123456789ab_" + "a" * 43 + "\u00e9", "ocs_*_" + "a" * 43, "ocst_0123456789ab:x_" + "a" * 43,
    ],
)  # fmt: skip
def test_what_is_no_key_and_no_token_opens_nothing(api: Ground, shown: str) -> None:
    answer = api(
        "POST", "/things", None, json=BODY, headers={"Authorization": f"Bearer {shown}".encode("latin-1")}
    )
    is_problem(answer, 401)
    assert shown not in answer.text
    (line,) = api.lines()
    assert (line["line"], line["status"], line["client"]) == ("outcome", 401, "")
    assert shown[:20] not in json.dumps(line)


def test_two_authorizations_are_none(api: Ground) -> None:
    _, shown = api.key(READ)
    twice = [("Authorization", f"Bearer {shown}"), ("Authorization", "Bearer x")]

    async def ask() -> int:
        import httpx  # noqa: PLC0415

        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/things", headers=twice)).status_code

    assert api.net.run(ask()) == 401


def test_a_caller_is_judged_before_its_body_is_read(api: Ground) -> None:
    """Else strangers would have their bodies read, and wrong ones told from right ones."""
    _, reader = api.key(READ)
    for shown, status in ((None, 401), (reader, 403)):
        for body in (b"{", b"x" * 70_000):
            answer = api("POST", "/things", shown, content=body, headers={"Content-Type": "application/json"})
            is_problem(answer, status)


def test_without_keys_everybody_may_everything_from_this_machine(valkey: RealValkey, tmp_path: Path) -> None:
    with ground(valkey, tmp_path, closed=False) as api:
        seen = api("GET", "/things").json()
        assert (seen["caller"], seen["channel"], set(seen["scopes"])) == (OPEN, OPEN, set(SCOPES))
        assert api("POST", "/things", json=BODY).status_code == 201
        assert [line["client"] for line in api.lines()] == [OPEN, OPEN]
        is_problem(api("POST", "/things", json=BODY, headers={"Host": "rebound.example.com"}), 421)


def test_a_key_that_is_revoked_while_it_is_used_makes_nothing_afterwards(api: Ground) -> None:
    """Many calls run while the key is revoked: each was let in before or is refused, and no call after the answer is let in."""
    key, shown = api.key(WRITE)

    async def revoke() -> Any:
        return await api.keys.revoke(key.id, NOW_MS)

    here = ("192.0.2.1", 1)
    calls = [api.ask("POST", "/things", shown, here, json=BODY) for _ in range(20)]
    later = [api.ask("POST", "/things", shown, here, json=BODY) for _ in range(20)]
    *answers, _ = [*api.at_once(*calls), None]
    revoking = api.at_once(*later, revoke())
    statuses = [each.status_code for each in (*answers, *revoking[:-1])]
    assert set(statuses) <= {201, 401, 429}
    assert statuses[:20] == [201] * 20
    assert len(api.made) == statuses.count(201)
    assert api("POST", "/things", shown, json=BODY).status_code in {401, 429}
    assert len(api.made) == statuses.count(201)
