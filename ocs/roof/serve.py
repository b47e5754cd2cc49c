"""`ocs serve`: settings become a supervisor with its workers and its keeper, and, by default, a store of its own.

Laws
1. Everything that can be refused is refused before anything listens: settings, tariffs, the store and its layout.
2. The supervisor's process owns the embedded store: it starts it again when it dies, and stops it last.
3. A process that is started again while the store is away serves all the same: it answers 3004 until the store is back.
"""

import asyncio
import importlib.metadata
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import uvloop

from ocs import log
from ocs.balance.addresses import Address, Scheme
from ocs.balance.book import Stopwatch
from ocs.balance.embedded import Embedded, EmbeddedFault
from ocs.balance.link import StoreFault
from ocs.balance.spool import Spool
from ocs.balance.store import Store
from ocs.balance.subscription import listen
from ocs.balance.tariffs import Shelf, StoredTariffs, Told
from ocs.clock import SystemClock
from ocs.diameter.base import Local
from ocs.limits import STORE_BACKOFF_MS_MAX, STORE_BACKOFF_MS_MIN, STORE_PATIENCE_MS
from ocs.roof.accounting import desk_of, unbilled_of
from ocs.roof.build import (
    Keepers,
    address_of,
    answers_of,
    book_on,
    check_layout,
    embedded_store,
    keep_private,
    keepers_on,
    opened,
    read_products,
    read_settings,
    read_tariffs,
    store_at,
    store_facts,
    stored_tariffs,
    tighten,
)
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import catalogue_of, equip, holdings_on
from ocs.roof.place import Place
from ocs.roof.say import instant
from ocs.roof.signals import AskedToEnd, Ending
from ocs.roof.tariff_files import written_tariffs
from ocs.server import counters as counted
from ocs.server.allow import AllowRow
from ocs.server.channel import StartFault
from ocs.server.counters import JOB_FAULTS, JOB_PASSED, JOBS, Counters
from ocs.server.desk import Bounds
from ocs.server.keeper import KeeperConfig, KeeperParts
from ocs.server.origin_state import origin_state_id
from ocs.server.secure import TlsFiles
from ocs.server.supervisor import Places, ServeConfig, Supervisor
from ocs.server.worker import WorkerConfig, WorkerParts
from ocs.settings import Settings

FIRMWARE_REVISION = 1
"""Told to peers in the CEA (RFC 6733 section 5.3.4); rises with every release."""

_LOOK_S = 0.1


class Inside(NamedTuple):
    """What the roof hands to itself inside each process: plain and picklable."""

    settings: Settings
    address: Address
    workers: tuple[str, ...]
    counters_folder: Path


def serve(place: Place, options: Mapping[str, Mapping[str, object]]) -> int:
    """Run the server until SIGTERM; returns the exit code."""
    with Ending() as ending:
        try:
            return _served(place, options, ending)
        except AskedToEnd:
            return Exit.DONE
        except StoreFault as fault:
            raise Ended(Exit.STORE_UNAVAILABLE, f"the store is not available: {fault}") from fault


def _served(place: Place, options: Mapping[str, Mapping[str, object]], ending: Ending) -> int:
    keep_private()
    settings = read_settings(place, options)
    tariffs = read_tariffs(settings.tariffs_folder, settings.zones_folder)
    read_products(settings.products_folder, settings.zones_folder, tariffs)
    log.configure(settings.log.level, settings.log.format)
    address = address_of(settings)
    tighten(settings.server.data_dir)
    if address.scheme is not Scheme.EMBEDDED:
        return _supervise(settings, address, None, ending)
    with embedded_store(settings, serving=True, go_on=ending.check) as embedded:
        return _supervise(settings, embedded.address, embedded, ending)


def _supervise(settings: Settings, address: Address, embedded: Embedded | None, ending: Ending) -> int:
    uvloop.run(_judged(settings, address, ending))
    folder = _run_folder(settings.server.data_dir)
    try:
        config = configuration(settings, address, folder)
        jobs = (lambda counted: _keep_store(embedded, counted),) if embedded is not None else ()
        supervisor = Supervisor(
            config,
            build_worker=build_worker,
            build_keeper=build_keeper,
            log=structlog.get_logger().bind(process="supervisor"),
            on_ready=_announce,
            jobs=jobs,
        )
        ending.then(supervisor.stop)
        # not supervisor.run(): at its end an event loop takes its signal handlers along, before the store is stopped
        code = uvloop.run(supervisor.serve())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if ending.asked:
        return Exit.DONE  # a process that the same signal ended while it started is no fault
    if supervisor.fault is not None:
        known = {each.value for each in Exit}
        raise Ended(Exit(code) if code in known else Exit.FOUND_WRONG, supervisor.fault.reason)
    return code


async def _judged(settings: Settings, address: Address, ending: Ending) -> None:
    """Open the store once, so that what would be refused is refused before anything listens."""

    async def once() -> None:
        async with opened(settings, address, serving=True) as keepers:
            await _refuse_two_of_a_key(settings, Shelf(keepers.store))
            await _refuse_changed(settings, Shelf(keepers.store))

    judging = asyncio.ensure_future(once())
    while not judging.done() and not ending.asked:
        await asyncio.wait((judging,), timeout=_LOOK_S)
    if ending.asked:
        judging.cancel()
        await asyncio.gather(judging, return_exceptions=True)
    ending.check()
    judging.result()


async def _refuse_two_of_a_key(settings: Settings, shelf: Shelf) -> None:
    """End the start when folder and store have one version of a tariff with two contents: which one was charged?"""
    listed = await shelf.listed()
    folder = written_tariffs(settings.tariffs_folder, settings.zones_folder)
    two = [key for key, each in folder.items() if key in listed and listed[key].digest != each.digest]
    if two:
        raise Ended(
            Exit.USAGE,
            f"the tariffs cannot be used: {', '.join(sorted(two))} of {settings.tariffs_folder} has other content in the "
            "store, where it was activated; a tariff never changes: give the file's a higher version",
        )


async def _refuse_changed(settings: Settings, shelf: Shelf) -> None:
    """End the start when a version of the folder is not what it was when it was served: its sessions would change their price."""
    folder = written_tariffs(settings.tariffs_folder, settings.zones_folder)
    if changed := await shelf.note({key: each.said for key, each in folder.items()}):
        raise Ended(
            Exit.USAGE,
            f"the tariffs cannot be used: {', '.join(sorted(changed))} of {settings.tariffs_folder} has other content than it was "
            "served with from this store, and sessions and records name it; a tariff never changes: put it back as it was, and what "
            "is new beside it under a higher version",
        )


def _announce(places: Places) -> None:
    """Say where the server listens, on one line (INTERFACE)."""
    print(f"ready diameter={_named(places.diameter)} http={_named(places.http)}", flush=True)  # noqa: T201 - the promise


def _named(place: tuple[str, int]) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _run_folder(data_dir: Path) -> Path:
    """Make a folder for what only this run needs (its counters); those of runs that were killed are removed."""
    runs = data_dir / "run"
    try:
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in runs.iterdir():
            if not old.name.isdecimal() or not _lives(int(old.name)):
                shutil.rmtree(old, ignore_errors=True)
        folder = runs / str(os.getpid())
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise Ended(Exit.USAGE, f"the data folder {data_dir} cannot be used: {fault.strerror}") from fault
    return folder


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def configuration(settings: Settings, address: Address, folder: Path) -> ServeConfig:
    """Turn settings into what the supervisor and its processes are told."""
    diameter = settings.diameter
    names = tuple(f"worker-{number}" for number in range(settings.server.workers))
    inside = Inside(settings, address, names, folder)
    local = Local(
        diameter.origin_host,
        diameter.origin_realm,
        (),
        diameter.vendor_id,
        diameter.product_name,
        origin_state_id(settings.server.data_dir, SystemClock().now_ms() // 1000),
        FIRMWARE_REVISION,
        diameter.watchdog_s * 1000,
        settings.accounting.enabled,
    )
    allow = tuple(
        AllowRow(each.origin_host, each.origin_realm, each.address, each.tls_required)
        for each in diameter.peers
    )
    workers = tuple(
        WorkerConfig(
            name=name,
            local=local,
            allow=allow,
            counters_folder=folder,
            tls=_tls_files(settings),
            inflight_per_peer_max=diameter.inflight_per_peer_max,
            bounds=Bounds(message_octets_max=diameter.message_octets_max),
            drain_s=settings.server.drain_s,
            number=number,
            reauthorise_per_s=diameter.reauthorise_per_s,
            roof=inside,
        )
        for number, name in enumerate(names)
    )
    return ServeConfig(
        host=diameter.host,
        port=diameter.port,
        tls_port=diameter.tls.port or None,
        http_host=settings.http.host,
        http_port=settings.http.port,
        workers=workers,
        keeper=KeeperConfig(counters_folder=folder, roof=inside),
        counters_folder=folder,
        drain_s=settings.server.drain_s,
    )


def _tls_files(settings: Settings) -> TlsFiles | None:
    tls = settings.diameter.tls
    if not tls.port or tls.certificate is None or tls.key is None:
        return None
    return TlsFiles(tls.certificate, tls.key, tls.ca, tls.require_client_certificate)


# -- the supervisor's job


async def _keep_store(embedded: Embedded, counted: Counters) -> None:
    """Start the embedded store again when it dies; become its owner when the one before has gone."""
    logger = structlog.get_logger().bind(process="supervisor")
    faults = counted.index(JOB_FAULTS)
    pause_ms = STORE_BACKOFF_MS_MIN
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            embedded.lower_rewrites()
            if embedded.alive() or not embedded.claim():
                continue
            logger.error("the store died", folder=str(embedded.folder))
            await asyncio.to_thread(embedded.restart)
        except Exception as fault:  # noqa: BLE001 - law 2: whatever it is, it is tried again
            # it cannot be looked at (no descriptor is free), it cannot start (a full disk for one), or a command looked at this
            # very moment whether it lives, which takes its lock
            counted.cells[faults] += 1
            tell = logger.error if isinstance(fault, EmbeddedFault | OSError) else logger.exception
            tell("the store could not be looked after", why=str(fault))
            await asyncio.sleep(pause_ms / 1000)
            pause_ms = min(pause_ms * 2, STORE_BACKOFF_MS_MAX)
        else:
            logger.info("the store was started again", pid=embedded.pid)
            pause_ms = STORE_BACKOFF_MS_MIN


# -- inside the workers and the keeper


async def _link_up(store: Store, partitions: int) -> None:
    """Open the store; one that is away is waited for while we serve, one that refuses us ends the process."""

    async def up() -> None:
        await store.open(wait_ms=_FOR_EVER_MS)
        await check_layout(store, partitions)

    opening = asyncio.ensure_future(up())
    done, _ = await asyncio.wait((opening,), timeout=STORE_PATIENCE_MS / 1000)
    if done:
        try:
            opening.result()
        except StoreFault as fault:
            raise StartFault(f"the store is not available: {fault}", int(Exit.STORE_UNAVAILABLE)) from fault
        return
    opening.add_done_callback(_end_if_refused)


_FOR_EVER_MS = 10 * 365 * 24 * 3_600_000


def _end_if_refused(opening: "asyncio.Future[None]") -> None:
    """End this process in order when the store came back as one that must not keep money; its successor says why."""
    if not opening.cancelled() and opening.exception() is not None:
        structlog.get_logger().error("the store refuses us", why=str(opening.exception()))
        signal.raise_signal(signal.SIGTERM)


async def _keepers_inside(inside: Inside, title: str) -> Keepers:
    settings, clock = inside.settings, SystemClock()
    store = store_at(settings, inside.address, clock, title, serving=True)
    await _link_up(store, settings.store.partitions)
    return keepers_on(settings, store, clock)


async def build_worker(config: WorkerConfig, counters: Counters) -> WorkerParts:
    """Build what a worker works with, inside its process and its event loop."""
    inside: Inside = config.roof
    settings = inside.settings
    log.configure(settings.log.level, settings.log.format)
    keepers = await _keepers_inside(inside, config.name)
    round_trips = counters.histogram("ocs_store_round_trip_seconds")
    logger = structlog.get_logger().bind(process=config.name)
    tariffs = stored_tariffs(settings, keepers, lambda told: _tell_tariff(logger, told))
    if keepers.store.ready:
        try:
            await _refuse_changed(settings, Shelf(keepers.store))
            await tariffs.look()
        except Ended:
            raise
        except Exception as fault:  # noqa: BLE001 - nothing begins on a tariff before it was read (ocs/balance/tariffs.py, law 4)
            logger.warning("the store's tariffs cannot be read yet", why=repr(fault))
    learning = asyncio.create_task(tariffs.keep_up(lambda: _count_tariffs(counters, tariffs)))

    book = book_on(
        settings, keepers, tariffs, Stopwatch(lambda: time.monotonic_ns() // 1_000, round_trips.observe)
    )
    equip(book, holdings_on(keepers, tariffs, catalogue_of(settings)))
    spool = Spool(
        book,
        settings.server.data_dir / "spool",
        config.name,
        keepers.clock,
        lambda why: logger.error("the spool of terminations", why=why),
    )
    unbilled = unbilled_of(
        settings, book, config.name, keepers.clock, lambda why: logger.error("accounting records", why=why)
    )
    # files of workers that there are no more are the first one's
    workers = {f"worker-{place}" for place in range(settings.server.workers)}
    first = config.name == "worker-0"
    spooling = asyncio.create_task(spool.keep_up(lambda name: first and name not in workers))

    async def close() -> None:
        for each in (learning, spooling):
            each.cancel()
        await asyncio.gather(learning, spooling, return_exceptions=True)
        await keepers.store.close()

    return WorkerParts(
        book=spool,
        answers=answers_of(settings),
        log=logger,
        close=close,
        events=lambda: book.events,
        store_events=lambda: book.counts | spool.counts,
        spooled=lambda: spool.entries,
        store_retried=lambda: keepers.store.retried,
        listen=lambda channel, receive: listen(
            keepers.store, inside.address, channel, receive, f"{config.name}-orders"
        ),
        accounting=desk_of(settings, config.local.origin_state_id, unbilled),
        set_aside=lambda: unbilled.counts,
        gaps=lambda: (book.accounted.gaps_opened, book.accounted.gaps_closed),
    )


def _tell_tariff(logger: Any, told: Told) -> None:
    """Log what a look at the store's tariffs has found."""
    if told.why:
        logger.error("a tariff of the store cannot be used", tariff=told.key, why=told.why)
    else:
        logger.info("tariff known", tariff=told.key, effective=instant(told.effective_ms))


def _count_tariffs(counters: Counters, tariffs: StoredTariffs) -> None:
    """Write what a worker knows of tariffs, so that an operator sees that all workers know it."""
    cells, at = counters.cells, counters.index
    cells[at("ocs_tariff_versions")] = len(tariffs)
    cells[at("ocs_tariff_revision")] = tariffs.in_store


async def build_keeper(config: KeeperConfig, counters: Counters) -> KeeperParts:
    """Build HTTP and the background jobs, inside the keeper's process and its event loop."""
    from ocs.http.app import Health, application  # noqa: PLC0415 - workers load no HTTP
    from ocs.roof.jobs import jobs_of, switch_job  # noqa: PLC0415 - the keeper alone has jobs
    from ocs.server import health  # noqa: PLC0415

    inside: Inside = config.roof
    settings = inside.settings
    log.configure(settings.log.level, settings.log.format)
    keepers = await _keepers_inside(inside, config.name)
    parts = keepers.parts

    def look() -> Health:
        judged = health.checks(inside.counters_folder, inside.workers, keepers.clock.now_ms())
        passed = {job: counters.cells[counters.index(JOB_PASSED, job)] for job in JOBS}
        return Health(
            health.is_ready(judged, inside.workers), judged, store_facts(keepers) | {JOB_PASSED: passed}
        )

    app = application(
        health=look,
        read_metrics=lambda: counted.metrics(counted.read(inside.counters_folder)),
        version=version(),
    )
    logger = structlog.get_logger().bind(process=config.name)
    tariffs = stored_tariffs(settings, keepers, lambda told: _tell_tariff(logger, told))
    jobs = jobs_of(keepers, counters, holdings_on(keepers, tariffs, catalogue_of(settings)))

    async def learn_tariffs() -> None:
        await tariffs.keep_up(lambda: _count_tariffs(counters, tariffs))

    jobs |= {"tariffs": learn_tariffs, "switch": switch_job(keepers, tariffs)}
    return KeeperParts(app=app, log=logger, jobs=jobs, close=parts.store.close)


def version() -> str:
    """Return the installed version of this package, or "checkout" where it runs uninstalled."""
    try:
        return importlib.metadata.version("ocs")
    except importlib.metadata.PackageNotFoundError:
        return "checkout"
