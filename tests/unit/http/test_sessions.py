"""Sessions over HTTP: the application itself on a real store, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from ocs.api_limits import API_KEYS_MAX, HTTP_BODY_OCTETS_MAX
from ocs.balance.link import LinkDown
from ocs.charging.ask import INITIAL, UPDATE
from ocs.diameter.server_initiated import ABORT_SESSION, RE_AUTH
from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog
from ocs.http.keys import ApiKeys, KeysFull
from ocs.http.sessions import Keepers, router
from ocs.outcomes import Code
from ocs.sessions.ending import end_sessions
from ocs.sessions.orders import channel, read_orders
from ocs.sessions.reauthorise import Reauthorisation
from ocs.sessions.sweep import Sweeper
from tests.audit_lines import attempts, begun
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, Network, network

MSISDN = "491700000001"
READ, WRITE = "sessions:read", "sessions:write"
BASE = "/charging/v1"
WORKER = "9f3a.0"
WAIT_S = 20


class Api:
    """The API on a network's store, called with a key of its own for each scope."""

    def __init__(self, net: Network, folder: Path, *, closed: bool = True) -> None:
        charged = net.charged
        self.net, self.audit = net, folder / "audit"
        self.keys = ApiKeys(charged.store)
        sweeper = Sweeper(charged.parts, charged.accounts, charged.clock, 300_000)
        anew = Reauthorisation(charged.parts)

        async def find(identity: Any) -> Any:
            found = await charged.accounts.find(identity)
            return found.profile if found is not None else None

        keepers = Keepers(
            charged.parts,
            find,
            lambda found: end_sessions(sweeper, anew, found),
            lambda found, group: anew.of_sessions(found, rating_group=group),
        )
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[router(keepers, Access(self.keys if closed else None, audit=AuditLog(self.audit)))],
        )
        self.shown = {
            scope: net.run(self.keys.create("test", frozenset({scope}), 1))[1] for scope in (READ, WRITE)
        }

    def __call__(self, method: str, path: str, key: str | None = READ, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.shown.get(key, key)}"} if key is not None else {}

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://ocs") as client:
                return await client.request(method, BASE + path, headers=headers, **rest)

        answer: httpx.Response = self.net.run(ask())
        return answer


@pytest.fixture
def api(valkey: RealValkey, tmp_path: Path) -> Iterator[Api]:
    with network(valkey) as net:
        yield Api(net, tmp_path)


def session(api: Api, name: str) -> None:
    api.net.ask(INITIAL, 0, wants=MIB, session=name)


def listed(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["session_id"] for each in answer.json()["sessions"]]


def is_problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    return str(content["detail"])


def test_a_session_is_shown_with_what_it_holds(api: Api) -> None:
    name = "pgw.example.net;1;2/3?x#y"
    session(api, name)

    shown = api("GET", f"/sessions/{quote(name, safe='')}")

    assert shown.status_code == 200
    assert (shown.json()["session_id"], shown.json()["reserved"]) == (name, "0.01")
    assert shown.json()["services"][0]["granted"] == MIB


def test_sessions_are_listed_by_number_and_page_by_page_each_once(api: Api) -> None:
    names = {f"s;{number}" for number in range(7)}
    for name in names:
        session(api, name)

    assert set(listed(api("GET", f"/sessions?msisdn=%2B{MSISDN}"))) == names
    pages: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        answer = api("GET", "/sessions", params={"limit": 3, "after": after})
        pages.append(listed(answer))
        after = answer.json()["next"]
    assert [len(each) for each in pages] == [3, 3, 1]
    assert {name for page in pages for name in page} == names


@pytest.fixture
def heard(valkey: RealValkey) -> Iterator[Any]:
    """What the worker of the sessions hears."""
    with valkey.client().pubsub() as listener:
        listener.ssubscribe(channel(WORKER))
        assert listener.get_message(timeout=WAIT_S)["type"] == "ssubscribe"

        def orders() -> list[tuple[int, str, int]]:
            message = listener.get_message(timeout=WAIT_S)
            assert message is not None
            return [
                (each.command, each.session_id, each.rating_group) for each in read_orders(message["data"])
            ]

        yield orders


def test_an_ended_session_holds_nothing_and_its_client_is_told(api: Api, heard: Any) -> None:
    api.net.charged.via = f"{WORKER}.7"
    session(api, "s;1")

    ended = api("DELETE", "/sessions/s;1", WRITE)

    assert ended.status_code == 200
    assert (ended.json()["released"], ended.json()["client_told"]) == ("0.01", True)
    assert heard() == [(ABORT_SESSION, "s;1", -1)]
    assert api.net.book().pending_micros == 0
    assert api.net.ask(UPDATE, 1, used=0, wants=MIB, session="s;1").code == Code.UNKNOWN_SESSION
    is_problem(api("DELETE", "/sessions/s;1", WRITE), 404)
    is_problem(api("GET", "/sessions/s;1"), 404)
    (made,) = [each for each in attempts(api.audit) if each.begun is not None]
    assert (made.action, made.ended["resource"], made.ended["after"]["released"]) == (
        "session.end",
        "s;1",
        "0.01",
    )
    assert MSISDN not in str(attempts(api.audit))


def test_all_sessions_of_a_number_are_ended(api: Api) -> None:
    for name in ("s;1", "s;2"):
        session(api, name)

    ended = api("DELETE", f"/sessions?msisdn={MSISDN}", WRITE)

    assert [(each["session_id"], each["client_told"]) for each in ended.json()] == [
        ("s;1", False),
        ("s;2", False),
    ]
    assert api.net.book().pending_micros == 0
    assert listed(api("GET", "/sessions")) == []


def test_clients_are_asked_anew(api: Api, heard: Any) -> None:
    api.net.charged.via = f"{WORKER}.7"
    session(api, "s;1")

    one = api("POST", "/reauthorisations", WRITE, json={"session_id": "s;1", "rating_group": 10})
    assert (one.status_code, one.json()) == (202, {"sessions": 1, "told": 1})
    assert heard() == [(RE_AUTH, "s;1", 10)]
    of_number = api("POST", "/reauthorisations", WRITE, json={"msisdn": MSISDN})
    assert of_number.json() == {"sessions": 1, "told": 1}
    assert heard() == [(RE_AUTH, "s;1", -1)]


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/sessions", READ),
        ("GET", "/sessions/s;1", READ),
        ("DELETE", "/sessions/s;1", WRITE),
        ("DELETE", f"/sessions?msisdn={MSISDN}", WRITE),
        ("POST", "/reauthorisations", WRITE),
    ],
)
def test_nobody_gets_in_without_the_key_for_it(api: Api, method: str, path: str, needs: str) -> None:
    session(api, "s;1")
    other = READ if needs == WRITE else WRITE
    of_nobody = "ocs_" + "0" * 12 + "_" + "a" * 43
    guessed = api.shown[needs][:-4] + "AAAA"

    nothing = api(method, path, None, json={"session_id": "s;1"})
    is_problem(nothing, 401)
    assert nothing.headers["www-authenticate"] == "Bearer"
    for wrong in ("", "ocs_1", of_nobody, guessed, "x" * 5_000):
        refused = api(method, path, wrong, json={"session_id": "s;1"})
        is_problem(refused, 401)
    lacking = api(method, path, other, json={"session_id": "s;1"})
    assert needs in is_problem(lacking, 403)
    assert 'error="insufficient_scope"' in lacking.headers["www-authenticate"]
    assert api.net.book().pending_micros == 10_000
    assert api(method, path, needs, json={"session_id": "s;1"}).status_code in {200, 202}


def test_a_revoked_key_opens_nothing_from_the_next_call_on(api: Api) -> None:
    (first, second) = api.net.run(api.keys.all())
    assert api("GET", "/sessions").status_code == 200

    for key in (first, second):
        assert api.net.run(api.keys.revoke(key.id, 5)).revoked_ms == 5
        assert api.net.run(api.keys.revoke(key.id, 6)).revoked_ms == 5

    is_problem(api("GET", "/sessions"), 401)
    assert [each.revoked_ms for each in api.net.run(api.keys.all())] == [5, 5]
    assert api.net.run(api.keys.revoke("0" * 12, 5)) is None


def test_the_store_has_no_key_that_could_be_shown(api: Api) -> None:
    kept = str(api.net.run(api.net.charged.store.execute(0, "HGETALL", "{keys}:api")))

    for shown in api.shown.values():
        assert shown.split("_", 2)[1] in kept
        assert shown.split("_", 2)[2] not in kept


@pytest.mark.parametrize(
    ("scopes", "name"), [(set(), "a"), ({"sessions:own"}, "a"), ({READ}, "a" * 65), ({READ}, "a\nb")]
)
def test_a_key_that_cannot_be_is_not_made(api: Api, scopes: set[str], name: str) -> None:
    with pytest.raises(ValueError, match=r"scopes are|visible"):
        api.net.run(api.keys.create(name, frozenset(scopes), 1))
    assert len(api.net.run(api.keys.all())) == 2


def test_there_is_an_end_of_keys(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert API_KEYS_MAX > 2
    monkeypatch.setattr("ocs.http.keys.API_KEYS_MAX", 2)
    with pytest.raises(KeysFull):
        api.net.run(api.keys.create("", frozenset({READ}), 1))


def test_without_keys_everybody_is_let_in(valkey: RealValkey, tmp_path: Path) -> None:
    with network(valkey) as net:
        open_api = Api(net, tmp_path, closed=False)
        session(open_api, "s;1")

        assert listed(open_api("GET", "/sessions", None)) == ["s;1"]
        assert open_api("DELETE", "/sessions/s;1", None).status_code == 200
        assert attempts(open_api.audit)[0].ended["client"] == "open"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/sessions?msisdn=12", None, 422),
        ("GET", "/sessions?msisdn=mother", None, 422),
        ("GET", "/sessions?msisdn=491709999999", None, 404),
        ("GET", "/sessions?limit=0", None, 422),
        ("GET", "/sessions?limit=1001", None, 422),
        ("GET", "/sessions?after=x", None, 422),
        ("GET", "/sessions?after=99999999.", None, 422),
        ("GET", "/sessions?after=0.%FF", None, 422),
        ("GET", "/sessions?after=0.x", None, 422),
        ("GET", "/sessions/" + "s" * 256, None, 422),
        ("GET", "/sessions/s;9", None, 404),
        ("DELETE", "/sessions", None, 422),
        ("DELETE", "/sessions?msisdn=491709999999", None, 404),
        ("POST", "/reauthorisations", {}, 422),
        ("POST", "/reauthorisations", {"msisdn": MSISDN, "session_id": "s;1"}, 422),
        ("POST", "/reauthorisations", {"msisdn": MSISDN, "rating_group": -1}, 422),
        ("POST", "/reauthorisations", {"msisdn": MSISDN, "rating_group": "10"}, 422),
        ("POST", "/reauthorisations", {"msisdn": MSISDN, "rating_group": True}, 422),
        ("POST", "/reauthorisations", {"msisdn": MSISDN, "other": 1}, 422),
        ("POST", "/reauthorisations", {"msisdn": "1" * 70_000}, 413),
        ("POST", "/sessions", {}, 405),
        ("GET", "/nothing", None, 404),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    api: Api, method: str, path: str, content: Any, status: int
) -> None:
    session(api, "s;1")
    assert HTTP_BODY_OCTETS_MAX < 70_000

    detail = is_problem(api(method, path, WRITE if method != "GET" else READ, json=content), status)

    assert MSISDN not in detail
    assert begun(api.audit) == []
    assert api.net.book().pending_micros == 10_000


def test_a_session_that_cannot_be_read_is_told_as_such(api: Api) -> None:
    keys = api.net.charged.parts.keys[api.net.partition]
    api.net.execute("SET", keys.session("bad"), "junk")
    assert "ocs audit names it" in is_problem(api("GET", "/sessions/bad"), 500)
    assert "ocs audit names it" in is_problem(api("DELETE", "/sessions/bad", WRITE), 500)


def test_a_store_that_does_not_answer_is_told_as_such(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_words: Any, **_rest: Any) -> None:
        raise LinkDown("made up")

    monkeypatch.setattr("ocs.balance.store.Store.execute", away)
    answer = api("GET", "/sessions")

    is_problem(answer, 503)
    assert answer.headers["retry-after"] == "1"
