"""Buckets over TMF654 on a real store: seen by whoever may, given by operators, summed; filters, fields and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ocs.http.prepay.buckets import BASE
from ocs.records import Status
from tests.prepay_scene import EURO, FIRST, NOBODY, SECOND, Scene, of, scene
from tests.real_valkey import RealValkey


@pytest.fixture
def on(valkey: RealValkey, tmp_path: Path) -> Iterator[Scene]:
    with scene(valkey, tmp_path) as made:
        yield made


def gift(usage: str = "data", amount: Any = 1, units: str = "GB", **more: Any) -> dict[str, Any]:
    return {
        "id": "gift-1",
        "usageType": usage,
        "remainingValue": {"amount": amount, "units": units},
        "logicalResource": [{"id": FIRST}],
        **more,
    }


def test_an_accounts_money_is_the_bucket_of_its_name(on: Scene) -> None:
    account = on.account().profile.account
    bucket = on("GET", f"/bucket/{account}").is_right(200)
    assert bucket["remainingValue"] == {"amount": Decimal("20.00"), "units": "EUR"}
    assert (bucket["usageType"], bucket["status"], bucket["isShared"]) == ("monetary", "active", False)
    assert [each["id"] for each in bucket["logicalResource"]] == [FIRST]
    listed = on("GET", f"/bucket?{of('+' + FIRST)}")
    assert listed.is_right(200) == [bucket]
    assert on("GET", f"/bucket?partyAccount.id={account}").is_right(200) == [bucket]


def test_a_barred_subscribers_bucket_is_suspended_and_an_ended_ones_is_expired(on: Scene) -> None:
    account = on.account()
    on.run(on.stored.amend(account, status=Status.BARRED))
    assert on("GET", f"/bucket/{account.profile.account}").is_right(200)["status"] == "suspended"
    on.run(on.stored.terminate(on.account()))
    assert on("GET", f"/bucket/{account.profile.account}").is_right(200)["status"] == "expired"


def test_what_an_operator_gives_is_there_once_and_sessions_can_use_it(on: Scene) -> None:
    said = on("POST", "/bucket", gift(amount=1.5))
    assert said.status == 201
    made = said.content
    assert (made["remainingValue"], made["usageType"]) == (
        {"amount": 1_500_000_000, "units": "octets"},
        "data",
    )
    assert said.headers["location"] == made["href"]
    assert on("GET", f"/bucket/{made['id']}").is_right(200) == made
    assert on("POST", "/bucket", gift(amount=1500, units="MB")).content == made  # the same in other words
    on("POST", "/bucket", gift(amount=2)).is_error(409, "conflict")
    on("POST", "/bucket", gift(logicalResource=[{"id": SECOND}])).is_error(409, "conflict")
    assert len(on("GET", f"/bucket?{of(FIRST)}").is_right(200)) == 2
    assert on.balance() == 20 * EURO
    (row,) = (each for each in on.account().book.rows if not each.is_counter)
    assert (row.amount, made["id"]) == (
        1_500_000_000,
        f"{on.account().profile.account}.{row.id}-{row.start_ms}",
    )
    on.clean()


@pytest.mark.parametrize(
    ("usage", "amount", "units", "shown"),
    [
        ("voice", 10, "minutes", {"amount": 600, "units": "seconds"}),
        ("sms", 5, "messages", {"amount": 5, "units": "events"}),
        ("other", 40, "units", {"amount": 40, "units": "events"}),
        ("monetary", 5.25, "EUR", {"amount": Decimal("5.25"), "units": "EUR"}),
    ],
)
def test_every_usage_type_can_be_given(
    on: Scene, usage: str, amount: Any, units: str, shown: dict[str, Any]
) -> None:
    made = on(
        "POST", "/bucket", gift(usage, amount, units, validFor={"endDateTime": "2027-01-01T00:00:00+01:00"})
    ).content
    assert (made["usageType"], made["remainingValue"]) == (usage, shown)
    assert made["validFor"]["endDateTime"] == "2026-12-31T23:00:00Z"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"remainingValue": {"amount": 0, "units": "GB"}}, "notPositive"),
        ({"remainingValue": {"amount": -1, "units": "GB"}}, "notPositive"),
        ({"remainingValue": {"amount": 2000, "units": "GB"}}, "limit"),
        ({"remainingValue": {"amount": 1, "units": "EUR"}}, "units"),
        ({"remainingValue": {"amount": "1", "units": "GB"}}, "badRequest"),
        ({"validFor": {"endDateTime": "2020-01-01T00:00:00Z"}}, "limit"),
        ({"validFor": {"endDateTime": "2040-01-01T00:00:00Z"}}, "limit"),
        ({"validFor": {"endDateTime": "2027-01-01T00:00:00"}}, "badRequest"),
        ({"product": [{"id": "smart-m"}]}, "unknownProduct"),
        ({"logicalResource": [{"id": NOBODY}]}, "unknownSubscriber"),
        ({"logicalResource": [{"id": FIRST}], "partyAccount": {"id": "nobody"}}, "unknownAccount"),
        ({"surprise": 1}, "badRequest"),
    ],
)
def test_what_cannot_be_given_is_refused_and_nothing_is(on: Scene, wrong: dict[str, Any], code: str) -> None:
    on("POST", "/bucket", gift(**wrong)).is_error(400, code)
    assert len(on("GET", f"/bucket?{of(FIRST)}").is_right(200)) == 1
    (line,) = on.lines()
    assert line["status"] == 400


def test_sums_are_per_usage_type_and_say_what_is_in_them(on: Scene) -> None:
    account = on.account().profile.account
    on("POST", "/bucket", gift(id="a"))
    on("POST", "/bucket", gift(id="b"))
    on("POST", "/bucket", gift("monetary", 1, "EUR", id="c"))
    sums = {each["name"]: each for each in on("GET", f"/accumulatedBalance?{of(FIRST)}").is_right(200)}
    assert set(sums) == {"monetary", "data"}
    assert sums["monetary"]["totalBalance"] == {"amount": Decimal("21.00"), "units": "EUR"}
    assert sums["data"]["totalBalance"] == {"amount": 2 * 10**9, "units": "octets"}
    assert [len(sums[each]["bucket"]) for each in ("monetary", "data")] == [2, 2]
    assert on("GET", f"/accumulatedBalance/{account}:data").is_right(200) == sums["data"]
    on("GET", f"/accumulatedBalance/{account}:voice").is_error(404, "notFound")
    on("GET", "/accumulatedBalance/nobody:data").is_error(404, "notFound")


def test_a_member_sees_what_it_may_use_and_the_account_sees_all(on: Scene) -> None:
    member = on.subscriber("491700000003", 0, on.account())
    path = member.profile.path.replace("/", ".")
    given = on("POST", "/bucket", gift(logicalResource=[{"id": "491700000003"}])).content
    assert given["id"].startswith(f"{path}.")
    mine = on("GET", f"/bucket?{of('491700000003')}").is_right(200)
    assert [each["id"] for each in mine] == [member.profile.account, given["id"]]
    assert mine[0]["isShared"] is True
    assert [each["id"] for each in on("GET", f"/bucket?{of(FIRST)}").is_right(200)] == [
        member.profile.account
    ]
    everything = on("GET", f"/bucket?partyAccount.id={member.profile.account}").is_right(200)
    assert [each["id"] for each in everything] == [member.profile.account, given["id"]]
    assert on("GET", f"/bucket/{given['id']}").is_right(200) == given


def test_lists_come_in_pages_that_lead_to_each_other(on: Scene) -> None:
    for name in "abcd":
        assert on("POST", "/bucket", gift(id=name)).status == 201
    seen: list[str] = []
    path: str | None = f"/bucket?{of(FIRST)}&limit=2"
    while path is not None:
        said = on("GET", path)
        seen += [each["id"] for each in said.is_right(206)]
        assert said.headers["x-total-count"] == "5"
        following = re.search('<([^>]*)>; rel="next"', said.headers["link"])
        path = None if following is None else following[1].removeprefix(BASE)
    assert len(set(seen)) == len(seen) == 5
    assert on("GET", f"/bucket?{of(FIRST)}&offset=9").is_right(206) == []


def test_fields_leave_id_and_href_always(on: Scene) -> None:
    account = on.account().profile.account
    for fields, names in {
        "status": {"id", "href", "status"},
        "none": {"id", "href"},
        "": {"id", "href"},
    }.items():
        assert set(on("GET", f"/bucket/{account}?fields={fields}").is_right(200, partial=True)) == names
        (listed,) = on("GET", f"/bucket?{of(FIRST)}&fields={fields}").is_right(200, partial=True)
        assert set(listed) == names
    on("GET", f"/bucket/{account}?fields=stattus").is_error(400, "unknownAttribute")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("usageType=data", 1),
        ("usageType=data,monetary", 2),
        ("usageType.ne=data", 1),
        ("status=active", 2),
        ("status=expired", 0),
        ("remainingValue.amount.gt=20", 1),
        ("remainingValue.amount.gte=20", 2),
        ("remainingValue.amount.lt=20.01", 1),
        ("isShared=false", 2),
        ("validFor.endDateTime.gt=2026-01-01T00:00:00Z", 1),
        ("validFor.endDateTime.lt=2026-01-01T00:00:00%2B01:00", 0),
        ("product.id=given-data@1", 1),
        ("name=balance", 1),
    ],
)
def test_filters_go_by_attribute_path(on: Scene, query: str, found: int) -> None:
    on("POST", "/bucket", gift())
    said = on("GET", f"/bucket?{of(FIRST)}&{query}")
    assert len(said.is_right(200)) == found
    assert said.headers["x-total-count"] == said.headers["x-result-count"] == str(found)


def test_words_that_stand_elsewhere_are_other_content(on: Scene) -> None:
    assert on("POST", "/bucket", gift(id="words", name="a", description="b c")).status == 201
    on("POST", "/bucket", gift(id="words", name="a b", description="c")).is_error(409, "conflict")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("stattus=active", "unknownAttribute"),
        ("remainingValue=20", "unknownAttribute"),
        ("remainingValue.amount.gt=much", "badQuery"),
        ("remainingValue.amount.gt=NaN", "badQuery"),
        ("validFor.endDateTime.gt=2026-01-01T00:00:00", "badQuery"),
        ("isShared=maybe", "badQuery"),
        ("limit=0", "badQuery"),
        ("limit=1001", "badQuery"),
        ("limit=ten", "badQuery"),
        ("offset=-1", "badQuery"),
        ("fields=nothing", "unknownAttribute"),
        ("status=" + ",".join(["active"] * 65), "limit"),
    ],
)
def test_a_query_that_means_nothing_lists_nothing(on: Scene, query: str, code: str) -> None:
    on("GET", f"/bucket?{of(FIRST)}&{query}").is_error(400, code)
    assert on.lines() == []  # who only asks leaves no line


def test_a_list_that_names_nobody_is_everybodys_where_there_are_few(
    on: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = sorted(each.profile.account for each in on.accounts.values())
    assert sorted(each["id"] for each in on("GET", "/bucket").is_right(200)) == accounts
    sums = on("GET", "/accumulatedBalance").is_right(200)
    assert sorted(each["id"] for each in sums) == [f"{each}:monetary" for each in accounts]
    monkeypatch.setattr("ocs.http.prepay.families.TMF_ACCOUNTS_MAX", 0)
    on("GET", "/bucket").is_error(400, "missing")


def test_who_is_not_there_has_no_buckets(on: Scene) -> None:
    assert on("GET", f"/bucket?{of(NOBODY)}").is_right(200) == []
    assert on("GET", "/bucket?partyAccount.id=nobody").is_right(200) == []
    on("GET", "/bucket/nobody").is_error(404, "notFound")
    on("GET", "/bucket/no%2Fbody").is_error(404, "notFound")
    on("GET", f"/bucket/{on.account().profile.account}.999-1").is_error(404, "notFound")


def test_only_who_may_see_sees_and_only_who_may_give_gives(on: Scene) -> None:
    account = on.account().profile.account
    assert on("GET", f"/bucket/{account}", key="reader").status == 200
    on("GET", f"/bucket/{account}", key=None).is_error(401, "unauthorized")
    on("GET", f"/bucket/{account}", key="ocs_0123456789ab_" + "x" * 43).is_error(401, "unauthorized")
    on("POST", "/bucket", gift(), key="reader").is_error(403, "forbidden")
    assert len(on("GET", f"/bucket?{of(FIRST)}").is_right(200)) == 1


def test_a_gift_is_told_again_also_where_its_product_has_a_newer_version(on: Scene) -> None:
    first = on("POST", "/bucket", gift(id="gift-1"))
    assert first.status == 201
    catalogue = on.holdings.catalogue
    known = catalogue.newest("given-data")
    assert known is not None
    catalogue.__init__([*catalogue.products.values(), replace(known, version=known.version + 1)])  # type: ignore[misc]
    again = on("POST", "/bucket", gift(id="gift-1"))
    assert (again.status, again.content) == (201, first.content)
    on("POST", "/bucket", gift(id="gift-1", product=[{"id": "given-data"}])).is_error(409, "conflict")
    other = on("POST", "/bucket", gift(id="gift-2"))
    assert (other.status, other.content["product"][0]["id"]) == (201, f"given-data@{known.version + 1}")
