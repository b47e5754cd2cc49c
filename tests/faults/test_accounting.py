"""Accounting records while workers, the store and the whole server are killed: every record that was acknowledged counts, and once."""

import asyncio
import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from ocs.diameter.base import BaseMessages, Local
from ocs.diameter.codec import Codec
from ocs.diameter.message import RETRANSMITTED, Message
from tests.accounting_records import INTERIM, START, STOP, container, message
from tests.faults.element import read_frame
from tests.faults.serving import Server

pytestmark = pytest.mark.timeout(240)  # several starts of a whole server, on a machine that may be busy

BLOCK = 1_048_576
LANES, CENT = 8, 10_000
MSISDNS = ["491700000101", "491700000102"]


class Lane:
    """One client that tells sessions one after the other, and tells again what was not acknowledged."""

    def __init__(self, port: int, place: int) -> None:
        self.port, self.place = port, place
        self.chance = random.Random(place)
        self.codec = Codec(accounting=True)
        self.blocks = dict.fromkeys(MSISDNS, 0)
        """Blocks that acknowledged records told, by number."""
        self.acknowledged = self.repeated = 0
        self.stopping = False
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> None:
        session = 0
        while not self.stopping:
            session += 1
            msisdn = self.chance.choice(MSISDNS)
            name = f"ctf{self.place};{session}"
            interims = list(range(1, self.chance.randint(2, 6)))
            self.chance.shuffle(interims)  # late ones too
            await self.tell(message(START, 0, session=name, msisdn=msisdn))
            for number in interims:
                blocks = self.chance.randint(1, 3)
                told = {"Service-Data-Container": [container(blocks * BLOCK)]}
                await self.tell(
                    message(
                        INTERIM, number, session=name, msisdn=msisdn, information={"PS-Information": told}
                    )
                )
                self.blocks[msisdn] += blocks
            await self.tell(message(STOP, len(interims) + 1, session=name, msisdn=msisdn))

    async def tell(self, request: Message) -> None:
        """Tell one record until it is acknowledged; sometimes once more."""
        again = False
        while True:
            result = await self._said(request, again=again)
            if result == 2001:
                break
            assert result in {None, 3004}, result
            self.repeated += again
            again = True
            await asyncio.sleep(0.05)
        self.acknowledged += 1
        if self.chance.random() < 0.1:
            assert await self._said(request, again=True) in {2001, None, 3004}

    async def _said(self, request: Message, *, again: bool) -> int | None:
        try:
            reader, writer = self._streams or await self._connected()
            flags = request.flags | (RETRANSMITTED if again else 0)
            writer.write(self.codec.encode(Message(flags, 271, 3, self.acknowledged, 1, request.avps)))
            while True:
                answer = self.codec.decode(await asyncio.wait_for(read_frame(reader), 4))
                if answer.command == 271:
                    result: int = answer.avps["Result-Code"]
                    return result
                self._streams = None  # the server takes leave
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            if self._streams is not None:
                self._streams[1].transport.abort()
            self._streams = None
            return None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        local = Local(
            f"ctf{self.place}.example.org", "example.org", ("127.0.0.1",), 10415, "ctf", 1, 1, 30_000
        )
        writer.write(BaseMessages(local).cer(1, 1))
        await asyncio.wait_for(read_frame(reader), 4)
        self._streams = reader, writer
        return reader, writer


async def until(lanes: list[Lane], running: list[asyncio.Task[None]], more: int) -> None:
    """Wait until so many more records are acknowledged; a lane that has failed fails the test."""
    aim = sum(lane.acknowledged for lane in lanes) + more
    while sum(lane.acknowledged for lane in lanes) < aim:
        for each in running:
            if each.done():
                each.result()
        await asyncio.sleep(0.02)


async def said(server: Server, *words: str) -> Any:
    code, text = await server.ocs(*words, "--json")
    assert code == 0, text
    return json.loads(text)


@pytest.mark.slow
def test_acknowledged_records_count_once_whatever_is_killed(tmp_path: Path) -> None:
    async def play() -> None:
        server = Server(tmp_path / "server", OCS_ACCOUNTING__ENABLED="true")
        try:
            await server.start()
            for msisdn in MSISDNS:
                floor = ("--credit-floor", "-1000.00", "--kind", "postpaid")
                await said(server, "subscriber", "create", msisdn, "--tariff", "flat-data", *floor)
            lanes = [Lane(server.port, place) for place in range(LANES)]
            running = [asyncio.create_task(lane.run()) for lane in lanes]
            for worker in ("worker-0", "worker-1"):
                await until(lanes, running, 100)
                server.kill_worker(worker)
            for _ in range(2):
                await until(lanes, running, 100)
                server.kill_store()
            await until(lanes, running, 100)
            await server.kill(with_store=True)
            await server.start()
            await until(lanes, running, 100)
            for lane in lanes:
                lane.stopping = True
            await asyncio.wait_for(asyncio.gather(*running), 60)

            for msisdn in MSISDNS:
                posted = sum(lane.blocks[msisdn] for lane in lanes)
                balance = await said(server, "balance", msisdn)
                assert balance["balance"] == f"-{posted * CENT / 1_000_000:.2f}"
            assert (await said(server, "audit"))["clean"] is True
            assert await said(server, "sessions") == []
            assert sum(lane.repeated for lane in lanes) > 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.end()

    asyncio.run(play())
