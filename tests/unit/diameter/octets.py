"""Diameter octets by hand: what the codec's tests feed, built without the codec."""

from pathlib import Path
from struct import pack

from ocs.diameter.codec import Codec
from ocs.diameter.faults import DecodeFault

CAPTURES = Path(__file__).parents[2] / "vectors" / "captures"
FRAMES = [
    bytes.fromhex(line)
    for path in sorted(CAPTURES.glob("*.hex"))
    for line in path.read_text().splitlines()
    if not line.startswith("#")
]
"""Every captured message."""

M, P, V = 0x40, 0x20, 0x80


def avp(
    code: int, payload: bytes, flags: int = M, vendor: int | None = None, length: int | None = None
) -> bytes:
    """One AVP; `vendor` sets the V-bit, `length` lies about the length."""
    head = pack(">I", vendor) if vendor is not None else b""
    flags |= V if vendor is not None else 0
    stated = 8 + len(head) + len(payload) if length is None else length
    return pack(">II", code, flags << 24 | stated) + head + payload + bytes(-len(payload) % 4)


def u32(code: int, value: int) -> bytes:
    """One Unsigned32 or Enumerated AVP with the M-bit."""
    return avp(code, pack(">I", value))


def message(
    *avps: bytes, command: int = 272, application: int = 4, flags: int = 0xC0, version: int = 1
) -> bytes:
    """One message with the hop-by-hop id 0x11 and the end-to-end id 0x22."""
    body = b"".join(avps)
    return pack(">5I", version << 24 | 20 + len(body), flags << 24 | command, application, 0x11, 0x22) + body


SESSION_ID = avp(263, b"client.example.org;1;2")
ORIGIN_HOST = avp(264, b"client.example.org")
ORIGIN_REALM = avp(296, b"example.org")
DESTINATION_REALM = avp(283, b"example.org")
AUTH_APPLICATION = u32(258, 4)
CONTEXT = avp(461, b"32251@3gpp.org")
REQUEST_TYPE = u32(416, 1)
REQUEST_NUMBER = u32(415, 7)
CCR = (
    SESSION_ID,
    ORIGIN_HOST,
    ORIGIN_REALM,
    DESTINATION_REALM,
    AUTH_APPLICATION,
    CONTEXT,
    REQUEST_TYPE,
    REQUEST_NUMBER,
)
"""The least that a CCR holds (RFC 8506 section 3.1)."""


def ccr(*more: bytes, without: bytes | None = None) -> bytes:
    """A CCR with some AVPs more, or one less."""
    return message(*(part for part in CCR if part != without), *more)


def service(*inside: bytes) -> bytes:
    """One Multiple-Services-Credit-Control."""
    return avp(456, b"".join(inside))


def information(*inside: bytes) -> bytes:
    """One Service-Information."""
    return avp(873, b"".join(inside), vendor=10415)


def fault_of(frame: bytes, codec: Codec | None = None) -> DecodeFault:
    """Return the fault with which a codec, a fresh one by default, refuses a frame."""
    try:
        (codec or Codec()).decode(frame)
    except DecodeFault as fault:
        return fault
    raise AssertionError("the frame was accepted")
