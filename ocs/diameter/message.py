"""A Diameter message: its header, and its AVPs by name."""

from struct import Struct
from typing import Any, Final, NamedTuple

HEADER_OCTETS: Final = 20

# Command flags, RFC 6733 section 3.
REQUEST: Final = 0x80
PROXIABLE: Final = 0x40
ERROR: Final = 0x20
RETRANSMITTED: Final = 0x10

_HEADER = Struct(">5I")


class Header(NamedTuple):
    """The 20 octets in front of every message (RFC 6733 section 3); `length` counts them too."""

    version: int
    length: int
    flags: int
    command: int
    application: int
    hop_by_hop: int
    end_to_end: int


def header(frame: bytes) -> Header:
    """Read the header of a frame of at least 20 octets; judges nothing."""
    first, second, application, hop_by_hop, end_to_end = _HEADER.unpack_from(frame)
    return Header(
        first >> 24, first & 0xFFFFFF, second >> 24, second & 0xFFFFFF, application, hop_by_hop, end_to_end
    )


def answer_header(request: "Header | Message", *, error: bool, length: int) -> bytes:
    """Build the answer's header to a request's (RFC 6733 section 6.2); `length` is the whole answer in octets.

    R and T are cleared, P is kept, the identifiers are copied; the E-bit is for 3xxx only (CLIENTS 18).
    """
    flags = request.flags & PROXIABLE | (ERROR if error else 0)
    return _HEADER.pack(
        1 << 24 | length,
        flags << 24 | request.command,
        request.application,
        request.hop_by_hop,
        request.end_to_end,
    )


class Message:
    """One message, decoded or to be encoded; `avps` is keyed by the AVP's standard name.

    UTF8String, DiameterIdentity, DiameterURI and IPFilterRule are str; OctetString is bytes; numbers and Enumerated
    are int; Time is int (Unix seconds); Address is str for IPv4 and IPv6, else the payload's bytes; Grouped is a
    dict of the same kind. What the grammar allows many times is a list, however many there are. Proxy-Info is the
    whole encoded AVP (an answer copies it untouched), Failed-AVP the encoded AVPs inside it.
    """

    __slots__ = ("application", "avps", "command", "end_to_end", "flags", "hop_by_hop")

    def __init__(
        self,
        flags: int,
        command: int,
        application: int,
        hop_by_hop: int,
        end_to_end: int,
        avps: dict[str, Any],
    ) -> None:
        self.flags = flags
        self.command = command
        self.application = application
        self.hop_by_hop = hop_by_hop
        self.end_to_end = end_to_end
        self.avps = avps

    @property
    def is_request(self) -> bool:
        """Tell whether the R-bit is set."""
        return self.flags & REQUEST != 0

    @property
    def is_proxiable(self) -> bool:
        """Tell whether the P-bit is set."""
        return self.flags & PROXIABLE != 0

    @property
    def is_error(self) -> bool:
        """Tell whether the E-bit is set."""
        return self.flags & ERROR != 0

    @property
    def is_retransmitted(self) -> bool:
        """Tell whether the T-bit is set: it may have been sent before, through another peer (CLIENTS 25)."""
        return self.flags & RETRANSMITTED != 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self.flags == other.flags
            and self.command == other.command
            and self.application == other.application
            and self.hop_by_hop == other.hop_by_hop
            and self.end_to_end == other.end_to_end
            and self.avps == other.avps
        )

    __hash__ = None  # type: ignore[assignment]  # its AVPs may change

    def __repr__(self) -> str:
        # Names only: values may be personal.
        kind = "request" if self.is_request else "answer"
        return f"<Message {self.command}/{self.application} {kind} {list(self.avps)}>"
