"""Automatic orders are looked at as soon as the streams tell that money went, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocs.balance.topup_orders import OrderState
from ocs.stream import Reader
from ocs.topups.watching import GROUP, Watcher
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.topup_scene import Desk
from tests.unit.balance.holdings_world import EURO


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Follows:
    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk, charged = desk, desk.scene.charged
        self.reader = Reader(charged.parts, folder, GROUP, charged.clock)
        desk.room.run(self.reader.open())
        self.watcher = Watcher(self.reader, desk.orders, charged.accounts.read, desk.executor())

    def look(self) -> None:
        for _ in range(3):
            self.desk.room.run(self.reader.open())  # every partition's turn
            self.desk.room.run(self.watcher.once())


def test_who_falls_below_the_threshold_is_topped_up_as_soon_as_the_stream_tells(
    room: StoreRoom, tmp_path: Path
) -> None:
    desk = Desk(room)
    desk.create(below_micros=20 * EURO)
    desk.run()
    follows = Follows(desk, tmp_path)
    desk.spend(79)
    follows.look()
    desk.run()
    assert desk.bank.asked == [], "21.00 are left"
    desk.spend(2)
    desk.run()
    assert desk.bank.asked == [], "nobody has told yet"
    follows.look()
    desk.run()
    assert (desk.bank.asked, desk.balance()) == (["o1@1"], 29)
    follows.look()
    desk.run()
    assert desk.bank.asked == ["o1@1"]
    desk.clean()


def test_a_record_that_comes_again_begins_nothing_twice(room: StoreRoom, tmp_path: Path) -> None:
    desk = Desk(room)
    desk.create(below_micros=20 * EURO)
    desk.run()
    first, second = Follows(desk, tmp_path), Follows(desk, tmp_path)
    desk.spend(85)
    for _ in range(2):
        desk.room.run(first.watcher.once())
        desk.room.run(second.watcher.once())
    desk.run()
    assert (desk.bank.asked, desk.balance()) == (["o1@1"], 25)


def test_a_cancelled_order_and_one_without_its_rest_of_the_day_are_left_alone(
    room: StoreRoom, tmp_path: Path
) -> None:
    desk = Desk(room)
    desk.create(below_micros=20 * EURO, amount_micros=EURO)
    desk.create(below_micros=20 * EURO, id="o2", channel="till")
    desk.run()
    desk.room.run(desk.orders.end("till", "o2"))
    follows = Follows(desk, tmp_path)
    desk.spend(90)
    for _ in range(3):
        follows.look()
        desk.run()
    assert (desk.bank.asked, desk.balance()) == (["o1@1", "o1@2"], 12)
    assert desk.read("o2", "till").state is OrderState.CANCELLED
    order = desk.read()
    follows.look()
    assert desk.read() == order, "it waits for the next day"
