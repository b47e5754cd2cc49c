"""Subscribers under random administration, with deaths in between: index, profiles and books agree, and every change counts once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.audit import audit
from ocs.balance.changes import Wish
from ocs.balance.link import StoreFault
from ocs.balance.store import Store
from ocs.names import E164, IMSI, SubscriberId
from ocs.outcomes import Code
from ocs.records import Status
from tests.charged_store import StoreRoom
from tests.unit.balance.holdings_world import DAY_MS, LIFELESS, TARIFF, Scene
from tests.vectors.rating.element import RULES

NUMBERS = ("491700000001", "491700000002", "491700000003")
IMSIS = ("262010000000001", "262010000000002")
REST_DAYS = 90
CREDIT = 1_000_000


class Died(StoreFault):
    """The caller is killed here."""


class Create(NamedTuple):
    msisdn: str
    imsi: str


class Change(NamedTuple):
    who: int
    msisdn: str | None
    imsi: str | None
    status: Status | None
    floor_micros: int | None


class Terminate(NamedTuple):
    who: int


class Days(NamedTuple):
    days: int


steps = st.one_of(
    st.builds(Create, st.sampled_from(NUMBERS), st.sampled_from(("", *IMSIS))),
    st.builds(
        Change,
        st.integers(0, 3),
        st.sampled_from((None, *NUMBERS)),
        st.sampled_from((None, None, "", *IMSIS)),
        st.sampled_from((None, None, Status.ACTIVE, Status.BARRED)),
        st.sampled_from((None, None, 0, -500_000)),
    ),
    st.builds(Terminate, st.integers(0, 3)),
    st.builds(Days, st.sampled_from((1, REST_DAYS + 1))),
)
deaths = st.one_of(st.none(), st.tuples(st.integers(0, 24), st.booleans(), st.booleans()))
"""At which call of the store the caller dies, before or after it was carried out, and whether somebody asks again."""


class Known(NamedTuple):
    """A subscriber as the model has it."""

    path: str
    partition: int
    msisdn: str
    imsi: str
    status: Status = Status.ACTIVE
    floor_micros: int = 0

    @property
    def ids(self) -> set[SubscriberId]:
        return {SubscriberId(E164, self.msisdn)} | ({SubscriberId(IMSI, self.imsi)} if self.imsi else set())


class Model:
    """What identities name, and until when they rest: a day counter and two tables, no store."""

    def __init__(self, rest_days: int) -> None:
        self.rest_days = rest_days
        self.day = 0
        self.known: list[Known] = []
        self.rests: dict[SubscriberId, tuple[str, int]] = {}

    def names(self, identity: SubscriberId) -> str | None:
        """The path that an identity names now, as its own or because it rests."""
        for each in self.known:
            if identity in each.ids and each.status is not Status.TERMINATED:
                return each.path
        path, until = self.rests.get(identity, ("", 0))
        return path if until > self.day else None

    def rest(self, path: str, ids: set[SubscriberId], *, ended: bool = False) -> None:
        for each in ids:
            if self.rest_days and (ended or each.kind == E164):
                self.rests[each] = (path, self.day + self.rest_days)

    def change(self, who: int, step: Change) -> Code:
        was = self.known[who]
        if was.status is Status.TERMINATED:
            return Code.UNKNOWN_SUBSCRIBER
        after = was._replace(
            msisdn=step.msisdn or was.msisdn,
            imsi=was.imsi if step.imsi is None else step.imsi,
            status=step.status or was.status,
            floor_micros=was.floor_micros if step.floor_micros is None else step.floor_micros,
        )
        if any(self.names(each) not in {None, was.path} for each in after.ids - was.ids):
            return Code.EXISTS
        self.known[who] = after
        for each in after.ids:
            self.rests.pop(each, None)
        self.rest(was.path, was.ids - after.ids)
        return Code.SUCCESS

    def terminate(self, who: int) -> None:
        was = self.known[who]
        if was.status is not Status.TERMINATED:
            self.known[who] = was._replace(status=Status.TERMINATED)
            self.rest(was.path, was.ids, ended=True)


@contextmanager
def dying(at: int, *, after: bool) -> Iterator[None]:
    """The caller dies at its call number ``at`` of the store, and does nothing any more."""
    made, whole = [0], Store.execute

    async def execute(store: Store, *words: Any, **options: Any) -> Any:
        made[0] += 1
        if made[0] > at and not (made[0] == at + 1 and after):
            raise Died("killed")
        reply = await whole(store, *words, **options)
        if made[0] > at:
            raise Died("killed")
        return reply

    with mock.patch.object(Store, "execute", execute):
        yield


class WorldScene(Scene):
    async def tend_all(self) -> None:
        for _ in range(3):  # what a look puts on the agenda is due at the next
            await self.tend()
            self.charged.clock.keep_up()


class World:
    def __init__(self, scene: WorldScene, rest_days: int) -> None:
        self.scene = scene
        self.charged = scene.charged
        self.model = Model(rest_days)

    async def step(self, step: Any, death: tuple[int, bool, bool] | None) -> None:
        self.charged.clock.keep_up()
        if isinstance(step, Days):
            self.model.day += step.days
            await self.charged.move_time(step.days * DAY_MS)
            await self.tend()
        elif isinstance(step, Create):
            await self._create(step, death)
        elif self.model.known:
            who = step.who % len(self.model.known)
            act = self._change if isinstance(step, Change) else self._terminate
            await act(who, step, death)

    async def _create(self, step: Create, death: tuple[int, bool, bool] | None) -> None:
        new = NewSubscriber(step.msisdn, step.imsi, "t", "prepaid", "EUR", 0)
        wanted = {SubscriberId(E164, step.msisdn)} | ({SubscriberId(IMSI, step.imsi)} if step.imsi else set())
        taken = any(self.model.names(each) is not None for each in wanted)
        done = await self._done(lambda: self.charged.accounts.create(new, CREDIT), death, again=True)
        code, account = done
        if taken:
            assert code is Code.EXISTS
            return
        # a create that died after it had opened the account says at its repetition that it is there
        assert code is Code.SUCCESS or death is not None
        assert (account.profile.msisdn, account.profile.imsi) == (step.msisdn, step.imsi)
        assert account.book.balance_micros == CREDIT
        self.model.known.append(
            Known(account.profile.path, account.profile.partition, step.msisdn, step.imsi)
        )

    async def _change(self, who: int, step: Change, death: tuple[int, bool, bool] | None) -> None:
        was = self.model.known[who]
        account = await self.read(was)
        wish = Wish(step.status, None, step.floor_micros, None, step.msisdn, step.imsi)
        again = death is None or death[2]
        done = await self._done(lambda: self.scene.holdings.changes.change(account, wish), death, again=again)
        if done is not None:
            assert done.code is self.model.change(who, step)
            return
        found = await self.read(was)  # nobody asks again: it has happened, or it has not
        if self.seen(found) != self.seen_of(was):
            assert self.model.change(who, step) is Code.SUCCESS
            assert self.seen(found) == self.seen_of(self.model.known[who])

    async def _terminate(self, who: int, _step: Any, death: tuple[int, bool, bool] | None) -> None:
        was = self.model.known[who]
        account = await self.read(was)
        again = death is None or death[2]
        done = await self._done(lambda: self.scene.holdings.lives.terminate(account), death, again=again)
        if done is not None or (await self.read(was)).ended:
            self.model.terminate(who)

    async def _done(
        self,
        act: Callable[[], Coroutine[Any, Any, Any]],
        death: tuple[int, bool, bool] | None,
        *,
        again: bool,
    ) -> Any:
        """Do it, perhaps dying in between; None where nobody asks again. What was left behind is tidied up then."""
        done = None
        if death is None:
            return await act()
        with dying(death[0], after=death[1]), suppress(Died):
            done = await act()
        if done is None and again:
            done = await act()
        await self.tend()  # what was to be free at once is free a minute later
        return done

    async def tend(self) -> None:
        """Let a minute pass, and the agenda do what is due."""
        self.charged.clock.keep_up()
        await self.charged.move_time(61_000)
        await self.scene.tend_all()

    async def read(self, known: Known) -> Account:
        found = await self.charged.accounts.read(known.partition, known.path)
        assert found is not None
        return found

    @staticmethod
    def seen(account: Account) -> tuple[Any, ...]:
        profile = account.profile
        return profile.msisdn, profile.imsi, account.status, account.book.floor_micros

    @staticmethod
    def seen_of(known: Known) -> tuple[Any, ...]:
        return known.msisdn, known.imsi, known.status, known.floor_micros

    async def agree(self) -> None:
        """Every identity names whom the model says, every book is what it says, and the audit is clean."""
        await self.tend()
        for each in self.model.known:
            assert self.seen(await self.read(each)) == self.seen_of(each)
        ids = [SubscriberId(E164, each) for each in NUMBERS] + [SubscriberId(IMSI, each) for each in IMSIS]
        for identity in ids:
            found = await self.charged.accounts.find(identity)  # a claim for nobody names nobody
            assert (None if found is None else found.profile.path) == self.model.names(identity), identity
        assert (await audit(self.charged.parts)).faults == []


async def _lived(room: StoreRoom, rest_days: int, script: list[tuple[Any, Any]]) -> None:
    scene = WorldScene(await room.charged({"t@1": TARIFF if rest_days else LIFELESS}, RULES, 2))
    world = World(scene, rest_days)
    for step, death in script:
        await world.step(step, death)
    await world.agree()
    world.model.day += REST_DAYS + 1
    await scene.charged.move_time((REST_DAYS + 1) * DAY_MS)
    await world.agree()


@pytest.fixture(autouse=True)
def _claims_are_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses a clock that runs ahead, so the minute of a claim is over at once."""
    for room in ("identities", "changes"):
        monkeypatch.setattr(f"ocs.balance.{room}.CLAIM_MS", 0)


@given(st.sampled_from((0, REST_DAYS)), st.lists(st.tuples(steps, deaths), min_size=2, max_size=12))
@settings(max_examples=150)
def test_index_profiles_and_books_agree_whoever_dies(
    room: StoreRoom, rest_days: int, script: list[tuple[Any, Any]]
) -> None:
    room.run(_lived(room, rest_days, script))


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(NUMBERS), st.integers(0, 3)), min_size=2, max_size=6
    )
)
@settings(max_examples=100)
def test_changes_at_the_same_time_leave_each_number_with_one_subscriber(
    room: StoreRoom, wanted: list[tuple[int, str, int]]
) -> None:
    async def work() -> None:
        charged = await room.charged({"t@1": LIFELESS}, RULES, 2)
        scene = WorldScene(charged)
        accounts = [await charged.subscriber(f"49180000000{i}", "", "t") for i in range(2)]

        async def one(who: int, number: str, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            for _ in range(20):
                try:
                    where = accounts[who].profile
                    found = await charged.accounts.read(where.partition, where.path)
                    assert found is not None
                    done = await scene.holdings.changes.change(found, Wish(msisdn=number))
                except StoreFault:
                    continue  # as a client does that is told to try again
                assert done.code in {Code.SUCCESS, Code.EXISTS}
                return

        await asyncio.gather(*(one(*each) for each in wanted), scene.tend(), scene.tend())
        charged.clock.keep_up()
        await charged.move_time(61_000)
        await scene.tend_all()
        owners: dict[str, str] = {}
        for each in accounts:
            found = await charged.accounts.read(each.profile.partition, each.profile.path)
            assert found is not None
            assert owners.setdefault(found.profile.msisdn, found.profile.path) == found.profile.path
        for number in (*NUMBERS, "491800000000", "491800000001"):
            text = await charged.accounts.identities.standing(SubscriberId(E164, number))
            assert (text.decode().split(" ")[1] if text else None) == owners.get(number)
        assert (await audit(charged.parts)).faults == []

    room.run(work())
