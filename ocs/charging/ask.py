"""The Ask: what a credit-control request asks for, free of the protocol's encoding, and how it is read.

Laws
1. Lenient exactly where CLIENTS 5 to 16 says so, strict elsewhere: a request that is refused names its fault.
2. Used units are never passed over: what cannot be read as a number is a fault with Failed-AVP (DESIGN law 10).
3. The reason of a fault never holds a value: values may be personal.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

from ocs import limits
from ocs.charging.asked_units import (
    FINAL,
    NOT_GIVEN,
    SERVER_CHOOSES,
    AskFault,
    Units,
    ask_fault,
    copied,
    one_currency,
    read_units,
    reported_final,
    units_after,
    used_units,
)
from ocs.diameter.codec import Message, writer
from ocs.diameter.faults import ResultCode
from ocs.diameter.writers import encode_avps
from ocs.names import SubscriberId, imsi, service_family, service_key, subscriber_id, uri
from ocs.records import ACCOUNTING

__all__ = ["NOT_GIVEN", "AskFault", "Units"]

INITIAL, UPDATE, TERMINATION, EVENT = 1, 2, 3, 4
"""CC-Request-Type (RFC 8506 section 8.3)."""

DIRECT_DEBITING, REFUND_ACCOUNT, CHECK_BALANCE, PRICE_ENQUIRY = 0, 1, 2, 3
"""Requested-Action of an event (RFC 8506 section 8.41)."""


class AskedService(NamedTuple):
    """One service of a request: an MSCC, or the units at message level.

    ``used`` is None when nothing was reported, ``wanted`` None when nothing was requested; wanted = Units() is an empty
    Requested-Service-Unit: the server chooses. ``after`` is the part of ``used`` that was used after a tariff change (RFC 8506
    section 8.27), None when nobody says so.
    """

    key: str
    rating_group: int | None
    service_identifier: int | None
    used: Units | None
    wanted: Units | None
    after: Units | None = None


class Event(NamedTuple):
    """What makes a request a one-time event (RFC 8506 section 6): its Requested-Action, and of a refund the Refund-Information
    that the answer to its debit had (TS 32.299 clause 7.2), b"" where nobody gives it.
    """

    action: int
    refund: bytes = b""


class Ask(NamedTuple):
    """One credit-control request.

    ``digest`` (48 bits) stands for the content that idempotency compares (DESIGN law 5); ``multiple`` tells whether the
    services came as MSCC (else at message level); ``family`` is "data", "voice", "sms", "mms" or None. ``services`` are in
    the order of their keys, whatever the request's was: the digest does not know the order, and a kept outcome goes by it.
    ``information`` is the request's Service-Information as it was decoded, read where a tariff looks at it (information.py).
    ``event`` is what an event is about, None for requests of sessions; each of an event's services asks, and reports nothing.
    ``currency`` is the number of the currency that its units in money are in (ISO 4217), 0 where they name none: the account's, which alone
    is understood. None: it has no units in money.
    ``correlation`` is its CC-Correlation-Id (RFC 8506 section 8.1), octets that are no UTF-8 as surrogates; "" where it has none, or too long a one.
    It is no content: what is correlated moves no money.
    """

    kind: int
    session_id: str
    number: int
    family: str | None
    context: str
    ids: tuple[SubscriberId, ...]
    services: tuple[AskedService, ...]
    digest: int
    multiple: bool
    origin_host: str
    origin_realm: str
    information: Mapping[str, Any] | None = None
    event: Event | None = None
    currency: int | None = None
    correlation: str = ""


_FINAL = 2
"""Reporting-Reason FINAL (TS 32.299 clause 7.2.175): the service is over, whatever else the report says."""
_MULTIPLE_SERVICES_SUPPORTED = 1
_EXTENDED_IDS = (
    ("Subscription-Id-E164", 0),
    ("Subscription-Id-IMSI", 1),
    ("Subscription-Id-SIP-URI", 2),
    ("Subscription-Id-NAI", 3),
    ("Subscription-Id-Private", 4),
)
"""Members of Subscription-Id-Extension (RFC 8506 section 8.58) and the Subscription-Id-Type that each stands for."""
_IMSI_DIGITS = 15

_service_write = writer("Multiple-Services-Credit-Control")
_family = lru_cache(limits.CONTEXTS_KEPT_MAX)(service_family)


def ask(message: Message) -> Ask:
    """Read what a credit-control request asks for; raises AskFault, which knows its answer."""
    avps = message.avps
    try:
        return _ask(avps)
    except AskFault as fault:
        fault.avps = avps
        raise


def _ask(avps: dict[str, Any]) -> Ask:
    session_id, kind, context = avps["Session-Id"], avps["CC-Request-Type"], avps["Service-Context-Id"]
    if (
        not 0 < len(session_id) <= limits.SESSION_ID_OCTETS_MAX
        or (not session_id.isascii() and len(session_id.encode()) > limits.SESSION_ID_OCTETS_MAX)
        or session_id.startswith(ACCOUNTING)
    ):
        raise bad_session_id(session_id)
    if kind == EVENT:
        return _event(avps)
    ids, named = subscriber_ids(avps)
    groups = avps.get("Multiple-Services-Credit-Control")
    currencies: list[int] = []
    services = (
        _message_level(avps, kind, currencies) if groups is None else _several(groups, avps, kind, currencies)
    )
    return Ask(
        kind,
        session_id,
        avps["CC-Request-Number"],
        _family(context) if len(context) <= limits.SERVICE_CONTEXT_OCTETS_MAX else None,
        context,
        ids,
        services,
        _digest(named, services, avps.get("CC-Sub-Session-Id")),
        groups is not None or not services,
        avps["Origin-Host"],
        avps["Origin-Realm"],
        avps.get("Service-Information"),
        None,
        one_currency(currencies) if currencies else None,
        _correlation(avps["CC-Correlation-Id"]) if "CC-Correlation-Id" in avps else "",
    )


def _event(avps: dict[str, Any]) -> Ask:
    """Read a one-time event: its services ask as those of an Initial do, and one that names no units lets the server choose.

    RFC 8506 section 6: Requested-Action MUST be there. Units that were used are nothing that an event reports: passing over them
    would lose usage (law 2).
    """
    if "Requested-Action" not in avps:
        failed = encode_avps({"Requested-Action": DIRECT_DEBITING})
        raise ask_fault(ResultCode.MISSING_AVP, failed, "an event without Requested-Action")
    ids, named = subscriber_ids(avps)
    groups = avps.get("Multiple-Services-Credit-Control")
    chosen: dict[str, Any] = {"Requested-Service-Unit": {}}
    currencies: list[int] = []
    if groups is None:
        services = _message_level(chosen | avps, INITIAL, currencies)
    else:
        services = _several([chosen | group for group in groups], avps, INITIAL, currencies)
    if any(each.used is not None for each in services):
        reports = [
            *avps.get("Used-Service-Unit", ()),
            *(r for g in groups or () for r in g.get("Used-Service-Unit", ())),
        ]
        raise ask_fault(
            ResultCode.AVP_NOT_ALLOWED,
            copied("Used-Service-Unit", reports[0]),
            "an event that reports used units",
        )
    if any(each.wanted is not None and not each.wanted.money for each in services):
        failed = encode_avps({"CC-Money": {"Unit-Value": {"Value-Digits": 0}}})
        raise ask_fault(ResultCode.INVALID_AVP_VALUE, failed, "an event about no money at all")
    event = Event(avps["Requested-Action"], _refund_information(groups or ()))
    context = avps["Service-Context-Id"]
    return Ask(
        EVENT,
        avps["Session-Id"],
        avps["CC-Request-Number"],
        _family(context) if len(context) <= limits.SERVICE_CONTEXT_OCTETS_MAX else None,
        context,
        ids,
        services,
        _digest(f"{event.action} {event.refund.hex()}\n{named}", services, avps.get("CC-Sub-Session-Id")),
        groups is not None,
        avps["Origin-Host"],
        avps["Origin-Realm"],
        avps.get("Service-Information"),
        event,
        one_currency(currencies) if currencies else None,
        _correlation(avps["CC-Correlation-Id"]) if "CC-Correlation-Id" in avps else "",
    )


def _correlation(octets: bytes) -> str:
    return octets.decode(errors="surrogateescape") if len(octets) <= limits.CORRELATION_OCTETS_MAX else ""


def _refund_information(groups: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the Refund-Information of a request; one that names two debits is a fault, since a refund is of one."""
    found = {group["Refund-Information"]: None for group in groups if "Refund-Information" in group}
    if len(found) > 1:
        failed = _service_write(copied("Refund-Information", list(found)[1]))
        raise ask_fault(ResultCode.CONTRADICTING_AVPS, failed, "a refund of two debits")
    return bytes(next(iter(found), b""))


# ---------------------------------------------------------------- who


def subscriber_ids(avps: dict[str, Any]) -> "Named":
    """Return who the request is about, each identity once, in the request's order; the first source that names any.

    CLIENTS 12: several Subscription-Ids in any order and any spelling; CLIENTS 8: some have them inside Service-Information;
    RFC 8506 section 3.1 leaves User-Name as the last.
    """
    found = _listed(avps)
    if not found[0] and "Service-Information" in avps:
        found = _listed(avps["Service-Information"])
    if not found[0] and "User-Name" in avps:
        identity = _user_name(avps["User-Name"])
        return _NOBODY if identity is None else _named((identity,))
    return found


def _listed(avps: dict[str, Any]) -> "Named":
    """Return the identities of one level that have a normal form: Subscription-Id and its RFC 8506 section 8.58 extension."""
    spelt = [
        (group["Subscription-Id-Type"], group["Subscription-Id-Data"])
        for group in avps.get("Subscription-Id", ())[: limits.SUBSCRIPTION_IDS_MAX]
    ]
    if "Subscription-Id-Extension" in avps:
        for group in avps["Subscription-Id-Extension"][: limits.SUBSCRIPTION_IDS_MAX]:
            spelt += [(kind, group[name]) for name, kind in _EXTENDED_IDS if name in group]
    if not spelt:
        return _NOBODY
    remembered = sum([len(text) for _, text in spelt]) <= limits.SPELLING_KEPT_CHARS_MAX
    return (_normalised if remembered else _normalised.__wrapped__)(tuple(spelt))


class Named(NamedTuple):
    """Who a request is about, and the same in one text, in no order, for the digest."""

    ids: tuple[SubscriberId, ...]
    text: str


_NOBODY = Named((), "")


def _named(ids: tuple[SubscriberId, ...]) -> Named:
    return Named(ids, "".join([f"{kind}{value}\n" for kind, value in sorted(ids)]))


@lru_cache(limits.SPELLINGS_KEPT_MAX)
def _normalised(spelt: tuple[tuple[int, str], ...]) -> Named:
    """Normalise a list of identities as a request spells them; a session's requests spell them alike."""
    known = [identity for kind, text in spelt if (identity := subscriber_id(kind, text)) is not None]
    return _named(tuple(dict.fromkeys(known))[: limits.SUBSCRIPTION_IDS_MAX])


def _user_name(text: str) -> SubscriberId | None:
    """Normalise a User-Name, which says nothing of its kind: 15 bare digits are an IMSI (TS 23.003 clause 2.2), the rest as an NAI.

    E.164 allows 15 digits too, but no country uses them; python-diameter's gateway sends the IMSI, Kamailio the number
    with a plus or a SIP URI (CLIENTS 12).
    """
    return imsi(text) if len(text) == _IMSI_DIGITS and text.isdigit() else uri(text)


# ---------------------------------------------------------------- what


def _several(
    groups: list[dict[str, Any]], avps: dict[str, Any], kind: int, currencies: list[int]
) -> tuple[AskedService, ...]:
    """Read the services of a request that has MSCC (RFC 8506 section 8.16); the currencies of units in money are added."""
    if len(groups) > limits.SERVICES_PER_REQUEST_MAX:
        failed = copied("Multiple-Services-Credit-Control", groups[limits.SERVICES_PER_REQUEST_MAX])
        raise ask_fault(ResultCode.AVP_OCCURS_TOO_MANY_TIMES, failed, "too many services in one request")
    for name in ("Used-Service-Unit", "Requested-Service-Unit"):
        if name in avps:
            # RFC 8506 section 5.1.2: units are in the services or at message level. Passing over either would lose usage.
            value = avps[name][0] if name == "Used-Service-Unit" else avps[name]
            raise ask_fault(
                ResultCode.CONTRADICTING_AVPS,
                copied(name, value),
                f"{name} beside services that have their own",
            )
    services = []
    for group in groups:
        try:
            services.append(_service(group, kind, currencies))
        except AskFault as fault:
            fault.failed_avp = _service_write(fault.failed_avp)
            raise
    if len(services) > 1:
        _refuse_twins(services, groups)
        services.sort(key=itemgetter(0))  # by key: see Ask
    return tuple(services)


def _refuse_twins(services: list[AskedService], groups: list[dict[str, Any]]) -> None:
    """Refuse a request that names one service twice.

    RFC 8506 section 8.16 has two instances of a service in answers only (two quotas around a tariff change) and says that
    a request reports both sides of it in Used-Service-Units of one instance. The second instance is one too many:
    5009 with a copy of it (RFC 6733 section 7.1.5). Adding the two up would guess which request counts.
    """
    seen: set[str] = set()
    for service, group in zip(services, groups, strict=True):
        if service.key in seen:
            failed = copied("Multiple-Services-Credit-Control", group)
            raise ask_fault(ResultCode.AVP_OCCURS_TOO_MANY_TIMES, failed, "one service comes twice")
        seen.add(service.key)


def _service(group: dict[str, Any], kind: int, currencies: list[int]) -> AskedService:
    """Read one MSCC; a fault's Failed-AVP is still without the MSCC around it."""
    get = group.get
    rating_group, identifiers, reports = (
        get("Rating-Group"),
        get("Service-Identifier"),
        get("Used-Service-Unit"),
    )
    requested = get("Requested-Service-Unit")
    identifier = None
    if identifiers is None:
        key = service_key(rating_group, None)
    elif len(identifiers) <= limits.SERVICE_IDENTIFIERS_MAX:
        identifier = identifiers[0]
        key = service_key(rating_group, *identifiers)
    else:
        failed = encode_avps({"Service-Identifier": identifiers[limits.SERVICE_IDENTIFIERS_MAX]})
        raise ask_fault(
            ResultCode.AVP_OCCURS_TOO_MANY_TIMES, failed, "too many Service-Identifiers in one service"
        )
    used = None if reports is None else used_units(reports, currencies)
    if requested is None:
        if kind == INITIAL:
            # RFC 8506 section 8.16: "MUST be present in the initial interrogation". The grammar cannot say so, and it must not be
            # passed over: a 2001 without a grant is unlimited service to a real gateway (CLIENTS 21), and a grant that
            # nobody asked for is forbidden. Gateways that want a session without quota send no service at all.
            raise ask_fault(
                ResultCode.MISSING_AVP,
                encode_avps({"Requested-Service-Unit": {}}),
                "a service of an initial request asks for nothing",
            )
        return AskedService(key, rating_group, identifier, used, None, units_after(reports))
    if kind != INITIAL and (
        kind == TERMINATION or FINAL in get("Reporting-Reason", ()) or reported_final(reports)
    ):
        return AskedService(key, rating_group, identifier, used, None, units_after(reports))
    wanted = read_units(requested, "Requested-Service-Unit", currencies)
    return AskedService(key, rating_group, identifier, used, wanted, units_after(reports))


def _message_level(avps: dict[str, Any], kind: int, currencies: list[int]) -> tuple[AskedService, ...]:
    """Read the one service of a request without MSCC (RFC 8506 sections 5.2.1 and 5.3); its name is the Service-Identifier alone.

    Its Requested-Service-Unit is optional (MUST is for MSCC only) and a session of one service goes on until its
    termination: so an initial request, and an update that reports, ask although they do not say so, and the server
    chooses. A client of several services that opens a session before any service runs asks for nothing, and neither
    does an update that only tells of an event.
    """
    requested, reports = avps.get("Requested-Service-Unit"), avps.get("Used-Service-Unit")
    if requested is None and reports is None:
        several = avps.get("Multiple-Services-Indicator") == _MULTIPLE_SERVICES_SUPPORTED
        if kind != INITIAL or several:
            return ()
    identifier = avps.get("Service-Identifier")
    used = None if reports is None else used_units(reports, currencies)
    wanted = None
    if kind == INITIAL or (kind != TERMINATION and not reported_final(reports)):
        wanted = (
            SERVER_CHOOSES
            if requested is None
            else read_units(requested, "Requested-Service-Unit", currencies)
        )
    return (
        AskedService(service_key(None, identifier), None, identifier, used, wanted, units_after(reports)),
    )


# ---------------------------------------------------------------- content and faults


def _digest(named: str, services: tuple[AskedService, ...], sub_session: int | None) -> int:
    """Return 48 bits for what idempotency compares (DESIGN law 5): subscriber, services, used, wanted; in no order.

    Kind, number and Session-Id are the identity and not in it; Requested-Action counts in events only (CLIENTS 11).
    CC-Sub-Session-Id is in it: sub-sessions are not kept apart here (RFC 8506 section 5.1.1), so two that use one number are a
    conflict, instead of the second one's usage taken for a repetition of the first.
    """
    lines = [
        f"{key} {_text(used)} {_text(wanted)}" + (f" {_text(after)}" if after is not None else "")
        for key, _, _, used, wanted, after in services
    ]
    sub = "" if sub_session is None else str(sub_session)
    text = "\n".join((named + sub, *sorted(lines)))
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest())


def _text(units: Units | None) -> str:
    if units is None:
        return "-"
    octets, seconds, events, money = units
    return f"{octets},{seconds},{events}" if money < 0 else f"{octets},{seconds},{events},{money}"


def bad_session_id(session_id: str) -> AskFault:
    """Refuse a Session-Id that is empty, longer than the limit, or the name of a session of accounting (RFC 6733 section 8.8: no blank)."""
    if not session_id:
        failed = encode_avps({"Session-Id": session_id})
        return ask_fault(ResultCode.INVALID_AVP_VALUE, failed, "an empty Session-Id")
    if session_id.startswith(ACCOUNTING):
        return ask_fault(
            ResultCode.INVALID_AVP_VALUE,
            copied("Session-Id", session_id),
            "a Session-Id that begins with no identity",
        )
    return ask_fault(
        ResultCode.UNABLE_TO_COMPLY, copied("Session-Id", session_id), "a Session-Id beyond the limit"
    )
