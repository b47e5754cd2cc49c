"""The folder of a run, and the door for `ocs restart` in it."""

import asyncio
import os
import socket
from pathlib import Path

from ocs.balance.link import reachable
from ocs.roof.restart import listen_for_restarts
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
