"""RAR and ASR as a stranger reads them, and who owes an answer for how long."""

from typing import Any

import pytest
from diameter.message import Message
from diameter.message.commands import AbortSessionRequest, ReAuthRequest

from ocs.diameter.codec import Codec
from ocs.diameter.server_initiated import (
    ABORT_SESSION,
    RE_AUTH,
    Order,
    Owed,
    Owing,
    ServerRequests,
    answer_kind,
    end_to_end,
)
from tests.real_ocs import conversations, stranger

ORDER = Order(RE_AUTH, "pgw.example.net;1;2;gy", "pgw.example.net", "example.net", "dra.example.net", 7)
REQUESTS = ServerRequests("ocs.example.org", "example.org")
CODES = {RE_AUTH: [263, 264, 296, 283, 293, 258, 285], ABORT_SESSION: [263, 264, 296, 283, 293, 258]}
"""Top-level AVPs in the order of the grammars of RFC 6733 sections 8.3.1 and 8.5.1."""


@pytest.mark.parametrize(
    ("command", "kind"), [(RE_AUTH, ReAuthRequest), (ABORT_SESSION, AbortSessionRequest)]
)
def test_a_stranger_reads_our_requests(command: int, kind: type[Message]) -> None:
    read = stranger(REQUESTS.write(ORDER._replace(command=command), 5, 6))

    assert isinstance(read.typed, kind)
    top = read.typed.header
    assert (top.is_request, top.is_proxyable, top.is_error, top.application_id) == (True, True, False, 4)
    assert (top.hop_by_hop_identifier, top.end_to_end_identifier) == (5, 6)
    assert read.codes == CODES[command]
    assert read.value(263) == "pgw.example.net;1;2;gy"
    assert (read.value(264), read.value(296)) == (b"ocs.example.org", b"example.org")
    # the client of the session, not the relay through which it came (CLIENTS 24)
    assert (read.value(293), read.value(283)) == (b"pgw.example.net", b"example.net")
    assert read.value(258) == 4
    if command == RE_AUTH:
        assert read.value(285) == 0  # AUTHORIZE_ONLY, RFC 8506 section 5.5


@pytest.mark.parametrize("command", [RE_AUTH, ABORT_SESSION])
def test_every_avp_has_the_m_bit_and_our_own_codec_reads_the_request(command: int) -> None:
    frame = REQUESTS.write(ORDER._replace(command=command, rating_group=10), 5, 6)

    assert all(avp.is_mandatory for avp in stranger(frame).plain.avps)
    message = Codec().decode(frame)
    assert message.command == command
    assert message.avps["Session-Id"] == ORDER.session_id


def test_a_re_auth_request_may_be_about_one_service_and_an_abort_is_about_the_session() -> None:
    one = ORDER._replace(rating_group=100, service_identifier=1000)

    read = stranger(REQUESTS.write(one, 1, 1))
    assert (read.value(432), read.value(439)) == (100, 1000)
    assert {432, 439}.isdisjoint(stranger(REQUESTS.write(one._replace(command=ABORT_SESSION), 1, 1)).codes)


def test_every_captured_answer_settles_its_request_and_says_success() -> None:
    codec, captured = Codec(), 0
    for conversation in conversations():
        for name, frame in conversation.messages:
            if not name.startswith("RAA"):
                continue
            captured += 1
            answer = codec.decode(frame)
            owing = Owing(10, 1_000)
            owing.ask(answer.hop_by_hop, RE_AUTH, answer.avps["Session-Id"], 0)
            assert owing.settle(answer.hop_by_hop, answer.command) is not None
            assert answer_kind(answer.avps) == "success"  # freeDiameter's client says 2002
    assert captured


@pytest.mark.parametrize(
    ("avps", "kind"),
    [
        ({"Result-Code": 2001}, "success"),
        ({"Result-Code": 2002}, "success"),
        ({"Result-Code": 5002}, "unknown_session"),
        ({"Result-Code": 3002}, "undelivered"),
        ({"Result-Code": 3004}, "undelivered"),
        ({"Result-Code": 5005}, "refused"),
        ({"Result-Code": 4999}, "refused"),
        ({"Result-Code": 0}, "refused"),
        ({"Experimental-Result": {"Vendor-Id": 10415, "Experimental-Result-Code": 5002}}, "unknown_session"),
        ({}, "unreadable"),
    ],
)
def test_any_answer_has_a_name(avps: dict[str, Any], kind: str) -> None:
    assert answer_kind(avps) == kind


def test_an_answer_settles_once_and_only_what_was_asked() -> None:
    owing = Owing(10, 1_000)
    owing.ask(1, RE_AUTH, "s;1", 0)

    assert owing.settle(2, RE_AUTH) is None
    assert owing.settle(1, ABORT_SESSION) is None
    assert owing.settle(1, RE_AUTH) == Owed(RE_AUTH, "s;1", 1_000)
    assert owing.settle(1, RE_AUTH) is None
    assert len(owing) == 0


def test_what_is_not_answered_is_given_up_at_its_time_and_not_before() -> None:
    owing = Owing(10, 1_000)
    owing.ask(1, RE_AUTH, "s;1", 0)
    owing.ask(2, ABORT_SESSION, "s;2", 5)

    assert owing.overdue(999) == []
    assert [each.session_id for each in owing.overdue(1_004)] == ["s;1"]
    assert [each.session_id for each in owing.overdue(1_005)] == ["s;2"]
    assert owing.settle(1, RE_AUTH) is None  # too late: nobody waits for it


def test_what_a_peer_may_owe_is_bounded_and_ends_with_its_connection() -> None:
    owing = Owing(2, 1_000)
    owing.ask(1, RE_AUTH, "s;1", 0)
    before = owing.full
    owing.ask(2, RE_AUTH, "s;2", 0)

    assert (before, owing.full) == (False, True)
    assert [each.session_id for each in owing.lost()] == ["s;1", "s;2"]
    assert (owing.full, len(owing)) == (False, 0)


def test_no_end_to_end_identifier_comes_twice_within_four_minutes_in_any_worker() -> None:
    given = [
        end_to_end(now_s, worker, count)
        for now_s in (1_795_000_000, 1_795_000_001, 1_795_000_239)
        for worker in (0, 1, 63)
        for count in range(0, 1 << 14, 997)
    ]

    assert len(set(given)) == len(given)
    assert all(0 <= each < 1 << 32 for each in given)
