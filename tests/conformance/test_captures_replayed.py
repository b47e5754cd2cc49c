"""What real network elements said, said again to a real `ocs serve`: each answer as CLIENTS needs it, the money exact."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from diameter.message.constants import APP_DIAMETER_CREDIT_CONTROL_APPLICATION, VENDOR_TGPP

from tests.real_ocs import Conversation, Read, RealOcs, conversations, imsi_of, read_frame, stranger

CER, CCR, DWR, DPR = 257, 272, 280, 282
EVENT = 4
REQUEST, PROXIABLE, ERROR, REPEATED = 0x80, 0x40, 0x20, 0x10
RESULT, FAILED, PROXY, SERVICE, GRANTED, FINAL, VALIDITY = 268, 279, 284, 456, 431, 430, 448
REFUND_INFORMATION = (VENDOR_TGPP, 2022)
"""In the services of one-time events alone."""
CREDIT = Decimal("10.00")
FIRST = 491_700_000_001
POOR = 491_700_000_901

# What each conversation used, at the prices of INTERFACE: 0.01 per started MiB, 0.10 per started minute, once per
# service of a session, 0.09 for a message.
COSTS = {
    "freediameter": "0.12",  # 3 x 1,000,000 octets, and a message
    "freediameter_relay_rar": "0.12",  # the same
    "kamailio": "0.20",  # a call of 5 s, and one of 7 + 7 + 5 s
    "kamailio_cer_without_host_ip": "0.00",
    "kamailio_cut_fui": "0.10",  # 6 + 11 s: one second over what was granted
    "kamailio_sip_identity": "0.10",  # 5 s
    "open5gs": "0.01",  # 200,000 + 200,000 + 101,000 octets, and a session of nothing
    "open5gs_no_grant_garbage_time": "0.00",  # no octets; seconds since 1970
    "open5gs_threshold": "0.01",  # 3 x 150,000 + 51,000 octets
    "pydiam_1": "0.03",  # 3 x 1,000,000 octets
    "pydiam_2": "0.30",  # 3 x 60 s
    "pydiam_3": "0.09",  # a message
}
SAID = conversations()
PLACES = {each.name: place for place, each in enumerate(SAID)}

each_conversation = pytest.mark.parametrize("said", SAID, ids=lambda said: said.name)


def msisdn(said: Conversation, turn: int = 0) -> str:
    """The subscriber of a conversation, whom no other test charges; the first is the captures' own."""
    return str(FIRST + PLACES[said.name] + turn * len(SAID))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(tmp_path_factory.mktemp("replayed")) as made:
        count = str(3 * len(SAID))
        made.ocs(
            *("subscriber", "bulk", "--count", count, "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", str(CREDIT)),
        )
        yield made


# ---------------------------------------------------------------- one connection, said again


def is_request(frame: bytes) -> bool:
    return bool(frame[4] & REQUEST)


def exchange(connection: socket.socket, frame: bytes) -> Read | None:
    """Say one message; a request gets its answer, an answer of the peer's gets nothing."""
    connection.sendall(frame)
    if not is_request(frame):
        return None
    answer = read_frame(connection)
    assert answer is not None, "the connection was closed"
    return stranger(answer)


def replay(server: RealOcs, said: Conversation) -> list[tuple[Read, Read]]:
    """Say a whole conversation again, each message when the one before is answered; requests with their answers."""
    pairs = []
    with server.connect() as connection:
        for message in said.messages:
            answer = exchange(connection, message.frame)
            if answer is not None:
                pairs.append((stranger(message.frame), answer))
        if said.messages[-1].name.startswith("DPR"):
            connection.shutdown(socket.SHUT_WR)  # CLIENTS 23: it is the peer that closes
        else:
            connection.shutdown(socket.SHUT_RDWR)
        assert read_frame(connection) is None
    return pairs


def of_command(pairs: list[tuple[Read, Read]], command: int) -> list[tuple[Read, Read]]:
    return [pair for pair in pairs if pair[0].typed.header.command_code == command]


# ---------------------------------------------------------------- what CLIENTS asks of an answer


def assert_head_is_copied(request: Read, answer: Read) -> None:
    """CLIENTS 18 and RFC 6733 section 6.2."""
    asked, said = request.typed.header, answer.typed.header
    assert said.command_code == asked.command_code
    assert said.application_id == asked.application_id
    assert said.hop_by_hop_identifier == asked.hop_by_hop_identifier
    assert said.end_to_end_identifier == asked.end_to_end_identifier
    result = answer.value(RESULT)
    flags = answer.frame[4]
    assert flags & PROXIABLE == request.frame[4] & PROXIABLE
    assert bool(flags & ERROR) == (3000 <= result < 4000)
    assert not flags & (REQUEST | REPEATED)
    assert (answer.value(264), answer.value(296)) == (b"ocs.example.org", b"example.org")


def assert_only_standard_avps(avps: list[Any]) -> None:
    """CLIENTS 18 and 20: no AVP that a reader of the RFCs alone does not know, at any depth."""
    for avp in avps:
        assert avp.vendor_id == 0 or (avp.vendor_id, avp.code) == REFUND_INFORMATION
        assert avp.name != "Unknown"
        if avp.code != FAILED and isinstance(avp.value, list):
            assert_only_standard_avps(avp.value)


def assert_credit_control_answer(request: Read, answer: Read) -> None:
    """CLIENTS 18: what a real gateway drops an answer for."""
    assert answer.codes[0] == 263
    assert answer.value(263) == request.value(263)
    assert answer.value(258) == APP_DIAMETER_CREDIT_CONTROL_APPLICATION
    assert answer.value(416) == request.value(416)
    assert answer.value(415) == request.value(415)
    assert [avp.as_bytes() for avp in answer.all_of(PROXY)] == [
        avp.as_bytes() for avp in request.all_of(PROXY)
    ]
    assert_only_standard_avps(answer.plain.avps)


def inside(group: Any, code: int) -> list[Any]:
    return [avp for avp in group.value if avp.code == code]


def unit_of(request: Read) -> int:
    """The AVP in which a service of this context is granted: octets of data, seconds of voice."""
    return 421 if request.value(461).endswith("32251@3gpp.org") else 420


def assert_services_answered(request: Read, answer: Read) -> None:
    """CLIENTS 9, 19 and 21: every service of the request, named as it was, with a Result-Code, units only of its kind."""
    asked, said = request.all_of(SERVICE), answer.all_of(SERVICE)
    assert len(said) == len(asked)
    for wish, decided in zip(asked, said, strict=True):
        for name in (439, 432):  # Service-Identifier, Rating-Group: likewise, and without when it was without
            assert [avp.value for avp in inside(decided, name)] == [avp.value for avp in inside(wish, name)]
        assert len(inside(decided, RESULT)) == 1
        granted = inside(decided, GRANTED)
        if not inside(wish, 437):
            assert granted == []
        elif inside(decided, RESULT)[0].value == 2001:
            ((units,),) = [avp.value for avp in granted]
            assert units.code == unit_of(request)
            assert units.value > 0
            assert [avp.value for avp in inside(decided, VALIDITY)] == [3600]  # never a grant without


def assert_message_debited(answer: Read) -> None:
    """RFC 8506 section 6.3: one message, debited; what a refund of it would name (TS 32.299 clause 7.2), and no life of a grant."""
    (service,) = answer.all_of(SERVICE)
    (units,) = inside(service, GRANTED)
    assert [(avp.code, avp.value) for avp in units.value] == [(417, 1)]
    assert [avp.value for avp in inside(service, RESULT)] == [2001]
    assert len(inside(service, REFUND_INFORMATION[1])) == 1
    assert inside(service, VALIDITY) == []


def assert_capabilities(request: Read, answer: Read) -> None:
    """CLIENTS 1 to 4."""
    assert answer.value(RESULT) == 2001
    assert [address[1] for address in answer.typed.host_ip_address] == ["127.0.0.1"]
    assert answer.value(266) == VENDOR_TGPP
    assert answer.value(269)
    assert answer.value(258) == APP_DIAMETER_CREDIT_CONTROL_APPLICATION
    (application,) = answer.all_of(260)
    assert [(avp.code, avp.value) for avp in application.value] == [(266, VENDOR_TGPP), (258, 4)]
    assert VENDOR_TGPP in answer.typed.supported_vendor_id
    assert answer.value(299) == 0  # NO_INBAND_SECURITY, whatever was offered
    assert_only_standard_avps(answer.plain.avps)


@each_conversation
def test_every_answer_is_what_the_client_that_said_it_needs(server: RealOcs, said: Conversation) -> None:
    pairs = replay(server, said.about(msisdn(said)))
    assert len(pairs) == sum(is_request(frame) for frame in said.frames)
    for request, answer in pairs:
        assert_head_is_copied(request, answer)
    for request, answer in of_command(pairs, CER):
        assert_capabilities(request, answer)
    for _, answer in of_command(pairs, DWR) + of_command(pairs, DPR):
        assert answer.value(RESULT) == 2001
    for request, answer in of_command(pairs, CCR):
        assert_credit_control_answer(request, answer)
        assert answer.value(RESULT) == 2001
        if request.value(416) == EVENT:
            assert_message_debited(answer)
        else:
            assert_services_answered(request, answer)
    assert server.balance(msisdn(said)) == (str(CREDIT - Decimal(COSTS[said.name])), "0.00")


def test_the_captured_grants_are_those_that_interface_promises(server: RealOcs) -> None:
    """Nothing asked: 10 MiB or 60 s; n asked: n."""
    wanted = {"pydiam_1": 10_485_760, "pydiam_2": 60, "open5gs": 1_000_000, "kamailio": 10}
    for said in SAID:
        if said.name not in wanted:
            continue
        pairs = of_command(replay(server, said.about(msisdn(said, 1))), CCR)
        granted = [
            avp.value[0].value
            for _, each in pairs
            for service in each.all_of(SERVICE)
            for avp in inside(service, GRANTED)
        ]
        asking = [1 for request, _ in pairs for service in request.all_of(SERVICE) if inside(service, 437)]
        assert granted == [wanted[said.name]] * len(asking), said.name


# ---------------------------------------------------------------- the same, told otherwise


@pytest.mark.parametrize(
    "said", [each for each in SAID if len(each.messages) > 1], ids=lambda said: said.name
)
def test_a_conversation_said_again_with_the_t_bit_gets_the_same_answers_and_moves_no_money(
    server: RealOcs, said: Conversation
) -> None:
    """CLIENTS 25: a relay repeats, on another connection, what it saw no answer to."""
    once = said.about(msisdn(said, 2))
    first = [(request.frame, answer.frame) for request, answer in of_command(replay(server, once), CCR)]
    repeated = once._replace(
        messages=tuple(
            each._replace(frame=each.frame[:4] + bytes((each.frame[4] | REPEATED,)) + each.frame[5:])
            if each.name.startswith("CCR")
            else each
            for each in once.messages
        )
    )
    again = [answer.frame for _, answer in of_command(replay(server, repeated), CCR)]
    assert again == [answer for _, answer in first]
    assert server.balance(msisdn(said, 2)) == (str(CREDIT - Decimal(COSTS[said.name])), "0.00")


def glued(server: RealOcs, frames: list[bytes]) -> list[Read]:
    """Say all messages in one write and read until the end; the answers come in whatever order they are ready."""
    with server.connect() as connection:
        connection.sendall(frames[0])
        assert read_frame(connection) is not None
        connection.sendall(b"".join(frames[1:]))
        answers = [read_frame(connection) for _ in frames[1:]]
    return [stranger(frame) for frame in answers if frame is not None]


def test_a_conversation_glued_into_one_write_is_charged_the_same(server: RealOcs) -> None:
    """CLIENTS 15: several requests in flight, a termination before the Initial's answer was read."""
    said = next(each for each in SAID if each.name == "open5gs_threshold")
    number = subscriber(server, 0, str(CREDIT))
    answers = glued(server, said.about(number).frames[:-1])
    assert [answer.value(RESULT) for answer in answers] == [2001] * 5
    assert sorted(answer.value(415) for answer in answers) == [0, 1, 2, 3, 4]
    assert server.balance(number) == ("9.99", "0.00")


def with_proxy_info(frame: bytes, *states: bytes) -> bytes:
    """A request after it has passed a stateless proxy for each state (RFC 6733 section 6.7.2)."""
    added = b"".join(
        avp(284, avp(280, b"proxy%d.example.net" % place) + avp(33, state))
        for place, state in enumerate(states)
    )
    return frame[:1] + (len(frame) + len(added)).to_bytes(3, "big") + frame[4:] + added


def avp(code: int, payload: bytes) -> bytes:
    length = 8 + len(payload)
    head = code.to_bytes(4, "big") + b"\x40" + length.to_bytes(3, "big")
    return head + payload + bytes(-length % 4)


@pytest.mark.parametrize("name", ["freediameter", "pydiam_3"], ids=["charged", "refused"])
def test_proxy_info_comes_back_whole_and_in_order(server: RealOcs, name: str) -> None:
    said = next(each for each in SAID if each.name == name)
    number = subscriber(server, 1 + PLACES[name], str(CREDIT))
    proxied = said.about(number)._replace(
        messages=tuple(
            each._replace(frame=with_proxy_info(each.frame, b"\x01\x02\x03", b"second"))
            if each.name.startswith("CCR")
            else each
            for each in said.about(number).messages
        )
    )
    pairs = of_command(replay(server, proxied), CCR)
    for request, answer in pairs:
        assert_credit_control_answer(request, answer)
        assert [len(each.value) for each in answer.all_of(PROXY)] == [2, 2]
    assert server.balance(number) == (str(CREDIT - Decimal(COSTS[name])), "0.00")


# ---------------------------------------------------------------- where the credit is short


def subscriber(server: RealOcs, place: int, *credit: str) -> str:
    """A subscriber of its own for one test."""
    number = str(POOR + place)
    words = ("--imsi", imsi_of(number), "--tariff", "flat", *(("--credit", *credit) if credit else ()))
    server.ocs("subscriber", "create", number, *words)
    return number


def results(answer: Read) -> tuple[int, list[int]]:
    """Result-Code of the answer, and of each of its services."""
    services = [code.value for each in answer.all_of(SERVICE) for code in inside(each, RESULT)]
    return answer.value(RESULT), services


@pytest.mark.parametrize("name", ["open5gs_no_grant_garbage_time", "kamailio_sip_identity"])
def test_without_credit_nothing_is_granted_and_what_is_reported_all_the_same_is_not_debited(
    server: RealOcs, name: str
) -> None:
    """CLIENTS 10 and 15: Open5GS reports seconds since 1970, Kamailio five seconds of a call that it should not have put through."""
    said = next(each for each in SAID if each.name == name)
    number = subscriber(server, 20 + PLACES[name])
    (_, refused), (_, ended) = of_command(replay(server, said.about(number)), CCR)
    assert results(refused) == (4012, [4012])
    assert [inside(each, GRANTED) for each in refused.all_of(SERVICE)] == [[]]
    assert results(ended)[0] in {2001, 5002}
    assert server.balance(number) == ("0.00", "0.00")


def test_the_last_units_are_marked_and_reach_to_the_end_of_the_block_that_is_paid(server: RealOcs) -> None:
    """CLIENTS 21: a Final-Unit-Indication means release after these units."""
    said = next(each for each in SAID if each.name == "open5gs_threshold")
    number = subscriber(server, 40, "0.01")
    *asked, (_, ended) = of_command(replay(server, said.about(number)), CCR)
    granted = []
    for request, answer in asked:
        assert_services_answered(request, answer)
        (service,) = answer.all_of(SERVICE)
        (units,) = inside(service, GRANTED)
        final = [action.value for each in inside(service, FINAL) for action in each.value]
        granted.append((units.value[0].value, final))
    terminate = 0
    assert granted == [
        (1_000_000, []),
        (1_048_576 - 150_000, [terminate]),
        (1_048_576 - 300_000, [terminate]),
        (1_048_576 - 450_000, [terminate]),
    ]
    assert results(ended) == (2001, [2001])
    assert server.balance(number) == ("0.00", "0.00")


# ---------------------------------------------------------------- the books, when all is said


def test_the_audit_is_clean_no_session_is_left_and_the_server_met_no_fault_of_its_own(
    server: RealOcs,
) -> None:
    assert server.ocs("sessions") == []
    report = server.ocs("audit")
    assert (report["clean"], report["reserved"], report["faults"]) == (True, "0.00", [])
    assert server.count("ocs_internal_faults_total") == 0
    assert server.count("ocs_answers_dropped_total") == 0
    assert server.troubles() == []


def test_no_subscriber_is_named_in_the_log(server: RealOcs) -> None:
    """RFC 8506 section 15.1: neither number nor IMSI, whatever was refused."""
    said = next(each for each in SAID if each.name == "pydiam_3").about(str(FIRST))
    kind = re.compile(rb"(\0\0\x01\xa0.\0\0\x0c\0\0\0)\x04", re.DOTALL)  # no CC-Request-Type has the number 5
    messages = [each._replace(frame=kind.sub(b"\\1\x05", each.frame)) for each in said.messages]
    replay(server, said._replace(messages=tuple(messages)))
    while "request refused" not in (log := server.log.read_text(encoding="utf-8")):
        time.sleep(0.01)  # lines are written beside the loop
    told = re.sub(r'"timestamp": "[^"]*"', "", log)  # whose digits may be anything
    assert "4917" not in told
    assert "2620117" not in told
