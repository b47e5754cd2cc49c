"""`pay`, `import-statement`, `payments …`, `clearing …` as an operator types them, on a database that `database upgrade` made."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ocs.sql import engine_of, reading
from tests.bridge_accounts import EURO, account, bill, broken_laws, standing
from tests.databases import KINDS, database_url
from tests.mock_bank import OURS, PAYER, Bank, paid

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


class Desk:
    """Types commands."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.told = url, folder, ""
        self.env = os.environ | {"BRIDGE_BANK__ACCOUNTS": json.dumps([OURS])}

    def __call__(self, code: int, *words: str) -> Any:
        command = [
            sys.executable,
            "-m",
            "postpaid_bridge",
            "--database",
            self.url,
            "--data-dir",
            str(self.folder),
            *words,
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, timeout=60
        )
        self.told = done.stdout + done.stderr
        assert done.returncode == code, self.told
        return json.loads(done.stdout) if "--json" in words and done.stdout else done.stdout


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_payments_are_booked_imported_placed_and_taken_back(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path, empty=True) as url:
        desk = Desk(url, tmp_path / "data")
        desk(0, "database", "upgrade")
        engine = engine_of(url)
        try:
            lived(desk, engine, tmp_path)
        finally:
            engine.dispose()


def lived(desk: Desk, engine: Engine, folder: Path) -> None:
    of = account(engine)
    number = bill(engine, of, 1)
    made = desk(0, "pay", "1000001", "40.00", "--id", "k1", "--bill", number, "--json")
    assert made["paid"] == [{"bill": number, "kind": "principal", "amount": "40.00"}]
    assert desk(0, "pay", "1000001", "40.00", "--id", "k1", "--bill", number, "--json") == made
    desk(3, "pay", "1000001", "41.00", "--id", "k1", "--bill", number)
    desk(4, "pay", "77", "1.00", "--id", "k2")
    desk(2, "pay", "1000001", "0.001", "--id", "k2")
    desk(2, "pay", "1000001", "ten", "--id", "k2")
    file = folder / "day.xml"
    bank = Bank()
    file.write_bytes(bank.day(paid("10.00", number, "A1"), paid("7.00", "hello", "A2"), paid("3.00", "hello"), paid("20.00", "1000001", "A4")))  # fmt: skip
    told = desk(0, "import-statement", str(file), "--json")
    assert told["statements"][0]["states"] == {"payment": 4}
    assert "(again)" in desk(0, "import-statement", str(file))
    file.write_bytes(Bank(PAYER).day())
    desk(1, "import-statement", str(file))
    assert "no account of ours; nothing of it is booked" in desk.told
    file.write_bytes(bank.day(paid("3.00", "hello")))
    desk(1, "import-statement", str(file))
    (doubtful,) = desk(1, "payments", "rejected", "--json")
    desk(0, "payments", "accept", str(doubtful["row"]))
    waits = desk(0, "clearing", "list", "--json")
    assert [each["amount"] for each in waits] == ["7.00", "3.00", "3.00"]
    assert "1000001: paid from this bank account before" in desk(0, "clearing", "list").replace("\n", " ")
    assert desk(0, "clearing", "place", str(waits[0]["payment"]), "1000001", "--json")["account"] == "1000001"
    desk(3, "clearing", "place", str(waits[0]["payment"]), "1000001")
    desk(0, "clearing", "refund", str(waits[1]["payment"]), "--id", "o1")
    desk(0, "clearing", "leave", str(waits[2]["payment"]), "--reason", "asked")
    assert standing(engine, of) == {f"{number} principal b1": 23 * EURO}
    back = desk(0, "payments", "charge-back", str(made["payment"]), "--id", "r1", "--fee", "3.00", "--json")
    assert (back["paid"], back["left"]) == ([], "0.00")
    desk(3, "payments", "refund", str(made["payment"]), "--id", "o2")
    assert desk(0, "payments", "show", str(made["payment"]), "--json") == back
    assert len(desk(0, "payments", "list", "--account", "1000001", "--json")) == 4
    assert standing(engine, of) == {f"{number} principal b1": 63 * EURO, f"{number} fee ": 3 * EURO}
    with reading(engine) as look:
        assert broken_laws(look) == []
    assert desk(0, "trial-balance", "--json")["even"] is True
