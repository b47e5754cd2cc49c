"""One process of several that debit one account over Diameter: `python -m tests.vectors.rating.one_shot PORT MSISDN NAME CALLS UNITS`.

Each call is one event of its own, all of them sent before the first answer is read.
"""

import socket
import sys

from diameter.message import Message
from diameter.message.avp.grouped import MultipleServicesCreditControl, RequestedServiceUnit

from tests.conformance.test_python_diameter import capabilities, ccr, say
from tests.real_ocs import read_frame

EVENT, DIRECT_DEBITING = 4, 0


def debits(port: int, msisdn: str, name: str, calls: int, units: int) -> None:
    """Make all calls at once; every one of them has to succeed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        assert say(connection, capabilities(), 1).result_code == 2001
        for call in range(calls):
            request = ccr(EVENT, 0, f"{name};{call}")
            request.header.application_id = 4
            request.header.hop_by_hop_identifier = request.header.end_to_end_identifier = call + 2
            request.service_context_id = "32260@3gpp.org"
            request.requested_action = DIRECT_DEBITING
            request.subscription_id[0].subscription_id_data = msisdn
            service = MultipleServicesCreditControl(rating_group=1)
            service.requested_service_unit = RequestedServiceUnit(cc_time=units)
            request.multiple_services_credit_control = [service]
            connection.sendall(request.as_bytes())
        for _ in range(calls):
            frame = read_frame(connection)
            assert frame is not None
            answer = Message.from_bytes(frame)
            assert answer.result_code == 2001
            (decided,) = answer.multiple_services_credit_control
            assert decided.granted_service_unit.cc_time == units


if __name__ == "__main__":
    port, msisdn, name, calls, units = sys.argv[1:]
    debits(int(port), msisdn, name, int(calls), int(units))
