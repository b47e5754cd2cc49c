"""The chunks of a bill run through Celery, where one machine is outgrown: the same units of work, in other processes.

Laws
1. Truth is in SQL. A message says which rows, no more; it may come twice, late, or never, and what is lost is dispatched again by the
   coordinator when the lease is over. The broker's own redelivery is not relied on (with acks_late it took 92 s).
2. A worker renews the lease before it begins: a chunk that was given to another is not begun.
3. A worker is one process (solo), with its own database connection; more processes are more workers.
"""

from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from sqlalchemy import Engine

from ocs.clock import Clock
from ocs.sql import writing
from postpaid_bridge.jobs.run import AWAY
from postpaid_bridge.sql import runs
from postpaid_bridge.sql.drafting import Terms
from postpaid_bridge.sql.execution import Pauses, execute_chunk

__all__ = ["Dispatch", "app_of", "chunk_of", "work"]

TASK = "postpaid_bridge.bill_chunk"
QUEUE = "postpaid-bridge-runs"

log = structlog.get_logger(__name__)

Chunk = Callable[[int, list[int], str], None]


def app_of(broker: str) -> Celery:
    """Build the application of a broker (a Redis URL of its own): no results, no acknowledgements late, one message ahead."""
    app = Celery("postpaid_bridge", broker=broker, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        enable_utc=True,
    )
    return app


class Dispatch:
    """Sends chunks to the workers of a broker; what cannot be sent is sent again when its lease is over."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, run: int, ids: list[int], owner: str) -> None:
        """Ask for a chunk to be done."""
        from kombu.exceptions import OperationalError as BrokerAway  # noqa: PLC0415 - with Celery only

        try:
            self._app.send_task(TASK, args=[run, ids, owner], retry=False, expires=None)
        except BrokerAway as fault:
            log.warning("the broker is away", fault=str(fault)[:200])


def chunk_of(engine: Engine, terms: Terms, clock: Clock, pauses: Pauses) -> Chunk:
    """Return what a worker does with a chunk."""

    def chunk(run: int, ids: list[int], owner: str) -> None:
        try:
            with writing(engine) as work:
                mine = runs.renew(work, ids, owner, clock.now_ms())
            if mine:
                done = execute_chunk(engine, run, mine, terms, pauses, clock.now_ms())
                log.info("a chunk is done", run=run, **done._asdict())
        except AWAY as fault:  # the coordinator dispatches it again
            log.warning("the database is away", fault=str(fault.orig)[:200])

    return chunk


def work(app: Celery, chunk: Chunk, name: str) -> None:
    """Work until SIGTERM, which ends it behind the chunk that it is doing."""

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def bill_chunk(run: int, ids: list[int], owner: str) -> None:
        chunk(run, ids, owner)

    arguments: list[Any] = [
        "worker", "--pool=solo", "--concurrency=1", f"--hostname={name}@%h", "--loglevel=WARNING", "--without-gossip", "--without-mingle",
        "--without-heartbeat",
    ]  # fmt: skip
    app.worker_main(arguments)
