"""Requests that the server begins, RAR and ASR (RFC 6733 sections 8.3 and 8.5, RFC 8506 section 5.5), and who owes an answer.

Laws
1. A request names the client of the session (Destination-Host and -Realm), whichever connection leads there.
2. Any answer settles a request, also none in time: Kamailio never answers, the SMF answers an ASR with 5005 (CLIENTS 24).
3. Origin-State-Id is left out: our sessions outlive our restarts, and a client that reads a risen one may drop them
   (RFC 6733 section 8.16).
"""

from struct import Struct
from typing import Any, Final, NamedTuple

from ocs.diameter.base import CREDIT_CONTROL
from ocs.diameter.codec import writer
from ocs.diameter.faults import ResultCode
from ocs.diameter.message import HEADER_OCTETS, PROXIABLE, REQUEST

RE_AUTH: Final = 258
ABORT_SESSION: Final = 274
NAMES: Final = {RE_AUTH: "RAR", ABORT_SESSION: "ASR"}

AUTHORIZE_ONLY: Final = 0
"""Re-Auth-Request-Type of RFC 6733 section 8.12; RFC 8506 section 5.5 knows no other."""

_FLAGS: Final = REQUEST | PROXIABLE
_HEADER = Struct(">5I")


class Order(NamedTuple):
    """A request to be sent: the session, its client, and where it goes out.

    ``hop`` is the Diameter identity at the other end of the connection (the client's, or a relay's), ``connection`` the number
    that the worker gave it. A RAR may name one service (RFC 8506 section 5.5), -1: all of the session.
    """

    command: int
    session_id: str
    host: str
    realm: str
    hop: str
    connection: int
    rating_group: int = -1
    service_identifier: int = -1


class ServerRequests:
    """Writes whole requests; what never changes is encoded once."""

    __slots__ = ("_group", "_host", "_identifier", "_kind", "_origin", "_realm", "_session_id")

    def __init__(self, origin_host: str, origin_realm: str) -> None:
        self._origin = writer("Origin-Host")(origin_host) + writer("Origin-Realm")(origin_realm)
        self._kind = {
            ABORT_SESSION: writer("Auth-Application-Id")(CREDIT_CONTROL),
            RE_AUTH: writer("Auth-Application-Id")(CREDIT_CONTROL)
            + writer("Re-Auth-Request-Type")(AUTHORIZE_ONLY),
        }
        self._session_id = writer("Session-Id")
        self._host, self._realm = writer("Destination-Host"), writer("Destination-Realm")
        self._group, self._identifier = writer("Rating-Group"), writer("Service-Identifier")

    def write(self, order: Order, hop_by_hop: int, end_to_end: int) -> bytes:
        """Return the RAR or ASR of an order."""
        body = (
            self._session_id(order.session_id)
            + self._origin
            + self._realm(order.realm)
            + self._host(order.host)
            + self._kind[order.command]
        )
        if order.command == RE_AUTH and order.service_identifier >= 0:
            body += self._identifier(order.service_identifier)
        if order.command == RE_AUTH and order.rating_group >= 0:
            body += self._group(order.rating_group)
        length = HEADER_OCTETS + len(body)
        return (
            _HEADER.pack(
                1 << 24 | length, _FLAGS << 24 | order.command, CREDIT_CONTROL, hop_by_hop, end_to_end
            )
            + body
        )


def end_to_end(now_s: int, worker: int, count: int) -> int:
    """Return an end-to-end identifier that no worker of a server gives twice within 4 minutes (RFC 6733 section 3).

    The low 12 bits of the time in seconds, 6 of the worker's number (there are 64 at most), 14 of the worker's count of requests.
    """
    return (now_s & 0xFFF) << 20 | (worker & 0x3F) << 14 | count & 0x3FFF


class Owed(NamedTuple):
    """A request of ours that waits for its answer until a moment in milliseconds."""

    command: int
    session_id: str
    until_ms: int


class Owing:
    """What one peer owes us on one connection, by hop-by-hop identifier; bounded."""

    __slots__ = ("_most", "_owed", "_wait_ms")

    def __init__(self, most: int, wait_ms: int) -> None:
        self._most = most
        self._wait_ms = wait_ms
        self._owed: dict[int, Owed] = {}  # all wait equally long, so the first is due first

    def __len__(self) -> int:
        return len(self._owed)

    @property
    def full(self) -> bool:
        """Tell whether no more may be asked of this peer now."""
        return len(self._owed) >= self._most

    def ask(self, hop_by_hop: int, command: int, session_id: str, now_ms: int) -> None:
        """Take note of a request that goes out."""
        assert not self.full, "the bound is looked at before a request is made"
        self._owed[hop_by_hop] = Owed(command, session_id, now_ms + self._wait_ms)

    def settle(self, hop_by_hop: int, command: int) -> Owed | None:
        """Take note of an answer: what it answers, None when nothing of that command waits under its identifier."""
        owed = self._owed.get(hop_by_hop)
        if owed is None or owed.command != command:
            return None
        del self._owed[hop_by_hop]
        return owed

    def overdue(self, now_ms: int) -> list[Owed]:
        """Give up what was not answered in time."""
        late = []
        for hop_by_hop, owed in self._owed.items():
            if owed.until_ms > now_ms:
                break
            late.append((hop_by_hop, owed))
        for hop_by_hop, _ in late:
            del self._owed[hop_by_hop]
        return [owed for _, owed in late]

    def lost(self) -> list[Owed]:
        """Give up everything: the connection has gone."""
        owed, self._owed = list(self._owed.values()), {}
        return owed


def answer_kind(avps: dict[str, Any]) -> str:
    """Tell what an RAA or ASA says: success, unknown_session, undelivered (3xxx: nobody saw it), refused, or unreadable."""
    code = avps.get("Result-Code")
    if code is None:
        code = (avps.get("Experimental-Result") or {}).get("Experimental-Result-Code")
    if code is None:
        return "unreadable"
    if code == ResultCode.UNKNOWN_SESSION_ID:
        return "unknown_session"
    return {2: "success", 3: "undelivered"}.get(code // 1000, "refused")
