"""Top-ups, adjustments, transfers and reservations over TMF654, on a real store: done once, taken back, listed, refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.accounts import Account
from ocs.balance.vouchers import Redeemed
from ocs.http.prepay import examples
from ocs.http.prepay.events import EVENT_TYPES, event_of
from ocs.http.prepay.resources import PATHS, resource_of
from ocs.outcomes import Code
from ocs.records import ActionKind, Status
from tests.prepay_scene import (
    BODIES,
    DEFINITION,
    EURO,
    FIRST,
    NOBODY,
    SECOND,
    Scene,
    Vouchers,
    adjust,
    of,
    reserve,
    scene,
    topup,
    transfer,
)
from tests.real_valkey import RealValkey


@pytest.fixture
def on(valkey: RealValkey, tmp_path: Path) -> Iterator[Scene]:
    with scene(valkey, tmp_path) as made:
        yield made
        made.clean()


@pytest.mark.parametrize("path", BODIES)
def test_an_action_is_done_once_shown_by_its_id_and_listed(on: Scene, path: str) -> None:
    body = BODIES[path] | {"id": "one"}
    said = on("POST", f"/{path}", body)
    made = said.is_right(201)
    after = on.balance(), on.balance(SECOND)
    assert (made["id"], said.headers["location"]) == ("one", made["href"])
    assert made["channel"]["id"] == "till"
    assert made["amount"] == {"amount": Decimal(body["amount"]["amount"]), "units": "EUR"}
    assert on("POST", f"/{path}", body).is_right(201) == made
    without = {name: each for name, each in body.items() if name != "id"}
    assert on("POST", f"/{path}", without, headers={"Idempotency-Key": "one"}).is_right(201) == made
    assert on("GET", f"/{path}/one").is_right(200) == made
    assert on("GET", f"/{path}").is_right(200) == [made]
    assert on("GET", f"/{path}?{of(FIRST)}").is_right(200) == [made]
    assert (on.balance(), on.balance(SECOND)) == after
    (history,) = on("GET", f"/balanceActionHistory?{of(FIRST)}").is_right(200)
    assert (history["id"], history["status"]) == ("till:one", made["status"])
    assert on("GET", "/balanceActionHistory/till:one").is_right(200) == history
    kept = {"id", "href", "status"}
    assert set(on("GET", f"/{path}/one?fields=status").is_right(200, partial=True)) == kept


@pytest.mark.parametrize("path", BODIES)
def test_an_id_is_good_for_one_content_of_one_channel(on: Scene, path: str) -> None:
    body = BODIES[path] | {"id": "one"}
    on("POST", f"/{path}", body).is_right(201)
    after = on.balance()
    other = body | {"amount": {"amount": 4, "units": "EUR"}}
    on("POST", f"/{path}", other).is_error(409, "conflict")
    on("POST", f"/{path}", body | {"reason": "another"}).is_error(409, "conflict")
    assert on.balance() == after
    on("GET", f"/{path}/one", key="bank").is_error(404, "notFound")
    on("DELETE", f"/{path}/one", key="bank").is_error(404, "notFound")
    on("PATCH", f"/{path}/one", _update(path), key="bank").is_error(404, "notFound")
    on("GET", "/balanceActionHistory/till:one", key="bank").is_error(404, "notFound")
    assert on("GET", f"/{path}?{of(FIRST)}", key="bank").is_right(200) == []
    on("GET", f"/{path}/one?channel.id=till", key="bank").is_error(403, "forbidden")
    on("POST", f"/{path}", body | {"channel": {"id": "till"}, "id": "two"}, key="bank").is_error(
        403, "forbidden"
    )
    assert on("GET", f"/{path}/one?channel.id=till", key="care").is_right(200)["id"] == "one"
    assert (
        on("POST", f"/{path}", body, key="bank").is_right(201)["channel"]["id"] == "bank"
    )  # another's same id is another action


def _update(path: str) -> dict[str, Any]:
    if path == "transferBalance":
        return {
            "reason": "a gift", "logicalResource": [{"id": FIRST}], "receiverLogicalResource": {"id": SECOND}, "channel": {"id": "till"},
        }  # fmt: skip
    return {"status": "cancelled", "reason": "paid twice"}


def test_a_top_up_arrives_in_the_accounts_money_however_it_is_named(on: Scene) -> None:
    account = on.account().profile.account
    ways: list[dict[str, Any]] = [
        {"logicalResource": [{"id": f"+{FIRST}"}]},
        {"logicalResource": [{"id": f"00{FIRST}"}]},
        {"partyAccount": {"id": account}},
        {"bucket": {"id": account}},
        {"bucket": {"id": account}, "partyAccount": {"id": account}, "logicalResource": [{"id": FIRST}]},
    ]
    for place, named in enumerate(ways, 1):
        body = {"amount": {"amount": 1, "units": "EUR"}, "usageType": "monetary", **named}
        made = on("POST", "/topupBalance", body).is_right(201)
        assert made["bucket"]["id"] == made["partyAccount"]["id"] == account
        assert on.balance() == (20 + place) * EURO
    # all that the definition requires
    whole = topup(1, bucket={"id": account}, partyAccount={"id": account})
    assert DEFINITION.body_faults("POST", "/topupBalance", whole) == []
    on("POST", "/topupBalance", whole).is_right(201)


def test_names_that_mean_different_accounts_are_refused(on: Scene) -> None:
    mine, others = on.account().profile.account, on.account(SECOND).profile.account
    ways: list[dict[str, Any]] = [
        {"partyAccount": {"id": others}},
        {"bucket": {"id": others}},
        {"bucket": {"id": mine}, "partyAccount": {"id": others}},
    ]
    for named in ways:
        on("POST", "/topupBalance", topup(1, **named)).is_error(400, "targetsDisagree")
    assert (on.balance(), on.balance(SECOND)) == (20 * EURO, 5 * EURO)


def test_a_change_is_one_line_of_the_audit_log_with_what_was_and_what_is(on: Scene) -> None:
    on("POST", "/topupBalance", topup(10, id="a")).is_right(201)
    on("GET", "/topupBalance/a").is_right(200)
    on("DELETE", "/topupBalance/a").is_right(204)
    made, back = on.lines()
    account = on.account().profile.account
    assert (made["action"], made["resource"], made["accounts"], made["status"]) == (
        "topup.create",
        "till:a",
        [account],
        201,
    )
    assert (made["before"]["balance"], made["after"]["balance"], made["after"]["outcome"]) == (
        "20.00",
        "30.00",
        "SUCCESS",
    )
    assert (back["action"], back["before"]["state"], back["after"]["state"]) == (
        "topup.cancel",
        "COMPLETED",
        "CANCELLED",
    )
    assert FIRST not in str(on.lines()) + str(on.lines("intent"))


def test_a_voucher_is_redeemed_once_and_its_code_is_told_nowhere(valkey: RealValkey, tmp_path: Path) -> None:
    with scene(valkey, tmp_path, redeems=True) as on:
        body = {
            "id": "a",
            "voucher": Vouchers.CODE,
            "usageType": "monetary",
            "logicalResource": [{"id": FIRST}],
        }
        said = on("POST", "/topupBalance", body)
        made = said.is_right(201)
        assert (made["voucher"], made["amount"]["amount"], on.balance()) == ("7-1", 5, 25 * EURO)
        assert on("POST", "/topupBalance", body).is_right(201) == made
        on("POST", "/topupBalance", body | {"id": "b"}).is_error(409, "voucherUsed")
        on("POST", "/topupBalance", body | {"id": "c", "voucher": "9" * 12}).is_error(400, "voucherUnknown")
        assert on.balance() == 25 * EURO
        assert Vouchers.CODE not in said.said.text + str(on.lines()) + str(on.lines("intent"))
        on.clean()


@pytest.mark.parametrize("channel", ["bank", "till"])
def test_a_voucher_whose_redemption_cannot_be_shown_is_used_and_not_asked_for_again(
    valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    """Without an id another channel may have redeemed it for this account, or this one longer ago than actions are kept."""

    async def redeemed(
        _of: Vouchers, _account: Account, _code: str, _channel: str, _id: str = ""
    ) -> Redeemed:
        return Redeemed(Code.SUCCESS, True, 5 * EURO, id="voucher-7-1", serial="7-1", channel=channel)

    monkeypatch.setattr(Vouchers, "redeem", redeemed)
    with scene(valkey, tmp_path, redeems=True) as on:
        if channel != "till":  # what this channel itself has called so is another thing
            on("POST", "/topupBalance", topup(1, id="voucher-7-1")).is_right(201)
        body = {"voucher": Vouchers.CODE, "usageType": "monetary", "logicalResource": [{"id": FIRST}]}
        on("POST", "/topupBalance", body).is_error(409, "voucherUsed")


def test_a_voucher_is_refused_where_none_is_redeemed(on: Scene) -> None:
    on("POST", "/topupBalance", topup(voucher="123456789012")).is_error(400, "notServed")


def test_a_top_up_is_taken_back_whole_within_what_is_left(on: Scene) -> None:
    on("POST", "/topupBalance", topup(10, id="a")).is_right(201)
    said = on("PATCH", "/topupBalance/a", {"status": "cancelled", "reason": "paid twice"})
    assert said.is_right(200)["status"] == "cancelled"
    assert on.balance() == 20 * EURO
    assert on("PATCH", "/topupBalance/a", {"status": "cancelled"}).is_right(200)["status"] == "cancelled"
    assert on("DELETE", "/topupBalance/a").is_right(204) is None
    on("POST", "/topupBalance", topup(10, id="b")).is_right(201)
    on("POST", "/adjustBalance", adjust(-25)).is_right(201)
    assert "5.00" in on("DELETE", "/topupBalance/b").is_error(409, "creditLimit")
    assert on("GET", "/topupBalance/b").is_right(200)["status"] == "completed"
    assert on.balance() == 5 * EURO


def test_a_patch_changes_the_state_and_nothing_else(on: Scene) -> None:
    made = on("POST", "/topupBalance", topup(10, id="a", description="at the till")).is_right(201)
    for wrong, code in (
        ({"status": "cancelled", "amount": {"amount": 5, "units": "EUR"}}, "unchangeable"),
        ({"status": "cancelled", "logicalResource": [{"id": SECOND}]}, "unchangeable"),
        ({"status": "cancelled", "surprise": 1}, "unknownAttribute"),
        ({"reason": "no status"}, "badRequest"),
        ({"status": "spent"}, "badRequest"),
    ):
        on("PATCH", "/topupBalance/a", wrong).is_error(400, code)
    on("PATCH", "/topupBalance/a", {"status": "created"}).is_error(409, "conflict")
    assert on("PATCH", "/topupBalance/a", {"status": "completed"}).is_right(200) == made
    whole = {name: _plain(each) for name, each in made.items()} | {"status": "cancelled"}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert on("PATCH", "/topupBalance/a", whole, headers=merge).is_right(200)["status"] == "cancelled"
    assert on.balance() == 20 * EURO


def _plain(value: Any) -> Any:
    """What a client sends back of what it has read."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return float(value) if isinstance(value, Decimal) else value


def test_money_and_buckets_are_adjusted_both_ways(on: Scene) -> None:
    assert (
        on("POST", "/adjustBalance", adjust(2.5, adjustType="oneTime")).is_right(201)["adjustType"]
        == "oneTime"
    )
    on("POST", "/adjustBalance", adjust(-1)).is_right(201)
    assert on.balance() == 21_500_000
    gift = {
        "usageType": "data",
        "remainingValue": {"amount": 1, "units": "GB"},
        "logicalResource": [{"id": FIRST}],
    }
    bucket = on("POST", "/bucket", gift).content["id"]
    body = {
        "amount": {"amount": 500, "units": "MB"},
        "usageType": "data",
        "bucket": {"id": bucket},
        "id": "more",
    }
    made = on("POST", "/adjustBalance", body).is_right(201)
    assert (made["bucket"]["id"], made["amount"]) == (bucket, {"amount": 500_000_000, "units": "octets"})
    assert on("GET", f"/bucket/{bucket}").is_right(200)["remainingValue"]["amount"] == 1_500_000_000
    assert on("DELETE", "/adjustBalance/more").is_right(204) is None
    assert on("GET", f"/bucket/{bucket}").is_right(200)["remainingValue"]["amount"] == 1_000_000_000
    on("POST", "/adjustBalance", body | {"id": "x", "usageType": "monetary"}).is_error(400, "badUsageType")
    on("POST", "/adjustBalance", body | {"id": "x", "amount": {"amount": 1, "units": "minutes"}}).is_error(
        400, "units"
    )
    on("POST", "/adjustBalance", body | {"id": "x", "bucket": {"id": f"{bucket}9"}}).is_error(
        400, "unknownBucket"
    )
    on("POST", "/adjustBalance", adjust(2, adjustType="recurring")).is_error(400, "notServed")
    assert on.balance() == 21_500_000


def test_a_transfer_moves_money_costs_what_the_server_says_and_stays(on: Scene) -> None:
    on.terms.fee = 250_000
    made = on("POST", "/transferBalance", transfer(2, id="a", costOwner="originator")).is_right(201)
    assert made["transferCost"] == {"unit": "EUR", "value": Decimal("0.25")}
    assert (on.balance(), on.balance(SECOND)) == (17_750_000, 7_000_000)
    on("POST", "/transferBalance", transfer(2, id="b", costOwner="receiver")).is_right(201)
    assert (on.balance(), on.balance(SECOND)) == (15_750_000, 8_750_000)
    cheap = {"transferCost": {"unit": "EUR", "value": 0.1}}
    assert "0.25" in on("POST", "/transferBalance", transfer(2, id="c", **cheap)).is_error(400, "badCost")
    right = {"transferCost": {"unit": "EUR", "value": 0.25}}
    on("POST", "/transferBalance", transfer(2, id="c", **right)).is_right(201)
    on("POST", "/transferBalance", transfer(100, id="d")).is_error(409, "creditLimit")
    assert on("GET", "/transferBalance/d").is_right(200)["status"] == "failed"
    on("DELETE", "/transferBalance/a").is_error(409, "conflict")
    assert on("PATCH", "/transferBalance/a", _update("transferBalance")).is_right(200) == made
    on("PATCH", "/transferBalance/a", _update("transferBalance") | {"reason": "another"}).is_error(
        409, "conflict"
    )
    # the receiver's history has it too
    assert "till:a" in {each["id"] for each in on("GET", f"/balanceActionHistory?{of(SECOND)}").is_right(200)}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"receiverLogicalResource": {"id": FIRST}}, "sameAccount"),
        ({"receiverLogicalResource": {"id": NOBODY}}, "unknownSubscriber"),
        ({"receiverBucketUsageType": "data"}, "badUsageType"),
        ({"reason": None}, "badRequest"),
        ({"logicalResource": []}, "badRequest"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused(on: Scene, wrong: dict[str, Any], code: str) -> None:
    on("POST", "/transferBalance", transfer() | wrong).is_error(400, code)
    assert (on.balance(), on.balance(SECOND)) == (20 * EURO, 5 * EURO)


def test_a_reservation_holds_and_is_posted_in_part_or_void(on: Scene) -> None:
    account = on.account().profile.account
    made = on("POST", "/reserveBalance", reserve(3, id="a")).is_right(201)
    assert made["status"] == "created"
    held = on("GET", f"/bucket/{account}").is_right(200)
    assert (held["remainingValue"]["amount"], held["reservedValue"]["amount"]) == (20, 3)
    more = {"status": "completed", "reason": "parked", "amount": {"amount": 4, "units": "EUR"}}
    on("PATCH", "/reserveBalance/a", more).is_error(400, "limit")
    part = {"status": "completed", "reason": "parked", "amount": {"amount": 2, "units": "EUR"}}
    done = on("PATCH", "/reserveBalance/a", part).is_right(200)
    assert (done["status"], done["description"]) == ("completed", "posted: 2.00")
    assert on("PATCH", "/reserveBalance/a", part).is_right(200) == done
    on("DELETE", "/reserveBalance/a").is_error(409, "conflict")
    assert on.balance() == 18 * EURO
    on("POST", "/reserveBalance", reserve(18, id="b")).is_right(201)
    on("POST", "/reserveBalance", reserve(1, id="c")).is_error(409, "creditLimit")
    assert on("DELETE", "/reserveBalance/b").is_right(204) is None
    assert on("GET", "/reserveBalance/b").is_right(200)["status"] == "cancelled"
    void = {"status": "cancelled", "reason": "did not park"}
    on("POST", "/reserveBalance", reserve(1, id="d")).is_right(201)
    assert on("PATCH", "/reserveBalance/d", void).is_right(200)["status"] == "cancelled"
    assert on("GET", f"/bucket/{account}").is_right(200)["reservedValue"]["amount"] == 0


def test_a_reservations_end_is_to_come_and_not_far(on: Scene) -> None:
    for end, code in (
        ("2020-01-01T00:00:00Z", "badTime"),
        ("2999-01-01T00:00:00Z", "limit"),
        ("tomorrow", "badRequest"),
    ):
        on("POST", "/reserveBalance", reserve(validFor={"endDateTime": end})).is_error(400, code)


def test_events_of_every_kind_and_end_are_what_a_listener_expects(on: Scene) -> None:
    for path, body in BODIES.items():
        on("POST", f"/{path}", body | {"id": path}).is_right(201)
        on("POST", f"/{path}", body | {"id": f"{path}-2"}).is_right(201)
        on("DELETE", f"/{path}/{path}-2")
    for bad, amount in (("transferBalance", 999), ("reserveBalance", 999), ("adjustBalance", -999)):
        on(
            "POST",
            f"/{bad}",
            BODIES[bad] | {"id": f"{bad}-3", "amount": {"amount": amount, "units": "EUR"}},
        ).is_error(409)
    on.terms.each = EURO
    on("POST", "/topupBalance", topup(2, id="topupBalance-3")).is_error(409, "limit")
    told = {}
    for kind, path in PATHS.items():
        for name in (path, f"{path}-2", f"{path}-3"):
            action = on.run(on.actions.find("till", name))
            ends = on.account(), on.account(SECOND) if kind is ActionKind.TRANSFER else None
            event = event_of(action, resource_of(action, *ends))
            assert event is not None
            told[event["eventType"]] = event
            listener = event["eventType"][0].lower() + event["eventType"][1:]
            assert DEFINITION.body_faults("POST", f"/listener/{listener}", event) == []
            assert event["event"][path]["id"] == name
    assert set(told) == set(EVENT_TYPES) - {"TransferBalanceCancelEvent"}  # a transfer is never taken back
    assert len({each["eventId"] for each in told.values()}) == len(told)


def test_what_failed_is_told_before_it_is_answered_and_what_was_never_claimed_is_not(on: Scene) -> None:
    for path, amount in (("transferBalance", 999), ("reserveBalance", 999), ("adjustBalance", -999)):
        wrong = BODIES[path] | {"id": path, "amount": {"amount": amount, "units": "EUR"}}
        for _ in range(2):
            on("POST", f"/{path}", wrong).is_error(409, "creditLimit")
    on.terms.each = EURO
    on("POST", "/topupBalance", topup(2, id="high")).is_error(409, "limit")
    failed = list(on.told)
    on("POST", "/topupBalance", topup(-1, id="low")).is_error(400)
    on("POST", "/topupBalance", topup(1, NOBODY, id="nobody")).is_error(400)
    on("POST", "/topupBalance", topup(1, id="high")).is_error(409, "conflict")
    on("POST", "/topupBalance", topup(1, id="right")).is_right(201)
    assert on.told == failed
    assert [(each.type, each.facts["id"], each.facts["reason"]) for each in failed] == [
        *[("balance.failed", "transferBalance", "credit_limit")] * 2,
        *[("balance.failed", "reserveBalance", "credit_limit")] * 2,
        *[("balance.failed", "adjustBalance", "credit_limit")] * 2,
        ("topup.failed", "high", "limit"),
    ]
    assert failed[0] == failed[1], "a repetition is the same notice"
    assert failed[-1].facts == {
        "channel": "till", "id": "high", "amount": "2.00", "currency": "EUR", "reason": "limit",
    }  # fmt: skip


def test_who_cannot_be_told_for_now_is_told_when_the_failure_is_asked_about_again(on: Scene) -> None:
    body = transfer(999, id="t")
    on.deaf = True
    on("POST", "/transferBalance", body).is_error(503)
    assert on.told == []
    on.deaf = False
    on("POST", "/transferBalance", body).is_error(409, "creditLimit")
    assert [each.facts["id"] for each in on.told] == ["t"]


def test_lists_of_actions_are_filtered_and_paged(on: Scene) -> None:
    for place in range(5):
        on("POST", "/topupBalance", topup(place + 1, id=f"t{place}")).is_right(201)
    on("DELETE", "/topupBalance/t0")
    page = on("GET", "/topupBalance?limit=2")
    assert [each["id"] for each in page.is_right(206)] == ["t4", "t3"]
    assert (page.headers["x-total-count"], page.headers["x-result-count"]) == ("5", "2")
    for query, names in {
        "status=cancelled": ["t0"],
        "amount.amount.gte=4": ["t4", "t3"],
        f"status=completed&{of(FIRST)}": ["t4", "t3", "t2", "t1"],
        f"{of(SECOND)}": [],
        f"{of(NOBODY)}": [],
        "requestedDate.gt=2020-01-01T00:00:00Z&limit=1": ["t4"],
        "requestedDate.lt=2020-01-01T00:00:00Z": [],
        "confirmationDate.gt=2020-01-01T00:00:00Z&status=cancelled": ["t0"],
        "channel.id=till&status=cancelled": ["t0"],
        f"bucket.id={on.account().profile.account}&status=cancelled": ["t0"],
        "id=t2": ["t2"],
        "usageType=data": [],
    }.items():
        said = on("GET", f"/topupBalance?{query}")
        assert [each["id"] for each in said.is_right(said.status)] == names, query
    on("GET", "/topupBalance?channel.id=bank").is_error(403, "forbidden")
    assert on("GET", "/topupBalance?channel.id=bank", key="care").is_right(200) == []
    assert len(on("GET", "/topupBalance?channel.id=till", key="care").is_right(200)) == 5
    kinds = on("GET", f"/balanceActionHistory?{of(FIRST)}&@type=TopupBalance", key="care").is_right(200)
    assert len(kinds) == 5


def test_who_is_barred_may_be_topped_up_and_gives_nothing_away(on: Scene) -> None:
    on.run(on.stored.amend(on.account(), status=Status.BARRED))
    on("POST", "/topupBalance", topup(1)).is_right(201)
    on("POST", "/transferBalance", transfer()).is_error(409, "barred")
    on("POST", "/reserveBalance", reserve()).is_error(409, "barred")
    assert on.balance() == 21 * EURO


def test_many_top_ups_with_one_id_add_once(on: Scene) -> None:
    async def all_at_once() -> list[int]:
        said = await asyncio.gather(
            *(on.ask("POST", "/topupBalance", topup(10, id="one")) for _ in range(50))
        )
        return [each.status for each in said]

    assert on.run(all_at_once()) == [201] * 50
    assert on.balance() == 30 * EURO


def test_the_examples_of_the_page_work_when_they_are_sent(on: Scene) -> None:
    for path, body in (
        ("topupBalance", examples.TOPUP), ("adjustBalance", examples.ADJUST), ("transferBalance", examples.TRANSFER),
        ("reserveBalance", examples.RESERVE),
    ):  # fmt: skip
        on("POST", f"/{path}", body).is_right(201)
    assert on("POST", "/bucket", examples.BUCKET).status == 201
    on("PATCH", f"/topupBalance/{examples.TOPUP['id']}", examples.CANCEL).is_right(200)
    on("PATCH", f"/reserveBalance/{examples.RESERVE['id']}", examples.COMPLETE).is_right(200)


def test_what_is_beyond_a_subscribers_day_is_refused_with_a_reason_and_moves_nothing(on: Scene) -> None:
    on.terms.of_subscriber = 3 * EURO
    on("POST", "/topupBalance", topup(2, id="day-1")).is_right(201)
    for _ in range(2):
        said = on("POST", "/topupBalance", topup(2, id="day-2"))
        said.is_error(409, "limit")
        assert "beyond what may come in for the subscriber on one day" in said.said.text
    on("POST", "/topupBalance", topup(1, id="day-3")).is_right(201)
