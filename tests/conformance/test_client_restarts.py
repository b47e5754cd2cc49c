"""RFC 6733 section 8.16 with the messages of a real packet gateway: it starts again without its sessions, or only seems to."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from ocs.diameter.base import BaseMessages, Local
from ocs.diameter.message import header
from tests.conformance.test_captures_replayed import exchange
from tests.real_ocs import Conversation, RealOcs, conversations, read_frame, stranger

pytestmark = pytest.mark.timeout(180)  # a grace of three watchdog periods, 18 s, is waited for

FIRST = 491_700_000_401
OPEN5GS = next(each for each in conversations() if each.name == "open5gs")
CER, INITIAL, UPDATE, SECOND_UPDATE, TERMINATION = range(5)
STATE = bytes.fromhex("00000116")
"""AVP code of Origin-State-Id, which Open5GS (freeDiameter) has in its CER: when it began, in seconds."""

SETTINGS = """
[diameter]
watchdog_s = 6

[[diameter.peers]]
origin_host = "*"
address = "127.0.0.0/8"
profile = "open5gs"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    folder = tmp_path_factory.mktemp("restarts")
    (folder / "mine.toml").write_text(SETTINGS)
    with RealOcs(folder, "--config", str(folder / "mine.toml")) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "2", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "10.00"),
        )
        yield made


def later(cer: bytes, by_s: int) -> bytes:
    """The CER of the same gateway, started so much later."""
    at = cer.index(STATE) + 8
    state = int.from_bytes(cer[at : at + 4], "big") + by_s
    return cer[:at] + state.to_bytes(4, "big") + cer[at + 4 :]


def named(frame: bytes, host: bytes) -> bytes:
    """The same from a gateway of another name of the same length."""
    assert len(host) == len(b"smf.example.org")
    return frame.replace(b"smf.example.org", host)


def began(server: RealOcs, said: Conversation, by_s: int, host: bytes) -> socket.socket:
    """A gateway that has exchanged capabilities."""
    connection = server.connect()
    answer = exchange(connection, named(later(said.frames[CER], by_s), host))
    assert answer is not None
    assert answer.value(268) == 2001
    return connection


def result(connection: socket.socket, frame: bytes) -> int:
    answer = exchange(connection, frame)
    assert answer is not None
    return int(answer.value(268))


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.1)


def logged(server: RealOcs, event: str, host: bytes) -> bool:
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return any(line["event"].startswith(event) and line.get("origin_host") == host.decode() for line in lines)


@pytest.mark.slow
def test_a_gateway_that_starts_again_sets_the_holds_free_of_what_it_has_lost(server: RealOcs) -> None:
    number, host = str(FIRST), b"smf.example.org"
    said = OPEN5GS.about(number)
    with began(server, said, 0, host) as before:
        assert result(before, said.frames[INITIAL]) == 2001
        assert server.balance(number)[1] == "0.01"
    began(server, said, 60, host).close()
    until(lambda: server.balance(number)[1] == "0.00")
    assert server.count("ocs_sessions_restarted_total") == 1
    assert logged(server, "a client has restarted", host)
    with began(server, said, 60, host) as after:  # what it reports all the same is posted, once
        assert result(after, said.frames[UPDATE]) == 5002
        assert result(after, said.frames[UPDATE]) == 5002
    assert server.balance(number) == ("9.99", "0.00")
    assert server.ocs("audit")["clean"] is True


@pytest.mark.slow
def test_two_gateways_of_one_name_do_not_end_each_others_sessions(server: RealOcs) -> None:
    number, host = str(FIRST + 1), b"two.example.org"
    before = server.count("ocs_sessions_restarted_total")
    said = OPEN5GS.about(number)
    with began(server, said, 0, host) as first, began(server, said, 60, host) as second:
        assert result(first, named(said.frames[INITIAL], host)) == 2001
        assert server.balance(number)[1] == "0.01"
        # the first says nothing of itself but that it is there: it answers the server's watchdog
        while not logged(server, "two clients share", host):
            for each in select.select((first, second), (), (), 0.1)[0]:
                answer_watchdog(each, host)
        assert server.balance(number)[1] == "0.01"
        first.sendall(named(said.frames[TERMINATION], host))
        while (answer := stranger(answer_watchdog(first, host))).typed.header.command_code != 272:
            pass
        assert answer.value(268) == 2001
    assert server.count("ocs_sessions_restarted_total") == before
    assert server.ocs("audit")["clean"] is True


def answer_watchdog(connection: socket.socket, host: bytes) -> bytes:
    """Read a message; a DWR is answered."""
    frame = read_frame(connection)
    assert frame is not None
    if header(frame).command == 280:
        local = Local(host.decode(), "example.org", ("127.0.0.1",), 10415, "smf", 1, 1, 30_000)
        connection.sendall(BaseMessages(local).dwa(header(frame)))
    return frame
