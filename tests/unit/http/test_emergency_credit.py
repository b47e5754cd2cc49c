"""Emergency credit over HTTP: lent once at a time to who has nearly nothing, shown by the balance, repaid by the next top-up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ocs.balance.lending import LendingTerms, lend
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from ocs.records import Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.subscriber_scene import FIRST, READ, Operators, is_problem
from tests.unit.balance.holdings_world import EURO, member_of

POOR = "491700000002"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def api(room: StoreRoom, tmp_path: Path) -> Operators:
    found = Operators(room, tmp_path)
    made = found.create(credit="0.99")
    assert made.status_code == 201, made.text
    return found


def borrow(api: Operators, name: str, number: str = POOR) -> httpx.Response:
    return api("POST", f"/subscribers/{number}/emergency-credit", json={"id": name})


def topped_up(api: Operators, micros: int, name: str) -> None:
    accounts = api.scene.charged.accounts
    account = api.room.run(accounts.find(SubscriberId(E164, POOR)))
    assert api.room.run(accounts.topup(account, micros, "till", name)).code == Code.SUCCESS


def test_it_is_lent_once_by_its_id_and_the_balance_shows_what_is_owed(api: Operators) -> None:
    first, again = borrow(api, "help-1"), borrow(api, "help-1")
    assert (first.status_code, first.json()) == (201, again.json())
    assert first.json() == {
        "id": "help-1", "amount": "3.00", "fee": "0.50", "owed": "3.50", "currency": "EUR", "balance": "3.99", "available": "3.99",
    }  # fmt: skip
    assert api("GET", f"/subscribers/{POOR}/balance").json()["owed"] == "3.50"
    assert "owed" not in api("GET", f"/subscribers/{FIRST}/balance").json()
    api.clean()


def test_the_next_top_ups_repay_it_and_then_it_may_be_asked_for_again(api: Operators) -> None:
    assert borrow(api, "help-1").status_code == 201
    assert "owed already" in is_problem(borrow(api, "help-2"), 409)
    topped_up(api, 2 * EURO, "t1")
    found = api("GET", f"/subscribers/{POOR}/balance").json()
    assert (found["owed"], found["balance"]) == ("1.50", "3.99")
    topped_up(api, 2 * EURO, "t2")
    found = api("GET", f"/subscribers/{POOR}/balance").json()
    assert ("owed" in found, found["balance"]) == (False, "4.49")
    assert "less than 1.00" in is_problem(borrow(api, "help-3"), 409)
    assert borrow(api, "help-1").json()["owed"] == "3.50", "a repetition is answered as at first"
    api.clean()


def test_who_has_enough_or_may_not_is_refused_and_nothing_is_lent(api: Operators) -> None:
    api.room.run(member_of(api.scene, "491700000005"))
    assert "less than 1.00" in is_problem(borrow(api, "a", FIRST), 409)
    assert "member" in is_problem(borrow(api, "b", "491700000005"), 422)
    api.change(POOR, status="barred")
    assert "barred" in is_problem(borrow(api, "c"), 409)
    api("DELETE", f"/subscribers/{POOR}")
    assert "terminated" in is_problem(borrow(api, "d"), 409)
    assert is_problem(api("POST", f"/subscribers/{POOR}/emergency-credit", READ, json={"id": "e"}), 403)
    assert is_problem(
        api("POST", f"/subscribers/{POOR}/emergency-credit", json={"id": "e", "amount": "9.00"}), 422
    )
    assert api.show(FIRST)["balance"] == "100.00"
    assert api.room.run(api.scene.look()).status is Status.ACTIVE
    api.clean()


def test_an_id_of_another_subscriber_is_a_conflict(api: Operators) -> None:
    assert borrow(api, "help-1").status_code == 201
    api.create(msisdn="491700000003")
    assert "something else" in is_problem(borrow(api, "help-1", "491700000003"), 409)


def test_nothing_is_lent_where_nothing_is_set_and_a_repetition_outlives_the_settings(api: Operators) -> None:
    accounts = api.scene.charged.accounts
    account = api.room.run(accounts.find(SubscriberId(E164, POOR)))
    off, on = LendingTerms(), LendingTerms(EURO, 0, EURO)
    assert api.room.run(lend(accounts.actions, off, account, "app", "x")).code == Code.UNRATED
    assert api.room.run(lend(accounts.actions, on, account, "app", "x")).code == Code.SUCCESS
    again = api.room.run(lend(accounts.actions, off, account, "app", "x"))
    assert (again.code, again.replayed) == (Code.SUCCESS, True)
    api.clean()
