"""From an Outcome to the octets of a Credit-Control-Answer (RFC 8506 section 3.2); pure.

Laws
1. Session-Id first; Result-Code, Origin-Host, Origin-Realm, Auth-Application-Id, CC-Request-Type and CC-Request-Number always:
   a real gateway silently drops an answer that lacks one of them (CLIENTS 18).
2. A service that asks gets units, or a Result-Code that refuses: success without a grant is unlimited service to a real
   gateway (CLIENTS 21), so it is never written. Zero units with what to do instead of them are a grant (quota.py, law 4).
3. Nothing but AVPs of RFC 6733 and RFC 8506 is written, so no reader meets an M-bit that it does not know (CLIENTS 20); events of
   3GPP services have Refund-Information (event_answer.py), and where config says more of a family, 3GPP's own go with it (quota.py).
4. What does not change from answer to answer is encoded once.
"""

from collections.abc import Mapping
from typing import Any, Final

from ocs import limits
from ocs.charging import event_answer
from ocs.charging.amounts import failed_currency
from ocs.charging.ask import EVENT, INITIAL, Ask, AskedService
from ocs.charging.granted import GRANTED, granted_until
from ocs.charging.outcome import More, Outcome, ServiceOutcome
from ocs.charging.pools import reference
from ocs.charging.quota import BalanceText, ByGroup, Extras
from ocs.diameter.codec import Header, Message, answer_header, writer
from ocs.diameter.message import HEADER_OCTETS
from ocs.outcomes import RESULT_CODES, Code

CREDIT_CONTROL: Final = 4
"""Application id of RFC 8506 section 12.1."""

_TERMINATE: Final = 0
"""Final-Unit-Action (RFC 8506 section 8.35)."""

_session_id = writer("Session-Id")
_request_type = writer("CC-Request-Type")
_request_number = writer("CC-Request-Number")
_sub_session_id = writer("CC-Sub-Session-Id")
_result_code = writer("Result-Code")
_error_message = writer("Error-Message")
_failed_avp = writer("Failed-AVP")
_context = writer("Service-Context-Id")
_service = writer("Multiple-Services-Credit-Control")
_rating_group = writer("Rating-Group")
_service_identifier = writer("Service-Identifier")
_validity_time = writer("Validity-Time")

_RESULTS: Final = {code: _result_code(result) for code, result in RESULT_CODES.items()}
# An enum's members are looked up slowly in Python 3.11; these stand in the hot path.
_SUCCESS: Final = Code.SUCCESS
_LEAST_WITH_SERVICES: Final = Code.BARRED
"""Outcomes below it looked at no service, or at none that still counts."""
_SUCCESS_WRITTEN: Final = _RESULTS[Code.SUCCESS]
_PROTOCOL_ERRORS: Final = frozenset(code for code, result in RESULT_CODES.items() if 3000 <= result < 4000)
"""The outcomes that are answered with the E-bit (RFC 6733 section 7.1.3)."""
_LAST_UNITS: Final = writer("Final-Unit-Indication")(writer("Final-Unit-Action")(_TERMINATE))
_NO_EXTRAS: Final[Mapping[str, ByGroup[Extras]]] = {}
_OTHER_CURRENCY: Final = "the account is kept in another currency"
_WHY: Final = {
    Code.CONFLICT: "this CC-Request-Number was used before, with other content",
    Code.SEEN: "this CC-Request-Number was used before, and its answer is no longer kept",
}


def answered_code(ask: Ask, outcome: Outcome) -> Code:
    """Return the code that a request is answered with: the command's, which at message level speaks for its only service (law 2)."""
    code, decided = outcome.code, outcome.services
    if ask.multiple or code != _SUCCESS or not decided:
        return code
    refused = decided[0].granted <= 0 and not decided[0].final and ask.services[0].wanted is not None
    return Code.CREDIT_LIMIT if refused else code


class AnswerWriter:
    """Writes answers for one server identity; ``failure_handling`` and ``session_failover`` go into an Initial's answer.

    They are the values of Credit-Control-Failure-Handling (RFC 8506 section 8.14) and CC-Session-Failover (section 8.4); None
    leaves the AVP out. ``extras`` are what goes with the grants of families, ``balance`` what is told of balances, where config says so. Without ``vendor``
    no AVP of 3GPP is written (CLIENTS 20); ``extras`` and ``balance`` are to be without them then.
    """

    __slots__ = (
        "_balance",
        "_extras",
        "_failover",
        "_heads",
        "_names",
        "_origin",
        "_origin_and_application",
        "_vendor",
    )

    def __init__(
        self,
        origin_host: str,
        origin_realm: str,
        *,
        failure_handling: int | None,
        session_failover: int | None,
        extras: Mapping[str, ByGroup[Extras]] = _NO_EXTRAS,
        balance: BalanceText | None = None,
        vendor: bool = True,
    ) -> None:
        self._vendor = vendor
        self._extras, self._balance = extras, balance
        self._origin = writer("Origin-Host")(origin_host) + writer("Origin-Realm")(origin_realm)
        application = writer("Auth-Application-Id")(CREDIT_CONTROL)
        self._origin_and_application = self._origin + application
        self._heads = {
            (kind, code): result + self._origin_and_application + _request_type(kind)
            for code, result in _RESULTS.items()
            for kind in range(INITIAL, EVENT + 1)
        }
        self._failover = b""
        if session_failover is not None:
            self._failover += writer("CC-Session-Failover")(session_failover)
        if failure_handling is not None:
            self._failover += writer("Credit-Control-Failure-Handling")(failure_handling)
        self._names: dict[str, bytes] = {}

    def answer(self, message: Message, ask: Ask, outcome: Outcome) -> bytes:
        """Write the whole answer to a request that was charged or refused by the store.

        Services come in the order of their keys (see Ask), named as the request named them. Where the outcome has none (conflict, unknown
        session or subscriber, store away), or says that nothing in it was looked at, no service is written.
        """
        code, decided, more = answered_code(ask, outcome), outcome.services, outcome.more
        avps, kind = message.avps, ask.kind
        parts = [_session_id(ask.session_id), b"", _request_number(ask.number)]
        if "CC-Sub-Session-Id" in avps:
            parts.append(_sub_session_id(avps["CC-Sub-Session-Id"]))
        if kind == INITIAL and code not in _PROTOCOL_ERRORS:
            # RFC 6733 section 7.2: an answer with the E-bit has a form of its own, in which these are strangers
            parts.append(self._failover)
        if not decided or code < _LEAST_WITH_SERVICES:
            if outcome.event is not None:
                parts += event_answer.written(ask, code, outcome.event, self._name, vendor=self._vendor)
        elif ask.multiple:
            names = self._names
            own = self._extras and self._extras.get(ask.family or "")
            for asked, one in zip(ask.services, decided, strict=True):
                name = names.get(asked.key)
                if name is None:
                    name = self._name(asked)
                if own:
                    parts.append(_with_extras(asked, one, name, own[asked.rating_group], more))
                else:
                    parts.append(_decided(asked, one, name, more))
        elif decided[0].granted > 0 or decided[0].final:
            own = self._extras and self._extras.get(ask.family or "")
            parts.append(_units(decided[0], own[None].last_units if own else _LAST_UNITS, more))
        if more is not None and more.available_micros is not None and self._balance is not None:
            parts.append(self._balance(more.available_micros, more.currency))
        parts[1] = self._heads[kind, code]
        if "Proxy-Info" in avps:
            parts += avps["Proxy-Info"]
        if code < _SUCCESS:
            rated = bool(decided) or outcome.event is not None
            parts.append(_trouble(code, ask, foreign=not rated or (more is not None and more.foreign)))
        body = b"".join(parts)
        length = HEADER_OCTETS + len(body)
        return answer_header(message, error=code in _PROTOCOL_ERRORS, length=length) + body

    def refuse(
        self,
        request: Header | Message,
        avps: dict[str, Any],
        result_code: int,
        *,
        failed_avp: bytes = b"",
        error_message: str = "",
    ) -> bytes:
        """Write the answer to a request that was not charged at all: a fault, or a server that is too busy.

        ``avps`` is what could be read of the request; ``failed_avp`` is one encoded AVP (RFC 6733 section 7.5). The E-bit and
        the form of RFC 6733 section 7.2 are for 3xxx only (CLIENTS 18).
        """
        parts = []
        if "Session-Id" in avps:
            parts.append(_session_id(avps["Session-Id"]))
        parts.append(_result_code(result_code))
        ours = request.application == CREDIT_CONTROL
        parts.append(self._origin_and_application if ours else self._origin)
        if "CC-Request-Type" in avps:
            parts.append(_request_type(avps["CC-Request-Type"]))
        if "CC-Request-Number" in avps:
            parts.append(_request_number(avps["CC-Request-Number"]))
        if "CC-Sub-Session-Id" in avps:
            parts.append(_sub_session_id(avps["CC-Sub-Session-Id"]))
        if error_message:
            parts.append(_error_message(error_message))
        if failed_avp:
            parts.append(_failed_avp(failed_avp))
        parts += avps.get("Proxy-Info", ())
        body = b"".join(parts)
        length = HEADER_OCTETS + len(body)
        return answer_header(request, error=3000 <= result_code < 4000, length=length) + body

    def _name(self, asked: AskedService) -> bytes:
        """Encode what names a service, as the request did (CLIENTS 9), and remember it under the service's key."""
        named = b""
        if asked.service_identifier is not None:
            identifiers = asked.key.partition("/")[2].split("+")
            named = b"".join([_service_identifier(int(text)) for text in identifiers])
        if asked.rating_group is not None:
            named += _rating_group(asked.rating_group)
        if len(self._names) >= limits.SERVICE_NAMES_KEPT_MAX:
            self._names.clear()
        self._names[asked.key] = named
        return named


def _decided(asked: AskedService, one: ServiceOutcome, name: bytes, more: More | None) -> bytes:
    """Write the MSCC of one service (RFC 8506 section 8.16), with a Result-Code always (CLIENTS 19)."""
    code, unit, granted, validity_s, final = one
    if granted > 0 or final:
        body = GRANTED[unit](granted, more) + name + _validity_time(validity_s) + _SUCCESS_WRITTEN
        return _service(body + _LAST_UNITS if final else body)
    if code == _SUCCESS and asked.wanted is not None:
        code = Code.CREDIT_LIMIT  # law 2
    return _service(name + _RESULTS[code])


def _with_extras(
    asked: AskedService, one: ServiceOutcome, name: bytes, extras: Extras, more: More | None
) -> bytes:
    """Write the same of a service of which config says more."""
    _, unit, granted, validity_s, final = one
    if granted > 0 or final:
        edge_s = (
            more.edges_s.get(asked.key) if extras.tells_edges and more is not None and more.edges_s else None
        )
        units = GRANTED[unit](granted, more) if edge_s is None else granted_until(unit, granted, edge_s, more)
        body = units + name + _validity_time(validity_s) + _SUCCESS_WRITTEN
        pooled = more.pools.get(asked.key) if more is not None else None
        if pooled is not None and extras.tells_pool:
            body += reference(pooled.pool, pooled.ladder, unit)
        return _service(body + extras(unit, granted, more, final=final))
    return _decided(asked, one, name, more)


def _units(one: ServiceOutcome, last_units: bytes, more: More | None) -> bytes:
    """Write the units of the only service at message level (RFC 8506 section 3.2)."""
    _, unit, granted, validity_s, final = one
    return GRANTED[unit](granted, more) + (last_units if final else b"") + _validity_time(validity_s)


def _trouble(code: Code, ask: Ask, *, foreign: bool) -> bytes:
    """Write the Failed-AVP of a refusal that needs one, and why."""
    if code in _WHY:
        # Session-Id, CC-Request-Type and CC-Request-Number are the identity (DESIGN law 5). The number is what the client chose
        # anew for this request, and what it must choose differently for other content; so it is the one that failed.
        return _failed_avp(_request_number(ask.number)) + _error_message(_WHY[code])
    if code == Code.UNRATED and ask.currency and foreign:
        # the same section: "an AVP value that is not ... supported in the rating", and a copy of it
        return _failed_avp(failed_currency(ask.currency)) + _error_message(_OTHER_CURRENCY)
    if code == Code.UNRATED:
        # RFC 8506 section 9.2: 5031 MUST hold the AVP that could not be rated
        context = ask.context if len(ask.context) <= limits.SERVICE_CONTEXT_OCTETS_MAX else ""
        return _failed_avp(_context(context))
    return b""
