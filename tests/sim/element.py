"""A network element of the simulated world: Diameter Gy over simulated connections, as real ones speak it (CLIENTS).

It repeats what was not answered with the T-bit, on another connection where there is one, as a relay does when a peer is lost.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from ocs.diameter.base import BaseMessages, Local
from ocs.diameter.codec import Codec
from ocs.diameter.message import PROXIABLE, REQUEST, RETRANSMITTED, Message, header
from tests.sim.ledger import TOO_BUSY, UNIT_AVPS, Answer, Granted, Ledger, Request, Sent
from tests.sim.loop import Program
from tests.sim.wire import End

CODEC = Codec()
ANSWER_S = 3.0
_MISSES_MAX = 2
_CREDIT_CONTROL, _WATCHDOG, _DISCONNECT, _RE_AUTH, _ABORT = 272, 280, 282, 258, 274
_GARBAGE = bytes.fromhex("000001a5 4000000b 00beef00")  # CC-Total-Octets of three octets


class Sending:
    """One request on one connection: it gets one answer, or its connection ends."""

    __slots__ = ("answered", "at_s", "sent", "waiting")

    def __init__(self, sent: Sent, waiting: "asyncio.Future[Answer | None]", at_s: float) -> None:
        self.sent = sent
        self.waiting = waiting
        self.at_s = at_s
        self.answered = False


class Line(asyncio.Protocol):
    """One connection of an element."""

    def __init__(self, element: "Element", number: int, opening: bytes = b"") -> None:
        self._opening = opening
        self.element = element
        self.number = number
        self.end: End | None = None
        self.usable = False
        self.leaving = False
        self.gone = False
        self.misses = 0
        self.sendings: dict[int, Sending] = {}
        self._octets = b""
        self._next = number * 1_000

    # -- what the transport tells

    def connection_made(self, transport: Any) -> None:
        self.end = transport
        transport.write(self._opening or self.element.base.cer(1, 1))

    def data_received(self, data: bytes) -> None:
        self._octets += data
        while len(self._octets) >= 4:
            length = int.from_bytes(self._octets[1:4], "big")
            if length < 20 or self._octets[0] != 1:
                self.element.ledger.wrong.append(f"{self.element.host}: octets that are no Diameter came")
                self.end.abort()  # type: ignore[union-attr]
                return
            if len(self._octets) < length:
                return
            frame, self._octets = self._octets[:length], self._octets[length:]
            self.element.take(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self.gone = True
        self.element.lost(self)
        for sending in self.sendings.values():
            if not sending.waiting.done():
                sending.waiting.set_result(None)

    # -- what the element does

    def next_id(self) -> int:
        self._next += 1
        return self._next

    def write(self, octets: bytes) -> None:
        if self.end is not None and not self.gone:
            self.end.write(octets)

    @property
    def sound(self) -> bool:
        """Tell whether nothing has happened to it on either side."""
        return self.end is not None and self.end.wire.sound and not self.gone and not self.leaving


class Element:
    """One Diameter client with a few connections; it may crash, and begin anew with a greater Origin-State-Id."""

    def __init__(
        self,
        host: str,
        program: Program,
        ledger: Ledger,
        dice: random.Random,
        dial: Callable[["Line"], bool],
        note: Callable[[str], None],
        lines_wanted: int,
        state_id: int = 1,
        known: set[str] | None = None,
    ) -> None:
        self.host = host
        self.program = program
        self.ledger = ledger
        self.dice = dice
        self.note = note
        self._dial = dial
        self._lines_wanted = lines_wanted
        self.state_id = state_id
        local = Local(host, "example.net", ("10.0.0.9",), 10415, "element", state_id, 1, 30_000)
        self.base = BaseMessages(local)
        self.lines: list[Line] = []
        self.past: list[Line] = []
        self._dialled = 0
        self.asked_anew: dict[str, Callable[[int], None]] = {}
        """Sessions that hear of a RAR (258) or ASR (274)."""
        self.known: set[str] = known if known is not None else set()
        """Sessions that it ever had, before a crash too."""
        self.on_post: Callable[[Line], None] = lambda _line: None
        self.mute = False
        """Whether it never answers a request of the server (CLIENTS 24)."""

    async def keep_connected(self) -> None:
        """Dial whenever there are too few connections."""
        while True:
            living = [each for each in self.lines if not each.leaving]
            for _ in range(self._lines_wanted - len(living)):
                self._dialled += 1
                line = Line(self, self._dialled)
                if self._dial(line):
                    self.lines.append(line)
            await asyncio.sleep(self.dice.uniform(0.2, 0.6))

    def lost(self, line: Line) -> None:
        if line in self.lines:
            self.lines.remove(line)
            self.past.append(line)

    # -- asking

    async def ask(self, request: Request, *, behaved: bool = True, tries: int = 6) -> Answer | None:
        """Send until it is answered with more than `too busy`; None when it never was."""
        last: Line | None = None
        repeated = False
        for _ in range(tries):
            line = self._pick(last)
            if line is None:
                await asyncio.sleep(self.dice.uniform(0.1, 0.5))
                continue
            last = line
            answer = await self.send(line, request, behaved=behaved, repeated=repeated)
            if answer is not None and answer.code != TOO_BUSY:
                return answer
            repeated = answer is None
            if answer is not None:
                await asyncio.sleep(self.dice.uniform(0.05, 0.8))
        self.ledger.counts["given up"] += 1
        return None

    def _pick(self, but: Line | None) -> Line | None:
        usable = [each for each in self.lines if each.usable and not each.leaving]
        others = [each for each in usable if each is not but]
        return self.dice.choice(others or usable) if usable else None

    async def send(self, line: Line, request: Request, *, behaved: bool, repeated: bool) -> Answer | None:
        """Send once; None when the connection was lost or no answer came in time (a late one is noted all the same)."""
        sending = self.post(line, request, behaved=behaved, repeated=repeated)
        try:
            return await asyncio.wait_for(asyncio.shield(sending.waiting), ANSWER_S)
        except TimeoutError:
            line.misses += 1
            if line.misses >= _MISSES_MAX and line.end is not None:
                line.end.abort()  # half-open, by all that is known: its watchdog would tell too
            return None

    def post(
        self, line: Line, request: Request, *, behaved: bool, repeated: bool, malformed: bool = False
    ) -> Sending:
        """Send once, and do not wait."""
        loop = asyncio.get_running_loop()
        number = line.next_id()
        sent = self.ledger.sending(request, behaved=behaved, malformed=malformed)
        self.known.add(request.session)
        sending = Sending(sent, loop.create_future(), loop.time())
        line.sendings[number] = sending
        octets = CODEC.encode(self._ccr(request, number, repeated=repeated))
        if malformed:
            octets = _spoilt(octets)
        self.note(
            f"{self.host}.{line.number} > {request.session} {request.kind} {request.number}{' T' if repeated else ''}"
        )
        line.write(octets)
        self.on_post(line)
        return sending

    def _ccr(self, request: Request, number: int, *, repeated: bool) -> Message:
        services: list[dict[str, Any]] = []
        for group, unit, used, wanted in request.services:
            service: dict[str, Any] = {}
            if wanted is not None:
                service["Requested-Service-Unit"] = {UNIT_AVPS[unit]: wanted} if wanted else {}
            if used is not None:
                service["Used-Service-Unit"] = [{UNIT_AVPS[unit]: used}]
            service["Rating-Group"] = group
            services.append(service)
        avps: dict[str, Any] = {
            "Session-Id": request.session,
            "Origin-Host": self.host,
            "Origin-Realm": "example.net",
            "Destination-Realm": "example.org",
            "Auth-Application-Id": 4,
            "Service-Context-Id": request.context,
            "CC-Request-Type": request.kind,
            "CC-Request-Number": request.number,
            "Origin-State-Id": self.state_id,
            "Subscription-Id": [{"Subscription-Id-Type": 0, "Subscription-Id-Data": request.msisdn}],
            "Multiple-Services-Credit-Control": services,
        }
        if request.action is not None:
            avps["Requested-Action"] = request.action
        flags = REQUEST | PROXIABLE | (RETRANSMITTED if repeated else 0)
        return Message(flags, _CREDIT_CONTROL, 4, number, number, avps)

    # -- hearing

    def take(self, line: Line, frame: bytes) -> None:
        """Take one message of the server."""
        top = header(frame)
        message = CODEC.decode(frame)
        if message.flags & REQUEST:
            self._asked(line, message, frame)
        elif message.command == 257:
            line.usable = message.avps["Result-Code"] == 2001
            if not line.usable:
                self.ledger.wrong.append(f"{self.host}: refused at the exchange: {message.avps}")
        elif message.command == _CREDIT_CONTROL:
            self._answered(line, top.hop_by_hop, message)

    def _answered(self, line: Line, number: int, message: Message) -> None:
        sending = line.sendings.get(number)
        if sending is None:
            self.ledger.wrong.append(f"{self.host}: an answer to nothing that was asked: {message.avps}")
            return
        if sending.answered:
            self.ledger.wrong.append(f"{sending.sent.request.key}: answered twice on one connection")
            return
        sending.answered = True
        request, avps = sending.sent.request, message.avps
        if (avps["Session-Id"], avps["CC-Request-Type"], avps["CC-Request-Number"]) != request.key:
            self.ledger.wrong.append(f"{request.key}: got the answer of {avps}")
        answer = _read(message)
        self.note(f"{self.host}.{line.number} < {request.session} {request.number} {answer.code}")
        self.ledger.answered(sending.sent, answer)
        if not sending.waiting.done():
            sending.waiting.set_result(answer)

    def _asked(self, line: Line, message: Message, frame: bytes) -> None:
        top = header(frame)
        if message.command == _WATCHDOG:
            line.write(self.base.dwa(top))
        elif message.command == _DISCONNECT:
            line.leaving, line.usable = True, False
            line.write(self.base.dpa(top))
        elif message.command in {_RE_AUTH, _ABORT}:
            self._ordered(line, message)

    def _ordered(self, line: Line, message: Message) -> None:
        session = message.avps["Session-Id"]
        self.note(f"{self.host}.{line.number} < order {message.command} {session}")
        self.ledger.counts["RAR" if message.command == _RE_AUTH else "ASR"] += 1
        if session not in self.known:
            self.ledger.wrong.append(
                f"{self.host}: a request of the server about {session}, which it never had"
            )
        if message.avps["Destination-Host"] != self.host:
            self.ledger.wrong.append(f"{self.host}: a request of the server for {message.avps}")
        if session in self.ledger.lives:
            self.ledger.lives[session].told_s.append(asyncio.get_running_loop().time())
        if self.mute:
            return
        avps = {
            "Session-Id": session,
            "Result-Code": 2002 if message.command == _RE_AUTH else 2001,
            "Origin-Host": self.host,
            "Origin-Realm": "example.net",
        }
        answer = Message(PROXIABLE, message.command, 4, message.hop_by_hop, message.end_to_end, avps)
        line.write(CODEC.encode(answer))
        told = self.asked_anew.get(session)
        if told is not None:
            told(message.command)


def _read(message: Message) -> Answer:
    avps = message.avps
    code = avps["Result-Code"]
    services = {}
    for each in avps.get("Multiple-Services-Credit-Control", ()):
        group = each["Rating-Group"]
        granted = sum(each.get("Granted-Service-Unit", {}).get(name, 0) for name in UNIT_AVPS.values())
        services[group] = Granted(each.get("Result-Code", code), granted, "Final-Unit-Indication" in each)
    return Answer(code, services)


def _spoilt(octets: bytes) -> bytes:
    """Put used units that are no number behind the request's AVPs: at message level, where they count as well."""
    used = bytes.fromhex("000001be 40000014") + _GARBAGE  # Used-Service-Unit, with the group's own length
    whole = octets + used
    return whole[:1] + len(whole).to_bytes(3, "big") + whole[4:]
