"""A subscriber's number changes again and again under charging load while the store, a worker and the whole server are killed."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.element import Element
from tests.faults.ledger import (
    INITIAL,
    MIB,
    SUCCESS,
    TERMINATION,
    TOO_BUSY,
    UPDATE,
    Answer,
    Reported,
    Request,
    price_micros,
)
from tests.faults.serving import Server

NUMBERS = [f"4917000000{i:02}" for i in range(12)]
CARD = "26201000000000{:01}"
LANES, EACH = 4, 25
CREDIT_MICROS = 100_000_000
TARIFF = (
    "tariff: resting\nversion: 1\ncurrency: EUR\n"
    'life: {first_use_days: 300, quarantine_days: 90, topups: [{from: "5.00", days: 60}]}\n'
    'services:\n  data: {unit: octets, steps: [{block: 1048576, price: "0.01", per: 1048576}]}\n'
)

pytestmark = pytest.mark.timeout(180)  # several starts of a whole server, on a machine that may be busy


class Scene:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.number = NUMBERS[0]
        self.posted_micros = self.count = 0
        self.hit, self.asking = 0, False

    async def call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """Ask until it is answered for good, as a client does whose request may have been carried out."""
        while True:
            said = (self.server.folder / "said").read_text()
            found = re.search(r"http=(\S+)", said)
            if found is not None:
                with suppress(httpx.TransportError):
                    async with httpx.AsyncClient(timeout=5) as client:
                        url, self.asking = f"http://{found[1]}/subscribers/v1{path}", True
                        answer = await client.request(method, url, **rest)
                        self.asking = False
                        if answer.status_code < 500:
                            return answer
            await asyncio.sleep(0.05)

    async def lane(self, element: Element, lane: int) -> None:
        """Sessions that begin under the number of the moment, and end under it whatever the number is by then."""
        for place in range(EACH):
            session, number = f"{element.host};{lane};{place}", self.number
            used = (3 + lane) * MIB // 2 + place

            def said(kind: int, at: int, used: int | None, wants: int | None) -> Request:
                return Request(session, number, kind, at, (Reported(10, used, wants),))  # noqa: B023 - used at once

            assert (await self.sure(element, said(INITIAL, 0, None, 4 * MIB))).code == SUCCESS
            await asyncio.sleep(0.02)
            assert (await self.sure(element, said(UPDATE, 1, used, 4 * MIB))).code == SUCCESS
            await asyncio.sleep(0.02)
            assert (await self.sure(element, said(TERMINATION, 2, used, None))).code == SUCCESS
            self.posted_micros += price_micros(2 * used)
            self.count += 1

    @staticmethod
    async def sure(element: Element, request: Request) -> Answer:
        repeated = False
        while (answer := await element.ask(request, repeated)) is None or answer.code == TOO_BUSY:
            repeated = True
            await asyncio.sleep(0.02)
        return answer

    async def change(self, account: str) -> None:
        """Give the subscriber each number in turn, and each time another SIM."""
        for place, number in enumerate(NUMBERS[1:]):
            answer = await self.call(
                "PATCH", f"/subscribers/{account}", json={"msisdn": number, "imsi": CARD.format(place % 2)}
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["msisdn"] == number
            self.number = number
            await asyncio.sleep(0.25)


async def _lived(server: Server) -> None:
    await server.start()
    scene = Scene(server)
    wanted = {"msisdn": NUMBERS[0], "tariff": "resting", "credit": "100.00"}
    made = (await scene.call("POST", "/subscribers", json=wanted)).json()
    element = Element("pgw.example.net", server.port)
    lanes = [asyncio.create_task(scene.lane(element, lane)) for lane in range(LANES)]
    changing = asyncio.create_task(scene.change(made["id"]))

    async def until(count: int) -> None:
        while (scene.count < count or not scene.asking) and not changing.done():  # noqa: ASYNC110 - read by count
            await asyncio.sleep(0)
        scene.hit += scene.asking
        assert not changing.done(), "no change was left to be hit"

    await until(4)
    server.kill_store()
    await until(10)
    server.kill_worker("worker-0")
    await until(16)
    server.kill_store()
    await until(22)
    await server.kill(with_store=True)
    await server.start()
    await asyncio.gather(changing, *lanes)

    assert scene.count == LANES * EACH
    assert scene.hit == 4, "every kill hit a change under way"
    shown = (await scene.call("GET", f"/subscribers/{made['id']}")).json()
    left = CREDIT_MICROS - scene.posted_micros
    assert (shown["msisdn"], shown["imsi"], shown["reserved"]) == (NUMBERS[-1], CARD.format(0), "0.00")
    assert shown["balance"] == f"{left // 1_000_000}.{left % 1_000_000 // 10_000:02}"
    for number in NUMBERS:  # those that were given up rest
        assert (await scene.call("GET", f"/subscribers/{number}")).json() == shown
        refused = await scene.call("POST", "/subscribers", json=wanted | {"msisdn": number, "credit": "1.00"})
        assert refused.status_code == 409
    listed = (await scene.call("GET", "/subscribers")).json()
    assert listed == {"subscribers": [shown], "next": None}
    freed = await scene.call("GET", "/subscribers", params={"imsi": CARD.format(1)})
    assert freed.json()["subscribers"] == []
    code, text = await server.ocs("audit")
    assert code == 0, text
    await element.close()


@pytest.mark.slow
def test_every_change_counts_once_and_no_session_is_lost_whatever_is_killed(tmp_path: Path) -> None:
    tariffs, products = tmp_path / "tariffs", tmp_path / "products"
    tariffs.mkdir()
    products.mkdir()
    (tariffs / "resting.yaml").write_text(TARIFF)
    server = Server(
        tmp_path / "server",
        OCS_CHARGING__TARIFFS_DIR=str(tariffs),
        OCS_CHARGING__PRODUCTS_DIR=str(products),
        OCS_HTTP__AUTH="off",
    )
    try:
        asyncio.run(_lived(server))
    finally:
        server.end()
