"""Function libraries of several releases beside each other: the last user keeps one, and nobody is hurt by a removal."""

from __future__ import annotations

from ocs.balance.functions import NAME, VERSION, library, loadable, source
from ocs.balance.libraries import KEY, Libraries
from ocs.balance.store import Store
from ocs.limits import LIBRARY_IDLE_MS
from tests.cluster import Cluster
from tests.real_valkey import RealValkey
from tests.unit.balance.test_store import opened, run

OLD = f"ocs_{VERSION - 1}"
START_MS = 1_700_000_000_000


class Dial:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


def of_release(version: int) -> bytes:
    """The library as another release would have it."""
    return loadable(
        source().replace(f"name={NAME}", f"name=ocs_{version}").replace(f"_{VERSION}'", f"_{version}'")
    )


async def names(store: Store) -> set[str]:
    """The libraries of all masters."""
    found = set()
    for master in store.masters():
        for row in await store.execute_at(master, "FUNCTION", "LIST"):
            found.add(row[1].decode())
    return found


async def with_both(url: str) -> Store:
    """A store with the library of this release and of the one before, and one of somebody else."""
    store = await opened(url)
    for master in store.masters():
        for text in (
            library(),
            of_release(VERSION - 1),
            b"#!lua name=ocs_mine\nredis.register_function('f', function() return 1 end)",
        ):
            await store.execute_at(master, "FUNCTION", "LOAD", text)
    return store


def test_a_library_is_removed_when_nobody_has_told_it_for_the_time_and_not_before(valkey: RealValkey) -> None:
    async def work() -> None:
        store, clock = await with_both(valkey.url), Dial()
        libraries = Libraries(store, clock)
        await store.execute(0, "ZADD", KEY, START_MS, OLD)
        clock.ms += LIBRARY_IDLE_MS
        assert await libraries.remove_unused() == []
        assert await names(store) == {NAME, OLD, "ocs_mine"}
        clock.ms += 1
        assert await libraries.remove_unused() == [OLD]
        assert await names(store) == {NAME, "ocs_mine"}
        await store.close()

    run(work())


def test_a_library_that_its_users_tell_again_and_again_stays(valkey: RealValkey) -> None:
    async def work() -> None:
        store, clock = await with_both(valkey.url), Dial()
        for _ in range(5):
            await store.execute(0, "ZADD", KEY, clock.ms, OLD)
            clock.ms += LIBRARY_IDLE_MS - 1
            assert await Libraries(store, clock).remove_unused() == []
        assert OLD in await names(store)
        await store.close()

    run(work())


def test_a_library_that_was_never_told_has_its_time_from_when_it_is_first_seen(valkey: RealValkey) -> None:
    async def work() -> None:
        store, clock = await with_both(valkey.url), Dial()
        libraries = Libraries(store, clock)
        assert await libraries.remove_unused() == []
        clock.ms += LIBRARY_IDLE_MS
        assert await libraries.remove_unused() == []
        clock.ms += 1
        assert await libraries.remove_unused() == [OLD]
        await store.close()

    run(work())


def test_whoever_comes_back_to_a_store_without_its_library_loads_it_and_loses_no_call(
    valkey: RealValkey,
) -> None:
    async def work() -> None:
        store, clock = await with_both(valkey.url), Dial()
        old = await opened(valkey.url, library=of_release(VERSION - 1))
        libraries = Libraries(store, clock)
        await libraries.remove_unused()
        clock.ms += LIBRARY_IDLE_MS + 1
        assert await libraries.remove_unused() == [OLD]
        reply = await old.execute(
            0, "FCALL", f"epoch_{VERSION - 1}", 3, "{a}:part", "{a}:run", "{a}:stream", old.incarnation(0)
        )
        assert reply.decode().split(" ")[1] == "0"
        assert OLD in await names(store)
        await old.close()
        await store.close()

    run(work())


def test_a_library_is_removed_from_every_master_of_a_cluster(cluster: Cluster) -> None:
    async def work() -> None:
        store, clock = await with_both(cluster.url), Dial()
        libraries = Libraries(store, clock)
        await libraries.remove_unused()
        clock.ms += LIBRARY_IDLE_MS + 1
        assert await libraries.remove_unused() == [OLD]
        assert await names(store) == {NAME, "ocs_mine"}
        await store.close()

    run(work())
