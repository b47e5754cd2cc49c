"""Subscriptions and dead letters over HTTP: the application itself on a real store, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocs.api_limits import SUBSCRIPTIONS_PER_OWNER_MAX
from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.audit_log import AuditLog
from ocs.http.events import BASE, Desk, router
from ocs.http.keys import ApiKeys
from ocs.notices.callbacks import Callbacks
from ocs.notices.following import GROUP
from ocs.notices.notice import Notice
from ocs.notices.queue import Delivery, Queue
from ocs.notices.subscriptions import Subscriptions, SubscriptionsFull
from ocs.stream import groups
from tests.audit_lines import attempts, begun
from tests.real_valkey import RealValkey
from tests.unit.balance.books import Network, network

READ, WRITE, OTHER = "events:read", "events:write", "other"
HOOK = "http://127.0.0.1:9/hook?token=T0P"


class Api:
    """The API on a store, called with keys of two clients."""

    def __init__(self, net: Network, folder: Path) -> None:
        charged = net.charged
        self.net, self.audit = net, folder / "audit"
        keys = ApiKeys(charged.store)
        self.queue = Queue(charged.store)
        self.subscriptions = Subscriptions(charged.store)
        desk = Desk(
            charged.parts, self.subscriptions, self.queue, Callbacks([ip_network("127.0.0.0/8")]), lambda: 1_000
        )  # fmt: skip
        self.app = application(
            health=lambda: Health(ready=True, checks={}, facts={}),
            read_metrics=list,
            version="1",
            routers=[router(desk, Access(keys, audit=AuditLog(self.audit)))],
        )
        both = frozenset({READ, WRITE})
        self.shown = {
            READ: net.run(keys.create("reads", frozenset({READ}), 1))[1],
            WRITE: net.run(keys.create("writes", both, 1))[1],
            OTHER: net.run(keys.create("another", both, 1))[1],
        }

    def __call__(self, method: str, path: str, key: str | None = WRITE, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.shown[key]}"} if key is not None else {}

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://ocs") as client:
                return await client.request(method, BASE + path, headers=headers, **rest)

        answer: httpx.Response = self.net.run(ask())
        return answer

    def subscribe(self, key: str = WRITE, **wanted: Any) -> dict[str, Any]:
        answer = self("POST", "/subscriptions", key, json={"callback": HOOK, **wanted})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def bury(self, subscription: str, *names: str) -> None:
        for name in names:
            notice = Notice(name, "topup.done", 1_000, "acc/kid", {"id": "t"})
            self.net.run(self.queue.bury(subscription, Delivery(notice, 9, 1, "answered 500"), 2_000))


@pytest.fixture
def api(valkey: RealValkey, tmp_path: Path) -> Iterator[Api]:
    with network(valkey) as net:
        yield Api(net, tmp_path)


def test_a_subscription_is_made_shown_and_taken_back_and_its_secret_is_told_once(api: Api) -> None:
    made = api.subscribe(types=["topup.done", "balance.*"], query="channel=till,app")
    assert made["secret"].startswith("whsec_")
    shown = api("GET", f"/subscriptions/{made['id']}").json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert shown["query"] == "channel=till,app"
    assert api("GET", "/subscriptions").json() == [shown]
    assert GROUP in api.net.run(groups(api.net.charged.parts)), "what happens from now on is kept for it"
    assert api("DELETE", f"/subscriptions/{made['id']}").status_code == 204
    assert api("GET", f"/subscriptions/{made['id']}").status_code == 404
    assert api("DELETE", f"/subscriptions/{made['id']}").status_code == 404
    assert api("GET", "/subscriptions").json() == []


def test_nobody_sees_or_changes_what_is_anothers(api: Api) -> None:
    made = api.subscribe()
    api.bury(made["id"], "n1")
    paths = [
        ("GET", f"/subscriptions/{made['id']}", None), ("DELETE", f"/subscriptions/{made['id']}", None),
        ("GET", f"/dead-letters?subscription={made['id']}", None), ("DELETE", f"/dead-letters?subscription={made['id']}", None),
        ("POST", "/dead-letters/retry", {"subscription": made["id"]}),
    ]  # fmt: skip
    for method, path, body in paths:
        assert api(method, path, OTHER, json=body).status_code == 404
    assert api("GET", "/subscriptions", OTHER).json() == []
    assert api.net.run(api.queue.dead_count(made["id"])) == 1


def test_scopes_are_asked_for(api: Api) -> None:
    made = api.subscribe()
    assert api("GET", "/subscriptions", READ).status_code == 200
    for method, path in (
        ("POST", "/subscriptions"),
        ("DELETE", f"/subscriptions/{made['id']}"),
        ("POST", "/dead-letters/retry"),
    ):
        assert api(method, path, READ, json={}).status_code == 403
    assert api("GET", "/subscriptions", None).status_code == 401


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"callback": "http://10.0.0.1/x"}, "network"), ({"callback": "http://example.com@127.0.0.1/"}, "user"),
        ({"callback": "gopher://x"}, "URL"), ({"callback": "https://no-such-host.invalid/"}, "not known"),
        ({"types": ["no.such"]}, "topup.done"), ({"types": []}, "types"), ({"query": "msisdn=1"}, "facts are"),
        ({"form": "tmf654"}, "form"), ({"callback": "https://x/" + "y" * 3_000}, "callback"), ({"callback": None}, "callback"),
    ],
)  # fmt: skip
def test_what_may_not_be_subscribed_to_is_refused_with_what_would_be_right(
    api: Api, wanted: dict[str, Any], says: str
) -> None:
    answer = api("POST", "/subscriptions", json={"callback": HOOK, **wanted})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert api("GET", "/subscriptions").json() == []


def test_one_client_has_so_many_subscriptions_and_no_more(api: Api) -> None:
    for _ in range(SUBSCRIPTIONS_PER_OWNER_MAX):
        api.subscribe()
    assert api("POST", "/subscriptions", json={"callback": HOOK}).status_code == 409
    api.subscribe(OTHER)


def test_dead_letters_are_listed_page_by_page_delivered_again_and_dropped(api: Api) -> None:
    made = api.subscribe()["id"]
    names = [f"n{number}" for number in range(5)]
    api.bury(made, *names)
    found: list[str] = []
    first: int | None = 0
    while first is not None:
        page = api("GET", f"/dead-letters?subscription={made}&first={first}&limit=2").json()
        found += [each["notice"]["id"] for each in page["letters"]]
        first = page["next"]
    assert sorted(found) == names
    shown = api("GET", f"/dead-letters?subscription={made}").json()["letters"][0]
    assert (shown["tries"], shown["why"], shown["notice"]["data"]["account"]) == (
        9,
        "answered 500",
        "acc/kid",
    )

    retry = {"subscription": made, "notices": ["n1", "no such"]}
    assert api("POST", "/dead-letters/retry", json=retry).json() == {"letters": 1}
    assert api("POST", "/dead-letters/retry", json=retry).status_code == 404
    assert [each.notice.id for each in api.net.run(api.queue.due(made, 2**50, 9))] == ["n1"]
    assert api("DELETE", f"/dead-letters?subscription={made}&notice=n2").json() == {"letters": 1}
    assert api("DELETE", f"/dead-letters?subscription={made}&notice=n2").status_code == 404
    assert api("POST", "/dead-letters/retry", json={"subscription": made}).json() == {"letters": 3}
    assert api("DELETE", f"/dead-letters?subscription={made}").json() == {"letters": 0}


def test_every_change_is_in_the_audit_log_without_the_callback(api: Api) -> None:
    made = api.subscribe()["id"]
    api("POST", "/dead-letters/retry", json={"subscription": made})
    api("DELETE", f"/dead-letters?subscription={made}")
    api("DELETE", f"/subscriptions/{made}")
    assert begun(api.audit) == [
        "subscription.create", "dead_letters.retry", "dead_letters.drop", "subscription.end"
    ]  # fmt: skip
    seen = attempts(api.audit)
    assert {each.ended["resource"] for each in seen} == {made}
    assert "T0P" not in repr(seen)
    assert "whsec" not in repr(seen)


def test_a_key_that_replaces_another_has_the_subscriptions_of_its_channel(api: Api) -> None:
    """But not those that are told what every channel did."""
    keys, scopes = ApiKeys(api.net.charged.store), frozenset({READ, WRITE})
    for name, more in (("old", ()), ("new", ()), ("any", ("channel:any",))):
        made = api.net.run(keys.create(name, scopes | frozenset(more), 1, channel="till"))
        api.shown[name] = made[1]
    own, of_all = api.subscribe("old"), api.subscribe("any")
    assert [each["id"] for each in api("GET", "/subscriptions", "new").json()] == [own["id"]]
    assert api("GET", f"/subscriptions/{of_all['id']}", "new").status_code == 404
    assert api("DELETE", f"/subscriptions/{own['id']}", OTHER).status_code == 404
    assert api("DELETE", f"/subscriptions/{own['id']}", "new").status_code == 204


def revoked(api: Api, key: str) -> str:
    """Revoke a key; its id."""
    name = str(api.shown[key].split("_")[1])
    api.net.run(ApiKeys(api.net.charged.store).revoke(name, 2))
    return name


def of_one_channel(api: Api, *names: str) -> None:
    keys, scopes = ApiKeys(api.net.charged.store), frozenset({READ, WRITE})
    for name in names:
        api.shown[name] = api.net.run(keys.create(name, scopes, 1, channel="till"))[1]


def test_what_a_revoked_key_has_subscribed_is_stopped_until_another_of_its_channel_takes_it_over(
    api: Api,
) -> None:
    of_one_channel(api, "old", "new")
    made = api.subscribe("old")
    assert made["state"] == "active"
    old = revoked(api, "old")
    (seen,) = api("GET", "/subscriptions", "new").json()
    assert (seen["made_by"], seen["state"]) == (old, "stopped")
    path = f"/subscriptions/{made['id']}/take-over"
    assert api("POST", path, OTHER).status_code == 404
    assert api("POST", path, READ).status_code == 403
    taken = api("POST", path, "new")
    assert (taken.status_code, taken.json()["state"]) == (200, "active")
    assert taken.json()["made_by"] != old
    assert "secret" not in taken.json()
    assert api("GET", f"/subscriptions/{made['id']}", "new").json() == taken.json()


def test_who_takes_a_subscription_over_may_have_it_signed_with_a_new_secret(api: Api) -> None:
    """Who had the old key knows the old secret."""
    of_one_channel(api, "old", "new")
    made = api.subscribe("old")
    taken = api("POST", f"/subscriptions/{made['id']}/take-over?new_secret=true", "new").json()
    (standing,) = api.net.run(api.subscriptions.all())
    assert taken["secret"] == standing.secret != made["secret"]
    assert "whsec" not in repr(attempts(api.audit))


def test_a_subscription_that_was_taken_back_meanwhile_is_not_taken_over(api: Api) -> None:
    api.subscribe()
    (found,) = api.net.run(api.subscriptions.all())
    api.net.run(api.subscriptions.end(found))
    assert api.net.run(api.subscriptions.take_over(found, "0123456789ab", new_secret=False)) is None
    (standing,) = api.net.run(api.subscriptions.all())
    assert standing.ended


def test_who_has_as_many_subscriptions_as_one_may_takes_none_over(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocs.notices.subscriptions.SUBSCRIPTIONS_PER_OWNER_MAX", 1)
    of_one_channel(api, "old", "new")
    made = api.subscribe("old")
    mine = api.subscribe("new")
    assert api("POST", f"/subscriptions/{made['id']}/take-over", "new").status_code == 409
    assert api("POST", f"/subscriptions/{mine['id']}/take-over", "new").status_code == 200


def test_many_who_subscribe_at_once_are_no_more_than_one_may_have(api: Api) -> None:
    async def at_once() -> list[Any]:
        asked = [
            api.subscriptions.create("k", "https://example.com/", 1)
            for _ in range(SUBSCRIPTIONS_PER_OWNER_MAX + 20)
        ]
        return await asyncio.gather(*asked, return_exceptions=True)

    refused = [each for each in api.net.run(at_once()) if isinstance(each, SubscriptionsFull)]
    assert len(refused) == 20
    assert len(api.net.run(api.subscriptions.all())) == SUBSCRIPTIONS_PER_OWNER_MAX
