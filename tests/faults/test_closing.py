"""An end with a refund, while something else happens at each of its steps: no micro-unit is lost, and none is refunded that was used."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest

from ocs.balance.actions import ActionKind, ActionState, Asked
from ocs.balance.audit import audit
from ocs.balance.store import Store
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.outcomes import Code
from ocs.records import Charge, Status
from ocs.sessions.closing import Closed, Closing
from ocs.sessions.reauthorise import Reauthorisation
from ocs.sessions.search import sessions_of
from ocs.sessions.sweep import Sweeper
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import EURO, Scene, member_of

MEMBER = "491700000005"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


async def begins(scene: Scene) -> None:
    await scene.ask(INITIAL, 0, "new", None, 10_000)


async def member_begins(scene: Scene) -> None:
    await scene.ask(INITIAL, 0, "new", None, 10_000, MEMBER)


async def grows(scene: Scene) -> None:
    await scene.ask(UPDATE, 1, "own", 5_000, 40_000)


async def comes_and_goes(scene: Scene) -> None:
    await scene.use(3_000)


async def topped_up(scene: Scene) -> None:
    await scene.charged.accounts.topup(await scene.look(), 20 * EURO, "till", "late")


async def reserves(scene: Scene) -> None:
    place = scene.account.profile
    asked = Asked(ActionKind.RESERVE, "till", "parking", place.partition, place.path, EURO, lasts_ms=60_000)
    await scene.charged.accounts.actions.do(asked)


async def barred(scene: Scene) -> None:
    await scene.charged.accounts.amend(await scene.look(), status=Status.BARRED)


async def struck(scene: Scene) -> None:
    await scene.charged.accounts.terminate(await scene.look())


MEANWHILE = {
    each.__name__: each
    for each in (begins, member_begins, grows, comes_and_goes, topped_up, reserves, barred, struck)
}


class Meanwhile(NamedTuple):
    """Something happens before the nth call that the store gets of an end; ``happened`` is empty until then."""

    nth: int
    what: Callable[[], Awaitable[None]]
    happened: list[int]

    def around(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execute, calls = Store.execute, count(1)

        async def executed(store: Store, *arguments: Any, **more: Any) -> Any:
            if not self.happened and next(calls) == self.nth:
                self.happened.append(self.nth)
                await self.what()
            return await execute(store, *arguments, **more)

        monkeypatch.setattr(Store, "execute", executed)


def closing_of(scene: Scene) -> Closing:
    charged = scene.charged
    sweeper = Sweeper(charged.parts, charged.accounts, charged.clock, 300_000)
    return Closing(charged.parts, charged.accounts, sweeper, Reauthorisation(charged.parts))


async def used(scene: Scene) -> int:
    """What network elements have posted by the records."""
    place = scene.account.profile
    keys = scene.charged.parts.keys[place.partition]
    seen = await scene.charged.look(place.partition, [keys.book(place.account)])
    return sum(line.amount_micros for each in seen.records if isinstance(each, Charge) for line in each.lines)


async def judge(scene: Scene, done: Closed) -> None:
    """All that came in was used, refunded, or is there."""
    book = (await scene.look()).book
    refunded = done.action.settled if done.code is Code.SUCCESS and done.action is not None else 0
    scene.numbers["used"] = scene.numbers.get("used", 0) + await used(scene)  # records are told once
    assert book.credits_micros == scene.numbers["used"] + refunded + book.balance_micros
    assert (await audit(scene.charged.parts)).faults == []


@pytest.mark.parametrize("name", MEANWHILE)
def test_whatever_happens_at_whichever_step_of_an_end_no_money_is_lost(
    room: StoreRoom, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def once(nth: int) -> bool:
        scene = await Scene.made(room)
        await member_of(scene, MEMBER)
        await scene.ask(INITIAL, 0, "own", None, 20_000)
        account, closing = await scene.look(), closing_of(scene)
        with monkeypatch.context() as patch:
            meanwhile = Meanwhile(nth, lambda: MEANWHILE[name](scene), [])
            meanwhile.around(patch)
            done = await closing.close(account, "care", "end")
        await judge(scene, done)
        reserved = await scene.charged.accounts.actions.find("till", "parking")
        assert reserved is None or reserved.state in {ActionState.HELD, ActionState.FAILED}
        assert (done.code is Code.BARRED) == (reserved is not None and reserved.state is ActionState.HELD)
        if done.code is Code.BARRED:  # a reservation came first: it is as if nobody had asked
            assert name == "reserves"
            assert (await scene.look()).status is Status.ACTIVE
            await scene.charged.accounts.actions.cancel("till", "parking")
            done = await closing.close(await scene.look(), "care", "end")
        assert done.code is Code.SUCCESS
        assert done.action is not None
        book = (await scene.look()).book
        place = scene.account.profile
        assert await sessions_of(scene.charged.parts, place.partition, place.path) == []
        assert (book.status, book.pending_micros) == (Status.TERMINATED, 0)
        assert book.balance_micros == 0 or (name, book.balance_micros) == (
            "grows",
            -5 * EURO,
        )  # told too late
        for session in ("own", "new"):
            await scene.ask(
                TERMINATION, 2, session, 1_000, None, MEMBER if "member" in name else "491700000001"
            )
        await judge(scene, done)
        again = await closing.close(await scene.look(), "care", "end")
        assert (again.code, again.replayed, again.action) == (Code.SUCCESS, True, done.action)
        return bool(meanwhile.happened)

    for nth in count(1):
        if not room.run(once(nth)):
            assert nth > 8, "fewer steps than an end has"
            return
