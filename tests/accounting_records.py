"""Accounting records for tests, as a client of Rf tells them: AVPs by name, read by the room under test."""

from typing import Any

from ocs.charging.accounting import AccountingRecord, read
from ocs.diameter.message import PROXIABLE, REQUEST, Message

EVENT, START, INTERIM, STOP = 1, 2, 3, 4
CONTEXTS = {
    "data": "32251@3gpp.org",
    "voice": "32260@3gpp.org",
    "sms": "32274@3gpp.org",
    "mms": "32270@3gpp.org",
}


def message(
    kind: int,
    number: int,
    *,
    family: str = "data",
    session: str = "pgw.example.org;1;1",
    msisdn: str = "491700000001",
    at_s: int = 0,
    information: dict[str, Any] | None = None,
    **more: Any,
) -> Message:
    """An Accounting-Request with its AVPs by name; `more` are others, with underscores for hyphens."""
    avps: dict[str, Any] = {
        "Session-Id": session,
        "Origin-Host": "pgw.example.org",
        "Origin-Realm": "example.org",
        "Destination-Realm": "example.org",
        "Accounting-Record-Type": kind,
        "Accounting-Record-Number": number,
        "Acct-Application-Id": 3,
        "Service-Context-Id": CONTEXTS.get(family, family),
    }
    if at_s:
        avps["Event-Timestamp"] = at_s
    told = dict(information or {})
    if msisdn:
        told["Subscription-Id"] = [{"Subscription-Id-Type": 0, "Subscription-Id-Data": msisdn}]
    if told:
        avps["Service-Information"] = told
    avps |= {name.replace("_", "-"): value for name, value in more.items()}
    return Message(REQUEST | PROXIABLE, 271, 3, 1, 1, avps)


def container(
    octets: int = -1, group: int | None = 10, *, at_s: int = 0, seconds: int = -1
) -> dict[str, Any]:
    """A Service-Data-Container; a third of its octets was received."""
    told: dict[str, Any] = {}
    if octets >= 0:
        told = {"Accounting-Input-Octets": octets // 3, "Accounting-Output-Octets": octets - octets // 3}
    if group is not None:
        told["Rating-Group"] = group
    if at_s:
        told["Change-Time"] = at_s
    if seconds >= 0:
        told["Time-Usage"] = seconds
    return told


def traffic(kind: int, number: int, *containers: dict[str, Any], **more: Any) -> AccountingRecord:
    """A record of a data session with these containers."""
    bearer = dict(more.pop("bearer", {}))
    if containers:
        bearer["Service-Data-Container"] = list(containers)
    return read(message(kind, number, information={"PS-Information": bearer}, **more))


def call(
    kind: int, number: int, at_s: int = 0, *, called: str = "", length_s: int = -1, **more: Any
) -> AccountingRecord:
    """A record of a call at an instant, or with the length that it has told so far."""
    ims: dict[str, Any] = {"Role-Of-Node": 0}
    if at_s:
        ims["Time-Stamps"] = {"SIP-Response-Timestamp": at_s}
    if called:
        ims["Called-Party-Address"] = f"tel:{called}"
    if length_s >= 0:
        more["Acct_Session_Time"] = length_s
    more.setdefault("session", "cscf.example.org;1;1")
    more.setdefault("family", "voice")
    more.setdefault("at_s", 0)
    return read(message(kind, number, information={"IMS-Information": ims}, **more))


def sms(number: int, *, messages: int | None = None, **more: Any) -> AccountingRecord:
    """The record of a short message, or of its parts."""
    told = {} if messages is None else {"Number-of-Messages-Sent": messages}
    more.setdefault("session", "smsc.example.org;1;1")
    return read(message(EVENT, number, family="sms", information={"SMS-Information": told}, **more))
