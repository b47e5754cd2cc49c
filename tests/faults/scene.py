"""A scene: one real server, its network elements, their traffic, and the judgement at the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.faults.element import Element
from tests.faults.judgement import judge, numbers, populate, room
from tests.faults.ledger import Ledger
from tests.faults.serving import Server
from tests.faults.traffic import Traffic

ELEMENTS = 4
LANES = 6
ACCOUNTS = 8


class Scene:
    """What a test of faults plays with."""

    def __init__(self, server: Server, seed: int, accounts: int) -> None:
        self.server = server
        self.ledger = Ledger()
        self.msisdns = numbers(accounts)
        self.traffic = Traffic(self.ledger, self.msisdns, seed)
        self.elements = [Element(f"pgw-{index}.example.net", server.port) for index in range(ELEMENTS)]

    def begin(self) -> None:
        """Let the elements' traffic run; a few sessions will be left open at its end, with their holds."""
        for element in self.elements:
            self.traffic.start(element.ask, element.host, LANES, leave_open=1)

    async def verdict(self) -> list[str]:
        """End the traffic and say what does not hold: by the audit command, then by the ledger."""
        await self.traffic.finish()
        code, text = await self.server.ocs("audit", "--json")
        said: dict[str, Any] = json.loads(text[: text.rindex("}") + 1]) if "{" in text else {"clean": text}
        found = [] if (code, said["clean"]) == (0, True) else [f"ocs audit ended with {code}: {text}"]
        archive = self.server.archive if self.server.archive.is_dir() else None
        async with room(self.server.store_url) as at:
            return found + await judge(at, self.ledger, archive)


@asynccontextmanager
async def scene(
    folder: Path, *, seed: int = 1, accounts: int = ACCOUNTS, **server: Any
) -> AsyncIterator[Scene]:
    """Start a server with accounts; leave no process behind."""
    serving = Server(folder / "server", **server)
    try:
        await serving.start()
        made = Scene(serving, seed, accounts)
        async with room(serving.store_url) as at:
            await populate(at, made.ledger, made.msisdns)
        yield made
        await asyncio.gather(*(element.close() for element in made.elements))
    finally:
        serving.end()
