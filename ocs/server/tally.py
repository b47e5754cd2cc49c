"""What a worker counts, bound to its cells once: one addition per thing that happens."""

from collections.abc import Mapping
from typing import Any

from ocs.diameter.server_initiated import NAMES
from ocs.outcomes import RESULT_CODES, Code, Note
from ocs.server.counters import Counters
from ocs.server.families import (
    CLOSINGS,
    CODES,
    REASONS,
    RECORD_TYPES,
    SERVER_REQUEST_EVENTS,
    TURNED_AWAY,
    TYPES,
)

_NONE = len(TYPES) - 1


class Tally:
    """The hot path's side of the counters."""

    __slots__ = (
        "_cells",
        "_closings",
        "_connections",
        "_dropped",
        "_exchanged",
        "_faults",
        "_latencies",
        "_noted",
        "_notes",
        "_others",
        "_outcomes",
        "_reasons",
        "_records",
        "_refusals",
        "_server_requests",
        "_shed",
        "_stray",
        "_turned_away",
        "_unread",
        "requests",
    )

    def __init__(self, counters: Counters) -> None:
        at = counters.index
        self._cells = counters.cells
        self.requests = 0
        # By CC-Request-Type 1 to 4 and Code: the cell of the answer's result code.
        self._outcomes = [
            [at("ocs_requests_total", "CCR", TYPES[kind - 1], str(RESULT_CODES[code])) for code in Code]
            for kind in range(1, 5)
        ]
        self._refusals = [
            {int(code): at("ocs_requests_total", "CCR", kind, code) for code in CODES} for kind in TYPES
        ]
        self._others = {int(code): at("ocs_requests_total", "other", "none", code) for code in CODES}
        self._exchanged = {int(code): at("ocs_requests_total", "CER", "none", code) for code in CODES}
        self._latencies = [counters.histogram("ocs_request_seconds", kind) for kind in TYPES[:_NONE]]
        self._noted = [
            (int(note), at("ocs_charging_notes_total", word))
            for note, word in (
                (Note.REPLAY, "replay"),
                (Note.OVERRUN, "overrun"),
                (Note.QUARANTINE, "quarantine"),
                (Note.LATE, "late"),
                (Note.STANDING, "standing"),
                (Note.RENEWED, "renewed"),
                (Note.GAP, "gap"),
            )
        ]
        # By Code, and a list: an enum's own hash and truth are Python calls.
        self._notes = [-1] * (len(Code) + 1)
        self._notes[Code.CONFLICT] = at("ocs_charging_notes_total", "conflict")
        self._notes[Code.SEEN] = at("ocs_charging_notes_total", "seen")
        # By Accounting-Record-Type, the last for what has none.
        self._records = [
            {int(code): at("ocs_accounting_records_total", kind, code) for code in CODES}
            for kind in (RECORD_TYPES[-1], *RECORD_TYPES[:-1])
        ]
        self._reasons = [at("ocs_reporting_reasons_total", word) for word in REASONS]
        self._closings = {word: at("ocs_connections_closed_total", word) for word in CLOSINGS}
        self._turned_away = {word: at("ocs_connections_turned_away_total", word) for word in TURNED_AWAY}
        self._shed = {word: at("ocs_requests_shed_total", word) for word in ("peer", "worker", "drain")}
        self._connections = at("ocs_connections_total")
        self._dropped = at("ocs_answers_dropped_total")
        self._stray = at("ocs_answers_stray_total")
        self._faults = at("ocs_internal_faults_total")
        self._server_requests = {
            (command, event): at("ocs_server_requests_total", name, event)
            for command, name in NAMES.items()
            for event in SERVER_REQUEST_EVENTS
        }
        self._unread = at("ocs_order_messages_unread_total")

    def charged(self, kind: int, code: int, notes: int, micros: int, written: int = 0) -> None:
        """Count a request that the book has answered, with the time it took in microseconds.

        ``written`` is the Result-Code of the answer where it is another than that of the Code.
        """
        cells = self._cells
        self.requests += 1
        cells[self._refusals[kind - 1][written] if written else self._outcomes[kind - 1][code - 1]] += 1
        self._latencies[kind - 1].observe(micros)
        if notes != 0:
            for note, noted in self._noted:
                if notes & note:
                    cells[noted] += 1
        at = self._notes[code]
        if at >= 0:
            cells[at] += 1

    def recorded(self, kind: int, result_code: int, notes: int, micros: int) -> None:
        """Count an accounting record that the book has answered; ``kind`` is that of its Ask."""
        self.requests += 1
        self.refused_record(kind % 4 + 1, result_code)
        self._latencies[kind - 1].observe(micros)
        for note, noted in self._noted:
            if notes & note:
                self._cells[noted] += 1

    def refused_record(self, record_type: int, result_code: int) -> None:
        """Count the answer to an accounting record; type 0 where it could not be read."""
        self._cells[self._records[record_type][result_code]] += 1

    def reported(self, avps: Mapping[str, Any]) -> None:
        """Count why a request reports: the Reporting-Reason of its services and of their used units."""
        for group in avps.get("Multiple-Services-Credit-Control", ()):
            if "Reporting-Reason" in group:
                for reason in group["Reporting-Reason"]:
                    self._reason(reason)
            if "Used-Service-Unit" in group:
                self._of_units(group["Used-Service-Unit"])
        if "Used-Service-Unit" in avps:
            self._of_units(avps["Used-Service-Unit"])

    def _of_units(self, reports: list[Mapping[str, Any]]) -> None:
        for report in reports:
            if "Reporting-Reason" in report:
                self._reason(report["Reporting-Reason"])

    def _reason(self, reason: int) -> None:
        self._cells[self._reasons[reason if 0 <= reason < len(REASONS) - 1 else -1]] += 1

    def refused(self, kind: int, result_code: int, *, charging: bool) -> None:
        """Count a request that was refused before the book saw it; kind 0 where it could not be read."""
        row = self._refusals[kind - 1 if kind else _NONE] if charging else self._others
        at = row.get(result_code)
        if at is not None:
            self._cells[at] += 1

    def exchanged(self, result_code: int) -> None:
        """Count a capabilities exchange."""
        at = self._exchanged.get(result_code)
        if at is not None:
            self._cells[at] += 1

    def shed(self, bound: str) -> None:
        """Count a request that admission refused."""
        self._cells[self._shed[bound]] += 1

    def connected(self) -> None:
        """Count a connection."""
        self._cells[self._connections] += 1

    def closed(self, reason: str) -> None:
        """Count the end of a connection."""
        self._cells[self._closings[reason]] += 1

    def turned_away(self, reason: str) -> None:
        """Count a connection that was never taken over."""
        self._cells[self._turned_away[reason]] += 1

    def dropped(self) -> None:
        """Count an answer whose connection had gone."""
        self._cells[self._dropped] += 1

    def stray(self) -> None:
        """Count an answer that belongs to no request of ours."""
        self._cells[self._stray] += 1

    def server_request(self, command: int, event: str) -> None:
        """Count what became of a RAR or ASR: one of counters.SERVER_REQUEST_EVENTS."""
        self._cells[self._server_requests[command, event]] += 1

    def unread_orders(self) -> None:
        """Count a message that was no orders."""
        self._cells[self._unread] += 1

    def internal_fault(self) -> None:
        """Count a fault of our own."""
        self._cells[self._faults] += 1
