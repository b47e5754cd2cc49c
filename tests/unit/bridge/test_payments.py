"""Payments: booked once, on what the law says, and back again; what nobody can place waits for a human."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from ocs.care.customers.shapes import CustomerFault
from ocs.care.customers.tables import services
from ocs.sql import reading, writing
from postpaid_bridge.allocation import Wish
from postpaid_bridge.journal import Ledger
from postpaid_bridge.payments import Received, Return
from postpaid_bridge.sql import clearing
from postpaid_bridge.sql.bookings import charge
from postpaid_bridge.sql.journal import entries, ledger_balances, outbox
from postpaid_bridge.sql.payments import payments, receive
from postpaid_bridge.sql.receivables import Item, ItemKind, Settlement, settlements
from postpaid_bridge.sql.returns import charge_back, refund
from tests.bridge_accounts import AT_MS, DAY, EURO, THIRD, account, bill, broken_laws, standing


def pay(engine: Engine, amount: int, of: int | None, own_id: str = "p1", **more: Any) -> Any:
    asked = Received("bank", own_id, amount, more.pop("currency", "EUR"), more.pop("day", DAY), of, **more)
    with writing(engine) as work:
        return receive(work, asked, AT_MS)


def back(engine: Engine, payment: int, own_id: str = "r1", **more: Any) -> Any:
    with writing(engine) as work:
        return charge_back(work, Return("bank", own_id, payment, DAY, **more), AT_MS)


def paid_out(engine: Engine, payment: int, own_id: str = "o1", **more: Any) -> Any:
    with writing(engine) as work:
        return refund(work, Return("desk", own_id, payment, DAY, **more), AT_MS)


def laws_hold(engine: Engine) -> bool:
    with reading(engine) as look:
        assert broken_laws(look) == []
    return True


def ledger(engine: Engine) -> dict[Ledger, int]:
    with reading(engine) as look:
        return {each: micros for each, micros in ledger_balances(look).items() if micros}


def test_half_of_a_bill_of_own_and_third_party_claims_pays_both_pro_rata(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1, [("b1", "voice", 70 * EURO), ("b1", "premium", 30 * EURO)])
    pay(database, 50 * EURO, of)
    assert standing(database, of) == {
        f"{number} principal b1": 35 * EURO,
        f"{number} principal b1 {THIRD}": 15 * EURO,
    }
    with reading(database) as look:
        assert settlements(look, [1]) == {1: Settlement.PART_PAID}
        effects = look.execute(
            select(outbox.c.book, func.sum(outbox.c.amount_micros)).group_by(outbox.c.book)
        )
        assert [tuple(each) for each in effects] == [("b1", 50 * EURO)]
    assert laws_hold(database)


def test_a_payment_is_booked_once_and_other_content_under_its_id_is_a_conflict(database: Engine) -> None:
    of = account(database)
    bill(database, of, 1)
    first, is_new = pay(database, 40 * EURO, of, text="for  the\nbill")
    again, is_new_again = pay(database, 40 * EURO, of, text="for the bill ")
    assert (is_new, is_new_again, again.id) == (True, False, first.id)
    before = standing(database, of), ledger(database)
    with pytest.raises(CustomerFault, match="other content"):
        pay(database, 41 * EURO, of, text="for the bill")
    assert (standing(database, of), ledger(database)) == before
    assert laws_hold(database)


def test_the_payers_word_comes_before_the_law_and_the_rest_goes_by_it(database: Engine) -> None:
    of = account(database)
    older = bill(database, of, 1, day=DAY - timedelta(days=60))
    newer = bill(database, of, 2)
    pay(database, 120 * EURO, of, wishes=(Wish(newer),))
    assert standing(database, of) == {f"{older} principal b1": 80 * EURO}
    assert laws_hold(database)


def test_without_a_word_costs_and_interest_go_first(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    with writing(database) as work:
        for kind, micros in ((ItemKind.FEE, 3 * EURO), (ItemKind.INTEREST, 2 * EURO)):
            item = Item(f"{kind}:1", kind, micros, "b1", "bill:1", 1, number)
            charge(work, of, item, DAY, AT_MS)
    pay(database, 4 * EURO, of)
    assert standing(database, of) == {
        f"{number} principal b1": 100 * EURO,
        f"{number} interest b1": 1 * EURO,
    }
    assert laws_hold(database)


def test_what_is_over_stays_to_the_accounts_credit_and_pays_the_next_bill(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    pay(database, 130 * EURO, of, wishes=(Wish(number),))
    assert standing(database, of) == {"credit": 30 * EURO}
    with reading(database) as look:
        assert settlements(look, [1]) == {1: Settlement.OVER_PAID}
    following = bill(database, of, 2, [("b1", "", 20 * EURO), ("b2", "", 20 * EURO)], day=DAY)
    assert standing(database, of) == {
        f"{following} principal b1": 5 * EURO,
        f"{following} principal b2": 5 * EURO,
    }
    with reading(database) as look:
        assert settlements(look, [1, 2]) == {1: Settlement.PAID, 2: Settlement.PART_PAID}
    assert laws_hold(database)


def test_credit_of_an_account_with_one_book_is_on_it(database: Engine) -> None:
    of = account(database)
    with writing(database) as work:
        work.execute(
            services.insert().values(
                billing_account=of,
                party=1,
                kind="mobile",
                mode="postpaid",
                book="b1",
                plan="p",
                since=DAY,
            )
        )
    pay(database, 30 * EURO, of)
    with reading(database) as look:
        assert look.execute(select(outbox.c.book, outbox.c.amount_micros)).all() == [("b1", 30 * EURO)]
    assert laws_hold(database)


@pytest.mark.parametrize(
    ("amount", "more", "what"),
    [
        (0, {}, "not above zero"),
        (-5 * EURO, {}, "not above zero"),
        (10**15, {}, "more than"),
        (1_001_000, {}, "more precise than the cent"),
        (EURO, {"currency": "USD"}, "the account is in EUR"),
        (EURO, {"currency": "euro"}, "no currency"),
        (EURO, {"wishes": (Wish("2026-000009"),)}, "the account has not"),
        (EURO, {"wishes": (Wish("2026-000001", amount_micros=2 * EURO),)}, "more than the payment"),
        (EURO, {"own_id": ""}, "no id"),
        (EURO, {"of": 77}, "account"),
    ],
)
def test_what_no_payment_can_be_is_refused_and_nothing_is_booked(
    database: Engine, amount: int, more: dict[str, Any], what: str
) -> None:
    of = account(database)
    bill(database, of, 1)
    before = standing(database, of), ledger(database)
    with pytest.raises(CustomerFault, match=what):
        pay(database, amount, **({"of": of} | more))
    assert (standing(database, of), ledger(database)) == before
    with reading(database) as look:
        assert look.execute(select(func.count()).select_from(payments)).scalar() == 0


def test_a_returned_debit_opens_its_bill_again_with_its_days_and_the_banks_price(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    before = standing(database, of)
    payment, _ = pay(database, 100 * EURO, of, method="direct_debit", wishes=(Wish(number),))
    back(database, payment.id, fee_micros=3 * EURO, reason="AC04 closed account")
    assert standing(database, of) == before | {f"{number} fee ": 3 * EURO}
    found = ledger(database)
    assert found == {
        Ledger.RECEIVABLE: 103 * EURO,
        Ledger.UNBILLED: -100 * EURO,
        Ledger.CASH: -3 * EURO,
    }, "the fee is owed, and the bank has kept it"
    back(database, payment.id, fee_micros=3 * EURO, reason="AC04 closed account")
    assert ledger(database) == found
    with pytest.raises(CustomerFault, match="gone back to the bank already"):
        back(database, payment.id, "r2")
    assert laws_hold(database)


def test_what_was_paid_out_and_then_taken_by_the_bank_is_owed(database: Engine) -> None:
    of = account(database)
    payment, _ = pay(database, 50 * EURO, of)
    paid_out(database, payment.id, amount_micros=20 * EURO)
    back(database, payment.id)
    assert standing(database, of) == {"charge-back:2 principal ": 20 * EURO}
    assert laws_hold(database)


def test_a_refund_pays_out_what_no_claim_has_and_no_more(database: Engine) -> None:
    of = account(database)
    bill(database, of, 1)
    payment, _ = pay(database, 130 * EURO, of)
    with pytest.raises(CustomerFault, match=r"30\.00 of it is left"):
        paid_out(database, payment.id, amount_micros=31 * EURO)
    paid_out(database, payment.id)
    paid_out(database, payment.id)
    assert standing(database, of) == {}
    assert ledger(database)[Ledger.CASH] == 100 * EURO
    assert laws_hold(database)


def test_two_payments_that_look_the_same_are_both_booked_and_the_later_one_says_so(database: Engine) -> None:
    of = account(database)
    bill(database, of, 1)
    one, _ = pay(database, 60 * EURO, of, iban="DE89 3704 0044 0532 0130 00", text="November")
    two, _ = pay(database, 60 * EURO, of, "p2", iban="DE89370400440532013000", text="November")
    three, _ = pay(database, 60 * EURO, of, "p3", iban="DE89370400440532013000", text="December")
    assert (one.twin, two.twin, three.twin) == (None, one.id, None)
    assert standing(database, of) == {"credit": 80 * EURO}


@pytest.mark.parametrize(
    "text", ["bill 2026-000001 thanks", "RE.2026-000001/", "2026-\n000001", "rf 2026-0000 01"]
)
def test_a_bills_number_in_the_text_places_a_payment(database: Engine, text: str) -> None:
    of = account(database)
    bill(database, of, 1)
    found, _ = pay(database, 100 * EURO, None, text=text)
    assert (found.state, found.billing_account) == ("placed", of)
    assert standing(database, of) == {}


def test_what_nobody_can_place_waits_and_is_placed_by_a_human(database: Engine) -> None:
    of, other = account(database), account(database, "1000002")
    number = bill(database, of, 1)
    bill(database, other, 2)
    pay(database, 5 * EURO, of, "before", iban="DE02120300000000202051")
    found, _ = pay(database, 95 * EURO, None, "p1", iban="DE02120300000000202051", text="telephone", payer="Muster1000001, Erika")  # fmt: skip
    several, _ = pay(database, 1 * EURO, None, "p2", text="2026-000001 2026-000002")
    assert (found.state, found.why, several.why) == (
        "clearing",
        "no number in its text",
        "numbers of several accounts",
    )
    assert ledger(database)[Ledger.CLEARING] == -96 * EURO
    with reading(database) as look:
        assert [each.id for each in clearing.waiting(look)] == [found.id, several.id]
        (proposal,) = clearing.proposals(look, found.id)
        assert (proposal.billing_account, proposal.why) == (
            of,
            ("paid from this bank account before", "the payer's name", "owes just this"),
        )
        assert [each.billing_account for each in clearing.proposals(look, several.id)] == [of, other]
    with writing(database) as work:
        placed = clearing.place(work, found.id, of, (Wish(number),), "clerk", "the name", AT_MS)
    assert (placed.state, placed.billing_account) == ("placed", of)
    assert standing(database, of) == {}
    with writing(database) as work:
        clearing.leave(work, several.id, "clerk", "asked the payer", AT_MS)
    with reading(database) as look:
        assert clearing.waiting(look) == []
        assert [each.id for each in clearing.waiting(look, left=True)] == [several.id]
    with pytest.raises(CustomerFault, match="it is placed"), writing(database) as work:
        clearing.place(work, found.id, other, (), "clerk", "", AT_MS)
    paid_out(database, several.id, reason="not ours")
    assert Ledger.CLEARING not in ledger(database)
    with pytest.raises(CustomerFault, match="it is gone"), writing(database) as work:
        clearing.place(work, several.id, of, (), "clerk", "", AT_MS)
    assert laws_hold(database)


def test_a_payment_to_a_closed_account_is_booked_while_it_owes_and_waits_when_it_does_not(
    database: Engine,
) -> None:
    of = account(database, status="closed", until=DAY)
    bill(database, of, 1)
    first, _ = pay(database, 100 * EURO, of)
    second, _ = pay(database, 100 * EURO, of, "p2")
    assert (first.state, second.state) == ("placed", "clearing")
    assert second.why == "the account is closed and owes nothing"
    assert laws_hold(database)


def test_money_in_another_currency_that_is_nobodys_is_not_booked(database: Engine) -> None:
    with pytest.raises(CustomerFault, match="not in EUR"):
        pay(database, EURO, None, currency="CHF", text="thanks")
    account(database, currency="CHF")
    with pytest.raises(CustomerFault, match="is in CHF"):
        pay(database, EURO, None, text="1000001")
    with reading(database) as look:
        assert look.execute(select(func.count()).select_from(entries)).scalar() == 0
