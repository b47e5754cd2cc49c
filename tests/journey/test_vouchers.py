"""A batch of vouchers from its making to its end, as its operator, a till and a customer have it: real processes, a real store."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cutting_proxy import CuttingProxy
from tests.journey.conftest import ROOT, Command, environment
from tests.real_ocs import RealOcs
from tests.real_valkey import RealValkey
from tests.serving import Client

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

MSISDN = "491700000001"
UNTIL = "2040-01-01T00:00:00Z"
DIGITS = 16


def redeemed(ocs: Command, msisdn: str, code: str, *words: str) -> tuple[int, str, str]:
    """`ocs voucher redeem` with the code on standard input: exit code, output, remarks."""
    done = subprocess.run(
        ocs.arguments("voucher", "redeem", msisdn, *words, "--json"),
        cwd=ROOT, env=environment() | ocs.variables, input=f"{code}\n", capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def read_export(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


@pytest.mark.slow
def test_a_batch_is_made_printed_activated_redeemed_blocked_extended_and_cancelled(
    folder: Path, tmp_path: Path
) -> None:
    ocs, out = Command("--data-dir", str(folder)), tmp_path / "codes.csv"
    wanted = ("vouchers", "make", "--value", "10.00", "--size", "4", "--until", UNTIL, "--out", str(out))
    made = ocs.json(*wanted, "--description", "kiosks")
    assert (made["state"], made["size"], made["value"]) == ("created", 4, "10.00")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.glob("*.part")] == []
    rows = read_export(out)
    assert [each["serial"] for each in rows] == [f"000001-000000{n}" for n in (1, 2, 3, 4)]
    assert {len(each["code"]) for each in rows} == {DIGITS}
    assert ocs(*wanted).code == 2, "an export is never written over another"
    assert (folder / "vouchers" / "secret").stat().st_mode & 0o077 == 0

    ocs.json("subscriber", "create", MSISDN, "--tariff", "flat-data")
    one, two, three, _ = (each["code"] for each in rows)
    code, _, why = redeemed(ocs, MSISDN, one)
    assert (code, "no voucher" in why) == (4, True)
    assert ocs.json("vouchers", "activate", "1")["state"] == "active"
    code, out_text, _ = redeemed(ocs, MSISDN, one, "--id", "r1")
    done = json.loads(out_text)
    assert (code, done["balance"], done["replayed"], done["serial"]) == (0, "10.00", False, rows[0]["serial"])
    code, out_text, _ = redeemed(ocs, MSISDN, one, "--id", "r1")
    assert (code, json.loads(out_text)) == (0, done | {"replayed": True})
    code, _, why = redeemed(ocs, MSISDN, one, "--id", "r2")
    assert (code, "was used" in why, "r1" in why) == (3, True, False)
    assert ocs.json("vouchers", "block", rows[1]["serial"])["state"] == "blocked"
    code, _, why = redeemed(ocs, MSISDN, two)
    assert (code, "blocked" in why) == (3, True)
    assert ocs.json("vouchers", "unblock", rows[1]["serial"])["state"] == "free"
    assert ocs.json("vouchers", "suspend", "1")["state"] == "suspended"
    assert redeemed(ocs, MSISDN, two)[0] == 3
    # a day is meant to its end, wherever this machine is
    assert ocs.json("vouchers", "extend", "1", "--until", "2041-01-01")["valid_until"] > "2041-01-01T09"
    assert ocs("vouchers", "extend", "1", "--until", "9999-12-31").code == 2
    ocs.json("vouchers", "activate", "1")
    assert redeemed(ocs, MSISDN, f"{two[:8]} {two[8:]}")[0] == 0
    assert ocs.json("vouchers", "cancel", "1")["state"] == "cancelled"
    assert redeemed(ocs, MSISDN, three)[0] == 3
    shown = ocs.json("vouchers", "show", "1")
    assert shown["vouchers"] == {"free": 2, "claimed": 0, "used": 2, "blocked": 0}
    assert ocs.json("vouchers", "show", rows[0]["serial"])["topup_id"] == "r1"
    assert [each["state"] for each in ocs.json("vouchers", "list")] == ["cancelled"]
    assert ocs("vouchers", "show", "9").code == 4
    assert ocs("vouchers", "activate", "1").code == 3
    assert redeemed(ocs, MSISDN, "nonsense")[0] == 2
    audited = ocs.json("audit")
    assert (audited["clean"], audited["vouchers"], audited["vouchers_used_amount"]) == (True, 4, "20.00")


@pytest.mark.slow
def test_the_secret_comes_along_in_a_backup(folder: Path, tmp_path: Path) -> None:
    ocs, out = Command("--data-dir", str(folder)), tmp_path / "codes.csv"
    with RealOcs(folder.parent) as served:
        ocs.json("vouchers", "make", "--value", "5", "--size", "1", "--until", UNTIL, "--out", str(out))
        ocs.json("vouchers", "activate", "1")
        served.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data")
        ocs.json("backup", "create", "--folder", str(tmp_path / "backups"))
    other = Command("--data-dir", str(tmp_path / "other"))
    other.json("backup", "restore", "newest", "--folder", str(tmp_path / "backups"))
    assert (tmp_path / "other" / "vouchers" / "secret").read_bytes() == (
        folder / "vouchers" / "secret"
    ).read_bytes()
    assert redeemed(other, MSISDN, read_export(out)[0]["code"])[0] == 0


def test_a_making_that_is_interrupted_leaves_no_file_and_a_batch_that_is_void(
    folder: Path, tmp_path: Path
) -> None:
    ocs, out = Command("--data-dir", str(folder)), tmp_path / "codes.csv"
    with RealOcs(folder.parent):
        making = subprocess.Popen(
            ocs.arguments(
                "vouchers", "make", "--value", "1", "--size", "1000000", "--until", UNTIL, "--out", str(out)
            ),
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        draft = tmp_path / "codes.csv.part"
        while not (draft.exists() and draft.stat().st_size > 100_000):
            assert making.poll() is None
            time.sleep(0.02)
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        making.send_signal(signal.SIGTERM)
        making.communicate()
        assert making.returncode != 0
        assert list(tmp_path.glob("codes*")) == []
        shown = ocs.json("vouchers", "show", "1")
        assert (shown["state"], sum(shown["vouchers"].values())) == ("cancelled", 0)
        assert ocs("vouchers", "activate", "1").code == 3
        assert ocs.json("audit")["clean"] is True


def test_the_redeeming_command_killed_before_its_answer_and_typed_again_adds_once(
    valkey: RealValkey, tmp_path: Path
) -> None:
    variables = {"OCS_STORE__DURABILITY": "everysec", "OCS_STORE__PARTITIONS": "8"}
    secret = {"OCS_VOUCHERS__SECRET": "a secret of the tests, long enough for it"}
    direct = Command("--store", valkey.url, "--data-dir", str(tmp_path / "d"), **variables, **secret)
    out = tmp_path / "codes.csv"
    direct.json("vouchers", "make", "--value", "10", "--size", "1", "--until", UNTIL, "--out", str(out))
    direct.json("vouchers", "activate", "1")
    direct.json("subscriber", "create", MSISDN, "--tariff", "flat-data")
    code = read_export(out)[0]["code"]
    with CuttingProxy(valkey.port) as proxy:
        through = Command("--store", proxy.url, "--data-dir", str(tmp_path / "d"), **variables, **secret)
        before = _credited(valkey)
        proxy.half_open("FCALL", 5)
        dying = subprocess.Popen(
            through.arguments("voucher", "redeem", MSISDN, "--id", "r1"),
            cwd=ROOT, env=environment() | variables | secret, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert dying.stdin is not None
        dying.stdin.write(f"{code}\n".encode())
        dying.stdin.close()
        line = Path(f"/proc/{dying.pid}/cmdline").read_bytes()
        while _credited(valkey) == before:
            time.sleep(0.005)
        os.kill(dying.pid, signal.SIGKILL)
        dying.wait()
        assert code.encode() not in line
    for _ in range(2):
        told = redeemed(direct, MSISDN, code, "--id", "r1")
        assert (told[0], json.loads(told[1])["balance"]) == (0, "10.00"), told
    assert redeemed(direct, MSISDN, code, "--id", "r2")[0] == 3
    assert direct.json("audit")["clean"] is True


def _credited(server: RealValkey) -> int:
    """How many records of money and accounts there are."""
    with server.client() as client:
        return sum(client.xlen(name) for name in client.keys("*:stream"))


def test_a_till_redeems_over_http_and_the_running_session_is_asked_anew(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"OCS_LOG__LEVEL": "debug"}
    with RealOcs(tmp_path, **settings) as served:
        served.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", "1.00")
        scopes = ("vouchers:read", "vouchers:write", "topup:write")
        made = served.ocs("keys", "create", *(word for each in scopes for word in ("--scope", each)))
        base = f"http://127.0.0.1:{served.http_port}/vouchers/v1"
        shown = {"Authorization": f"Bearer {made['key']}"}
        with (
            Client(served.connect()) as client,
            httpx.Client(base_url=base, headers=shown, timeout=20) as desk,
        ):
            client.exchange("pgw.example.net")
            assert client.ask(1, 0).avps["Result-Code"] == 2001
            wanted = {"value": "10.00", "size": 12_000, "valid_until": UNTIL}
            with desk.stream("POST", "/batches", json=wanted) as answer:
                assert answer.status_code == 201
                export = answer.read().decode()
            rows = list(csv.DictReader(io.StringIO(export)))
            assert len({each["code"] for each in rows}) == 12_000
            place = answer.headers["location"].removeprefix("/vouchers/v1")
            assert desk.get(place).json()["state"] == "created"
            assert desk.patch(place, json={"state": "active"}).status_code == 200
            code = rows[11_999]["code"]
            told = desk.post("/redemptions", json={"msisdn": MSISDN, "code": code, "id": "r1"})
            assert (told.status_code, told.json()["balance"]) == (201, "11.00")
            asked = client.answered()
            assert asked.command == 258, "a Re-Auth-Request"
            again = desk.post("/redemptions", json={"msisdn": MSISDN, "code": code, "id": "r1"})
            assert (again.status_code, again.json()) == (201, told.json())
        log = served.log.read_text(encoding="utf-8")
        audited = "".join(each.read_text() for each in (served.folder / "audit").glob("*"))
        assert audited.count('"action":"voucher.redeem"') == 4
        assert code not in log + audited
        assert MSISDN not in log + audited
        assert served.ocs("audit")["clean"] is True
