"""Wireshark as judge: everything that `ocs serve` says in a broad run is dissected by tshark, and nothing is found wrong."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.test_compliance_credit_control import MIB, element, wish
from tests.real_ocs import RealOcs, conversations, read_frame
from tests.strangers import needs
from tests.tap import DIAMETER_PORT, Said, Tap, write_pcap
from tests.tshark import Dissected, dissect
from tests.unit.diameter.rig import HOST, REALM, answer, avp, cer, dpr, dwr, frame

pytestmark = needs("tshark")

CER, CCR, RAR, STR, DWR, DPR = 257, 272, 258, 275, 280, 282
INITIAL, UPDATE, TERMINATION, EVENT = 1, 2, 3, 4
FIRST = 491_700_000_001
PEERS = """
[[diameter.peers]]
origin_host = "*"
origin_realm = "example.org"
address = "127.0.0.0/8"

[[diameter.peers]]
origin_host = "*"
origin_realm = "example.net"
address = "127.0.0.0/8"
"""
IDENTIFIERS = itertools.count(1_000)
SUBSCRIPTION = avp(443, avp(450, 0) + avp(444, str(FIRST)))
SERVICE = avp(456, avp(432, 1) + avp(437, b""))
CONTEXT = avp(461, "32251@3gpp.org")


def credit(
    session: str,
    kind: int,
    number: int,
    *more: bytes,
    flags: int = 0xC0,
    context: bytes = CONTEXT,
    who: bytes = SUBSCRIPTION,
) -> bytes:
    """A CCR put together by hand."""
    whole = avp(263, session) + HOST + REALM + avp(283, "example.org") + avp(258, 4) + context
    whole += avp(416, kind) + avp(415, number) + who + b"".join(more)
    return frame(CCR, whole, flags=flags, application=4, ids=next(IDENTIFIERS))


FAULTS = {
    3001: frame(STR, avp(263, "x;1") + HOST + REALM + avp(283, "example.org"), flags=0xC0, application=4),
    3007: frame(CCR, avp(263, "x;2") + HOST + REALM, flags=0xC0, application=16_777_238),
    3008: credit("x;3", INITIAL, 0, SERVICE, flags=0xE0),
    3009: credit("x;4", INITIAL, 0, SERVICE, avp(1, "somebody", flags=0x41)),
    5001: credit("x;5", INITIAL, 0, SERVICE, avp(9_999, "what nobody knows")),
    5004: credit("x;6", INITIAL, 0, SERVICE, avp(455, 7)),
    5005: credit("x;7", INITIAL, 0, SERVICE, context=b""),
    5009: credit("x;8", INITIAL, 0, SERVICE, CONTEXT),
    5014: credit("x;9", INITIAL, 0, SERVICE, avp(278, b"\x01\x02\x03")),
}
"""Requests that cannot be served, by the Result-Code that says why."""

WITH_FAILED_AVP = {"5001", "5004", "5005", "5009", "5014"}
"""Result-Codes whose answer has to name an AVP (RFC 6733 section 7.1.5)."""

EXPECTED = {
    CER: {"2001", "3010", "5010", "5005"},
    DWR: {"2001", "5005"},
    DPR: {"2001"},
    CCR: {
        *("2001", "3004", "3007", "3008", "3009", "4010", "4012"),
        *("5001", "5002", "5004", "5005", "5009", "5012", "5014", "5030", "5031"),
    },
    STR: {"3001"},
}  # fmt: skip
"""Every kind of answer that the run has to bring about: it may not shrink unseen."""

BASE = {"Result-Code", "Origin-Host", "Origin-Realm"}
CHARGED = BASE | {"Session-Id", "Auth-Application-Id", "CC-Request-Type", "CC-Request-Number"}
MANDATORY = {
    CER: BASE | {"Host-IP-Address", "Vendor-Id", "Product-Name"},  # RFC 6733 section 5.3.2
    DWR: BASE,  # section 5.5.2
    DPR: BASE,  # section 5.4.2
    CCR: CHARGED,  # RFC 8506 section 3.2
}
IN_ERRORS = BASE | {"Session-Id"}  # RFC 6733 section 7.2
ASKED = {CER: BASE - {"Result-Code"} | {"Host-IP-Address", "Vendor-Id", "Product-Name"},
         DWR: BASE - {"Result-Code"}, DPR: BASE - {"Result-Code"} | {"Disconnect-Cause"}}  # fmt: skip
"""What requests of ours have to carry."""


# ---------------------------------------------------------------- the run


def ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    assert read_frame(connection) is not None


def say_captured_conversations(tap: Tap) -> None:
    for place, said in enumerate(conversations()):
        with tap.connect() as connection:
            for message in said.about(str(FIRST + 100 + place)).messages:
                connection.sendall(message.frame)
                if message.frame[4] & 0x80:
                    read_frame(connection)


def say_sessions(tap: Tap, server: RealOcs) -> None:
    """Grants of every shape, the last units, and every refusal that money and subscribers give."""
    with element(tap, 0) as pgw:  # three groups, credit for two; a report of one alone
        pgw.ask(INITIAL, 0, *[wish(group, wanted=MIB) for group in (1, 2, 3)])
        pgw.ask(UPDATE, 1, wish(2, used=MIB, ends=True))
        pgw.ask(UPDATE, 2, wish(3, wanted=MIB))
        pgw.ask(UPDATE, 2, wish(3, wanted=MIB, used=1))  # the number again, with other content
        pgw.ask(TERMINATION, 3, wish(1, used=0, ends=True))
        pgw.ask(TERMINATION, 4, wish(1, used=0, ends=True))  # no such session any more
    with element(tap, 1) as pgw:  # what there is, then nothing
        pgw.ask(INITIAL, 0, wish(1))
        pgw.ask(UPDATE, 1, wish(1, used=2 * MIB))
        pgw.ask(TERMINATION, 2, wish(1, ends=True, used=0))
    with element(tap, 2) as pgw:
        server.ocs("subscriber", "bar", pgw.number)
        pgw.ask(INITIAL, 0, wish(1))
    with element(tap, 1_000) as pgw:  # no such subscriber
        pgw.ask(INITIAL, 0, wish(1))


def say_purchases(tap: Tap, server: RealOcs) -> None:
    """Money granted, debited and priced, and a currency that the account does not have."""
    buyer = str(FIRST + 200)
    server.ocs("subscriber", "create", buyer, "--tariff", "content", "--credit", "10.00")
    shop, who = avp(432, 700), avp(443, avp(450, 0) + avp(444, buyer))

    def money(cents: int, currency: int) -> bytes:
        amount = avp(447, cents.to_bytes(8, "big")) + avp(429, (2**32 - 2).to_bytes(4, "big"))
        return avp(413, avp(445, amount) + avp(425, currency))

    def said(session: str, kind: int, number: int, *units: bytes, action: int | None = None) -> bytes:
        more = [] if action is None else [avp(436, action)]
        service = avp(456, shop + b"".join(units))
        return credit(session, kind, number, service, *more, who=who)

    with tap.connect() as connection:
        ask(connection, cer())
        ask(connection, said("shop;1", INITIAL, 0, avp(437, money(300, 978))))
        ask(connection, said("shop;1", UPDATE, 1, avp(437, money(5_000, 978)), avp(446, money(250, 978))))
        ask(connection, said("shop;1", TERMINATION, 2, avp(446, money(99, 978))))
        for action in range(4):
            ask(connection, said("shop;2", EVENT, action, avp(437, money(199, 978)), action=action))
        ask(connection, said("shop;2", EVENT, 4, avp(437, money(199, 840)), action=0))
        ask(connection, dpr())


def say_by_hand(tap: Tap) -> None:
    with tap.connect() as connection:
        ask(connection, cer())
        for fault in FAULTS.values():
            ask(connection, fault)
        ask(connection, dwr(origin=HOST))
        ask(connection, credit("x;rating", INITIAL, 0, SERVICE, context=avp(461, "32299@example.org")))
        # a session of one service has its units at message level (RFC 8506 section 3.1)
        ask(connection, credit("x;units", INITIAL, 0, avp(437, avp(421, MIB.to_bytes(8, "big")))))
        ask(connection, credit("x;units", TERMINATION, 1, avp(446, avp(421, bytes(8)))))
        ask(connection, credit("x;event", EVENT, 0, avp(436, 0), SERVICE))
        many = [credit(f"x;many;{place}", INITIAL, 0, SERVICE) for place in range(5)]
        connection.sendall(b"".join(many))  # in one write: more than may be under way
        for _ in many:
            assert read_frame(connection) is not None
        for place in range(5):
            ask(connection, credit(f"x;many;{place}", TERMINATION, 1))
        ask(connection, dpr())
    for refused in (
        cer(avp(258, 16_777_236)),
        frame(CER, HOST + REALM),
        frame(CER, HOST + avp(296, "elsewhere.example") + cer()[20 + len(HOST) + len(REALM):]),
    ):  # fmt: skip
        with tap.connect() as connection:
            ask(connection, refused)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Said]:
    """All that was said, until the server itself took leave of a peer."""
    folder = tmp_path_factory.mktemp("dissected")
    (folder / "ocs.toml").write_text(PEERS, encoding="utf-8")
    server = RealOcs(folder, "--config", str(folder / "ocs.toml"), OCS_DIAMETER__INFLIGHT_PER_PEER_MAX="2")
    with server, Tap(server.port) as tap:
        for first, count, credit_text in ((FIRST, "20", "0.02"), (FIRST + 100, "20", "10.00")):
            server.ocs(
                *("subscriber", "bulk", "--count", count, "--first", str(first)),
                *("--tariff", "flat", "--credit", credit_text),
            )
        say_captured_conversations(tap)
        say_sessions(tap, server)
        say_purchases(tap, server)
        say_by_hand(tap)
        with tap.connect() as connection:
            ask(connection, cer())
            server.stop()
            leave = read_frame(connection)
            assert leave is not None
            connection.sendall(answer(leave, avp(268, 2001) + HOST + REALM))
            assert read_frame(connection) is None
    assert server.troubles() == []
    return tap.said


@pytest.fixture(scope="module")
def dissected(heard: list[Said], tmp_path_factory: pytest.TempPathFactory) -> list[Dissected]:
    capture = tmp_path_factory.mktemp("capture") / "broad-run.pcap"
    write_pcap(capture, heard)
    return dissect(capture, DIAMETER_PORT)


@pytest.fixture(scope="module")
def ours(dissected: list[Dissected]) -> list[Dissected]:
    """What the server said."""
    return [each for each in dissected if each.from_server]


def answers(ours: list[Dissected]) -> list[Dissected]:
    return [each for each in ours if not each.is_request]


# ---------------------------------------------------------------- the judgement


def test_the_run_brought_about_every_kind_of_answer(ours: list[Dissected]) -> None:
    seen: dict[int, set[str]] = {}
    for each in answers(ours):
        seen.setdefault(each.command, set()).add(each.value("Result-Code"))
    assert {command: results - seen.get(command, set()) for command, results in EXPECTED.items()} == {
        command: set() for command in EXPECTED
    }
    assert [each.command for each in ours if each.is_request] == [DPR]


def test_every_message_is_read_whole_and_without_a_complaint(
    heard: list[Said], ours: list[Dissected]
) -> None:
    assert len(ours) == sum(each.from_server for each in heard)
    assert [(each.packet, each.complaints) for each in ours if each.complaints] == []


def test_every_answer_is_found_to_belong_to_its_request(dissected: list[Dissected]) -> None:
    requests = [each.packet for each in dissected if each.is_request and not each.from_server]
    answered = Counter(each.answers for each in dissected if each.from_server and not each.is_request)
    assert answered.pop(None) == 1  # to the request with the E-bit, which tshark takes for no message at all
    assert answered == Counter(requests)


def test_every_avp_that_we_send_is_known_by_name(ours: list[Dissected]) -> None:
    assert [(each.packet, found) for each in ours for found in each.every() if not found.name] == []


def test_no_avp_that_must_be_there_is_missing(ours: list[Dissected]) -> None:
    for each in ours:
        has = {found.name for found in each.avps}
        if each.is_request:
            needed = ASKED[each.command]
        elif each.is_error:
            needed = IN_ERRORS if each.command in {CCR, STR} else BASE
        else:
            needed = MANDATORY[each.command]
        if each.command == CER and each.value("Result-Code") != "2001":
            needed = BASE
        if each.command == CCR and each.value("Result-Code") == "5005":
            needed = CHARGED
        assert needed <= has, (each.packet, needed - has)
        if each.command in {CCR, STR}:
            assert each.avps[0].name == "Session-Id", each.packet
        result = "" if each.is_request else each.value("Result-Code")
        assert each.is_error == result.startswith("3"), each.packet
        if result in WITH_FAILED_AVP:
            (failed,) = each.all_of("Failed-AVP")
            assert len(failed.inside) == 1, each.packet


def test_every_service_says_its_result_and_every_grant_how_long_it_holds(ours: list[Dissected]) -> None:
    """CLIENTS 19 and 21; what an event is granted is used already, and holds for no time."""
    results, shapes = set(), set()
    for each in answers(ours):
        is_event = [found.value for found in each.all_of("CC-Request-Type")] == [str(EVENT)]
        for service in each.all_of("Multiple-Services-Credit-Control"):
            inside = {found.name: found for found in service.inside}
            results.add(inside["Result-Code"].value)
            if "Granted-Service-Unit" in inside:
                assert ("Validity-Time" in inside) == (not is_event), each.packet
                (unit,) = inside["Granted-Service-Unit"].inside
                shapes.add(unit.name)
            if "Final-Unit-Indication" in inside:
                final = inside["Final-Unit-Indication"]
                assert [(found.name, found.value) for found in final.inside] == [("Final-Unit-Action", "0")]
                shapes.add(final.name)
    assert results >= {"2001", "4010", "4012", "5031"}
    assert shapes >= {"CC-Total-Octets", "CC-Time", "CC-Service-Specific-Units", "Final-Unit-Indication"}


# ---------------------------------------------------------------- and the judge is no rubber stamp


def broken(octets: bytes) -> dict[str, bytes]:
    """An answer, broken in ways that a reader of the protocol has to see."""
    at = 20  # the first AVP: Session-Id
    return {
        "an AVP longer than the message": octets[: at + 5] + b"\x7f\xff\xff" + octets[at + 8 :],
        "an AVP shorter than its header": octets[: at + 5] + b"\x00\x00\x04" + octets[at + 8 :],
        "a length that leaves octets over": octets[:1] + (len(octets) + 4).to_bytes(3, "big") + octets[4:] + bytes(4),
        "a Result-Code of three octets": octets[:1] + (len(octets) + 12).to_bytes(3, "big") + octets[4:] + avp(268, b"\0\0\1"),
        "an AVP that nobody knows": octets[:1] + (len(octets) + 12).to_bytes(3, "big") + octets[4:] + avp(9_999, 1),
    }  # fmt: skip


def test_the_judge_finds_fault_with_broken_answers(heard: list[Said], tmp_path: Path) -> None:
    sound = next(each for each in heard if each.from_server and each.command == CCR)
    for why, octets in broken(sound.frame).items():
        capture = tmp_path / "broken.pcap"
        write_pcap(capture, [sound._replace(frame=octets)])
        (found,) = dissect(capture, DIAMETER_PORT)
        assert found.complaints or not all(each.name for each in found.every()), why
