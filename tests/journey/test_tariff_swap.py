"""A tariff's next version, put into the store while traffic runs: nothing stops, running sessions keep their price, new ones have the new."""

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest

from ocs.balance.embedded import Embedded
from ocs.balance.functions import function
from ocs.balance.parts import Parts
from ocs.balance.usage import Usage
from ocs.charging.ask import INITIAL
from ocs.clock import SystemClock
from ocs.records import Charge
from ocs.roof.build import keepers_on, store_at
from ocs.roof.stage import Actor
from ocs.server import counters
from ocs.settings import load
from tests.house.source import ROOT
from tests.journey.conftest import Command
from tests.real_ocs import RealOcs, imsi_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
]  # many real processes, on a machine that may be busy

MIB = 1_048_576
CALLER, BUSY = "491700000001", "491700000002"
DEARER = (
    (ROOT / "config/tariffs/flat-data.yaml")
    .read_text()
    .replace("version: 1", "version: 2")
    .replace('"0.01"', '"0.03"')
)


@pytest.fixture
def dearer(tmp_path: Path) -> Path:
    file = tmp_path / "flat-data-2.yaml"
    file.write_text(DEARER)
    return file


def until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def told_by_workers(served: RealOcs, family: str) -> list[int]:
    """A gauge of each worker."""
    (folder,) = (served.folder / "run").iterdir()
    return [each.value(family) for each in counters.read(folder) if each.process.startswith("worker")]


def on_the_store(folder: Path, work: Callable[[Parts], Awaitable[Any]]) -> Any:
    """Do something on the server's store."""
    settings = load(None, {"server": {"data_dir": folder}})

    async def whole() -> Any:
        store = store_at(settings, Embedded(folder, "always", None).address, SystemClock())
        await store.open()
        try:
            return await work(keepers_on(settings, store, SystemClock()).parts)
        finally:
            await store.close()

    return asyncio.run(whole())


def move_calendar(folder: Path, by_ms: int) -> None:
    """Move the calendar of the server's store: time goes by for everybody at once."""

    async def work(parts: Parts) -> None:
        for keys in parts.keys:
            await parts.store.execute(keys.slot, "FCALL", function("calendar"), 1, keys.part, str(by_ms))

    on_the_store(folder, work)


def openings(folder: Path) -> list[tuple[int, str]]:
    """When every session on record was opened, and on which tariff."""

    async def work(parts: Parts) -> list[tuple[int, str]]:
        usage = Usage(parts, folder / "archive")
        return [
            (record.at_ms, record.tariff)
            for keys in parts.keys
            async for record in usage.of(keys)
            if isinstance(record, Charge) and record.kind == INITIAL
        ]

    found: list[tuple[int, str]] = on_the_store(folder, work)
    return found


def logged(served: RealOcs, event: str) -> list[Any]:
    """The lines of the server's log about an event."""
    whole, _, _ = served.log.read_text().rpartition("\n")
    lines = [json.loads(line) for line in whole.splitlines()]
    return [line for line in lines if line["event"] == event]


@contextmanager
def gateway(served: RealOcs, name: str) -> Iterator[Actor]:
    actor = Actor(["ocs.roof.gateway", "127.0.0.1", str(served.port)], served.folder / f"{name}.log")
    try:
        actor.hear(20)
        yield actor
    finally:
        actor.stop()


class Traffic:
    """Sessions of one MiB, one after the other, until it is told to end."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.codes: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        who = {"msisdn": BUSY, "imsi": imsi_of(BUSY), "rating_group": 10, "wanted_octets": MIB}
        while not self._over.is_set():
            opened = self.actor.tell({"do": "open", **who})
            ended = self.actor.tell({"do": "end", "session_id": opened["session_id"], "used_octets": MIB})
            self.codes += (opened["result_code"], ended["result_code"])
            time.sleep(0.02)


def open_session(actor: Actor, wanted: int = MIB) -> Any:
    return actor.tell(
        {"do": "open", "msisdn": CALLER, "imsi": imsi_of(CALLER), "rating_group": 10, "wanted_octets": wanted}
    )


def test_a_new_version_counts_from_its_instant_on_while_traffic_runs(tmp_path: Path, dearer: Path) -> None:
    with RealOcs(tmp_path, "--workers", "2") as served:
        served.ocs(
            "subscriber",
            "bulk",
            "--count",
            "2",
            "--first",
            CALLER,
            "--tariff",
            "flat-data",
            "--credit",
            "50.00",
        )
        with gateway(served, "one") as one, gateway(served, "two") as two, Traffic(two) as traffic:
            running = open_session(one)["session_id"]
            one.tell({"do": "update", "session_id": running, "used_octets": MIB, "wanted_octets": MIB})
            assert served.balance(CALLER) == ("49.99", "0.01")

            put = served.ocs("tariff", "activate", str(dearer), "--in", "60")
            assert (put["tariff"], put["revision"], put["already"]) == ("flat-data@2", 1, False)
            until(lambda: told_by_workers(served, "ocs_tariff_revision") == [1, 1])
            before = open_session(one)["session_id"]
            assert served.balance(CALLER) == ("49.99", "0.02")

            busy = len(traffic.codes)
            move_calendar(served.folder, 61_000)
            until(lambda: len(traffic.codes) > busy + 8)
            after = open_session(one)["session_id"]
            assert served.balance(CALLER) == ("49.99", "0.05")
            for session, used in ((running, MIB), (before, MIB), (after, 2 * MIB)):
                assert (
                    one.tell({"do": "end", "session_id": session, "used_octets": used})["result_code"] == 2001
                )
            assert served.balance(CALLER) == ("49.91", "0.00")
        assert set(traffic.codes) == {2001}
        effective_ms = int(datetime.fromisoformat(put["effective"]).timestamp()) * 1000
        opened = openings(served.folder)
        assert {tariff for _, tariff in opened} == {"flat-data@1", "flat-data@2"}
        assert [tariff for at_ms, tariff in opened] == [
            "flat-data@2" if at_ms >= effective_ms else "flat-data@1" for at_ms, _ in opened
        ]
        left = Decimal(served.balance(CALLER)[0]) + Decimal(served.balance(BUSY)[0])
        _check_diff(served, dearer, str(100 - left), len(opened))
        assert served.ocs("audit")["clean"] is True
        assert served.troubles() == []
        again = served.ocs("tariff", "activate", str(dearer), "--in", "60")
        assert (again["already"], again["effective"]) == (True, put["effective"])


def _check_diff(served: RealOcs, dearer: Path, paid: str, sessions: int) -> None:
    """Who would pay more on the new version, and that it costs its own sessions what they paid."""
    told = served.ocs("tariff", "diff", str(dearer), "--days", "2")
    assert (told["sessions"], told["accounts"], told["paid"], told["not_compared"]) == (sessions, 2, paid, [])
    assert (told["more"]["accounts"], told["less"], told["same"]) == (
        2,
        {"accounts": 0, "amount": "0.00"},
        {"accounts": 0},
    )
    assert told["more"]["amount"] == told["difference"]
    (service,) = told["services"]
    assert (service["service"], service["uses"], service["paid"]) == ("data", sessions, paid)
    caller = next(each for each in told["largest_more"] if each["paid"] == "0.09")
    assert (caller["would_pay"], caller["difference"]) == ("0.15", "0.06")
    same = served.ocs("tariff", "diff", str(dearer), "--against", "flat-data@2")
    assert (same["difference"], same["same"]["accounts"]) == ("0.00", 2)
    assert same["paid"] == same["would_pay"] != "0.00"
    ocs = Command("--data-dir", str(served.folder))
    shown = ocs("tariff", "diff", str(dearer))
    assert (shown.code, "largest more" in shown.out, "0.15" in shown.out) == (0, True, True)
    assert ocs("tariff", "diff", str(dearer), "--against", "flat-data@9").code == 4


def test_running_sessions_go_on_with_a_version_that_takes_them_along(tmp_path: Path) -> None:
    file = tmp_path / "flat-data-2.yaml"
    file.write_text(DEARER.replace("version: 2", "version: 2\nrunning_sessions: switch"))
    with RealOcs(tmp_path, "--workers", "2") as served:
        served.ocs(
            "subscriber",
            "create",
            CALLER,
            "--imsi",
            imsi_of(CALLER),
            "--tariff",
            "flat-data",
            "--credit",
            "1.00",
        )
        with gateway(served, "one") as one:
            running = open_session(one)["session_id"]
            served.ocs("tariff", "activate", str(file), "--in", "60")
            until(lambda: told_by_workers(served, "ocs_tariff_revision") == [1, 1])
            one.tell({"do": "update", "session_id": running, "used_octets": MIB, "wanted_octets": MIB})
            assert served.balance(CALLER) == ("0.99", "0.01")
            move_calendar(served.folder, 61_000)
            one.tell({"do": "update", "session_id": running, "used_octets": MIB, "wanted_octets": MIB})
            assert served.balance(CALLER) == ("0.98", "0.03")
            one.tell({"do": "end", "session_id": running, "used_octets": MIB})
            assert served.balance(CALLER) == ("0.95", "0.00")
        told = served.ocs("tariff", "diff", str(file), "--against", "flat-data@1")
        assert (told["paid"], told["would_pay"], told["not_compared"]) == ("0.05", "0.09", [])
        assert served.ocs("audit")["clean"] is True
        assert served.troubles() == []


def test_a_server_that_starts_knows_what_the_store_keeps_before_it_is_ready(
    tmp_path: Path, dearer: Path
) -> None:
    with RealOcs(tmp_path) as served:
        served.ocs("tariff", "activate", str(dearer), "--in", "60")
        served.ocs(
            "subscriber",
            "create",
            CALLER,
            "--imsi",
            imsi_of(CALLER),
            "--tariff",
            "flat-data",
            "--credit",
            "1.00",
        )
    with RealOcs(tmp_path) as served:
        move_calendar(served.folder, 61_000)
        with gateway(served, "one") as one:
            open_session(one)
            assert served.balance(CALLER) == ("1.00", "0.03")
    folder = tmp_path / "tariffs"
    folder.mkdir()
    (folder / "other.yaml").write_text(DEARER.replace("0.03", "0.04"))
    nothing = tmp_path / "products"
    nothing.mkdir()
    ocs = Command(
        "--data-dir",
        str(served.folder),
        OCS_CHARGING__TARIFFS_DIR=str(folder),
        OCS_CHARGING__PRODUCTS_DIR=str(nothing),
    )
    said = ocs("serve", "--diameter-port", "0", "--http-port", "0")
    assert said.code == 2
    assert "flat-data@2" in said.remarks
    assert "other content" in said.remarks
    (folder / "other.yaml").write_text(DEARER.replace("version: 2", "version: 1"))
    said = ocs("serve", "--diameter-port", "0", "--http-port", "0")
    assert said.code == 2
    assert "flat-data@1" in said.remarks
    assert "other content than it was served with" in said.remarks
    (folder / "other.yaml").rename(tmp_path / "edited.yaml")
    shutil.copy(ROOT / "config/tariffs/flat-voice.yaml", folder)
    with Embedded.start_or_adopt(served.folder):
        said = ocs("tariff", "activate", str(tmp_path / "edited.yaml"), "--in", "60")
    assert said.code == 3
    assert "was served" in said.remarks


def test_a_worker_that_starts_again_on_a_file_that_was_edited_charges_nothing_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "tariffs"
    shutil.copytree(ROOT / "config/tariffs", folder)
    file = folder / "flat-data.yaml"
    as_served = file.read_text()
    with RealOcs(tmp_path, "--workers", "1", OCS_CHARGING__TARIFFS_DIR=str(folder)) as served:
        served.ocs(
            "subscriber",
            "create",
            CALLER,
            "--imsi",
            imsi_of(CALLER),
            "--tariff",
            "flat-data",
            "--credit",
            "1.00",
        )
        file.write_text(as_served.replace('"0.01"', '"0.02"'))
        started = [each for each in logged(served, "process started") if each["name"] == "worker-0"]
        os.kill(started[0]["pid"], signal.SIGKILL)
        until(lambda: bool(logged(served, "a process could not start")))
        assert (
            "other content than it was served with" in logged(served, "a process could not start")[0]["why"]
        )
        file.write_text("# as it was\n" + as_served)
        until(lambda: told_by_workers(served, "ocs_process_ready") == [1])
        with gateway(served, "one") as one:
            open_session(one)
        assert served.balance(CALLER) == ("1.00", "0.01")


# ---------------------------------------------------------------- refusals


@pytest.fixture
def own_store(folder: Path) -> Iterator[Command]:
    """The command on a store of this test alone."""
    with Embedded.start_or_adopt(folder):
        yield Command("--data-dir", str(folder))


def test_what_must_not_be_put_into_the_store_is_refused_with_its_reason(
    tmp_path: Path, own_store: Command
) -> None:
    ocs = own_store

    def said(text: str, *words: str, code: int, why: str) -> None:
        file = tmp_path / "t.yaml"
        file.write_text(text)
        found = ocs("tariff", "activate", str(file), *words)
        assert (found.code, why in found.remarks) == (code, True), found

    dated = DEARER.replace("currency", "effective: 2096-12-01T00:00:00+01:00\ncurrency")
    said(DEARER, code=2, why="none of them is given")
    said(dated, "--in", "60", code=2, why="say once")
    said(DEARER, "--at", "tomorrow", code=2, why="--at: ")
    said(DEARER, "--in", "59", code=2, why="less than 60 s ahead")
    said(DEARER, "--in", "99999999999999", code=2, why="beyond the year 2099")
    said(
        DEARER.replace("currency", "effective: 2020-01-01T00:00:00Z\ncurrency"),
        code=2,
        why="less than 60 s ahead",
    )
    said(DEARER.replace("EUR", "USD"), "--in", "60", code=2, why="accounts are kept in EUR")
    said(
        DEARER.replace("octets", "pages").replace("version: 2", "version: x"),
        "--in",
        "60",
        code=2,
        why="t.yaml:4",
    )
    said(DEARER.replace("version: 2", "version: 1"), "--in", "60", code=3, why="with other content")
    plain = (ROOT / "config/tariffs/flat-data.yaml").read_text()
    said(plain, "--in", "60", code=3, why="without an instant")
    said(
        DEARER.replace("version: 2", "version: 7").replace("flat-data", "other"),
        "--in",
        "60",
        code=0,
        why="ocs_tariff_revision 1",
    )
    said(
        DEARER.replace("version: 2", "version: 6").replace("flat-data", "other"),
        "--in",
        "60",
        code=3,
        why="give it version 8",
    )
    said(dated, code=0, why="ocs_tariff_revision 2")
    said(dated, code=0, why="ocs_tariff_revision 2")
    said(dated.replace("0.03", "0.04"), code=3, why="other content")
    said(DEARER, "--at", "2096-12-02T00:00:00Z", code=3, why="other content")
    assert ocs("tariff", "activate", str(ROOT / "config/tariffs"), "--in", "60").code == 2


def test_commands_know_what_the_store_keeps(dearer: Path, tmp_path: Path, own_store: Command) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(DEARER.replace("flat-data", "other"))
    own_store.json("tariff", "activate", str(other), "--in", "3600")
    own_store.json("tariff", "activate", str(dearer), "--at", "2096-12-01T00:00:00Z")
    one = ("price", "--service", "data", "--used", "1", "--tariff")
    assert own_store.json(*one, "flat-data")["cost"] == "0.01"
    later = own_store.json(*one, "flat-data", "--at", "2096-12-01")
    assert (later["cost"], later["tariff"]) == ("0.03", "flat-data@2")
    early = own_store(*one, "other")
    assert (early.code, "the first counts from" in early.remarks) == (4, True)
    assert own_store.json("subscriber", "create", CALLER, "--tariff", "other")["tariff"] == "other"
    assert own_store("subscriber", "create", BUSY, "--tariff", "nowhere").code == 4
