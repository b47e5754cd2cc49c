"""A bill run on both databases: from plan to published bills, what is parked, left out, abandoned, and what a run done again changes."""

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine, select, update

from ocs.care.customers import desk, service_desk
from ocs.care.customers.tables import billing_accounts
from ocs.sql import reading, writing
from postpaid_bridge.bill import content, drafted
from postpaid_bridge.bill_text import bill_of, document, document_hash
from postpaid_bridge.journal import Ledger
from postpaid_bridge.periods import KINDS, PeriodFault
from postpaid_bridge.run import NoRun, RunEvent, RunFault, RunState, Settings
from postpaid_bridge.sql import charges, journal, planning, runs, usage
from postpaid_bridge.sql.bills import bill_lines, bill_taxes
from postpaid_bridge.sql.bills import bills as bill_table
from postpaid_bridge.sql.planning import Asked
from postpaid_bridge.sql.run_report import report
from tests import run_scene as scene

NOVEMBER = Asked("regular", date(2026, 12, 3))


def test_a_whole_run_bills_everyone_once_and_leaves_nothing_unbilled(database: Engine) -> None:
    accounts = scene.populate(database)
    run = scene.whole(database)
    found = scene.bills_of(database)
    assert [row[0] for row in found] == sorted(accounts)
    assert scene.numbers(database) == [f"2026-{n:06}" for n in range(1, len(accounts) + 1)]
    assert scene.wrong_with(database) == []
    with reading(database) as look:
        assert runs.run_of(look, run).state is RunState.PUBLISHED
        in_order = look.execute(
            select(bill_table.c.number)
            .join(billing_accounts, billing_accounts.c.id == bill_table.c.billing_account)
            .order_by(billing_accounts.c.number)
        ).scalars()
        assert list(in_order) == scene.numbers(database)
        assert journal.ledger_balances(look)[Ledger.TAX] < 0


def test_what_is_kept_of_a_bill_is_the_whole_of_it(database: Engine) -> None:
    scene.populate(database)
    scene.whole(database)
    with reading(database) as look:
        for row in look.execute(select(bill_table)).all():
            made = charges.of_bills(look, [row.id])[row.id]
            bill = bill_of(row.content, made)
            assert content(bill) == row.content
            assert (bill.net_cents, bill.tax_cents, bill.gross_cents) == (
                row.net_cents, row.tax_cents, row.gross_cents,
            )  # fmt: skip
            assert document_hash(row.content, row.number, row.day, row.due_days) == row.document_sha256
            page = json.loads(document(row.content, row.number, row.day, row.due_days))
            assert page["number"] == row.number
            assert page["bill"] == json.loads(row.content)
            assert {line.charge for line in bill.lines if line.charge} == {each.key for each in made}
            kept = look.execute(select(bill_lines.c.gross_cents).where(bill_lines.c.bill == row.id)).scalars()
            assert sum(kept) == row.gross_cents
            taxes = look.execute(select(bill_taxes.c.tax_cents).where(bill_taxes.c.bill == row.id)).scalars()
            assert sum(taxes) == row.tax_cents


def test_a_companys_bill_has_a_part_per_branch_and_a_credit_bill_is_never_due(database: Engine) -> None:
    accounts = scene.populate(database)
    scene.whole(database)
    with reading(database) as look:
        found = {row.billing_account: row for row in look.execute(select(bill_table))}
    company, in_credit, mixed = found[accounts[1]], found[accounts[3]], found[accounts[2]]
    assert (
        len(json.loads(company.content)["parts"]) == 2 + 1
    )  # both branches, and the frame contract's minimum
    assert in_credit.gross_cents < 0
    assert in_credit.due_day is None
    assert company.due_day == scene.BILL_DAY + timedelta(days=14)
    assert {tax["code"] for tax in json.loads(mixed.content)["taxes"]} == {"standard-19", "reduced-7"}


def test_a_preview_changes_nothing_but_the_runs_own_rows(database: Engine) -> None:
    scene.populate(database, bad=True)
    run = scene.planned(database)
    before = scene.end_state(database)
    scene.conductor(database).preview(run, "clerk")
    assert scene.end_state(database) == before
    with reading(database) as look:
        found = report(look, run)
    assert found.run.state is RunState.PREVIEWED
    assert (found.previewed, found.foreseen) == (9, 1)
    assert found.outliers == 1
    assert [each["outlier"] for each in found.largest if each["outlier"]] == ["negative"]
    assert "no discount plan 'nobody-knows'" in found.largest[0]["foreseen"]


def test_a_preview_foretells_the_bills_and_compares_them_with_the_last_ones(database: Engine) -> None:
    scene.populate(database)
    run = scene.whole(database)
    with reading(database) as look:
        first = report(look, run)
    assert first.previewed_cents == first.gross_cents
    following = scene.planned(database, asked=NOVEMBER)
    scene.conductor(database).preview(following, "clerk")
    with reading(database) as look:
        found = report(look, following)
    assert (found.compared, found.last_cents) == (8, first.gross_cents)
    assert found.compared_cents == found.previewed_cents


def test_a_bad_account_is_parked_and_the_rest_billed_and_mended_it_gets_the_next_number(
    database: Engine,
) -> None:
    accounts = scene.populate(database, bad=True)
    bad = accounts[-2]
    run = scene.executed(database)
    row = scene.rows(database, run)[bad]
    assert (row.state, row.attempts) == ("parked", 1)
    assert "no discount plan 'nobody-knows'" in row.reason
    assert scene.wrong_with(database) == []
    scene.finished(database, run)
    assert len(scene.numbers(database)) == 9
    before = scene.bills_of(database)
    with writing(database) as work:
        desk.change_account(work, bad, {"discount_plan": ""})
    scene.conductor(database).resume(run, "clerk")
    scene.finished(database, run)
    after = scene.bills_of(database)
    assert [each for each in after if each[0] != bad] == before
    assert next(each for each in after if each[0] == bad)[10] == "2026-000010"
    assert scene.wrong_with(database) == []


def test_a_closed_run_done_again_changes_no_byte(database: Engine) -> None:
    scene.populate(database)
    run = scene.whole(database)
    before = scene.end_state(database)
    again = scene.conductor(database)
    again.execute(run, "clerk")
    again.number(run, "clerk")
    again.publish(run, scene.BILL_DAY + timedelta(days=9), "clerk")
    again.resume(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_NUMBER)
    assert scene.end_state(database) == before
    assert scene.planned(database) == run


def test_an_abandoned_run_gives_everything_back_and_the_next_one_bills_the_same(database: Engine) -> None:
    scene.populate(database)
    before = scene.end_state(database)
    run = scene.executed(database)
    first = scene.bills_of(database)
    with writing(database) as work:
        assert runs.abandon(work, run, "head", scene.NOW_MS) == 8
    assert scene.end_state(database) == before
    with writing(database) as work:
        assert runs.abandon(work, run, "head", scene.NOW_MS) == 0
    scene.executed(database, asked=Asked("regular", scene.DAY, name="again"))
    assert scene.bills_of(database) == first


def test_a_run_with_numbers_is_not_abandoned(database: Engine) -> None:
    scene.populate(database, bad=True)
    run = scene.whole(database)
    with writing(database) as work, pytest.raises(RunFault, match="cannot abandon"):
        runs.abandon(work, run, "head", scene.NOW_MS)
    scene.conductor(database).resume(run, "clerk")
    with writing(database) as work, pytest.raises(RunFault, match="9 bills of this run have numbers"):
        runs.abandon(work, run, "head", scene.NOW_MS)


def test_an_account_left_out_is_the_next_runs(database: Engine) -> None:
    accounts = scene.populate(database)
    run = scene.executed(database)
    number = scene.rows(database, run)[accounts[0]].number
    with writing(database) as work:
        runs.leave_out(work, run, number, "head", scene.NOW_MS)
    scene.finished(database, run)
    assert len(scene.numbers(database)) == 7
    with (
        writing(database) as work,
        pytest.raises(RunFault, match="an account that is closed cannot leave_out"),
    ):
        runs.leave_out(work, run, scene.rows(database, run)[accounts[1]].number, "head", scene.NOW_MS)
    scene.whole(database, asked=Asked("regular", scene.DAY, name="again"))
    assert len(scene.numbers(database)) == 8
    assert scene.wrong_with(database) == []


def test_an_account_is_in_one_open_run_at_a_time(database: Engine) -> None:
    accounts = scene.populate(database)
    first = scene.planned(database)
    second = scene.planned(database, asked=Asked("regular", scene.DAY, name="second"))
    found = scene.rows(database, second)
    assert {row.state for row in found.values()} == {"left_out"}
    assert {row.reason for row in found.values()} == {"run regular/2026-11-03 has it"}
    assert set(scene.rows(database, first)) == set(accounts)


def test_steps_out_of_order_are_refused_with_what_the_run_can(database: Engine) -> None:
    scene.populate(database)
    run = scene.planned(database)
    at = scene.conductor(database)
    with pytest.raises(RunFault, match="a run that is planned cannot execute; it can: abandon, preview"):
        at.execute(run, "clerk")
    with pytest.raises(RunFault, match="cannot number"):
        at.number(run, "clerk")
    with pytest.raises(RunFault, match="cannot publish"):
        at.publish(run, scene.BILL_DAY, "clerk")
    with pytest.raises(NoRun, match="no run 99"):
        at.execute(99, "clerk")


def test_what_cannot_be_planned_is_refused(database: Engine) -> None:
    scene.populate(database)
    for asked, why in (
        (Asked("daily", scene.DAY), "a run is one of regular, on_demand, final"),
        (Asked("on_demand", scene.DAY), "on demand is for named accounts"),
        (Asked("regular", scene.DAY, numbers=["A99"]), "none has this number"),
        (Asked("regular", scene.DAY, "monthly-1", ["A99"]), "not both"),
        (Asked("final", scene.DAY, numbers=[_number(database)]), "end it first"),
    ):
        with writing(database) as work, pytest.raises(RunFault, match=why):
            planning.plan(work, asked, Settings(), KINDS, "clerk", scene.NOW_MS)
    with writing(database) as work, pytest.raises(PeriodFault, match="day 99 of monthly"):
        planning.plan(
            work, Asked("regular", scene.DAY, "monthly-99"), Settings(), KINDS, "clerk", scene.NOW_MS
        )


def _number(database: Engine) -> str:
    with reading(database) as look:
        return str(look.execute(select(billing_accounts.c.number).limit(1)).scalar_one())


def test_a_cycle_that_is_none_any_more_parks_its_account_and_mended_it_is_billed(database: Engine) -> None:
    accounts = scene.populate(database)
    with writing(database) as work:
        work.execute(
            update(billing_accounts).where(billing_accounts.c.id == accounts[0]).values(cycle="lunar-1")
        )
    run = scene.executed(database)
    row = scene.rows(database, run)[accounts[0]]
    assert row.state == "parked"
    assert "'lunar-1' is no cycle" in row.reason
    with writing(database) as work:
        desk.change_account(work, accounts[0], {"cycle": "monthly-1"})
    scene.conductor(database).resume(run, "clerk")
    assert scene.rows(database, run)[accounts[0]].state == "done"


def test_bills_on_demand_and_final_ones_follow_one_another_without_a_day_twice(database: Engine) -> None:
    accounts = scene.populate(database)
    scene.whole(database)
    its, number = accounts[0], scene.rows(database, 1)[accounts[0]].number
    scene.whole(database, asked=Asked("on_demand", date(2026, 11, 11), numbers=[number]))
    with writing(database) as work:
        service = (
            work.execute(select(usage.lines.c.service).where(usage.lines.c.billing_account == its))
            .scalars()
            .first()
        )
        assert service is not None
        service_desk.end_service(work, service, date(2026, 11, 21))
        desk.end_account(work, its, date(2026, 11, 21))
    scene.whole(database, asked=Asked("final", date(2026, 11, 25)))
    with reading(database) as look:
        made = look.execute(
            select(bill_table).where(bill_table.c.billing_account == its).order_by(bill_table.c.period_first)
        ).all()
        status = look.execute(
            select(billing_accounts.c.status).where(billing_accounts.c.id == its)
        ).scalar_one()
        assert journal.standing(look, its, Ledger.UNBILLED) == 0
    assert [(row.kind, row.period_first.day, row.period_next.day) for row in made] == [
        ("regular", 1, 1), ("on_demand", 1, 11), ("final", 11, 21),
    ]  # fmt: skip
    assert made[-1].gross_cents < 0  # what was paid for the rest of the month comes back
    assert status == "closed"
    assert scene.planned(database, asked=NOVEMBER) is not None
    assert its not in scene.rows(database, 4)


@pytest.mark.parametrize("zero_bills", [True, False])
def test_an_account_with_nothing_to_post_gets_a_bill_only_where_the_settings_say_so(
    database: Engine, *, zero_bills: bool
) -> None:
    with writing(database) as work:
        from ocs.care.customers.shapes import NewPerson  # noqa: PLC0415

        its = scene.account(work, desk.create_party(work, NewPerson("No", "Body"), 0))
        other = scene.consumer(work, 1)
    run = scene.whole(database, settings=Settings(zero_bills=zero_bills))
    found = {row[0]: row for row in scene.bills_of(database)}
    assert found[its][2] == ("published" if zero_bills else "nothing")
    assert len(scene.numbers(database)) == 1 + zero_bills
    assert found[other][10] == f"2026-{1 + zero_bills:06}"
    assert scene.rows(database, run)[its].state == "closed"
    with reading(database) as look:
        reached = select(billing_accounts.c.billed_until).where(billing_accounts.c.id == its)
        assert look.execute(reached).scalar_one() == date(2026, 11, 1)


def test_late_usage_is_on_the_next_bill_within_the_bound_and_held_beyond_it(database: Engine) -> None:
    accounts = scene.populate(database)
    scene.whole(database)
    its = accounts[0]
    with writing(database) as work:
        row = work.execute(select(usage.lines).where(usage.lines.c.billing_account == its)).first()
        assert row is not None
        number = row.book[1:]
        scene.used(work, row.service, its, row.party, number, [(date(2026, 10, 31), "voice", 500_000)])
        scene.used(work, row.service, its, row.party, number, [(date(2026, 10, 4), "mms", 900_000)])
    scene.whole(database, asked=NOVEMBER, settings=Settings(late_days=10))
    with reading(database) as look:
        bill = look.execute(
            select(bill_table).where(bill_table.c.billing_account == its).order_by(bill_table.c.id.desc())
        ).first()
        assert bill is not None
        late = [line for line in json.loads(bill.content)["lines"] if line["kind"] == "usage"]
        held = look.execute(select(usage.lines.c.amount_micros).where(usage.lines.c.held == "late")).scalars()
        assert list(held) == [900_000]
        assert journal.standing(look, its, Ledger.UNBILLED) == 900_000
    assert [(line["amount_micros"], line["until"]) for line in late] == [(500_000, "2026-11-01")]


def test_a_failing_bill_is_tried_again_after_a_pause_and_then_parked(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = scene.populate(database)

    real, tries = drafted, []

    def failing(payer: object, *rest: object, **more: object) -> object:
        if getattr(payer, "billing_account", 0) == accounts[0]:
            tries.append(1)
            raise KeyError("a defect of ours")
        return real(payer, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("postpaid_bridge.sql.drafting.drafted", failing)
    run = scene.planned(database)
    scene.conductor(database).preview(run, "clerk")
    scene.approved(database, run, RunEvent.APPROVE_EXECUTE)
    tries.clear()
    scene.conductor(database).execute(run, "clerk")
    row = scene.rows(database, run)[accounts[0]]
    assert (len(tries), row.state, row.attempts) == (2, "parked", 2)
    assert row.reason == "KeyError: 'a defect of ours'"
    monkeypatch.undo()
    scene.conductor(database).resume(run, "clerk")
    scene.finished(database, run)
    assert scene.wrong_with(database) == []
    assert len(scene.numbers(database)) == 8
