"""The codec: a table walker over the dictionary and the grammars, bound once.

Laws
1. decode raises DecodeFault and nothing else, for any octets (RFC 6733 section 7.1: every fault has its code).
2. What a header means is judged once and remembered under its octets; what an AVP holds is never remembered, but for
   identities. Both memories are bounded.
3. Depth follows from the grammars, never from the message.
4. Leniency is in grammar.py; besides it the M- and P-bits of AVPs that the grammar knows are not looked at (CLIENTS 7),
   and reserved bits of the message header are ignored (RFC 6733 section 3).
"""

import re
from contextlib import suppress
from ipaddress import IPv6Address
from struct import Struct
from typing import Any, Final, NamedTuple

from ocs import limits
from ocs.diameter import dictionary as d
from ocs.diameter import enums, grammar, writers
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.message import ERROR, HEADER_OCTETS, REQUEST, Header, Message, answer_header, header
from ocs.diameter.shapes import (
    ADDRESS,
    CHOICE,
    GROUP,
    IDENTITY,
    IPV4,
    NUMBER,
    OCTETS,
    PASSED,
    PASSED_COUNTED,
    TEXT,
    TIME,
    WHOLE,
    Leaf,
    Shapes,
    Unlike,
)
from ocs.diameter.writers import writer

__all__ = ["Codec", "Header", "Message", "answer_header", "header", "writer"]

_REFUSED: Final = -1

_KINDS: Final = {
    d.Integer32: NUMBER,
    d.Integer64: NUMBER,
    d.Unsigned32: NUMBER,
    d.Unsigned64: NUMBER,
    d.Enumerated: NUMBER,
    d.UTF8String: TEXT,
    d.IPFilterRule: TEXT,
    d.DiameterURI: TEXT,
    d.DiameterIdentity: IDENTITY,
    d.Address: ADDRESS,
    d.OctetString: OCTETS,
    d.Time: TIME,
}
_READERS: Final = {
    d.Integer32: Struct(">i").unpack_from,
    d.Integer64: Struct(">q").unpack_from,
    d.Unsigned32: Struct(">I").unpack_from,
    d.Unsigned64: Struct(">Q").unpack_from,
    d.Enumerated: Struct(">i").unpack_from,
}

_RESERVED_BITS: Final = 0x1F
_AVP_HEAD = Struct(">II")
_HEADER = Struct(">5I")
_U32 = Struct(">I").unpack_from
_FAMILY_AND_FOUR = Struct(">H4B").unpack_from
_PART: Final = tuple(str(octet) for octet in range(256))
_IDENTITY_FORM = re.compile(rb"[\x21-\x7e]{1,255}")  # RFC 6733 4.3.1: an FQDN or a realm, in ASCII

# What an answer may need of a request that could not be read to its end (RFC 6733 6.2 and 7.2, CLIENTS 18 and 24).
_ANSWERABLE: Final = """[ Session-Id ] [ Origin-Host ] [ Origin-Realm ] [ Auth-Application-Id ] [ Service-Context-Id ]
    [ CC-Request-Type ] [ CC-Request-Number ] [ CC-Sub-Session-Id ] *[ Proxy-Info ] [ Accounting-Record-Type ]
    [ Accounting-Record-Number ]"""

_Entry = tuple[int, str, int, int, int, Any, int]


class _Slot(NamedTuple):
    """One rule bound to its AVP: how to read it, with what, and how often it may come.

    `listed_most` is 0 for a single value, negative for one of which a second is passed over, else the longest list.
    """

    avp: d.Avp
    kind: int
    reads_with: Any
    listed_most: int


class _Bound:
    """One grammar bound to the dictionary, with the AVP headers that it has judged so far.

    `unknown` is what becomes of an unknown AVP with the M-bit: _REFUSED, PASSED_COUNTED or PASSED.
    """

    __slots__ = ("heads", "required", "slots", "unknown")

    def __init__(self, unknown: int) -> None:
        self.unknown = unknown
        self.slots: dict[int, _Slot] = {}
        self.required: tuple[str, ...] = ()
        self.heads: dict[bytes, _Entry] = {}


class Codec:
    """Decodes and encodes messages; one serves all connections of a worker."""

    def __init__(self, *, accounting: bool = False) -> None:
        """``accounting`` tells whether the commands of offline charging are spoken too."""
        commands = grammar.COMMANDS + (grammar.ACCOUNTING_COMMANDS if accounting else ())
        self.ignored_in_service_information = 0
        self._groups: dict[tuple[str, int], _Bound] = {}
        self._identities: dict[bytes, str] = {}
        self._shapes = Shapes()
        self._commands: dict[tuple[int, int, int], _Bound] = {}
        for command in commands:
            bound = self._bind(command.name, command.grammar, 0, _REFUSED)
            self._commands[command.application, command.code, REQUEST if command.request else 0] = bound
        erroneous = self._bind("ERROR", grammar.ERROR_ANSWER, 0, _REFUSED)
        for command in commands:
            self._commands[command.application, command.code, ERROR] = erroneous
        self._applications = {command.application for command in commands}
        self._answerable = self._bind("", _ANSWERABLE, 0, PASSED)
        self._readers_use = {"identities": self._identities, "seldom": _seldom, "ignored": self._ignore}

    # ---------------------------------------------------------------- binding

    def _bind(self, name: str, text: str, depth: int, unknown: int) -> _Bound:
        """Bind one grammar to the dictionary and its groups to theirs."""
        if depth > limits.AVP_DEPTH_MAX:
            raise ValueError(f"the grammar of {name} is deeper than {limits.AVP_DEPTH_MAX} groups")
        bound = _Bound(unknown)
        rules = grammar.grammar_rules(name, text)
        for rule in rules:
            avp = d.BY_NAME[rule.name]
            kind, reads_with = self._reading(avp, depth, unknown)
            bound.slots[avp.key] = _Slot(avp, kind, reads_with, rule.most if rule.listed else -rule.twice)
        bound.required = tuple(rule.name for rule in rules if rule.least)
        return bound

    def _reading(self, avp: d.Avp, depth: int, unknown: int) -> tuple[int, Any]:
        """Say how an AVP is read, and with what."""
        if avp.name == "Proxy-Info":
            return WHOLE, None  # RFC 6733 6.2: copied into the answer unchanged
        if avp.name == "Failed-AVP":
            return OCTETS, None  # RFC 6733 7.5: it holds what could not be read
        if avp.name in enums.CLOSED:
            return CHOICE, {value.to_bytes(4, "big"): value for value in enums.CLOSED[avp.name]}
        if avp.format == d.Grouped:
            below = PASSED_COUNTED if avp.name == grammar.TOLERANT else unknown
            known = self._groups.get((avp.name, below))
            if known is None:
                known = self._bind(avp.name, grammar.GROUPS[avp.name], depth + 1, below)
                self._groups[avp.name, below] = known
            return GROUP, known
        return _KINDS[avp.format], _READERS.get(avp.format)

    # ---------------------------------------------------------------- decoding

    def decode(self, frame: bytes) -> Message:
        """Decode one whole message; raises DecodeFault, which knows its answer, and nothing else."""
        for at, end, head, read, _heads, _frame in self._shapes.alike(frame):
            if end and frame[at:end] != head:
                continue
            try:
                message = read(frame)
            except Unlike:
                return self._walked(frame)  # the shape is known, a value has to be judged
            if message is not None:
                return message
        message = self._walked(frame)
        if self._shapes.is_looked_at():
            self._look(frame, message)
        return message

    def _look(self, frame: bytes, message: Message) -> None:
        """Learn the layout of a message that was walked without a fault, if it comes often."""
        bound = self._commands[message.application, message.command, message.flags & (REQUEST | ERROR)]
        heads: list[bytes] = []
        self._heads(bound, frame, HEADER_OCTETS, len(frame), heads)
        if self._shapes.came_often(frame, b"".join(heads)):
            self._shapes.learn(
                frame, self._layout(bound, frame, HEADER_OCTETS, len(frame)), self._readers_use
            )

    def _heads(self, bound: _Bound, frame: bytes, at: int, end: int, heads: list[bytes]) -> None:
        """Collect the AVP headers of a frame that was walked without a fault: what makes its layout."""
        judged = bound.heads.get
        while at < end:
            head = frame[at : at + 8]
            entry = judged(head)
            if entry is None:
                head = frame[at : at + 12]
                entry = judged(head) or self._judge(bound, frame, at, end)
            heads.append(head)
            if entry[0] == GROUP:
                self._heads(entry[5], frame, at + entry[2], at + entry[3], heads)
            at += entry[4]

    def _walked(self, frame: bytes) -> Message:
        """Decode a message by judging its header and walking its AVPs."""
        octets = len(frame)
        if octets < HEADER_OCTETS:
            raise self._refusal(frame)
        first, second, application, hop_by_hop, end_to_end = _HEADER.unpack_from(frame)
        flags, command = second >> 24, second & 0xFFFFFF
        bound = self._commands.get((application, command, flags & (REQUEST | ERROR)))
        if bound is None or first != 1 << 24 | octets or octets & 3:
            raise self._refusal(frame)
        avps: dict[str, Any] = {}
        try:
            self._walk(bound, frame, HEADER_OCTETS, octets, avps)
        except DecodeFault as fault:
            fault.header = header(frame)
            fault.avps = {**avps, **self._rescue(frame)}
            raise
        return Message(flags, command, application, hop_by_hop, end_to_end, avps)

    def _walk(self, bound: _Bound, frame: bytes, at: int, end: int, avps: dict[str, Any]) -> None:
        """Read the AVPs between two offsets, both multiples of 4, into `avps`."""
        judged = bound.heads.get
        seen_twice: tuple[str, ...] = ()
        while at < end:
            # 8 octets hold code, flags and length; with the V-bit the vendor too is needed, and only 12 are remembered.
            entry = (
                judged(frame[at : at + 8])
                or judged(frame[at : at + 12])
                or self._judge(bound, frame, at, end)
            )
            kind, name, head, length, padded, reads_with, listed_most = entry
            start, stop = at + head, at + length
            value: Any
            if stop > end:
                raise _beyond(frame, at, end)
            if kind == NUMBER:
                (value,) = reads_with(frame, start)
            elif kind == TEXT:
                try:
                    value = frame[start:stop].decode()
                except UnicodeDecodeError:
                    raise _bad_value(frame, at, length, name) from None
            elif kind == CHOICE:
                value = reads_with.get(frame[start:stop])
                if value is None:
                    raise _bad_value(frame, at, length, name)
            elif kind == GROUP:
                value = {}
                try:
                    self._walk(reads_with, frame, start, stop, value)
                except DecodeFault as fault:
                    fault.failed_avp = _enclosed(frame[at:start], fault.failed_avp)
                    raise
            elif kind == IDENTITY:
                value = self._identities.get(frame[start:stop]) or self._identity(
                    frame, at, length, start, name
                )
            elif kind == OCTETS:
                value = frame[start:stop]
            elif kind == IPV4:
                family, a, b, c, e = _FAMILY_AND_FOUR(frame, start)
                if family == 1:
                    value = f"{_PART[a]}.{_PART[b]}.{_PART[c]}.{_PART[e]}"
                else:
                    value = _seldom(ADDRESS, frame, at, length, start, name)
            elif kind >= PASSED:
                self.ignored_in_service_information += kind == PASSED_COUNTED
                at += padded
                continue
            else:
                value = _seldom(kind, frame, at, length, start, name)
            if name not in avps:
                avps[name] = [value] if listed_most > 0 else value
            elif listed_most > 0 and len(avps[name]) < listed_most:
                avps[name].append(value)
            elif listed_most < 0 and name not in seen_twice:
                seen_twice = (*seen_twice, name)  # the first counts (CLIENTS 6)
            else:
                # RFC 6733 7.1.5: the first instance beyond what is allowed
                failed = _copy(frame, at, length)
                raise _fault(ResultCode.AVP_OCCURS_TOO_MANY_TIMES, failed, f"{name} comes once too often")
            at += padded
        for name in bound.required:
            if name not in avps:
                raise _fault(ResultCode.MISSING_AVP, _missing(d.BY_NAME[name]), f"{name} is missing")

    def _layout(self, bound: _Bound, frame: bytes, at: int, end: int) -> tuple[Leaf, ...]:
        """Return how the AVPs lie in a frame that was walked without a fault."""
        leaves = []
        while at < end:
            judged = bound.heads.get
            entry = (
                judged(frame[at : at + 8])
                or judged(frame[at : at + 12])
                or self._judge(bound, frame, at, end)
            )
            kind, name, head, length, padded, reads_with, listed_most = entry
            below = self._layout(reads_with, frame, at + head, at + length) if kind == GROUP else ()
            leaves.append(Leaf(kind, name, at, head, length, padded, reads_with, listed_most, below))
            at += padded
        return tuple(leaves)

    def _ignore(self, avps: int) -> None:
        self.ignored_in_service_information += avps

    def _judge(self, bound: _Bound, frame: bytes, at: int, end: int) -> _Entry:
        """Judge an AVP header that this grammar has not met, and remember it: RFC 6733 section 4.1."""
        room = end - at
        code, word = _AVP_HEAD.unpack(frame[at : min(at + 8, end)].ljust(8, b"\0"))
        flags, length = word >> 24, word & 0xFFFFFF
        head = 12 if flags & writers.VENDOR_BIT else 8
        if length < head:
            raise _fault(
                ResultCode.INVALID_AVP_LENGTH, _example(frame[:end], at), f"AVP {code} has length {length}"
            )
        if length > room:
            raise _beyond(frame, at, end)
        key = code
        if head == 12:
            key |= _U32(frame, at + 8)[0] << 32
        if flags & _RESERVED_BITS:
            # RFC 6733 4.1: an unrecognized bit SHOULD be considered an error
            raise _fault(
                ResultCode.INVALID_AVP_BITS, _copy(frame, at, length), f"AVP {code} has reserved bits"
            )
        padded = length + 3 & ~3
        slot = bound.slots.get(key)
        entry: _Entry
        if slot is not None:
            _check_length(slot.avp, frame, at, length, head)
            kind = IPV4 if slot.kind == ADDRESS and length - head == 6 else slot.kind
            entry = (kind, slot.avp.name, head, length, padded, slot.reads_with, slot.listed_most)
        elif not flags & writers.MANDATORY_BIT:
            entry = (PASSED, "", head, length, padded, None, 0)
        elif bound.unknown == _REFUSED:
            failed = _copy(frame, at, length)
            raise _fault(
                ResultCode.AVP_UNSUPPORTED, failed, f"AVP {code} of vendor {key >> 32} is not known here"
            )
        else:
            entry = (bound.unknown, "", head, length, padded, None, 0)
        if len(bound.heads) >= limits.AVP_HEADS_KEPT_MAX:
            bound.heads.clear()
        bound.heads[frame[at : at + head]] = entry
        return entry

    def _identity(self, frame: bytes, at: int, length: int, start: int, name: str) -> str:
        """Judge a DiameterIdentity that was not met before, and remember it."""
        octets = frame[start : at + length]
        if not _IDENTITY_FORM.fullmatch(octets):
            raise _bad_value(frame, at, length, name)
        if len(self._identities) >= limits.IDENTITIES_KEPT_MAX:
            self._identities.clear()
        text = self._identities[octets] = octets.decode("ascii")
        return text

    def _rescue(self, frame: bytes) -> dict[str, Any]:
        """Read what an answer needs from wherever it stands in a message that has a fault somewhere."""
        found: dict[str, Any] = {}
        at, end = HEADER_OCTETS, len(frame)
        while at < end:
            length = _AVP_HEAD.unpack_from(frame, at)[1] & 0xFFFFFF if end - at >= 8 else 0
            following = at + (length + 3 & ~3)
            if length < 8 or following > end:
                break
            with suppress(DecodeFault):
                self._walk(self._answerable, frame, at, following, found)
            at = following
        return found

    def _refusal(self, frame: bytes) -> DecodeFault:
        """Say why the header alone refuses a message: RFC 6733 sections 7.1.3 and 7.1.5."""
        head = header(frame.ljust(HEADER_OCTETS, b"\0"))
        octets = len(frame)
        if octets < HEADER_OCTETS or head.length != octets or octets & 3:
            fault = _fault(
                ResultCode.INVALID_MESSAGE_LENGTH, b"", f"length {head.length} of a message of {octets}"
            )
        elif head.version != 1:
            fault = _fault(ResultCode.UNSUPPORTED_VERSION, b"", f"version {head.version}")
        else:
            known = (head.application, head.command, head.flags & REQUEST) in self._commands
            if head.application not in self._applications:
                fault = _fault(ResultCode.APPLICATION_UNSUPPORTED, b"", f"application {head.application}")
            elif known and head.flags & REQUEST:
                fault = _fault(ResultCode.INVALID_HDR_BITS, b"", "a request with the E-bit")
            else:
                fault = _fault(ResultCode.COMMAND_UNSUPPORTED, b"", f"command {head.command}")
            fault.avps = self._rescue(frame)
        fault.header = head
        return fault

    # ---------------------------------------------------------------- encoding

    def encode(self, message: Message) -> bytes:
        """Encode a request or an answer; its AVPs in the order in which they stand. For hot answers use writer()."""
        body = writers.encode_avps(message.avps)
        length = HEADER_OCTETS + len(body)
        if length > writers.OCTETS_MAX:
            raise OverflowError("a message's length is 24 bits wide")
        return (
            _HEADER.pack(
                1 << 24 | length,
                message.flags << 24 | message.command,
                message.application,
                message.hop_by_hop,
                message.end_to_end,
            )
            + body
        )


# ---------------------------------------------------------------- what is seldom read, and faults


def _seldom(kind: int, frame: bytes, at: int, length: int, start: int, name: str) -> Any:
    """Read an Address that is not of four octets, a Time, or an AVP that is kept whole."""
    stop = at + length
    if kind == WHOLE:
        return frame[at : at + (length + 3 & ~3)]
    if kind == TIME:
        # RFC 6733 4.3.1: the most significant bit says on which side of the wrap of 2036 it lies.
        (ntp_seconds,) = _U32(frame, start)
        return ntp_seconds - writers.NTP_EPOCH_SECONDS + (0 if ntp_seconds >> 31 else 1 << 32)
    family, octets = frame[start : start + 2], frame[start + 2 : stop]
    if family == writers.ADDRESS_IPV6 and len(octets) == 16:
        return str(IPv6Address(octets))
    if family in {writers.ADDRESS_IPV4, writers.ADDRESS_IPV6}:
        raise _fault(
            ResultCode.INVALID_AVP_LENGTH, _copy(frame, at, length), f"{name} is no address of its family"
        )
    return frame[start:stop]


def _check_length(avp: d.Avp, frame: bytes, at: int, length: int, head: int) -> None:
    """Hold a typed AVP to the lengths that its format can have (RFC 6733 sections 4.2 to 4.4)."""
    payload_octets = length - head
    exact = d.FIXED_OCTETS.get(avp.format)
    if exact is not None:
        fits = payload_octets == exact
    elif avp.format == d.Grouped:
        fits = payload_octets & 3 == 0  # the last AVP inside is padded too, and its padding counted (4.4)
    else:
        fits = payload_octets >= d.LEAST_OCTETS.get(avp.format, 0)
    if not fits:
        failed = _example(frame, at) if avp.format == d.Grouped else _copy(frame, at, length)
        raise _fault(ResultCode.INVALID_AVP_LENGTH, failed, f"{avp.name} has length {length}")


def _fault(result_code: ResultCode, failed_avp: bytes, reason: str) -> DecodeFault:
    return DecodeFault(result_code, failed_avp, reason)


def _beyond(frame: bytes, at: int, end: int) -> DecodeFault:
    """Refuse an AVP that is longer than what it lies in, in the same words whether its header was met before or not."""
    code = int.from_bytes(frame[at : min(at + 4, end)].ljust(4, b"\0"), "big")
    why = f"AVP {code} ends beyond its container"
    return _fault(ResultCode.INVALID_AVP_LENGTH, _example(frame[:end], at), why)


def _bad_value(frame: bytes, at: int, length: int, name: str) -> DecodeFault:
    return _fault(
        ResultCode.INVALID_AVP_VALUE, _copy(frame, at, length), f"{name} has a value that cannot be"
    )


def _copy(frame: bytes, at: int, length: int) -> bytes:
    """Copy an offending AVP for a Failed-AVP; a very long one becomes an example of itself."""
    if length > limits.FAILED_AVP_OCTETS_MAX:
        return _example(frame, at)
    return frame[at : at + length] + writers.PADDING[length & 3]


def _example(frame: bytes, at: int) -> bytes:
    """Build the header of an AVP whose length cannot be, with the shortest payload in zeros (RFC 6733 7.1.5)."""
    head_octets = 12 if frame[at + 4 : at + 5] and frame[at + 4] & writers.VENDOR_BIT else 8
    head = frame[at : at + head_octets].ljust(head_octets, b"\0")
    code, _ = _AVP_HEAD.unpack_from(head)
    vendor = int.from_bytes(head[8:], "big")
    avp = d.BY_KEY.get(vendor << 32 | code)
    return _enclosed(head, bytes(d.LEAST_OCTETS.get(avp.format, 0) if avp else 0))


def _missing(avp: d.Avp) -> bytes:
    """Build the example of a missing AVP: shortest payload, zeros (RFC 6733 section 7.1.5)."""
    flags = (writers.MANDATORY_BIT if avp.mandatory else 0) | (writers.VENDOR_BIT if avp.vendor else 0)
    head = _AVP_HEAD.pack(avp.code, flags << 24) + (avp.vendor.to_bytes(4, "big") if avp.vendor else b"")
    return _enclosed(head, bytes(d.LEAST_OCTETS.get(avp.format, 0)))


def _enclosed(head: bytes, payload: bytes) -> bytes:
    """Put a payload behind an AVP header, with the length that is now right, and padding."""
    length = len(head) + len(payload)
    return head[:5] + length.to_bytes(3, "big") + head[8:] + payload + writers.PADDING[len(payload) & 3]
