import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from ocs.balance.archive import Archived
from ocs.balance.archive_files import ArchiveFault
from ocs.balance.holdings import Holdings
from ocs.balance.link import LinkDown
from ocs.balance.parts import Parts
from ocs.balance.store import Store
from ocs.limits import ARCHIVE_BATCH
from ocs.rating.products import Catalogue
from ocs.roof import jobs
from ocs.roof.build import address_of, opened, read_settings
from ocs.roof.jobs import Advance, count_job, jobs_of, keep_archive
from ocs.roof.place import Place as At
from ocs.server.counters import Counters
from tests.real_valkey import RealValkey

RECORDS = "ocs_archive_records_total"


class MadeUp:
    """An archiver of which the test says what opening and a pass do."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None, **does: Any) -> None:
        self.done = Archived()
        self._tell = tell
        self._does = does

    async def open(self) -> None:
        if "open" in self._does:
            await self._does["open"]()

    groups = ((),)

    async def archive(self, _group: tuple[()]) -> int:
        if "archive" in self._does:
            return await self._does["archive"](self) or 0
        return 0

    def close(self) -> None:
        self._tell("close")


def test_a_counter_goes_on_from_where_the_one_before_stopped() -> None:
    counters = Counters()
    first, second = Advance(counters), Advance(counters)
    for counted in (3, 5, 5):
        first(RECORDS, counted)
    for counted in (1, 2):
        second(RECORDS, counted)
    assert counters.cells[counters.index(RECORDS)] == 7


def test_a_restart_of_the_archive_makes_no_counter_fall_back() -> None:
    counters = Counters()

    async def once(archiver: MadeUp) -> None:
        archiver.done.records += 4
        archiver.done.lag = {0: 9}
        raise RuntimeError("made up")

    async def run() -> None:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await keep_archive(MadeUp(archive=once), counters, 0)  # type: ignore[arg-type]

    asyncio.run(run())
    assert counters.cells[counters.index(RECORDS)] == 8
    assert counters.cells[counters.index("ocs_archive_waiting_records")] == 9


def test_a_group_that_has_more_than_one_pass_takes_is_archived_to_its_end_at_once() -> None:
    passes: list[int] = []

    async def run() -> None:
        done = asyncio.Event()

        async def full_three_times(_archiver: MadeUp) -> int:
            passes.append(1)
            if len(passes) == 4:
                done.set()
            return ARCHIVE_BATCH if len(passes) < 4 else 1

        job = asyncio.create_task(keep_archive(MadeUp(archive=full_three_times), Counters(), 3600))  # type: ignore[arg-type]
        await done.wait()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    asyncio.run(run())
    assert len(passes) == 4


@pytest.mark.parametrize("where", ["open", "archive"])
def test_the_folder_is_given_back_when_nothing_writes_in_it_any_more(where: str) -> None:
    said: list[str] = []

    async def run() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow(*_archiver: MadeUp) -> None:
            begun.set()
            await go.wait()
            said.append("written")

        job = asyncio.create_task(keep_archive(MadeUp(said.append, **{where: slow}), Counters(), 60))  # type: ignore[arg-type]
        await begun.wait()
        job.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await job

    asyncio.run(run())
    assert said == ["written", "close"]


def test_a_folder_that_another_archiver_has_is_waited_for_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "ARCHIVER_LOOK_S", 0)
    tries: list[int] = []

    async def run() -> None:
        taken = asyncio.Event()

        async def open_fourth() -> None:
            tries.append(1)
            if len(tries) < 4:
                raise ArchiveFault("another archiver is at work here") from BlockingIOError()
            taken.set()

        job = asyncio.create_task(keep_archive(MadeUp(open=open_fourth), Counters(), 60))  # type: ignore[arg-type]
        await taken.wait()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    with structlog.testing.capture_logs() as told:
        asyncio.run(run())
    assert [line["event"] for line in told] == ["the archive waits"]


def test_a_folder_of_another_store_is_not_waited_for() -> None:
    async def refused() -> None:
        raise ArchiveFault("holds the archive of another store")

    with pytest.raises(ArchiveFault):
        asyncio.run(keep_archive(MadeUp(open=refused), Counters(), 60))  # type: ignore[arg-type]


def test_a_partition_that_is_behind_is_told_once_with_what_to_do() -> None:
    passes: list[int] = []

    async def run() -> None:
        done = asyncio.Event()

        async def behind(archiver: MadeUp) -> None:
            archiver.done.behind = {17: "remove p017.behind"}
            passes.append(1)
            if len(passes) == 3:
                done.set()

        job = asyncio.create_task(keep_archive(MadeUp(archive=behind), Counters(), 0))  # type: ignore[arg-type]
        await done.wait()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    with structlog.testing.capture_logs() as told:
        asyncio.run(run())
    assert [(line["partition"], line["why"]) for line in told] == [(17, "remove p017.behind")]


def _passed(counters: Counters, job: str) -> int:
    return counters.cells[counters.index("ocs_job_passed_ms", job)]


@pytest.mark.parametrize("fault", [None, LinkDown("made up")])
def test_a_pass_of_the_archive_leaves_its_time_when_it_left_nothing_out(fault: Exception | None) -> None:
    passes: list[int] = []
    counters = Counters()

    async def run() -> None:
        done = asyncio.Event()

        async def archive(_archiver: MadeUp) -> None:
            passes.append(1)
            if len(passes) == 3:
                done.set()
            if fault is not None:
                raise fault

        job = asyncio.create_task(keep_archive(MadeUp(archive=archive), counters, 0))  # type: ignore[arg-type]
        await done.wait()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    asyncio.run(run())
    assert (_passed(counters, "archive") > 0) is (fault is None)


@pytest.mark.parametrize("away", [False, True])
def test_sweep_and_epochs_leave_their_time_when_they_left_nothing_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    away: bool,  # noqa: FBT001 - what the store does
) -> None:
    counters = Counters()
    execute = Store.execute

    async def executed(self: Store, *given: Any, **options: Any) -> Any:
        if away:
            raise LinkDown("made up")
        return await execute(self, *given, **options)

    async def run(url: str) -> None:
        settings = read_settings(At(store=url, data_dir=tmp_path), {})
        async with opened(settings, address_of(settings)) as keepers:
            monkeypatch.setattr(Store, "execute", executed)
            holdings = Holdings(
                keepers.parts, keepers.accounts, keepers.clock, Catalogue(), lambda _name, _at_ms: None
            )
            works = jobs_of(keepers, counters, holdings)
            if away:
                for partition in range(len(keepers.parts.keys)):
                    keepers.parts.forget(partition)
                monkeypatch.setattr(Parts, "epoch", executed)
            tasks = [asyncio.ensure_future(works[name]()) for name in ("sweep", "epochs", "agenda")]
            await asyncio.sleep(0.5)
            for task in tasks:
                assert not task.done()
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with RealValkey(settings={"appendfsync": "always"}) as valkey:
        asyncio.run(run(valkey.url))
    assert [_passed(counters, job) > 0 for job in ("sweep", "epochs", "agenda")] == [not away] * 3


@pytest.mark.parametrize("process", ["keeper", "door"])
def test_a_bonus_for_which_there_was_no_room_is_told_once(tmp_path: Path, process: str) -> None:
    counters = Counters()

    async def run(url: str) -> None:
        settings = read_settings(At(store=url, data_dir=tmp_path), {})
        async with opened(settings, address_of(settings)) as keepers:
            holdings = Holdings(
                keepers.parts, keepers.accounts, keepers.clock, Catalogue(), lambda _name, _at_ms: None
            )
            holdings.bonuses_not_given = 2
            keepers.reauthorisation.faults = 3
            beside = count_job(keepers, counters, holdings)
            job = jobs_of(keepers, counters, holdings)["sweep"] if process == "keeper" else beside
            counting = asyncio.ensure_future(job())
            await asyncio.sleep(2.5)  # two rounds of sweep_s
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)

    with RealValkey(settings={"appendfsync": "always"}) as valkey, structlog.testing.capture_logs() as told:
        asyncio.run(run(valkey.url))
    assert counters.cells[counters.index("ocs_bonuses_not_given_total")] == 2
    if process == "door":
        assert counters.cells[counters.index("ocs_reauthorise_faults_total")] == 3
    assert [line["count"] for line in told if "bonus" in line["event"]] == [2]
