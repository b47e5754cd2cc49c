"""A connection: the asyncio skin of the peer machine, and the way of a request through it.

Laws
1. No task per request: a request is a `Waiting` whose bound method `done` the Book calls once.
2. Everything that one turn of the event loop produced for a peer leaves in one write.
3. What a peer does not read is bounded: above a mark we stop reading from it, after a time or above a limit we cut it.
4. A message that cannot be served is answered with the fault that names it; a fault of our own is answered with 5012.
5. A connection that has to close while requests are under way closes when they are answered; an answer whose connection
   has gone is dropped and counted. Nothing that happens here touches another connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from ocs import limits
from ocs.charging.answer import answered_code
from ocs.charging.ask import TERMINATION, Ask
from ocs.charging.outcome import Outcome
from ocs.diameter.base import BaseMessages, Identity
from ocs.diameter.events import Closing, Event, Notice, Opened, Refused, Suspect
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.message import REQUEST, Header, Message, header
from ocs.diameter.peer import Peer
from ocs.diameter.states import OPEN_STATES, State
from ocs.diameter.watchdog import WatchdogState
from ocs.server.accounting import ACCOUNTING_COMMAND, Recording
from ocs.server.admission import Seat
from ocs.server.allow import PLAIN, Security
from ocs.server.desk import Desk
from ocs.server.profiles import DEFAULT
from ocs.server.refusals import CREDIT_CONTROL_COMMAND, Refusals
from ocs.server.secure import names_of

# How the reasons of the peer machine begin -> what they are counted as.
_CLOSINGS: Final = (
    ("the peer closed", "peer"),
    ("the peer disconnects", "disconnect"),
    ("we disconnect", "disconnect"),
    ("we hang up", "disconnect"),
    ("frame:", "frame"),
    ("a TLS handshake", "tls_on_plain"),
    ("command ", "before_exchange"),
    ("no capabilities exchange", "exchange_time"),
    ("no answer to the watchdog", "watchdog"),
    ("no answer to the DPR", "disconnect"),
)


class Waiting:
    """One request under way."""

    __slots__ = ("ask", "began_us", "connection", "message")

    def __init__(self, connection: "Connection", message: Message, ask: Ask, began_us: int) -> None:
        self.connection = connection
        self.message = message
        self.ask = ask
        self.began_us = began_us

    def done(self, outcome: Outcome) -> None:
        """Take the Outcome, exactly once."""
        self.connection.charged(self, outcome)


class Roll(set["Connection"]):
    """All connections of a worker; `strangers` are those before their capabilities exchange, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: dict[Connection, asyncio.Task[None]] = {}


class Connection(Refusals):
    """One peer's connection, accepted; `roll` knows all connections of the worker."""

    __slots__ = (
        "_answer",
        "_ask",
        "_charge",
        "_closing_us",
        "_decode",
        "_desk",
        "_flushing",
        "_gone",
        "_last",
        "_loop",
        "_now_us",
        "_owed",
        "_paused_us",
        "_peer",
        "_read_octets",
        "_reason",
        "_roll",
        "_seat",
        "_security",
        "_tally",
        "_transport",
        "_via",
        "_via_relay",
        "_watches",
        "address",
        "hop",
        "profile",
    )

    def __init__(self, desk: Desk, roll: Roll, loop: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        self._roll = roll
        self._loop = loop
        self._decode = desk.codec.decode
        self._ask = desk.ask
        self._charge = desk.book.charge
        self._answer = desk.writers.full.answer
        self._tally = desk.tally
        self._now_us = desk.now_us
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._peer: Peer = cast(
            "Peer", None
        )  # both exist from connection_made on, and nothing comes before it
        self._security = PLAIN
        self._seat: Seat | None = None
        self._owed = 0  # requests of this connection under way
        self._last: list[bytes] = []  # answers that go out although the peer machine has closed
        self._flushing = False
        self._gone = False
        self._paused_us = 0
        self._read_octets = 0  # since the last flush
        self._closing_us = 0
        self._reason = ""
        self._via = self._via_relay = ""
        self.address = ""
        self.hop = ""
        """The Diameter identity at the other end, once capabilities are exchanged."""
        self.profile = DEFAULT
        self._watches = False  # whether what clients say of their state is written down

    # ------------------------------------------------------------------ what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the peer has CAPABILITIES_MS for its CER."""
        desk = self._desk
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=desk.bounds.unsent_octets_high)
        remote = transport.get_extra_info("peername")
        near = transport.get_extra_info("sockname")
        self.address = str(remote[0]) if isinstance(remote, tuple) else ""
        if transport.get_extra_info("ssl_object") is not None:
            self._security = Security(tls=True, names=names_of(transport.get_extra_info("peercert")))
        local = desk.local
        if not local.host_ips:  # not configured: the address that the peer has found us at
            local = local._replace(host_ips=(_bare(near[0]) if isinstance(near, tuple) else "127.0.0.1",))
        self._peer = Peer(
            local,
            desk.codec,
            allow=self._allowed,
            now_ms=self._now_us() // 1_000,
            remote_address=self.address,
            jitter_ms=desk.jitter_ms,
            message_octets_max=desk.bounds.message_octets_max,
            messages=BaseMessages(local),
        )
        self._roll.add(self)
        self._tally.connected()

    def data_received(self, chunk: bytes) -> None:
        """Read: base messages are answered inside the peer machine, charging requests go to the book."""
        now_us = self._now_us()
        peer = self._peer
        frames = peer.receive(chunk, now_us // 1_000)
        events = peer.events()
        if events:
            self._hear(events)
        for frame in frames:
            self._take(frame, now_us)
        # The event loop would go on reading from a peer that sends fast, before it writes or hears another.
        self._read_octets += len(chunk)
        if self._read_octets > limits.READ_OCTETS_PER_TURN:
            self._transport.pause_reading()
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def eof_received(self) -> bool:
        """The peer sends no more; what it is owed still goes out."""
        self._peer.receive_eof(self._now_us() // 1_000)
        self._settle()
        # What is ready leaves now: without anything owed the transport closes when we return, and takes no more.
        self._flush()
        return self._owed > 0 and not self._security.tls

    def pause_writing(self) -> None:
        """The peer does not read: stop reading from it, and look at the clock."""
        self._paused_us = self._now_us()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._paused_us = 0
        if not self._peer.closing and self._read_octets <= limits.READ_OCTETS_PER_TURN:
            self._transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        """Take leave; requests under way go on, their answers will be dropped."""
        self._peer.receive_eof(self._now_us() // 1_000)
        self._hear(self._peer.events())
        self._gone = True
        self._roll.discard(self)
        self._roll.strangers.pop(self, None)
        self._desk.requester.leave(self)
        if self._seat is not None:
            self._seat.leave()
        self._tally.closed(self._reason or "other")

    # ------------------------------------------------------------------ what the worker asks

    @property
    def state(self) -> str:
        """One of counters.PEER_STATES."""
        peer = self._peer
        if peer.closing or peer.state is State.CLOSING:
            return "closing"
        if peer.state not in OPEN_STATES:
            return "exchange"
        return "suspect" if peer.watchdog.state is WatchdogState.SUSPECT else "open"

    def tick(self, now_us: int) -> None:
        """Let time pass: the peer machine's timers, and ours for what is not read."""
        peer = self._peer
        wait_us = self._desk.bounds.unsent_ms_max * 1_000
        if self._paused_us and now_us - self._paused_us >= wait_us:
            self.cut("unread", "does not read what it is sent")
        elif self._closing_us and now_us - self._closing_us >= wait_us:
            self._transport.abort()
        elif not peer.closing and now_us // 1_000 >= peer.due_ms:
            peer.tick(now_us // 1_000)
            self._settle()

    def say_state(self, since_ms: int) -> None:
        """Tell what the peer says of its state, where it was heard since then: one that has gone may have left its connection."""
        state = self._peer.origin_state_id
        if self._watches and state is not None and self._peer.heard_ms >= since_ms:
            self._said_state(self.hop, state)

    def disconnect(self, cause: int) -> None:
        """Take leave of the peer with a DPR (RFC 6733 section 5.4), of one that takes it amiss by closing; what is owed goes out before."""
        if self.profile.says_goodbye:
            self._peer.disconnect(cause, self._now_us() // 1_000)
        else:
            self._peer.hang_up(self._now_us() // 1_000)
        self._settle()

    def cut(self, reason: str, why: str) -> None:
        """End the connection at once, without waiting for anything."""
        if not self._gone and self._reason != reason:
            self._reason = reason
            self._desk.log.warning("connection cut", reason=reason, why=why, **self._who())
        self._transport.abort()

    def begin(self, write: Callable[[int], bytes]) -> int:
        """Send a request of ours, written for the hop-by-hop identifier that is returned; -1 where none may go out now.

        None goes to a peer that takes leave, is suspected (RFC 3539 section 3.4), or does not read.
        """
        if self._gone or self._paused_us or self.state != "open":
            return -1
        hop_by_hop = self._peer.next_hop_by_hop()
        self._send(write(hop_by_hop))
        return hop_by_hop

    def takes(self, origin_host: str, command: int) -> bool:
        """Tell whether a request of ours is of use to a client that is reached here (profiles.py)."""
        if origin_host == self.hop:
            return self.profile.takes(command)
        return self._desk.profiles.of_client(origin_host, self.profile).takes(command)

    # ------------------------------------------------------------------ a request's way

    def _take(self, frame: bytes, now_us: int) -> None:
        """Serve one application frame."""
        try:
            message = self._decode(frame)
            if message.command != CREDIT_CONTROL_COMMAND or not message.flags & REQUEST:
                self._take_other(frame, message, now_us)
                return
            ask = self._ask(message)
        except DecodeFault as fault:  # and AskFault, which is one
            self._faulty(frame, fault)
            return
        except Exception as error:  # noqa: BLE001 - law 4: a fault of ours is answered too
            self._blunder(frame, {}, error)
            return
        seat = self._seat
        if seat is None:
            return  # cut as it opened: frames come up after Opened, and a frame without a seat would not be counted
        bound = seat.admit(ask.kind)
        if bound is not None and ask.information and self._desk.is_emergency(ask.information):
            bound = seat.admit(TERMINATION)
        if bound is not None:
            self._tally.shed(bound)
            self._refuse(header(frame), message.avps, ResultCode.TOO_BUSY, b"", f"too busy: {bound}")
            return
        self._owed += 1
        self._tally.reported(message.avps)
        if self._watches and "Origin-State-Id" in message.avps:
            self._said_state(ask.origin_host, message.avps["Origin-State-Id"])
        waiting = Waiting(self, message, ask, now_us)
        try:
            self._charge(ask, waiting.done, self._via if ask.origin_host == self.hop else self._via_relay)
        except Exception as error:  # noqa: BLE001 - law 4
            self._owed -= 1
            seat.release()
            self._blunder(frame, message.avps, error)

    def _take_other(self, frame: bytes, message: Message, now_us: int) -> None:
        """Serve what is no credit-control request: an accounting record, where those are served. Raises AskFault."""
        accounting, seat = self._desk.accounting, self._seat
        if accounting is None or message.command != ACCOUNTING_COMMAND or not message.flags & REQUEST:
            self._misfit(header(frame), message.avps)
            return
        record = accounting.read(message)
        bound = seat.admit(record.ask.kind) if seat is not None else None
        if bound is not None:
            self._tally.shed(bound)
            self._refuse(header(frame), message.avps, ResultCode.TOO_BUSY, b"", f"too busy: {bound}")
        if bound is not None or seat is None:
            return
        self._owed += 1
        try:
            recording = Recording(message, record.ask, now_us, self.recorded, accounting.answers)
            accounting.book.account(record, frame, recording.done)
        except Exception as error:  # noqa: BLE001 - law 4
            self._owed -= 1
            seat.release()
            self._blunder(frame, message.avps, error)

    def recorded(self, recording: Recording, result_code: int, outcome: Outcome) -> None:
        """Answer an accounting record of which it is known what became."""
        self._owed -= 1
        if self._seat is not None:
            self._seat.release()
        octets, message = b"", recording.message
        try:
            if not self._gone:
                octets = recording.answer(outcome.code, result_code)
        except Exception as error:  # noqa: BLE001 - law 4
            self._blunder(message, message.avps, error)
            return
        took_us = self._now_us() - recording.began_us
        self._tally.recorded(recording.ask.kind, result_code, outcome.notes, took_us)
        if self._gone:
            self._tally.dropped()
        else:
            self._send(octets)

    def charged(self, waiting: Waiting, outcome: Outcome) -> None:
        """Answer a request whose Outcome has come."""
        self._owed -= 1
        if self._seat is not None:
            self._seat.release()
        octets, written = b"", 0
        try:
            if not self._gone:
                octets = self._answer(waiting.message, waiting.ask, outcome)
        except Exception:
            self._desk.log.exception("an answer could not be written", session=waiting.ask.session_id)
            self._tally.internal_fault()
            message = waiting.message
            written = int(ResultCode.UNABLE_TO_COMPLY)
            octets = self._desk.writers.full.refuse(message, message.avps, written)
        micros = self._now_us() - waiting.began_us
        code = answered_code(waiting.ask, outcome)
        self._tally.charged(waiting.ask.kind, code, outcome.notes, micros, written)
        if self._gone:
            self._tally.dropped()
        else:
            self._send(octets)

    def _misfit(self, top: Header, avps: dict[str, Any]) -> None:
        """Answer a request of another command with 3001, the connection stays (CLIENTS 17); an answer may be one to us, else it is dropped."""
        if top.flags & REQUEST:
            self._refuse(top, avps, ResultCode.COMMAND_UNSUPPORTED, b"", "command not supported here")
        elif not self._desk.requester.answered(self, top, avps):
            self._tally.stray()

    # ------------------------------------------------------------------ what goes out

    def _send(self, octets: bytes) -> None:
        if self._peer.closing:
            self._last.append(octets)
        else:
            self._peer.send(octets)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _settle(self) -> None:
        """Hear what the peer machine tells, and let go out what it said."""
        events = self._peer.events()
        if events:
            self._hear(events)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write everything of this turn at once; close when the peer machine wants it and nothing is owed."""
        self._flushing = False
        if self._gone:
            return
        peer, transport = self._peer, self._transport
        octets = peer.outgoing()
        choked = self._read_octets > limits.READ_OCTETS_PER_TURN
        self._read_octets = 0
        if self._last:
            octets += b"".join(self._last)
            self._last.clear()
        if octets:
            transport.write(octets)
            if transport.get_write_buffer_size() > self._desk.bounds.unsent_octets_max:
                self.cut("unread", "too many octets unread")
                return
        if peer.closing:
            if not self._closing_us:
                self._closing_us = self._now_us() or 1
                transport.pause_reading()
            if not self._owed:
                transport.close()
        elif choked and not self._paused_us:
            transport.resume_reading()

    # ------------------------------------------------------------------ what the peer machine tells

    def _allowed(self, identity: Identity) -> str | None:
        return self._desk.allow.check(identity, self._security)

    def _hear(self, events: list[Event]) -> None:
        log = self._desk.log
        for event in events:
            if isinstance(event, Opened):
                self._roll.strangers.pop(self, None)
                if self._desk.admission.is_crowded(event.identity.origin_host):
                    self.cut("crowded", "this peer has as many connections as it may have")
                    continue
                self.hop = event.identity.origin_host
                self._seat = self._desk.admission.seat(self.hop)
                self._via = self._desk.requester.enter(self)
                self._via_relay = f"{self._via} {self.hop}"
                self._profiled(event.identity)
                self._tally.exchanged(ResultCode.SUCCESS)
                log.info("peer open", product=event.capabilities.product_name[:64], **self._who())
            elif isinstance(event, Refused):
                self._reason = "refused"
                self._tally.exchanged(event.result_code)
                if event.result_code != ResultCode.UNKNOWN_PEER:  # else the allow list has told it already
                    identity = self._peer.identity or Identity("", "", self.address)
                    self._desk.allow.refused("capabilities", event.why, identity)
            elif isinstance(event, Closing):
                self._reason = self._reason or _closing(event.reason)
                log.info("connection closes", reason=self._reason, why=event.reason, **self._who())
            elif isinstance(event, Notice):
                log.info("peer notice", why=event.reason, **self._who())
            elif isinstance(event, Suspect):
                log.warning("peer suspect", **self._who())
            else:
                log.info("peer okay", **self._who())

    def _profiled(self, identity: Identity) -> None:
        """Find out what kind of client this is."""
        desk = self._desk
        self.profile = desk.profiles.of_peer(desk.allow.profile(identity), self.hop)
        self._answer = desk.writers.of_connection(desk.profiles, self.profile, self.hop).answer
        self._watches = self.profile.restart_ends or desk.profiles.ends_any
        self.say_state(0)

    def _said_state(self, origin_host: str, state: int) -> None:
        """Write down what a client says of its state, where its profile lets that end sessions (sessions/restarts.py)."""
        desk = self._desk
        profile = (
            self.profile if origin_host == self.hop else desk.profiles.of_client(origin_host, self.profile)
        )
        if profile.restart_ends:
            desk.say_state(origin_host, state)

    def _who(self) -> dict[str, str]:
        """The peer, for a log line: its identity where it is known, its address always."""
        identity = self._peer.identity
        return {"origin_host": identity.origin_host if identity else "", "address": self.address}


def _closing(why: str) -> str:
    """What a reason of the peer machine is counted as."""
    return next((word for begin, word in _CLOSINGS if why.startswith(begin)), "other")


def _bare(address: str) -> str:
    """An address without its zone, IPv4 as IPv4: what Host-IP-Address can carry."""
    return address.partition("%")[0].removeprefix("::ffff:")
