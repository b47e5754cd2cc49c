"""Ways to spoil a Diameter message, and a reader of what is left of it: neither owes anything to ocs.diameter.

Laws
1. A mutation that works on AVPs leaves all lengths right, so that the fault it makes is met behind the framing.
2. A mutation that works on octets cares for nothing.
3. The reader is naive on purpose: it bounds what a message can have reported, however odd the message is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

VENDOR_BIT = 0x80
GROUPS = frozenset({279, 284, 297, 260, 431, 437, 443, 446, 456, 458, 413, 873, 874, 876, 1016, 1034})
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 20, 255, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
LARGE = (2**32, 2**50, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 1_048_576, 1_048_577, 10_485_761)
# Not 284: a Proxy-Info is its proxy's own business and goes back as it came, readable or not (RFC 6733 section 6.2).
CODES = (0, 1, 25, 55, 257, 263, 264, 268, 279, 293, 415, 416, 420, 421, 432, 439, 443, 446, 456, 461, 873)


class Avp(NamedTuple):
    """An AVP; a group that could be read has its members in ``members``, anything else octets in ``payload``."""

    code: int
    flags: int
    vendor: bytes
    payload: bytes
    members: tuple[Avp, ...] | None

    def octets(self) -> bytes:
        """The AVP on the wire, padded."""
        payload = self.payload if self.members is None else b"".join(each.octets() for each in self.members)
        length = 8 + len(self.vendor) + len(payload)
        head = self.code.to_bytes(4, "big") + bytes((self.flags,)) + (length & 0xFFFFFF).to_bytes(3, "big")
        return head + self.vendor + payload + bytes(-length % 4)


def read_avps(octets: bytes) -> tuple[Avp, ...] | None:
    """Read a row of AVPs; None where their lengths do not fit."""
    found = []
    at = 0
    while at < len(octets):
        if len(octets) - at < 8:
            return None
        code, flags = int.from_bytes(octets[at : at + 4], "big"), octets[at + 4]
        length = int.from_bytes(octets[at + 5 : at + 8], "big")
        head = 12 if flags & VENDOR_BIT else 8
        if length < head or at + length > len(octets):
            return None
        vendor, payload = octets[at + 8 : at + head], octets[at + head : at + length]
        found.append(Avp(code, flags, vendor, payload, read_avps(payload) if code in GROUPS else None))
        at += length + 3 & ~3
    return tuple(found)


def fitted(head: bytes, avps: Sequence[Avp]) -> bytes:
    """A message of a header and AVPs, with its length right."""
    body = b"".join(each.octets() for each in avps)
    return head[:1] + (20 + len(body)).to_bytes(3, "big") + head[4:20] + body


# ---------------------------------------------------------------- what may be done to a message


class Mutation(NamedTuple):
    """One change: what is done, to which message, where in it, and with what; places wrap round."""

    kind: str
    message: int
    place: int
    other: int
    number: int
    octets: bytes


ON_AVPS = ("repeat", "drop", "swap", "value", "insert", "graft", "payload", "flags", "nest")
ON_OCTETS = ("flip", "flip", "header", "length", "cut", "garbage", "glue")

MUTATIONS = st.builds(
    Mutation,
    st.sampled_from(ON_AVPS + ON_AVPS + ON_OCTETS),
    st.integers(0, 15),
    st.integers(0, 400),
    st.integers(0, 400),
    st.sampled_from(NUMBERS + LARGE) | st.integers(0, 2**64 - 1),
    st.binary(max_size=40),
)


def mutated(frames: Sequence[bytes], mutation: Mutation) -> list[bytes]:
    """Return the messages with one of them spoilt."""
    spoilt = list(frames)
    # one spoilt CER in sixteen is enough: it hides what comes after it
    at = 1 + mutation.message % (len(spoilt) - 1) if mutation.message and len(spoilt) > 1 else 0
    donor = spoilt[mutation.other % len(spoilt)]
    if mutation.kind in ON_OCTETS:
        spoilt[at] = _on_octets(spoilt[at], donor, mutation)
        return spoilt
    avps, donated = read_avps(spoilt[at][20:]), read_avps(donor[20:])
    if avps and donated and len(spoilt[at]) >= 20:
        spoilt[at] = fitted(spoilt[at], _on_avps(avps, donated, mutation))
    return spoilt


def _on_octets(frame: bytes, donor: bytes, by: Mutation) -> bytes:
    if not frame:
        return by.octets
    place = by.place % len(frame)
    match by.kind:
        case "flip":
            return frame[:place] + bytes((frame[place] ^ 1 << by.number % 8,)) + frame[place + 1 :]
        case "header":
            place %= 20
            return frame[:place] + bytes((by.number % 256,)) + frame[place + 1 :]
        case "length":
            starts = [1] if len(frame) < 28 else [1, *(at + 5 for at in _starts(frame))]
            place = starts[by.place % len(starts)]
            return frame[:place] + (by.number & 0xFFFFFF).to_bytes(3, "big") + frame[place + 3 :]
        case "cut":
            return frame[:place]
        case "glue":
            return frame[:place] + donor[by.other % (len(donor) or 1) :]
    return frame[:place] + by.octets + frame[place:]


def _starts(frame: bytes) -> list[int]:
    """Where the top-level AVPs of a message begin, as far as they can be followed."""
    found, at = [], 20
    while at + 8 <= len(frame):
        found.append(at)
        at += max(8, int.from_bytes(frame[at + 5 : at + 8], "big")) + 3 & ~3
    return found


def _on_avps(avps: tuple[Avp, ...], donated: tuple[Avp, ...], by: Mutation) -> tuple[Avp, ...]:
    """Change one AVP of a row, or of a group in it: every second place goes down into the group."""
    at = by.place % len(avps)
    chosen = avps[at]
    if chosen.members and by.other % 2:
        deeper = by._replace(place=by.place // len(avps), other=by.other // 2)
        inner = _on_avps(chosen.members, donated, deeper)
        return (*avps[:at], chosen._replace(members=inner), *avps[at + 1 :])
    before, after = avps[:at], avps[at + 1 :]
    other = by.other % (len(avps) or 1)
    match by.kind:
        case "repeat":
            return (*avps[:other], chosen, *avps[other:])
        case "drop":
            return before + after
        case "swap":
            row = list(avps)
            row[at], row[other] = row[other], row[at]
            return tuple(row)
        case "graft":
            return (*before, donated[by.other % len(donated)], *after)
        case "flags":
            flags = by.number % 256
            vendor = (chosen.vendor or bytes(4)) if flags & VENDOR_BIT else b""
            return (*before, chosen._replace(flags=flags, vendor=vendor), *after)
        case "nest":
            return (*before, chosen._replace(payload=b"", members=(chosen,)), *after)
        case "insert":
            code = CODES[by.number % len(CODES)] if by.other % 3 else by.number % 2**32
            added = Avp(code, 0x40 if by.other % 2 else 0, b"", by.octets, None)
            return (*before, added, chosen, *after)
        case "value":
            size = len(chosen.payload) if chosen.members is None else 4
            value = (by.number % 256**size).to_bytes(size, "big")
            return (*before, chosen._replace(payload=value, members=None), *after)
    return (*before, chosen._replace(payload=by.octets, members=None), *after)


# ---------------------------------------------------------------- what is left of a message


class Frame(NamedTuple):
    """A whole message as its header says it is."""

    octets: bytes

    @property
    def is_request(self) -> bool:
        return bool(self.octets[4] & 0x80)

    @property
    def command(self) -> int:
        return int.from_bytes(self.octets[5:8], "big")

    @property
    def application(self) -> int:
        return int.from_bytes(self.octets[8:12], "big")

    @property
    def ids(self) -> bytes:
        """Hop-by-hop and end-to-end identifiers."""
        return self.octets[12:20]


class Stream(NamedTuple):
    """What a receiver that goes by the header's length finds in octets; ``broken``: a length that cannot be, or too few."""

    frames: tuple[Frame, ...]
    broken: bool


def stream_of(octets: bytes, octets_max: int) -> Stream:
    """Cut octets as RFC 6733 section 3 does."""
    found: list[Frame] = []
    at = 0
    while len(octets) - at >= 4:
        length = int.from_bytes(octets[at + 1 : at + 4], "big")
        if length < 20 or length % 4 or length > octets_max:
            return Stream(tuple(found), broken=True)
        if at + length > len(octets):
            break
        found.append(Frame(octets[at : at + length]))
        at += length
    return Stream(tuple(found), broken=at != len(octets))


def everywhere(avps: Sequence[Avp], code: int) -> Iterator[Avp]:
    """AVPs of a code at any depth."""
    for avp in avps:
        if avp.code == code:
            yield avp
        elif avp.members is not None:
            yield from everywhere(avp.members, code)


def identity(frame: Frame) -> bytes:
    """Session-Id, type and number of a request: what may be debited once (DESIGN law 5)."""
    avps = read_avps(frame.octets[20:]) or ()
    return b"|".join(next((avp.payload for avp in avps if avp.code == code), b"") for code in (263, 416, 415))


def is_event(frame: Frame) -> bool:
    """Whether a request is a one-time event."""
    return any(
        int.from_bytes(avp.payload, "big") == 4 for avp in everywhere(read_avps(frame.octets[20:]) or (), 416)
    )


def is_refund(frame: Frame) -> bool:
    """Whether a request is an event that asks for something back."""
    actions = everywhere(read_avps(frame.octets[20:]) or (), 436)
    return is_event(frame) and any(int.from_bytes(avp.payload, "big") == 1 for avp in actions)


def justified_micros(frame: Frame) -> int:
    """The most that a request can have debited, at 0.01 per started MiB, 0.10 per started minute and 0.09 a message, each report rounded by itself.

    An event debits what it asks for, and what the server chooses where it asks for nothing: 10 MiB, a minute or a message.
    """
    avps = read_avps(frame.octets[20:]) or ()
    most = 0
    told = list(everywhere(avps, 446))
    if is_event(frame):
        told += everywhere(avps, 437)
        most = max(1, len(list(everywhere(avps, 456)))) * 100_000
    for report in told:
        octets = seconds = events = 0
        for avp in report.members or ():
            number = int.from_bytes(avp.payload, "big")
            octets += number if avp.code in {412, 414, 421} else 0
            seconds += number if avp.code == 420 else 0
            events += number if avp.code == 417 else 0
        most += -(-octets // 1_048_576) * 10_000 + -(-seconds // 60) * 100_000 + events * 90_000
    return most
