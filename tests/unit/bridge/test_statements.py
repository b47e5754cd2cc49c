"""Bank statements: read whole or refused, each transaction booked once, what cannot be booked kept with its reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from ocs.care.customers.shapes import CustomerFault
from ocs.sql import reading, writing
from postpaid_bridge.jobs.statements import Done, import_file
from postpaid_bridge.journal import Ledger
from postpaid_bridge.payments import Received
from postpaid_bridge.sql.journal import ledger_balances
from postpaid_bridge.sql.payments import payments, receive
from postpaid_bridge.sql.statements import accept, rejected, statements
from postpaid_bridge.statement import StatementFault, read_statements
from tests.bridge_accounts import AT_MS, DAY, EURO, account, bill, broken_laws, standing
from tests.mock_bank import OURS, PAYER, Bank, Entry, Tx, paid, returned


def taken(engine: Engine, folder: Path, octets: bytes) -> Done:
    file = folder / "statement.xml"
    file.write_bytes(octets)
    (done,) = import_file(engine, file, [OURS], lambda: AT_MS)
    with reading(engine) as look:
        assert broken_laws(look) == []
    return done


@pytest.mark.parametrize("version", ["02", "08"])
def test_payments_of_a_statement_pay_their_bills_and_what_nobody_can_place_waits(
    database: Engine, tmp_path: Path, version: str
) -> None:
    of = account(database)
    number = bill(database, of, 1)
    octets = Bank(version=version).day(
        paid("60.00", f"bill {number}", "A1"),
        paid("5.50", "thank you", "A2"),
        Entry("7", text="cash at the counter"),
        Entry("12.00", (Tx("12.00"),), "DBIT", "A4"),
        paid("900", number, "A5")._replace(status="PDNG"),
    )
    done = taken(database, tmp_path, octets)
    assert (done.entries, done.states) == (4, {"payment": 3, "ours": 1})
    assert standing(database, of) == {f"{number} principal b1": 40 * EURO}
    with reading(database) as look:
        balances = ledger_balances(look)
        assert (balances[Ledger.CASH], balances[Ledger.CLEARING]) == (72_500_000, -12_500_000)
        assert look.execute(select(payments.c.iban).where(payments.c.state == "placed")).scalars().all() == [
            PAYER
        ]


def test_the_same_statement_again_books_nothing_and_other_content_under_its_name_is_refused(
    database: Engine, tmp_path: Path
) -> None:
    of = account(database)
    number = bill(database, of, 1)
    octets = Bank().day(paid("60.00", number, "A1"), paid("3.00", "x"), paid("3.00", "x"))
    first = taken(database, tmp_path, octets)
    again = taken(database, tmp_path, octets)
    assert (again.id, again.is_repeated, again.states) == (first.id, True, {"payment": 3})
    with pytest.raises(CustomerFault, match="another content"):
        taken(database, tmp_path, Bank().day(paid("61.00", number, "A1")))
    assert standing(database, of) == {f"{number} principal b1": 40 * EURO}


def test_an_entry_in_two_statements_is_booked_once_and_one_without_a_reference_is_a_humans(
    database: Engine, tmp_path: Path
) -> None:
    of = account(database)
    number = bill(database, of, 1)
    bank = Bank()
    taken(database, tmp_path, bank.day(paid("10.00", number, "A1"), paid("20.00", number)))
    done = taken(database, tmp_path, bank.day(paid("10.00", number, "A1"), paid("20.00", number)))
    assert done.states == {"repeated": 1, "doubtful": 1}
    assert standing(database, of) == {f"{number} principal b1": 70 * EURO}
    with writing(database) as work:
        (row,) = rejected(work)
        accept(work, row.id, AT_MS)
    with pytest.raises(CustomerFault, match="not one that can be accepted"), writing(database) as work:
        accept(work, row.id, AT_MS)
    assert standing(database, of) == {f"{number} principal b1": 50 * EURO}
    with reading(database) as look:
        assert broken_laws(look) == []


def test_a_returned_debit_opens_its_bill_again_and_its_price_is_owed(
    database: Engine, tmp_path: Path
) -> None:
    of = account(database)
    number = bill(database, of, 1)
    with writing(database) as work:
        debit = Received("psp", "E2E-1", 100 * EURO, "EUR", DAY, of, "direct_debit")
        receive(work, debit, AT_MS)
    assert standing(database, of) == {}
    octets = Bank().day(returned("103.00", "MD06", "R1", end_to_end="E2E-1", original="100.00"))
    assert taken(database, tmp_path, octets).states == {"charge_back": 1}
    assert standing(database, of) == {
        f"{number} principal b1": 100 * EURO,
        "charge-back:1:fee fee ": 3 * EURO,
    }


@pytest.mark.parametrize("reversal", [False, True])
def test_a_return_without_a_reference_is_of_the_payment_of_that_bank_account_and_amount(
    database: Engine, tmp_path: Path, *, reversal: bool
) -> None:
    of = account(database)
    number = bill(database, of, 1)
    bank = Bank()
    taken(database, tmp_path, bank.day(paid("30.00", number, "A1"), paid("40.00", number, "A2")))
    back = returned("30.00", "" if reversal else "AC04", "R1")._replace(reversal=reversal)
    taken(database, tmp_path, bank.day(back))
    assert standing(database, of) == {f"{number} principal b1": 60 * EURO}


def test_a_return_that_nothing_was_paid_for_is_kept_and_taken_in_when_the_payment_is_there(
    database: Engine, tmp_path: Path
) -> None:
    of = account(database)
    number = bill(database, of, 1)
    bank = Bank()
    done = taken(database, tmp_path, bank.day(returned("30.00", "AC04", "R1"), paid("1.00", number, "A0")))
    assert done.states == {"payment": 1, "rejected": 1}
    with reading(database) as look:
        (row,) = rejected(look)
    assert "no payment that it takes back" in row.why
    with pytest.raises(CustomerFault, match="no payment"), writing(database) as work:
        accept(work, row.id, AT_MS)
    taken(database, tmp_path, bank.day(paid("30.00", number, "A1")))
    with writing(database) as work:
        accept(work, row.id, AT_MS)
    assert standing(database, of) == {f"{number} principal b1": 99 * EURO}


def test_a_batch_is_booked_whole_or_not_at_all(database: Engine, tmp_path: Path) -> None:
    of = account(database)
    number = bill(database, of, 1)
    bank = Bank()
    good = Entry("30.00", (Tx("10.00", number), Tx("20.00", number)), ref="B1")
    short = Entry("30.00", (Tx("10.00", number), Tx("19.00", number)), ref="B2")
    done = taken(database, tmp_path, bank.day(good, short))
    assert done.states == {"payment": 2, "rejected": 1}
    assert standing(database, of) == {f"{number} principal b1": 70 * EURO}
    broken = Entry(
        "30.00", (Tx("10.00", returned="AC04"), Tx("20.00", returned="AC04", iban="")), "DBIT", "B3"
    )
    done = taken(database, tmp_path, bank.day(broken))
    assert done.states == {"rejected": 2}
    assert standing(database, of) == {f"{number} principal b1": 70 * EURO}, "the first was not booked alone"


def test_a_debit_of_ours_that_comes_back_is_nobodys_payment(database: Engine, tmp_path: Path) -> None:
    of = account(database)
    number = bill(database, of, 1)
    taken(database, tmp_path, Bank().day(paid("30.00", number, "A1")._replace(reversal=True)))
    assert standing(database, of) == {f"{number} principal b1": 100 * EURO}


def test_a_payment_to_an_account_in_another_currency_is_kept_with_its_reason(
    database: Engine, tmp_path: Path
) -> None:
    account(database, currency="CHF")
    done = taken(database, tmp_path, Bank().day(paid("30.00", "1000001", "A1"), paid("1.00", "x", "A2")))
    assert done.states == {"payment": 1, "rejected": 1}
    with reading(database) as look:
        assert "is in CHF" in rejected(look)[0].why


def _good() -> bytes:
    return Bank().day(paid("60.00", "x", "A1"))


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no whole XML"),
    "truncated": (lambda: _good()[:-40], "no whole XML"),
    "binary": (lambda: bytes(range(256)), "no whole XML"),
    "another document": (lambda: b"<html/>", "no statement in a layout"),
    "camt.054": (lambda: _good().replace(b"camt.053.001.08", b"camt.054.001.08"), "no statement in a layout"),
    "nothing in it": (lambda: Bank().file(), "no statement in it"),
    "another bank's account": (lambda: Bank("DE02120300000000202051").day(), "no account of ours"),
    "no account": (lambda: _good().replace(b"IBAN>", b"Othr>"), "without an IBAN"),
    "balance": (lambda: Bank().file(Bank().statement([paid("1.00")], wrong_by=1)), "do not make"),
    "no balance": (lambda: _good().replace(b"CLBD", b"CLAV"), "no closing balance"),
    "currency of an entry": (
        lambda: Bank().day(paid("1.00")._replace(currency="USD")),
        "in USD; the account is in EUR",
    ),
    "no amount": (lambda: Bank().day(paid("60.00")).replace(b">60.00<", b">6e1<"), "an amount that is none"),
    "negative": (lambda: Bank().day(paid("60.00")).replace(b">60.00<", b">-60.00<"), "an amount that is none"),
    "too precise": (lambda: _good().replace(b">60.00<", b">60.001<"), "more precise"),
    "direction": (lambda: _good().replace(b"CRDT</CdtDbtInd><Sts>", b"UP</CdtDbtInd><Sts>"), "neither CRDT"),
    "day": (lambda: _good().replace(b"<ValDt><Dt>2026-11-30", b"<ValDt><Dt>2026-13-30"), "is no day"),
    "twice in one file": (
        lambda: Bank().file(Bank().statement([], name="S"), Bank().statement([], name="S")),
        "stands in it twice",
    ),
    "entity": (
        lambda: b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + _good().partition(b"?>")[2].replace(b">x<", b">&e;<"),
        "document type",
    ),
    "many entities": (
        lambda: b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        + _good().partition(b"?>")[2].replace(b">x<", b">&b;<"),
        "document type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_right_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    make, what = BAD[name]
    with pytest.raises(StatementFault, match=what):
        read_statements(make(), [OURS])


def test_one_statement_that_is_not_ours_lets_nothing_of_its_file_be_booked(
    database: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "two.xml"
    file.write_bytes(Bank().file(Bank().statement([paid("60.00", "x", "A1")]), Bank(PAYER).statement([])))
    with pytest.raises(StatementFault, match="no account of ours"):
        import_file(database, file, [OURS], lambda: AT_MS)
    with reading(database) as look:
        assert look.execute(select(func.count()).select_from(statements)).scalar() == 0
        assert look.execute(select(func.count()).select_from(payments)).scalar() == 0
