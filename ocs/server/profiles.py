"""Client profiles: what is known of a kind of client that no message says, and what we do differently for it.

Laws
1. Without a profile everything is as RFC 6733, RFC 8506 and TS 32.299 have it; a profile says only where a client does not follow.
2. A peer has the profile that its row of the allow list names, else the first whose patterns fit its Origin-Host. A client behind a relay
   has the first whose patterns fit the Origin-Host of its requests, else the relay's.
3. It is found once for a connection. Only behind a relay, and only where patterns are configured, a request is looked at for it.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ocs.charging.ask import Ask
from ocs.charging.outcome import Outcome
from ocs.diameter.message import Message
from ocs.diameter.server_initiated import ABORT_SESSION
from ocs.limits import CLIENTS_KNOWN_MAX

if TYPE_CHECKING:
    from ocs.server.desk import Answers


class ClientProfile(NamedTuple):
    """What one kind of client is; `origin_hosts` are patterns in which * stands for any text.

    `reauthorise` and `abort`: whether RARs and ASRs are sent to it. `vendor_avps`: whether answers have AVPs of 3GPP. `says_goodbye`:
    whether a DPR goes before we close; else the connection just ends. `restart_ends`: whether a risen Origin-State-Id ends its
    sessions (RFC 6733 section 8.16).
    """

    name: str = ""
    origin_hosts: tuple[str, ...] = ()
    reauthorise: bool = True
    abort: bool = True
    vendor_avps: bool = True
    says_goodbye: bool = True
    restart_ends: bool = False

    def takes(self, command: int) -> bool:
        """Tell whether a request of ours is of use to such a client."""
        return self.abort if command == ABORT_SESSION else self.reauthorise


DEFAULT = ClientProfile()


class Profiles:
    """All profiles, and who has which."""

    __slots__ = ("_by_name", "_clients", "_patterns")

    def __init__(self, profiles: Iterable[ClientProfile] = ()) -> None:
        rows = tuple(profiles)
        self._by_name = {each.name: each for each in rows}
        self._patterns = [(_pattern(text), each) for each in rows for text in each.origin_hosts]
        self._clients: dict[str, ClientProfile | None] = {}

    @property
    def has_patterns(self) -> bool:
        """Tell whether any profile is found by the Origin-Host."""
        return bool(self._patterns)

    @property
    def ends_any(self) -> bool:
        """Tell whether a profile that is found by the Origin-Host lets a restart end sessions."""
        return any(each.restart_ends for _, each in self._patterns)

    def of_peer(self, named: str, origin_host: str) -> ClientProfile:
        """Return the profile of a peer whose row of the allow list names one, or none ("")."""
        return self._by_name[named] if named else self.of_client(origin_host, DEFAULT)

    def of_client(self, origin_host: str, otherwise: ClientProfile) -> ClientProfile:
        """Return the profile of whoever sends as an Origin-Host."""
        if not self._patterns:
            return otherwise
        if origin_host not in self._clients:
            if len(self._clients) >= CLIENTS_KNOWN_MAX:
                self._clients.clear()
            host = origin_host.lower()
            self._clients[origin_host] = next(
                (each for pattern, each in self._patterns if pattern.fullmatch(host)), None
            )
        return self._clients[origin_host] or otherwise


class Writers(NamedTuple):
    """Who writes answers: with AVPs of 3GPP, and without."""

    full: "Answers"
    plain: "Answers"

    def of(self, profile: ClientProfile) -> "Answers":
        """Return the writer for a client."""
        return self.full if profile.vendor_avps else self.plain

    def of_connection(self, profiles: Profiles, profile: ClientProfile, hop: str) -> "Answers":
        """Return the writer for a connection, which is one that looks at each request only where that may matter (law 3)."""
        return _ByClient(self, profiles, profile, hop) if profiles.has_patterns else self.of(profile)


class _ByClient:
    """Writes each answer as its client has it."""

    __slots__ = ("_hop", "_own", "_profile", "_profiles", "_writers", "refuse")

    def __init__(self, writers: Writers, profiles: Profiles, profile: ClientProfile, hop: str) -> None:
        self._writers = writers
        self._profiles = profiles
        self._profile = profile
        self._hop = hop
        self._own = writers.of(profile)
        self.refuse: Any = writers.full.refuse

    def answer(self, message: Message, ask: Ask, outcome: Outcome) -> bytes:
        """Write the whole answer to a charged request."""
        if ask.origin_host == self._hop:
            return self._own.answer(message, ask, outcome)
        profile = self._profiles.of_client(ask.origin_host, self._profile)
        return self._writers.of(profile).answer(message, ask, outcome)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.lower().split("*")))
