"""Orders whose executor dies anywhere between two steps: every execution is paid for once and credited once, and the audit is clean."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.topup_orders import Orders, OrderState
from ocs.topups.executing import Executor
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.topup_scene import DECLINED, UNKNOWN, Desk
from tests.unit.balance.holdings_world import EURO

STEPS = 6
"""Begin, look, ask, collect, credit, confirm: so many steps has an execution that goes well."""


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


class Died(BaseException):
    """The process is no more."""


class Mortal:
    """Passes every call on to somebody; dies before or after the one that its fate has next."""

    def __init__(self, inner: Any, fate: Fate, names: tuple[str, ...]) -> None:
        self._inner, self._fate, self._names = inner, fate, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        async def step(*args: Any) -> Any:
            self._fate.step(after=False)
            answer = await found(*args)
            self._fate.step(after=True)
            return answer

        return step


class Fate:
    """When to die: before or after the n-th step; 0: never."""

    def __init__(self, nth: int, *, after: bool) -> None:
        self.left, self.after = nth, after

    def step(self, *, after: bool) -> None:
        if after is self.after and self.left:
            self.left -= 1
            if not self.left:
                raise Died


def mortal(desk: Desk, fate: Fate) -> Executor:
    """Give the desk's world an executor that will die."""
    orders, actions, bank = desk.orders, desk.actions, desk.bank
    desk.orders = Mortal(orders, fate, ("replace",))  # type: ignore[assignment]
    desk.actions = Mortal(actions, fate, ("find", "do_again"))
    desk.bank = Mortal(bank, fate, ("collect",))  # type: ignore[assignment]
    try:
        return desk.executor()
    finally:
        desk.orders, desk.actions, desk.bank = orders, actions, bank


def die(desk: Desk, nth: int, *, after: bool) -> bool:
    """Let an executor work until it dies; False where it lived on."""
    executor = mortal(desk, Fate(nth, after=after))
    desk.scene.charged.clock.keep_up()
    try:
        desk.room.run(executor.once())
        desk.room.run(executor.once())
    except Died:
        return True
    return False


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", range(1, STEPS + 1))
@pytest.mark.parametrize("automatic", [False, True], ids=["recurring", "automatic"])
def test_who_dies_at_any_step_is_gone_on_from_once(
    room: StoreRoom, nth: int, *, automatic: bool, after: bool
) -> None:
    desk = Desk(room)
    if automatic:
        desk.spend(85)
        desk.create(below_micros=20 * EURO)
    else:
        desk.create(period="monthly")
    before = desk.balance()
    assert die(desk, nth, after=after)
    desk.run()
    order = desk.read()
    assert (desk.balance(), order.done, order.run, order.asking) == (before + 10, 1, 0, False)
    assert set(desk.bank.asked) == set(desk.bank.taken)
    assert len(desk.bank.taken) == 1
    desk.clean()


def test_what_was_credited_before_a_death_is_not_asked_to_be_paid_again(room: StoreRoom) -> None:
    desk = Desk(room)
    desk.create(period="monthly")
    assert die(desk, 5, after=True)
    assert desk.balance() == 110
    desk.bank.answers = [DECLINED] * 4
    desk.run()
    assert (desk.read().done, len(desk.bank.asked)) == (1, 1)


def test_a_death_of_a_step_that_is_not_there_is_noticed(room: StoreRoom) -> None:
    desk = Desk(room)
    desk.create(period="monthly")
    assert not die(desk, 20, after=True), "the steps above are all that there are"


@pytest.mark.parametrize("seed", range(12))
def test_random_lives_of_orders_credit_what_was_paid_and_nothing_else(room: StoreRoom, seed: int) -> None:
    chance = random.Random(seed)
    desk = Desk(room, credit=1_000 * EURO)
    desk.create(period="weekly", amount_micros=3 * EURO)
    desk.create(id="o2", below_micros=5_000 * EURO, amount_micros=7 * EURO)
    for _ in range(40):
        act = chance.randrange(9)
        if act < 3:
            die(desk, chance.randint(1, 14), after=chance.random() < 0.5)
        elif act == 3:
            desk.bank.answers += chance.choices([DECLINED, UNKNOWN], k=chance.randint(1, 3))
        elif act == 4:
            desk.later(chance.choice([61, 601, 86_400, 4 * 86_400]))
        elif act == 5:
            two = [desk.executor().once() for _ in range(2)]
            desk.scene.charged.clock.keep_up()
            desk.room.run(both(two))
        elif act == 6 and chance.random() < 0.1:
            desk.room.run(Orders.end(desk.orders, "bank", chance.choice(["o1", "o2"])))
        elif act == 7:
            name = chance.choice(["o1", "o2"])
            desk.room.run(both([desk.orders.resume("bank", name), desk.executor().once()]))
        else:
            desk.run(1)
    desk.bank.answers.clear()
    desk.later(3_600)
    owed = sum(desk.bank.taken.values()) // EURO
    stuck = [each for each in ("o1", "o2") if desk.read(each).state is OrderState.SUSPENDED]
    if not stuck:
        assert desk.balance() == 1_000 + owed
    assert desk.balance() <= 1_000 + owed
    assert len(desk.told) >= len(stuck)
    desk.clean()


async def both(two: list[Any]) -> None:
    await asyncio.gather(*two)
