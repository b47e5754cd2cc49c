"""The peer: one connection with its capabilities exchange, watchdog, disconnection and election, without any I/O.

Laws
1. Five verbs: `receive` (with `receive_eof`), `tick`, `disconnect`, `send`, `outgoing`. Time is an argument in
   milliseconds of a clock that never runs backwards; `events` tells what happened on the way.
2. What to do in a state is read from states.TABLE; this file judges messages and carries actions out.
3. Base-protocol requests are answered here, at once and before anything that charging says (CLIENTS 23).
4. Application frames pass through unread: a chunk that holds nothing else costs framing and one comparison a frame.
5. A fault of the peer closes or answers this connection and no other; nothing here raises for what a peer sends.
"""

from collections.abc import Callable
from typing import Final

from ocs import limits
from ocs.diameter import base
from ocs.diameter.base import BaseMessages, Capabilities, Identity, Local
from ocs.diameter.codec import Codec
from ocs.diameter.events import Closing, Event, Notice, Okay, Opened, Refused, Suspect
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.frame import FrameFault, Framer
from ocs.diameter.machine import Connection, Machine, Occasion
from ocs.diameter.message import REQUEST, Header, header
from ocs.diameter.states import OPEN_STATES, TABLE, Action, PeerEvent, State
from ocs.diameter.watchdog import Watchdog, WatchdogAction

__all__ = [
    "Capabilities",
    "Closing",
    "Event",
    "Identity",
    "Local",
    "Notice",
    "Okay",
    "Opened",
    "Peer",
    "Refused",
    "Suspect",
]

_BASE: Final = b"\x00\x00\x00\x00"
_EXCHANGED: Final = OPEN_STATES | {State.CLOSING}
_TLS: Final = b"\x16\x03"
"""A TLS handshake record of any version, as a ClientHello begins (RFC 8446 section 5.1)."""

_EVENTS: Final = {
    (base.CAPABILITIES_EXCHANGE, True): (PeerEvent.I_RCV_CER, PeerEvent.R_RCV_CER),
    (base.DEVICE_WATCHDOG, True): (PeerEvent.I_RCV_DWR, PeerEvent.R_RCV_DWR),
    (base.DEVICE_WATCHDOG, False): (PeerEvent.I_RCV_DWA, PeerEvent.R_RCV_DWA),
    (base.DISCONNECT_PEER, True): (PeerEvent.I_RCV_DPR, PeerEvent.R_RCV_DPR),
    (base.DISCONNECT_PEER, False): (PeerEvent.I_RCV_DPA, PeerEvent.R_RCV_DPA),
}
"""Base messages on an exchanged connection, as events of the connection that we opened and that the peer opened."""


def _steady() -> int:
    return 0


class Peer(Connection):
    """One connection to a Diameter peer.

    `allow` answers None or the reason for which this peer is refused. `rival` answers the connection that exists with
    that identity already, and so asks for the election and the one-connection rule of RFC 6733 section 5.6; without
    it each connection stands alone, as section 2.1 allows a peer of several instances. `watchdog` is that of the last
    connection to the same peer, `jitter_ms` the source of RFC 3539's jitter. An initiator whose transport does not
    stand yet is made with `connected=False` and told by `connected` or `connect_failed`.
    """

    __slots__ = (
        "_allow",
        "_codec",
        "_heard_ms",
        "_initiator",
        "_remote_address",
        "_rival",
        "origin_state_id",
    )

    def __init__(
        self,
        local: Local,
        codec: Codec,
        *,
        allow: Callable[[Identity], str | None],
        now_ms: int,
        initiator: bool = False,
        connected: bool = True,
        remote_address: str = "",
        rival: Callable[[Identity], "Peer | None"] | None = None,
        watchdog: Watchdog | None = None,
        jitter_ms: Callable[[], int] = _steady,
        message_octets_max: int = limits.MESSAGE_OCTETS_MAX,
        messages: BaseMessages | None = None,
    ) -> None:
        super().__init__(
            local,
            messages or BaseMessages(local),
            watchdog or Watchdog(local.watchdog_ms, now_ms, jitter_ms),
            Framer(message_octets_max),
            now_ms,
        )
        self._codec = codec
        self._allow = allow
        self._rival = rival
        self._remote_address = remote_address
        self._initiator = initiator
        self._heard_ms = now_ms
        self.origin_state_id: int | None = None
        """What the peer said last of its state, in its CER or a DWR (RFC 6733 section 8.16); None: nothing."""
        if initiator:
            self._machine.initiated = self
            self._fire(PeerEvent.START, Occasion(now_ms, self))
            if connected:
                self.connected(now_ms)
        else:
            self._machine.accepted = self

    @property
    def heard_ms(self) -> int:
        """When anything came from the peer last, a watchdog's answer among it."""
        return max(self._heard_ms, self._watchdog.heard_ms)

    @property
    def due_ms(self) -> int:
        """The next moment at which `tick` has something to do, as far as is known now."""
        return self._watchdog.due_ms if self._machine.state in OPEN_STATES else self._timer_ms

    # ------------------------------------------------------------------ the verbs

    def receive(self, chunk: bytes, now_ms: int) -> list[bytes]:
        """Take octets from the transport and return the whole application frames among them, in order."""
        try:
            frames = self._framer.feed(chunk)
        except FrameFault as fault:
            return self._break(fault, chunk, now_ms)
        if self._hot and frames:
            for frame in frames:
                if frame[8:12] == _BASE:
                    break
            else:
                self._watchdog.heard_ms = now_ms
                return frames
        return self._sort(frames, now_ms) if frames else frames

    def receive_eof(self, now_ms: int) -> None:
        """Take note that the transport is gone or that the peer will send no more."""
        self._lose("the peer closed the connection", now_ms)

    def tick(self, now_ms: int) -> None:
        """Let time pass: watchdog while open, otherwise the timer of the exchange that is under way."""
        if self.closing:
            return
        if self._machine.state in OPEN_STATES:
            self._attend(self._watchdog.tick(now_ms), now_ms)
        elif now_ms >= self._timer_ms:
            reason = (
                "no answer to the DPR, or not closed after it"
                if self._said_closing
                else "no capabilities exchange"
            )
            self._fire(PeerEvent.TIMEOUT, Occasion(now_ms, self, f"{reason} in time"))

    def disconnect(self, cause: int, now_ms: int) -> None:
        """Take leave of the peer with a DPR and its Disconnect-Cause (RFC 6733 section 5.4); before open, just close."""
        self._fire(PeerEvent.STOP, Occasion(now_ms, self, f"we disconnect, cause {cause}", cause=cause))

    def hang_up(self, now_ms: int) -> None:
        """Take leave of the peer by closing, without a DPR: RFC 6733 section 5.4 asks for one, but some clients never come back after it."""
        self._lose("we hang up", now_ms)

    def send(self, data: bytes) -> None:
        """Let an application message go out; dropped and counted when the connection is not open."""
        if self._hot:
            self._out.append(data)
        elif not self.closing:
            self._fire(PeerEvent.SEND_MESSAGE, Occasion(0, self, octets=data))
        else:
            self.discarded += 1

    def outgoing(self) -> bytes:
        """Return all octets to be written since the last call."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def events(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def connected(self, now_ms: int) -> None:
        """Take note that the transport which we dialled stands (I-Rcv-Conn-Ack)."""
        self._fire(PeerEvent.I_RCV_CONN_ACK, Occasion(now_ms, self))

    def connect_failed(self, now_ms: int) -> None:
        """Take note that the transport which we dialled was refused (I-Rcv-Conn-Nack)."""
        self._fire(PeerEvent.I_RCV_CONN_NACK, Occasion(now_ms, self, "the peer does not take the connection"))

    # ------------------------------------------------------------------ what comes in

    def _break(self, fault: FrameFault, chunk: bytes, now_ms: int) -> list[bytes]:
        """Take the frames before a framing fault, then close: the stream has lost its boundaries."""
        up = self._sort(fault.frames, now_ms)
        if chunk.startswith(_TLS):
            # freeDiameter does so after a CEA without Inband-Security-Id, or when pointed at the wrong port (CLIENTS 4).
            self._lose("a TLS handshake on the plain port", now_ms)
        else:
            self._lose(f"frame: {fault.reason}", now_ms)
        return up

    def _lose(self, reason: str, now_ms: int) -> None:
        if not self.closing:
            event = PeerEvent.I_PEER_DISC if self._initiator else PeerEvent.R_PEER_DISC
            if (self._machine.state, PeerEvent.I_RCV_CONN_NACK) in TABLE and self._initiator:
                event = PeerEvent.I_RCV_CONN_NACK
            fired = self._fire(event, Occasion(now_ms, self, reason))
            assert fired, "a connection may end in every state that it can be in"

    def _sort(self, frames: list[bytes], now_ms: int) -> list[bytes]:
        self._up = []
        for frame in frames:
            if self.closing:
                self.discarded += 1
            elif self._machine.state not in _EXCHANGED:
                self._exchange(frame, now_ms)
            else:
                self._hear(frame, now_ms)
        up, self._up = self._up, []
        return up

    def _hear(self, frame: bytes, now_ms: int) -> None:
        """Take one frame on a connection whose capabilities are exchanged."""
        self._heard_ms = now_ms
        top = header(frame)
        request = bool(top.flags & REQUEST)
        is_dwa = (
            top.application == base.BASE_APPLICATION and top.command == base.DEVICE_WATCHDOG and not request
        )
        advice = self._watchdog.message(now_ms, dwa=is_dwa)
        self._attend(advice, now_ms)
        if top.application != base.BASE_APPLICATION:
            if WatchdogAction.THROWAWAY in advice:
                self.discarded += 1
                return
            event = PeerEvent.I_RCV_MESSAGE if self._initiator else PeerEvent.R_RCV_MESSAGE
            self._fire(event, Occasion(now_ms, self, octets=frame))
            return
        events = _EVENTS.get((top.command, request))
        if events is None:
            self._misfit(top, request=request)
            return
        cause = ""
        if request:
            try:
                message = self._codec.decode(frame)
            except DecodeFault as fault:
                self._answer_fault(fault, top)
                return
            self.origin_state_id = message.avps.get("Origin-State-Id", self.origin_state_id)
            cause = f"the peer disconnects, cause {message.avps.get('Disconnect-Cause')}"
        self._fire(events[0 if self._initiator else 1], Occasion(now_ms, self, cause, header=top))

    def _misfit(self, top: Header, *, request: bool) -> None:
        """Answer a base request that nobody knows with 3001; the connection stays (CLIENTS 17). Answers are dropped."""
        if not request:
            self.discarded += 1
        elif self._machine.state in OPEN_STATES:
            why = "command not supported"
            self._out.append(self._messages.refusal(top, ResultCode.COMMAND_UNSUPPORTED, why))
            self._events.append(Notice(f"command {top.command} of the base application is not known"))

    def _answer_fault(self, fault: DecodeFault, top: Header) -> None:
        """Answer a base request that cannot be read, with what is wrong in it (RFC 6733 section 7)."""
        self._out.append(self._messages.refusal(top, fault.result_code, fault.reason, fault.failed_avp))
        self._events.append(Notice(f"command {top.command} of the base application: {fault.reason}"))

    # ------------------------------------------------------------------ capabilities

    def _exchange(self, frame: bytes, now_ms: int) -> None:
        """Take one frame while the peer is not known yet: a CER or the CEA, nothing else (RFC 6733 section 5.6)."""
        top = header(frame)
        request = bool(top.flags & REQUEST)
        is_exchange = top.application == base.BASE_APPLICATION and top.command == base.CAPABILITIES_EXCHANGE
        if not is_exchange or request is self._initiator or (self._cer is not None and not self._initiator):
            event = PeerEvent.I_RCV_NON_CEA if self._initiator else PeerEvent.R_RCV_NON_CER
            reason = (
                f"command {top.command} of application {top.application} before the capabilities exchange"
            )
            self._fire(event, Occasion(now_ms, self, reason))
            return
        if self._initiator:
            self._judge_cea(frame, top, now_ms)
        else:
            self._judge_cer(frame, top, now_ms)

    def _judged(self, frame: bytes) -> base.Verdict:
        serves = self._local.accounting
        return base.judge(self._codec, frame, self._remote_address, self._allow, accounting=serves)

    def _judge_cer(self, frame: bytes, top: Header, now_ms: int) -> None:
        """Accept a CER, or refuse it with the code that says why (RFC 6733 section 5.3)."""
        self._cer = top
        verdict = self._judged(frame)
        if verdict.capabilities is None or verdict.identity is None:
            self._events.append(Refused(verdict.result_code, verdict.why))
            occasion = Occasion(now_ms, self, verdict.why, top, b"", verdict.result_code, verdict.failed_avp)
            self._fire(PeerEvent.R_RCV_BAD_CER, occasion)
            return
        if not verdict.capabilities.host_ips:
            # Kamailio's CER lacks it about once in ten starts (CLIENTS 3).
            self._events.append(Notice("the CER lacks Host-IP-Address"))
        self.identity, self.capabilities = verdict.identity, verdict.capabilities
        self.origin_state_id = verdict.capabilities.origin_state_id
        machine = self._join(verdict.identity)
        self._fire(
            PeerEvent.R_CONN_CER, Occasion(now_ms, self, "a connection with this peer exists"), machine
        )

    def _judge_cea(self, frame: bytes, top: Header, now_ms: int) -> None:
        """Accept a CEA, or close: refused, unreadable, not asked for, or nothing in common."""
        verdict = self._judged(frame)
        if top.hop_by_hop != self._ids:
            verdict = base.Verdict(0, "the CEA answers another request")
        if verdict.capabilities is None or verdict.identity is None:
            self._events.append(Refused(verdict.result_code, verdict.why))
            self._fire(PeerEvent.I_RCV_NON_CEA, Occasion(now_ms, self, verdict.why))
            return
        self.identity, self.capabilities = verdict.identity, verdict.capabilities
        self._fire(PeerEvent.I_RCV_CEA, Occasion(now_ms, self, "the other connection won the election"))

    def _join(self, who: Identity) -> Machine:
        """Return the machine that an accepted CER is an event of: its own, or the rival connection's."""
        other = self._rival(who) if self._rival is not None else None
        if other is None or other is self:
            return self._machine
        row = TABLE.get((other.state, PeerEvent.R_CONN_CER))
        if row is None or row.state is State.CLOSED:
            return self._machine
        if Action.R_REJECT not in row.actions:
            self._machine = other._machine  # noqa: SLF001 - the other connection of the same peer
            self._machine.accepted = self
        return other._machine  # noqa: SLF001 - as above
