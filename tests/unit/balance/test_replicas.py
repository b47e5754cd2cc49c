"""Replies leave when replicas have what was written; whatever else happens, its outcome is unknown (DESIGN law 6)."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocs.balance.addresses import parse
from ocs.balance.keys import slot_of, tag_in
from ocs.balance.link import Demands, LinkDown, LinkLost, StoreError, StoreRefused, pack
from ocs.balance.replicas import KeptLink, Mark, Unconfirmed, mark_in
from tests.cluster import BUS, SETTINGS, Cluster
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey, free_port
from tests.replicas import Replicated, settled
from tests.unit.balance.test_link import Replies, kinds
from tests.unit.balance.test_store import opened, run, until

ONE = Demands(replicas=1)
SHORT_MS = 400


@pytest.fixture
def pair() -> Iterator[Replicated]:
    with Replicated() as servers:
        yield servers


async def kept(url: str, demands: Demands = ONE, **options: Any) -> KeptLink:
    address = parse(url, {})
    link = KeptLink(address.endpoints[0], address, demands, **options)
    await link.connect()
    return link


def watched_writes(link: Any) -> list[bytes]:
    """The octets of every write from now on."""
    writes: list[bytes] = []
    transport = link._transport

    class Watching:
        def write(self, octets: bytes) -> None:
            writes.append(octets)
            transport.write(octets)

        def abort(self) -> None:
            transport.abort()

    link._transport = Watching()
    return writes


def test_the_calls_of_one_turn_end_with_one_mark_and_one_wait(pair: Replicated) -> None:
    async def scene() -> tuple[list[Any], list[bytes]]:
        link = await kept(pair.master.url)
        writes, replies = watched_writes(link), Replies()
        for _ in range(5):
            link.call(pack("INCR", "n"), replies)
        await replies.until(5)
        link.close()
        return replies, writes

    replies, writes = run(scene())
    mark = pack("SET", f"ocs:replicas:{{{tag_in(0)}}}", "")
    assert writes == [5 * pack("INCR", "n") + mark + pack("WAIT", 1, 500)]
    assert replies == [1, 2, 3, 4, 5]
    assert pair.replicas[0].client().get("n") == b"5"


def test_calls_made_while_a_batch_is_under_way_leave_together_as_the_next_one(pair: Replicated) -> None:
    async def scene() -> tuple[list[Any], list[bytes], int]:
        link = await kept(pair.master.url)
        pair.stop(pair.replicas[0])
        writes, replies = watched_writes(link), Replies()
        link.call(pack("INCR", "n"), replies)
        await until(lambda: len(writes) == 1)
        for _ in range(3):
            link.call(pack("INCR", "n"), replies)
            await _turn()
        pending = link.pending
        pair.go_on(pair.replicas[0])
        await replies.until(4)
        link.close()
        return replies, writes, pending

    replies, writes, pending = run(scene())
    assert replies == [1, 2, 3, 4]
    assert pending == 4
    assert [octets.count(b"INCR") for octets in writes] == [1, 3]
    assert [octets.count(b"WAIT") for octets in writes] == [1, 1]


async def _turn() -> None:
    """Let the event loop go round."""
    await asyncio.sleep(0)


def test_what_no_replica_has_is_unknown_and_a_repetition_on_another_link_is_not_confirmed_either(
    pair: Replicated,
) -> None:
    """The trap: a link that has written nothing of its own would hear from WAIT at once that all is well."""

    async def scene() -> list[Any]:
        first, second = [await kept(pair.master.url, deadline_ms=SHORT_MS) for _ in range(2)]
        replica = pair.replicas[0]
        assert [await link.execute("SET", "before", "") for link in (first, second)] == [b"OK", b"OK"]
        pair.stop(replica)
        written, read, again = Replies(), Replies(), Replies()
        first.call(pack("SET", "outcome", "granted"), written)
        await written.until(1)
        second.call(pack("GET", "outcome"), read)
        await read.until(1)
        pair.go_on(replica)
        second.call(pack("GET", "outcome"), again)
        await again.until(1)
        alive = [first.is_open, second.is_open]
        first.close()
        second.close()
        return [kinds(written), kinds(read), list(again), alive]

    written, read, again, alive = run(scene())
    assert (written, read) == (["Unconfirmed"], ["Unconfirmed"])
    assert again == [b"granted"]
    assert alive == [True, True]
    assert pair.replicas[0].client().get("outcome") == b"granted"


def test_the_count_is_checked(pair: Replicated) -> None:
    """One replica is there and two are asked for: WAIT answers 1, and that is too few."""
    pair.master.client().config_set("min-replicas-to-write", 2)

    async def scene() -> list[Any]:
        link = await kept(pair.master.url, Demands(replicas=2), deadline_ms=SHORT_MS)
        pair.master.client().config_set("min-replicas-to-write", 1)
        replies = Replies()
        link.call(pack("INCR", "n"), replies)
        await replies.until(1)
        link.close()
        return replies

    (fault,) = run(scene())
    assert isinstance(fault, Unconfirmed)
    assert "1 of 2 replicas had it after 200 ms" in str(fault)


def test_an_error_reply_is_handed_on_as_it_is_and_the_others_of_its_batch_are_unknown(
    pair: Replicated,
) -> None:
    async def scene() -> list[Any]:
        link = await kept(pair.master.url, deadline_ms=SHORT_MS)
        await link.execute("SET", "text", "x")
        pair.stop(pair.replicas[0])
        replies = Replies()
        link.call(pack("LPUSH", "text", "y"), replies)
        link.call(pack("INCR", "n"), replies)
        await replies.until(2)
        link.close()
        return kinds(replies)

    assert run(scene()) == ["StoreError", "Unconfirmed"]


def test_a_batch_whose_mark_is_refused_is_unknown_whatever_wait_says(pair: Replicated) -> None:
    async def scene() -> list[Any]:
        link = await kept(pair.master.url)
        pair.master.client().execute_command("ACL SETUSER default resetkeys ~n")
        replies = Replies()
        link.call(pack("GET", "n"), replies)
        await replies.until(1)
        link.close()
        return replies

    (fault,) = run(scene())
    assert isinstance(fault, Unconfirmed)
    assert "NOPERM" in str(fault)


def test_who_serves_what_can_be_asked_where_replicas_are_away(pair: Replicated) -> None:
    async def scene() -> list[Any]:
        link = await kept(pair.master.url, deadline_ms=SHORT_MS)
        pair.stop(pair.replicas[0])
        replies = Replies()
        link.call(pack("CLUSTER", "SLOTS"), replies)
        await replies.until(1)  # by itself: with no wait
        for command in (pack("SET", "k", "v"), pack("PING"), pack("GET", "k")):
            link.call(command, replies)
        await replies.until(4)
        link.close()
        return kinds(replies)

    assert run(scene()) == ["StoreError", "Unconfirmed", "bytes", "Unconfirmed"]


def test_a_link_that_breaks_ends_what_is_held_as_unknown_and_what_waits_behind_it_as_not_happened(
    pair: Replicated,
) -> None:
    async def scene() -> list[Any]:
        with CuttingProxy(pair.master.port) as proxy:
            order: list[str] = []
            link = await kept(proxy.url)
            writes = watched_writes(link)
            proxy.half_open("WAIT")  # the replies of the batch are here, its count never comes

            def named(name: str) -> Callable[[Any], None]:
                return lambda reply: order.append(f"{name} {type(reply).__name__}")

            link.call(pack("INCR", "n"), named("first"))
            link.call(pack("INCR", "n"), named("second"))
            await until(lambda: len(writes) == 1 and len(link._replies) == 2)
            link.call(pack("INCR", "n"), named("third"))
            await _turn()
            await _turn()
            before = list(order)
            link.close()
            return [before, order, pair.master.client().get("n")]

    before, order, kept_n = run(scene())
    assert before == []
    assert order == ["first LinkLost", "second LinkLost", "third LinkDown"]
    assert kept_n == b"2"


def test_a_master_that_is_demoted_while_replies_are_held_confirms_nothing(pair: Replicated) -> None:
    async def scene() -> list[Any]:
        link = await kept(pair.master.url)
        replica, replies = pair.replicas[0], Replies()
        pair.stop(replica)
        link.call(pack("INCR", "n"), replies)
        await until(lambda: len(link._replies) == 1)
        pair.master.client().replicaof("127.0.0.1", 1)
        await replies.until(1)
        return [kinds(replies), isinstance(replies[0], LinkLost), link.is_open]

    assert run(scene()) == [["LinkLost"], True, False]


def test_where_durability_is_always_the_replicas_must_have_fsynced_too() -> None:
    demands = Demands(fsync="always", replicas=1)
    with Replicated(appendfsync="always") as servers:

        async def scene() -> list[Any]:
            patient = await kept(servers.master.url, demands, deadline_ms=8_000)
            first = await patient.execute("INCR", "n")
            patient.close()
            link = await kept(servers.master.url, demands, deadline_ms=SHORT_MS)
            writes = watched_writes(link)
            servers.replicas[0].client().config_set("appendonly", "no")
            replies = Replies()
            link.call(pack("INCR", "n"), replies)
            await replies.until(1)
            link.close()
            return [
                first,
                kinds(replies),
                writes[0].endswith(pack("WAIT", 1, 100) + pack("WAITAOF", 1, 1, 100)),
            ]

        assert run(scene()) == [1, ["Unconfirmed"], True]


def test_a_server_that_would_write_without_its_replicas_is_refused_at_once(pair: Replicated) -> None:
    pair.master.client().config_set("min-replicas-to-write", 0)
    with pytest.raises(StoreRefused, match=r"min-replicas-to-write is 0.*asks for min-replicas-to-write 1"):
        run(opened(pair.master.url, demands=ONE))
    pair.master.client().config_set("min-replicas-to-write", 1)
    pair.master.client().config_set("min-replicas-max-lag", 0)
    with pytest.raises(StoreRefused, match="min-replicas-max-lag 0"):
        run(opened(pair.master.url, demands=ONE))


def test_a_user_that_may_not_write_the_mark_is_refused_at_once(pair: Replicated) -> None:
    pair.master.client().execute_command("ACL SETUSER ocs on >secret ~n +@all")
    with pytest.raises(StoreRefused, match=r"needs CONFIG GET, a key ocs:replicas:\* and WAIT"):
        run(opened(f"redis://ocs:secret@127.0.0.1:{pair.master.port}", demands=ONE))


def test_without_replicas_a_store_opens_and_every_call_is_refused_unexecuted(pair: Replicated) -> None:
    pair.replicas[0].kill()

    async def scene() -> Any:
        store = await opened(pair.master.url, demands=ONE, deadline_ms=200)
        try:
            await store.execute(0, "INCR", "n")
        except StoreError as fault:
            return fault.code
        finally:
            await store.close()

    assert run(scene()) == "NOREPLICAS"
    assert pair.master.client().get("n") is None


def test_an_idle_link_is_probed_without_a_write(pair: Replicated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocs.balance.link.LINK_HEARTBEAT_MS", 20)

    async def scene() -> list[bytes]:
        link = await kept(pair.master.url, deadline_ms=40)
        writes = watched_writes(link)
        await until(lambda: len(writes) >= 2)
        link.close()
        return writes

    assert set(run(scene())) == {pack("PING")}


def test_in_a_cluster_each_master_is_marked_in_a_slot_of_its_own() -> None:
    """The middle master has a replica: what is called there is confirmed, also while the slot of the mark moves away, and after it has."""
    with Cluster() as cluster, RealValkey(settings=SETTINGS, port=free_port(BUS)) as replica:
        for index in range(3):
            cluster.client(index).config_set("min-replicas-to-write", 1)
        follower = replica.client()
        follower.execute_command("CLUSTER MEET", "127.0.0.1", cluster.nodes[0].port)
        settled(lambda: cluster.ids[1] in str(follower.execute_command("CLUSTER NODES")))
        follower.execute_command("CLUSTER REPLICATE", cluster.ids[1])
        settled(lambda: follower.info("replication").get("master_link_status") == "up")
        last = max(slot for slot in range(16_384) if cluster.owner(slot) == 1)

        async def scene() -> list[Any]:
            store = await opened(cluster.url, demands=ONE)

            async def counted() -> int:
                while True:
                    try:
                        found: int = await store.execute(last - 7, "INCR", f"{{{tag_in(last - 7)}}}n")
                    except LinkLost:
                        await asyncio.sleep(0.01)
                    else:
                        return found

            numbers = [await counted()]
            cluster.client(0).config_set("min-replicas-to-write", 0)
            await asyncio.to_thread(cluster.begin_move, last, 0)  # the slot of the mark
            await asyncio.to_thread(cluster.move_keys, last, 0)
            numbers.append(await counted())
            await asyncio.to_thread(cluster.end_move, last, 0)
            numbers.append(await counted())
            marked = cluster.client(1).execute_command("EXISTS", f"ocs:replicas:{{{tag_in(last - 1)}}}")
            await store.close()
            return [numbers[0], numbers == sorted(set(numbers)), marked]

        assert run(scene()) == [1, True, 1]


def test_in_a_cluster_a_master_that_has_no_slot_yet_is_marked_in_the_one_that_arrives() -> None:
    """A fourth master gets its first slot, and has a replica: what is asked of it meanwhile is confirmed there (ASK)."""
    with (
        Cluster() as cluster,
        RealValkey(settings=SETTINGS, port=free_port(BUS)) as target,
        RealValkey(settings=SETTINGS, port=free_port(BUS)) as replica,
    ):
        comes, follower, source = target.client(), replica.client(), cluster.client(0)
        name = comes.execute_command("CLUSTER MYID").decode()
        for each in (comes, follower):
            each.execute_command("CLUSTER MEET", "127.0.0.1", cluster.nodes[0].port)
        settled(lambda: name in str(follower.execute_command("CLUSTER NODES")))
        settled(lambda: name in str(source.execute_command("CLUSTER NODES")))
        follower.execute_command("CLUSTER REPLICATE", name)
        settled(lambda: follower.info("replication").get("master_link_status") == "up")
        for each in (*(cluster.client(index) for index in range(3)), comes):
            each.config_set("min-replicas-to-write", 1)
        settled(lambda: comes.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        comes.execute_command("CLUSTER SETSLOT", 7, "IMPORTING", cluster.ids[0])
        source.execute_command("CLUSTER SETSLOT", 7, "MIGRATING", name)

        async def scene() -> list[Any]:
            store = await opened(
                cluster.url, demands=ONE, deadline_ms=10_000
            )  # the source has no replica: each ASK waits for one
            found = [await store.execute(7, "INCR", f"{{{tag_in(7)}}}n") for _ in range(2)]
            await store.close()
            return found

        assert run(scene()) == [1, 2]


def test_each_link_marks_another_of_its_masters_slots() -> None:
    assert [mark_in([3, 4, 9], links, 7) for links in range(1, 5)] == [Mark(9), Mark(4), Mark(3), Mark(9)]
    assert mark_in([], 1, 7) == Mark(7, arrives=True)


def test_the_mark_of_a_link_lies_in_a_slot_that_its_master_serves() -> None:
    for slot in (0, 1, 5461, 16_383):
        assert slot_of(f"ocs:replicas:{{{tag_in(slot)}}}") == slot


def test_a_store_that_asks_for_no_replicas_writes_and_waits_as_before(valkey: RealValkey) -> None:
    async def scene() -> tuple[Any, list[bytes]]:
        store = await opened(valkey.url)
        link = next(iter(store._nodes.values())).link
        writes = watched_writes(link)
        reply = await store.execute(0, "SET", "k", "v")
        await store.close()
        return reply, writes

    assert run(scene()) == (b"OK", [pack("SET", "k", "v")])


def test_calls_behind_an_unwritten_batch_are_down_when_there_is_no_link(pair: Replicated) -> None:
    async def scene() -> list[str]:
        link = await kept(pair.master.url)
        link.close()
        replies = Replies()
        link.call(pack("INCR", "n"), replies)
        await replies.until(1)
        return [type(each).__name__ for each in replies]

    assert run(scene()) == [LinkDown.__name__]
