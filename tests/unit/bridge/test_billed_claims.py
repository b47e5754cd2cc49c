"""A run's bills are owed from the moment they have numbers, fall due when they are published, and are paid like any other."""

from datetime import timedelta

from sqlalchemy import Engine, select

from ocs.sql import reading, writing
from postpaid_bridge.allocation import Wish
from postpaid_bridge.payments import Received
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.payments import receive
from postpaid_bridge.sql.receivables import Settlement, items, open_claims, open_credits, settlements
from tests import run_scene as scene
from tests.bridge_accounts import AT_MS, wrong_receivables


def test_every_bill_of_a_run_is_owed_and_due_on_its_day_and_a_credit_is_a_credit(database: Engine) -> None:
    scene.populate(database)
    scene.whole(database)
    with reading(database) as look:
        assert wrong_receivables(look) == []
        for row in look.execute(select(bills)).all():
            claims, there = open_claims(look, row.billing_account), open_credits(look, row.billing_account)
            owed = sum(each.open_micros for each in claims) - sum(each.open_micros for each in there)
            assert owed == row.gross_cents * 10_000
            assert {each.due for each in claims} <= {row.due_day}
            assert {each.number for each in claims} <= {row.number}
        assert look.execute(select(items.c.id)).all()


def test_a_bill_of_a_run_is_paid_and_its_settlement_says_so(database: Engine) -> None:
    scene.populate(database)
    scene.whole(database)
    with reading(database) as look:
        row = look.execute(select(bills).where(bills.c.gross_cents > 100).order_by(bills.c.id)).first()
        assert row is not None
        assert settlements(look, [row.id]) == {row.id: Settlement.OPEN}
    for n, (cents, after) in enumerate(
        [(100, Settlement.PART_PAID), (row.gross_cents - 100, Settlement.PAID)]
    ):
        day = scene.BILL_DAY + timedelta(days=n)
        asked = Received("bank", f"p{n}", cents * 10_000, row.currency, day, wishes=(Wish(row.number),))
        with writing(database) as work:
            receive(work, asked, AT_MS)
            assert settlements(work, [row.id]) == {row.id: after}
    with reading(database) as look:
        assert wrong_receivables(look) == []
