"""What a connection answers to what it cannot serve: another command, a request that is wrong, a fault of our own.

Laws
1. Every request gets an answer, whatever went wrong; an answer to nothing of ours is dropped and counted.
2. Where nothing readable can be said to a peer any more, its connection ends: silence would let it wait.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final

from ocs.charging.answer import CREDIT_CONTROL
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.message import REQUEST, Header, Message, header
from ocs.server.accounting import ACCOUNTING_APPLICATION, ACCOUNTING_COMMAND
from ocs.server.desk import Desk
from ocs.server.tally import Tally

CREDIT_CONTROL_COMMAND: Final = 272
_REQUEST_TYPES: Final = frozenset((1, 2, 3, 4))
# Faults that are seen before it matters which command a message is.
_BEFORE_COMMAND: Final = frozenset((ResultCode.APPLICATION_UNSUPPORTED, ResultCode.UNSUPPORTED_VERSION))


class Refusals(asyncio.Protocol, ABC):
    """What every connection is, and what it answers when it cannot serve."""

    __slots__ = ()

    _desk: Desk
    _tally: Tally

    @abstractmethod
    def cut(self, reason: str, why: str) -> None:
        """End the connection at once, without waiting for anything."""

    @abstractmethod
    def _send(self, octets: bytes) -> None:
        """Let octets go out with this turn's others."""

    @abstractmethod
    def _who(self) -> dict[str, str]:
        """Name the peer for a line of the log."""

    @abstractmethod
    def _misfit(self, top: Header, avps: dict[str, Any]) -> None:
        """Take what is no request that is served here."""

    def _faulty(self, frame: bytes, fault: DecodeFault) -> None:
        """Answer a request that cannot be served with the fault that names it; a bad answer is dropped."""
        top = header(frame)
        ours = top.command == CREDIT_CONTROL_COMMAND or fault.result_code in _BEFORE_COMMAND
        ours = ours or (top.command == ACCOUNTING_COMMAND and self._desk.accounting is not None)
        if not top.flags & REQUEST or not ours:
            self._misfit(top, fault.avps)
            return
        code = int(fault.result_code)
        self._desk.log.info("request refused", result_code=code, why=fault.reason, **self._who())
        self._refuse(top, fault.avps, fault.result_code, fault.failed_avp, fault.reason)

    def _blunder(self, request: bytes | Header | Message, avps: dict[str, Any], error: Exception) -> None:
        """Answer a request on which our own code failed with 5012, and tell somebody."""
        self._desk.log.error("a request met a fault of our own", exc_info=error, **self._who())
        self._tally.internal_fault()
        top = header(request) if isinstance(request, bytes) else request
        if top.flags & REQUEST:
            self._refuse(top, avps, ResultCode.UNABLE_TO_COMPLY, b"", "internal fault")

    def _refuse(
        self, top: Header | Message, avps: dict[str, Any], result_code: int, failed_avp: bytes, why: str
    ) -> None:
        kind = avps.get("CC-Request-Type")
        is_charging = top.command == CREDIT_CONTROL_COMMAND and top.application == CREDIT_CONTROL
        accounting, answers = self._desk.accounting, self._desk.writers.full.refuse
        if accounting is not None and top.application == ACCOUNTING_APPLICATION:
            answers = accounting.answers.refuse
            self._tally.refused_record(avps.get("Accounting-Record-Type", 0), int(result_code))
        else:
            self._tally.refused(kind if kind in _REQUEST_TYPES else 0, int(result_code), charging=is_charging)
        try:
            octets = answers(top, avps, int(result_code), failed_avp=failed_avp, error_message=why)
        except Exception:
            # Nothing readable can be said to this peer any more; silence would let it wait.
            self._desk.log.exception("a refusal could not be written", **self._who())
            self._tally.internal_fault()
            self.cut("fault", "a refusal could not be written")
            return
        self._send(octets)
