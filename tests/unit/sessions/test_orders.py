"""Orders to a worker: what is written is read, and what is not ours is refused whole."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.diameter.server_initiated import ABORT_SESSION, RE_AUTH, Order
from ocs.limits import ORDERS_PER_MESSAGE_MAX, SESSION_ID_OCTETS_MAX
from ocs.sessions.orders import channel, read_orders, worker_name, write_orders

ORDER = Order(RE_AUTH, "pgw;1;é", "pgw.example.net", "example.net", "dra.example.net", 7, 10)
ROW = list(ORDER)


def _changed(at: int, value: object) -> list[object]:
    return [*ROW[:at], value, *ROW[at + 1 :]]


def test_what_is_written_is_read() -> None:
    orders = [ORDER, ORDER._replace(command=ABORT_SESSION, rating_group=-1)]

    assert read_orders(write_orders(orders)) == orders


@pytest.mark.parametrize(
    "rows",
    [
        7,
        {"a": 1},
        [7],
        [ROW[:-1]],
        [[*ROW, 1]],
        [_changed(0, 272)],
        [_changed(0, True)],
        [_changed(1, "")],
        [_changed(1, 5)],
        [_changed(2, "pgw\n.example.net")],
        [_changed(4, "é.example.net")],
        [_changed(2, "pgw example.net")],
        [_changed(3, "x" * 256)],
        [_changed(1, "s" * (SESSION_ID_OCTETS_MAX + 1))],
        [_changed(5, -1)],
        [_changed(5, "7")],
        [_changed(6, -2)],
        [_changed(7, 1 << 32)],
        [ROW, [0]],
        [ROW] * (ORDERS_PER_MESSAGE_MAX + 1),
    ],
)
def test_what_is_no_order_is_refused_with_all_that_came_with_it(rows: Any) -> None:
    assert read_orders(write_orders([ORDER])) == [ORDER]
    with pytest.raises(ValueError, match=r"order|MessagePack"):
        read_orders(msgpack.packb(rows))


@given(st.binary(max_size=200))
def test_no_octets_raise_anything_else(octets: bytes) -> None:
    try:
        orders = read_orders(octets)
    except ValueError:
        return
    assert all(isinstance(each, Order) for each in orders)


def test_a_workers_name_is_its_servers_and_its_own() -> None:
    names = {
        worker_name(host, number) for host in ("ocs1.example.org", "ocs2.example.org") for number in (0, 1)
    }

    assert len(names) == 4
    assert worker_name("OCS1.example.org", 0) == worker_name("ocs1.example.org", 0)
    assert channel("9f.0") != channel("9f.1")
