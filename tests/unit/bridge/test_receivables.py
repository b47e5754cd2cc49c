"""What accounts owe: bills become claims, credits pay them, fees and interest hang on them; RECEIVABLE moves with every step."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from ocs.sql import reading, writing
from postpaid_bridge.sql.bookings import charge
from postpaid_bridge.sql.receivables import Item, ItemKind, Settlement, open_claims, settlements
from tests.bridge_accounts import AT_MS, DAY, EURO, THIRD, account, bill, broken_laws, standing


def test_a_bill_is_owed_by_book_and_creditor(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1, [("b1", "voice", 60 * EURO), ("b1", "data", 10 * EURO), ("b1", "premium", 30 * EURO), ("b2", "", 5)])  # fmt: skip
    assert standing(database, of) == {
        f"{number} principal b1": 70 * EURO,
        f"{number} principal b1 {THIRD}": 30 * EURO,
        f"{number} principal b2": 5,
    }
    with reading(database) as look:
        assert broken_laws(look) == []
        assert settlements(look, [1, 2]) == {1: Settlement.OPEN, 2: Settlement.PAID}


def test_what_a_book_gains_on_a_bill_pays_what_another_owes(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1, [("b1", "", 100 * EURO), ("b2", "", -30 * EURO)])
    assert standing(database, of) == {f"{number} principal b1": 70 * EURO}
    bill(database, of, 2, [("b2", "", -100 * EURO)])
    assert standing(database, of) == {"credit": 30 * EURO}
    bill(database, of, 3, [("", "", 10 * EURO)])
    assert standing(database, of) == {"credit": 20 * EURO}
    with reading(database) as look:
        assert broken_laws(look) == []
        assert set(settlements(look, [1, 2, 3]).values()) == {Settlement.PAID}


def test_a_bill_is_owed_once(database: Engine) -> None:
    of = account(database)
    bill(database, of, 1)
    before = standing(database, of)
    with pytest.raises(RuntimeError, match="owed already"):
        bill(database, of, 1)
    assert standing(database, of) == before


def test_a_fee_is_owed_once_by_its_key_and_hangs_on_its_bill(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    fee = Item("fee:1:2", ItemKind.FEE, 2_500_000, "b1", "bill:1", 1, number, text="second reminder")
    for is_new in (True, False):
        with writing(database) as work:
            assert charge(work, of, fee, DAY, AT_MS) is is_new
    assert standing(database, of) == {f"{number} principal b1": 100 * EURO, f"{number} fee b1": 2_500_000}
    with reading(database) as look:
        assert broken_laws(look) == []
        assert [each.kind for each in open_claims(look, of, DAY)] == ["principal", "fee"]
        assert [each.kind for each in open_claims(look, of, DAY - timedelta(days=1))] == ["principal"]
