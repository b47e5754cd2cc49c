"""The spool alone, before a book that does as it is told."""

import asyncio
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from ocs.balance import spool as spooling
from ocs.balance.charging import Answered
from ocs.balance.spool import COUNTED, Entry, Read, Spool, read
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome, ServiceOutcome
from ocs.names import SubscriberId
from ocs.outcomes import Code, Note
from ocs.server.families import STORE_EVENTS
from ocs.units import Unit

NOW_MS = 1_800_000_000_000
AWAY = Outcome(Code.EPOCH, Note(0), ())
DONE = Outcome(Code.SUCCESS, Note(0), ())


def ended(name: str, *, used: int = 1_000, kind: int = TERMINATION) -> Ask:
    ids = (SubscriberId("imsi", "262010000000001"), SubscriberId("e164", "491700000001"))
    services = (
        AskedService("10", 10, None, Units(used), None),
        AskedService("20/5", 20, 5, Units(0, 3), None, Units(0, 1)),
        AskedService("", None, None, None, None),
    )
    return Ask(
        kind, name, 7, "data", "32251@3gpp.org", ids, services, 2**48 - 1, True, "gw\udcff.example", "example.org"
    )  # fmt: skip


class Book:
    """Answers what it is told by the session's name, the store being away until it is not."""

    def __init__(self, answers: dict[str, Outcome] | None = None) -> None:
        self.answers = answers or {}
        self.ready = False
        self.charged: list[tuple[str, int]] = []

    def charge(self, ask: Ask, done: Answered, via: str = "", at_ms: int = 0) -> None:
        assert not (via and at_ms), "what is charged again comes over no connection"
        self.charged.append((ask.session_id, at_ms))
        asyncio.get_running_loop().call_soon(
            done, self.answers.get(ask.session_id, DONE) if self.ready else AWAY
        )


class Clock:
    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_ms(self) -> int:
        return 0


async def told(spool: Spool, ask: Ask) -> Outcome:
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    spool.charge(ask, future.set_result)
    return await future


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def refused_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.refused"))


def unread_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.unread"))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "SPOOL_PAUSE_MS", 5)


def test_what_finds_a_store_leaves_nothing_on_disk(tmp_path: Path) -> None:
    async def run() -> None:
        book = Book()
        book.ready = True
        spool = Spool(book, tmp_path, "worker-0", Clock())
        assert await told(spool, ended("a")) == DONE
        assert book.charged == [("a", 0)]
        assert (files(tmp_path), spool.entries) == ([], 0)

    asyncio.run(run())


def test_only_terminations_are_kept(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(Book(), tmp_path, "worker-0", Clock())
        for kind in (INITIAL, UPDATE):
            assert await told(spool, ended("a", kind=kind)) == AWAY
        assert files(tmp_path) == []

    asyncio.run(run())


def test_a_termination_is_on_disk_before_its_client_hears_that_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        order.append("fsync")

    monkeypatch.setattr(os, "fsync", synced)

    async def run() -> None:
        spool = Spool(Book(), tmp_path, "worker-0", Clock())
        asks = [ended(name) for name in "abc"]
        outcomes: list[Outcome] = []

        def hear(outcome: Outcome) -> None:
            order.append("told")
            outcomes.append(outcome)

        for ask in asks:
            spool.charge(ask, hear)
        await until(lambda: len(outcomes) == 3)
        row = ServiceOutcome(Code.SUCCESS, Unit.OCTETS, 0, 0, final=False)
        assert outcomes == [Outcome(Code.SUCCESS, Note(0), (row,) * 3)] * 3
        (file,) = files(tmp_path)
        assert read(file) == Read([Entry(NOW_MS, ask) for ask in asks], 0)
        assert (file.stat().st_mode & 0o777, spool.entries, spool.counts["spooled"]) == (0o600, 3, 3)
        assert order[-1] == "told"
        assert order.count("fsync") < 5, "entries that come together share one fsync"
        assert "told" not in order[: order.index("fsync")]

    asyncio.run(run())


def test_what_cannot_be_written_is_answered_with_what_the_store_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        spool = Spool(Book(), tmp_path, "worker-0", Clock())
        assert (await told(spool, ended("kept"))).code == Code.SUCCESS
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", _no_space)
            assert await told(spool, ended("lost")) == AWAY
        assert (await told(spool, ended("later"))).code == Code.SUCCESS
        (file,) = files(tmp_path)
        assert [each.ask.session_id for each in read(file).entries] == ["kept", "later"]
        assert (spool.entries, spool.counts["spool_faults"]) == (2, 1)

    asyncio.run(run())


def _no_space(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_beyond_the_bound_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "SPOOL_ENTRIES_MAX", 2)

    async def run() -> None:
        spool = Spool(Book(), tmp_path, "worker-0", Clock())
        codes = [(await told(spool, ended(name))).code for name in "abc"]
        assert codes == [Code.SUCCESS, Code.SUCCESS, Code.EPOCH]

    asyncio.run(run())


def test_when_the_store_is_back_all_is_charged_as_of_its_reception_and_the_file_goes(tmp_path: Path) -> None:
    async def run() -> None:
        book = Book()
        spool = Spool(book, tmp_path, "worker-0", Clock())
        work = asyncio.create_task(spool.keep_up())
        for name in "abc":
            await told(spool, ended(name))
        book.charged.clear()
        await asyncio.sleep(0.05)
        assert book.charged == []
        book.ready = True
        await until(lambda: spool.entries == 0)
        assert book.charged == [(name, NOW_MS) for name in "abc"]
        assert (files(tmp_path), spool.counts["spool_charged"]) == ([], 3)
        work.cancel()

    asyncio.run(run())


def test_a_worker_that_starts_again_charges_what_its_predecessor_kept_and_writes_over_nothing(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        await told(Spool(Book(), tmp_path, "worker-0", Clock()), ended("before"))
        await told(Spool(Book(), tmp_path, "worker-3", Clock()), ended("of one that is no more"))
        await told(Spool(Book(), tmp_path, "worker-1", Clock()), ended("another's"))
        book = Book()
        spool = Spool(book, tmp_path, "worker-0", Clock())
        await told(spool, ended("after"))
        assert len(files(tmp_path)) == 4
        book.ready = True
        book.charged.clear()
        work = asyncio.create_task(spool.keep_up(lambda name: name == "worker-3"))
        await until(lambda: len(files(tmp_path)) == 1)
        assert {name for name, _ in book.charged} == {"before", "of one that is no more", "after"}
        assert [each.ask.session_id for each in read(files(tmp_path)[0]).entries] == ["another's"]
        work.cancel()

    asyncio.run(run())


def test_a_currency_and_a_correlation_are_kept_too_and_older_rows_have_neither(tmp_path: Path) -> None:
    """What is in another currency than the account's must not be charged when the store is back."""
    file = tmp_path / "w-1.spool"
    one = Entry(NOW_MS, ended("a")._replace(currency=840, correlation="icid\udcff"))
    older = msgpack.unpackb(spooling._row(Entry(NOW_MS, ended("b")))[8:], unicode_errors="surrogateescape")[
        :12
    ]
    packed = msgpack.packb(older, unicode_errors="surrogateescape")
    row = spooling._HEAD.pack(len(packed), zlib.crc32(packed)) + packed
    file.write_bytes(spooling._row(one) + row)
    assert read(file) == Read([one, Entry(NOW_MS, ended("b"))], 0)


@pytest.mark.parametrize("cut", [1, 8, 9, 30])
def test_a_torn_end_was_never_acknowledged(tmp_path: Path, cut: int) -> None:
    async def run() -> None:
        spool = Spool(Book(), tmp_path, "worker-0", Clock())
        await told(spool, ended("whole"))
        await told(spool, ended("torn"))

    asyncio.run(run())
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    assert [each.ask.session_id for each in read(file).entries] == ["whole"]
    file.write_bytes(b"\xff" * 40)
    assert read(file) == Read([], 0)


def test_what_is_refused_by_then_is_set_aside_for_a_human(tmp_path: Path) -> None:
    async def run() -> None:
        gone = Outcome(Code.UNKNOWN_SESSION, Note(0), ())
        book = Book({"gone": gone, "gone, unused": gone})
        spool = Spool(book, tmp_path, "worker-0", Clock())
        unused = ended("gone, unused", used=0)
        unused = unused._replace(services=unused.services[:1])
        for ask in (ended("a"), ended("gone"), unused):
            await told(spool, ask)
        book.ready = True
        work = asyncio.create_task(spool.keep_up())
        await until(lambda: spool.entries == 0)
        assert [each.ask.session_id for each in read(tmp_path / "worker-0.refused").entries] == ["gone"]
        assert (spool.counts["spool_charged"], spool.counts["spool_refused"]) == (2, 1)
        work.cancel()

    asyncio.run(run())


def test_what_cannot_be_set_aside_now_is_set_aside_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by tests/sim (seed 187): a full disk lost what the store had refused, with its file."""
    append, full = spooling._append, [True]

    def may_fail(path: Path, from_octet: int | None, octets: bytes) -> None:
        if path.suffix == ".refused" and full:
            append(path, from_octet, octets[:-3])
            full.clear()
            raise OSError(28, "no space left on the device")
        append(path, from_octet, octets)

    monkeypatch.setattr(spooling, "_append", may_fail)

    async def run() -> None:
        book = Book({"gone": Outcome(Code.UNKNOWN_SESSION, Note(0), ())})
        spool = Spool(book, tmp_path, "worker-0", Clock())
        for name in ("kept", "gone"):
            await told(spool, ended(name))
        book.ready = True
        keeping = asyncio.create_task(spool.keep_up())
        await until(lambda: not files(tmp_path) and spool.entries == 0)
        keeping.cancel()
        aside = [entry.ask.session_id for path in refused_files(tmp_path) for entry in read(path).entries]
        assert (aside, spool.entries) == (["gone"], 0)
        assert [spool.counts[name] for name in ("spool_charged", "spool_refused")] == [1, 1]
        assert [name for name, at_ms in book.charged if at_ms].count("kept") == 1

    asyncio.run(run())


def test_a_charge_that_ends_after_the_spool_was_left_disturbs_nobody(tmp_path: Path) -> None:
    """Found by tests/sim (seed 1521): a worker that drains leaves its spool while the store is asked for an entry."""

    class Slow(Book):
        def charge(self, ask: Ask, done: Answered, via: str = "", at_ms: int = 0) -> None:
            if at_ms:
                under_way.append(done)
            else:
                super().charge(ask, done, via, at_ms)

    under_way: list[Answered] = []

    async def run() -> None:
        book = Slow()
        spool = Spool(book, tmp_path, "worker-0", Clock())
        await told(spool, ended("a"))
        book.ready = True
        keeping = asyncio.create_task(spool.keep_up())
        await until(lambda: bool(under_way))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        under_way[0](DONE)
        assert (len(files(tmp_path)), spool.entries) == (1, 1)

    asyncio.run(run())


def test_one_that_cannot_be_decided_holds_up_no_other_and_is_not_given_up(tmp_path: Path) -> None:
    async def run() -> None:
        book = Book({"stuck": AWAY})
        spool = Spool(book, tmp_path, "worker-0", Clock())
        for name in ("stuck", "free"):
            await told(spool, ended(name))
        book.ready = True
        book.charged.clear()
        work = asyncio.create_task(spool.keep_up())
        await until(lambda: [name for name, _ in book.charged].count("stuck") > 2)
        assert [name for name, _ in book.charged].count("free") == 1
        assert (spool.entries, len(files(tmp_path))) == (1, 1)
        book.answers.clear()
        await until(lambda: spool.entries == 0)
        assert files(tmp_path) == []
        work.cancel()

    asyncio.run(run())


def _named(name: bytes) -> bytes:
    return _row_of(msgpack.packb([1, name.decode()]))


def _row_of(packed: bytes) -> bytes:
    return struct.pack("<II", len(packed), zlib.crc32(packed)) + packed


@pytest.mark.parametrize(
    ("end", "unread"),
    [
        (bytes(64), 0),
        (_named(b"of another release"), 1),
        (_row_of(b"\xc1"), 1),
        (_row_of(msgpack.packb(7)), 1),
    ],
)
def test_no_file_whatever_is_in_it_keeps_another_from_being_charged(
    tmp_path: Path, end: bytes, unread: int
) -> None:
    (tmp_path / "worker-0-00000001.spool").mkdir()

    async def run() -> None:
        told_why: list[str] = []
        await told(Spool(Book(), tmp_path, "worker-0", Clock()), ended("before"))
        (file,) = [path for path in files(tmp_path) if path.is_file()]
        file.write_bytes(file.read_bytes() + end)
        book = Book()
        spool = Spool(book, tmp_path, "worker-0", Clock(), told_why.append)
        await told(spool, ended("after"))
        book.ready = True
        book.charged.clear()
        work = asyncio.create_task(spool.keep_up())
        await until(lambda: spool.entries == 0)
        await until(lambda: not [path for path in files(tmp_path) if path.is_file()])
        assert {name for name, _ in book.charged} == {"before", "after"}
        assert spool.counts["spool_unread"] == unread
        assert len(unread_files(tmp_path)) == unread
        assert told_why
        assert all("worker-0-00000001.spool" in why for why in told_why)
        assert not work.done()
        work.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("code", [Code.SKEW, Code.STALE])
def test_a_wrong_clock_decides_nothing(tmp_path: Path, code: Code) -> None:
    async def run() -> None:
        undecided = Outcome(code, Note(0), ())
        book = Book({"a": undecided})
        book.ready = True
        spool = Spool(book, tmp_path, "worker-0", Clock())
        assert (await told(spool, ended("a"))).code == Code.SUCCESS
        work = asyncio.create_task(spool.keep_up())
        await until(lambda: len(book.charged) > 3)
        assert spool.entries == 1
        book.answers.clear()
        await until(lambda: spool.entries == 0)
        assert (spool.counts["spool_charged"], spool.counts["spool_refused"]) == (1, 0)
        work.cancel()

    asyncio.run(run())


def test_a_receiver_that_fails_keeps_no_other_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _told: None)
        spool = Spool(Book(), tmp_path, "worker-0", Clock())

        def fails(_outcome: Outcome) -> None:
            raise RuntimeError

        spool.charge(ended("a"), fails)
        assert (await told(spool, ended("b"))).code == Code.SUCCESS
        assert (await told(spool, ended("c"))).code == Code.SUCCESS
        assert spool.entries == 3

    asyncio.run(run())


def test_what_a_spool_counts_is_in_the_metrics() -> None:
    assert set(COUNTED) <= set(STORE_EVENTS)
