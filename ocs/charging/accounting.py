"""The accounting record: what an Accounting-Request of offline charging (Rf) tells of usage, free of the protocol's encoding.

RFC 6733 section 9, TS 32.299 clause 6.2; data as TS 32.251, calls as TS 32.260, messages as TS 32.274 and 32.270.

Laws
1. What is read is named here and in MONEY.md; a record whose usage cannot be read is refused with the AVP that is wrong (DESIGN law 10).
2. A container tells what was used since the record before. A call's record tells how long the call has lasted, from its start on.
3. A record is priced at its own time: the instant of a call, else Event-Timestamp, else the time of its last container; who tells none, at
   its receipt.
4. A record is an Ask of the same shape as online: START, INTERIM, STOP and EVENT are INITIAL, UPDATE, TERMINATION and EVENT, and the
   name of the session has a mark before it that no Session-Id has, so that a session of credit-control is never met.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from ocs import limits
from ocs.charging.ask import (
    EVENT,
    INITIAL,
    NOT_GIVEN,
    TERMINATION,
    UPDATE,
    Ask,
    AskedService,
    AskFault,
    Units,
    bad_session_id,
    subscriber_ids,
)
from ocs.diameter.codec import Message
from ocs.diameter.faults import ResultCode
from ocs.diameter.writers import encode_avps
from ocs.names import service_family, service_key
from ocs.records import ACCOUNTING
from ocs.units import UNITS_MAX

_EVENT_RECORD, _START_RECORD, _INTERIM_RECORD, _STOP_RECORD = 1, 2, 3, 4
KINDS: Final = {
    _EVENT_RECORD: EVENT,
    _START_RECORD: INITIAL,
    _INTERIM_RECORD: UPDATE,
    _STOP_RECORD: TERMINATION,
}
"""Accounting-Record-Type (RFC 6733 section 9.8.1), and the kind of request that stands for it."""

_FAILED: Final = 1
"""The least Cause-Code (TS 32.299 clause 7.2.35) of a session or transaction that did not come about."""
_APART_S_MAX: Final = 86_400
_family = lru_cache(limits.CONTEXTS_KEPT_MAX)(service_family)


class Call(NamedTuple):
    """How long a call has lasted: the instant of the record (Unix seconds; 0: not told), and its length so far (NOT_GIVEN: by the instants)."""

    instant_s: int
    length_s: int


class Slice(NamedTuple):
    """What a container tells: until when (Unix seconds; 0: the record's own time), of which service, how much."""

    at_s: int
    key: str
    used: Units


class AccountingRecord(NamedTuple):
    """One accounting record. ``at_s`` is its own time in Unix seconds, 0 where it has none.

    ``call`` is None but for sessions of calls, whose one service is asked with what the store is to find out. ``slices`` are the
    containers in the order of their times.
    """

    ask: Ask
    at_s: int
    call: Call | None = None
    slices: tuple[Slice, ...] = ()

    def shifted(self, by_ms: int) -> "AccountingRecord":
        """Return it by a calendar that is ahead of its client's clock (DESIGN section 3, "Two times")."""
        by_s = by_ms // 1000
        if not by_s:
            return self
        call = self.call
        if call is not None and call.instant_s:
            call = call._replace(instant_s=call.instant_s + by_s)
        slices = tuple(each._replace(at_s=each.at_s + by_s) if each.at_s else each for each in self.slices)
        return self._replace(at_s=self.at_s + by_s if self.at_s else 0, call=call, slices=slices)


def read(message: Message) -> AccountingRecord:
    """Read an Accounting-Request; raises AskFault, which knows its answer."""
    try:
        return _read(message.avps)
    except AskFault as fault:
        fault.avps = message.avps
        raise


def _read(avps: dict[str, Any]) -> AccountingRecord:
    session_id, context = avps["Session-Id"], avps["Service-Context-Id"]
    if not 0 < len(session_id.encode()) <= limits.SESSION_ID_OCTETS_MAX:
        raise bad_session_id(session_id)
    family = _family(context) if len(context) <= limits.SERVICE_CONTEXT_OCTETS_MAX else None
    kind, at_s = KINDS[avps["Accounting-Record-Type"]], avps.get("Event-Timestamp", 0)
    information = avps.get("Service-Information", {})
    call, slices = None, list[Slice]()
    if family == "data":
        slices = _containers(information.get("PS-Information", {}), kind)
    elif family == "voice" and kind != EVENT:
        call = _call(avps, information)
    elif family is not None:
        slices = _events(avps, information, family)
    slices.sort(key=lambda each: each.at_s or at_s)
    if call is not None and call.instant_s:
        at_s = call.instant_s
    at_s = at_s or max((each.at_s for each in slices), default=0)
    services = _services(slices) if call is None else (_asked("", Units(seconds=0)),)
    ids, named = subscriber_ids(avps)
    asked = Ask(
        kind,
        ACCOUNTING + session_id,
        avps["Accounting-Record-Number"],
        family,
        context,
        ids,
        services,
        _digest(named, call, slices, avps.get("Accounting-Sub-Session-Id")),
        multiple=True,
        origin_host=avps["Origin-Host"],
        origin_realm=avps["Origin-Realm"],
        information=avps.get("Service-Information"),
    )
    return AccountingRecord(asked, at_s, call, tuple(slices))


# ---------------------------------------------------------------- data


def _containers(bearer: Mapping[str, Any], kind: int) -> list[Slice]:
    """Read the containers of a packet gateway (TS 32.251 clause 5.2.3).

    Traffic-Data-Volumes tell of the bearer what Service-Data-Containers tell of its services: the same octets. So they count where no
    service is told, for a service without a name. An event without containers is one event.
    """
    for name in ("Service-Data-Container", "Traffic-Data-Volumes"):
        groups = bearer.get(name, ())
        if len(groups) > limits.CONTAINERS_PER_RECORD_MAX:
            failed = {name: groups[limits.CONTAINERS_PER_RECORD_MAX]}
            raise _in_bearer(
                ResultCode.AVP_OCCURS_TOO_MANY_TIMES, failed, f"too many of {name} in one record"
            )
        if groups:
            return [_container(name, group) for group in groups]
    return [Slice(0, "", Units(events=1))] if kind == EVENT else []


def _container(name: str, group: Mapping[str, Any]) -> Slice:
    received, sent = group.get("Accounting-Input-Octets"), group.get("Accounting-Output-Octets")
    octets = NOT_GIVEN if received is None and sent is None else min((received or 0) + (sent or 0), UNITS_MAX)
    seconds = group.get("Time-Usage", NOT_GIVEN)
    if octets == seconds == NOT_GIVEN:
        # law 1: who has used nothing says 0
        raise _in_bearer(ResultCode.INVALID_AVP_VALUE, {name: group}, f"{name} without octets and time")
    key = service_key(group.get("Rating-Group"), group.get("Service-Identifier"))
    return Slice(group.get("Time-Last-Usage") or group.get("Change-Time") or 0, key, Units(octets, seconds))


def _in_bearer(code: ResultCode, avps: Mapping[str, Any], reason: str) -> AskFault:
    return _fault(code, {"Service-Information": {"PS-Information": dict(avps)}}, reason)


# ---------------------------------------------------------------- calls and messages


def _call(avps: Mapping[str, Any], information: Mapping[str, Any]) -> Call:
    """Read how long a call has lasted: Acct-Session-Time where it is told, else the instants of its records tell it.

    The instant is that of the SIP response (TS 32.299 clause 7.2.183), which begins a call and ends it, else Event-Timestamp.
    """
    stamps = information.get("IMS-Information", {}).get("Time-Stamps", {})
    told, answered = avps.get("Event-Timestamp", 0), stamps.get("SIP-Response-Timestamp", 0)
    if told and answered and abs(told - answered) > _APART_S_MAX:
        stamp = {"Time-Stamps": {"SIP-Response-Timestamp": answered}}
        stamps_failed = {"Service-Information": {"IMS-Information": stamp}}
        raise _fault(
            ResultCode.CONTRADICTING_AVPS,
            stamps_failed,
            "SIP-Response-Timestamp and Event-Timestamp are days apart",
        )
    length_s = avps.get("Acct-Session-Time", NOT_GIVEN)
    if not (answered or told) and length_s < 0:
        failed = {"Event-Timestamp": 0}
        raise _fault(
            ResultCode.MISSING_AVP, failed, "a call's record that tells neither an instant nor a length"
        )
    return Call(answered or told, length_s)


def _events(avps: Mapping[str, Any], information: Mapping[str, Any], family: str) -> list[Slice]:
    """Read a message, or what of IMS is no session (TS 32.260 clause 5.2.2): an event, of messages as many as were sent."""
    if avps["Accounting-Record-Type"] != _EVENT_RECORD:
        failed = {"Accounting-Record-Type": avps["Accounting-Record-Type"]}
        raise _fault(ResultCode.INVALID_AVP_VALUE, failed, "messages are events, and no sessions")
    events = 1
    if family == "sms":
        events = information.get("SMS-Information", {}).get("Number-of-Messages-Sent", 1)
    elif any(cause >= _FAILED for cause in information.get("IMS-Information", {}).get("Cause-Code", ())):
        return [Slice(0, "", Units(0, 0, 0))]  # an attempt that came to nothing
    return [Slice(0, "", Units(events=events))]


# ---------------------------------------------------------------- content


def _services(slices: list[Slice]) -> tuple[AskedService, ...]:
    """Add up what the containers tell of each service; in the order of their keys, as in every Ask."""
    total: dict[str, Units] = {}
    for each in slices:
        before = total.get(each.key, Units())
        total[each.key] = Units(*map(_sum, before, each.used))
    if len(total) > limits.SERVICES_PER_REQUEST_MAX:
        failed: dict[str, Any] = {"Service-Data-Container": {}}
        raise _in_bearer(ResultCode.AVP_OCCURS_TOO_MANY_TIMES, failed, "too many services in one record")
    return tuple(_asked(key, total[key]) for key in sorted(total))


def _sum(one: int, other: int) -> int:
    return max(one, other) if NOT_GIVEN in {one, other} else min(one + other, UNITS_MAX)


def _asked(key: str, used: Units) -> AskedService:
    group, _, identifier = key.partition("/")
    return AskedService(
        key,
        int(group) if group else None,
        int(identifier) if identifier else None,
        used,
        Units(),
        used._replace(
            seconds=NOT_GIVEN
        ),  # octets and events are of the window of their time, seconds of their own
    )


def _digest(named: str, call: Call | None, slices: list[Slice], sub_session: int | None) -> int:
    """Return 48 bits for what idempotency compares (DESIGN law 5): who, and what was used, which of a call its times tell."""
    used = [f"{each.at_s} {each.key} {','.join(map(str, each.used))}" for each in slices]
    told = f"{call.instant_s} {call.length_s}" if call is not None else ""
    text = "\n".join((named, "" if sub_session is None else str(sub_session), told, *sorted(used)))
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest())


def _fault(code: ResultCode, failed: dict[str, Any], reason: str) -> AskFault:
    return AskFault(code, encode_avps(failed), reason)
