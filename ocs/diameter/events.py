"""What a peer tells the room above it, in order of happening."""

from typing import NamedTuple

from ocs.diameter.base import Capabilities, Identity


class Opened(NamedTuple):
    """Capabilities are exchanged; application messages may flow."""

    identity: Identity
    capabilities: Capabilities


class Suspect(NamedTuple):
    """The peer has not answered a watchdog: send new requests elsewhere (RFC 3539 Failover())."""

    identity: Identity


class Okay(NamedTuple):
    """The peer is heard again (RFC 3539 Failback())."""

    identity: Identity


class Refused(NamedTuple):
    """We refused the peer, or it refused us; `result_code` is that of the CEA, 0 when there was none."""

    result_code: int
    why: str


class Closing(NamedTuple):
    """The connection is on its way out: told once per connection, with the first reason."""

    reason: str


class Notice(NamedTuple):
    """Something was overlooked on purpose, or answered with a fault; worth a log line."""

    reason: str


Event = Opened | Suspect | Okay | Refused | Closing | Notice
