"""A simulated packet gateway: a client of Gy built on python-diameter, whose codec and peer machine are not ours.

It is a stranger to the server on purpose: what it sends and reads owes nothing to ocs.diameter. As a process of its own
(`python -m ocs.roof.gateway HOST PORT`) it takes one JSON command a line on standard input and answers one line each.
"""

import json
import logging
import sys
from itertools import count
from typing import Any, NamedTuple

CREDIT_CONTROL = 4
PACKET_DATA = "32251@3gpp.org"
"""Service-Context-Id of packet data (TS 32.251 clause 6.3.2)."""

ANSWER_S_MAX = 10
STOP_S_MAX = 3

INITIAL, UPDATE, TERMINATION = 1, 2, 3


class Answer(NamedTuple):
    """What a gateway reads from an answer: codes (0 where absent), octets granted, and whether they are the last."""

    result_code: int
    service_code: int
    granted_octets: int
    final: bool
    validity_s: int


class Gateway:
    """A packet gateway with one connection to one server."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        origin_host: str = "pgw.example.org",
        realm: str = "example.org",
        server: str = "ocs.example.org",
    ) -> None:
        from diameter.node import Node  # noqa: PLC0415 - the demo's extra: only who simulates needs it
        from diameter.node.application import SimpleThreadingApplication  # noqa: PLC0415

        self._realm = realm
        self._numbers = count(1)
        self._node = Node(origin_host, realm)
        self._node.vendor_id = 10415  # 3GPP
        self._node.wakeup_interval = 1  # seconds; its threads end no sooner than they wake up
        self._node.product_name = "simulated packet gateway"
        peer = self._node.add_peer(
            f"aaa://{server}:{port};transport=tcp",
            realm,
            ip_addresses=[host],
            is_persistent=True,
            is_default=True,
        )
        peer.reconnect_wait = 1  # seconds
        peer.always_reconnect = True  # a server that takes leave to reboot comes back (RFC 6733 section 5.4.3); by default it stays away
        self._application: Any = SimpleThreadingApplication(CREDIT_CONTROL, is_auth_application=True)
        self._node.add_application(self._application, [peer], [realm])

    def connect(self, wait_s: int = ANSWER_S_MAX) -> None:
        """Connect and exchange capabilities; raises the library's error when that fails."""
        self._node.start()
        self._application.wait_for_ready(wait_s)

    def close(self) -> None:
        """Take leave (DPR) and close."""
        self._node.stop(wait_timeout=STOP_S_MAX)

    def session(
        self, msisdn: str, imsi: str, rating_group: int | None = None, apn: str = "internet"
    ) -> "DataSession":
        """Prepare a data session of a subscriber; nothing is sent yet."""
        session_id = f"{self._node.origin_host};{self._node.state_id};{next(self._numbers)};gy"
        return DataSession(self, session_id, msisdn, imsi, rating_group, apn)

    def ask(self, request: Any) -> Any:
        """Send a request and wait for its answer; a connection that was lost is waited for first."""
        self._application.wait_for_ready(ANSWER_S_MAX)
        request.origin_host = self._node.origin_host.encode()
        request.origin_realm = request.destination_realm = self._realm.encode()
        return self._application.send_request(request, timeout=ANSWER_S_MAX)


class DataSession:
    """One Gy session: asks for quota, reports what was used, ends."""

    def __init__(
        self, gateway: Gateway, session_id: str, msisdn: str, imsi: str, rating_group: int | None, apn: str
    ) -> None:
        self.session_id = session_id
        self._gateway = gateway
        self._msisdn = msisdn
        self._imsi = imsi
        self._rating_group = rating_group
        self._apn = apn
        self._number = 0
        self._last: tuple[int, int | None, int | None] = (INITIAL, None, None)

    def open(self, wanted_octets: int | None = None) -> Answer:
        """Send the Initial; None wants what the server chooses."""
        return self._ask(INITIAL, None, wanted_octets)

    def update(self, used_octets: int | None, wanted_octets: int | None = None) -> Answer:
        """Report what was used of the last grant (None: nothing to report) and ask for more."""
        return self._ask(UPDATE, used_octets, wanted_octets)

    def repeat(self) -> Answer:
        """Send the last request again, as a gateway does whose answer was lost."""
        self._number -= 1
        return self._ask(*self._last)

    def end(self, used_octets: int) -> Answer:
        """Report the last usage and end."""
        return self._ask(TERMINATION, used_octets, None)

    def _ask(self, kind: int, used_octets: int | None, wanted_octets: int | None) -> Answer:
        from diameter.message.avp.grouped import PsInformation, ServiceInformation, SubscriptionId  # noqa: PLC0415
        from diameter.message.commands import CreditControlRequest  # noqa: PLC0415
        from diameter.message.constants import E_MULTIPLE_SERVICES_INDICATOR_MULTIPLE_SERVICES_SUPPORTED  # noqa: PLC0415

        request = CreditControlRequest()
        request.session_id = self.session_id
        request.auth_application_id = CREDIT_CONTROL
        request.service_context_id = PACKET_DATA
        request.cc_request_type = kind
        request.cc_request_number = self._number
        self._number += 1
        self._last = (kind, used_octets, wanted_octets)
        request.subscription_id = [
            SubscriptionId(subscription_id_type=0, subscription_id_data=self._msisdn),
            SubscriptionId(subscription_id_type=1, subscription_id_data=self._imsi),
        ]
        request.multiple_services_indicator = E_MULTIPLE_SERVICES_INDICATOR_MULTIPLE_SERVICES_SUPPORTED
        request.service_information = ServiceInformation(
            ps_information=PsInformation(called_station_id=self._apn)
        )
        request.multiple_services_credit_control = [self._service(kind, used_octets, wanted_octets)]
        return _read(self._gateway.ask(request))

    def _service(self, kind: int, used_octets: int | None, wanted_octets: int | None) -> Any:
        from diameter.message.avp.grouped import (  # noqa: PLC0415
            MultipleServicesCreditControl,
            RequestedServiceUnit,
            UsedServiceUnit,
        )

        service = MultipleServicesCreditControl(rating_group=self._rating_group)
        if used_octets is not None:
            service.used_service_unit = [UsedServiceUnit(cc_total_octets=used_octets)]
        if kind != TERMINATION:
            service.requested_service_unit = RequestedServiceUnit(cc_total_octets=wanted_octets)
        return service


def _read(answer: Any) -> Answer:
    services = answer.multiple_services_credit_control or [None]
    service = services[0]
    granted = getattr(service, "granted_service_unit", None)
    return Answer(
        answer.result_code or 0,
        getattr(service, "result_code", None) or 0,
        getattr(granted, "cc_total_octets", None) or 0,
        getattr(service, "final_unit_indication", None) is not None,
        getattr(service, "validity_time", None) or 0,
    )


def main() -> None:
    """Be a gateway: read commands from standard input until it ends, answer each on standard output."""
    logging.disable(logging.CRITICAL)
    gateway = Gateway(sys.argv[1], int(sys.argv[2]))
    gateway.connect()
    _say({"connected": True})
    sessions: dict[str, DataSession] = {}
    for line in sys.stdin:
        _say(_obey(gateway, sessions, json.loads(line)))
    gateway.close()


def _obey(gateway: Gateway, sessions: dict[str, DataSession], command: dict[str, Any]) -> dict[str, Any]:
    """Do what one command says: open, update, repeat or end, with the arguments of those methods."""
    do, session_id = command.pop("do"), command.pop("session_id", None)
    if do == "open":
        wanted = command.pop("wanted_octets", None)
        session = gateway.session(**command)
        sessions[session.session_id] = session
        return {"session_id": session.session_id, **session.open(wanted)._asdict()}
    session = sessions[session_id]
    match do:
        case "update":
            return session.update(**command)._asdict()
        case "repeat":
            return session.repeat()._asdict()
        case _:
            return session.end(**command)._asdict()


def _say(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)  # noqa: T201 - the answer, for whoever started us


if __name__ == "__main__":
    main()
