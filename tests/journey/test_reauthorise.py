"""The server speaks first: a real `ocs serve`, real sockets, and a command in another process that changes something."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocs.balance.clients import client as store_client
from ocs.balance.embedded import Embedded
from ocs.diameter.codec import Codec
from ocs.diameter.message import Message
from ocs.diameter.server_initiated import Order
from ocs.limits import ORDERS_PER_MESSAGE_MAX, ORDERS_WAITING_MAX
from ocs.sessions.orders import channel, worker_name, write_orders
from tests.real_ocs import RealOcs, conversations, stranger
from tests.serving import Client

pytestmark = pytest.mark.timeout(180)  # many real processes, on a machine that may be busy

MSISDN = "491700000001"
RE_AUTH, ABORT_SESSION = 258, 274
MIB = 1_048_576
GRANT = 10 * MIB


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealOcs]:
    with RealOcs(tmp_path) as server:
        server.ocs("subscriber", "create", MSISDN, "--imsi", "001010000000001", "--tariff", "flat-data", "--credit", "0.05")  # fmt: skip
        yield server
        assert server.troubles() == []


def element(server: RealOcs, host: str = "pgw.example.net") -> Client:
    """A network element whose capabilities are exchanged."""
    client = Client(server.connect())
    client.exchange(host)
    return client


def granted(answer: Message) -> tuple[int, int, bool]:
    """Result-Code, octets granted to the one service, and whether they are the last."""
    (service,) = answer.avps.get("Multiple-Services-Credit-Control", [{}])
    units = service.get("Granted-Service-Unit", {}).get("CC-Total-Octets", 0)
    return answer.avps["Result-Code"], units, "Final-Unit-Indication" in service


def said(client: Client, request: Message, result_code: int, flags: int = 0x40) -> None:
    """Answer a request of the server's."""
    avps = {
        "Session-Id": request.avps["Session-Id"],
        "Result-Code": result_code,
        "Origin-Host": client.host,
        "Origin-Realm": "example.net",
    }
    answer = Message(flags, request.command, 4, request.hop_by_hop, request.end_to_end, avps)
    client.send(client.codec.encode(answer))


def asked(client: Client, command: int = RE_AUTH, session: str = "pgw;1;1") -> Message:
    """The request of the server's that has to come next."""
    request = client.answered()
    assert (request.command, request.is_request) == (command, True)
    assert request.avps["Session-Id"] == session
    return request


def counted(server: RealOcs, event: str, command: str = "RAR") -> int:
    return server.count("ocs_server_requests_total", command, event)


def test_whoever_tops_up_while_a_session_runs_on_its_last_units_is_granted_more_at_once(
    served: RealOcs,
) -> None:
    with element(served) as client:
        assert granted(client.ask(1, 0)) == (2001, 5 * MIB, True)

        served.ocs("topup", MSISDN, "10.00", "--id", "one")

        said(client, asked(client), 2001)
        assert granted(client.ask(2, 1)) == (2001, GRANT, False)
        until(lambda: counted(served, "success") == 1)
        served.ocs("topup", MSISDN, "10.00", "--id", "one")  # the same again is no news
        served.ocs("subscriber", "bar", MSISDN)
        asked(client)
        assert client.ask(2, 2).avps["Multiple-Services-Credit-Control"][0]["Result-Code"] == 4010
        served.ocs("subscriber", "unbar", MSISDN)
        asked(client)
        assert granted(client.ask(2, 3)) == (2001, GRANT, False)
        bought = served.ocs("product", "buy", MSISDN, "day-pass", "--id", "two")
        asked(client)
        served.ocs("product", "cancel", MSISDN, str(bought["number"]))
        asked(client)
        assert served.ocs("session", "reauthorise", "pgw;1;1", "--rating-group", "10") == {
            "sessions": 1,
            "told": 1,
        }
        assert asked(client).avps["Rating-Group"] == 10
        assert served.ocs("session", "reauthorise", "--msisdn", MSISDN) == {"sessions": 1, "told": 1}
        asked(client)
        assert served.ocs("session", "reauthorise", "--tariff", "flat-data") == {"sessions": 1, "told": 1}
        asked(client)
        assert client.ask(3, 4).avps["Result-Code"] == 2001
        # seven were not answered: nothing waits for them
        assert (counted(served, "sent"), counted(served, "success")) == (8, 1)
        assert served.ocs("session", "reauthorise", "--msisdn", MSISDN) == {"sessions": 0, "told": 0}
    assert served.ocs("audit")["clean"] is True


def test_each_session_is_asked_on_its_own_connection_whichever_worker_has_it(tmp_path: Path) -> None:
    with RealOcs(tmp_path, "--workers", "2") as server:
        server.ocs("subscriber", "create", MSISDN, "--tariff", "flat-data", "--credit", "1.00")
        clients = [element(server) for _ in range(4)]  # four of one peer, two a worker
        try:
            for number, client in enumerate(clients):
                assert client.ask(1, 0, session=f"pgw;1;{number}").avps["Result-Code"] == 2001
            assert [server.count("ocs_connections_total")] == [4]

            server.ocs("topup", MSISDN, "10.00", "--id", "one")

            for number, client in enumerate(clients):
                said(client, asked(client, session=f"pgw;1;{number}"), 2001)
            until(lambda: counted(server, "success") == 4)
            # its next request comes on another connection: from then on it is asked there
            assert clients[3].ask(2, 1, session="pgw;1;0").avps["Result-Code"] == 2001
            server.ocs("session", "reauthorise", "pgw;1;0")
            asked(clients[3], session="pgw;1;0")
            assert clients[0].ask(2, 1, session="pgw;1;1").command == 272  # nothing came there before
        finally:
            for client in clients:
                client.socket.close()


def test_a_client_behind_a_relay_is_asked_through_it(served: RealOcs) -> None:
    (captured,) = (each for each in conversations() if each.name == "freediameter_relay_rar")
    codec = Codec()
    with Client(served.connect()) as relay:
        cer, initial = (each.frame for each in captured.messages if each.name.startswith(("CER", "CCR-I")))
        relay.send(cer)
        assert relay.answered().avps["Result-Code"] == 2001
        relay.send(initial)
        assert relay.answered().avps["Result-Code"] == 2001
        (listed,) = served.ocs("sessions")
        assert listed["origin_host"] == "ctf.example.org"

        served.ocs("topup", MSISDN, "10.00", "--id", "one")

        frame = relay.frame()
        assert frame is not None
        request = stranger(frame)
        assert (request.value(293), request.value(283)) == (b"ctf.example.org", b"example.org")
        assert request.value(263) == codec.decode(initial).avps["Session-Id"]
        said_raa = next(each.frame for each in captured.messages if each.name.startswith("RAA"))
        relay.send(
            said_raa[:12] + frame[12:20] + said_raa[20:]
        )  # as captured, with the identifiers of this request
        until(lambda: counted(served, "success") == 1)


def test_where_no_connection_is_left_nothing_happens_and_the_next_request_is_fine(served: RealOcs) -> None:
    with element(served) as client:
        assert granted(client.ask(1, 0)) == (2001, 5 * MIB, True)
    until(lambda: served.count("ocs_connections_closed_total", "peer") == 1)

    assert served.ocs("topup", MSISDN, "10.00", "--id", "one")["balance"] == "10.05"

    until(lambda: counted(served, "unreachable") == 1)
    with element(served) as client:
        # the peer is back: its session is asked there, although its last request came on a connection that has gone
        assert served.ocs("session", "reauthorise", "pgw;1;1") == {"sessions": 1, "told": 1}
        asked(client)
        assert granted(client.ask(2, 1)) == (2001, GRANT, False)


def test_sessions_that_an_operator_ends_or_whose_subscriber_is_terminated_are_aborted_at_their_client(
    served: RealOcs,
) -> None:
    served.ocs("topup", MSISDN, "5.00", "--id", "before")
    with element(served) as client:
        client.ask(1, 0)
        ended = served.ocs("session", "end", "pgw;1;1")
        assert (ended["released"], ended["client_told"]) == ("0.10", True)
        said(client, asked(client, ABORT_SESSION), 5005)  # as the SMF does (CLIENTS 24)
        assert client.ask(2, 1).avps["Result-Code"] == 5002
        assert client.ask(3, 2).avps["Result-Code"] == 2001
        assert served.balance(MSISDN) == ("5.04", "0.00")  # what was reported late is posted: a begun MiB
        for number in (2, 3):
            client.ask(1, 0, session=f"pgw;1;{number}")
        ended = served.ocs("session", "end", "--all-of", MSISDN)
        assert [each["session_id"] for each in ended] == ["pgw;1;2", "pgw;1;3"]
        for number in (2, 3):
            asked(client, ABORT_SESSION, session=f"pgw;1;{number}")
        until(lambda: (counted(served, "refused", "ASR"), counted(served, "sent", "ASR")) == (1, 3))
        assert served.ocs("sessions") == []
        client.ask(1, 0, session="pgw;1;4")
        served.ocs("subscriber", "terminate", MSISDN)
        said(client, asked(client, ABORT_SESSION, session="pgw;1;4"), 2001)
        assert (
            client.ask(3, 1, session="pgw;1;4").avps["Result-Code"] == 2001
        )  # what it then reports is posted
        assert served.ocs("sessions") == []
    assert served.ocs("audit")["clean"] is True


def test_a_worker_that_is_killed_between_the_change_and_the_message_loses_nothing(served: RealOcs) -> None:
    served.ocs("topup", MSISDN, "0.10", "--id", "before")  # for one and a half grants
    with element(served) as client:
        assert granted(client.ask(1, 0, session="pgw;1;2")) == (2001, GRANT, False)
        assert granted(client.ask(1, 0, session="pgw;1;1")) == (2001, 5 * MIB, True)
        (worker,) = workers(served)
        os.kill(worker, signal.SIGSTOP)
        served.ocs("topup", MSISDN, "10.00", "--id", "one")
        assert (
            served.ocs("session", "end", "pgw;1;2")["client_told"] is True
        )  # it heard, and dies before it acts
        os.kill(worker, signal.SIGKILL)
        assert client.read() is None
    until(lambda: len(workers(served)) == 2)
    with element(served) as client:
        assert granted(client.ask(2, 1, session="pgw;1;1")) == (2001, GRANT, False)
        assert client.ask(2, 1, session="pgw;1;2").avps["Result-Code"] == 5002
        assert counted(served, "sent") == counted(served, "sent", "ASR") == 0
        served.ocs("session", "reauthorise", "pgw;1;1")  # the new worker hears on the same channel
        asked(client)
    assert served.ocs("audit")["clean"] is True
    assert [line for line in served.troubles() if "a process died" not in line] == []
    served.log.write_text("", encoding="utf-8")  # the death was meant


def workers(server: RealOcs) -> list[int]:
    """The pids that the worker has had, as the log tells them."""
    lines = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]
    return [
        line["pid"] for line in lines if line["event"] == "process started" and line["name"] == "worker-0"
    ]


def test_a_channel_that_is_flooded_sheds_and_counts_and_charging_goes_on(served: RealOcs) -> None:
    with element(served) as client:
        client.ask(1, 0)
        store = Embedded(served.folder, "always", None)
        where = channel(worker_name("ocs.example.org", 0))
        with store_client(store.address) as publisher:
            publisher.execute_command("SPUBLISH", where, b"\xc1 no order")
            count = ORDERS_WAITING_MAX + 5_000
            for start in range(0, count, ORDERS_PER_MESSAGE_MAX):
                orders = [
                    Order(RE_AUTH, f"s;{number}", "pgw.example.net", "example.net", "nobody.example.net", 99)
                    for number in range(start, start + ORDERS_PER_MESSAGE_MAX)
                ]
                assert publisher.execute_command("SPUBLISH", where, write_orders(orders)) == 1
        until(lambda: counted(served, "shed") > 0)
        assert client.ask(2, 1).avps["Result-Code"] == 2001
        assert served.count("ocs_order_messages_unread_total") == 1
