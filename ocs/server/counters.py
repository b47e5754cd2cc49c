"""Counters that cost an integer's addition: one file of 64-bit cells per process, read by another.

Laws
1. A cell is found once, at start; the hot path adds to an index (an observe of the client library costs 3.3 µs).
2. Cells live in a mapped file: what was counted survives the death of its process, and another process reads it at any
   moment. A cell is written in one store of eight octets, so it is never read half.
3. The file says itself what its cells mean: a reader needs no more than the folder.
4. A process that starts again goes on counting where its predecessor stopped; its gauges begin at zero.
"""

import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from ocs.diameter.faults import ResultCode

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SUM, GREATEST, EACH = "sum", "greatest", "each"
"""How the cells of several processes become one figure: added, the greatest, or each with its process's name."""

_MAGIC: Final = b"OCSCELL1"
_HEAD = Struct("<8sQ")
_CELL_OCTETS: Final = 8
SUFFIX: Final = ".cells"


class Family(NamedTuple):
    """One metric: its rows are all combinations of label values that it may have; bounds are microseconds."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ((),)
    bounds: tuple[int, ...] = ()
    fold: str = SUM

    @property
    def cells_per_row(self) -> int:
        """Cells of one row: one, or a bucket per bound and one beyond them, and the sum."""
        return len(self.bounds) + 2 if self.kind == HISTOGRAM else 1


TYPES: Final = ("initial", "update", "termination", "event", "none")
"""Names of CC-Request-Type 1 to 4, and of what has none."""
RECORD_TYPES: Final = ("event", "start", "interim", "stop", "none")
"""Names of Accounting-Record-Type 1 to 4, and of what has none."""
SET_ASIDE: Final = ("unknown_subscriber", "nobody_named", "too_old", "unknown_service", "not_kept")
"""Why accounting records were set aside (unbilled.py), and those that could not be."""
ACTIONS: Final = ("debit", "refund", "check", "price")
"""Names of Requested-Action 0 to 3."""
CODES: Final = tuple(str(int(code)) for code in ResultCode)
REFUSALS: Final = ("address", "origin_host", "origin_realm", "tls", "certificate", "capabilities")
CLOSINGS: Final = (
    "peer", "disconnect", "frame", "tls_on_plain", "before_exchange", "exchange_time", "watchdog", "unread",
    "refused", "full", "crowded", "drain", "fault", "other",
)  # fmt: skip
TURNED_AWAY: Final = ("full", "drain", "address", "no_tls", "tls_handshake", "gone")
"""Why a connection was never taken over; those are not among the connections counted, nor among those ended."""
NOTES: Final = ("replay", "overrun", "quarantine", "late", "standing", "renewed", "gap", "conflict", "seen")
REASONS: Final = (
    "threshold", "qht", "final", "quota_exhausted", "validity_time", "other_quota_type", "rating_condition_change",
    "forced_reauthorisation", "pool_exhausted", "unused_quota_timer", "unknown",
)  # fmt: skip
"""Reporting-Reason 0 to 9 (TS 32.299 clause 7.2.175), and what is none of them."""
PEER_STATES: Final = ("exchange", "open", "suspect", "closing")
STORE_EVENTS: Final = (
    "skew",
    "stale",
    "epoch",
    "replayed_unknown",
    "tariff_unknown",
    "store_faults",
    "script_faults",
    "own_faults",
    "spooled",
    "spool_charged",
    "spool_refused",
    "spool_unread",
    "spool_faults",
)
"""What the Book and its spool count of requests that did not go straight through."""

_REQUEST_BOUNDS: Final = (
    250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000, 30_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
)  # fmt: skip
_STORE_BOUNDS: Final = (
    100, 250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000
)  # fmt: skip


SERVER_REQUESTS: Final = ("RAR", "ASR")
SERVER_REQUEST_EVENTS: Final = (
    "sent", "success", "unknown_session", "undelivered", "refused", "unreadable", "silent", "lost", "unreachable", "shed",
)  # fmt: skip
"""What becomes of a request of ours: sent; then one of the answers, none in time, or its connection lost; or not sent, since no
connection leads there or too many wait."""

JOB_FAULTS: Final = "ocs_job_faults_total"
JOB_PASSED: Final = "ocs_job_passed_ms"
JOBS: Final = ("archive", "sweep", "epochs", "agenda")


def _ones(values: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((value,) for value in values)


FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        "ocs_requests_total",
        COUNTER,
        "Requests answered, by command, CC-Request-Type and Result-Code of the answer.",
        ("command", "type", "result_code"),
        tuple(("CCR", kind, code) for kind in TYPES for code in CODES)
        + tuple(("CER", "none", code) for code in CODES)
        + tuple(("other", "none", code) for code in CODES),
    ),
    Family(
        "ocs_events_total",
        COUNTER,
        "One-time events that the book has answered, by Requested-Action and Result-Code; ocs_requests_total has them too.",
        ("action", "result_code"),
        tuple((action, code) for action in ACTIONS for code in CODES),
    ),
    Family(
        "ocs_accounting_records_total",
        COUNTER,
        "Accounting records answered, by Accounting-Record-Type and Result-Code.",
        ("type", "result_code"),
        tuple((kind, code) for kind in RECORD_TYPES for code in CODES),
    ),
    Family(
        "ocs_accounting_gaps_total",
        COUNTER,
        "Numbers of accounting records that were found missing (opened), and that came after all (closed).",
        ("event",),
        _ones(("opened", "closed")),
    ),
    Family(
        "ocs_accounting_set_aside_total",
        COUNTER,
        "Accounting records that nobody can be billed for, kept on disk for a human, by why; not_kept: refused with 4002 instead.",
        ("why",),
        _ones(SET_ASIDE),
    ),
    Family(
        "ocs_request_seconds",
        HISTOGRAM,
        "Time from reading a charging request to writing its answer.",
        ("type",),
        _ones(TYPES[:4]),
        _REQUEST_BOUNDS,
    ),
    Family("ocs_requests_in_flight", GAUGE, "Charging requests under way."),
    Family(
        "ocs_requests_shed_total",
        COUNTER,
        "Requests refused with 3004 by admission, by the bound that was reached.",
        ("bound",),
        _ones(("peer", "worker", "drain")),
    ),
    Family("ocs_peers", GAUGE, "Connections, by state.", ("state",), _ones(PEER_STATES)),
    Family("ocs_connections_total", COUNTER, "Connections taken over by workers."),
    Family(
        "ocs_connections_closed_total", COUNTER, "Connections ended, by reason.", ("reason",), _ones(CLOSINGS)
    ),
    Family(
        "ocs_connections_turned_away_total",
        COUNTER,
        "Connections closed before they were taken over, by reason.",
        ("reason",),
        _ones(TURNED_AWAY),
    ),
    Family("ocs_peers_refused_total", COUNTER, "Peers refused, by reason.", ("reason",), _ones(REFUSALS)),
    Family("ocs_answers_dropped_total", COUNTER, "Answers whose connection had gone."),
    Family("ocs_answers_stray_total", COUNTER, "Answers received that belong to no request of ours."),
    Family(
        "ocs_server_requests_total",
        COUNTER,
        "Requests of ours (RAR, ASR), by what became of them: sent, answered (success, unknown_session, undelivered …), silent …",
        ("command", "event"),
        tuple((command, event) for command in SERVER_REQUESTS for event in SERVER_REQUEST_EVENTS),
    ),
    Family("ocs_server_requests_waiting", GAUGE, "Requests of ours that wait for their turn."),
    Family("ocs_order_messages_unread_total", COUNTER, "Messages to a worker that were no orders."),
    Family("ocs_internal_faults_total", COUNTER, "Requests that met a fault of our own (answered 5012)."),
    Family(
        "ocs_ignored_avps_total",
        COUNTER,
        "Unknown AVPs with M-bit inside service information, passed over on purpose.",
    ),
    Family(
        "ocs_charging_notes_total",
        COUNTER,
        "Requests that were a replay, used more than was granted (overrun), were set aside (quarantine) …",
        ("note",),
        _ones(NOTES),
    ),
    Family(
        "ocs_reporting_reasons_total",
        COUNTER,
        "Reports of services, by Reporting-Reason, where they give one.",
        ("reason",),
        _ones(REASONS),
    ),
    Family(
        "ocs_store_round_trip_seconds", HISTOGRAM, "Round trip of a charging call.", (), ((),), _STORE_BOUNDS
    ),
    Family(
        "ocs_store_events_total",
        COUNTER,
        "Charging calls that did not go straight through, by what happened.",
        ("event",),
        _ones(STORE_EVENTS),
    ),
    Family(
        "ocs_store_retried_total",
        COUNTER,
        "Calls that the store refused unexecuted and that were made again.",
    ),
    Family("ocs_spool_entries", GAUGE, "Terminations on disk that wait for the store.", fold=EACH),
    Family("ocs_store_epoch", GAUGE, "Greatest epoch of the store that is known.", fold=GREATEST),
    Family("ocs_process_ready", GAUGE, "1: serves; 2: drains; 0: neither.", fold=EACH),
    Family(
        "ocs_process_store_ready", GAUGE, "1 when the process reaches every part of the store.", fold=EACH
    ),
    Family(
        "ocs_process_heartbeat_ms", GAUGE, "Unix time in milliseconds of the process's last tick.", fold=EACH
    ),
    Family("ocs_tariff_versions", GAUGE, "Versions of tariffs that the process knows.", fold=EACH),
    Family(
        "ocs_tariff_revision",
        GAUGE,
        "Versions of the store's tariffs that the process has read: a new one is everywhere when all workers say the same.",
        fold=EACH,
    ),
    Family("ocs_process_starts_total", COUNTER, "Starts of the process.", fold=EACH),
    Family("ocs_process_cpu_micros", GAUGE, "CPU time used since the process's start.", fold=EACH),
    Family("ocs_process_resident_octets", GAUGE, "Resident memory of the process.", fold=EACH),
    Family("ocs_archive_records_total", COUNTER, "Records that the archive has taken from the streams."),
    Family("ocs_archive_octets_total", COUNTER, "Compressed octets written by the archive."),
    Family(
        "ocs_archive_holes_total", COUNTER, "Holes in the streams' ids that the archive has met: an alarm."
    ),
    Family("ocs_archive_groups_cut_total", COUNTER, "Times a lagging consumer group's records were cut."),
    Family(
        "ocs_archive_partitions_behind", GAUGE, "Partitions whose stream lies behind its archive: an alarm."
    ),
    Family("ocs_archive_waiting_records", GAUGE, "Records on the streams that wait for the archive."),
    Family("ocs_sessions_expired_total", COUNTER, "Sessions ended by supervision."),
    Family("ocs_topups_finished_total", COUNTER, "Top-ups of callers that died, finished by the sweep."),
    Family(
        "ocs_bonuses_not_given_total",
        COUNTER,
        "Bonuses of top-ups that the sweep finished, for which an account had no room: an alarm.",
    ),
    Family(
        "ocs_sweep_faults_total",
        COUNTER,
        "Partitions that did not answer a sweep, sessions and claims that it could not read or end, at every try.",
    ),
    Family(JOB_FAULTS, COUNTER, "Faults of background jobs, which were started again or went on."),
    Family(
        JOB_PASSED,
        GAUGE,
        "Unix time in milliseconds of a background job's last pass that left nothing out; 0: none yet.",
        ("job",),
        _ones(JOBS),
        fold=GREATEST,
    ),
    Family(
        "ocs_reauthorise_faults_total",
        COUNTER,
        "Changes of accounts by background jobs after which the store did not let anybody be told.",
    ),
    Family(
        "ocs_agenda_tended_total", COUNTER, "Subscribers for whom something was due (renewals, ends of life)."
    ),
    Family(
        "ocs_agenda_faults_total", COUNTER, "Looks of the agenda that the store did not allow, tried again."
    ),
)

OF_SUPERVISOR: Final = tuple(family for family in FAMILIES if family.name == JOB_FAULTS)
"""What the supervisor counts itself."""


def _layout(families: Iterable[Family]) -> bytes:
    """The file's head: magic, length of the text, the families as JSON, padded so that cells are aligned."""
    text = json.dumps(list(families), separators=(",", ":")).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _CELL_OCTETS)
    return _HEAD.pack(_MAGIC, len(text)) + text


class Histogram:
    """One row of a histogram."""

    __slots__ = ("_at", "_bounds", "_cells", "_sum")

    def __init__(self, cells: memoryview, at: int, bounds: tuple[int, ...]) -> None:
        self._cells = cells
        self._at = at
        self._bounds = bounds
        self._sum = at + len(bounds) + 1

    def observe(self, micros: int) -> None:
        """Count one duration in microseconds."""
        cells = self._cells
        cells[self._at + bisect_left(self._bounds, micros)] += 1
        cells[self._sum] += micros


class Counters:
    """The cells of this process; `cells[index(...)] += 1` is all that counting takes. Without a folder: in memory."""

    __slots__ = ("_at", "_families", "_map", "cells")

    def __init__(
        self, folder: Path | None = None, name: str = "", families: tuple[Family, ...] = FAMILIES
    ) -> None:
        self._families = {family.name: family for family in families}
        assert len(self._families) == len(families), "one family per name"
        self._at: dict[tuple[str, ...], int] = {}
        count = 0
        for family in families:
            for row in family.rows:
                self._at[family.name, *row] = count
                count += family.cells_per_row
        self._map: mmap.mmap | None = None
        if folder is None:
            self.cells = memoryview(bytearray(count * _CELL_OCTETS)).cast("q")
            return
        head = _layout(families)
        self._map = _mapped(folder, name, head, count)
        self.cells = memoryview(self._map)[len(head) :].cast("q")
        for family in families:
            if family.kind == GAUGE:
                for row in family.rows:
                    self.cells[self.index(family.name, *row)] = 0

    def index(self, family: str, *row: str) -> int:
        """Return the cell of a row; KeyError when the family has no such row."""
        return self._at[family, *row]

    def histogram(self, family: str, *row: str) -> Histogram:
        """Return the histogram of a row."""
        return Histogram(self.cells, self.index(family, *row), self._families[family].bounds)

    def close(self) -> None:
        """Let go of the file; what was counted stays in it."""
        self.cells.release()
        if self._map is not None:
            self._map.close()


def _mapped(folder: Path, name: str, head: bytes, count: int) -> mmap.mmap:
    """Map the process's file: the one of its predecessor when its cells mean the same, else a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    octets = len(head) + count * _CELL_OCTETS
    if not (path.is_file() and path.stat().st_size == octets and path.read_bytes()[: len(head)] == head):
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.write_bytes(head + bytes(octets - len(head)))
        fresh.replace(path)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), octets)


class Sample(NamedTuple):
    """One row of a metric: a value, or of a histogram the counts per bucket (the last one beyond all bounds) and the sum."""

    labels: tuple[str, ...]
    value: int
    buckets: tuple[int, ...] = ()


class Metric(NamedTuple):
    """One metric over all processes; `labels` begins with `process` where each process stands for itself."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    bounds: tuple[int, ...]
    samples: tuple[Sample, ...]


class Reading(NamedTuple):
    """What one process has counted so far."""

    process: str
    families: tuple[Family, ...]
    cells: memoryview

    def rows(self) -> Iterator[tuple[Family, Sample]]:
        """Every row of every family."""
        at = 0
        for family in self.families:
            for labels in family.rows:
                if family.kind == HISTOGRAM:
                    last = at + len(family.bounds) + 1
                    yield family, Sample(labels, self.cells[last], tuple(self.cells[at:last]))
                else:
                    yield family, Sample(labels, self.cells[at])
                at += family.cells_per_row

    def value(self, family: str, *labels: str) -> int:
        """The value of one row, or 0 when this process has none of it."""
        return next(
            (row.value for each, row in self.rows() if each.name == family and row.labels == labels), 0
        )


def read(folder: Path) -> list[Reading]:
    """Read what every process has counted; a file that is no such file, or half written, is passed over."""
    readings = []
    for path in sorted(folder.glob(f"[!.]*{SUFFIX}")):
        octets = path.read_bytes()
        if len(octets) < _HEAD.size:
            continue
        magic, length = _HEAD.unpack_from(octets)
        start = _HEAD.size + length
        if magic != _MAGIC or start > len(octets) or (len(octets) - start) % _CELL_OCTETS:
            continue
        rows = json.loads(octets[_HEAD.size : start])
        families = tuple(
            Family(name, kind, text, tuple(labels), tuple(map(tuple, each)), tuple(bounds), fold)
            for name, kind, text, labels, each, bounds, fold in rows
        )
        readings.append(
            Reading(path.name.removesuffix(SUFFIX), families, memoryview(octets)[start:].cast("q"))
        )
    return readings


def rest(folder: Path, name: str) -> None:
    """Set the gauges of a process that has died to zero: it has no connection, and is not ready."""
    if (folder / f"{name}{SUFFIX}").exists():
        Counters(folder, name).close()  # law 4: it begins with that


def forget(folder: Path) -> None:
    """Remove what an earlier server has counted: its processes are not ours."""
    for path in folder.glob(f"*{SUFFIX}"):
        path.unlink(missing_ok=True)


def metrics(readings: Iterable[Reading]) -> list[Metric]:
    """Fold the readings of all processes into one list of metrics."""
    families: dict[str, Family] = {}
    folded: dict[str, dict[tuple[str, ...], Sample]] = {}
    for reading in readings:
        for family, sample in reading.rows():
            families.setdefault(family.name, family)
            rows = folded.setdefault(family.name, {})
            labels = (reading.process, *sample.labels) if family.fold == EACH else sample.labels
            seen = rows.get(labels)
            rows[labels] = sample._replace(labels=labels) if seen is None else _folded(family, seen, sample)
    return [
        Metric(
            family.name,
            family.kind,
            family.text,
            ("process", *family.labels) if family.fold == EACH else family.labels,
            family.bounds,
            tuple(folded[family.name].values()),
        )
        for family in families.values()
    ]


def _folded(family: Family, seen: Sample, more: Sample) -> Sample:
    if family.fold == GREATEST:
        return seen._replace(value=max(seen.value, more.value))
    buckets = tuple(map(sum, zip(seen.buckets, more.buckets, strict=False)))
    return Sample(seen.labels, seen.value + more.value, buckets)
