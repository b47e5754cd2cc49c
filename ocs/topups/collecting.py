"""Who pays for an execution of an order: the channel, asked by a signed webhook at its collector.

Laws
1. Only a 2xx with {"id": "<the execution's>", "paid": true} is paid; a 2xx with that id and "paid": false is declined. Whatever else comes, or
   nothing, leaves it unknown: the collector is asked again under the same id, and answers the same (it collects once by id).
2. A collector is reached as callbacks are (ocs/notices/callbacks.py).
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple, Protocol

import httpx

from ocs.balance.actions import Asked
from ocs.money import format_amount
from ocs.notices.callbacks import CallbackRefused, Callbacks
from ocs.notices.senders import client_of, signed_request

_OCTETS_MAX: Final = 16_384


class Payment(IntEnum):
    """What came of asking."""

    PAID = 1
    DECLINED = 2
    UNKNOWN = 3


class Collected(NamedTuple):
    """What came of asking, and why it is not paid, for people."""

    payment: Payment
    why: str = ""


class Collects(Protocol):
    """Who asks for the money of an execution."""

    async def collect(self, asked: Asked, order_id: str, method: str, currency: str) -> Collected:
        """Ask, once more too; raises nothing of the other side."""


class Trusted:
    """A channel that settles with the operator: its executions are paid."""

    async def collect(self, asked: Asked, order_id: str, method: str, currency: str) -> Collected:
        """Take it as paid."""
        del asked, order_id, method, currency
        return Collected(Payment.PAID)


class Collector:
    """Asks one channel's collector."""

    def __init__(
        self,
        url: str,
        secret: str,
        callbacks: Callbacks,
        now_ms: Callable[[], int],
        timeout_s: float,
        ca: ssl.SSLContext | None = None,
    ) -> None:
        self._url, self._secret, self._callbacks = url, secret, callbacks
        self._now_ms, self._timeout_s = now_ms, timeout_s
        self._client = client_of(timeout_s, ca)

    async def collect(self, asked: Asked, order_id: str, method: str, currency: str) -> Collected:
        """Post what is to be paid, and read whether it was."""
        content = {
            "id": asked.id, "order": order_id, "channel": asked.channel, "account": asked.account,
            "amount": {"unit": currency, "value": format_amount(asked.amount)}, "paymentMethod": method,
        }  # fmt: skip
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            async with asyncio.timeout(self._timeout_s):
                return judged(asked.id, *await self._post(asked.id, body))
        except CallbackRefused as fault:
            return Collected(Payment.UNKNOWN, str(fault))
        except (httpx.HTTPError, OSError, ssl.SSLError, TimeoutError) as fault:
            return Collected(Payment.UNKNOWN, f"no answer: {type(fault).__name__}")

    async def _post(self, name: str, body: bytes) -> tuple[int, bytes]:
        target = await self._callbacks.target(self._url)
        request = signed_request(self._client, target, name, self._secret, self._now_ms() // 1000, body)
        answer = await self._client.send(request, stream=True)
        found = b""
        try:
            async for each in answer.aiter_bytes():
                found += each
                if len(found) > _OCTETS_MAX:
                    return answer.status_code, b""
        finally:
            await answer.aclose()
        return answer.status_code, found

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()


def judged(name: str, status: int, body: bytes) -> Collected:
    """Judge an answer (law 1)."""
    if not 200 <= status < 300:
        return Collected(Payment.UNKNOWN, f"answered {status}")
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("id") != name or not isinstance(said.get("paid"), bool):
        return Collected(Payment.UNKNOWN, "answered without the id, or without paid")
    return Collected(Payment.PAID) if said["paid"] else Collected(Payment.DECLINED, "declined")
