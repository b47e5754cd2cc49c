"""`ocs restart`: every process of a running server replaced, under load, by one of the settings, tariffs and code on disk.

Laws
1. The command asks the server of its data folder over a socket in that server's run folder, which is its user's alone, and waits.
2. It ends as the rolling restart ended: 0, or the code and the reason of what stopped it; whoever serves goes on then (roll.py).
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ocs.balance.link import StoreFault, reachable
from ocs.roof import say
from ocs.roof.build import read_settings
from ocs.roof.ends import Ended, Exit
from ocs.roof.inside import Inside, frozen, judge_store, read_files
from ocs.roof.place import Place
from ocs.server.channel import Start, StartFault

_SOCKET: Final = "restart"
_ASKED: Final = b"restart\n"
_ANSWER_OCTETS_MAX: Final = 1 << 20
_STOPPED: Final = "the rolling restart has stopped, and whoever serves goes on as it is"


async def judge(start: Start) -> None:
    """Look whether a server could start as things are on disk, beside the one that runs; raises StartFault (server/roll.py, law 1)."""
    inside: Inside = start.handed
    settings = inside.settings()
    new = frozen(settings)
    if changed := [key for key, value in new.items() if inside.frozen.get(key, value) != value]:
        raise StartFault(
            f"{', '.join(changed)} cannot change while the server runs; put it back, or stop the server and start it",
            int(Exit.USAGE),
        )
    try:
        read_files(settings)
        await judge_store(settings, inside.address(settings))
    except Ended as fault:
        raise StartFault(str(fault), int(fault.code)) from fault
    except StoreFault as fault:
        raise StartFault(f"the store is not available: {fault}", int(Exit.STORE_UNAVAILABLE)) from fault


async def listen_for_restarts(folder: Path, roll: Callable[[], Awaitable[None]]) -> None:
    """Serve the command: a job of the supervisor, which never ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said: dict[str, Any] = {"code": int(Exit.DONE), "why": ""}
        with suppress(ConnectionError):  # whoever asked has gone; the roll goes on
            if await reader.readline() == _ASKED:
                try:
                    await roll()
                except StartFault as fault:
                    said = {"code": fault.exit_code, "why": fault.reason}
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
        writer.close()

    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with reachable(str(folder / _SOCKET)) as path:
        door.bind(path)
    async with await asyncio.start_unix_server(serve, sock=door) as server:
        await server.serve_forever()


def restart(place: Place, *, as_json: bool) -> None:
    """Ask the server of the data folder for a rolling restart, and wait for its end."""
    data_dir = read_settings(place).server.data_dir
    try:
        server = _reached(data_dir / "run")
        if server is None:
            raise Ended(Exit.NOT_FOUND, f"no server runs, or serves yet, on the data folder {data_dir}")
        said = json.loads(_answered(server))
    except (OSError, ValueError) as fault:
        raise Ended(
            Exit.FOUND_WRONG, f"the server does not answer: {fault}; its log says what has happened"
        ) from fault
    if said["code"] != Exit.DONE:
        known = {each.value for each in Exit}
        code = Exit(said["code"]) if said["code"] in known else Exit.FOUND_WRONG
        begun = "no rolling restart" if code == Exit.CONFLICT else _STOPPED
        raise Ended(code, f"{begun}: {said['why']}")
    if as_json:
        say.as_json({"restarted": True})
    else:
        say.line("every process was replaced")


def _reached(runs: Path) -> socket.socket | None:
    """Reach the server that has a folder for its run; one that was killed left its own, whose number may be another process's by now."""
    for folder in runs.glob("*/"):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with reachable(str(folder / _SOCKET)) as way:
                server.connect(way)
        except (FileNotFoundError, ConnectionRefusedError):
            server.close()
        else:
            return server
    return None


def _answered(server: socket.socket) -> bytes:
    with server:
        server.sendall(_ASKED)
        with server.makefile("rb") as answer:
            return answer.readline(_ANSWER_OCTETS_MAX)


def lives(pid: int) -> bool:
    """Tell whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
