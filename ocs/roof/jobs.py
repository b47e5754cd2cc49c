"""The keeper's background jobs: the archive, the sweep, the epochs; each runs until it is cancelled. And the door's own, few and small.

Laws
1. A counter only advances: what an object has counted since its own start is added, whichever keeper it lives in.
2. The archive's folder is given back when nothing writes in it any more.
3. A pass that came to its end with nothing left out leaves its time: work that stands still is seen, whatever holds it up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from ocs.balance.agenda import Agenda
from ocs.balance.archive import Archiver
from ocs.balance.archive_files import ArchiveFault
from ocs.balance.holdings import Holdings
from ocs.balance.libraries import Libraries
from ocs.balance.link import StoreFault
from ocs.balance.stored_session import SessionUnreadable
from ocs.http.audit_files import prune
from ocs.limits import ARCHIVE_BATCH, LIBRARY_TELL_S, RESTART_GRACE_WATCHDOGS
from ocs.rating.versions import Tariffs
from ocs.roof.build import Keepers, rules_of, store_facts
from ocs.roof.ending import sweeper_of
from ocs.server.counters import Counters
from ocs.server.families import JOB_PASSED
from ocs.sessions.restarts import Ended, Restarts
from ocs.sessions.switching import Switching

ARCHIVER_LOOK_S: Final = 10.0
"""Pause before a folder that another archiver has is asked for again."""

AUDIT_PRUNE_S: Final = 3600.0
"""Pause between looks for files of the audit log that are too old."""

_LEARN_S: Final = 1.0

Job = Callable[[], Awaitable[None]]
T = TypeVar("T")


class Advance:
    """Adds to counters what one object has counted since its start; make one with each such object."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._counted: dict[str, int] = {}

    def __call__(self, family: str, counted: int) -> None:
        """Take the object's total of now."""
        self._counters.cells[self._counters.index(family)] += counted - self._counted.get(family, 0)
        self._counted[family] = counted


def jobs_of(keepers: Keepers, counters: Counters, holdings: Holdings) -> dict[str, Job]:
    """Give the keeper its background jobs, by name."""
    tended = Agenda(keepers.parts, holdings)
    settings = keepers.settings
    sweeper = sweeper_of(keepers)
    advance = Advance(counters)

    async def archive() -> None:
        archiver = Archiver(keepers.parts, settings.archive_folder, keepers.clock)
        await keep_archive(archiver, counters, settings.archive.every_s)

    async def sweep() -> None:
        not_given = 0
        while True:
            unreached = sweeper.unreached
            try:
                await sweeper.once()
                if sweeper.unreached == unreached:
                    _passed(counters, "sweep")
            finally:
                advance("ocs_sessions_expired_total", sweeper.expired)
                advance("ocs_topups_finished_total", sweeper.claims_finished)
                advance("ocs_sweep_faults_total", sweeper.faults)
                not_given = _bonuses_not_given(holdings, not_given)
                advance("ocs_bonuses_not_given_total", not_given)
            await asyncio.sleep(settings.charging.sweep_s)

    async def agenda() -> None:
        told = Advance(counters)
        while True:
            try:
                before = tended.faults
                await tended.once()
                if tended.faults == before:
                    _passed(counters, "agenda")
            finally:
                told("ocs_agenda_tended_total", tended.tended)
                told("ocs_agenda_faults_total", tended.faults)
                told("ocs_reauthorise_faults_total", keepers.reauthorisation.faults)
            await asyncio.sleep(settings.charging.sweep_s)

    def passed() -> None:
        _passed(counters, "epochs")

    return {
        "archive": archive,
        "sweep": sweep,
        "epochs": epoch_job(keepers, counters, passed),
        "agenda": agenda,
    }


def epoch_job(keepers: Keepers, counters: Counters, passed: Callable[[], None] = lambda: None) -> Job:
    """Give a process the job that asks the store again and again which epochs it is in, and says whether it is reached."""

    async def learn_epochs() -> None:
        epoch = counters.index("ocs_store_epoch")
        ready = counters.index("ocs_process_store_ready")
        while True:
            counters.cells[ready] = int(keepers.store.ready)
            with suppress(StoreFault):  # asked again in a second
                await keepers.accounts.learn_all()
                passed()
            counters.cells[epoch] = store_facts(keepers)["store_epoch"]
            await asyncio.sleep(_LEARN_S)

    return learn_epochs


def count_job(keepers: Keepers, counters: Counters, holdings: Holdings) -> Job:
    """Give the door the job that counts what its top-ups and changes could not do; the keeper counts its own."""
    advance = Advance(counters)
    not_given = 0

    async def count() -> None:
        nonlocal not_given
        while True:
            not_given = _bonuses_not_given(holdings, not_given)
            advance("ocs_bonuses_not_given_total", not_given)
            advance("ocs_reauthorise_faults_total", keepers.reauthorisation.faults)
            await asyncio.sleep(_LEARN_S)

    return count


def switch_job(keepers: Keepers, tariffs: Tariffs) -> Job:
    """Give the keeper the job that asks the clients of sessions anew which a version takes along."""
    per_s = keepers.settings.diameter.reauthorise_per_s
    switching = Switching(keepers.parts, tariffs, keepers.reauthorisation, keepers.clock, per_s)

    async def switch() -> None:
        while True:
            with suppress(StoreFault):  # asked again in a second
                for key, said in (await switching.once()).items():
                    log = structlog.get_logger()
                    log.info("sessions are asked anew", tariff=key, sessions=said.sessions, told=said.told)
            await asyncio.sleep(keepers.settings.charging.sweep_s)

    return switch


def restart_job(keepers: Keepers, counters: Counters) -> Job:
    """Give the keeper the job that ends the sessions of clients that have restarted without them."""
    settings = keepers.settings
    sweeper = sweeper_of(keepers)
    grace_ms = RESTART_GRACE_WATCHDOGS * settings.diameter.watchdog_s * 1000
    supervision_ms = rules_of(settings).supervision_ms
    restarts = Restarts(
        keepers.parts, sweeper, keepers.clock, grace_ms=grace_ms, supervision_ms=supervision_ms
    )
    advance = Advance(counters)

    def tell(ended: Ended) -> None:
        log = structlog.get_logger()
        if ended.sessions < 0:
            log.warning(
                "two clients share an Origin-Host: its restarts end nothing", origin_host=ended.origin_host
            )
        elif ended.sessions:
            log.info(
                "a client has restarted without its sessions",
                origin_host=ended.origin_host,
                sessions=ended.sessions,
            )

    async def end() -> None:
        while True:
            try:
                with suppress(StoreFault, SessionUnreadable):  # looked at again
                    await restarts.once(tell)
            finally:
                advance("ocs_sessions_restarted_total", restarts.ended)
            await asyncio.sleep(settings.charging.sweep_s)

    return end


def library_job(keepers: Keepers) -> Job:
    """Give the keeper the job that removes function libraries of releases that are no more."""
    libraries = Libraries(keepers.store, keepers.clock)

    async def remove() -> None:
        while True:
            with suppress(StoreFault):  # tried again in a minute
                for name in await libraries.remove_unused():
                    structlog.get_logger().info(
                        "a function library that nobody uses was removed", library=name
                    )
            await asyncio.sleep(LIBRARY_TELL_S)

    return remove


def audit_job(keepers: Keepers) -> Job:
    """Give the keeper the job that removes files of the audit log that are older than the settings keep them."""
    folder, days = keepers.settings.audit_folder, keepers.settings.http.audit_days
    log = structlog.get_logger()

    async def remove() -> None:
        while True:
            try:
                for day in await asyncio.to_thread(prune, folder, days, keepers.clock.now_ms()):
                    log.info("a day of the audit log was removed", day=day)
            except OSError as fault:  # tried again in an hour
                log.warning("the audit log keeps what is too old", why=fault.strerror)
            await asyncio.sleep(AUDIT_PRUNE_S)

    return remove


def _bonuses_not_given(holdings: Holdings, told: int) -> int:
    """Log bonuses that were not given since so many were; how many they are by now."""
    if holdings.bonuses_not_given > told:
        count = holdings.bonuses_not_given - told
        structlog.get_logger().error("an account had no room for a bonus", count=count)
    return holdings.bonuses_not_given


def _passed(counters: Counters, job: str) -> None:
    """Note that a job has finished a pass."""
    counters.cells[counters.index(JOB_PASSED, job)] = time.time_ns() // 1_000_000


async def keep_archive(archiver: Archiver, counters: Counters, every_s: float) -> None:
    """Archive until cancelled; what is being written then is written first."""
    archived, advance = archiver.done, Advance(counters)
    told: dict[int, str] = {}

    def tell() -> None:
        for partition in archived.behind.keys() - told.keys():
            why = archived.behind[partition]
            structlog.get_logger().error("a partition is not archived", partition=partition, why=why)
        told.clear()
        told.update(archived.behind)
        advance("ocs_archive_records_total", archived.records)
        advance("ocs_archive_octets_total", archived.octets)
        advance("ocs_archive_holes_total", archived.holes)
        advance("ocs_archive_groups_cut_total", archived.groups_cut)
        counters.cells[counters.index("ocs_archive_partitions_behind")] = len(archived.behind)
        counters.cells[counters.index("ocs_archive_waiting_records")] = sum(archived.lag.values())

    try:
        await _opened_in_turn(archiver)
        groups = archiver.groups
        while True:
            reached = 0
            for (
                group
            ) in groups:  # one after the other, so that neither store nor disk gets all of it in one piece
                try:
                    with suppress(StoreFault):  # the store's own health tells; the records wait on the stream
                        while await _to_its_end(archiver.archive(group)) >= ARCHIVE_BATCH:
                            tell()  # more waits here than one pass takes
                        reached += 1
                finally:
                    tell()
                await asyncio.sleep(every_s / len(groups))
            if reached == len(groups):
                _passed(counters, "archive")
    finally:
        archiver.close()


async def _opened_in_turn(archiver: Archiver) -> None:
    """Open the archiver; a folder that another one has is waited for, and told once."""
    told = False
    while True:
        try:
            await _to_its_end(archiver.open())
        except ArchiveFault as fault:
            if not isinstance(fault.__cause__, BlockingIOError):  # a folder that no waiting makes right
                raise
            if not told:
                structlog.get_logger().warning("the archive waits", why=str(fault))
                told = True
            await asyncio.sleep(ARCHIVER_LOOK_S)
        else:
            return


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that must not be left half-way: cancelled, we go once it has ended (its thread writes until then)."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise
