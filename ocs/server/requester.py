"""Requests of ours: a worker's orders become RARs and ASRs on its connections, at a bounded rate, and their answers are counted.

Laws
1. Nothing waits for an answer: any settles a request, also none in time; what a session is does not depend on it.
2. An order goes out on the connection that its session's last request came on; where that has gone, on another one to the same peer,
   and where there is none, nowhere: the session's next request meets all that has changed.
3. So many a second, aborts first; what waits is bounded, twice the same waits once, and what is too much is dropped and counted.
4. What comes in is judged whole (sessions/orders.py, law 2); nothing here raises for it.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ocs.diameter.base import Local
from ocs.diameter.message import Header
from ocs.diameter.server_initiated import (
    ABORT_SESSION,
    RE_AUTH,
    Order,
    Owing,
    ServerRequests,
    answer_kind,
    end_to_end,
)
from ocs.limits import ORDERS_WAITING_MAX, OWED_MS, OWED_PER_CONNECTION_MAX, REAUTHORISE_PER_S
from ocs.server.log import SparingLog
from ocs.server.tally import Tally
from ocs.sessions.orders import read_orders, worker_name

if TYPE_CHECKING:
    from ocs.server.connection import Connection

_BURST_S: Final = 0.1
"""The rate holds over this time, a tick of the worker."""

_UNSENT: Final = 0.1
"""What an order that goes nowhere takes of the rate: little, but a worker must not look through thousands of them in one turn."""

_Key = tuple[str, int, int]


class Requester:
    """Sends what a worker is ordered to; one per worker. Clocks: microseconds that never run backwards, and Unix seconds."""

    def __init__(
        self,
        local: Local,
        number: int,
        tally: Tally,
        log: SparingLog,
        now_us: Callable[[], int],
        now_s: Callable[[], int],
        per_s: int = REAUTHORISE_PER_S,
    ) -> None:
        self.worker = worker_name(local.origin_host, number)
        self._number = number
        self._requests = ServerRequests(local.origin_host, local.origin_realm)
        self._tally = tally
        self._log = log
        self._now_us = now_us
        self._now_s = now_s
        self._per_s = per_s
        self._burst = max(1.0, per_s * _BURST_S)
        self._may_send = self._burst
        self._filled_us = now_us()
        self._sent = 0
        self._entered = 0
        self._by_number: dict[int, Connection] = {}
        self._numbers: dict[Connection, int] = {}
        self._by_hop: dict[str, dict[Connection, None]] = {}
        self._owing: dict[Connection, Owing] = {}
        self._waiting: dict[int, OrderedDict[_Key, Order]] = {
            ABORT_SESSION: OrderedDict(),
            RE_AUTH: OrderedDict(),
        }
        self._stopped = False

    # ------------------------------------------------------------------ connections

    def enter(self, connection: "Connection") -> str:
        """Take note of a connection whose capabilities are exchanged; what sessions are to remember of it."""
        self._entered += 1
        self._by_number[self._entered] = connection
        self._numbers[connection] = self._entered
        self._by_hop.setdefault(connection.hop.lower(), {})[connection] = None
        self._owing[connection] = Owing(OWED_PER_CONNECTION_MAX, OWED_MS)
        return f"{self.worker}.{self._entered}"

    def leave(self, connection: "Connection") -> None:
        """Take note that a connection has gone; what it owed is lost."""
        owing = self._owing.pop(connection, None)
        if owing is None:
            return  # it went before its capabilities were exchanged
        for owed in owing.lost():
            self._tally.server_request(owed.command, "lost")
        others = self._by_hop[connection.hop.lower()]
        del others[connection]
        if not others:
            del self._by_hop[connection.hop.lower()]
        del self._by_number[self._numbers.pop(connection)]

    def answered(self, connection: "Connection", top: Header, avps: dict[str, Any]) -> bool:
        """Take an answer; False when it answers nothing of ours."""
        owing = self._owing.get(connection)
        owed = owing.settle(top.hop_by_hop, top.command) if owing is not None else None
        if owed is None:
            return False
        self._tally.server_request(owed.command, answer_kind(avps))
        return True

    # ------------------------------------------------------------------ orders

    @property
    def waiting(self) -> int:
        """Orders that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    def take(self, message: bytes) -> None:
        """Take a message of orders, and send at once what the rate allows."""
        try:
            orders = read_orders(message)
        except ValueError as fault:
            self._tally.unread_orders()
            self._log.warning("a message of orders is not read", why=str(fault))
            return
        for order in orders:
            self._put(order)
        self._send()

    def tick(self) -> None:
        """Let time pass: send what waits, and give up what was not answered."""
        now_ms = self._now_us() // 1_000
        for owing in self._owing.values():
            if owing:
                for owed in owing.overdue(now_ms):
                    self._tally.server_request(owed.command, "silent")
        self._send()

    def stop(self) -> None:
        """Begin nothing any more: the worker drains."""
        self._stopped = True
        for waiting in self._waiting.values():
            for order in waiting.values():
                self._tally.server_request(order.command, "shed")
            waiting.clear()

    def _put(self, order: Order) -> None:
        waiting = self._waiting[order.command]
        key = order.session_id, order.rating_group, order.service_identifier
        if key in waiting:
            waiting[key] = order
        elif self._stopped or len(waiting) >= ORDERS_WAITING_MAX:
            self._tally.server_request(order.command, "shed")
        else:
            waiting[key] = order

    def _send(self) -> None:
        now_us = self._now_us()
        self._may_send = min(
            self._burst, self._may_send + (now_us - self._filled_us) * self._per_s / 1_000_000
        )
        self._filled_us = now_us
        for waiting in self._waiting.values():  # aborts first
            while waiting and self._may_send >= 1:
                _, order = waiting.popitem(last=False)
                try:
                    self._may_send -= self._sent_one(order, now_us)
                except Exception as fault:  # noqa: BLE001 - law 4
                    self._tally.server_request(order.command, "shed")
                    self._log.warning("a request of ours cannot be written", why=type(fault).__name__)

    def _sent_one(self, order: Order, now_us: int) -> float:
        """Send one, or count why not; what it takes of the rate."""
        for connection in self._ways(order):
            if not connection.takes(order.host, order.command):
                self._tally.server_request(order.command, "withheld")
                return _UNSENT
            owing = self._owing[connection]
            if owing.full:
                self._tally.server_request(order.command, "shed")
                return _UNSENT
            hop_by_hop = connection.begin(lambda hop_by_hop: self._written(order, hop_by_hop))
            if hop_by_hop >= 0:
                owing.ask(hop_by_hop, order.command, order.session_id, now_us // 1_000)
                self._tally.server_request(order.command, "sent")
                return 1
        self._tally.server_request(order.command, "unreachable")
        return _UNSENT

    def _ways(self, order: Order) -> list["Connection"]:
        """Return the connections on which an order may go out, the right one first (law 2)."""
        exact = self._by_number.get(order.connection)
        others = self._by_hop.get(order.hop.lower(), {})
        if exact is None or exact not in others:
            return list(others)
        return [exact, *(each for each in others if each is not exact)]

    def _written(self, order: Order, hop_by_hop: int) -> bytes:
        self._sent += 1
        return self._requests.write(order, hop_by_hop, end_to_end(self._now_s(), self._number, self._sent))
