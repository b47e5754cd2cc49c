"""The folder of a run, and the door for `ocs restart` in it."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from ocs.balance.link import reachable
from ocs.roof.place import Place
from ocs.roof.restart import listen_for_restarts, restart
from ocs.roof.serve import _run_folder


def test_a_run_that_was_killed_keeps_no_later_one_of_its_number_from_its_door(tmp_path: Path) -> None:
    """Every start in a container has the same process id."""
    left = tmp_path / "run" / str(os.getpid())
    left.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as killed, reachable(str(left / "restart")) as path:
        killed.bind(path)
    assert (left / "restart").exists()

    async def asked() -> bytes:
        async def roll() -> None:
            pass

        folder = _run_folder(tmp_path)
        listening = asyncio.ensure_future(listen_for_restarts(folder, roll))
        await asyncio.sleep(0)  # it listens, or has ended with its fault
        assert not listening.done(), listening.exception()
        with reachable(str(folder / "restart")) as way:
            reader, writer = await asyncio.open_unix_connection(way)
        writer.write(b"restart\n")
        answer = await reader.readline()
        writer.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return answer

    assert asyncio.run(asked()) == b'{"code": 0, "why": ""}\n'


def test_the_server_is_found_beside_what_killed_ones_have_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of one that was killed may be that of another process by now, which lives."""
    left, mine = tmp_path / "run" / "1", tmp_path / "run" / "2"
    for each in (left, mine):
        each.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as killed, reachable(str(left / "restart")) as path:
        killed.bind(path)
    (tmp_path / "run" / "3").mkdir()
    rolled: list[int] = []

    async def asked() -> None:
        async def roll() -> None:
            rolled.append(1)

        listening = asyncio.ensure_future(listen_for_restarts(mine, roll))
        await asyncio.sleep(0)
        await asyncio.to_thread(restart, Place(data_dir=tmp_path, store=None, config=None), as_json=False)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(asked())
    assert (rolled, capsys.readouterr().out) == ([1], "every process was replaced\n")
