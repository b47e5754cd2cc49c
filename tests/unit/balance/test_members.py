"""Members of a shared account on a real store: made while another create died, renewed by its money, ended with it."""

from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.link import LinkLost, StoreFault
from ocs.limits import RENEWAL_RETRY_MS
from ocs.names import e164
from ocs.outcomes import Code
from ocs.records import Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import DAY_MS, EURO, LIFELESS, MONTHLY, TARIFF, Scene, member_of

CHILD = "491700000005"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


async def _child(scene: Scene, msisdn: str = CHILD) -> Account | None:
    identity = e164(msisdn)
    assert identity is not None
    return await scene.charged.accounts.find(identity)


async def _there(scene: Scene, msisdn: str = CHILD) -> Account:
    found = await _child(scene, msisdn)
    assert found is not None
    return found


async def _dies(*_given: Any) -> Any:
    raise LinkLost("made up")


def test_a_create_that_died_as_member_of_one_account_makes_no_member_of_it_for_another(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        accounts = scene.charged.accounts
        first = await scene.look()
        numbers = (f"4917000001{n:02}" for n in range(50))
        second = await scene.charged.subscriber(next(numbers), "", "t", 0, EURO)
        while second.profile.partition != first.profile.partition:
            second = await scene.charged.subscriber(next(numbers), "", "t", 0, EURO)
        new = NewSubscriber(CHILD, "", "t", "prepaid", "EUR", 0)
        with monkeypatch.context() as patched:
            patched.setattr(Accounts, "join", _dies)
            with pytest.raises(LinkLost):
                await accounts.create(new, 0, first)
        with pytest.raises(StoreFault, match="in a minute"):
            await accounts.create(new, 0, second)
        monkeypatch.setattr("ocs.balance.identities.CLAIM_MS", 0)  # the minute is over
        code, child = await accounts.create(new, 0, second)
        assert (code, child.profile.account) == (Code.SUCCESS, second.profile.account)
        assert (await _there(scene)).profile.path == child.profile.path
        await scene.clean()

    room.run(work())


@pytest.mark.parametrize("rests", [True, False])
def test_members_end_with_their_payer_and_their_numbers_are_free_after_its_rest(
    room: StoreRoom,
    rests: bool,  # noqa: FBT001 - whether the tariff has a quarantine
) -> None:
    async def work() -> None:
        scene = await Scene.made(room, tariff=TARIFF if rests else LIFELESS)
        await member_of(scene, CHILD)
        other = await scene.charged.subscriber("491700000020", "", "t", 0, EURO)
        assert await scene.holdings.lives.terminate(await scene.look()) == Code.SUCCESS
        assert (await scene.use(10, CHILD)).code == Code.UNKNOWN_SUBSCRIBER
        if rests:
            found = await _there(scene)
            assert (found.ended, found.status) == (True, Status.TERMINATED)
            await scene.at("2027-06-08T11:00")
            await scene.tend()
            assert await _child(scene) is not None
            await scene.at("2027-06-08T13:00")
            await scene.tend()
        await scene.tend()
        assert (await _child(scene), await scene.agenda()) == (None, {})
        new = NewSubscriber(CHILD, "", "t", "prepaid", "EUR", 0)
        assert (await scene.charged.accounts.create(new, 0, other))[0] == Code.SUCCESS
        await scene.clean()

    room.run(work())


def test_a_member_that_somebody_died_ending_rests_as_long_as_its_payer(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await member_of(scene, CHILD)
        with monkeypatch.context() as patched:
            patched.setattr(Accounts, "terminate", lambda *given, **_options: _dies(*given))
            with pytest.raises(LinkLost):
                await scene.holdings.lives.terminate(await _there(scene))
        await scene.at("2027-03-20T12:00")
        await scene.holdings.lives.terminate(await scene.look())
        await scene.at("2027-06-10T12:00")  # the member's rest would be over, the payer's is not
        await scene.tend()
        assert await _child(scene) is not None
        await scene.at("2027-06-19T12:00")
        await scene.tend()
        await scene.tend()
        assert await _child(scene) is None

    room.run(work())


def test_a_member_that_was_ended_by_itself_rests_by_itself(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await member_of(scene, CHILD)
        assert await scene.holdings.lives.terminate(await _there(scene)) == Code.SUCCESS
        await scene.at("2027-06-01T12:00")
        await scene.holdings.lives.terminate(await scene.look())
        await scene.at("2027-06-09T12:00")
        await scene.tend()
        assert await _child(scene) is None
        assert set(await scene.agenda()) == {f"rest:{scene.account.profile.path}"}

    room.run(work())


def test_a_member_that_was_ended_by_itself_rests_on_when_the_rest_of_its_payer_is_over(
    room: StoreRoom,
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await member_of(scene, CHILD)
        child = (await _there(scene)).profile
        await scene.holdings.lives.terminate(await _there(scene))
        rest_ms = scene.charged.now_ms + 200 * DAY_MS  # as if its tariff had a longer quarantine
        await scene.holdings.look_again(child.partition, f"rest:{child.path}", rest_ms)
        await scene.holdings.lives.terminate(await scene.look())
        await scene.at("2027-07-01T12:00")
        await scene.tend()
        await scene.tend()
        assert await _child(scene) is not None
        assert await scene.agenda() == {f"rest:{child.path}": rest_ms}

    room.run(work())


def test_a_topup_renews_what_members_waited_for_its_money_with(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=8 * EURO, at="2027-03-01T00:00")
        children = [f"49170000003{n}" for n in range(2)]
        for each in children:
            await member_of(scene, each)
            done = await scene.holdings.buy(await _there(scene, each), MONTHLY, "own")
            assert done.code == Code.SUCCESS
        await scene.at("2027-04-02T12:00")
        await scene.tend()
        waits_ms = scene.charged.now_ms + RENEWAL_RETRY_MS
        assert set((await scene.agenda()).values()) <= set(range(waits_ms - 10_000, waits_ms + 10_000))
        await scene.charged.accounts.topup(await scene.look(), 10 * EURO, "till", "receipt")
        for each in children:
            (held,) = (await _there(scene, each)).profile.products
            assert held.until_ms > scene.charged.now_ms + 20 * DAY_MS
        await scene.clean()

    room.run(work())
