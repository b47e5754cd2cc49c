"""`serve`: the bridge's API and its jobs in one process, on the charging server's store and on the database.

Laws
1. Everything that can be refused is refused before anything listens: settings, catalogue, TLS, the database that is not at head, the store.
2. Keys, tokens and scopes are the charging server's own (ocs/http); the audit log is the bridge's.
3. A store or a database that goes away later ends nothing: jobs wait, the API answers 503, and it goes on when they are back.
"""

import asyncio
import os
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import time

import structlog
import uvloop
from fastapi import FastAPI

from ocs import log
from ocs.balance.addresses import Address
from ocs.balance.link import StoreFault
from ocs.care.customers import http as care
from ocs.care.customers.shapes import Words
from ocs.http import oauth
from ocs.http.access import Access, Doorkeeper
from ocs.http.app import application
from ocs.http.audit_files import prune
from ocs.http.audit_log import AuditLog
from ocs.http.headers import LOOPBACK_HOSTS
from ocs.http.keys import ApiKeys
from ocs.http.tokens import Tokens
from ocs.notices.lease import Lease
from ocs.roof import alone, build
from ocs.roof.ends import Ended, Exit
from ocs.roof.inside import keepers_inside, tls_of, version
from ocs.roof.signals import AskedToEnd, Ending
from postpaid_bridge.http import payments
from postpaid_bridge.http.bills import routers as bill_routers
from postpaid_bridge.http.usage import router as usage_router
from postpaid_bridge.jobs.reconcile import Report
from postpaid_bridge.roof.charged import intake_of, outbox_of, reconciliation_of
from postpaid_bridge.roof.daily import daily
from postpaid_bridge.roof.dunned import daily_run, relief
from postpaid_bridge.roof.ground import Ground
from postpaid_bridge.roof.leased import leased
from postpaid_bridge.roof.offers import Sold, read_catalogue
from postpaid_bridge.roof.published import Publishing, postman_of, printer_of
from postpaid_bridge.roof.watch import Watch

__all__ = ["serve"]

_PRUNE_S = 3_600.0
_LOOK_S = 0.1
_LEASE_KEY = "ocs:bridge:intake:"


def serve(ground: Ground) -> int:
    """Run the bridge until SIGTERM; returns the exit code."""
    with Ending() as ending:
        try:
            return _served(ground, ending)
        except AskedToEnd:
            return Exit.DONE
        except StoreFault as fault:
            raise Ended(Exit.STORE_UNAVAILABLE, f"the store is not available: {fault}") from fault
        except alone.StartFault as fault:
            raise Ended(Exit(fault.exit_code), str(fault)) from fault


def _served(ground: Ground, ending: Ending) -> int:
    build.keep_private()
    settings = ground.settings
    log.configure(settings.log.level, settings.log.format)
    sold = read_catalogue(settings)
    try:
        tls = tls_of(settings.http.tls)
    except (OSError, ssl.SSLError) as fault:
        raise Ended(Exit.USAGE, f"the files of http.tls cannot be used: {fault}") from fault
    ground.engine  # noqa: B018 - refused here, where it is not at head
    try:
        doors = alone.listen(settings.http.host, settings.http.port)
    except OSError as fault:
        where = f"{settings.http.host}:{settings.http.port}"
        raise Ended(Exit.USAGE, f"cannot listen on {where}: {fault.strerror}; set http.port") from fault
    with build.located(ground.charging) as address:
        uvloop.run(_run(ground, sold, address, (doors, tls), ending))
    ground.engine.dispose()
    return Exit.DONE


async def _run(
    ground: Ground,
    sold: Sold,
    address: Address,
    http: tuple[list[socket.socket], ssl.SSLContext | None],
    ending: Ending,
) -> None:
    doors, tls = http
    keepers = await keepers_inside(ground.charging, address, "bridge")
    logger = structlog.get_logger().bind(process="bridge")
    watch = Watch(ground.engine, ground.clock, lambda: keepers.store.ready)
    app, audit = _application(ground, sold, keepers, watch, secured=tls is not None)

    async def close() -> None:
        await audit.close()
        await keepers.store.close()

    jobs = _jobs(ground, keepers, watch)
    parts = alone.KeeperParts(
        app=app,
        log=logger,
        jobs={name: alone.told_of(name, job, watch.failing) for name, job in jobs.items()},
        close=close,
        tls=tls,
        proxies=tuple(map(str, ground.settings.http.proxies)),
        nice=ground.settings.http.nice,
    )
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        loop.call_soon_threadsafe(stop.set)

    ending.then(end)
    await alone.serve_alone(parts, doors, stop, lambda: _announce(doors))


def _application(
    ground: Ground, sold: Sold, keepers: build.Keepers, watch: Watch, *, secured: bool
) -> tuple[FastAPI, AuditLog]:
    settings, http, logger = (
        ground.settings,
        ground.settings.http,
        structlog.get_logger().bind(process="bridge"),
    )
    keys = ApiKeys(keepers.store)
    tokens = Tokens(keepers.store, keys, http.token_s)
    audit = AuditLog(
        ground.audit_folder, lambda why: logger.error("the audit log cannot be written", why=why)
    )
    is_open = http.auth == "off"
    access = Access(
        None if is_open else keys,
        tokens=tokens,
        door=Doorkeeper(ground.clock, http.rate, http.burst),
        audit=audit,
    )
    words = Words(sold.cycle_words, sold.plans.plans, None, sold.plans.discount_plans)
    of_customers = care.Ground(ground.engine, access, ground.clock, lambda: ground.today, words)
    app = application(
        health=lambda: watch.health,
        read_metrics=watch.figures,
        version=version(),
        routers=[
            oauth.router(keys, tokens, access.door, audit),
            *(each(of_customers) for each in (*care.routers, *payments.routers)),
            *bill_routers(of_customers, printer_of(ground).again),
            usage_router(of_customers, settings.documents.help_lines),
        ],
        hosts=LOOPBACK_HOSTS | {http.host} if is_open else None,
        secured=secured,
        title="postpaid bridge",
        summary="From usage to bill, payment and dunning",
    )
    return app, audit


def _jobs(ground: Ground, keepers: build.Keepers, watch: Watch) -> dict[str, alone.Job]:
    settings = ground.settings
    jobs: dict[str, alone.Job] = {"watch": watch.run, "audit": _audit_job(ground)}
    tariffs = build.stored_tariffs(ground.charging, keepers, lambda _: None)
    jobs["tariffs"] = lambda: tariffs.keep_up(lambda: None)

    def intake() -> tuple[alone.Stoppable, Awaitable[object]]:
        watch.intake = made = intake_of(ground, keepers, tariffs)

        async def work() -> None:
            while not tariffs.complete:  # noqa: ASYNC110 - no event; an unknown service would be a guess
                await asyncio.sleep(_LOOK_S)
            await made.run()

        return made, work()

    def outbox() -> tuple[alone.Stoppable, Awaitable[object]]:
        watch.outbox = made = outbox_of(ground, keepers)
        return made, made.run()

    if settings.intake.enabled:
        lease = Lease(keepers.store, f"{_LEASE_KEY}{settings.intake.group}", _own_name())
        jobs["intake"] = leased(lease, alone.ending_well(intake))
    if settings.outbox.enabled:
        jobs["outbox"] = alone.ending_well(outbox)
    if settings.documents.enabled:
        jobs["documents"] = alone.ending_well(lambda: _publishing(ground))
    if settings.dunning.at:
        when = time.fromisoformat(settings.dunning.at)
        jobs["dunning"] = daily(when, settings.zone, ground.clock, daily_run(ground))
        jobs["relief"] = relief(ground)
    if settings.reconcile.at:
        at = time.fromisoformat(settings.reconcile.at)
        jobs["reconcile"] = daily(at, settings.zone, ground.clock, _reconciling(ground, keepers, watch))
    return jobs


def _publishing(ground: Ground) -> tuple[alone.Stoppable, Awaitable[object]]:
    printer = printer_of(ground)
    made = Publishing(printer, postman_of(ground, printer), ground.settings.documents.every_s)
    return made, made.run()


def _reconciling(ground: Ground, keepers: build.Keepers, watch: Watch) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        report = await reconciliation_of(ground, keepers).run()
        watch.report, watch.reconciled_ms = report, ground.clock.now_ms()
        _tell(report)

    return work


def _tell(report: Report) -> None:
    """Log what the comparison found: a difference is an error, by its account."""
    logger = structlog.get_logger().bind(process="bridge")
    for each in report.differences:
        logger.error(
            "a balance is not what the journal says",
            book=each.book,
            difference_micros=each.difference_micros,
            reason=each.reason.value,
            detail=each.detail,
        )
    logger.info("balances compared", accounts=report.books, differing=report.differing)


def _audit_job(ground: Ground) -> alone.Job:
    async def job() -> None:
        while True:
            days = ground.settings.http.audit_days
            await asyncio.to_thread(prune, ground.audit_folder, days, ground.clock.now_ms())
            await asyncio.sleep(_PRUNE_S)

    return job


def _own_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"


def _announce(doors: list[socket.socket]) -> None:
    """Say where the bridge listens, on one line (INTERFACE)."""
    host, port = doors[0].getsockname()[:2]
    print(f"ready http={f'[{host}]' if ':' in host else host}:{port}", flush=True)  # noqa: T201 - the promise
