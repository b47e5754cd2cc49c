"""What is known of the bridge from a look every second: for /health/ready and /metrics, which ask nobody themselves.

Law: a look that fails is the answer: the database is away. The last figures stay, with their age.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ocs.clock import Clock
from ocs.http.app import Health
from ocs.sql import reading
from postpaid_bridge.jobs.intake import Intake
from postpaid_bridge.jobs.outbox import Outbox
from postpaid_bridge.jobs.reconcile import Report
from postpaid_bridge.sql.outbox import Standing, standing_of
from postpaid_bridge.sql.usage import held_late, open_alarms, parked_by_reason

__all__ = ["Figure", "Sample", "Watch"]

LOOK_S: Final = 1.0
_SELDOM: Final = 15
"""Looks between two counts of what grows with the tables."""


class Sample(NamedTuple):
    """One row of a figure (ocs/http/metrics.py)."""

    labels: tuple[str, ...]
    value: int
    buckets: tuple[int, ...] = ()


class Figure(NamedTuple):
    """One metric (ocs/http/metrics.py)."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    samples: Sequence[Sample]
    bounds: tuple[int, ...] = ()


class Watch:
    """Looks, remembers, and tells; one for each process."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        store_ready: Callable[[], bool],
        more: Callable[[Any], Iterable[Figure]] = lambda _: (),
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._store_ready = store_ready
        self._more = more
        self._database = False
        self._standing = Standing(0, 0, 0, 0)
        self._counted: list[Figure] = []
        self.intake: Intake | None = None
        self.outbox: Outbox | None = None
        self.report: Report | None = None
        self.reconciled_ms = 0
        self.failing: dict[str, str] = {}

    async def run(self) -> None:
        """Look every second."""
        number = 0
        while True:
            try:
                await asyncio.to_thread(self._look, number % _SELDOM == 0)
                self._database = True
            except DBAPIError:
                self._database = False
                number = -1
            number += 1
            await asyncio.sleep(LOOK_S)

    def _look(self, thoroughly: bool) -> None:  # noqa: FBT001 - ours alone
        with reading(self._engine) as look:
            self._standing = standing_of(look)
            if thoroughly:
                late, late_micros = held_late(look)
                self._counted = [
                    _of(
                        "bridge_usage_parked", "Records and lines that are parked.", ("source", "why"), parked_by_reason(look)
                    ),
                    _of("bridge_intake_alarms", "Alarms of intake that nobody has seen.", ("kind",), open_alarms(look)),
                    _one("bridge_usage_late", "Lines held as too late.", late),
                    _one("bridge_usage_late_micros", "Their amount in micro-units.", late_micros),
                    *self._more(look),
                ]  # fmt: skip

    @property
    def health(self) -> Health:
        """Tell whether the bridge can work: database and store answer. Jobs that fail are facts beside it."""
        checks = {"database": self._database, "store": self._store_ready()}
        facts: dict[str, Any] = {
            "outbox_waiting": self._standing.waiting,
            "intake": self.intake.totals.fault or "well" if self.intake else "off",
            "failing": dict(self.failing),
        }
        return Health(all(checks.values()), checks, facts)

    def figures(self) -> list[Figure]:
        """Return all metrics as of the last look."""
        standing, now_ms = self._standing, self._clock.now_ms()
        oldest_s = (now_ms - standing.oldest_ms) // 1000 if standing.oldest_ms else 0
        found = [
            _one("bridge_database_up", "Whether the database answered the last look.", int(self._database)),
            _one("bridge_outbox_waiting", "Rows that wait for the charging server.", standing.waiting),
            _one("bridge_outbox_oldest_seconds", "Age of the oldest row that waits.", max(0, oldest_s)),
            _one("bridge_outbox_failing", "Rows that have failed and are tried again.", standing.failing),
            _one("bridge_outbox_refused", "Rows that the charging server has refused.", standing.refused),
            _of("bridge_job_failing", "Jobs whose last run failed.", ("job",), dict.fromkeys(self.failing, 1)),
            *self._counted,
        ]  # fmt: skip
        if self.intake is not None:
            totals = self.intake.totals
            found += [
                _one("bridge_intake_lag_milliseconds", "Age of the newest record when it was taken in; 0: caught up.", totals.lag_ms),
                _one("bridge_intake_records_total", "Records looked at since the start.", totals.done.records, "counter"),
                _one("bridge_intake_lines_total", "Usage lines made since the start.", totals.done.lines, "counter"),
            ]  # fmt: skip
        if self.outbox is not None:
            posted = self.outbox.totals
            found.append(
                _one("bridge_outbox_done_total", "Rows done since the start.", posted.done, "counter")
            )
        if self.report is not None:
            age_s = max(0, now_ms - self.reconciled_ms) // 1000
            found += [
                _one("bridge_reconcile_differing", "Accounts whose balance is not what the journal says.", self.report.differing),
                _one("bridge_reconcile_accounts", "Accounts compared.", self.report.books),
                _one("bridge_reconcile_age_seconds", "Time since they were compared.", age_s),
            ]  # fmt: skip
        return found


def _one(name: str, text: str, value: int, kind: str = "gauge") -> Figure:
    return Figure(name, kind, text, (), (Sample((), value),))


def _of(name: str, text: str, labels: tuple[str, ...], found: Mapping[Any, int]) -> Figure:
    samples = [
        Sample(tuple(key) if isinstance(key, tuple) else (str(key),), value)
        for key, value in sorted(found.items())
    ]
    return Figure(name, "gauge", text, labels, samples)
