"""Every attempted change is on disk: what was about to be before it was, and what came of it before its answer."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.http import audit_log
from ocs.http.audit_log import AuditFault, AuditLog
from ocs.http.audit_reading import Wanted, read_page
from tests.real_valkey import RealValkey
from tests.unit.http.grounds import DAY, Ground, ground, is_problem

BODY = {"amount": 12.5, "what": "t-1"}
ANY = Wanted()


@pytest.fixture
def api(valkey: RealValkey, tmp_path: Path) -> Iterator[Ground]:
    with ground(valkey, tmp_path) as made:
        yield made


def page(api: Ground, wanted: Wanted = ANY, limit: int = 100) -> list[dict[str, Any]]:
    return read_page(api.folder, DAY, wanted, limit).changes


def test_a_change_is_an_intent_before_and_an_outcome_after(api: Ground) -> None:
    key, shown = api.key("topup:write", channel="tills")
    assert api("POST", "/things", shown, json=BODY).status_code == 201

    intent, outcome = api.lines()

    who = {"client": key.id, "channel": "tills", "address": "192.0.2.1"}
    what = {"action": "thing.make", "resource": "t-1", "accounts": ["a-1"], "before": {"balance": "1"}}
    assert (
        intent
        == {"line": "intent", "n": 0, "id": outcome["id"], "at": f"{DAY}T00:00:00.000Z", "after": {}}
        | who
        | what
    )
    assert outcome == {
        "line": "outcome", "n": 1, "id": intent["id"], "at": f"{DAY}T00:00:00.000Z", "ended": f"{DAY}T00:00:00.000Z",
        "after": {"balance": "12.5"}, "status": 201,
    } | who | what  # fmt: skip
    (seen,) = page(api)
    assert (seen["status"], seen["before"], seen["after"]) == (201, {"balance": "1"}, {"balance": "12.5"})


@pytest.fixture
def synced(api: Ground, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """Each fsync of a file: the lines that it put on disk, and how much was made until then."""
    found: list[tuple[list[str], int]] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        fsync(file)
        if stat.S_ISREG(os.fstat(file).st_mode):
            found.append(([line["line"] for line in api.lines()], len(api.made)))

    monkeypatch.setattr("ocs.http.audit_files.os.fsync", noted)
    return found


def test_the_intent_is_on_disk_before_the_change_is_made_and_the_outcome_written_before_its_answer(
    api: Ground, synced: list[tuple[list[str], int]]
) -> None:
    _, shown = api.key("topup:write")
    api("POST", "/things", shown, json=BODY)
    assert synced == [(["intent"], 0)]
    assert [line["line"] for line in api.lines()] == ["intent", "outcome"]


def test_an_outcome_is_on_disk_with_the_next_intent_or_a_moment_later(
    api: Ground, synced: list[tuple[list[str], int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shown = api.key("topup:write")
    two = ["intent", "outcome"]
    api("POST", "/things", shown, json=BODY)
    api("POST", "/things", shown, json=BODY)
    assert synced == [(["intent"], 0), ([*two, "intent"], 1)]
    api.net.run(api.audit.close())  # an end waits for nothing, and leaves nothing
    assert synced[2:] == [([*two, *two], 2)]

    monkeypatch.setattr(audit_log, "SYNC_S", 0.01)
    api("POST", "/things", shown, json=BODY)

    async def until_synced() -> None:
        while len(synced) < 5:  # noqa: ASYNC110 - a count
            await asyncio.sleep(0.005)

    api.net.run(until_synced())
    assert synced[4:] == [([*two, *two, *two], 3)]


@pytest.mark.parametrize(
    ("method", "path", "scope", "body", "status", "lines"),
    [
        ("POST", "/things", "topup:write", {"amount": 0}, 422, 1),
        ("POST", "/things", "topup:write", {"amount": -1}, 422, 1),
        ("POST", "/things", "topup:write", {"amount": 0.0000001}, 422, 1),
        ("POST", "/things", "topup:write", {"amount": "1,5"}, 422, 1),
        ("POST", "/things", "topup:write", {"amount": 10**20}, 422, 1),
        ("POST", "/things", "topup:write", {"amount": 1, "more": 1}, 422, 1),
        ("POST", "/things", "topup:write", "x" * 70_000, 413, 1),
        ("POST", "/things", "balance:read", {"amount": 1}, 403, 1),
        ("POST", "/things", None, {"amount": 1}, 401, 1),
        ("PUT", "/things/broken", "adjust:write", None, 500, 2),
        ("PUT", "/things/fine", "balance:read", None, 403, 1),
        ("DELETE", "/things", "topup:write", None, 405, 0),
        ("POST", "/nothing", "topup:write", {"amount": 1}, 404, 0),
        ("GET", "/things", "topup:write", None, 403, 0),
    ],
)
def test_what_is_refused_changes_nothing_and_is_one_change_of_the_log(
    api: Ground, method: str, path: str, scope: str | None, body: Any, status: int, lines: int
) -> None:
    _, shown = api.key(scope) if scope is not None else (None, None)
    answer = api(method, path, shown, json=body)
    assert answer.status_code == status, answer.text
    is_problem(answer, status)
    assert api.made == []
    assert [line["line"] for line in api.lines()] == ["intent", "outcome"][2 - lines :]
    assert [each["status"] for each in page(api)] == [status] * bool(lines)


def test_a_route_that_only_asks_for_a_scope_is_logged_by_its_template(api: Ground) -> None:
    """Never what stands in its path: that may be somebody's number."""
    _, shown = api.key("adjust:write")
    assert api("PUT", "/things/491700000001", shown).status_code == 200
    intent, outcome = api.lines()
    assert intent["action"] == outcome["action"] == "PUT /things/{what}"
    assert "491700000001" not in json.dumps(api.lines())


def test_where_no_line_can_be_written_nothing_is_changed(api: Ground) -> None:
    _, shown = api.key("topup:write", "adjust:write")
    api.folder.write_text("in the way")

    for method, path, body in (("POST", "/things", BODY), ("PUT", "/things/fine", None)):
        refused = api(method, path, shown, json=body)
        assert "nothing was changed" in is_problem(refused, 503)
        assert refused.headers["retry-after"] == "5"
    assert api.made == []
    assert len(api.told) == 1  # once, not with every call

    api.folder.unlink()
    assert api("POST", "/things", shown, json=BODY).status_code == 201
    assert sorted(each["status"] for each in page(api)) == [201, 503, 503]


def test_a_disk_that_fills_up_after_the_intent_keeps_no_answer_back_and_gets_the_outcome_later(
    api: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shown = api.key("topup:write")
    write = os.write

    class Made(list[Any]):
        """Whose first entry fills the disk."""

        is_full = False

        def append(self, each: Any) -> None:
            super().append(each)
            self.is_full = True

    made = Made()

    def filling(file: int, octets: bytes) -> int:
        if made.is_full:
            write(file, octets[:20])
            raise OSError(28, "No space left on device")
        return write(file, octets)

    monkeypatch.setattr("ocs.http.audit_files.os.write", filling)
    monkeypatch.setattr(api, "made", made)
    assert api("POST", "/things", shown, json=BODY).status_code == 201
    assert api("POST", "/things", shown, json=BODY).status_code == 503
    assert len(made) == 1
    (seen,) = page(api)[:1]
    assert seen["status"] is None

    made.is_full = False
    api.net.run(api.audit.close())
    read = read_page(api.folder, DAY, ANY, 100)
    assert sorted(each["status"] for each in read.changes) == [201, 503]
    assert read.unreadable >= 1  # what was cut off took no other line along


def test_lines_of_one_moment_share_a_sync(api: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        synced.append(file)
        fsync(file)

    monkeypatch.setattr("ocs.http.audit_files.os.fsync", noted)
    _, shown = api.key("topup:write")
    here = ("192.0.2.1", 1)
    answers = api.at_once(*(api.ask("POST", "/things", shown, here, json=BODY) for _ in range(100)))
    assert [each.status_code for each in answers] == [201] * 100
    assert len(api.lines()) == 200
    assert len(synced) <= 50


def test_files_are_of_a_day_and_for_nobody_elses_eyes(api: Ground) -> None:
    _, shown = api.key("topup:write")
    api("POST", "/things", shown, json=BODY)
    api.clock.at_ms += 24 * 3_600_000
    api("POST", "/things", shown, json=BODY)
    assert [len(api.lines(day)) for day in (DAY, "2026-11-29")] == [2, 2]
    assert stat.S_IMODE(api.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in api.folder.iterdir()} == {0o600}


def test_a_link_that_somebody_put_there_is_not_followed(api: Ground, tmp_path: Path) -> None:
    _, shown = api.key("topup:write")
    api.folder.mkdir()
    (tmp_path / "other").write_text("theirs\n")
    (api.folder / f"{DAY}.jsonl").symlink_to(tmp_path / "other")
    is_problem(api("POST", "/things", shown, json=BODY), 503)
    assert (tmp_path / "other").read_text() == "theirs\n"


def test_a_text_with_a_line_break_is_one_line_and_a_long_one_is_cut(api: Ground) -> None:
    _, shown = api.key("topup:write")
    for what in ('a\n{"line":"outcome","id":"x"}\r\n\x85\u2028', "w" * 10_000):
        assert api("POST", "/things", shown, json=BODY | {"what": what}).status_code == 201
    octets = (api.folder / f"{DAY}.jsonl").read_bytes()
    lines = [json.loads(line) for line in octets.split(b"\n")[:-1]]
    assert len(lines) == 4
    assert lines[0]["resource"].startswith("a\n{")
    assert len(lines[3]["resource"]) == 256


def test_many_late_lines_are_bounded(tmp_path: Path, api: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "AUDIT_LATE_LINES_MAX", 3)
    (tmp_path / "no").write_text("")
    log = AuditLog(tmp_path / "no" / "audit")

    async def fill() -> int:
        with pytest.raises(AuditFault):
            await log.keep(DAY, {"a": 1})
        for number in range(10):
            await log.keep_late(DAY, {"a": number})
        return len(log._late)

    assert api.net.run(fill()) == 3


# -- reading back


def write(folder: Path, *lines: dict[str, Any] | str) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / f"{DAY}.jsonl").write_text(text)


def line(name: str, kind: str = "intent", **more: Any) -> dict[str, Any]:
    base = {
        "line": kind,
        "id": name,
        "n": int(kind != "intent"),
        "at": "x",
        "client": "c",
        "channel": "h",
        "address": "-",
    }
    return base | {"action": "a", "resource": "", "accounts": ["1"], "before": {}, "after": {}} | more


def test_pages_show_each_change_once_whatever_stands_between_its_lines(tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(50)]
    intents = [line(name) for name in names]
    outcomes = [line(name, "outcome", status=201) for name in names[:-1]]
    write(tmp_path, *intents, "{cut off", *outcomes, line("r", "outcome", n=0, status=401))
    for limit in (1, 7, 50, 1000):
        seen: list[tuple[str, int | None]] = []
        after: int | None = 0
        while after is not None:
            found = read_page(tmp_path, DAY, ANY, limit, after)
            assert len(found.changes) <= limit
            seen += [(each["id"], each["status"]) for each in found.changes]
            after = found.next
        assert seen == [*((name, 201) for name in names[:-1]), ("049", None), ("r", 401)]


def test_an_outcome_behind_the_stretch_of_a_page_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:03}" for number in range(20)]
    write(tmp_path, *(line(name) for name in names), *(line(name, "outcome", status=201) for name in names))
    monkeypatch.setattr("ocs.http.audit_reading.AUDIT_SCANNED_OCTETS_MAX", 20 * len(json.dumps(line("000"))))
    found = read_page(tmp_path, DAY, ANY, 5)
    assert [each["status"] for each in found.changes] == [201] * 5


def test_changes_are_found_by_client_channel_and_account(tmp_path: Path) -> None:
    write(
        tmp_path,
        line("1", client="k1", channel="tills", accounts=["7", "8"]),
        line("2", client="k2", channel="apps", accounts=["8"]),
        line("3", client="k2", channel="apps", accounts=[]),
    )

    def found(**wanted: str) -> list[str]:
        return [each["id"] for each in read_page(tmp_path, DAY, Wanted(**wanted), 10).changes]

    assert found(client="k2") == ["2", "3"]
    assert found(channel="tills") == ["1"]
    assert found(account="8") == ["1", "2"]
    assert found(account="8", client="k2") == ["2"]


@pytest.mark.parametrize(
    "bad", ["", "{", "[]", "null", '{"id":1}', '{"id":"a","n":0}', "[" * 2000, '{"id":"a","n":"x"}', "\x00"]
)
def test_a_line_that_cannot_be_read_takes_no_other_along(tmp_path: Path, bad: str) -> None:
    write(tmp_path, line("1"), bad, line("2"))
    found = read_page(tmp_path, DAY, ANY, 10)
    assert [each["id"] for each in found.changes] == ["1", "2"]
    assert found.unreadable == bool(bad)


def test_a_day_without_a_file_has_no_changes(tmp_path: Path) -> None:
    assert read_page(tmp_path, DAY, ANY, 10) == ([], None, 0)
