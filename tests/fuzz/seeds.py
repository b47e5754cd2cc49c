"""What the fuzzer begins with: every captured conversation, and requests that no captured client sends."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from ocs.diameter.base import BaseMessages
from ocs.diameter.codec import Codec
from ocs.diameter.message import Message
from tests.contract.mutations import Frame
from tests.real_ocs import conversations
from tests.serving import LOCAL

_CODEC = Codec()
_STRANGER = BaseMessages(LOCAL._replace(origin_host="fuzz.example.net", host_ips=("127.0.0.1",)))
CER, DWR, DPR = _STRANGER.cer(1, 1), _STRANGER.dwr(2, 2), _STRANGER.dpr(3, 3, 0)
SUBSCRIBER: dict[str, Any] = {
    "Subscription-Id": [{"Subscription-Id-Type": 0, "Subscription-Id-Data": "491700000001"}]
}
OTHER: list[dict[str, Any]] = [{"Subscription-Id-Type": 0, "Subscription-Id-Data": "491700000002"}]


def ccr(
    kind: int, number: int, session: str = "fuzz;1", services: list[dict[str, Any]] | None = None, **avps: Any
) -> bytes:
    """Encode a request; keyword names have _ for -."""
    named = {name.replace("_", "-"): value for name, value in avps.items()}
    if services is not None:
        named["Multiple-Services-Credit-Control"] = services
    fixed: dict[str, Any] = {
        "Session-Id": session,
        "Origin-Host": "fuzz.example.net",
        "Origin-Realm": "example.net",
        "Destination-Realm": "example.org",
        "Auth-Application-Id": 4,
        "Service-Context-Id": "32251@3gpp.org",
        "CC-Request-Type": kind,
        "CC-Request-Number": number,
    }
    ids = 100 * kind + number
    return _CODEC.encode(Message(0xC0, 272, 4, ids, ids, fixed | SUBSCRIBER | named))


def _services(*rows: tuple[int, int | None, int | None]) -> list[dict[str, Any]]:
    """Services of (rating group, octets used, octets wanted); None: not there."""
    return [
        {"Rating-Group": group}
        | ({} if used is None else {"Used-Service-Unit": [{"CC-Total-Octets": used}]})
        | ({} if wanted is None else {"Requested-Service-Unit": {"CC-Total-Octets": wanted}})
        for group, used, wanted in rows
    ]


def _event(action: int, number: int, units: int, token: bytes = b"", session: str = "fuzz;e") -> bytes:
    service: dict[str, Any] = {
        "Rating-Group": 1,
        "Requested-Service-Unit": {"CC-Service-Specific-Units": units},
    }
    if token:
        service["Refund-Information"] = token
    return ccr(
        4,
        number,
        session,
        Service_Context_Id="32274@3gpp.org",
        Requested_Action=action,
        services=[service],
    )


def written() -> Iterator[list[bytes]]:
    """Conversations of our own making."""
    yield [
        CER,
        ccr(1, 0, services=_services((10, None, 500_000), (20, None, 0))),
        ccr(2, 1, services=_services((10, 400_000, 500_000), (20, 7, 9))),
        ccr(2, 1, services=_services((10, 400_000, 500_000), (20, 7, 9))),
        ccr(2, 2, services=_services((10, 400_000, None))),
        ccr(3, 3, services=_services((10, 9_000_000, None), (20, 1, None))),
    ]
    yield [
        CER,
        ccr(1, 0, services=_services((10, None, 5), (10, None, 5))),
    ]
    yield [
        CER,
        _event(0, 1, 3),
        _event(1, 9, 1, session="fuzz;z"),
        _event(1, 9, 1, session="fuzz;y"),
        _event(1, 5, 1),
    ]
    yield [CER, _event(0, 1, 3), _event(0, 2, 5), _event(1, 3, 1), _event(2, 4, 9), _event(3, 5, 9), DPR]
    yield [
        CER,
        _event(0, 1, 3),
        _event(1, 2, 2, b"\x01\x00\x00\x00\x01fuzz;e", "fuzz;f"),
        _event(1, 3, 1, b"\xff\x00"),
    ]
    yield [
        CER,
        ccr(1, 0, Service_Context_Id="32260@3gpp.org", Requested_Service_Unit={"CC-Time": 60}),
        ccr(
            2,
            1,
            Service_Context_Id="32260@3gpp.org",
            Requested_Service_Unit={},
            Used_Service_Unit=[{"CC-Time": 61}],
        ),
        DWR,
        ccr(
            3,
            2,
            Service_Context_Id="32260@3gpp.org",
            Used_Service_Unit=[
                {"CC-Time": 5, "Tariff-Change-Usage": 0},
                {"CC-Time": 5, "Tariff-Change-Usage": 1},
            ],
        ),
    ]
    yield [
        CER,
        ccr(
            1,
            0,
            Subscription_Id=[],
            User_Name="491700000001",
            CC_Sub_Session_Id=7,
            services=_services((10, None, 5)),
        ),
        ccr(2, 1, Subscription_Id=[], CC_Sub_Session_Id=7, services=_services((10, 4, 5))),
        ccr(2, 1, services=_services((10, 4, 6)), Subscription_Id=OTHER),
    ]
    yield [
        CER,
        ccr(1, 0, Subscription_Id=[], Subscription_Id_Extension=[{"Subscription-Id-E164": "491700000001"}],
            Proxy_Info=[bytes.fromhex("0000011c40000020000001184000000961000000000000214000000b62636400")],
            Route_Record=["relay.example.net"], Event_Timestamp=1_700_000_000, Termination_Cause=1,
            Service_Information={"PS-Information": {"3GPP-SGSN-MCC-MNC": "26201", "Called-Station-Id": "internet"}},
            services=_services((10, None, 5))),
    ]  # fmt: skip


@cache
def seeds() -> tuple[bytes, ...]:
    """Every conversation as one input."""
    return tuple(b"".join(each) for each in (*(said.frames for said in conversations()), *written()))


@cache
def pool() -> tuple[bytes, ...]:
    """Single messages that may be put anywhere."""
    found = [frame for said in conversations() for frame in said.frames]
    found += [frame for said in written() for frame in said]
    return tuple(dict.fromkeys(found))


@cache
def _harmless() -> frozenset[bytes]:
    cers = [said.frames[0] for said in conversations()]
    dwrs = [each.frame for said in conversations() for each in said.messages if each.name[:3] == "DWR"]
    return frozenset((CER, DWR, *cers, *dwrs))


def harmless(frame: Frame) -> bool:
    """Tell whether a message ends no connection: a request of an application, or a base message that is known to be good."""
    return frame.application != 0 or frame.octets in _harmless()
