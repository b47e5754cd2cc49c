"""All subscribers, page by page, without an index: the store's own walk over its keys (SCAN), one master after the other.

Laws
1. Who is there from the first page to the last is on one of them, once or (rarely, as SCAN has it) more than once; who comes or goes
   meanwhile may be missing.
2. A page is as long as the store's steps make it: about as long as asked for, a few more at times, empty ones too. Its ``following`` alone
   says whether there is more. It takes so many steps and no more, however few of the store's keys are subscribers.
3. A walk belongs to the masters, their slots and their processes on which it began. When one of them is another by now, the page is refused
   (WalkOver), since it could leave subscribers out without a word.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from ocs.balance.accounts import Account, Accounts
from ocs.balance.parts import Parts

_STEP = 1_000
_STEPS_MAX = 100
_READ_AT_ONCE = 200
_PROFILES = "{*}:profile:*"


class WalkOver(ValueError):
    """A page that cannot follow: it names no place, or masters or their slots are others than those on which the walk began."""


class Place(NamedTuple):
    """Where a subscriber lives: its partition, and its path (profiles.py)."""

    partition: int
    path: str


class Page(NamedTuple):
    """Some subscribers, and where the next page begins: ``after`` of its call; None behind the last."""

    accounts: list[Account]
    following: str | None


class Directory:
    """The subscribers of one store."""

    __slots__ = ("_accounts", "_by_prefix", "_parts")

    def __init__(self, parts: Parts, accounts: Accounts) -> None:
        self._parts = parts
        self._accounts = accounts
        self._by_prefix = {keys.prefix: keys.partition for keys in parts.keys}

    async def page(self, after: str, most: int) -> Page:
        """Return about ``most`` subscribers, ended ones too; ``after`` is a page's ``following``, "" for the first. Raises WalkOver, StoreFault."""
        masters = self._parts.store.masters()
        number, cursor = await self._place(after, masters)
        places: list[Place] = []
        for _ in range(_STEPS_MAX):
            if number == len(masters) or len(places) >= most:
                break
            step = max(most - len(places), _STEP // 10)
            cursor, found = await self._step(masters[number], cursor, step)
            places += found
            if cursor == "0":
                number += 1
        following = None
        if number < len(masters):
            following = f"{await self._mark(masters, number)}.{number}.{cursor}"
        return Page(await self.read(places), following)

    async def places(self, most: int) -> list[Place] | None:
        """Return where all subscribers live, in one order: by partition and path; None where they are more than ``most``.

        Raises StoreFault; WalkOver where the masters changed.
        """
        found: set[Place] = set()
        masters = self._parts.store.masters()
        for number, master in enumerate(masters):
            mark = await self._mark(masters, number)
            async for places in self._walk(master):
                found.update(places)
                if len(found) > most:
                    return None
            if await self._mark(self._parts.store.masters(), number) != mark:
                raise WalkOver("the store's masters have changed; ask again")
        return sorted(found)

    async def find(self, path: str) -> Account | None:
        """Return a subscriber by its path alone, whichever partition it lives in; None where there is none."""
        names = [(keys, keys.profile(path)) for keys in self._parts.keys]
        there = await asyncio.gather(
            *(self._parts.store.execute(keys.slot, "EXISTS", name) for keys, name in names)
        )
        for (keys, _), is_there in zip(names, there, strict=True):
            if is_there:
                return await self._accounts.read(keys.partition, path)
        return None

    async def read(self, places: list[Place]) -> list[Account]:
        """Read subscribers by their places, many at once; one that is not there is left out."""
        found: list[Account] = []
        for start in range(0, len(places), _READ_AT_ONCE):
            chunk = places[start : start + _READ_AT_ONCE]
            read = await asyncio.gather(*(self._accounts.read(*each) for each in chunk))
            found += [each for each in read if each is not None]
        return found

    async def _walk(self, master: str) -> AsyncIterator[list[Place]]:
        cursor = "0"
        while True:
            cursor, found = await self._step(master, cursor, _STEP)
            yield found
            if cursor == "0":
                return

    async def _step(self, master: str, cursor: str, count: int) -> tuple[str, list[Place]]:
        following, names = await self._parts.store.execute_at(
            master, "SCAN", cursor, "MATCH", _PROFILES, "COUNT", count
        )
        by_prefix, found = self._by_prefix, []
        for name in names:
            prefix, _, path = name.decode(errors="replace").partition("profile:")
            if prefix in by_prefix:
                found.append(Place(by_prefix[prefix], path))
        return following.decode(), found

    async def _mark(self, masters: list[str], number: int) -> str:
        """Return what a walk is bound to: where each partition is served, and the process of the master that it is at."""
        said = await self._parts.store.execute_at(masters[number], "INFO", "server")
        run_id = next(line for line in said.decode().splitlines() if line.startswith("run_id:"))
        served = [str(self._parts.store.endpoint(keys.slot)) for keys in self._parts.keys]
        return hashlib.sha256(f"{served} {number} {run_id}".encode()).hexdigest()[:12]

    async def _place(self, after: str, masters: list[str]) -> tuple[int, str]:
        if not after:
            return 0, "0"
        mark, number, cursor = (*after.split("."), "", "")[:3]
        if not all(each.isascii() and each.isdigit() and len(each) <= 20 for each in (number, cursor)):
            raise WalkOver("take it from the page before")
        if int(number) >= len(masters) or mark != await self._mark(masters, int(number)):
            raise WalkOver(
                "the store is not the one that the page before was read from; begin with the first page"
            )
        return int(number), cursor
