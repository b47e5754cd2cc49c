"""The model's lives of accounts, opened rows and members of shared accounts, by examples counted by hand."""

import pytest

from ocs.outcomes import Code
from ocs.records import Opened, Rows, Status
from tests.unit.balance.rows_world import AT_MS, DAY_MS, END_MS, HOUR_MS, UNIT, World, bucket

# ---------------------------------------------------------------- the account's life


def test_a_life_begins_with_the_first_grant_and_ends_in_a_bar() -> None:
    world = World(first_ms=DAY_MS, grace_ms=HOUR_MS)
    world.account.until_ms = -1
    world.model.credit(world.account, "shop", "1", UNIT, world.at_ms, DAY_MS)
    assert world.account.until_ms == -1
    world.ask(10)
    assert world.account.until_ms == END_MS
    world.at_ms = END_MS - 30_500
    assert world.ask(500, "b").granted == 30
    world.at_ms = END_MS
    assert world.ask(5, "c").code == Code.BARRED
    received = world.send((1, None, 5_000), session="d", told={"direction": "incoming"}).services[0]
    assert (received.granted, received.validity_s) == (3_600, 3_600)
    world.at_ms = END_MS + HOUR_MS
    assert world.send((1, None, 5), session="e", told={"direction": "incoming"}).code == Code.BARRED
    assert world.send((1, None, 5_000), session="f", told={"zone": "emergency"}).services[0].granted == 5_000


def test_a_life_without_days_has_no_end_once_it_has_begun() -> None:
    world = World(credit=0)
    world.account.until_ms = -1
    assert world.ask(10).code == Code.CREDIT_LIMIT
    assert world.account.until_ms == -1
    world.model.credit(world.account, "shop", "1", UNIT, world.at_ms)
    world.ask(1, "b")
    assert world.account.until_ms == 0


@pytest.mark.parametrize(
    ("until_ms", "extend_ms", "then_ms"),
    [
        (0, DAY_MS, 0),
        (-1, DAY_MS, -1),
        (AT_MS - 1, DAY_MS, END_MS),
        (END_MS + 1, DAY_MS, END_MS + 1),
        (AT_MS - 1, 0, AT_MS - 1),
    ],
)
def test_a_top_up_extends_a_life(until_ms: int, extend_ms: int, then_ms: int) -> None:
    world = World()
    world.account.until_ms = until_ms
    world.model.credit(world.account, "shop", "1", UNIT, AT_MS, extend_ms)
    world.model.credit(world.account, "shop", "1", UNIT, AT_MS + DAY_MS, extend_ms)
    assert world.account.until_ms == then_ms


def test_a_barred_account_receives_nothing() -> None:
    world = World()
    world.bar()
    assert world.send((1, None, 5), told={"direction": "incoming"}).code == Code.BARRED


def test_what_is_free_is_paid_from_nothing() -> None:
    source = bucket(1, 1, 1)
    world = World(source)
    world.row(source, 50)
    world.send((1, None, 20), told={"direction": "incoming"})
    world.send((1, 20, None))
    assert (world.used(source), world.charged.parts, world.account.posted_micros) == (0, (), 0)


# ---------------------------------------------------------------- rows, members


def test_rows_are_opened_once_for_a_price() -> None:
    world = World(credit=10 * UNIT)
    first, second = (1, 2, AT_MS, END_MS, 600), (2, 2, AT_MS, END_MS, 60)
    model, account = world.model, world.account
    assert model.open_rows(account, [first], 11 * UNIT, "buy", AT_MS) == Code.CREDIT_LIMIT
    assert model.open_rows(account, [first], 4 * UNIT, "buy", AT_MS) == Code.SUCCESS
    assert account.records[-1] == Rows(
        "a", 3, AT_MS, "buy", 4 * UNIT, "", 1, "", 4 * UNIT, 0, 10 * UNIT, 4 * UNIT, 0, (Opened(0, *first, 0, 0),)
    )  # fmt: skip
    assert model.open_rows(account, [first], 4 * UNIT, "buy", AT_MS) == Code.SUCCESS
    assert (account.sequence, account.posted_micros) == (3, 4 * UNIT)
    assert model.open_rows(account, [first, second], 0, "renew", AT_MS) == Code.SUCCESS
    assert sorted(account.rows) == [(1, AT_MS), (2, AT_MS)]


def test_a_member_has_rows_of_its_own_and_pays_from_the_accounts_money() -> None:
    own, shared = bucket(1, 1, 1, own=1), bucket(1, 1, 1)
    world = World(own, shared)
    world.join("m", "n")
    world.row(own, 5, member="m")
    world.row(shared, 3)
    world.ask(10, "m", member="m")
    assert (world.pending(own, "m"), world.pending(shared, "m")) == (5, 3)
    charged = world.charged
    assert (charged.member, charged.own_pending_micros) == ("m", 2 * UNIT)
    assert world.ask(10, "n", member="n").granted == 10
    assert world.account.own_money("n") == (0, 10 * UNIT)
    assert world.account.pending_micros == 12 * UNIT


def test_without_a_member_the_own_book_is_the_accounts() -> None:
    source = bucket(1, 1, 1, own=1)
    world = World(source)
    world.row(source, 5)
    assert world.call(8, "s") == 3 * UNIT
    assert (world.account.rows[1, AT_MS].used, world.charged.own_posted_micros) == (5, 3 * UNIT)


def test_a_members_bar_is_its_own_and_the_accounts_is_everybodys() -> None:
    world = World()
    world.join("m", "n")
    world.bar("m")
    assert world.ask(1, "a", member="m").code == Code.BARRED
    assert world.ask(1, "b", member="n").code == Code.SUCCESS
    world.model.amend(world.account, AT_MS, status=Status.BARRED)
    assert world.ask(1, "c", member="n").code == Code.BARRED


def test_a_members_session_is_not_charged_by_another() -> None:
    world = World()
    world.join("m", "n")
    world.ask(1, "s", member="m")
    assert world.send((1, 1, None), member="n").code == Code.CONFLICT
    assert world.send((1, 1, None)).code == Code.CONFLICT
