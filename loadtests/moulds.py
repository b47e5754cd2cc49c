"""Credit-control requests as octets, made once and then only patched: the shape that a real packet gateway sends.

Laws
1. The shape is Open5GS's (tests/vectors/captures/open5gs.hex) without its QoS-Information and User-Equipment-Info, so
   that a request has 600 to 700 octets. Nothing of `ocs` is used: what loads the server shares no code with it.
2. A mould has holes for what differs from request to request: hop-by-hop and end-to-end id, Session-Id,
   CC-Request-Number, IMSI and MSISDN. Every hole has a fixed width, so filling one is a join.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

CAPTURE = Path(__file__).parent.parent / "tests" / "vectors" / "captures" / "open5gs.hex"
KINDS = ("CCR-I", "CCR-U", "CCR-T")
USED_OCTETS = 900_000
"""What an update reports: nine tenths of the million octets that the captured request asks for."""

SESSION_ID_OCTETS = 35
IMSI_OCTETS = 15
_IDS_AT = 12
_NUMBER_HOLE = b"\xfa\xce\xfe\xed"
_SESSION_HOLE = b"\xf1" * SESSION_ID_OCTETS
_IMSI_HOLE = b"\xf2" * IMSI_OCTETS

# Codes of RFC 6733 section 4.5, RFC 8506 section 8 and TS 32.299 clause 7.2.
SESSION_ID, ORIGIN_HOST, ORIGIN_REALM, RESULT_CODE = 263, 264, 296, 268
SUBSCRIPTION_ID, SUBSCRIPTION_DATA, SUBSCRIPTION_TYPE = 443, 444, 450
REQUEST_NUMBER, SERVICE, SERVICE_INFORMATION = 415, 456, 873
GRANTED, USED, INPUT_OCTETS = 431, 446, 412
QOS_INFORMATION, USER_EQUIPMENT = 1016, 458


class Avp(NamedTuple):
    """One AVP as octets: the payload is not read further."""

    code: int
    flags: int
    vendor: int
    payload: bytes


def split(octets: bytes, start: int = 0) -> Iterator[Avp]:
    """Split a run of AVPs (RFC 6733 section 4.1)."""
    while start < len(octets):
        code, flags = int.from_bytes(octets[start : start + 4], "big"), octets[start + 4]
        length = int.from_bytes(octets[start + 5 : start + 8], "big")
        head, vendor = (12, int.from_bytes(octets[start + 8 : start + 12], "big")) if flags & 0x80 else (8, 0)
        yield Avp(code, flags, vendor, octets[start + head : start + length])
        start += length + -length % 4


def join(avps: list[Avp]) -> bytes:
    """Put AVPs together again, padded."""
    parts = []
    for code, flags, vendor, payload in avps:
        name = vendor.to_bytes(4, "big") if flags & 0x80 else b""
        length = 8 + len(name) + len(payload)
        parts.append(code.to_bytes(4, "big") + bytes([flags]) + length.to_bytes(3, "big") + name + payload)
        parts.append(bytes(-length % 4))
    return b"".join(parts)


def message(head: bytes, avps: list[Avp]) -> bytes:
    """Put a message together: the header's length is made right, the rest of it stays."""
    body = join(avps)
    return head[:1] + (20 + len(body)).to_bytes(3, "big") + head[4:20] + body


class Mould:
    """One request with holes."""

    __slots__ = ("_parts", "octets")

    def __init__(self, frame: bytes, msisdn_hole: bytes) -> None:
        cuts = [(_IDS_AT, 8)]
        for hole in (_SESSION_HOLE, _NUMBER_HOLE, _IMSI_HOLE, msisdn_hole):
            if frame.count(hole) != 1 or frame.find(hole) < sum(cuts[-1]):
                raise ValueError("the shape's holes are not in the order that fill() has")
            cuts.append((frame.index(hole), len(hole)))
        ends = [0, *(start + length for start, length in cuts)]
        starts = [*(start for start, _ in cuts), len(frame)]
        self._parts = tuple(frame[end:start] for end, start in zip(ends, starts, strict=True))
        self.octets = len(frame)

    def fill(self, ids: bytes, session_id: bytes, number: bytes, imsi: bytes, msisdn: bytes) -> bytes:
        """Return the request with its holes filled; each value has the width of its hole."""
        a, b, c, d, e, f = self._parts
        return b"".join((a, ids, b, session_id, c, number, d, imsi, e, msisdn, f))


class Moulds(NamedTuple):
    """The three kinds of request of one gateway."""

    initial: Mould
    update: Mould
    termination: Mould

    @classmethod
    def of(cls, origin_host: bytes, msisdn_octets: int) -> Self:
        """Make the moulds of a gateway with this Origin-Host, for numbers of this length."""
        frames = captured()
        hole = b"\xf3" * msisdn_octets
        return cls(*(Mould(reshaped(frames[kind], origin_host, hole), hole) for kind in KINDS))


def captured() -> dict[str, bytes]:
    """Return the first captured message of each kind."""
    found: dict[str, bytes] = {}
    kind = ""
    for line in CAPTURE.read_text().splitlines():
        if line.startswith("#"):
            kind = line[1:].split()[0]
        else:
            found.setdefault(kind, bytes.fromhex(line))
    return found


def reshaped(frame: bytes, origin_host: bytes, msisdn_hole: bytes) -> bytes:
    """Return a captured request made smaller, under another Origin-Host, with holes."""
    changes: dict[int, Callable[[bytes], bytes]] = {
        SESSION_ID: lambda _: _SESSION_HOLE,
        ORIGIN_HOST: lambda _: origin_host,
        REQUEST_NUMBER: lambda _: _NUMBER_HOLE,
        SUBSCRIPTION_ID: lambda payload: _subscription(payload, msisdn_hole),
        SERVICE: _service,
        SERVICE_INFORMATION: _service_information,
    }
    avps = []
    for avp in split(frame, 20):
        change = changes.get(avp.code)
        avps.append(avp if change is None else avp._replace(payload=change(avp.payload)))
    return message(frame[:20], avps)


def _subscription(payload: bytes, msisdn_hole: bytes) -> bytes:
    """Put a hole where the number or the IMSI stands (Subscription-Id-Type 0 is E.164, 1 is IMSI)."""
    avps = list(split(payload))
    e164 = next(avp.payload for avp in avps if avp.code == SUBSCRIPTION_TYPE) == bytes(4)
    hole = msisdn_hole if e164 else _IMSI_HOLE
    return join([avp._replace(payload=hole) if avp.code == SUBSCRIPTION_DATA else avp for avp in avps])


def _service(payload: bytes) -> bytes:
    """Drop the quality of service; let the gateway have used a little less than it was granted."""
    avps = [avp for avp in split(payload) if avp.code != QOS_INFORMATION]
    return join([avp._replace(payload=_used(avp.payload)) if avp.code == USED else avp for avp in avps])


def _service_information(payload: bytes) -> bytes:
    """Drop the equipment's identity from PS-Information."""
    avps = []
    for avp in split(payload):
        kept = [member for member in split(avp.payload) if member.code != USER_EQUIPMENT]
        avps.append(avp._replace(payload=join(kept)))
    return join(avps)


def _used(payload: bytes) -> bytes:
    octets = USED_OCTETS.to_bytes(8, "big")
    return join([avp._replace(payload=octets) if avp.code == INPUT_OCTETS else avp for avp in split(payload)])
