"""The peer's machine at work: what the actions of states.TABLE do to a connection.

Laws
1. The row's next state is entered first, then its actions are carried out in order; none of them can fail.
2. An action finds its connection by its letter: I the one that we opened, R the one that the peer opened.
3. A connection that is closed has left the machine; nothing that happens later reaches it.
"""
# ruff: noqa: SLF001 - the functions below are the arms of this room's own class

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ocs import limits
from ocs.diameter import base
from ocs.diameter.base import BaseMessages, Capabilities, Identity, Local
from ocs.diameter.events import Closing, Event, Okay, Opened, Suspect
from ocs.diameter.faults import ResultCode
from ocs.diameter.message import Header
from ocs.diameter.states import OPEN_STATES, TABLE, Action, PeerEvent, State, wins_election
from ocs.diameter.watchdog import Watchdog, WatchdogAction, WatchdogState


class Feeder(Protocol):
    """What cuts octets into messages."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take what was read and return the messages that it completes."""
        ...


class Deaf:
    """The framer of a connection that is being closed: what still comes in is not kept."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> list[bytes]:  # noqa: ARG002 - the framer's signature
        """Keep nothing."""
        return []


class Machine:
    """The state that the connections of one peer share: one alone as a rule, two while an election runs."""

    __slots__ = ("accepted", "initiated", "state")

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.initiated: Connection | None = None
        self.accepted: Connection | None = None


class Occasion(NamedTuple):
    """What an event came with; each action takes what it needs."""

    now_ms: int
    source: "Connection"
    reason: str = ""
    header: Header | None = None
    octets: bytes = b""
    result_code: int = 0
    failed_avp: bytes = b""
    cause: int = base.REBOOTING


class Connection:
    """One connection as the machine sees it: what it may say, and how it opens and closes."""

    __slots__ = (
        "_cer",
        "_events",
        "_framer",
        "_hot",
        "_ids",
        "_local",
        "_machine",
        "_messages",
        "_out",
        "_said_closing",
        "_timer_ms",
        "_up",
        "_watchdog",
        "capabilities",
        "closing",
        "discarded",
        "identity",
    )

    def __init__(
        self, local: Local, messages: BaseMessages, watchdog: Watchdog, framer: Feeder, now_ms: int
    ) -> None:
        self._local = local
        self._messages = messages
        self._watchdog = watchdog
        self._framer = framer
        # Ids start where an earlier connection of ours is unlikely to be read again (RFC 6733 section 3).
        self._ids = (now_ms * 2_654_435_761 + local.origin_state_id) & 0xFFFFFFFF
        self._out: list[bytes] = []
        self._up: list[bytes] = []
        self._events: list[Event] = []
        self._cer: Header | None = None
        self._hot = False
        self._said_closing = False
        self._timer_ms = now_ms + limits.CAPABILITIES_MS
        self._machine = Machine()
        self.capabilities: Capabilities | None = None
        self.identity: Identity | None = None
        self.closing = False
        self.discarded = 0

    @property
    def state(self) -> State:
        """Where the peer's machine stands; CLOSED for a connection that is over."""
        return self._machine.state

    @property
    def watchdog(self) -> Watchdog:
        """The watchdog, to be handed to the next connection with the same peer."""
        return self._watchdog

    def next_hop_by_hop(self) -> int:
        """Return an identifier for a request that we start, unique on this connection (RFC 6733 section 3)."""
        self._ids = (self._ids + 1) & 0xFFFFFFFF
        return self._ids

    # ------------------------------------------------------------------ the machine

    def _fire(self, event: PeerEvent, occasion: Occasion, machine: Machine | None = None) -> bool:
        """Let an event happen: the row's next state first, then its actions. Without a row nothing changes."""
        machine = machine or self._machine
        row = TABLE.get((machine.state, event))
        if row is None:
            self.discarded += 1
            return False
        machine.state = row.next_state
        for action in row.actions:
            _ACTIONS[action](machine, occasion)
        return True

    def _open(self, occasion: Occasion) -> None:
        assert self.identity is not None
        assert self.capabilities is not None
        self._events.append(Opened(self.identity, self.capabilities))
        self._attend(self._watchdog.up(occasion.now_ms), occasion.now_ms)

    def _attend(self, advice: tuple[WatchdogAction, ...], now_ms: int) -> None:
        """Do what the watchdog asks for, and remember whether the short way through `receive` is open."""
        for action in advice:
            if action is WatchdogAction.SEND:
                hop_by_hop = self.next_hop_by_hop()
                self._out.append(self._messages.dwr(hop_by_hop, self._end_to_end(hop_by_hop)))
            elif action is WatchdogAction.FAILOVER and self.identity is not None:
                self._events.append(Suspect(self.identity))
            elif action is WatchdogAction.FAILBACK and self.identity is not None:
                self._events.append(Okay(self.identity))
            elif action is WatchdogAction.CLOSE:
                self._fire(PeerEvent.WATCHDOG_DOWN, Occasion(now_ms, self, "no answer to the watchdog"))
        self._hot = self._machine.state in OPEN_STATES and self._watchdog.state is WatchdogState.OKAY

    def _end_to_end(self, hop_by_hop: int) -> int:
        """Return an end-to-end identifier: the start of this server above, a count below (RFC 6733 section 3)."""
        return (self._local.origin_state_id & 0xFFF) << 20 | hop_by_hop & 0xFFFFF

    def _leave(self, occasion: Occasion) -> None:
        """Take note that the connection is on its way out: from now on only the slow way, and a timer."""
        self._hot = False
        if not self._said_closing:
            self._said_closing = True
            self._timer_ms = occasion.now_ms + limits.DISCONNECT_MS
            self._events.append(Closing(occasion.reason))

    def _close(self, occasion: Occasion) -> None:
        """Let go of the transport and of the machine; nothing is heard any more."""
        if self.closing:
            return
        self._leave(occasion)
        self.closing = True
        self._framer = Deaf()
        if self._machine.initiated is self:
            self._machine.initiated = None
        if self._machine.accepted is self:
            self._machine.accepted = None
        self._machine = Machine()
        self._watchdog.down(occasion.now_ms)

    # ------------------------------------------------------------------ what goes out

    def _say_cer(self, _: Occasion) -> None:
        hop_by_hop = self.next_hop_by_hop()
        self._out.append(self._messages.cer(hop_by_hop, self._end_to_end(hop_by_hop)))

    def _say_cea(self, occasion: Occasion) -> None:
        assert self._cer is not None, "a CEA answers a CER"
        self._out.append(self._messages.cea(self._cer))
        self._open(occasion)

    def _say_refusal(self, occasion: Occasion) -> None:
        assert occasion.header is not None
        # Why a peer is not allowed is our own business; it reads the code, the log has the words.
        why = "peer not known here" if occasion.result_code == ResultCode.UNKNOWN_PEER else occasion.reason
        self._out.append(
            self._messages.cea_refusal(occasion.header, occasion.result_code, why, occasion.failed_avp)
        )

    def _say_unable(self, occasion: Occasion) -> None:
        assert occasion.header is not None
        why = "capabilities are exchanged once per connection"
        self._out.append(self._messages.cea_refusal(occasion.header, ResultCode.UNABLE_TO_COMPLY, why))

    def _say_dwa(self, occasion: Occasion) -> None:
        assert occasion.header is not None
        self._out.append(self._messages.dwa(occasion.header))

    def _say_dpr(self, occasion: Occasion) -> None:
        hop_by_hop = self.next_hop_by_hop()
        self._out.append(self._messages.dpr(occasion.cause, hop_by_hop, self._end_to_end(hop_by_hop)))
        self._leave(occasion)

    def _say_dpa(self, occasion: Occasion) -> None:
        assert occasion.header is not None
        self._out.append(self._messages.dpa(occasion.header))
        self._leave(occasion)

    def _say_message(self, occasion: Occasion) -> None:
        self._out.append(occasion.octets)

    def _pass_up(self, occasion: Occasion) -> None:
        self._up.append(occasion.octets)


_Act = Callable[[Machine, Occasion], None]


def _initiated(act: Callable[[Connection, Occasion], None]) -> _Act:
    """Bind an action to the connection that we opened."""

    def do(machine: Machine, occasion: Occasion) -> None:
        if machine.initiated is not None:
            act(machine.initiated, occasion)

    return do


def _accepted(act: Callable[[Connection, Occasion], None]) -> _Act:
    """Bind an action to the connection that the peer opened."""

    def do(machine: Machine, occasion: Occasion) -> None:
        if machine.accepted is not None:
            act(machine.accepted, occasion)

    return do


def _source(act: Callable[[Connection, Occasion], None]) -> _Act:
    """Bind an action to the connection on which the event came."""
    return lambda _, occasion: act(occasion.source, occasion)


def _elect(machine: Machine, occasion: Occasion) -> None:
    """Hold the election on the responder (RFC 6733 section 5.6.4)."""
    peer = machine.accepted
    assert peer is not None
    assert peer.identity is not None
    if wins_election(peer._local.origin_host, peer.identity.origin_host):
        reason = "the other connection won the election"
        peer._fire(PeerEvent.WIN_ELECTION, occasion._replace(reason=reason))


def _both(machine: Machine, occasion: Occasion) -> None:
    _initiated(Connection._close)(machine, occasion)
    _accepted(Connection._close)(machine, occasion)


def _nothing(_machine: Machine, _occasion: Occasion) -> None:
    """Done elsewhere: the transport dials and accepts, `judge` reads CER and CEA, the watchdog hears every message."""


_ACTIONS: Final[dict[Action, _Act]] = {
    Action.I_SND_CONN_REQ: _nothing,
    Action.R_ACCEPT: _nothing,
    Action.PROCESS_CER: _nothing,
    Action.PROCESS_DWR: _nothing,
    Action.PROCESS_DWA: _nothing,
    Action.R_REJECT: _source(Connection._close),
    Action.PROCESS_CEA: _initiated(Connection._open),
    Action.CLEANUP: _initiated(Connection._close),
    Action.ERROR: _both,
    Action.ELECT: _elect,
    Action.I_DISC: _initiated(Connection._close),
    Action.R_DISC: _accepted(Connection._close),
    Action.I_SND_CER: _initiated(Connection._say_cer),
    Action.R_SND_CEA: _accepted(Connection._say_cea),
    Action.R_SND_REFUSAL: _accepted(Connection._say_refusal),
    Action.I_SND_UNABLE: _initiated(Connection._say_unable),
    Action.R_SND_UNABLE: _accepted(Connection._say_unable),
    Action.I_SND_MESSAGE: _initiated(Connection._say_message),
    Action.R_SND_MESSAGE: _accepted(Connection._say_message),
    Action.SND_MESSAGE: _source(Connection._say_message),
    Action.PROCESS: _source(Connection._pass_up),
    Action.I_SND_DWA: _initiated(Connection._say_dwa),
    Action.R_SND_DWA: _accepted(Connection._say_dwa),
    Action.I_SND_DPR: _initiated(Connection._say_dpr),
    Action.R_SND_DPR: _accepted(Connection._say_dpr),
    Action.I_SND_DPA: _initiated(Connection._say_dpa),
    Action.R_SND_DPA: _accepted(Connection._say_dpa),
}
"""How each action of the table is carried out."""
