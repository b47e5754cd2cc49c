"""A small network element: speaks Diameter Gy over real sockets, and reconnects when its connection is lost."""

import asyncio
import contextlib
import itertools
import struct
from typing import Any

from ocs.diameter.base import BaseMessages, Local
from ocs.diameter.codec import Codec
from ocs.diameter.message import REQUEST, RETRANSMITTED, Message, header
from tests.faults.ledger import Answer, Request

CREDIT_CONTROL = 272
ANSWER_S = 4.0
"""A server answers within its deadline of one second, if only with 3004; a client does not wait for ever."""

PATIENCE_S = 40.0
_PROXIABLE = 0x40


class _Line:
    """One connection whose capabilities are exchanged."""

    def __init__(
        self, element: "Element", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.element = element
        self.reader = reader
        self.writer = writer
        self.pending: dict[int, asyncio.Future[Message | None]] = {}
        self.usable = True
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        element = self.element
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await read_frame(self.reader)
                message = element.codec.decode(frame)
                top = header(frame)
                if message.flags & REQUEST and message.command == 280:
                    self.writer.write(element.base.dwa(top))
                elif message.flags & REQUEST and message.command == 282:
                    element.disconnects += 1
                    self.usable = False  # what is owed may still come; nothing new goes this way
                    self.writer.write(element.base.dpa(top))
                elif not message.flags & REQUEST:  # a RAR is let be (CLIENTS 24)
                    waiting = self.pending.pop(message.hop_by_hop, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        self.end()

    def end(self) -> None:
        """The connection is over: nobody waits for an answer any more."""
        self.usable = False
        self.writer.transport.abort()
        for waiting in self.pending.values():
            if not waiting.done():
                waiting.set_result(None)
        self.pending.clear()


class Element:
    """One origin host with one connection at a time; `lost` counts connections that ended without our doing."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.codec = Codec()
        local = Local(host, "example.net", ("127.0.0.1",), 10415, "element", 1, 1, 30_000)
        self.base = BaseMessages(local)
        self.connections = 0
        self.disconnects = 0
        self.unanswered = 0
        self.busy = 0
        self.answered = 0
        self._ids = itertools.count(1)
        self._line: _Line | None = None
        self._lock = asyncio.Lock()

    async def ask(self, request: Request, repeated: bool) -> Answer | None:  # noqa: FBT001 - it is the T-bit
        """Send one request; None when the connection was lost, or when no answer came in time."""
        line = await self._connected()
        number = next(self._ids)
        waiting: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        line.pending[number] = waiting
        line.writer.write(self.codec.encode(self.ccr(request, number, repeated=repeated)))
        try:
            message = await asyncio.wait_for(waiting, ANSWER_S)
        except TimeoutError:
            line.end()
            message = None
        if message is None:
            self.unanswered += 1
            return None
        return self._read(request, message)

    async def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.end()
            await asyncio.gather(self._line.listening, return_exceptions=True)

    async def _connected(self) -> _Line:
        async with self._lock:
            give_up = asyncio.get_running_loop().time() + PATIENCE_S
            while self._line is None or not self._line.usable:
                try:
                    self._line = await asyncio.wait_for(self._connect(), 5)
                except (OSError, asyncio.IncompleteReadError, TimeoutError):
                    if asyncio.get_running_loop().time() > give_up:
                        raise
                    await asyncio.sleep(0.02)
            return self._line

    async def _connect(self) -> _Line:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.base.cer(1, 1))
        cea = self.codec.decode(await read_frame(reader))
        if cea.avps["Result-Code"] != 2001:
            writer.close()
            raise ConnectionRefusedError(cea.avps["Result-Code"])
        self.connections += 1
        return _Line(self, reader, writer)

    def ccr(self, request: Request, number: int, *, repeated: bool) -> Message:
        services: list[dict[str, Any]] = []
        for group, used, wants in request.services:
            service: dict[str, Any] = {}
            if wants is not None:
                service["Requested-Service-Unit"] = {"CC-Total-Octets": wants}
            if used is not None:
                service["Used-Service-Unit"] = [{"CC-Total-Octets": used}]
            service["Rating-Group"] = group
            services.append(service)
        avps: dict[str, Any] = {
            "Session-Id": request.session,
            "Origin-Host": self.host,
            "Origin-Realm": "example.net",
            "Destination-Realm": "example.org",
            "Auth-Application-Id": 4,
            "Service-Context-Id": "32251@3gpp.org",
            "CC-Request-Type": request.kind,
            "CC-Request-Number": request.number,
            "Subscription-Id": [{"Subscription-Id-Type": 0, "Subscription-Id-Data": request.msisdn}],
            "Multiple-Services-Credit-Control": services,
        }
        if request.action is not None:
            avps["Requested-Action"] = request.action
        flags = REQUEST | _PROXIABLE | (RETRANSMITTED if repeated else 0)
        return Message(flags, CREDIT_CONTROL, 4, number, number, avps)

    def _read(self, request: Request, message: Message) -> Answer:
        avps = message.avps
        code = avps["Result-Code"]
        if code == 3004:
            self.busy += 1
            return Answer(code, {})
        self.answered += 1
        same = (avps["Session-Id"], avps["CC-Request-Type"], avps["CC-Request-Number"]) == request.key
        assert same, f"asked {request.key}, answered {avps}"
        granted = {}
        for service in avps.get("Multiple-Services-Credit-Control", ()):
            units = service.get("Granted-Service-Unit", {}).get("CC-Total-Octets", 0)
            granted[service["Rating-Group"]] = (service.get("Result-Code", code), units)
        return Answer(code, granted)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """One whole message."""
    head = await reader.readexactly(4)
    length = struct.unpack(">I", head)[0] & 0xFFFFFF
    return head + await reader.readexactly(length - 4)
