"""Client profiles at a real worker: who has which, and what it changes; with none everything stays as it is."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from ocs.diameter.server_initiated import ABORT_SESSION, RE_AUTH
from ocs.server.allow import AllowRow
from ocs.server.profiles import DEFAULT, ClientProfile, Profiles
from ocs.sessions.orders import write_orders
from tests.serving import Client, Served
from tests.unit.server.test_requester import DRA, PGW, answer, events, order

SMF = ClientProfile("smf", ("smf*.example.net",), reauthorise=False, abort=False)
ONE, TWO = ClientProfile("one", ("*.example.net",)), ClientProfile("two", ("pgw.example.net", "x"))


@pytest.mark.parametrize(
    ("named", "host", "expected"),
    [
        ("", "pgw.example.net", ONE),  # the first that fits
        ("", "PGW.Example.NET", ONE),
        ("", "pgw.example.net.org", DEFAULT),
        ("", "example.net", DEFAULT),
        ("", "x", TWO),
        ("two", "smf.example.net", TWO),  # the row's word counts
    ],
)
def test_a_peer_has_the_profile_of_its_row_or_the_first_whose_pattern_fits(
    named: str, host: str, expected: ClientProfile
) -> None:
    assert Profiles([ONE, TWO]).of_peer(named, host) == expected


def test_a_client_behind_a_relay_has_its_own_profile_or_the_relays() -> None:
    profiles = Profiles([SMF])
    assert profiles.of_client("smf7.example.net", TWO) == SMF
    assert profiles.of_client("mme.example.net", TWO) == TWO


def row(profile: str) -> tuple[AllowRow, ...]:
    return (AllowRow("*", "*", ip_network("127.0.0.0/8"), profile=profile),)


@pytest.mark.parametrize("command", [RE_AUTH, ABORT_SESSION])
def test_what_a_client_has_no_use_for_is_not_sent_to_it(command: int) -> None:
    name = "RAR" if command == RE_AUTH else "ASR"
    with Served(allow=row("smf"), profiles=(SMF,)) as served, served.peer() as client:
        client.ask()
        served.order(write_orders([order(command=command)]))
        served.until(lambda: events(served, name) == {"withheld": 1})
        assert client.ask(2, 1).command == 272  # and nothing came before this answer


def test_a_client_that_takes_the_one_and_not_the_other_gets_the_one() -> None:
    only = ClientProfile("only", reauthorise=False)
    with Served(allow=row("only"), profiles=(only,)) as served, served.peer() as client:
        client.ask()
        served.order(write_orders([order(), order(command=ABORT_SESSION)]))
        request = client.answered()
        assert request.command == ABORT_SESSION
        answer(client, request, {"Result-Code": 2001})
        served.until(lambda: events(served) == {"withheld": 1})


def test_behind_a_relay_it_is_the_client_whose_profile_counts() -> None:
    profile = SMF._replace(origin_hosts=(PGW,))
    with Served(profiles=(profile,)) as served, served.connect() as relay:
        relay.exchange(DRA)
        relay.host = PGW
        relay.ask()
        served.order(write_orders([order(hop=DRA)]))
        served.until(lambda: events(served) == {"withheld": 1})
        relay.host = "other.example.net"
        relay.ask(session="other")
        served.order(write_orders([order(hop=DRA)._replace(host="other.example.net", session_id="other")]))
        assert relay.answered().command == RE_AUTH


def test_a_client_that_takes_a_dpr_amiss_is_closed_when_it_has_what_it_is_owed() -> None:
    stays_away = ClientProfile("away", says_goodbye=False)
    with Served(allow=row("away"), profiles=(stays_away,)) as served, served.peer() as client:
        served.call(lambda: setattr(served.book, "hold", True))
        client.send(client.ccr(2, 1, session="under way"))
        served.until(lambda: len(served.book.held) == 1)
        served.drain()
        served.call(served.book.release)
        assert client.answered().avps["Session-Id"] == "under way"
        assert client.read() is None  # no DPR
        served.until(lambda: served.count("ocs_connections_closed_total", "disconnect") == 1)


class Marked:
    """A writer that says in Error-Message that it wrote."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.refuse = writer.refuse

    def answer(self, message: Any, ask: Any, _outcome: Any) -> bytes:
        """Another answer than the full writer's."""
        named = {"Session-Id": ask.session_id, "CC-Request-Type": ask.kind, "CC-Request-Number": ask.number}
        return bytes(self._writer.refuse(message, named, 2001, error_message="plain"))


def written_plain(client: Client, session: str) -> bool:
    return client.ask(session=session).avps.get("Error-Message") == "plain"


@pytest.mark.parametrize("named", ["strict", ""])
def test_a_client_of_the_rfc_alone_is_written_to_without_what_is_3gpps(named: str) -> None:
    strict = ClientProfile("strict", ("pgw*",) if not named else (), vendor_avps=False)
    served = Served(allow=row(named), profiles=(strict,))
    served.plain_answers = Marked
    with served, served.peer() as client:
        assert written_plain(client, "pgw;1;1")


def test_a_relay_brings_clients_of_both_kinds() -> None:
    strict = ClientProfile("strict", ("strict.*",), vendor_avps=False)
    served = Served(profiles=(strict,))
    served.plain_answers = Marked
    with served, served.connect() as relay:
        relay.exchange(DRA)
        for host, plain in (("strict.example.net", True), ("pgw.example.net", False), (DRA, False)):
            relay.host = host
            assert written_plain(relay, f"{host};1") == plain
