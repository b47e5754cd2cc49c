"""The tariffs that a worker knows, by version; pure."""

from collections.abc import Mapping

from ocs.rating.tariff import Tariff


class Tariffs:
    """Tariffs by key ("flat-data@1"), and the newest of each name."""

    __slots__ = ("_by_key", "_newest")

    def __init__(self, tariffs: Mapping[str, Tariff]) -> None:
        self._by_key = {each.key: each for each in tariffs.values()}
        self._newest: dict[str, Tariff] = {}
        for each in tariffs.values():
            if each.name not in self._newest or self._newest[each.name].version < each.version:
                self._newest[each.name] = each

    def newest(self, name: str) -> Tariff | None:
        """Return the newest version of a tariff."""
        return self._newest.get(name)

    def of_session(self, key: str) -> Tariff | None:
        """Return the version that a session was opened with."""
        return self._by_key.get(key)
