"""Recorded usage: every record once and in order, wherever it lies and whoever moves it meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.archive import Archiver
from ocs.balance.parts import packed
from ocs.balance.usage import Usage
from ocs.clock import SystemClock
from tests.real_valkey import RealValkey
from tests.unit.balance.books import Network, network


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


@pytest.fixture
def archiver(net: Network, tmp_path: Path) -> Iterator[Archiver]:
    made = Archiver(net.charged.parts, tmp_path, SystemClock())
    net.run(made.open())
    yield made
    made.close()


def _sequences(net: Network, usage: Usage, at: dict[int, Any] | None = None) -> list[int]:
    """The account's sequence of every record read; ``at`` says what happens behind so many of them."""

    async def read() -> list[int]:
        found = []
        async for record in usage.of(net.charged.parts.keys[net.partition]):
            if record.sequence:
                found.append(record.sequence)
            if at is not None and len(found) in at:
                await at.pop(len(found))()
        return found

    found: list[int] = net.run(read())
    return found


def _dense(count: int) -> list[int]:
    return list(range(1, count + 1))


def test_archive_and_stream_are_one_history(net: Network, archiver: Archiver, tmp_path: Path) -> None:
    net.session("s;1")
    net.run(archiver.once(everything=True))
    net.session("s;2")
    assert _sequences(net, Usage(net.charged.parts, tmp_path)) == _dense(net.book().sequence)


def test_without_an_archive_the_stream_is_all(net: Network) -> None:
    net.session()
    assert _sequences(net, Usage(net.charged.parts, None)) == _dense(net.book().sequence)


def test_what_is_archived_while_it_is_read_comes_once(
    net: Network, archiver: Archiver, tmp_path: Path
) -> None:
    net.session("s;1")
    net.run(archiver.once(everything=True))
    net.session("s;2")
    before = net.book().sequence

    async def move() -> None:
        await archiver.once(everything=True)

    usage = Usage(net.charged.parts, tmp_path)
    assert _sequences(net, usage, {2: move}) == _dense(before)
    assert usage.holes == 0


def test_what_is_lost_is_counted_and_the_rest_is_read(
    net: Network, archiver: Archiver, tmp_path: Path
) -> None:
    net.session("s;1")
    net.run(archiver.once(everything=True))
    net.session("s;2")
    stream = net.charged.parts.keys[net.partition].stream
    first = net.execute("XRANGE", stream, "-", "+", "COUNT", 1)[0][0]
    net.execute("XDEL", stream, first)
    usage = Usage(net.charged.parts, tmp_path)
    found = _sequences(net, usage)
    assert (len(found), usage.holes) == (net.book().sequence - 1, 1)


def test_a_record_of_another_version_is_passed_over(net: Network) -> None:
    net.session()
    stream = net.charged.parts.keys[net.partition].stream
    net.execute("XADD", stream, "1-*", "r", packed(99, 1, "a"))
    usage = Usage(net.charged.parts, None)
    assert _sequences(net, usage) == _dense(net.book().sequence)
    assert usage.unreadable == 1


def test_what_is_older_than_asked_for_is_left_out(net: Network, archiver: Archiver, tmp_path: Path) -> None:
    net.session("s;1")
    net.run(archiver.once(everything=True))
    before = net.book().sequence
    net.run(net.charged.move_time(3_600_000))
    net.session("s;2")
    usage = Usage(net.charged.parts, tmp_path, net.charged.now_ms - 60_000)
    assert _sequences(net, usage) == _dense(net.book().sequence)[before:]
