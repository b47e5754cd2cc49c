"""Admission: how many requests may be under way, per peer and in the whole worker; beyond it 3004 at once.

Laws
1. A request that is let in is counted until it is answered, whether its connection still stands or not.
2. What begins (Initials, events) is refused first. Updates have an eighth more room: their users are served already. Terminations have
   a quarter more, since clients seldom repeat them (CLIENTS 15), and so has whatever begins an emergency call (TS 22.101 clause 10):
   whether it is one is looked at only where it would be refused.
3. While the worker drains, nothing new begins: Initials and events are refused, what belongs to open sessions is not.
4. Connections under one Origin-Host share one bound, and their number has one.
"""

from typing import Final

from ocs.charging.ask import EVENT, INITIAL, TERMINATION, UPDATE
from ocs.limits import CONNECTIONS_PER_PEER_MAX, TERMINATION_SHARE, UPDATE_SHARE

_ALL: Final = 100
PEER, WORKER, DRAIN = "peer", "worker", "drain"
_BEGINNINGS: Final = frozenset((INITIAL, EVENT))


class Seat:
    """One peer's share of the worker."""

    __slots__ = ("_admission", "_host", "connections", "inflight")

    def __init__(self, admission: "Admission", host: str) -> None:
        self._admission = admission
        self._host = host
        self.connections = 0
        self.inflight = 0

    def admit(self, kind: int) -> str | None:
        """Let a request in and return None, or return the bound that was reached: PEER, WORKER or DRAIN."""
        admission = self._admission
        if self.inflight >= admission.per_peer[kind]:
            return PEER
        if admission.inflight >= admission.worker[kind]:
            return WORKER
        if admission.draining and kind in _BEGINNINGS:
            return DRAIN
        self.inflight += 1
        admission.inflight += 1
        return None

    def release(self) -> None:
        """Take note that a request that was let in has been answered."""
        assert self.inflight > 0, "released more than was let in"
        self.inflight -= 1
        self._admission.inflight -= 1
        if self.inflight == 0 and self.connections == 0:
            self._admission.forget(self._host, self)

    def take(self) -> None:
        """Take note of one more connection of this peer."""
        self.connections += 1

    def leave(self) -> None:
        """Take note that a connection of this peer has gone; its requests under way stay counted."""
        self.connections -= 1
        if self.inflight == 0 and self.connections == 0:
            self._admission.forget(self._host, self)


class Admission:
    """The bounds of one worker."""

    __slots__ = (
        "_seats",
        "connections_per_peer_max",
        "draining",
        "inflight",
        "per_peer",
        "worker",
    )

    def __init__(
        self, per_peer_max: int, worker_max: int, connections_per_peer_max: int = CONNECTIONS_PER_PEER_MAX
    ) -> None:
        self.connections_per_peer_max = connections_per_peer_max
        self.per_peer = _by_kind(per_peer_max)
        self.worker = _by_kind(worker_max)
        self.inflight = 0
        self.draining = False
        self._seats: dict[str, Seat] = {}

    def seat(self, origin_host: str) -> Seat:
        """Return the seat of a peer for one more of its connections; `Seat.leave` gives it back."""
        host = origin_host.lower()
        seat = self._seats.get(host)
        if seat is None:
            seat = self._seats[host] = Seat(self, host)
        seat.take()
        return seat

    def is_crowded(self, origin_host: str) -> bool:
        """Tell whether a peer has as many connections as it may have."""
        seat = self._seats.get(origin_host.lower())
        return seat is not None and seat.connections >= self.connections_per_peer_max

    def load(self) -> int:
        """Return how much of what the worker may have under way it has, in per cent; no more than all."""
        return min(_ALL, self.inflight * _ALL // self.worker[INITIAL])

    @property
    def peers(self) -> int:
        """Peers that have a connection, or requests under way."""
        return len(self._seats)

    def forget(self, host: str, seat: Seat) -> None:
        """Drop a seat that nobody sits on."""
        if self._seats.get(host) is seat:
            del self._seats[host]


def _by_kind(most: int) -> tuple[int, ...]:
    """Return a bound for each CC-Request-Type (law 2), at its number."""
    bounds = [most] * (EVENT + 1)
    bounds[UPDATE] += -(-most // UPDATE_SHARE)
    bounds[TERMINATION] += -(-most // TERMINATION_SHARE)
    return tuple(bounds)
