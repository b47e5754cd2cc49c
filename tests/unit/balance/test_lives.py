"""Ends on a real store: of balances and of the rest of numbers, beside top-ups, purchases, other keepers, and deaths in between."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.actions import Asked, Done
from ocs.balance.agenda import Agenda
from ocs.balance.holdings import Holdings
from ocs.balance.link import LinkLost
from ocs.balance.lives import note_life
from ocs.balance.stored_book import UNUSED
from ocs.limits import END_RETRY_MS, RENEWAL_RETRY_MS
from ocs.names import e164
from ocs.outcomes import Code
from ocs.records import ActionKind, Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import DAY_MS, EURO, LIFELESS, MONTHLY, PASS, Scene

MADE_UP = LinkLost("made up")


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


async def _named(scene: Scene, msisdn: str = "491700000001") -> Account | None:
    identity = e164(msisdn)
    assert identity is not None
    return await scene.charged.accounts.find(identity)


def _once_after(act: Callable[..., Any], first: Callable[[], Any]) -> Callable[..., Any]:
    """Something happens just before the first call of a method."""
    happened: list[int] = []

    async def called(*given: Any, **options: Any) -> Any:
        if not happened:
            happened.append(1)
            await first()
        return await act(*given, **options)

    return called


async def _dies() -> None:
    raise MADE_UP


def test_a_balance_is_used_extended_over_and_its_number_rests(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-01-01T12:00", until_ms=UNUSED)
        await scene.at("2027-02-01T12:00")
        assert (await scene.look()).book.until_ms == UNUSED
        await scene.use(10)
        until_ms = (await scene.look()).book.until_ms
        assert until_ms - scene.charged.now_ms == pytest.approx(30 * DAY_MS, abs=10_000)
        await scene.charged.accounts.topup(await scene.look(), 4 * EURO, "till", "small")
        assert (await scene.look()).book.until_ms == until_ms
        await scene.charged.accounts.topup(await scene.look(), 5 * EURO, "till", "great")
        assert (await scene.look()).book.until_ms - until_ms == pytest.approx(30 * DAY_MS, abs=10_000)
        await scene.at("2027-04-03T00:00")
        assert (await scene.use(10)).code == Code.BARRED
        await note_life(scene.charged.parts, await scene.look(), 0)
        await scene.tend()
        assert (await scene.look()).book.status is Status.ACTIVE  # in its grace
        await scene.at("2027-04-14T00:00")
        await scene.tend()
        assert (await scene.look()).book.status is Status.TERMINATED
        identity = e164("491700000001")
        assert identity is not None
        assert await scene.charged.accounts.find(identity) is not None
        new = NewSubscriber("491700000001", "", "t", "prepaid", "EUR", 0)
        assert (await scene.charged.accounts.create(new))[0] == Code.EXISTS
        await scene.at("2027-07-14T00:00")
        await scene.tend()
        assert await scene.charged.accounts.find(identity) is None
        assert (await scene.charged.accounts.create(new))[0] == Code.SUCCESS
        await scene.clean()

    room.run(work())


def test_a_renewal_leaves_the_end_of_life_where_it_is(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, at="2027-03-10T12:00")
        path, over_ms = scene.account.profile.path, scene.charged.now_ms + 10 * DAY_MS
        await scene.charged.accounts.amend(scene.account, until_ms=over_ms)
        await note_life(scene.charged.parts, scene.account, over_ms)
        await scene.buy(MONTHLY)
        assert (await scene.agenda())[f"life:{path}"] == over_ms
        await scene.at("2027-03-31T12:00")
        await scene.tend()
        assert (await scene.look()).book.status is Status.TERMINATED
        assert set(await scene.agenda()) == {path, f"rest:{path}"}

    room.run(work())


def test_a_number_rests_to_its_end_whatever_else_was_due(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await scene.buy(MONTHLY)
        assert await scene.holdings.lives.terminate(await scene.look()) == Code.SUCCESS
        for instant in ("2027-04-01T12:00", "2027-06-08T11:00"):
            await scene.at(instant)
            await scene.tend()
            assert await _named(scene) is not None
        await scene.at("2027-06-08T13:00")
        await scene.tend()
        assert (await _named(scene), await scene.agenda()) == (None, {})
        await scene.clean()

    room.run(work())


def test_who_wanted_to_end_a_subscriber_and_died_before_has_ended_nothing(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        with monkeypatch.context() as patched:
            patched.setattr(Accounts, "terminate", lambda *_given, **_options: _dies())
            with pytest.raises(LinkLost):
                await scene.holdings.lives.terminate(await scene.look())
        await scene.at("2027-07-10T12:00")
        await scene.tend()
        assert await scene.agenda() == {}
        assert (await scene.use(10)).code == Code.SUCCESS

    room.run(work())


def test_who_ended_a_subscriber_and_died_after_leaves_a_number_that_is_freed(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room, tariff=LIFELESS)
        with monkeypatch.context() as patched:
            patched.setattr(Accounts, "release", lambda _self, _account: _dies())
            with pytest.raises(LinkLost):
                await scene.holdings.lives.terminate(await scene.look())
        assert await _named(scene) is not None
        await scene.charged.move_time(END_RETRY_MS)
        await scene.tend()
        assert (await _named(scene), await scene.agenda()) == (None, {})

    room.run(work())


def test_a_number_without_quarantine_is_free_at_once(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, tariff=LIFELESS)
        assert await scene.holdings.lives.terminate(await scene.look()) == Code.SUCCESS
        assert await scene.holdings.lives.terminate(await scene.look()) == Code.UNKNOWN_SUBSCRIBER
        assert (await _named(scene), await scene.agenda()) == (None, {})

    room.run(work())


def test_another_keeper_that_has_an_old_time_in_its_list_frees_no_number(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        place = scene.account.profile
        old_ms = scene.charged.now_ms - 1_000
        await scene.holdings.lives.terminate(await scene.look())
        rests = await scene.agenda()
        for name in (place.path, f"life:{place.path}", f"rest:{place.path}"):
            await scene.holdings.tend(place.partition, name, old_ms)
        assert await _named(scene) is not None
        assert await scene.agenda() == rests

    room.run(work())


def test_a_look_that_fails_is_put_off_and_shortens_no_rest(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        path, lives = scene.account.profile.path, scene.holdings.lives
        await scene.holdings.look_again(scene.account.profile.partition, f"rest:{path}", 1)
        await scene.holdings.look_again(scene.account.profile.partition, path, 1)

        async def tend(_holdings: Holdings, _partition: int, name: str, _score_ms: int) -> None:
            if name.startswith("rest:"):
                await lives.terminate(await scene.look())
            raise MADE_UP

        monkeypatch.setattr(Holdings, "tend", tend)
        agenda = Agenda(scene.charged.parts, scene.holdings)
        await agenda.once()
        found = await scene.agenda()
        now_ms = scene.charged.now_ms
        assert agenda.faults == 2
        assert found[f"rest:{path}"] == pytest.approx(now_ms + 90 * DAY_MS, abs=10_000)
        assert found[path] == pytest.approx(now_ms + RENEWAL_RETRY_MS, abs=10_000)

    room.run(work())


@pytest.mark.parametrize("holds", [False, True])
def test_what_is_bought_while_the_agenda_looks_keeps_its_own_time(
    room: StoreRoom,
    monkeypatch: pytest.MonkeyPatch,
    holds: bool,  # noqa: FBT001 - what is held before
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        place, renew = scene.account.profile, Holdings.renew
        if holds:
            await scene.buy(MONTHLY, "month")
        await scene.holdings.look_again(place.partition, place.path, 1)

        async def renewed(holdings: Holdings, *given: Any) -> Account | None:
            found = await renew(holdings, *given)
            monkeypatch.setattr(Holdings, "renew", renew)
            assert await scene.buy(PASS) == Code.SUCCESS
            return found

        monkeypatch.setattr(Holdings, "renew", renewed)
        await scene.tend()
        bought = (await scene.look()).profile.products[-1]
        assert await scene.agenda() == {place.path: bought.until_ms}

    room.run(work())


def test_a_topup_that_comes_while_the_end_of_life_is_judged_keeps_the_balance(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        accounts, path = scene.charged.accounts, scene.account.profile.path
        await accounts.amend(scene.account, until_ms=scene.charged.now_ms - 11 * DAY_MS)
        await note_life(scene.charged.parts, scene.account, 1)

        async def topup() -> None:
            await accounts.topup(await scene.look(), 5 * EURO, "till", "late")

        terminate = _once_after(accounts.terminate, topup)
        monkeypatch.setattr(
            Accounts, "terminate", lambda _self, *given, **options: terminate(*given, **options)
        )
        await scene.tend()
        book = (await scene.look()).book
        assert (book.status, book.until_ms > scene.charged.now_ms) == (Status.ACTIVE, True)
        assert (await scene.agenda())[f"life:{path}"] == book.until_ms + 10 * DAY_MS

    room.run(work())


async def _refunded(scene: Scene) -> Done:
    where = (await scene.look()).profile
    asked = Asked(ActionKind.REFUND, "care", "end", where.partition, where.path, 0)
    return await scene.charged.accounts.actions.do(asked)


@pytest.mark.parametrize("dies", [False, True], ids=["", "its caller dies before the end"])
def test_the_number_of_who_was_refunded_rests_as_any_other(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        left = (await scene.look()).book.balance_micros
        if dies:
            with monkeypatch.context() as patched:
                patched.setattr(Holdings, "ended", lambda *_given: _dies())
                with pytest.raises(LinkLost):
                    await _refunded(scene)
        done = await _refunded(scene)
        assert done.action is not None
        assert (done.code, done.action.settled, (await scene.look()).status) == (
            Code.SUCCESS,
            left,
            Status.TERMINATED,
        )
        await scene.at("2027-06-08T11:00")
        await scene.tend()
        assert await _named(scene) is not None
        await scene.at("2027-06-08T13:00")
        await scene.tend()
        assert (await _named(scene), await scene.agenda()) == (None, {})
        await scene.clean()

    room.run(work())


def test_the_number_of_who_was_refunded_is_free_at_once_where_none_rests(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, tariff=LIFELESS)
        assert (await _refunded(scene)).code is Code.SUCCESS
        assert await _named(scene) is None
        await scene.at("2027-07-10T12:00")
        await scene.tend()
        assert await scene.agenda() == {}

    room.run(work())
