"""Dunning on both databases: the whole course day by day, what is booked and barred, holds, relief, and that nothing is done twice."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine

from ocs.care.customers.shapes import CustomerFault
from ocs.care.customers.tables import services
from ocs.sql import reading, writing
from postpaid_bridge.sql import dunning as kept
from postpaid_bridge.sql.journal import outbox
from tests.bridge_accounts import AT_MS, EURO, broken_laws, standing
from tests.dunning_scene import DUE, Scene

LAST = DUE + timedelta(120)
COURSE = [
    (1, 1, "remind", date(2026, 3, 9)),
    (1, 2, "warn", date(2026, 3, 23)),
    (1, 3, "bar_outgoing", date(2026, 4, 9)),
    (1, 4, "bar_all", date(2026, 4, 16)),
    (1, 5, "terminate", date(2026, 5, 18)),
    (1, 6, "collect", date(2026, 6, 2)),
]


@pytest.fixture
def scene(database: Engine) -> Scene:
    return Scene(database)


def commands(scene: Scene) -> list[tuple[str, str, int]]:
    """What went to the charging server: kind, scope, epoch."""
    rows = scene.rows(outbox, outbox.c.kind != "post")
    told = [json.loads(row.content) for row in rows]
    return [(row.kind, each["scope"], each["epoch"]) for row, each in zip(rows, told, strict=True)]


def test_who_never_pays_goes_through_all_levels_on_their_days(scene: Scene) -> None:
    account = scene.account()
    number = scene.bill(account, 150)
    scene.run(DUE, LAST)
    assert scene.steps(account) == COURSE
    assert commands(scene) == [("bar", "outgoing", 1), ("bar", "all", 2)]
    letters = scene.rows(kept.letters)
    assert [each.kind for each in letters] == [
        "reminder",
        "warning",
        "bar_outgoing",
        "bar_all",
        "termination",
    ]
    warning = json.loads(letters[1].content)
    assert (warning["until"], warning["bar_on"], warning["fee_cents"]) == ("2026-04-06", "2026-04-09", 250)
    assert warning["claims"] == [
        {"number": number, "issued": "2026-02-16", "due": "2026-03-02", "open_cents": 15_000}
    ]
    owed = standing(scene.engine, account)
    assert owed[f"{number} fee b1-{account}"] == 2_500_000
    # in default from the reminder's receipt on 12 March, interest from the 13th to 1 June: 81 days of 150.00 at 6.27 %
    assert owed[f"{number} interest b1-{account}"] == 2_080_000
    barring = next(row for row in scene.rows(kept.steps) if row.action == "bar_outgoing")
    assert {each[0] for each in json.loads(barring.reasons)} >= {
        "TKG §61(4) s.1", "TKG §61(4) s.2", "TKG §61(4) s.3-5", "TKG §61(6)", "TKG §61(6) s.4", "TKG §164(1)",
    }  # fmt: skip
    (service,) = scene.rows(services)
    assert (service.barred, service.until) == ("all", date(2026, 6, 2))
    with reading(scene.engine) as look:
        assert broken_laws(look) == []


def test_the_days_between_steps_are_not_looked_at(scene: Scene) -> None:
    account = scene.account()
    scene.bill(account, 150)
    looked = [DUE + timedelta(each) for each in range(40) if scene.dunning.run(DUE + timedelta(each)).looked]
    days = [day for *_, day in COURSE[:3]]
    assert len(looked) <= 12
    assert set(days) <= set(looked)


def test_a_run_said_again_does_nothing_more(scene: Scene) -> None:
    account = scene.account()
    scene.bill(account, 150)
    for _ in range(3):
        scene.run(DUE + timedelta(7))
    assert scene.steps(account) == COURSE[:1]
    for _ in range(2):
        scene.run(DUE + timedelta(8), DUE + timedelta(38))
    assert scene.steps(account) == COURSE[:3]


def test_a_run_that_comes_late_takes_one_step_a_day_and_keeps_the_waiting_times(scene: Scene) -> None:
    account = scene.account()
    scene.bill(account, 150)
    scene.run(DUE + timedelta(70), DUE + timedelta(130))
    steps = scene.steps(account)
    assert [level for _, level, *_ in steps[:4]] == [1, 2, 3, 4]
    days = {action: day for *_, action, day in steps}
    assert (days["bar_outgoing"] - days["warn"]).days >= 17
    assert (days["bar_all"] - days["bar_outgoing"]).days >= 7


def test_who_pays_while_barred_is_lifted_at_once_and_only_what_dunning_had_barred(scene: Scene) -> None:
    account = scene.account(books=("b1", "b2"))
    scene.bill(account, 150)
    scene.bill(account, 30, DUE + timedelta(60), "b2")
    scene.run(DUE, DUE + timedelta(39))
    assert [(each.book[:2], each.barred) for each in scene.rows(services)] == [
        ("b1", "outgoing"),
        ("b2", "none"),
    ]
    scene.pay(account, 60, DUE + timedelta(40))
    totals = scene.dunning.relieve(DUE + timedelta(40))
    assert (totals.steps, totals.failed) == ({"lift": 1}, {})
    assert commands(scene) == [("bar", "outgoing", 1), ("unbar", "", 2)]
    assert {each.barred for each in scene.rows(services)} == {"none"}
    assert [each.kind for each in scene.rows(kept.letters)][-1] == "unbar"
    assert scene.dunning.relieve(DUE + timedelta(40)).looked == 0
    # what is left is dunned from the first level on, in a case of its own
    scene.run(DUE + timedelta(41), DUE + timedelta(50))
    assert scene.steps(account)[-1][:3] == (2, 1, "remind")


def test_who_pays_all_ends_the_case_and_a_charge_back_begins_another(scene: Scene) -> None:
    account = scene.account()
    scene.bill(account, 150)
    scene.run(DUE, DUE + timedelta(8))
    scene.pay(account, 150, DUE + timedelta(9))
    scene.run(DUE + timedelta(9), DUE + timedelta(30))
    assert [each[:3] for each in scene.steps(account)] == [(1, 1, "remind"), (1, 0, "end")]
    scene.bill(account, 20, DUE + timedelta(31))
    scene.run(DUE + timedelta(31), DUE + timedelta(41))
    assert scene.steps(account)[-1][:3] == (2, 1, "remind")


def test_what_somebody_else_has_barred_stays_when_dunning_lifts(scene: Scene) -> None:
    from ocs.care.customers.service_desk import bar  # noqa: PLC0415

    account = scene.account()
    scene.bill(account, 150)
    (service,) = scene.rows(services)
    with writing(scene.engine) as work:
        bar(work, service.id, "all", "stolen", DUE, AT_MS)
    scene.run(DUE, DUE + timedelta(39))
    scene.pay(account, 200, DUE + timedelta(40))
    scene.dunning.relieve(DUE + timedelta(40))
    assert [each[0] for each in commands(scene)] == ["bar", "unbar"]
    (service,) = scene.rows(services)
    assert service.barred == "all"


def test_holds_stop_everything_and_their_end_lets_it_go_on(scene: Scene) -> None:
    account = scene.account()
    number = scene.bill(account, 150)
    scene.run(DUE, DUE + timedelta(10))
    day = DUE + timedelta(11)
    with writing(scene.engine) as work:
        held = kept.add_hold(work, account, "manual", "is in hospital", day, AT_MS)
    scene.run(day, DUE + timedelta(60))
    assert scene.steps(account) == COURSE[:1]
    with writing(scene.engine) as work:
        assert kept.end_hold(work, held, DUE + timedelta(61))
        assert not kept.end_hold(work, held, DUE + timedelta(61))
        kept.add_hold(
            work, account, "contested", "wrong number", day, AT_MS, bill=number, amount_micros=51 * EURO
        )
    scene.run(DUE + timedelta(61), DUE + timedelta(120))
    assert [each[2] for each in scene.steps(account)] == ["remind"]  # 99.00 are left: no warning of a bar


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"kind": "whim"}, "write dispute, promise, manual, contested"),
        ({"reason": ""}, "a hold has its reason"),
        ({"kind": "promise"}, "has its day"),
        ({"until": DUE - timedelta(1)}, "before it begins"),
        ({"kind": "contested"}, "of a bill"),
        ({"amount_micros": 5}, "only what is contested"),
    ],
)
def test_a_hold_that_cannot_be_is_refused(scene: Scene, asked: dict[str, object], told: str) -> None:
    account = scene.account()
    words: dict[str, object] = {"kind": "manual", "reason": "why", "day": DUE, "at_ms": AT_MS} | asked
    with writing(scene.engine) as work, pytest.raises(CustomerFault, match=told):
        kept.add_hold(work, account, **words)  # type: ignore[arg-type]


def test_a_business_owes_the_flat_sum_once_a_bill_and_its_interest_is_higher(scene: Scene) -> None:
    account = scene.account(kind="business")
    first, second = scene.bill(account, 1000), scene.bill(account, 500, DUE + timedelta(5))
    scene.run(DUE, DUE + timedelta(45))
    owed = standing(scene.engine, account)
    assert [owed[f"{each} fee b1-{account}"] for each in (first, second)] == [40 * EURO, 40 * EURO]
    rows = [each for each in scene.rows(kept.steps) if each.interest_micros]
    assert rows[0].action == "warn"
    # the warning of 19 March: 1,000.00 from 13 March on, 6 days at 10.27 %: 1.6882…; the second, due on the 7th, likewise: 0.8441…
    assert rows[0].interest_micros == 1_680_000 + 840_000
    with reading(scene.engine) as look:
        assert broken_laws(look) == []


def test_customers_without_a_policy_are_left_alone_and_an_account_that_fails_stops_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = scene.account("1000001"), scene.account("1000002")
    for each in (bad, good):
        scene.bill(each, 150)
    step = type(scene.dunning).step

    def fails(self: object, account: int, day: date) -> object:
        if account == bad:
            raise ValueError("what no test foresaw")
        return step(scene.dunning, account, day)

    monkeypatch.setattr(type(scene.dunning), "step", fails)
    totals = scene.dunning.run(DUE + timedelta(7))
    assert (totals.steps, totals.failed) == ({"remind": 1}, {bad: "what no test foresaw"})
    monkeypatch.undo()
    assert scene.run(DUE + timedelta(7)) == {DUE + timedelta(7): {"remind": 1}}


def test_a_dry_run_says_what_a_run_would_do_and_does_nothing(scene: Scene) -> None:
    account = scene.account()
    scene.bill(account, 150)
    found = scene.dunning.preview(DUE + timedelta(7))
    assert [(each.payer.id, each.decision.step.action) for each in found if each.decision and each.decision.step] == [(account, "remind")]  # fmt: skip
    assert scene.steps(account) == []
