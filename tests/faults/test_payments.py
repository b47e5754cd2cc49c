"""Payments under races and deaths: booked once whoever posts, an import killed anywhere comes to the undisturbed end."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from ocs.care.customers.shapes import CustomerFault
from ocs.sql import engine_of, reading, writing
from postpaid_bridge.jobs.statements import import_file
from postpaid_bridge.payments import Received, Return
from postpaid_bridge.sql import clearing
from postpaid_bridge.sql.journal import entries, ledger_balances, postings
from postpaid_bridge.sql.payments import payments, receive
from postpaid_bridge.sql.receivables import allocations
from postpaid_bridge.sql.returns import charge_back
from postpaid_bridge.sql.statements import statement_entries, statements
from tests.bridge_accounts import AT_MS, DAY, EURO, account, bill, broken_laws, standing
from tests.databases import KINDS, database_url
from tests.mock_bank import OURS, Bank, Entry, Tx, paid, returned

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def laws_hold(engine: Engine) -> bool:
    with reading(engine) as look:
        assert broken_laws(look) == []
    return True


def test_two_hundred_posts_of_one_payment_book_it_once(database: Engine) -> None:
    of = account(database)
    number = bill(database, of, 1)
    asked = Received("psp", "p1", 40 * EURO, "EUR", DAY, of)

    def post(n: int) -> tuple[int, bool] | str:
        try:
            with writing(database) as work:
                row, is_new = receive(work, asked if n % 10 else asked._replace(amount_micros=EURO), AT_MS)
                return row.id, is_new
        except CustomerFault as fault:
            return fault.kind.value

    with ThreadPoolExecutor(32) as threads:
        found = list(threads.map(post, range(1, 201)))
    assert found.count("conflict") == 20
    booked = [each for each in found if not isinstance(each, str)]
    assert len({row for row, _ in booked}) == 1
    assert sum(is_new for _, is_new in booked) == 1
    assert standing(database, of) == {f"{number} principal b1": 60 * EURO}
    assert laws_hold(database)


def test_payments_bills_and_charge_backs_of_one_account_at_once_end_as_one_after_the_other(
    database: Engine,
) -> None:
    of = account(database)
    bill(database, of, 1)
    with writing(database) as work:
        first, _ = receive(work, Received("psp", "first", 50 * EURO, "EUR", DAY, of), AT_MS)

    def act(n: int) -> None:
        if n == 5:
            bill(database, of, 2, [("b2", "", 30 * EURO)])
        elif n % 8 == 7:
            with writing(database) as work:
                charge_back(work, Return("psp", "back", first.id, DAY), AT_MS)
        else:
            with writing(database) as work:
                receive(work, Received("psp", f"p{n}", 3 * EURO, "EUR", DAY, of), AT_MS)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(act, range(24)))
    assert laws_hold(database)
    assert sum(standing(database, of).values()) == (100 + 30 - 3 * 20) * EURO


def test_a_payment_that_waits_is_placed_by_one_of_those_who_try(database: Engine) -> None:
    accounts = [account(database, f"100000{n}") for n in range(4)]
    with writing(database) as work:
        waits, _ = receive(work, Received("psp", "p", 50 * EURO, "EUR", DAY), AT_MS)

    def act(n: int) -> bool:
        try:
            with writing(database) as work:
                clearing.place(work, waits.id, accounts[n], (), "clerk", "", AT_MS)
        except CustomerFault:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(act, range(4))) == 1
    assert laws_hold(database)
    assert sum(sum(standing(database, each).values()) for each in accounts) == 50 * EURO


def day_of_a_bank(number: str, other: str) -> bytes:
    bank = Bank()
    return bank.day(
        paid("30.00", number, "A1"),
        Entry("25.00", (Tx("10.00", number), Tx("15.00", other)), ref="B1"),
        returned("33.00", "AC04", "R1", end_to_end="E2E", original="30.00"),
        paid("5.00", "nobody's", "A2"),
        returned("9.00", "MD01", "R2"),
        paid("20.00", other),
    )


def end_state(engine: Engine) -> dict[str, Any]:
    """All that an import leaves, without the numbers of rows."""
    with reading(engine) as look:
        assert broken_laws(look) == []
        c = statement_entries.c
        return {
            "ledger": ledger_balances(look),
            "rows": look.execute(
                select(c.number, c.place, c.key, c.state, c.why).order_by(c.number, c.place)
            ).all(),
            "payments": look.execute(
                select(payments.c.own_id, payments.c.state).order_by(payments.c.own_id)
            ).all(),
            "postings": look.execute(select(func.count()).select_from(postings)).scalar(),
            "entries": look.execute(select(func.count()).select_from(entries)).scalar(),
            "allocations": look.execute(select(func.count()).select_from(allocations)).scalar(),
            "done": look.execute(select(statements.c.done_ms)).scalars().all(),
        }


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scene(kind: str, tmp_path: Path) -> Iterator[tuple[str, Engine, Path]]:
    with database_url(kind, tmp_path) as url:
        engine = engine_of(url)
        yield prepared(url, engine, tmp_path)
        engine.dispose()


def prepared(url: str, engine: Engine, folder: Path) -> tuple[str, Engine, Path]:
    one, two = account(engine), account(engine, "1000002")
    number, other = bill(engine, one, 1), bill(engine, two, 2)
    with writing(engine) as work:
        receive(work, Received("psp", "E2E", 30 * EURO, "EUR", DAY, one), AT_MS)
    file = folder / "day.xml"
    file.write_bytes(day_of_a_bank(number, other))
    return url, engine, file


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = {}
    for each in KINDS:
        folder = tmp_path_factory.mktemp(each)
        with database_url(each, folder) as url:
            engine = engine_of(url)
            _, _, file = prepared(url, engine, folder)
            import_file(engine, file, [OURS], lambda: AT_MS)
            found[each] = end_state(engine)
            engine.dispose()
    assert found["sqlite"] == found["postgresql"]
    return found


DEATHS = [
    *(("commit", nth) for nth in range(1, 9)),
    *(("statement", nth) for nth in (3, 17, 40, 71, 95, 130)),
]


@pytest.mark.parametrize(("name", "nth"), DEATHS)
def test_an_import_killed_at_a_step_and_begun_again_ends_as_the_undisturbed_one(
    scene: tuple[str, Engine, Path], kind: str, undisturbed: dict[str, dict[str, Any]], name: str, nth: int
) -> None:
    url, engine, file = scene
    command = [sys.executable, "-m", "tests.faults.dying_import", url, str(file), name, str(nth)]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode == -9
    import_file(engine, file, [OURS], lambda: AT_MS)
    assert end_state(engine) == undisturbed[kind]


def test_two_imports_of_one_file_at_once_book_it_once(
    scene: tuple[str, Engine, Path], kind: str, undisturbed: dict[str, dict[str, Any]]
) -> None:
    _, engine, file = scene
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: import_file(engine, file, [OURS], lambda: AT_MS), range(3)))
    assert end_state(engine) == undisturbed[kind]
