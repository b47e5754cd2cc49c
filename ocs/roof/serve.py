"""`ocs serve`: settings become a supervisor with its workers, its keeper and its door, and, by default, a store of its own.

Laws
1. Everything that can be refused is refused before anything listens: settings, tariffs, the store and its layout.
2. The supervisor's process owns the embedded store: it starts it again when it dies, and stops it last.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import structlog
import uvloop

from ocs import log
from ocs.balance.addresses import Address, Scheme
from ocs.balance.aof import AofFault
from ocs.balance.embedded import Embedded, EmbeddedFault
from ocs.balance.link import StoreFault
from ocs.balance.past import Past
from ocs.clock import SystemClock
from ocs.limits import STORE_BACKOFF_MS_MAX, STORE_BACKOFF_MS_MIN
from ocs.roof.build import address_of, embedded_store, keep_private, read_settings, tighten, written_settings
from ocs.roof.ends import Ended, Exit
from ocs.roof.inside import Inside, build_door, build_keeper, build_worker, frozen, judge_store, read_files
from ocs.roof.place import Place
from ocs.roof.restart import judge, listen_for_restarts, lives
from ocs.roof.signals import AskedToEnd, Ending
from ocs.server.counters import Counters
from ocs.server.families import JOB_FAULTS
from ocs.server.origin_state import origin_state_id
from ocs.server.roll import Renewal
from ocs.server.supervisor import Places, ServeConfig, Supervisor
from ocs.settings import Settings

_LOOK_S = 0.1
_SELDOM_S = 3_600


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
    read_files(settings)
    log.configure(settings.log.level, settings.log.format)
    address = address_of(settings)
    tighten(settings.server.data_dir)
    if address.scheme is not Scheme.EMBEDDED:
        return _supervise(place, options, address, None, ending)
    with embedded_store(settings, serving=True, go_on=ending.check) as embedded:
        return _supervise(place, options, embedded.address, embedded, ending)


def _supervise(
    place: Place,
    options: Mapping[str, Mapping[str, object]],
    address: Address,
    embedded: Embedded | None,
    ending: Ending,
) -> int:
    settings = read_settings(place, options)
    uvloop.run(_judged(settings, address, ending))
    data_dir = settings.server.data_dir
    folder = _run_folder(data_dir)
    try:
        inside = Inside(
            written_settings(place, options),
            address if embedded is not None else None,
            origin_state_id(data_dir, SystemClock().now_ms() // 1000),
            frozen(settings),
        )
        jobs = [lambda _counted: listen_for_restarts(folder, lambda: supervisor.roll())]  # noqa: PLW0108 - made below
        if embedded is not None:
            past = Past(data_dir, settings.backup.history_h, settings.backup.history_gb * 10**9)
            jobs.append(lambda counted: _keep_store(embedded, counted))
            jobs.append(lambda counted: _keep_past(past, counted))

        def announce(places: Places) -> None:
            # first: whoever reads that we are ready may hang up at once, and means a rolling restart
            ending.on_hangup(supervisor.ask_roll)
            _announce(places)

        supervisor = Supervisor(
            configuration(settings, inside, folder),
            build_worker=build_worker,
            build_keeper=build_keeper,
            build_door=build_door,
            log=structlog.get_logger().bind(process="supervisor"),
            on_ready=announce,
            jobs=tuple(jobs),
            renewal=Renewal(lambda: inside._replace(layers=written_settings(place, options)), judge),
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
    judging = asyncio.ensure_future(judge_store(settings, address))
    while not judging.done() and not ending.asked:
        await asyncio.wait((judging,), timeout=_LOOK_S)
    if ending.asked:
        judging.cancel()
        await asyncio.gather(judging, return_exceptions=True)
    ending.check()
    judging.result()


def _announce(places: Places) -> None:
    """Say where the server listens, on one line (INTERFACE)."""
    print(f"ready diameter={_named(places.diameter)} http={_named(places.http)}", flush=True)  # noqa: T201 - the promise


def _named(place: tuple[str, int]) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _run_folder(data_dir: Path) -> Path:
    """Make a folder for what only this run needs (its counters); those of runs that were killed are removed.

    One of our own number is such a run's: a container gives every start the same.
    """
    runs = data_dir / "run"
    try:
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in runs.iterdir():
            if not old.name.isdecimal() or int(old.name) == os.getpid() or not lives(int(old.name)):
                shutil.rmtree(old, ignore_errors=True)
        folder = runs / str(os.getpid())
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise Ended(Exit.USAGE, f"the data folder {data_dir} cannot be used: {fault.strerror}") from fault
    return folder


def configuration(settings: Settings, inside: Inside, folder: Path) -> ServeConfig:
    """Turn settings into what the supervisor is told."""
    return ServeConfig(
        host=settings.diameter.host,
        port=settings.diameter.port,
        tls_port=settings.diameter.tls.port or None,
        http_host=settings.http.host,
        http_port=settings.http.port,
        workers=settings.server.workers,
        counters_folder=folder,
        handed=inside,
        drain_s=settings.server.drain_s,
    )


# -- the supervisor's job


async def _keep_past(past: Past, counted: Counters) -> None:
    """Keep what rewrites of the store's file would remove, where settings say so; what fails is tried again, and told when it changes."""
    told = ""
    while True:
        try:
            await asyncio.to_thread(past.look, time.time_ns() // 10**9)
            told = ""
        except (OSError, AofFault) as fault:
            if str(fault) != told:
                counted.cells[counted.index(JOB_FAULTS)] += 1
                why = told = str(fault)
                structlog.get_logger().error("the store's history cannot be kept", why=why)
        await asyncio.sleep(_LOOK_S if past.wanted else _SELDOM_S)


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
