"""The generator's requests are what they claim to be, read by our codec and by python-diameter; its answers are read right."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import pytest
from diameter.message import Message as Stranger
from diameter.message.commands import CreditControlRequest

from loadtests import moulds, tally
from loadtests.generator import Run, answer_base, exchange, read_plan, result_code, subscribers
from loadtests.moulds import Avp, Moulds, join, message
from loadtests.tally import Tally, percentiles
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE, Units, ask
from ocs.diameter.codec import Codec, Message, header

IMSI, MSISDN = b"262011700000042", b"491700000042"
SESSION_ID = b"s03.example.org;0badcafe;0000007;gy"
IDS = bytes.fromhex("0300000103000001")
KINDS = [("initial", 0, INITIAL), ("update", 2, UPDATE), ("termination", 4, TERMINATION)]


def filled(kind: str, number: int) -> bytes:
    mould = getattr(Moulds.of(b"s03.example.org", len(MSISDN)), kind)
    octets: bytes = mould.fill(IDS, SESSION_ID, number.to_bytes(4, "big"), IMSI, MSISDN)
    return octets


@pytest.mark.parametrize(("kind", "number", "request_type"), KINDS)
def test_our_codec_reads_what_was_patched(kind: str, number: int, request_type: int) -> None:
    frame = filled(kind, number)
    avps = Codec().decode(frame).avps
    assert header(frame).hop_by_hop == header(frame).end_to_end == 0x03000001
    assert avps["Session-Id"] == SESSION_ID.decode()
    assert avps["Origin-Host"] == "s03.example.org"
    assert (avps["CC-Request-Type"], avps["CC-Request-Number"]) == (request_type, number)
    assert avps["Subscription-Id"] == [
        {"Subscription-Id-Type": 1, "Subscription-Id-Data": IMSI.decode()},
        {"Subscription-Id-Type": 0, "Subscription-Id-Data": MSISDN.decode()},
    ]


@pytest.mark.parametrize(("kind", "number", "request_type"), KINDS)
def test_python_diameter_reads_the_same(kind: str, number: int, request_type: int) -> None:
    found = Stranger.from_bytes(filled(kind, number))
    assert isinstance(found, CreditControlRequest)
    assert found.header.hop_by_hop_identifier == found.header.end_to_end_identifier == 0x03000001
    assert (found.session_id, found.origin_host) == (SESSION_ID.decode(), b"s03.example.org")
    assert (found.cc_request_type, found.cc_request_number) == (request_type, number)
    assert [each.subscription_id_data for each in found.subscription_id] == [IMSI.decode(), MSISDN.decode()]


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind, number, _ in KINDS])
def test_a_request_has_600_to_700_octets_and_says_so(kind: str, number: int) -> None:
    frame = filled(kind, number)
    assert 600 <= len(frame) <= 700
    assert header(frame).length == len(frame)


def test_an_update_reports_what_it_used_and_asks_for_more() -> None:
    (service,) = ask(Codec().decode(filled("update", 1))).services
    assert service.used is not None
    assert service.used.octets == moulds.USED_OCTETS
    assert service.wanted == Units(octets=1_000_000)


def test_a_termination_asks_for_nothing() -> None:
    (service,) = ask(Codec().decode(filled("termination", 4))).services
    assert service.wanted is None


def test_only_the_holes_differ_between_two_requests() -> None:
    mould = Moulds.of(b"s03.example.org", len(MSISDN)).update
    one = mould.fill(IDS, SESSION_ID, bytes(4), IMSI, MSISDN)
    other = mould.fill(bytes(8), bytes(35), b"\x00\x00\x00\x01", bytes(15), bytes(12))
    differing = {at for at, (left, right) in enumerate(zip(one, other, strict=True)) if left != right}
    holes = [one.index(value) for value in (IDS, SESSION_ID, IMSI, MSISDN)]
    widths = [len(value) for value in (IDS, SESSION_ID, IMSI, MSISDN)]
    inside = {at for hole, width in zip(holes, widths, strict=True) for at in range(hole, hole + width)}
    number_at = one.index(b"\x00\x00\x01\x9f") + 11
    assert differing <= inside | {number_at}


def test_the_cer_and_the_watchdog_answer_are_well_formed() -> None:
    codec = Codec()
    avps = codec.decode(exchange(b"s03.example.org")).avps
    assert (avps["Origin-Host"], avps["Auth-Application-Id"]) == ("s03.example.org", [4])
    asked = codec.encode(
        Message(0x80, 280, 0, 7, 9, {"Origin-Host": "ocs.example.org", "Origin-Realm": "example.org"})
    )
    answer = codec.decode(answer_base(asked, b"s03.example.org"))
    assert (answer.hop_by_hop, answer.end_to_end, answer.is_request) == (7, 9, False)
    assert answer.avps["Result-Code"] == 2001


def test_a_result_code_is_found_wherever_it_stands_and_never_inside_a_service() -> None:
    code = Avp(268, 0x40, 0, (4012).to_bytes(4, "big"))
    service = Avp(456, 0x40, 0, join([Avp(268, 0x40, 0, (2001).to_bytes(4, "big"))]))
    head = bytes(20)
    assert result_code(message(head, [Avp(263, 0x40, 0, b"a;b;c"), service, code])) == 4012
    assert result_code(message(head, [service])) == 0


def test_subscribers_are_shared_out_and_have_the_imsi_of_a_bulk_create() -> None:
    plan = read_plan(
        ["--address", "h:1", "--first", "491700000000", "--subscribers", "10", "--connections", "3"]
    )
    shares = [subscribers(plan, place) for place in range(3)]
    numbers = sorted(each.msisdn for share in shares for each in share)
    assert numbers == [str(491_700_000_000 + each).encode() for each in range(10)]
    assert shares[1][0] == (b"262011700000001", b"491700000001")


def test_a_percentile_is_the_smallest_that_its_share_does_not_exceed() -> None:
    found = percentiles(list(range(1, 1001)))
    assert found == {"count": 1000, "p50": 500, "p99": 990, "p999": 999, "max": 1000}
    assert percentiles([7]) == {"count": 1, "p50": 7, "p99": 7, "p999": 7, "max": 7}
    assert percentiles([]) == {"count": 0}


def test_what_was_not_answered_is_slower_than_all_that_was() -> None:
    seen = Tally()
    seen.latencies_us[tally.UPDATE].extend(array("I", [100] * 98))
    seen.unanswered = 2
    assert seen.summed()["latency_us"]["all"]["p99"] == tally.LATENCY_US_MAX


# ---------------------------------------------------------------- against a small server


class Answering(asyncio.Protocol):
    """Answers everything 2001 with a grant, after `pause` seconds; keeps what it was sent."""

    def __init__(self, asked: list[bytes], pause: float) -> None:
        self._asked = asked
        self._pause = pause
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        octets = self._rest + data
        while len(octets) >= 4 and len(octets) >= (end := int.from_bytes(octets[1:4], "big")):
            frame, octets = octets[:end], octets[end:]
            self._asked.append(frame)
            asyncio.get_running_loop().call_later(self._pause, self._answer, frame)
        self._rest = octets

    def _answer(self, frame: bytes) -> None:
        assert self._transport is not None
        head = frame[:4] + bytes([frame[4] & 0x7F]) + frame[5:20]
        granted = Avp(456, 0x40, 0, join([Avp(431, 0x40, 0, b"")]))
        self._transport.write(message(head, [Avp(268, 0x40, 0, (2001).to_bytes(4, "big")), granted]))
        if header(frame).command == 282:
            self._transport.close()


async def load(options: str, pause: float = 0.0) -> tuple[dict[str, Any], list[bytes]]:
    asked: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Answering(asked, pause), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await Run(read_plan([f"--address=127.0.0.1:{port}", *options.split()])).run()
    return result, [frame for frame in asked if header(frame).command == 272]


@pytest.mark.parametrize("mode", ["closed --window 4", "open --rate 400"])
def test_every_session_is_an_initial_three_updates_and_a_termination(mode: str) -> None:
    options = (
        "--first 491700000000 --subscribers 4 --connections 2 --sessions 4 --warm-seconds 0 --seconds 0.4"
    )
    result, frames = asyncio.run(load(f"--mode {mode} {options}"))
    codec, sessions = Codec(), dict[str, list[tuple[int, int]]]()
    for frame in frames:
        avps = codec.decode(frame).avps
        sessions.setdefault(avps["Session-Id"], []).append(
            (avps["CC-Request-Type"], avps["CC-Request-Number"])
        )
    whole = [(1, 0), (2, 1), (2, 2), (2, 3), (3, 4)]
    assert len(sessions) > 4
    assert all(steps == whole[: len(steps)] for steps in sessions.values())
    assert whole in sessions.values()
    assert set(result["codes"]) == {"2001"}
    assert (result["unanswered"], result["ungranted"]) == (0, 0)
    assert len({header(frame).hop_by_hop for frame in frames}) == len(frames)


def test_an_open_loop_charges_a_slow_server_for_what_waited() -> None:
    options = "--mode open --rate 100 --first 491700000000 --subscribers 4 --connections 2 --warm-seconds 0 --seconds 0.4"
    result, frames = asyncio.run(load(options, pause=0.3))
    assert result["latency_us"]["all"]["p50"] >= 300_000
    assert len(frames) > 10  # it did not wait for answers before asking on


def test_a_server_that_closes_is_a_failed_run() -> None:
    async def attempt() -> None:
        def closing() -> asyncio.Protocol:
            class Closing(asyncio.Protocol):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    transport.close()

            return Closing()

        server = await asyncio.get_running_loop().create_server(closing, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            options = f"--address 127.0.0.1:{port} --first 491700000000 --subscribers 4 --connections 1"
            await Run(read_plan(options.split())).run()

    with pytest.raises(ConnectionError, match="no capabilities exchange"):
        asyncio.run(attempt())
