"""What this machine can do, measured in the same run, so that figures of two machines can be compared.

1. python-diameter's node that answers a fixed CCA synchronously, under the same generator in a closed loop: what one gets
   without a codec of one's own. It charges nothing.
2. The reference function: five store commands in one call, pipelined at a window of 256 without Diameter, on the same
   kind of embedded store. It is frozen: its text and its arguments must never change, or old results mean nothing.

    python -m loadtests.yardsticks node --port 3900 --connections 8      serves until it is ended
    python -m loadtests.yardsticks reference [--seconds 5] [--durability always|everysec]
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import hiredis
from diameter.message import constants
from diameter.message.avp.grouped import GrantedServiceUnit, MultipleServicesCreditControl
from diameter.message.commands import CreditControlAnswer
from diameter.node import Node
from diameter.node.application import Application

from loadtests.gauges import StoreGauge, end_in_order
from ocs.balance.embedded import SOCKET, Embedded
from ocs.balance.link import pack, reachable

WINDOW = 256
SLOTS = 4_096
"""Different sessions and books that the reference function turns over."""

# FROZEN since 2026-11: five commands of the sizes that charging has, and arithmetic that cannot be optimised away.
REFERENCE = b"""#!lua name=reference_frozen_1
redis.register_function('reference_frozen_1', function(keys, args)
  local session, book = redis.call('GET', keys[1]), redis.call('GET', keys[2])
  local posted = (tonumber(book) or 0) + tonumber(args[1])
  redis.call('XADD', keys[3], 'MAXLEN', '~', '1000', '*', 'r', args[2])
  redis.call('SET', keys[1], args[3])
  redis.call('SET', keys[2], string.format('%.0f', posted))
  return { 14, session and #session or 0, posted }
end)
"""
_RECORD = bytes(range(97, 97 + 20)) * 6
_SESSION = bytes(range(65, 65 + 25)) * 10


# ---------------------------------------------------------------- 1: python-diameter


class FixedAnswer(Application):  # type: ignore[misc]  # the library ships no types
    """Answers every CCR at once with a granted service, in the node's own thread."""

    def handle_request(self, message: Any) -> None:
        """Answer as an OCS would, without asking anybody."""
        answer: CreditControlAnswer = self.generate_answer(message, constants.E_RESULT_CODE_DIAMETER_SUCCESS)
        answer.cc_request_type = message.cc_request_type
        answer.cc_request_number = message.cc_request_number
        answer.multiple_services_credit_control = [
            MultipleServicesCreditControl(
                granted_service_unit=GrantedServiceUnit(cc_total_octets=1_000_000),
                validity_time=3600,
                result_code=constants.E_RESULT_CODE_DIAMETER_SUCCESS,
            )
        ]
        self.send_answer(answer)


def serve_node(port: int, connections: int) -> None:
    """Serve until SIGTERM; prints `ready` when it listens."""
    logging.disable(logging.CRITICAL)
    node = Node("ocs.example.org", "example.org", ip_addresses=["127.0.0.1"], tcp_port=port)
    peers = [
        node.add_peer(f"aaa://s{place:02d}.example.org", "example.org", ip_addresses=["127.0.0.1"])
        for place in range(connections)
    ]
    application = FixedAnswer(constants.APP_DIAMETER_CREDIT_CONTROL_APPLICATION, is_auth_application=True)
    node.add_application(application, peers)
    node.start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    print(f"ready diameter=127.0.0.1:{port}", flush=True)
    ended.wait()
    os._exit(0)  # the node's own stop waits for seconds, and there is nothing to lose


# ---------------------------------------------------------------- 2: the reference function


def reference_commands() -> list[bytes]:
    """Return the calls, packed once."""
    name = "reference_frozen_1"
    return [
        pack(
            "FCALL",
            name,
            3,
            f"{{r}}:session:{slot}",
            f"{{r}}:book:{slot}",
            "{r}:stream",
            10_000,
            _RECORD,
            _SESSION,
        )
        for slot in range(SLOTS)
    ]


def pipelined(link: socket.socket, commands: list[bytes], seconds: float) -> tuple[int, float]:
    """Keep WINDOW calls under way for so many seconds; calls answered and the seconds it took."""
    reader = hiredis.Reader()
    began = time.perf_counter()
    until = began + seconds
    link.sendall(b"".join(commands[:WINDOW]))
    following, under_way, answered = WINDOW, WINDOW, 0
    while under_way:
        reader.feed(link.recv(1 << 16))
        came = 0
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            came += 1
        answered += came
        under_way -= came
        if came and time.perf_counter() < until:
            again = [commands[(following + each) % SLOTS] for each in range(came)]
            following += came
            under_way += came
            link.sendall(b"".join(again))
    return answered, time.perf_counter() - began


def reference(seconds: float, durability: str) -> dict[str, float]:
    """Measure the reference function on an embedded store of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="yardstick-") as folder,
        Embedded.start_or_adopt(Path(folder), durability, serving=True) as embedded,
        socket.socket(socket.AF_UNIX) as link,
    ):
        with reachable(str(Path(folder) / SOCKET)) as path:
            link.connect(path)
        link.sendall(pack("FUNCTION", "LOAD", REFERENCE))
        link.recv(1 << 10)
        commands = reference_commands()
        pipelined(link, commands, min(1.0, seconds / 2))
        gauge = StoreGauge(embedded.url)
        before = gauge.read()
        calls, took = pipelined(link, commands, seconds)
        after = gauge.read()
        gauge.close()
    return {
        "per_second": calls / took,
        "store_us": (after.process_us - before.process_us) / calls,
        "function_us": (after.call_us - before.call_us) / calls,
    }


def main() -> int:
    """Serve the node, or print the reference's figures as JSON."""
    parser = argparse.ArgumentParser(description="Yardsticks of this machine.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    node = kinds.add_parser("node")
    node.add_argument("--port", type=int, required=True)
    node.add_argument("--connections", type=int, default=8)
    function = kinds.add_parser("reference")
    function.add_argument("--seconds", type=float, default=5.0)
    function.add_argument("--durability", choices=("always", "everysec"), default="always")
    given = parser.parse_args()
    end_in_order()
    if given.kind == "node":
        serve_node(given.port, given.connections)
    else:
        print(json.dumps(reference(given.seconds, given.durability)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
