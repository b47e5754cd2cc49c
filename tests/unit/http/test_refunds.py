"""A subscriber ends with a refund, over HTTP: what is left is paid out once, whatever was open is ended first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.actions import ActionKind, Asked
from ocs.charging.ask import INITIAL, UPDATE
from ocs.outcomes import Code
from ocs.records import Status
from tests.audit_lines import attempts
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.subscriber_scene import ADJUST, BALANCE, FIRST, WRITE, Operators, is_problem
from tests.unit.balance.holdings_world import EURO, member_of

MEMBER = "491700000005"
WHOLE = {"refund": "true"}


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def api(room: StoreRoom, tmp_path: Path) -> Operators:
    return Operators(room, tmp_path)


def made(api: Operators) -> list[dict[str, Any]]:
    """What the audit log says was true after each refund."""
    told = [each.ended for each in attempts(api.audit) if each.action == "subscriber.refund"]
    return [each["after"] for each in told if each.get("after")]


def reserve(api: Operators, name: str) -> Code:
    profile = api.scene.account.profile
    asked = Asked(ActionKind.RESERVE, "till", name, profile.partition, profile.path, EURO, lasts_ms=3_600_000)
    return Code(api.room.run(api.scene.charged.accounts.actions.do(asked)).code)


def test_what_is_left_is_refunded_once_and_told_again(api: Operators) -> None:
    ended = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE | {"id": "end-1"})
    assert ended.status_code == 200, ended.text
    assert (ended.json()["status"], ended.json()["balance"]) == ("terminated", "0.00")
    assert ended.json()["refund"] == {"id": "end-1", "amount": "100.00", "owed": "0.00"}
    again = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE, headers={"Idempotency-Key": "end-1"})
    assert again.json() == ended.json()
    assert "before" in is_problem(
        api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE | {"id": "end-2"}), 409
    )
    assert [(each["refunded"], each["replayed"]) for each in made(api)] == [
        ("100.00", False),
        ("100.00", True),
    ]
    api.clean()


def test_without_an_id_the_same_end_has_the_same_one(api: Operators) -> None:
    first, again = (api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE) for _ in range(2))
    assert first.status_code == 200
    assert first.json() == again.json()
    assert first.json()["refund"]["amount"] == "100.00"


def test_open_sessions_are_ended_first_and_hold_nothing_back(api: Operators) -> None:
    api.room.run(member_of(api.scene, MEMBER))
    api.room.run(api.scene.ask(INITIAL, 0, "own", None, 10_000))
    api.room.run(api.scene.ask(INITIAL, 0, "members", None, 20_000, MEMBER))
    assert api.show()["reserved"] == "30.00"
    ended = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE).json()
    assert (ended["refund"]["amount"], ended["reserved"], ended["sessions_open"]) == ("100.00", "0.00", 0)
    assert [each["sessions"] for each in made(api)] == [2]
    later = api.room.run(api.scene.ask(UPDATE, 1, "own", 0, 10_000))
    assert later.code == Code.UNKNOWN_SESSION
    api.clean()


def test_a_reservation_refuses_the_end_and_nothing_is_changed(api: Operators) -> None:
    assert reserve(api, "parking") == Code.SUCCESS
    assert "reservation" in is_problem(api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE), 409)
    assert api.room.run(api.scene.look()).status is Status.ACTIVE
    assert made(api) == []
    api.room.run(api.scene.charged.accounts.actions.cancel("till", "parking"))
    ended = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE)
    assert ended.json()["refund"]["amount"] == "100.00"
    api.clean()


def test_what_is_owed_is_repaid_first(api: Operators) -> None:
    profile, actions = api.scene.account.profile, api.scene.charged.accounts.actions
    lent = Asked(
        ActionKind.EMERGENCY, "app", "help", profile.partition, profile.path, 2 * EURO, fee_micros=EURO
    )
    assert api.room.run(actions.do(lent)).code == Code.SUCCESS
    ended = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE).json()
    assert (ended["refund"]["amount"], ended["refund"]["owed"]) == ("99.00", "0.00")
    api.clean()


def test_a_refund_needs_its_scope_and_a_member_has_none(api: Operators) -> None:
    assert "adjust:write" in is_problem(api("DELETE", f"/subscribers/{FIRST}", WRITE, params=WHOLE), 403)
    api.room.run(member_of(api.scene, MEMBER))
    assert "no money of its own" in is_problem(
        api("DELETE", f"/subscribers/{MEMBER}", ADJUST, params=WHOLE), 422
    )
    assert {api.show(FIRST)["status"], api.show(MEMBER)["status"]} == {"active"}
    plain = api("DELETE", f"/subscribers/{MEMBER}", WRITE)
    assert plain.json() == api.show(MEMBER), "without a refund the answer is the subscriber alone"
    assert is_problem(api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE | {"id": "a b"}), 422)


def test_an_id_that_was_used_for_something_else_ends_nobody(api: Operators) -> None:
    channel = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE | {"id": "mine"})
    assert channel.status_code == 200
    api.create(credit="5.00")
    assert "something else" in is_problem(
        api("DELETE", "/subscribers/491700000002", ADJUST, params=WHOLE | {"id": "mine"}), 409
    )
    assert api.show("491700000002")["status"] == "active"
    api.clean()


def test_one_who_died_after_the_bar_is_gone_on_from(api: Operators) -> None:
    api.room.run(api.scene.charged.accounts.amend(api.scene.account, status=Status.BARRED))
    ended = api("DELETE", f"/subscribers/{FIRST}", ADJUST, params=WHOLE).json()
    assert (ended["status"], ended["refund"]["amount"]) == ("terminated", "100.00")
    api.clean()


def test_credit_of_who_was_terminated_without_a_refund_is_refunded_later_by_its_id(api: Operators) -> None:
    ended = api("DELETE", f"/subscribers/{FIRST}", WRITE).json()
    assert (ended["status"], ended["balance"], ended["refundable"]) == ("terminated", "100.00", "100.00")
    balance = api("GET", f"/subscribers/{ended['id']}/balance", BALANCE).json()
    assert balance["refundable"] == "100.00"
    version = api.room.run(api.scene.look()).book.version
    for _ in range(2):
        said = api("DELETE", f"/subscribers/{ended['id']}", ADJUST, params=WHOLE)
        assert said.status_code == 200, said.text
        assert said.json()["refund"] == {
            "id": f"refund-{ended['account']}",
            "amount": "100.00",
            "owed": "0.00",
        }
        assert (said.json()["balance"], said.json()["refundable"]) == ("0.00", None)
    assert api.room.run(api.scene.look()).book.version == version, "it ended once"
    assert "nothing is left" in is_problem(
        api("DELETE", f"/subscribers/{ended['id']}", ADJUST, params=WHOLE | {"id": "more"}), 409
    )
    api.clean()


def test_what_a_reservation_holds_of_who_has_ended_is_refundable_once_it_is_void(api: Operators) -> None:
    assert reserve(api, "parking") == Code.SUCCESS
    name = api("DELETE", f"/subscribers/{FIRST}", WRITE).json()["id"]
    assert api.show(name)["refundable"] == "99.00"
    assert "reservation" in is_problem(api("DELETE", f"/subscribers/{name}", ADJUST, params=WHOLE), 409)
    actions = api.scene.charged.accounts.actions
    assert api.room.run(actions.cancel("till", "parking")).code is Code.SUCCESS
    assert api.show(name)["refundable"] == "100.00"
    assert api("DELETE", f"/subscribers/{name}", ADJUST, params=WHOLE).json()["refund"]["amount"] == "100.00"
    api.clean()


def test_who_has_ended_is_given_nothing_but_its_refund(api: Operators) -> None:
    profile, actions = api.scene.account.profile, api.scene.charged.accounts.actions
    api("DELETE", f"/subscribers/{FIRST}", WRITE)
    for kind, amount in (
        (ActionKind.TOPUP, EURO), (ActionKind.ADJUST, EURO), (ActionKind.ADJUST, -EURO), (ActionKind.EMERGENCY, EURO),
        (ActionKind.RESERVE, EURO),
    ):  # fmt: skip
        asked = Asked(
            kind, "till", f"{kind.name}{amount}", profile.partition, profile.path, amount, lasts_ms=1_000
        )
        assert api.room.run(actions.do(asked)).code is Code.UNKNOWN_SUBSCRIBER
    assert api.show(profile.path)["refundable"] == "100.00"
    api.clean()
