"""When a version of a tariff takes running sessions along, their clients are asked to re-authorise at its instant.

A grant that was made before the version was known may reach beyond its instant; asked anew, the client gets one on the new version.
One server asks, whichever looks first, and once; when it dies meanwhile, the others' grants end by themselves.
"""

from contextlib import suppress

from ocs.balance.keys import slot_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.clock import Clock
from ocs.limits import SWITCH_LATE_MS, SWITCH_TOLD_MS
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs
from ocs.sessions.reauthorise import Reauthorisation, Said


class Switching:
    """Looks for versions that have begun to count; safe to run in several processes, and to kill anywhere."""

    __slots__ = ("_clock", "_parts", "_per_s", "_reauthorisation", "_tariffs")

    def __init__(
        self, parts: Parts, tariffs: Tariffs, reauthorisation: Reauthorisation, clock: Clock, per_s: int
    ) -> None:
        self._parts = parts
        self._tariffs = tariffs
        self._reauthorisation = reauthorisation
        self._clock = clock
        self._per_s = per_s

    async def once(self) -> dict[str, Said]:
        """Ask the sessions that versions take along which have just begun to count; by version. Raises StoreFault, SessionUnreadable."""
        if not self._tariffs.taking:
            return {}
        now_ms = self._clock.now_ms() + (await self._parts.epoch(0)).offset_ms
        begun = [
            each
            for name in sorted(self._tariffs.taking)
            for each in self._tariffs.versions(name)
            if each.takes_along and now_ms - SWITCH_LATE_MS < each.effective_ms <= now_ms
        ]
        said = {}
        for each in begun:
            if await self._is_ours(each):
                try:
                    said[each.key] = await self._reauthorisation.of_tariff(
                        each.name, self._per_s, but=each.key
                    )
                except BaseException:
                    await self._give_back(each)  # it is done again, by whoever is next
                    raise
        return said

    async def _is_ours(self, version: Tariff) -> bool:
        """Take it on, unless somebody has."""
        key = _mark(version)
        taken = await self._parts.store.execute(slot_of(key), "SET", key, "1", "NX", "PX", SWITCH_TOLD_MS)
        return taken is not None

    async def _give_back(self, version: Tariff) -> None:
        with suppress(StoreFault):
            await self._parts.store.execute(slot_of(_mark(version)), "DEL", _mark(version))


def _mark(version: Tariff) -> str:
    return f"reauthorised:{version.key}"
