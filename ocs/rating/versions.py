"""The tariffs that a worker knows, by version; pure.

Laws
1. A tariff is immutable under its key, name and version: the first that is known under a key is the one.
2. New sessions get the highest version whose instant is reached. A session keeps the version that it began with but for law 3, and every
   version stays known: a session lives as long as it is heard of.
3. A version that takes running sessions along is the next one of every session of a lower version, from its instant on; charging/switch.py
   says what becomes of its services.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ocs.rating.rerate import same_plan
from ocs.rating.tariff import Tariff


class Tariffs:
    """Tariffs by key ("flat-data@1"), and the versions of each name, the highest first."""

    __slots__ = ("_by_key", "_by_name", "_one_plan", "taking")

    def __init__(self, tariffs: Mapping[str, Tariff]) -> None:
        self._by_key: dict[str, Tariff] = {}
        self._by_name: dict[str, tuple[Tariff, ...]] = {}
        self._one_plan: dict[tuple[str, str], bool] = {}
        self.taking: frozenset[str] = frozenset()
        """Names of tariffs of which a version takes running sessions along."""
        self.add(tariffs.values())

    def __len__(self) -> int:
        """Return the number of versions."""
        return len(self._by_key)

    @property
    def names(self) -> list[str]:
        """Return the names of all tariffs in order."""
        return sorted(self._by_name)

    def add(self, tariffs: Iterable[Tariff]) -> None:
        """Know more versions; a key that is known already stays what it is (law 1)."""
        for each in tariffs:
            if each.key not in self._by_key:
                self._by_key[each.key] = each
                known = (*self._by_name.get(each.name, ()), each)
                self._by_name[each.name] = tuple(sorted(known, key=_version, reverse=True))
                if each.takes_along:
                    self.taking |= {each.name}

    def put_off(self, key: str, effective_ms: int) -> None:
        """Let a version that counts from always count from an instant; its content stays (law 1)."""
        moved = replace(self._by_key[key], effective_ms=effective_ms)
        self._by_key[key] = moved
        self._by_name[moved.name] = tuple(
            moved if each.key == key else each for each in self._by_name[moved.name]
        )

    def newest(self, name: str, at_ms: int) -> Tariff | None:
        """Return the version that new sessions get at an instant; None when no version of the name is effective."""
        for each in self._by_name.get(name, ()):
            if each.effective_ms <= at_ms:
                return each
        return None

    def of_session(self, key: str) -> Tariff | None:
        """Return the version of a key, as a session keeps it."""
        return self._by_key.get(key)

    def next_of(self, tariff: Tariff, at_ms: int) -> Tariff | None:
        """Return the version with which sessions of a version go on at an instant; None when they keep theirs (law 3)."""
        for each in self._by_name.get(tariff.name, ()):
            if each.version > tariff.version and each.takes_along and each.effective_ms <= at_ms:
                return each
        return None

    def taken_ms(self, tariff: Tariff, at_ms: int) -> int | None:
        """Return the first instant after ``at_ms`` from which a higher version takes a version's sessions along; None for none."""
        ahead = [
            each.effective_ms
            for each in self._by_name.get(tariff.name, ())
            if each.version > tariff.version and each.takes_along and each.effective_ms > at_ms
        ]
        return min(ahead, default=None)

    def one_plan(self, one: Tariff, other: Tariff) -> bool:
        """Tell whether two versions give every number and network the same zone; large plans are compared once."""
        names = (one.key, other.key)
        if names not in self._one_plan:
            self._one_plan[names] = same_plan(one.numbering, other.numbering)
        return self._one_plan[names]

    def versions(self, name: str) -> tuple[Tariff, ...]:
        """Return all versions of a name, effective or not, the highest first."""
        return self._by_name.get(name, ())

    def seek(self, token: Any, done: Callable[[Any], None]) -> bool:
        """Look where there may be more for what was not found: True when ``done`` will get the token, or a fault, later.

        These tariffs are all there are; ocs/balance/tariffs.py knows a store.
        """
        del token, done
        return False


def _version(tariff: Tariff) -> int:
    return tariff.version
