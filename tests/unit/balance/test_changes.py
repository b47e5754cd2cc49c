"""Changes of numbers and SIMs on a real store: who comes too late, who claims at the same time, and what workers remember."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.changes import Wish
from ocs.balance.identities import Identities
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.names import E164, IMSI, SubscriberId
from ocs.outcomes import Code
from ocs.records import Status
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.holdings_world import LIFELESS, Scene

FIRST, SECOND = "491700000001", "491700000002"
CARDS = ("262010000000001", "262010000000002")


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _claims_are_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses a clock that runs ahead, so the minute of a claim is over at once."""
    for place in ("identities", "changes"):
        monkeypatch.setattr(f"ocs.balance.{place}.CLAIM_MS", 0)


def just_before(
    patched: pytest.MonkeyPatch, owner: Any, name: str, first: Callable[[], Any], at: int = 1
) -> None:
    """Something happens just before a call of a method, the first or that of a number."""
    act = getattr(owner, name)
    calls: list[int] = []

    async def called(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            await first()
        return await act(*given, **options)

    patched.setattr(owner, name, called)


async def change(scene: Scene, account: Account, **wish: Any) -> Code:
    return (await scene.holdings.changes.change(account, Wish(**wish))).code


async def named(scene: Scene, value: str, kind: str = E164) -> str | None:
    found = await scene.charged.accounts.find(SubscriberId(kind, value))
    return None if found is None else found.profile.path


async def create(scene: Scene, msisdn: str, imsi: str = "") -> Account:
    code, account = await scene.charged.accounts.create(NewSubscriber(msisdn, imsi, "t", "prepaid", "EUR", 0))
    assert code is Code.SUCCESS
    return account


def test_a_change_that_came_too_late_does_not_write_a_number_that_is_anothers_by_now(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room, tariff=LIFELESS)
        others: list[Account] = []

        async def claim_ends_and_another_comes() -> None:
            await scene.at("2027-03-10T12:02")
            await scene.tend()
            assert await named(scene, SECOND) is None
            others.append(await create(scene, SECOND))

        # the call of the agenda is the first: the change's own comes behind it
        with monkeypatch.context() as patched:
            just_before(patched, Accounts, "amend", claim_ends_and_another_comes)
            assert await change(scene, scene.account, msisdn=SECOND) is Code.EXISTS
        assert (await scene.look()).profile.msisdn == FIRST
        assert await named(scene, FIRST) == scene.account.profile.path
        assert await named(scene, SECOND) == others[0].profile.path
        await scene.clean()

    room.run(work())


@pytest.mark.parametrize("at", [1, 2])
def test_a_number_that_is_taken_back_while_it_is_being_freed_stays(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await change(scene, scene.account, msisdn=SECOND)
        await scene.at("2027-03-10T12:10")
        await scene.tend()  # the new number's claim is struck off
        await scene.at("2027-06-08T13:00")

        async def taken_back() -> None:
            assert await change(scene, await scene.look(), msisdn=FIRST) is Code.SUCCESS

        with monkeypatch.context() as patched:
            just_before(patched, Identities, "swap", taken_back, at)
            await scene.tend()
        assert await named(scene, FIRST) == (await scene.look()).profile.path
        assert (await scene.look()).profile.msisdn == FIRST
        await scene.clean()

    room.run(work())


def test_a_rest_that_was_begun_anew_meanwhile_is_not_cut_short(
    room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await change(scene, scene.account, msisdn=SECOND)
        await scene.at("2027-06-08T13:00")

        async def back_and_forth() -> None:
            assert await change(scene, await scene.look(), msisdn=FIRST) is Code.SUCCESS
            assert await change(scene, await scene.look(), msisdn=SECOND) is Code.SUCCESS

        with monkeypatch.context() as patched:
            just_before(patched, Identities, "standing", back_and_forth)
            await scene.tend()
        assert await named(scene, FIRST) == scene.account.profile.path
        await scene.at("2027-09-07T13:00")
        await scene.tend()
        assert await named(scene, FIRST) is None

    room.run(work())


def test_a_sim_that_is_changed_is_free_at_once_and_the_number_stays(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        assert await change(scene, scene.account, imsi=CARDS[0]) is Code.SUCCESS
        assert await change(scene, await scene.look(), imsi=CARDS[1]) is Code.SUCCESS
        path = scene.account.profile.path
        assert [await named(scene, each, IMSI) for each in CARDS] == [None, path]
        assert await named(scene, FIRST) == path
        other = await create(scene, SECOND, CARDS[0])
        assert await named(scene, CARDS[0], IMSI) == other.profile.path

    room.run(work())


def test_an_open_session_goes_on_under_the_old_number_and_the_new(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        assert (await scene.ask(INITIAL, 0, "s", None, 1_000)).code == Code.SUCCESS
        assert await change(scene, await scene.look(), msisdn=SECOND) is Code.SUCCESS
        assert (await scene.ask(UPDATE, 1, "s", 1_000, 1_000)).code == Code.SUCCESS
        assert (await scene.ask(UPDATE, 2, "s", 1_000, 1_000, SECOND)).code == Code.SUCCESS
        assert (await scene.ask(TERMINATION, 3, "s", 1_000, None)).code == Code.SUCCESS
        assert await scene.posted() == 3_000_000
        await scene.clean()

    room.run(work())


def test_a_session_goes_on_after_its_number_has_become_anothers(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, tariff=LIFELESS)
        assert (await scene.ask(INITIAL, 0, "s", None, 1_000)).code == Code.SUCCESS
        assert await change(scene, await scene.look(), msisdn=SECOND) is Code.SUCCESS
        assert await named(scene, FIRST) is None
        # the number is free: the session is found by where it was opened
        assert (await scene.ask(UPDATE, 1, "s", 1_000, 1_000)).code == Code.SUCCESS
        other = await create(scene, FIRST)
        # the number is another's: its session is not charged to that one
        assert (await scene.ask(UPDATE, 2, "s", 1_000, 1_000)).code == Code.CONFLICT
        found = await scene.charged.accounts.find(SubscriberId(E164, FIRST))
        assert found is not None
        assert (found.profile.path, found.book.posted_micros) == (other.profile.path, 0)
        assert await scene.posted() == 1_000_000
        await scene.clean()

    room.run(work())


@pytest.mark.parametrize("used_while_it_rests", [False, True])
def test_a_worker_that_remembers_a_number_charges_who_has_it_by_now(
    room: StoreRoom, *, used_while_it_rests: bool
) -> None:
    async def work() -> None:
        scene = await Scene.made(room)
        await scene.use(1_000)  # the worker knows the number from now on
        assert await change(scene, await scene.look(), msisdn=SECOND) is Code.SUCCESS
        if used_while_it_rests:
            assert (await scene.use(1_000)).code == Code.SUCCESS
        before = await scene.posted()
        await scene.at("2027-06-08T13:00")
        await scene.tend()
        other = await create(scene, FIRST)
        await scene.charged.accounts.topup(other, 5_000_000, "till", "1")
        assert (await scene.use(2_000)).code == Code.SUCCESS
        found = await scene.charged.accounts.find(SubscriberId(E164, FIRST))
        assert found is not None
        assert (found.book.posted_micros, await scene.posted()) == (2_000_000, before)
        await scene.clean()

    room.run(work())


def test_a_floor_that_would_leave_less_than_nothing_takes_nothing_else_along(room: StoreRoom) -> None:
    async def work() -> None:
        scene = await Scene.made(room, credit=0)
        account = await scene.look()
        assert await change(scene, account, floor_micros=-5_000_000) is Code.SUCCESS
        await scene.ask(INITIAL, 0, "s", None, 2_000)  # 2.00 are reserved
        account = await scene.look()
        refused = await change(scene, account, floor_micros=-1_999_999, msisdn=SECOND, status=Status.BARRED)
        assert refused is Code.CREDIT_LIMIT
        found = await scene.look()
        assert (found.profile.msisdn, found.status, found.book.floor_micros) == (
            FIRST,
            Status.ACTIVE,
            -5_000_000,
        )
        assert await named(scene, SECOND) is None
        assert await change(scene, account, floor_micros=-2_000_000) is Code.SUCCESS
        assert (await scene.look()).book.available_micros == 0
        assert await change(scene, account, floor_micros=1) is Code.LIMIT
        await scene.clean()

    room.run(work())
