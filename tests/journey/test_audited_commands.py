"""What commands change is on the audit log beside what the API changes: same file, same lines, whoever writes at the same time."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ocs.http.audit_files import Files, Line, days_of, octets_of, prune
from tests.audit_lines import attempts
from tests.journey.conftest import Command
from tests.real_valkey import RealValkey

WHO = pwd.getpwuid(os.getuid()).pw_name
HERE = 5


def test_a_command_says_who_what_and_what_came_of_it_and_no_number(
    tmp_path: Path, number: Callable[[], str]
) -> None:
    ocs, one = Command("--data-dir", str(tmp_path), "--json"), number()
    made = ocs.json(
        "subscriber", "create", one, "--tariff", "flat-data", "--credit", "1.00", "--imsi", "262010000000009"
    )
    ocs.json("topup", one, "10.00", "--id", "t-1")
    assert ocs("topup", one, "11.00", "--id", "t-1").code == 3
    ocs.json("subscriber", "bar", one)
    assert ocs("topup", number(), "1.00", "--id", "t-2").code == 4
    key = ocs.json("keys", "create", "--role", "admin", "--name", "desk")
    ocs.json("balance", one)

    seen = [each.ended for each in attempts(tmp_path / "audit")]

    account = made["account"]
    assert [(each["action"], each["status"], each["accounts"]) for each in seen] == [
        ("subscriber.create", 0, [account]), ("topup.create", 0, [account]), ("topup.create", 3, [account]),
        ("subscriber.change", 0, [account]), ("topup.create", 4, []), ("key.create", 0, []),
    ]  # fmt: skip
    assert {(each["client"], each["channel"], each["address"].partition(",")[0]) for each in seen} == {
        ("command line", "cli", f"user {WHO}")
    }
    assert (seen[1]["resource"], seen[1]["before"]["balance"], seen[1]["after"]["balance"]) == (
        "cli:t-1",
        "1.00",
        "11.00",
    )
    assert seen[2]["after"]["outcome"] == "CONFLICT"
    assert (seen[3]["before"]["status"], seen[3]["after"]["status"]) == ("active", "barred")
    written = "".join(each.read_text() for each in (tmp_path / "audit").glob("*"))
    assert not any(secret in written for secret in (one, "262010000000009", key["key"]))
    listed = ocs.json("audit-log", "--client", "command line", "--account", account)["changes"]
    assert [each["status"] for each in listed] == [0, 0, 3, 0]


def test_where_no_line_can_be_written_a_command_changes_nothing(
    tmp_path: Path, number: Callable[[], str]
) -> None:
    ocs, one = Command("--data-dir", str(tmp_path), "--json"), number()
    ocs.json("subscriber", "create", one, "--tariff", "flat-data", "--credit", "1.00")
    (tmp_path / "audit").rename(tmp_path / "moved")
    (tmp_path / "audit").write_text("in the way")
    refused = ocs("topup", one, "10.00", "--id", "t-1")
    assert (refused.code, "nothing was changed" in refused.remarks) == (5, True)
    assert ocs.json("balance", one)["balance"] == "1.00"


def test_a_command_without_the_data_folder_says_that_it_is_on_no_audit_log(
    valkey: RealValkey, tmp_path: Path, number: Callable[[], str]
) -> None:
    gone = tmp_path / "not here"
    ocs = Command("--data-dir", str(gone), "--store", valkey.url, "--json", OCS_STORE__DURABILITY="everysec")
    said = ocs("subscriber", "create", number(), "--tariff", "flat-data")
    assert (said.code, "on no audit log" in said.remarks) == (0, True)
    assert not gone.exists()


_WRITER = """
import sys
from pathlib import Path
from ocs.http.audit_files import Files, Line, days_of, octets_of, prune
files = Files(Path(sys.argv[1]))
for place in range(200):
    assert files.append([Line("2026-11-28", octets_of({"of": sys.argv[2], "place": place, "rest": "x" * 500}))]) == (set(), "")
"""


def test_processes_that_append_at_once_cut_and_lose_no_line(tmp_path: Path) -> None:
    def write(name: str) -> int:
        command = [sys.executable, "-c", _WRITER, str(tmp_path / "audit"), name]
        return subprocess.run(command, check=False).returncode

    with ThreadPoolExecutor(HERE) as pool:
        assert list(pool.map(write, "abcde")) == [0] * HERE
    (path,) = (tmp_path / "audit").iterdir()
    # who looks while another writes may see its line half, and end it once more: readers pass over empty lines
    lines = [json.loads(line) for line in path.read_text().splitlines() if line]
    for name in "abcde":
        assert [each["place"] for each in lines if each["of"] == name] == list(range(200))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_another_process_has_cut_takes_no_other_along(tmp_path: Path) -> None:
    """A full disk cut somebody else's line, after one of ours."""
    files = Files(tmp_path)
    line = Line("2026-11-28", octets_of({"id": "ours"}))
    files.append([line])
    with (tmp_path / "2026-11-28.jsonl").open("ab") as other:
        other.write(b'{"id": "cut o')
    files.append([line])
    assert (tmp_path / "2026-11-28.jsonl").read_text().splitlines() == [
        '{"id":"ours"}',
        '{"id": "cut o',
        '{"id":"ours"}',
    ]


def test_files_are_kept_so_many_days_beside_todays_and_for_ever_by_default(tmp_path: Path) -> None:
    days = ["2026-11-25", "2026-11-26", "2026-11-27", "2026-11-28"]
    for each in (*days, "notes", "2026-1-1"):
        (tmp_path / f"{each}.jsonl").write_text("{}\n")
    noon_ms = 1_795_824_000_000 + 43_200_000  # 2026-11-28T12:00:00Z
    assert prune(tmp_path, 0, noon_ms) == []
    assert prune(tmp_path, 2, noon_ms) == days[:1]
    assert prune(tmp_path, 1, noon_ms) == days[1:2]
    assert days_of(tmp_path) == ["2026-1-1", *days[2:], "notes"]
    assert prune(tmp_path / "none", 1, noon_ms) == []


def test_a_backup_has_the_audit_log_and_a_restore_brings_it_back(
    tmp_path: Path, number: Callable[[], str]
) -> None:
    data, backups, other = tmp_path / "data", str(tmp_path / "backups"), tmp_path / "other"
    ocs = Command("--data-dir", str(data), "--json")
    ocs.json("subscriber", "create", number(), "--tariff", "flat-data", "--credit", "1.00")
    made = ocs.json("backup", "create", "--folder", backups)
    restored = Command("--data-dir", str(other), "--json")
    restored.json("backup", "restore", made["path"])
    assert [each.action for each in attempts(other / "audit")] == ["subscriber.create"]
