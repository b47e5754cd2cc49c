"""All subscribers page by page, on one server and on a cluster: each is named, and a walk that cannot go on says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ocs.balance.accounts import Accounts, NewSubscriber
from ocs.balance.addresses import parse
from ocs.balance.changes import Wish
from ocs.balance.directory import Directory, WalkOver
from ocs.balance.functions import library
from ocs.balance.holdings import Holdings
from ocs.balance.parts import Parts
from ocs.balance.store import Store
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.products import Catalogue
from tests.charged_store import StillClock
from tests.cluster import Cluster
from tests.real_valkey import RealValkey

COUNT = 40


class World:
    def __init__(self, store: Store) -> None:
        clock = StillClock()
        self.store = store
        self.parts = Parts(store, clock, 16, 1_000)
        self.accounts = Accounts(self.parts, clock)
        self.directory = Directory(self.parts, self.accounts)
        self.holdings = Holdings(self.parts, self.accounts, clock, Catalogue(), lambda _name, _at_ms: None)

    async def filled(self) -> set[str]:
        paths = set()
        for i in range(COUNT):
            new = NewSubscriber(f"4917000000{i:02}", "", "t", "prepaid", "EUR", 0)
            code, account = await self.accounts.create(new)
            assert code is Code.SUCCESS
            paths.add(account.profile.path)
        return paths

    async def walked(self, most: int) -> list[str]:
        after: str | None = ""
        seen = []
        while after is not None:
            page = await self.directory.page(after, most)
            seen += [each.profile.path for each in page.accounts]
            after = page.following
        return seen


@contextmanager
def world(url: str) -> Iterator[tuple[World, asyncio.AbstractEventLoop]]:
    loop = asyncio.new_event_loop()
    store = Store(parse(url, {}), library=library(), title="test")
    try:
        loop.run_until_complete(store.open())
        yield World(store), loop
    finally:
        loop.run_until_complete(store.close())
        loop.close()


def test_a_walk_over_a_cluster_names_everybody_and_ends_where_a_slot_has_moved(cluster: Cluster) -> None:
    async def scene(made: World) -> None:
        paths = await made.filled()
        for most in (1, 7, 1_000):
            seen = await made.walked(most)
            assert set(seen) == paths
        assert await made.directory.places(COUNT - 1) is None
        places = await made.directory.places(COUNT)
        assert places is not None
        assert ([each.path for each in places], places) == (
            [each.path for each in sorted(places)],
            sorted(places),
        )
        assert {each.path for each in places} == paths
        one = min(paths)
        found = await made.directory.find(one)
        assert found is not None
        assert found.profile.path == one
        assert await made.directory.find("nobody") is None
        begun = (await made.directory.page("", 1)).following
        assert begun is not None
        slot = made.parts.keys[0].slot
        await asyncio.to_thread(cluster.move, slot, (cluster.owner(slot) + 1) % 3)
        await made.store.execute(slot, "GET", made.parts.keys[0].part)  # from here on it is known
        with pytest.raises(WalkOver):
            await made.directory.page(begun, 1)

    with world(cluster.url) as (made, loop):
        loop.run_until_complete(scene(made))


def test_a_number_changes_across_the_masters_of_a_cluster(cluster: Cluster) -> None:
    async def scene(made: World) -> None:
        new = NewSubscriber("491800000000", "", "t", "prepaid", "EUR", 0)
        _, account = await made.accounts.create(new)
        for i in range(1, 12):
            done = await made.holdings.changes.change(account, Wish(msisdn=f"4918000000{i:02}"))
            assert done.code is Code.SUCCESS
            account = done.account
        numbers = [e164(f"4918000000{i:02}") for i in range(12)]
        found: list[Any] = [await made.accounts.find(each) for each in numbers if each is not None]
        assert [each is not None for each in found] == [False] * 11 + [True]

    with world(cluster.url) as (made, loop):
        loop.run_until_complete(scene(made))


def test_a_walk_does_not_go_on_in_another_process_of_the_store() -> None:
    with RealValkey() as server:
        with world(server.url) as (made, loop):
            loop.run_until_complete(made.filled())
            begun = loop.run_until_complete(made.directory.page("", 1)).following
            assert begun is not None
            assert loop.run_until_complete(made.directory.page(begun, 1)).accounts is not None
        with RealValkey() as other, world(other.url) as (made, loop), pytest.raises(WalkOver):
            loop.run_until_complete(made.directory.page(begun, 1))


def test_a_page_takes_so_many_steps_however_few_of_the_keys_are_subscribers(valkey: RealValkey) -> None:
    with world(valkey.url) as (made, loop):
        loop.run_until_complete(_few_among_many(made))


async def _few_among_many(made: World) -> None:
    paths = await made.filled()
    words = [word for i in range(30_000) for word in (f"{made.parts.keys[0].prefix}other:{i}", "x")]
    await made.store.execute(made.parts.keys[0].slot, "MSET", *words)
    first = await made.directory.page("", COUNT + 1)
    assert first.following is not None, "it stops within the keys"
    assert len(first.accounts) < COUNT
    assert set(await made.walked(COUNT + 1)) == paths
