"""Orders on their way to the worker that has the connection: names, channels, and octets.

Laws
1. A worker is named by the server's Origin-Host, which no other server of the realm has, and its number: the name is the same
   when it starts again, so that a session finds a worker that may have its peer's next connection.
2. What comes over a channel is judged whole before anything of it is done: who writes there need not be one of ours.
"""

import binascii
import re
from collections.abc import Iterable
from typing import Any, Final

import msgpack

from ocs.balance.stored_session import OpenSession
from ocs.diameter.server_initiated import NAMES, Order
from ocs.limits import ORDERS_PER_MESSAGE_MAX, SESSION_ID_OCTETS_MAX

_WIDTH: Final = len(Order._fields)
_TEXTS: Final = slice(1, 5)
_IDENTITY: Final = re.compile(r"[!-~]{1,255}")
_NUMBERS_MAX: Final = 1 << 32


def worker_name(origin_host: str, number: int) -> str:
    """Return the name that sessions keep of a worker: short, since every session has one."""
    return f"{binascii.crc32(origin_host.lower().encode()):x}.{number}"


def channel(worker: str) -> str:
    """Return the channel on which a worker takes orders."""
    return f"ocs:orders:{worker}"


def order_of(session: OpenSession, command: int, rating_group: int = -1) -> tuple[str, Order] | None:
    """Return the worker that a session's last request came to, and the order for it; None where no worker is known."""
    worker, _, number = session.via.rpartition(".")
    if not worker or not number.isdecimal():
        return None
    host, realm = session.origin_host, session.origin_realm
    return worker, Order(command, session.session_id, host, realm, session.hop, int(number), rating_group)


def write_orders(orders: Iterable[Order]) -> bytes:
    """Pack orders as one message."""
    packed: bytes = msgpack.packb([list(order) for order in orders])
    return packed


def read_orders(message: bytes) -> list[Order]:
    """Read a message; raises ValueError for anything that is not one of ours."""
    try:
        rows: Any = msgpack.unpackb(message, use_list=True)
    except Exception as fault:
        raise ValueError("no MessagePack") from fault
    if not isinstance(rows, list) or len(rows) > ORDERS_PER_MESSAGE_MAX:
        raise ValueError("no list of orders, or too long a one")
    return [_order(row) for row in rows]


def _order(row: Any) -> Order:
    if not isinstance(row, list) or len(row) != _WIDTH:
        raise ValueError("no order")
    order = Order(*row)
    texts, numbers = row[_TEXTS], row[:1] + row[5:]
    if not all(isinstance(each, str) and each for each in texts):
        raise ValueError("an order without its names")
    if not all(type(each) is int and -1 <= each < _NUMBERS_MAX for each in numbers):
        raise ValueError("an order without its numbers")
    if order.command not in NAMES or order.connection < 0:
        raise ValueError(f"an order of command {order.command}")
    if not all(_IDENTITY.fullmatch(each) for each in (order.host, order.realm, order.hop)):
        raise ValueError("an order to what is no Diameter identity")
    if len(order.session_id.encode(errors="surrogateescape")) > SESSION_ID_OCTETS_MAX:
        raise ValueError("an order about a Session-Id beyond the limit")
    return order
