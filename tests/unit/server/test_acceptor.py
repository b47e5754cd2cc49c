from __future__ import annotations

import asyncio
import resource
import socket

import pytest
import structlog

from ocs import limits
from ocs.server import child
from ocs.server.acceptor import Acceptor, Door, listen
from ocs.server.channel import Load, NotTaken, StartFault, hand, hear, pair, say, take

LOG = structlog.get_logger()


def acceptor_of(*names: str) -> tuple[Acceptor, dict[str, socket.socket]]:
    made, ends = Acceptor((), LOG), {}
    for name in names:
        ours, ends[name] = pair()
        made.join(name, ours)
    return made, ends


def test_the_worker_with_the_fewest_connections_comes_first() -> None:
    async def run() -> None:
        acceptor, _ends = acceptor_of("a", "b", "c")
        acceptor.report("a", Load(3, 0, 0, 0))
        acceptor.report("b", Load(1, 0, 0, 0))
        acceptor.report("c", Load(2, 0, 0, 0))
        assert acceptor.least_loaded() == ["b", "c", "a"]

    asyncio.run(run())


def test_a_worker_that_carries_the_traffic_gets_no_more_peers_than_it_must() -> None:
    async def run() -> None:
        acceptor, _ends = acceptor_of("relay", "quiet")
        acceptor.report("relay", Load(1, 50, 10_000, 0))
        acceptor.report("quiet", Load(2, 0, 10, 0))
        assert acceptor.least_loaded() == ["quiet", "relay"]

    asyncio.run(run())


def test_sockets_on_their_way_count_until_the_worker_has_taken_them() -> None:
    async def run() -> None:
        door = listen("127.0.0.1", 0)[0]
        acceptor = Acceptor((Door(door, secured=False),), LOG)
        ends = {}
        for name in "ab":
            ours, ends[name] = pair()
            acceptor.join(name, ours)
        clients = [socket.create_connection(door.getsockname()) for _ in range(4)]
        taken: dict[str, int] = {"a": 0, "b": 0}
        while sum(taken.values()) < 4:
            await asyncio.sleep(0)
            acceptor.report("a", Load(0, 0, 0, 0))  # a report from before it took any
            for name, end in ends.items():
                while (handed := take(end)) is not None:
                    handed.socket.close()
                    taken[name] += 1
        assert taken == {"a": 2, "b": 2}
        acceptor.close()
        for client in clients:
            client.close()

    asyncio.run(run())


def test_connections_wait_while_there_is_no_worker() -> None:
    async def run() -> None:
        door = listen("127.0.0.1", 0)[0]
        acceptor = Acceptor((Door(door, secured=False),), LOG)
        with socket.create_connection(door.getsockname()) as client:
            client.setblocking(False)
            await asyncio.sleep(0)
            ours, theirs = pair()
            acceptor.join("late", ours)
            while (handed := take(theirs)) is None:  # noqa: ASYNC110 - the acceptor has its turn
                await asyncio.sleep(0)
            handed.socket.sendall(b"x")
            assert client.recv(1) == b"x"
            handed.socket.close()
        acceptor.close()

    asyncio.run(run())


def test_at_the_start_peers_are_spread_over_all_workers_however_late_one_comes() -> None:
    async def run() -> None:
        door = listen("127.0.0.1", 0)[0]
        acceptor = Acceptor((Door(door, secured=False),), LOG, workers=2)
        clients = [socket.create_connection(door.getsockname()) for _ in range(4)]
        ends, taken = {}, {"early": 0, "late": 0}
        for name in taken:
            ours, ends[name] = pair()
            acceptor.join(name, ours)
            for _ in range(10):
                await asyncio.sleep(0)
        while sum(taken.values()) < 4:
            await asyncio.sleep(0)
            for name, end in ends.items():
                while (handed := take(end)) is not None:
                    handed.socket.close()
                    taken[name] += 1
        assert taken == {"early": 2, "late": 2}
        acceptor.close()
        for client in clients:
            client.close()

    asyncio.run(run())


def test_a_worker_that_takes_nothing_any_more_is_passed_over() -> None:
    ours, theirs = pair()
    theirs.close()
    near, far = socket.socketpair()
    with near, far:
        assert not hand(ours, near, secured=False)
    ours.close()


def test_the_channel_carries_reports_and_faults_whole() -> None:
    ours, theirs = pair()
    say(theirs, Load(1, 2, 2**40, 4))
    say(theirs, StartFault("the store is away", 5))
    assert hear(ours) == Load(1, 2, 2**40, 4)
    fault = hear(ours)
    assert isinstance(fault, StartFault)
    assert (fault.reason, fault.exit_code) == ("the store is away", 5)
    assert hear(ours) is None
    ours.close()
    theirs.close()


def test_a_listener_on_both_families_uses_one_port() -> None:
    doors = listen("localhost", 0)
    assert len({door.getsockname()[1] for door in doors}) == 1
    for door in doors:
        door.close()


def test_a_socket_for_which_no_descriptor_is_left_is_lost_and_the_supervisor_is_not() -> None:
    ours, theirs = pair()
    near, far = socket.socketpair()
    assert hand(ours, near, secured=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(NotTaken):
            take(theirs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert take(theirs) is None
    ours.close()
    with pytest.raises(EOFError):
        take(theirs)
    for end in (theirs, near, far):
        end.close()


def test_a_process_holds_no_more_connections_than_it_has_descriptors_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1_024, 1_024))
    assert child.connections_max(4_096) == 1_024 - limits.DESCRIPTORS_KEPT
    assert child.connections_max(100) == 100


def test_a_connection_that_no_worker_takes_now_is_kept_until_one_does() -> None:
    async def run() -> None:
        door = listen("127.0.0.1", 0)[0]
        acceptor = Acceptor((Door(door, secured=False),), LOG)
        ours, theirs = pair()
        while _is_writable(ours):
            pass
        acceptor.join("busy", ours)
        with socket.create_connection(door.getsockname()) as client:
            client.setblocking(False)
            for _ in range(10):
                await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            while _is_filler(theirs):
                pass
            while (handed := take(theirs)) is None:  # noqa: ASYNC110 - the acceptor has its turn
                await asyncio.sleep(0.01)
            handed.socket.sendall(b"y")
            assert client.recv(1) == b"y"
            handed.socket.close()
        acceptor.close()
        ours.close()
        theirs.close()

    asyncio.run(run())


def _is_writable(channel: socket.socket) -> bool:
    try:
        channel.send(b"x")
    except BlockingIOError:
        return False
    return True


def _is_filler(channel: socket.socket) -> bool:
    try:
        return channel.recv(1) == b"x"
    except BlockingIOError:
        return False
