"""The Book answers whatever it finds in the store, and nobody waits for ever."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.functions import function
from ocs.balance.keys import where
from ocs.balance.link import LinkLost, StoreFault
from ocs.balance.store import Store
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.limits import PLANS_PER_REQUEST_MAX
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code, Note
from ocs.rating.versions import Tariffs
from ocs.records import Status
from ocs.server.families import STORE_EVENTS
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, RULES, Network, network


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


@pytest.mark.parametrize("text", ['["only","four","fields","here"]', "no JSON at all"])
def test_a_profile_that_cannot_be_read_is_an_answer_all_the_same(net: Network, text: str) -> None:
    keys = net.charged.parts.keys[net.partition]
    net.execute("SET", keys.profile(net.account.profile.account), text)

    assert net.ask(INITIAL, 0, wants=MIB).code == Code.EPOCH
    assert net.charged.book.opening == {}


def test_an_identity_that_names_no_place_is_an_answer_all_the_same(net: Network) -> None:
    net.execute("SET", net.ids[0].key, "nowhere")

    assert net.ask(INITIAL, 0, wants=MIB).code == Code.EPOCH


def test_a_termination_waits_for_the_initial_that_is_under_way(net: Network) -> None:
    async def both() -> list[Code]:
        charged = net.charged
        outcomes: list[Code] = []
        done = asyncio.get_running_loop().create_future()

        def first(outcome: object) -> None:
            outcomes.append(outcome.code)  # type: ignore[attr-defined]

        def second(outcome: object) -> None:
            outcomes.append(outcome.code)  # type: ignore[attr-defined]
            done.set_result(None)

        charged.book.charge(net.asked(INITIAL, 0, wants=MIB), first)
        charged.book.charge(net.asked(TERMINATION, 1, used=0), second)
        await done
        return outcomes

    assert net.run(both()) == [Code.SUCCESS, Code.SUCCESS]
    book = net.book()
    assert (book.pending_micros, book.sessions_open) == (0, 0)


def test_an_initial_whose_receiver_fails_keeps_nobody_waiting(net: Network) -> None:
    async def both() -> Code:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _told: None)
        done: asyncio.Future[Code] = loop.create_future()

        def first(_outcome: object) -> None:
            raise RuntimeError("the receiver of the answer has a defect")

        net.charged.book.charge(net.asked(INITIAL, 0, wants=MIB), first)
        net.charged.book.charge(
            net.asked(TERMINATION, 1, used=0), lambda outcome: done.set_result(outcome.code)
        )
        code = await asyncio.wait_for(done, 5)
        loop.set_exception_handler(None)
        return code

    assert net.run(both()) == Code.SUCCESS


def test_a_session_goes_on_after_its_number_was_given_to_another_account(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)
    net.run(net.charged.accounts.terminate(net.account))
    net.run(net.charged.subscriber("491700000001", "", "flat-data"))
    net.charged.book.profiles.forget(net.ids)

    assert net.ask(UPDATE, 1, used=MIB).code == Code.SUCCESS

    ended = net.run(net.charged.accounts.read(net.partition, net.account.profile.account))
    assert ended.book.posted_micros == 10_000


def test_of_two_creates_that_find_a_dead_claim_one_gets_the_number(net: Network) -> None:
    number = "491700000777"
    identity = SubscriberId(E164, number)
    dead = f"1 deadclaim1 {number}|262019999999999 {net.charged.clock.now_ms() - 61_000}"
    net.execute("SET", identity.key, dead)

    def create(imsi: str) -> Coroutine[Any, Any, tuple[Code, Account]]:
        new = NewSubscriber(number, imsi, "flat-data", "prepaid", "EUR", 0)
        return net.charged.accounts.create(new, 5_000_000)

    async def race() -> list[object]:
        creates = (create("262010000000771"), create("262010000000772"))
        return list(await asyncio.gather(*creates, return_exceptions=True))

    first, second = net.run(race())
    made = [each for each in (first, second) if isinstance(each, tuple) and each[0] is Code.SUCCESS]
    assert len(made) == 1
    assert all(isinstance(each, StoreFault | tuple) for each in (first, second))
    assert net.run(net.charged.accounts.find(identity)).profile.account == made[0][1].profile.account


def test_the_word_where_a_session_lives_goes_with_its_tombstone(net: Network) -> None:
    key = where("s;1")
    net.ask(INITIAL, 0, wants=MIB)
    assert RULES.where_ms - 60_000 < net.execute("PTTL", key) <= RULES.where_ms

    net.ask(TERMINATION, 1, used=MIB)

    assert 0 < net.execute("PTTL", key) <= RULES.tombstone_ms


def test_a_session_of_a_version_that_nobody_here_knows_is_put_off_and_marks_nothing_as_seen(
    net: Network,
) -> None:
    book = net.charged.book
    net.ask(INITIAL, 0, wants=2 * MIB)
    known, book.tariffs = book.tariffs, Tariffs({})
    before = net.book()

    assert net.ask(UPDATE, 1, used=MIB, wants=2 * MIB).code == Code.EPOCH  # answered with 3004

    assert (book.counts["tariff_unknown"], net.book()) == (1, before)
    book.tariffs = known
    again = net.ask(UPDATE, 1, used=MIB, wants=2 * MIB)
    assert (again.code, again.notes) == (Code.SUCCESS, Note(0))
    assert net.book().posted_micros == 10_000


class _LosesReplies:
    """The store behind a link that loses the replies to its next charging calls; the calls happened."""

    def __init__(self, store: Store, losses: int) -> None:
        self._store = store
        self._losses = losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def call(self, slot: int, command: bytes, done: Callable[[Any], None], *more: Any) -> None:
        if function("charge").encode() not in command or not self._losses:
            self._store.call(slot, command, done, *more)
            return
        self._losses -= 1
        self._store.call(slot, command, lambda _reply: done(LinkLost("nobody knows")), *more)


def test_replies_that_were_lost_are_no_plans_that_were_stale(net: Network) -> None:
    book = net.charged.book
    net.ask(INITIAL, 0, wants=MIB)
    net.run(net.charged.accounts.amend(net.account, status=Status.ACTIVE))  # what is remembered is stale
    book.rules = RULES._replace(deadline_ms=60_000)
    book.parts.store = _LosesReplies(net.charged.store, PLANS_PER_REQUEST_MAX)  # type: ignore[assignment]

    assert net.ask(UPDATE, 1, used=MIB, wants=MIB).code == Code.SUCCESS

    assert (book.counts["replayed_unknown"], book.counts["stale"]) == (PLANS_PER_REQUEST_MAX, 1)
    assert net.book().posted_micros == 10_000


def test_whatever_a_book_counts_is_in_the_metrics(net: Network) -> None:
    assert set(net.charged.book.counts) < set(STORE_EVENTS)
