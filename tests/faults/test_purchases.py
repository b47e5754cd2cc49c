"""Purchases in money while workers, the store and the whole server are killed: each amount counts once, to the cent, or not at all."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ocs.diameter.message import Message
from tests.faults.element import Element
from tests.faults.ledger import (
    CREDIT_LIMIT,
    DIRECT_DEBITING,
    EVENT,
    INITIAL,
    REFUND_ACCOUNT,
    SUCCESS,
    TERMINATION,
    TOO_BUSY,
    Answer,
    Request,
)
from tests.faults.serving import Server

BUYER, SHOP, EURO = "491700000001", 700, 978
CREDIT_CENTS = 300_000
LANES, EACH = 6, 80

pytestmark = pytest.mark.timeout(120)  # several starts of a whole server, on a machine that may be busy


def _in_money(units: dict[str, Any]) -> dict[str, Any]:
    """The same number, of cents."""
    amount = {"Value-Digits": units["CC-Total-Octets"], "Exponent": -2}
    return {"CC-Money": {"Unit-Value": amount, "Currency-Code": EURO}}


class Shop(Element):
    """A network element whose units are cents."""

    def ccr(self, request: Request, number: int, *, repeated: bool) -> Message:
        message = super().ccr(request, number, repeated=repeated)
        for service in message.avps["Multiple-Services-Credit-Control"]:
            if "Requested-Service-Unit" in service:
                service["Requested-Service-Unit"] = _in_money(service["Requested-Service-Unit"])
            if "Used-Service-Unit" in service:
                service["Used-Service-Unit"] = [_in_money(each) for each in service["Used-Service-Unit"]]
        return message

    async def sure(self, request: Request) -> Answer:
        """Ask until it is answered: with the same identity and content, as real clients do."""
        repeated = False
        while (answer := await self.ask(request, repeated)) is None or answer.code == TOO_BUSY:
            repeated = True
            await asyncio.sleep(0.02)
        return answer


class Till:
    """What was answered, in cents."""

    def __init__(self) -> None:
        self.spent = self.count = 0

    async def lane(self, shop: Shop, lane: int) -> None:
        """Debits, some refunded in part, and sessions that reserve more than they use."""
        for place in range(EACH):
            cents, session = 7 + 13 * place + lane, f"shop.example.net;{lane};{place}"

            def said(
                kind: int, number: int, *, wants: int | None = None, used: int | None = None,
                action: int | None = None, session: str = session,
            ) -> Request:  # fmt: skip
                return Request(session, BUYER, kind, number, ((SHOP, used, wants),), action)  # type: ignore[arg-type]

            if place % 3:
                done = await shop.sure(said(EVENT, 0, wants=cents, action=DIRECT_DEBITING))
                assert done.code in {SUCCESS, CREDIT_LIMIT}
                self.spent += cents if done.code == SUCCESS else 0
                if done.code == SUCCESS and place % 2:
                    back = await shop.sure(said(EVENT, 1, wants=cents - 5, action=REFUND_ACCOUNT))
                    assert back.code == SUCCESS
                    self.spent -= cents - 5
            elif (await shop.sure(said(INITIAL, 0, wants=cents))).code == SUCCESS:
                assert (await shop.sure(said(TERMINATION, 1, used=cents - 3))).code == SUCCESS
                self.spent += cents - 3
            self.count += 1
            await asyncio.sleep(0.03)  # else a quick machine is through before anything is killed


async def _balance(server: Server) -> tuple[str, str]:
    _, text = await server.ocs("balance", BUYER, "--json")
    said = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return said["balance"], said["reserved"]


async def _scene(server: Server) -> None:
    await server.start()
    credit = f"{CREDIT_CENTS // 100}.00"
    await server.ocs("subscriber", "create", BUYER, "--tariff", "shop", "--credit", credit)
    shop, till = Shop("shop.example.net", server.port), Till()
    lanes = [asyncio.create_task(till.lane(shop, lane)) for lane in range(LANES)]

    async def until(count: int) -> None:
        while till.count < count and not all(each.done() for each in lanes):  # noqa: ASYNC110 - read by count
            await asyncio.sleep(0.005)
        assert not all(each.done() for each in lanes), "no purchase was left to be hit"

    await until(20)
    server.kill_worker("worker-0")
    await until(60)
    server.kill_store()
    await until(110)
    await server.kill(with_store=True)
    await server.start()
    await until(150)
    server.kill_store()
    await asyncio.gather(*lanes)
    assert till.count == LANES * EACH
    left = CREDIT_CENTS - till.spent
    assert await _balance(server) == (f"{left // 100}.{left % 100:02d}", "0.00")
    code, text = await server.ocs("audit")
    assert code == 0, text
    await shop.close()


@pytest.mark.slow
def test_purchases_count_once_whatever_is_killed_between_request_and_answer(tmp_path: Path) -> None:
    tariffs, products = tmp_path / "tariffs", tmp_path / "products"
    tariffs.mkdir()
    products.mkdir()
    (tariffs / "shop.yaml").write_text(
        "tariff: shop\nversion: 1\ncurrency: EUR\nrates:\n"
        f"  - {{name: purchases, service: data, unit: money, rating_groups: [{SHOP}]}}\n"
    )
    server = Server(
        tmp_path / "server",
        OCS_CHARGING__TARIFFS_DIR=str(tariffs),
        OCS_CHARGING__PRODUCTS_DIR=str(products),
    )
    try:
        asyncio.run(_scene(server))
    finally:
        server.end()
