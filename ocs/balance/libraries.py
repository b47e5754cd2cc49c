"""Which releases use a store: every process tells the version of its function library, and one that nobody tells is removed.

Laws
1. A library is used while its name was told within LIBRARY_IDLE_MS: workers and keepers tell it again and again, a command when it
   opens the store. One that was never told (a release before this rule) is taken for told when it is first seen.
2. Only libraries of ours (ocs_<number>) are removed, never one's own, by the keeper of any release: also after a way back.
3. A removal that comes too early costs one call and loses nothing: whoever meets a store without its library loads it again and makes
   the same call again (store.py, law 1). So the rule needs no lock, and a process that was cut off may come back at any time.
"""

import re
from typing import Any, Final

from ocs.balance.functions import NAME
from ocs.balance.keys import slot_of
from ocs.balance.link import StoreError
from ocs.balance.store import Store
from ocs.clock import Clock
from ocs.limits import LIBRARY_IDLE_MS

KEY: Final = "ocs:libraries"
"""A sorted set, in a slot of its own: names of libraries, by the Unix time in milliseconds at which they were told last."""

_OURS: Final = re.compile(r"ocs_\d+")


class Libraries:
    """The function libraries of one store."""

    __slots__ = ("_clock", "_slot", "_store")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._slot = slot_of(KEY)

    async def tell(self) -> None:
        """Say that this process uses the library of its release. Raises StoreFault."""
        await self._store.execute(self._slot, "ZADD", KEY, self._clock.now_ms(), NAME)

    async def remove_unused(self) -> list[str]:
        """Remove what nobody uses from every master; the names. Raises StoreFault."""
        await self.tell()
        rows = await self._store.execute(self._slot, "ZRANGE", KEY, 0, -1, "WITHSCORES")
        told = {name.decode(): float(at) for name, at in zip(rows[::2], rows[1::2], strict=True)}
        now_ms = self._clock.now_ms()
        removed = set()
        for master in self._store.masters():
            for name in await self._listed(master):
                if name not in told:
                    await self._store.execute(self._slot, "ZADD", KEY, "NX", now_ms, name)
                elif now_ms - told[name] > LIBRARY_IDLE_MS:
                    await self._remove(master, name)
                    removed.add(name)
        return sorted(removed)

    async def _listed(self, master: str) -> list[str]:
        """Return the names of libraries of ours on a master that are not our own release's."""
        rows: list[Any] = await self._store.execute_at(master, "FUNCTION", "LIST", "LIBRARYNAME", "ocs_*")
        names = [dict(zip(row[::2], row[1::2], strict=True))[b"library_name"].decode() for row in rows]
        return [name for name in names if _OURS.fullmatch(name) and name != NAME]

    async def _remove(self, master: str, name: str) -> None:
        try:
            await self._store.execute_at(master, "FUNCTION", "DELETE", name)
        except StoreError as fault:
            if "not found" not in fault.text:  # another keeper was faster
                raise
