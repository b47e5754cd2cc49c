"""A creditor's bar at a real `ocs serve`, with real messages: outgoing, all, and lifted; what passes it, and what it reaches at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from diameter.message.avp.grouped import (
    ImsInformation,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    ServiceInformation,
    SubscriptionId,
    UsedServiceUnit,
)

from ocs.balance.bars import BarAnswer, set_bar
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from ocs.roof.build import Keepers, run
from ocs.roof.place import Place
from tests.conformance.test_python_diameter import capabilities, ccr
from tests.real_ocs import RealOcs, read_frame, stranger

INITIAL, UPDATE, TERMINATION, EVENT = 1, 2, 3, 4
RE_AUTH = 258
CALL, DATA, MESSAGE = "32260@3gpp.org", "32251@3gpp.org", "32274@3gpp.org"
NEIGHBOUR, FREEPHONE, EMERGENCY = "+4930123456", "+498001234567", "112"
ORIGINATING, TERMINATING = 0, 1
FIRST = 491_700_000_001
MIB = 1_048_576


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(tmp_path_factory.mktemp("barred")) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "8", "--first", str(FIRST)),
            *("--tariff", "mobile", "--credit", "20.00"),
        )
        yield made


class Customer:
    """A subscriber with its phone: every request is a session or an event of its own, or one session goes on."""

    def __init__(self, server: RealOcs, connection: socket.socket, place: int) -> None:
        self.server, self.connection = server, connection
        self.number = str(FIRST + place)
        self._ids = self.asked = 0

    def request(self, context: str, kind: int, number: int, session: str, service: Any) -> Any:
        made = ccr(kind, number, session)
        made.header.application_id = 4
        made.service_context_id = context
        made.subscription_id = [SubscriptionId(0, self.number)]
        made.multiple_services_credit_control = [service]
        return made

    def say(self, request: Any) -> Any:
        """Say a request and read its answer; what the server asks meanwhile is counted."""
        self._ids += 1
        request.header.hop_by_hop_identifier = request.header.end_to_end_identifier = self._ids
        self.connection.sendall(request.as_bytes())
        while (read := self._read()).header.is_request:
            self.asked += 1
        return read

    def _read(self) -> Any:
        frame = read_frame(self.connection)
        assert frame is not None
        read = stranger(frame).typed
        assert read.header.command_code == RE_AUTH or not read.header.is_request
        return read

    def reauthorised(self, sessions: int) -> None:
        """Wait until so many sessions have been asked to come again."""
        while self.asked < sessions:
            assert self._read().header.is_request
            self.asked += 1

    def call(self, number: str, role: int = ORIGINATING, *, session: str = "", step: int = 0) -> int:
        """Ask for seconds of a call; its Result-Code."""
        wants: Any = MultipleServicesCreditControl(
            requested_service_unit=RequestedServiceUnit(cc_time=60), rating_group=1
        )
        if step:
            wants.used_service_unit = [UsedServiceUnit(cc_time=10)]
        kind = UPDATE if step else INITIAL
        session = session or f"ims;{self.number};{self._ids}"
        made = self.request(CALL, kind, step, session, wants)
        made.service_information = ServiceInformation(
            ims_information=ImsInformation(
                role_of_node=role, called_party_address=[number], node_functionality=6
            )
        )
        return int(self.say(made).result_code)

    def browse(self, step: int, *, used: int | None = None) -> int:
        """Ask for octets in the one session of data; the service's Result-Code."""
        wants: Any = MultipleServicesCreditControl(
            requested_service_unit=RequestedServiceUnit(cc_total_octets=MIB), rating_group=10
        )
        if used is not None:
            wants.used_service_unit = [UsedServiceUnit(cc_total_octets=used)]
        kind = UPDATE if step else INITIAL
        answer = self.say(self.request(DATA, kind, step, f"pgw;{self.number}", wants))
        return int(answer.multiple_services_credit_control[0].result_code)

    def message(self) -> int:
        """Send a message as an event; its Result-Code."""
        wants: Any = MultipleServicesCreditControl(
            requested_service_unit=RequestedServiceUnit(cc_service_specific_units=1), rating_group=1
        )
        made = self.request(MESSAGE, EVENT, self._ids, f"smsc;{self.number}", wants)
        made.requested_action = 0
        return int(self.say(made).result_code)

    def bar(self, scope: str, epoch: int) -> Code:
        """What dunning tells the charging server."""
        identity = SubscriberId(E164, self.number)

        async def work(keepers: Keepers) -> BarAnswer:
            account = await keepers.accounts.find(identity)
            assert account is not None
            return await set_bar(
                keepers.accounts, account.profile.partition, account.profile.path, scope, epoch
            )

        return run(Place(data_dir=self.server.folder), work).code


@contextmanager
def customer(server: RealOcs, place: int) -> Iterator[Customer]:
    with server.connect() as connection:
        made = Customer(server, connection, place)
        assert made.say(capabilities()).result_code == 2001
        yield made


def test_outgoing_service_is_refused_and_what_is_received_passes(server: RealOcs) -> None:
    """RFC 8506 section 9.1; TKG section 61(6) sentence 4."""
    with customer(server, 0) as who:
        assert (who.call(NEIGHBOUR), who.browse(0), who.message()) == (2001, 2001, 2001)
        assert who.bar("outgoing", 1) is Code.SUCCESS
        who.reauthorised(2)
        assert (who.call(NEIGHBOUR), who.browse(1, used=1000), who.message()) == (4010, 4010, 4010)
        assert who.call(NEIGHBOUR, TERMINATING) == 2001


def test_all_service_is_refused_but_emergency_calls_and_free_help_lines(server: RealOcs) -> None:
    """TKG sections 61(3) and 164(1)."""
    with customer(server, 1) as who:
        for epoch, scope in enumerate(("outgoing", "all"), 1):
            assert who.bar(scope, epoch) is Code.SUCCESS
            assert who.call(NEIGHBOUR) == 4010
            assert who.call(NEIGHBOUR, TERMINATING) == (2001 if scope == "outgoing" else 4010)
            assert (who.call(EMERGENCY), who.call(FREEPHONE)) == (2001, 2001)


def test_a_call_that_was_received_before_goes_on_while_only_outgoing_service_is_barred(
    server: RealOcs,
) -> None:
    with customer(server, 2) as who:
        assert who.call(NEIGHBOUR, TERMINATING, session="in") == 2001
        assert who.call(NEIGHBOUR, session="out") == 2001
        assert who.bar("outgoing", 1) is Code.SUCCESS
        who.reauthorised(2)
        assert who.call(NEIGHBOUR, TERMINATING, session="in", step=1) == 2001
        assert who.call(NEIGHBOUR, session="out", step=1) == 4010


def test_an_old_command_undoes_no_newer_one_and_each_lifts_its_own_bar_alone(server: RealOcs) -> None:
    with customer(server, 3) as who:
        assert who.bar("all", 2) is Code.SUCCESS
        assert who.bar("", 1) is Code.EXISTS
        assert who.bar("", 2) is Code.EXISTS
        assert who.call(NEIGHBOUR) == 4010
        server.ocs("subscriber", "bar", who.number)
        assert who.bar("", 3) is Code.SUCCESS
        assert who.call(NEIGHBOUR) == 4010  # the operator's bar stays
        server.ocs("subscriber", "unbar", who.number)
        assert who.call(NEIGHBOUR) == 2001
        assert who.bar("outgoing", 4) is Code.SUCCESS
        server.ocs("subscriber", "bar", who.number)
        server.ocs("subscriber", "unbar", who.number)
        assert who.message() == 4010  # dunning's bar stays
        assert server.ocs("subscriber", "show", who.number)["barred"] == "outgoing"


def test_what_was_used_before_a_bar_is_booked(server: RealOcs) -> None:
    with customer(server, 4) as who:
        assert who.browse(0) == 2001
        before = server.balance(who.number)[0]
        who.bar("all", 1)
        who.reauthorised(1)
        assert who.browse(1, used=MIB) == 4010
        assert server.balance(who.number)[0] < before
        assert server.balance(who.number)[1] == "0.00"
    assert server.ocs("audit")["clean"] is True
