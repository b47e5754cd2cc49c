"""Usage files: whole or refused, each once, each line once; what is wrong is kept with its reason, and may be tried again."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from ocs.care.customers.tables import billing_accounts, customers, parties, services
from ocs.clock import SystemClock
from ocs.sql import reading, writing
from postpaid_bridge.jobs.files import FileDone, FileProgress, take_file
from postpaid_bridge.journal import Ledger
from postpaid_bridge.sql.file_lines import Counts, replay_lines
from postpaid_bridge.sql.journal import entries, ledger_balances, outbox
from postpaid_bridge.sql.usage import files, lines, rejected
from postpaid_bridge.usage import Why
from postpaid_bridge.usage_files import COLUMNS
from tests.bridge_scene import RULES

AT = "2026-11-28T12:15:06+01:00"
NOW_MS = 1_795_869_000_000
CLOCK = SystemClock()
OK = {
    "id": "1", "number": "+491700000001", "class": "roaming-voice", "at": AT, "units": "60", "unit": "seconds", "amount": "0.49",
    "currency": "EUR", "counterpart": "33612345678", "zone": "eu", "text": 'Call, to "France"', "reference": "",
}  # fmt: skip


class Still:
    """The instant of these tests."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_ms(self) -> int:
        return CLOCK.monotonic_ms()


def cell(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if set(value) & {",", '"'} else value


def csv_of(*listed: dict[str, str], end: int | None = None, source: str = "partner") -> bytes:
    body = [",".join(cell(each[name]) for name in COLUMNS) for each in listed]
    whole = [f"usage,1,{source}", ",".join(COLUMNS), *body, f"end,{len(listed) if end is None else end}"]
    return ("\n".join(whole) + "\n").encode()


def json_of(*listed: dict[str, Any], source: str = "partner") -> bytes:
    whole = [{"usage": 1, "source": source}, *listed, {"end": len(listed)}]
    return "\n".join(json.dumps(each) for each in whole).encode()


@pytest.fixture
def sold(database: Engine) -> Engine:
    with writing(database) as work:
        work.execute(parties.insert().values(id=1, kind="person", family_name="A", since_ms=0))
        work.execute(customers.insert().values(id=1, number="C1", party=1, kind="consumer", since_ms=0))
        work.execute(
            billing_accounts.insert().values(id=1, number="B1", customer=1, party=1, since=date(2020, 1, 1))
        )
        for number, book, mode in (
            ("491700000001", "b1", "postpaid"),
            ("493012345678", "", "postpaid"),
            ("491700000009", "b9", "prepaid"),
        ):
            work.execute(
                services.insert().values(
                    billing_account=1, party=1, kind="mobile", mode=mode, number=number, book=book, subscriber=book, plan="basic",
                    since=date(2020, 1, 1),
                )
            )  # fmt: skip
    return database


def given(sold: Engine, folder: Path, content: bytes, name: str = "a.csv", **more: Any) -> FileDone:
    path = folder / name
    path.write_bytes(content)
    return take_file(sold, RULES, path, Still(), **more)


def rows(sold: Engine, table: Any) -> Sequence[Any]:
    with reading(sold) as look:
        return look.execute(select(table).order_by(table.c.id)).all()


@pytest.mark.parametrize("form", [csv_of, json_of])
def test_a_file_is_taken_once_and_its_money_goes_to_the_book_if_there_is_one(
    sold: Engine, tmp_path: Path, form: Any
) -> None:
    fixed = OK | {"id": "2", "number": "493012345678", "amount": "1.000001"}
    content = form(OK, fixed)
    done = given(sold, tmp_path, content)
    assert done[1:] == ("done", "", 2, 2, 0, 0, True)
    again = given(sold, tmp_path, content, "another name")
    assert again[1:] == ("done", "", 2, 2, 0, 0, False)

    first, second = rows(sold, lines)
    assert (first.key, first.amount_micros, first.units, first.counterpart) == (
        "file.partner.1",
        490_000,
        60,
        "33612345678",
    )
    assert (first.at_ms - first.started_ms, first.usage_class, first.text) == (
        60_000,
        "roaming-voice",
        OK["text"],
    )
    assert second.amount_micros == 1_000_001
    assert [(each.book, each.amount_micros) for each in rows(sold, outbox)] == [("b1", -490_000)]
    with reading(sold) as look:
        balances = ledger_balances(look)
    assert balances[Ledger.UNBILLED] == -balances[Ledger.REVENUE] == 1_490_001


def test_a_line_is_taken_once_whatever_file_it_comes_in(sold: Engine, tmp_path: Path) -> None:
    given(sold, tmp_path, csv_of(OK))
    done = given(sold, tmp_path, csv_of(OK, OK | {"amount": "0.50"}, OK | {"id": "2"}, OK | {"id": "2"}), "b")
    assert (done.taken, done.repeated, done.rejected) == (1, 2, 1)
    (double,) = rows(sold, rejected)
    assert (double.why, double.place, double.file) == (Why.DOUBLE, "4", done.id)
    assert given(sold, tmp_path, csv_of(OK, source="other"), "c").taken == 1


WRONG = [
    ({"id": "a b"}, Why.BROKEN, "id"),
    ({"number": "nobody"}, Why.BROKEN, "number"),
    ({"number": "491799999999"}, Why.UNKNOWN, "491799999999"),
    ({"number": "491700000009"}, Why.PREPAID, "491700000009"),
    ({"class": "gold"}, Why.CLASS, "class"),
    ({"unit": "miles"}, Why.BROKEN, "unit"),
    ({"units": "1.5"}, Why.BROKEN, "units"),
    ({"units": "-1"}, Why.BROKEN, "units"),
    ({"amount": "1e3"}, Why.AMOUNT, "not an amount"),
    ({"amount": "0.0000001"}, Why.AMOUNT, "not an amount"),
    ({"amount": "100000.01"}, Why.AMOUNT, "human"),
    ({"amount": "-0.49"}, Why.REFERENCE, "names the line"),
    ({"amount": "-0.49", "reference": "nothing"}, Why.REFERENCE, "no line of this source"),
    ({"reference": "1"}, Why.REFERENCE, "takes nothing back"),
    ({"currency": "USD"}, Why.CURRENCY, "USD"),
    ({"currency": "euro"}, Why.CURRENCY, "ISO 4217"),
    ({"at": "2026-11-28T12:15:06"}, Why.DATE, "offset"),
    ({"at": "yesterday"}, Why.DATE, "ISO 8601"),
    ({"at": "1970-01-01T00:00:00Z"}, Why.DATE, "days ago"),
    ({"at": "2062-01-01T00:00:00Z"}, Why.DATE, "yet to come"),
    ({"text": "x" * 201}, Why.BROKEN, "text"),
    ({"text": "a\x00b"}, Why.BROKEN, "UTF-8"),
]


def test_what_is_wrong_with_a_line_is_kept_with_its_number_and_the_rest_is_taken(
    sold: Engine, tmp_path: Path
) -> None:
    good = [OK | {"id": f"g{number}"} for number in range(3)]
    wrong = [OK | {"id": f"w{number}"} | change for number, (change, _, _) in enumerate(WRONG)]
    done = given(sold, tmp_path, csv_of(good[0], *wrong, *good[1:]))
    assert (done.taken, done.rejected) == (3, len(WRONG))
    kept = sorted(rows(sold, rejected), key=lambda row: int(row.place))
    for number, (row, (change, why, match)) in enumerate(zip(kept, WRONG, strict=True)):
        assert (row.why, int(row.place)) == (why, number + 4), change
        assert match in row.detail
    assert rows(sold, outbox)[0].amount_micros == -3 * 490_000


@pytest.mark.parametrize(
    "line",
    [
        b"a,b,c",
        b'"1,491700000001',
        b"",
        b"\xff\xfe1,491700000001,voice",
        ("x" * 20_000).encode(),
        b"1,491700000001,voice,2026-11-28T12:15:06Z,1,seconds,1.00,EUR,,,,,extra",
    ],
)
def test_a_broken_line_of_csv_is_one_rejected_line(sold: Engine, tmp_path: Path, line: bytes) -> None:
    head, columns, end = csv_of(end=2).splitlines()
    after = csv_of(OK).splitlines()[2]
    done = given(sold, tmp_path, b"\r\n".join((head, columns, line, after, end)))
    assert (done.state, done.taken, done.rejected) == ("done", 1, 1)
    assert [(row.why, row.place, row.replayable) for row in rows(sold, rejected)] == [
        (Why.BROKEN, "3", int(line.isascii() and len(line) < 20_000))
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "1"}',
        "[1]",
        "{",
        json.dumps(OK | {"amount": 0.49}),
        json.dumps(OK | {"more": "1"}),
        json.dumps(OK)[:-1] + ', "amount": "9.00"}',
        "[" * 9_000,
    ],
)
def test_a_broken_line_of_json_is_one_rejected_line(sold: Engine, tmp_path: Path, line: str) -> None:
    head, end = json_of().splitlines()[0], b'{"end": 2}'
    done = given(sold, tmp_path, b"\n".join((head, line.encode(), json.dumps(OK).encode(), end)))
    assert (done.state, done.taken, done.rejected) == ("done", 1, 1)
    assert [row.why for row in rows(sold, rejected)] == [Why.BROKEN]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"hello\n", "no usage file"),
        (csv_of(OK)[:-8], "cut off"),
        (csv_of(OK, end=3), "says that there are 3 lines, and there are 1"),
        (csv_of(OK).decode().encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08", "compressed"),
        (csv_of(OK, source="a b"), "a source has"),
        (csv_of(OK).replace(b"usage,1", b"usage,2"), "version '2'"),
        (csv_of(OK).replace(b"number,class", b"class,number"), "the columns are"),
        (b'{"usage": 1}\n{"end": 0}', "write"),
        (json_of(OK)[:-1], "the last line"),
        (b"\xff\xffusage,1,a\n", "no UTF-8"),
        (b'{"usage": 1, "source": "a"}\n{"end": true}', "cut off"),
    ],
)
def test_a_file_that_is_cut_off_or_none_is_refused_whole_and_stays_refused(
    sold: Engine, tmp_path: Path, content: bytes, match: str
) -> None:
    for new in (True, False):
        done = given(sold, tmp_path, content)
        assert (done.state, done.taken, done.new) == ("refused", 0, new)
        assert match in done.detail
    assert len(rows(sold, files)) == 1
    assert rows(sold, lines) == rows(sold, rejected) == rows(sold, entries) == []


def test_a_refund_takes_back_no_more_than_is_left_of_its_line(sold: Engine, tmp_path: Path) -> None:
    back = OK | {"reference": "1"}
    done = given(
        sold,
        tmp_path,
        csv_of(
            back | {"id": "r1", "amount": "-0.30"},  # before its line, in the same file
            OK,
            back | {"id": "r2", "amount": "-0.20"},
            back | {"id": "r3", "amount": "-0.19"},
            back | {"id": "r4", "amount": "-0.10", "number": "493012345678"},
        ),
    )
    assert (done.taken, done.rejected) == (3, 2)
    first = rows(sold, lines)[0]
    assert [(row.session, row.amount_micros, row.units, row.corrects) for row in rows(sold, lines)[1:]] == [
        ("r1", -300_000, -60, first.id),
        ("r3", -190_000, -60, first.id),
    ]
    assert sum(row.amount_micros for row in rows(sold, outbox)) == 0
    late = given(sold, tmp_path, csv_of(back | {"id": "r5", "amount": "-0.01"}), "late")
    assert (late.taken, late.rejected) == (0, 1)
    same = given(sold, tmp_path, csv_of(back | {"id": "r1", "amount": "-0.30"}, OK), "same")
    assert (same.taken, same.repeated, same.rejected) == (0, 2, 0)


def test_rejected_lines_are_tried_again_when_their_service_is_there(sold: Engine, tmp_path: Path) -> None:
    stray = [OK | {"id": f"s{number}", "number": "491711111111"} for number in range(3)]
    done = given(sold, tmp_path, json_of(*stray, OK | {"currency": "USD"}))
    assert done.rejected == 4
    with writing(sold) as work:
        assert replay_lines(work, RULES, NOW_MS)[0] == Counts(0, 0, 4)
        work.execute(
            services.insert().values(
                billing_account=1, party=1, kind="mobile", mode="postpaid", number="491711111111", book="b7", plan="basic",
                since=date(2020, 1, 1),
            )
        )  # fmt: skip
        counts, last = replay_lines(work, RULES, NOW_MS, most=2)
        more, end = replay_lines(work, RULES, NOW_MS, last)
        assert (counts, more) == (Counts(2, 0, 0), Counts(1, 0, 1))
        assert replay_lines(work, RULES, NOW_MS, end) == (Counts(), 0)
        assert replay_lines(work, RULES, NOW_MS)[0] == Counts(0, 0, 1)
    assert given(sold, tmp_path, json_of(*stray, OK | {"currency": "USD"}))[3:7] == (4, 3, 0, 1)
    assert [row.state for row in rows(sold, rejected)] == ["taken"] * 3 + ["parked"]
    assert {row.book: row.amount_micros for row in rows(sold, outbox)} == {"b7": -490_000}
    with reading(sold) as look:
        assert look.execute(select(func.sum(outbox.c.amount_micros))).scalar_one() == -3 * 490_000


def test_ended_anywhere_and_begun_again_a_file_goes_on_where_it_was(sold: Engine, tmp_path: Path) -> None:
    listed = [
        OK | {"id": f"l{number}", "currency": "USD" if number % 7 == 3 else "EUR"} for number in range(50)
    ]
    content = csv_of(*listed)
    told: list[FileProgress] = []

    class EndedError(Exception):
        pass

    def tell(progress: FileProgress) -> None:
        told.append(progress)
        if len(told) in {2, 3, 5}:
            raise EndedError

    for _ in range(3):
        with pytest.raises(EndedError):
            given(sold, tmp_path, content, tell=tell, lines_at_once=8)
    with pytest.raises(EndedError), fails_before_commit(sold, EndedError):
        given(sold, tmp_path, content, lines_at_once=8)
    done = given(sold, tmp_path, content, tell=tell, lines_at_once=8)
    assert (done.state, done.taken, done.rejected, done.lines) == ("done", 43, 7, 50)
    assert [each.line for each in told] == [8, 16, 24, 32, 40, 48, 50]
    assert sorted(int(row.place) for row in rows(sold, rejected)) == [
        number + 3 for number in range(50) if number % 7 == 3
    ]
    assert sum(row.amount_micros for row in rows(sold, outbox)) == -43 * 490_000
    with reading(sold) as look:
        of_files = select(entries.c.key).where(entries.c.key.like("usage:file/%"))
        assert len(look.execute(of_files).all()) == 7


class fails_before_commit:  # noqa: N801 - reads as what it does
    """The process ends with all of a unit of work written, and none of it committed."""

    def __init__(self, engine: Engine, fault: type[Exception]) -> None:
        self.engine, self.fault, self.times = engine, fault, 0

    def ends(self, _connection: Any) -> None:
        self.times += 1
        if self.times == 2:  # the first notes the file
            raise self.fault

    def __enter__(self) -> None:
        event.listen(self.engine, "commit", self.ends)

    def __exit__(self, *_of: object) -> None:
        event.remove(self.engine, "commit", self.ends)


def test_a_file_that_changes_while_it_is_read_is_read_no_further(sold: Engine, tmp_path: Path) -> None:
    content = csv_of(*(OK | {"id": f"l{number}"} for number in range(9)))

    def tell(_progress: FileProgress) -> None:
        with (tmp_path / "a.csv").open("ab") as file:
            file.write(b"more\n")

    with pytest.raises(ValueError, match="was changed"):
        given(sold, tmp_path, content, tell=tell, lines_at_once=4)
    assert len(rows(sold, lines)) == 4
    assert given(sold, tmp_path, content).taken == 9


def test_a_file_of_no_lines_and_one_with_a_mark_of_utf_8_are_files(sold: Engine, tmp_path: Path) -> None:
    assert given(sold, tmp_path, csv_of())[1:4] == ("done", "", 0)
    assert given(sold, tmp_path, b"\xef\xbb\xbf" + csv_of(OK), "b").taken == 1
