"""AVPs from values to octets: one pre-bound writer for each AVP, and the general encoder on top of them.

Laws
1. What is written is what the decoder reads: decode(encode(message)) == message.
2. A value that does not fit its format is our own mistake: it raises (ValueError, OverflowError, struct.error), nothing is cut off.
"""

from collections.abc import Callable
from functools import cache
from ipaddress import IPv6Address
from struct import Struct
from typing import Any, Final

from ocs.diameter import dictionary as d

VENDOR_BIT: Final = 0x80
MANDATORY_BIT: Final = 0x40
OCTETS_MAX: Final = (1 << 24) - 1
"""The largest AVP and the largest message: both lengths are 24 bits wide (RFC 6733 sections 3 and 4.1)."""

NTP_EPOCH_SECONDS: Final = 2_208_988_800
"""Seconds from 1900-01-01 to 1970-01-01; a Time wraps in 2036 (RFC 6733 section 4.3.1)."""
TIME_LEAST: Final = (1 << 31) - NTP_EPOCH_SECONDS
TIME_MOST: Final = TIME_LEAST + (1 << 32) - 1

ADDRESS_IPV4: Final = b"\x00\x01"
ADDRESS_IPV6: Final = b"\x00\x02"

PADDING: Final = (b"", b"\x00\x00\x00", b"\x00\x00", b"\x00")
"""What follows a payload of n octets, by n & 3."""

Writer = Callable[[Any], bytes]

_NUMBERS: Final = {
    d.Integer32: ">i",
    d.Integer64: ">q",
    d.Unsigned32: ">I",
    d.Unsigned64: ">Q",
    d.Enumerated: ">i",
}
_TEXTS: Final = {d.UTF8String, d.DiameterIdentity, d.DiameterURI, d.IPFilterRule}


def address_octets(address: str | bytes) -> bytes:
    """Encode an Address (RFC 6733 section 4.3.1): text for IPv4 and IPv6, the payload's octets for anything else."""
    if isinstance(address, bytes):
        return address
    if ":" in address:
        return ADDRESS_IPV6 + IPv6Address(address).packed
    octets = bytes(int(part) for part in address.split("."))
    if len(octets) != 4:
        raise ValueError("an IPv4 address has four parts")
    return ADDRESS_IPV4 + octets


def _time_octets(unix_seconds: int) -> bytes:
    """Encode a Time: its most significant bit says on which side of the wrap of 2036 it lies."""
    if not TIME_LEAST <= unix_seconds <= TIME_MOST:
        raise OverflowError("a Time reaches from 1968 to 2104")
    return ((unix_seconds + NTP_EPOCH_SECONDS) & 0xFFFFFFFF).to_bytes(4, "big")


def _head(avp: d.Avp, *, mandatory: bool) -> tuple[Struct, tuple[int, ...], int, int]:
    """Return the header's shape, its leading and trailing words, and the flags word without the length."""
    flags = MANDATORY_BIT if mandatory else 0
    if avp.vendor:
        return Struct(">III"), (avp.code, avp.vendor), (flags | VENDOR_BIT) << 24, 12
    return Struct(">II"), (avp.code,), flags << 24, 8


def _number_writer(avp: d.Avp, *, mandatory: bool) -> Writer:
    shape, (code, *vendor), flags, head_octets = _head(avp, mandatory=mandatory)
    payload = Struct(_NUMBERS[avp.format])
    head = shape.pack(code, flags | head_octets + payload.size, *vendor)
    pack = payload.pack

    def write(value: int) -> bytes:
        return head + pack(value)

    return write


def _sized_writer(avp: d.Avp, octets_of: Callable[[Any], bytes], *, mandatory: bool) -> Writer:
    shape, (code, *vendor), flags, head_octets = _head(avp, mandatory=mandatory)
    pack, padding, vendor_id = shape.pack, PADDING, avp.vendor

    def write(value: Any) -> bytes:
        payload = octets_of(value)
        octets = len(payload)
        if octets > OCTETS_MAX - 12:
            raise OverflowError("an AVP's length is 24 bits wide")
        return pack(code, flags | head_octets + octets) + payload + padding[octets & 3]

    def write_vendor(value: Any) -> bytes:
        payload = octets_of(value)
        octets = len(payload)
        if octets > OCTETS_MAX - 12:
            raise OverflowError("an AVP's length is 24 bits wide")
        return pack(code, flags | head_octets + octets, vendor_id) + payload + padding[octets & 3]

    return write_vendor if vendor else write


def writer(name: str, *, mandatory: bool | None = None) -> Writer:
    """Bind the writer of one AVP: value to encoded AVP, padding included.

    `mandatory` sets the M-bit otherwise than the dictionary does (CLIENTS 20). A Grouped AVP takes its encoded body.
    Raises KeyError for a name that the dictionary does not know.
    """
    avp = d.BY_NAME[name]
    m_bit = avp.mandatory if mandatory is None else mandatory
    if avp.format in _NUMBERS:
        return _number_writer(avp, mandatory=m_bit)
    if avp.format in _TEXTS:
        return _sized_writer(avp, str.encode, mandatory=m_bit)
    if avp.format == d.Address:
        return _sized_writer(avp, address_octets, mandatory=m_bit)
    if avp.format == d.Time:
        return _sized_writer(avp, _time_octets, mandatory=m_bit)
    return _sized_writer(avp, bytes, mandatory=m_bit)


_writer = cache(writer)


def encode_avps(avps: dict[str, Any]) -> bytes:
    """Encode AVPs by name in the order in which they stand; groups are dicts, repeated AVPs lists."""
    parts: list[bytes] = []
    for name, value in avps.items():
        write = _writer(name)
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, dict):
                parts.append(write(encode_avps(one)))
            elif name == "Proxy-Info":
                parts.append(one)  # carried whole, header and padding too
            else:
                parts.append(write(one))
    return b"".join(parts)
