"""A postpaid session over Rf with a real `ocs serve`: records built by python-diameter, answers dissected by Wireshark's tshark."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from diameter.message import Avp, Message
from diameter.message.avp.generator import generate_avps_from_defs
from diameter.message.avp.grouped import (
    PsInformation,
    ServiceDataContainer,
    ServiceInformation,
    SubscriptionId,
)
from diameter.message.commands import AccountingRequest

from tests.real_ocs import RealOcs, read_frame
from tests.tap import DIAMETER_PORT, Tap, write_pcap
from tests.tshark import dissect
from tests.unit.diameter.rig import ABOUT, ADDRESS, CER, HOST, REALM, avp, frame

pytestmark = pytest.mark.timeout(120)  # a whole server, on a machine that may be busy

MSISDN = "491700000001"
MIB = 1_048_576
EVENT, START, INTERIM, STOP = 1, 2, 3, 4
RETRANSMITTED = 0x10


class Client:
    """A charging trigger function of python-diameter's messages, on one bare connection."""

    def __init__(self, server: Any) -> None:
        self.connection: socket.socket = server.connect()
        self.number = 10
        answer = self.say(frame(CER, HOST + REALM + ADDRESS + ABOUT + avp(259, 3)))
        self.result = answer.result_code

    def say(self, octets: bytes) -> Any:
        self.connection.sendall(octets)
        said = read_frame(self.connection)
        assert said is not None
        return Message.from_bytes(said)

    def account(self, request: AccountingRequest, *, again: bool = False) -> Any:
        """Send a record, perhaps as one that was sent before."""
        self.number += 1
        request.header.hop_by_hop_identifier = request.header.end_to_end_identifier = self.number
        octets = bytearray(request.as_bytes())
        if again:
            octets[4] |= RETRANSMITTED
        return self.say(bytes(octets))

    def close(self) -> None:
        self.connection.close()


def record(
    kind: int,
    number: int,
    octets: int | None = None,
    *,
    session: str = "ctf.example.org;1;1",
    msisdn: str = MSISDN,
) -> AccountingRequest:
    """An Accounting-Request as python-diameter builds it."""
    request = AccountingRequest()
    request.header.application_id = 3
    request.header.is_proxyable = True
    request.session_id = session
    request.origin_host = b"ctf.example.org"
    request.origin_realm = b"example.org"
    request.destination_realm = b"example.org"
    request.accounting_record_type = kind
    request.accounting_record_number = number
    request.acct_application_id = 3
    request.event_timestamp = datetime.fromtimestamp(int(time.time()), UTC).replace(tzinfo=None)
    request.append_avp(
        Avp.new(461, value="32251@3gpp.org")
    )  # the stranger's request has no attributes for 3GPP's
    subscriber = SubscriptionId(subscription_id_type=0, subscription_id_data=msisdn)
    told = ServiceInformation(subscription_id=[subscriber])
    if octets is not None:
        container = ServiceDataContainer(
            accounting_input_octets=octets // 4,
            accounting_output_octets=octets - octets // 4,
            rating_group=10,
        )
        told.ps_information = PsInformation(service_data_container=[container])
    request.append_avp(Avp.new(873, 10415, value=generate_avps_from_defs(told)))
    return request


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    folder = tmp_path_factory.mktemp("accounting")
    with RealOcs(folder, OCS_ACCOUNTING__ENABLED="true", OCS_ACCOUNTING__INTERIM_S="300") as serving:
        words = ("--tariff", "flat-data", "--kind", "postpaid", "--credit-floor", "-50.00")
        serving.ocs("subscriber", "create", MSISDN, *words)
        yield serving


def test_a_postpaid_session_is_told_by_its_records_and_counts_once(server: RealOcs) -> None:
    with Tap(server.port) as tap:
        client = Client(tap)
        assert client.result == 2001
        begun = client.account(record(START, 0))
        assert (begun.result_code, begun.acct_interim_interval) == (2001, 300)
        assert client.account(record(INTERIM, 1, 600_000)).result_code == 2001
        (listed,) = server.ocs("sessions", "--msisdn", MSISDN)
        assert (listed["session_id"], listed["application"]) == ("ctf.example.org;1;1", "accounting")
        assert (listed["services"][0]["used"], listed["services"][0]["posted"]) == (600_000, "0.01")
        other = Client(tap)  # as a relay does that has lost its first connection
        assert other.account(record(INTERIM, 1, 600_000), again=True).result_code == 2001
        changed = other.account(record(INTERIM, 1, 700_000))
        assert (changed.result_code, changed.accounting_record_number) == (5012, 1)
        ended = other.account(record(STOP, 2, 600_000))
        assert (ended.result_code, ended.accounting_record_type, ended.accounting_record_number) == (
            2001,
            STOP,
            2,
        )
        client.close()
        other.close()
    balance = server.ocs("balance", MSISDN)
    assert (balance["balance"], balance["reserved"]) == ("-0.02", "0.00")
    assert server.ocs("sessions") == []
    assert server.ocs("audit")["clean"] is True
    assert server.count("ocs_accounting_records_total", "interim", "2001") == 2
    assert server.count("ocs_accounting_records_total", "interim", "5012") == 1
    assert server.count("ocs_charging_notes_total", "replay") == 1
    assert server.troubles() == []
    if shutil.which("tshark") is None:
        pytest.skip("no tshark: the answers were read by python-diameter alone")
    capture = server.folder.parent / "accounting.pcap"
    write_pcap(capture, tap.said)
    ours = [each for each in dissect(capture, DIAMETER_PORT) if each.from_server]
    assert len(ours) == 7
    assert [each.complaints for each in ours if each.complaints] == []
    assert all(one.name for each in ours for one in each.every())
    assert all(each.answers is not None for each in ours)


def test_what_nobody_can_be_billed_for_is_answered_and_kept(server: RealOcs) -> None:
    client = Client(server)
    assert client.account(record(EVENT, 0, MIB, session="x;1", msisdn="491709999999")).result_code == 2001
    client.close()
    (file,) = (server.folder / "unbilled").glob("*.jsonl")
    kept = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(each["why"], each["session_id"]) for each in kept] == [("unknown_subscriber", "x;1")]
    again = Message.from_bytes(bytes.fromhex(kept[0]["message"]))
    assert again.session_id == "x;1"


def test_a_record_without_its_number_is_answered_with_the_avp_that_is_missing(server: RealOcs) -> None:
    client = Client(server)
    body = b"".join(
        (avp(263, "x;2"), HOST, REALM, avp(283, "example.org"), avp(480, START), avp(461, "32251@3gpp.org"))
    )
    answer = client.say(frame(271, body, flags=0xC0, application=3))
    assert (answer.result_code, answer.accounting_record_type) == (5005, START)
    assert answer.header.is_error is False
    client.close()


def test_where_accounting_is_off_its_application_is_not_served(tmp_path: Path) -> None:
    with RealOcs(tmp_path) as serving:
        only = Client(serving)
        assert only.result == 5010
        only.close()
        with serving.connect() as connection:
            connection.sendall(frame(CER, HOST + REALM + ADDRESS + ABOUT + avp(258, 4)))
            opened = read_frame(connection)
            assert opened is not None
            assert Message.from_bytes(opened).result_code == 2001
            connection.sendall(record(START, 0).as_bytes())
            said = read_frame(connection)
            assert said is not None
            assert Message.from_bytes(said).result_code == 3007
