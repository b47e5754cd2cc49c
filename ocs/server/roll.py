"""A rolling restart: every process of the server replaced by one of the settings, tariffs and code that are on disk by now.

Laws
1. First a process of its own judges whether a server could start as things are on disk; what it refuses changes nothing.
2. A successor is ready before its predecessor takes leave: there are never fewer workers than before, and the doors stay open.
3. One that does not come up ends the roll; whoever serves goes on as it is, and a process that dies starts again as it was started.
4. A worker that takes leave drains (DPR to its peers, nothing new, what is under way is answered); its peers dial again and come to
   others, the session goes on where the store has it.
5. The supervisor itself, its ports and its store stay as they are: what concerns them is refused by the judge (law 1) with its names.
"""

import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from ocs.server import child
from ocs.server.channel import READY, Start, StartFault, say
from ocs.server.log import Log

WORKER, KEEPER, DOOR, JUDGE = "worker", "keeper", "door", "judge"
"""What a process is for; a judge only looks whether the others could start as things are by now."""

Judge = Callable[[Start], Awaitable[None]]
"""Looks whether a server could start as things are; raises StartFault. Importable: it runs in a process of its own."""


class Renewal(NamedTuple):
    """What the roof has for a rolling restart: how to read what processes are handed, and who judges it.

    ``read`` raises StartFault.
    """

    read: Callable[[], Any]
    judge: Judge


class Replaced(Protocol):
    """A process, as a roll sees it."""

    name: str
    kind: str


class House(Protocol):
    """The supervisor, as a roll sees it."""

    def child(self, kind: str, number: int, handed: Any) -> Any:
        """Make what keeps one process."""

    def kept(self, kind: str) -> list[Any]:
        """Return the processes of a kind that are kept alive."""

    def successor(self, kind: str, handed: Any) -> Any:
        """Make what keeps one more process of a kind."""

    async def bring_up(self, child: Any) -> None:
        """Start a process and wait until it is ready; raises StartFault."""

    async def retire(self, child: Any) -> None:
        """Let a process take leave, and wait for its end."""


class Roll:
    """One rolling restart."""

    def __init__(self, house: House, renewal: Renewal, log: Log) -> None:
        self._house = house
        self._renewal = renewal
        self._log = log

    async def run(self) -> None:
        """Replace the workers one after the other, then the keeper, then the door; raises StartFault with why it has stopped."""
        self._log.info("rolling restart begins")
        try:
            handed = self._renewal.read()
            judge = self._house.child(JUDGE, 0, handed)
            await self._house.bring_up(judge)
            await self._house.retire(judge)
            for kind in (WORKER, KEEPER, DOOR):
                for old in self._house.kept(kind):
                    await self._replace(old, handed)
        except StartFault as fault:
            self._log.error("rolling restart stopped: whoever serves goes on as it is", why=fault.reason)
            raise
        self._log.info("rolling restart done")

    async def _replace(self, old: Replaced, handed: Any) -> None:
        new = self._house.successor(old.kind, handed)
        await self._house.bring_up(new)
        await self._house.retire(old)
        self._log.info("a process was replaced", name=old.name, by=new.name)


def run_judge(start: Start, judge: Judge, channel: socket.socket, parent_pid: int) -> None:
    """Be a judge: the target of its process. `judge` is importable."""
    child.begin(parent_pid)

    async def serve(_stop: object) -> None:
        with child.told(channel, start.name):
            start.check()
            await judge(start)
        say(channel, READY)

    child.run(serve)
