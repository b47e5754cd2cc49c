"""Everything that is counted: families of metrics, each with its rows, by the words that operators see.

A new family is added here, and counted where it happens (counters.py says how it is kept).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ocs.diameter.faults import ResultCode

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SUM, GREATEST, EACH = "sum", "greatest", "each"
"""How the cells of several processes become one figure: added, the greatest, or each with its process's name."""


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
    "news_untold",
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
    "withheld",
)  # fmt: skip
"""What becomes of a request of ours: sent; then one of the answers, none in time, or its connection lost; or not sent, since no
connection leads there, too many wait, or the client's profile says that it is of no use there (withheld)."""

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
    Family("ocs_events_records_total", COUNTER, "Records of the streams that were read for notices."),
    Family("ocs_events_notices_total", COUNTER, "Notices that were derived."),
    Family("ocs_events_delivered_total", COUNTER, "Notices that the other side has taken over."),
    Family("ocs_events_failed_total", COUNTER, "Tries of deliveries that failed."),
    Family(
        "ocs_events_dead_total",
        COUNTER,
        "Notices that were given up, or had no room in a queue, and are dead letters.",
    ),
    Family("ocs_events_dropped_total", COUNTER, "Dead letters dropped for want of room: an alarm."),
    Family("ocs_events_waiting", GAUGE, "Notices that wait to be delivered."),
    Family("ocs_events_dead_letters", GAUGE, "Dead letters that wait for a human."),
    Family("ocs_events_lag_ms", GAUGE, "Age of the record that was read last; 0 with nothing left."),
    Family("ocs_events_partitions_stopped", GAUGE, "Partitions with a record that cannot be read: an alarm."),
    Family(
        "ocs_stream_breaks_total", COUNTER, "Holes in the ids that the stream's reader has met: an alarm."
    ),
    Family(
        "ocs_stream_resumed_total", COUNTER, "Times that the stream's reader had to go on from the archive."
    ),
    Family("ocs_sessions_expired_total", COUNTER, "Sessions ended by supervision."),
    Family(
        "ocs_sessions_restarted_total",
        COUNTER,
        "Sessions ended because their client has restarted without them.",
    ),
    Family("ocs_topups_finished_total", COUNTER, "Top-ups of callers that died, finished by the sweep."),
    Family(
        "ocs_vouchers_finished_total",
        COUNTER,
        "Redemptions of vouchers whose callers died, finished by the sweep.",
    ),
    Family(
        "ocs_voucher_faults_total",
        COUNTER,
        "Claims of vouchers that the sweep could not read or finish, at every try.",
    ),
    Family("ocs_topup_orders_executed_total", COUNTER, "Recurring and automatic top-ups that were credited."),
    Family(
        "ocs_topup_orders_failed_total", COUNTER, "Tries of such top-ups that were not paid, or not credited."
    ),
    Family("ocs_topup_orders_suspended_total", COUNTER, "Orders that were suspended after their last try."),
    Family("ocs_topup_order_faults_total", COUNTER, "Looks at orders that the store did not allow."),
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
