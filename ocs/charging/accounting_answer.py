"""From what became of an accounting record to the octets of an Accounting-Answer (RFC 6733 section 9.7.2); pure.

Laws
1. Result-Code, Origin-Host, Origin-Realm, Accounting-Record-Type and Accounting-Record-Number always, Session-Id first.
2. A record that is kept is DIAMETER_SUCCESS, whoever is to pay for it: the client may forget it. One that is not is never.
"""

from typing import Any, Final

from ocs.charging.ask import Ask
from ocs.diameter.codec import Header, Message, answer_header, writer
from ocs.diameter.faults import ResultCode
from ocs.diameter.message import HEADER_OCTETS
from ocs.outcomes import RESULT_CODES, Code

ACCOUNTING: Final = 3
"""Application id of base accounting (RFC 6733 section 2.4), which Rf uses (TS 32.299 clause 6.2)."""

_session_id = writer("Session-Id")
_record_type = writer("Accounting-Record-Type")
_RECORD_TYPE_CODE: Final = _record_type(0)[:4]
_record_number = writer("Accounting-Record-Number")
_result_code = writer("Result-Code")
_error_message = writer("Error-Message")
_failed_avp = writer("Failed-AVP")
_WHY: Final = "this record was told before, with other content, or its session has begun or ended before"


class AccountingAnswers:
    """Writes answers for one server identity.

    ``interim_s`` is told as Acct-Interim-Interval in answers to START (RFC 6733 section 9.8.2; 0: not told), ``realtime`` as
    Accounting-Realtime-Required (section 9.8.7; None: not told).
    """

    __slots__ = ("_begun", "_origin", "_realtime", "_state")

    def __init__(
        self,
        origin_host: str,
        origin_realm: str,
        origin_state_id: int,
        *,
        interim_s: int,
        realtime: int | None,
    ) -> None:
        self._origin = writer("Origin-Host")(origin_host) + writer("Origin-Realm")(origin_realm)
        self._state = writer("Acct-Application-Id")(ACCOUNTING) + writer("Origin-State-Id")(origin_state_id)
        self._begun = writer("Acct-Interim-Interval")(interim_s) if interim_s else b""
        self._realtime = writer("Accounting-Realtime-Required")(realtime) if realtime is not None else b""

    def answer(self, message: Message, ask: Ask, code: Code, result_code: int) -> bytes:
        """Write the answer to a record that was looked at; ``result_code`` is what it is answered with."""
        failed, why = b"", ""
        if code == Code.CONFLICT and result_code == RESULT_CODES[code]:
            failed, why = _record_number(ask.number), _WHY
        return self.refuse(message, message.avps, result_code, failed_avp=failed, error_message=why)

    def refuse(
        self,
        request: Header | Message,
        avps: dict[str, Any],
        result_code: int,
        *,
        failed_avp: bytes = b"",
        error_message: str = "",
    ) -> bytes:
        """Write an answer from what could be read of a request; the form of RFC 6733 section 7.2 is for 3xxx only."""
        parts = []
        if "Session-Id" in avps:
            parts.append(_session_id(avps["Session-Id"]))
        parts += (_result_code(result_code), self._origin)
        if "Accounting-Record-Type" in avps:
            parts.append(_record_type(avps["Accounting-Record-Type"]))
        elif result_code == ResultCode.INVALID_AVP_VALUE and failed_avp.startswith(_RECORD_TYPE_CODE):
            parts.append(failed_avp)  # law 1: what is no type is told again as it came
        if "Accounting-Record-Number" in avps:
            parts.append(_record_number(avps["Accounting-Record-Number"]))
        parts.append(self._state)
        if result_code == ResultCode.SUCCESS and avps.get("Accounting-Record-Type") == _START:
            parts += (self._begun, self._realtime)
        if error_message:
            parts.append(_error_message(error_message))
        if failed_avp:
            parts.append(_failed_avp(failed_avp))
        parts += avps.get("Proxy-Info", ())
        body = b"".join(parts)
        length = HEADER_OCTETS + len(body)
        return answer_header(request, error=3000 <= result_code < 4000, length=length) + body


_START: Final = 2
