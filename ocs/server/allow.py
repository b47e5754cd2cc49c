"""The allow list: which peers may talk to us, by Origin-Host, realm, address and certificate.

Laws
1. The first row that fits host, realm and address decides; nobody else is let in (secure by default).
2. A refusal says to the log who was refused and why, and to the peer only that it is not known.
3. A stranger cannot fill the disk: a bounded number of lines a second, everything is counted.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from ocs.diameter.base import Identity
from ocs.server.counters import Counters
from ocs.server.families import REFUSALS
from ocs.server.log import Log, Sparing

ANY = "*"


class AllowRow(NamedTuple):
    """Who may connect: exact names or "*", from a network; `tls_required` refuses the plain port and other certificates.

    `profile` is the name of the client's profile (profiles.py), "" for none.
    """

    origin_host: str
    origin_realm: str
    network: IPv4Network | IPv6Network
    tls_required: bool = False
    profile: str = ""


class Security(NamedTuple):
    """How a connection is secured: over TLS or not, and the names in the peer's certificate (lower case)."""

    tls: bool = False
    names: frozenset[str] = frozenset()


PLAIN = Security()


class Refusal(NamedTuple):
    """Why a peer is refused: one word of counters.REFUSALS, and a sentence."""

    reason: str
    why: str


class AllowList:
    """Judges peers; also counts and tells of those that it refuses."""

    __slots__ = ("_cells", "_counters", "_log", "_now_ms", "_rows", "_sparing")

    def __init__(
        self, rows: Iterable[AllowRow], counters: Counters, log: Log, now_ms: Callable[[], int]
    ) -> None:
        self._rows = tuple(
            row._replace(origin_host=row.origin_host.lower(), origin_realm=row.origin_realm.lower())
            for row in rows
        )
        self._counters = counters
        self._cells = {reason: counters.index("ocs_peers_refused_total", reason) for reason in REFUSALS}
        self._log = log
        self._now_ms = now_ms
        self._sparing = Sparing()

    def judge(self, identity: Identity, security: Security = PLAIN) -> Refusal | None:
        """Return None for a peer that may talk to us, else why not; identities compare without case (RFC 6733 section 4.3.1)."""
        host = identity.origin_host.lower()
        near, named, fitting = self._fitting(identity)
        if fitting is None:
            if not near:
                return Refusal("address", "no row of the allow list has this address")
            if not named:
                return Refusal("origin_host", "no row for this address has this Origin-Host")
            return Refusal("origin_realm", "no row for this Origin-Host has this Origin-Realm")
        if fitting.tls_required and not security.tls:
            return Refusal("tls", "this peer has to come over TLS")
        if fitting.tls_required and host not in security.names:
            return Refusal("certificate", "the certificate does not name this Origin-Host")
        return None

    def profile(self, identity: Identity) -> str:
        """Return the name of the profile of a peer that is let in, "" for none."""
        fitting = self._fitting(identity)[2]
        return fitting.profile if fitting is not None else ""

    def _fitting(self, identity: Identity) -> tuple[list[AllowRow], list[AllowRow], AllowRow | None]:
        """Return the rows for an address, those of them for the host, and the first of these for the realm."""
        address = _address(identity.remote_address)
        host, realm = identity.origin_host.lower(), identity.origin_realm.lower()
        near = [row for row in self._rows if address is not None and address in row.network]
        named = [row for row in near if row.origin_host in {ANY, host}]
        return near, named, next((row for row in named if row.origin_realm in {ANY, realm}), None)

    def near(self, address: str) -> bool:
        """Tell whether any row has this address: whoever comes from elsewhere is refused whatever it says."""
        judged = _address(address)
        return judged is not None and any(judged in row.network for row in self._rows)

    def check(self, identity: Identity, security: Security = PLAIN) -> str | None:
        """Judge as the peer machine asks it; a refusal is counted and told."""
        refusal = self.judge(identity, security)
        if refusal is None:
            return None
        self.refused(refusal.reason, refusal.why, identity)
        return "this peer is not known here"

    def refused(self, reason: str, why: str, identity: Identity) -> None:
        """Count a refused peer, and tell of it unless too many lines were written in this second."""
        self._counters.cells[self._cells[reason]] += 1
        if not self._sparing.may(self._now_ms()):
            return
        self._log.warning(
            "peer refused",
            reason=reason,
            why=why,
            origin_host=identity.origin_host[:255],
            origin_realm=identity.origin_realm[:255],
            address=identity.remote_address,
            unsaid=self._sparing.unsaid(),
        )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a peer; an IPv4 peer on a dual-stack socket (::ffff:10.0.0.1) is an IPv4 peer."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
