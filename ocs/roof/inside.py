"""Inside the processes of `ocs serve`: from what a process is handed to what a worker, the keeper or the door works with.

Laws
1. Settings come as they were written, and are judged here: a process may be of another release than the one that hands them over.
2. A process that is started again while the store is away serves all the same: it answers 3004 until the store is back.
"""

import asyncio
import importlib.metadata
import signal
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from ocs import log
from ocs.balance.addresses import Address
from ocs.balance.book import Stopwatch
from ocs.balance.libraries import Libraries
from ocs.balance.link import StoreFault
from ocs.balance.spool import Spool
from ocs.balance.spool_owner import SpoolOwner
from ocs.balance.store import Store
from ocs.balance.subscription import listen
from ocs.balance.tariffs import Shelf, StoredTariffs, Told
from ocs.charging.information import is_emergency
from ocs.clock import SystemClock
from ocs.diameter.base import Local
from ocs.limits import LIBRARY_TELL_S, STORE_PATIENCE_MS
from ocs.roof.accounting import desk_of, unbilled_of
from ocs.roof.build import (
    Keepers,
    address_of,
    answers_of,
    book_on,
    check_layout,
    keepers_on,
    opened,
    read_products,
    read_tariffs,
    store_at,
    store_facts,
    stored_tariffs,
)
from ocs.roof.ends import Ended, Exit
from ocs.roof.event_texts import TextFault, read_messages
from ocs.roof.offers import catalogue_of, equip, holdings_on
from ocs.roof.say import instant
from ocs.roof.sections import HttpTls
from ocs.roof.tariff_files import written_tariffs
from ocs.server import counters as counted
from ocs.server.allow import AllowRow
from ocs.server.channel import Start, StartFault
from ocs.server.counters import Counters
from ocs.server.desk import Bounds
from ocs.server.families import JOB_PASSED
from ocs.server.keeper import KeeperParts
from ocs.server.profiles import ClientProfile
from ocs.server.roll import KEEPER
from ocs.server.secure import TlsFiles, context
from ocs.server.worker import WorkerConfig, WorkerParts
from ocs.sessions.restarts import ClientStates
from ocs.settings import Layers, Settings, SettingsFault

FIRMWARE_REVISION = 1
"""Told to peers in the CEA (RFC 6733 section 5.3.4); rises with every release."""

FROZEN = (
    "diameter.host", "diameter.port", "diameter.tls.port", "diameter.origin_host", "diameter.origin_realm", "http.host", "http.port",
    "store.url", "store.durability", "store.partitions", "store.replicas", "server.data_dir", "server.workers", "server.drain_s",
    "backup.history_h", "backup.history_gb",
)  # fmt: skip
"""Settings that the supervisor works by, or that all processes have to share: a rolling restart does not change them."""


class Inside(NamedTuple):
    """What the roof hands to itself inside each process; plain and picklable, and grows only at its end, with defaults.

    ``store`` is where the embedded store is, None for another; ``frozen`` what FROZEN says of the settings that the server began with.
    """

    layers: Layers
    store: Address | None
    origin_state_id: int
    frozen: dict[str, str]

    def settings(self) -> Settings:
        """Judge the settings; raises StartFault with everything that is wrong."""
        try:
            return self.layers.settings()
        except SettingsFault as fault:
            raise StartFault(f"the settings cannot be used:\n{fault}", int(Exit.USAGE)) from fault

    def address(self, settings: Settings) -> Address:
        """Return where the store is."""
        return self.store or address_of(settings)


def frozen(settings: Settings) -> dict[str, str]:
    """Return the settings that stay as they are while a server runs; not for printing, an address may hold a password."""
    found = {}
    for key in FROZEN:
        value: Any = settings
        for name in key.split("."):
            value = getattr(value, name)
        found[key] = str(value)
    return found


def places(settings: Settings) -> tuple[str, ...]:
    """Return the names that workers may have: one more than there are workers (supervisor.py, law 6)."""
    return tuple(f"worker-{number}" for number in range(settings.server.workers + 1))


KEEPERS = (KEEPER, f"{KEEPER}-1")
"""The names that the keeper may have, as above."""


def read_files(settings: Settings) -> None:
    """Read what is priced and sold; Ended (usage) names every fault of every file."""
    _refuse_bad_tls(settings)
    tariffs = read_tariffs(settings.tariffs_folder, settings.zones_folder)
    read_products(settings.products_folder, settings.zones_folder, tariffs)
    try:
        read_messages(settings)
    except (TextFault, OSError) as fault:
        raise Ended(Exit.USAGE, f"the messages cannot be used:\n{fault}") from fault


def _refuse_bad_tls(settings: Settings) -> None:
    """End the start where HTTP's certificate, key or authorities cannot be used."""
    try:
        http_tls(settings)
    except (OSError, ssl.SSLError) as fault:
        raise Ended(
            Exit.USAGE, f"the files of http.tls cannot be used: {fault}; set PEM files that belong together"
        ) from fault


def http_tls(settings: Settings) -> ssl.SSLContext | None:
    """Build HTTP's side of TLS, None where it has none; raises OSError or ssl.SSLError when a file cannot be used."""
    return tls_of(settings.http.tls)


def tls_of(tls: HttpTls) -> ssl.SSLContext | None:
    """Build a side of TLS from its files, as ``http_tls``."""
    if tls.certificate is None or tls.key is None:
        return None
    least = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls.minimum]
    made = context(TlsFiles(tls.certificate, tls.key, tls.ca, tls.require_client_certificate, least))
    made.set_alpn_protocols(["http/1.1"])
    return made


async def refuse_two_of_a_key(settings: Settings, shelf: Shelf) -> None:
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


async def refuse_changed(settings: Settings, shelf: Shelf) -> None:
    """End the start when a version of the folder is not what it was when it was served: its sessions would change their price."""
    folder = written_tariffs(settings.tariffs_folder, settings.zones_folder)
    if changed := await shelf.note({key: each.said for key, each in folder.items()}):
        raise Ended(
            Exit.USAGE,
            f"the tariffs cannot be used: {', '.join(sorted(changed))} of {settings.tariffs_folder} has other content than it was "
            "served with from this store, and sessions and records name it; a tariff never changes: put it back as it was, and what "
            "is new beside it under a higher version",
        )


async def judge_store(settings: Settings, address: Address) -> None:
    """Open the store once, and refuse what would be refused: its layout, tariffs that have changed. Raises Ended, StoreFault."""
    async with opened(settings, address, serving=True) as keepers:
        await refuse_two_of_a_key(settings, Shelf(keepers.store))
        await refuse_changed(settings, Shelf(keepers.store))


def worker_config(start: Start, settings: Settings) -> WorkerConfig:
    """Build how a worker serves."""
    diameter = settings.diameter
    local = Local(
        diameter.origin_host,
        diameter.origin_realm,
        (),
        diameter.vendor_id,
        diameter.product_name,
        start.handed.origin_state_id,
        FIRMWARE_REVISION,
        diameter.watchdog_s * 1000,
        settings.accounting.enabled,
    )
    allow = tuple(
        AllowRow(each.origin_host, each.origin_realm, each.address, each.tls_required, each.profile)
        for each in diameter.peers
    )
    return WorkerConfig(
        name=start.name,
        local=local,
        allow=allow,
        tls=_tls_files(settings),
        inflight_per_peer_max=diameter.inflight_per_peer_max,
        bounds=Bounds(message_octets_max=diameter.message_octets_max),
        drain_s=settings.server.drain_s,
        number=start.number,
        reauthorise_per_s=diameter.reauthorise_per_s,
        profiles=profiles_of(settings),
    )


def profiles_of(settings: Settings) -> tuple[ClientProfile, ...]:
    """Build the profiles of clients."""
    return tuple(
        ClientProfile(
            name,
            each.origin_hosts,
            each.reauthorise,
            each.abort,
            each.vendor_avps,
            each.farewell == "disconnect",
            each.restart == "ends_sessions",
        )
        for name, each in settings.diameter.profiles.items()
    )


def _tls_files(settings: Settings) -> TlsFiles | None:
    tls = settings.diameter.tls
    if not tls.port or tls.certificate is None or tls.key is None:
        return None
    return TlsFiles(tls.certificate, tls.key, tls.ca, tls.require_client_certificate)


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


async def keepers_inside(settings: Settings, address: Address, title: str) -> Keepers:
    """Build what works on a store for a process that serves (law 2). Raises StartFault where the store refuses us."""
    clock = SystemClock()
    store = store_at(settings, address, clock, title, serving=True)
    await _link_up(store, settings.store.partitions)
    return keepers_on(settings, store, clock)


async def _look_at_tariffs(settings: Settings, keepers: Keepers, tariffs: StoredTariffs, logger: Any) -> None:
    """Read the store's tariffs where it answers; a file that was edited under a served version ends the start."""
    if not keepers.store.ready:
        return
    try:
        await refuse_changed(settings, Shelf(keepers.store))
        await tariffs.look()
    except Ended:
        raise
    except Exception as fault:  # noqa: BLE001 - nothing begins on a tariff before it was read (ocs/balance/tariffs.py, law 4)
        logger.warning("the store's tariffs cannot be read yet", why=repr(fault))


async def build_worker(start: Start, counters: Counters) -> tuple[WorkerConfig, WorkerParts]:
    """Build what a worker works with, inside its process and its event loop."""
    inside: Inside = start.handed
    settings = inside.settings()
    config, address = worker_config(start, settings), inside.address(settings)
    log.configure(settings.log.level, settings.log.format)
    keepers = await keepers_inside(settings, address, config.name)
    round_trips = counters.histogram("ocs_store_round_trip_seconds")
    logger = structlog.get_logger().bind(process=config.name)
    tariffs = stored_tariffs(settings, keepers, lambda told: _tell_tariff(logger, told))
    await _look_at_tariffs(settings, keepers, tariffs, logger)
    learning = asyncio.create_task(tariffs.keep_up(lambda: _count_tariffs(counters, tariffs)))
    telling = asyncio.create_task(_tell_library(Libraries(keepers.store, keepers.clock)))

    book = book_on(
        settings, keepers, tariffs, Stopwatch(lambda: time.monotonic_ns() // 1_000, round_trips.observe)
    )
    equip(book, holdings_on(keepers, tariffs, catalogue_of(settings)))
    book.crossed = keepers.reauthorisation.crossed
    owner = SpoolOwner(settings.server.data_dir / "spool", config.name)
    spool = Spool(
        book,
        settings.server.data_dir / "spool",
        owner.name,
        keepers.clock,
        lambda why: logger.error("the spool of terminations", why=why),
    )
    unbilled = unbilled_of(
        settings, book, config.name, keepers.clock, lambda why: logger.error("accounting records", why=why)
    )
    states = ClientStates(keepers.parts, keepers.clock)
    owner.tidy()
    spooling = asyncio.create_task(spool.keep_up(owner.takes))
    stating = asyncio.create_task(states.keep_up())

    async def close() -> None:
        tasks = (learning, telling, spooling, stating)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await keepers.store.close()
        owner.close()

    parts = WorkerParts(
        book=spool,
        answers=answers_of(settings),
        log=logger,
        close=close,
        events=lambda: book.events,
        store_events=lambda: book.counts | spool.counts | {"news_untold": keepers.reauthorisation.faults},
        spooled=lambda: spool.entries,
        store_retried=lambda: keepers.store.retried,
        listen=lambda channel, receive: listen(
            keepers.store, address, channel, receive, f"{config.name}-orders"
        ),
        is_emergency=_emergencies(settings),
        hear_load=lambda load: setattr(book, "load", load),
        plain_answers=answers_of(settings, vendor=False),
        say_state=states.say,
        accounting=desk_of(settings, config.local.origin_state_id, unbilled),
        set_aside=lambda: unbilled.counts,
        gaps=lambda: (book.accounted.gaps_opened, book.accounted.gaps_closed),
    )
    return config, parts


def _emergencies(settings: Settings) -> Callable[[Mapping[str, Any]], bool]:
    """Build what tells an emergency call, by the numbering plans of the folder's tariffs."""
    tariffs = read_tariffs(settings.tariffs_folder, settings.zones_folder)
    found = {each.numbering.name: each.numbering for each in tariffs.values() if each.numbering is not None}
    plans = list(found.values())
    return lambda information: is_emergency(information, plans)


async def _tell_library(libraries: Libraries) -> None:
    """Say again and again that this release's function library is used."""
    while True:
        with suppress(StoreFault):
            await libraries.tell()
        await asyncio.sleep(LIBRARY_TELL_S)


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


async def build_keeper(start: Start, counters: Counters) -> KeeperParts:
    """Build the background jobs, inside the keeper's process and its event loop; HTTP is the door's."""
    from ocs.roof.events import events_job  # noqa: PLC0415 - the keeper alone has jobs
    from ocs.roof.jobs import audit_job, jobs_of, library_job, restart_job, switch_job  # noqa: PLC0415
    from ocs.roof.prepay import forms_of  # noqa: PLC0415
    from ocs.roof.topup_orders import topup_job  # noqa: PLC0415
    from ocs.roof.voucher_jobs import voucher_job  # noqa: PLC0415

    inside: Inside = start.handed
    settings = inside.settings()
    log.configure(settings.log.level, settings.log.format)
    keepers = await keepers_inside(settings, inside.address(settings), start.name)
    logger = structlog.get_logger().bind(process=start.name)
    tariffs = stored_tariffs(settings, keepers, lambda told: _tell_tariff(logger, told))
    holdings = holdings_on(keepers, tariffs, catalogue_of(settings))
    jobs = jobs_of(keepers, counters, holdings)
    jobs |= {
        "tariffs": lambda: tariffs.keep_up(lambda: _count_tariffs(counters, tariffs)),
        "switch": switch_job(keepers, tariffs),
        "libraries": library_job(keepers),
        "vouchers": voucher_job(keepers, counters),
    }
    if settings.events.enabled:
        jobs["events"] = events_job(keepers, counters, holdings, tariffs, forms_of(keepers, holdings))
    if settings.http.audit_days:
        jobs["audit"] = audit_job(keepers)
    if settings.topup_orders.channels:
        jobs["topups"] = topup_job(keepers, counters, holdings)
    named = {each.profile for each in settings.diameter.peers}
    used = [each for name, each in settings.diameter.profiles.items() if name in named or each.origin_hosts]
    if any(each.restart == "ends_sessions" for each in used):
        jobs["restarts"] = restart_job(keepers, counters)
    return KeeperParts(app=None, log=logger, jobs=jobs, close=keepers.store.close)


async def build_door(start: Start, counters: Counters) -> KeeperParts:
    """Build HTTP, inside the door's process and its event loop. What all processes do for themselves is all that it does besides."""
    from ocs.http.app import Health, application  # noqa: PLC0415 - workers load no HTTP
    from ocs.roof.api import ground_of, routers_of  # noqa: PLC0415
    from ocs.roof.jobs import count_job, epoch_job  # noqa: PLC0415
    from ocs.server import health  # noqa: PLC0415

    inside: Inside = start.handed
    settings = inside.settings()
    log.configure(settings.log.level, settings.log.format)
    keepers = await keepers_inside(settings, inside.address(settings), start.name)
    workers, folder, logger = places(settings), start.folder, structlog.get_logger().bind(process=start.name)
    assert folder is not None

    def look() -> Health:
        now_ms = keepers.clock.now_ms()
        judged = health.checks(folder, workers, now_ms, settings.server.workers)
        kept, passed = health.keeper(folder, KEEPERS, now_ms)
        is_ready = health.is_ready(judged, workers)  # without a keeper for a while all is charged as ever
        return Health(is_ready, judged | {KEEPER: kept}, store_facts(keepers) | {JOB_PASSED: passed})

    ground, tls = ground_of(keepers, logger), http_tls(settings)
    tariffs = stored_tariffs(settings, keepers, lambda told: _tell_tariff(logger, told))
    holdings = holdings_on(keepers, tariffs, catalogue_of(settings))
    app = application(
        health=look,
        read_metrics=lambda: counted.metrics(counted.read(folder)),
        version=version(),
        routers=routers_of(keepers, holdings, tariffs, logger, ground),
        hosts=ground.hosts,
        secured=tls is not None,
    )
    jobs = {
        "tariffs": lambda: tariffs.keep_up(lambda: _count_tariffs(counters, tariffs)),
        "libraries": lambda: _tell_library(Libraries(keepers.store, keepers.clock)),
        "epochs": epoch_job(keepers, counters),
        "counts": count_job(keepers, counters, holdings),
    }

    async def close() -> None:
        await ground.audit.close()
        await keepers.store.close()

    proxies = tuple(map(str, settings.http.proxies))
    return KeeperParts(
        app=app, log=logger, jobs=jobs, close=close, tls=tls, proxies=proxies, nice=settings.http.nice
    )


def version() -> str:
    """Return the installed version of this package, or "checkout" where it runs uninstalled."""
    try:
        return importlib.metadata.version("ocs")
    except importlib.metadata.PackageNotFoundError:
        return "checkout"
