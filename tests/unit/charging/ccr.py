"""Requests for the tests of charging: the captured ones, and ones made to measure; all through the real codec."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ocs.charging.ask import INITIAL
from ocs.diameter.codec import Codec, Header, Message, header

CAPTURES = Path(__file__).parents[2] / "vectors" / "captures"
CODEC = Codec()
MSISDN = {"Subscription-Id-Type": 0, "Subscription-Id-Data": "491700000001"}
IMSI = {"Subscription-Id-Type": 1, "Subscription-Id-Data": "001010000000001"}
SIP = {"Subscription-Id-Type": 2, "Subscription-Id-Data": "sip:491700000001@example.org"}


class Captured(NamedTuple):
    """One captured CCR."""

    capture: str
    name: str
    frame: bytes

    @property
    def message(self) -> Message:
        """Return it decoded."""
        return CODEC.decode(self.frame)


def captured() -> Iterator[Captured]:
    """Every CCR of every capture, in the order in which it was sent."""
    for file in sorted(CAPTURES.glob("*.hex")):
        name = ""
        for line in file.read_text().splitlines():
            if line.startswith("#"):
                name = line.split()[1]
            elif name.startswith("CCR"):
                yield Captured(file.stem, name, bytes.fromhex(line))


def frame_of(avps: dict[str, Any], *, flags: int = 0xC0) -> bytes:
    """Encode a CCR with fixed identifiers."""
    return CODEC.encode(Message(flags, 272, 4, 0x11223344, 0x55667788, avps))


def avps_of(kind: int = INITIAL, number: int = 0, **more: Any) -> dict[str, Any]:
    """Return the AVPs of a CCR; `more` names AVPs with _ for -, None leaves one out."""
    avps: dict[str, Any] = {
        "Session-Id": "smf.example.org;1;2",
        "Origin-Host": "smf.example.org",
        "Origin-Realm": "example.org",
        "Destination-Realm": "example.org",
        "Auth-Application-Id": 4,
        "Service-Context-Id": "32251@3gpp.org",
        "CC-Request-Type": kind,
        "CC-Request-Number": number,
        "Subscription-Id": [MSISDN, IMSI],
    }
    avps |= {name.replace("_", "-"): value for name, value in more.items()}
    return {name: value for name, value in avps.items() if value is not None}


def ccr(kind: int = INITIAL, number: int = 0, **more: Any) -> Message:
    """Return a CCR as the codec reads it."""
    return CODEC.decode(frame_of(avps_of(kind, number, **more)))


def services(*groups: dict[str, Any]) -> dict[str, Any]:
    """Return the AVP of several services."""
    return {"Multiple_Services_Credit_Control": list(groups)}


def service(rating_group: int | None = 10, **more: Any) -> dict[str, Any]:
    """Return one service; `used` and `requested` are its units, `identifiers` its Service-Identifiers."""
    group: dict[str, Any] = {}
    if "requested" in more:
        group["Requested-Service-Unit"] = more.pop("requested")
    if "used" in more:
        used = more.pop("used")
        group["Used-Service-Unit"] = used if isinstance(used, list) else [used]
    if "identifiers" in more:
        group["Service-Identifier"] = more.pop("identifiers")
    if rating_group is not None:
        group["Rating-Group"] = rating_group
    return group | {name.replace("_", "-"): value for name, value in more.items()}


def octets(units: int) -> dict[str, int]:
    """Return units of volume."""
    return {"CC-Total-Octets": units}


def header_of(message: Message, *, flags: int = 0xC0) -> Header:
    """Return the header of a request made to measure."""
    return header(frame_of(message.avps, flags=flags))
