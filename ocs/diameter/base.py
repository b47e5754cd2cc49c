"""Builders and readers of the base protocol's six messages: CER, CEA, DWR, DWA, DPR, DPA (RFC 6733 sections 5.3 to 5.5).

Laws
1. What never changes on a connection is encoded once; an answer is a header in front of ready octets.
2. A success is 2001 exactly: 2002 breaks freeDiameter (CLIENTS 1).
3. We speak credit-control, and say so both ways (CLIENTS 2); where config serves it, accounting too. A relay has everything in common.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from ocs.diameter.codec import Codec, writer
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.message import Header, Message, answer_header

BASE_APPLICATION: Final = 0
CREDIT_CONTROL: Final = 4
"""Application id of RFC 8506 section 12.1."""
ACCOUNTING: Final = 3
"""Application id of base accounting (RFC 6733 section 2.4), which Rf uses (TS 32.299 clause 6.2)."""
RELAY: Final = 0xFFFFFFFF
"""Application id of a relay (RFC 6733 section 2.4): it carries every application."""
VENDOR_3GPP: Final = 10415

CAPABILITIES_EXCHANGE: Final = 257
DEVICE_WATCHDOG: Final = 280
DISCONNECT_PEER: Final = 282

REBOOTING: Final = 0
"""Disconnect-Cause values of RFC 6733 section 5.4.3."""
BUSY: Final = 1
DO_NOT_WANT_TO_TALK_TO_YOU: Final = 2

_REQUEST: Final = 0x80
_HEADER = struct.Struct("!IIIII")


class Local(NamedTuple):
    """What we say about ourselves, the same on every connection. `watchdog_ms` is Tw of RFC 3539, `accounting` whether Rf is served."""

    origin_host: str
    origin_realm: str
    host_ips: tuple[str, ...]
    vendor_id: int
    product_name: str
    origin_state_id: int
    firmware_revision: int
    watchdog_ms: int
    accounting: bool = False


class Identity(NamedTuple):
    """Who a peer says it is, and the address that it came from."""

    origin_host: str
    origin_realm: str
    remote_address: str


class Capabilities(NamedTuple):
    """What a peer said in its CER or CEA (RFC 6733 section 5.3)."""

    applications: frozenset[int]
    host_ips: tuple[str, ...]
    vendor_id: int
    product_name: str
    origin_state_id: int | None
    supported_vendors: frozenset[int]
    firmware_revision: int | None
    inband_security: frozenset[int]
    offers_accounting: bool = False

    @property
    def is_relay(self) -> bool:
        """Whether the peer carries every application."""
        return RELAY in self.applications

    @property
    def shares_credit_control(self) -> bool:
        """Whether anything that we speak is common (RFC 6733 section 5.3)."""
        return self.is_relay or CREDIT_CONTROL in self.applications


def _many(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def identity(message: Message, remote_address: str) -> Identity:
    """Read who sent a CER or CEA; both AVPs are required there, so the codec has seen to them."""
    return Identity(message.avps["Origin-Host"], message.avps["Origin-Realm"], remote_address)


def capabilities(message: Message) -> Capabilities:
    """Read what a CER or CEA advertises.

    Application ids come at the top or inside Vendor-Specific-Application-Id (CLIENTS 3). Accounting ids are none of credit-control,
    which is an authorisation application (RFC 8506 section 1.3): of them the relay's counts, and that of accounting for itself.
    """
    avps = message.avps
    ids = set(_many(avps.get("Auth-Application-Id")))
    accounting = set(_many(avps.get("Acct-Application-Id")))
    for group in _many(avps.get("Vendor-Specific-Application-Id")):
        ids.update(_many(group.get("Auth-Application-Id")))
        accounting.update(_many(group.get("Acct-Application-Id")))
    if RELAY in _many(avps.get("Acct-Application-Id")):
        ids.add(RELAY)
    return Capabilities(
        applications=frozenset(ids),
        host_ips=tuple(address for address in _many(avps.get("Host-IP-Address")) if isinstance(address, str)),
        vendor_id=avps.get("Vendor-Id", 0),
        product_name=avps.get("Product-Name", ""),
        origin_state_id=avps.get("Origin-State-Id"),
        supported_vendors=frozenset(_many(avps.get("Supported-Vendor-Id"))),
        firmware_revision=avps.get("Firmware-Revision"),
        inband_security=frozenset(_many(avps.get("Inband-Security-Id"))),
        offers_accounting=ACCOUNTING in accounting,
    )


class Verdict(NamedTuple):
    """What became of a CER or CEA: who it is and what it offers, or the code and the words that refuse it."""

    result_code: int
    why: str = ""
    failed_avp: bytes = b""
    identity: Identity | None = None
    capabilities: Capabilities | None = None


def judge(
    codec: Codec,
    frame: bytes,
    remote_address: str,
    allow: Callable[[Identity], str | None],
    *,
    accounting: bool = False,
) -> Verdict:
    """Read a CER or a CEA and say whether we may talk with its sender (RFC 6733 section 5.3).

    Refused are: what cannot be read (the codec's code), an answer other than 2001 (its code), a peer that `allow`
    names a reason against (3010), and one with which nothing is common (5010); ``accounting`` tells whether we serve that too.
    """
    try:
        message = codec.decode(frame)
    except DecodeFault as fault:
        return Verdict(fault.result_code, fault.reason, fault.failed_avp)
    if not message.is_request and message.avps.get("Result-Code") != ResultCode.SUCCESS:
        return Verdict(message.avps.get("Result-Code", 0), "the peer refused our CER")
    who, offered = identity(message, remote_address), capabilities(message)
    refusal = allow(who)
    if refusal is not None:
        return Verdict(ResultCode.UNKNOWN_PEER, refusal)
    if not offered.shares_credit_control and not (accounting and offered.offers_accounting):
        return Verdict(ResultCode.NO_COMMON_APPLICATION, "no common application")
    return Verdict(ResultCode.SUCCESS, identity=who, capabilities=offered)


class BaseMessages:
    """Our side of the base protocol, encoded once from `Local`; each method returns one whole message."""

    __slots__ = ("_about", "_applications", "_disconnect", "_origin", "_state", "_success")

    def __init__(self, local: Local) -> None:
        assert local.host_ips, "a CER and a CEA carry at least one Host-IP-Address (RFC 6733 section 5.3.5)"
        self._origin = writer("Origin-Host")(local.origin_host) + writer("Origin-Realm")(local.origin_realm)
        self._state = writer("Origin-State-Id")(local.origin_state_id)
        self._success = writer("Result-Code")(ResultCode.SUCCESS) + self._origin
        self._about = (
            b"".join(map(writer("Host-IP-Address"), local.host_ips))
            + writer("Vendor-Id")(local.vendor_id)
            + writer("Product-Name")(local.product_name)
            + self._state
        )
        application = writer("Auth-Application-Id")(CREDIT_CONTROL)
        specific = writer("Vendor-Specific-Application-Id")(writer("Vendor-Id")(VENDOR_3GPP) + application)
        self._applications = (
            writer("Supported-Vendor-Id")(VENDOR_3GPP)
            + application
            # Offered in-band TLS, freeDiameter starts it after any 2001 that does not say "none" (CLIENTS 4).
            + writer("Inband-Security-Id")(0)
            + specific
            + (_accounting() if local.accounting else b"")
            + writer("Firmware-Revision")(local.firmware_revision)
        )
        self._disconnect = writer("Disconnect-Cause")

    def cer(self, hop_by_hop: int, end_to_end: int) -> bytes:
        """Return a Capabilities-Exchange-Request (RFC 6733 section 5.3.1)."""
        body = self._origin + self._about + self._applications
        return _request(CAPABILITIES_EXCHANGE, body, hop_by_hop, end_to_end)

    def cea(self, to: Header) -> bytes:
        """Return a Capabilities-Exchange-Answer that accepts the peer (RFC 6733 section 5.3.2)."""
        return _answer(to, self._success + self._about + self._applications)

    def cea_refusal(self, to: Header, result_code: int, why: str, failed_avp: bytes = b"") -> bytes:
        """Return a CEA that refuses the peer and says why; `failed_avp` is one encoded AVP.

        A protocol error (3010 for one) takes the grammar of all errors instead (RFC 6733 section 7.2).
        """
        if _is_protocol_error(result_code):
            return self.refusal(to, result_code, why, failed_avp)
        trouble = _trouble(why, failed_avp)
        body = writer("Result-Code")(result_code) + self._origin + self._about + trouble + self._applications
        return _answer(to, body, result_code)

    def dwr(self, hop_by_hop: int, end_to_end: int) -> bytes:
        """Return a Device-Watchdog-Request (RFC 6733 section 5.5.1)."""
        return _request(DEVICE_WATCHDOG, self._origin + self._state, hop_by_hop, end_to_end)

    def dwa(self, to: Header) -> bytes:
        """Return a Device-Watchdog-Answer (RFC 6733 section 5.5.2)."""
        return _answer(to, self._success + self._state)

    def dpr(self, cause: int, hop_by_hop: int, end_to_end: int) -> bytes:
        """Return a Disconnect-Peer-Request (RFC 6733 section 5.4.1)."""
        return _request(DISCONNECT_PEER, self._origin + self._disconnect(cause), hop_by_hop, end_to_end)

    def dpa(self, to: Header) -> bytes:
        """Return a Disconnect-Peer-Answer (RFC 6733 section 5.4.2)."""
        return _answer(to, self._success)

    def refusal(self, to: Header, result_code: int, why: str, failed_avp: bytes = b"") -> bytes:
        """Return an answer that names a fault, to any base request (RFC 6733 sections 7.2 and 7.5).

        The E bit is set for 3xxx only; `failed_avp` is one encoded AVP or nothing.
        """
        body = writer("Result-Code")(result_code) + self._origin + _trouble(why, failed_avp)
        return _answer(to, body, result_code)


def _accounting() -> bytes:
    """Advertise accounting, both ways as credit-control."""
    application = writer("Acct-Application-Id")(ACCOUNTING)
    return application + writer("Vendor-Specific-Application-Id")(
        writer("Vendor-Id")(VENDOR_3GPP) + application
    )


def _is_protocol_error(result_code: int) -> bool:
    return 3000 <= result_code < 4000  # RFC 6733 section 7.1.3


def _trouble(why: str, failed_avp: bytes) -> bytes:
    return writer("Error-Message")(why) + (writer("Failed-AVP")(failed_avp) if failed_avp else b"")


def _request(command: int, body: bytes, hop_by_hop: int, end_to_end: int) -> bytes:
    """Put the header of RFC 6733 section 3 before a base request: version 1, R alone, application 0."""
    length = _HEADER.size + len(body)
    flags = _REQUEST << 24 | command
    return _HEADER.pack(1 << 24 | length, flags, BASE_APPLICATION, hop_by_hop, end_to_end) + body


def _answer(to: Header, body: bytes, result_code: int = ResultCode.SUCCESS) -> bytes:
    return answer_header(to, error=_is_protocol_error(result_code), length=_HEADER.size + len(body)) + body
