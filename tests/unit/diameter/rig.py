"""Messages and peers for the tests of the peer: bytes put together by hand, captures, and python-diameter as reader."""

import struct
from pathlib import Path
from typing import Any

from diameter.message import Message as Stranger

from ocs.diameter.codec import Codec
from ocs.diameter.peer import Event, Identity, Local, Opened, Peer
from ocs.diameter.states import State

CAPTURES = Path(__file__).parents[2] / "vectors" / "captures"
LOCAL = Local(
    origin_host="ocs.example.org",
    origin_realm="example.org",
    host_ips=("127.0.0.1", "::1"),
    vendor_id=10415,
    product_name="ocs",
    origin_state_id=1_700_000_000,
    firmware_revision=100,
    watchdog_ms=30_000,
)
CODEC = Codec()
CER, CCR, DWR, DPR = 257, 272, 280, 282


def avp(code: int, payload: bytes | str | int, *, flags: int = 0x40) -> bytes:
    """Encode one AVP by hand: text, octets, or a 32-bit number."""
    if isinstance(payload, int):
        payload = struct.pack("!I", payload)
    elif isinstance(payload, str):
        payload = payload.encode()
    head = struct.pack("!II", code, flags << 24 | 8 + len(payload))
    return head + payload + bytes(-len(payload) % 4)


def frame(
    command: int, body: bytes, *, flags: int = 0x80, application: int = 0, ids: int = 7, version: int = 1
) -> bytes:
    """Encode one message by hand; `ids` is both identifiers."""
    first = version << 24 | 20 + len(body)
    return struct.pack("!IIIII", first, flags << 24 | command, application, ids, ids) + body


HOST, REALM = avp(264, "ctf.example.org"), avp(296, "example.org")
ADDRESS = avp(257, b"\x00\x01\x7f\x00\x00\x01")
ABOUT = avp(266, 0) + avp(269, "test", flags=0)
CREDIT_CONTROL = avp(258, 4)


def cer(*more: bytes, host: bytes = HOST, address: bytes = ADDRESS, ids: int = 7, version: int = 1) -> bytes:
    """Encode a CER; by default it offers credit-control."""
    return frame(
        CER, host + REALM + address + ABOUT + b"".join(more or (CREDIT_CONTROL,)), ids=ids, version=version
    )


def dwr(*, origin: bytes = HOST + REALM, more: bytes = b"", flags: int = 0x80, ids: int = 8) -> bytes:
    """Encode a DWR."""
    return frame(DWR, origin + more, ids=ids, flags=flags)


def dpr(cause: int | None = 0, *, ids: int = 9) -> bytes:
    """Encode a DPR, without Disconnect-Cause when that is None."""
    return frame(DPR, HOST + REALM + (b"" if cause is None else avp(273, cause)), ids=ids)


def ccr(number: int = 0) -> bytes:
    """Encode something that passes for a CCR as far as the peer looks."""
    return frame(CCR, avp(415, number), flags=0xC0, application=4, ids=number)


def answer(request: bytes, body: bytes, *, flags: int = 0) -> bytes:
    """Encode an answer to a request of ours."""
    command = int.from_bytes(request[5:8], "big")
    octets = frame(command, body, flags=flags)
    return octets[:8] + request[8:20] + octets[20:]


def success(request: bytes, *, host: bytes = HOST, more: bytes = b"") -> bytes:
    """Encode a CEA, DWA or DPA with 2001 to a request of ours."""
    body = avp(268, 2001) + host + REALM
    return answer(
        request,
        body + (ADDRESS + ABOUT + (more or CREDIT_CONTROL) if request[5:8] == b"\x00\x01\x01" else b""),
    )


def captured(name: str) -> list[tuple[str, bytes]]:
    """Read one capture: (kind, message) in the order in which they were sent."""
    lines = (CAPTURES / f"{name}.hex").read_text(encoding="ascii").split("\n")
    return [(lines[at].split()[1], bytes.fromhex(lines[at + 1])) for at in range(0, len(lines) - 1, 2)]


def names() -> list[str]:
    """List all captures."""
    return sorted(path.stem for path in CAPTURES.glob("*.hex"))


def all_captured(kind: str) -> list[tuple[str, bytes]]:
    """List the messages of one kind in all captures, with the name of the capture."""
    return [(name, octets) for name in names() for was, octets in captured(name) if was == kind]


def anybody(_: Identity) -> None:
    """Allow every peer."""


def make(now_ms: int = 0, **options: Any) -> Peer:
    """Make a peer that allows everybody; the options are those of Peer."""
    options.setdefault("allow", anybody)
    return Peer(options.pop("local", LOCAL), CODEC, now_ms=now_ms, remote_address="127.0.0.1", **options)


def opened(**options: Any) -> Peer:
    """Make a peer whose capabilities are exchanged, with nothing left to write or to tell."""
    peer = make(**options)
    assert peer.receive(cer(), 0) == []
    peer.outgoing()
    assert any(isinstance(event, Opened) for event in peer.events())
    return peer


def dialled(**options: Any) -> tuple[Peer, bytes]:
    """Make a peer of ours that has dialled and sent its CER; returns that too."""
    peer = make(initiator=True, **options)
    return peer, peer.outgoing()


def state(peer: Peer) -> State:
    """Ask anew: a type checker believes that what was asserted once stays so."""
    return peer.state


def closing(peer: Peer) -> bool:
    """Ask anew, as above."""
    return peer.closing


def read(octets: bytes) -> Any:
    """Read one message with python-diameter, a codec that is not ours."""
    return Stranger.from_bytes(octets)


def kinds(events: list[Event]) -> list[type]:
    """Return what the events are."""
    return [type(event) for event in events]


def split(octets: bytes) -> list[bytes]:
    """Cut written octets into messages by their lengths."""
    found = []
    while octets:
        length = int.from_bytes(octets[1:4], "big")
        found.append(octets[:length])
        octets = octets[length:]
    return found
